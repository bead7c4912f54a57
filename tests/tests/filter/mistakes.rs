//! What is said of filters that cannot be read, word for word.

use tcptrace_filter::Filter;

/// The messages, with what precedes every one left out.
fn mistake(text: &str) -> String {
    let mistake = Filter::parse(text).expect_err(text).to_string();
    mistake.strip_prefix("cannot read the filter: ").expect(&mistake).to_owned()
}

#[test]
fn mistakes_name_the_words() {
    let golden: Vec<_> = GOLDEN.split("\n\n").map(|it| it.trim_end_matches('\n')).collect();
    let texts = golden.iter().map(|it| it.lines().nth(1).unwrap().strip_prefix("  ").unwrap());
    let found: Vec<_> = texts.map(mistake).collect();
    assert_eq!(found, golden, "\n{}\n", found.join("\n\n"));
}

const GOLDEN: &str = include_str!("mistakes.txt");

#[test]
fn the_whole_of_a_mistake() {
    let mistake = Filter::parse("tcp dst port htpp").unwrap_err();
    assert_eq!(mistake.span(), 13..17);
    let shown = "cannot read the filter: no such port 'htpp'; write a number, a name of /etc/services, or 'portrange' for several\n  tcp dst port htpp\n               ^^^^";
    assert_eq!(mistake.to_string(), shown);
}

#[test]
fn carets_stand_under_the_words_whatever_is_before_them() {
    for (text, shown) in [
        ("port\t80\tor\nhtpp", "  port 80 or htpp\n             ^^^^"),
        ("port größe", "  port größe\n       ^^^^^"),
        ("port 大小 or", "  port 大小 or\n       ^^^^"),
        ("port cafe\u{301}", "  port cafe\u{301}\n       ^^^^"),
        ("port a\u{1b}[31m", "  port a\u{fffd}[31m\n       ^"),
        ("tcp and ", "  tcp and\n         ^"),
        ("port \u{202e}x", "  port \u{fffd}x\n       ^^"),
    ] {
        let mistake = mistake(text);
        assert_eq!(mistake.split_once('\n').unwrap().1, shown, "{mistake}");
        assert!(!mistake.contains(['\u{1b}', '\t', '\u{202e}']), "{mistake:?}");
    }
}

#[test]
fn long_texts_are_cut_around_the_mistake() {
    let long = format!("{}port htpp{}", "port 80 or ".repeat(1000), " or port 80".repeat(1000));
    let mistake = mistake(&long);
    let lines: Vec<_> = mistake.lines().collect();
    assert!(lines[1].chars().count() < 80);
    assert!(lines[1].starts_with("  …") && lines[1].ends_with('…'), "{mistake}");
    assert!(lines.iter().all(|it| it.chars().count() <= 100), "{mistake}");
    let caret = lines[2].find('^').unwrap();
    assert_eq!(lines[1].chars().skip(caret).take(4).collect::<String>(), "htpp", "{mistake}");
    let word = "x".repeat(100_000);
    assert!(self::mistake(&word).len() < 400);
    assert!(self::mistake(&format!("port {word}")).len() < 400);
}

#[test]
fn nesting_is_bounded_and_length_is_not() {
    let nested = |depth: usize| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&nested(64)).is_ok());
    for depth in [65, 1_000_000] {
        let deep = "parentheses are nested more than 64 deep\n";
        assert!(mistake(&nested(depth)).starts_with(deep));
        assert!(mistake(&format!("port {}", nested(depth).replace("tcp", "80"))).starts_with(deep));
        assert!(mistake(&format!("port {}", "(".repeat(depth))).starts_with("a list of values cannot begin"));
    }
    let parallel = format!("tcp{}", " and (port 80 or 443)".repeat(20_000));
    assert_eq!(Filter::parse(&parallel).unwrap().to_string().matches("port 80").count(), 20_000);
    assert!(Filter::parse(&format!("{}tcp", "not ".repeat(100_001))).is_ok());
}
