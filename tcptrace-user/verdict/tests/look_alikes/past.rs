//! The record of hosts, asked directly: what it counts, for how long, and what makes room for what.

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos, Offer, State},
};
use tcptrace_verdict::past::{Around, Counts, Life, Past, network_name};
use tcptrace_vocabulary::outcome::Outcome;

use super::{later, tried};
use crate::common::{
    CLIENT, NOW, OTHER_CLIENT, PORT_80, SECOND, SERVER, answered, earlier, established, refused, silent, unreachable,
};

const MINUTE: u64 = 60;
/// [`Past`] keeps so many hosts, ports of a host, and clients of a port.
const HOSTS: u32 = 1 << 15;
const PORTS: u16 = 64;
const CLIENTS: u32 = 16;

fn past(of: impl IntoIterator<Item = Handshake>) -> Past {
    let mut past = Past::default();
    for it in of {
        past.note(&it, Outcome::of(&it).expect("an attempt"));
    }
    past
}

fn counts(of: Vec<Handshake>) -> Counts {
    past(of).host(SERVER.addr).map(|it| it.port(SERVER.port, NOW)).unwrap_or_default()
}

fn around(seconds: u64) -> Around {
    Around::of(&later(silent(CLIENT, SERVER), seconds))
}

fn life(of: Vec<Handshake>) -> Life {
    past(of).host(SERVER.addr).map_or(Life::Never, |it| it.life(around(0)))
}

fn host(number: u32) -> Endpoint {
    Endpoint { addr: Addr::v4(number), port: 443 }
}

fn aborted(it: Handshake) -> Handshake {
    Handshake { state: State::Aborted as u8, ..it }
}

#[test]
fn attempts_are_counted_by_what_came_back() {
    let refusal = refused(60, 0, 0x14);
    let twice = |it: Handshake| vec![it, it];
    assert_eq!(counts(twice(established(CLIENT, SERVER))), Counts { answered: 2, ..Counts::default() });
    assert_eq!(counts(twice(refusal)), Counts { refused: 2, ..Counts::default() });
    assert_eq!(counts(twice(silent(CLIENT, SERVER))), Counts { silent: 2, ..Counts::default() });
    assert_eq!(counts(twice(unreachable(3, 1))), Counts { unreachable: 2, ..Counts::default() });
    assert_eq!(counts(twice(answered(SECOND / 50))), Counts { half_open: 2, ..Counts::default() });
    let ignored = Handshake { facts: Facts(Facts::RST_IGNORED), ..silent(CLIENT, SERVER) };
    assert_eq!(counts(vec![ignored]), Counts { refused: 1, ..Counts::default() }, "it came, and was ignored");
    assert_eq!(counts(vec![aborted(answered(SECOND / 50))]), Counts { answered: 1, ..Counts::default() });
    assert_eq!(counts(vec![aborted(silent(CLIENT, SERVER))]), Counts::default(), "the server said nothing");
}

#[test]
fn attempts_count_for_ten_minutes_around_theirs() {
    let at = |minutes: &[i64]| {
        let of = minutes.iter().map(|minute| {
            let it = silent(CLIENT, SERVER);
            if *minute < 0 {
                earlier(it, minute.unsigned_abs() * MINUTE)
            } else {
                later(it, minute.unsigned_abs() * MINUTE)
            }
        });
        past(of)
    };
    let silent_at = |past: &Past, minute: u64| {
        past.host(SERVER.addr).expect("a host").port(SERVER.port, Nanos(NOW.0 + minute * MINUTE * SECOND)).silent
    };
    assert_eq!(silent_at(&at(&[0; 20]), 0), 20, "twenty in a minute");
    assert_eq!(silent_at(&at(&[-5, 0, 5, 20]), 0), 3);
    assert_eq!(silent_at(&at(&[30, 0, 15]), 30), 1, "in any order");
    let hour: Vec<_> = (0..60).collect();
    assert_eq!(silent_at(&at(&hour), 59), 11, "the newest are kept");
    assert_eq!(silent_at(&at(&hour), 0), 0, "the oldest are not");
    let mut late = hour;
    late.push(1);
    assert_eq!(silent_at(&at(&late), 1), 0, "nor is what comes late");
}

#[test]
fn a_host_is_alive_by_its_last_answer() {
    let worked = |seconds| earlier(established(CLIENT, SERVER), seconds);
    let asked = |seconds| earlier(silent(CLIENT, SERVER), seconds);
    assert_eq!(life(Vec::new()), Life::Never);
    assert_eq!(life(vec![established(CLIENT, SERVER)]), Life::Since);
    assert_eq!(life(vec![worked(15)]), Life::Lately);
    let last = worked(30).last_seen();
    assert_eq!(life(vec![worked(30)]), Life::Before(last));
    let last = worked(15).last_seen();
    assert_eq!(life(vec![worked(15), asked(5)]), Life::Before(last), "asked in vain since");
    // In the same nanosecond nothing comes after the other.
    let same = Handshake { last_syn: last, ..asked(20) };
    assert_eq!(life(vec![worked(15), same]), Life::Lately);
    // Asked in vain later, it may have gone by then; what comes after ten minutes says nothing of this time.
    assert_eq!(life(vec![worked(15), later(silent(CLIENT, SERVER), 600)]), Life::Before(last));
    assert_eq!(life(vec![worked(15), later(silent(CLIENT, SERVER), 601)]), Life::Lately);
    // Ten minutes later it answers again: that is neither silence nor an answer of this time.
    assert_eq!(life(vec![worked(15), later(established(CLIENT, SERVER), 700)]), Life::Lately);
    assert_eq!(life(vec![earlier(established(CLIENT, SERVER), 700)]), Life::Never);
}

#[test]
fn an_answer_in_the_nanosecond_of_the_first_syn_is_none_before_it() {
    let at = |nanos: i64| {
        let it = established(OTHER_CLIENT, SERVER);
        let moment = Nanos(NOW.0.saturating_add_signed(nanos));
        Handshake {
            first_syn: moment,
            last_syn: moment,
            first_answer: moment,
            last_answer: moment,
            ended: moment,
            ..it
        }
    };
    let opened = |nanos| past([at(nanos)]).host(SERVER.addr).expect("a host").opened_around(SERVER.port, around(0));
    assert_eq!(opened(-1), (Some(Nanos(NOW.0 - 1)), None));
    assert_eq!(opened(0), (None, Some(NOW)));
    let ten = 600 * SECOND as i64;
    assert_eq!(opened(ten), (None, Some(Nanos(NOW.0 + ten as u64))));
    assert_eq!(opened(ten + 1), (None, None));
    assert_eq!(opened(-ten), (Some(Nanos(NOW.0 - ten as u64)), None));
    assert_eq!(opened(-ten - 1), (None, None));
}

#[test]
fn a_host_fails_where_it_was_asked_in_vain() {
    let fails = |of| past(of).host(SERVER.addr).expect("a host").is_failing(around(0));
    assert!(fails(vec![silent(CLIENT, SERVER)]));
    assert!(fails(vec![unreachable(3, 1)]));
    assert!(!fails(vec![established(CLIENT, SERVER)]));
    assert!(!fails(vec![earlier(silent(CLIENT, SERVER), 700)]));
}

#[test]
fn distances_are_those_of_packets_that_were_seen() {
    let with = |ttls: &[u8]| {
        past(ttls.iter().map(|&ttl| {
            let it = established(CLIENT, SERVER);
            Handshake { answer: Offer { ttl, ..it.answer }, ..it }
        }))
    };
    let several = |ttls| with(ttls).host(SERVER.addr).expect("a host").has_several_distances();
    assert!(!several(&[60]) && !several(&[60, 124, 251]), "one distance, whatever they begin with");
    assert!(several(&[60, 59]) && !several(&[0]) && !several(&[0, 60]));
    let least = |ttls| with(ttls).host(SERVER.addr).expect("a host").answer_ttl.map(|it| it.least);
    assert_eq!((least(&[0]), least(&[0, 60])), (None, Some(60)));
}

#[test]
fn the_time_to_answer_is_that_of_a_syn_that_was_seen() {
    let fastest = |it| past([it]).host(SERVER.addr).expect("a host").fastest_of(SERVER.port);
    assert_eq!(fastest(established(CLIENT, SERVER)), Some(SECOND / 50));
    let unasked =
        Handshake { syn: Offer::default(), first_syn: Nanos(0), last_syn: Nanos(0), ..established(CLIENT, SERVER) };
    assert_eq!(fastest(unasked), None);
    assert_eq!(fastest(silent(CLIENT, SERVER)), None);
}

#[test]
fn a_port_answers_others_besides_the_attempt_itself() {
    let worked = established(CLIENT, SERVER);
    let own = |of: Vec<Handshake>, it: &Handshake| {
        past(of).host(SERVER.addr).expect("a host").answered(it, Outcome::of(it).expect("an attempt"))
    };
    assert_eq!(own(vec![worked], &worked).own, 0, "it is the only one");
    assert_eq!(own(vec![worked, later(worked, 1)], &worked).own, 1);
    let it = silent(CLIENT, SERVER);
    assert_eq!(own(vec![it, worked], &it).own, 1);
    let crowd: Vec<_> = (0..CLIENTS + 1).map(|number| established(Addr::v4(number), SERVER)).collect();
    assert_eq!(own(crowd, &it).others, CLIENTS as usize, "so many clients are kept");
    // Five seconds after the clock began: a client that was never answered was not answered at zero.
    let early = |it: Handshake| Handshake { first_syn: Nanos(5 * SECOND), last_syn: Nanos(5 * SECOND), ..it };
    let asks = early(silent(CLIENT, SERVER));
    let answered = own(vec![early(silent(OTHER_CLIENT, SERVER)), asks], &asks);
    assert_eq!((answered.own, answered.others, answered.others_lately), (0, 0, 0));
}

#[test]
fn half_open_clients_came_once_and_left() {
    let half_open = |number| Handshake { client_addr: Addr::v4(number), ..answered(SECOND / 50) };
    let left = |of: Vec<Handshake>| past(of).host(SERVER.addr).expect("a host").half_open_clients(SERVER.port, NOW);
    assert_eq!(left((0..9).map(half_open).collect()), 9);
    assert_eq!(left(vec![half_open(1), half_open(2), half_open(1)]), 1, "one came again");
    let completed = (0..9).map(|number| established(Addr::v4(number), SERVER)).collect();
    assert_eq!(left(completed), 0);
    assert_eq!(left(vec![earlier(half_open(1), 700)]), 0);
}

#[test]
fn a_network_has_hosts_on_both_sides() {
    let with = |of: Addr, others: [Addr; 4]| {
        let all = past(others.map(|addr| established(CLIENT, Endpoint { addr, ..SERVER })));
        all.network(of).count()
    };
    let v4 = |last: u32| Addr::v4(0xcb00_7100 + last);
    assert_eq!(with(v4(100), [v4(0), v4(255), v4(256), Addr::v4(0xcb00_70ff)]), 2);
    let v6 = |net: u64, lo| Addr { hi: 0x2001_0db8_0000_0000 + net, lo };
    assert_eq!(with(v6(1, 100), [v6(1, 0), v6(1, u64::MAX), v6(0, 100), v6(2, 100)]), 2);
    assert_eq!(with(v4(100), [v4(100); 4]), 0, "the host itself is no other");
    assert_eq!(network_name(v4(100)), "203.0.113.0/24");
    assert_eq!(network_name(v6(1, 100)), "2001:db8:0:1::/64");
}

#[test]
fn hosts_are_heard_within_their_range() {
    let at = |seconds| {
        let all = past([later(established(CLIENT, SERVER), seconds), silent(CLIENT, host(9))]);
        let range = |from: u32, to: u32| Addr::v4(from)..=Addr::v4(to);
        (all.is_heard(range(0xcb00_7100, 0xcb00_71ff), NOW), all.is_heard(range(0, 100), NOW))
    };
    assert_eq!(at(0), (true, false), "silence is not heard");
    assert_eq!(at(700), (false, false));
}

/// Up to 64 of each kind are counted, and the networks that were heard last are looked at first.
#[test]
fn hosts_elsewhere_are_counted_up_to_a_few() {
    let elsewhere = |of: Vec<Handshake>| past(of).elsewhere(SERVER.addr, around(0));
    let alive = |number| established(CLIENT, host(number));
    let dead = |number| silent(CLIENT, host(number));
    assert_eq!(elsewhere(vec![alive(1), alive(2), dead(3), dead(4)]), (2, 2));
    assert_eq!(elsewhere((0..70).map(alive).collect()), (64, 0));
    assert_eq!(elsewhere((0..70).map(dead).collect()), (0, 64));
    assert_eq!(elsewhere(vec![earlier(alive(1), 300)]), (0, 0), "nobody asked it in vain");
    let neighbour = Endpoint { addr: Addr::v4(0xcb00_7109), port: 443 };
    assert_eq!(elsewhere(vec![established(CLIENT, neighbour), silent(CLIENT, SERVER)]), (0, 0), "not elsewhere");

    let dead = || (0..64).map(dead);
    let last = |others: Vec<Handshake>| elsewhere(dead().chain(others).collect());
    let far = 0xf000_0001;
    assert_eq!(last(vec![alive(far)]), (1, 64), "it was heard last, whoever is silent");
    assert_eq!(last(vec![established(CLIENT, neighbour)]), (0, 64), "the neighbour is not elsewhere");
    assert_eq!(last(vec![earlier(alive(far), 300), established(CLIENT, neighbour)]), (0, 64), "long ago");
    let again = vec![established(CLIENT, neighbour), alive(far), established(CLIENT, neighbour)];
    assert_eq!(last(again), (1, 64), "in any order");
}

#[test]
fn a_flood_is_of_one_listener_and_one_time() {
    let mut past = Past::default();
    let (since, last) = (NOW, Nanos(NOW.0 + SECOND));
    past.note_flood(SERVER, since, last);
    assert!(past.is_flooded(SERVER, since) && past.is_flooded(SERVER, last));
    assert!(!past.is_flooded(SERVER, Nanos(since.0 - 1)) && !past.is_flooded(SERVER, Nanos(last.0 + 1)));
    assert!(!past.is_flooded(PORT_80, since), "another port");
    for number in 1..64 {
        past.note_flood(host(number), since, last);
    }
    assert!(past.is_flooded(SERVER, since));
    past.note_flood(host(64), since, last);
    assert!(!past.is_flooded(SERVER, since) && past.is_flooded(host(1), since), "64 are kept");
}

#[test]
fn a_port_that_answered_makes_room_for_none_that_did_not() {
    let asked = |port| silent(CLIENT, Endpoint { port, ..SERVER });
    let opened = |port| established(CLIENT, Endpoint { port, ..SERVER });
    let mut all = past([opened(1)].into_iter().chain((2..=PORTS).map(asked)));
    let seen = |past: &Past, port| past.host(SERVER.addr).expect("a host").port(port, NOW);
    let note = |past: &mut Past, it: Handshake| past.note(&it, Outcome::of(&it).expect("an attempt"));
    note(&mut all, asked(PORTS));
    assert_eq!(seen(&all, PORTS).silent, 2, "a port that is known");
    note(&mut all, asked(100));
    assert_eq!(seen(&all, 100), Counts::default(), "there is no room for silence");
    note(&mut all, opened(101));
    assert_eq!((seen(&all, 101).answered, seen(&all, 1).answered), (1, 1), "a silent port made room");
    let held = all.host(SERVER.addr).expect("a host").ports(0, around(0)).count();
    assert_eq!(held, usize::from(PORTS));
}

/// The half that was silent longest goes, at most once a minute.
#[test]
fn the_longest_silent_half_of_the_hosts_makes_room() {
    let at = |number: u32, nanos: u64| {
        let it = silent(CLIENT, host(number));
        Handshake { first_syn: Nanos(NOW.0 + nanos), last_syn: Nanos(NOW.0 + nanos), ..it }
    };
    let note = |past: &mut Past, it: Handshake| past.note(&it, Outcome::NoReply);
    let known = |past: &Past, number| past.host(host(number).addr).is_some();
    let mut all = past((0..HOSTS).map(|number| at(number, number.into())));
    assert!(known(&all, 0) && known(&all, HOSTS - 1) && all.forgotten == 0);
    note(&mut all, at(HOSTS, HOSTS.into()));
    assert!(known(&all, HOSTS) && all.forgotten == 0);
    assert!(!known(&all, 0) && !known(&all, HOSTS / 2) && known(&all, HOSTS / 2 + 1) && known(&all, HOSTS - 1));

    // Full again within the minute: the next has to wait until it is over.
    for number in HOSTS + 1..=HOSTS + HOSTS / 2 {
        note(&mut all, at(number, HOSTS.into()));
    }
    let pruned = u64::from(HOSTS);
    note(&mut all, at(u32::MAX, pruned + MINUTE * SECOND - 1));
    assert!(!known(&all, u32::MAX) && all.forgotten == 1);
    note(&mut all, at(u32::MAX, pruned + MINUTE * SECOND));
    assert!(known(&all, u32::MAX) && all.forgotten == 1);
}

/// A port that is asked again takes no more room than it did.
#[test]
fn a_known_port_takes_its_room_once() {
    let it = tried(1, 0);
    let mut all = Past::default();
    for _ in 0..1 << 16 {
        all.note(&it, Outcome::NoReply);
    }
    all.note(&silent(CLIENT, host(1)), Outcome::NoReply);
    assert!(all.host(SERVER.addr).is_some() && all.host(host(1).addr).is_some());
}
