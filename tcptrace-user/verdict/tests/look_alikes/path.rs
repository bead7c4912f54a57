//! Other ways, other addresses, other hosts.

use std::net::IpAddr;

use tcptrace_core::{
    flow::Endpoint,
    handshake::{End, Facts, Handshake, Nanos, Offer, State},
    segment::{Flags, Options},
};
use tcptrace_vocabulary::{
    cause::{
        Cause::{AsymmetricPath, DuplicateIp, NatMismatch, OptionsBlocked, PortReuse},
        Confidence::{Certain, Likely, Possible},
    },
    facts::{Local, Neighbour},
};

use super::{beside, said, short, told};
use crate::common::{
    Around, CLIENT, NEIGHBOUR, NOW, SECOND, SERVER, answered, earlier, established, here, refused, silent, verdict,
};

#[test]
fn an_answer_without_a_syn_says_how_often() {
    let unasked = |tries| {
        let it = answered(0);
        Handshake { syn: Offer::default(), answer: Offer { tries, ..it.answer }, state: State::Unsolicited as u8, ..it }
    };
    assert_eq!(beside(unasked(1), Vec::new()), (AsymmetricPath, Possible));
    let twice = verdict(unasked(2), &Around::default());
    assert_eq!(short(&twice), (AsymmetricPath, Likely));
    assert_eq!(twice.evidence[0], "2 SYN/ACKs passed here, and no SYN");
}

#[test]
fn another_port_of_the_same_address_is_named_as_one() {
    let words = |from| verdict(answered(0), &Around { answered_from: Some(from), ..Around::default() }).evidence;
    let port = "the SYN went to port 6036 of 203.0.113.2, and another port of it acknowledged it";
    assert_eq!(words(SERVER.addr), [port]);
    assert_eq!(words(NEIGHBOUR.addr), ["the SYN went to 203.0.113.2, and 203.0.113.9 acknowledged it"]);
}

#[test]
fn a_challenge_says_what_may_have_made_it() {
    let older = "a challenge ACK, or a packet of the older connection (its FIN/ACK, its data) sent again";
    let first = Handshake { facts: Facts(Facts::CHALLENGED), ..silent(CLIENT, SERVER) };
    let opened = Handshake { facts: Facts(Facts::CHALLENGED), ..established(CLIENT, SERVER) };
    for it in [first, opened] {
        let it = verdict(it, &Around::default());
        assert_eq!((short(&it), it.evidence[1].as_str()), ((PortReuse, Likely), older));
    }
}

/// SYNs that were sent again as they were, and got lost or not, decide nothing about those that fell back.
#[test]
fn options_are_blocked_where_nothing_else_was_lost() {
    let again = |it: Handshake| Handshake { syn: Offer { tries: 2, ..it.syn }, answered_try: 2, ..it };
    let falls_back = |it: Handshake, facts| Handshake { facts: Facts(Facts::FALLBACK | facts), ..again(it) };
    let own = falls_back(established(CLIENT, SERVER), Facts::WITHOUT_ECN);
    let before = || earlier(own, 60);
    assert_eq!(beside(own, vec![before()]), (OptionsBlocked, Likely));
    let plain = again(established(CLIENT, Endpoint { port: 80, ..SERVER }));
    for lost in [plain, earlier(plain, 300), falls_back(plain, 0)] {
        assert_eq!(beside(own, vec![before(), lost]), (OptionsBlocked, Possible));
    }
    assert_eq!(beside(own, vec![before(), earlier(plain, 900)]), (OptionsBlocked, Likely), "long ago");
    let large = |facts| falls_back(established(CLIENT, SERVER), Facts::WITHOUT_FAST_OPEN | facts);
    assert_eq!(beside(large(0), vec![earlier(large(0), 60)]), (OptionsBlocked, Likely));
    let data = large(Facts::SYN_DATA);
    assert_eq!(beside(data, vec![earlier(data, 60)]), (OptionsBlocked, Possible), "it is too large, perhaps");
}

/// A SYN that was translated, and the answer that was not.
#[test]
fn a_twin_is_untranslated_if_one_of_both_was_answered() {
    let kernels = |it: Handshake| Handshake {
        syn: Offer { options: Options::TIMESTAMPS | Options::SACK_PERMITTED, ..it.syn },
        ..it
    };
    let asked =
        kernels(Handshake { server_addr: NEIGHBOUR.addr, first_syn: Nanos(NOW.0 - 160_000), ..silent(CLIENT, SERVER) });
    let end = End { ttl: 64, window: 0, flags: Flags::RST };
    let half_open = kernels(answered(SECOND / 1000));
    let aborted =
        Handshake { ended: Nanos(half_open.last_answer.0 + 1), end, state: State::Aborted as u8, ..half_open };
    for it in [aborted, half_open] {
        let it = verdict(it, &Around { worked: vec![asked], ..Around::default() });
        assert_eq!(short(&it), (NatMismatch, Likely));
        assert_eq!(
            it.evidence[0],
            "the same SYN (client, port and ISN) went to 203.0.113.9, 160 µs apart: it was translated"
        );
    }
    let it = verdict(asked, &Around { worked: vec![aborted], ..Around::default() });
    assert_eq!(short(&it), (NatMismatch, Likely));
    assert_eq!(
        it.evidence[0],
        "the same SYN (client, port and ISN) went on to 203.0.113.2, 160 µs apart: it was translated"
    );

    let open = kernels(established(CLIENT, SERVER));
    let unanswered = Handshake { answer: Offer::default(), ..aborted };
    let reset = Handshake { server_addr: NEIGHBOUR.addr, first_syn: asked.first_syn, ..kernels(refused(60, 0, 0x14)) };
    for (it, other, why) in [
        (open, asked, "it opened"),
        (asked, open, "the other opened"),
        (unanswered, asked, "the client gave up by itself"),
        (asked, unanswered, "so did the other"),
        (reset, aborted, "a RST answered"),
    ] {
        assert_ne!(beside(it, vec![other]).0, NatMismatch, "{why}");
    }
}

#[test]
fn two_answers_to_one_syn_are_two_hosts() {
    let two = |tries| {
        let it = answered(SECOND / 50);
        Handshake { facts: Facts(Facts::TWO_ANSWERS), syn: Offer { tries, ..it.syn }, ..it }
    };
    assert_eq!(beside(two(1), Vec::new()), (DuplicateIp, Likely));
    assert_ne!(beside(two(2), Vec::new()).0, DuplicateIp, "the server may have forgotten the first SYN");
    let macs = |link_addresses| Neighbour {
        is_peer: true,
        address: IpAddr::from([203, 0, 113, 2]),
        failed: false,
        link_addresses,
        is_fixed: false,
        may_be_unheard: false,
    };
    let local = |macs| Local { neighbour: Ok(Some(macs)), ..here(false) };
    let both = || local(macs(vec![[1; 6], [2; 6]]));
    assert_eq!(said(two(2), both()), (DuplicateIp, Likely), "SYN cookies answer each SYN with its own number");
    let it = told(two(1), both());
    assert_eq!(short(&it), (DuplicateIp, Certain));
    assert_eq!(it.evidence[1], "203.0.113.2 is at both 01:01:01:01:01:01 and 02:02:02:02:02:02");
    assert_eq!(said(refused(60, 0, 0x14), both()), (DuplicateIp, Likely));
    assert_ne!(said(established(CLIENT, SERVER), both()).0, DuplicateIp, "it opened");
    let router = Neighbour { is_peer: false, ..macs(vec![[1; 6], [2; 6]]) };
    assert_ne!(said(refused(60, 0, 0x14), local(router)).0, DuplicateIp, "two routers are no two hosts");
}

#[test]
fn an_option_is_blocked_at_the_second_time() {
    // The fourth SYN was the first without the option, and was answered in the time that the host takes.
    let falls_back = |without, option, took| {
        let it = answered(4 * SECOND);
        let last_syn = Nanos(it.first_answer.0 - took);
        let syn = Offer { tries: 4, options: option, ..it.syn };
        let facts = Facts(Facts::FALLBACK | without);
        let ended = Nanos(it.last_answer.0 + 1);
        Handshake { last_syn, syn, facts, ended, answered_try: 4, state: State::Established as u8, ..it }
    };
    let mptcp = |took| falls_back(Facts::WITHOUT_MPTCP, Options::MPTCP, took);
    let once = verdict(mptcp(SECOND / 50), &Around::default());
    assert_eq!(short(&once), (OptionsBlocked, Possible));
    assert_eq!(once.evidence[0], "3 SYNs with MPTCP lost, the first without it answered");
    // Answers take 20 ms; one that comes in less than half of that is an earlier SYN's.
    let ordinary = || vec![established(CLIENT, SERVER)];
    assert_eq!(beside(mptcp(SECOND / 50), ordinary()), (OptionsBlocked, Possible), "the other SYN had no option");
    assert_eq!(beside(mptcp(SECOND / 100), ordinary()), (OptionsBlocked, Possible));
    assert_ne!(beside(mptcp(SECOND / 100 - 1), ordinary()).0, OptionsBlocked);
    // The first time was another option's.
    let ecn = earlier(falls_back(Facts::WITHOUT_ECN, Options::ECN, SECOND / 50), 9);
    assert_eq!(beside(mptcp(SECOND / 50), vec![ecn]), (OptionsBlocked, Possible));
    assert_eq!(beside(mptcp(SECOND / 50), vec![earlier(mptcp(SECOND / 50), 9)]), (OptionsBlocked, Likely));
}
