//! The sender of a reset: the signs of a RST, scored against the packets of the side that it names.
//!
//! A closed port's RST on Linux has window 0, no options and an IP ID of 0 (`tcp_v4_send_reset`, net/ipv4/tcp_ipv4.c;
//! before Linux 5.1 it had an ID, while the SYN/ACK has none): none of that is a sign of a middlebox. A value without a
//! baseline is no sign either.

use tcptrace_core::{handshake::Facts, segment::Flags};
use tcptrace_vocabulary::{facts::ProbeKind, ttl::hops};

use crate::{
    case::Case,
    past::{Host, Ttl},
};

/// No path has more hops: a TTL that means more was chosen by whoever made the packet.
const LONGEST: u8 = 32;

/// The evidence for another sender than the one that a RST names, and the evidence against it.
#[derive(Default)]
pub(super) struct Sender {
    /// One may come of an odd stack. Two make another sender likely.
    score: u32,
    signs: Vec<String>,
    /// Why it is the host's own.
    own: Option<String>,
    /// Why its distance is no sign.
    abstains: Option<String>,
}

impl Sender {
    pub(super) const fn is_likely_another(&self) -> bool {
        self.score >= 2
    }

    pub(super) const fn may_be_another(&self) -> bool {
        self.score > 0
    }

    /// Whether it is as far away as the host's own packets.
    pub(super) const fn fits(&self) -> bool {
        self.own.is_some()
    }

    /// The evidence, for another sender and against one.
    pub(super) fn evidence(self) -> impl Iterator<Item = String> {
        self.own.into_iter().chain(self.abstains).chain(self.signs)
    }

    /// The evidence for another sender.
    pub(super) fn signs(self) -> impl Iterator<Item = String> {
        self.signs.into_iter()
    }

    /// The signs of a RST that answers a SYN, held against the host's SYN/ACKs to others.
    pub(super) fn of_refusal(case: &Case<'_>) -> Self {
        let mut it = Self::default();
        it.compare_distance(case);
        it.compare_walks(case);
        // A slow first answer of the host, or of a proxy that asks its backend before it answers, makes any RST fast.
        if let Some(sign) = is_too_fast(case) {
            it.add(1, sign);
        }
        if is_odd(case) {
            it.add(1, "it has no ACK, or a window other than 0");
        }
        if case.hs().end.flags & Flags::ACK == 0 && case.hs().last_syn > case.hs().ended {
            it.add(0, "the client ignores it for want of an ACK, and sent its SYN again");
        }
        if case.has(Facts::RST_OPTIONS) {
            it.add(1, "it has TCP options, and a RST to a SYN has none");
        }
        if case.has(Facts::RST_SEQ) {
            it.add(1, "it has a sequence number, and a RST to a SYN has 0");
        }
        if case.host().is_some_and(Host::numbers_its_answers) && !case.has(Facts::RST_ID) {
            it.add(1, "its IP ID is 0; the host's SYN/ACKs' IDs are not");
        }
        it
    }

    /// The signs of a RST after the SYN/ACK, held against the earlier packets of its side.
    pub(super) fn of_reset(case: &Case<'_>) -> Self {
        let mut it = Self::default();
        let hs = case.hs();
        let by_client = case.has(Facts::CLIENT_RST);
        let (ttl, what) = if by_client { (hs.syn.ttl, "client's SYN") } else { (hs.answer.ttl, "server's SYN/ACK") };
        let (own, far) = (hops(ttl), hops(hs.end.ttl));
        if own != far {
            // Behind a proxy that answers the SYN, or among several hosts of one address, the host itself is farther away.
            let weight = if far > own && far <= LONGEST { 1 } else { 2 };
            it.add(weight, format!("the {what} came from {own} hops away (TTL {ttl}), the RST from {far}"));
        }
        if !by_client && case.has(Facts::ANSWER_ID) && !case.has(Facts::RST_ID) {
            it.add(1, "its IP ID is 0; the SYN/ACK's is not");
        }
        it
    }

    fn add(&mut self, weight: u32, sign: impl Into<String>) {
        self.score += weight;
        self.signs.push(sign.into());
    }

    /// A RST that comes from nearer than another port's answer. From as far is no sign: the last router may have sent
    /// it.
    fn compare_walks(&mut self, case: &Case<'_>) {
        let Some((walk, other)) = case.walk().and_then(|walk| walk.other.map(|other| (walk, other))) else { return };
        let Some(near) = walk.answered.filter(|near| *near < other.answered) else { return };
        let far = other.answered;
        let sign = format!("it came from {near} hops away, and {} from {far}", answer_of(other.sent));
        // One hop is also what lies between a host and those to which it forwards its other ports.
        let weight = if near + 1 == far { 1 } else { 2 };
        self.own = None;
        self.score = self.score.max(weight);
        self.signs.push(sign);
    }

    fn compare_distance(&mut self, case: &Case<'_>) {
        let ttl = case.hs().end.ttl;
        if ttl == 0 {
            self.abstains = Some("its TTL was not seen".to_owned());
            return;
        }
        let Some(Ttl { least, most }) = case.host().and_then(|it| it.answer_ttl) else {
            self.abstains = Some("no recent SYN/ACK of the server to compare the RST with".to_owned());
            return;
        };
        if case.two_hosts().is_some() {
            self.abstains = Some("two hosts have this address: either may have sent it".to_owned());
            return;
        }
        let range = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        let (near, far) = (hops(least).min(hops(most)), hops(least).max(hops(most)));
        if ttl == least || ttl == most {
            self.own = Some(format!("the host's SYN/ACKs have TTL {ttl} too"));
        } else if (near..=far).contains(&hops(ttl)) {
            // The initial TTL may be another for RSTs.
            self.abstains = Some(format!("its TTL {ttl} and the host's SYN/ACKs' ({range}) mean equal distance"));
        } else if near != far {
            self.abstains = Some(format!("the host's SYN/ACKs have TTLs {range}: several hosts answer for it"));
        } else if hops(ttl) > far && hops(ttl) <= LONGEST {
            // A firewall on the way is nearer.
            let why = "it came from farther away, as where a port is forwarded to a host behind";
            self.abstains = Some(format!("its TTL is {ttl}, the host's SYN/ACKs have {range}: {why}"));
        } else if hops(ttl) + 1 == near {
            // A firewall, or the host itself where the ports that answer are translated.
            let either = "sent a hop nearer, or the other ports are forwarded a hop on";
            self.add(1, format!("its TTL is {ttl}, the host's SYN/ACKs have {range}: {either}"));
        } else {
            self.add(2, format!("its TTL is {ttl}, the host's SYN/ACKs have {range}: another machine sent it"));
        }
    }
}

/// An answer by what it answered.
pub(super) fn answer_of(sent: ProbeKind) -> String {
    match sent {
        ProbeKind::Syn(port) => format!("the answer of port {port}"),
        ProbeKind::Echo => "the echo reply".to_owned(),
    }
}

/// Whether no port that is closed answers a SYN so.
pub(super) fn is_odd(case: &Case<'_>) -> bool {
    let end = case.hs().end;
    end.flags & Flags::ACK == 0 || end.window != 0
}

/// A RST in less than half of the host's shortest time to answer was sent by something nearer.
fn is_too_fast(case: &Case<'_>) -> Option<String> {
    /// A shorter time is made of processing, not of distance.
    const DISTANT: u64 = 2_000_000;
    let hs = case.hs();
    // Packets that changed places have no time between them.
    if hs.facts.any(Facts::OUT_OF_ORDER) {
        return None;
    }
    let fastest = case.host()?.fastest.filter(|it| *it >= DISTANT)?;
    // If the SYN was sent again, before the RST or after it, any of them may be the one that was answered: the time since
    // the first is the longest that it can have taken.
    let took = hs.ended.since(hs.first_syn);
    let millis = |nanos: u64| nanos as f64 / 1e6;
    (took < fastest / 2).then(|| {
        format!("it came after {:.1} ms; the host's SYN/ACKs take {:.1} ms at least", millis(took), millis(fastest))
    })
}
