//! Filters that nobody would write: of the grammar, of its words in any order, and of any characters.

use proptest::{
    prelude::*,
    sample::{Index, select},
};
use tcptrace_core::{
    flow::Endpoint,
    predicate::{ACCEPT, LENGTH, Test},
};
use tcptrace_filter::Filter;

use crate::oracle::{self, Verdict};

const HOSTS: [&str; 6] = ["10.1.2.3", "10.2.2.3", "0.0.0.0", "2001:db8::1", "::1", "fe80::1"];
const NETS: [&str; 8] =
    ["10", "10.1", "192.168.0.0/23", "10.0.2.0 mask 255.0.255.0", "0.0.0.0/0", "2001:db8::/32", "::/0", "10.1.2.3"];
const PORTS: [&str; 6] = ["0", "22", "80", "https", "8080", "65535"];
const RANGES: [&str; 4] = ["79-81", "443-22", "0-65535", "ssh-http"];
const DIRECTIONS: [&str; 7] = ["", "src ", "dst ", "src or dst ", "dst || src ", "src and dst ", "dst && src "];

fn not() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", "not ", "!", "not not "])
}

fn join() -> impl Strategy<Value = &'static str> {
    select(vec![" and ", " or ", "&&", "||", "\tand\n", ") or (", ") and ("])
}

/// A value with the qualifiers before it, or a list of values in parentheses.
fn values(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    let one = (not(), select(values)).prop_map(|(not, value)| format!("{not}{value}"));
    one.prop_recursive(3, 6, 3, |inner| {
        let rest = prop::collection::vec((select(vec![" or ", " and "]), inner.clone()), 0..3);
        (not(), inner, rest).prop_map(|(not, first, rest)| {
            // A list does not begin with a list.
            let first = if first.starts_with('(') { format!("!{first}") } else { first };
            format!("{not}({first}{})", joined(rest))
        })
    })
}

fn joined(rest: Vec<(&'static str, String)>) -> String {
    rest.into_iter().map(|(join, operand)| join.to_owned() + &operand).collect()
}

/// A primitive, perhaps with values after it that inherit its qualifiers.
fn primitive() -> impl Strategy<Value = String> {
    let kinds = select(vec![
        ("", "host ", &HOSTS[..]),
        ("", "net ", &NETS),
        ("", "port ", &PORTS),
        ("tcp ", "port ", &PORTS),
        ("", "portrange ", &RANGES),
        ("tcp ", "portrange ", &RANGES),
        ("ip ", "host ", &HOSTS[..3]),
        ("ip6 ", "net ", &NETS[5..7]),
    ]);
    prop_oneof![
        1 => select(vec!["tcp", "ip", "ip6"]).prop_map(str::to_owned),
        8 => (kinds, select(&DIRECTIONS[..])).prop_flat_map(|((protocol, kind, of), direction)| {
            let first = values(of).prop_map(move |it| format!("{protocol}{direction}{kind}{it}"));
            let more = prop::collection::vec((select(vec![" or ", "&&", " and "]), values(of)), 0..3);
            (first, more).prop_map(|(first, more)| first + &joined(more))
        }),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    primitive().prop_recursive(4, 16, 4, |inner| {
        (not(), inner.clone(), prop::collection::vec((join(), not(), inner), 0..4)).prop_map(|(not, first, rest)| {
            let rest: String = rest.iter().map(|(join, not, operand)| format!("{join}{not}{operand}")).collect();
            format!("{not}({first}{rest})")
        })
    })
}

/// The language's words, and nothing.
fn word() -> impl Strategy<Value = &'static str> {
    #[rustfmt::skip]
    let words = vec![
        "(", ")", "(", ")", "not", "!", "and", "or", "and", "or", "&&", "||", "src", "dst", "host", "net", "port",
        "portrange", "tcp", "ip", "ip6", "80", "443", "22", "10.1.2.3", "10.1", "::1", "2001:db8::/32", "10.0.0.0/8",
        "79-81", "http", "/8", "mask 255.255", "", "or 80", "or ::1", "and (80 or not 22)",
    ];
    select(words)
}

fn words() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 0..9).prop_map(|words| words.join(" "))
}

/// Shrinking asks tcpdump again and again, so it ends early.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 1000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn choices_are_tcpdumps(text in expression()) {
        oracle::agree(&text);
    }

    #[test]
    fn words_in_any_order_are_tcpdumps(text in words()) {
        same_language(&text)?;
    }

    #[test]
    fn one_word_more_or_less_is_tcpdumps(text in expression(), at in any::<Index>(), less in 0..2_usize, more in word()) {
        let mut words: Vec<_> = text.split_ascii_whitespace().collect();
        let at = at.index(words.len());
        words.splice(at..at + less, more.split_ascii_whitespace());
        same_language(&words.join(" "))?;
    }
}

/// Line for line what the kernel does with the tests of a filter.
fn ask(tests: &[Test], src: Endpoint, dst: Endpoint) -> bool {
    let mut next = 0;
    for _ in 0..LENGTH {
        let Some(test) = tests.get(usize::from(next)) else { break };
        let after = test.next(src, dst, 0);
        assert_eq!(after, test.next(dst, src, 1), "of the answer it says something else");
        assert!(after > next, "a test leads back");
        next = after;
    }
    next == ACCEPT
}

#[test]
fn what_is_too_long_for_the_kernel_stays_out_of_it() {
    let ports = |count: u16| (1..=count).map(|port| format!("port {port}")).collect::<Vec<_>>().join(" or ");
    assert_eq!(crate::filter(&ports(LENGTH as u16)).tests().map(|it| it.len()), Some(LENGTH));
    assert_eq!(crate::filter(&ports(LENGTH as u16 + 1)).tests(), None);
    assert!(ask(&crate::filter("").tests().expect("one test"), oracle::SYNS[0][0], oracle::SYNS[0][1]));
}

/// Nothing is taken that tcpdump refuses or reads otherwise. What tcpdump takes is taken, but for what is a difference
/// by design.
fn same_language(text: &str) -> Result<(), TestCaseError> {
    match (Filter::parse(text), oracle::tcpdump(text)) {
        (Ok(filter), Verdict::Chosen(theirs)) => prop_assert_eq!(oracle::ours(&filter), theirs, "{}", text),
        (Ok(filter), Verdict::Refused(why)) => prop_assert!(false, "only taken here: {text:?}, {filter}: {why}"),
        (Err(_), Verdict::Refused(_)) => {}
        (Err(mistake), Verdict::Chosen(_)) => {
            let said = mistake.to_string();
            let known = ["is not a whole address", "is a name", "'net 0' can be read"];
            // libpcap takes any number for an address.
            let number = PORTS.iter().chain(&["443"]).any(|it| said.contains(&format!("'{it}' is not an address")));
            prop_assert!(number || known.iter().any(|it| said.contains(it)), "{}", said);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn canonical_text_is_read_back(text in expression()) {
        let filter = crate::filter(&text);
        let canonical = filter.to_string();
        prop_assert_eq!(&crate::filter(&canonical), &filter);
        prop_assert_eq!(crate::filter(&canonical).to_string(), canonical);
    }

    /// What the kernel is given asks the same.
    #[test]
    fn tests_for_the_kernel_choose_the_same(text in expression()) {
        let filter = crate::filter(&text);
        if let Some(tests) = filter.tests() {
            prop_assert!(tests.len() <= LENGTH);
            for [src, dst] in oracle::SYNS.iter().copied() {
                prop_assert_eq!(ask(&tests, src, dst), filter.matches(src, dst), "{} of {:?} to {:?}", filter, src, dst);
            }
        }
    }

    #[test]
    fn words_in_any_order_do_no_harm(text in words()) {
        sane(&text)?;
    }

    #[test]
    fn any_text_does_no_harm(text in any::<String>()) {
        sane(&text)?;
    }

    #[test]
    fn nearly_a_filter_does_no_harm(text in expression(), at in any::<Index>(), char in any::<char>()) {
        let mut chars: Vec<_> = text.chars().collect();
        let at = at.index(chars.len());
        chars[at] = char;
        sane(&chars.into_iter().collect::<String>())?;
    }
}

/// A filter that is read back, or a mistake in three lines whose span is a piece of the text.
fn sane(text: &str) -> Result<(), TestCaseError> {
    match Filter::parse(text) {
        Ok(filter) => prop_assert_eq!(Filter::parse(&filter.to_string()).unwrap(), filter),
        Err(mistake) => {
            prop_assert!(text.get(mistake.span()).is_some());
            let shown = mistake.to_string();
            prop_assert_eq!(shown.split('\n').count(), 3, "{}", shown);
            prop_assert!(!shown.chars().any(|it| it.is_control() && it != '\n'), "{:?}", shown);
        }
    }
    Ok(())
}
