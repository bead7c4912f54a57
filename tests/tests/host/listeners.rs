//! Listeners, their queues and owners, and the kernel's counters.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};
use tcptrace_tests::lab::{CLIENT_V4, CLIENT_V6, Lab, Ns, OTHER_V4, SERVER_V4, SERVER_V6, eventually};
use tcptrace_vocabulary::facts::{Listener, Missing};

use crate::{PATIENCE, attempt, look, now, own};

const PAIRS: [(IpAddr, IpAddr); 2] = [(CLIENT_V4, SERVER_V4), (CLIENT_V6, SERVER_V6)];

/// Listens, with what is to be set on the socket before it is bound.
fn listen(ns: &Ns, on: SocketAddr, backlog: i32, prepare: impl Fn(&OwnedFd) -> nix::Result<()> + Sync) -> TcpListener {
    let open = || -> io::Result<TcpListener> {
        let family = if on.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        prepare(&fd)?;
        socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(on))?;
        socket::listen(&fd, Backlog::new(backlog)?)?;
        Ok(fd.into())
    };
    // Another test that starts a program has a copy of an earlier socket until that program runs.
    eventually(PATIENCE, || match ns.enter(open) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        opened => Some(opened.unwrap()),
    })
}

fn found(lab: &Lab, client: IpAddr, server: IpAddr) -> Option<Listener> {
    look(&mut own(&lab.server), (client, 40000).into(), (server, 80).into()).listener.unwrap()
}

#[test]
fn a_queue_that_nobody_empties_is_full_and_the_kernel_counts() {
    for (client, server) in PAIRS {
        let lab = Lab::new();
        let to = SocketAddr::new(server, 80);
        let _listener = lab.server.listen_without_accept(to, 1);
        let mut host = own(&lab.server);
        let _first = lab.client.connect(to, PATIENCE).unwrap();
        // What was read a moment ago is read again after another.
        let local = eventually(PATIENCE, || {
            let local = look(&mut host, (client, 40000).into(), to);
            (local.listener.as_ref().unwrap().as_ref()?.queue == 1).then_some(local)
        });
        let listener = local.listener.unwrap().unwrap();
        assert_eq!((listener.queue_max, listener.is_full()), (1, false));
        assert_eq!((local.client_here, local.server_here), (Ok(false), Ok(true)));
        assert_eq!((local.process, local.socket), (Err(Missing::NotAsked), Err(Missing::Elsewhere)));
        let _second = lab.client.connect(to, PATIENCE).unwrap();
        let refused = attempt((client, 40000).into(), to);
        let _third = lab.client.start_connect(to, Default::default()).unwrap();
        let local = eventually(PATIENCE, || {
            let local = host.fill(&refused, now());
            local.counters.is_ok_and(|it| it.listen_overflows > 0).then_some(local)
        });
        let counters = local.counters.unwrap();
        assert!(counters.listen_drops >= counters.listen_overflows, "{counters:?}");
        assert_eq!((counters.syncookies_sent, counters.abort_on_memory), (0, 0));
        let listener = eventually(PATIENCE, || {
            let listener = host.fill(&refused, now()).listener.unwrap().unwrap();
            listener.is_full().then_some(listener)
        });
        assert_eq!((listener.queue, listener.queue_max, listener.sockets), (2, 1, 1));
        let process = listener.process.unwrap();
        assert_eq!(process.pid, std::process::id(), "{process:?}");
    }
}

#[test]
fn growth_is_of_the_attempts_own_time() {
    let lab = Lab::new();
    let to = SocketAddr::new(SERVER_V4, 80);
    let mut host = own(&lab.server);
    let before = attempt((CLIENT_V4, 40000).into(), to);
    let _listener = lab.server.listen_without_accept(to, 0);
    let _first = lab.client.connect(to, PATIENCE).unwrap();
    let _second = lab.client.start_connect(to, Default::default()).unwrap();
    eventually(PATIENCE, || (host.fill(&before, now()).counters.unwrap().listen_overflows > 0).then_some(()));
    // The client tries again, which counts too, until it has given up.
    drop(_second);
    eventually(PATIENCE, || {
        let after = attempt((CLIENT_V4, 40001).into(), to);
        host.tick(now());
        (host.fill(&after, now()).counters.unwrap().listen_overflows == 0).then_some(())
    });
    let mut earlier = before;
    earlier.first_syn.0 = 1;
    assert_eq!(host.fill(&earlier, now()).counters, Err(Missing::NotAsked), "nobody looked then");
}

#[test]
fn nobody_listens() {
    let lab = Lab::new();
    let _other_port = lab.server.listen((SERVER_V4, 81).into());
    let _other_address = lab.server.listen((OTHER_V4, 80).into());
    for (client, server) in PAIRS {
        assert_eq!(found(&lab, client, server), None);
    }
}

#[test]
fn one_socket_listens_for_both_versions() {
    let lab = Lab::new();
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80));
    let listener = listen(&lab.server, any, 7, |_| Ok(()));
    for (client, server) in PAIRS {
        let found = found(&lab, client, server).unwrap();
        assert_eq!((found.queue, found.queue_max, found.sockets), (0, 7, 1), "{server}");
    }
    drop(listener);
    let _only = listen(&lab.server, any, 7, |fd| setsockopt(fd, sockopt::Ipv6V6Only, &true));
    assert_eq!(PAIRS.map(|(client, server)| found(&lab, client, server).is_some()), [false, true]);
}

#[test]
fn of_a_group_the_fullest_counts() {
    let lab = Lab::new();
    let to = SocketAddr::new(SERVER_V4, 80);
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
    let _group =
        [1, 100].map(|backlog| listen(&lab.server, any, backlog, |fd| setsockopt(fd, sockopt::ReusePort, &true)));
    let mut host = own(&lab.server);
    // Each goes where its hash says: enough of them fill the small one, and that is what is told.
    let mut open = Vec::new();
    let full = eventually(PATIENCE, || {
        open.push(lab.client.start_connect(to, Default::default()).unwrap());
        let found = host.fill(&attempt((CLIENT_V4, 40000).into(), to), now()).listener.unwrap().unwrap();
        assert_eq!(found.sockets, 2);
        found.is_full().then_some(found)
    });
    assert_eq!((full.queue, full.queue_max), (2, 1));
}

#[test]
fn a_listener_bound_to_an_interface_is_found() {
    let lab = Lab::new();
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
    let _bound = listen(&lab.server, any, 7, |fd| setsockopt(fd, sockopt::BindToDevice, &"eth0".into()));
    assert_eq!(found(&lab, CLIENT_V4, SERVER_V4).unwrap().queue_max, 7);
}
