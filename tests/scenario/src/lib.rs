//! The scenario language: one packet a line, in packetdrill's spirit, for every suite that needs packets.
//!
//! ```text
//! syn_sent_silence_two_tries
//!     C > S  SYN                              | opened
//!     +1s    C > S  SYN                       | syn_retried
//!     = no_reply syn 2
//! ```
//!
//! A case is a name at the margin (`v4` or `v6` after it where it makes sense in one family only), its packets, and
//! after `=` what has become of the attempt between `C` and `S`: an outcome, how many SYNs, how many SYN/ACKs, the
//! facts; or `nothing`. A packet's line reads
//!
//! ```text
//! [+delay] [@eth0|@eth1 in|out] from > to  flags [attributes] | effects
//! [+delay] [@eth0|@eth1 in|out] from > to  ICMP what quoting flags [attributes] | effects
//! ```
//!
//! - Parties: `C`lient, `S`erver, `R`outer, `B`ystander (another host, the server's port). The delay follows the line
//!   before; the place is `@eth0 in` unless said.
//! - Flags: `SYN/ACK`, `RST`, … or `NULL`. Attributes: `seq= ack= win= ttl= len=`, options `<mss 1460,sackOK,TS>`,
//!   `vlan=5,6`, `ip4=options`, `ip6=hop,dst,auth,frag`; of a quotation `cut` (eight bytes of TCP, as RFC 792 asks).
//!   Numbers are absolute, or relative to `isn` and `sisn`. What is left out is what a well-behaved host would send.
//! - ICMP errors have a name that holds in both families (`net`, `host`, `port`, `admin`, `ttl`, `parameter`), or are
//!   given as `3/13`.
//! - Effects, in order: transitions, with `!` if told as an event, and counters other than `tcp_control` and
//!   `icmp_errors`, by the names that reports use.
//!
//! It knows nothing of clocks or kernels: [`model::Model`] runs it on the core, the suite `kernel` on the programs.

use std::{fmt, time::Duration};

use tcptrace_core::{
    event::Counter,
    handshake::{Handshake, Transition},
    segment::Link,
};
use tcptrace_vocabulary::outcome::Outcome;

pub mod frame;
pub mod model;
pub mod packet;
mod parse;
pub mod words;

pub use parse::{ParseError, parse};

use packet::Packet;

/// One attempt, packet by packet, and what should become of it.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    /// The families in which it makes sense.
    pub families: &'static [Family],
    pub steps: Vec<Step>,
    pub expected: Expected,
}

/// A packet, when and where it is seen, and what it does.
#[derive(Clone, Debug)]
pub struct Step {
    /// The line in its file, for messages: number and text.
    pub line: usize,
    pub text: String,
    /// Time since the step before.
    pub after: Duration,
    pub seen: Seen,
    pub packet: Packet,
    pub effects: Vec<Effect>,
}

/// What a packet does, as the counters and events tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A transition, and whether it is told as an event.
    Transition(Transition, bool),
    /// A counter other than those that say what kind of packet it was.
    Counter(Counter),
}

impl Effect {
    /// Whether it begins an attempt.
    #[must_use]
    pub const fn is_opening(&self) -> bool {
        matches!(self, Self::Transition(Transition::Opened, _))
    }
}

/// What has become of the attempt between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// `None`: there is no attempt.
    pub outcome: Option<Outcome>,
    pub syns: u8,
    pub answers: u8,
    pub facts: u32,
}

impl Expected {
    /// Compares with an attempt, by the words of the language.
    ///
    /// # Errors
    /// What it is instead.
    pub fn check(&self, attempt: Option<&Handshake>) -> Result<(), String> {
        let is = attempt.map_or_else(Self::nothing, |it| Self {
            outcome: Outcome::to_the_end(it),
            syns: it.syn.tries,
            answers: it.answer.tries,
            facts: it.facts.0,
        });
        if is == *self { Ok(()) } else { Err(format!("is '{is}', not '{self}'")) }
    }

    const fn nothing() -> Self {
        Self { outcome: None, syns: 0, answers: 0, facts: 0 }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.outcome.map_or("nothing", Outcome::name))?;
        for (word, count) in [("syn", self.syns), ("answer", self.answers)] {
            if count > 0 {
                write!(f, " {word} {count}")?;
            }
        }
        words::facts(self.facts).iter().try_for_each(|fact| write!(f, " {fact}"))
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Both.
    pub const ALL: &'static [Self] = &[Self::V4, Self::V6];
}

/// Where a packet is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// 0 or 1: `eth0` or `eth1`.
    pub interface: usize,
    /// Going out.
    pub out: bool,
}

/// What a scenario leaves open.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub family: Family,
    pub isn: u32,
    pub server_isn: u32,
    pub client_port: u16,
    pub server_port: u16,
    /// The last part of the address.
    pub client_host: u8,
    pub server_host: u8,
    /// The /64 that the server is in, of 2001:db8::/48.
    pub server_net: u16,
}

impl Setting {
    /// Both initial sequence numbers are such that the next one wraps.
    #[must_use]
    pub const fn new(family: Family) -> Self {
        Self {
            family,
            isn: u32::MAX,
            server_isn: u32::MAX,
            client_port: 40_000,
            server_port: 443,
            client_host: 2,
            server_host: 2,
            server_net: 2,
        }
    }
}

/// Every case of the project, in the order of its files.
///
/// # Panics
/// When a file has a mistake, with its line.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let files = [
        ("silence", include_str!("cases/silence.txt")),
        ("refusal", include_str!("cases/refusal.txt")),
        ("unreachable", include_str!("cases/unreachable.txt")),
        ("answer", include_str!("cases/answer.txt")),
        ("established", include_str!("cases/established.txt")),
        ("odd", include_str!("cases/odd.txt")),
        ("points", include_str!("cases/points.txt")),
        ("headers", include_str!("cases/headers.txt")),
        ("ordinary", include_str!("cases/ordinary.txt")),
    ];
    files
        .into_iter()
        .flat_map(|(file, text)| parse(text).unwrap_or_else(|error| panic!("scenario/cases/{file}.txt:{error}")))
        .collect()
}

/// Every frame of every case, in both families: what random tests break.
#[must_use]
pub fn corpus() -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = all()
        .iter()
        .flat_map(|case| case.families.iter().map(move |&family| (case, Setting::new(family))))
        .flat_map(|(case, setting)| case.steps.iter().map(move |step| step.frame(&setting, Link::Ethernet)))
        .collect();
    frames.sort_unstable();
    frames.dedup();
    frames
}

impl Scenario {
    /// Whether packets are seen in more than one place.
    #[must_use]
    pub fn has_two_points(&self) -> bool {
        self.steps.iter().any(|step| step.seen != Seen::default())
    }
}
