//! Containers and pods by name, from the files of runtimes and of the kubelet. docs/operations.md lists the files.
//!
//! A name is looked up once and kept for a while: names change, and ids are not used again. Files are read on a thread
//! of their own: one that does not answer (a home on a dead file server) costs a moment once, and names from then on, but
//! no tracing.

mod files;
mod parse;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, TryRecvError},
    thread,
    time::Duration,
};

use tcptrace_core::handshake::Nanos;
use tcptrace_vocabulary::facts::{Container, Netns, Process};

use self::parse::Label;
use super::cgroup::{self, Marks, Runtime};

/// For how long a name is what it was, and for how long one that no file has is not looked for again.
const KEPT: u64 = 60_000_000_000;
const KEPT_UNNAMED: u64 = 5_000_000_000;
/// The number of containers that are kept.
const MOST: usize = 4096;
/// The longest time that reading may take.
const PATIENCE: Duration = Duration::from_millis(50);

/// The containers that were looked up, and where.
#[derive(Debug)]
pub(super) struct Names {
    root: PathBuf,
    known: HashMap<Marks, (Nanos, Container)>,
    /// A reading that takes too long; nothing else is read meanwhile.
    pending: Option<(Marks, Receiver<Container>)>,
}

impl Default for Names {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl Names {
    /// All files are below `root`: `/` but in tests.
    pub(super) fn below(root: &Path) -> Self {
        Self { root: root.to_owned(), known: HashMap::new(), pending: None }
    }

    /// A container by all names that are known of it.
    pub(super) fn container(&mut self, marks: &Marks, now: Nanos) -> Container {
        if let Some((read, container)) = self.known.get(marks) {
            let is_named = container.name.is_some() || container.pod.is_some();
            if now.since(*read) < if is_named { KEPT } else { KEPT_UNNAMED } {
                return container.clone();
            }
        }
        self.take_pending(now);
        let unnamed = named(marks, Label::default(), marks.runtime);
        if self.pending.is_some() {
            return unnamed;
        }
        let (sender, answer) = mpsc::channel();
        let (root, wanted) = (self.root.clone(), marks.clone());
        let reading = thread::Builder::new().name("names".to_owned()).spawn(move || {
            let (label, runtime) = files::label(&root, &wanted);
            // It may be waited for no more.
            let _ = sender.send(named(&wanted, label, runtime));
        });
        if reading.is_err() {
            return unnamed;
        }
        match answer.recv_timeout(PATIENCE) {
            Ok(container) => self.keep(marks.clone(), container, now),
            Err(_) => {
                self.pending = Some((marks.clone(), answer));
                unnamed
            }
        }
    }

    /// Takes the answer that took too long, if it has come.
    fn take_pending(&mut self, now: Nanos) {
        let Some((marks, answer)) = self.pending.take() else { return };
        match answer.try_recv() {
            Ok(container) => drop(self.keep(marks, container, now)),
            Err(TryRecvError::Empty) => self.pending = Some((marks, answer)),
            Err(TryRecvError::Disconnected) => {}
        }
    }

    fn keep(&mut self, marks: Marks, container: Container, now: Nanos) -> Container {
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(marks, (now, container.clone()));
        container
    }
}

/// A container with the names that were found.
fn named(marks: &Marks, label: Label, runtime: Runtime) -> Container {
    let short = cgroup::short(&marks.id);
    let Label { name, pod, .. } = label;
    let name = name.or_else(|| (marks.runtime == Runtime::Lxc).then(|| short.to_owned()));
    // A name in a command is one that no shell takes for anything else.
    let plain = name.as_deref().filter(|it| is_plain(it)).unwrap_or(short);
    let enter = match runtime {
        // Only the user's own commands know it.
        _ if marks.user.is_some() || !is_plain(short) => None,
        // Names of the kubelet's own making.
        Runtime::Docker if pod.is_some() => Some(format!("docker exec -it {short}")),
        Runtime::Docker => Some(format!("docker exec -it {plain}")),
        Runtime::Podman => Some(format!("podman exec -it {plain}")),
        Runtime::Nerdctl => Some(format!("nerdctl exec -it {plain}")),
        Runtime::Cri => Some(format!("crictl exec -it {short}")),
        Runtime::Lxc => Some(format!("lxc-attach -n {short} --")),
        Runtime::Unknown => None,
    };
    Container { id: short.to_owned(), name, pod, enter }
}

/// A network namespace by the path at which it was found and by its first process. `None`: nothing of it has a name.
pub(super) fn netns(path: &Path, first: Option<&Process>) -> Option<Netns> {
    let file = path.file_name().and_then(|it| it.to_str()).filter(|it| is_plain(it));
    let is_in = |folders: [&str; 2]| folders.iter().any(|folder| path.starts_with(folder));
    let by_ip = file.filter(|_| is_in(["/run/netns", "/var/run/netns"]));
    let ip = |name: &str| Netns { name: format!("netns {name}"), enter: format!("ip netns exec {name}") };
    // A CNI plugin or Podman chose it, and the container that lives there has a better name.
    let is_numbered = |name: &&str| name.starts_with("cni-") || name.starts_with("netns-");
    if let Some(name) = by_ip.filter(|it| !is_numbered(it)) {
        return Some(ip(name));
    }
    let enter = first.map(|it| format!("nsenter -t {} -n", it.pid));
    if let (Some(Process { container: Some(container), .. }), Some(enter)) = (first, &enter) {
        return Some(Netns { name: container.words(), enter: enter.clone() });
    }
    let by_docker = || {
        let name = file.filter(|_| is_in(["/run/docker/netns", "/var/run/docker/netns"]))?;
        Some(Netns { name: format!("Docker's netns {name}"), enter: format!("nsenter --net={}", path.display()) })
    };
    let by_process = || Some(Netns { name: format!("the netns of process {}", first?.pid), enter: enter? });
    by_ip.map(ip).or_else(by_docker).or_else(by_process)
}

/// Whether a shell takes a name for nothing but a name.
fn is_plain(name: &str) -> bool {
    let is_first = name.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric());
    is_first && name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_namespace_by_its_path_and_its_first_process() {
        let process = |container: bool| {
            let web =
                Container { id: "3f9a1c0b5e7d".to_owned(), name: Some("web-1".to_owned()), ..Container::default() };
            Some(Process { pid: 812, container: container.then_some(web), ..Process::default() })
        };
        let (of_web, alone) = (process(true), process(false));
        let inside = "nsenter -t 812 -n";
        for (path, first, expected) in [
            ("/run/netns/web", &None, Some(("netns web", "ip netns exec web"))),
            ("/var/run/netns/web", &of_web, Some(("netns web", "ip netns exec web"))),
            ("/run/netns/web; reboot", &None, None),
            ("/run/netns/web; reboot", &alone, Some(("the netns of process 812", inside))),
            ("/run/netns/-x", &of_web, Some(("container web-1", inside))),
            ("/run/netns/cni-5c9f", &of_web, Some(("container web-1", inside))),
            ("/run/netns/netns-5c9f", &None, Some(("netns netns-5c9f", "ip netns exec netns-5c9f"))),
            ("/run/docker/netns/9f0a", &of_web, Some(("container web-1", inside))),
            ("/run/docker/netns/9f0a", &alone, {
                Some(("Docker's netns 9f0a", "nsenter --net=/run/docker/netns/9f0a"))
            }),
            ("/proc/812/ns/net", &of_web, Some(("container web-1", inside))),
            ("/proc/812/ns/net", &alone, Some(("the netns of process 812", inside))),
            ("/proc/812/ns/net", &None, None),
        ] {
            let found = netns(Path::new(path), first.as_ref());
            let found = found.as_ref().map(|it| (it.name.as_str(), it.enter.as_str()));
            assert_eq!(found, expected, "{path}");
        }
    }

    /// One that does not answer costs its patience once; others have their ids meanwhile.
    #[test]
    fn a_reading_that_waits_is_waited_for_once() {
        let marks = |id: char| Marks { id: id.to_string().repeat(64), runtime: Runtime::Docker, pod: None, user: None };
        let mut names = Names::below(Path::new("/nowhere"));
        let (sender, answer) = mpsc::channel();
        names.pending = Some((marks('a'), answer));
        let began = std::time::Instant::now();
        for id in ['a', 'b', 'c'] {
            assert_eq!(names.container(&marks(id), Nanos(1)).name, None);
        }
        assert!(began.elapsed() < PATIENCE);
        let web = Container { name: Some("web-1".to_owned()), ..Container::default() };
        sender.send(web.clone()).expect("it is waited for");
        assert_eq!(names.container(&marks('b'), Nanos(2)).id, "b".repeat(12));
        assert_eq!(names.container(&marks('a'), Nanos(3)), web);
    }
}
