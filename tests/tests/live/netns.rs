//! `--netns`: the tracer runs in the router's namespace and traces in the client's.

use std::net::SocketAddr;

use tcptrace_tests::lab::{Cgroup, Finished, Lab, OnAccept, SERVER_V4, Tracer};

use crate::any::wait_until_attached;
use crate::attached::{assert_nothing_left, attached};
use crate::interfaces::{assert_refused, make_pair, refuse};
use crate::view::{PATIENCE, View};

const CLOSED: SocketAddr = SocketAddr::new(SERVER_V4, 6036);

/// Traces in the client's namespace by this word, while something is refused there.
#[track_caller]
fn check(lab: &Lab, word: &str, said: &str) {
    let view = View::start(&lab.router, &["--netns", word, "--all"]);
    view.wait_for_notice(said);
    view.wait_for_notice("no interface given: tracing eth0, which has the default route");
    view.wait_for_notice("tracing; the table holds");
    assert_eq!(attached(&lab.client, "eth0").len(), 2);
    assert_eq!(attached(&lab.router, "client0"), [""; 0]);
    let _server = lab.server.listen_and((SERVER_V4, 80).into(), OnAccept::Close);
    lab.client.connect_from(40000, (SERVER_V4, 80).into(), PATIENCE).unwrap();
    lab.client.connect_from(40001, CLOSED, PATIENCE).unwrap_err();
    assert_refused(&view, 40001, "eth0");
    let account = view.end();
    let refused = account.only(40001);
    // The socket is looked up where the client is, its process by a number of this namespace of processes.
    assert_eq!((&refused["local"]["client_here"], &refused["local"]["server_here"]), (&true.into(), &false.into()));
    let pid = &refused["local"]["process"]["pid"];
    // Calls are remembered for the whole machine: ten thousand of another test take its place.
    assert!(pid.is_null() || *pid == std::process::id(), "{refused:#}");
    assert_eq!(account.opened(40000)["outcome"], "established");
    account.assert_nothing_lost();
    assert_nothing_left(&lab.client, "eth0");
}

#[test]
fn refused_in_a_netns_by_name_and_by_path() {
    let lab = Lab::new();
    let name = lab.client.name();
    check(&lab, name, &format!("tcptrace: in netns {name}"));
    let path = format!("/run/netns/{name}");
    check(&lab, &path, &format!("tcptrace: in netns {path}"));
}

#[test]
fn refused_in_the_netns_of_a_process() {
    let lab = Lab::new();
    let process = lab.client.spawn(["sleep", "infinity"]);
    let pid = process.pid();
    // `ip netns exec` becomes it.
    tcptrace_tests::lab::eventually(PATIENCE, || {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|it| it == "sleep\n")
    });
    check(&lab, &pid.to_string(), &format!("tcptrace: in the netns of process {pid} (sleep)"));
}

#[test]
fn refused_in_the_netns_of_a_container() {
    let lab = Lab::new();
    let id = format!("{:08x}{:056x}", std::process::id(), 0xc0_ffee);
    let cgroup = Cgroup::at(&format!("docker-{id}.scope"));
    let process = lab.client.spawn(["sleep", "infinity"]);
    let pid = process.pid();
    tcptrace_tests::lab::eventually(PATIENCE, || {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|it| it == "sleep\n")
    });
    cgroup.take(pid.as_raw());
    let short = &id[..12];
    check(&lab, short, &format!("tcptrace: in the netns of container {short} (sleep)"));
    check(&lab, &id, &format!("tcptrace: in the netns of container {short} (sleep)"));
    let finished = run(&lab, &[], &["--netns", "nowhere"]);
    assert!(finished.stderr.contains(&format!("{short} (sleep)")), "{}", finished.stderr);
}

#[test]
fn interfaces_that_come_later_in_a_netns_are_traced() {
    let lab = Lab::new();
    let view = View::start(&lab.router, &["--netns", lab.client.name(), "-i", "any"]);
    make_pair(&lab.client, "near");
    wait_until_attached(&lab.client, "near");
    wait_until_attached(&lab.client, "far");
    refuse(&lab.client, "near", 40000);
    assert_refused(&view, 40000, "near");
    view.end().assert_nothing_lost();
}

/// The evidence names the namespace whose rule drops.
#[test]
fn a_rule_of_the_traced_netns_is_named_with_it() {
    let lab = Lab::new();
    let name = lab.client.name();
    let _rule = lab.client.filter("output", "tcp dport 6036 drop");
    let view = View::start(&lab.router, &["--netns", name, "-i", "eth0"]);
    let connecting = lab.client.connect_from(40000, CLOSED, std::time::Duration::from_millis(100));
    connecting.unwrap_err();
    let unsent = view.process().wait_for("the failed call", PATIENCE, |streams| {
        streams.stdout.iter().find(|line| line.contains("dropped_by_local_firewall")).cloned()
    });
    assert!(unsent.contains(&format!("in netns {name}")), "{unsent}");
    assert!(unsent.contains(&format!("ip netns exec {name} nft ")), "{unsent}");
    view.end();
}

/// Runs the tracer to its end in the router's namespace, behind the words of another program.
fn run(lab: &Lab, before: &[&str], args: &[&str]) -> Finished {
    let binary = Tracer::binary();
    let argv = before.iter().chain([&binary.to_str().unwrap()]).chain(args).copied().collect::<Vec<_>>();
    lab.router.spawn(argv).finish(PATIENCE)
}

#[test]
fn wrong_words_are_answered_with_what_exists() {
    let lab = Lab::new();
    let name = lab.client.name();
    for word in ["nowhere", "4194999", ""] {
        let Finished { status, stderr, .. } = run(&lab, &[], &["--netns", word]);
        let said =
            format!("tcptrace: cannot trace in netns '{word}': no name, process or container is called so; names: ");
        assert!(stderr.starts_with(&said) && stderr.lines().count() == 1, "{stderr}");
        assert_eq!(status.code(), Some(2));
    }
    let Finished { status, stderr, .. } = run(&lab, &[], &["--netns", "/proc/self/stat"]);
    let said = "tcptrace: cannot trace in netns '/proc/self/stat': /proc/self/stat is no network namespace; names: ";
    assert!(stderr.starts_with(said), "{stderr}");
    assert_eq!(status.code(), Some(2));
    let Finished { status, stderr, .. } = run(&lab, &[], &["--netns", name, "-i", "client0"]);
    assert_eq!(stderr, "tcptrace: cannot attach to 'client0': no such interface; these exist: lo, eth0\n");
    assert_eq!(status.code(), Some(2));
}

#[test]
fn entering_a_netns_without_the_capability_is_refused_with_its_name() {
    let lab = Lab::new();
    let setpriv = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"];
    let Finished { status, stderr, .. } = run(&lab, &setpriv, &["--netns", lab.client.name()]);
    assert_eq!(status.code(), Some(77), "{stderr}");
    assert!(stderr.contains("it needs CAP_SYS_ADMIN"), "{stderr}");
}
