//! Every scenario through the model, in both families, on both kinds of link, with numbers that wrap in several places.

use tcptrace_core::{
    event::Telling,
    handshake::{Facts, Nanos, Point, Transition},
    segment::Link,
};
use tcptrace_scenario::{self as scenario, Effect, Family, Scenario, Seen, Setting, frame, model::Model, words};
use tcptrace_vocabulary::outcome::Outcome;

/// Where the client's and the server's numbers start.
const NUMBERS: [(u32, u32); 4] = [(u32::MAX, u32::MAX), (0, 0), (0x7fff_ffff, 0xffff_fff0), (u32::MAX - 99, 1)];

fn settings(scenario: &Scenario) -> impl Iterator<Item = Setting> {
    let each = |&family: &Family| NUMBERS.map(|(isn, server_isn)| Setting { isn, server_isn, ..Setting::new(family) });
    scenario.families.iter().flat_map(each)
}

fn point(seen: Seen) -> Point {
    let ifindex = 2 + seen.interface as u32;
    if seen.out { Point::egress(ifindex) } else { Point::ingress(ifindex) }
}

/// Runs one scenario; what differs, by line.
fn run(scenario: &Scenario, setting: &Setting, link: Link) -> Result<(), String> {
    let mut model = Model::new(Telling { all: false, stall_after: 3_000_000_000 });
    let mut now = Nanos(1_000_000_000_000);
    for step in &scenario.steps {
        now.0 += step.after.as_nanos() as u64;
        let effects = model.see(&step.frame(setting, link), link, now, point(step.seen));
        if effects != step.effects {
            return Err(format!("line {}: {}\n    does: {}", step.line, step.text, words::effects(&effects)));
        }
    }
    let (client, server) = frame::endpoints(setting);
    let attempt = model.attempt(client, server);
    scenario.expected.check(attempt).map_err(|difference| format!("in the end: {difference}"))
}

#[test]
fn every_scenario_does_what_it_says() {
    let mut failures = String::new();
    for scenario in scenario::all() {
        for setting in settings(&scenario) {
            for link in [Link::Ethernet, Link::Ip] {
                if let Err(difference) = run(&scenario, &setting, link) {
                    failures += &format!("{} ({setting:x?}, {link:?})\n    {difference}\n", scenario.name);
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// The closed set of words is covered: a new outcome, transition or fact needs a scenario.
#[test]
fn every_word_has_a_scenario() {
    let scenarios = scenario::all();
    // Those without a SYN have no handshake to expect anything of.
    for outcome in Outcome::ALL.into_iter().filter(|it| !matches!(it, Outcome::Midstream)) {
        assert!(
            scenarios.iter().any(|it| it.expected.outcome == Some(outcome)),
            "no scenario ends in {}",
            outcome.name()
        );
    }
    let effects: Vec<Effect> = scenarios.iter().flat_map(|it| &it.steps).flat_map(|it| it.effects.clone()).collect();
    // No segment of its own replaces an attempt: that takes a full table.
    for transition in Transition::ALL.into_iter().filter(|it| *it != Transition::Replaced) {
        let is = |it: &Effect| matches!(it, Effect::Transition(it, _) if *it == transition);
        assert!(effects.iter().any(is), "no scenario has {}", words::transition(transition));
    }
    // Only a reader of captures knows the order of packets.
    for (fact, bit) in words::FACTS.into_iter().filter(|(_, bit)| *bit != Facts::OUT_OF_ORDER) {
        assert!(scenarios.iter().any(|it| it.expected.facts & bit != 0), "no scenario has {fact}");
    }
}

/// All types and codes, in both families: which are errors that a connect feels.
#[test]
fn every_icmp_type_and_code_is_an_error_or_none() {
    for kind in 0..=255u8 {
        for code in 0..=15u8 {
            for family in [Family::V4, Family::V6] {
                let error = match family {
                    // Fragmentation needed (3/4) is path MTU discovery; source quench (4) is obsolete (RFC 6633).
                    Family::V4 => matches!((kind, code), (3, 0..=3 | 5..=15) | (11 | 12, _)),
                    Family::V6 => matches!(kind, 1 | 3 | 4),
                };
                let (does, ends) = if error {
                    ("unreachable!", "unreachable syn 1 unreachable")
                } else {
                    ("not_tcp", "no_reply syn 1")
                };
                let text =
                    format!("case\n C > S SYN | opened\n R > C ICMP {kind}/{code} quoting SYN | {does}\n = {ends}\n");
                let scenario = scenario::parse(&text).expect("the text is right").remove(0);
                if let Err(difference) = run(&scenario, &Setting::new(family), Link::Ethernet) {
                    panic!("{family:?} {kind}/{code}: {difference}");
                }
            }
        }
    }
}

#[test]
fn tries_stop_at_255() {
    let setting = Setting::new(Family::V4);
    let mut text = "case\n C > S SYN | opened\n".to_owned();
    for tries in 2..=300 {
        text += if tries == 3 { " +1s C > S SYN | syn_retried!\n" } else { " +1s C > S SYN | syn_retried\n" };
    }
    text += " = no_reply syn 255\n";
    let scenario = scenario::parse(&text).expect("the text is right").remove(0);
    run(&scenario, &setting, Link::Ethernet).expect("a count that stops");
}

#[test]
fn a_mistake_names_its_line() {
    let cases = [
        ("  C > S SYN | opened", "1: a case begins with its name, not indented"),
        ("a\n  C > S SYN", "2: no '|' before what the packet does"),
        ("a\n  C > S SIN | opened", "2: 'SIN' is no flag"),
        ("a\n  C > X SYN | opened", "2: 'X' is nobody; there are C, S, R and B"),
        ("a\n  C < S SYN | opened", "2: '>' is missing between sender and receiver"),
        ("a\n  +1 C > S SYN | opened", "2: '+1' has no unit"),
        ("a\n  +1d C > S SYN | opened", "2: 'd' is no unit; there are s, ms and us"),
        ("a\n  @eth2 in C > S SYN | opened", "2: a place is '@eth0' or '@eth1' and 'in' or 'out', not '@eth2 in'"),
        ("a\n  C > S SYN | oepned", "2: an effect is neither a transition nor a counter"),
        ("a\n  C > S SYN seq=isn+x | opened", "2: '+x' is no offset"),
        ("a\n  C > S SYN mss=7 | opened", "2: 'mss=7' is no attribute"),
        ("a\n  C > S SYN <mss 70000> | opened", "2: '70000' is no mss"),
        ("a\n  C > S SYN <mss 7 | opened", "2: '<' without '>'"),
        ("a\n  C > S SYN cut | opened", "2: only a quotation can be cut"),
        ("a\n  R > C ICMP admin | opened", "2: an ICMP error has to be quoting something"),
        ("a\n  R > C ICMP what quoting SYN | opened", "2: 'what' is no ICMP error"),
        ("a\n  = fine", "2: 'fine' is no outcome"),
        ("a\n  = no_reply odd", "2: 'odd' is no fact"),
        ("a v5\n  = nothing", "1: 'v5' after the name; it may be v4 or v6"),
        ("a\n  C > S SYN | opened\nb\n  = nothing", "3: 'a' has no line with '='"),
        ("a\n  C > S SYN | opened\n", "2: 'a' has no line with '='"),
        ("a\n  = nothing\n\n# again\na\n  = nothing", "6: there is another 'a'"),
    ];
    for (text, message) in cases {
        let error = scenario::parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
    }
}
