//! `-w` live: packets come up by a ring of their own, wait for their attempt's verdict, and go to the recorder.
//!
//! The ring is read by the clock: a packet is no reason to wake anybody.

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use tcptrace_capture::write::Direction;
use tcptrace_core::snapshot::SNAPLEN;
use tcptrace_report::{Setting, text};
use tcptrace_vocabulary::attempt::Attempt;

use super::{
    decode,
    interfaces::{Interface, LinkType},
    keep::{Keeper, LIMIT},
};
use crate::recorder::{Described, FileTotals, LAST_WAIT, Recorded, Recorder};

/// Bytes of the ring in the kernel.
pub const RING: u32 = 4 << 20;
/// The interval at which the ring is read: full, it holds 800,000 packets a second at this pace.
pub const READ: Duration = Duration::from_millis(20);

/// Verdicts that wait for a slow disk.
const VERDICTS: usize = 1 << 18;

/// The memory that userspace and the kernel's ring keep, for the banner.
pub const MEMORY: usize = LIMIT + RING as usize;

/// LINKTYPE_ETHERNET and LINKTYPE_RAW. <https://www.tcpdump.org/linktypes.html>
const ETHERNET: u16 = 1;
const RAW: u16 = 101;

/// The evidence under way.
pub struct Evidence {
    ring: RingBuf<MapData>,
    keeper: Keeper,
    recorder: Recorder,
    /// Verdicts, by handshake: those of this round, and those whose packets have all come up. A packet comes up just
    /// after the event that reports its effect.
    new: Vec<(u64, String)>,
    settled: VecDeque<(u64, String)>,
    /// Verdicts that found no room: of their packets nothing is written.
    forgotten: u64,
    /// Records that were no packets of this version.
    undecodable: u64,
}

impl Evidence {
    #[must_use]
    pub fn new(ring: RingBuf<MapData>, recorder: Recorder) -> Self {
        let (new, settled) = (Vec::new(), VecDeque::new());
        Self { ring, keeper: Keeper::new(LIMIT), recorder, new, settled, forgotten: 0, undecodable: 0 }
    }

    /// Describes an interface.
    pub fn interface(&self, interface: &Interface) {
        let link = if interface.link_type == LinkType::RawIp { RAW } else { ETHERNET };
        self.recorder
            .interface(interface.index, Described { name: interface.name.clone(), link, snaplen: SNAPLEN as u32 });
    }

    /// An interface that went long ago.
    pub fn forget(&self, index: u32) {
        self.recorder.forget(index);
    }

    /// An attempt whose packets are wanted.
    pub fn verdict(&mut self, attempt: &Attempt) {
        self.new.push((attempt.id(), text::verdict(attempt)));
    }

    /// Reads the ring, and hands on the packets of those whose verdict is a round old, as fast as they are written.
    pub fn read(&mut self, setting: &Setting) {
        while let Some(record) = self.ring.next() {
            match decode::snapshot(&record) {
                Some((transition, it)) => self.keeper.add(transition, &it),
                None => self.undecodable += 1,
            }
        }
        while self.recorder.has_room()
            && let Some((id, verdict)) = self.settled.pop_front()
        {
            let Some(group) = self.keeper.take(id) else { continue };
            let packets = group.packets.into_iter().map(|it| Recorded {
                interface: it.point.ifindex(),
                time_ns: u64::try_from(setting.clock.wall(it.at)).unwrap_or_default(),
                octets: it.octets,
                original: it.length,
                direction: if it.point.is_egress() { Direction::Outgoing } else { Direction::Incoming },
            });
            self.recorder.handshake(packets.collect(), group.decided, verdict);
        }
        let room = VERDICTS.saturating_sub(self.settled.len());
        self.forgotten += self.new.len().saturating_sub(room) as u64;
        self.settled.extend(self.new.drain(..).take(room));
    }

    /// Hands on what is left, once nothing comes up any more, and completes the file.
    pub fn finish(&mut self, setting: &Setting, account: FileTotals) {
        let deadline = Instant::now() + LAST_WAIT;
        self.read(setting);
        while !self.settled.is_empty() && Instant::now() < deadline {
            self.read(setting);
            if !self.recorder.has_room() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        self.forgotten += self.settled.len() as u64;
        self.recorder.finish(account, deadline);
    }

    /// Packets that userspace lost, by stage.
    #[must_use]
    pub fn losses(&self) -> [(&'static str, u64); 4] {
        [
            ("evidence_unwritten", self.forgotten),
            ("evidence_undecodable", self.undecodable),
            ("evidence_cut", self.keeper.cut),
            ("evidence_shed", self.recorder.shed()),
        ]
    }

    /// Whether something could not be written.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.recorder.has_failed()
    }

    /// Whether nobody reads it any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.recorder.is_broken()
    }
}
