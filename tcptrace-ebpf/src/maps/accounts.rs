//! Each CPU's accounts of listeners, and the sum of what it lets in: they decide who may open an attempt.
//!
//! An opening is noted in up to two accounts and in the sum. Its slot keeps where ([`Notes`]), but has none yet when
//! the accounts are asked, and the stack has no room for eight bytes more. They wait in this CPU's `PRESSURE`:
//! [`admit`] leaves them there, [`waiting_notes`] takes them for the slot, and no other packet of the CPU comes
//! between.
#![expect(unsafe_code, reason = "map values are raw memory shared with other CPUs")]

use core::{arch::asm, intrinsics, intrinsics::AtomicOrdering::SeqCst};

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_jiffies64},
    macros::map,
    maps::Array,
};
use tcptrace_core::{
    flood::{self, Account, Opening},
    flow,
    pressure::{self, Note, Notes, Pressure, Width},
};

use super::{
    MMAPABLE,
    config::{hash_key, policy},
    now,
};

/// [`flood::ACCOUNTS`] for each CPU.
#[map]
static ACCOUNTS: Array<Account> = Array::with_max_entries(1, MMAPABLE);
/// One for each CPU.
#[map]
static PRESSURE: Array<Pressure> = Array::with_max_entries(1, 0);

const ACCOUNTS_EACH: u32 = flood::ACCOUNTS as u32;

/// Counts a packet that would open an attempt in its listener's account, and in a coarser one where that is called for.
/// Whether it may open one; where it was noted waits for [`waiting_notes`].
#[inline(always)]
pub(crate) fn admit(opening: &Opening) -> bool {
    // SAFETY: helpers without arguments.
    let (cpu, tick) = unsafe { (bpf_get_smp_processor_id(), bpf_jiffies64() as u32) };
    let Some(sum) = pressure(cpu) else { return true };
    sum.asked = *opening;
    sum.notes = Notes::new(cpu);
    if !judge(sum, cpu, Width::Listener as u8) {
        return false;
    }
    // No SYN/ACK takes a slot that another attempt waits for.
    if sum.asked.answers {
        return true;
    }
    sum.notes = sum.notes.in_sum();
    if sum.scope_for(tick, policy, now) == Width::Listener as u8 {
        return true;
    }
    sum.asked.owner = pressure::owner(&sum.asked, sum.scope);
    let admitted = judge(sum, cpu, sum.scope);
    if !admitted {
        sum.keep_out();
    }
    admitted
}

/// The places where the packet that [`admit`] last judged on this CPU is noted.
#[inline(always)]
pub(crate) fn waiting_notes() -> Notes {
    // SAFETY: a helper without arguments.
    pressure(unsafe { bpf_get_smp_processor_id() }).map_or(Notes::NOWHERE, |pressure| pressure.notes)
}

/// Makes [`waiting_notes`] say that the packet is noted nowhere.
#[inline(always)]
pub(crate) fn drop_waiting_notes() {
    // SAFETY: a helper without arguments.
    if let Some(pressure) = pressure(unsafe { bpf_get_smp_processor_id() }) {
        pressure.notes = Notes::NOWHERE;
    }
}

/// Whether one account lets in what it is asked about. A function of its own, so that its caller keeps its stack.
#[inline(never)]
fn judge(sum: &mut Pressure, cpu: u32, scope: u8) -> bool {
    let with = u64::from(sum.asked.point.0) | u64::from(scope) << 32;
    let number = flow::hash_one(hash_key(), sum.asked.owner, with) as u32;
    let Some(account) = account(cpu, number) else { return true };
    let mut again = &raw mut *sum;
    // Opaque to the compiler, so that what was read of it is read again and not kept on a stack of 32 bytes.
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
    let admitted = account.admit(&sum.asked, tick, policy, now);
    sum.notes = sum.notes.and(scope, Note::new(number, account));
    admitted
}

/// One of a CPU's accounts.
#[inline(always)]
fn account(cpu: u32, number: u32) -> Option<&'static mut Account> {
    // SAFETY: a map value, which is never freed. Its CPU alone writes it, but for what others complete, which is a word
    // of its own; userspace reads words.
    ACCOUNTS.get_ptr_mut(cpu * ACCOUNTS_EACH + number % ACCOUNTS_EACH).map(|value| unsafe { &mut *value })
}

#[inline(always)]
fn pressure(cpu: u32) -> Option<&'static mut Pressure> {
    // SAFETY: as above.
    PRESSURE.get_ptr_mut(cpu).map(|value| unsafe { &mut *value })
}

/// An attempt was opened that is noted in accounts of this CPU, or nowhere.
#[inline(never)]
pub(crate) fn note_opening(notes: Notes) {
    let Some(pressure) = pressure(notes.cpu()) else { return };
    if notes.is_in_sum() {
        pressure.open();
    }
    for note in notes.each().into_iter().flatten() {
        if let Some(account) = account(notes.cpu(), note.number()) {
            account.open();
        }
    }
}

/// An attempt whose opening was noted in accounts completed, or was refused or given up.
#[inline(never)]
pub(crate) fn settle(notes: Notes, completed: bool) {
    // SAFETY: a helper without arguments.
    let is_here = notes.cpu() == unsafe { bpf_get_smp_processor_id() };
    let Some(pressure) = pressure(notes.cpu()) else { return };
    let [fine, coarse] = notes.each();
    if notes.is_in_sum() {
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
        if let Some(account) = account(notes.cpu(), note.number()).filter(|account| note.is_of(account)) {
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
