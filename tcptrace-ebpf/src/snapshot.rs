//! The data that crosses to userspace where evidence is asked for: a packet's first bytes, and whose it is.
//!
//! The packets of an attempt go up one by one, because whether it fails is known only with the last; userspace keeps
//! them until then. A record has one size: a ring takes nothing else without a copy.

use crate::{
    flow::{Addr, Endpoint},
    handshake::{Handshake, Nanos, Point, State, Transition},
    seq::Seq,
};

/// Bytes of a packet that are kept: every header up to the last TCP option, in most tunnels as well.
pub const SNAPLEN: usize = 192;

/// A record of the ring of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Snapshot {
    /// [`crate::event::VERSION`].
    pub version: u8,
    /// The packet's effect: a [`Transition`], by number.
    pub transition: u8,
    /// Bytes kept, at most [`SNAPLEN`].
    pub captured: u16,
    /// Bytes that the packet had.
    pub length: u32,
    pub time: Nanos,
    /// The place where it was seen.
    pub point: Point,
    /// With the endpoints: whose it is.
    pub isn: Seq,
    pub client_addr: Addr,
    pub server_addr: Addr,
    pub client_port: u16,
    pub server_port: u16,
    /// Zero: makes the size a multiple of eight.
    pub pad: u32,
    pub octets: [u8; SNAPLEN],
}

const _: () = assert!(size_of::<Snapshot>() == 256 && align_of::<Snapshot>() == 8);

impl Snapshot {
    /// The client's address and port.
    #[must_use]
    pub const fn client(&self) -> Endpoint {
        Endpoint { addr: self.client_addr, port: self.client_port }
    }

    /// The server's.
    #[must_use]
    pub const fn server(&self) -> Endpoint {
        Endpoint { addr: self.server_addr, port: self.server_port }
    }
}

/// Whether a packet belongs into the evidence of its attempt. The FINs and RSTs of an established connection prove
/// nothing about its handshake, what nobody asked for is no attempt, and the SYN that supersedes one is the next one's.
#[inline(always)]
#[must_use]
pub fn is_evidence(transition: Transition, after: &Handshake) -> bool {
    !matches!(
        (transition, after.state()),
        (
            Transition::Superseded
                | Transition::Closed
                | Transition::ResetByClient
                | Transition::ResetByServer
                | Transition::Replaced,
            _,
        ) | (Transition::Noted, State::Established)
            | (_, State::Unsolicited | State::Free)
    )
}
