//! The files that have a container's name, and their reading. It asks no runtime and no API. Paths are made of ids alone,
//! which have only digits.
//!
//! A file that is missing, unreadable, too long or no file costs its names and nothing else.

use std::{
    fs::{self, OpenOptions},
    io::Read,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use tcptrace_vocabulary::facts::Pod;

use super::{
    super::cgroup::{Marks, Runtime},
    parse::{self, Label},
};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;
/// Entries of a folder that are looked at.
const ENTRIES: usize = 1 << 14;
/// The folders of Docker, also as a snap.
const DOCKER: [&str; 2] = ["var/lib/docker", "var/snap/docker/common/var-lib-docker"];
/// The folders of containers/storage: that of containers, and that of containers which do not outlive a boot.
const STORAGE: [&str; 2] = ["var/lib/containers/storage", "run/containers/storage"];
/// The drivers of containers/storage, which name its folders.
const DRIVERS: [&str; 4] = ["overlay", "vfs", "btrfs", "zfs"];
/// The folders where containerd keeps bundles, by namespace; k3s has its own.
const CONTAINERD: [&str; 2] =
    ["run/containerd/io.containerd.runtime.v2.task", "run/k3s/containerd/io.containerd.runtime.v2.task"];

/// The names of a container, and its runtime as far as they show it. All paths are below `root`.
pub(super) fn label(root: &Path, marks: &Marks) -> (Label, Runtime) {
    let Marks { id, runtime, pod, user } = marks;
    if let Some(user) = *user {
        // The files of others would lend such a path their names.
        return of_user(root, id, user).map_or((Label::default(), *runtime), |it| (it, *runtime));
    }
    let logged = pod.as_deref().map(|uid| logged(root, uid, id)).unwrap_or_default();
    if logged.name.is_some() && logged.pod.is_some() {
        return (logged, *runtime);
    }
    let (found, runtime) = of_runtime(root, id, *runtime);
    let Label { name, pod, is_nerdctls } = found;
    (Label { name: logged.name.or(name), pod: logged.pod.or(pod), is_nerdctls }, runtime)
}

/// What the runtime's own files say. One that the path does not name is found by who has a file.
fn of_runtime(root: &Path, id: &str, runtime: Runtime) -> (Label, Runtime) {
    let docker = || DOCKER.iter().find_map(|it| docker(&root.join(it), id)).map(|it| (it, Runtime::Docker));
    let podman = || STORAGE.iter().find_map(|it| stored(&root.join(it), id)).map(|it| (it, Runtime::Podman));
    let bundle = || bundled(root, id);
    let found = match runtime {
        Runtime::Docker => docker(),
        Runtime::Podman => podman(),
        Runtime::Nerdctl => bundle(),
        Runtime::Cri => bundle().or_else(podman).map(|(label, _)| (label, Runtime::Cri)),
        Runtime::Lxc => None,
        Runtime::Unknown => docker().or_else(podman).or_else(bundle),
    };
    found.unwrap_or((Label::default(), runtime))
}

fn docker(folder: &Path, id: &str) -> Option<Label> {
    parse::docker(&read(&folder.join("containers").join(id).join("config.v2.json"))?)
}

fn stored(folder: &Path, id: &str) -> Option<Label> {
    DRIVERS.iter().find_map(|driver| {
        let folder = folder.join(format!("{driver}-containers"));
        let mut files = ["containers.json", "volatile-containers.json"].iter().map(|file| folder.join(file));
        files.find_map(|file| parse::storage(&read(&file)?, id))
    })
}

fn bundled(root: &Path, id: &str) -> Option<(Label, Runtime)> {
    CONTAINERD.iter().find_map(|folder| {
        entries(&root.join(folder)).find_map(|(namespace, path)| {
            let label = parse::bundle(&read(&path.join(id).join("config.json"))?)?;
            let runtime = match (namespace == "k8s.io" || label.pod.is_some(), label.is_nerdctls) {
                (true, _) => Runtime::Cri,
                (false, true) if namespace == "default" => Runtime::Nerdctl,
                (false, _) => Runtime::Unknown,
            };
            Some((label, runtime))
        })
    })
}

/// What rootless Podman and rootless Docker keep in their user's home.
fn of_user(root: &Path, id: &str, user: u32) -> Option<Label> {
    let home = root.join(parse::home(&read(&root.join("etc/passwd"))?, user)?);
    let share = home.join(".local/share");
    let temporary = root.join(format!("run/user/{user}/containers"));
    let stored = stored(&share.join("containers/storage"), id).or_else(|| stored(&temporary, id));
    stored.or_else(|| docker(&share.join("docker"), id))
}

/// What the names of the kubelet's logs say.
fn logged(root: &Path, uid: &str, id: &str) -> Label {
    let mut files = entries(&root.join("var/log/containers"));
    if let Some(label) = files.find_map(|(file, _)| parse::log_file(&file, id)) {
        return label;
    }
    let mut pods = entries(&root.join("var/log/pods"));
    let found: Option<(Pod, PathBuf)> = pods.find_map(|(name, path)| Some((parse::pod_folder(&name, uid)?, path)));
    let Some((pod, path)) = found else { return Label::default() };
    // The only container of a pod is the one that is looked for.
    let mut containers = entries(&path).map(|(name, _)| name);
    let name = containers.next().filter(|_| containers.next().is_none());
    Label { name, pod: Some(pod), is_nerdctls: false }
}

/// The entries of a folder by name, as far as names are text.
fn entries(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let all = fs::read_dir(folder).into_iter().flatten().take(ENTRIES).flatten();
    all.filter_map(|it| Some((it.file_name().into_string().ok()?, it.path())))
}

/// A file's text. A pipe or a device is no file, and opening one does not wait.
fn read(path: &Path) -> Option<String> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > LONGEST {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}
