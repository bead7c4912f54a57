//! The evidence of a run over captures: which packets go into it, and how errors in writing it are handled.

use std::{collections::HashMap, io};

use tcptrace_capture::write::{self, InterfaceId, Statistics, Writer};
use tcptrace_report::text;
use tcptrace_vocabulary::attempt::Attempt;

use super::{Run, Stop, flows::Kept};
use crate::{limit, output};

/// The evidence, while it is written.
pub(super) struct Proof {
    pub(super) writer: Option<Writer>,
    /// The evidence's number for each interface, and what is said of it.
    pub(super) described: HashMap<u32, Described>,
    pub(super) has_failed: bool,
}

/// An interface as the evidence has it.
pub(super) struct Described {
    pub(super) link: u16,
    pub(super) received: u64,
    pub(super) id: Option<InterfaceId>,
}

impl Run<'_> {
    /// An error in writing evidence is reported, and counted when all is reported; the other reports continue. A pipe
    /// that nobody reads any more ends the run.
    pub(super) fn on_evidence_error(&mut self, error: io::Error) -> Result<(), Stop> {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Err(Stop::Evidence(error));
        }
        if !std::mem::replace(&mut self.proof.has_failed, true) {
            let error = limit::explained(&error);
            output::say(&format!("cannot write evidence: {error}; evidence_shed counts what is missing"));
        }
        Ok(())
    }

    /// Writes an attempt's packets, the verdict with the one that decided.
    pub(super) fn prove(&mut self, attempt: &Attempt, packets: &[Kept], decided: usize) -> io::Result<()> {
        let Some(writer) = &mut self.proof.writer else { return Ok(()) };
        let verdict = text::verdict(attempt);
        let mut result = Ok(());
        for (index, packet) in packets.iter().enumerate() {
            let Kept { at, octets, original, interface, direction } = packet;
            let Some(described) = self.proof.described.get_mut(interface) else { continue };
            let id = *described.id.get_or_insert_with(|| {
                let name = self.setting.interface(*interface);
                let link = described.link;
                writer.interface(write::InterfaceDescription { name: &name, link, snaplen: 0, description: None })
            });
            let written = writer.packet(&write::PacketRecord {
                interface: id,
                time_ns: at.0,
                octets,
                original: *original,
                direction: *direction,
                comment: (index == decided).then_some(&verdict),
            });
            result = result.and(written);
        }
        result.and(writer.group_end())
    }

    /// Completes the evidence: how many packets of each interface there were, and what was lost.
    pub(super) fn complete(&mut self) -> Result<u64, Stop> {
        let Some(mut writer) = self.proof.writer.take() else { return Ok(0) };
        let (start_ns, end_ns) = (self.flows.began.unwrap_or_default().0, self.flows.now.0);
        for it in self.proof.described.values() {
            if let Some(id) = it.id {
                let received = it.received;
                let statistics =
                    Statistics { received, dropped: Some(self.input.damaged), comment: None, start_ns, end_ns };
                writer.statistics(id, statistics);
            }
        }
        let shed = writer.shed();
        match writer.finish() {
            Ok(_) => Ok(shed),
            Err(error) => self.on_evidence_error(error).map(|()| shed),
        }
    }
}
