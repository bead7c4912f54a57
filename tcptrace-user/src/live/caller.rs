//! The call of connect(2) behind an attempt, and the process that made it.

use tcptrace_core::handshake::{Handshake, Nanos};
use tcptrace_vocabulary::facts::{Fact, Missing, Process, Socket};

use super::{
    calls::Recent,
    connects::{Connect, Connects},
};
use crate::host::Host;

/// The call behind an attempt: noted by its flow as it leaves SYN-SENT, and known by its socket before. Where a later
/// call has taken the place of its flow or of its record, it is as it was last read.
pub(super) fn call_of(
    connects: &Connects,
    recent: &Recent,
    hs: &Handshake,
    socket: impl FnOnce() -> Fact<Option<Socket>>,
) -> Fact<Connect> {
    let by_flow = || match connects.by_flow(hs.client(), hs.server(), hs.first_syn) {
        Err(Missing::Gone) => recent.by_flow(hs).ok_or(Missing::Gone),
        call => call,
    };
    by_flow().or_else(|why| match socket() {
        Ok(Some(Socket { cookie, .. })) => {
            let call = connects.by_socket(cookie, hs.first_syn);
            call.or_else(|| recent.lost_by_socket(cookie, hs.first_syn)).ok_or(Missing::Gone)
        }
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
