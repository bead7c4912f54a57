//! The callers of connect(2), and which calls became no SYN: the real hooks, with real sockets.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tcptrace::live::{
    connects::{Connect, Connects},
    kernel::{Kernel, Settings},
};
use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::Nanos,
};
use tcptrace_tests::lab::{CLIENT_V4, CLIENT_V6, Lab, SERVER_V4, SERVER_V6, eventually};
use tcptrace_vocabulary::facts::Missing;

use crate::rig::small;

const PATIENCE: Duration = Duration::from_secs(10);
/// Later than anything.
const END: Nanos = Nanos(u64::MAX);

/// The hooks see every process of the machine: tests ask for their own flows.
fn attach(connects: u32) -> (Kernel, Connects) {
    let mut kernel = Kernel::load(&Settings { connects, ..small() }).expect("the object loads");
    let it = kernel.attach_connects().unwrap_or_else(|off| panic!("{off}"));
    (kernel, it)
}

pub(crate) fn end(addr: IpAddr, port: u16) -> Endpoint {
    let addr = match addr {
        IpAddr::V4(it) => Addr::v4(it.to_bits()),
        IpAddr::V6(it) => Addr { hi: (it.to_bits() >> 64) as u64, lo: it.to_bits() as u64 },
    };
    Endpoint { addr, port }
}

fn of(addr: SocketAddr) -> Endpoint {
    end(addr.ip(), addr.port())
}

/// A process that connects and stays.
const CONNECT: &str = "exec 3<>/dev/tcp/$0/$1; read -u 3";

#[test]
fn a_flow_leads_to_the_process_that_called() {
    let lab = Lab::new();
    let (_kernel, connects) = attach(1 << 14);
    for (client, server) in [(CLIENT_V4, SERVER_V4), (CLIENT_V6, SERVER_V6)] {
        let listener = lab.server.listen_without_accept((server, 80).into(), 8);
        let process = lab.client.spawn(["bash", "-c", CONNECT, &server.to_string(), "80"]);
        let accepted = eventually(PATIENCE, || listener.accept().ok());
        let peer = accepted.peer_addr().expect("it is connected");
        assert_eq!(peer.ip(), client);
        let it = connects.by_flow(of(peer), end(server, 80), END).expect("it was called here");
        assert_eq!((it.pid, it.comm.to_string().as_str()), (process.pid().as_raw() as u32, "bash"));
        assert_eq!((it.asked, it.uid), (end(server, 80), 0));
        let sent = it.sent.expect("a SYN was sent");
        assert_eq!((sent.client, sent.server), (of(peer), end(server, 80)));
        assert!(it.called <= sent.at && it.cookie > 0 && it.cgroup > 0 && it.netns > 0);

        assert_eq!(connects.by_flow(of(peer), end(server, 80), Nanos(0)), Err(Missing::Gone), "the SYN was before it");
        let other = end(server, 81);
        assert_eq!(connects.by_flow(of(peer), other, END), Err(Missing::Elsewhere));
    }
}

/// An IPv6 socket that goes to an IPv4 address is one flow with what is on the wire.
#[test]
fn mapped_addresses_are_those_on_the_wire() {
    let lab = Lab::new();
    let (_kernel, connects) = attach(1 << 14);
    let _listener = lab.server.listen((SERVER_V4, 80).into());
    let IpAddr::V4(server) = SERVER_V4 else { unreachable!("it is called V4") };
    let mapped = SocketAddr::from((server.to_ipv6_mapped(), 80));
    let socket = lab.client.connect(mapped, PATIENCE).expect("the server listens");
    let port = socket.local_addr().expect("it is bound").port();
    let it = connects.by_flow(end(CLIENT_V4, port), end(SERVER_V4, 80), END).expect("it was called here");
    assert_eq!((it.pid, it.asked), (std::process::id(), end(SERVER_V4, 80)));
}

/// Where to a connect goes may be another address than it was given.
#[test]
fn the_unspecified_address_is_the_loopback() {
    let lab = Lab::new();
    lab.client.ip("link set lo up");
    let (_kernel, connects) = attach(1 << 14);
    for (any, loopback) in [
        (Ipv4Addr::UNSPECIFIED.into(), IpAddr::from(Ipv4Addr::LOCALHOST)),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    ] {
        let _listener = lab.client.listen((loopback, 80).into());
        let socket = lab.client.connect((any, 80).into(), PATIENCE).expect("it listens");
        let client = of(socket.local_addr().expect("it is bound"));
        let it = connects.by_flow(client, end(loopback, 80), END).expect("it was called here");
        assert_eq!(it.asked, end(any, 80));
    }
}

#[test]
fn what_has_no_route_is_unsent() {
    let lab = Lab::new();
    lab.client.ip("route add unreachable 192.0.2.0/24\nroute add unreachable 2001:db8:9::/64");
    let (_kernel, connects) = attach(1 << 14);
    let ours = |since| -> Vec<Connect> {
        let all = connects.recent(since).into_iter();
        all.filter(|it| it.pid == std::process::id() && it.asked.port == 4711).collect()
    };
    for (nowhere, server) in [("192.0.2.1", SERVER_V4), ("2001:db8:9::1", SERVER_V6)] {
        let nowhere: IpAddr = nowhere.parse().expect("an address");
        lab.client.connect((nowhere, 4711).into(), PATIENCE).expect_err("there is no route");
        lab.client.connect((server, 4711).into(), PATIENCE).expect_err("nobody listens");
        let sent = |to| {
            let calls = ours(Nanos(0)).into_iter().filter(|it| it.asked == end(to, 4711));
            calls.map(|it| it.sent.is_some()).collect::<Vec<_>>()
        };
        assert_eq!((sent(nowhere), sent(server)), (vec![false], vec![true]));
    }
    assert!(ours(END).is_empty(), "none is as young as that");
}

/// UDP connects, too, and has no SYN to send.
#[test]
fn datagram_sockets_are_passed_over() {
    let lab = Lab::new();
    let (_kernel, connects) = attach(1 << 14);
    lab.client.enter(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a port is free");
        socket.connect((SERVER_V4, 4712)).expect("nothing is sent");
    });
    let calls = connects.recent(Nanos(0));
    assert!(calls.iter().all(|it| it.asked.port != 4712), "{calls:?}");
}

#[test]
fn an_overwritten_call_is_gone() {
    let lab = Lab::new();
    let (_kernel, connects) = attach(1);
    let _listener = lab.server.listen((SERVER_V4, 80).into());
    let connect = || {
        let socket = lab.client.connect((SERVER_V4, 80).into(), PATIENCE).expect("the server listens");
        of(socket.local_addr().expect("it is bound"))
    };
    // With one place anybody's connect takes it.
    let (first, seen) = eventually(PATIENCE, || {
        let client = connect();
        connects.by_flow(client, end(SERVER_V4, 80), END).ok().map(|it| (client, it.sent.expect("it was sent").at))
    });
    connect();
    assert_eq!(connects.by_flow(first, end(SERVER_V4, 80), seen), Err(Missing::Gone));
}

#[test]
fn what_is_off_says_so() {
    let mut kernel = Kernel::load(&Settings { connects: 0, drops: 0, ..small() }).expect("the object loads");
    let connects = kernel.attach_connects().err().expect("it is off");
    let drops = kernel.attach_drops().err().expect("it is off");
    assert_eq!((connects.missing, drops.missing), (Missing::NotAsked, Missing::NotAsked));
    assert_eq!(connects.to_string(), "the callers of connect(2) stay unknown: not asked for");
    assert_eq!(drops.to_string(), "drop reasons stay unknown: not asked for");
}
