//! Attaching to an interface, and the report of how that was done. Every attachment is a link where the kernel has
//! them: it ends with its file descriptor, so also when this process is killed.
//!
//! Programs of others stay where they are: where one of them holds XDP, TC is used, and TC passes every packet on.

use std::{io, os::fd::AsFd as _};

use anyhow::Context as _;
use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
    links::FdLink,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, qdisc_add_clsact},
};

use super::{
    clsact,
    guard::Guarded,
    interfaces::{self, HookChoice, Ingress, Interface, LinkType, ingress_hook},
    kernel::{Kernel, Program},
    load::LoadError,
};
use crate::exit::{self, ExitCode};

/// An interface with the programs on it; dropping it takes them off.
pub struct Attached {
    pub interface: Interface,
    /// The hook where incoming packets are read, and why there.
    pub ingress: Ingress,
    pub reason: String,
    /// TC programs of others behind ours, which every packet is passed on to.
    pub beside: Vec<String>,
    /// The way outgoing packets are read; `None` on loopback, whose packets all come in again.
    pub egress: Option<Tc>,
    // In this order: the links go, then the guard looks whether its qdisc may.
    _xdp: Option<FdLink>,
    _tc: Vec<SchedClassifierLink>,
    _guard: Option<Guarded>,
}

/// How a TC program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tc {
    /// A tcx link: Linux 6.6.
    Tcx,
    /// A filter of the clsact qdisc, for older kernels. No link: a guard takes it off when this process is killed.
    Clsact,
}

impl Tc {
    /// The word in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// This kernel has nothing that TC programs hang on.
#[derive(Debug, thiserror::Error)]
#[error(
    "this kernel lacks {what}: {reason}; TC programs need tcx (Linux 6.6, CONFIG_NET_XGRESS), or clsact and its BPF \
     filters (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF)"
)]
pub struct NoTc {
    pub what: &'static str,
    pub reason: String,
}

impl ExitCode for NoTc {
    fn exit_code(&self) -> u8 {
        exit::UNAVAILABLE
    }
}

impl NoTc {
    /// The meaning of a refusal by which the kernel does not know what it is asked for: ENOENT of a qdisc or classifier
    /// that is neither built in nor a module (`qdisc_create`, `tc_new_tfilter`), EOPNOTSUPP of a kernel without TC
    /// (`rtnetlink_rcv_msg`). Any other error stays what it is.
    fn or(what: &'static str, error: anyhow::Error) -> anyhow::Error {
        let errno = error.chain().find_map(|it| it.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error);
        match errno {
            Some(libc::ENOENT | libc::EOPNOTSUPP) => Self { what, reason: format!("{error:#}") }.into(),
            _ => error,
        }
    }
}

/// Attaches to an interface.
///
/// # Errors
/// When the kernel refuses the programs or TC. A refusal of XDP leads to TC, and into [`Attached::reason`].
pub fn attach(kernel: &mut Kernel, interface: Interface, hook: HookChoice, tc: Option<Tc>) -> anyhow::Result<Attached> {
    if let LinkType::Other(number) = interface.link_type {
        anyhow::bail!(
            "cannot trace '{}': its link type {number} is neither Ethernet nor IP; choose another interface",
            interface.name
        );
    }
    let (mut ingress, mut reason) = ingress_hook(&interface, hook);
    let mut xdp = None;
    if ingress != Ingress::Tc {
        match attach_xdp(kernel, &interface, ingress) {
            Ok(link) => xdp = Some(link),
            Err(Refused::Load(error)) => return Err(error.into()),
            Err(Refused::Driver(why)) => (ingress, reason) = (Ingress::Tc, format!("{ingress} refused: {why}")),
        }
    }
    let is_ip = interface.link_type == LinkType::RawIp;
    let reads_in = (ingress == Ingress::Tc).then_some(TcAttachType::Ingress);
    let reads_out = (interface.link_type != LinkType::Loopback).then_some(TcAttachType::Egress);
    let directions = reads_in.into_iter().chain(reads_out);
    let wanted: Vec<_> = directions.map(|it| (classifier(is_ip, kernel.decap, it), it)).collect();
    // Before ours are there.
    let beside = wanted.iter().flat_map(|&(_, direction)| tcx_programs(&interface.name, direction)).collect();
    let (tc, links, guard) =
        attach_tc(kernel, &interface, &wanted, tc).with_context(|| format!("cannot attach to '{}'", interface.name))?;
    let egress = (interface.link_type != LinkType::Loopback).then_some(tc);
    Ok(Attached { interface, ingress, reason, beside, egress, _xdp: xdp, _tc: links, _guard: guard })
}

/// Attaches to the interface with that index, whatever it is called now: a notice of it may be older than a new name,
/// or than another interface by its name. `None`: it has gone.
///
/// # Errors
/// Those of [`attach`].
pub fn attach_if_there(
    kernel: &mut Kernel,
    index: u32,
    hook: HookChoice,
    tc: Option<Tc>,
) -> anyhow::Result<Option<Attached>> {
    loop {
        let Some(interface) = interfaces::by_index(index)? else { return Ok(None) };
        let name = interface.name.clone();
        let attached = attach(kernel, interface, hook, tc);
        match interfaces::by_index(index)? {
            None => return Ok(None),
            // TC programs are attached by name: it was this interface's all the while.
            Some(now) if now.name == name => return attached.map(Some),
            Some(_) => {}
        }
    }
}

/// Loads the TC programs for every type of link.
///
/// # Errors
/// When the verifier refuses one.
pub fn load_tc(kernel: &mut Kernel) -> Result<(), LoadError> {
    for is_ip in [false, true] {
        for direction in [TcAttachType::Ingress, TcAttachType::Egress] {
            kernel.classifier(classifier(is_ip, kernel.decap, direction))?;
        }
    }
    Ok(())
}

/// The TC program for a type of link and a direction.
fn classifier(is_ip: bool, decap: bool, direction: TcAttachType) -> Program {
    match (direction, is_ip, decap) {
        (TcAttachType::Egress, false, false) => Program::TcEgress,
        (TcAttachType::Egress, true, false) => Program::TcEgressIp,
        (TcAttachType::Egress, false, true) => Program::TcEgressDecap,
        (TcAttachType::Egress, true, true) => Program::TcEgressIpDecap,
        (TcAttachType::Ingress | TcAttachType::Custom(_), false, false) => Program::TcIngress,
        (TcAttachType::Ingress | TcAttachType::Custom(_), true, false) => Program::TcIngressIp,
        (TcAttachType::Ingress | TcAttachType::Custom(_), false, true) => Program::TcIngressDecap,
        (TcAttachType::Ingress | TcAttachType::Custom(_), true, true) => Program::TcIngressIpDecap,
    }
}

enum Refused {
    Load(LoadError),
    Driver(String),
}

fn attach_xdp(kernel: &mut Kernel, interface: &Interface, ingress: Ingress) -> Result<FdLink, Refused> {
    let mode = if ingress == Ingress::XdpNative { XdpMode::Driver } else { XdpMode::Skb };
    // Frames of several buffers are known since 5.18; before, a program that says it can take them does not load.
    let asks_much = kernel.keeps_packets || kernel.decap;
    let newest = if kernel.decap { Program::XdpIngressDecap } else { Program::XdpIngressFrags };
    let program = match kernel.xdp(newest) {
        Ok(_) => newest,
        Err(
            error @ (LoadError::Privilege { .. }
            | LoadError::Memory { .. }
            | LoadError::Limit { .. }
            | LoadError::Random(_)),
        ) => {
            return Err(Refused::Load(error));
        }
        Err(LoadError::Kernel { .. } | LoadError::TooOld { .. }) if asks_much => {
            return Err(Refused::Driver("-w and --decap need Linux 5.18 for XDP".to_owned()));
        }
        Err(LoadError::Kernel { .. } | LoadError::TooOld { .. }) => Program::XdpIngress,
    };
    let program: &mut Xdp = kernel.xdp(program).map_err(Refused::Load)?;
    let refused = |error: &dyn std::error::Error| Refused::Driver(root(error));
    let id = program.attach_to_if_index(interface.index, mode).map_err(|error| refused(&error))?;
    let link = program.take_link(id).map_err(|error| refused(&error))?;
    // aya falls back to an attachment that would outlive a killed process: rather TC than that.
    FdLink::try_from(link).map_err(|error| refused(&error))
}

type TcLinks = (Tc, Vec<SchedClassifierLink>, Option<Guarded>);

fn attach_tc(
    kernel: &mut Kernel,
    interface: &Interface,
    wanted: &[(Program, TcAttachType)],
    tc: Option<Tc>,
) -> anyhow::Result<TcLinks> {
    if tc != Some(Tc::Clsact) {
        // First: what a program before ours stops or sends elsewhere would never be seen.
        match attach_each(kernel, interface, wanted, || TcAttachOptions::TcxOrder(LinkOrder::first())) {
            Ok(links) => return Ok((Tc::Tcx, links, None)),
            // Before 6.6 the kernel does not know the command.
            Err(error) if lacks_tcx(&error) && tc.is_none() => {}
            Err(error) if lacks_tcx(&error) => return Err(NoTc { what: "tcx", reason: format!("{error:#}") }.into()),
            Err(error) => return Err(error),
        }
    }
    const QDISC: &str = "the clsact qdisc";
    let added = !clsact::exists(interface.index).map_err(|error| NoTc::or(QDISC, error))?;
    if added {
        qdisc_add_clsact(&interface.name).map_err(|error| NoTc::or(QDISC, error.into()))?;
    }
    let links = attach_each(kernel, interface, wanted, || TcAttachOptions::Netlink(NlOptions::default()))
        .map_err(|error| NoTc::or("BPF filters of clsact", error))?;
    let programs = wanted
        .iter()
        .map(|&(program, _)| Ok(kernel.classifier(program)?.info()?.id()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let guard = kernel.guard.watch(interface.index, &programs, added)?;
    Ok((Tc::Clsact, links, Some(guard)))
}

fn attach_each(
    kernel: &mut Kernel,
    interface: &Interface,
    wanted: &[(Program, TcAttachType)],
    options: impl Fn() -> TcAttachOptions,
) -> anyhow::Result<Vec<SchedClassifierLink>> {
    wanted
        .iter()
        .map(|&(program, direction)| {
            let program: &mut SchedClassifier = kernel.classifier(program)?;
            // libc opens a socket for the interface's number, and says ENOENT where it may open no more.
            io::stderr().as_fd().try_clone_to_owned()?;
            let id = program.attach_with_options(&interface.name, direction, options())?;
            Ok(program.take_link(id)?)
        })
        .collect()
}

/// The names of the tcx programs on an interface; none where the kernel knows no tcx.
fn tcx_programs(interface: &str, direction: TcAttachType) -> Vec<String> {
    let programs = SchedClassifier::query_tcx(interface, direction).map_or_else(|_| Vec::new(), |(_, them)| them);
    let word = if matches!(direction, TcAttachType::Ingress) { "in" } else { "out" };
    programs.iter().map(|it| format!("{} ({word})", it.name_as_str().unwrap_or("unnamed"))).collect()
}

fn lacks_tcx(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<ProgramError>(),
        Some(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EINVAL)
    )
}

/// The innermost error: the one that says something.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(errno: i32) -> anyhow::Error {
        anyhow::Error::from(io::Error::from_raw_os_error(errno)).context("cannot list the qdiscs of interface 2")
    }

    #[test]
    fn only_what_the_kernel_does_not_know_is_lacking() {
        for (errno, lacks) in [
            (libc::ENOENT, true),
            (libc::EOPNOTSUPP, true),
            (libc::EPERM, false),
            (libc::ENODEV, false),
            (libc::EINVAL, false),
            (libc::ENOMEM, false),
        ] {
            let error = NoTc::or("the clsact qdisc", io(errno)).context("cannot attach to 'eth0'");
            assert_eq!(error.is::<NoTc>(), lacks, "{error:#}");
        }
    }

    #[test]
    fn what_lacks_is_said_with_its_remedy() {
        let error = NoTc::or("the clsact qdisc", io(libc::ENOENT)).context("cannot attach to 'eth0'");
        let expected = "cannot attach to 'eth0': this kernel lacks the clsact qdisc: cannot list the qdiscs of \
                        interface 2: No such file or directory (os error 2); TC programs need tcx (Linux 6.6, \
                        CONFIG_NET_XGRESS), or clsact and its BPF filters (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF)";
        assert_eq!(format!("{error:#}"), expected);
    }

    /// A kernel before 6.6 refuses tcx with EINVAL, which aya passes on as this.
    #[test]
    fn a_kernel_without_tcx_is_known_by_its_answer() {
        let refused = |errno| {
            let io_error = io::Error::from_raw_os_error(errno);
            let error = aya::sys::SyscallError { call: "bpf_link_create", io_error };
            anyhow::Error::from(ProgramError::SyscallError(error))
        };
        assert!(lacks_tcx(&refused(libc::EINVAL)));
        assert!(!lacks_tcx(&refused(libc::EPERM)));
    }
}
