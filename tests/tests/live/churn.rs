//! Interfaces that come and go by the hundred under `-i any`: none missed, none doubled, nothing left behind.

use std::fs;
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TcAttachType};
use serde_json::json;
use tcptrace_tests::lab::{
    CLIENT_GATEWAY_MAC, CLIENT_MAC, Lab, Ns, SERVER_V4, TcpFrame, eventually, flags, stranger_v4,
};

use crate::view::{PATIENCE, View};

const PAIRS: u16 = 200;
/// Pairs that exist at a time.
const ALIVE: u16 = 5;
/// No more than ten pairs a second.
const PACE: Duration = Duration::from_millis(100);

/// What a process holds: descriptors, links and programs among them, and KiB of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    links: usize,
    programs: usize,
    resident: u64,
}

impl Held {
    fn by(pid: i32) -> Self {
        let folder = format!("/proc/{pid}/fdinfo");
        let infos = fs::read_dir(folder).unwrap().flatten();
        let infos: Vec<_> = infos.filter_map(|it| fs::read_to_string(it.path()).ok()).collect();
        let with = |word: &str| infos.iter().filter(|info| info.lines().any(|line| line.starts_with(word))).count();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Self { descriptors: infos.len(), links: with("link_type:\ttcx"), programs: with("prog_type:"), resident }
    }
}

/// A pair whose near end is up.
fn make_pair(ns: &Ns, number: u16) {
    ns.ip(&format!(
        "link add near{number} type veth peer name far{number}
        link set far{number} addrgenmode none up
        link set near{number} addrgenmode none up"
    ));
    let up = || ns.ip(&format!("link show dev near{number}")).contains(" state UP ").then_some(());
    eventually(PATIENCE, up);
}

fn programs_on(interface: &str) -> usize {
    let on = |direction| SchedClassifier::query_tcx(interface, direction).map_or(0, |(_, programs)| programs.len());
    on(TcAttachType::Ingress) + on(TcAttachType::Egress)
}

/// A SYN out of the near end, and a RST/ACK from the far one.
fn refuse(ns: &Ns, number: u16) {
    let macs = (CLIENT_MAC, CLIENT_GATEWAY_MAC);
    let (client, server) = ((stranger_v4(1), 41000 + number).into(), (SERVER_V4, 6036).into());
    let syn = TcpFrame::new(macs, client, server, flags::SYN, 7);
    ns.raw_link(&format!("near{number}")).send(&syn.bytes());
    ns.raw_link(&format!("far{number}")).send(&syn.answer(flags::RST | flags::ACK, 0).bytes());
}

#[test]
fn refused_once_on_each_of_two_hundred_interfaces_that_come_and_go() {
    let lab = Lab::new();
    let ns = &lab.client;
    let view = View::start(ns, &["-i", "any"]);
    let pid = view.process().pid().as_raw();
    let (mut before, mut began) = (None, Instant::now());
    for number in 0..PAIRS {
        make_pair(ns, number);
        let names = [format!("near{number}"), format!("far{number}")];
        let is_traced = || ns.enter(|| names.iter().all(|name| programs_on(name) == 2));
        eventually(PATIENCE, || is_traced().then_some(()));
        refuse(ns, number);
        if number >= ALIVE {
            ns.ip(&format!("link del near{}", number - ALIVE));
        }
        if number == 2 * ALIVE {
            before = Some(settled(pid));
        }
        std::thread::sleep(PACE.saturating_sub(began.elapsed()));
        began = Instant::now();
    }
    let (before, after) = (before.expect("there were more"), settled(pid));
    assert_eq!((after.links, after.programs), (before.links, before.programs));
    assert_eq!(after.links, usize::from(2 + 1 + 4 * ALIVE), "eth0 both ways, lo, and both ends of each pair");
    assert!(after.descriptors <= before.descriptors, "{before:?} {after:?}");
    assert!(after.resident < before.resident + 4096, "{before:?} {after:?}");
    let account = view.end();
    for number in 0..PAIRS {
        let refused = account.only(41000 + number);
        assert_eq!((&refused["outcome"], &refused["syn"]["tries"]), (&json!("refused"), &json!(1)));
        let interface = format!("near{number}");
        assert_eq!(refused["seen"]["client"], json!({ "interface": interface, "direction": "out" }));
    }
    assert_eq!(account.figure("/segments/opened"), u64::from(PAIRS));
    assert_eq!(account.figure("/interfaces_gone"), 2 * u64::from(PAIRS - ALIVE));
    assert_eq!(account.summary["hooks"].as_array().map(Vec::len), Some(usize::from(2 + 2 * ALIVE)));
    assert!(!account.stderr.contains("has gone"), "{}", account.stderr);
    account.assert_nothing_lost();
}

/// What the tracer holds once it has noticed that the deleted pair is gone.
fn settled(pid: i32) -> Held {
    let links = usize::from(2 + 1 + 4 * ALIVE);
    eventually(PATIENCE, || Some(Held::by(pid)).filter(|held| held.links <= links))
}
