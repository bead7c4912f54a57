//! Captures to run: those that others have met, those that the repository keeps, those that are made here.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tcptrace_capture::{Payload, Reader, Source, payload};
use tcptrace_core::segment::Link;
use tcptrace_tests::{pcap::Pcap, traffic};

/// A packet of a capture, without its link header unless that is Ethernet's.
pub(crate) struct Packet {
    pub(crate) octets: Vec<u8>,
    pub(crate) link: Link,
    /// The time in the capture, in nanoseconds.
    pub(crate) time: u64,
}

#[derive(Default)]
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) packets: Vec<Packet>,
    /// Records of link types that are not read, of no IP, or damaged.
    pub(crate) unread: usize,
}

impl Capture {
    fn read(name: String, from: impl std::io::Read) -> Self {
        let mut capture = Self { name, ..Self::default() };
        let Ok(mut reader) = Reader::new(from) else { return Self { unread: 1, ..capture } };
        while let Some(record) = reader.next() {
            let found = record.ok().and_then(|it| {
                let (octets, link) = match payload(it.link, it.octets).ok()? {
                    Payload::Ethernet(octets) => (octets, Link::Ethernet),
                    Payload::Ip(octets) => (octets, Link::Ip),
                    Payload::Other => return None,
                };
                Some(Packet { octets: octets.to_vec(), link, time: it.time.unwrap_or(0) })
            });
            match found {
                Some(packet) => capture.packets.push(packet),
                None => capture.unread += 1,
            }
        }
        capture
    }

    fn open(path: &Path) -> Self {
        let source = Source::open(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        Self::read(path.display().to_string(), source)
    }
}

/// The files of a folder and those below it, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let mut entries: Vec<PathBuf> = entries.map(|it| it.expect("a folder that stays").path()).collect();
    entries.sort();
    entries.into_iter().flat_map(|it| if it.is_dir() { files(&it) } else { vec![it] }).collect()
}

fn is_capture(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "pcap" || it == "pcapng")
}

/// Captures of failures that others have met. They are not part of the repository: `TCPTRACE_CAPTURES` names the folder,
/// else it is looked for beside the repository, and only where there is none are there no such captures.
pub(crate) fn met_by_others() -> Vec<Capture> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let folder = match env::var_os("TCPTRACE_CAPTURES") {
        Some(folder) => folder.into(),
        None if beside.exists() => beside,
        None => {
            println!("no captures in {}: TCPTRACE_CAPTURES may name a folder that has some", beside.display());
            return Vec::new();
        }
    };
    let captures: Vec<_> = files(&folder).iter().filter(|it| is_capture(it)).map(|it| Capture::open(it)).collect();
    assert!(!captures.is_empty(), "no capture in {}", folder.display());
    for it in &captures {
        assert_eq!((it.packets.is_empty(), it.unread), (false, 0), "{} is not read whole", it.name);
    }
    captures
}

/// Captures that the repository keeps: what the fuzzer found worth keeping is among them.
pub(crate) fn kept() -> Vec<Capture> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = here.join("fuzz/corpus/capture");
    let folders = ["src", "tests", "benches"].map(|it| here.join(it));
    let others = folders.iter().flat_map(|it| files(it)).filter(|it| is_capture(it));
    files(&corpus).into_iter().chain(others).map(|it| Capture::open(&it)).collect()
}

pub(crate) fn generated() -> Vec<Capture> {
    let read = |name: &str, it: &Pcap| Capture::read(name.to_owned(), &it.octets[..]);
    let mut captures: Vec<_> = traffic::every_link().iter().map(|(name, it)| read(name, it)).collect();
    captures.extend((1..=2).map(|seed| read(&format!("random {seed}"), &traffic::random(seed))));
    captures.push(read("every flag", &traffic::every_flag()));
    assert!(captures.iter().all(|it| it.unread == 0 && !it.packets.is_empty()));
    captures
}
