//! The suite `own_host`: what this host says of its own packets, and how far that is proof: errors that it sent itself,
//! listeners of other interfaces, fixed neighbours, translated addresses, calls of a proxy. Pure.

use std::net::IpAddr;

use tcptrace_core::{
    drops::Kind,
    flow::{Addr, Endpoint},
    handshake::{End, Facts, Handshake, Nanos, Offer, Point, Side, State},
    segment::{Flags, Options},
    seq::Seq,
};
use tcptrace_verdict::{case::Case, judge, past::Past};
use tcptrace_vocabulary::{
    attempt::Attempt,
    cause::{
        Cause::{
            self, DuplicateIp, FirewallDrop, FirewallReject, HostDown, ListenQueueFull, MiddleboxReset,
            NetworkUnreachable, NoBackend, PortClosed, Unknown,
        },
        Confidence::{self, Certain, Likely, Possible},
    },
    facts::{
        Apart, Container, Counters, Dropped, Fact, Listener, Local, Missing, Neighbour, Netns, Onward, Place, Process,
        Suspect,
    },
    outcome::Outcome,
    scope::Extent,
    verdict::Verdict,
};

const SECOND: u64 = 1_000_000_000;
const NOW: Nanos = Nanos(10_000 * SECOND);
const CLIENT: Addr = Addr::v4(0xc633_6402);
const SERVER: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 6036 };
const POD: Addr = Addr::v4(0x0af4_0105);

fn silent(server: Endpoint, tries: u8) -> Handshake {
    Handshake {
        client_addr: CLIENT,
        client_port: 40_000,
        server_addr: server.addr,
        server_port: server.port,
        isn: Seq(7),
        first_syn: NOW,
        last_syn: Nanos(NOW.0 + SECOND * u64::from(tries - 1)),
        client_point: Point::egress(2),
        syn: Offer { ttl: 64, tries, options: Options::TIMESTAMPS, ..Offer::default() },
        state: State::SynSent as u8,
        ..Handshake::default()
    }
}

fn opened(server: Endpoint, client: Addr) -> Handshake {
    let at = Nanos(NOW.0 + SECOND / 50);
    Handshake {
        client_addr: client,
        client_port: 41_000,
        isn: Seq(8),
        first_answer: at,
        last_answer: at,
        ended: Nanos(at.0 + 1),
        answered_try: 1,
        answer: Offer { ttl: 60, tries: 1, ..Offer::default() },
        end: End { flags: Flags::ACK, ..End::default() },
        state: State::Established as u8,
        ..silent(server, 1)
    }
}

/// The verdict on the first of these attempts, with the others around it.
fn judged(attempts: &[Handshake], local: &Local, icmp_from: Option<Addr>) -> Verdict {
    let outcome = |it: &Handshake| Outcome::to_the_end(it).expect("an attempt");
    let mut past = Past::default();
    attempts.iter().rev().for_each(|it| past.note(it, outcome(it)));
    let attempt = Attempt { icmp_from, ..Attempt::from_handshake(attempts[0], outcome(&attempts[0])) };
    judge(&Case { attempt: &attempt, local, past: &past, checks: 0 })
}

#[track_caller]
fn is(said: &Verdict, cause: Cause, confidence: Confidence, words: &str) {
    assert_eq!((said.cause, said.confidence), (cause, confidence), "{said:#?}");
    assert!(said.evidence.join("; ").contains(words), "{words}: {said:#?}");
    assert!(!said.next.is_empty() && said.next.iter().all(|it| it.chars().count() <= 130), "{said:#?}");
}

fn at_the_client() -> Local {
    Local { client_here: Ok(true), server_here: Ok(false), ..Local::unknown(Missing::Elsewhere) }
}

fn drop_of(reason: &str, place: Place) -> Fact<Vec<Dropped>> {
    Ok(vec![Dropped {
        at: NOW,
        from: Side::Client,
        packet: Kind::Syn,
        fits: Some(true),
        reason: reason.to_owned(),
        count: 1,
        place,
        netns: 0,
        within: None,
        translated: None,
    }])
}

fn rule(rejects: bool) -> Fact<Vec<Suspect>> {
    let (table, chain) = ("t".to_owned(), "o".to_owned());
    Ok(vec![Suspect {
        hook: "output",
        family: "inet",
        table,
        chain,
        handle: Some(5),
        rejects,
        packets: None,
        grew: None,
    }])
}

fn neighbour(link_addresses: &[[u8; 6]], is_fixed: bool) -> Fact<Option<Neighbour>> {
    let address = IpAddr::from([203, 0, 113, 2]);
    Ok(Some(Neighbour {
        is_peer: true,
        address,
        failed: false,
        link_addresses: link_addresses.to_vec(),
        is_fixed,
        may_be_unheard: false,
    }))
}

/// An ICMP error of this host about its own SYN is a rule's only where a rule was found: load balancers and tunnels
/// send such errors as well.
#[test]
fn an_own_error_is_certain_only_with_a_rule_that_rejects() {
    let with = |code, after: u64, local: &Local| {
        let it = silent(SERVER, 1);
        let ended = Nanos(NOW.0 + after);
        let it = Handshake { ended, facts: Facts(Facts::UNREACHABLE), icmp_kind: 3, icmp_code: code, ..it };
        judged(&[it], local, Some(CLIENT))
    };
    let bare = at_the_client();
    let dropped = |rules| Local { drops: drop_of("NETFILTER_DROP", Place::Client), rules, ..at_the_client() };
    is(&with(3, 1000, &dropped(rule(true))), FirewallReject, Certain, "one of its rules rejects the SYN");
    for local in [&bare, &dropped(rule(false)), &dropped(Ok(Vec::new())), &dropped(Err(Missing::Privilege))] {
        let said = with(3, 1000, local);
        is(&said, FirewallReject, Likely, "a load balancer of this host without a backend");
        assert!(!said.next.join(" ").contains("ask the admin"), "{said:#?}");
    }
    for code in [9, 10, 13] {
        is(&with(code, 1000, &bare), FirewallReject, Certain, "this host itself sent ICMP");
    }
    is(&with(0, 1000, &bare), FirewallReject, Likely, "a rule or a route of this host rejects it");
    // Host-unreachable at once, while the next hop is known on the link; where it is not, a tunnel may have no peer.
    let known = Local { neighbour: neighbour(&[[2; 6]], false), ..at_the_client() };
    is(&with(1, 1000, &known), FirewallReject, Likely, "came after 0.0 ms");
    for neighbour in [Ok(None), neighbour(&[], false), Err(Missing::Failed)] {
        let local = Local { neighbour, ..at_the_client() };
        is(&with(1, 1000, &local), FirewallReject, Possible, "a tunnel that has no peer");
        // After the seconds that a look-up takes it is one.
        assert_ne!(with(1, 3 * SECOND, &local).cause, FirewallReject);
    }
}

/// TCP's own word for the SYN, and a listener that takes SYNs elsewhere.
#[test]
fn a_listener_elsewhere_is_no_newer_one() {
    let end = End { ttl: 64, window: 0, flags: Flags::RST | Flags::ACK };
    let it = silent(SERVER, 1);
    let it = Handshake { ended: Nanos(NOW.0 + 1000), end, state: State::Refused as u8, ..it };
    let with = |apart, drops| {
        let listener = Listener { process: Err(Missing::Gone), queue: 0, queue_max: 9, sockets: 1, apart };
        let local = Local { server_here: Ok(true), client_here: Ok(false), ..Local::unknown(Missing::NotAsked) };
        judged(&[it], &Local { listener: Ok(Some(listener)), drops, ..local }, None)
    };
    let no_socket = || drop_of("NO_SOCKET", Place::Server);
    let mgmt = || Some(Apart::Interface("mgmt".to_owned()));
    is(&with(mgmt(), no_socket()), PortClosed, Certain, "port 6036 is bound to interface mgmt");
    let said = with(Some(Apart::Vrf("blue".to_owned())), no_socket());
    is(&said, PortClosed, Certain, "came in by VRF blue");
    assert!(said.next.join(" ").contains("ip vrf exec blue"), "{said:#?}");
    is(&with(None, no_socket()), PortClosed, Possible, "it may be newer");
    // A bridge's port is not where TCP took it in: without TCP's word nothing is proven.
    is(&with(mgmt(), Ok(Vec::new())), PortClosed, Possible, "it may be newer");
    let challenged = Handshake { facts: Facts(Facts::CHALLENGED), ..it };
    let listener = Listener { process: Err(Missing::Gone), queue: 0, queue_max: 9, sockets: 1, apart: mgmt() };
    let local = Local { server_here: Ok(true), listener: Ok(Some(listener)), drops: no_socket(), ..at_the_client() };
    is(&judged(&[challenged], &Local { client_here: Ok(false), ..local }, None), PortClosed, Likely, "mgmt");
}

/// Two claims are two hosts; an entry that an administrator set is no claim.
#[test]
fn a_fixed_entry_is_no_second_host() {
    let with = |macs: &[[u8; 6]], is_fixed| {
        let local = Local { neighbour: neighbour(macs, is_fixed), ..at_the_client() };
        judged(&[silent(SERVER, 3)], &local, None)
    };
    is(&with(&[[1; 6], [2; 6]], false), DuplicateIp, Likely, "is at both");
    is(&with(&[[9; 6], [1; 6], [2; 6]], true), DuplicateIp, Likely, "is at both");
    let said = with(&[[9; 6], [1; 6]], true);
    is(&said, Unknown, Possible, "is fixed: 09:09:09:09:09:09; that neighbour says 01:01:01:01:01:01");
    assert!(said.next[0].contains("ip neigh show nud permanent"), "{said:#?}");
    is(&with(&[[9; 6]], true), Unknown, Possible, "");
    assert!(with(&[[9; 6]], true).evidence.is_empty());
}

/// The copy of a SYN that a translation made is no other host's failure, and no sign of life.
#[test]
fn the_copy_of_a_syn_is_no_second_witness() {
    let copy = |to: Addr| Handshake { server_addr: to, first_syn: Nanos(NOW.0 + 40_000), ..silent(SERVER, 2) };
    let alone = judged(&[silent(SERVER, 2)], &at_the_client(), None);
    assert_eq!(alone.scope.extent, Extent::Unknown, "{alone:#?}");
    for to in [POD, CLIENT, Addr::v4(0xcb00_7109)] {
        let said = judged(&[silent(SERVER, 2), copy(to)], &at_the_client(), None);
        assert_eq!(said.scope.extent, Extent::Unknown, "{said:#?}");
        let back = said.evidence.join(" ").contains("from its own address");
        assert_eq!(back, to == CLIENT, "{said:#?}");
        assert!(said.evidence.join(" ").contains("the same SYN"), "{said:#?}");
    }
    // Another SYN is another host's.
    let other = Handshake { isn: Seq(99), ..copy(POD) };
    let said = judged(&[silent(SERVER, 2), other], &at_the_client(), None);
    assert_eq!(said.scope.extent, Extent::Everything, "{said:#?}");
}

/// Each port of an address that this host translates may have a host of its own.
#[test]
fn a_port_that_answers_proves_nothing_of_a_translated_address() {
    let beside = opened(Endpoint { port: 80, ..SERVER }, CLIENT);
    let said = judged(&[silent(SERVER, 3), beside], &at_the_client(), None);
    is(&said, FirewallDrop, Likely, "203.0.113.2 answered on port 80");
    let copy = Handshake { server_addr: POD, first_syn: Nanos(NOW.0 + 40_000), ..silent(SERVER, 3) };
    let said = judged(&[silent(SERVER, 3), copy, beside], &at_the_client(), None);
    is(&said, FirewallDrop, Possible, "this host translates that address");
    assert!(!said.evidence.join(" ").contains("is there"), "{said:#?}");
}

/// Net-unreachable to one client, while the host answers others, may be a limit of the gateway.
#[test]
fn an_error_to_one_client_is_not_the_networks() {
    let it = silent(SERVER, 1);
    let facts = Facts(Facts::UNREACHABLE);
    let it = Handshake { ended: Nanos(NOW.0 + SECOND / 10), facts, icmp_kind: 3, icmp_code: 0, ..it };
    let around = |server, client| {
        let other = opened(server, client);
        judged(&[it, other], &at_the_client(), Some(Addr::v4(0xc633_6401)))
    };
    let stranger = Addr::v4(0xc633_6407);
    is(&around(SERVER, stranger), FirewallReject, Possible, "answers other clients on port 6036");
    is(&around(SERVER, CLIENT), FirewallReject, Likely, "answers this client on port 6036");
    is(&around(Endpoint { port: 80, ..SERVER }, CLIENT), FirewallReject, Likely, "answers on another port");
    is(&judged(&[it], &at_the_client(), None), NetworkUnreachable, Likely, "net-unreach");
}

/// An acceptable RST refused it; the server's SYN/ACK that came later met a socket that was gone.
#[test]
fn a_syn_ack_after_the_refusal_does_not_make_it_another_outcome() {
    let it = opened(SERVER, CLIENT);
    let end = End { ttl: 64, window: 0, flags: Flags::RST };
    let it = Handshake { facts: Facts(Facts::RECOVERING), end, state: State::Aborted as u8, ..it };
    assert_eq!(Outcome::of(&it), Some(Outcome::Refused));
    is(&judged(&[it], &at_the_client(), None), MiddleboxReset, Likely, "a RST came first, and then the server's own");
    // A second SYN was answered, and the client reset that: it is the client's end.
    let again = Handshake { syn: Offer { tries: 2, ..it.syn }, ..it };
    assert_eq!(Outcome::of(&again), Some(Outcome::Aborted));
}

/// The client asked again after it had been answered: it is not silent.
#[test]
fn a_client_that_asks_again_has_not_vanished() {
    let it = opened(SERVER, CLIENT);
    let end = End { ttl: 60, window: 0, flags: Flags::RST | Flags::ACK };
    let once = Handshake { end, ended: Nanos(NOW.0 + 2 * SECOND), state: State::ResetOnAnswer as u8, ..it };
    let local = Local { client_here: Ok(false), ..at_the_client() };
    is(&judged(&[once], &local, None), Cause::ClientVanished, Possible, "stayed silent");
    let again = Handshake { last_syn: Nanos(NOW.0 + SECOND), syn: Offer { tries: 2, ..it.syn }, ..once };
    let said = judged(&[again], &local, None);
    assert_ne!(said.cause, Cause::ClientVanished, "{said:#?}");
    // An ICMP error came back for the SYN/ACK: of a source that is forged, or of the client's own rule.
    let half = |hs: Handshake| Handshake { facts: Facts(Facts::ANSWER_UNREACHABLE), end: End::default(), ..hs };
    let half = |hs| Handshake { ended: Nanos(0), state: State::SynReceived as u8, ..half(hs) };
    is(&judged(&[half(it)], &local, None), Cause::ClientVanished, Possible, "may be forged");
    let asks = Handshake { last_syn: Nanos(NOW.0 + SECOND), syn: Offer { tries: 2, ..it.syn }, ..it };
    is(&judged(&[half(asks)], &local, None), FirewallDrop, Possible, "they do not reach it");
}

/// Several numbers and data that nobody acknowledged: a fact that whoever looks further begins with.
#[test]
fn two_numbers_are_told_where_nothing_got_through() {
    let it = opened(SERVER, CLIENT);
    let with = |facts, tries| {
        let answer = Offer { tries, ..it.answer };
        Handshake { facts: Facts(facts), syn: Offer { tries, ..it.syn }, answer, ..it }
    };
    let twice = with(Facts::TWO_ANSWERS | Facts::CLIENT_DATA, 2);
    let words =
        "2 SYN/ACKs with different sequence numbers answered 2 SYNs, and the client's data was never acknowledged";
    is(&judged(&[twice], &at_the_client(), None), Unknown, Possible, words);
    let wants = |it| Attempt::from_handshake(it, Outcome::Established).wants_cause();
    assert!(wants(twice));
    assert!(!wants(with(Facts::TWO_ANSWERS | Facts::CLIENT_DATA | Facts::SERVER_DATA, 2)), "it got through");
    assert!(!wants(with(Facts::TWO_ANSWERS, 2)), "nothing was sent");
    assert!(!wants(with(Facts::CLIENT_DATA, 1)), "one number");
}

/// The process that accepted called another, and failed.
#[test]
fn a_proxy_is_known_by_its_own_failed_call() {
    let it = opened(SERVER, CLIENT);
    let end = End { ttl: 60, window: 0, flags: Flags::RST | Flags::ACK };
    let it = Handshake { facts: Facts(Facts::SERVER_RST), end, ..it };
    let with = |onward| {
        let process = Process { pid: 7, command: "python3".to_owned(), ..Process::default() };
        let listener = Listener { process: Ok(process), queue: 0, queue_max: 9, sockets: 1, apart: None };
        let local = Local { server_here: Ok(true), client_here: Ok(false), ..Local::unknown(Missing::NotAsked) };
        judged(&[it], &Local { listener: Ok(Some(listener)), onward, ..local }, None)
    };
    let backend = Endpoint { addr: POD, port: 9000 };
    for (outcome, how) in [
        (Some(Outcome::Refused), "was refused"),
        (Some(Outcome::NoReply), "did not answer"),
        (Some(Outcome::Unreachable), "could not be reached"),
        (None, "connect(2) failed"),
    ] {
        let said = with(Ok(Some(Onward { server: backend, outcome })));
        is(&said, NoBackend, Likely, "called 10.244.1.5:9000 meanwhile");
        assert!(said.evidence[0].contains(how), "{said:#?}");
    }
    for none in [Ok(None), Err(Missing::NotAsked)] {
        is(&with(none), NoBackend, Possible, "a service that sends clients away");
    }
}

/// A router that is traced is this host, and not somebody to be asked.
#[test]
fn a_router_that_is_this_host_is_named_so() {
    let router = Addr::v4(0xc633_6401);
    let pod = Netns { name: "netns r".to_owned(), enter: "ip netns exec r".to_owned() };
    let with = |code, after: u64, error_from| {
        let ended = Nanos(NOW.0 + after);
        let it = silent(SERVER, 1);
        let it = Handshake { ended, facts: Facts(Facts::UNREACHABLE), icmp_kind: 3, icmp_code: code, ..it };
        let local =
            Local { client_here: Ok(false), server_here: Ok(false), error_from, ..Local::unknown(Missing::Elsewhere) };
        judged(&[it], &local, Some(router))
    };
    for (code, after, cause, step) in [
        (13, 1000, FirewallReject, "ip route get 203.0.113.2 from 198.51.100.2 iif INTERFACE"),
        (1, 1000, FirewallReject, "ip route get 203.0.113.2 from 198.51.100.2 iif INTERFACE"),
        (0, 1000, NetworkUnreachable, "ip route get 203.0.113.2 from 198.51.100.2 iif INTERFACE"),
        (1, 3 * SECOND, HostDown, "ip neigh show 203.0.113.2"),
    ] {
        let here = with(code, after, Ok(None));
        assert_eq!(here.cause, cause, "{here:#?}");
        assert!(here.evidence[0].ends_with("from 198.51.100.1, an address of this host"), "{here:#?}");
        assert!(here.next[0].starts_with(&format!("on this host: {step}")), "{here:#?}");
        let within = with(code, after, Ok(Some(pod.clone())));
        assert!(within.next[0].starts_with(&format!("on this host: ip netns exec r {step}")), "{within:#?}");
        for it in [&here, &within] {
            assert!(!it.next.join(" ").contains("198.51.100.1,") && !it.next.join(" ").contains("admin"), "{it:#?}");
        }
        let elsewhere = with(code, after, Err(Missing::Elsewhere));
        assert!(!format!("{elsewhere:?}").contains("this host"), "{elsewhere:#?}");
    }
}

/// A step in another network namespace has the way in, and one for the application the way into its container.
#[test]
fn steps_lead_into_the_namespace_and_the_container_of_an_end() {
    let container = Container { id: "3f9a1c0b5e7d".to_owned(), name: Some("web-1".to_owned()), ..Container::default() };
    let enter = Some("docker exec -it web-1".to_owned());
    let process = |container| Process { pid: 812, command: "nginx".to_owned(), container, ..Process::default() };
    let with = |netns: Option<Netns>, container| {
        let local = Local { server_here: Ok(true), client_here: Ok(false), ..Local::unknown(Missing::NotAsked) };
        let full = Listener { process: Ok(process(container)), queue: 9, queue_max: 1, sockets: 1, apart: None };
        let counters = Ok(Counters { listen_overflows: 3, ..Counters::default() });
        judged(
            &[silent(SERVER, 3)],
            &Local { listener: Ok(Some(full)), counters, server_netns: Ok(netns), ..local },
            None,
        )
    };
    let [own, inside] = [None, Some("nsenter -t 812 -n".to_owned())].map(|enter| {
        let netns = enter.map(|enter| Netns { name: "container web-1".to_owned(), enter });
        with(netns, Some(Container { enter: None, ..container.clone() }))
    });
    is(&own, ListenQueueFull, Likely, "accept queue");
    assert!(own.next[0].starts_with("on 203.0.113.2, in its netns: ss -ltnp"), "the tracer's own: {own:#?}");
    assert!(inside.next[0].starts_with("on this host, in container web-1: nsenter -t 812 -n ss -ltnp"), "{inside:#?}");
    assert_eq!(inside.next.len(), own.next.len(), "nobody knows how to enter it");
    let known = with(None, Some(Container { enter, ..container }));
    let last = "on this host, to look into container web-1: docker exec -it web-1 sh";
    assert_eq!(known.next.last().map(String::as_str), Some(last), "{known:#?}");
}
