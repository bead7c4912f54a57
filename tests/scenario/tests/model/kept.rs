//! What is kept of the segments: offers, times, the one that ended it, the ICMP error.

use tcptrace_core::{
    event::Telling,
    handshake::{End, Facts, Handshake, Nanos, Offer, Point},
    segment::{self, Found, Link, Options, Skip},
    seq::Seq,
};
use tcptrace_scenario::{self as scenario, Family, Setting, frame, model::Model, packet::Party};

const MS: u64 = 1_000_000;

/// The attempt that some packets leave behind, the first of them at `START`.
fn after(packets: &str, family: Family) -> Handshake {
    let text = format!("case\n {}\n = nothing", packets.replace('\n', "\n "));
    let scenario = scenario::parse(&text).expect("the text is right").remove(0);
    let setting = Setting::new(family);
    let mut model = Model::new(Telling { all: false, stall_after: u64::MAX });
    let mut now = START;
    for (step, port) in scenario.steps.iter().zip(0..) {
        now.0 += step.after.as_nanos() as u64;
        model.see(&step.frame(&setting, Link::Ip), Link::Ip, now, Point::ingress(port));
    }
    let (client, server) = frame::endpoints(&setting);
    *model.attempt(client, server).expect("there was a SYN")
}

const START: Nanos = Nanos(5_000_000_000);

#[test]
fn offers_are_those_of_the_syn_and_of_the_answer() {
    let it = after(
        "C > S SYN/ECE/CWR win=1000 ttl=61 <mss 1400,sackOK,wscale 9,fastopen> |\n\
         S > C SYN/ACK/ECE win=2000 ttl=49 <mss 536,TS,mptcp> |",
        Family::V6,
    );
    let asked = Options::MSS | Options::SACK_PERMITTED | Options::WINDOW_SCALE | Options::FAST_OPEN | Options::ECN;
    assert_eq!(it.syn, Offer { window: 1000, mss: 1400, options: asked, window_scale: 9, ttl: 61, tries: 1 });
    let agreed = Options::MSS | Options::TIMESTAMPS | Options::MPTCP | Options::ECN;
    assert_eq!(it.answer, Offer { window: 2000, mss: 536, options: agreed, window_scale: 0, ttl: 49, tries: 1 });
    assert_eq!((it.isn, it.server_isn, it.answered_try), (Seq(u32::MAX), Seq(u32::MAX), 1));
    assert_eq!((it.client_point, it.server_point), (Point::ingress(0), Point::ingress(1)));
    assert_eq!(it.end, End::default());
}

/// ECN is asked for with both bits and agreed to with one (RFC 3168, section 6.1.1): others are none.
#[test]
fn ecn_is_a_pair_of_flags() {
    for (flags, ecn) in [("SYN", false), ("SYN/ECE", false), ("SYN/CWR", false), ("SYN/ECE/CWR", true)] {
        let options = after(&format!("C > S {flags} |"), Family::V4).syn.options;
        assert_eq!(options & Options::ECN != 0, ecn, "{flags}");
    }
    for (flags, ecn) in [("SYN/ACK", false), ("SYN/ACK/ECE/CWR", false), ("SYN/ACK/CWR", false), ("SYN/ACK/ECE", true)]
    {
        let options = after(&format!("C > S SYN |\nS > C {flags} |"), Family::V4).answer.options;
        assert_eq!(options & Options::ECN != 0, ecn, "{flags}");
    }
}

#[test]
fn a_broken_option_list_is_said_to_be_one() {
    let options = |list: &str| after(&format!("C > S SYN <{list}> |"), Family::V4).syn;
    assert_eq!(options("mss 1400,broken").options, Options::MSS | Options::MALFORMED);
    assert_eq!(options("broken").options, Options::MALFORMED);
    // What follows the end of the list is padding, whatever it looks like.
    assert_eq!(options("mss 1400,eol,wscale 7").options, Options::MSS);
    assert_eq!(options("nop,nop,nop,nop").options, 0);
}

#[test]
fn the_first_syn_and_the_last_answer_are_kept() {
    let it = after(
        "C > S SYN win=1000 |\n+1s C > S SYN win=3000 |\nS > C SYN/ACK win=2000 |\n+1s S > C SYN/ACK seq=sisn+9 win=4000 |",
        Family::V4,
    );
    assert_eq!((it.syn.window, it.syn.tries, it.answered_try), (1000, 2, 2));
    assert_eq!((it.answer.window, it.answer.tries), (2000, 2));
    // Its number is what the final ACK acknowledges.
    assert_eq!(it.server_isn, Seq(u32::MAX).add(9));
    // Each side is counted where it was last seen.
    assert_eq!((it.client_point, it.server_point), (Point::ingress(1), Point::ingress(3)));
}

/// A RST's window, flags and TTL show who made it.
#[test]
fn the_segment_that_ended_it_is_kept() {
    let refused =
        after("C > S SYN |\n+7ms S > C RST/ACK seq=0 win=5 ttl=250 |\n+1ms S > C RST win=6 ttl=3 |", Family::V4);
    assert_eq!((refused.end, refused.ended), (End { window: 5, flags: 0x14, ttl: 250 }, Nanos(START.0 + 7 * MS)));
    let done =
        after("C > S SYN |\nS > C SYN/ACK |\n+9ms C > S PSH/ACK win=77 ttl=60 len=3 |\n+1s C > S RST |", Family::V6);
    assert_eq!((done.end, done.ended), (End { window: 77, flags: 0x18, ttl: 60 }, Nanos(START.0 + 9 * MS)));
    // Overcome, it is no longer the end.
    for trouble in ["S > C RST", "R > C ICMP net quoting SYN"] {
        let recovering = after(&format!("C > S SYN |\n{trouble} |\nS > C SYN/ACK |"), Family::V4);
        assert_eq!((recovering.end, recovering.ended), (End::default(), Nanos(0)), "{trouble}");
    }
}

/// Type and code can be asked for afterwards, with the family that gives them their meaning.
#[test]
fn the_last_icmp_error_is_kept() {
    let packets = "C > S SYN |\nR > C ICMP net quoting SYN |\nR > C ICMP admin quoting SYN |";
    for (family, expected) in [(Family::V4, (false, 3, 13)), (Family::V6, (true, 1, 1))] {
        let icmp = after(packets, family).unreachable().expect("there was an error");
        assert_eq!((icmp.v6, icmp.kind, icmp.code), expected);
    }
    assert_eq!(after("C > S SYN |", Family::V4).unreachable(), None);
}

/// The event that tells of it says who sent it, and what was quoted.
#[test]
fn the_sender_of_an_icmp_error_is_told() {
    let text = "case\n C > S SYN |\n R > C ICMP host quoting SYN |\n = nothing";
    let scenario = scenario::parse(text).expect("the text is right").remove(0);
    for &family in Family::ALL {
        let mut model = Model::new(Telling { all: false, stall_after: 0 });
        for step in &scenario.steps {
            model.see(&step.frame(&Setting::new(family), Link::Ip), Link::Ip, START, Point::ingress(2));
        }
        let [(_, event)] = &model.events[..] else { panic!("one event, not {:?}", model.events) };
        assert_eq!((event.from, event.seq), (frame::address(&Setting::new(family), Party::Router), Seq(u32::MAX)));
    }
}

/// The times of a handshake leave out what was lost before it.
#[test]
fn times_are_of_the_syn_that_was_answered() {
    let cases = [
        ("C > S SYN |\n+20ms S > C SYN/ACK |\n+5ms C > S ACK |", Some(20), Some(5)),
        ("C > S SYN |\n+1s C > S SYN |\n+20ms S > C SYN/ACK |\n+5ms C > S ACK |", Some(20), Some(5)),
        // The answer to the first came, and then the second went out.
        ("C > S SYN |\n+1200ms S > C SYN/ACK |\n+1ms C > S SYN |\n+1ms C > S ACK |", Some(1200), Some(2)),
        // The second of three was answered: its time is not kept once the third was sent.
        ("C > S SYN |\n+1s C > S SYN |\n+1s S > C SYN/ACK |\n+1s C > S SYN |\n+1ms C > S ACK |", None, Some(1001)),
        // The ACK answers the last SYN/ACK.
        ("C > S SYN |\n+1ms S > C SYN/ACK |\n+1s S > C SYN/ACK |\n+3ms C > S ACK |", Some(1), Some(3)),
        // No answer was seen: nothing is made up.
        ("C > S SYN |\n+20ms C > S ACK |", None, None),
        ("C > S SYN |\n+20ms C > S ACK |\n+1ms S > C SYN/ACK |", None, None),
        ("C > S SYN |\n+20ms S > C SYN/ACK |", Some(20), None),
    ];
    for (packets, syn_to_answer, answer_to_ack) in cases {
        let it = after(packets, Family::V4);
        let millis = |nanos: u64| nanos / MS;
        assert_eq!(
            (it.syn_to_answer().map(millis), it.answer_to_ack().map(millis)),
            (syn_to_answer, answer_to_ack),
            "{packets}"
        );
        assert!(!it.facts.any(!Facts::ANSWER_UNSEEN), "{packets}");
    }
}

/// The protocol numbers of ICMP and ICMPv6 mean nothing in the other's packets.
#[test]
fn an_icmp_error_of_the_other_family_is_none() {
    for (family, protocol_at, other) in [(Family::V4, 9, 58), (Family::V6, 6, 1)] {
        let text = "case\n R > C ICMP net quoting SYN |\n = nothing";
        let step = scenario::parse(text).expect("the text is right").remove(0).steps.remove(0);
        let mut packet = step.frame(&Setting::new(family), Link::Ip);
        assert!(matches!(segment::locate(&packet[..], Link::Ip), Found::Error(_)));
        packet[protocol_at] = other;
        assert_eq!(segment::locate(&packet[..], Link::Ip), Found::Skipped(Skip::NotTcp));
    }
}
