//! A generator of packets: the driver's `generate_xdp`, run with live frames on one end of a veth pair, so that they
//! arrive at the other.
//!
//! They are for nobody: the destination's link-layer address is not the receiver's, whose stack drops each at its door
//! (PACKET_OTHERHOST) and answers nothing. XDP, TC and packet sockets have seen it by then. Behind each datagram is an
//! byte of padding, as in short frames: GRO reads all headers, as on any host, and then leaves the packet alone. Had
//! nobody else read the TCP header, whoever watches would be charged with fetching it from another core's cache.

use std::{
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{Ebpf, EbpfLoader, programs::Xdp};
use nix::net::if_::if_nametoindex;

use crate::{cpu, lab::Ns, prog_run};

/// The object that this crate's build script made of `tests/bpf`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-driver"));

/// Packets of one system call: between two the kernel waits for its readers, some milliseconds. The first calls are
/// shorter, for who sends but for a moment.
const CALLS: [u32; 2] = [1 << 16, 1 << 20];

/// Where it runs.
pub const PROCESSOR: usize = 0;

/// What was sent, in which time, and what that took of its thread: the receiving included, which is done in the
/// sender's softirq.
pub struct Sent {
    pub packets: u64,
    pub wall: Duration,
    pub cpu: Duration,
}

/// How packets differ from one another.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The packets of a flow, by their flags. SYN with ACK comes from the server.
    pub flags: &'static [u8],
    /// Flows before the first comes again; zero: it never does.
    pub flows: u64,
    /// A power of two. Of more than 256 some are the same.
    pub servers: u64,
    /// Data packets between two of those, of flows of their own.
    pub data_between: u64,
}

/// A loaded generator.
pub struct Generator {
    ebpf: Ebpf,
    ns: Ns,
    interface: &'static str,
    frame: Vec<u8>,
}

impl Generator {
    /// Loads one that sends out by an interface of a namespace.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn new(ns: &Ns, interface: &'static str, mut frame: Vec<u8>, plan: &Plan) -> Result<Self> {
        frame.push(0);
        let flags = plan.flags.iter().rev().fold(0, |all, &it| all << 8 | u64::from(it));
        let mut ebpf = EbpfLoader::new()
            .override_global("IP_VERSION", &4u8, true)
            .override_global("STEPS", &(plan.flags.len() as u64), true)
            .override_global("FLAGS", &flags, true)
            .override_global("FLOWS", &plan.flows, true)
            .override_global("FRESH_ISN", &1u8, true)
            .override_global("SERVER_MASK", &(plan.servers - 1), true)
            .override_global("BATCH_BITS", &10u64, true)
            .override_global("DATA_BETWEEN", &plan.data_between, true)
            .load(OBJECT)
            .context("cannot load the generator")?;
        let program: &mut Xdp = ebpf.program_mut("generate_xdp").context("no generator in the object")?.try_into()?;
        program.load().context("cannot load the generator")?;
        Ok(Self { ebpf, ns: ns.clone(), interface, frame })
    }

    /// Sends so many packets.
    ///
    /// # Errors
    /// Those of bpf(2), and of a namespace without the interface.
    pub fn send(&self, packets: u32) -> Result<Sent> {
        self.run(|send| send(packets))
    }

    /// Sends for so long, as fast as it can.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_for(&self, time: Duration) -> Result<Sent> {
        self.run(|send| {
            let started = Instant::now();
            let [mut call, longest] = CALLS;
            while started.elapsed() < time {
                send(call)?;
                call = longest.min(call * 2);
            }
            Ok(())
        })
    }

    /// On one processor, so that the frames come in by one queue.
    fn run(&self, sending: impl FnOnce(&mut dyn FnMut(u32) -> Result<()>) -> Result<()> + Send) -> Result<Sent> {
        let program: &Xdp = self.ebpf.program("generate_xdp").context("no generator in the object")?.try_into()?;
        let program = program.fd()?;
        self.ns.enter(|| {
            cpu::stay_on(PROCESSOR)?;
            let ifindex = if_nametoindex(self.interface)?;
            let mut sent = 0;
            let (before, started) = (cpu::of_this_thread(), Instant::now());
            sending(&mut |packets| {
                sent += u64::from(packets);
                prog_run::run_live(program.as_fd(), &self.frame, packets, ifindex).context("cannot run the generator")
            })?;
            Ok(Sent { packets: sent, wall: started.elapsed(), cpu: cpu::of_this_thread() - before })
        })
    }
}
