//! The kernel's counters of one network namespace, kept for some minutes, and how they grew since a moment in it.
//!
//! The files are opened once: /proc shows the namespace in which a file was opened, whatever becomes of the process.
//! Names are found in the files, whose order differs among kernels; one that is not there stays zero. Where connection
//! tracking is no part of the kernel, nothing is dropped for it; where it became one after the files were opened, or the
//! kernel has no file for it (CONFIG_NF_CONNTRACK_PROCFS), what it dropped is not known.
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

/// Counters in the order of [`Snapshot::values`]: where several have one place, their sum is what counts.
const NAMES: [&[(Source, &str)]; 16] = [
    &[(Source::Tcp, "ListenOverflows")],
    &[(Source::Tcp, "ListenDrops")],
    &[(Source::Tcp, "SyncookiesSent")],
    &[(Source::Tcp, "TCPReqQFullDrop")],
    &[(Source::Tcp, "TCPAbortOnMemory")],
    &[(Source::Tcp, "TCPMemoryPressures")],
    &[(Source::Tcp, "TCPChallengeACK")],
    &[(Source::Tcp, "IPReversePathFilter")],
    &[(Source::Ip, "OutNoRoutes"), (Source::V6, "Ip6OutNoRoutes")],
    // TCP over IPv6 counts in the same place as over IPv4.
    &[(Source::TcpMib, "InCsumErrors"), (Source::Udp, "InCsumErrors"), (Source::V6, "Udp6InCsumErrors")],
    &[(Source::Conntrack, "drop")],
    &[(Source::Conntrack, "insert_failed")],
    &[(Source::Tcp, "TCPAbortOnClose")],
    &[(Source::Tcp, "TCPAbortOnData")],
    &[(Source::Tcp, "TCPAbortOnLinger")],
    &[(Source::Tcp, "TCPAbortOnTimeout")],
];

/// Where a counter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// `TcpExt` of /proc/net/netstat.
    Tcp,
    /// `Ip` of /proc/net/snmp.
    Ip,
    /// `Tcp` of the same.
    TcpMib,
    /// `Udp` of the same.
    Udp,
    /// /proc/net/snmp6.
    V6,
    /// /proc/net/stat/nf_conntrack.
    Conntrack,
}
/// There where the kernel has connection tracking, as a module or built in.
const CONNTRACK: &str = "/sys/module/nf_conntrack";
/// Nanoseconds between two that are kept.
const APART: u64 = 250_000_000;
/// The number of snapshots that are kept, and for how long: five minutes.
const MOST: usize = 1200;
const KEPT: u64 = 300_000_000_000;
/// For how long what was read is now.
const FRESH: u64 = 20_000_000;
/// More than /proc/net/netstat has ever had, and connection tracking's line for each of 200 CPUs.
const LENGTH: usize = 32 * 1024;

/// The counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    at: Nanos,
    values: [u64; NAMES.len()],
    table: Conntrack,
    is_conntrack_known: bool,
}

/// The connection tracking table at one moment: its entries, and the most that it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conntrack {
    entries: u64,
    limit: u64,
}

impl Conntrack {
    fn fuller(self, other: Self) -> Self {
        let is_fuller = other.entries.saturating_mul(self.limit) > self.entries.saturating_mul(other.limit);
        if is_fuller || self.limit == 0 { other } else { self }
    }
}

impl Snapshot {
    const fn new(at: Nanos) -> Self {
        Self { at, values: [0; NAMES.len()], table: Conntrack { entries: 0, limit: 0 }, is_conntrack_known: false }
    }

    /// Adds a counter.
    fn add(&mut self, source: Source, name: &str, number: u64) {
        for (value, names) in self.values.iter_mut().zip(NAMES) {
            if names.contains(&(source, name)) {
                *value = value.saturating_add(number);
            }
        }
    }

    /// A group of /proc/net/netstat or snmp: a line of names, and one of numbers.
    fn add_group(&mut self, text: &str, prefix: &str, source: Source) {
        let mut lines = text.lines().filter_map(|it| it.strip_prefix(prefix));
        if let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
            for (name, number) in names.split(' ').zip(numbers.split(' ')) {
                self.add(source, name, number.parse().unwrap_or(0));
            }
        }
    }

    fn add_netstat(&mut self, text: &str) {
        self.add_group(text, "TcpExt: ", Source::Tcp);
    }

    fn add_snmp(&mut self, text: &str) {
        self.add_group(text, "Ip: ", Source::Ip);
        self.add_group(text, "Tcp: ", Source::TcpMib);
        self.add_group(text, "Udp: ", Source::Udp);
    }

    /// A name and a number a line.
    fn add_snmp6(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(number)) = (words.next(), words.next()) {
                self.add(Source::V6, name, number.parse().unwrap_or(0));
            }
        }
    }

    /// A line of names, and a line of hexadecimal numbers for each CPU. Returns the entries, which each line has.
    fn add_conntrack(&mut self, text: &str) -> u64 {
        let mut lines = text.lines();
        let names = lines.next().unwrap_or_default();
        let mut entries = 0;
        for line in lines {
            for (name, number) in names.split_whitespace().zip(line.split_whitespace()) {
                let number = u64::from_str_radix(number, 16).unwrap_or(0);
                if name == "entries" {
                    entries = number;
                }
                self.add(Source::Conntrack, name, number);
            }
        }
        entries
    }

    /// The growth of each since another snapshot.
    fn minus(&self, before: &Self) -> [u64; NAMES.len()] {
        std::array::from_fn(|index| self.values[index].saturating_sub(before.values[index]))
    }

    /// In the network namespace of the calling thread.
    pub(super) fn here() -> io::Result<Self> {
        Ok(Reader::open()?.now(clock::monotonic())?.0)
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

    /// The table at its fullest since a moment.
    fn fullest(&self, since: Nanos) -> Conntrack {
        let later = self.0.iter().rev().take_while(|it| it.at >= since);
        later.fold(Conntrack::default(), |fullest, it| fullest.fuller(it.table))
    }

    /// The newest at or before a moment.
    fn before(&self, moment: Nanos) -> Option<&Snapshot> {
        self.0.get(self.0.partition_point(|it| it.at <= moment).checked_sub(1)?)
    }
}

/// The files of one network namespace; all but the first may not be there.
#[derive(Debug)]
pub(super) struct Reader {
    netstat: File,
    snmp: Option<File>,
    snmp6: Option<File>,
    sockstat: Option<File>,
    conntrack: Option<File>,
    conntrack_max: Option<File>,
    buffer: Vec<u8>,
    last: Option<(Snapshot, u64)>,
}

impl Reader {
    /// In the network namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        // Not /proc/net, which is the main thread's.
        let open = |name: &str| File::open(format!("/proc/thread-self/net/{name}"));
        Ok(Self {
            netstat: open("netstat")?,
            snmp: open("snmp").ok(),
            snmp6: open("snmp6").ok(),
            sockstat: open("sockstat").ok(),
            conntrack: open("stat/nf_conntrack").ok(),
            conntrack_max: File::open("/proc/sys/net/netfilter/nf_conntrack_max").ok(),
            buffer: vec![0; LENGTH],
            last: None,
        })
    }

    /// The counters and the pages that TCP's sockets take, as they are now.
    fn now(&mut self, now: Nanos) -> io::Result<(Snapshot, u64)> {
        if let Some(last) = self.last
            && now.since(last.0.at) < FRESH
        {
            return Ok(last);
        }
        let Self { netstat, snmp, snmp6, sockstat, conntrack, conntrack_max, buffer, .. } = self;
        let (mut counters, mut entries, mut limit, mut in_use) = (Snapshot::new(now), 0, 0, 0);
        counters.add_netstat(read(netstat, buffer)?);
        let mut each = |file: &Option<File>, then: &mut dyn FnMut(&str)| {
            if let Some(text) = file.as_ref().and_then(|file| read(file, buffer).ok()) {
                then(text);
            }
        };
        each(snmp, &mut |text| counters.add_snmp(text));
        each(snmp6, &mut |text| counters.add_snmp6(text));
        let mut is_read = false;
        each(conntrack, &mut |text| (entries, is_read) = (counters.add_conntrack(text), true));
        each(conntrack_max, &mut |text| limit = text.trim().parse().unwrap_or(0));
        each(sockstat, &mut |text| in_use = pages(text));
        counters.table = Conntrack { entries, limit };
        counters.is_conntrack_known = is_read || !fs::exists(CONNTRACK).unwrap_or(true);
        self.last = Some((counters, in_use));
        Ok((counters, in_use))
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

    /// The same, read after `moment`, at which something may have been counted.
    fn after(&mut self, moment: Nanos, now: Nanos) -> Fact<(Snapshot, u64)> {
        self.last = self.last.filter(|(it, _)| it.at > moment);
        self.now(now).map_err(|_| Missing::Failed)
    }

    /// Their growth from the newest snapshot that is no younger than an attempt's first packet to one that is younger
    /// than its last (`seen`). Only the caller knows memory's limit.
    pub(super) fn growth(&mut self, history: &History, seen: (Nanos, Nanos), now: Nanos) -> Fact<Counters> {
        // Began before anybody looked.
        let before = history.before(seen.0).ok_or(Missing::NotAsked)?;
        let (after, memory_pages) = self.after(seen.1, now)?;
        let (grown, table) = (after.minus(before), history.fullest(seen.0).fuller(after.table));
        let [overflows, listen_drops, cookies, queue_drops, on_memory, pressures, challenges, ..] = grown;
        let [.., reverse_path, no_routes, checksums, conntrack_drops, insert_failed, _, _, _, _] = grown;
        Ok(Counters {
            listen_overflows: overflows,
            listen_drops,
            syncookies_sent: cookies,
            syn_queue_drops: queue_drops,
            abort_on_memory: on_memory,
            memory_pressures: pressures,
            challenge_acks: challenges,
            reverse_path_drops: reverse_path,
            no_routes_out: no_routes,
            checksum_errors: checksums,
            is_conntrack_known: before.is_conntrack_known && after.is_conntrack_known,
            conntrack_drops,
            conntrack_insert_failed: insert_failed,
            conntrack_entries: table.entries,
            conntrack_limit: table.limit,
            memory_pages,
            memory_limit: 0,
        })
    }

    /// The same of what TCP resets by itself, around a RST.
    pub(super) fn aborts(&mut self, history: &History, reset: Nanos, now: Nanos) -> Fact<Aborts> {
        let before = history.before(reset).ok_or(Missing::NotAsked)?;
        let (after, _) = self.after(reset, now)?;
        let [_, _, _, _, for_memory, .., on_close, on_data, on_linger, on_timeout] = after.minus(before);
        Ok(Aborts { for_memory, otherwise: on_close + on_data + on_linger + on_timeout })
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
        let of = |text: &str| {
            let mut it = Snapshot::new(Nanos(1));
            it.add_netstat(text);
            it.values
        };
        assert_eq!(of(text)[..8], [0, 4, 3, 0, 0, 0, 5, 0]);
        assert_eq!((value(text, "SyncookiesSent"), value(text, "TCPReqQFullDrop")), (Some(3), None));
        for broken in ["", "TcpExt: ListenDrops", "TcpExt: ListenDrops\nTcpExt: x\n", "TcpExt: \nTcpExt: 1 2\n"] {
            assert_eq!(of(broken), [0; NAMES.len()], "{broken:?}");
        }
        assert_eq!(pages("sockets: used 22\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 204\nUDP: inuse 0 mem 7\n"), 204);
        assert_eq!((pages("TCP: inuse 1 mem"), pages("")), (0, 0));
    }

    #[test]
    fn several_files_and_cpus_are_summed() {
        let mut it = Snapshot::new(Nanos(1));
        it.add_snmp("Ip: OutNoRoutes X\nIp: 3 9\nTcp: InErrs InCsumErrors\nTcp: 9 4\nUdp: InCsumErrors\nUdp: 5\n");
        it.add_snmp6("Ip6OutNoRoutes                  \t2\nIcmp6InCsumErrors\t9\nUdp6InCsumErrors \t6\n");
        let conntrack = "entries  clashres insert_failed drop  expect_new\n000000ff  00000001 00000002 0000000a 1\n\
                         000000ff  00000001 00000001 00000010 1\n";
        assert_eq!(it.add_conntrack(conntrack), 255);
        assert_eq!(it.values[8..12], [5, 15, 26, 3]);
        assert_eq!((it.add_conntrack(""), it.add_conntrack("entries\nx\n")), (0, 0));
    }

    #[test]
    fn a_table_is_judged_at_its_fullest() {
        let mut history = History::default();
        for (number, (entries, limit)) in (0..).zip([(9, 10), (5, 10), (19, 20), (1, 1000)]) {
            let table = Conntrack { entries, limit };
            history.add(Snapshot { table, ..Snapshot::new(Nanos(number * APART)) });
        }
        let fullest = |since| {
            let it = history.fullest(Nanos(since * APART));
            (it.entries, it.limit)
        };
        assert_eq!([fullest(0), fullest(3), fullest(4)], [(19, 20), (1, 1000), (0, 0)]);
    }

    #[test]
    fn a_history_is_bounded_and_knows_what_was_before() {
        let mut history = History::default();
        let at = |number: u64| Nanos(number * APART);
        for number in 0..2 * MOST as u64 {
            history.add(Snapshot { values: [number; NAMES.len()], ..Snapshot::new(at(number)) });
            let soon = Nanos(at(number).0 + APART / 2);
            history.add(Snapshot { values: [u64::MAX; NAMES.len()], ..Snapshot::new(soon) });
        }
        assert_eq!(history.0.len(), MOST);
        let first = MOST as u64;
        assert_eq!(history.before(Nanos(at(first).0 - 1)), None);
        assert_eq!(history.before(at(first)).unwrap().values[0], first);
        assert_eq!(history.before(Nanos(at(first + 1).0 - 1)).unwrap().values[0], first);
        assert_eq!(history.before(Nanos(u64::MAX)).unwrap().values[0], 2 * first - 1);
        let late = Nanos(at(2 * first).0 + KEPT);
        history.add(Snapshot::new(late));
        assert_eq!(history.0.len(), 2, "one from before, for what began in between");
    }
}
