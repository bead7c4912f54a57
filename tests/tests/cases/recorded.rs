//! What `-w` wrote, read by `-r`: the recorded verdicts, which rest on facts that packets do not have.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tcptrace_tests::pcap::{self, Read, Stored};

/// Written live by `-w`, with a closed port and one whose packets a rule of the host drops.
fn written() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/live-w-then-r-differs.pcapng")
}

/// Cause, confidence and whether it was recorded, of each attempt.
fn causes(read: &Read) -> Vec<[&Value; 3]> {
    read.attempts().map(|it| ["name", "confidence", "recorded"].map(|field| &it["cause"][field])).collect()
}

#[test]
fn the_recorded_verdict_is_printed() {
    let read = pcap::read(&written(), &[]);
    let [closed, dropped] = ["port_closed", "dropped_by_local_firewall"].map(|name| json!(name));
    let (certain, recorded) = (json!("certain"), json!(true));
    assert_eq!(causes(&read), [[&closed, &certain, &recorded], [&dropped, &certain, &recorded]]);
    let first = &read.lines[0];
    assert_eq!(first["cause"]["evidence"][0], "nobody listens on port 81 of this host");
    assert_eq!(first["scope"], json!({ "extent": "port", "evidence": ["10.97.52.2 answers on port 80"] }));
    assert_eq!(first["cause"]["next"].as_array().map(Vec::len), Some(2));
    assert_eq!(read.summary["causes"], json!({ "port_closed": 1, "dropped_by_local_firewall": 1 }));
}

/// `--rejudge` goes by the packets, as a capture of anybody else's is judged.
#[test]
fn judging_anew_is_asked_for() {
    let read = pcap::read(&written(), &["--rejudge"]);
    assert_eq!(causes(&read).iter().map(|it| it[0]).collect::<Vec<_>>(), ["port_closed", "firewall_drop"]);
    assert!(causes(&read).iter().all(|it| *it[1] != "certain" && *it[2] == Value::Null), "{:?}", causes(&read));
}

/// Written once more, it is what it was. A comment about another attempt, or of somebody else, is no verdict.
#[test]
fn comments_that_are_no_verdicts_are_passed_over() {
    let copy = Stored::new(&[]);
    let path = copy.0.to_str().expect("a path");
    let again = pcap::read(&written(), &["-w", path]);
    assert_eq!(causes(&pcap::read(&copy.0, &[])), causes(&again));
    let text = std::fs::read(written()).expect("the case is there");
    for (from, to) in [(&b"handshake c"[..], &b"handshake d"[..]), (b"tcptrace: ", b"somebody: ")] {
        let mut other = text.clone();
        let at: Vec<_> =
            other.windows(from.len()).enumerate().filter(|(_, it)| *it == from).map(|(at, _)| at).collect();
        assert_eq!(at.len(), 2);
        at.into_iter().for_each(|at| other[at..at + to.len()].copy_from_slice(to));
        let read = pcap::read(&Stored::new(&other).0, &[]);
        assert_eq!(causes(&read).iter().map(|it| it[2]).collect::<Vec<_>>(), [&Value::Null; 2]);
    }
}
