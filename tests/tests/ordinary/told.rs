//! What may be told of a day in which nothing is wrong: the list, and why each row is in it.
//!
//! A row is a scenario and the words of the line that tells it. `News` is told each time, and who takes it away takes
//! something away from somebody. `Noise` may be told: that it is not worth a line is known, and by what it could be
//! recognised is its reason. Once nothing tells it any more, the row goes; nothing else has to change.

use super::day::CUT_OFF_CASES;

/// Whether a line is to be there.
pub(crate) enum Judgement {
    /// Somebody waited, or was turned away: told each time.
    News,
    /// True, and of no use to anybody: told at most.
    Noise,
}

/// A kind of line.
pub(crate) struct Told {
    pub(crate) case: &'static str,
    pub(crate) words: &'static str,
    pub(crate) judgement: Judgement,
    /// Causes that are right, where one is given.
    pub(crate) causes: &'static [&'static str],
    pub(crate) why: &'static str,
}

use Judgement::{News, Noise};

pub(crate) static TOLD: &[Told] = &[
    Told {
        case: "ordinary_restart_refused",
        words: "refused",
        judgement: News,
        causes: &["port_closed", "unknown"],
        why: "clients were turned away; that they came again and succeeded makes it short, and not untrue",
    },
    Told {
        case: "ordinary_slow_server_linear",
        words: "closed third_syn recovered",
        judgement: News,
        causes: &["listen_queue_full", "unknown"],
        why: "somebody waited for 2.5 s, and two SYNs led to nothing",
    },
    Told {
        case: "ordinary_eyeballs_loser_silent",
        words: "no_reply silence",
        judgement: Noise,
        causes: &["application_gave_up", "unknown"],
        why: "a single SYN: whoever had waited for a second would have sent another; the winner follows in IPv4",
    },
    Told {
        case: "ordinary_eyeballs_loser_late",
        words: "aborted after_answer",
        judgement: Noise,
        causes: &["application_gave_up", "unknown"],
        why: "a single SYN, answered in less than a second, and a RST without ACK: nobody waits any more",
    },
    Told {
        case: "ordinary_eyeballs_loser_unreachable",
        words: "unreachable",
        judgement: Noise,
        causes: &["network_unreachable"],
        why: "IPv6 has no way out and IPv4 connects at once: worth one finding of the network, not a line a page",
    },
    Told {
        case: "ordinary_port_reused_challenged",
        words: "closed recovered",
        judgement: Noise,
        causes: &["port_reuse"],
        why: "what RFC 9293 has it for: nobody waited for longer than a round trip and some milliseconds",
    },
    Told {
        case: "ordinary_port_reused_challenged_waits",
        words: "closed recovered",
        judgement: Noise,
        causes: &["port_reuse"],
        why: "a second, as after one lost SYN, which is not told either",
    },
    Told {
        case: CUT_OFF_CASES[0].0,
        words: "no_reply still_open",
        judgement: Noise,
        causes: &["application_gave_up", "unknown"],
        why: "its answer would have come after the end of the capture: it is too young to have failed",
    },
    Told {
        case: CUT_OFF_CASES[1].0,
        words: "half_open still_open",
        judgement: Noise,
        causes: &["unknown"],
        why: "so would its final ACK",
    },
];
