//! The values that userspace fixes before the kernel programs load: one structure, one global.
//!
//! The programs read single fields of it from read-only memory. The verifier knows their values, and drops the code
//! that a value rules out. Sizes of maps are not here: they are set at the maps.

use crate::{connect::SocketOffsets, drops::FieldOffsets, flood::Policy, flow::HashKey};

/// The programs' configuration. Switches are bytes: 0 is off, 1 is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// The key of all hashes of flows.
    pub hash_key: HashKey,
    /// The number of the table's sets, a power of two, minus one.
    pub set_mask: u64,
    /// Nanoseconds after which a completed handshake is late.
    pub stall_after: u64,
    /// The number of places for calls of connect(2), a power of two.
    pub connect_places: u64,
    /// The number of places for dropped packets, a power of two, minus one.
    pub drop_mask: u64,
    /// The cookie of the one network namespace whose drops are noted; 0 for every namespace.
    pub drop_netns: u64,
    /// When a listener counts as flooded.
    pub flood: Policy,
    /// Drop reasons that are not noted: consumed packets, and those without a reason. `u32::MAX` is none.
    pub skipped_reasons: [u32; 4],
    /// The offsets, in the running kernel, of the fields that the hook of drops reads.
    pub offsets: FieldOffsets,
    /// The same for the hooks of sockets.
    pub socket_offsets: SocketOffsets,
    /// Whether every completed handshake and its end are reported.
    pub tell_all: u8,
    /// Whether the map `FILTER` holds a filter.
    pub filtered: u8,
    /// Whether the packets of attempts are sent to userspace.
    pub keep_packets: u8,
    /// Whether the attached programs look into tunnels.
    pub decap: u8,
    /// Whether programs of connect(2) can read another's refusal (`bpf_get_retval`, Linux 6.1).
    pub reads_refusals: u8,
    /// Zero: makes the size a multiple of eight.
    pub pad: [u8; 3],
}

const _: () = assert!(size_of::<Config>() == 208 && align_of::<Config>() == 8);

impl Config {
    /// The values in the object until userspace sets its own: one set, nothing filtered, no floods.
    pub const UNSET: Self = Self {
        hash_key: HashKey(0, 0),
        set_mask: 0,
        stall_after: 3_000_000_000,
        connect_places: 1,
        drop_mask: 0,
        drop_netns: 0,
        flood: Policy { burst: 0, leak: 0, sum: 0 },
        skipped_reasons: [u32::MAX; 4],
        offsets: FieldOffsets::NONE,
        socket_offsets: SocketOffsets::NONE,
        tell_all: 0,
        filtered: 0,
        keep_packets: 0,
        decap: 0,
        reads_refusals: 0,
        pad: [0; 3],
    };
}
