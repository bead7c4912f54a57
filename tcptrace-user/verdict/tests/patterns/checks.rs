//! What looks like a port that was looked at, and what looks like a probe of this host.

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{End, Facts, Handshake, Nanos, Offer, Point, State},
    segment::Flags,
};
use tcptrace_verdict::patterns::{
    Claim, Harmless, Pattern, Surroundings,
    checks::{COMPARED_HOPS, Checks, Probes, REPEATED, is_check, is_probe_port, probe_ports},
};
use tcptrace_vocabulary::{
    attempt::{Attempt, Noted, Stalled, StalledBy},
    network::Network,
    outcome::Outcome,
    report::Report,
};

use crate::common::{CLIENT, NOW, OTHER_CLIENT, PORT_80, SECOND, SERVER, answered, silent};

/// Pairs of client and port, and ports of probes, that are kept in mind; how long either is.
const PAIRS: u32 = 1 << 14;
const PROBED: u32 = 1 << 10;
const REMEMBERED: u64 = 600 * SECOND;

/// What is known around an attempt: whether two hosts have the client's address, and whether it is here.
struct World {
    two_hosts: bool,
    here: bool,
}

impl Surroundings for World {
    fn answers(&mut self, _: Network, _: Nanos) -> bool {
        false
    }

    fn has_two_hosts(&mut self, _: &Handshake) -> bool {
        self.two_hosts
    }

    fn is_here(&mut self, _: Addr) -> bool {
        self.here
    }
}

/// Answered after so long, and reset at once.
fn looked(took: u64) -> Handshake {
    let it = answered(took);
    let end = End { ttl: 64, window: 0, flags: Flags::RST | Flags::ACK };
    Handshake { ended: it.last_answer, end, state: State::Aborted as u8, ..it }
}

fn quick() -> Handshake {
    looked(SECOND / 50)
}

fn aborted(it: Handshake) -> bool {
    is_check(&it, Outcome::Aborted, it.ended)
}

#[test]
fn a_check_is_quick_and_asks_once() {
    let it = quick();
    assert!(aborted(it));
    for (other, why) in [
        (Handshake { syn: Offer { tries: 2, ..it.syn }, ..it }, "it asked twice"),
        (Handshake { answer: Offer { tries: 2, ..it.answer }, ..it }, "it was answered twice"),
        (looked(SECOND), "the answer came late"),
        (Handshake { end: End { ttl: 63, ..it.end }, ..it }, "the RST came from a hop away"),
    ] {
        assert!(!aborted(other), "{why}");
    }
    assert!(aborted(looked(SECOND - 1)));
    let last = |after: u64| is_check(&it, Outcome::Aborted, Nanos(it.first_answer.0 + after));
    assert!(last(SECOND - 1) && !last(SECOND), "it reset late");
}

/// A kernel that knows no such socket resets without an ACK: so it does after an application gave up, too.
#[test]
fn a_reset_without_ack_is_meant_if_nobody_can_have_given_up() {
    let with = |took, flags| {
        let it = looked(took);
        aborted(Handshake { end: End { flags, ..it.end }, ..it })
    };
    let soon = SECOND / 20;
    assert!(with(soon - 1, Flags::RST) && !with(soon, Flags::RST));
    assert!(with(soon, Flags::RST | Flags::ACK));
}

#[test]
fn a_connection_that_was_reset_is_a_check_without_data() {
    let with = |facts, outcome| {
        let it = Handshake { facts: Facts(facts), state: State::Established as u8, ..quick() };
        is_check(&it, outcome, it.ended)
    };
    assert!(with(0, Outcome::ResetByClient));
    assert!(!with(Facts::CLIENT_DATA, Outcome::ResetByClient) && !with(Facts::SERVER_DATA, Outcome::ResetByClient));
    assert!(!with(0, Outcome::ResetByServer) && !with(0, Outcome::Established));
}

#[test]
fn the_third_look_makes_a_check() {
    let world = |two_hosts| World { two_hosts, here: false };
    let attempt = || Attempt::from_handshake(quick(), Outcome::Aborted);
    let claim = |looks, attempt, two_hosts| {
        let mut checks = Checks::default();
        (0..looks).for_each(|_| _ = checks.see(&quick(), Outcome::Aborted, quick().ended));
        assert!(checks.look(NOW).is_empty() && checks.end().is_empty(), "it reports nothing");
        checks.note(&Report::Attempt(attempt), &mut world(two_hosts), NOW)
    };
    let held = Claim::Hold { until: Nanos(NOW.0 + 30 * SECOND) };
    assert_eq!(claim(REPEATED - 1, attempt(), false), held);
    assert_eq!(claim(REPEATED, attempt(), false), Claim::Count(Harmless::HealthCheck));
    let reset_by_another = Some(([1; 6], [2; 6]));
    let another = Attempt { noted: Noted { reset_by_another, ..Noted::default() }, ..attempt() };
    let stalled = Attempt { stalled: Some(Stalled { at: NOW, by: StalledBy::Silence }), ..attempt() };
    let silence = Attempt::from_handshake(silent(CLIENT, SERVER), Outcome::NoReply);
    for (attempt, two_hosts, why) in [
        (another, false, "another card sent the RST"),
        (attempt(), true, "two hosts have the client's address"),
        (stalled, false, "it stalled"),
        (silence, false, "it is none"),
    ] {
        assert_eq!(claim(REPEATED, attempt, two_hosts), Claim::None, "{why}");
    }
}

#[test]
fn a_look_is_remembered_for_ten_minutes() {
    let it = quick();
    let after = |nanos: u64| {
        let mut checks = Checks::default();
        assert_eq!(checks.see(&silent(CLIENT, SERVER), Outcome::NoReply, NOW), 0, "it is none");
        let later = Handshake { first_answer: Nanos(it.first_answer.0 + nanos), first_syn: Nanos(NOW.0 + nanos), ..it };
        let first = checks.see(&it, Outcome::Aborted, it.ended);
        let then = checks.see(&later, Outcome::Aborted, Nanos(it.ended.0 + nanos));
        (first, then, checks.count(&it), checks.count(&Handshake { client_addr: OTHER_CLIENT, ..it }))
    };
    assert_eq!(after(REMEMBERED), (1, 2, 2, 0));
    assert_eq!(after(REMEMBERED + 1), (1, 1, 1, 0));
}

#[test]
fn pairs_are_bounded_and_old_ones_make_room() {
    let by = |number: u32, nanos: u64| {
        let it = quick();
        let later = |at: Nanos| Nanos(at.0 + nanos);
        let (first_syn, first_answer, ended) = (later(it.first_syn), later(it.first_answer), later(it.ended));
        Handshake { client_addr: Addr::v4(number), first_syn, first_answer, ended, ..it }
    };
    let see = |checks: &mut Checks, it: Handshake| checks.see(&it, Outcome::Aborted, it.ended);
    let full = || {
        let mut checks = Checks::default();
        (0..PAIRS).for_each(|number| _ = see(&mut checks, by(number, 0)));
        checks
    };
    let mut checks = full();
    assert_eq!((see(&mut checks, by(PAIRS, 0)), checks.count(&by(PAIRS, 0))), (1, 0), "there is no room");
    assert_eq!(see(&mut checks, by(0, 0)), 2, "one that is known");
    assert_eq!(see(&mut checks, by(PAIRS, REMEMBERED)), 1);
    assert_eq!((checks.count(&by(PAIRS, 0)), checks.count(&by(1, 0))), (0, 1), "none is old enough");
    assert_eq!(see(&mut checks, by(PAIRS, REMEMBERED + 1)), 1);
    assert_eq!((checks.count(&by(PAIRS, 0)), checks.count(&by(1, 0))), (1, 0), "the old ones made room");
    let mut few = Checks::default();
    see(&mut few, by(0, 0));
    see(&mut few, by(1, REMEMBERED + 1));
    assert_eq!(few.count(&by(0, 0)), 1, "there was room for both");
}

/// A SYN with the ports and the TTL of a probe.
fn probe(server: Endpoint) -> Handshake {
    let port = (32_768..61_000).find(|port| is_probe_port(*port, server, 5)).expect("a port");
    let it = silent(CLIENT, server);
    Handshake { client_port: port, client_point: Point::egress(2), syn: Offer { ttl: 5, tries: 1, ..it.syn }, ..it }
}

fn report(it: Handshake) -> Report {
    Report::Attempt(Attempt::from_handshake(it, Outcome::NoReply))
}

#[test]
fn a_probe_is_this_hosts_own() {
    let claim = |it, here| Probes::default().note(&report(it), &mut World { two_hosts: false, here }, NOW);
    assert_eq!(claim(probe(SERVER), true), Claim::Count(Harmless::Probe));
    assert_eq!(claim(probe(SERVER), false), Claim::None, "another host's");
    assert_eq!(claim(silent(CLIENT, SERVER), true), Claim::None, "an attempt of this host");
    let mut probes = Probes::default();
    assert!(probes.look(NOW).is_empty() && probes.end().is_empty(), "it reports nothing");
}

#[test]
fn probes_are_bounded_by_port_and_time() {
    let mut world = World { two_hosts: false, here: true };
    let mut takes = |probes: &mut Probes, server, nanos: u64| {
        probes.note(&report(probe(server)), &mut world, Nanos(NOW.0 + nanos)) != Claim::None
    };
    let host = |number: u32| Endpoint { addr: Addr::v4(number), port: 443 };
    let mut one = Probes::default();
    assert!((0..60).all(|_| takes(&mut one, SERVER, 0)) && !takes(&mut one, SERVER, REMEMBERED - 1));
    assert!(takes(&mut one, PORT_80, 0), "another port has its own");
    assert!(takes(&mut one, SERVER, REMEMBERED), "ten minutes later");
    // A probe that stalls is counted at its end.
    let mut stalls = Probes::default();
    let attempt = || Attempt::from_handshake(probe(SERVER), Outcome::NoReply);
    let mut own = World { two_hosts: false, here: true };
    assert!((0..60).all(|_| stalls.note(&Report::Stall(attempt()), &mut own, NOW) != Claim::None));
    assert!((0..60).all(|_| takes(&mut stalls, SERVER, 0)) && !takes(&mut stalls, SERVER, 0));
    let mut many = Probes::default();
    assert!((0..PROBED).all(|number| takes(&mut many, host(number), u64::from(number))));
    assert!(takes(&mut many, host(0), 1) && !takes(&mut many, host(PROBED), 1), "the known ones go on");
    assert!(!takes(&mut many, host(PROBED), REMEMBERED - 1));
    assert!(takes(&mut many, host(PROBED), REMEMBERED), "the first has made room");
    assert!(!takes(&mut many, host(PROBED + 1), REMEMBERED), "and nobody else");
    let mut few = Probes::default();
    assert!((0..60).all(|_| takes(&mut few, host(1), 0)) && takes(&mut few, host(2), REMEMBERED - 1));
    assert!(!takes(&mut few, host(1), REMEMBERED - 1), "it was not forgotten for another");
}

#[test]
fn probe_ports_are_of_either_family() {
    let v6 = Endpoint { addr: Addr { hi: 0x2001_0db8_0000_0001, lo: 0x42 }, port: 443 };
    let to = "[2001:db8:0:1::42]:443".parse().expect("an address");
    let ports: Vec<_> = probe_ports(32_768..=60_999, to, COMPARED_HOPS).collect();
    let expected: Vec<_> = (32_768..=60_999).filter(|port| is_probe_port(*port, v6, COMPARED_HOPS)).collect();
    assert_eq!(ports, expected);
    assert!(!ports.is_empty());
}
