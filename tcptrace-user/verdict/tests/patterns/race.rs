//! Races between addresses: which attempts another one overtook, and for how long they are kept in mind.

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos, Offer},
    segment::Link,
};
use tcptrace_verdict::patterns::race::{Mac, Races, is_overtaken, link_of};
use tcptrace_vocabulary::outcome::Outcome;

use crate::common::{CLIENT, NOW, SECOND, silent};

const MILLISECOND: u64 = 1_000_000;
/// Attempts that are kept in mind, and those of one host and port that are compared.
const KEPT: u32 = 1 << 14;
const COMPARED: u16 = 64;
/// Link addresses that are kept in mind.
const LINKS: u32 = 1 << 14;
const MAC: Mac = [2, 0, 0, 0, 0, 7];
/// The client's address of the other family, and a server's.
const CLIENT_V6: Addr = Addr { hi: 0x2001_0db8_0000_0001, lo: 2 };
const SERVER_V6: Addr = Addr { hi: 0x2001_0db8_0000_0002, lo: 1 };

/// An address of the name, by number.
const fn address(number: u32) -> Addr {
    Addr::v4(0xcb00_7100 + number)
}

/// An attempt to an address, so many nanoseconds after the first.
fn begun(addr: Addr, after: u64) -> Handshake {
    let at = Nanos(NOW.0 + after);
    Handshake { first_syn: at, last_syn: at, ..silent(CLIENT, Endpoint { addr, port: 443 }) }
}

fn from_v6(after: u64) -> Handshake {
    Handshake { client_addr: CLIENT_V6, ..begun(SERVER_V6, after) }
}

fn winner() -> Handshake {
    begun(address(2), 300 * MILLISECOND)
}

const COMPLETED: Nanos = Nanos(NOW.0 + 350 * MILLISECOND);

fn races(of: &[(Handshake, Option<Mac>)]) -> Races {
    let mut races = Races::default();
    of.iter().for_each(|(it, link)| races.begin(it, *link));
    races
}

/// The servers whose attempts the winner overtook.
fn losers(races: &Races, completed: Nanos) -> Vec<Addr> {
    races.losers(&winner(), completed).iter().map(|(_, server, ..)| server.addr).collect()
}

fn overtaken(of: &[Handshake]) -> Vec<Addr> {
    let of: Vec<_> = of.iter().map(|it| (*it, None)).collect();
    losers(&races(&of), COMPLETED)
}

#[test]
fn a_link_address_is_the_clients_if_no_router_is_between() {
    let frame = |mac: Mac| [&[0xff; 6][..], &mac, &[8, 0]].concat();
    for ttl in [64, 128, 255] {
        assert_eq!(link_of(&frame(MAC), Link::Ethernet, ttl), Some(MAC));
    }
    for ttl in [63, 127, 254, 1] {
        assert_eq!(link_of(&frame(MAC), Link::Ethernet, ttl), None, "a router lowered it to {ttl}");
    }
    assert_eq!(link_of(&frame([3, 0, 0, 0, 0, 7]), Link::Ethernet, 64), None, "a group");
    assert_eq!(link_of(&frame([1, 0, 0, 0, 0, 7]), Link::Ethernet, 64), None, "a group");
    assert_eq!(link_of(&frame([0; 6]), Link::Ethernet, 64), None, "nobody");
    assert_eq!(link_of(&frame(MAC), Link::Ip, 64), None, "no frame");
    assert_eq!(link_of(&frame(MAC)[..11], Link::Ethernet, 64), None, "cut");
}

#[test]
fn an_earlier_attempt_to_another_address_is_overtaken() {
    let first = begun(address(1), 0);
    assert_eq!(overtaken(&[first, winner()]), [address(1)]);
    for (other, why) in [
        (begun(address(2), 0), "the same address"),
        (begun(address(1), 300 * MILLISECOND), "at the same time"),
        (begun(address(1), 301 * MILLISECOND), "later"),
        (Handshake { server_port: 80, ..first }, "another port"),
        (Handshake { client_addr: address(9), ..first }, "another client"),
    ] {
        assert!(overtaken(&[other, winner()]).is_empty(), "{why}");
    }
    assert!(losers(&Races::default(), COMPLETED).is_empty());
}

#[test]
fn a_user_waits_for_three_seconds() {
    let races = races(&[(begun(address(1), 0), None), (winner(), None)]);
    let at = |nanos: u64| losers(&races, Nanos(NOW.0 + nanos)).len();
    assert_eq!((at(3 * SECOND), at(3 * SECOND + 1)), (1, 0));
}

#[test]
fn a_name_has_four_addresses() {
    let with = |others: u32| {
        let others = (0..others).map(|number| begun(address(10 + number), u64::from(number)));
        overtaken(&others.chain([winner()]).collect::<Vec<_>>()).len()
    };
    assert_eq!((with(1), with(3), with(4)), (1, 3, 0));
    let again = [begun(address(1), 0), begun(address(1), 1), begun(address(3), 2), begun(address(4), 3), winner()];
    assert_eq!(overtaken(&again).len(), 4, "one of them was tried twice");
}

/// Two addresses of different families are one host's by their link address, if nobody else was seen with it.
#[test]
fn families_are_joined_by_a_link_address_of_their_own() {
    let (loser, link) = (from_v6(0), Some(MAC));
    let joined = |of: &[(Handshake, Option<Mac>)]| losers(&races(of), COMPLETED) == [SERVER_V6];
    assert!(joined(&[(loser, link), (winner(), link)]));
    assert!(!joined(&[(loser, link), (winner(), None)]) && !joined(&[(loser, None), (winner(), link)]));
    assert!(!joined(&[(loser, link), (winner(), Some([2; 6]))]), "two hosts");
    let other = |addr| (Handshake { client_addr: addr, ..begun(address(3), 0) }, link);
    assert!(!joined(&[other(address(9)), (loser, link), (winner(), link)]), "a router's");
    assert!(!joined(&[other(Addr { lo: 9, ..CLIENT_V6 }), (loser, link), (winner(), link)]), "a router's");
    // Another attempt of the same moment, whose frame was not seen.
    let beside = Handshake { client_port: 40_001, ..winner() };
    assert!(joined(&[(loser, link), (winner(), link), (beside, None)]));
    // And the other way round: the winner has the newer family.
    let (v4, v6) = (begun(address(1), 0), from_v6(300 * MILLISECOND));
    let found = races(&[(v4, link), (v6, link)]).losers(&v6, COMPLETED);
    assert_eq!(found.iter().map(|(_, server, ..)| server.addr).collect::<Vec<_>>(), [address(1)]);
}

/// Where there is no room for another link address, the known ones still learn.
#[test]
fn link_addresses_are_bounded() {
    let stranger = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        (Handshake { client_addr: Addr::v4(number), ..begun(address(1), 0) }, Some([2, 1, 0, a, b, c]))
    };
    let joined = |known: u32, link: Mac| {
        let all = (0..known).map(stranger).chain([(from_v6(0), Some(link)), (winner(), Some(link))]);
        losers(&races(&all.collect::<Vec<_>>()), COMPLETED) == [SERVER_V6]
    };
    assert!(joined(LINKS - 1, MAC) && !joined(LINKS, MAC));
    let own = (Handshake { client_addr: CLIENT, ..begun(address(2), 0) }, Some(MAC));
    let all = [own].into_iter().chain((0..LINKS).map(stranger)).chain([(from_v6(0), Some(MAC)), (winner(), Some(MAC))]);
    assert_eq!(losers(&races(&all.collect::<Vec<_>>()), COMPLETED), [SERVER_V6], "it was known before");
}

#[test]
fn an_attempt_is_lost_if_it_came_to_what_overtaken_ones_come_to() {
    let link = Some(MAC);
    let (v4, v6) = (begun(address(1), 0), from_v6(0));
    let mut all = races(&[(v4, link), (v6, link), (winner(), link)]);
    let of = |all: &Races, family: bool| {
        let found = all.losers(&winner(), COMPLETED).into_iter().find(|it| it.1.addr.is_v4() == family);
        found.map(|it| it.3).expect("a loser")
    };
    let (same, other) = (of(&all, true), of(&all, false));
    for outcome in Outcome::ALL {
        let ends = matches!(outcome, Outcome::NoReply | Outcome::Aborted);
        assert_eq!(all.is_lost(&v4, outcome, &same), ends, "{}", outcome.name());
        let ends = ends || outcome == Outcome::Unreachable;
        assert_eq!(all.is_lost(&v6, outcome, &other), ends, "{}", outcome.name());
    }
    let lost = |tries, nanos: u64| {
        let last_syn = Nanos(COMPLETED.0 + nanos);
        all.is_lost(&Handshake { last_syn, syn: Offer { tries, ..v4.syn }, ..v4 }, Outcome::NoReply, &same)
    };
    assert!(lost(2, SECOND) && !lost(3, 0), "two SYNs, if its socket is closed late");
    assert!(!lost(2, SECOND + 1), "it goes on");
    all.begin(&Handshake { client_addr: address(9), ..begun(address(3), 0) }, link);
    assert!(!all.is_lost(&v6, Outcome::NoReply, &other), "the link address is a router's");
    assert!(all.is_lost(&v4, Outcome::NoReply, &same), "it needs none");
}

#[test]
fn a_racer_gives_the_first_address_a_head_start() {
    let after = |nanos: u64| begun(address(2), nanos);
    let first = begun(address(1), 0);
    let with = |nanos| is_overtaken(&first, &after(nanos));
    assert!(!with(10 * MILLISECOND - 1) && with(10 * MILLISECOND));
    assert!(with(2 * SECOND) && !with(2 * SECOND + 1));
    let answered = |nanos: u64| {
        let answer = Offer { tries: 1, ..first.syn };
        is_overtaken(&Handshake { first_answer: Nanos(NOW.0 + nanos), answer, ..first }, &after(SECOND))
    };
    assert!(!answered(SECOND - 1) && answered(SECOND), "it was answered by then");
    // Where the first is known to fail, the next is tried at once.
    let failed = |facts, nanos: u64| {
        is_overtaken(&Handshake { facts: Facts(facts), ended: Nanos(NOW.0 + nanos), ..first }, &after(MILLISECOND))
    };
    assert!(failed(Facts::UNREACHABLE, MILLISECOND) && !failed(Facts::UNREACHABLE, MILLISECOND + 1));
    assert!(!failed(0, MILLISECOND));
    let late = Handshake { facts: Facts(Facts::UNREACHABLE), ended: NOW, ..first };
    assert!(!is_overtaken(&late, &after(2 * SECOND + 1)), "it failed long ago");
}

/// The newest overwrite the oldest, and the attempts of one host and port are found among all others.
#[test]
fn the_newest_attempts_are_kept() {
    let stranger = |number: u32| Handshake { client_addr: Addr::v4(number), ..begun(address(1), 0) };
    let strangers = |of: u32| (0..of).map(stranger);
    let loser = begun(address(1), 0);
    let after = |of: u32| overtaken(&[loser].into_iter().chain(strangers(of)).chain([winner()]).collect::<Vec<_>>());
    assert_eq!(after(KEPT - 2), [address(1)]);
    assert!(after(KEPT - 1).is_empty(), "it was overwritten");
    let late = |of: u32| overtaken(&strangers(of).chain([loser, winner()]).collect::<Vec<_>>());
    assert_eq!(late(KEPT), [address(1)]);
    assert_eq!(late(3 * KEPT / 2), [address(1)]);
    // The newest stands where the oldest stood, and is no second one.
    let all = [loser].into_iter().chain(strangers(KEPT - 2)).chain([winner(), begun(address(3), MILLISECOND)]);
    assert_eq!(overtaken(&all.collect::<Vec<_>>()), [address(3)]);
}

#[test]
fn other_ports_take_no_place() {
    let other = |port| Handshake { server_port: port, ..begun(address(1), 0) };
    let all = [begun(address(1), 0)].into_iter().chain((1000..1000 + 2 * COMPARED).map(other)).chain([winner()]);
    assert_eq!(overtaken(&all.collect::<Vec<_>>()), [address(1)]);
}
