//! Where this host translates an attempt, by its connection tracking: the half that is not traced.
//!
//! Only what is reported is asked about, and only so often. An entry goes with the RST that refuses a SYN, and none is
//! made of a SYN that a rule drops: packets alone show where those went.

use std::net::SocketAddr;

use tcptrace_core::{
    flow::Endpoint,
    handshake::{Handshake, Nanos},
};
use tcptrace_vocabulary::{
    attempt::OtherHalf,
    facts::Fact,
    words::{addr, ip},
};

use super::missing;
use crate::netlink::{
    Channel,
    conntrack::{self, Entry, Flow},
};

/// The number of entries that are asked for in a while: ten thousand failures a second are not.
const MOST: u32 = 64;
const WHILE: u64 = 200_000_000;

/// A channel to the connection tracking of one network namespace.
#[derive(Debug)]
pub(super) struct Translations {
    channel: Fact<Channel>,
    since: Nanos,
    asked: u32,
}

impl Translations {
    /// In the network namespace of the calling thread.
    pub(super) fn open() -> Self {
        Self { channel: Channel::netfilter().map_err(|error| missing(&error)), since: Nanos(0), asked: 0 }
    }

    /// An attempt's other half; `None`: it has none, or that is not known.
    pub(super) fn other_half(&mut self, attempt: &Handshake, now: Nanos) -> Option<OtherHalf> {
        let channel = self.channel.as_mut().ok()?;
        if now.since(self.since) >= WHILE {
            (self.since, self.asked) = (now, 0);
        }
        self.asked += 1;
        if self.asked > MOST {
            return None;
        }
        let end = |it: Endpoint| SocketAddr::new(ip(it.addr), it.port);
        let (client, server) = (end(attempt.client()), end(attempt.server()));
        // Before its translation it is as it came; after it, its answers come from the server.
        let mut find = |flow| conntrack::look_up(channel, flow).ok().flatten();
        let entry = find((client, server)).or_else(|| find((server, client)))?;
        let (from, to) = other(&entry, (client, server))?;
        let point = |it: SocketAddr| Endpoint { addr: addr(it.ip()), port: it.port() };
        Some(OtherHalf { client: point(from), server: point(to), is_before: (from, to) == entry.original })
    }
}

/// The other flow of an entry, in the direction of its first packet; `None` where nothing was translated.
fn other(entry: &Entry, flow: Flow) -> Option<Flow> {
    let (from, to) = entry.reply;
    let (before, after) = (entry.original, (to, from));
    match flow {
        _ if before == after => None,
        it if it == before => Some(after),
        it if it == after => Some(before),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_flow_is_in_the_direction_of_the_first_packet() {
        let end = |host: u8, port: u16| SocketAddr::from(([10, 0, 0, host], port));
        let (client, service, server, router) = (end(1, 40_000), end(9, 80), end(2, 8080), end(3, 50_000));
        for (before, after) in [
            ((client, service), (client, server)),
            ((client, server), (router, server)),
            ((client, service), (router, server)),
        ] {
            let entry = Entry { original: before, reply: (after.1, after.0) };
            assert_eq!(other(&entry, before), Some(after));
            assert_eq!(other(&entry, after), Some(before));
            assert_eq!(other(&entry, (router, client)), None, "another flow");
        }
        let entry = Entry { original: (client, server), reply: (server, client) };
        assert_eq!(other(&entry, (client, server)), None, "it is tracked, and as it was");
    }
}
