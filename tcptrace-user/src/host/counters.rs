//! The kernel's counters of one network namespace, kept for some minutes, and how they grew since a moment in it.
//!
//! The file is opened once: /proc shows the namespace in which the file was opened, whatever becomes of the process.
//! Names are found by the header line, whose order differs among kernels; one that is not there stays zero.
//! <https://docs.kernel.org/networking/snmp_counter.html>

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
};

use tcptrace_core::handshake::Nanos;
use tcptrace_vocabulary::facts::{Aborts, Counters, Fact, Missing};

use crate::clock;

/// Counters of the group `TcpExt`, in the order of [`Snapshot::values`].
const NAMES: [&str; 11] = [
    "ListenOverflows",
    "ListenDrops",
    "SyncookiesSent",
    "TCPReqQFullDrop",
    "TCPAbortOnMemory",
    "TCPMemoryPressures",
    "TCPChallengeACK",
    "TCPAbortOnClose",
    "TCPAbortOnData",
    "TCPAbortOnLinger",
    "TCPAbortOnTimeout",
];
/// Nanoseconds between two that are kept.
const APART: u64 = 250_000_000;
/// The number of snapshots that are kept, and for how long: five minutes.
const MOST: usize = 1200;
const KEPT: u64 = 300_000_000_000;
/// For how long what was read is now.
const FRESH: u64 = 20_000_000;
/// More than /proc/net/netstat has ever had.
const LENGTH: usize = 32 * 1024;

/// The counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    at: Nanos,
    values: [u64; NAMES.len()],
}

impl Snapshot {
    fn of(at: Nanos, netstat: &str) -> Self {
        let mut values = [0; NAMES.len()];
        let mut lines = netstat.lines().filter_map(|it| it.strip_prefix("TcpExt: "));
        if let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
            for (name, number) in names.split(' ').zip(numbers.split(' ')) {
                if let Some(index) = NAMES.iter().position(|&it| it == name) {
                    values[index] = number.parse().unwrap_or(0);
                }
            }
        }
        Self { at, values }
    }

    /// The growth of each since another snapshot.
    fn minus(&self, before: &Self) -> [u64; NAMES.len()] {
        std::array::from_fn(|index| self.values[index].saturating_sub(before.values[index]))
    }

    /// In the network namespace of the calling thread.
    pub(super) fn here() -> io::Result<Self> {
        let netstat = fs::read_to_string("/proc/thread-self/net/netstat")?;
        Ok(Self::of(clock::monotonic(), &netstat))
    }
}

/// Snapshots, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<Snapshot>);

impl History {
    /// Keeps one, unless the last is as good.
    fn add(&mut self, snapshot: Snapshot) {
        if self.0.back().is_some_and(|last| snapshot.at.since(last.at) < APART) {
            return;
        }
        // The first stays until the second is as old: what began in between is later than it.
        while self.0.len() >= MOST || self.0.get(1).is_some_and(|second| snapshot.at.since(second.at) > KEPT) {
            self.0.pop_front();
        }
        self.0.push_back(snapshot);
    }

    pub(super) fn extend(&mut self, snapshot: Option<Snapshot>) {
        snapshot.into_iter().for_each(|it| self.add(it));
    }

    /// The newest at or before a moment.
    fn before(&self, moment: Nanos) -> Option<&Snapshot> {
        self.0.get(self.0.partition_point(|it| it.at <= moment).checked_sub(1)?)
    }
}

/// The files of one network namespace.
#[derive(Debug)]
pub(super) struct Reader {
    netstat: File,
    sockstat: Option<File>,
    buffer: Vec<u8>,
    last: Option<(Snapshot, u64)>,
}

impl Reader {
    /// In the network namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        // Not /proc/net, which is the main thread's.
        let netstat = File::open("/proc/thread-self/net/netstat")?;
        let sockstat = File::open("/proc/thread-self/net/sockstat").ok();
        Ok(Self { netstat, sockstat, buffer: vec![0; LENGTH], last: None })
    }

    /// The counters and the pages that TCP's sockets take, as they are now.
    fn now(&mut self, now: Nanos) -> io::Result<(Snapshot, u64)> {
        if let Some(last) = self.last
            && now.since(last.0.at) < FRESH
        {
            return Ok(last);
        }
        let snapshot = Snapshot::of(now, read(&self.netstat, &mut self.buffer)?);
        let pages = match &self.sockstat {
            Some(file) => pages(read(file, &mut self.buffer)?),
            None => 0,
        };
        self.last = Some((snapshot, pages));
        Ok((snapshot, pages))
    }

    /// Adds what they are now to a history.
    pub(super) fn record(&mut self, history: &mut History, now: Nanos) {
        if history.0.back().is_none_or(|last| now.since(last.at) >= APART)
            && let Ok((snapshot, _)) = self.now(now)
        {
            // Not at `now`, which the caller took before: what was counted in between is then no growth.
            history.add(Snapshot { at: clock::monotonic().max(now), ..snapshot });
        }
    }

    /// Their growth since the newest snapshot that is no younger than `since`. Only the caller knows memory's limit.
    pub(super) fn growth(&mut self, history: &History, since: Nanos, now: Nanos) -> Fact<Counters> {
        // Began before anybody looked.
        let before = history.before(since).ok_or(Missing::NotAsked)?;
        let (after, memory_pages) = self.now(now).map_err(|_| Missing::Failed)?;
        let [overflows, listen_drops, cookies, queue_drops, on_memory, pressures, challenges, ..] = after.minus(before);
        Ok(Counters {
            listen_overflows: overflows,
            listen_drops,
            syncookies_sent: cookies,
            syn_queue_drops: queue_drops,
            abort_on_memory: on_memory,
            memory_pressures: pressures,
            challenge_acks: challenges,
            memory_pages,
            ..Counters::default()
        })
    }

    /// The same of what TCP resets by itself, around a RST: it is counted after that was sent, so that what was read a
    /// moment before does not do.
    pub(super) fn aborts(&mut self, history: &History, reset: Nanos, now: Nanos) -> Fact<Aborts> {
        let before = history.before(reset).ok_or(Missing::NotAsked)?;
        self.last = self.last.filter(|(it, _)| it.at > reset);
        let (after, _) = self.now(now).map_err(|_| Missing::Failed)?;
        let [_, _, _, _, for_memory, _, _, others @ ..] = after.minus(before);
        Ok(Aborts { for_memory, otherwise: others.iter().sum() })
    }
}

/// SYN cookies that the stack has ever sent, in the network namespace of the calling thread (`SyncookiesSent`,
/// proc(5));
/// `None` where it does not say. Nobody has to be privileged for it.
#[must_use]
pub fn cookies_sent() -> Option<u64> {
    // Not /proc/net, which is the main thread's.
    value(&fs::read_to_string("/proc/thread-self/net/netstat").ok()?, "SyncookiesSent")
}

/// A counter of the group `TcpExt`.
fn value(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|it| it.strip_prefix("TcpExt: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    names.split(' ').zip(numbers.split(' ')).find(|(it, _)| *it == name)?.1.parse().ok()
}

/// A whole file of /proc, from its start: each such read makes it anew.
fn read<'a>(file: &File, buffer: &'a mut [u8]) -> io::Result<&'a str> {
    let mut length = 0;
    loop {
        match file.read_at(&mut buffer[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    std::str::from_utf8(&buffer[..length]).map_err(io::Error::other)
}

/// `mem` of the line `TCP:` of sockstat.
fn pages(sockstat: &str) -> u64 {
    let tcp = sockstat.lines().find_map(|it| it.strip_prefix("TCP: ")).unwrap_or_default();
    let mut words = tcp.split(' ');
    words.find(|&it| it == "mem").and_then(|_| words.next()?.parse().ok()).unwrap_or(0)
}

/// The pages above which TCP's sockets get no more (tcp_mem's third number); zero where this namespace does not show
/// it: it is the same for the whole host, and only in the first namespace (`ipv4_table`, net/ipv4/sysctl_net_ipv4.c).
pub(super) fn memory_limit() -> u64 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_mem").unwrap_or_default();
    text.split_whitespace().nth(2).and_then(|it| it.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent Other ListenDrops TCPChallengeACK\nTcpExt: 3 9 4 5\nIpExt: A\nIpExt: 1\n";
        assert_eq!(Snapshot::of(Nanos(1), text).values, [0, 4, 3, 0, 0, 0, 5, 0, 0, 0, 0]);
        assert_eq!((value(text, "SyncookiesSent"), value(text, "TCPReqQFullDrop")), (Some(3), None));
        for broken in ["", "TcpExt: ListenDrops", "TcpExt: ListenDrops\nTcpExt: x\n", "TcpExt: \nTcpExt: 1 2\n"] {
            assert_eq!(Snapshot::of(Nanos(1), broken).values, [0; NAMES.len()], "{broken:?}");
        }
        assert_eq!(pages("sockets: used 22\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 204\nUDP: inuse 0 mem 7\n"), 204);
        assert_eq!((pages("TCP: inuse 1 mem"), pages("")), (0, 0));
    }

    #[test]
    fn a_history_is_bounded_and_knows_what_was_before() {
        let mut history = History::default();
        let at = |number: u64| Nanos(number * APART);
        for number in 0..2 * MOST as u64 {
            history.add(Snapshot { at: at(number), values: [number; NAMES.len()] });
            history.add(Snapshot { at: Nanos(at(number).0 + APART / 2), values: [u64::MAX; NAMES.len()] });
        }
        assert_eq!(history.0.len(), MOST);
        let first = MOST as u64;
        assert_eq!(history.before(Nanos(at(first).0 - 1)), None);
        assert_eq!(history.before(at(first)).unwrap().values[0], first);
        assert_eq!(history.before(Nanos(at(first + 1).0 - 1)).unwrap().values[0], first);
        assert_eq!(history.before(Nanos(u64::MAX)).unwrap().values[0], 2 * first - 1);
        let late = Nanos(at(2 * first).0 + KEPT);
        history.add(Snapshot { at: late, values: [0; NAMES.len()] });
        assert_eq!(history.0.len(), 2, "one from before, for what began in between");
    }
}
