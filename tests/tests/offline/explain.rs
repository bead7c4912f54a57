//! `tcptrace explain`: a list, a page, a mistake.

use std::process::{Command, Output};

use tcptrace_report::explain::Topic;
use tcptrace_tests::lab::Tracer;

fn explain(name: &[&str]) -> Output {
    let output = Command::new(Tracer::binary()).arg("explain").args(name).output();
    output.expect("the tracer starts: build it (cargo build --release) or set TCPTRACE_BIN")
}

fn text(octets: Vec<u8>) -> String {
    String::from_utf8(octets).expect("text")
}

#[test]
fn without_a_name_all_are_listed() {
    let output = explain(&[]);
    let listed = text(output.stdout);
    assert_eq!(output.status.code(), Some(0));
    // A pipe is not styled.
    assert!(!listed.contains('\x1b') && listed.lines().all(|it| it.len() <= 100), "{listed}");
    for topic in Topic::all() {
        let begins = |it: &&str| it.split_whitespace().next() == Some(topic.name());
        assert_eq!(listed.lines().filter(begins).count(), 1, "{}", topic.name());
    }
}

#[test]
fn a_name_has_a_page() {
    let output = explain(&["listen-queue-full"]);
    let page = text(output.stdout);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    assert!(page.starts_with("listen_queue_full: ") && page.contains("\nConfirm\n"), "{page}");
}

#[test]
fn confidences_scopes_and_reasons_have_one_as_well() {
    for (name, begins) in [
        ("likely", "likely: "),
        ("network", "network: "),
        ("NETFILTER_DROP", "NETFILTER_DROP: "),
        ("tcp_md5failure", "TCP_MD5NOTFOUND: "),
        ("unknown", "unknown: "),
    ] {
        let output = explain(&[name]);
        let page = text(output.stdout);
        assert_eq!(output.status.code(), Some(0), "{name}");
        assert!(page.starts_with(begins) && page.contains("\nFix\n"), "{page}");
    }
}

#[test]
fn a_mistake_is_answered_by_what_is_like_it() {
    let output = explain(&["refusd"]);
    let said = text(output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(said.contains("'refusd'") && said.contains("the nearest: refused"), "{said}");
}
