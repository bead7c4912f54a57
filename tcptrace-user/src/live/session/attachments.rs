//! The attachments: the interfaces that are traced, those that are waited for, and the watch for their changes.
//!
//! An interface that `-i` names has to exist, is waited for when it has gone, and each of its changes is reported on
//! standard error. Those that a pattern takes come and go in silence, unless with `-v`. Decides nothing about reports.

use std::collections::{BTreeSet, VecDeque};

use anyhow::Context as _;
use tcptrace_report::summary;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    limit,
    live::{
        choice::Choice,
        hooks::{self, Attached, Tc},
        interfaces::{self, HookChoice, Interface, LinkWatch},
        kernel::Kernel,
    },
};

/// The number of interfaces that are known by name after they have gone: reports about their packets may follow.
const REMEMBERED: usize = 1024;

/// How a run attaches.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) choice: Choice,
    pub(super) hook: HookChoice,
    pub(super) tc: Option<Tc>,
    /// Every interface has a line of its own.
    pub(super) lists_each: bool,
}

/// The programs of a run on their interfaces; dropping it takes them off.
pub(super) struct Attachments {
    pub(super) plan: Plan,
    pub(super) traced: Vec<Traced>,
    /// The way each interface was attached to, by its index, for the summary: it is made when nothing is attached any
    /// more.
    attached_as: Vec<(u32, summary::Hook)>,
    /// Names of interfaces that went away and are waited for.
    missing: Vec<String>,
    /// Interfaces that a pattern takes and that could not be attached to.
    refused: BTreeSet<u32>,
    /// How often that happened.
    pub(super) untraced: u64,
    /// Interfaces of a pattern that have gone: how many, and the latest.
    pub(super) went: u64,
    latest_gone: VecDeque<u32>,
    pub(super) watch: AsyncFd<LinkWatch>,
    /// Notices of interfaces were lost, and no list has been read since.
    pub(super) is_stale: bool,
}

/// An interface with the programs on it.
pub(super) struct Traced {
    pub(super) attached: Attached,
    /// Wanted by its name, not by a pattern.
    pub(super) is_named: bool,
}

/// The state of an interface after a change.
pub(super) enum Change {
    /// It is traced, and was.
    Traced(Interface),
    /// It came, or came back, and is traced now.
    Came(Interface),
    /// It is not traced.
    None,
}

impl Attachments {
    /// Attaches to those that were named and to those that patterns take, and watches for changes from before on.
    pub(super) fn open(kernel: &mut Kernel, named: Vec<Interface>, plan: Plan) -> anyhow::Result<Self> {
        let watch = LinkWatch::open().context("cannot watch the interfaces")?;
        // SAFETY: the watch keeps one descriptor open until it is dropped.
        #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
        let watch = unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }?;
        let mut all = Self {
            plan,
            traced: Vec::new(),
            attached_as: Vec::new(),
            missing: Vec::new(),
            refused: BTreeSet::new(),
            untraced: 0,
            went: 0,
            latest_gone: VecDeque::new(),
            watch,
            is_stale: false,
        };
        for interface in named {
            let attached = hooks::attach(kernel, interface, all.plan.hook, all.plan.tc)?;
            all.add(attached, true);
        }
        if all.plan.choice.has_patterns() {
            all.open_patterns(kernel)?;
        }
        Ok(all)
    }

    /// Attaches to those that patterns take now.
    fn open_patterns(&mut self, kernel: &mut Kernel) -> anyhow::Result<()> {
        // An interface that comes later is not to wait until the kernel has verified programs.
        hooks::load_tc(kernel)?;
        let mut all = interfaces::list()?;
        all.retain(|interface| self.plan.choice.takes(interface));
        interfaces::nics_first(&mut all);
        let mut failed = None;
        for interface in all {
            if self.interfaces().any(|it| it.index == interface.index) {
                continue;
            }
            match hooks::attach_if_there(kernel, interface.index, self.plan.hook, self.plan.tc) {
                Ok(Some(attached)) => self.add(attached, false),
                Ok(None) => {}
                Err(error) => failed = failed.or_else(|| self.refuse(interface.index, &interface.name, error)),
            }
        }
        match failed {
            Some(error) if self.traced.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    fn add(&mut self, attached: Attached, is_named: bool) {
        let index = attached.interface.index;
        // One that comes back from another namespace may have the index that it had.
        self.latest_gone.retain(|gone| *gone != index);
        self.attached_as.push((index, summarized(&attached)));
        self.traced.push(Traced { attached, is_named });
    }

    /// Notes an interface that could not be attached to, once; the others are traced.
    fn refuse(&mut self, index: u32, name: &str, error: anyhow::Error) -> Option<anyhow::Error> {
        if !self.refused.insert(index) {
            return None;
        }
        self.untraced += 1;
        // What keeps one of hundreds from being traced keeps the next as well.
        if self.untraced == 1 || self.plan.lists_each {
            let error = limit::with_causes(&error);
            say!("{name} is not traced: {error}; the summary counts such interfaces (interfaces_untraced)");
        }
        Some(error)
    }

    /// The interfaces that are traced.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.traced.iter().map(|traced| &traced.attached.interface)
    }

    /// The way each is attached to, or was when tracing ended.
    pub(super) fn hooks(&self) -> Vec<summary::Hook> {
        self.attached_as.iter().map(|(_, hook)| hook.clone()).collect()
    }

    /// Whether an interface of a pattern has gone, and is known by name alone.
    pub(super) fn has_gone(&self, index: u32) -> bool {
        self.latest_gone.contains(&index)
    }

    /// Takes all programs off.
    pub(super) fn detach(&mut self) {
        self.traced.clear();
    }

    /// An interface has gone, with its programs. Gives the index of one that went long ago: its name may be forgotten.
    pub(super) fn gone(&mut self, index: u32) -> Option<u32> {
        self.refused.remove(&index);
        let at = self.interfaces().position(|interface| interface.index == index)?;
        let Traced { attached, is_named } = self.traced.remove(at);
        let name = attached.interface.name;
        if is_named {
            say!("{name} has gone; waiting for it to come back");
            self.missing.push(name);
            return None;
        }
        if self.plan.lists_each {
            say!("{name} has gone");
        }
        self.attached_as.retain(|(attached, _)| *attached != index);
        self.went += 1;
        self.latest_gone.push_back(index);
        if self.latest_gone.len() > REMEMBERED { self.latest_gone.pop_front() } else { None }
    }

    /// Those traced that a list of all interfaces does not have, by their indices.
    pub(super) fn compare(&mut self, all: &[Interface]) -> Vec<u32> {
        self.is_stale = false;
        let traced: Vec<_> = self.interfaces().map(|interface| interface.index).collect();
        gone(&traced, all)
    }

    /// Notices were lost and no list can be read: nothing is known of any interface, so none is given up.
    pub(super) fn cannot_compare(&mut self, error: &interfaces::Error) {
        if !self.is_stale {
            say!("notices of interfaces were lost; until a list can be read, all traced interfaces are kept: {error}");
        }
        self.is_stale = true;
    }

    /// An interface as it is now: renamed, down, up, back, or new.
    pub(super) fn changed(&mut self, kernel: &mut Kernel, now: Interface) -> Change {
        if let Some(traced) = self.traced.iter_mut().find(|it| it.attached.interface.index == now.index) {
            if traced.is_named || self.plan.lists_each {
                say_difference(&traced.attached.interface, &now);
            }
            traced.attached.interface = now.clone();
            return Change::Traced(now);
        }
        if let Some(at) = self.missing.iter().position(|name| *name == now.name) {
            return self.back(kernel, at, &now);
        }
        if self.plan.choice.takes(&now) { self.came(kernel, &now) } else { Change::None }
    }

    /// An interface that was waited for.
    fn back(&mut self, kernel: &mut Kernel, at: usize, now: &Interface) -> Change {
        match hooks::attach_if_there(kernel, now.index, self.plan.hook, self.plan.tc) {
            Ok(Some(attached)) => {
                self.missing.remove(at);
                say!("back: {}", describe(&attached));
                self.attached_as.retain(|(_, hook)| hook.interface != now.name);
                let interface = attached.interface.clone();
                self.add(attached, true);
                Change::Came(interface)
            }
            // It has gone again; its next notice is about that.
            Ok(None) => Change::None,
            Err(error) => {
                say!("{} is back, not traced: {}", now.name, limit::with_causes(&error));
                Change::None
            }
        }
    }

    /// An interface that a pattern takes.
    fn came(&mut self, kernel: &mut Kernel, now: &Interface) -> Change {
        match hooks::attach_if_there(kernel, now.index, self.plan.hook, self.plan.tc) {
            Ok(Some(attached)) => {
                self.refused.remove(&now.index);
                if self.plan.lists_each {
                    say!("{}", describe(&attached));
                }
                let interface = attached.interface.clone();
                self.add(attached, false);
                Change::Came(interface)
            }
            Ok(None) => Change::None,
            Err(error) => {
                self.refuse(now.index, &now.name, error);
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

/// Those traced that a list of all interfaces does not have, by their indices.
fn gone(traced: &[u32], all: &[Interface]) -> Vec<u32> {
    traced.iter().copied().filter(|index| !all.iter().any(|interface| interface.index == *index)).collect()
}

fn summarized(attached: &Attached) -> summary::Hook {
    summary::Hook {
        interface: attached.interface.name.clone(),
        ingress: attached.ingress.to_string(),
        reason: attached.reason.clone(),
        egress: attached.egress.map(|it| it.name().to_owned()),
    }
}

/// How an interface is traced.
pub(super) fn describe(attached: &Attached) -> String {
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
        for (what, traced, expected) in [
            ("all are there", vec![1, 3], vec![]),
            ("one has gone", vec![1, 2, 3], vec![2]),
            ("nothing is attached", vec![], vec![]),
        ] {
            assert_eq!(gone(&traced, &all), expected, "{what}");
        }
    }
}
