//! Whose RST it is: distances, times, walks.

use tcptrace_core::{
    handshake::{Handshake, Nanos, Offer},
    segment::Flags,
};
use tcptrace_vocabulary::{
    cause::{
        Cause::{FirewallReject, PortClosed},
        Confidence::{Likely, Possible},
    },
    facts::{Local, OtherWalk, ProbeKind, Walk},
};

use super::{beside, echo, short, told};
use crate::common::{Around, CLIENT, NOW, PORT_80, SECOND, SERVER, established, here, refused, verdict};

const RST_ACK: u8 = Flags::RST | Flags::ACK;

fn words(it: Handshake, worked: Vec<Handshake>) -> String {
    verdict(it, &Around { worked, ..Around::default() }).evidence.join("; ")
}

/// A firewall is nearer than the host; what is farther away has the port forwarded to it.
#[test]
fn a_refusal_from_farther_away_is_no_firewalls() {
    let refusal = |ttl| beside(refused(ttl, 0, RST_ACK), vec![established(CLIENT, PORT_80)]);
    assert_eq!(refusal(59), (PortClosed, Possible), "one hop behind the host");
    assert_eq!(refusal(64 - 32), (PortClosed, Possible));
    assert_eq!(refusal(255 - 33), (FirewallReject, Likely), "no path is that long");
    assert_eq!(refusal(63), (FirewallReject, Likely), "nearer");
}

/// A RST without an ACK is ignored by a client that sends its SYN again after it.
#[test]
fn a_rst_that_the_client_ignored_has_no_ack_and_a_syn_after_it() {
    let rst = |flags, again: i64| {
        let it = refused(60, 0, flags);
        Handshake { last_syn: Nanos(it.ended.0.saturating_add_signed(again)), syn: Offer { tries: 2, ..it.syn }, ..it }
    };
    let ignores = |flags, again| words(rst(flags, again), Vec::new()).contains("the client ignores it");
    assert!(ignores(Flags::RST, 1));
    assert!(!ignores(Flags::RST, 0), "no SYN came after it");
    assert!(!ignores(Flags::RST, -1));
    assert!(!ignores(RST_ACK, 1), "it acknowledges a SYN");
}

#[test]
fn a_distance_is_told_with_what_it_is_compared_with() {
    let at = |ttl| {
        let it = established(CLIENT, PORT_80);
        Handshake { answer: Offer { ttl, ..it.answer }, ..it }
    };
    let near = words(refused(62, 0, RST_ACK), vec![at(60)]);
    assert!(near.contains("its TTL is 62, the host's SYN/ACKs have 60: another machine sent it"), "{near}");
    let hop = words(refused(61, 0, RST_ACK), vec![at(60)]);
    assert!(hop.contains("its TTL is 61, the host's SYN/ACKs have 60: sent a hop nearer"), "{hop}");
    for ttl in [50, 60] {
        let one_of_two = words(refused(ttl, 0, RST_ACK), vec![at(50), at(60)]);
        assert!(one_of_two.contains(&format!("the host's SYN/ACKs have TTL {ttl} too")), "{one_of_two}");
    }
    let between = words(refused(55, 0, RST_ACK), vec![at(50), at(60)]);
    assert!(between.contains("its TTL 55 and the host's SYN/ACKs' (50 to 60) mean equal distance"), "{between}");
    let beyond = words(refused(40, 0, RST_ACK), vec![at(50), at(60)]);
    assert!(beyond.contains("have TTLs 50 to 60: several hosts answer for it"), "{beyond}");
}

/// The host answers within 20 ms; half of that is too fast for it.
#[test]
fn a_rst_is_too_fast_in_less_than_half_of_the_time() {
    let after = |nanos| {
        let it = Handshake { ended: Nanos(NOW.0 + nanos), ..refused(60, 0, RST_ACK) };
        words(it, vec![established(CLIENT, PORT_80)]).contains("it came after")
    };
    assert!(after(SECOND / 100 - 1));
    assert!(!after(SECOND / 100));
}

/// A walk of SYNs that ends with a RST, beside an answer that comes from farther away.
#[test]
fn a_rst_from_nearer_than_another_answer_is_another_machines() {
    let local = |near, far| {
        let walk = Walk { answered: near, other: Some(echo(far)), ..Walk::default() };
        Local { walk: Ok(walk), ..here(false) }
    };
    let it = |near, far| told(refused(60, 0, RST_ACK), local(near, far));
    let two = it(Some(3), 5);
    assert_eq!(short(&two), (FirewallReject, Likely));
    assert_eq!(two.evidence[1], "it came from 3 hops away, and the echo reply from 5");
    assert_eq!(short(&it(Some(4), 5)), (FirewallReject, Possible), "a hop behind lies what is forwarded");
    assert_eq!(short(&it(Some(5), 5)), (PortClosed, Possible), "from as far");
    assert_eq!(short(&it(Some(6), 5)), (PortClosed, Possible), "from farther");
    assert_eq!(short(&it(None, 5)), (PortClosed, Possible), "the walk met no RST");
    let port = OtherWalk { sent: ProbeKind::Syn(443), ..echo(5) };
    let port = Walk { answered: Some(1), other: Some(port), ..Walk::default() };
    let port = told(refused(60, 0, RST_ACK), Local { walk: Ok(port), ..here(false) });
    assert_eq!(port.evidence[1], "it came from 1 hops away, and the answer of port 443 from 5");
    // The same TTL as the host's SYN/ACKs is no alibi then.
    let worked = vec![established(CLIENT, PORT_80)];
    let both = verdict(
        refused(60, 0, RST_ACK),
        &Around { worked: worked.clone(), local: Some(local(Some(3), 5)), ..Around::default() },
    );
    assert_eq!(short(&both), (FirewallReject, Likely));
    assert_eq!(beside(refused(60, 0, RST_ACK), worked), (PortClosed, Possible));
    assert_eq!(SERVER.addr, refused(60, 0, RST_ACK).server_addr);
}
