//! The suite `look_alikes`: pairs of attempts that differ in one fact, a limit just below and just above, and the verdict
//! that follows each. Pure, as `diagnosis` is; a suite of `xtask mutants`, which changes the rules one sign at a time.

mod capture;
mod clients;
mod clocks;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod here;
mod observed;
mod past;
mod path;
mod peer;
mod reject;
mod scope;
mod sender;
mod silence;
mod way;

use std::net::IpAddr;

use common::{Around, CLIENT, NOW, SECOND, SERVER, silent, verdict};
use tcptrace_core::{
    flow::Addr,
    handshake::{Handshake, Nanos, Offer, Side},
    segment::Icmp,
};
use tcptrace_vocabulary::{
    cause::{Cause, Confidence},
    facts::{Dropped, Hop, Local, Neighbour, OtherWalk, Place, ProbeKind, Rejection, Walk},
    verdict::Verdict,
};

type Said = (Cause, Confidence);

/// The cause and how sure it is, with these facts of this host and nothing else.
fn said(it: Handshake, local: Local) -> Said {
    short(&told(it, local))
}

/// The same, with these other attempts and nothing else.
fn beside(it: Handshake, worked: Vec<Handshake>) -> Said {
    short(&verdict(it, &Around { worked, ..Around::default() }))
}

/// The whole verdict, with these facts of this host.
fn told(it: Handshake, local: Local) -> Verdict {
    verdict(it, &Around { local: Some(local), ..Around::default() })
}

fn short(it: &Verdict) -> Said {
    (it.cause, it.confidence)
}

/// So many SYNs within so many seconds, without an answer.
fn tried(tries: u8, seconds: u64) -> Handshake {
    let it = silent(CLIENT, SERVER);
    Handshake { last_syn: Nanos(NOW.0 + seconds * SECOND), syn: Offer { tries, ..it.syn }, ..it }
}

/// A call whose SYN no interface saw.
fn unsent() -> Handshake {
    Handshake { syn: Offer::default(), ..silent(CLIENT, SERVER) }
}

/// The same attempt, all of it so many seconds later.
fn later(it: Handshake, seconds: u64) -> Handshake {
    let after = |at: Nanos| if at == Nanos(0) { at } else { Nanos(at.0 + seconds * SECOND) };
    Handshake {
        first_syn: after(it.first_syn),
        last_syn: after(it.last_syn),
        first_answer: after(it.first_answer),
        last_answer: after(it.last_answer),
        ended: after(it.ended),
        ..it
    }
}

fn neighbour(is_peer: bool, failed: bool) -> Neighbour {
    Neighbour {
        is_peer,
        failed,
        address: IpAddr::from([203, 0, 113, 2]),
        link_addresses: vec![[1; 6]],
        is_fixed: false,
        may_be_unheard: false,
    }
}

/// One drop, by whom and where.
fn drop_at(from: Side, reason: &str, place: Place) -> Vec<Dropped> {
    common::dropped(from, reason).into_iter().map(|it| Dropped { place, ..it }).collect()
}

const ROUTER: Addr = Addr::v4(0xc633_6401);

/// The echo reply that came from so many hops away, past a first router that spoke.
const fn echo(hops: u8) -> OtherWalk {
    OtherWalk { sent: ProbeKind::Echo, answered: hops, first: Some(ROUTER) }
}

/// A walk of SYNs that got as far as this router, where the echo reply comes from so many hops away.
fn walk(last: Option<u8>, far: u8) -> Walk {
    let last = last.map(|hops| Hop { hops, from: ROUTER });
    Walk { last, other: Some(echo(far)), ..Walk::default() }
}

fn rejection(kind: u8, code: u8) -> Rejection {
    Rejection { icmp: Icmp { v6: false, kind, code }, from: Some(ROUTER) }
}
