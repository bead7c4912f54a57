//! The place of a process, from /proc/PID/cgroup: a systemd unit, a container. Reads names; never asks a runtime.
//!
//! One line a hierarchy, `number:controllers:path`; version 2 has one line, `0::path`, beside version 1's where both
//! are mounted. <https://man7.org/linux/man-pages/man7/cgroups.7.html>

/// A unit and a container's id, 12 digits of it, or its name where that is what the runtime goes by (LXC).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) unit: Option<String>,
    pub(super) container: Option<String>,
}

/// Digits of a container's id that people use.
const DIGITS: usize = 12;

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

fn container(path: &str) -> Option<String> {
    let mut outer = path.rsplit('/').skip(1).chain([""]);
    path.rsplit('/').find_map(|name| {
        let outer = outer.next().unwrap_or_default();
        id(name).map(|it| it[..DIGITS].to_owned()).or_else(|| lxc(outer, name).map(str::to_owned))
    })
}

/// 64 hexadecimal digits by themselves (docker, podman, containerd, ECS), behind a runtime's name in a scope
/// (`docker-`, `cri-containerd-`, `crio-`, `libpod-`), or as containerd names them where it drives cgroups itself
/// (`kubepods-….slice:cri-containerd:`). A runtime's monitor is not in the container.
fn id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").or_else(|| name.strip_suffix(".service")).unwrap_or(name);
    let (before, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    let is_id = id.len() == 64 && id.bytes().all(|it| it.is_ascii_hexdigit());
    (is_id && !before.ends_with("conmon")).then_some(id)
}

/// `/lxc/NAME`, `/lxc.payload/NAME`, `/lxc.payload.NAME`; its monitor (`lxc.monitor`) runs outside of it.
fn lxc<'a>(outer: &str, name: &'a str) -> Option<&'a str> {
    let named = match outer {
        "lxc" | "lxc.payload" => Some(name),
        _ => name.strip_prefix("lxc.payload."),
    };
    named.filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f9a1c0b5e7d4a2f8c6b1e0d9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f00";

    #[test]
    fn place_of_each_kind_of_path() {
        let id = "3f9a1c0b5e7d";
        let pod = "pod5c9f2c1e_6d0b_4f3e_9d7a_0f1e2d3c4b5a";
        // The text with ID for the digits, the unit, the container.
        let cases: &[(&str, Option<&str>, Option<&str>)] = &[
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
            ("0::/system.slice/docker-ID.scope", None, Some(id)),
            (
                "12:cpu,cpuacct:/docker/ID\n1:name=systemd:/docker/ID\n0::/system.slice/containerd.service",
                { Some("containerd.service") },
                Some(id),
            ),
            ("4:memory:/system.slice/x.service\n1:name=systemd:/system.slice/y.service\n", Some("y.service"), None),
            (
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-POD.slice/cri-containerd-ID.scope",
                None,
                Some(id),
            ),
            ("0::/kubepods/besteffort/POD/ID", None, Some(id)),
            ("0::/kubepods.slice/kubepods-POD.slice/crio-ID.scope", None, Some(id)),
            ("0::/kubepods.slice/kubepods-POD.slice/crio-conmon-ID.scope", Some("crio-conmon-ID.scope"), None),
            (
                "0::/system.slice/containerd.service/kubepods-POD.slice:cri-containerd:ID",
                { Some("containerd.service") },
                Some(id),
            ),
            ("0::/machine.slice/libpod-ID.scope/container", None, Some(id)),
            ("0::/machine.slice/libpod-conmon-ID.scope", Some("libpod-conmon-ID.scope"), None),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
                Some("user@1000.service"),
                Some(id),
            ),
            ("0::/libpod_parent/libpod-ID", None, Some(id)),
            ("0::/lxc/web", None, Some("web")),
            ("4:memory:/lxc.payload/web\n", None, Some("web")),
            ("0::/lxc.payload.web/system.slice/nginx.service", Some("nginx.service"), Some("web")),
            ("0::/lxc.monitor.web", None, None),
            ("0::/docker/ID/system.slice/sshd.service", Some("sshd.service"), Some(id)),
            ("0::/docker/ID/docker/ID", None, Some(id)),
            ("0::/docker/3f9a1c0b5e7d", None, None),
            ("4:memory:/process_api/d54f8b79997d1f25292cd4bb0d7dbdd5", None, None),
            ("0::/../../evil.service/..", Some("evil.service"), None),
        ];
        for (text, unit, container) in cases {
            let whole = |it: &str| it.replace("POD", pod).replace("ID", ID);
            let expected = Place { unit: unit.map(whole), container: container.map(str::to_owned) };
            assert_eq!(place(&whole(text)), expected, "{text}");
        }
    }
}
