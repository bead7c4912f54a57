//! The network namespaces of this host, and which of them has an address.
//!
//! They are found by their processes and by their names in /run/netns and /run/docker/netns. A thread enters each, looks,
//! and ends: a thread that has to go back is one that an error leaves in the wrong place. A namespace in which an attempt
//! ends keeps its sockets open; the others cost no descriptor. An address that several namespaces have is nobody's but
//! this process's own: containers of two networks may well use the same one.
//! <https://man7.org/linux/man-pages/man7/network_namespaces.7.html>

use std::{
    collections::{HashMap, HashSet, hash_map},
    fs::{self, File},
    io::{self, ErrorKind},
    net::IpAddr,
    os::{
        fd::{AsRawFd, FromRawFd as _},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use caps::{CapSet, Capability};
use nix::{
    sched::{CloneFlags, setns},
    sys::socket::getsockopt,
};
use tcptrace_core::handshake::Nanos;
use tcptrace_vocabulary::facts::{Fact, Missing};

use super::{
    counters::{self, History, Snapshot},
    inside::Inside,
};
use crate::{
    netlink::{Channel, addresses},
    socket::NetnsCookie,
};

/// The number of namespaces that are looked into.
const MOST: usize = 1024;
/// The number of them that are kept open besides this process's own: nine descriptors each.
const OPEN: usize = 16;
/// The interval between two searches for them, and the interval while addresses are not found.
const EVERY: u64 = 10_000_000_000;
const EVERY_MISSED: u64 = 5_000_000_000;
/// The own one's, as the thread that asks sees it.
const OWN: &str = "/proc/thread-self/ns/net";

/// A namespace by the number of its file.
pub(super) type Id = u64;

/// All network namespaces, or this process's own alone.
#[derive(Debug)]
pub(super) struct Namespaces {
    own: Id,
    own_addresses: HashSet<IpAddr>,
    own_inside: Inside,
    histories: HashMap<Id, History>,
    memory_limit: u64,
    others: Option<Others>,
}

/// Where a namespace was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entrance {
    /// A name, or the file of a process.
    pub(super) path: PathBuf,
    /// The first process that is in it, by number.
    pub(super) first: Option<u32>,
}

#[derive(Debug, Default)]
struct Others {
    found: HashMap<Id, Entrance>,
    /// None: several have it.
    owners: HashMap<IpAddr, Option<Id>>,
    /// By cookie.
    cookies: HashMap<u64, Id>,
    /// Some could not be looked into.
    denied: bool,
    missed: bool,
    scanned: Nanos,
    scanning: Option<JoinHandle<Scan>>,
    open: HashMap<Id, (Nanos, Inside)>,
}

impl Namespaces {
    /// The calling thread's is the own one.
    pub(super) fn open(all: bool, now: Nanos) -> Self {
        let own = fs::metadata(OWN).map_or(0, |it| it.ino());
        let mut it = Self {
            own,
            own_addresses: HashSet::new(),
            own_inside: Inside::open(now),
            histories: HashMap::new(),
            memory_limit: counters::memory_limit(),
            others: all.then(Others::default),
        };
        it.read_own_addresses();
        it.own_inside.record(it.histories.entry(own).or_default(), now);
        if all && let Some(scan) = start(own).and_then(|it| it.join().ok()) {
            it.install(scan, now);
            it.open_all(now);
        }
        it
    }

    /// Opens all others, if they are few: whoever gives up privileges cannot enter them any more.
    fn open_all(&mut self, now: Nanos) {
        let Some(others) = &mut self.others else { return };
        if others.found.len() <= OPEN {
            for (id, entrance) in &others.found {
                if let Ok(inside) = enter_and_open(&entrance.path, *id, now) {
                    others.open.insert(*id, (now, inside));
                }
            }
        }
    }

    pub(super) const fn own(&self) -> Id {
        self.own
    }

    pub(super) fn own_inside(&mut self) -> &mut Inside {
        &mut self.own_inside
    }

    /// To be called where they have changed.
    pub(super) fn read_own_addresses(&mut self) {
        if let Ok(addresses) = self.own_inside.addresses() {
            self.own_addresses = addresses;
        }
    }

    /// The namespace that has an address; none: no namespace of this host.
    pub(super) fn which(&mut self, address: IpAddr) -> Fact<Option<Id>> {
        if address.is_loopback() || self.own_addresses.contains(&address) {
            return Ok(Some(self.own));
        }
        let Some(others) = &mut self.others else { return Ok(None) };
        match others.owners.get(&address) {
            Some(Some(id)) => Ok(Some(*id)),
            Some(None) => Err(Missing::Elsewhere),
            None => {
                others.missed = true;
                if others.denied { Err(Missing::Privilege) } else { Ok(None) }
            }
        }
    }

    /// A namespace from inside, with its counters' past.
    pub(super) fn inside(&mut self, id: Id, now: Nanos) -> Fact<(&mut Inside, &History)> {
        let history = self.histories.entry(id).or_default();
        if id == self.own {
            return Ok((&mut self.own_inside, history));
        }
        let others = self.others.as_mut().ok_or(Missing::Elsewhere)?;
        if !others.open.contains_key(&id) && others.open.len() >= OPEN {
            let oldest = others.open.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id);
            oldest.map(|it| others.open.remove(&it));
        }
        let (used, inside) = match others.open.entry(id) {
            hash_map::Entry::Occupied(it) => it.into_mut(),
            hash_map::Entry::Vacant(it) => {
                let entrance = others.found.get(&id).ok_or(Missing::Gone)?;
                it.insert((now, enter_and_open(&entrance.path, id, now)?))
            }
        };
        *used = now;
        Ok((inside, history))
    }

    /// The namespace with a cookie, if it was found.
    pub(super) fn by_cookie(&mut self, cookie: u64) -> Option<Id> {
        if cookie != 0 && self.own_inside.cookie() == Ok(cookie) {
            return Some(self.own);
        }
        let others = self.others.as_mut()?;
        let found = others.cookies.get(&cookie).copied();
        others.missed |= found.is_none();
        found
    }

    /// Where another namespace was found; `None`: it is this process's own, or was not found.
    pub(super) fn entrance(&self, id: Id) -> Option<&Entrance> {
        self.others.as_ref()?.found.get(&id)
    }

    pub(super) const fn memory_limit(&self) -> u64 {
        self.memory_limit
    }

    /// Reads counters; takes what a search has found, or starts one.
    pub(super) fn tick(&mut self, now: Nanos) {
        self.memory_limit = or(counters::memory_limit(), self.memory_limit);
        self.own_inside.record(self.histories.entry(self.own).or_default(), now);
        let Some(others) = &mut self.others else { return };
        for (id, (_, inside)) in &mut others.open {
            inside.record(self.histories.entry(*id).or_default(), now);
        }
        match &others.scanning {
            Some(thread) if thread.is_finished() => {
                if let Some(scan) = others.scanning.take().and_then(|it| it.join().ok()) {
                    self.install(scan, now);
                }
            }
            Some(_) => {}
            None => {
                let every = if others.missed { EVERY_MISSED } else { EVERY };
                if now.since(others.scanned) >= every {
                    others.scanned = now;
                    others.scanning = start(self.own);
                }
            }
        }
    }

    fn install(&mut self, scan: Scan, now: Nanos) {
        let Some(others) = &mut self.others else { return };
        self.memory_limit = or(scan.memory_limit, self.memory_limit);
        if scan.denied && scan.found.is_empty() {
            // Privileges were given up: what was found before stays true of the namespaces that are open.
            (others.scanned, others.denied) = (now, true);
            return;
        }
        let old = std::mem::take(others);
        others.open = old.open;
        (others.scanned, others.denied) = (now, scan.denied);
        for found in scan.found {
            others.found.insert(found.id, found.entrance);
            others.cookies.extend(found.cookie.map(|cookie| (cookie, found.id)));
            self.histories.entry(found.id).or_default().extend(found.counters);
            for address in found.addresses {
                others.owners.entry(address).and_modify(|owner| *owner = None).or_insert(Some(found.id));
            }
        }
        others.open.retain(|id, _| others.found.contains_key(id));
        self.histories.retain(|id, _| *id == self.own || others.found.contains_key(id));
    }
}

/// The newer of two limits, be it lower: they are set when memory is short. Zero: a namespace that does not show it.
const fn or(newer: u64, older: u64) -> u64 {
    if newer > 0 { newer } else { older }
}

/// The result of a search.
#[derive(Debug, Default)]
struct Scan {
    found: Vec<Found>,
    denied: bool,
    memory_limit: u64,
}

#[derive(Debug)]
struct Found {
    id: Id,
    entrance: Entrance,
    addresses: HashSet<IpAddr>,
    cookie: Option<u64>,
    counters: Option<Snapshot>,
}

/// Starts a search, on a thread of its own: a host may have a thousand namespaces and ten thousand processes.
fn start(own: Id) -> Option<JoinHandle<Scan>> {
    thread::Builder::new().name("namespaces".to_owned()).spawn(move || scan(own)).ok()
}

fn scan(own: Id) -> Scan {
    let mut scan = Scan::default();
    let (entrances, denied) = entrances(own);
    scan.denied = denied;
    for (id, entrance) in entrances {
        match look_into(entrance, id) {
            Ok(found) => {
                scan.memory_limit = scan.memory_limit.max(counters::memory_limit());
                scan.found.push(found);
            }
            Err(error) => scan.denied |= error.kind() == ErrorKind::PermissionDenied,
        }
    }
    scan
}

/// Folders of names, as `ip netns` and Docker keep them; `/var/run` is `/run` on most hosts.
const FOLDERS: [&str; 4] = ["/run/netns", "/var/run/netns", "/run/docker/netns", "/var/run/docker/netns"];

/// Every namespace but the own one, once, and whether some were hidden for want of privilege: what a security module
/// hides from whoever has it, no privilege would show.
fn entrances(own: Id) -> (HashMap<Id, Entrance>, bool) {
    let (mut entrances, mut denied) = (HashMap::new(), false);
    let may_look = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_PTRACE).unwrap_or(false);
    let Ok(here) = fs::metadata(OWN) else { return (entrances, true) };
    let folders = FOLDERS.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let named = folders.map(|it| (it.path(), None));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = processes.filter_map(|it| {
        let pid = it.file_name().to_str()?.parse().ok()?;
        Some((it.path().join("ns/net"), Some(pid)))
    });
    for (path, pid) in named.chain(numbered) {
        match fs::metadata(&path) {
            // Another device: a name whose namespace is not mounted (any more).
            Ok(it) if it.dev() == here.dev() && it.ino() != own => {
                let is_new = entrances.len() < MOST;
                match entrances.entry(it.ino()) {
                    hash_map::Entry::Vacant(entry) if is_new => drop(entry.insert(Entrance { path, first: pid })),
                    hash_map::Entry::Vacant(_) => {}
                    hash_map::Entry::Occupied(mut entry) => entry.get_mut().first = entry.get().first.or(pid),
                }
            }
            Ok(_) => {}
            Err(error) => denied |= !may_look && error.kind() == ErrorKind::PermissionDenied,
        }
    }
    (entrances, denied)
}

/// Leaves the calling thread in the namespace.
fn look_into(entrance: Entrance, id: Id) -> io::Result<Found> {
    enter(&entrance.path, id)?;
    let mut channel = Channel::route()?;
    let all = addresses::list(&mut channel)?.into_iter().map(|configured| configured.address);
    // Every namespace has those of loopback, and they name none.
    let addresses = all.filter(|address| !address.is_loopback()).collect();
    let cookie = getsockopt(&channel, NetnsCookie).ok();
    Ok(Found { id, entrance, addresses, cookie, counters: Snapshot::here().ok() })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other error is a failure")]
fn enter_and_open(path: &Path, id: Id, now: Nanos) -> Fact<Inside> {
    let path = path.to_owned();
    let thread = thread::Builder::new().spawn(move || enter(&path, id).map(|()| Inside::open(now)));
    let entered = thread.map_err(|_| Missing::Failed)?.join().map_err(|_| Missing::Failed)?;
    entered.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Missing::Privilege,
        ErrorKind::NotFound => Missing::Gone,
        _ => Missing::Failed,
    })
}

/// Moves the calling thread. A process's number may have become another's since the namespace was found.
fn enter(path: &Path, id: Id) -> io::Result<()> {
    let file = File::open(path)?;
    if file.metadata()?.ino() != id || !is_of_this_host(&file)? {
        return Err(ErrorKind::NotFound.into());
    }
    Ok(setns(file, CloneFlags::CLONE_NEWNET)?)
}

/// Whether a namespace belongs to the user namespace of this process. Any user can make one of their own, with any
/// address in it: that is no part of this host.
#[expect(unsafe_code, reason = "nix makes an ioctl safe to name, and not to call")]
fn is_of_this_host(namespace: &File) -> io::Result<bool> {
    // _IO(0xb7, 1), include/uapi/linux/nsfs.h
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    // SAFETY: it takes no argument and gives a new descriptor, which nobody else has.
    let owner = unsafe {
        match libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) {
            fd if fd < 0 => return Err(io::Error::last_os_error()),
            fd => File::from_raw_fd(fd),
        }
    };
    Ok(owner.metadata()?.ino() == fs::metadata("/proc/thread-self/ns/user")?.ino())
}
