//! What the kernel side does only when asked: a filter before a slot is taken, packets for the evidence.

use tcptrace::live::{
    decode,
    kernel::{Kernel, Program, Settings},
};
use tcptrace_core::{
    event::Counter,
    handshake::{Point, State, Transition},
    segment::{self, Found, Link},
    snapshot::SNAPLEN,
    tunnel::{self, Kind},
};
use tcptrace_filter::Filter;
use tcptrace_tests::{
    scenario::{self, Family, Seen, Setting},
    tunnels::TUNNELS,
};

use crate::rig::{Hook, Rig, small};

fn frames(setting: &Setting, link: Link, lines: &[&str]) -> Vec<Vec<u8>> {
    let text = format!("case\n {}\n = nothing\n", lines.join("\n "));
    let scenario = scenario::parse(&text).expect("the text is right").remove(0);
    scenario.steps.iter().map(|step| step.frame(setting, link)).collect()
}

/// The attempts that the filter wants are taken in, and no others, in both families and through both kinds of hook.
#[test]
fn a_filter_takes_in_what_it_wants() {
    let filters = [
        "port 443",
        "src port 40001",
        "dst portrange 440-450 and not src port 40001",
        "ip6 or src port 40002",
        "ip and (src port 40000 or src port 40002)",
        "host 198.51.100.2 or net 2001:db8::/32",
        "not tcp",
    ];
    for hook in [Hook::Xdp(Program::XdpIngressFrags), Hook::Tc] {
        for text in filters {
            let filter = Filter::parse(text).expect("a filter");
            let settings = Settings { filter: filter.tests().expect("short enough"), ..small() };
            let mut rig = Rig::new(hook, &settings);
            rig.fresh();
            let mut left_out = 0;
            for family in Family::ALL {
                for client_port in 40_000..40_003 {
                    let setting = Setting { client_port, ..Setting::new(*family) };
                    let frames = frames(&setting, Link::Ethernet, &["C > S SYN |", "S > C SYN/ACK |"]);
                    let before = rig.attempts().len();
                    rig.see(&frames[0], Seen::default());
                    let Found::Tcp(syn) = segment::locate(&frames[0][..], Link::Ethernet) else { panic!("a SYN") };
                    let wanted = filter.matches(syn.src, syn.dst);
                    assert_eq!(rig.attempts().len() - before, usize::from(wanted), "{text}: {:?}, {hook:?}", syn.src);
                    // Nor is the answer to what is not wanted taken for one that nobody asked for.
                    rig.see(&frames[1], Seen::default());
                    assert_eq!(rig.attempts().len() - before, usize::from(wanted), "{text}: {:?}, {hook:?}", syn.src);
                    left_out += if wanted { 0 } else { 2 };
                }
            }
            assert_eq!(rig.tally().counters[Counter::FilteredOut as usize], left_out, "{text}");
        }
    }
}

/// The packets of an attempt come up as they are, each with what it did; those of a connection that was established do
/// not.
#[test]
fn packets_come_up_for_the_evidence() {
    let lines = [
        "C > S SYN |",
        "+1s C > S SYN |",
        "S > C SYN/ACK |",
        "C > S ACK len=1000 |",
        "C > S PSH/ACK len=100 |",
        "C > S FIN/ACK |",
        "S > C RST |",
    ];
    let wanted = [Transition::Opened, Transition::SynRetried, Transition::Answered, Transition::Completed];
    for (hook, link) in [
        (Hook::Xdp(Program::XdpIngressFrags), Link::Ethernet),
        (Hook::Xdp(Program::XdpIngress), Link::Ethernet),
        (Hook::Tc, Link::Ethernet),
        (Hook::TcIp, Link::Ip),
    ] {
        let settings = Settings { packets: 1 << 16, ..small() };
        let mut rig = Rig::new(hook, &settings);
        let mut ring = rig.kernel.take_packets().expect("it was asked for");
        rig.fresh();
        let setting = Setting::new(Family::V4);
        let frames = frames(&setting, link, &lines);
        let ran: Vec<_> = frames
            .iter()
            .map(|frame| {
                // Far enough apart to be two packets.
                std::thread::sleep(std::time::Duration::from_millis(2));
                rig.see(frame, Seen::default())
            })
            .collect();
        for (index, transition) in wanted.into_iter().enumerate() {
            let record = ring.next().unwrap_or_else(|| panic!("{hook:?}: nothing of {transition:?}"));
            let (did, it) = decode::snapshot(&record).expect("a record of this version");
            assert_eq!(did, transition, "{hook:?}");
            let frame = &frames[index];
            assert_eq!(it.length as usize, frame.len());
            assert_eq!(&it.octets[..it.captured.into()], &frame[..frame.len().min(SNAPLEN)]);
            assert!(
                it.octets[it.captured.into()..].iter().all(|it| *it == 0),
                "octets that nobody wrote are not shown"
            );
            let (before, after) = ran[index].between;
            assert!(before <= it.time && it.time <= after);
            assert_eq!(it.point, rig.point(Seen::default()));
            let attempt = rig.attempts()[0];
            assert_eq!((it.client(), it.server(), it.isn), (attempt.client(), attempt.server(), attempt.isn));
        }
        assert!(ring.next().is_none(), "{hook:?}: what comes after the handshake is no evidence of it");
        assert_eq!(rig.tally().counters[Counter::EvidenceLost as usize], 0);
    }
}

#[test]
fn a_full_ring_of_packets_is_counted() {
    let settings = Settings { packets: 4096, max_attempts: 1024, ..small() };
    let mut rig = Rig::new(Hook::Xdp(Program::XdpIngressFrags), &settings);
    rig.fresh();
    for client_port in 1..=100 {
        let setting = Setting { client_port, ..Setting::new(Family::V6) };
        rig.see(&frames(&setting, Link::Ethernet, &["C > S SYN |"])[0], Seen::default());
    }
    let mut ring = rig.kernel.take_packets().expect("it was asked for");
    let mut came = 0;
    while let Some(record) = ring.next() {
        let (_, it) = decode::snapshot(&record).expect("a record of this version");
        assert_ne!(it.point, Point::default());
        came += 1;
    }
    assert!(came > 0 && came < 100);
    assert_eq!(rig.tally().counters[Counter::EvidenceLost as usize], 100 - came);
    assert_eq!(rig.attempts().len(), 100, "a lost packet is no lost attempt");
}

/// A handshake in each kind of tunnel, and without one: taken in with the tunnel it came by, where that is asked for.
#[test]
fn tunnels_are_looked_into() {
    let outer = |rig: &Rig| rig.kernel.table.outer(&rig.attempts()[0]);
    for hook in [Hook::Xdp(Program::XdpIngressDecap), Hook::TcDecap] {
        let mut rig = Rig::new(hook, &Settings { decap: true, ..small() });
        let setting = Setting::new(Family::V4);
        let frames = frames(&setting, Link::Ethernet, &["C > S SYN |", "S > C RST/ACK seq=0 |"]);
        // In the last there is a tunnel in a tunnel: one is looked into.
        for (kind, tunnel) in &TUNNELS[..TUNNELS.len() - 1] {
            rig.fresh();
            rig.see(&tunnel(&frames[0], true), Seen::default());
            rig.see(&tunnel(&frames[1], false), Seen::default());
            assert_eq!(rig.attempts().len(), 1, "{kind}, {hook:?}");
            assert_eq!(rig.attempts()[0].state(), State::Refused, "{kind}, {hook:?}");
            let found = outer(&rig).unwrap_or_else(|| panic!("{kind}, {hook:?}: no tunnel"));
            assert_eq!(found.kind().map(Kind::name), Some(*kind));
            let expected = tunnel::inner(&tunnel(&frames[0], true)[..], Link::Ethernet).expect("a tunnel");
            assert_eq!(found, expected.tunnel.outer(&tunnel(&frames[0], true)[..]), "{kind}, {hook:?}");
            assert_eq!(found.ends().is_some(), *kind != "mpls");
        }
        rig.fresh();
        rig.see(&frames[0], Seen::default());
        assert_eq!((rig.attempts().len(), outer(&rig)), (1, None), "{hook:?}");
    }
}

/// With everything that can be asked for they are the largest programs there are, and the verifier takes them.
#[test]
fn all_programs_load_with_everything_asked() {
    let filter = Filter::parse("host 10.0.0.1 and port 80").expect("a filter").tests().expect("short enough");
    let settings = Settings { filter, packets: 4096, debug: true, tell_all: true, ..small() };
    load(
        &settings,
        &[Program::XdpIngressFrags, Program::XdpIngress],
        &[Program::TcIngress, Program::TcEgress, Program::TcIngressIp, Program::TcEgressIp],
    );
    load(
        &Settings { decap: true, ..settings },
        &[Program::XdpIngressDecap],
        &[Program::TcIngressDecap, Program::TcEgressDecap, Program::TcIngressIpDecap, Program::TcEgressIpDecap],
    );
}

fn load(settings: &Settings, xdp: &[Program], classifiers: &[Program]) {
    let mut kernel = Kernel::load(settings).expect("the object loads");
    for &program in xdp {
        kernel.xdp(program).unwrap_or_else(|error| panic!("{}: {error}", program.name()));
    }
    for &program in classifiers {
        kernel.classifier(program).unwrap_or_else(|error| panic!("{}: {error}", program.name()));
    }
}
