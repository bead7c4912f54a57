//! The failures, in the order in which they are shown.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use tcptrace_tests::{
    frames,
    generator::{Generator, Plan},
    lab::{ConnectOptions, Connecting, Lab, Listener, OTHER_V4, OnAccept, SERVER_V4, SERVER_V6, flags},
};

use crate::stage::{Shown, narrate};

const PATIENCE: Duration = Duration::from_secs(60);

/// Connections that work, by so many clients at a time.
const CLIENTS: usize = 10;
const EACH: usize = 100;

/// Shows them all.
pub(crate) fn show() {
    narrate("Three network namespaces: client 198.51.100.2, a router, and a server with 203.0.113.2 and 203.0.113.3.");
    let lab = Lab::new();
    lab.client_gives_up_after_three_syns();
    let client = Shown::start(&lab.client);
    refused(&lab, &client);
    unreachable(&lab, &client);
    no_reply(&lab, &client);
    recovered(&lab, &client);
    aborted(&lab, &client);
    reset_on_answer(&lab, &client);
    established(&lab);
    client.stop();

    narrate("Now tcptrace runs at the server. The server's answers get lost.");
    let server = Shown::start(&lab.server);
    half_open(&lab, &server);
    scan(&lab, &server);
    flood(&lab, &server);
    server.stop();
    println!();
    println!("That was a demo. To trace a real interface: sudo target/release/tcptrace --iface eth0");
}

fn refused(lab: &Lab, client: &Shown) {
    narrate("Port 80 of 203.0.113.2 is open, port 6036 closed. The client tries both.");
    let _web = web(lab, SERVER_V4);
    connect(lab, SERVER_V4, 80).finish(PATIENCE).expect("port 80 is open");
    let _ = connect(lab, SERVER_V4, 6036).finish(PATIENCE);
    client.wait_for_report(&["refused", "203.0.113.2:6036"]);
}

fn unreachable(lab: &Lab, client: &Shown) {
    narrate("A firewall on the way rejects port 22, over IPv4 and over IPv6.");
    let _rule = lab.router.filter("forward", "tcp dport 22 reject with icmpx admin-prohibited");
    for (ip, server) in [(SERVER_V4, "203.0.113.2:22"), (SERVER_V6, "[2001:db8:2::2]:22")] {
        let _ = connect(lab, ip, 22).finish(PATIENCE);
        client.wait_for_report(&["unreachable", server]);
    }
}

fn no_reply(lab: &Lab, client: &Shown) {
    narrate("203.0.113.2 is silent, 203.0.113.3 works. The client tries both. Three unanswered SYNs are a stall.");
    let _rule = lab.router.filter("forward", "ip daddr 203.0.113.2 drop");
    let _web = web(lab, OTHER_V4);
    let silent = connect(lab, SERVER_V4, 80);
    connect(lab, OTHER_V4, 80).finish(PATIENCE).expect("the other site works");
    client.wait_for_report(&["stalled", "203.0.113.2:80"]);
    narrate("The client gives up after its third SYN. Its incident is over once nothing failed for ten seconds.");
    client.wait_for_finding(&["over  ", "203.0.113.2"]);
    drop(silent);
}

fn recovered(lab: &Lab, client: &Shown) {
    narrate("Two SYNs to port 443 get lost, the third gets through: a stall, and its recovery in the incident's end.");
    let _web = lab.server.listen((SERVER_V4, 443).into());
    let wire = lab.client.raw_link("eth0");
    let rule = lab.router.filter("forward", "tcp dport 443 drop");
    let connecting = connect(lab, SERVER_V4, 443);
    for _ in 0..2 {
        wire.recv_tcp(PATIENCE, |segment| segment.is_syn() && segment.target.port() == 443);
    }
    drop(rule);
    let _ = connecting.finish(PATIENCE);
    client.wait_for_finding(&["over  ", "203.0.113.2:443"]);
}

fn aborted(lab: &Lab, client: &Shown) {
    narrate("A client loses patience: it closes its socket before the SYN/ACK arrives.");
    let _web = lab.server.listen((SERVER_V4, 8080).into());
    lab.connect_and_close_during_handshake(50_000, (SERVER_V4, 8080).into());
    client.wait_for_report(&["aborted", "203.0.113.2:8080"]);
}

fn reset_on_answer(lab: &Lab, client: &Shown) {
    narrate("A server answers and resets the connection at once.");
    let _server = lab.reset_on_answer((SERVER_V4, 3306).into());
    lab.connect_delaying_final_ack(50_001, (SERVER_V4, 3306).into(), PATIENCE);
    client.wait_for_report(&["reset_on_answer", "203.0.113.2:3306"]);
}

fn established(lab: &Lab) {
    narrate("1000 connections work: nothing to report.");
    let _web = lab.server.listen_and((SERVER_V4, 80).into(), OnAccept::Close);
    let in_turn = || {
        for _ in 0..EACH {
            let mut stream = TcpStream::connect(SocketAddr::new(SERVER_V4, 80)).expect("port 80 is open");
            let _ = stream.read(&mut [0]);
        }
    };
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| lab.client.enter(in_turn));
        }
    });
}

fn scan(lab: &Lab, server: &Shown) {
    narrate("The client tries 300 closed ports. At the 32nd they become one finding: a scan.");
    for port in 1000..1300 {
        let _ = connect(lab, OTHER_V4, port).finish(PATIENCE);
    }
    server.wait_for_finding(&["scan", "203.0.113.3"]);
}

fn flood(lab: &Lab, server: &Shown) {
    narrate("A SYN flood runs for three seconds, as fast as this machine sends. Meanwhile one client is refused.");
    lab.server.run(["ethtool", "-K", "eth0", "gro", "on"]);
    let syns = Plan { flags: &[flags::SYN], flows: 0, servers: 1, data_between: 0 };
    let generator = Generator::new(&lab.router, "server0", frames::syn(4), &syns).expect("root may load programs");
    thread::scope(|scope| {
        scope.spawn(|| generator.send_for(Duration::from_secs(3)));
        thread::sleep(Duration::from_secs(1));
        let _ = connect(lab, SERVER_V4, 6036).finish(PATIENCE);
        server.wait_for_report(&["refused", "203.0.113.2:6036"]);
        server.wait_for_finding(&["flood", "203.0.113.0:443"]);
    });
}

fn half_open(lab: &Lab, server: &Shown) {
    let _web = web(lab, SERVER_V4);
    let _rule = lab.router.filter("forward", "tcp flags & (syn | ack) == syn | ack drop");
    let wire = lab.server.raw_link("eth0");
    let connecting = connect(lab, SERVER_V4, 80);
    // The client's own SYNs would have more SYN/ACKs sent.
    wire.recv_tcp(PATIENCE, |segment| segment.has(flags::SYN | flags::ACK));
    connecting.abandon();
    server.wait_for_report(&["stalled", "203.0.113.2:80"]);
}

fn connect(lab: &Lab, to: IpAddr, port: u16) -> Connecting {
    let connecting = lab.client.start_connect((to, port).into(), ConnectOptions::default());
    connecting.expect("the client has a route and a free port")
}

fn web(lab: &Lab, on: IpAddr) -> Listener {
    lab.server.listen((on, 80).into())
}
