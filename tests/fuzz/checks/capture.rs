//! A capture of any bytes, compressed or not: it ends, what it lends is no longer than what it was given, and damage
//! says where it is.

use std::{env, fs, io::Read, process, thread};

use tcptrace_capture::{Reader, Source, direction, payload};

/// What is read of a compressed capture: a few bytes may stand for terabytes.
const UNPACKED: u64 = 1 << 18;

/// Panics where it does not hold.
pub(crate) fn check(octets: &[u8]) {
    if matches!(octets, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..]) {
        // A source is a file. Not one of them for all: test runs share their machine.
        let path = env::temp_dir().join(format!("tcptrace-{}-{:?}.fuzz", process::id(), thread::current().id()));
        fs::write(&path, octets).expect("the folder for passing files takes one");
        let source = Source::open(&path);
        fs::remove_file(&path).expect("it was just written");
        read(source.expect("it was just written").take(UNPACKED), UNPACKED as usize);
    } else {
        read(octets, octets.len());
    }
}

fn read(from: impl Read, length: usize) {
    let Ok(mut reader) = Reader::new(from) else { return };
    let mut records = 0;
    while let Some(record) = reader.next() {
        records += 1;
        match record {
            Ok(packet) => {
                assert!(packet.octets.len() <= length);
                let _ = payload(packet.link, packet.octets);
                let _ = direction(packet.link, packet.octets);
            }
            Err(damage) => assert!(!damage.to_string().is_empty()),
        }
    }
    assert!(records <= length);
}
