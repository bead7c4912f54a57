//! Interfaces that come, go and change while they are traced: passed to the attachments, the setting and the evidence.

use super::{Session, attachments::Change};
use crate::live::interfaces::{self, Interface, LinkEvent};

impl Session {
    /// Handles the changes of interfaces: gone, back, renamed, down, up.
    pub(super) fn links(&mut self) {
        loop {
            match self.attachments.watch.get_mut().next_event() {
                Ok(None) => return,
                Ok(Some(LinkEvent::Gone { index, .. })) => self.attachments.gone(index),
                Ok(Some(LinkEvent::Changed(interface))) => self.changed(interface),
                Ok(Some(LinkEvent::Lost)) => self.compare_links(),
                Err(error) => {
                    say!("cannot watch the interfaces any more: {error}");
                    return;
                }
            }
        }
    }

    /// Compares all interfaces with those that are traced, after notices were lost; the next sweep asks again where
    /// they cannot be listed.
    pub(super) fn compare_links(&mut self) {
        match interfaces::list() {
            Ok(all) => {
                self.attachments.compare(&all);
                all.into_iter().for_each(|interface| self.changed(interface));
            }
            Err(error) => self.attachments.cannot_compare(&error),
        }
    }

    fn changed(&mut self, now: Interface) {
        let interface = match self.attachments.changed(&mut self.feed.kernel, now) {
            Change::None => return,
            Change::Traced(interface) => interface,
            Change::Back(interface) => {
                if let Some(evidence) = &self.evidence {
                    evidence.interface(&interface);
                }
                interface
            }
        };
        self.setting.interfaces.insert(interface.index, interface.name);
    }
}
