//! The suite `proofs`: the evidence of each [`Proof`] makes a verdict certain, and the nearest thing that looks like it
//! does not. Pure; the suites `causes` and `cases` make most of them for real.

mod common;

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use Proof::{
    AnswerDropped, AnsweredElsewhere, Checksum, CookieAck, DroppedAndAnswered, DroppedByRule, DroppedWithoutRoute,
    Forbidden, LinkDown, NoMemory, NoPort, NoRouteToForward, NoSocket, NotOneHost, Overflow, OwnError, Prohibited,
    QueueFull, RefusedByProgram, RejectedCall, ReversePath, RoutingRefuses, SilentGateway, SilentOnLink, TwoHosts,
};
use common::{
    Around, CLIENT, NEIGHBOUR, NOW, PORT_80, SECOND, SERVER, ZERO, answered, dropped, established, here, listener,
    proof, refused, rejecting, silent, suspect, unreachable, verdict,
};
use tcptrace_core::{
    drops::Kind,
    flow::Addr,
    handshake::{End, Facts, Handshake, Nanos, Offer, Point, Side, State},
    segment::Flags,
};
use tcptrace_verdict::proof::Proof;
use tcptrace_vocabulary::{
    cause::Confidence,
    facts::{Call, Counters, Dropped, Local, Missing, Neighbour, Place, Way},
};

/// An attempt, and what is known beside it.
struct Scene(Handshake, Around);

/// A proof, an attempt that has it, and others that nearly do.
struct Row {
    proof: Proof,
    made: Scene,
    alike: Vec<(&'static str, Scene)>,
}

fn with(it: Handshake, local: Local) -> Scene {
    Scene(it, Around { local: Some(local), ..Around::default() })
}

fn row(proof: Proof, made: Scene, alike: impl Into<Vec<(&'static str, Scene)>>) -> Row {
    Row { proof, made, alike: alike.into() }
}

fn no_reply() -> Handshake {
    silent(CLIENT, SERVER)
}

/// A call of which no SYN came by.
fn unseen() -> Handshake {
    let it = no_reply();
    Handshake { syn: Offer { tries: 0, ..it.syn }, ..it }
}

fn tried(tries: u8) -> Handshake {
    let it = no_reply();
    Handshake { syn: Offer { tries, ..it.syn }, ..it }
}

fn reset() -> Handshake {
    refused(64, 0, Flags::RST | Flags::ACK)
}

/// The SYN/ACK came in three times.
fn half_open() -> Handshake {
    let it = answered(SECOND / 50);
    let last_answer = Nanos(it.first_answer.0 + 3 * SECOND);
    Handshake { last_answer, answer: Offer { tries: 3, ..it.answer }, ..it }
}

/// The final ACK was sent, and the SYN/ACK came again.
fn answered_again() -> Handshake {
    let it = established(CLIENT, SERVER);
    let last_answer = Nanos(it.ended.0 + SECOND);
    Handshake { last_answer, answer: Offer { tries: 2, ..it.answer }, ..it }
}

fn drops(from: Side, reason: &str, change: impl Fn(&mut Dropped)) -> Local {
    let mut it = dropped(from, reason).remove(0);
    change(&mut it);
    Local { drops: Ok(vec![it]), ..Local::unknown(Missing::NotAsked) }
}

/// The drops, and the facts of the end that is here.
fn at(server: bool, local: Local) -> Local {
    Local { drops: local.drops, ..here(server) }
}

fn router(local: Local) -> Local {
    let (client_here, server_here) = (Ok(false), Ok(false));
    Local { client_here, server_here, rules: Ok(vec![suspect(None)]), counters: Ok(ZERO), ..local }
}

fn neighbour(is_peer: bool) -> Neighbour {
    Neighbour {
        is_peer,
        address: IpAddr::from([203, 0, 113, 2]),
        failed: true,
        link_addresses: Vec::new(),
        is_fixed: false,
        may_be_unheard: false,
    }
}

fn link(up: bool, carrier: bool) -> Way {
    Way::Link { interface: "eth0".to_owned(), up, carrier }
}

/// The facts of a call of this host's own.
fn call(errno: Option<i32>, made: Result<bool, Missing>, way: Result<Way, Missing>) -> Local {
    let call = errno.map_or(Err(Missing::NotAsked), |errno| Ok(Call { errno: Some(errno), took: Duration::ZERO }));
    Local { client_here: Ok(true), server_here: Ok(false), made, way, call, ..Local::unknown(Missing::NotAsked) }
}

fn any_drop(_: &mut Dropped) {}

fn nowhere(errno: i32) -> Result<Way, Missing> {
    Ok(Way::Nowhere { errno })
}

fn icmp(kind: u8, code: u8, from: Addr) -> Scene {
    Scene(unreachable(kind, code), Around { icmp_from: Some(from), ..Around::default() })
}

fn syn_dropped(reason: &str, change: fn(&mut Dropped)) -> Local {
    at(true, drops(Side::Client, reason, change))
}

fn refusals() -> Vec<Row> {
    let no_socket = |change| syn_dropped("NO_SOCKET", change);
    let nobody = |local: Local| Local { listener: Ok(None), ..local };
    let challenged = Handshake { facts: Facts(Facts::CHALLENGED), ..reset() };
    let own = |it, local| Scene(it, Around { icmp_from: Some(CLIENT), local: Some(local), ..Around::default() });
    let silent_here = Local { neighbour: Ok(Some(neighbour(true))), ..here(false) };
    vec![
        row(
            NoSocket,
            with(reset(), nobody(no_socket(any_drop))),
            [
                ("a rule's RST", with(reset(), nobody(syn_dropped("NETFILTER_DROP", any_drop)))),
                ("no word of TCP", with(reset(), nobody(here(true)))),
                ("somebody listens", with(reset(), Local { listener: Ok(listener(0)), ..no_socket(any_drop) })),
                ("another attempt's SYN", with(reset(), nobody(no_socket(|it| it.fits = Some(false))))),
                ("perhaps another attempt's", with(reset(), nobody(no_socket(|it| it.fits = None)))),
                ("an older connection", with(challenged, nobody(no_socket(any_drop)))),
                (
                    "the server is elsewhere",
                    with(reset(), Local { server_here: Ok(false), ..nobody(no_socket(any_drop)) }),
                ),
            ],
        ),
        row(
            Prohibited,
            icmp(3, 13, NEIGHBOUR.addr),
            [
                ("port", icmp(3, 3, NEIGHBOUR.addr)),
                ("host", icmp(3, 1, NEIGHBOUR.addr)),
                ("network", icmp(3, 0, NEIGHBOUR.addr)),
                ("protocol", icmp(3, 2, NEIGHBOUR.addr)),
            ],
        ),
        row(
            OwnError,
            own(unreachable(3, 13), here(false)),
            [
                ("a neighbour was looked for", own(unreachable(3, 1), silent_here)),
                ("another host's", icmp(3, 3, NEIGHBOUR.addr)),
            ],
        ),
    ]
}

fn rejections() -> Vec<Row> {
    let rejected = |rules, errno| {
        let local = at(false, drops(Side::Client, "NETFILTER_DROP", |it| it.place = Place::Client));
        let call = Ok(Call { errno: Some(errno), took: Duration::from_millis(1) });
        with(unseen(), Local { made: Ok(true), call, rules: Ok(rules), ..local })
    };
    let by_rule = |change| Local { rules: Ok(rejecting()), ..syn_dropped("NETFILTER_DROP", change) };
    let silent_rule = Local { rules: Ok(vec![suspect(None)]), ..by_rule(any_drop) };
    let either = Local { rules: Ok([rejecting(), vec![suspect(None)]].concat()), ..by_rule(any_drop) };
    let no_rule = Local { rules: Ok(Vec::new()), ..by_rule(any_drop) };
    let copied = Local {
        drops: Ok([dropped(Side::Client, "NETFILTER_DROP"), dropped(Side::Client, "NO_SOCKET")].concat()),
        rules: Ok(rejecting()),
        ..here(true)
    };
    vec![
        row(
            RejectedCall,
            rejected(rejecting(), libc::ECONNREFUSED),
            [
                ("a rule that drops", rejected(vec![suspect(None)], libc::ECONNREFUSED)),
                ("a rule of each kind", rejected([rejecting(), vec![suspect(None)]].concat(), libc::ECONNREFUSED)),
                ("no rule", rejected(Vec::new(), libc::ECONNREFUSED)),
                ("silence", rejected(rejecting(), libc::ETIMEDOUT)),
            ],
        ),
        row(
            DroppedAndAnswered,
            with(reset(), by_rule(any_drop)),
            [
                ("a bridge's copy", with(reset(), copied)),
                ("another attempt's SYN", with(reset(), by_rule(|it| it.fits = Some(false)))),
                ("a RST was dropped", with(reset(), by_rule(|it| it.packet = Kind::Rst))),
                ("a rule that drops, and somebody between answers", with(reset(), silent_rule)),
                ("one that drops, and one that rejects", with(reset(), either)),
                ("a load balancer: no rule", with(unreachable(3, 3), no_rule)),
                ("TCP refused it", with(reset(), syn_dropped("NO_SOCKET", any_drop))),
            ],
        ),
    ]
}

/// The next hop does not answer, and the kernel dropped the SYN for that.
fn silent_hop(it: Handshake, is_peer: bool) -> Scene {
    let drops = at(false, drops(Side::Client, "NEIGH_FAILED", |it| it.place = Place::Client));
    with(it, Local { neighbour: Ok(Some(neighbour(is_peer))), ..drops })
}

fn next_hops() -> Vec<Row> {
    let unheard = |is_peer| {
        let it = Neighbour { may_be_unheard: true, ..neighbour(is_peer) };
        let mut scene = silent_hop(unseen(), is_peer);
        scene.1.local.as_mut().expect("there is one").neighbour = Ok(Some(it));
        scene
    };
    let no_word = |is_peer| with(unseen(), Local { neighbour: Ok(Some(neighbour(is_peer))), ..here(false) });
    let found = |is_peer| {
        let it = Neighbour { failed: false, ..neighbour(is_peer) };
        with(no_reply(), Local { neighbour: Ok(Some(it)), ..here(false) })
    };
    let down = Local { neighbour: Ok(Some(neighbour(true))), way: Ok(link(false, false)), ..here(false) };
    let mut heard = silent_hop(unseen(), false);
    let later = |at: Nanos| Nanos(at.0 + SECOND);
    let it = established(CLIENT, PORT_80);
    heard.1.worked = vec![Handshake {
        first_syn: later(it.first_syn),
        first_answer: later(it.first_answer),
        ended: later(it.ended),
        ..it
    }];
    let forward = |it, reason: &str, change: fn(&mut Dropped)| with(it, router(drops(Side::Client, reason, change)));
    let between = |it: &mut Dropped| it.place = Place::Between;
    vec![
        row(
            SilentOnLink,
            silent_hop(unseen(), true),
            [
                ("the gateway", silent_hop(unseen(), false)),
                ("a rule here may drop the answer", unheard(true)),
                ("a SYN left, perhaps by another way", silent_hop(no_reply(), true)),
                ("nothing says that it kept this SYN", no_word(true)),
                ("it answers on the link", found(true)),
                ("the link is down", with(no_reply(), down)),
            ],
        ),
        row(
            SilentGateway,
            silent_hop(unseen(), false),
            [
                ("the server itself", silent_hop(unseen(), true)),
                ("a rule here may drop the answer", unheard(false)),
                ("a SYN left, perhaps by another way", silent_hop(no_reply(), false)),
                ("nothing says that it kept this SYN", no_word(false)),
                ("it answers on the link", found(false)),
                ("the server was heard since", heard),
            ],
        ),
        row(
            NoRouteToForward,
            forward(no_reply(), "IP_INNOROUTES", between),
            [
                ("one of three", forward(tried(3), "IP_INNOROUTES", between)),
                ("perhaps another attempt's", forward(no_reply(), "IP_INNOROUTES", |it| it.fits = None)),
                ("no neighbour", forward(no_reply(), "NEIGH_FAILED", between)),
            ],
        ),
    ]
}

fn routes() -> Vec<Row> {
    let from_afar = Around { local: Some(call(None, Ok(true), Ok(link(false, true)))), ..Around::default() };
    let from_afar = Around { icmp_from: Some(NEIGHBOUR.addr), ..from_afar };
    let no_route = |it, change: fn(&mut Dropped)| {
        let local = at(false, drops(Side::Client, "IP_OUTNOROUTES", change));
        with(it, local)
    };
    let own = |it: &mut Dropped| it.place = Place::Client;
    vec![
        row(
            LinkDown,
            with(unseen(), call(None, Err(Missing::NotAsked), Ok(link(false, true)))),
            [
                ("it was refused", with(reset(), call(None, Ok(true), Ok(link(false, true))))),
                ("a router answered", Scene(unreachable(3, 1), from_afar)),
                ("it is up", with(unseen(), call(None, Err(Missing::NotAsked), Ok(link(true, true))))),
            ],
        ),
        row(
            RoutingRefuses,
            with(unseen(), call(Some(libc::ENETUNREACH), Ok(false), nowhere(libc::ENETUNREACH))),
            [
                ("routing has changed since", with(unseen(), call(None, Ok(false), Err(Missing::Gone)))),
                ("it was refused", with(reset(), call(None, Ok(true), nowhere(libc::ENETUNREACH)))),
                ("no port", with(unseen(), call(Some(libc::EADDRNOTAVAIL), Ok(false), Err(Missing::Gone)))),
            ],
        ),
        row(
            DroppedWithoutRoute,
            no_route(unseen(), own),
            [
                ("one of three", no_route(tried(3), own)),
                ("perhaps another attempt's", no_route(unseen(), |it| it.fits = None)),
            ],
        ),
    ]
}

fn calls() -> Vec<Row> {
    let asked = Err(Missing::NotAsked);
    let with_icmp = Scene(
        unreachable(3, 13),
        Around { local: Some(call(Some(libc::EACCES), asked, Ok(link(true, true)))), ..Around::default() },
    );
    vec![
        row(
            NoPort,
            with(unseen(), call(Some(libc::EADDRNOTAVAIL), Ok(false), Err(Missing::NotAsked))),
            [
                ("no route", with(unseen(), call(Some(libc::ENETUNREACH), Ok(false), nowhere(libc::ENETUNREACH)))),
                ("no errno", with(unseen(), call(None, Ok(false), Err(Missing::NotAsked)))),
            ],
        ),
        row(
            NotOneHost,
            with(unseen(), call(Some(libc::ENETUNREACH), Ok(false), Ok(Way::Many))),
            [
                ("no route", with(unseen(), call(Some(libc::ENETUNREACH), Ok(false), nowhere(libc::ENETUNREACH)))),
                ("it was refused", with(reset(), call(None, Ok(true), Ok(Way::Many)))),
            ],
        ),
        row(
            RefusedByProgram,
            with(unseen(), call(Some(libc::EPERM), Ok(false), Err(Missing::NotAsked))),
            [
                ("a 'prohibit' route", with(unseen(), call(Some(libc::EACCES), Ok(false), nowhere(libc::EACCES)))),
                ("a SYN was made", with(unseen(), call(Some(libc::EPERM), Ok(true), Err(Missing::NotAsked)))),
                ("no port", with(unseen(), call(Some(libc::EADDRNOTAVAIL), Ok(false), Err(Missing::NotAsked)))),
            ],
        ),
        row(
            Forbidden,
            with(unseen(), call(Some(libc::EACCES), Err(Missing::NotAsked), Ok(link(true, true)))),
            [
                (
                    "routing was not read",
                    with(unseen(), call(Some(libc::EACCES), Err(Missing::NotAsked), Err(Missing::Gone))),
                ),
                (
                    "a 'prohibit' route",
                    with(unseen(), call(Some(libc::EACCES), Err(Missing::NotAsked), nowhere(libc::EACCES))),
                ),
                ("an ICMP error", with_icmp),
            ],
        ),
    ]
}

fn queues() -> Vec<Row> {
    let queue = |listener, listen_overflows, drops: Option<Vec<Dropped>>| {
        let counters = Ok(Counters { listen_overflows, ..ZERO });
        Local { listener: Ok(listener), counters, drops: drops.ok_or(Missing::Failed), ..here(true) }
    };
    let full = |it, drops| with(it, queue(listener(2), 3, drops));
    let ack = |reason, kind, fits| {
        let it = dropped(Side::Client, reason).remove(0);
        vec![Dropped { packet: kind, fits, ..it }]
    };
    let ended = |facts| {
        let end = End { ttl: 60, flags: Flags::RST, ..End::default() };
        Handshake { facts: Facts(facts), end, ..established(CLIENT, SERVER) }
    };
    let overflow = |it, kind, fits| with(it, queue(listener(0), 1, Some(ack("TCP_LISTEN_OVERFLOW", kind, fits))));
    let cookie = |it, queued, overflows, kind, fits| {
        with(it, queue(listener(queued), overflows, Some(ack("NO_SOCKET", kind, fits))))
    };
    let yes = Some(true);
    vec![
        row(
            QueueFull,
            full(no_reply(), Some(Vec::new())),
            [
                ("it has room", with(no_reply(), queue(listener(0), 3, Some(Vec::new())))),
                ("no overflow: TCP_DEFER_ACCEPT", with(answered_again(), queue(listener(0), 0, Some(Vec::new())))),
                ("full, and nothing overflowed", with(no_reply(), queue(listener(2), 0, Some(Vec::new())))),
                ("drops are not known", full(no_reply(), None)),
                ("a rule dropped it", full(no_reply(), Some(dropped(Side::Client, "NETFILTER_DROP")))),
                ("no memory", full(no_reply(), Some(dropped(Side::Client, "NOMEM")))),
                ("another reason", full(no_reply(), Some(dropped(Side::Client, "TCP_MD5UNEXPECTED")))),
            ],
        ),
        row(
            Overflow,
            overflow(ended(Facts::SERVER_RST), Kind::Ack, yes),
            [
                ("its repetition got in", overflow(established(CLIENT, SERVER), Kind::Ack, yes)),
                ("perhaps another attempt's", overflow(ended(Facts::SERVER_RST), Kind::Ack, None)),
                ("another attempt's", overflow(ended(Facts::SERVER_RST), Kind::Ack, Some(false))),
            ],
        ),
        row(
            CookieAck,
            cookie(established(CLIENT, SERVER), 2, 1, Kind::Ack, yes),
            [
                ("it has room", cookie(established(CLIENT, SERVER), 0, 1, Kind::Ack, yes)),
                ("nothing overflowed", cookie(established(CLIENT, SERVER), 2, 0, Kind::Ack, yes)),
                ("after a RST", cookie(ended(Facts::CLIENT_RST), 2, 1, Kind::Ack, yes)),
                ("a FIN", cookie(established(CLIENT, SERVER), 2, 1, Kind::Fin, yes)),
                ("another attempt's", cookie(established(CLIENT, SERVER), 2, 1, Kind::Ack, None)),
            ],
        ),
    ]
}

fn table_is_full(it: &mut Local) {
    it.counters = Ok(Counters { conntrack_drops: 1, conntrack_entries: 8, conntrack_limit: 8, ..ZERO });
}

fn table_was_not_read(it: &mut Local) {
    it.counters = Ok(Counters { is_conntrack_known: false, ..ZERO });
}

fn syn_of(it: Handshake, reason: &str, change: fn(&mut Dropped)) -> Scene {
    with(it, at(true, drops(Side::Client, reason, change)))
}

fn perhaps(reason: &str) -> Scene {
    syn_of(no_reply(), reason, |it| it.fits = None)
}

fn rules() -> Vec<Row> {
    let netfilter = |change: fn(&mut Local)| {
        let mut local = at(true, drops(Side::Client, "NETFILTER_DROP", any_drop));
        change(&mut local);
        with(no_reply(), local)
    };
    let answer = |it, change: fn(&mut Local)| {
        let mut local = at(false, drops(Side::Server, "NETFILTER_DROP", |it| it.count = 3));
        change(&mut local);
        with(it, local)
    };
    vec![
        row(
            DroppedByRule,
            netfilter(|_| {}),
            [
                ("the table is full", netfilter(table_is_full)),
                ("the table was not read", netfilter(table_was_not_read)),
                ("the counters were not read", netfilter(|it| it.counters = Err(Missing::Failed))),
                ("no rule was found", netfilter(|it| it.rules = Ok(Vec::new()))),
                ("one of three", syn_of(tried(3), "NETFILTER_DROP", any_drop)),
                ("a RST", syn_of(no_reply(), "NETFILTER_DROP", |it| it.packet = Kind::Rst)),
                ("a queue", syn_of(no_reply(), "QDISC_DROP", any_drop)),
                ("perhaps another attempt's", perhaps("NETFILTER_DROP")),
                ("a raw socket's copy", syn_of(no_reply(), "SOCKET_FILTER", any_drop)),
            ],
        ),
        row(
            AnswerDropped,
            answer(half_open(), |_| {}),
            [
                ("the table is full", answer(half_open(), table_is_full)),
                ("the table was not read", answer(half_open(), table_was_not_read)),
                ("one of three", answer(half_open(), |it| it.drops = Ok(dropped(Side::Server, "NETFILTER_DROP")))),
                ("it never left the server", {
                    let it = half_open();
                    answer(Handshake { server_point: Point::egress(2), ..it }, |it| it.client_here = Ok(false))
                }),
            ],
        ),
    ]
}

fn other_reasons() -> Vec<Row> {
    vec![
        row(
            ReversePath,
            syn_of(no_reply(), "IP_RPFILTER", any_drop),
            [
                ("a rule", syn_of(no_reply(), "NETFILTER_DROP", any_drop)),
                ("one of three", syn_of(tried(3), "IP_RPFILTER", any_drop)),
                ("perhaps another attempt's", perhaps("IP_RPFILTER")),
            ],
        ),
        row(
            Checksum,
            syn_of(no_reply(), "TCP_CSUM", any_drop),
            [
                ("one of three", syn_of(tried(3), "TCP_CSUM", any_drop)),
                ("perhaps another attempt's", perhaps("TCP_CSUM")),
            ],
        ),
        row(
            NoMemory,
            syn_of(no_reply(), "NOMEM", any_drop),
            [("one of three", syn_of(tried(3), "NOMEM", any_drop)), ("perhaps another attempt's", perhaps("NOMEM"))],
        ),
    ]
}

fn other_hosts() -> Vec<Row> {
    let wrong = Handshake { facts: Facts(Facts::WRONG_ANSWER), ..no_reply() };
    let from = |answered_from| Scene(wrong, Around { answered_from, ..Around::default() });
    let data = Handshake { facts: Facts(Facts::WRONG_ANSWER | Facts::CLIENT_DATA), ..wrong };
    let acknowledged = Scene(data, Around { answered_from: Some(NEIGHBOUR.addr), ..Around::default() });
    let two = |it: Handshake, macs: &[[u8; 6]]| {
        let hosts = Neighbour { failed: false, link_addresses: macs.to_vec(), ..neighbour(true) };
        with(it, Local { neighbour: Ok(Some(hosts)), ..here(false) })
    };
    let answers = Handshake { facts: Facts(Facts::TWO_ANSWERS), ..answered(SECOND / 50) };
    let again = Handshake { syn: Offer { tries: 2, ..answers.syn }, last_syn: Nanos(NOW.0 + SECOND), ..answers };
    let once = Handshake { state: State::ResetOnAnswer as u8, ..reset() };
    vec![
        row(
            AnsweredElsewhere,
            from(Some(NEIGHBOUR.addr)),
            [("an answer to another SYN", from(None)), ("the client acknowledges what it asked", acknowledged)],
        ),
        row(
            TwoHosts,
            two(answers, &[[1; 6], [2; 6]]),
            [
                ("one link-layer address", two(answers, &[[1; 6]])),
                ("two SYNs, as SYN cookies answer them", two(again, &[[1; 6], [2; 6]])),
                ("one answer", two(once, &[[1; 6], [2; 6]])),
            ],
        ),
    ]
}

fn rows() -> Vec<Row> {
    [refusals(), rejections(), next_hops(), routes(), calls(), queues(), rules(), other_reasons(), other_hosts()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn the_evidence_makes_it_certain_and_what_looks_like_it_does_not() {
    for Row { proof: proven, made: Scene(it, around), alike } in rows() {
        let said = verdict(it, &around);
        assert_eq!(proof(it, &around), Some(proven), "{said:#?}");
        assert_eq!((said.cause, said.confidence), (proven.argument().cause, Confidence::Certain), "{said:#?}");
        for (what, Scene(it, around)) in alike {
            assert_ne!(proof(it, &around), Some(proven), "{what}: {:#?}", verdict(it, &around));
        }
    }
}

#[test]
fn nothing_is_proven_while_events_were_lost() {
    for Row { made: Scene(it, around), .. } in rows() {
        let around = Around { lost: 1, ..around };
        assert_eq!((proof(it, &around), verdict(it, &around).confidence), (None, Confidence::Likely));
    }
}

#[test]
fn every_proof_is_tried_and_argued() {
    let tried: BTreeSet<_> = rows().iter().map(|it| format!("{:?}", it.proof)).collect();
    let all: BTreeSet<_> = Proof::ALL.iter().map(|it| format!("{it:?}")).collect();
    assert_eq!(tried, all);
    for argument in Proof::ALL.iter().map(|it| it.argument()) {
        assert!([argument.evidence, argument.why, argument.alike].iter().all(|it| it.ends_with('.')), "{argument:?}");
    }
}
