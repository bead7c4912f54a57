//! The data that crosses from the kernel to userspace: events, and the counters of everything that is not one.

use crate::{
    flow::Addr,
    handshake::{Facts, Handshake, Nanos, Point, State, Transition},
    seq::Seq,
};

/// The layout's version: the first byte of every record. A reader refuses any other.
pub const VERSION: u8 = 1;

/// One record of the ring buffer: a transition worth telling, the attempt after it, the packet that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    pub version: u8,
    /// A [`Transition`], by number.
    pub transition: u8,
    /// Bytes of the whole record.
    pub size: u16,
    /// The place where the packet was seen.
    pub point: Point,
    pub time: Nanos,
    /// The attempt as it is now; as it was where the transition is [`Transition::Superseded`].
    pub handshake: Handshake,
    /// The packet's sender: for an ICMP error the router or host that sent it.
    pub from: Addr,
    /// The packet's numbers; for an ICMP error those it quotes.
    pub seq: Seq,
    pub ack: Seq,
    pub window: u16,
    pub flags: u8,
    pub ttl: u8,
    /// Zero: makes the size a multiple of eight.
    pub pad: u32,
}

const _: () = assert!(size_of::<Event>() == 168 && align_of::<Event>() == 8);

/// The transitions that are reported one by one; the others are counted.
#[derive(Clone, Copy, Debug)]
pub struct Telling {
    /// Every completed handshake and what became of it, not only those that came late or after trouble.
    pub all: bool,
    /// Nanoseconds after which a completion is late.
    pub stall_after: u64,
}

/// The SYN, and the SYN/ACK, whose sending makes an attempt stalled: two went without an answer.
pub const STALLED_AT_TRY: u8 = 3;

impl Telling {
    /// Whether a transition to this attempt is reported.
    #[inline(always)]
    #[must_use]
    pub fn tells(self, transition: Transition, handshake: &Handshake) -> bool {
        match transition {
            Transition::Refused
            | Transition::Aborted
            | Transition::ResetOnAnswer
            | Transition::Unreachable
            | Transition::Challenged
            | Transition::WrongAnswer => true,
            Transition::SynRetried => handshake.syn.tries == STALLED_AT_TRY && handshake.state().is_pending(),
            Transition::AnswerRetried => {
                handshake.answer.tries == STALLED_AT_TRY && handshake.state() != State::Unsolicited
            }
            Transition::Completed => self.all || self.was_in_trouble(handshake),
            Transition::Superseded => handshake.state().is_pending() || self.all && is_open(handshake),
            // Accepted, and reset before it sent a byte; userspace knows whether that was soon.
            Transition::ResetByServer => self.all || !handshake.facts.any(Facts::SERVER_DATA | Facts::SERVER_FIN),
            Transition::Closed | Transition::ResetByClient => self.all,
            Transition::Replaced => self.all && is_open(handshake),
            Transition::Opened | Transition::Answered | Transition::SeenAgain | Transition::Noted => false,
        }
    }

    /// Whether an established attempt had been reported as stalled or failed, or should have been.
    #[inline(always)]
    fn was_in_trouble(self, handshake: &Handshake) -> bool {
        const TOLD: u32 = Facts::RECOVERING | Facts::UNREACHABLE | Facts::CHALLENGED | Facts::WRONG_ANSWER;
        handshake.syn.tries >= STALLED_AT_TRY
            || handshake.answer.tries >= STALLED_AT_TRY
            || handshake.facts.any(TOLD)
            || handshake.ended.since(handshake.first_syn) >= self.stall_after
    }
}

/// Whether it was established and nobody has ended it.
#[inline(always)]
#[must_use]
pub fn is_open(handshake: &Handshake) -> bool {
    handshake.state() == State::Established
        && !handshake.facts.any(Facts::CLIENT_RST | Facts::SERVER_RST)
        && !handshake.facts.has_both_fins()
}

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The counts besides transitions and lost events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// Every counter, in the order of its place in [`Counters`].
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

counters! {
    /// TCP segments without SYN, FIN and RST, of no pending handshake.
    Established = "tcp_established",
    /// TCP segments with SYN, FIN or RST, or of a pending handshake.
    Control = "tcp_control",
    /// ICMP errors about TCP segments.
    IcmpError = "icmp_errors",
    /// IP packets that are neither.
    NotTcp = "not_tcp",
    /// Frames that are not IP.
    NotIp = "not_ip",
    /// Fragments after the first.
    LaterFragment = "later_fragments",
    /// Packets whose headers contradict themselves or break off.
    Malformed = "malformed",
    /// SYN/ACKs of no attempt so far: asymmetric path, backscatter, or a SYN from before the start.
    AnswerUnmatched = "syn_ack_unmatched",
    /// RSTs of no attempt.
    RstUnmatched = "rst_unmatched",
    /// FINs of no attempt.
    FinUnmatched = "fin_unmatched",
    /// ICMP errors of no attempt.
    IcmpUnmatched = "icmp_unmatched",
    /// Settled attempts whose slot a new one took: no loss.
    ReplacedSettled = "table_replaced_settled",
    /// Pending attempts whose slot a new one took because all were pending: a loss.
    ReplacedPending = "table_replaced_pending",
    /// Segments dropped from the account because another CPU held their set: a loss.
    Contended = "table_contended",
    /// SYNs, and SYN/ACKs of no attempt, that the filter does not want.
    FilteredOut = "filtered_out",
    /// SYNs to a flooded listener, and SYN/ACKs of no attempt, that were counted and not let in.
    PassedOver = "flood_passed_over",
    /// Packets that found no room on their way into the evidence: a loss.
    EvidenceLost = "evidence_lost",
    /// Dropped packets whose reason was not noted: beyond the budget, or of an unfollowed flow that found no place.
    DropUnnoted = "drops_unnoted",
    /// Calls of connect(2) whose record another call took before there was a SYN, or that found it being written.
    ConnectUnnoted = "connects_unnoted",
    /// Attempts whose SYN was sent a second time.
    SynAgain = "attempts_with_second_syn",
    /// Attempts whose SYN/ACK was sent a second time before they were established.
    AnswerAgain = "attempts_with_second_syn_ack",
}

/// Places for counters by [`Transition`]: a power of two, so that a mask keeps a number within them. A comparison would
/// not do: Linux 6.1's verifier forgets it when the number is read from the stack again.
pub const TRANSITIONS: usize = Transition::ALL.len().next_power_of_two();

/// Buckets of a latency histogram: bucket `n` counts times of at least 2ⁿ⁻¹ and less than 2ⁿ microseconds.
pub const BUCKETS: usize = 32;

/// One CPU's counters: all it does not tell one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    pub counters: [u64; Counter::ALL.len()],
    /// By [`Transition`].
    pub transitions: [u64; TRANSITIONS],
    /// Events that found the ring full, by [`Transition`].
    pub lost: [u64; TRANSITIONS],
    /// SYN to SYN/ACK, of those that needed each once; then first SYN to last SYN/ACK, of those that needed either again.
    pub syn_to_answer: [u64; 2 * BUCKETS],
    /// SYN/ACK to final ACK.
    pub answer_to_ack: [u64; BUCKETS],
    /// The age, in nanoseconds, of the youngest pending attempt whose slot a new one took; zero: none lost its slot.
    pub youngest_replaced: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            counters: [0; Counter::ALL.len()],
            transitions: [0; TRANSITIONS],
            lost: [0; TRANSITIONS],
            syn_to_answer: [0; 2 * BUCKETS],
            answer_to_ack: [0; BUCKETS],
            youngest_replaced: 0,
        }
    }
}

impl Counters {
    /// Adds another CPU's.
    pub fn add(&mut self, other: &Self) {
        fn sum(to: &mut [u64], from: &[u64]) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        sum(&mut self.counters, &other.counters);
        sum(&mut self.transitions, &other.transitions);
        sum(&mut self.lost, &other.lost);
        sum(&mut self.syn_to_answer, &other.syn_to_answer);
        sum(&mut self.answer_to_ack, &other.answer_to_ack);
        if other.youngest_replaced > 0 {
            self.replaced_at_age(other.youngest_replaced);
        }
    }

    /// A pending attempt of this age lost its slot.
    #[inline(always)]
    pub fn replaced_at_age(&mut self, nanos: u64) {
        if self.youngest_replaced == 0 || nanos < self.youngest_replaced {
            self.youngest_replaced = nanos.max(1);
        }
    }

    /// Counts an event that found the ring full; `index` is its transition's number.
    #[inline(always)]
    pub fn lose(&mut self, index: usize) {
        self.lost[index & (TRANSITIONS - 1)] += 1;
    }

    /// Counts a transition, given by number, and the times that a completed handshake took.
    #[inline(always)]
    pub fn count(&mut self, index: usize, handshake: &Handshake) {
        self.count_forgetting(index, handshake, |number| number);
    }

    /// The same, without a comparison that the verifier would follow both ways of: it doubles what comes behind it.
    /// `forget` makes numbers unknown to the compiler, which would otherwise make comparisons of them again.
    #[inline(always)]
    pub fn count_forgetting(&mut self, index: usize, handshake: &Handshake, forget: impl Fn(u64) -> u64) {
        /// The transitions that are a second try, as bits.
        const RETRIED: u64 = 1 << Transition::SynRetried as u64 | 1 << Transition::AnswerRetried as u64;
        self.transitions[index & (TRANSITIONS - 1)] += 1;
        // One where it is zero, zero otherwise.
        let is_zero = |number: u64| (forget(number | number.wrapping_neg()) >> 63) ^ 1;
        let [syn, answer, state] = [handshake.syn.tries, handshake.answer.tries, handshake.state].map(u64::from);
        let is_retry = RETRIED >> (index & (TRANSITIONS - 1)) & 1;
        let is_answer = index as u64 >> 1 & 1;
        let is_pending = (state ^ State::SynReceived as u64) * is_answer;
        let tries = answer * is_answer + syn * (1 - is_answer);
        self.counters[Counter::SynAgain as usize + is_answer as usize] += is_retry * is_zero(tries ^ 2 | is_pending);
        if index == Transition::Completed as usize {
            if let Some(nanos) = handshake.syn_to_answer() {
                let again = 1 - is_zero((syn | answer) & !1 & 0xff);
                let whole = handshake.last_answer.0.wrapping_sub(handshake.first_syn.0);
                let nanos = whole * again + nanos * (1 - again);
                let at = bucket(forget(nanos)) + again as usize * BUCKETS;
                self.syn_to_answer[at & (2 * BUCKETS - 1)] += 1;
            }
            if let Some(nanos) = handshake.answer_to_ack() {
                self.answer_to_ack[bucket(forget(nanos))] += 1;
            }
        }
    }
}

/// The bucket of a time in nanoseconds. BPF has no instruction that counts leading zeros: five halvings do it.
#[inline(always)]
fn bucket(nanos: u64) -> usize {
    let mut micros = nanos / 1000;
    if micros >= 1 << (BUCKETS - 1) {
        return BUCKETS - 1;
    }
    let mut bucket = 0;
    let mut half = 16;
    while half > 0 {
        if micros >= 1 << half {
            micros >>= half;
            bucket += half;
        }
        half /= 2;
    }
    (bucket + micros as usize) & (BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two() {
        for (micros, expected) in
            [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1023, 10), (1024, 11), (u64::MAX / 1000, 31)]
        {
            assert_eq!(bucket(micros * 1000), expected, "{micros} µs");
        }
    }
}
