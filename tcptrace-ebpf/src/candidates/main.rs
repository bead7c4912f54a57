//! The benchmark's candidates: the tables that were weighed, each in a program that does nothing else.
//!
//! All read a packet and hash its flow by the core's own functions, ask their table (`tables`) whether a handshake is
//! pending, or have it keep the attempt that a SYN opens, and count the answer. No clock, account, transition or event:
//! what differs is the table. None is ever attached to an interface.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "core::sync::atomic has no compare_exchange on BPF")
)]

#[cfg(target_arch = "bpf")]
mod tables;

#[cfg(target_arch = "bpf")]
mod programs {
    #![expect(unsafe_code, reason = "packets and map values are raw memory")]

    use core::{arch::asm, mem::MaybeUninit};

    use aya_ebpf::{
        Global,
        bindings::xdp_action::XDP_PASS,
        macros::{map, xdp},
        maps::Array,
        programs::XdpContext,
    };
    use tcptrace_core::{
        flow::{self, Endpoint, HashKey},
        handshake::Handshake,
        packet::{Packet, REACH},
        segment::{self, Found, Kind, Link},
    };

    use crate::tables::{self, Table};

    /// How often each [`Answer`] was given.
    #[map]
    static ANSWERS: Array<u64> = Array::with_max_entries(4, 0);

    /// Any key: with the same one every run has the same collisions.
    #[unsafe(no_mangle)]
    static HASH_KEY_0: Global<u64> = Global::new(0x243f_6a88_85a3_08d3);
    #[unsafe(no_mangle)]
    static HASH_KEY_1: Global<u64> = Global::new(0x1319_8a2e_0370_7344);

    #[derive(Clone, Copy)]
    enum Answer {
        NotPending,
        MayBePending,
        Kept,
        Refused,
    }

    macro_rules! programs {
        ($($name:ident: $table:ty,)*) => {
            $(#[xdp(frags)]
            fn $name(ctx: XdpContext) -> u32 {
                observe::<$table>(&Frame::of(&ctx));
                XDP_PASS
            })*
        };
    }

    programs! {
        none: tables::Nothing,
        directory: tables::Directory,
        bits: tables::Bits,
        bloom: tables::Bloom,
        four_ways: tables::FourWays,
        own_cpu: tables::OwnCpu,
        every_cpu: tables::EveryCpu,
        hash_refuses: tables::HashRefuses,
        hash_oldest: tables::HashOldest,
        lru_hash: tables::LruHash,
        clock: tables::Clock,
        coarse_clock: tables::CoarseClock,
        jiffies: tables::Jiffies,
        exchange: tables::Exchange,
    }

    #[inline(always)]
    fn observe<T: Table>(frame: &Frame) {
        let hash = |src, dst| flow::hash(HashKey(HASH_KEY_0.load(), HASH_KEY_1.load()), src, dst);
        if let Some((src, dst)) = segment::glance(frame, Link::Ethernet) {
            ask::<T>(hash(src, dst));
        } else if let Found::Tcp(it) = segment::locate(frame, Link::Ethernet) {
            let hash = hash(it.src, it.dst);
            if it.flags.kind() != Kind::Syn {
                return ask::<T>(hash);
            }
            let (Endpoint { addr: client_addr, port: client_port }, Endpoint { addr: server_addr, port: server_port }) =
                (it.src, it.dst);
            let attempt =
                Handshake { client_addr, server_addr, client_port, server_port, isn: it.seq(), ..Handshake::default() };
            count(if T::keep(hash, &attempt) { Answer::Kept } else { Answer::Refused });
        }
    }

    #[inline(always)]
    fn ask<T: Table>(hash: u64) {
        count(if T::may_be_pending(hash) { Answer::MayBePending } else { Answer::NotPending });
    }

    #[inline(always)]
    fn count(answer: Answer) {
        if let Some(count) = ANSWERS.get_ptr_mut(answer as u32) {
            // SAFETY: a map value, which one thread at a time uses.
            unsafe { *count += 1 };
        }
    }

    /// The octets of a frame, read as the tool's own programs read them: see `programs.rs`.
    struct Frame {
        data: usize,
        end: usize,
        /// Any number that the verifier cannot foresee.
        unknown: usize,
    }

    impl Frame {
        #[inline(always)]
        fn of(ctx: &XdpContext) -> Self {
            Self { data: ctx.data(), end: ctx.data_end(), unknown: ctx.rx_queue_index() as usize }
        }
    }

    impl Packet for Frame {
        #[inline(always)]
        fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
            if at >= 2 * REACH {
                return None;
            }
            let mut start = self.data + at;
            // Opaque to the compiler, which would otherwise leave out a check that an earlier one implies.
            // SAFETY: a register is moved to itself.
            unsafe { asm!("{0} = {0}", inout(reg) start, options(pure, nomem, nostack, preserves_flags)) };
            if start + N > self.end {
                return None;
            }
            // SAFETY: checked against the end of the packet on the line before.
            Some(unsafe { read(start as *const u8) })
        }

        #[inline(always)]
        fn forget(&self, offset: usize) -> usize {
            let mut it = offset;
            // SAFETY: two operations on a register that undo each other.
            unsafe {
                asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) it, in(reg) self.unknown, options(pure, nomem, nostack));
            }
            it & (REACH - 1)
        }
    }

    /// Reads `N` octets in words.
    #[inline(always)]
    unsafe fn read<const N: usize>(from: *const u8) -> [u8; N] {
        let mut octets = MaybeUninit::<[u8; N]>::uninit();
        let to = octets.as_mut_ptr().cast::<u8>();
        let mut at = 0;
        // SAFETY: the caller's, for `N` octets; the steps below write each of them once.
        unsafe {
            while at + 8 <= N {
                to.add(at).cast::<u64>().write_unaligned(from.add(at).cast::<u64>().read());
                at += 8;
            }
            if at + 4 <= N {
                to.add(at).cast::<u32>().write_unaligned(from.add(at).cast::<u32>().read());
                at += 4;
            }
            if at + 2 <= N {
                to.add(at).cast::<u16>().write_unaligned(from.add(at).cast::<u16>().read());
                at += 2;
            }
            if at < N {
                to.add(at).write(from.add(at).read());
            }
            octets.assume_init()
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
