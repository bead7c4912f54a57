//! What the kernel dropped and why: the real tracepoint, with real rules and floods.

use std::{net::SocketAddr, time::Duration};

use tcptrace::live::{
    drops::Drops,
    kernel::{Kernel, Settings},
};
use tcptrace_core::{
    drops::STRANGERS,
    event::Counter,
    flow::Endpoint,
    handshake::{Nanos, Side},
    segment::Flags,
};
use tcptrace_tests::{
    frames,
    generator::{Generator, Plan},
    lab::{CLIENT_V4, CLIENT_V6, ConnectOptions, Lab, Noise, Quiet, SERVER_V4, SERVER_V6, eventually},
};
use tcptrace_vocabulary::facts::{Dropped, Missing};

use crate::{connects::end, rig::small};

const PATIENCE: Duration = Duration::from_secs(10);
const START: Nanos = Nanos(0);

/// The flow that a test looks for is one that nobody follows: a flood elsewhere would take its place.
fn attach(drops: u32) -> (Kernel, Drops, Quiet) {
    let (kernel, drops) = attach_in_noise(drops);
    (kernel, drops, Quiet::begin())
}

fn attach_in_noise(drops: u32) -> (Kernel, Drops) {
    let mut kernel = Kernel::load(&Settings { drops, ..small() }).expect("the object loads");
    let it = kernel.attach_drops().unwrap_or_else(|off| panic!("{off}"));
    (kernel, it)
}

fn counted(kernel: &Kernel, counter: Counter) -> u64 {
    kernel.tally().expect("the counters can be read").counters[counter as usize]
}

/// Sends a SYN, and what is noted of its flow in the end.
fn dropped(lab: &Lab, drops: &Drops, from: Endpoint, to: SocketAddr) -> Vec<Dropped> {
    let options = ConnectOptions { from_port: Some(from.port), ..ConnectOptions::default() };
    let connecting = lab.client.start_connect(to, options).expect("a SYN leaves");
    let server = end(to.ip(), to.port());
    let found = eventually(PATIENCE, || {
        let found = drops.of_flow((from, server), None, START, None).expect("nobody else has its place");
        (!found.is_empty()).then_some(found)
    });
    connecting.abandon();
    assert!(
        drops.of_flow((from, server), None, Nanos(u64::MAX), None).expect("it is there").is_empty(),
        "not since the end of time"
    );
    found
}

/// Each reason once: on a busy machine a SYN is sent again, and dropped again.
fn reasons(found: &[Dropped]) -> Vec<(Side, &str)> {
    let mut reasons: Vec<_> = found.iter().map(|it| (it.from, it.reason.as_str())).collect();
    reasons.dedup();
    reasons
}

const ENDS: [(std::net::IpAddr, std::net::IpAddr); 2] = [(CLIENT_V4, SERVER_V4), (CLIENT_V6, SERVER_V6)];

#[test]
fn names_are_the_kernels_own() {
    let (_kernel, drops, _quiet) = attach(1 << 12);
    let names: Vec<_> = drops.reasons().collect();
    for name in ["NETFILTER_DROP", "NO_SOCKET", "NOT_SPECIFIED"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
}

#[test]
fn a_firewall_on_the_way_in() {
    let lab = Lab::new();
    let (_kernel, drops, _quiet) = attach(1 << 12);
    let _rule = lab.server.filter("input", "tcp dport 81 drop");
    for (client, server) in ENDS {
        let found = dropped(&lab, &drops, end(client, 20_001), (server, 81).into());
        assert_eq!(reasons(&found), [(Side::Client, "NETFILTER_DROP")]);
        assert!(found[0].count >= 1 && found[0].at.0 > 0);
    }
}

/// No packet comes as far as an interface: nothing is in the table.
#[test]
fn a_firewall_on_the_way_out() {
    let lab = Lab::new();
    let (_kernel, drops, _quiet) = attach(1 << 12);
    let _rule = lab.client.filter("output", "tcp dport 81 drop");
    for (client, server) in ENDS {
        // connect(2) itself says EPERM or tries again, by the kernel's age.
        let from = end(client, 20_002);
        let found = dropped(&lab, &drops, from, (server, 81).into());
        assert_eq!(reasons(&found), [(Side::Client, "NETFILTER_DROP")]);
    }
}

#[test]
fn a_closed_port() {
    let lab = Lab::new();
    let (_kernel, drops, _quiet) = attach(1 << 12);
    for (client, server) in ENDS {
        let found = dropped(&lab, &drops, end(client, 20_003), (server, 82).into());
        // The client drops nothing: it takes the RST for what it is, and newer kernels say that, too.
        let of_client: Vec<_> = found.iter().filter(|it| it.from == Side::Client).map(|it| &*it.reason).collect();
        assert_eq!(of_client, ["NO_SOCKET"], "{found:?}");
    }
}

/// The answer's fate is the client's host's to tell, by its direction.
#[test]
fn the_answer_is_told_from_the_question() {
    let lab = Lab::new();
    let (_kernel, drops, _quiet) = attach(1 << 12);
    let _rule = lab.client.filter("input", "tcp sport 80 drop");
    for (client, server) in ENDS {
        let _listener = lab.server.listen((server, 80).into());
        let found = dropped(&lab, &drops, end(client, 20_004), (server, 80).into());
        assert_eq!(reasons(&found), [(Side::Server, "NETFILTER_DROP")]);
    }
}

/// Data of established connections is the network's matter: only its handshake is noted, and that was fine.
#[test]
fn data_is_passed_over() {
    let lab = Lab::new();
    let (_kernel, drops, _quiet) = attach(1 << 12);
    let listener = lab.server.listen_without_accept((SERVER_V4, 80).into(), 8);
    let mut socket = lab.client.connect_from(20_005, (SERVER_V4, 80).into(), PATIENCE).expect("the server listens");
    let _accepted = eventually(PATIENCE, || listener.accept().ok());
    let rule = lab
        .server
        .nft("counter gone {}\nchain c { type filter hook input priority 0; tcp dport 80 counter name gone drop; }");
    std::io::Write::write_all(&mut socket, b"data").expect("it is sent");
    eventually(PATIENCE, || (!rule.list().contains("packets 0 ")).then_some(()));
    let found = drops.of_flow((end(CLIENT_V4, 20_005), end(SERVER_V4, 80)), None, START, None);
    // Gone: another flow of the machine has the place that this one would have had.
    assert!(found == Ok(Vec::new()) || found == Err(Missing::Gone), "{found:?}");
}

#[test]
fn an_overwritten_flow_is_gone() {
    let lab = Lab::new();
    let (_kernel, drops, _quiet) = attach(1);
    let _rule = lab.client.filter("output", "tcp dport 81-82 drop");
    dropped(&lab, &drops, end(CLIENT_V4, 20_006), (SERVER_V4, 81).into());
    dropped(&lab, &drops, end(CLIENT_V4, 20_007), (SERVER_V4, 82).into());
    let first =
        |since| drops.of_flow((end(CLIENT_V4, 20_006), end(SERVER_V4, 81)), None, since, None).map(|it| it.len());
    assert_eq!(first(START), Err(Missing::Gone));
    assert_eq!(first(Nanos(u64::MAX)), Ok(0), "what took the place was dropped before");
}

/// The stack drops each frame at its door (OTHERHOST). Of a million the most are counted only, and what this host drops of
/// its own is noted all the same, and stays.
#[test]
fn a_flood_has_its_budget() {
    const SYNS: Plan = Plan { flags: &[Flags::SYN], flows: 0, servers: 256, data_between: 0 };
    const FLOOD: u32 = 1 << 20;
    let lab = Lab::new();
    lab.server.run(["ethtool", "-K", "eth0", "gro", "on"]);
    let (kernel, drops) = attach_in_noise(1 << 12);
    let _rule = lab.client.filter("output", "tcp dport 81 drop");
    dropped(&lab, &drops, end(CLIENT_V4, 20_008), (SERVER_V4, 81).into());
    let _noise = Noise::begin();
    let generator = Generator::new(&lab.router, "server0", frames::syn(4), &SYNS).expect("it loads");
    let sent = generator.send(FLOOD).expect("frames are sent");
    let unnoted = counted(&kernel, Counter::DropUnnoted);
    // At most a thousand ticks a second (CONFIG_HZ), on each of whose CPUs frames may come in.
    let ticks = sent.wall.as_millis() as u64 + 2;
    let noted = ticks * u64::from(STRANGERS) * std::thread::available_parallelism().map_or(1, |it| it.get() as u64);
    println!("{} a second, {unnoted} of {FLOOD} not noted", (f64::from(FLOOD) / sent.wall.as_secs_f64()) as u64);
    // The wire loses some of them.
    assert!(unnoted + noted >= u64::from(FLOOD / 2), "{unnoted} of {FLOOD} were not noted");
    let found = drops
        .of_flow((end(CLIENT_V4, 20_008), end(SERVER_V4, 81)), None, START, None)
        .expect("no stranger takes its place");
    assert_eq!(reasons(&found), [(Side::Client, "NETFILTER_DROP")]);
}
