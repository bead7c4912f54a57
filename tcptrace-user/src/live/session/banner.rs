//! The banner: what is traced, where, and which interfaces carry the same packets.
//!
//! A line for each interface that was named; for all those of patterns one line together, unless with `-v`.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    Session,
    attachments::{Attachments, Traced, describe},
};
use crate::live::{
    evidence,
    hooks::Attached,
    interfaces::{self, Interface},
};

/// Names of interfaces that are read in the same way; more of them are a number.
const NAMED: usize = 2;

impl Session {
    pub(super) fn banner(&self) {
        if self.options.quiet {
            return;
        }
        if let Some(netns) = &self.options.netns {
            say!("in {}", netns.name);
        }
        let all = interfaces::list().unwrap_or_else(|error| {
            say!("unknown which interfaces carry the same packets: {error}");
            Vec::new()
        });
        self.attachments.banner(&all);
        if let Some(path) = &self.options.write {
            let memory = evidence::MEMORY >> 20;
            say!("packets of failed attempts go to {}; up to {memory} MiB wait for a verdict", path.display());
        }
        if let Some(path) = &self.options.log {
            say!("reports go to {}; SIGHUP opens it anew", path.display());
        }
        self.judge.unknown().iter().for_each(|it| say!("{it}"));
        let table = &self.feed.kernel.table;
        say!(
            "tracing; the table holds {} attempts in {} MiB; Ctrl-C ends",
            table.capacity(),
            table.size().div_ceil(1 << 20)
        );
    }
}

impl Attachments {
    fn banner(&self, all: &[Interface]) {
        let is_short = self.plan.choice.has_patterns() && !self.plan.lists_each;
        for Traced { attached, .. } in self.traced.iter().filter(|traced| traced.is_named || !is_short) {
            say!("{}", describe(attached));
            if !attached.interface.up {
                say!("{} is down: no packets until it is up", attached.interface.name);
            }
        }
        if self.plan.choice.has_patterns() {
            let taken: Vec<_> = self.traced.iter().filter(|it| !it.is_named).map(|it| &it.attached).collect();
            say!("{}: {}", self.plan.choice, together(&taken, all));
        }
        self.say_bridges(is_short, all);
        let is_traced = |index| self.interfaces().any(|interface| interface.index == index);
        let pairs: Vec<_> = interfaces::overlapping(all);
        let pairs: Vec<_> = pairs.into_iter().filter(|&(lower, upper)| is_traced(lower) && is_traced(upper)).collect();
        if is_short && pairs.len() > NAMED {
            say!("{} pairs of these interfaces carry the same packets: each is counted once", pairs.len());
            return;
        }
        let name = |index| all.iter().find(|it| it.index == index).map_or("?", |it| &*it.name);
        for (lower, upper) in pairs {
            say!("{} and {} carry the same packets: each is counted once", name(lower), name(upper));
        }
    }

    /// Names the bridges on which netfilter hides something; with the short banner only those with a port that is not
    /// traced.
    fn say_bridges(&self, is_short: bool, all: &[Interface]) {
        for bridge in self.interfaces().filter(|interface| interfaces::is_translated_bridge(interface)) {
            let is_port = |interface: &&Interface| interface.master == Some(bridge.index);
            let ports: Vec<_> = self.interfaces().filter(is_port).map(|interface| &*interface.name).collect();
            if is_short && ports.len() == all.iter().filter(is_port).count() {
                continue;
            }
            let traced = if ports.is_empty() { "none" } else { &*ports.join(", ") };
            say!(
                "{} is a bridge with net.bridge.bridge-nf-call-iptables: translated connections and rejected ones show \
                 one way only; its ports that are traced as well: {traced}; others: with -i",
                bridge.name
            );
        }
    }
}

/// All interfaces of the patterns in a line.
fn together(taken: &[&Attached], all: &[Interface]) -> String {
    if taken.is_empty() {
        let names: Vec<_> = all.iter().map(|interface| interface.name.clone()).collect();
        return format!("no such interface yet; it is traced as soon as it comes; {}", interfaces::those(&names));
    }
    let mut ways: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for attached in taken {
        let out = attached.egress.map_or(String::new(), |tc| format!(", out by {}", tc.name()));
        ways.entry(format!("in by {}{out}", attached.ingress)).or_default().push(&attached.interface.name);
    }
    let only = ways.len() == 1;
    let mut ways: Vec<_> = ways.into_iter().collect();
    ways.sort_by_key(|(_, names)| Reverse(names.len()));
    let ways = ways.into_iter().map(|(way, names)| match names.len() {
        _ if only => way,
        few if few <= NAMED => format!("{} {way}", names.join(" and ")),
        many => format!("{many} {way}"),
    });
    let ways = ways.collect::<Vec<_>>().join("; ");
    let noun = if taken.len() == 1 { "interface" } else { "interfaces" };
    let down = taken.iter().filter(|attached| !attached.interface.up).count();
    let down = if down == 0 { String::new() } else { format!("; {down} down") };
    format!("{} {noun}, {ways}{down}; those that come later too", taken.len())
}
