//! The call of connect(2) behind an attempt, and the process that made it.

use tcptrace_core::handshake::{Handshake, Nanos};
use tcptrace_vocabulary::facts::{Fact, Missing, Process, Socket};

use super::connects::{Connect, Connects};
use crate::host::Host;

/// The call behind an attempt: noted by its flow as it leaves SYN-SENT, and known by its socket before.
pub(super) fn call_of(
    connects: &Connects,
    hs: &Handshake,
    socket: impl FnOnce() -> Fact<Option<Socket>>,
) -> Fact<Connect> {
    let by_flow = || connects.by_flow(hs.client(), hs.server(), hs.first_syn);
    by_flow().or_else(|why| match socket() {
        Ok(Some(socket)) => connects.by_socket(socket.cookie, hs.first_syn).ok_or(Missing::Gone),
        // It may have left in the meantime.
        Ok(None) => by_flow(),
        Err(_) => Err(why),
    })
}

/// The process that called, by what is known of it now, or else by what the hook noted.
pub(super) fn process(host: &mut Host, connect: &Connect, now: Nanos) -> Process {
    host.process(connect.pid, now).unwrap_or_else(|_| Process {
        pid: connect.pid,
        command: connect.comm.to_string(),
        unit: None,
        container: host.container_within(connect.netns, now),
        is_gone: true,
    })
}
