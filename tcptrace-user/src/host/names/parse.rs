//! The names in files of container runtimes and of the kubelet: functions on text, which read nothing.
//!
//! The files are others' work: a text that is not as expected has no name. A name is cut to [`LONGEST`], and otherwise kept as it
//! is; whoever prints it escapes it.

use std::collections::HashMap;

use serde::Deserialize;
use tcptrace_vocabulary::facts::Pod;

/// Characters of a name: those of the longest that DNS has, and so Kubernetes.
const LONGEST: usize = 253;

/// The names that a file has. Each may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) name: Option<String>,
    pub(super) pod: Option<Pod>,
    /// Whether the name is one that `nerdctl` knows.
    pub(super) is_nerdctls: bool,
}

/// config.v2.json of Docker: `Name`, behind a slash.
pub(super) fn docker(text: &str) -> Option<Label> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "Name")]
        name: String,
    }
    let config: Config = serde_json::from_str(text).ok()?;
    named(config.name.strip_prefix('/').unwrap_or(&config.name))
}

/// containers.json of containers/storage, which Podman and CRI-O share: `names` of the container with this id.
pub(super) fn storage(text: &str, id: &str) -> Option<Label> {
    #[derive(Deserialize)]
    struct Stored {
        id: String,
        #[serde(default)]
        names: Vec<String>,
    }
    let all: Vec<Stored> = serde_json::from_str(text).ok()?;
    named(all.iter().find(|it| it.id == id)?.names.first()?)
}

/// config.json of a container's bundle (OCI runtime specification): the annotations that containerd, CRI-O and nerdctl
/// put there.
pub(super) fn bundle(text: &str) -> Option<Label> {
    #[derive(Deserialize)]
    struct Spec {
        annotations: HashMap<String, String>,
    }
    let Spec { annotations } = serde_json::from_str(text).ok()?;
    let get = |keys: [&str; 2]| keys.iter().find_map(|key| annotations.get(*key)).and_then(|it| cut(it));
    let pod = get(["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"])
        .zip(get(["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]))
        .map(|(namespace, name)| Pod { namespace, name });
    let nerdctl = annotations.get("nerdctl/name").and_then(|it| cut(it));
    let is_nerdctls = nerdctl.is_some();
    let name = nerdctl.or_else(|| get(["io.kubernetes.cri.container-name", "io.kubernetes.container.name"]));
    (name.is_some() || pod.is_some()).then_some(Label { name, pod, is_nerdctls })
}

/// A folder of /var/log/pods: `NAMESPACE_POD_UID`. Neither of the three has an underscore.
pub(super) fn pod_folder(folder: &str, uid: &str) -> Option<Pod> {
    let (namespace, name) = folder.strip_suffix(uid)?.strip_suffix('_')?.split_once('_')?;
    Some(Pod { namespace: cut(namespace)?, name: cut(name)? })
}

/// A file of /var/log/containers: `POD_NAMESPACE_CONTAINER-ID.log`.
pub(super) fn log_file(file: &str, id: &str) -> Option<Label> {
    let mut parts = file.strip_suffix(".log")?.strip_suffix(id)?.strip_suffix('-')?.splitn(3, '_');
    let (name, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
    let pod = Some(Pod { namespace: cut(namespace)?, name: cut(name)? });
    Some(Label { name: Some(cut(container)?), pod, is_nerdctls: false })
}

/// The home of a user in passwd(5), if it is a path from the root on.
pub(super) fn home(passwd: &str, user: u32) -> Option<&str> {
    let line = passwd.lines().find(|line| line.split(':').nth(2).and_then(|it| it.parse().ok()) == Some(user))?;
    line.split(':').nth(5)?.strip_prefix('/').filter(|it| !it.is_empty())
}

/// A container by its name there; `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT` is one of the kubelet's.
fn named(name: &str) -> Option<Label> {
    let parts: Vec<_> = name.split('_').collect();
    let ["k8s", container, pod, namespace, _, _] = parts[..] else {
        return Some(Label { name: Some(cut(name)?), ..Label::default() });
    };
    let pod = Some(Pod { namespace: cut(namespace)?, name: cut(pod)? });
    // The container that holds the pod's network namespace.
    let name = if container == "POD" { None } else { cut(container) };
    Some(Label { name, pod, is_nerdctls: false })
}

/// A name of a bounded length; `None` if there is nothing of it.
fn cut(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.chars().take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f9a1c0b5e7d4a2f8c6b1e0d9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f00";
    const UID: &str = "5c9f2c1e-6d0b-4f3e-9d7a-0f1e2d3c4b5a";

    fn of(name: &str) -> Option<Label> {
        Some(Label { name: Some(name.to_owned()), ..Label::default() })
    }

    fn shop(name: &str) -> Option<Pod> {
        Some(Pod { namespace: "shop".to_owned(), name: name.to_owned() })
    }

    #[test]
    fn names_of_docker() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let long = format!(r#"{{"Name":"/{}"}}"#, "x".repeat(10_000));
        for (text, expected) in [
            (r#"{"ID":"3f9a","Name":"/web-1","State":{"Running":true}}"#, of("web-1")),
            (r#"{"Name":"web-1"}"#, of("web-1")),
            (r#"{"Name":"/\u001b[2J\nx"}"#, of("\x1b[2J\nx")),
            (
                r#"{"Name":"/k8s_nginx_web-0_shop_5c9f_0"}"#,
                Some(Label { name: Some("nginx".to_owned()), pod: shop("web-0"), is_nerdctls: false }),
            ),
            (r#"{"Name":"/k8s_POD_web-0_shop_5c9f_0"}"#, Some(Label { pod: shop("web-0"), ..Label::default() })),
            (r#"{"Name":"/k8s_few_parts"}"#, of("k8s_few_parts")),
            (r#"{"Name":"/"}"#, None),
            (r#"{"Name":7}"#, None),
            (r#"{"Name":"/web-1""#, None),
            (r"{}", None),
            ("", None),
            (&deep, None),
            (&long, of(&"x".repeat(LONGEST))),
        ] {
            assert_eq!(docker(text), expected, "{text:.80}");
        }
    }

    #[test]
    fn names_of_storage() {
        let text = |names: &str| format!(r#"[{{"id":"other","names":["no"]}},{{"id":"{ID}"{names}}}]"#);
        for (text, expected) in [
            (text(r#","names":["web-1","alias"],"image":"x""#), of("web-1")),
            (
                text(r#","names":["k8s_nginx_web-0_shop_5c9f_0"]"#),
                Some(Label { name: Some("nginx".to_owned()), pod: shop("web-0"), is_nerdctls: false }),
            ),
            (text(r#","names":[]"#), None),
            (text(""), None),
            (text(r#","names":null"#), None),
            ("[]".to_owned(), None),
            ("{}".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(storage(&text, ID), expected, "{text}");
        }
    }

    #[test]
    fn names_of_bundles() {
        let text = |all: &str| format!(r#"{{"ociVersion":"1.1","annotations":{{{all}}}}}"#);
        for (all, expected) in [
            (r#""nerdctl/name":"web-1""#, Some(Label { is_nerdctls: true, ..of("web-1").unwrap() })),
            (
                r#""io.kubernetes.cri.container-name":"nginx","io.kubernetes.cri.sandbox-name":"web-0",
                   "io.kubernetes.cri.sandbox-namespace":"shop""#,
                Some(Label { name: Some("nginx".to_owned()), pod: shop("web-0"), is_nerdctls: false }),
            ),
            (
                r#""io.kubernetes.container.name":"nginx","io.kubernetes.pod.name":"web-0",
                   "io.kubernetes.pod.namespace":"shop""#,
                Some(Label { name: Some("nginx".to_owned()), pod: shop("web-0"), is_nerdctls: false }),
            ),
            (r#""io.kubernetes.cri.sandbox-name":"web-0""#, None),
            (r#""other":"x""#, None),
        ] {
            assert_eq!(bundle(&text(all)), expected, "{all}");
        }
        assert_eq!(bundle(r#"{"annotations":7}"#), None);
        assert_eq!(bundle("{}"), None);
    }

    #[test]
    fn names_of_the_kubelets_logs() {
        let folder = |it: &str| pod_folder(&it.replace("UID", UID), UID);
        assert_eq!(folder("shop_web-0_UID"), shop("web-0"));
        assert_eq!(folder("shop_web.example_UID"), shop("web.example"));
        for other in ["shop_web-0_other", "shop_UID", "_web-0_UID", "shop__UID", "UID", "_UID", ""] {
            assert_eq!(folder(other), None, "{other}");
        }
        let file = |it: &str| log_file(&it.replace("ID", ID), ID);
        let nginx = Label { name: Some("nginx-2".to_owned()), pod: shop("web-0"), is_nerdctls: false };
        assert_eq!(file("web-0_shop_nginx-2-ID.log"), Some(nginx));
        for other in ["web-0_shop_nginx-other.log", "web-0_shop-ID.log", "__-ID.log", "web-0_shop_nginx-ID", "-ID.log"]
        {
            assert_eq!(file(other), None, "{other}");
        }
    }

    #[test]
    fn homes() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nodd\nann:x:1000:1000:Ann:/home/ann:/bin/sh\nbob:x:1001:1:::\n";
        assert_eq!(home(passwd, 1000), Some("home/ann"));
        assert_eq!(home(passwd, 0), Some("root"));
        assert_eq!((home(passwd, 1001), home(passwd, 7), home("", 7)), (None, None, None));
    }
}
