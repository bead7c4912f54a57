//! A client's socket, by the four numbers of its attempt.

use std::{
    net::SocketAddr,
    os::{fd::AsRawFd, linux::fs::MetadataExt},
};

use tcptrace_tests::lab::{CLIENT_V4, CLIENT_V6, ConnectOptions, Lab, SERVER_V4, SERVER_V6, eventually};
use tcptrace_vocabulary::facts::Missing;

use crate::{PATIENCE, attempt, look, now, own};

#[test]
fn a_socket_is_found_by_its_four_numbers() {
    let lab = Lab::new();
    let rule = lab.router.filter("forward", "tcp dport 80 drop");
    for (client, server) in [(CLIENT_V4, SERVER_V4), (CLIENT_V6, SERVER_V6)] {
        let _listener = lab.server.listen((server, 81).into());
        let mut host = own(&lab.client);
        let client = |port| SocketAddr::new(client, port);
        let start = |port, to| {
            let options = ConnectOptions { from_port: Some(port), ..Default::default() };
            lab.client.start_connect((server, to).into(), options).unwrap()
        };
        let silent = start(40000, 80).into_stream();
        let local = look(&mut host, client(40000), (server, 80).into());
        let socket = local.socket.unwrap().unwrap();
        assert_eq!((socket.state, socket.uid), ("SYN-SENT", 0));
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", silent.as_raw_fd())).unwrap().st_ino();
        assert_eq!(u64::from(socket.inode), inode);
        assert_ne!(socket.cookie, 0);
        assert_eq!((local.client_here, local.server_here), (Ok(true), Ok(false)));
        assert_eq!(local.listener, Err(Missing::Elsewhere));
        let neighbour = local.neighbour.unwrap().unwrap();
        assert!(!neighbour.is_peer && !neighbour.failed, "{neighbour:?}");

        let open = start(40001, 81).finish(PATIENCE).unwrap();
        let state = |host: &mut tcptrace::host::Host, port, to: u16| {
            let socket = host.fill(&attempt(client(port), (server, to).into()), now()).socket.unwrap();
            socket.map(|it| it.state)
        };
        assert_eq!(state(&mut host, 40001, 81), Some("ESTABLISHED"));
        assert_eq!(state(&mut host, 40002, 81), None, "another port");
        drop((silent, open));
        eventually(PATIENCE, || state(&mut host, 40000, 80).is_none().then_some(()));
        eventually(PATIENCE, || (state(&mut host, 40001, 81) != Some("ESTABLISHED")).then_some(()));
        // A listener is no client's socket, though the kernel offers it.
        let own_listener = lab.client.listen((client(40003).ip(), 40003).into());
        assert_eq!(state(&mut host, 40003, 81), None);
        drop(own_listener);
    }
    drop(rule);
}
