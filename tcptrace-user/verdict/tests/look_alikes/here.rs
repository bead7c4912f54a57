//! This host's own deeds: queues, rules, checks of packets, connection tracking, memory.

use tcptrace_core::{
    drops::Kind,
    flow::Endpoint,
    handshake::{End, Facts, Handshake, Nanos, Offer, Point, Side},
    segment::Flags,
};
use tcptrace_vocabulary::{
    cause::{
        Cause::{
            AnswerLostLocally, BadChecksum, ClientVanished, ConntrackFull, DroppedByLocalFirewall, FirewallReject,
            GatewayDown, HostDown, ListenQueueFull, NatExhausted, NoRoute, OutOfMemory, ReversePathFilter,
            SynQueueFull, Unknown,
        },
        Confidence::{Certain, Likely, Possible},
    },
    facts::{Aborts, Counters, Dropped, Local, Missing, Place, Socket},
    scope::Extent,
};

use super::{beside, drop_at, neighbour, said, short, told, tried, unsent};
use crate::common::{
    Around, CLIENT, NEIGHBOUR, NOW, SECOND, SERVER, ZERO, answered, dropped, established, here, listener, silent,
    suspect, verdict,
};

/// The server is here, with so many in its queue, and the counters and drops were read.
fn server(queue: u32, counters: Counters) -> Local {
    Local { listener: Ok(listener(queue)), counters: Ok(counters), drops: Ok(Vec::new()), ..here(true) }
}

/// Both ends are on this host.
fn both() -> Local {
    Local { client_here: Ok(true), ..here(true) }
}

/// The last of so many SYNs was answered, and the connection opened.
fn opened_at(tries: u8) -> Handshake {
    let it = established(CLIENT, SERVER);
    Handshake { syn: Offer { tries, ..it.syn }, answered_try: tries, ..it }
}

fn overflows(grew: u64) -> Counters {
    Counters { listen_overflows: grew, ..ZERO }
}

#[test]
fn a_queue_is_full_by_its_length_and_by_its_counter() {
    let full = told(tried(1, 0), server(2, overflows(3)));
    assert_eq!(short(&full), (ListenQueueFull, Certain));
    assert_eq!(
        full.evidence,
        ["the accept queue is full: 2 wait, the limit is 1", "ListenOverflows grew by 3 meanwhile"]
    );
    let still = told(tried(1, 0), server(2, ZERO));
    assert_eq!((short(&still), still.evidence.len()), ((ListenQueueFull, Likely), 1), "the counter stood still");
    assert_eq!(said(tried(1, 0), server(1, ZERO)).0, Unknown, "as many as fit");
    let unread = Local { drops: Err(Missing::Privilege), ..server(2, overflows(3)) };
    assert_eq!(said(tried(1, 0), unread), (ListenQueueFull, Likely), "a rule may have dropped it");
    let other = Local { drops: Ok(dropped(Side::Client, "TCP_MINTTL")), ..server(0, overflows(3)) };
    assert_eq!(said(tried(1, 0), other).0, Unknown, "the SYN was dropped for another reason");
    // The second SYN got in.
    assert_eq!(said(opened_at(2), server(2, overflows(1))), (ListenQueueFull, Certain));
    assert_eq!(said(opened_at(1), server(2, overflows(1))).0, Unknown, "the first SYN was answered");
}

#[test]
fn the_kernels_word_for_a_full_queue_is_certain_for_what_it_dropped() {
    let overflow = |packet, fits| {
        let it = Dropped { packet, fits, ..dropped(Side::Client, "TCP_LISTEN_OVERFLOW").remove(0) };
        Local { drops: Ok(vec![it]), ..server(2, overflows(1)) }
    };
    assert_eq!(said(tried(1, 0), overflow(Kind::Syn, Some(true))), (ListenQueueFull, Certain));
    assert_eq!(said(tried(1, 0), overflow(Kind::Syn, None)), (ListenQueueFull, Likely), "perhaps another attempt's");
    let open = established(CLIENT, SERVER);
    assert_eq!(said(open, overflow(Kind::Ack, Some(true))), (ListenQueueFull, Likely), "a later ACK may have got in");
    let reset = Handshake { facts: Facts(Facts::SERVER_RST), ..open };
    assert_eq!(said(reset, overflow(Kind::Ack, Some(true))), (ListenQueueFull, Certain));
    let words = told(reset, overflow(Kind::Ack, Some(true))).evidence[0].clone();
    assert_eq!(words, "this host dropped the final ACK (TCP_LISTEN_OVERFLOW): the accept queue was full");

    // A packet after the server's RST finds no socket either.
    let no_socket = Dropped { packet: Kind::Ack, ..dropped(Side::Client, "NO_SOCKET").remove(0) };
    let cookie = Local { drops: Ok(vec![no_socket]), ..server(2, overflows(1)) };
    assert_eq!(said(open, cookie.clone()), (ListenQueueFull, Certain));
    assert_eq!(said(reset, cookie), (ListenQueueFull, Likely));
}

#[test]
fn a_full_queue_of_half_open_connections_drops_syns() {
    let local = |queue| server(queue, Counters { syn_queue_drops: 2, ..ZERO });
    assert_eq!(said(tried(2, 1), local(0)), (SynQueueFull, Likely));
    let none = Local { listener: Ok(None), ..local(0) };
    assert_eq!(said(tried(2, 1), none), (SynQueueFull, Possible), "who listened then is gone");
    let full = Local { drops: Err(Missing::Failed), counters: local(0).counters, ..server(2, ZERO) };
    assert_eq!(said(tried(2, 1), full), (ListenQueueFull, Likely), "the accept queue explains it");
    assert_eq!(said(opened_at(2), local(0)), (SynQueueFull, Likely), "the second SYN got in");
    // Its final ACK was dropped by a rule, so the accept queue is not asked; it is full, and may explain the first SYN.
    let ack = Dropped { packet: Kind::Ack, ..dropped(Side::Client, "NETFILTER_DROP").remove(0) };
    let full = Local { drops: Ok(vec![ack]), ..local(2) };
    assert_eq!(said(opened_at(2), full), (SynQueueFull, Possible));
    for (it, local, why) in [
        (opened_at(1), local(0), "the first SYN got in"),
        (answered(SECOND / 50), local(0), "the SYN was answered"),
        (Handshake { syn: Offer { tries: 2, ..answered(1).syn }, ..answered(SECOND / 50) }, local(0), "it was, again"),
        (tried(2, 1), server(0, ZERO), "nothing was counted"),
        (tried(2, 1), Local { server_here: Ok(false), ..local(0) }, "another host's queue"),
        (tried(2, 1), Local { drops: Ok(dropped(Side::Client, "TCP_MINTTL")), ..local(0) }, "the SYN was dropped"),
    ] {
        assert_ne!(said(it, local).0, SynQueueFull, "{why}");
    }
}

/// The first SYN was dropped, and the second passed: the drop is of each try that was lost.
#[test]
fn a_rule_that_lets_the_second_syn_pass_dropped_the_first() {
    let rule = || Local { drops: Ok(dropped(Side::Client, "NETFILTER_DROP")), ..here(true) };
    assert_eq!(said(opened_at(2), rule()), (DroppedByLocalFirewall, Certain));
    assert_eq!(said(opened_at(3), rule()), (DroppedByLocalFirewall, Likely), "one of two was lost elsewhere");
    assert_eq!(said(opened_at(1), rule()).0, Unknown, "no SYN was lost");
    // Its SYN/ACK took another way: it opened all the same.
    let unseen = Handshake { answer: Offer::default(), facts: Facts(Facts::ANSWER_UNSEEN), ..opened_at(2) };
    assert_eq!(said(unseen, rule()), (DroppedByLocalFirewall, Certain));
}

#[test]
fn a_drop_is_told_by_where_it_happened() {
    let words = |it, local: Local, drops| told(it, Local { drops: Ok(drops), ..local }).evidence[0].clone();
    let syn = |place| drop_at(Side::Client, "NETFILTER_DROP", place);
    let own = "this host dropped its own SYN (NETFILTER_DROP)";
    let passed = "this host dropped the SYN after it passed the interface (NETFILTER_DROP)";
    assert_eq!(words(tried(1, 0), here(false), syn(Place::Client)), own);
    assert_eq!(words(tried(1, 0), here(false), syn(Place::Between)), passed);
    assert_eq!(
        words(unsent(), both(), syn(Place::Client)),
        format!("{}, in the namespace of 198.51.100.2)", &own[..own.len() - 1])
    );
    assert_eq!(
        words(tried(1, 0), both(), syn(Place::Client)),
        "this host dropped the SYN after it passed the interface (NETFILTER_DROP, in the namespace of 198.51.100.2)",
        "it came by, so it had left"
    );
    assert_eq!(words(tried(1, 0), here(true), syn(Place::Server)), passed);

    let answer = |place, packet| {
        let it = drop_at(Side::Server, "NETFILTER_DROP", place).into_iter();
        it.map(|it| Dropped { packet, ..it }).collect::<Vec<_>>()
    };
    let kept = |what| format!("the SYN came in, and this host dropped its own {what} (NETFILTER_DROP)");
    assert_eq!(words(tried(1, 0), here(true), answer(Place::Server, Kind::SynAck)), kept("SYN/ACK"));
    assert_eq!(words(tried(1, 0), here(true), answer(Place::Server, Kind::Rst)), kept("RST"));
    assert_eq!(
        words(tried(1, 0), here(true), answer(Place::Between, Kind::SynAck)),
        "this host dropped the SYN/ACK after it passed the interface (NETFILTER_DROP)"
    );
    // The client's own host dropped it on its way in, before it came by: the attempt is silent.
    let silent = Local { drops: Ok(answer(Place::Client, Kind::SynAck)), ..both() };
    assert_eq!(said(tried(1, 0), silent), (DroppedByLocalFirewall, Certain));

    let none = Local { rules: Ok(Vec::new()), drops: Ok(syn(Place::Client)), ..here(false) };
    let none = told(tried(1, 0), none).evidence;
    assert_eq!(none[1], "no rule or policy of nftables that can have done it was found");
}

#[test]
fn a_full_table_needs_a_limit_and_a_counter() {
    let with = |counters| {
        let local = Local { counters: Ok(counters), rules: Ok(Vec::new()), ..here(true) };
        said(tried(1, 0), Local { drops: Ok(dropped(Side::Client, "NETFILTER_DROP")), ..local })
    };
    let full = Counters { conntrack_drops: 1, conntrack_entries: 95, conntrack_limit: 100, ..ZERO };
    assert_eq!(with(full), (ConntrackFull, Likely));
    assert_eq!(with(Counters { conntrack_entries: 94, ..full }), (DroppedByLocalFirewall, Likely));
    assert_eq!(with(Counters { conntrack_drops: 0, ..full }), (DroppedByLocalFirewall, Likely), "it stood still");
    let unread = Counters { conntrack_entries: 0, conntrack_limit: 0, ..full };
    assert_eq!(with(unread), (DroppedByLocalFirewall, Likely), "there is no such table");
    assert_eq!(with(Counters { conntrack_insert_failed: 1, ..full }), (NatExhausted, Likely));
}

/// A SYN that this host translated is known by one of its ends only.
#[test]
fn a_drop_after_translation_is_told_with_both_addresses() {
    let to = Endpoint { addr: NEIGHBOUR.addr, port: 8080 };
    let translated = |reason| {
        let from = Endpoint { addr: CLIENT, port: 40_000 };
        let it = drop_at(Side::Client, reason, Place::Between);
        let drops = it.into_iter().map(|it| Dropped { translated: Some((from, to)), ..it }).collect();
        Local { client_here: Ok(false), server_here: Ok(false), drops: Ok(drops), counters: Ok(ZERO), ..here(false) }
    };
    let rule = told(tried(1, 0), translated("NETFILTER_DROP"));
    assert_eq!(short(&rule), (DroppedByLocalFirewall, Likely));
    assert_eq!(
        rule.evidence[0],
        "this host dropped the SYN after it passed the interface (NETFILTER_DROP, translated to 198.51.100.2:40000 → 203.0.113.9:8080)"
    );
    assert_eq!(said(opened_at(2), translated("NETFILTER_DROP")), (DroppedByLocalFirewall, Likely));
    assert_eq!(said(opened_at(1), translated("NETFILTER_DROP")).0, Unknown, "no SYN was lost");
    assert_eq!(said(tried(1, 0), translated("TCP_MINTTL")).0, Unknown, "no rule did that");
    let gone = told(tried(1, 0), translated("NEIGH_FAILED"));
    assert_eq!((short(&gone), gone.scope.extent), ((HostDown, Likely), Extent::Unknown), "the one behind is down");
    let full = Counters { conntrack_drops: 1, conntrack_entries: 100, conntrack_limit: 100, ..ZERO };
    let full = Local { counters: Ok(full), ..translated("NETFILTER_DROP") };
    assert_eq!(said(tried(1, 0), full), (ConntrackFull, Likely));
}

/// Where several drops are known, newest first, the one that kept the packet from the wire counts.
#[test]
fn a_later_drop_does_not_hide_the_one_on_the_way_out() {
    let local = |drops: [Vec<Dropped>; 2]| Local { drops: Ok(drops.concat()), ..here(false) };
    let queue = drop_at(Side::Client, "NEIGH_QUEUEFULL", Place::Client);
    let backlog = drop_at(Side::Client, "SOCKET_BACKLOG", Place::Client);
    assert_eq!(said(tried(1, 0), local([backlog, queue])), (GatewayDown, Possible));
    let router = drop_at(Side::Client, "NEIGH_FAILED", Place::Between);
    let no_route = drop_at(Side::Client, "IP_OUTNOROUTES", Place::Client);
    assert_eq!(said(tried(1, 0), local([router, no_route])), (NoRoute, Certain));
}

#[test]
fn a_packet_from_the_wrong_interface_names_its_sender_and_the_counter() {
    let local = |from, grew| {
        let counters = Ok(Counters { reverse_path_drops: grew, ..ZERO });
        Local { drops: Ok(dropped(from, "IP_RPFILTER")), counters, ..here(true) }
    };
    let syn = told(tried(1, 0), local(Side::Client, 1));
    assert_eq!(short(&syn), (ReversePathFilter, Certain));
    assert_eq!(
        syn.evidence,
        [
            "this host dropped the SYN: its route back to 198.51.100.2 uses another interface (IP_RPFILTER)",
            "IPReversePathFilter grew by 1"
        ]
    );
    let client = Local { client_here: Ok(true), server_here: Ok(false), ..local(Side::Server, 0) };
    let answer = told(answered(SECOND / 50), client);
    assert_eq!(short(&answer), (ReversePathFilter, Certain));
    assert_eq!(
        answer.evidence,
        ["this host dropped the SYN/ACK: its route back to 203.0.113.2 uses another interface (IP_RPFILTER)"]
    );
}

#[test]
fn a_wrong_checksum_is_the_kernels_own_word() {
    for reason in ["TCP_CSUM", "UDP_CSUM", "IP_CSUM"] {
        let local = |grew| {
            let counters = Ok(Counters { checksum_errors: grew, ..ZERO });
            Local { drops: Ok(dropped(Side::Client, reason)), counters, ..here(true) }
        };
        let it = told(tried(1, 0), local(1));
        assert_eq!(short(&it), (BadChecksum, Certain));
        assert_eq!(it.evidence[0], format!("this host dropped the SYN: its checksum is wrong ({reason})"));
        assert_eq!(it.evidence[1], "InCsumErrors grew by 1");
        assert_eq!(told(tried(1, 0), local(0)).evidence.len(), 1);
        assert_eq!(said(tried(2, 1), local(1)), (BadChecksum, Likely), "the other SYN was lost elsewhere");
    }
    let counters = Ok(Counters { checksum_errors: 3, ..ZERO });
    let counted = Local { counters, drops: Ok(Vec::new()), ..here(true) };
    assert_eq!(said(tried(1, 0), counted).0, Unknown, "the counter is of all packets");
}

#[test]
fn an_answer_is_lost_here_if_the_client_waits_here() {
    let socket = |state| Ok(Some(Socket { state, cookie: 1, inode: 2, uid: 0 }));
    let waits = |it: Local| Local { socket: socket("SYN-SENT"), drops: Ok(Vec::new()), ..it };
    let half_open = answered(SECOND / 50);
    assert_eq!(said(half_open, waits(here(false))), (AnswerLostLocally, Likely));
    let open = Local { socket: socket("ESTABLISHED"), ..waits(here(false)) };
    assert_ne!(said(half_open, open).0, AnswerLostLocally, "the socket has it");
    assert_ne!(said(tried(1, 0), waits(here(false))).0, AnswerLostLocally, "there was no SYN/ACK");
    let leaving = Handshake { server_point: Point::egress(2), ..half_open };
    assert_ne!(said(leaving, waits(both())).0, AnswerLostLocally, "it was seen on its way out only");
    // The server's host sees the SYN/ACK leave, and knows nothing of the client.
    assert_eq!(said(half_open, waits(Local { client_here: Ok(false), ..here(true) })), (ClientVanished, Possible));
}

#[test]
fn a_reset_for_want_of_memory_is_a_reset_that_was_seen() {
    let aborts = Local { aborts: Ok(Aborts { for_memory: 1, otherwise: 0 }), ..here(true) };
    let reset = |flags| {
        let it = established(CLIENT, SERVER);
        Handshake { facts: Facts(Facts::SERVER_RST), end: End { ttl: 60, flags, ..End::default() }, ..it }
    };
    assert_eq!(said(reset(Flags::RST | Flags::ACK), aborts.clone()), (OutOfMemory, Likely));
    assert_ne!(said(reset(Flags::ACK), aborts.clone()).0, OutOfMemory, "what ended it was no RST");
    assert_ne!(said(reset(Flags::RST), aborts).0, OutOfMemory, "TCP's own has an ACK");

    let lack = |from, count| {
        let it = dropped(from, "PROTO_MEM").into_iter().map(|it| Dropped { count, ..it });
        Local { drops: Ok(it.collect()), ..here(true) }
    };
    assert_eq!(said(tried(2, 1), lack(Side::Client, 2)), (OutOfMemory, Certain));
    assert_eq!(said(tried(2, 1), lack(Side::Client, 1)), (OutOfMemory, Possible));
    assert_eq!(said(tried(2, 1), lack(Side::Server, 2)), (OutOfMemory, Certain), "no SYN/ACK left");
    assert_eq!(said(answered(SECOND / 50), lack(Side::Server, 1)), (OutOfMemory, Certain));
}

/// No SYN left: by a rule, but not where there was no SYN, or nobody to send it to.
#[test]
fn what_never_left_was_kept_by_a_rule() {
    let local = || Local { left: Ok(0), ..here(false) };
    assert_eq!(said(tried(1, 0), local()), (DroppedByLocalFirewall, Likely));
    assert_eq!(said(tried(1, 0), Local { left: Ok(1), ..local() }).0, Unknown);
    assert_eq!(said(tried(1, 0), Local { left: Err(Missing::Failed), ..local() }).0, Unknown);
    let alone = Local { neighbour: Ok(Some(neighbour(true, true))), ..local() };
    assert_eq!(said(unsent(), alone), (HostDown, Certain), "the neighbour does not answer");
    assert_ne!(said(unsent(), Local { made: Ok(false), ..local() }).0, DroppedByLocalFirewall, "there was no SYN");
    // Its port answers others meanwhile, and what this host kept never got there.
    let three = tried(3, 3);
    let worked = vec![established(CLIENT, Endpoint { port: 80, ..SERVER })];
    let kept = verdict(three, &Around { worked: worked.clone(), local: Some(local()), ..Around::default() });
    assert_eq!(short(&kept), (DroppedByLocalFirewall, Likely));
    assert_ne!(beside(three, worked).0, DroppedByLocalFirewall);
    let reset =
        Handshake { ended: Nanos(NOW.0 + SECOND / 50), ..crate::common::refused(64, 0, Flags::RST | Flags::ACK) };
    assert_eq!(said(reset, local()), (FirewallReject, Likely), "nobody else had a SYN to refuse");
    assert_eq!(
        said(reset, Local { rules: Ok(vec![suspect(None)]), ..here(false) }).0,
        tcptrace_vocabulary::cause::Cause::PortClosed
    );
}

/// A server that answered since the attempt began has a way to it: its gateway is not down.
#[test]
fn a_neighbour_that_answered_since_is_not_down() {
    let local = |is_peer| Local { neighbour: Ok(Some(neighbour(is_peer, true))), left: Ok(0), ..here(false) };
    assert_eq!(said(silent(CLIENT, SERVER), local(false)), (GatewayDown, Certain));
    let worked = vec![established(CLIENT, Endpoint { port: 80, ..SERVER })];
    let since = verdict(silent(CLIENT, SERVER), &Around { worked, local: Some(local(false)), ..Around::default() });
    assert_ne!(since.cause, GatewayDown, "the server answered by another way meanwhile");
    let both = Local { server_here: Ok(true), ..local(false) };
    assert_ne!(said(silent(CLIENT, SERVER), both).0, GatewayDown, "the server is on this host");
}
