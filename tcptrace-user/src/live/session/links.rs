//! Interfaces that come, go and change while they are traced.

use super::{Session, attach, describe, hook};
use crate::live::interfaces::{self, Interface, LinkEvent};

impl Session {
    /// What happened to interfaces: gone, back, renamed, down, up.
    pub(super) fn links(&mut self) {
        loop {
            match self.watch.get_mut().next_event() {
                Ok(None) => return,
                Ok(Some(LinkEvent::Gone { index, .. })) => self.gone(index),
                Ok(Some(LinkEvent::Changed(interface))) => self.changed(interface),
                Ok(Some(LinkEvent::Lost)) => self.compare_links(),
                Err(error) => {
                    say!("cannot watch the interfaces any more: {error}");
                    return;
                }
            }
        }
    }

    /// Compares all interfaces with those that are traced, after notices were lost. A list that cannot be had says
    /// nothing of any interface: none is given up, and the next sweep asks again.
    pub(super) fn compare_links(&mut self) {
        match interfaces::list() {
            Ok(all) => {
                self.is_stale = false;
                let attached: Vec<_> = self.attached.iter().map(|it| it.interface.index).collect();
                gone(&attached, &all).into_iter().for_each(|index| self.gone(index));
                all.into_iter().for_each(|interface| self.changed(interface));
            }
            Err(error) => {
                if !self.is_stale {
                    say!(
                        "notices of interfaces were lost; until a list can be read, those traced are taken to be there: {error}"
                    );
                }
                self.is_stale = true;
            }
        }
    }

    fn gone(&mut self, index: u32) {
        if let Some(at) = self.attached.iter().position(|it| it.interface.index == index) {
            let name = self.attached.remove(at).interface.name;
            say!("{name} has gone; waiting for it to come back");
            self.missing.push(name);
        }
    }

    fn changed(&mut self, now: Interface) {
        if let Some(it) = self.attached.iter_mut().find(|it| it.interface.index == now.index) {
            if it.interface.name != now.name {
                say!("{} is called {} now", it.interface.name, now.name);
            }
            match (it.interface.up, now.up) {
                (true, false) => say!("{} went down: no packets until it is up again", now.name),
                (false, true) => say!("{} is up", now.name),
                _ => {}
            }
            self.setting.interfaces.insert(now.index, now.name.clone());
            it.interface = now;
            return;
        }
        let Some(at) = self.missing.iter().position(|name| *name == now.name) else { return };
        let (index, name) = (now.index, now.name.clone());
        // Asked for anew: the notice may be older than a program that somebody has attached since.
        match interfaces::find(&name).map_err(Into::into).and_then(|it| attach(&mut self.kernel, it, &self.args)) {
            Ok(attached) => {
                self.missing.remove(at);
                say!("back: {}", describe(&attached));
                if let Some(evidence) = &self.evidence {
                    evidence.interface(&attached.interface);
                }
                self.attached_as.retain(|it| it.interface != name);
                self.attached_as.push(hook(&attached));
                self.setting.interfaces.insert(index, name);
                self.attached.push(attached);
            }
            Err(error) => say!("{name} is back: {error:#}"),
        }
    }
}

/// Those attached that a list of all interfaces does not have, by their indices.
fn gone(attached: &[u32], all: &[Interface]) -> Vec<u32> {
    attached.iter().copied().filter(|index| !all.iter().any(|interface| interface.index == *index)).collect()
}
