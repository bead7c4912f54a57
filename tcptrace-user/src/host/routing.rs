//! A watch for changes of this namespace's routing: links, addresses, routes, rules.
//!
//! It keeps no table. It says since when nothing has changed, so that a decision of now is known to be that of an
//! earlier moment. A thread waits for the notices: read at a sweep, a change before a call would count as one after it.
//! Not seen: routes that the kernel learns by itself (redirects, path MTU), which refuse nothing.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tcptrace_core::handshake::Nanos;

use crate::{clock::monotonic, netlink::Channel};

/// Bytes of notices that may wait. What does not fit is a change, too.
const ROOM: libc::c_int = 1 << 16;
/// Notices read at a look. A table that is being written has more, and changes still.
const MOST: u32 = 256;
/// How long the thread outlives the watch at most, in milliseconds.
const LINGERS: u16 = 1000;

/// Every table that a decision rests on.
const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    RTNLGRP_IPV6_RULE,
];
/// include/uapi/linux/rtnetlink.h; libc has no name for it.
const RTNLGRP_IPV6_RULE: u32 = 19;

#[derive(Debug)]
pub(super) struct Routing(Arc<Mutex<Notices>>);

#[derive(Debug)]
struct Notices {
    channel: Channel,
    /// For IPv4 and for IPv6: nothing has changed since then, up to the last look.
    settled: [Nanos; 2],
}

impl Routing {
    /// Of the calling thread's network namespace, from `now` on.
    pub(super) fn open(now: Nanos) -> io::Result<Self> {
        let mut channel = Channel::route()?;
        channel.subscribe(&GROUPS, ROOM)?;
        let descriptor = channel.as_fd().try_clone_to_owned()?;
        let notices = Arc::new(Mutex::new(Notices { channel, settled: [now; 2] }));
        let watched = Arc::downgrade(&notices);
        thread::Builder::new().name("routing".to_owned()).spawn(move || watch(&descriptor, &watched))?;
        Ok(Self(notices))
    }

    /// Since when nothing has changed for the addresses of that family. To be asked after the decision that it is about.
    pub(super) fn settled(&self, of: IpAddr) -> Nanos {
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notices.look();
        notices.settled[usize::from(of.is_ipv6())]
    }
}

impl Notices {
    fn look(&mut self) {
        let mut changed = [false; 2];
        // The first byte of every notice of these groups is its family; a link's is none, and it carries both.
        let read = self.channel.drain(MOST, |_, notice| {
            let family = notice.first().copied().map(i32::from);
            changed[0] |= family != Some(libc::AF_INET6);
            changed[1] |= family != Some(libc::AF_INET);
        });
        for (settled, changed) in self.settled.iter_mut().zip(changed) {
            // An error is more notices than fit.
            if changed || read.is_err() {
                *settled = monotonic();
            }
        }
    }
}

/// Waits for notices until nobody asks for them any more.
fn watch(descriptor: &OwnedFd, notices: &Weak<Mutex<Notices>>) {
    loop {
        let mut ready = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
        // An error is as good as a notice: both are looked at.
        let _ = poll(&mut ready, PollTimeout::from(LINGERS));
        let Some(notices) = notices.upgrade() else { return };
        notices.lock().unwrap_or_else(PoisonError::into_inner).look();
    }
}
