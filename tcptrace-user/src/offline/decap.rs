//! `--decap` of captures: into tunnels in tunnels, where the kernel looks into one.

use tcptrace_core::{segment::Link, tunnel};

/// A packet that was inside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner<'a> {
    pub octets: &'a [u8],
    pub link: Link,
    /// The innermost tunnel around it.
    pub outer: tunnel::Outer,
}

/// Tunnels in tunnels that are looked into.
const DEPTH: usize = 4;

/// The innermost packet of a frame; `None` where it is in no tunnel.
#[must_use]
pub fn inner(octets: &[u8], link: Link) -> Option<Inner<'_>> {
    let mut found: Option<Inner<'_>> = None;
    for _ in 0..DEPTH {
        let (octets, link) = found.map_or((octets, link), |it| (it.octets, it.link));
        let Some(it) = tunnel::inner(octets, link) else { break };
        let Some(inside) = octets.get(it.at..) else { break };
        found = Some(Inner { octets: inside, link: it.link, outer: it.tunnel.outer(octets) });
    }
    found
}
