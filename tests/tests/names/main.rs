//! The suite `names`: processes, units, containers and pods in what the tracer prints, and lists chosen by them. It needs
//! root.
//!
//! The containers are cgroups with the names that runtimes give them, and files below a root of the test's own; where
//! there is podman, one is its.

mod podman;
mod selection;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::Value;
use tcptrace_tests::{
    contract,
    lab::{Cgroup, Lab, Ns, Process, Tracer},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const ID: &str = "3f9a1c0b5e7d4a2f8c6b1e0d9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f00";
const UID: &str = "5c9f2c1e-6d0b-4f3e-9d7a-0f1e2d3c4b5a";

/// A server's address that no other lab has: an address that several namespaces have is nobody's.
fn server(lab: &Lab) -> IpAddr {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() << 4 | NUMBER.fetch_add(1, Ordering::Relaxed);
    let address = Ipv4Addr::from_bits(0x0b00_0000 | number & 0xff_ffff);
    lab.server.ip(&format!("addr add {address}/32 dev eth0"));
    lab.router.ip(&format!("route add {address} via 203.0.113.2"));
    IpAddr::V4(address)
}

/// A root with a container of Docker (`web-1`) and one of a pod (`shop/web-0`).
fn root() -> TempDir {
    let root = tempfile::tempdir().expect("a folder can be made");
    write(root.path(), &format!("var/lib/docker/containers/{ID}/config.v2.json"), r#"{"Name":"/web-1"}"#);
    write(root.path(), &format!("var/log/pods/shop_web-0_{UID}/nginx/0.log"), "");
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("it is below the root")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

/// A process that connects every second, in a cgroup if one is named.
struct Caller {
    process: Process,
    _cgroup: Option<Cgroup>,
}

impl Caller {
    fn start(ns: &Ns, cgroup: Option<&str>, to: IpAddr, port: u16) -> Self {
        let text = format!("sleep 1; while :; do : 3<>/dev/tcp/{to}/{port}; sleep 1; done");
        let process = ns.spawn(["bash", "-c", &text]);
        let cgroup = cgroup.map(Cgroup::at);
        cgroup.iter().for_each(|cgroup| cgroup.take(process.pid().as_raw()));
        Self { process, _cgroup: cgroup }
    }

    fn pid(&self) -> i32 {
        self.process.pid().as_raw()
    }
}

fn docker() -> String {
    format!("system.slice/docker-{ID}.scope")
}

fn pod() -> String {
    format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID}.slice/cri-containerd-{ID}.scope")
}

fn trace(ns: &Ns, root: &Path, args: &[&str]) -> Tracer {
    let below = root.to_str().expect("it is text");
    Tracer::start(ns, ["-i", "eth0", "--names-below", below].iter().chain(args))
}

/// The first attempt at a port.
#[track_caller]
fn attempt(tracer: &Tracer, port: u16) -> Value {
    let line = tracer.wait_for_line(|line| line["type"] == "attempt" && line["server"]["port"] == port, PATIENCE);
    contract::hold(&line);
    line
}

#[test]
fn json_has_the_names_and_the_next_step_the_way_in() {
    let (lab, root) = (Lab::new(), root());
    let to = server(&lab);
    let tracer = trace(&lab.client, root.path(), &["--json"]);
    let web = Caller::start(&lab.client, Some(&docker()), to, 81);
    let shop = Caller::start(&lab.client, Some(&pod()), to, 82);
    let (web_line, shop_line) = (attempt(&tracer, 81), attempt(&tracer, 82));
    let process = &web_line["local"]["process"];
    assert_eq!((process["pid"].as_i64(), &process["command"]), (Some(web.pid().into()), &"bash".into()));
    assert_eq!((&process["container"], &process["container_name"]), (&ID[..12].into(), &"web-1".into()));
    assert_eq!((process.get("pod"), process.get("namespace")), (None, None));
    let process = &shop_line["local"]["process"];
    assert_eq!(process["pid"].as_i64(), Some(shop.pid().into()));
    assert_eq!((&process["pod"], &process["namespace"]), (&"web-0".into(), &"shop".into()));
    assert_eq!(process["container_name"], "nginx");
    let name = lab.server.name();
    assert_eq!(web_line["local"]["server_netns"], format!("netns {name}"));
    assert_eq!(web_line["local"].get("client_netns"), None, "it is the tracer's own");
    let step = format!("on this host: ip netns exec {name} ss -ltnp 'sport = :81'; no line: start the service");
    assert_eq!(web_line["cause"]["next"][0], step, "{web_line:#}");
}

/// A container's name and a pod's stand for its network namespace. Other tests have containers at the same time: these
/// two have ids of their own.
#[test]
fn tracing_begins_in_the_namespace_of_a_container_by_name() {
    let (lab, root) = (Lab::new(), tempfile::tempdir().expect("a folder can be made"));
    let to = server(&lab);
    let (docker_id, pod_id, uid) = (ID.replace("3f", "5a"), ID.replace("3f", "6b"), UID.replace("5c", "7d"));
    write(root.path(), &format!("var/lib/docker/containers/{docker_id}/config.v2.json"), r#"{"Name":"/alone-1"}"#);
    write(root.path(), &format!("var/log/pods/shop_alone-0_{uid}/nginx/0.log"), "");
    for (cgroup, name, container, port) in [
        (docker().replace(ID, &docker_id), "alone-1", "alone-1", 81),
        (pod().replace(ID, &pod_id).replace(UID, &uid), "shop/alone-0", "nginx", 82),
    ] {
        let _caller = Caller::start(&lab.client, Some(&cgroup), to, port);
        let tracer = trace(&lab.server, root.path(), &["--json", "--netns", name]);
        let line = attempt(&tracer, port);
        assert_eq!(line["client"]["ip"], "198.51.100.2", "{line:#}");
        let said = tracer.stop().stderr;
        assert!(said.contains(&format!("in the netns of container {container}")), "{said}");
    }
}

/// The client lives in a namespace without a name, which is its container's.
#[test]
fn a_process_that_is_gone_has_the_container_of_its_network_namespace() {
    let (lab, root) = (Lab::new(), root());
    let to = server(&lab);
    lab.server.ip("link set lo up");
    let inside = Cgroup::at(&docker());
    let sleeper = lab.client.spawn(["unshare", "-n", "sleep", "600"]);
    inside.take(sleeper.pid().as_raw());
    let pid = sleeper.pid().as_raw();
    let (client, gateway) = (Ipv4Addr::new(10, 99, 0, 2), Ipv4Addr::new(10, 99, 0, 1));
    std::thread::sleep(Duration::from_millis(500));
    lab.client.ip(&format!(
        "link add veth0 type veth peer name inner netns {pid}\naddr add {gateway}/24 dev veth0\nlink set veth0 up"
    ));
    let inner = format!(
        "nsenter -t {pid} -n sh -c 'ip addr add {client}/24 dev inner && ip link set inner up && ip route add default via {gateway}'"
    );
    lab.client.run(["sh", "-c", &inner]);
    lab.client.sysctl("net.ipv4.ip_forward", "1");
    lab.router.ip(&format!("route add {client} via 198.51.100.2"));
    let tracer = trace(&lab.client, root.path(), &["--json"]);
    let lines = (83..93).map(|port| {
        lab.client.try_run(["sh", "-c", &format!("nsenter -t {pid} -n bash -c ': 3<>/dev/tcp/{to}/{port}'")]);
        let line = attempt(&tracer, port);
        assert_eq!(line["local"]["client_netns"], "container web-1", "{line:#}");
        line["local"]["process"]["container_name"].clone()
    });
    // One that is looked up while it runs has its own cgroup, which is the test's.
    let names: Vec<_> = lines.collect();
    assert!(names.contains(&"web-1".into()), "{names:?}");
}

#[test]
fn text_has_the_names_beside_the_pids() {
    let (lab, root) = (Lab::new(), root());
    let to = server(&lab);
    let tracer = trace(&lab.client, root.path(), &["-v", "--each"]);
    let web = Caller::start(&lab.client, Some(&docker()), to, 443);
    let shop = Caller::start(&lab.client, Some(&pod()), to, 82);
    let wanted = [
        format!("bash (pid {}, container web-1) connects", web.pid()),
        format!("bash (pid {}, pod shop/web-0) connects", shop.pid()),
        format!("{to}:443 (https)"),
    ];
    tracer.process().wait_for("the names", PATIENCE, |streams| {
        // Lines are folded.
        let text = streams.stdout.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        wanted.iter().all(|it| text.contains(it)).then_some(())
    });
}
