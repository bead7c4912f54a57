//! The table: a row, a test. Its makers prove what they make; this says what may be said of it.
//!
//! A row of something innocent has no cause, and mostly nothing is listed of it. Where two rows leave one trace, what
//! is made in both is right in both, and nothing may be called certain.

use nix::libc::{EACCES, EADDRNOTAVAIL, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};
use tcptrace_vocabulary::cause::Cause::{
    self, AnswerLostLocally, ApplicationGaveUp, AsymmetricPath, BadChecksum, ClientVanished, ConnectFailed,
    DroppedByLocalFirewall, DuplicateIp, FirewallDrop, FirewallReject, GatewayDown, HealthCheck, HostDown,
    ListenQueueFull, MiddleboxReset, NatExhausted, NatMismatch, NetworkUnreachable, NoBackend, NoLocalPort, NoRoute,
    OptionsBlocked, PortClosed, PortReuse, ReversePathFilter, SynFlood, SynQueueFull, Unknown,
};

use crate::{
    make::{absent, client, closed, firewall, innocent, listener, way},
    scenario::{
        Place::{self, Client, ClientSecondWay, Router, Server},
        Scenario,
        Socket::{self, GivenUp, Open},
        Told::{self, Connect, Ended, Stalled},
        hardly, likely, maybe, surely, well,
    },
    scene::Scene,
};

macro_rules! table {
    ($($name:ident: $row:expr,)*) => {
        /// Every row.
        pub(crate) const TABLE: &[Scenario] = &[$($row.named(stringify!($name)),)*];

        mod row {
            $(#[test]
            fn $name() {
                crate::run::test(stringify!($name));
            })*
        }
    };
}

/// Something is wrong, and has a name.
const fn of(cause: Cause, at: Place, make: Make) -> Scenario {
    Scenario::new(Some(cause), at, make)
}

/// Nothing is wrong, or nothing that has a name.
const fn fine(at: Place, make: Make) -> Scenario {
    Scenario::new(None, at, make)
}

type Make = fn(&Scene) -> Socket;

table! {
    // Nobody listens.
    port_closed: of(PortClosed, Client, closed::port)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[hardly(PortClosed)]).scope(&["port"]),
    port_closed_v6: of(PortClosed, Client, closed::port).v6()
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[hardly(PortClosed)]).scope(&["port"]),
    port_closed_and_nothing_else_known: of(PortClosed, Client, closed::port_and_nothing_else)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[maybe(PortClosed)]),
    port_closed_as_its_host_sees_it: of(PortClosed, Server, closed::port)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[surely(PortClosed)])
        .evidence(&["listen"]).facts(&[("/local/listening", "false")]),
    port_closed_to_others: of(PortClosed, Server, closed::port_of_another_address)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[surely(PortClosed)]),
    port_closed_on_one_of_two_addresses: of(PortClosed, Router, way::one_host_with_two_addresses)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[hardly(PortClosed)]),
    port_closed_of_a_host_that_numbers: of(PortClosed, Client, closed::port_of_a_host_that_numbers)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[maybe(PortClosed)]),
    port_that_is_not_translated: of(PortClosed, Client, closed::port_that_is_not_translated)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[maybe(PortClosed), maybe(FirewallReject)]).scope(&["port"]),

    // Rules that say no.
    reject_by_reset: of(FirewallReject, Client, firewall::reset_at_the_router)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[maybe(FirewallReject)]).scope(&["port"]).evidence(&["ttl"]),
    reject_by_reset_v6: of(FirewallReject, Client, firewall::reset_at_the_router).v6()
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[maybe(FirewallReject)]).scope(&["port"]),
    reject_by_reset_and_nothing_else_known: of(FirewallReject, Client, firewall::reset_and_nothing_else)
        .fails(ECONNREFUSED).told(Ended("refused"))
        .right(&[maybe(FirewallReject), maybe(PortClosed), maybe(Unknown)]),
    reject_by_reset_of_the_host_itself: of(FirewallReject, Client, firewall::reset_at_the_server)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[maybe(FirewallReject), maybe(PortClosed)]).scope(&["port"]),
    reject_by_reset_as_its_host_sees_it: of(FirewallReject, Server, firewall::reset_at_the_server)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[well(FirewallReject), well(DroppedByLocalFirewall)]),
    reject_by_reset_with_the_ttl_of_the_host: of(FirewallReject, Client, closed::reset_with_the_ttl_of_the_host)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[maybe(FirewallReject)])
        .evidence(&["options", "sequence number"]),
    reject_by_admin_prohibited: of(FirewallReject, Client, firewall::prohibited_at_the_router)
        .fails(EHOSTUNREACH).told(Ended("unreachable")).right(&[surely(FirewallReject)]).evidence(&["198.51.100.1"]),
    reject_by_admin_prohibited_v6: of(FirewallReject, Client, firewall::prohibited_at_the_router).v6()
        .fails(EACCES).told(Ended("unreachable")).right(&[surely(FirewallReject)]).evidence(&["2001:db8:1::1"]),
    reject_by_port_unreachable: of(FirewallReject, Client, firewall::port_unreachable_at_the_router)
        .fails(ECONNREFUSED).told(Ended("unreachable")).right(&[well(FirewallReject)]).evidence(&["198.51.100.1"]),
    reject_by_port_unreachable_v6: of(FirewallReject, Client, firewall::port_unreachable_at_the_router).v6()
        .fails(ECONNREFUSED).told(Ended("unreachable")).right(&[well(FirewallReject)]),
    reject_by_port_unreachable_of_the_host: of(FirewallReject, Client, firewall::port_unreachable_at_the_server)
        .fails(ECONNREFUSED).told(Ended("unreachable")).right(&[well(FirewallReject)]).evidence(&["203.0.113.2"]),
    // A rule may say what only a router without a way, or without an answer to its ARP, has cause to say.
    reject_by_host_unreachable: of(FirewallReject, Client, firewall::host_unreachable_at_the_router)
        .fails(EHOSTUNREACH).told(Ended("unreachable"))
        .right(&[maybe(FirewallReject), maybe(HostDown), maybe(Unknown)]),
    reject_by_net_unreachable: of(FirewallReject, Client, firewall::net_unreachable_at_the_router)
        .fails(ENETUNREACH).told(Ended("unreachable"))
        .right(&[maybe(FirewallReject), maybe(NetworkUnreachable), maybe(Unknown)]),

    // Rules that say nothing.
    drop_of_a_port: of(FirewallDrop, Client, firewall::drop_of_a_port)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[likely(FirewallDrop)]).scope(&["port"]).evidence(&["80"]),
    drop_of_a_port_v6: of(FirewallDrop, Client, firewall::drop_of_a_port).v6()
        .fails(ETIMEDOUT).told(Stalled("no_reply")).right(&[likely(FirewallDrop)]).scope(&["port"]).evidence(&["80"]),
    drop_and_nothing_else_known: of(FirewallDrop, Client, firewall::drop_and_nothing_else)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[hardly(FirewallDrop), maybe(HostDown), maybe(Unknown)]),
    drop_of_a_host: of(FirewallDrop, Client, firewall::drop_of_a_host)
        .fails(ETIMEDOUT).told(Stalled("no_reply"))
        .right(&[maybe(FirewallDrop), maybe(HostDown), maybe(Unknown)]).scope(&["host"]),
    drop_of_a_network: of(FirewallDrop, Client, firewall::drop_of_a_network)
        .fails(ETIMEDOUT).told(Stalled("no_reply"))
        .right(&[maybe(FirewallDrop), maybe(HostDown), maybe(NetworkUnreachable), maybe(Unknown)])
        .scope(&["network", "everything"]),
    drop_of_everything: of(FirewallDrop, Client, firewall::drop_of_everything)
        .fails(ETIMEDOUT).told(Stalled("no_reply"))
        .right(&[maybe(FirewallDrop), maybe(HostDown), maybe(NetworkUnreachable), maybe(Unknown)])
        .scope(&["everything"]),
    drop_as_the_one_who_drops_sees_it: of(DroppedByLocalFirewall, Router, firewall::drop_of_a_client)
        .fails(ETIMEDOUT).told(Ended("no_reply"))
        .right(&[well(DroppedByLocalFirewall), well(FirewallDrop)]),
    drop_of_what_is_translated: of(DroppedByLocalFirewall, Router, closed::port_that_is_dropped_when_translated)
        .fails(ETIMEDOUT).told(Stalled("no_reply")).right(&[likely(DroppedByLocalFirewall)])
        .evidence(&["NETFILTER_DROP, translated to", "203.0.113.2:80"]),
    drop_at_the_server: of(FirewallDrop, Client, firewall::drop_at_the_server)
        .fails(ETIMEDOUT).told(Stalled("no_reply")).right(&[likely(FirewallDrop)]).scope(&["port"]),
    drop_at_the_server_as_it_sees_it: of(DroppedByLocalFirewall, Server, firewall::drop_at_the_server)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[surely(DroppedByLocalFirewall)])
        .evidence(&["NETFILTER_DROP"])
        .facts(&[("/local/drops/0/reason", "\"NETFILTER_DROP\""), ("/local/listening", "true")]),
    drop_of_its_own_answer: of(DroppedByLocalFirewall, Server, firewall::drop_of_its_own_answer)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[surely(DroppedByLocalFirewall)])
        .evidence(&["SYN/ACK", "NETFILTER_DROP"]),
    drop_by_reverse_path: of(ReversePathFilter, Server, firewall::drop_by_reverse_path)
        .told(Ended("no_reply")).right(&[surely(ReversePathFilter)])
        .evidence(&["IP_RPFILTER", "IPReversePathFilter grew by 1"]),
    drop_by_a_policy: of(DroppedByLocalFirewall, Server, firewall::drop_by_a_policy)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[surely(DroppedByLocalFirewall)])
        .evidence(&["the policy of chain", "hook input"]).facts(&[("/local/rules/0/hook", "\"input\"")]),
    drop_by_one_of_several_rules: of(DroppedByLocalFirewall, Server, firewall::drop_by_one_of_several_rules)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[surely(DroppedByLocalFirewall)])
        .evidence(&["its counter grew by 3"]).facts(&[("/local/rules/0/chain", "\"mine\"")]),
    drop_of_the_final_ack: of(DroppedByLocalFirewall, Server, firewall::drop_of_the_final_ack)
        .socket(Open).told(Stalled("established")).right(&[surely(DroppedByLocalFirewall)])
        .evidence(&["the final ACK", "NETFILTER_DROP"]),
    drop_of_the_refusal: of(DroppedByLocalFirewall, Server, firewall::drop_of_the_refusal)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[well(DroppedByLocalFirewall)]).evidence(&["its own RST"]),
    bad_checksum: of(BadChecksum, Server, firewall::bad_checksum)
        .told(Ended("no_reply")).right(&[surely(BadChecksum)])
        .evidence(&["TCP_CSUM", "InCsumErrors grew by 1"]),
    bad_checksum_v6: of(BadChecksum, Server, firewall::bad_checksum).v6()
        .told(Ended("no_reply")).right(&[surely(BadChecksum)]).evidence(&["TCP_CSUM"]),
    translation_without_a_port: of(NatExhausted, Router, firewall::translation_without_a_port)
        .fails(ETIMEDOUT).told(Stalled("no_reply")).right(&[likely(NatExhausted)])
        .evidence(&["insert_failed"]).facts(&[("/local/drops/0/fits", "true")]),
    translation_without_a_port_v6: of(NatExhausted, Router, firewall::translation_without_a_port).v6()
        .fails(ETIMEDOUT).told(Stalled("no_reply")).right(&[likely(NatExhausted)])
        .evidence(&["insert_failed"]).facts(&[("/local/drops/0/fits", "true")]),
    masquerade_without_a_port: of(NatExhausted, Router, firewall::masquerade_without_a_port)
        .fails(ETIMEDOUT).told(Stalled("no_reply")).right(&[likely(NatExhausted)])
        .evidence(&["insert_failed"]).facts(&[("/local/drops/0/fits", "true")]),
    translation_with_a_port: fine(Router, firewall::translation_with_a_port).socket(Open),
    translation_with_a_port_v6: fine(Router, firewall::translation_with_a_port).v6().socket(Open),
    masquerade_with_a_port: fine(Router, firewall::masquerade_with_a_port).socket(Open),
    no_way_back: of(NoRoute, Server, way::no_way_back)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[maybe(NoRoute)]).evidence(&["OutNoRoutes grew by 3"]),
    half_open_queue_is_full: of(SynQueueFull, Server, listener::half_open_queue_is_full)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[likely(SynQueueFull)]).evidence(&["TCPReqQFullDrop grew by 3"]),
    half_open_queue_is_full_v6: of(SynQueueFull, Server, listener::half_open_queue_is_full).v6()
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[likely(SynQueueFull)]).evidence(&["TCPReqQFullDrop grew by 3"]),
    queue_full_at_the_ack_resets: of(ListenQueueFull, Server, listener::queue_resets_at_the_ack)
        .with(&["--all"]).socket(Open).told(Ended("reset_by_server")).right(&[well(ListenQueueFull)])
        .evidence(&["TCP_LISTEN_OVERFLOW", "accept queue is full", "ListenOverflows"]),
    rst_of_an_old_connection_is_dropped: of(PortReuse, Server, way::rst_of_an_old_connection_is_dropped)
        .socket(GivenUp).told(Ended("challenged")).right(&[likely(PortReuse)])
        .facts(&[("/local/drops/0/packet", "\"rst\"")]),
    host_unreachable_of_its_own_rule: of(FirewallReject, Server, firewall::host_unreachable_at_the_server)
        .fails(EHOSTUNREACH).told(Ended("unreachable")).right(&[surely(FirewallReject)]).evidence(&["NETFILTER_DROP"]),
    drop_at_the_client: of(DroppedByLocalFirewall, Client, firewall::drop_at_the_client)
        .fails(ETIMEDOUT).told(Connect).right(&[surely(DroppedByLocalFirewall)]).evidence(&["NETFILTER_DROP"]),
    answer_dropped_at_the_client: of(AnswerLostLocally, Client, firewall::drop_of_the_answer)
        .fails(ETIMEDOUT).told(Ended("half_open")).right(&[well(AnswerLostLocally)]),
    answer_dropped_at_the_client_v6: of(AnswerLostLocally, Client, firewall::drop_of_the_answer).v6()
        .fails(ETIMEDOUT).told(Ended("half_open")).right(&[well(AnswerLostLocally)]),
    answer_dropped_at_the_client_as_the_server_sees_it: of(AnswerLostLocally, Server, firewall::drop_of_the_answer)
        .fails(ETIMEDOUT).told(Stalled("half_open"))
        .right(&[maybe(AnswerLostLocally), maybe(FirewallDrop), maybe(AsymmetricPath), maybe(Unknown)]),

    // Nobody there, no way there.
    nobody_on_the_link: of(HostDown, Client, absent::nobody_on_the_link)
        .fails(EHOSTUNREACH).told(Connect).right(&[well(HostDown)]).evidence(&["arp"]),
    nobody_on_the_link_v6: of(HostDown, Client, absent::nobody_on_the_link).v6()
        .fails(EHOSTUNREACH).told(Connect).right(&[well(HostDown)]),
    nobody_behind_the_router: of(HostDown, Client, absent::nobody_behind_the_router)
        .fails(EHOSTUNREACH).told(Ended("unreachable")).right(&[likely(HostDown)]).evidence(&["198.51.100.1"]),
    nobody_behind_the_router_v6: of(HostDown, Client, absent::nobody_behind_the_router).v6()
        .fails(EHOSTUNREACH).told(Ended("unreachable")).right(&[likely(HostDown)]),
    nobody_behind_a_translated_port: of(HostDown, Client, closed::port_that_is_translated_to_nobody)
        .fails(EHOSTUNREACH).told(Ended("unreachable")).right(&[likely(HostDown)]).evidence(&["198.51.100.1"]),
    nobody_behind_a_translated_port_as_who_translates_sees_it:
        of(HostDown, Router, closed::port_that_is_translated_to_nobody)
        .fails(EHOSTUNREACH).told(Ended("unreachable")).right(&[likely(HostDown)])
        .evidence(&["NEIGH_FAILED, translated to"]),
    nobody_and_no_word: of(HostDown, Client, absent::nobody_and_no_word)
        .fails(ETIMEDOUT).told(Stalled("no_reply")).right(&[maybe(HostDown), hardly(FirewallDrop), maybe(Unknown)]),
    host_that_went: of(HostDown, Client, absent::host_that_went)
        .fails(ETIMEDOUT).told(Stalled("no_reply")).right(&[maybe(HostDown), maybe(FirewallDrop), maybe(Unknown)]),
    no_route: of(NoRoute, Client, absent::no_route)
        .fails(ENETUNREACH).told(Connect).right(&[surely(NoRoute)]).evidence(&["route"]),
    no_route_v6: of(NoRoute, Client, absent::no_route).v6()
        .fails(ENETUNREACH).told(Connect).right(&[surely(NoRoute)]).evidence(&["route"]),
    no_port_left: of(NoLocalPort, Client, absent::no_port_left)
        .fails(EADDRNOTAVAIL).told(Connect).right(&[surely(NoLocalPort)]),
    no_port_left_v6: of(NoLocalPort, Client, absent::no_port_left).v6()
        .fails(EADDRNOTAVAIL).told(Connect).right(&[surely(NoLocalPort)]),
    nobody_at_the_gateway: of(GatewayDown, Client, absent::nobody_at_the_gateway)
        .fails(EHOSTUNREACH).told(Connect).right(&[surely(GatewayDown)]).evidence(&["198.51.100.99", "arp"]),
    nobody_at_the_gateway_v6: of(GatewayDown, Client, absent::nobody_at_the_gateway).v6()
        .fails(EHOSTUNREACH).told(Connect).right(&[surely(GatewayDown)]).evidence(&["2001:db8:1::99"]),
    gateway_that_is_asked_first: fine(Client, absent::gateway_that_is_asked_first).socket(Open),
    gateway_that_is_asked_first_v6: fine(Client, absent::gateway_that_is_asked_first).v6().socket(Open),
    address_of_many: of(ConnectFailed, Client, absent::address_of_many)
        .fails(ENETUNREACH).told(Connect).right(&[surely(ConnectFailed)]).evidence(&["broadcast or multicast"]),
    address_of_many_v6: of(ConnectFailed, Client, absent::address_of_many).v6()
        .fails(ENETUNREACH).told(Connect).right(&[surely(ConnectFailed)]),
    prohibited_by_a_route: of(NoRoute, Client, absent::prohibited_by_a_route)
        .fails(EACCES).told(Connect).right(&[surely(NoRoute)]),
    no_route_at_the_router: of(NetworkUnreachable, Client, absent::no_route_at_the_router)
        .fails(ENETUNREACH).told(Ended("unreachable")).right(&[likely(NetworkUnreachable)]).evidence(&["198.51.100.1"]),
    no_route_at_the_router_v6: of(NetworkUnreachable, Client, absent::no_route_at_the_router).v6()
        .fails(ENETUNREACH).told(Ended("unreachable")).right(&[likely(NetworkUnreachable)]),
    no_route_at_the_router_as_it_sees_it: of(NetworkUnreachable, Router, absent::no_route_at_the_router)
        .fails(ENETUNREACH).told(Ended("unreachable")).right(&[surely(NetworkUnreachable)])
        .evidence(&["IP_INNOROUTES"]),
    // The router that is traced has the route itself: nobody else is to be asked.
    unreachable_route_at_the_router_as_it_sees_it: of(NetworkUnreachable, Router, absent::unreachable_route_at_the_router)
        .fails(EHOSTUNREACH).told(Ended("unreachable"))
        .right(&[hardly(FirewallReject), surely(NetworkUnreachable)]).evidence(&["this host"])
        .facts(&[("/icmp/from", "\"198.51.100.1\"")]).next("on this host: ip route get"),
    prohibit_route_at_the_router_as_it_sees_it: of(FirewallReject, Router, absent::prohibit_route_at_the_router)
        .fails(EHOSTUNREACH).told(Ended("unreachable"))
        .right(&[surely(FirewallReject)]).evidence(&["an address of this host"]).next("on this host: ip route get"),
    // One that begins with so few hops is somebody's who looks at the way.
    too_many_hops: of(NetworkUnreachable, Client, absent::too_many_hops)
        .fails(EHOSTUNREACH).told(Ended("unreachable")).right(&[hardly(NetworkUnreachable)]).evidence(&["198.51.100.1"]),

    // Listeners that are overrun.
    // Certain, unless a flood elsewhere on the machine left drops unnoted meanwhile.
    queue_is_full: of(ListenQueueFull, Server, listener::queue_is_full)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[well(ListenQueueFull)]).evidence(&["queue"])
        .facts(&[("/local/listener/queue", "2"), ("/local/listener/queue_max", "1"), ("/local/listening", "true")]),
    queue_is_full_v6: of(ListenQueueFull, Server, listener::queue_is_full).v6()
        .fails(ETIMEDOUT).told(Stalled("no_reply")).right(&[well(ListenQueueFull)]).evidence(&["queue"]),
    queue_is_full_as_the_client_sees_it: of(ListenQueueFull, Client, listener::queue_is_full)
        .fails(ETIMEDOUT).told(Stalled("no_reply"))
        .right(&[maybe(ListenQueueFull), maybe(Unknown), hardly(FirewallDrop), hardly(HostDown)]),
    queue_is_full_of_a_silent_port: of(ListenQueueFull, Client, listener::queue_was_full_before)
        .fails(ETIMEDOUT).told(Stalled("no_reply"))
        .right(&[maybe(ListenQueueFull), maybe(FirewallDrop), maybe(Unknown)]).scope(&["port"]),
    queue_is_full_at_the_ack: of(ListenQueueFull, Server, listener::queue_is_full_at_the_ack)
        .socket(Open).told(Stalled("established")).right(&[surely(ListenQueueFull)]).evidence(&["queue"]),
    queue_that_drains: fine(Server, listener::queue_that_drains).socket(Open),
    listener_waits_for_data: fine(Server, listener::waits_for_data)
        .with(&["--all"]).socket(Open).told(Told::Open("established")).right(&[maybe(Unknown)]),
    listener_waits_for_data_as_the_client_sees_it: fine(Client, listener::waits_for_data)
        .with(&["--all"]).socket(Open).told(Told::Open("established")).right(&[maybe(Unknown), hardly(ListenQueueFull)]),
    flood: of(SynFlood, Server, listener::flood)
        .told(Stalled("half_open")).right(&[well(SynFlood)]),
    flood_v6: of(SynFlood, Server, listener::flood).v6()
        .told(Stalled("half_open")).right(&[well(SynFlood)]),
    flood_of_cookies: of(SynFlood, Server, listener::flood_backwards)
        .told(Stalled("half_open")).right(&[well(SynFlood)]),
    crowd: fine(Server, listener::crowd),

    // Clients that go, give up, or only look.
    client_unplugged: of(ClientVanished, Server, client::unplugged)
        .told(Ended("half_open")).right(&[likely(ClientVanished)]),
    client_spoofed_of_nobody: of(ClientVanished, Server, client::spoofed_of_nobody)
        .told(Ended("half_open")).right(&[likely(ClientVanished)]),
    client_spoofed_of_somebody: of(ClientVanished, Server, client::spoofed_of_somebody)
        .told(Ended("aborted")).right(&[hardly(ClientVanished), maybe(ApplicationGaveUp)]),
    client_spoofed_of_nowhere: of(ClientVanished, Server, client::spoofed_of_nowhere)
        .told(Ended("half_open")).right(&[maybe(ClientVanished)]),
    answer_dropped_on_the_way: of(FirewallDrop, Server, client::answer_dropped_on_the_way)
        .fails(ETIMEDOUT).told(Ended("half_open"))
        .right(&[maybe(FirewallDrop), maybe(AsymmetricPath), maybe(AnswerLostLocally), maybe(Unknown)]),
    answer_dropped_on_the_way_as_the_client_sees_it: of(FirewallDrop, Client, client::answer_dropped_on_the_way)
        .fails(ETIMEDOUT).told(Ended("no_reply")).right(&[hardly(FirewallDrop), maybe(HostDown), maybe(Unknown)]),
    ack_dropped_on_the_way: of(FirewallDrop, Server, client::ack_dropped_on_the_way)
        .socket(Open).told(Ended("half_open"))
        .right(&[maybe(ClientVanished), maybe(FirewallDrop), maybe(AsymmetricPath), maybe(Unknown)]),
    ack_dropped_on_the_way_as_the_client_sees_it: of(FirewallDrop, Client, client::ack_dropped_on_the_way)
        .socket(Open).told(Stalled("established"))
        .right(&[maybe(ListenQueueFull), maybe(FirewallDrop), maybe(AsymmetricPath), maybe(Unknown)]),
    gives_up_early: of(ApplicationGaveUp, Client, client::gives_up_early)
        .socket(GivenUp).told(Ended("no_reply")).right(&[maybe(ApplicationGaveUp), maybe(Unknown)]),
    gives_up_after_two_syns: of(ApplicationGaveUp, Client, client::gives_up_after_two_syns)
        .socket(GivenUp).told(Ended("no_reply")).right(&[maybe(ApplicationGaveUp), maybe(Unknown)]),
    gives_up_during_the_handshake: of(ApplicationGaveUp, Client, client::gives_up_during_the_handshake)
        .socket(GivenUp).told(Ended("aborted")).right(&[well(ApplicationGaveUp), maybe(Unknown)]),
    gives_up_during_the_handshake_as_the_server_sees_it:
        of(ApplicationGaveUp, Server, client::gives_up_during_the_handshake)
        .socket(GivenUp).told(Ended("aborted"))
        .right(&[maybe(ApplicationGaveUp), maybe(ClientVanished), maybe(Unknown)]),
    health_check: of(HealthCheck, Server, client::looks_again_and_again)
        .with(&["--all"]).socket(Open).told(Ended("reset_by_client")).right(&[well(HealthCheck)]),
    health_check_is_not_listed: of(HealthCheck, Server, client::looks_again_and_again).socket(Open),
    health_check_without_opening: of(HealthCheck, Server, client::looks_without_opening)
        .with(&["--all"]).told(Ended("aborted")).right(&[well(HealthCheck)]),
    one_look: fine(Server, client::looks_once)
        .with(&["--all"]).socket(Open).told(Ended("reset_by_client")).right(&[maybe(Unknown), hardly(HealthCheck)]),
    one_reset_after_data: fine(Server, client::resets_after_data)
        .with(&["--all"]).socket(Open).told(Ended("reset_by_client")).right(&[maybe(Unknown)]),

    // Ways and addresses.
    answer_by_another_wire: of(AsymmetricPath, Client, way::answer_by_another_wire)
        .after(|lab| lab.second_way_to_the_client()).with(&["--all"])
        .socket(Open).told(Told::Open("established")).right(&[well(AsymmetricPath)]),
    answer_alone: of(AsymmetricPath, ClientSecondWay, way::answer_by_another_wire)
        .after(|lab| lab.second_way_to_the_client()).with(&["--all"])
        .socket(Open).told(Ended("answer_only")).right(&[well(AsymmetricPath)]),
    answer_from_another_address: of(NatMismatch, Client, way::answer_from_another_address)
        .fails(ETIMEDOUT).told(Stalled("wrong_answer")).right(&[surely(NatMismatch)]).evidence(&["203.0.113.3"]),
    answer_from_another_address_v6: of(NatMismatch, Client, way::answer_from_another_address).v6()
        .fails(ETIMEDOUT).told(Stalled("wrong_answer")).right(&[surely(NatMismatch)]),
    ecn_is_dropped: of(OptionsBlocked, Client, way::ecn_is_dropped)
        .with(&["--all"]).socket(Open).told(Told::Open("established")).right(&[hardly(OptionsBlocked), maybe(Unknown)]),
    ecn_is_dropped_again: of(OptionsBlocked, Client, way::ecn_is_dropped_again)
        .with(&["--all"]).socket(Open).told(Told::Open("established")).right(&[likely(OptionsBlocked)])
        .evidence(&["ecn"]),
    ecn_is_dropped_again_v6: of(OptionsBlocked, Client, way::ecn_is_dropped_again).v6()
        .with(&["--all"]).socket(Open).told(Told::Open("established")).right(&[likely(OptionsBlocked)]),
    ecn_is_left_out_after_a_loss: fine(Client, way::ecn_is_left_out_after_a_loss)
        .with(&["--all"]).socket(Open).told(Told::Open("established")).right(&[maybe(Unknown)]),
    two_answers: of(DuplicateIp, Client, way::two_answers).with(&["--all"])
        .fails(ECONNRESET).told(Ended("reset_by_server")).right(&[likely(DuplicateIp), maybe(MiddleboxReset)]),
    second_host_with_the_address: of(DuplicateIp, Router, way::second_host_with_the_address)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[well(DuplicateIp)]).evidence(&["02:00:00:00:02:99"]),
    second_host_with_the_address_from_afar: of(DuplicateIp, Client, way::second_host_with_the_address)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[maybe(DuplicateIp), maybe(PortClosed), maybe(Unknown)]),
    ports_of_an_old_connection: of(PortReuse, Client, way::ports_of_an_old_connection)
        .socket(GivenUp).told(Ended("challenged")).right(&[well(PortReuse)]),
    ports_of_an_old_connection_with_patience: of(PortReuse, Client, way::ports_of_an_old_connection_with_patience)
        .socket(Open).told(Ended("established")).right(&[well(PortReuse), maybe(Unknown)]),
    // Refused, and then its answer came, which the client resets.
    reset_before_the_answer: of(MiddleboxReset, Client, closed::reset_before_the_answer)
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[well(MiddleboxReset), maybe(FirewallReject)])
        .evidence(&["ttl"]),
    reset_before_the_answer_v6: of(MiddleboxReset, Client, closed::reset_before_the_answer).v6()
        .fails(ECONNREFUSED).told(Ended("refused")).right(&[well(MiddleboxReset), maybe(FirewallReject)]),
    reset_after_data: of(MiddleboxReset, Client, closed::reset_after_data)
        .with(&["--all"]).fails(ECONNRESET).told(Ended("reset_by_server")).right(&[well(MiddleboxReset)])
        .evidence(&["ttl"]),
    reset_by_the_server: fine(Client, innocent::reset_by_the_server)
        .with(&["--all"]).fails(ECONNRESET).told(Ended("reset_by_server")).right(&[maybe(Unknown), hardly(NoBackend)]),

    accepted_and_reset: of(NoBackend, Client, innocent::accepted_and_reset)
        .fails(ECONNRESET).told(Ended("reset_by_server")).right(&[hardly(NoBackend)])
        .facts(&[("/stage", "\"post_ack\"")]),
    accepted_and_reset_as_the_server_sees_it: of(NoBackend, Server, innocent::accepted_and_reset).v6()
        .fails(ECONNRESET).told(Ended("reset_by_server")).right(&[hardly(NoBackend)]),
    accepted_and_reset_after_data: of(NoBackend, Client, innocent::reset_by_the_server)
        .fails(ECONNRESET).told(Ended("reset_by_server")).right(&[hardly(NoBackend)])
        .facts(&[("/stage", "\"unserved\"")]),

    // Nothing is wrong.
    accepted_and_closed: fine(Client, innocent::accepted_and_closed).socket(Open),
    works: fine(Client, innocent::works).socket(Open),
    works_v6: fine(Server, innocent::works).v6().socket(Open),
    lost_syn: fine(Client, innocent::lost_syn).socket(Open),
    lost_syn_ack: fine(Server, innocent::lost_syn_ack).socket(Open),
    three_lost_syns: fine(Client, innocent::three_lost_syns)
        .socket(Open).told(Stalled("established")).right(&[maybe(Unknown)]),
    simultaneous_open: fine(Client, innocent::simultaneous_open).socket(Open),
    fast_open: fine(Client, innocent::fast_open).socket(Open),
    restarted_listener: fine(Router, innocent::restarted_listener).socket(Open),
    ports_in_time_wait: fine(Client, innocent::ports_in_time_wait).socket(Open),
}
