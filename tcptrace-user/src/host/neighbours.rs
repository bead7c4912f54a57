//! Neighbours of this process's network namespace as they change: which link-layer addresses each had lately.
//!
//! The kernel's table has one for each, the last. Only a listener knows that there were two, of two hosts with one
//! address or of one that moved. Bounded: anybody on the network can claim any address.

use std::{collections::HashMap, io, net::IpAddr};

use tcptrace_core::handshake::Nanos;

use super::arp::Claims;
use crate::netlink::{Channel, neighbours, neighbours::Entry};

/// The time for which a link-layer address is remembered after another took its place. An address that moved (VRRP, a
/// container made anew) has two for that time.
const KEPT: u64 = 60_000_000_000;
/// The number of neighbours that are remembered; packets alone, which anybody can send, make no more than half of them.
const MOST: usize = 16_384;
/// The shortest time between two searches for what has become old.
const SWEEP: u64 = 10_000_000_000;
/// Link-layer addresses of one neighbour.
const EACH: usize = 4;
/// Bytes of notices that may wait between two looks; the kernel silently lowers it to `net.core.rmem_max`.
const ROOM: libc::c_int = 1024 * 1024;
/// Datagrams read at one look.
const AT_ONCE: u32 = 4096;
/// A neighbour in these states has the link-layer address that is in the message.
const VALID: u16 = libc::NUD_REACHABLE | libc::NUD_STALE | libc::NUD_DELAY | libc::NUD_PROBE | libc::NUD_PERMANENT;

/// The remembered neighbours, by interface and address.
#[derive(Debug, Default)]
pub(super) struct Memory {
    neighbours: HashMap<(u32, IpAddr), Remembered>,
    swept: Nanos,
}

#[derive(Debug, Default)]
struct Remembered {
    /// Newest first, with the moment until which each was believed.
    link_addresses: Vec<([u8; 6], Nanos)>,
    /// When nobody answered.
    failed: Option<Nanos>,
}

impl Memory {
    /// A neighbour was seen with a link-layer address.
    fn saw(&mut self, key: (u32, IpAddr), link_address: [u8; 6], at: Nanos, most: usize) {
        let Some(it) = self.entry(key, at, most) else { return };
        it.failed = None;
        if let Some(former) = it.link_addresses.first_mut() {
            // Until now it was the last known one, however long ago it was reported.
            former.1 = at;
        }
        it.link_addresses.retain(|(known, until)| *known != link_address && at.since(*until) < KEPT);
        it.link_addresses.insert(0, (link_address, at));
        it.link_addresses.truncate(EACH);
    }

    fn entry(&mut self, key: (u32, IpAddr), at: Nanos, most: usize) -> Option<&mut Remembered> {
        if self.neighbours.len() >= most && !self.neighbours.contains_key(&key) {
            // Not for each that finds no room: whoever claims many would have all of them read each time.
            if self.neighbours.len() < MOST || at.since(self.swept) < SWEEP {
                return None;
            }
            self.swept = at;
            let recent = |it: &Remembered| it.link_addresses.first().is_some_and(|(_, until)| at.since(*until) < KEPT);
            self.neighbours.retain(|_, it| recent(it));
            if self.neighbours.len() >= most {
                return None;
            }
        }
        Some(self.neighbours.entry(key).or_default())
    }

    fn take(&mut self, entry: &Entry, at: Nanos) {
        let key = (entry.interface, entry.address);
        match entry.link_address {
            Some(link_address) if entry.state & VALID != 0 => self.saw(key, link_address, at, MOST),
            _ if entry.state & libc::NUD_FAILED != 0 => {
                if let Some(it) = self.entry(key, at, MOST) {
                    it.failed = Some(at);
                }
            }
            _ => {}
        }
    }

    /// The link-layer addresses that a neighbour had lately, newest first.
    pub(super) fn link_addresses(&self, interface: u32, address: IpAddr, now: Nanos) -> Vec<[u8; 6]> {
        let all = self.neighbours.get(&(interface, address)).map_or(&[][..], |it| &it.link_addresses);
        // The newest is what is known, however old.
        let recent = all.iter().enumerate().filter(|(index, (_, until))| *index == 0 || now.since(*until) < KEPT);
        recent.map(|(_, (link_address, _))| *link_address).collect()
    }

    /// Whether nobody has answered for it since a moment: the kernel soon forgets such an entry.
    pub(super) fn failed_since(&self, interface: u32, address: IpAddr, moment: Nanos) -> bool {
        let failed = self.neighbours.get(&(interface, address)).and_then(|it| it.failed);
        failed.is_some_and(|failed| failed >= moment)
    }
}

/// Listens for changes in the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Watch {
    notices: Channel,
    questions: Channel,
    claims: Claims,
    pub(super) memory: Memory,
    addresses_changed: bool,
    /// Notices were lost, and the table has not been read since.
    is_stale: bool,
}

impl Watch {
    /// In the network namespace of the calling thread.
    pub(super) fn open(now: Nanos) -> io::Result<Self> {
        let mut notices = Channel::route()?;
        notices.subscribe(&[libc::RTNLGRP_NEIGH, libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR], ROOM)?;
        let questions = Channel::route()?;
        let claims = Claims::open();
        let mut watch =
            Self { notices, questions, claims, memory: Memory::default(), addresses_changed: false, is_stale: false };
        watch.read_all(now);
        Ok(watch)
    }

    fn read_all(&mut self, now: Nanos) {
        let read = neighbours::list(&mut self.questions);
        self.is_stale = read.is_err();
        read.iter().flatten().for_each(|entry| self.memory.take(entry, now));
    }

    /// Takes what waits; whether this namespace's addresses have changed.
    pub(super) fn look(&mut self, now: Nanos) -> bool {
        let Self { notices, memory, addresses_changed, .. } = self;
        let drained = notices.drain(AT_ONCE, |kind, payload| match kind {
            libc::RTM_NEWNEIGH => {
                if let Some(entry) = Entry::decode(payload) {
                    memory.take(&entry, now);
                }
            }
            libc::RTM_NEWADDR | libc::RTM_DELADDR => *addresses_changed = true,
            _ => {}
        });
        // More was reported than there was room for (ENOBUFS): the tables as they are now say the most of it.
        self.addresses_changed |= drained.is_err();
        if drained.is_err() || self.is_stale {
            self.read_all(now);
        }
        self.claims.look(|interface, address, link_address| {
            self.memory.saw((interface, address), link_address, now, MOST / 2);
        });
        std::mem::take(&mut self.addresses_changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn mac(number: u8) -> [u8; 6] {
        [2, 0, 0, 0, 0, number]
    }

    #[test]
    fn two_link_addresses_are_remembered_for_a_minute() {
        let mut memory = Memory::default();
        let at = |tenth: u64| Nanos(tenth * KEPT / 10);
        memory.saw((1, ADDRESS), mac(1), at(0), MOST);
        assert_eq!(memory.link_addresses(1, ADDRESS, at(100)), [mac(1)], "what is known does not expire");
        memory.saw((1, ADDRESS), mac(2), at(100), MOST);
        assert_eq!(memory.link_addresses(1, ADDRESS, at(109)), [mac(2), mac(1)]);
        assert_eq!(memory.link_addresses(1, ADDRESS, at(110)), [mac(2)]);
        memory.saw((1, ADDRESS), mac(1), at(105), MOST);
        assert_eq!(memory.link_addresses(1, ADDRESS, at(106)), [mac(1), mac(2)]);
        for number in 0..100 {
            memory.saw((1, ADDRESS), mac(number), at(106), MOST);
        }
        assert_eq!(memory.link_addresses(1, ADDRESS, at(106)), [mac(99), mac(98), mac(97), mac(96)]);
        assert_eq!(memory.link_addresses(2, ADDRESS, at(106)), [[0; 6]; 0], "of another interface");
    }

    #[test]
    fn claims_of_many_addresses_leave_room_for_the_kernels_own() {
        let mut memory = Memory::default();
        let address = |number: u32| IpAddr::V4(number.into());
        for number in 0..2 * MOST as u32 {
            memory.saw((1, address(number)), mac(1), Nanos(1), MOST / 2);
        }
        assert_eq!(memory.neighbours.len(), MOST / 2);
        for number in 0..2 * MOST as u32 {
            memory.saw((2, address(number)), mac(1), Nanos(1), MOST);
        }
        assert_eq!(memory.neighbours.len(), MOST);
        memory.saw((3, ADDRESS), mac(1), Nanos(KEPT + 2), MOST);
        assert_eq!(memory.neighbours.len(), 1, "what is old makes room");
    }

    #[test]
    fn a_failure_is_remembered_until_somebody_answers() {
        let mut memory = Memory::default();
        let entry = |state, link_address| Entry { interface: 1, address: ADDRESS, state, link_address };
        memory.take(&entry(libc::NUD_FAILED, None), Nanos(5));
        assert!(memory.failed_since(1, ADDRESS, Nanos(5)) && !memory.failed_since(1, ADDRESS, Nanos(6)));
        memory.take(&entry(libc::NUD_REACHABLE, Some(mac(1))), Nanos(7));
        assert!(!memory.failed_since(1, ADDRESS, Nanos(0)));
    }
}
