//! What the tracer needs before it starts: an interface that exists, and three capabilities.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tcptrace_tests::lab::{Finished, Lab, OnAccept, Tracer};

use crate::attached::attached;
use crate::view::{Account, BOTH, PATIENCE};

/// Runs the tracer to its end, behind the words of another program.
fn run(lab: &Lab, before: &[&str], args: &[&str]) -> Finished {
    let binary = Tracer::binary();
    let argv = before.iter().chain([&binary.to_str().unwrap()]).chain(args).copied().collect::<Vec<_>>();
    lab.client.spawn(argv).finish(PATIENCE)
}

#[test]
fn an_unknown_interface_is_answered_with_those_that_exist() {
    let finished = run(&Lab::new(), &[], &["-i", "eth7"]);
    assert_eq!(finished.status.code(), Some(2));
    assert_eq!(finished.stderr, "tcptrace: cannot attach to 'eth7': no such interface; these exist: lo, eth0\n");
    assert!(finished.lines.is_empty());
}

#[test]
fn a_missing_capability_is_named() {
    let lab = Lab::new();
    // CAP_SYS_ADMIN stands for the first two.
    for (dropped, named) in [
        ("-bpf,-sys_admin", "CAP_BPF (to create maps and load programs)"),
        ("-perfmon,-sys_admin", "CAP_PERFMON (to load programs that read headers of variable length)"),
        ("-net_admin", "CAP_NET_ADMIN (to attach them to interfaces)"),
    ] {
        let setpriv = ["setpriv", "--bounding-set", dropped, "--inh-caps", dropped];
        let finished = run(&lab, &setpriv, &["-i", "eth0"]);
        assert_eq!(finished.status.code(), Some(77), "{dropped}: {}", finished.stderr);
        let said = finished.stderr.strip_prefix("tcptrace: missing privilege: ").expect("it says so first");
        let rest = said.strip_prefix(named).unwrap_or_else(|| panic!("{named}: {said}"));
        let grant = "; run tcptrace with sudo, or once: sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep /";
        assert!(rest.starts_with(grant) && rest.lines().count() == 1, "{rest}");
    }
}

#[test]
fn without_any_capability_all_three_are_named() {
    let lab = Lab::new();
    let finished = run(&lab, &["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"], &["-i", "eth0"]);
    assert_eq!(finished.status.code(), Some(77), "{}", finished.stderr);
    for capability in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"] {
        assert!(finished.stderr.contains(capability), "{}", finished.stderr);
    }
}

/// The tracer where every user may run it; removed on drop.
struct Copied(PathBuf);

impl Copied {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tcptrace-{}", std::process::id()));
        fs::copy(Tracer::binary(), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn three_capabilities_are_enough_for_any_user() {
    const THREE: &str = "-all,+bpf,+net_admin,+perfmon";
    let copied = Copied::new();
    for args in [&["--hook", "tc"][..], &["--hook", "xdp"], &["--tc", "clsact"]] {
        let lab = Lab::new();
        let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let capabilities = ["--bounding-set", THREE, "--inh-caps", THREE, "--ambient-caps", THREE];
        let tracer = [copied.0.to_str().unwrap(), "-i", "eth0", "--json", "--all"];
        let argv = [&["setpriv"], &user[..], &capabilities, &tracer, args].concat();
        let process = lab.client.spawn(argv);
        process.wait_for("the banner", PATIENCE, |it| it.stderr.iter().any(|it| it.contains("Ctrl-C")).then_some(()));
        for (port, ip) in BOTH {
            let _server = lab.server.listen_and((ip, 80).into(), OnAccept::Close);
            lab.client.connect_from(port, (ip, 80).into(), PATIENCE).unwrap();
            lab.client.connect_from(port + 10, (ip, 6036).into(), PATIENCE).unwrap_err();
        }
        let finished = process.stop();
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        let account = Account::of(&finished);
        for (port, _) in BOTH {
            assert_eq!(account.opened(port)["outcome"], "established");
            assert_eq!(account.only(port + 10)["outcome"], "refused");
        }
        assert_eq!(attached(&lab.client, "eth0"), [""; 0], "{args:?}");
    }
}
