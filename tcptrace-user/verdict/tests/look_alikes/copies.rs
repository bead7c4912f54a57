//! SYNs that are one SYN: which end was translated, and which of the two halves is one attempt's.

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos, State},
    segment::Options,
    seq::Seq,
};
use tcptrace_verdict::past::Past;
use tcptrace_vocabulary::{
    cause::{
        Cause::{HostDown, SynFlood, Unknown},
        Confidence::Possible,
    },
    outcome::Outcome,
    scope::Extent,
};

use super::{beside, later, short};
use crate::common::{
    Around, CLIENT, FAR, NEIGHBOUR, NOW, OTHER_CLIENT, PORT_80, SECOND, SERVER, answered, earlier, established,
    refused, silent, verdict,
};

/// The numbers that are kept in each of two generations.
const KEPT: u32 = 1 << 13;
const FROM: Endpoint = Endpoint { addr: CLIENT, port: 40_000 };
const BEYOND: Addr = Addr::v4(0x0af4_0105);

/// As a kernel sends it: a scanner gives all of its SYNs one number, and no options.
fn kernels(it: Handshake) -> Handshake {
    let mut it = it;
    it.syn.options = Options::TIMESTAMPS | Options::SACK_PERMITTED;
    it
}

fn between(client: Endpoint, server: Endpoint) -> Handshake {
    Handshake { client_port: client.port, ..kernels(silent(client.addr, server)) }
}

fn past(of: &[Handshake]) -> Past {
    let mut past = Past::default();
    of.iter().for_each(|it| past.note(it, Outcome::of(it).expect("an attempt")));
    past
}

fn at(it: Handshake, nanos: i64) -> Handshake {
    Handshake { first_syn: Nanos(NOW.0.saturating_add_signed(nanos)), ..it }
}

#[test]
fn either_end_may_be_translated() {
    let it = between(FROM, SERVER);
    let half = |client, server| past(&[it, between(client, server)]).other_half(&it).map(|it| (it.client, it.server));
    let other = |port| Endpoint { addr: OTHER_CLIENT, port };
    let beyond = |port| Endpoint { addr: BEYOND, port };
    for (client, server, why) in [
        (FROM, beyond(8080), "the destination"),
        (other(50_000), SERVER, "the source, and its port"),
        (other(FROM.port), beyond(8080), "both"),
    ] {
        assert_eq!(half(client, server), Some((client, server)), "{why}");
    }
    for (client, server, why) in [
        (FROM, PORT_80, "two ports of one server"),
        (Endpoint { port: 40_001, ..FROM }, SERVER, "two sockets of one client"),
        (Endpoint { port: 40_001, ..FROM }, beyond(8080), "another socket, to another server"),
        (other(FROM.port), PORT_80, "another client, to another port"),
        (other(50_000), PORT_80, "the same, of another port"),
        (other(50_000), beyond(8080), "nothing is the same"),
    ] {
        assert_eq!(half(client, server), None, "{why}");
    }
}

/// The first half is reported, but where this place saw no answer to one half, that of which it did.
#[test]
fn one_half_of_an_attempt_is_reported() {
    let beyond = Endpoint { addr: BEYOND, ..SERVER };
    let to = |it: Handshake, server: Endpoint| Handshake { server_addr: server.addr, ..kernels(it) };
    let made = || {
        let half_open = answered(SECOND / 50);
        let gone = Handshake { state: State::Aborted as u8, ..answered(SECOND / 50) };
        let ignored = Handshake { facts: Facts(Facts::RST_IGNORED), ..silent(CLIENT, SERVER) };
        [silent(CLIENT, SERVER), established(CLIENT, SERVER), refused(60, 0, 0x14), half_open, gone, ignored]
    };
    let [none, open, closed, half_open, gone, ignored] = made();
    let is_half = |it: Handshake, other: Handshake, nanos| {
        let (it, other) = (to(it, SERVER), at(to(other, beyond), nanos));
        let outcome = |it: &Handshake| Outcome::of(it).expect("an attempt");
        past(&[it, other]).is_half_of_another(&it, outcome(&it))
    };
    let (first, then) = (-40_000, 40_000);
    for (it, other, when, expected, why) in [
        (none, open, then, true, "the other half worked"),
        (none, closed, then, true, "the other half was refused"),
        (none, half_open, then, false, "the other half failed later"),
        (none, none, first, true, "both failed, and the other first"),
        (none, none, then, false, "both failed, and this one first"),
        (none, none, 0, false, "both at once"),
        (ignored, open, then, false, "it was answered here as well"),
        (open, none, first, false, "this one worked"),
        (closed, none, first, false, "this one was refused"),
        (gone, none, first, true, "this one failed as well, and later"),
        (open, open, then, false, "both worked"),
    ] {
        assert_eq!(is_half(it, other, when), expected, "{why}");
    }
    assert!(!past(&[to(none, SERVER)]).is_half_of_another(&to(none, SERVER), Outcome::NoReply), "there is no other");
}

/// A kernel's SYN has one of three options; a scanner's has none, and all of them one number.
#[test]
fn a_syn_is_a_kernels_by_any_of_three_options() {
    let is_twin = |options| {
        let with = |it: Handshake| {
            let mut it = it;
            it.syn.options = options;
            it
        };
        let (it, copy) = (between(FROM, SERVER), between(FROM, Endpoint { addr: BEYOND, ..SERVER }));
        past(&[with(it), with(copy)]).twin(&with(it)).is_some()
    };
    for option in [Options::WINDOW_SCALE, Options::SACK_PERMITTED, Options::TIMESTAMPS] {
        assert!(is_twin(option), "{option}");
    }
    assert!(!is_twin(0) && !is_twin(Options::ECN));
}

#[test]
fn a_fourth_address_is_no_translation() {
    let it = between(FROM, SERVER);
    let scan =
        |number| between(Endpoint { addr: Addr::v4(number), port: 1 }, Endpoint { addr: Addr::v4(number), port: 1 });
    let copy = between(FROM, Endpoint { addr: BEYOND, ..SERVER });
    let is_twin = |others: u32| past(&(1..=others).map(scan).chain([copy]).collect::<Vec<_>>()).twin(&it).is_some();
    assert!(is_twin(2) && !is_twin(3), "three are kept of one number");
}

#[test]
fn copies_are_remembered_for_a_generation() {
    let it = between(FROM, SERVER);
    let copy = between(FROM, Endpoint { addr: BEYOND, ..SERVER });
    let other = |number: u32| Handshake { isn: Seq(number), ..it };
    let is_twin = |of: Vec<Handshake>| past(&of).twin(&it).is_some();
    assert!(is_twin([copy].into_iter().chain((1..4).map(other)).collect()));
    let full = || [copy].into_iter().chain((1..KEPT).map(other));
    assert!(is_twin(full().chain([copy]).collect()), "it is one of those, and no second one");
    assert!(is_twin(full().chain([other(KEPT)]).collect()), "of the generation before");
    let two = (KEPT..=2 * KEPT).map(other);
    assert!(!is_twin(full().chain(two).collect()), "and of the one before that");
}

/// A half of another attempt is no host that is down, no flood, and no witness.
#[test]
fn a_half_of_another_attempt_makes_no_cause() {
    let it = between(FROM, SERVER);
    let worked = at(Handshake { server_addr: BEYOND, ..kernels(established(CLIENT, SERVER)) }, 40_000);
    let other_port = silent(CLIENT, PORT_80);
    assert_eq!(beside(it, vec![other_port]), (HostDown, Possible));
    assert_eq!(beside(it, vec![other_port, worked]).0, Unknown);
    let translated = Handshake { client_addr: OTHER_CLIENT, ..kernels(established(CLIENT, SERVER)) };
    let said = verdict(it, &Around { worked: vec![translated], ..Around::default() });
    assert_ne!(said.cause, SynFlood);
    let words = "it is one half of an attempt that was answered: the same SYN has other addresses beyond a translation";
    assert!(said.evidence.iter().any(|it| it == words), "{said:#?}");
    let alone = verdict(it, &Around::default());
    assert!(!alone.evidence.iter().any(|it| it == words), "{alone:#?}");
}

/// The words of it, by which of both came first.
#[test]
fn the_first_of_two_copies_went_on() {
    let it = between(FROM, SERVER);
    let words = |nanos| {
        let copy = at(between(FROM, Endpoint { addr: BEYOND, ..SERVER }), nanos);
        let said = verdict(it, &Around { worked: vec![copy], ..Around::default() });
        assert_eq!(short(&said), (Unknown, Possible), "{said:#?}");
        said.evidence.join("; ")
    };
    let went_on = "the same SYN (client, port and ISN) went on to 10.244.1.5: its destination was translated";
    let came = "it is the SYN (client, port and ISN) to 10.244.1.5, whose destination was translated";
    assert!(words(40_000).contains(went_on) && words(0).contains(went_on));
    assert!(words(-40_000).contains(came));
}

/// What failed beside it is counted without its copy, in the network that the copy went to, and nowhere else.
#[test]
fn a_copy_is_taken_from_those_that_failed_where_it_went() {
    let it = between(FROM, SERVER);
    let scope = |others: Vec<Handshake>| {
        let said = verdict(it, &Around { worked: others, ..Around::default() }).scope;
        (said.extent, said.evidence[0].clone())
    };
    let copy = |addr| at(between(FROM, Endpoint { addr, ..SERVER }), 40_000);
    let (near, third) = (NEIGHBOUR.addr, Endpoint { addr: Addr::v4(0xcb00_710a), port: 443 });
    let far = (Extent::Everything, "nothing answered; 1 host elsewhere failed too".to_owned());
    assert_eq!(scope(vec![copy(near), silent(CLIENT, FAR)]), far);
    let failed = "1 other host of 203.0.113.0/24 failed too; nothing else answered".to_owned();
    assert_eq!(scope(vec![copy(BEYOND), silent(CLIENT, third)]), (Extent::Network, failed));
    // A host that is alive on another port is none of those that failed.
    let alive = later(established(OTHER_CLIENT, NEIGHBOUR), 1);
    let answered = "1 other host of 203.0.113.0/24 answered".to_owned();
    assert_eq!(scope(vec![copy(near), alive, silent(CLIENT, third)]), (Extent::Host, answered));
    let old = earlier(silent(CLIENT, FAR), 5);
    assert_eq!(scope(vec![copy(BEYOND), old]), far);
}
