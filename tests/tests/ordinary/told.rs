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

/// The same of the lab: [`crate::scenery`]'s cases; what is told as a stall has a line of its own.
pub(crate) static TOLD_LIVE: &[Told] = &[
    Told {
        case: "restart",
        words: "refused",
        judgement: News,
        causes: &["port_closed"],
        why: "clients were turned away, and by the host itself: that is what a restart without hand-over does",
    },
    Told {
        case: "scanner",
        words: "refused",
        judgement: News,
        causes: &["port_closed"],
        why: "true of each of the four ports; a finding takes over from the 33rd on",
    },
    Told {
        case: "very_slow_server",
        words: "stall no_reply third_syn still_open",
        judgement: News,
        // The entry by which the router holds its SYNs back is one without an answer to ARP.
        causes: &["unknown", "listen_queue_full", "host_down"],
        why: "two SYNs led to nothing for two seconds",
    },
    Told {
        case: "very_slow_server",
        words: "established third_syn recovered",
        judgement: News,
        causes: &["unknown", "listen_queue_full", "host_down"],
        why: "and who was told of that is told that it is over",
    },
    Told {
        case: "slow_server",
        words: "stall no_reply third_syn still_open",
        judgement: Noise,
        causes: &["unknown", "host_down"],
        why: "at the router alone, which holds the packets itself: a SYN that leaves it 200 ms after it came in counts \
              as another",
    },
    Told {
        case: "slow_server",
        words: "established third_syn recovered",
        judgement: Noise,
        causes: &["unknown", "host_down"],
        why: "likewise",
    },
    Told {
        case: "eyeballs_loser_silent",
        words: "avoided began",
        judgement: News,
        causes: &["-"],
        why: "one line for all that goes there: the network leads nowhere",
    },
    Told {
        case: "eyeballs_loser_silent",
        words: "avoided over",
        judgement: News,
        causes: &["-"],
        why: "and one with how much it was",
    },
    Told {
        case: "eyeballs_loser_silent",
        words: "stall no_reply silence still_open",
        judgement: Noise,
        causes: &["firewall_drop", "dropped_by_local_firewall", "application_gave_up", "unknown"],
        why: "IPv6 is dropped, and the line says where; nobody waited, since IPv4 won",
    },
    Told {
        case: "eyeballs_loser_silent",
        words: "no_reply silence",
        judgement: Noise,
        causes: &["firewall_drop", "dropped_by_local_firewall", "application_gave_up", "unknown"],
        why: "the end of the same",
    },
    Told {
        case: "eyeballs_loser_silent",
        words: "no_reply",
        judgement: Noise,
        causes: &["firewall_drop", "dropped_by_local_firewall", "application_gave_up", "unknown"],
        why: "likewise, where the machine stood still for so long that it was over before it was found stalled",
    },
    Told {
        case: "eyeballs_loser_unreachable",
        words: "unreachable",
        judgement: Noise,
        causes: &["network_unreachable", "firewall_reject"],
        why: "IPv6 has no way out: true, and the same for each page; the lab's router says it by a rule, and knows that",
    },
    Told {
        case: "eyeballs_loser_late",
        words: "aborted after_answer",
        judgement: Noise,
        causes: &["application_gave_up", "unknown"],
        why: "a SYN/ACK for a socket that is no more: nobody waits",
    },
    Told {
        case: "syn_ack_lost",
        words: "stall half_open third_syn_ack still_open",
        judgement: Noise,
        causes: &["unknown", "asymmetric_path", "firewall_drop", "client_vanished"],
        why: "one loss, and timers that cross: two of the three SYN/ACKs went out within milliseconds of each other",
    },
    Told {
        case: "syn_ack_lost",
        words: "established third_syn_ack recovered",
        judgement: Noise,
        causes: &["unknown", "asymmetric_path", "firewall_drop", "client_vanished"],
        why: "the end of the same",
    },
];
