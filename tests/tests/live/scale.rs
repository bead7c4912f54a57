//! Many at once: no false report among good handshakes, and none uncounted.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use tcptrace_tests::lab::{Lab, OnAccept};

use crate::view::{BOTH, PATIENCE, View};

/// Clients at a time, for either IP version, and the connections that each makes in turn.
const CLIENTS: usize = 50;
const EACH: usize = 100;

#[test]
fn ten_thousand_good_handshakes_without_a_word() {
    let lab = Lab::new();
    let views = View::everywhere(&lab, &[]);
    let _servers = BOTH.map(|(_, ip)| lab.server.listen_and((ip, 80).into(), OnAccept::Close));
    let client = &lab.client;
    thread::scope(|scope| {
        for (_, ip) in BOTH {
            for _ in 0..CLIENTS {
                scope.spawn(move || client.enter(|| connect_in_turn((ip, 80).into())));
            }
        }
    });
    for account in views.map(View::end) {
        assert_eq!(account.lines, Vec::<serde_json::Value>::new());
        assert_eq!(account.figure("/segments/opened"), 10_000);
        assert_eq!(account.figure("/segments/completed"), 10_000);
        assert_eq!(account.figure("/attempts/in_flight"), 0);
        account.assert_nothing_lost();
    }
}

fn connect_in_turn(to: SocketAddr) {
    for _ in 0..EACH {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).expect("a server listens there");
        // Waits until the server has accepted: its queue holds one connection of each client at most.
        assert_eq!(stream.read(&mut [0]).expect("the server closes"), 0);
    }
}
