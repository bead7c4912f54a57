//! Evidence: packets written as pcapng, to open in Wireshark and tshark as they are.
//!
//! Each file is complete by itself: header, interfaces, packets, and the interfaces' statistics at its end. The packets
//! of a group, which is one handshake, are in one file, one after the other. It does not choose packets, does not sort
//! them, does not look into them, and does not clean the texts it is given.
//! <https://ietf-opsawg-wg.github.io/draft-ietf-opsawg-pcap/draft-ietf-opsawg-pcapng.html>
//!
//! With a size or a time to rotate by, `trace.pcapng` becomes `trace_00001_20261121093000.pcapng`,
//! `trace_00002_20261121094500.pcapng` and so on, as with dumpcap: a number, and when the file was created (in UTC,
//! which dumpcap does not do). Without, the file has the name given. An existing file is overwritten.

mod pcapng;
mod rotate;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

pub use crate::Direction;
use rotate::{Files, Output};

/// Bytes of a group that are held back until it is complete. A longer group is written in parts.
const GROUP: usize = 1 << 20;

/// When to begin the next file, and how many to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The most bytes a file has. Only a group that is longer by itself exceeds it, alone in its file; and what is
    /// said of interfaces after the last group comes on top.
    pub rotate_size: Option<u64>,
    /// A file is followed by another when a group ends this much later, by its packets' times, than one in it did.
    pub rotate_every: Option<Duration>,
    /// Files kept, at least one: the oldest is removed before another is created. Files of earlier runs are left alone.
    pub keep: Option<usize>,
}

/// The interface that packets were captured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceDescription<'a> {
    /// Its name.
    pub name: &'a str,
    /// The link type's number. <https://www.tcpdump.org/linktypes.html>
    pub link: u16,
    /// The most bytes kept of a packet; 0 means no limit.
    pub snaplen: u32,
    /// A description for people; `None` writes none.
    pub description: Option<&'a str>,
}

/// The number of an interface in its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceId(u32);

/// A packet as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketRecord<'a> {
    /// The interface that it was captured on.
    pub interface: InterfaceId,
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The bytes that are kept of it.
    pub octets: &'a [u8],
    /// Its length on the wire.
    pub original: u32,
    /// Which way it went; `None` if that is not known.
    pub direction: Option<Direction>,
    /// Texts of more than 65 532 bytes are cut, here and elsewhere.
    pub comment: Option<&'a str>,
}

/// Counts of an interface's packets since capturing began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics<'a> {
    /// Packets that came by.
    pub received: u64,
    /// Packets that were lost before they could be written; `None` if that is not known.
    pub dropped: Option<u64>,
    /// A text for people; `None` writes none.
    pub comment: Option<&'a str>,
    /// Nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub end_ns: u64,
}

/// Writes packets to a file, or one file after the other.
///
/// When writing fails, the method called says so once, and packets are counted instead ([`Writer::shed`]) until writing
/// is possible again: each group is another attempt, except on a pipe, which would be left with half a block.
#[derive(Debug)]
pub struct Writer {
    files: Files,
    /// `None`: the last is complete, and the next could not be created yet.
    output: Option<Output>,
    interfaces: Vec<Described>,
    group: Group,
    shed: u64,
    is_failing: bool,
    untold: Option<io::Error>,
}

/// The errno behind an error that a [`Writer`] returned; `None` where there is none.
#[must_use]
pub fn errno(error: &io::Error) -> Option<i32> {
    rotate::errno(error)
}

/// An interface's blocks, the same in every file, where it also has the same number.
#[derive(Debug)]
struct Described {
    interface: Vec<u8>,
    snaplen: u32,
    /// Empty: nothing is known.
    statistics: Vec<u8>,
}

/// Packets that are not written yet.
#[derive(Debug, Default)]
struct Group {
    octets: Vec<u8>,
    packets: u64,
    /// When the last packet was captured.
    time: u64,
    /// Part of it is in the file already.
    is_begun: bool,
}

impl Writer {
    /// Creates the file, or the first of them, for its owner's eyes only; one that exists keeps its mode. `-` is
    /// standard output, which is never rotated.
    ///
    /// # Errors
    ///
    /// If it cannot be created or written to, or is a symbolic link: others may put one where everyone can write.
    pub fn create(path: impl AsRef<Path>, rotation: Rotation) -> io::Result<Self> {
        let mut files = Files::new(path.as_ref(), &rotation);
        let mut output = files.open_next()?;
        // A reader at the other end of a pipe waits for it.
        output.write(&pcapng::section())?;
        Ok(Self {
            files,
            output: Some(output),
            interfaces: Vec::new(),
            group: Group::default(),
            shed: 0,
            is_failing: false,
            untold: None,
        })
    }

    /// Describes an interface, in this file and each later one.
    pub fn interface(&mut self, interface: InterfaceDescription<'_>) -> InterfaceId {
        let id = InterfaceId(self.interfaces.len() as u32);
        let InterfaceDescription { snaplen, .. } = interface;
        let interface = pcapng::interface(&interface);
        self.interfaces.push(Described { interface, snaplen, statistics: Vec::new() });
        id
    }

    /// Adds a packet to the group.
    ///
    /// # Errors
    ///
    /// If the interface is another writer's; or if the group is too long to keep, and writing a part of it now fails.
    pub fn packet(&mut self, packet: &PacketRecord<'_>) -> io::Result<()> {
        let InterfaceId(number) = packet.interface;
        let Some(described) = self.interfaces.get(number as usize) else {
            let text = format!("packet of interface {number}, but {} are described", self.interfaces.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        pcapng::packet(&mut self.group.octets, number, described.snaplen, packet);
        self.group.packets += 1;
        self.group.time = self.group.time.max(packet.time_ns);
        if self.group.octets.len() >= GROUP {
            self.store();
        }
        self.tell()
    }

    /// Ends a group: its packets are written, to the next file if it is time for that.
    ///
    /// # Errors
    ///
    /// If writing, or creating or removing a file, fails. The packets are counted as shed unless it was only a file
    /// before this one that could not be completed.
    pub fn group_end(&mut self) -> io::Result<()> {
        self.store();
        self.group = Group { octets: std::mem::take(&mut self.group.octets), ..Group::default() };
        self.tell()
    }

    /// Says what became of an interface's packets so far. The last word before a file is complete goes into it.
    pub fn statistics(&mut self, interface: InterfaceId, statistics: Statistics<'_>) {
        let InterfaceId(number) = interface;
        if let Some(described) = self.interfaces.get_mut(number as usize) {
            described.statistics = pcapng::statistics(number, &statistics);
        }
    }

    /// Packets that could not be written.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.shed
    }

    /// The files there are, oldest first; standard output is none.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.kept()
    }

    /// Ends the group and the file. Gives the files there are, oldest first; standard output is none.
    ///
    /// # Errors
    ///
    /// If the file cannot be completed, even if writing was failing before.
    pub fn finish(mut self) -> io::Result<Vec<PathBuf>> {
        self.is_failing = false;
        self.store();
        self.close();
        self.tell()?;
        Ok(self.files.kept().map(Path::to_owned).collect())
    }

    /// Writes what there is of the group, or counts it.
    fn store(&mut self) {
        if self.group.packets == 0 {
            return;
        }
        if !self.group.is_begun && self.is_due() {
            self.close();
        }
        match self.write() {
            Ok(()) => {
                self.is_failing = false;
                self.group.is_begun = true;
            }
            Err(error) => {
                self.shed += self.group.packets;
                self.fail(error);
            }
        }
        self.group.octets.clear();
        self.group.packets = 0;
    }

    fn is_due(&self) -> bool {
        let Some(output) = &self.output else {
            return false;
        };
        let interfaces = self.interfaces[output.described..].iter().map(|it| it.interface.len());
        let statistics = self.interfaces.iter().map(|it| it.statistics.len());
        let more: usize = self.group.octets.len() + interfaces.sum::<usize>() + statistics.sum::<usize>();
        // Nobody knows yet how long a group becomes that is written in parts.
        let is_in_parts = self.group.octets.len() >= GROUP;
        let length = if is_in_parts { u64::MAX } else { output.length + more as u64 };
        self.files.is_due(output, length, self.group.time)
    }

    fn write(&mut self) -> io::Result<()> {
        let output = match &mut self.output {
            Some(output) => output,
            none => none.insert(self.files.open_next()?),
        };
        let mut octets = head(output, &self.interfaces);
        octets.extend_from_slice(&self.group.octets);
        output.write(&octets)?;
        output.described = self.interfaces.len();
        output.note(self.group.time);
        Ok(())
    }

    /// Completes the file.
    fn close(&mut self) {
        let Some(mut output) = self.output.take() else {
            return;
        };
        let mut octets = head(&output, &self.interfaces);
        for described in &self.interfaces {
            octets.extend_from_slice(&described.statistics);
        }
        if let Err(error) = output.write(&octets) {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            self.untold = Some(error);
        }
    }

    fn tell(&mut self) -> io::Result<()> {
        self.untold.take().map_or(Ok(()), Err)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.store();
        self.close();
    }
}

/// The blocks that a file needs before more packets: its header, and the interfaces that it does not describe yet.
fn head(output: &Output, interfaces: &[Described]) -> Vec<u8> {
    let mut octets = if output.length == 0 { pcapng::section() } else { Vec::new() };
    for described in &interfaces[output.described..] {
        octets.extend_from_slice(&described.interface);
    }
    octets
}
