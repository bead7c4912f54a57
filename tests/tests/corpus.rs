//! What the fuzzer found worth keeping, through the same checks on the ordinary compiler: whatever is found stays fixed.
//!
//! It looks for nothing new: `cargo xtask fuzz` does.

use std::{fs, path::Path};

#[path = "../fuzz/checks/capture.rs"]
mod check_capture;
#[path = "../fuzz/checks/filter.rs"]
mod check_filter;
#[path = "../fuzz/checks/handshake.rs"]
mod check_handshake;
#[path = "../fuzz/checks/segment.rs"]
mod check_segment;

/// Every file that is kept for a target; at least so many.
fn kept(target: &str, least: usize) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let files: Vec<_> = entries.map(|it| fs::read(it.expect("a folder that stays").path()).expect("a file")).collect();
    assert!(files.len() >= least, "{} of {least} files in {}", files.len(), folder.display());
    files
}

#[test]
fn capture() {
    kept("capture", 300).iter().for_each(|it| check_capture::check(it));
}

#[test]
fn filter() {
    for octets in kept("filter", 300) {
        // As the fuzzer gives it to its target: text, up to where it is none.
        let text = str::from_utf8(&octets)
            .unwrap_or_else(|error| str::from_utf8(&octets[..error.valid_up_to()]).expect("valid up to there"));
        check_filter::check(text);
    }
}

#[test]
fn handshake() {
    kept("handshake", 200).iter().for_each(|it| check_handshake::check(it));
}

#[test]
fn segment() {
    kept("segment", 200).iter().for_each(|it| check_segment::check(it));
}
