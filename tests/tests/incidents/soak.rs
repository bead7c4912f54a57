//! A thousand servers that fail and recover at random, live: each outage begins once and ends once, its counts are those
//! of the sockets, and memory stays what it was. `TCPTRACE_SOAK_SECONDS` makes it longer.

use std::{
    collections::BTreeMap,
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tcptrace_tests::{
    folder::Folder,
    lab::{Finished, IdleListener, Lab, NftTable},
    pcap,
};

use crate::{PATIENCE, Random, Watch};

const SERVERS: u32 = 1000;
const PORT: u16 = 443;
/// Connections that nobody accepts while a server is up: more than are made then.
const BACKLOG: i32 = 512;

/// A server, in a network of its own.
struct Server {
    address: Ipv4Addr,
    /// Every fifth is not reached, by a rule of the router; the others' port is closed.
    is_cut: bool,
    listener: Option<IdleListener>,
    is_down: bool,
    /// Milliseconds since the beginning.
    changes: u64,
    next: u64,
    failed: u64,
}

impl Server {
    fn new(number: u32, lab: &Lab, cut: &NftTable, random: &mut Random) -> Self {
        let address = Ipv4Addr::from_bits(0x0a80_0001 + (number << 8));
        let is_cut = number.is_multiple_of(5);
        let mut server = Self { address, is_cut, listener: None, is_down: false, changes: 0, next: 0, failed: 0 };
        server.change(lab, cut, random, 0, random_is_down(number));
        server.next = random.between(0, 3_000);
        server
    }

    fn at(&self) -> SocketAddr {
        (self.address, PORT).into()
    }

    fn change(&mut self, lab: &Lab, cut: &NftTable, random: &mut Random, now: u64, is_down: bool) {
        self.is_down = is_down;
        self.changes = now + if is_down { random.between(3_000, 40_000) } else { random.between(15_000, 90_000) };
        let at = self.at();
        let listen = || lab.server.listen_without_accept(at, BACKLOG);
        if self.is_cut {
            if is_down || now > 0 {
                cut.set_element("cut", &self.address.to_string(), is_down);
            }
            self.listener.get_or_insert_with(listen);
        } else {
            self.listener = (!is_down).then(listen);
        }
    }

    /// One attempt from the namespace of the calling thread.
    fn ask(&mut self, random: &mut Random, now: u64) {
        let is_failed = TcpStream::connect_timeout(&self.at(), PATIENCE).is_err();
        assert_eq!(is_failed, self.is_down, "{} after {now} ms", self.at());
        self.failed += u64::from(is_failed);
        self.next = now + if self.is_down { random.between(500, 3_000) } else { random.between(2_000, 12_000) };
    }
}

/// One in four is down at first.
const fn random_is_down(number: u32) -> bool {
    number % 4 == 1
}

/// The resident memory of a process, in KiB.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).expect("its memory");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}

/// The attempts of each server by its incidents' last lines.
fn told(incidents: &[&Value]) -> BTreeMap<Ipv4Addr, u64> {
    let mut told = BTreeMap::new();
    for it in incidents {
        let server = it["edge"]["server"]["ip"].as_str().expect("an address").parse().expect("an address");
        *told.entry(server).or_default() += it["attempts"].as_u64().expect("a number");
    }
    told
}

/// Lets them fail and recover for so long; returns the number of attempts, and the tracers' memory at eleven moments.
fn play(
    lab: &Lab,
    cut: &NftTable,
    servers: &mut [Server],
    random: &mut Random,
    seconds: u64,
    tracers: [i32; 2],
) -> (u64, Vec<[u64; 2]>) {
    let (began, mut attempts, mut memory) = (Instant::now(), 0, Vec::new());
    while began.elapsed() < Duration::from_secs(seconds) {
        for server in &mut *servers {
            let now = began.elapsed().as_millis() as u64;
            if server.changes <= now {
                server.change(lab, cut, random, now, !server.is_down);
            }
            if server.next <= now {
                server.ask(random, now);
                attempts += 1;
            }
            if memory.len() as u64 * seconds * 100 <= now {
                memory.push(tracers.map(resident));
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    memory.push(tracers.map(resident));
    (attempts, memory)
}

/// The same events as a capture are the same incidents.
#[track_caller]
fn assert_capture(file: &str, tcpdump: &Finished, live: &[&Value]) {
    let read = pcap::read(Path::new(file), &[]);
    let ended: Vec<_> = read.incidents.iter().filter(|it| it["phase"] == "ended").collect();
    // On a machine that is too busy tcpdump loses packets.
    if !tcpdump.stderr.contains("\n0 packets dropped by kernel") {
        return println!("not compared with the capture: {}", tcpdump.stderr);
    }
    let edges = |of: &[&Value]| {
        let edge = |it: &&Value| (it["edge"]["server"].to_string(), it["symptom"].to_string(), it["attempts"].as_u64());
        let mut edges: Vec<_> = of.iter().map(edge).collect();
        edges.sort_unstable();
        edges
    };
    assert_eq!(edges(&ended), edges(live));
}

#[test]
fn a_thousand_servers_fail_and_recover() {
    let seconds = env::var("TCPTRACE_SOAK_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(8);
    let lab = Lab::new();
    lab.router.ip("route add 10.128.0.0/10 via 203.0.113.2");
    lab.server.ip("route add local 10.128.0.0/10 dev lo");
    let cut = lab.router.nft(
        "set cut { type ipv4_addr; }
        chain f { type filter hook forward priority 0; ip daddr @cut reject with icmp admin-prohibited; }",
    );
    let mut random = Random(7);
    let mut servers: Vec<_> = (0..SERVERS).map(|it| Server::new(it, &lab, &cut, &mut random)).collect();
    let folder = Folder::new();
    let file = folder.file("soak.pcap");
    let dumping = ["tcpdump", "-Z", "root", "-i", "eth0", "--immediate-mode", "-U", "-s", "128", "-w", &file];
    let tcpdump = lab.client.spawn(dumping.into_iter().chain(["tcp or icmp"]));
    tcpdump.wait_for("tcpdump", PATIENCE, |it| it.stderr.iter().any(|it| it.contains("listening")).then_some(()));
    let watch = Watch::start(&lab.client, "eth0");
    let pids = [&watch.text, &watch.json].map(|it| it.process().pid().as_raw());
    // A thread of its own for each of a hundred thousand connects would be most of the work.
    let (attempts, memory) = lab.client.enter(|| play(&lab, &cut, &mut servers, &mut random, seconds, pids));
    let account = watch.end();
    let failed: BTreeMap<_, _> = servers.iter().filter(|it| it.failed > 0).map(|it| (it.address, it.failed)).collect();
    let all: u64 = failed.values().sum();
    let ended = account.ended();
    println!("{attempts} attempts, {all} failed, {} outages; KiB of memory, text and JSON: {memory:?}", ended.len());
    account.assert_exact();
    assert_eq!(told(&ended), failed);
    assert_eq!(account.summary["incidents"]["merged"], 0);
    assert_capture(&file, &tcpdump.stop(), &ended);
    // What is kept is bounded; the first tenth fills it.
    for (which, name) in ["text", "json"].into_iter().enumerate() {
        let (early, last) = (memory[memory.len() / 2][which], memory[memory.len() - 1][which]);
        assert!(last <= early + early / 8, "{name}: {early} KiB after half of the time, {last} at its end");
    }
}
