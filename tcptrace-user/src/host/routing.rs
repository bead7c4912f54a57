//! A watch for changes of this namespace's routing: links, addresses, routes, rules.
//!
//! It keeps no table. It says since when nothing has changed, so that a decision of now is known to be that of an
//! earlier moment. Not seen: routes that the kernel learns by itself (redirects, path MTU), which refuse nothing.

use std::io;

use tcptrace_core::handshake::Nanos;

use crate::netlink::Channel;

/// Bytes of notices that may wait. What does not fit is a change, too.
const ROOM: libc::c_int = 1 << 16;
/// Notices read at a look. A table that is being written has more, and changes still.
const MOST: u32 = 256;

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
pub(super) struct Routing {
    channel: Channel,
    /// Nothing has changed since then, up to the last look.
    settled: Nanos,
}

impl Routing {
    /// Of the calling thread's network namespace, from `now` on.
    pub(super) fn open(now: Nanos) -> io::Result<Self> {
        let mut channel = Channel::route()?;
        channel.subscribe(&GROUPS, ROOM)?;
        Ok(Self { channel, settled: now })
    }

    /// Since when nothing has changed. To be asked after the decision that it is about.
    pub(super) fn settled(&mut self, now: Nanos) -> Nanos {
        match self.channel.drain(MOST, |_, _| {}) {
            Ok(0) => {}
            // An error is more notices than fit.
            Ok(_) | Err(_) => self.settled = now,
        }
        self.settled
    }
}
