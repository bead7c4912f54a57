//! Interfaces that come, go and change while they are traced: passed to the attachments, the setting and the evidence.

use super::{Session, attachments::Change};
use crate::live::{
    events,
    interfaces::{self, Interface, LinkEvent},
};

impl Session {
    /// Handles the changes of interfaces: gone, back, new, renamed, down, up.
    pub(super) fn links(&mut self) {
        loop {
            match self.attachments.watch.get_mut().next_event() {
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

    /// Compares all interfaces with those that are traced, after notices were lost; the next sweep asks again where
    /// they cannot be listed.
    pub(super) fn compare_links(&mut self) {
        match interfaces::list() {
            Ok(all) => {
                self.attachments.compare(&all).into_iter().for_each(|index| self.gone(index));
                all.into_iter().for_each(|interface| self.changed(interface));
            }
            Err(error) => self.attachments.cannot_compare(&error),
        }
    }

    fn gone(&mut self, index: u32) {
        let Some(forgotten) = self.attachments.gone(index) else { return };
        self.setting.interfaces.remove(&forgotten);
        if let Some(evidence) = &self.evidence {
            evidence.forget(forgotten);
        }
    }

    fn changed(&mut self, now: Interface) {
        let change = self.attachments.changed(&mut self.feed.kernel, now);
        let came = matches!(change, Change::Came(_));
        let (Change::Traced(interface) | Change::Came(interface)) = change else { return };
        if let Some(evidence) = self.evidence.as_ref().filter(|_| came) {
            evidence.interface(&interface);
        }
        self.setting.interfaces.insert(interface.index, interface.name);
        if came {
            // Attaching waits for the kernel, 20 ms or so each: a hundred that come at once must not fill the ring.
            self.read_events(events::BATCH);
        }
    }
}
