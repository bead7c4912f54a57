//! A container that podman itself starts, from this machine's own programs: no image, and no registry.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Child, Command, Stdio},
};

use tcptrace_tests::lab::{Lab, Ns, Tracer};
use tempfile::TempDir;

use crate::{attempt, server};

/// A container that is removed when this is dropped.
struct Container {
    name: String,
    child: Child,
    _root: TempDir,
}

impl Container {
    /// Runs a script of bash in a network namespace of the lab.
    fn start(ns: &Ns, name: &str, script: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder can be made");
        for folder in ["usr", "proc", "sys", "dev", "tmp", "etc", "run"] {
            fs::create_dir(root.path().join(folder)).expect("a folder can be made");
        }
        for link in ["bin", "lib", "lib64", "sbin"] {
            symlink(format!("usr/{link}"), root.path().join(link)).expect("a link can be made");
        }
        let network = format!("ns:/run/netns/{}", ns.name());
        let rootfs = root.path().to_str().expect("it is text");
        // From the first namespace: runc sets sysctls, and not in its own. It takes cgroups of both versions at once; crun
        // does not.
        let podman = ["--cgroup-manager", "cgroupfs", "--runtime", "runc", "run", "--rm", "--name", name];
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];
        let files = ["--network", &network, "-v", "/usr:/usr:ro", "--rootfs", rootfs, "bash", "-c", script];
        let mut command = Command::new("podman");
        command.args(podman.into_iter().chain(limits).chain(files)).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("podman starts");
        Self { name: name.to_owned(), child, _root: root }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("podman").args(["rm", "-f", "-t", "0", &self.name]).output();
        let _ = self.child.wait();
    }
}

#[test]
fn a_container_of_podman_has_its_name() {
    let found = ["podman", "runc"].map(|it| Command::new(it).arg("--version").output().is_ok());
    if found != [true, true] {
        return eprintln!("skipped: podman and runc are not both here");
    }
    let lab = Lab::new();
    let to = server(&lab);
    let name = format!("tcptrace-{}", std::process::id());
    let tracer = Tracer::start(&lab.client, ["-i", "eth0", "--json"]);
    let _container = Container::start(&lab.client, &name, &format!("while :; do : 3<>/dev/tcp/{to}/84; sleep 1; done"));
    let line = attempt(&tracer, 84);
    let process = &line["local"]["process"];
    assert_eq!((&process["command"], &process["container_name"]), (&"bash".into(), &name.as_str().into()), "{line:#}");
    let listed =
        Command::new("podman").args(["ps", "-q", "--filter", &format!("name={name}")]).output().expect("it runs");
    let id = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    assert_eq!(process["container"], id.as_str());
}
