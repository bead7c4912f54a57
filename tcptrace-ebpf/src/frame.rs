//! The packet as a hook has it: its bytes, read so that the verifier follows, and its context.
#![expect(unsafe_code, reason = "packets are raw memory")]

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use tcptrace_core::packet::{Packet, REACH};

use crate::maps::{self, WholePacket};

/// The bytes of an XDP frame, or of an skb's head.
pub(crate) struct Frame {
    data: usize,
    end: usize,
    /// Any number that the verifier cannot foresee.
    pub(crate) unknown: usize,
    /// From where offsets are counted.
    begin: usize,
}

impl Frame {
    /// Bytes that lie in memory.
    #[inline(always)]
    pub(crate) fn length(&self) -> usize {
        self.end - self.data
    }

    /// The same, from a later byte on.
    #[inline(always)]
    pub(crate) fn from(&self, begin: usize) -> Self {
        Self { begin, ..*self }
    }
}

/// A program's context, by which it finds its packet.
pub(crate) trait Hook: EbpfContext + WholePacket {
    /// The packet as it is now. Each call reads the pointers anew, which is the point: of a pointer just read the
    /// verifier does not remember how far it was checked before, and so not on which of many ways.
    fn frame(&self) -> Frame;
}

impl Hook for XdpContext {
    #[inline(always)]
    fn frame(&self) -> Frame {
        // SAFETY: the context of a running program.
        let [data, end] =
            unsafe { [read_anew(&raw const (*self.ctx).data), read_anew(&raw const (*self.ctx).data_end)] };
        Frame { data, end, unknown: self.rx_queue_index() as usize, begin: 0 }
    }
}

impl Hook for TcContext {
    #[inline(always)]
    fn frame(&self) -> Frame {
        let skb = self.skb.skb;
        // SAFETY: the context of a running program.
        let [data, end, unknown] = unsafe {
            [
                read_anew(&raw const (*skb).data),
                read_anew(&raw const (*skb).data_end),
                // Read anew: a length that was read before may have been compared with something.
                read_anew(&raw const (*skb).len),
            ]
        };
        Frame { data, end, unknown, begin: 0 }
    }
}

impl WholePacket for XdpContext {
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context of a running program.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as u32 }
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool {
        // SAFETY: the caller's.
        (unsafe { bpf_xdp_load_bytes(self.ctx, 0, to.cast(), length) }) == 0
    }
}

impl WholePacket for TcContext {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool {
        // SAFETY: the caller's.
        (unsafe { bpf_skb_load_bytes(self.skb.skb.cast(), 0, to.cast(), length) }) == 0
    }
}

/// A field of a context, not taken from an earlier read by the compiler.
#[inline(always)]
unsafe fn read_anew(pointer: *const u32) -> usize {
    // SAFETY: the caller's.
    unsafe { pointer.read_volatile() as usize }
}

impl Packet for Frame {
    #[inline(always)]
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        // The verifier wants to see that the offset is small before it is added to a packet pointer.
        if at >= 2 * REACH {
            return None;
        }
        let mut start = self.data + self.begin + at;
        // Opaque to the compiler, which would otherwise leave out a check that an earlier one implies: the verifier
        // knows only what was checked on the very register that is read through.
        // SAFETY: a register is moved to itself; an empty template would put two source lines on one instruction, which
        // the kernel refuses.
        unsafe { asm!("{0} = {0}", inout(reg) start, options(pure, nomem, nostack, preserves_flags)) };
        if start + N > self.end {
            return None;
        }
        // SAFETY: checked against the end of the packet on the line before.
        Some(unsafe { read(start as *const u8) })
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        maps::forget(offset, self.unknown) & (REACH - 1)
    }
}

/// Reads `N` bytes in words: the compiler, which may not assume alignment, would read them one by one, and the
/// kernel's machines do not mind.
#[inline(always)]
unsafe fn read<const N: usize>(from: *const u8) -> [u8; N] {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    let to = bytes.as_mut_ptr().cast::<u8>();
    let mut at = 0;
    // SAFETY: the caller's, for `N` bytes; the steps below write each of them once.
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
        bytes.assume_init()
    }
}
