//! Floods over many listeners: how coarse accounts have to be so that the table holds all that they let in. Pure.
//!
//! A flood over a whole network, or over every port of a host, overflows no listener's account. It does overflow the
//! sum that each CPU keeps of everything it lets in and that leads nowhere. While that sum is too high, SYNs are also
//! noted in a second account, the host's; if it is still too high, in the network's; and so on, until it fits.

use crate::{
    flood::{Account, Opening, Policy},
    flow::{Addr, Endpoint},
    handshake::Nanos,
};

/// The owner of an account, the finest first: numbers as [`crate::flood::Account`] holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Width {
    /// One port of one host.
    #[default]
    Listener,
    /// All ports of a host.
    Host,
    /// A /24, in IPv6 a /48.
    Network,
    /// A /16, in IPv6 a /32.
    WideNetwork,
    /// All that one client asks, of whomever.
    Client,
    /// Whatever there is.
    Everything,
}

impl Width {
    pub const ALL: [Self; 6] =
        [Self::Listener, Self::Host, Self::Network, Self::WideNetwork, Self::Client, Self::Everything];

    /// By its number.
    #[must_use]
    pub fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Everything)
    }

    /// The number of bits in the prefix of a network.
    #[must_use]
    pub const fn prefix(self, is_v4: bool) -> Option<u32> {
        match (self, is_v4) {
            (Self::Network, true) => Some(24),
            (Self::Network, false) => Some(48),
            (Self::WideNetwork, true) => Some(16),
            (Self::WideNetwork, false) => Some(32),
            (Self::Listener | Self::Host | Self::Client | Self::Everything, _) => None,
        }
    }
}

/// The owner of the account of a coarser [`Width`] that notes a listener's opening. By number, which costs no table of
/// their meanings.
#[inline(always)]
#[must_use]
pub fn owner(opening: &Opening, scope: u8) -> Endpoint {
    const HOST: u8 = Width::Host as u8;
    const NETWORK: u8 = Width::Network as u8;
    const WIDE_NETWORK: u8 = Width::WideNetwork as u8;
    const CLIENT: u8 = Width::Client as u8;
    let masked = |v4: u64, v6: u64| {
        let Addr { hi, lo } = opening.owner.addr;
        if opening.owner.addr.is_v4() { Addr { hi, lo: lo & v4 } } else { Addr { hi: hi & v6, lo: 0 } }
    };
    let addr = match scope {
        HOST => opening.owner.addr,
        NETWORK => masked(!0xff, !0xffff),
        WIDE_NETWORK => masked(!0xffff, !0xffff_ffff),
        CLIENT => opening.client,
        _ => Addr { hi: 0, lo: 0 },
    };
    Endpoint { addr, port: 0 }
}

/// The weight of an attempt that leads nowhere.
pub const SILENT: u32 = 8;
/// The weight of a refused one: its slot is free again, and only reporting it costs anything.
pub const REFUSED: u32 = 1;

/// All that one CPU lets in: a leaky bucket as an account's, which holds [`SILENT`] for each attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Pressure {
    /// The weight given back by attempts that were let in, by this CPU and by others: [`SILENT`] for each that
    /// completed, [`REFUSED`] less for each that was refused or given up.
    pub settled: u64,
    pub settled_elsewhere: u64,
    settled_then: u64,
    /// The additional weight of those handshakes, because they stand for attempts that coarse accounts kept out.
    pub stood_for: u64,
    pub stood_for_elsewhere: u64,
    stood_for_then: u64,
    /// Until when it leaked.
    leaked: Nanos,
    /// SYNs of its own CPU, and the tick at which it was last looked at.
    seen: u32,
    tick: u32,
    /// The weight let in that has led nowhere, since accounts became as coarse as they are.
    taken: u32,
    /// The same, but not reset when accounts become coarser, and with the attempts that coarse accounts kept out.
    demand: u32,
    /// The [`Width`] that accounts have beside those of listeners; zero: they have none.
    pub scope: u8,
    pad: [u8; 3],
    /// The packet that the accounts are asked about, and where they noted it until a slot takes that. Both lie here
    /// because the stack has no room for them.
    pub asked: Opening,
    pub notes: Notes,
}

const _: () = assert!(size_of::<Pressure>() == 192);

/// The sum is looked at with each tick, and at least once in this many SYNs.
const LOOK_EVERY: u32 = 256;

impl Pressure {
    /// The scope of the account that a SYN is also to be noted in. `policy` and `now` are called when `tick` has
    /// changed, and every `LOOK_EVERY` SYNs.
    #[inline(always)]
    pub fn scope_for(&mut self, tick: u32, policy: impl FnOnce() -> Policy, now: impl FnOnce() -> Nanos) -> u8 {
        self.seen = self.seen.wrapping_add(1);
        if tick != self.tick || self.seen & (LOOK_EVERY - 1) == 0 {
            self.tick = tick;
            self.look(policy(), now());
        }
        self.scope
    }

    /// An attempt was opened.
    #[inline(always)]
    pub fn open(&mut self) {
        self.taken += SILENT;
        self.demand += SILENT;
    }

    /// A coarse account kept a SYN out.
    #[inline(always)]
    pub fn keep_out(&mut self) {
        self.demand += SILENT;
    }

    /// A function of its own, as [`crate::flood::Account`]'s.
    #[inline(never)]
    fn look(&mut self, policy: Policy, now: Nanos) {
        let leak = policy.leak.saturating_sub(SUM_LEAKS) & 31;
        let leaked = now.since(self.leaked) >> leak;
        let settled = self.settled.wrapping_add(self.settled_elsewhere);
        let stood_for = self.stood_for.wrapping_add(self.stood_for_elsewhere);
        let out = leaked.saturating_mul(SILENT.into()).saturating_add(settled.wrapping_sub(self.settled_then));
        let sum = policy.sum * SILENT;
        let taken = u64::from(self.taken).saturating_sub(out);
        let out = out.saturating_add(stood_for.wrapping_sub(self.stood_for_then));
        // Little more than the whole, so that its end is noticed within seconds.
        let demand = u64::from(self.demand).saturating_sub(out).min(u64::from(sum + sum / 8));
        self.taken = taken as u32;
        if taken > u64::from(sum) {
            self.taken = 0;
            self.scope = (self.scope + 1).min(Width::Everything as u8);
        }
        if demand == 0 {
            self.scope = 0;
        }
        self.demand = demand as u32;
        self.leaked.0 += leaked << leak;
        self.settled_then = settled;
        self.stood_for_then = stood_for;
    }
}

/// The power of two by which the sum leaks faster than an account.
const SUM_LEAKS: u32 = 3;

/// The accounts that an opening is noted in, and the weight with which it stands there: its slot keeps this.
///
/// A word, as the verifier likes it: from the lowest bit 24 for its listener's account, as many for a coarser
/// one, one that says whether the sum has it, and the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Notes(pub u64);

/// An account of a CPU and whose it was, by the last bits of its generation; and for how many an attempt stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note(u32);

impl Note {
    const BITS: u32 = 24;
    const IS_ONE: u32 = 1 << 13;
    const GENERATION: u32 = 14;

    /// In the account of this number among those of its CPU.
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u32, account: &Account) -> Self {
        let generation = account.generation << Self::GENERATION & ((1 << Self::BITS) - 1);
        Self(generation | Self::IS_ONE | (account.shift as u32 & 31) << 8 | number & 0xff)
    }

    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 & 0xff
    }

    /// Whether that account is still whose it was.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, account: &Account) -> bool {
        (self.0 >> Self::GENERATION ^ account.generation) & ((1 << (Self::BITS - Self::GENERATION)) - 1) == 0
    }

    /// For how many it stands.
    #[inline(always)]
    #[must_use]
    pub const fn weight(self) -> u64 {
        1 << (self.0 >> 8 & 31)
    }
}

impl Notes {
    /// Noted nowhere: there is no such CPU.
    pub const NOWHERE: Self = Self::new(0x3fff);
    /// Set in what counts in the sum.
    const IN_SUM: u64 = 1 << (2 * Note::BITS);
    const CPU: u32 = 2 * Note::BITS + 1;

    /// Let in by a CPU.
    #[inline(always)]
    #[must_use]
    pub const fn new(cpu: u32) -> Self {
        Self((cpu as u64) << Self::CPU)
    }

    /// And counted in the sum.
    #[inline(always)]
    #[must_use]
    pub const fn in_sum(self) -> Self {
        Self(self.0 | Self::IN_SUM)
    }

    #[inline(always)]
    #[must_use]
    pub const fn is_in_sum(self) -> bool {
        self.0 & Self::IN_SUM != 0
    }

    /// And noted in an account of a [`Width`].
    #[inline(always)]
    #[must_use]
    pub const fn and(self, scope: u8, note: Note) -> Self {
        let place = if scope == Width::Listener as u8 { 0 } else { Note::BITS };
        Self(self.0 | (note.0 as u64) << place)
    }

    #[inline(always)]
    #[must_use]
    pub const fn cpu(self) -> u32 {
        (self.0 >> Self::CPU) as u32
    }

    /// The note in the listener's account, and the one in a coarser account.
    #[inline(always)]
    #[must_use]
    pub const fn each(self) -> [Option<Note>; 2] {
        const fn note(bits: u64) -> Option<Note> {
            let bits = bits as u32 & ((1 << Note::BITS) - 1);
            if bits & Note::IS_ONE == 0 { None } else { Some(Note(bits)) }
        }
        [note(self.0), note(self.0 >> Note::BITS)]
    }
}
