//! The benchmark's programs: each makes of one packet many, and hands it by a tail call to the program measured.
//!
//! BPF_PROG_TEST_RUN runs a program on the very same packet again and again, so addresses, numbers and flags have to
//! change inside the kernel. What they change to is fixed before loading (the globals), and depends on nothing but how
//! many packets went before. The rival gets the same packets through the same code. Never attached to an interface.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    #![expect(unsafe_code, reason = "packets and map values are raw memory")]

    use aya_ebpf::{
        Global,
        bindings::{TC_ACT_SHOT, tcx_action_base::TCX_NEXT, xdp_action},
        helpers::bpf_ktime_get_ns,
        macros::{classifier, map, xdp},
        maps::{Array, ProgramArray},
        programs::{TcContext, XdpContext},
    };
    use tcptrace_core::segment::Flags;

    /// How far the benchmark has come.
    #[repr(C)]
    struct Position {
        packets: u64,
        flow: u64,
        step: u64,
    }

    #[map]
    static POSITION: Array<Position> = Array::with_max_entries(1, 0);
    /// When each batch of packets began, the last 4,096 of them. Batches and not runs are timed: the kernel's own mean
    /// of a run is a whole number, and holds whatever else this CPU did meanwhile.
    #[map]
    static TIMES: Array<u64> = Array::with_max_entries(4096, 0);
    /// The program measured, at 0. A constant index lets the kernel make the tail call a direct jump.
    #[map]
    static XDP_TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);
    #[map]
    static TC_TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);

    /// 4 or 6: what the frame holds. Anything else: it stays as it is.
    #[unsafe(no_mangle)]
    static IP_VERSION: Global<u8> = Global::new(0);
    /// Packets of a flow, and the flags of each: the first in the lowest octet.
    #[unsafe(no_mangle)]
    static STEPS: Global<u64> = Global::new(1);
    #[unsafe(no_mangle)]
    static FLAGS: Global<u64> = Global::new(0);
    /// How many flows later the next step of a flow comes.
    #[unsafe(no_mangle)]
    static LAG: Global<u64> = Global::new(0);
    /// The number of flows, a power of two, less one: then addresses and ports come again.
    #[unsafe(no_mangle)]
    static FLOW_MASK: Global<u64> = Global::new(0);
    /// The same for initial sequence numbers.
    #[unsafe(no_mangle)]
    static ISN_MASK: Global<u64> = Global::new(0);
    /// The same for servers.
    #[unsafe(no_mangle)]
    static SERVER_MASK: Global<u64> = Global::new(0);
    /// The number of packets in a batch, a power of two, less one.
    #[unsafe(no_mangle)]
    static BATCH_MASK: Global<u64> = Global::new(0);

    #[xdp(frags)]
    fn bench_xdp(ctx: XdpContext) -> u32 {
        change(ctx.data(), ctx.data_end());
        // SAFETY: nothing here waits to be dropped.
        unsafe { XDP_TARGET.tail_call(&ctx, 0) };
        xdp_action::XDP_ABORTED
    }

    #[xdp(frags)]
    fn empty_xdp(_: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    #[classifier]
    fn bench_tc(ctx: TcContext) -> i32 {
        change(ctx.data(), ctx.data_end());
        // SAFETY: as above.
        unsafe { TC_TARGET.tail_call(&ctx, 0) };
        TC_ACT_SHOT
    }

    #[classifier]
    fn empty_tc(_: TcContext) -> i32 {
        TCX_NEXT
    }

    #[inline(always)]
    fn change(start: usize, end: usize) {
        let Some((flow, flags)) = next() else { return };
        match IP_VERSION.load() {
            4 => write::<26, 30, 34>(start, end, flow, flags),
            6 => write::<34, 50, 54>(start, end, flow, flags),
            _ => {}
        }
    }

    /// The next packet: its flow's number, without end, and its flags.
    #[inline(always)]
    fn next() -> Option<(u64, u8)> {
        // SAFETY: a map value, which one thread at a time uses.
        let at = unsafe { &mut *POSITION.get_ptr_mut(0)? };
        let batch_mask = BATCH_MASK.load();
        if at.packets & batch_mask == 0 {
            let time = TIMES.get_ptr_mut((at.packets / (batch_mask + 1)) as u32 & 4095)?;
            // SAFETY: a map value, and a helper without arguments.
            unsafe { *time = bpf_ktime_get_ns() };
        }
        let step = at.step;
        let flow = at.flow.wrapping_sub(step * LAG.load());
        at.packets += 1;
        at.step += 1;
        if at.step == STEPS.load() {
            at.step = 0;
            at.flow += 1;
        }
        Some((flow, (FLAGS.load() >> (step % 8 * 8)) as u8))
    }

    /// Writes addresses (the last four octets), ports, numbers and flags at the offsets of a frame's headers.
    #[inline(always)]
    fn write<const SRC: usize, const DST: usize, const TCP: usize>(start: usize, end: usize, flow: u64, flags: u8) {
        if start + TCP + 20 > end {
            return;
        }
        let syn = flags & Flags::SYN != 0;
        let ack = flags & Flags::ACK != 0;
        // An odd factor and a fold: no two flows get the same bits, and neighbours get unlike ones.
        let bits = (flow & FLOW_MASK.load()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = bits ^ (bits >> 32);
        let client = (bits as u32, (bits >> 32) as u16);
        let server = (0xcb00_7100 | ((bits >> 48) & SERVER_MASK.load()) as u32, 443);
        let isn = ((flow & ISN_MASK.load()) as u32).wrapping_mul(0x9e37_79b1);
        let answer = !isn;
        let (src, dst, numbers) = if syn && ack {
            (server, client, (answer, isn.wrapping_add(1)))
        } else {
            let acknowledged = if ack { answer.wrapping_add(1) } else { 0 };
            (client, server, (isn.wrapping_add(u32::from(!syn)), acknowledged))
        };
        // SAFETY: all offsets lie before the end, which is checked above.
        unsafe {
            ((start + SRC) as *mut u32).write(src.0.to_be());
            ((start + DST) as *mut u32).write(dst.0.to_be());
            ((start + TCP) as *mut u16).write(src.1.to_be());
            ((start + TCP + 2) as *mut u16).write(dst.1.to_be());
            ((start + TCP + 4) as *mut u32).write(numbers.0.to_be());
            ((start + TCP + 8) as *mut u32).write(numbers.1.to_be());
            ((start + TCP + 13) as *mut u8).write(flags);
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
