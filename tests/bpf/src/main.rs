//! The driver: kernel programs that make many packets of one, and hand each by a tail call to the program measured.
//!
//! BPF_PROG_TEST_RUN runs a program on the very same packet again and again, so addresses, numbers and flags have to
//! change inside the kernel. What they change to is fixed before loading (the globals), and depends on nothing but how
//! many packets went before. Two targets take turns, a batch each, and get the same packets: whatever else slows this
//! processor down slows both. Of those that hand packets on, none is ever attached to an interface. One sends them
//! instead (`generate_xdp`), and two stand on the receiving interface as rivals.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    #![expect(unsafe_code, reason = "packets and map values are raw memory")]

    use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

    use aya_ebpf::{
        EbpfContext, Global,
        bindings::{TC_ACT_SHOT, tcx_action_base::TCX_NEXT, xdp_action},
        helpers::bpf_ktime_get_ns,
        macros::{classifier, map, xdp},
        maps::{Array, ProgramArray},
        programs::{TcContext, XdpContext},
    };

    /// TCP's flag bits (RFC 9293, section 3.1).
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;

    /// Packets so far.
    #[map]
    static PACKETS: Array<u64> = Array::with_max_entries(1, 0);
    /// When each batch of packets began, the last 4,096 of them. Batches and not runs are timed: the kernel's own mean
    /// of a run is a whole number, and holds whatever else this CPU did meanwhile.
    #[map]
    static TIMES: Array<u64> = Array::with_max_entries(4096, 0);
    /// The next packet, by target.
    #[map]
    static NEXT: Array<Next> = Array::with_max_entries(2, 0);
    #[map]
    static XDP_TARGETS: ProgramArray = ProgramArray::with_max_entries(2, 0);
    #[map]
    static TC_TARGETS: ProgramArray = ProgramArray::with_max_entries(2, 0);

    #[repr(C)]
    struct Next {
        flow: u64,
        step: u64,
    }

    /// 4 or 6: what the frame holds. Anything else: it stays as it is.
    #[unsafe(no_mangle)]
    static IP_VERSION: Global<u8> = Global::new(0);
    /// Packets of a flow, and the flags of each: the first in the lowest byte.
    #[unsafe(no_mangle)]
    static STEPS: Global<u64> = Global::new(1);
    #[unsafe(no_mangle)]
    static FLAGS: Global<u64> = Global::new(0);
    /// How many flows later the next step of a flow comes.
    #[unsafe(no_mangle)]
    static LAG: Global<u64> = Global::new(0);
    /// Whether it comes instead when all flows have had theirs.
    #[unsafe(no_mangle)]
    static IN_PASSES: Global<u8> = Global::new(0);
    /// How many flows there are before the first comes again; zero: it never does.
    #[unsafe(no_mangle)]
    static FLOWS: Global<u64> = Global::new(0);
    /// Whether a flow that comes again has another initial sequence number.
    #[unsafe(no_mangle)]
    static FRESH_ISN: Global<u8> = Global::new(0);
    /// Where the numbers of flows begin.
    #[unsafe(no_mangle)]
    static FIRST_FLOW: Global<u64> = Global::new(0);
    /// The number of servers, a power of two, less one.
    #[unsafe(no_mangle)]
    static SERVER_MASK: Global<u64> = Global::new(0);
    /// A batch has two to the power of this many packets.
    #[unsafe(no_mangle)]
    static BATCH_BITS: Global<u64> = Global::new(0);
    /// The number of targets less one: zero or one.
    #[unsafe(no_mangle)]
    static TARGET_MASK: Global<u64> = Global::new(0);

    /// Data packets that the generator puts between two of the plan's, over IPv4.
    #[unsafe(no_mangle)]
    static DATA_BETWEEN: Global<u64> = Global::new(0);
    /// Their flows: so many, numbered as no flow of a plan is.
    const DATA_FLOWS: u64 = 8192;
    const DATA_FLOW: u64 = 1 << 40;

    #[xdp(frags)]
    fn bench_xdp(ctx: XdpContext) -> u32 {
        if let Some(target) = change(ctx.data(), ctx.data_end()) {
            call(&XDP_TARGETS, &ctx, target);
        }
        xdp_action::XDP_ABORTED
    }

    /// Sends the next packet out by the interface that this one is said to have come in by: with live frames,
    /// BPF_PROG_TEST_RUN makes a generator of it.
    #[xdp]
    fn generate_xdp(ctx: XdpContext) -> u32 {
        generate(ctx.data(), ctx.data_end()).map_or(xdp_action::XDP_ABORTED, |()| xdp_action::XDP_TX)
    }

    #[xdp(frags)]
    fn empty_xdp(_: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    /// Stands on the receiving interface where only the sending is to be measured.
    #[xdp(frags)]
    fn drop_xdp(_: XdpContext) -> u32 {
        xdp_action::XDP_DROP
    }

    #[classifier]
    fn bench_tc(ctx: TcContext) -> i32 {
        if let Some(target) = change(ctx.data(), ctx.data_end()) {
            call(&TC_TARGETS, &ctx, target);
        }
        TC_ACT_SHOT
    }

    #[classifier]
    fn empty_tc(_: TcContext) -> i32 {
        TCX_NEXT
    }

    /// Returns only if there is no such target. A constant index lets the kernel make the call a direct jump, and the
    /// fence keeps the compiler from making one call of the two.
    #[inline(always)]
    fn call<C: EbpfContext>(targets: &ProgramArray, ctx: &C, target: u32) {
        // SAFETY: nothing here waits to be dropped.
        unsafe {
            if target == 0 {
                targets.tail_call(ctx, 0);
            } else {
                targets.tail_call(ctx, 1);
                compiler_fence(SeqCst);
            }
        }
    }

    /// Makes the next packet; the target it is for.
    #[inline(always)]
    fn change(start: usize, end: usize) -> Option<u32> {
        let (target, flow, flags) = next()?;
        match IP_VERSION.load() {
            4 => write::<26, 30, 34>(start, end, flow, flags),
            6 => write::<34, 50, 54>(start, end, flow, flags),
            _ => {}
        }
        Some(target)
    }

    /// Makes the next packet of the plan, or one of those that go between.
    #[inline(always)]
    fn generate(start: usize, end: usize) -> Option<()> {
        let packets = PACKETS.get_ptr_mut(0)?;
        // SAFETY: a map value, which one thread at a time uses.
        let number = unsafe { *packets };
        if number.checked_rem(DATA_BETWEEN.load() + 1) == Some(0) {
            change(start, end)?;
        } else {
            write::<26, 30, 34>(start, end, DATA_FLOW | number & (DATA_FLOWS - 1), ACK);
            // SAFETY: as above.
            unsafe { *packets = number + 1 };
        }
        write_checksum(start, end);
        Some(())
    }

    /// Writes the checksum of the IPv4 header: the receiver of real frames checks it.
    #[inline(always)]
    fn write_checksum(start: usize, end: usize) {
        const WORDS: usize = 10;
        const CHECKSUM: usize = 5;
        if start + 14 + 2 * WORDS > end {
            return;
        }
        let header = (start + 14) as *mut u16;
        let mut sum = 0;
        for word in 0..WORDS {
            if word != CHECKSUM {
                // SAFETY: the header lies before the end, which is checked above.
                sum += u32::from(unsafe { header.add(word).read() });
            }
        }
        sum = (sum & 0xffff) + (sum >> 16);
        sum += sum >> 16;
        // SAFETY: as above.
        unsafe { header.add(CHECKSUM).write(!sum as u16) };
    }

    /// The next packet: its target, its flow's number, without end, and its flags.
    #[inline(always)]
    fn next() -> Option<(u32, u64, u8)> {
        // SAFETY: a map value, which one thread at a time uses.
        let packets = unsafe { &mut *PACKETS.get_ptr_mut(0)? };
        let bits = BATCH_BITS.load() & 63;
        let batch = *packets >> bits;
        if batch << bits == *packets {
            let time = TIMES.get_ptr_mut(batch as u32 & 4095)?;
            // SAFETY: a map value, and a helper without arguments.
            unsafe { *time = bpf_ktime_get_ns() };
        }
        *packets += 1;
        let target = (batch & TARGET_MASK.load()) as u32;
        // SAFETY: a map value, as above.
        let next = unsafe { &mut *NEXT.get_ptr_mut(target)? };
        let flow = next.flow.wrapping_sub(next.step * LAG.load());
        let flags = (FLAGS.load() >> (next.step % 8 * 8)) as u8;
        if IN_PASSES.load() == 0 {
            next.step += 1;
            if next.step == STEPS.load() {
                next.step = 0;
                next.flow += 1;
            }
        } else {
            next.flow += 1;
            if next.flow.checked_rem(FLOWS.load()) == Some(0) {
                next.step += 1;
                if next.step == STEPS.load() {
                    next.step = 0;
                } else {
                    next.flow -= FLOWS.load();
                }
            }
        }
        Some((target, flow, flags))
    }

    /// Writes addresses (the last four bytes), ports, numbers and flags at the offsets of a frame's headers.
    ///
    /// In words of eight bytes, at the places where the programs read such words: a processor cannot hand a load what
    /// several stores have just written, and waits for the cache. A packet from a network was written long before.
    #[inline(always)]
    fn write<const SRC: usize, const DST: usize, const TCP: usize>(start: usize, end: usize, flow: u64, flags: u8) {
        if start + TCP + 20 > end {
            return;
        }
        let syn = flags & SYN != 0;
        let ack = flags & ACK != 0;
        // An odd factor and a fold: no two flows get the same bits, and neighbours get unlike ones.
        let which = flow.checked_rem(FLOWS.load()).unwrap_or(flow);
        let bits = which.wrapping_add(FIRST_FLOW.load()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = bits ^ (bits >> 32);
        let client = (bits as u32, (bits >> 32) as u16);
        let server = (0xcb00_7100 | ((bits >> 48) & SERVER_MASK.load()) as u32, 443);
        let isn = (if FRESH_ISN.load() != 0 { flow } else { which } as u32).wrapping_mul(0x9e37_79b1);
        let answer = !isn;
        let (src, dst, numbers) = if syn && ack {
            (server, client, (answer, isn.wrapping_add(1)))
        } else {
            let acknowledged = if ack { answer.wrapping_add(1) } else { 0 };
            (client, server, (isn.wrapping_add(u32::from(!syn)), acknowledged))
        };
        let ports = u64::from(src.1) << 48 | u64::from(dst.1) << 32;
        // SAFETY: all offsets lie before the end, which is checked above.
        unsafe {
            // Behind the address in IPv4 is the other one, in half a word; in IPv6 each ends a word.
            let address = |at: usize, it: u32| {
                let word = (start + at - 4) as *mut u64;
                word.write(word.read() & !u64::from_be(0xffff_ffff) | u64::from(it).to_be());
            };
            address(SRC, src.0);
            if SRC + 4 == DST {
                ((start + DST) as *mut u32).write(dst.0.to_be());
            } else {
                address(DST, dst.0);
            }
            ((start + TCP) as *mut u64).write((ports | u64::from(numbers.0)).to_be());
            let rest = (start + TCP + 8) as *mut u64;
            let kept = u64::from_be(rest.read()) & 0xff00_ffff;
            rest.write((kept | u64::from(numbers.1) << 32 | u64::from(flags) << 16).to_be());
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
