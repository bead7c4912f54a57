//! The callers of connect(2), and which calls became no SYN: the real hooks, with real sockets.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt},
};
use tcptrace::live::{
    connects::{Connect, Connects, How},
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

/// The call that opened from a client's address and port.
#[track_caller]
fn opened(connects: &Connects, client: Endpoint) -> Connect {
    let is_it = |it: &Connect| it.is_open && it.sent.is_some_and(|sent| sent.client == client);
    eventually(PATIENCE, || connects.recent(Nanos(0)).into_iter().find(is_it))
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
        let it = opened(&connects, of(peer));
        assert_eq!((it.pid, it.comm.to_string().as_str()), (process.pid().as_raw() as u32, "bash"));
        let sent = it.sent.expect("a SYN was sent");
        assert_eq!((it.asked, sent.server), (end(server, 80), end(server, 80)));
        assert!(it.called <= sent.at && it.cookie > 0 && it.netns > 0);
        assert_eq!(connects.by_socket(it.cookie, it.called), Some(it));

        let by_flow = |since| connects.by_flow(of(peer), end(server, 80), since);
        assert_eq!(by_flow(it.called), Ok(it));
        assert_eq!(by_flow(Nanos(0)), Err(Missing::Gone), "the SYN was before it");
        assert_eq!(by_flow(END), Err(Missing::Elsewhere), "it had opened before the SYN");
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
    let it = opened(&connects, end(CLIENT_V4, port));
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
        let it = opened(&connects, client);
        let server = it.sent.expect("a SYN was sent").server;
        assert_eq!((it.asked, server), (end(any, 80), end(loopback, 80)));
    }
}

/// Its flow is noted when it leaves SYN-SENT: in whichever way, and after a single SYN as well.
#[test]
fn a_call_that_waits_is_known_by_its_socket_and_one_that_was_given_up_by_its_flow() {
    let lab = Lab::new();
    let _rule = lab.server.filter("input", "tcp dport 81 drop");
    let (_kernel, connects) = attach(1 << 14);
    for (client, server) in [(CLIENT_V4, SERVER_V4), (CLIENT_V6, SERVER_V6)] {
        let process = lab.client.spawn(["bash", "-c", CONNECT, &server.to_string(), "81"]);
        let pid = process.pid().as_raw() as u32;
        let call = || connects.recent(Nanos(0)).into_iter().find(|it| it.pid == pid && it.asked.port == 81);
        let it = eventually(PATIENCE, call);
        assert_eq!((it.sent, it.failed, it.is_open), (None, None, false));
        assert_eq!(connects.by_socket(it.cookie, it.called), Some(it));
        assert_eq!(connects.by_socket(it.cookie, Nanos(it.called.0 - 1)), None, "the socket's next call");
        drop(process);
        let it = eventually(PATIENCE, || call().filter(|it| it.failed.is_some()));
        let sent = it.sent.expect("a SYN was sent");
        assert_eq!((sent.client.addr, sent.server), (end(client, 0).addr, end(server, 81)));
        assert_eq!(it.failed.expect("it is closed").how, How::Closed);
        assert_eq!(connects.by_flow(sent.client, sent.server, it.called), Ok(it));
    }
}

/// With Fast Open connect(2) returns in SYN-SENT, and the SYN is made with the first data, or never.
#[test]
fn a_call_that_waits_for_data_has_no_syn_yet() {
    let lab = Lab::new();
    // Without a cookie of the server's.
    lab.client.sysctl("net.ipv4.tcp_fastopen", "5");
    let listener = lab.server.listen((SERVER_V4, 82).into());
    let (_kernel, connects) = attach(1 << 14);
    let call = || {
        let is_it = |it: &Connect| it.pid == std::process::id() && it.asked.port == 82;
        connects.recent(Nanos(0)).into_iter().filter(is_it).max_by_key(|it| it.called).expect("it is noted")
    };
    let connect = || {
        lab.client.enter(|| {
            let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).expect("a socket");
            setsockopt(&socket, sockopt::TcpFastOpenConnect, &true).expect("it is an option");
            connect(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(SERVER_V4, 82))).expect("it waits");
            socket
        })
    };
    let waiting = connect();
    assert_eq!((call().sent, call().failed), (None, None));
    drop(waiting);
    assert_eq!((call().sent, call().failed.map(|failed| failed.how)), (None, Some(How::Closed)));

    let mut stream = TcpStream::from(connect());
    stream.write_all(b"data").expect("it is sent");
    assert!(eventually(PATIENCE, || Some(call()).filter(|it| it.is_open)).sent.is_some());
    drop(listener);
}

/// A port of its own does not make a call that routing or the port refused one with a SYN, nor an earlier call of the
/// same socket.
#[test]
fn a_socket_that_calls_again_is_judged_by_its_last_call() {
    let lab = Lab::new();
    let _listener = lab.server.listen((SERVER_V4, 80).into());
    let (_kernel, connects) = attach(1 << 14);
    let _held = lab.client.connect_from(50_009, (SERVER_V4, 80).into(), PATIENCE).expect("the server listens");
    let calls = lab.client.enter(|| {
        let addr = |ip, port| SockaddrStorage::from(SocketAddr::new(ip, port));
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).expect("a socket");
        setsockopt(&socket, sockopt::ReuseAddr, &true).expect("it is an option");
        bind(socket.as_raw_fd(), &addr(CLIENT_V4, 50_009)).expect("it may be shared");
        [4713, 80, 4713].map(|port| {
            let error = connect(socket.as_raw_fd(), &addr(SERVER_V4, port)).expect_err("it fails");
            let is_it = |it: &Connect| it.bound.port == 50_009 && it.asked.port == port && it.failed.is_some();
            (error, connects.recent(Nanos(0)).into_iter().find(is_it).expect("it is noted"))
        })
    });
    let told = calls.map(|(errno, it)| (errno, it.sent.is_some(), it.failed.expect("it failed").how));
    let refused = (Errno::ECONNREFUSED, true, How::Error(libc::ECONNREFUSED));
    let taken = (Errno::EADDRNOTAVAIL, false, How::GaveUp { has_port: false });
    assert_eq!(told, [refused, taken, refused]);
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
        let is_it = |it: &Connect| it.sent.is_some_and(|sent| sent.client == client);
        connects.recent(Nanos(0)).into_iter().find(is_it).map(|it| (client, it.called))
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
