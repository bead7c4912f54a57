//! Floods over many listeners: how coarse accounts have to be for what all of them let in to fit the table. Pure.
//!
//! A flood over a whole network, or over every port of a host, overflows no listener's account. It does overflow the sum:
//! each CPU keeps one of all that it lets in and that leads nowhere. While that is too much, SYNs are noted in a second
//! account as well, of the host; if that is still too much, of its network; and so on, until it fits.

use crate::{
    flood::{Account, Opening, Policy},
    flow::{Addr, Endpoint},
    handshake::Nanos,
};

/// Whom an account is of, the finest first: numbers as [`crate::flood::Account`] holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scope {
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

impl Scope {
    pub const ALL: [Self; 6] =
        [Self::Listener, Self::Host, Self::Network, Self::WideNetwork, Self::Client, Self::Everything];

    /// By its number.
    #[must_use]
    pub fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Everything)
    }

    /// How many bits of an address it is the prefix of, for a network.
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

/// Whose account of a coarser [`Scope`] notes an opening of a listener's. By number, which costs no table of what each means.
#[inline(always)]
#[must_use]
pub fn owner(opening: &Opening, scope: u8) -> Endpoint {
    const HOST: u8 = Scope::Host as u8;
    const NETWORK: u8 = Scope::Network as u8;
    const WIDE_NETWORK: u8 = Scope::WideNetwork as u8;
    const CLIENT: u8 = Scope::Client as u8;
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

/// What an attempt counts for that leads nowhere.
pub const SILENT: u32 = 8;
/// What one counts for that is refused: its slot is free again, and what is left is what it costs to tell of it.
pub const REFUSED: u32 = 1;

/// All that one CPU lets in: a leaky bucket as an account's, which holds [`SILENT`] for each attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Pressure {
    /// What came of those let in, by this CPU and by others: [`SILENT`] for each handshake that completed.
    pub settled: u64,
    pub settled_elsewhere: u64,
    settled_then: u64,
    /// What those are worth beside that which coarse accounts kept out, for which they stand.
    pub stood_for: u64,
    pub stood_for_elsewhere: u64,
    stood_for_then: u64,
    /// Until when it leaked.
    leaked: Nanos,
    /// SYNs of its own CPU, and the tick at which it was last looked at.
    seen: u32,
    tick: u32,
    /// What is let in and has led nowhere, since accounts became as coarse as they are.
    taken: u32,
    /// The same without that, and those that coarse accounts kept out.
    demand: u32,
    /// The [`Scope`] that accounts have beside those of listeners; zero: they have none.
    pub scope: u8,
    pad: [u8; 3],
    /// The packet that the accounts are asked about, and where they noted it until a slot takes that. Both lie here because
    /// the stack has no room for them.
    pub asked: Opening,
    pub notes: Notes,
}

const _: () = assert!(size_of::<Pressure>() == 192);

/// At least so often, in SYNs, the sum is looked at; else with each tick.
const LOOK_EVERY: u32 = 256;

impl Pressure {
    /// The scope of the account that a SYN is to be noted in as well. `policy` and `now` are asked when `tick` is another
    /// than before, and after so many SYNs.
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
            self.scope = (self.scope + 1).min(Scope::Everything as u8);
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

/// How much faster the sum leaks than an account, as a power of two.
const SUM_LEAKS: u32 = 3;

/// Where an opening was noted, and for how many it stands there: what its slot keeps of it.
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

    /// And noted in an account of a [`Scope`].
    #[inline(always)]
    #[must_use]
    pub const fn and(self, scope: u8, note: Note) -> Self {
        let place = if scope == Scope::Listener as u8 { 0 } else { Note::BITS };
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
