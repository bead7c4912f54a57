//! What the programs may cost at most, in instructions and not in time: every machine that has the compiler of `cargo
//! xtask setup` counts the same.
//!
//! Established traffic is nearly all traffic, so what a data packet executes is counted one by one and may not grow at
//! all. How many instructions there are, how many the verifier goes through and how many bytes the JIT compiler makes of
//! them may grow by [`SLACK`]; they are of one kernel, and are compared only there.
//!
//! When it fails: see with `cargo xtask bench` what the growth costs. If it is worth it, replace the table by the one that
//! the failure prints, in a commit that says why.

use std::{fs, os::fd::AsFd as _};

use tcptrace::live::kernel::{Kernel, Program, Settings};
use tcptrace_core::{event::Counter, segment::Link};
use tcptrace_tests::{
    scenario::{self, Family, Setting},
    translated,
};

use crate::{
    machine::{self, Context, Executed},
    rig::{TCX_NEXT, XDP_PASS, small},
};

/// The kernel whose verifier and JIT compiler were recorded.
const KERNEL: &str = "6.18.";
/// By how much of what was recorded a change anywhere may move the layout of everything.
const SLACK: f64 = 0.03;

/// Figures of a program.
#[derive(Debug, PartialEq, Eq)]
struct Ceiling {
    program: Program,
    /// Instructions that a data packet of an established flow executes, over IPv4 and IPv6.
    data: [u32; 2],
    /// Instructions as the verifier left them.
    translated: u32,
    /// Instructions that the verifier went through, on all ways.
    verified: u32,
    /// Bytes of the processor's code.
    jited: u32,
}

#[rustfmt::skip]
const CEILINGS: &[Ceiling] = &[
    Ceiling { program: Program::XdpIngressFrags, data: [147, 139], translated: 7283, verified: 149318, jited: 35150 },
    Ceiling { program: Program::XdpIngress, data: [147, 139], translated: 7283, verified: 149318, jited: 35150 },
    Ceiling { program: Program::TcIngress, data: [138, 130], translated: 7479, verified: 182657, jited: 36166 },
    Ceiling { program: Program::TcEgress, data: [138, 130], translated: 7480, verified: 182662, jited: 36170 },
    Ceiling { program: Program::TcIngressIp, data: [136, 131], translated: 7393, verified: 144746, jited: 35595 },
    Ceiling { program: Program::TcEgressIp, data: [136, 131], translated: 7423, verified: 145559, jited: 35798 },
    Ceiling { program: Program::XdpIngressDecap, data: [324, 307], translated: 8408, verified: 195965, jited: 40894 },
    Ceiling { program: Program::TcIngressDecap, data: [323, 306], translated: 8320, verified: 195551, jited: 40210 },
    Ceiling { program: Program::TcEgressDecap, data: [324, 307], translated: 8321, verified: 195659, jited: 40214 },
    Ceiling { program: Program::TcIngressIpDecap, data: [306, 291], translated: 8137, verified: 179522, jited: 39419 },
    Ceiling { program: Program::TcEgressIpDecap, data: [307, 292], translated: 8138, verified: 179576, jited: 39423 },
];

#[test]
fn no_program_grows() {
    let found: Vec<Ceiling> = CEILINGS.iter().map(|it| measure(it.program)).collect();
    let table: String = found.iter().map(|it| format!("    {}\n", line(it))).collect();
    let mut grown = Vec::new();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    for (it, ceiling) in found.iter().zip(CEILINGS) {
        let mut compare = |what: &str, found: u32, ceiling: u32, slack: f64| {
            if f64::from(found) > f64::from(ceiling) * (1.0 + slack) {
                grown.push(format!("{}: {found} {what}, {ceiling} are allowed", it.program.name()));
            }
        };
        compare("instructions for a data packet over IPv4", it.data[0], ceiling.data[0], 0.0);
        compare("instructions for a data packet over IPv6", it.data[1], ceiling.data[1], 0.0);
        if kernel.starts_with(KERNEL) && cfg!(target_arch = "x86_64") {
            compare("instructions in all", it.translated, ceiling.translated, SLACK);
            compare("instructions for the verifier", it.verified, ceiling.verified, SLACK);
            compare("octets of the processor's code", it.jited, ceiling.jited, SLACK);
        }
    }
    assert!(
        grown.is_empty(),
        "{}\nIf `cargo xtask bench` shows that it is worth its price, this is the new table, for a commit that says why:\n\
         {table}",
        grown.join("\n")
    );
    println!("as found:\n{table}");
}

fn line(it: &Ceiling) -> String {
    let Ceiling { program, data, translated, verified, jited } = it;
    format!(
        "Ceiling {{ program: Program::{program:?}, data: {data:?}, translated: {translated}, verified: {verified}, \
         jited: {jited} }},"
    )
}

fn measure(program: Program) -> Ceiling {
    let name = program.name();
    let decap = name.ends_with("decap");
    let (context, passes) =
        if name.starts_with("xdp") { (Context::XdpBuff, XDP_PASS) } else { (Context::SkBuff, TCX_NEXT) };
    let link = if name.contains("_ip") { Link::Ip } else { Link::Ethernet };
    let mut kernel = Kernel::load(&Settings { decap, ..small() }).expect("the object loads");
    let info = match context {
        Context::XdpBuff => kernel.xdp(program).expect("it loads").info(),
        Context::SkBuff => kernel.classifier(program).expect("it loads").info(),
    };
    let info = info.expect("the kernel knows its program");
    let descriptor = info.fd().expect("root may have it");
    let code = translated::instructions(descriptor.as_fd()).expect("the kernel shows its program");
    let data = [Family::V4, Family::V6].map(|family| {
        let executed = machine::execute(&code, context, &data(family, link));
        let Executed { instructions, returned, counted } =
            executed.unwrap_or_else(|error| panic!("{name}, {family:?}: {error}"));
        assert_eq!((returned, &counted[..]), (passes, &[(Counter::Established as usize, 1)][..]), "{name}, {family:?}");
        instructions
    });
    Ceiling {
        program,
        data,
        translated: code.len() as u32,
        verified: info.verified_instruction_count().unwrap_or(0),
        jited: info.size_jitted(),
    }
}

/// A segment with data and without options.
fn data(family: Family, link: Link) -> Vec<u8> {
    let scenario =
        scenario::parse("case\n C > S PSH/ACK len=100 |\n = nothing\n").expect("the text is right").remove(0);
    scenario.steps[0].frame(&Setting::new(family), link)
}
