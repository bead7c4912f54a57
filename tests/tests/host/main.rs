//! The suite `host`: what this host's interfaces say of attempts, in the lab's namespaces. It needs root.

mod counters;
mod listeners;
mod names;
mod namespaces;
mod neighbours;
mod sockets;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tcptrace::host::Host;
use tcptrace_core::{
    flow::Addr,
    handshake::{Handshake, Nanos},
};
use tcptrace_tests::lab::Ns;
use tcptrace_vocabulary::facts::Local;

const PATIENCE: Duration = Duration::from_secs(20);

/// Now, on the clock of attempts.
fn now() -> Nanos {
    tcptrace::clock::monotonic()
}

/// What a host is told of an attempt that begins now.
fn attempt(client: SocketAddr, server: SocketAddr) -> Handshake {
    Handshake {
        client_addr: addr(client.ip()),
        client_port: client.port(),
        server_addr: addr(server.ip()),
        server_port: server.port(),
        first_syn: now(),
        ..Handshake::default()
    }
}

fn addr(ip: IpAddr) -> Addr {
    let bits = match ip {
        IpAddr::V4(it) => it.to_ipv6_mapped().to_bits(),
        IpAddr::V6(it) => it.to_bits(),
    };
    Addr { hi: (bits >> 64) as u64, lo: bits as u64 }
}

/// A host that is one namespace.
fn own(ns: &Ns) -> Host {
    ns.enter(Host::own)
}

/// What a fresh look says.
fn look(host: &mut Host, client: SocketAddr, server: SocketAddr) -> Local {
    host.tick(now());
    host.fill(&attempt(client, server), now())
}
