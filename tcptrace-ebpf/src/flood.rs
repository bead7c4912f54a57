//! Floods: which SYNs are let into the table of a listener that gets more than it answers. Pure; the kernel programs
//! keep an account for each listener, point and CPU, so that nobody waits for another.
//!
//! An account is a leaky bucket. Each SYN that opens an attempt adds one, each completed handshake takes one out, and
//! time takes some out. When it overflows, the listener is flooded: from then on every SYN is counted and one in a
//! power of two is let in, chosen by flow and ISN, so that the followed attempts are followed whole.

use core::sync::atomic::{Ordering::Release, compiler_fence};

use crate::{
    flow::{Addr, Endpoint},
    handshake::{Nanos, Point},
};

/// Accounts of a CPU: a power of two.
pub const ACCOUNTS: usize = 256;
/// Clients that an account remembers: one that came by in each of the last ticks of the clock.
pub const DRAWN: usize = 8;
/// An account looks at the clock with each tick, and at least once in this many SYNs; a coarse one more often, since it
/// may let in less.
const LOOK_EVERY: u64 = 1024;
const LOOK_COARSE_EVERY: u64 = 64;
/// The time that an account is assumed to have been its owner's when it overflows at the first look.
const AT_ONCE: u64 = 4_000_000;
/// One SYN in two to the power of this is let in at least.
const MOST: u8 = 24;
/// The power of two by which SYNs are let in more rarely than the bucket leaks.
const RARER: u32 = 3;

/// When a listener counts as flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Policy {
    /// Attempts that lead nowhere before an account overflows.
    pub burst: u32,
    /// The bucket leaks one attempt every two to the power of this nanoseconds.
    pub leak: u32,
    /// Attempts that lead nowhere before the sum of all overflows ([`crate::pressure`]).
    pub sum: u32,
}

impl Policy {
    /// Nothing counts as a flood, although accounts are kept.
    pub const NEVER: Self = Self { burst: u32::MAX / 4, leak: 0, sum: u32::MAX / 64 };

    /// The share of one listener in a table of `capacity` slots, of which each of `cpus` sees a part: a 32nd of the
    /// table in a burst, and from then on a 256th a second. With many CPUs each is allowed more than its part, lest a
    /// busy server on one of them count as flooded.
    #[must_use]
    pub const fn of(capacity: u64, cpus: u64) -> Self {
        let cpus = if cpus == 0 { 1 } else { cpus };
        let (part, room) = (capacity / 32 / cpus, capacity / 4 / cpus);
        let least = if room < 64 { 64 } else { room };
        let least = if least > 1024 { 1024 } else { least };
        let burst = if part < least { least } else { part };
        let every = (256_000_000_000 * cpus / if capacity == 0 { 1 } else { capacity }).next_power_of_two();
        let leak = every.trailing_zeros();
        let sum = capacity / 16 / cpus;
        let sum = if sum < least { least } else { sum };
        Self { burst: burst as u32, leak: if leak > 23 { 23 } else { leak }, sum: sum as u32 }
    }

    /// The limit for a host, a network or a client beside the limits of their listeners' accounts: many of them share
    /// the sum, at several points.
    #[inline(always)]
    #[must_use]
    pub const fn coarse(self) -> Self {
        Self { burst: self.sum / 8, ..self }
    }
}

/// A listener's account on one CPU, at one point of this host; or a coarser one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Account {
    /// The listener, or what [`crate::pressure::owner`] makes of it.
    pub addr: Addr,
    /// SYNs that came by, and SYN/ACKs of no attempt. This and all counters continue when the account changes hands.
    pub opens: u64,
    /// Those of `opens` that were not let in.
    pub passed: u64,
    /// The tick at which it was last looked at, of any clock that is cheap to read.
    tick: u32,
    /// The bucket's level.
    balance: u32,
    /// The place where the packets were seen.
    pub point: Point,
    pub port: u16,
    /// While flooded: one in two to the power of this is let in.
    pub shift: u8,
    /// A [`crate::pressure::Width`].
    pub scope: u8,
    /// The number of times that it changed hands: userspace compares it before and after.
    pub generation: u32,
    /// Clients drawn so far; the last of them are in `clients`.
    pub drawn: u32,
    /// SYN/ACKs among `opens`.
    pub answers: u64,

    /// Handshakes completed, in SYNs that came by: those that were let in stand for the others. By this CPU, and by
    /// others, which see the rest of some handshakes.
    pub completed: u64,
    pub completed_elsewhere: u64,
    completed_then: u64,
    opens_then: u64,
    /// Until when the bucket leaked, and when that was last seen to.
    leaked: Nanos,
    looked: Nanos,
    /// When the listener was last found flooded, and [`Account::opens`] before what then was in the bucket.
    pub flooded_at: Nanos,
    pub opens_before: u64,

    pub clients: [Addr; DRAWN],
}

const _: () = assert!(size_of::<Account>() == 256);

/// The facts that an account notes of a packet that would open an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The listener whose account is asked.
    pub owner: Endpoint,
    pub client: Addr,
    pub point: Point,
    /// Whether it is a SYN/ACK.
    pub answers: bool,
    /// A keyed hash of flow and ISN.
    pub draw: u32,
}

impl Account {
    /// Whether this is the owner's account.
    #[inline(always)]
    #[must_use]
    pub fn is_of(&self, owner: &Endpoint, scope: u8, point: Point) -> bool {
        self.port == owner.port && self.scope == scope && self.point == point && self.addr == owner.addr
    }

    /// Whether this is the owner's account, or is from now on. The former owner loses it when others come by more often
    /// than it opens attempts that lead nowhere.
    #[inline(always)]
    pub fn claim(&mut self, owner: &Endpoint, scope: u8, point: Point) -> bool {
        if self.is_of(owner, scope, point) {
            return true;
        }
        if self.balance > 0 {
            self.balance -= 1;
            return false;
        }
        // The generation first: a reader of the new owner reads it, too.
        self.generation = self.generation.wrapping_add(1);
        compiler_fence(Release);
        self.addr = owner.addr;
        self.port = owner.port;
        self.scope = scope;
        self.point = point;
        self.shift = 0;
        self.looked = Nanos(0);
        self.opens_then = self.opens;
        self.completed_then = self.completed.wrapping_add(self.completed_elsewhere);
        true
    }

    /// Counts a packet that would open an attempt, and returns whether it is let in. `policy` and `now` are called when
    /// `tick` has changed, and every `LOOK_EVERY` or `LOOK_COARSE_EVERY` packets.
    #[inline(always)]
    pub fn admit(
        &mut self,
        opening: &Opening,
        tick: u32,
        policy: impl FnOnce() -> Policy,
        now: impl FnOnce() -> Nanos,
    ) -> bool {
        self.opens += 1;
        self.answers += opening.answers as u64;
        let every = if self.scope == 0 { LOOK_EVERY } else { LOOK_COARSE_EVERY };
        let is_other = tick != self.tick;
        if is_other || self.opens & (every - 1) == 0 {
            self.tick = tick;
            self.look(policy(), now());
        }
        if is_other || self.opens & (LOOK_EVERY - 1) == 0 {
            self.clients[self.drawn as usize & (DRAWN - 1)] = opening.client;
            self.drawn = self.drawn.wrapping_add(1);
        }
        // A finer account lets in only draws whose low bits are zeros.
        let draw = if self.scope == 0 { opening.draw } else { opening.draw.swap_bytes() };
        if draw & ((1 << (self.shift & 31)) - 1) == 0 {
            return true;
        }
        self.passed += 1;
        self.balance += 1;
        false
    }

    /// An attempt was opened.
    #[inline(always)]
    pub fn open(&mut self) {
        self.balance += 1;
    }

    /// Lets the bucket leak, and finds out whether it overflows. It holds little more than what makes it overflow, so
    /// that a flood's end is noticed within seconds. A function of its own: its caller keeps its stack.
    #[inline(never)]
    fn look(&mut self, policy: Policy, now: Nanos) {
        let policy = if self.scope == 0 { policy } else { policy.coarse() };
        let leak = policy.leak & 31;
        let leaked = now.since(self.leaked) >> leak;
        let completed = self.completed.wrapping_add(self.completed_elsewhere);
        let out = leaked.saturating_add(completed.wrapping_sub(self.completed_then));
        let held = u64::from(self.balance).saturating_sub(out);
        let left = held.min(u64::from(policy.burst + policy.burst / 8));
        if left > u64::from(policy.burst) {
            if self.shift == 0 {
                self.flooded_at = now;
                self.opens_before = self.opens.wrapping_sub(held);
            }
            // One step at a time down, so that a pause of the flood does not open the gate.
            let opens = self.opens.wrapping_sub(self.opens_then);
            let took = if self.looked.0 == 0 { AT_ONCE } else { now.since(self.looked) };
            let wanted = rarity(opens << (leak + RARER), took);
            self.shift = wanted.max(self.shift.saturating_sub(1)).max(1);
        } else if leaked >= u64::from(self.balance) {
            self.shift = 0;
        } else if left < u64::from(policy.burst - policy.burst / 4) {
            // The share that one completed handshake stands for may empty the bucket, and the next SYNs fill it again.
            self.shift = self.shift.saturating_sub(1);
        }
        self.balance = left as u32;
        self.leaked.0 += leaked << leak;
        self.looked = now;
        self.completed_then = completed;
        self.opens_then = self.opens;
    }
}

/// The power of two by which `many` has to be divided to be about `few`.
#[inline(always)]
fn rarity(many: u64, few: u64) -> u8 {
    let few = few.max(1);
    let mut power = 0;
    let mut step = 16;
    // By halving the interval: BPF has no instruction that counts zeros.
    while step > 0 {
        if many >> (power + step) >= few {
            power += step;
        }
        step /= 2;
    }
    (power as u8).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 443 };
    const HERE: Point = Point(2);
    const SECOND: u64 = 1_000_000_000;
    /// The policy of the default table, on two CPUs.
    const POLICY: Policy = Policy::of(1 << 18, 2);

    /// An account and the time.
    struct Run {
        account: Account,
        nanos: u64,
        random: u32,
        let_in: u64,
        /// Handshakes to be completed: when, and whether they were let in.
        open: std::collections::VecDeque<(u64, Option<u64>)>,
    }

    impl Run {
        fn new() -> Self {
            let mut account = Account::default();
            assert!(account.claim(&SERVER, 0, HERE));
            Self { account, nanos: 100 * SECOND, random: 1, let_in: 0, open: Default::default() }
        }

        /// `rate` SYNs a second for some seconds; each is answered after `round_trip`, if that is given.
        fn goes_on(&mut self, rate: u64, seconds: u64, round_trip: Option<u64>) {
            for _ in 0..rate * seconds {
                self.nanos += SECOND / rate;
                while self.open.front().is_some_and(|(at, _)| *at <= self.nanos) {
                    if let Some((_, Some(weight))) = self.open.pop_front() {
                        self.account.completed += weight;
                    }
                }
                self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let draw = self.random >> 4;
                let opening = Opening { owner: SERVER, client: Addr::v4(draw), point: HERE, answers: false, draw };
                let now = self.nanos;
                assert!(self.account.claim(&SERVER, 0, HERE));
                let is_in = self.account.admit(&opening, (now / 4_000_000) as u32, || POLICY, || Nanos(now));
                if is_in {
                    self.account.open();
                }
                self.let_in += u64::from(is_in);
                let weight = is_in.then(|| 1 << self.account.shift);
                self.open.extend(round_trip.map(|it| (now + it, weight)));
            }
        }

        fn is_flooded(&self) -> bool {
            self.account.shift > 0
        }
    }

    #[test]
    fn a_flood_is_counted_exactly_and_sampled() {
        for rate in [2_000, 100_000, 5_000_000] {
            let mut run = Run::new();
            run.goes_on(rate, 4, None);
            assert!(run.is_flooded(), "{rate}");
            assert_eq!((run.account.opens, run.account.passed + run.let_in), (rate * 4, rate * 4));
            let before = run.let_in;
            run.goes_on(rate, 4, None);
            // An eighth of what leaks, as far as powers of two and chance allow.
            let sampled = (run.let_in - before) / 4;
            assert!((8..=120).contains(&sampled), "{sampled} a second of {rate}");
        }
    }

    #[test]
    fn a_busy_server_is_not_flooded() {
        let mut run = Run::new();
        run.goes_on(20_000, 5, Some(SECOND / 10));
        assert_eq!((run.is_flooded(), run.account.passed), (false, 0));
        // Nor one that fails now and then: four hundred times a second, for a minute.
        run.goes_on(400, 60, None);
        assert_eq!((run.is_flooded(), run.account.passed), (false, 0));
    }

    #[test]
    fn a_flood_ends() {
        let mut run = Run::new();
        run.goes_on(1_000_000, 2, None);
        assert!(run.is_flooded());
        run.goes_on(100, 20, Some(SECOND / 100));
        assert!(!run.is_flooded());
        let passed = run.account.passed;
        run.goes_on(10_000, 2, Some(SECOND / 100));
        assert_eq!(run.account.passed, passed);
    }

    /// A crowd that came faster than it was answered, and is answered: what is let in stands for the rest.
    #[test]
    fn a_crowd_is_let_in_again() {
        let mut run = Run::new();
        run.goes_on(100_000, 1, None);
        assert!(run.is_flooded());
        run.goes_on(50_000, 60, Some(SECOND / 100));
        assert!(!run.is_flooded(), "balance {}", run.account.balance);
    }

    #[test]
    fn who_leads_nowhere_keeps_the_account() {
        let other = Endpoint { port: 80, ..SERVER };
        let mut run = Run::new();
        run.goes_on(10_000, 1, None);
        let generation = run.account.generation;
        assert!(!run.account.claim(&other, 0, HERE));
        assert!(run.account.is_of(&SERVER, 0, HERE));
        // An owner whose attempts all lead somewhere loses the account.
        run.account.balance = 0;
        assert!(run.account.claim(&other, 0, HERE) && run.account.is_of(&other, 0, HERE));
        assert_eq!(run.account.generation, generation + 1);
    }

    #[test]
    fn the_clients_of_the_last_ticks_are_kept() {
        let mut run = Run::new();
        run.goes_on(10_000, 1, None);
        assert!(run.account.drawn >= 200, "{}", run.account.drawn);
        assert!(run.account.clients.iter().all(|it| it.is_v4()));
    }
}
