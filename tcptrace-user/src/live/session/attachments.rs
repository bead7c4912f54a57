//! The attachments: the interfaces that are traced, those that are waited for, and the watch for their changes.
//!
//! Decides nothing about reports. It reports changes on standard error.

use anyhow::Context as _;
use tcptrace_report::summary;
use tokio::io::{Interest, unix::AsyncFd};

use crate::live::{
    hooks::{self, Attached, Tc},
    interfaces::{self, HookChoice, Interface, LinkWatch},
    kernel::Kernel,
};

/// The programs of a run on their interfaces; dropping it takes them off.
pub(super) struct Attachments {
    pub(super) attached: Vec<Attached>,
    /// The way each interface was attached to, for the summary: it is made when nothing is attached any more.
    pub(super) attached_as: Vec<summary::Hook>,
    /// Names of interfaces that went away and are waited for.
    missing: Vec<String>,
    pub(super) watch: AsyncFd<LinkWatch>,
    /// Notices of interfaces were lost, and no list has been read since.
    pub(super) is_stale: bool,
    hook: HookChoice,
    tc: Option<Tc>,
}

/// The state of an interface after a change.
pub(super) enum Change {
    /// It is traced, and was.
    Traced(Interface),
    /// It came back, and is traced again.
    Back(Interface),
    /// It is not traced.
    None,
}

impl Attachments {
    /// Attaches to all of them, and watches for their changes from before on.
    pub(super) fn open(
        kernel: &mut Kernel,
        wanted: Vec<Interface>,
        hook: HookChoice,
        tc: Option<Tc>,
    ) -> anyhow::Result<Self> {
        let watch = LinkWatch::open().context("cannot watch the interfaces")?;
        // SAFETY: the watch keeps one descriptor open until it is dropped.
        #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
        let watch = unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }?;
        let attached = wanted
            .into_iter()
            .map(|interface| hooks::attach(kernel, interface, hook, tc))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let attached_as = attached.iter().map(summarized).collect();
        Ok(Self { attached, attached_as, missing: Vec::new(), watch, is_stale: false, hook, tc })
    }

    /// The interfaces that are traced.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.attached.iter().map(|attached| &attached.interface)
    }

    /// Says how each is traced.
    pub(super) fn banner(&self) {
        for attached in &self.attached {
            say!("{}", describe(attached));
            if !attached.interface.up {
                say!("{} is down: no packets until it is up", attached.interface.name);
            }
        }
        for bridge in self.interfaces().filter(|interface| interfaces::is_translated_bridge(interface)) {
            let ports = self.interfaces().filter(|interface| interface.master == Some(bridge.index));
            let ports: Vec<_> = ports.map(|interface| &*interface.name).collect();
            let traced = if ports.is_empty() { "none" } else { &*ports.join(", ") };
            say!(
                "{} is a bridge with net.bridge.bridge-nf-call-iptables: translated connections and rejected ones show \
                 one way only; its ports that are traced as well: {traced}; others: with -i",
                bridge.name
            );
        }
    }

    /// Takes all programs off.
    pub(super) fn detach(&mut self) {
        self.attached.clear();
    }

    /// An interface has gone, with its programs.
    pub(super) fn gone(&mut self, index: u32) {
        if let Some(at) = self.attached.iter().position(|attached| attached.interface.index == index) {
            let name = self.attached.remove(at).interface.name;
            say!("{name} has gone; waiting for it to come back");
            self.missing.push(name);
        }
    }

    /// Gives up those that a list of all interfaces does not have.
    pub(super) fn compare(&mut self, all: &[Interface]) {
        self.is_stale = false;
        let attached: Vec<_> = self.interfaces().map(|interface| interface.index).collect();
        gone(&attached, all).into_iter().for_each(|index| self.gone(index));
    }

    /// Notices were lost and no list can be read: nothing is known of any interface, so none is given up.
    pub(super) fn cannot_compare(&mut self, error: &interfaces::Error) {
        if !self.is_stale {
            say!("notices of interfaces were lost; until a list can be read, all traced interfaces are kept: {error}");
        }
        self.is_stale = true;
    }

    /// An interface as it is now: renamed, down, up, or back.
    pub(super) fn changed(&mut self, kernel: &mut Kernel, now: Interface) -> Change {
        if let Some(attached) = self.attached.iter_mut().find(|attached| attached.interface.index == now.index) {
            say_difference(&attached.interface, &now);
            attached.interface = now.clone();
            return Change::Traced(now);
        }
        let Some(at) = self.missing.iter().position(|name| *name == now.name) else { return Change::None };
        // Asked for anew: the notice may be older than a program that somebody has attached since.
        let found = interfaces::find(&now.name).map_err(Into::into);
        match found.and_then(|interface| hooks::attach(kernel, interface, self.hook, self.tc)) {
            Ok(attached) => {
                self.missing.remove(at);
                say!("back: {}", describe(&attached));
                let interface = attached.interface.clone();
                self.attached_as.retain(|hook| hook.interface != now.name);
                self.attached_as.push(summarized(&attached));
                self.attached.push(attached);
                Change::Back(interface)
            }
            Err(error) => {
                say!("{} is back, not traced: {error:#}", now.name);
                Change::None
            }
        }
    }
}

fn say_difference(before: &Interface, now: &Interface) {
    if before.name != now.name {
        say!("{} is called {} now", before.name, now.name);
    }
    match (before.up, now.up) {
        (true, false) => say!("{} went down: no packets until it is up again", now.name),
        (false, true) => say!("{} is up", now.name),
        _ => {}
    }
}

/// Those attached that a list of all interfaces does not have, by their indices.
fn gone(attached: &[u32], all: &[Interface]) -> Vec<u32> {
    attached.iter().copied().filter(|index| !all.iter().any(|interface| interface.index == *index)).collect()
}

fn summarized(attached: &Attached) -> summary::Hook {
    summary::Hook {
        interface: attached.interface.name.clone(),
        ingress: attached.ingress.to_string(),
        reason: attached.reason.clone(),
        egress: attached.egress.map(|it| it.name().to_owned()),
    }
}

fn describe(attached: &Attached) -> String {
    let egress = attached.egress.map_or("the same packets", Tc::name);
    let beside = if attached.beside.is_empty() {
        String::new()
    } else {
        format!("; packets then pass {}", attached.beside.join(", "))
    };
    format!("{}: in by {} ({}), out by {egress}{beside}", attached.interface.name, attached.ingress, attached.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::links::nic;

    #[test]
    fn only_those_that_a_list_lacks_have_gone() {
        let all = [nic(1, "lo"), nic(3, "eth1")];
        for (what, attached, expected) in [
            ("all are there", vec![1, 3], vec![]),
            ("one has gone", vec![1, 2, 3], vec![2]),
            ("nothing is attached", vec![], vec![]),
        ] {
            assert_eq!(gone(&attached, &all), expected, "{what}");
        }
    }
}
