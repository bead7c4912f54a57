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
                Ok(Some(LinkEvent::Lost)) => {
                    let all = interfaces::list().unwrap_or_default();
                    let gone: Vec<_> = self.attached.iter().map(|it| it.interface.index).collect();
                    for index in gone.into_iter().filter(|index| !all.iter().any(|it| it.index == *index)) {
                        self.gone(index);
                    }
                    all.into_iter().for_each(|it| self.changed(it));
                }
                Err(error) => {
                    say!("cannot watch the interfaces any more: {error}");
                    return;
                }
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
