//! Captures that tests make: classic pcap with nanoseconds, read by whatever is to be judged or to judge.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use serde_json::Value;
use tcptrace_core::segment::Link;

use crate::{contract, lab::Tracer};

/// A capture being written. Time starts at [`Pcap::START`].
pub struct Pcap {
    pub octets: Vec<u8>,
    now: Duration,
}

impl Pcap {
    /// Seconds since the epoch of the first packet that follows nothing.
    pub const START: u64 = 1_700_000_000;

    /// An empty capture of frames of this kind (LINKTYPE_ETHERNET, LINKTYPE_RAW).
    #[must_use]
    pub fn new(link: Link) -> Self {
        let number = match link {
            Link::Ethernet => 1,
            Link::Ip => 101,
        };
        let mut octets = Vec::new();
        octets.extend(0xa1b2_3c4d_u32.to_le_bytes());
        octets.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        octets.extend(65_535_u32.to_le_bytes());
        octets.extend(u32::to_le_bytes(number));
        Self { octets, now: Duration::from_secs(Self::START) }
    }

    /// A frame, so long after the one before.
    pub fn frame(&mut self, after: Duration, frame: &[u8]) {
        self.now += after;
        let length = u32::try_from(frame.len()).expect("a frame is shorter than 4 GiB");
        let seconds = u32::try_from(self.now.as_secs()).expect("tests end before 2106");
        for word in [seconds, self.now.subsec_nanos(), length, length] {
            self.octets.extend(word.to_le_bytes());
        }
        self.octets.extend(frame);
    }

    /// Turns the clock back: what follows stands behind what is later.
    pub fn back(&mut self, by: Duration) {
        self.now -= by;
    }

    /// The capture in a file, which goes with the value returned.
    #[must_use]
    pub fn store(&self) -> Stored {
        Stored::new(&self.octets)
    }
}

/// A file that is removed when dropped.
pub struct Stored(pub PathBuf);

impl Stored {
    /// A new file with this content.
    #[must_use]
    pub fn new(octets: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tcptrace-{}-{}.pcap", process::id(), COUNT.fetch_add(1, Relaxed));
        let path = env::temp_dir().join(name);
        fs::write(&path, octets).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        Self(path)
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a run over captures said.
pub struct Read {
    /// Attempts and findings, in order.
    pub lines: Vec<Value>,
    /// The lines of incidents, which repeat what the others say.
    pub incidents: Vec<Value>,
    /// The last line.
    pub summary: Value,
    pub stderr: String,
    pub code: Option<i32>,
}

impl Read {
    /// The lines about attempts.
    pub fn attempts(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(|line| line["type"] == "attempt")
    }
}

/// Runs the tracer on a capture, as whoever the test runs as.
#[must_use]
pub fn read(path: &Path, args: &[&str]) -> Read {
    let output = Command::new(Tracer::binary())
        .args(["--json", "-r"])
        .arg(path)
        .args(args)
        .env("TZ", "UTC")
        .output()
        .expect("the tracer starts: build it (cargo build --release) or set TCPTRACE_BIN");
    let stdout = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let mut lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    lines.iter().for_each(contract::hold);
    let summary = lines.pop_if(|it| it["type"] == "summary").unwrap_or_default();
    let (incidents, lines) = lines.into_iter().partition(|it| it["type"] == "incident");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Read { lines, incidents, summary, stderr, code: output.status.code() }
}
