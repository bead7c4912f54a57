//! The place of a process, from /proc/PID/cgroup: a systemd unit, a container. Reads names; never asks a runtime.
//!
//! One line a hierarchy, `number:controllers:path`; version 2 has one line, `0::path`, beside version 1's where both
//! are mounted. <https://man7.org/linux/man-pages/man7/cgroups.7.html>

/// A unit, and the marks of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) unit: Option<String>,
    pub(super) container: Option<Marks>,
}

/// The signs of a container in a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Marks {
    /// 64 hexadecimal digits; for LXC the name.
    pub(super) id: String,
    pub(super) runtime: Runtime,
    /// The UID of its pod, as Kubernetes writes it.
    pub(super) pod: Option<String>,
    /// The user below whose systemd it runs; such a path is that user's word.
    pub(super) user: Option<u32>,
}

/// The maker of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Runtime {
    Docker,
    Podman,
    Nerdctl,
    /// Kubernetes, by containerd or CRI-O.
    Cri,
    Lxc,
    /// The path does not say it.
    Unknown,
}

/// Digits of a container's id that people use.
const DIGITS: usize = 12;

/// An id as people write it; a name as it is.
pub(super) fn short(id: &str) -> &str {
    if is_id(id) { &id[..DIGITS] } else { id }
}

/// Reads the text of /proc/PID/cgroup. The innermost of each kind counts.
pub(super) fn place(text: &str) -> Place {
    let mut place = Place::default();
    let paths = || text.lines().filter_map(|it| it.splitn(3, ':').nth(2).zip(it.split(':').nth(1)));
    // systemd's own hierarchy is the one that has units: version 2's, or the one of its name. Others may be anything's.
    let of_systemd = paths().filter(|(_, name)| name.is_empty() || *name == "name=systemd");
    for (path, _) in of_systemd {
        place.unit = place.unit.or_else(|| path.rsplit('/').find(|it| is_unit(it)).map(str::to_owned));
    }
    for (path, _) in paths() {
        place.container = place.container.or_else(|| container(path));
    }
    place
}

/// A scope that a container's runtime made says no more than the container's id.
fn is_unit(name: &str) -> bool {
    (name.ends_with(".service") || name.ends_with(".scope")) && id(name).is_none()
}

fn container(path: &str) -> Option<Marks> {
    let mut outer = path.rsplit('/').skip(1).chain([""]);
    let (id, runtime) = path.rsplit('/').find_map(|name| {
        let outer = outer.next().unwrap_or_default();
        let made = id(name).map(|(before, id)| (id, runtime(before, outer)));
        made.or_else(|| lxc(outer, name).map(|name| (name, Runtime::Lxc)))
    })?;
    let (pod, user) = (path.split('/').find_map(pod), path.split('/').find_map(user));
    Some(Marks { id: id.to_owned(), runtime, pod, user })
}

/// 64 hexadecimal digits by themselves (docker, podman, containerd, ECS), behind a runtime's name in a scope
/// (`docker-`, `cri-containerd-`, `crio-`, `libpod-`), or as containerd names them where it drives cgroups itself
/// (`kubepods-….slice:cri-containerd:`); with what is before them. A runtime's monitor is not in the container.
fn id(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_suffix(".scope").or_else(|| name.strip_suffix(".service")).unwrap_or(name);
    let (before, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    (is_id(id) && !before.ends_with("conmon")).then_some((before, id))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit())
}

/// By what is before the id, or else by the folder that holds it.
fn runtime(before: &str, outer: &str) -> Runtime {
    match before.rsplit(':').next().unwrap_or_default() {
        "docker" => Runtime::Docker,
        "nerdctl" => Runtime::Nerdctl,
        "cri-containerd" | "crio" => Runtime::Cri,
        it if it.starts_with("libpod") => Runtime::Podman,
        "" if outer == "docker" => Runtime::Docker,
        "" if outer == "libpod_parent" => Runtime::Podman,
        _ => Runtime::Unknown,
    }
}

/// `/lxc/NAME`, `/lxc.payload/NAME`, `/lxc.payload.NAME`; its monitor (`lxc.monitor`) runs outside of it.
fn lxc<'a>(outer: &str, name: &'a str) -> Option<&'a str> {
    let named = match outer {
        "lxc" | "lxc.payload" => Some(name),
        _ => name.strip_prefix("lxc.payload."),
    };
    named.filter(|it| !it.is_empty())
}

/// The UID in `pod5c9f….slice`, `kubepods-burstable-pod5c9f….slice`, with `_` for `-` where systemd wants that. Static
/// pods have 32 digits without any.
fn pod(name: &str) -> Option<String> {
    let name = name.split(':').next().unwrap_or_default();
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let uid = name.strip_prefix("pod").or_else(|| name.rsplit_once("-pod").map(|(_, uid)| uid))?;
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let is_uid = digits == 32 && uid.bytes().all(|it| it.is_ascii_hexdigit() || matches!(it, b'-' | b'_'));
    is_uid.then(|| uid.replace('_', "-"))
}

/// The number in `user@1000.service`.
fn user(name: &str) -> Option<u32> {
    name.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok().filter(|uid| *uid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f9a1c0b5e7d4a2f8c6b1e0d9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f00";

    const POD: &str = "pod5c9f2c1e_6d0b_4f3e_9d7a_0f1e2d3c4b5a";
    const UID: &str = "5c9f2c1e-6d0b-4f3e-9d7a-0f1e2d3c4b5a";

    /// A container with this id, of no pod and no user.
    fn made(id: &str, runtime: Runtime) -> Option<Marks> {
        Some(Marks { id: id.to_owned(), runtime, pod: None, user: None })
    }

    /// One of a pod.
    fn of_pod(uid: &str, runtime: Runtime) -> Option<Marks> {
        Some(Marks { id: ID.to_owned(), runtime, pod: Some(uid.to_owned()), user: None })
    }

    /// Holds what each text is with POD and ID for a pod's and a container's: the unit, and the container.
    fn hold(cases: &[(&str, Option<&str>, Option<Marks>)]) {
        let whole = |it: &str| it.replace("POD", POD).replace("ID", ID);
        for (text, unit, container) in cases {
            let expected = Place { unit: unit.map(whole), container: container.clone() };
            assert_eq!(place(&whole(text)), expected, "{text}");
        }
    }

    #[test]
    fn units() {
        hold(&[
            ("", None, None),
            ("0::/", None, None),
            ("nonsense\n1:\n::\n", None, None),
            ("0::/system.slice/nginx.service", Some("nginx.service"), None),
            ("0::/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service"), None),
            ("0::/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope"), None),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-42.scope",
                Some("app-firefox-42.scope"),
                None,
            ),
            ("0::/init.scope", Some("init.scope"), None),
            ("0::/system.slice/foo.service/workers/3", Some("foo.service"), None),
            ("4:memory:/system.slice/x.service\n1:name=systemd:/system.slice/y.service\n", Some("y.service"), None),
            ("0::/docker/3f9a1c0b5e7d", None, None),
            ("4:memory:/process_api/d54f8b79997d1f25292cd4bb0d7dbdd5", None, None),
            ("0::/../../evil.service/..", Some("evil.service"), None),
        ]);
    }

    #[test]
    fn containers_by_themselves() {
        let rootless = Some(Marks { user: Some(1000), ..made(ID, Runtime::Podman).expect("it is one") });
        hold(&[
            ("0::/system.slice/docker-ID.scope", None, made(ID, Runtime::Docker)),
            (
                "12:cpu,cpuacct:/docker/ID\n1:name=systemd:/docker/ID\n0::/system.slice/containerd.service",
                Some("containerd.service"),
                made(ID, Runtime::Docker),
            ),
            ("0::/docker/ID/system.slice/sshd.service", Some("sshd.service"), made(ID, Runtime::Docker)),
            ("0::/docker/ID/docker/ID", None, made(ID, Runtime::Docker)),
            ("0::/machine.slice/libpod-ID.scope/container", None, made(ID, Runtime::Podman)),
            ("0::/machine.slice/libpod-conmon-ID.scope", Some("libpod-conmon-ID.scope"), None),
            ("0::/system.slice/web.service/libpod-payload-ID", Some("web.service"), made(ID, Runtime::Podman)),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
                Some("user@1000.service"),
                rootless,
            ),
            ("0::/libpod_parent/libpod-ID", None, made(ID, Runtime::Podman)),
            ("0::/system.slice/nerdctl-ID.scope", None, made(ID, Runtime::Nerdctl)),
            ("0::/default/ID", None, made(ID, Runtime::Unknown)),
            ("0::/lxc/web", None, made("web", Runtime::Lxc)),
            ("4:memory:/lxc.payload/web\n", None, made("web", Runtime::Lxc)),
            ("0::/lxc.payload.web/system.slice/nginx.service", Some("nginx.service"), made("web", Runtime::Lxc)),
            ("0::/lxc.monitor.web", None, None),
        ]);
        assert_eq!(short(&made(ID, Runtime::Docker).expect("it is one").id), "3f9a1c0b5e7d");
        assert_eq!(short(&made("a-long-name-of-lxc", Runtime::Lxc).expect("it is one").id), "a-long-name-of-lxc");
    }

    #[test]
    fn containers_of_pods() {
        let hash = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
        hold(&[
            (
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-POD.slice/cri-containerd-ID.scope",
                None,
                of_pod(UID, Runtime::Cri),
            ),
            (
                "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-POD.slice/cri-containerd-ID.scope",
                None,
                of_pod(UID, Runtime::Cri),
            ),
            ("0::/kubepods/besteffort/POD/ID", None, of_pod(UID, Runtime::Unknown)),
            (
                "11:memory:/kubepods/burstable/pod5c9f2c1e-6d0b-4f3e-9d7a-0f1e2d3c4b5a/ID",
                None,
                of_pod(UID, Runtime::Unknown),
            ),
            ("0::/kubepods.slice/kubepods-POD.slice/docker-ID.scope", None, of_pod(UID, Runtime::Docker)),
            ("0::/kubepods.slice/kubepods-POD.slice/crio-ID.scope", None, of_pod(UID, Runtime::Cri)),
            ("0::/kubepods/burstable/pod0f1e2d3c4b5a69788796a5b4c3d2e1f0/ID", None, of_pod(hash, Runtime::Unknown)),
            ("0::/kubepods.slice/kubepods-POD.slice/crio-conmon-ID.scope", Some("crio-conmon-ID.scope"), None),
            (
                "0::/system.slice/containerd.service/kubepods-POD.slice:cri-containerd:ID",
                Some("containerd.service"),
                of_pod(UID, Runtime::Cri),
            ),
            // A pod of podman has an id, and no UID.
            ("0::/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope", None, made(ID, Runtime::Podman)),
        ]);
    }
}
