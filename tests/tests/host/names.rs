//! Containers and pods by name: real processes in real cgroups, and files below a root of the test's own.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use tcptrace::host::Host;
use tcptrace_core::handshake::Nanos;
use tcptrace_tests::lab::{CLIENT_V4, Cgroup, Lab, eventually};
use tcptrace_vocabulary::facts::{Container, Netns, Pod};
use tempfile::TempDir;

use crate::{PATIENCE, look, namespaces::unique, now};

const ID: &str = "3f9a1c0b5e7d4a2f8c6b1e0d9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f00";
const UID: &str = "5c9f2c1e-6d0b-4f3e-9d7a-0f1e2d3c4b5a";
const SECOND: u64 = 1_000_000_000;

/// A process that sleeps in a cgroup. Dropping it ends it.
struct Sleeper {
    child: Child,
    _cgroup: Cgroup,
}

impl Sleeper {
    fn start(cgroup: &str, before: &[&str]) -> Self {
        let cgroup = Cgroup::at(&whole(cgroup));
        let line = [before, &["sleep", "600"]].concat();
        let child = Command::new(line[0]).args(&line[1..]).stdout(Stdio::null()).spawn().expect("it starts");
        cgroup.take(child.id().cast_signed());
        Self { child, _cgroup: cgroup }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text with a container's id for ID and a pod's for UID.
fn whole(text: &str) -> String {
    text.replace("SLICE_UID", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID)
}

/// A root with these files; a name that ends with a slash is a folder.
fn root(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().expect("a folder can be made");
    for (path, text) in files {
        let path = root.path().join(whole(path));
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("a folder can be made");
        fs::write(path, whole(text)).expect("a file can be written");
    }
    root
}

/// A host that reads names below this root.
fn host(root: &Path) -> Host {
    let mut host = Host::own();
    host.read_names_below(root);
    host
}

/// The container of a process in this cgroup, by these files.
fn container(cgroup: &str, files: &[(&str, &str)]) -> Option<Container> {
    let (root, sleeper) = (root(files), Sleeper::start(cgroup, &[]));
    host(root.path()).process(sleeper.pid(), now()).expect("it runs").container
}

fn named(name: Option<&str>, pod: Option<(&str, &str)>, enter: Option<&str>) -> Option<Container> {
    let pod = pod.map(|(namespace, name)| Pod { namespace: namespace.to_owned(), name: name.to_owned() });
    let (id, name, enter) = (ID[..12].to_owned(), name.map(str::to_owned), enter.map(str::to_owned));
    Some(Container { id, name, pod, enter })
}

const DOCKER: &str = "var/lib/docker/containers/ID/config.v2.json";
const STORAGE: &str = "var/lib/containers/storage/overlay-containers/containers.json";
const BUNDLE: &str = "run/containerd/io.containerd.runtime.v2.task";

#[test]
fn containers_have_the_names_that_their_runtimes_keep() {
    let web = |enter| named(Some("web-1"), None, enter);
    let docker = (DOCKER, r#"{"ID":"ID","Name":"/web-1"}"#);
    let podman = (STORAGE, r#"[{"id":"ID","names":["web-1"],"image":"x"}]"#);
    assert_eq!(container("docker/ID", &[docker]), web(Some("docker exec -it web-1")));
    assert_eq!(container("system.slice/docker-ID.scope", &[docker]), web(Some("docker exec -it web-1")));
    assert_eq!(container("some/ID", &[docker]), web(Some("docker exec -it web-1")), "by who has a file");
    assert_eq!(container("machine.slice/libpod-ID.scope", &[podman]), web(Some("podman exec -it web-1")));
    let volatile = ("run/containers/storage/vfs-containers/volatile-containers.json", podman.1);
    assert_eq!(container("libpod_parent/libpod-ID", &[volatile]), web(Some("podman exec -it web-1")));
    let nerdctl = (&*format!("{BUNDLE}/default/ID/config.json"), r#"{"annotations":{"nerdctl/name":"web-1"}}"#);
    assert_eq!(container("system.slice/nerdctl-ID.scope", &[nerdctl]), web(Some("nerdctl exec -it web-1")));
    assert_eq!(container("default/ID", &[nerdctl]), web(Some("nerdctl exec -it web-1")));
    let name = Some("web".to_owned());
    let lxc = Container {
        id: "web".to_owned(),
        name,
        enter: Some("lxc-attach -n web --".to_owned()),
        ..Container::default()
    };
    assert_eq!(container("lxc.payload.web/system.slice/nginx.service", &[]), Some(lxc));
}

#[test]
fn a_users_containers_are_looked_up_in_their_home_alone() {
    let passwd = ("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n");
    let scope = "user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope";
    let stored = r#"[{"id":"ID","names":["web-1"]}]"#;
    let home = ("home/ann/.local/share/containers/storage/overlay-containers/containers.json", stored);
    assert_eq!(container(scope, &[passwd, home]), named(Some("web-1"), None, None));
    assert_eq!(container(scope, &[home]), named(None, None, None), "nobody knows where the home is");
    assert_eq!(container(scope, &[passwd, (STORAGE, stored)]), named(None, None, None), "that name is root's");
    let docker = ("home/ann/.local/share/docker/containers/ID/config.v2.json", r#"{"Name":"/web-1"}"#);
    let other = "user.slice/user@1000.service/docker-ID.scope";
    assert_eq!(container(other, &[passwd, docker]), named(Some("web-1"), None, None));
}

#[test]
fn pods_have_the_names_of_the_kubelets_logs() {
    let crictl = Some(format!("crictl exec -it {}", &ID[..12]));
    let nginx = named(Some("nginx"), Some(("shop", "web-0")), crictl.as_deref());
    let slice = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSLICE_UID.slice/cri-containerd-ID.scope";
    let pod = ("var/log/pods/shop_web-0_UID/nginx/0.log", "");
    let second = ("var/log/pods/shop_web-0_UID/sidecar/0.log", "");
    let link = ("var/log/containers/web-0_shop_nginx-ID.log", "");
    assert_eq!(container(slice, &[pod]), nginx, "the only container of its pod");
    assert_eq!(container(slice, &[pod, second, link]), nginx);
    assert_eq!(container(slice, &[link]), nginx);
    assert_eq!(container(slice, &[pod, second]), named(None, Some(("shop", "web-0")), crictl.as_deref()));
    let annotations = r#"{"annotations":{"io.kubernetes.cri.container-name":"nginx"}}"#;
    let bundle = (&*format!("{BUNDLE}/k8s.io/ID/config.json"), annotations);
    assert_eq!(container(slice, &[pod, second, bundle]), nginx, "the pod by its logs, the container by its bundle");
    let crio = (STORAGE, r#"[{"id":"ID","names":["k8s_nginx_web-0_shop_UID_0"]}]"#);
    assert_eq!(container("kubepods.slice/kubepods-podSLICE_UID.slice/crio-ID.scope", &[crio]), nginx);
    assert_eq!(container("kubepods/besteffort/podUID/ID", &[link]).map(|it| (it.name, it.enter)), {
        Some((Some("nginx".to_owned()), None))
    });
}

/// Whatever is wrong with a file costs its name.
#[test]
fn files_that_are_no_good_cost_a_name_and_nothing_else() {
    let unnamed = named(None, None, Some(&format!("docker exec -it {}", &ID[..12])));
    let huge = format!(r#"{{"Name":"/web-1","x":"{}"}}"#, "x".repeat(1 << 20));
    let deep = "[".repeat(1 << 19);
    for (what, text) in [
        ("empty", ""),
        ("cut off", r#"{"Name":"/web-1""#),
        ("of another shape", r#"{"Name":["/web-1"]}"#),
        ("longer than 1 MiB", &huge),
        ("nested without end", &deep),
    ] {
        assert_eq!(container("docker/ID", &[(DOCKER, text)]), unnamed, "{what}");
    }
    assert_eq!(container("docker/ID", &[]), unnamed, "missing");
    let sleeper = Sleeper::start("docker/ID", &[]);
    let odd = root(&[(DOCKER, "")]);
    let file = odd.path().join(whole(DOCKER));
    let read = || {
        let began = Instant::now();
        let container = host(odd.path()).process(sleeper.pid(), now()).expect("it runs").container;
        assert!(began.elapsed() < Duration::from_secs(1), "it waits: {:?}", began.elapsed());
        container
    };
    fs::write(&file, b"{\"Name\":\"/\xff\"}").unwrap();
    assert_eq!(read(), unnamed, "not text");
    fs::remove_file(&file).unwrap();
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    assert_eq!(read(), unnamed, "a pipe that nobody writes to");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(read(), unnamed, "a folder");
    fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    assert_eq!(read(), unnamed, "a device");
}

#[test]
fn a_name_with_escapes_is_escaped_and_no_part_of_a_command() {
    let hostile = container("docker/ID", &[(DOCKER, r#"{"Name":"/\u001b[2J; reboot\n"}"#)]).expect("it has an id");
    assert_eq!(hostile.name.as_deref(), Some("\x1b[2J; reboot\n"));
    assert_eq!(hostile.words(), r"container \u{1b}[2J; reboot\n");
    assert_eq!(hostile.enter, Some(format!("docker exec -it {}", &ID[..12])));
}

#[test]
fn a_name_is_kept_for_a_while() {
    let (root, sleeper) = (root(&[]), Sleeper::start("docker/ID", &[]));
    let mut host = host(root.path());
    let began = now();
    let mut name = |seconds: u64| {
        let process = host.process(sleeper.pid(), Nanos(began.0 + seconds * SECOND)).expect("it runs");
        process.container.expect("it has an id").name
    };
    let file = root.path().join(whole(DOCKER));
    assert_eq!(name(0), None);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, r#"{"Name":"/web-1"}"#).unwrap();
    assert_eq!(name(2), None, "a container that is being made is looked for again soon");
    assert_eq!(name(6).as_deref(), Some("web-1"));
    fs::write(&file, r#"{"Name":"/web-2"}"#).unwrap();
    assert_eq!(name(50).as_deref(), Some("web-1"));
    assert_eq!(name(70).as_deref(), Some("web-2"));
    File::create(&file).unwrap();
    assert_eq!(name(140), None);
}

/// A namespace without a name is that of the container in it; one with a name has that.
#[test]
fn a_network_namespace_has_the_name_of_who_lives_in_it() {
    let lab = Lab::new();
    let (own, inner) = (unique(), unique());
    lab.server.ip(&format!("addr add {own}/32 dev eth0"));
    let root = root(&[(DOCKER, r#"{"Name":"/web-1"}"#)]);
    let sleeper = Sleeper::start("docker/ID", &["unshare", "-n"]);
    let pid = sleeper.pid();
    let address = format!("nsenter -t {pid} -n ip addr add {inner}/32 dev lo");
    let is_in = || fs::read_link(format!("/proc/{pid}/ns/net")).ok() != fs::read_link("/proc/self/ns/net").ok();
    eventually(PATIENCE, || is_in().then_some(()));
    let status = Command::new("sh").args(["-c", &address]).status().expect("a shell starts");
    assert!(status.success(), "{address}");
    let mut all = lab.client.enter(Host::new);
    all.read_names_below(root.path());
    let local = look(&mut all, (CLIENT_V4, 40000).into(), (inner, 80).into());
    let container = Netns { name: "container web-1".to_owned(), enter: format!("nsenter -t {pid} -n") };
    assert_eq!((local.client_netns, local.server_netns), (Ok(None), Ok(Some(container))));
    let cookie = all.namespace_cookie(inner, now()).expect("it was entered");
    assert_eq!(all.container_within(cookie, now()).and_then(|it| it.name).as_deref(), Some("web-1"));
    let local = look(&mut all, (CLIENT_V4, 40000).into(), (own, 80).into());
    let name = lab.server.name();
    let named = Netns { name: format!("netns {name}"), enter: format!("ip netns exec {name}") };
    assert_eq!(local.server_netns, Ok(Some(named)));
}
