//! What the kernel side keeps, how much of it, and what happens when it is full.
//!
//! | map | holds | when full |
//! | --- | --- | --- |
//! | `SETS`, `SLOTS`, `OUTERS` | the attempts, [`WAYS`] to a set | the set's oldest settled attempt makes room, else its oldest, counted |
//! | `TALLY` | counters | they wrap |
//! | `ACCOUNTS` | what each CPU knows of listeners | the listener that opens more attempts that lead nowhere stays |
//! | `PRESSURE` | the sum of what a CPU lets in | accounts become coarser |
//! | `EVENTS` | transitions worth telling | the event is counted as lost, by kind |
//! | `PACKETS` | the packets of attempts, if evidence is asked for | the packet is counted as lost |
//! | `FILTER` | the filter, a test an entry | a filter that does not fit stays in userspace |
//!
//! What the host knows beside the packets has maps of its own: `sockets`, `dropped`.
//!
//! Both sides of one attempt may come by on two CPUs at once, so a set is looked through and changed under its lock.
//! Whoever finds it taken tries [`SPINS`] times and then counts the segment as lost: nobody waits for long. The
//! directory's tags are read without the lock as well, as a hint.
#![expect(unsafe_code, reason = "map values are raw memory shared with other CPUs")]

use core::{
    arch::asm,
    intrinsics,
    intrinsics::AtomicOrdering::SeqCst,
    ptr,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::{
    Global,
    helpers::{bpf_get_smp_processor_id, bpf_jiffies64, bpf_ktime_get_ns},
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use tcptrace_core::{
    event::{Counter, Event, TRANSITIONS, Tally, Telling, VERSION},
    flood::{self, Account, Opening, Policy},
    flow::{self, Addr, Endpoint, HashKey},
    handshake::{Handshake, Nanos, Point, State, Transition},
    predicate::{self, Test},
    pressure::{self, Note, Pressure, Scope, Standing},
    segment::{Flags, Kind, Located},
    seq::Seq,
    snapshot::{self, SNAPLEN, Snapshot},
    table::{PENDING, Set, Slot, WAYS},
    tunnel::Outer,
};

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h): userspace reads the table without a system call an entry.
pub(crate) const MMAPABLE: u32 = 1 << 10;

/// Attempts to take a set's lock, each of which waits for as long as the clock takes to read, some 30 ns. Its holder runs
/// some hundred instructions.
const SPINS: u32 = 64;

#[map]
static SETS: Array<Set> = Array::with_max_entries(1, MMAPABLE);
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(WAYS as u32, MMAPABLE);
/// The tunnels of the attempts in [`SLOTS`], where programs look into tunnels; else one entry that nobody reads.
#[map]
static OUTERS: Array<Outer> = Array::with_max_entries(1, MMAPABLE);
/// [`flood::ACCOUNTS`] for each CPU.
#[map]
static ACCOUNTS: Array<Account> = Array::with_max_entries(1, MMAPABLE);
/// One for each CPU.
#[map]
static PRESSURE: Array<Pressure> = Array::with_max_entries(1, 0);
#[map]
static TALLY: PerCpuArray<Tally> = PerCpuArray::with_max_entries(1, 0);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
static PACKETS: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
static FILTER: Array<Test> = Array::with_max_entries(predicate::LENGTH as u32, 0);

// Set before the programs load; the verifier treats them as constants. Map sizes are set then as well.
#[unsafe(no_mangle)]
static HASH_KEY_0: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static HASH_KEY_1: Global<u64> = Global::new(0);
/// Number of sets, a power of two, less one.
#[unsafe(no_mangle)]
static SET_MASK: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static STALL_AFTER: Global<u64> = Global::new(3_000_000_000);
#[unsafe(no_mangle)]
static TELL_ALL: Global<u8> = Global::new(0);
#[unsafe(no_mangle)]
static FILTERED: Global<u8> = Global::new(0);
#[unsafe(no_mangle)]
static KEEP_PACKETS: Global<u8> = Global::new(0);
#[unsafe(no_mangle)]
static DECAP: Global<u8> = Global::new(0);
/// A [`Policy`].
#[unsafe(no_mangle)]
static FLOOD_BURST: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FLOOD_LEAK: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FLOOD_SUM: Global<u32> = Global::new(0);

#[inline(always)]
pub(crate) fn hash_key() -> HashKey {
    HashKey(HASH_KEY_0.load(), HASH_KEY_1.load())
}

#[inline(always)]
fn telling() -> Telling {
    Telling { all: TELL_ALL.load() != 0, stall_after: STALL_AFTER.load() }
}

/// Whether the programs that look into tunnels are those that are attached.
#[inline(always)]
pub(crate) fn looks_into_tunnels() -> bool {
    DECAP.load() != 0
}

#[inline(always)]
pub(crate) fn now() -> Nanos {
    // SAFETY: a helper without arguments.
    Nanos(unsafe { bpf_ktime_get_ns() })
}

/// This CPU's counters.
#[inline(always)]
pub(crate) fn tally() -> Option<&'static mut Tally> {
    // SAFETY: a per-CPU value, and programs on one CPU do not preempt each other. On PREEMPT_RT they may: the cost is a
    // lost increment.
    TALLY.get_ptr_mut(0).map(|it| unsafe { &mut *it })
}

#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(tally) = tally() {
        tally.counters[counter as usize] += 1;
    }
}

/// Counts a segment that belongs to no attempt and opens none.
#[inline(always)]
pub(crate) fn count_unmatched(kind: Kind) {
    match kind {
        Kind::SynAck => count(Counter::AnswerUnmatched),
        Kind::Rst => count(Counter::RstUnmatched),
        Kind::Fin => count(Counter::FinUnmatched),
        Kind::Syn | Kind::Ack | Kind::Null => {}
    }
}

/// Whether the filter wants an attempt whose SYN this is, or whose SYN/ACK.
#[inline(always)]
pub(crate) fn wants(it: &Located) -> bool {
    if FILTERED.load() == 0 {
        return true;
    }
    let back = u64::from(it.flags.any(Flags::ACK));
    let mut next = 0;
    for _ in 0..predicate::LENGTH {
        let Some(test) = FILTER.get(next) else { break };
        // Of where it leads the verifier is to know nothing: it would follow each way.
        next = forget(test.next(it.src, it.dst, back) as usize, it.src.addr.lo as usize) as u32;
    }
    next == predicate::ACCEPT as u32
}

/// Counts a packet that would open an attempt in its listener's account, and in a coarser one where that is called for;
/// whether it is let in.
#[inline(always)]
pub(crate) fn lets_in(it: &Opening) -> bool {
    // SAFETY: helpers without arguments.
    let (cpu, tick) = unsafe { (bpf_get_smp_processor_id(), bpf_jiffies64() as u32) };
    let Some(sum) = pressure(cpu) else { return true };
    sum.asked = *it;
    sum.standing = Standing::new(cpu);
    if !judge(sum, cpu, Scope::Listener as u8) {
        return false;
    }
    // Of SYN/ACKs none takes a slot that another waits for.
    if sum.asked.answers {
        return true;
    }
    sum.standing = sum.standing.in_sum();
    if sum.scope_for(tick, policy, now) == Scope::Listener as u8 {
        return true;
    }
    sum.asked.owner = pressure::owner(&sum.asked, sum.scope);
    let lets_in = judge(sum, cpu, sum.scope);
    if !lets_in {
        sum.keep_out();
    }
    lets_in
}

/// Where the packet that is looked at would be noted.
#[inline(always)]
pub(crate) fn standing() -> Standing {
    // SAFETY: a helper without arguments.
    pressure(unsafe { bpf_get_smp_processor_id() }).map_or(Standing::NOWHERE, |it| it.standing)
}

/// It is noted nowhere, not wanted, or kept out.
#[inline(always)]
pub(crate) fn stand(it: Standing) {
    // SAFETY: a helper without arguments.
    if let Some(pressure) = pressure(unsafe { bpf_get_smp_processor_id() }) {
        pressure.standing = it;
    }
}

/// Whether one account lets in what it is asked about. A function of its own, so that its caller keeps its stack.
#[inline(never)]
fn judge(sum: &mut Pressure, cpu: u32, scope: u8) -> bool {
    let with = u64::from(sum.asked.point.0) | u64::from(scope) << 32;
    let number = flow::hash_one(hash_key(), sum.asked.owner, with) as u32;
    let Some(account) = account(cpu, number) else { return true };
    let mut again = &raw mut *sum;
    // Opaque to the compiler, so that what was read of it is read again and not kept on a stack of 32 octets.
    // SAFETY: a register is moved to itself, and points where it did.
    let sum = unsafe {
        asm!("{0} = {0}", inout(reg) again, options(nostack, preserves_flags));
        &mut *again
    };
    if !account.claim(&sum.asked.owner, scope, sum.asked.point) {
        return true;
    }
    // SAFETY: a helper without arguments.
    let tick = unsafe { bpf_jiffies64() as u32 };
    let lets_in = account.lets_in(&sum.asked, tick, policy, now);
    sum.standing = sum.standing.and(scope, Note::new(number, account));
    lets_in
}

#[inline(always)]
fn policy() -> Policy {
    Policy { burst: FLOOD_BURST.load(), leak: FLOOD_LEAK.load(), sum: FLOOD_SUM.load() }
}

/// One of a CPU's accounts.
#[inline(always)]
fn account(cpu: u32, number: u32) -> Option<&'static mut Account> {
    // SAFETY: a map value, which is never freed. Its CPU alone writes it, but for what others complete, which is a word
    // of its own; userspace reads words.
    ACCOUNTS.get_ptr_mut(cpu * ACCOUNTS_EACH + number % ACCOUNTS_EACH).map(|it| unsafe { &mut *it })
}

const ACCOUNTS_EACH: u32 = flood::ACCOUNTS as u32;

#[inline(always)]
fn pressure(cpu: u32) -> Option<&'static mut Pressure> {
    // SAFETY: as above.
    PRESSURE.get_ptr_mut(cpu).map(|it| unsafe { &mut *it })
}

/// An attempt was opened that is noted in accounts of this CPU, or nowhere.
#[inline(never)]
pub(crate) fn note_opening(it: Standing) {
    let Some(pressure) = pressure(it.cpu()) else { return };
    if it.is_in_sum() {
        pressure.open();
    }
    for note in it.notes().into_iter().flatten() {
        if let Some(account) = account(it.cpu(), note.number()) {
            account.open();
        }
    }
}

/// An attempt whose opening was noted in accounts completed, or was refused or given up.
#[inline(never)]
pub(crate) fn settle(it: Standing, completed: bool) {
    // SAFETY: a helper without arguments.
    let is_here = it.cpu() == unsafe { bpf_get_smp_processor_id() };
    let Some(pressure) = pressure(it.cpu()) else { return };
    let [fine, coarse] = it.notes();
    if it.is_in_sum() {
        let eased = u64::from(if completed { pressure::SILENT } else { pressure::SILENT - pressure::REFUSED });
        credit(&mut pressure.settled, &raw mut pressure.settled_elsewhere, eased, is_here);
        if let Some(note) = coarse {
            let more = eased * (note.weight() - 1);
            credit(&mut pressure.stood_for, &raw mut pressure.stood_for_elsewhere, more, is_here);
        }
    }
    if !completed {
        return;
    }
    for note in [fine, coarse].into_iter().flatten() {
        if let Some(account) = account(it.cpu(), note.number()).filter(|it| note.is_of(it)) {
            credit(&mut account.completed, &raw mut account.completed_elsewhere, note.weight(), is_here);
        }
    }
}

/// Adds to what a CPU alone counts, or to what others add to as well.
#[inline(always)]
fn credit(here: &mut u64, elsewhere: *mut u64, weight: u64, is_here: bool) {
    if is_here {
        *here += weight;
    } else {
        // SAFETY: an aligned word of a map value.
        unsafe { intrinsics::atomic_xadd::<u64, u64, { SeqCst }>(elsewhere, weight) };
    }
}

/// A set of the table, found by a flow's hash.
#[derive(Clone, Copy)]
pub(crate) struct SetRef {
    set: *mut Set,
    index: u32,
}

#[inline(always)]
pub(crate) fn set_of(hash: u64) -> Option<SetRef> {
    let index = (hash & SET_MASK.load()) as u32;
    Some(SetRef { set: SETS.get_ptr_mut(index)?, index })
}

impl SetRef {
    /// Whether a pending attempt carries this tag, as far as can be told without the lock.
    #[inline(always)]
    pub(crate) fn may_be_pending(self, tag: u16) -> bool {
        // SAFETY: a map value, which is never freed; its words are read whole.
        unsafe { &*self.set }.has_pending(tag)
    }

    /// Whether any attempt does.
    #[inline(always)]
    pub(crate) fn may_have(self, tag: u16) -> bool {
        // SAFETY: as above.
        unsafe { &*self.set }.has(tag)
    }

    /// Takes the set, unless other CPUs hold it all the time: then a segment is counted as lost.
    #[inline(always)]
    pub(crate) fn lock(self) -> Option<Held> {
        // SAFETY: `set` is a map value; the version is read and exchanged whole.
        let version = unsafe { ptr::addr_of_mut!((*self.set).version) };
        for _ in 0..SPINS {
            // SAFETY: as above.
            let seen = unsafe { ptr::read_volatile(version) };
            // SAFETY: as above.
            if seen & 1 == 0 && unsafe { exchange(version, seen, seen + 1) } {
                return Some(Held { of: self, version: seen + 1 });
            }
            // Many turns of a loop that does nothing would be many instructions to the verifier.
            let _ = now();
        }
        count(Counter::Contended);
        None
    }
}

/// A set under its lock. [`Held::release`] gives it back; there is no Drop, so that the verifier sees every path.
pub(crate) struct Held {
    of: SetRef,
    version: u64,
}

impl Held {
    /// The directory.
    #[inline(always)]
    pub(crate) fn set(&mut self) -> &mut Set {
        // SAFETY: the lock is held; who reads without it reads words.
        unsafe { &mut *self.of.set }
    }

    /// A way's slot.
    #[inline(always)]
    pub(crate) fn slot(&mut self, way: usize) -> Option<&'static mut Slot> {
        let slot = SLOTS.get_ptr_mut(self.of.index * WAYS as u32 + (way & (WAYS - 1)) as u32)?;
        // SAFETY: a map value, which is never freed; the lock is held, and userspace only reads.
        Some(unsafe { &mut *slot })
    }

    /// A way's attempt.
    #[inline(always)]
    pub(crate) fn handshake(&mut self, way: usize) -> Option<&'static mut Handshake> {
        self.slot(way).map(|it| &mut it.handshake)
    }

    /// Notes the tunnel that a way's attempt came by.
    #[inline(always)]
    pub(crate) fn set_outer(&mut self, way: usize, outer: Outer) {
        let index = self.of.index * WAYS as u32 + (way & (WAYS - 1)) as u32;
        if let Some(to) = OUTERS.get_ptr_mut(index) {
            // SAFETY: a map value, which is never freed; the lock is held, and userspace only reads.
            unsafe { to.write(outer) };
        }
    }

    /// The way that holds a flow's attempt.
    #[inline(always)]
    pub(crate) fn find(&mut self, tag: u16, src: Endpoint, dst: Endpoint) -> Option<usize> {
        (0..WAYS).find(|&way| {
            self.set().lane(way) & !PENDING == tag && self.handshake(way).is_some_and(|it| it.side(src, dst).is_some())
        })
    }

    /// The way that something less than an attempt may take: never that of one that is pending.
    #[inline(always)]
    pub(crate) fn spare_room(&mut self) -> Option<usize> {
        let way = self.set().to_replace();
        match self.set().lane(way) {
            0 => Some(way),
            it if it & PENDING == 0 => {
                count(Counter::ReplacedSettled);
                Some(way)
            }
            _ => None,
        }
    }

    /// The way whose slot a new attempt takes, counted as what is in it. An attempt that has been silent for longer than
    /// any stack waits between two tries is as good as settled; what nobody asked for is no loss.
    #[inline(always)]
    pub(crate) fn make_room(&mut self, now: Nanos) -> usize {
        let oldest = self.set().oldest();
        if self.set().lane(oldest) & PENDING != 0 && self.handshake(oldest).is_some_and(|it| it.is_dead(now)) {
            count(Counter::ReplacedSettled);
            return oldest;
        }
        let way = self.set().to_replace();
        match self.set().lane(way) {
            0 => {}
            it if it & PENDING == 0 => count(Counter::ReplacedSettled),
            _ => match self.handshake(way) {
                Some(it) if it.state() != State::Unasked => {
                    count(Counter::ReplacedPending);
                    if let Some(tally) = tally() {
                        tally.replaced_at_age(now.since(it.first_syn));
                    }
                }
                _ => count(Counter::ReplacedSettled),
            },
        }
        way
    }

    /// Everything written under the lock is seen by whoever takes it next, or finds the version unchanged.
    #[inline(always)]
    pub(crate) fn release(self) {
        // SAFETY: a map value, taken by [`SetRef::lock`].
        unsafe { end(ptr::addr_of_mut!((*self.of.set).version), self.version) };
    }
}

/// Begins to change what a version is part of, and the version while it is changed; `None`: another is at it. For records
/// that are worth less than to wait for.
///
/// # Safety
/// An aligned word of a map value.
#[inline(always)]
pub(crate) unsafe fn begin(version: *mut u64) -> Option<u64> {
    // SAFETY: the caller's; the version is read and exchanged whole.
    unsafe {
        let seen = ptr::read_volatile(version);
        (seen & 1 == 0 && exchange(version, seen, seen + 1)).then_some(seen + 1)
    }
}

/// Ends that.
///
/// # Safety
/// As above, and the version is what it was made when it began.
#[inline(always)]
pub(crate) unsafe fn end(version: *mut u64, held: u64) {
    // SAFETY: the caller's; nobody else changes the version while it is odd.
    unsafe {
        if cfg!(bpf_target_arch = "x86_64") {
            // The processor does not reorder stores; nor may the compiler.
            compiler_fence(Ordering::Release);
            version.write_volatile(held + 1);
        } else {
            exchange(version, held, held + 1);
        }
    }
}

/// Replaces `old` by `new`, and whether that is what was there. Ordered on every CPU against all before and after it.
#[inline(always)]
unsafe fn exchange(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the caller's: an aligned word of a map value.
    unsafe { intrinsics::atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(word, old, new).1 }
}

/// A number that the verifier knows nothing of any more; `unknown` is one that it never knew anything of.
#[inline(always)]
pub(crate) fn forget(number: usize, unknown: usize) -> usize {
    let mut it = number;
    // SAFETY: two operations on a register that undo each other.
    unsafe { asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) it, in(reg) unknown, options(pure, nomem, nostack)) };
    it
}

/// The packet behind a transition, as an event tells it.
#[derive(Clone, Copy)]
pub(crate) struct Cause {
    pub(crate) from: Addr,
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    pub(crate) window: u16,
    pub(crate) flags: u8,
    pub(crate) ttl: u8,
}

impl Cause {
    /// No packet is behind it.
    const NONE: Self = Self { from: Addr { hi: 0, lo: 0 }, seq: Seq(0), ack: Seq(0), window: 0, flags: 0, ttl: 0 };
}

/// Counts a transition, and tells it if it is worth telling.
#[inline(always)]
pub(crate) fn tell(transition: Transition, handshake: &Handshake, cause: &Cause, time: Nanos, point: Point) {
    let index = forget(transition as usize, time.0 as usize) & (TRANSITIONS - 1);
    if let Some(tally) = tally() {
        tally.count(index, handshake);
    }
    if telling().tells(transition, handshake) {
        emit(transition, handshake, cause, time, point);
    }
}

/// Tells of a connection that was told of when it opened and whose slot goes to another.
#[inline(always)]
pub(crate) fn tell_replaced(handshake: &Handshake, time: Nanos) {
    if telling().all && telling().tells(Transition::Replaced, handshake) {
        emit(Transition::Replaced, handshake, &Cause::NONE, time, Point(0));
    }
}

/// A function of its own, so that its callers keep their stack.
#[inline(never)]
fn emit(transition: Transition, handshake: &Handshake, cause: &Cause, time: Nanos, point: Point) {
    let index = forget(transition as usize, time.0 as usize) & (TRANSITIONS - 1);
    match EVENTS.reserve::<Event>(0) {
        Some(mut record) => {
            let Cause { from, seq, ack, window, flags, ttl } = *cause;
            record.write(Event {
                version: VERSION,
                transition: transition as u8,
                size: size_of::<Event>() as u16,
                point,
                time,
                handshake: *handshake,
                from,
                seq,
                ack,
                window,
                flags,
                ttl,
                pad: 0,
            });
            record.submit(0);
        }
        None => {
            if let Some(tally) = tally() {
                tally.lose(index);
            }
        }
    }
}

/// A packet as a hook has it.
pub(crate) trait Octets {
    /// Octets on the wire.
    fn length(&self) -> u32;

    /// Copies the first octets; whether that was possible.
    ///
    /// # Safety
    /// `to` has room for `length` octets.
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool;
}

/// `BPF_RB_NO_WAKEUP` (include/uapi/linux/bpf.h): evidence is read by the clock.
const NO_WAKEUP: u64 = 1;

/// Sends a packet up where evidence is asked for.
#[inline(always)]
pub(crate) fn keep<O: Octets>(packet: &O, transition: Transition, it: &Handshake, time: Nanos, point: Point) {
    if KEEP_PACKETS.load() != 0 && snapshot::is_evidence(transition, it) {
        send_up(packet, transition, it, time, point);
    }
}

/// As with [`emit`]. What the arguments say is written first: what does not live across the calls takes no stack.
#[inline(never)]
fn send_up<O: Octets>(packet: &O, transition: Transition, it: &Handshake, time: Nanos, point: Point) {
    let Some(mut record) = PACKETS.reserve::<Snapshot>(0) else { return count(Counter::EvidenceLost) };
    let to = record.as_mut_ptr();
    // SAFETY: the record is reserved and written before it is submitted; what is behind `captured` userspace does not
    // read.
    unsafe {
        (&raw mut (*to).version).write(VERSION);
        (&raw mut (*to).transition).write(transition as u8);
        (&raw mut (*to).time).write(time);
        (&raw mut (*to).point).write(point);
        (&raw mut (*to).isn).write(it.isn);
        (&raw mut (*to).client_addr).write(it.client_addr);
        (&raw mut (*to).server_addr).write(it.server_addr);
        (&raw mut (*to).client_port).write(it.client_port);
        (&raw mut (*to).server_port).write(it.server_port);
        (&raw mut (*to).pad).write(0);
    }
    let length = packet.length();
    let mut captured = u64::from(if length > SNAPLEN as u32 { SNAPLEN as u32 } else { length }).wrapping_sub(1);
    // Opaque to the compiler, which knows the bounds and would check them on another register than the helper gets.
    // SAFETY: a register is moved to itself.
    unsafe { asm!("{0} = {0}", inout(reg) captured, options(pure, nomem, nostack, preserves_flags)) };
    if captured < SNAPLEN as u64 {
        captured += 1;
        // SAFETY: as above; `captured` is what there is room for.
        let copied = unsafe {
            (&raw mut (*to).captured).write(captured as u16);
            (&raw mut (*to).length).write(length);
            packet.copy((&raw mut (*to).octets).cast(), captured as u32)
        };
        if copied {
            return record.submit(NO_WAKEUP);
        }
    }
    record.discard(NO_WAKEUP);
    count(Counter::EvidenceLost);
}
