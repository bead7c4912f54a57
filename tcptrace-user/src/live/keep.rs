//! The packets of attempts until their verdict: bounded memory, open attempts kept before finished ones.
//!
//! Knows no ring and no file. Whether an attempt fails is known only with its last packet, so all are kept; those of a
//! handshake that completed are the first to go, and their going is no loss.

use std::collections::{HashMap, VecDeque};

use tcptrace_core::{
    flow,
    handshake::{Nanos, Point, Transition},
    snapshot::Snapshot,
};

/// Bytes kept, the account of what holds them included.
pub const LIMIT: usize = 64 << 20;
/// Packets kept of an attempt at most: more than any stack's ladder of tries makes.
const PACKETS: usize = 64;
/// Bytes that keeping a packet, and an attempt, takes beside the packet's own.
const PER_PACKET: usize = 64;
const PER_ATTEMPT: usize = 192;

/// A packet as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub at: Nanos,
    pub point: Point,
    pub octets: Box<[u8]>,
    /// Its length on the wire.
    pub length: u32,
}

/// The packets of an attempt, in the order in which they were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub packets: Vec<Kept>,
    /// Which of them decided so far.
    pub decided: usize,
    /// Its place in the order of all.
    serial: u64,
    done: bool,
}

impl Group {
    fn size(&self) -> usize {
        PER_ATTEMPT + self.packets.iter().map(Kept::size).sum::<usize>()
    }
}

impl Kept {
    fn size(&self) -> usize {
        PER_PACKET + self.octets.len()
    }
}

/// The packets that are kept, by handshake.
#[derive(Debug)]
pub struct Keeper {
    limit: usize,
    groups: HashMap<u64, Group>,
    /// In the order of their first packets, and of their completion. Those that are gone or done are passed over.
    open: VecDeque<(u64, u64)>,
    done: VecDeque<(u64, u64)>,
    count: u64,
    octets: usize,
    /// Packets that had to go before their attempt's verdict.
    pub cut: u64,
}

impl Keeper {
    /// A keeper of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            groups: HashMap::new(),
            open: VecDeque::new(),
            done: VecDeque::new(),
            count: 0,
            octets: 0,
            cut: 0,
        }
    }

    /// Keeps a packet.
    pub fn add(&mut self, transition: Transition, snapshot: &Snapshot) {
        let id = flow::handshake_id(snapshot.client(), snapshot.server(), snapshot.isn.0);
        let group = self.groups.entry(id).or_insert_with(|| {
            self.count += 1;
            // A group that does not begin with its SYN follows a verdict, and few ask for it.
            let done = transition != Transition::Opened;
            (if done { &mut self.done } else { &mut self.open }).push_back((id, self.count));
            self.octets += PER_ATTEMPT;
            Group { serial: self.count, done, ..Group::default() }
        });
        let decides = !matches!(transition, Transition::Noted | Transition::SeenAgain);
        if !decides && group.packets.len() >= PACKETS / 2 {
            self.cut += 1;
            return;
        }
        if group.packets.len() == PACKETS {
            self.cut += 1;
            // A deciding packet takes the place of the last.
            self.octets -= group.packets.pop().map_or(0, |it| it.size());
        }
        if decides {
            group.decided = group.packets.len();
        }
        let octets = snapshot.octets.get(..usize::from(snapshot.captured)).unwrap_or_default().into();
        let packet = Kept { at: snapshot.time, point: snapshot.point, octets, length: snapshot.length };
        self.octets += packet.size();
        group.packets.push(packet);
        if transition == Transition::Completed && !group.done {
            group.done = true;
            self.done.push_back((id, group.serial));
        }
        self.make_room();
    }

    /// Gives an attempt's packets away, and forgets them.
    pub fn take(&mut self, id: u64) -> Option<Group> {
        let group = self.groups.remove(&id)?;
        self.octets -= group.size();
        Some(group)
    }

    /// Attempts of which something is kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn make_room(&mut self) {
        while self.octets > self.limit {
            let next = self.done.pop_front().map(|it| (it, true));
            let Some(((id, serial), done)) = next.or_else(|| self.open.pop_front().map(|it| (it, false))) else {
                return;
            };
            if self.groups.get(&id).is_some_and(|it| it.serial == serial && it.done == done) {
                let group = self.take(id).unwrap_or_default();
                self.cut += if done { 0 } else { group.packets.len() as u64 };
            }
        }
        // A removed group leaves its number in the list; a long list is cleaned.
        for (list, done) in [(&mut self.open, false), (&mut self.done, true)] {
            if list.len() > 2 * self.groups.len() + 1024 {
                list.retain(|(id, serial)| {
                    self.groups.get(id).is_some_and(|it| it.serial == *serial && it.done == done)
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tcptrace_core::{event::VERSION, flow::Addr, seq::Seq, snapshot::SNAPLEN};

    use super::*;

    fn packet(isn: u32, transition: Transition) -> (Transition, Snapshot) {
        let snapshot = Snapshot {
            version: VERSION,
            transition: transition as u8,
            captured: 60,
            length: 60,
            time: Nanos(u64::from(isn)),
            point: Point::ingress(1),
            isn: Seq(isn),
            client_addr: Addr::v4(1),
            server_addr: Addr::v4(2),
            client_port: 1,
            server_port: 2,
            pad: 0,
            octets: [0; SNAPLEN],
        };
        (transition, snapshot)
    }

    fn id(isn: u32) -> u64 {
        let (_, it) = packet(isn, Transition::Opened);
        flow::handshake_id(it.client(), it.server(), isn)
    }

    fn add(keeper: &mut Keeper, isn: u32, transition: Transition) {
        let (transition, snapshot) = packet(isn, transition);
        keeper.add(transition, &snapshot);
    }

    #[test]
    fn done_goes_first_and_is_no_loss() {
        let mut keeper = Keeper::new(10 * (PER_ATTEMPT + PER_PACKET + 60));
        add(&mut keeper, 0, Transition::Opened);
        for isn in 1..1000 {
            add(&mut keeper, isn, Transition::Opened);
            add(&mut keeper, isn, Transition::Completed);
        }
        assert_eq!(keeper.cut, 0);
        assert_eq!(keeper.take(id(0)).expect("it is open").packets.len(), 1);
        assert_eq!(keeper.take(id(1)), None);
        assert!(keeper.octets <= keeper.limit);
        assert_eq!(keeper.groups.values().map(Group::size).sum::<usize>(), keeper.octets);
    }

    #[test]
    fn open_ones_go_by_age_and_are_counted() {
        let mut keeper = Keeper::new(10 * (PER_ATTEMPT + PER_PACKET + 60));
        (0..12).for_each(|isn| add(&mut keeper, isn, Transition::Opened));
        assert_eq!((keeper.len(), keeper.cut), (10, 2));
        assert!(keeper.take(id(1)).is_none() && keeper.take(id(2)).is_some());
    }

    #[test]
    fn what_decides_has_its_place() {
        let mut keeper = Keeper::new(LIMIT);
        add(&mut keeper, 7, Transition::Opened);
        // Noise takes half of the places at most.
        (0..100).for_each(|_| add(&mut keeper, 7, Transition::Noted));
        (0..40).for_each(|_| add(&mut keeper, 7, Transition::SynRetried));
        let group = keeper.take(id(7)).expect("it is kept");
        assert_eq!((group.packets.len(), group.decided), (PACKETS, PACKETS - 1));
        assert_eq!(keeper.cut, 1 + 100 + 40 - PACKETS as u64);
        assert_eq!(keeper.octets, 0);
    }

    /// Whatever comes, the lists of what was kept do not outgrow it.
    #[test]
    fn lists_stay_as_short_as_what_is_kept() {
        let mut keeper = Keeper::new(LIMIT);
        for isn in 0..100_000 {
            add(&mut keeper, isn, Transition::Opened);
            add(&mut keeper, isn, Transition::Completed);
            assert!(keeper.take(id(isn)).is_some());
        }
        assert!(keeper.open.len() <= 1025 && keeper.done.len() <= 1025 && keeper.is_empty());
    }
}
