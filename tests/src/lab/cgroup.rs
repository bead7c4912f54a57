//! A cgroup of its own, below that of this process, with a limit on memory or on processor time: of version 1 where that
//! has the controller, otherwise of version 2.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// What a cgroup's processes get no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of memory; who needs more is killed.
    Memory(u64),
    /// Microseconds of each tenth of a second.
    Cpu(u64),
    /// A cgroup of the memory controller without a limit.
    None,
}

/// The cgroup. Dropping it removes it, once its processes have ended.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    /// The one that holds it; none but its parent was there before.
    top: PathBuf,
}

impl Cgroup {
    /// Makes it, by a name that no other has.
    #[track_caller]
    pub fn new(limit: Limit) -> Self {
        let controller = if matches!(limit, Limit::Cpu(_)) { "cpu" } else { "memory" };
        let (folder, is_first) = parent(controller);
        let folder = folder.join(unique());
        fs::create_dir_all(&folder).expect("a cgroup can be made");
        let set = |file: &str, value: String| fs::write(folder.join(file), value).expect("a limit can be set");
        match (limit, is_first) {
            (Limit::Memory(bytes), true) => set("memory.limit_in_bytes", bytes.to_string()),
            (Limit::Memory(bytes), false) => set("memory.max", bytes.to_string()),
            (Limit::Cpu(micros), true) => set("cpu.cfs_quota_us", micros.to_string()),
            (Limit::Cpu(micros), false) => set("cpu.max", format!("{micros} 100000")),
            (Limit::None, _) => {}
        }
        // Without it, what does not fit goes to the swap, and nobody is killed.
        let _ = fs::write(folder.join("memory.swap.max"), "0");
        Self { top: folder.clone(), folder }
    }

    /// Makes one of version 2 without a limit at this path below one of its own: `docker/ID`, `system.slice/web.service`, as
    /// runtimes and systemd name them.
    #[track_caller]
    pub fn at(path: &str) -> Self {
        let top = mount(&|kind, _| kind == "cgroup2").expect("cgroup2 is mounted").join(unique());
        let folder = top.join(path);
        fs::create_dir_all(&folder).expect("a cgroup can be made");
        Self { folder, top }
    }

    /// Takes a process in.
    #[track_caller]
    pub fn take(&self, pid: i32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).expect("a process can be moved");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What its processes have started ends a moment later; rmdir(1) says more than remove_dir.
        let deadline = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.folder).is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        let left: Vec<_> =
            self.folder.ancestors().take_while(|it| it.starts_with(&self.top)).filter(|it| it.exists()).collect();
        if !left.is_empty() {
            let _ = Command::new("rmdir").args(left).status();
        }
    }
}

/// A name that no other has.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("tcptrace-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The folder of this process's own cgroup that has a controller, and whether it is one of version 1. Of version 2 it is
/// the root: no other cgroup may have both processes and controllers for its children.
fn parent(controller: &str) -> (PathBuf, bool) {
    let own = fs::read_to_string("/proc/self/cgroup").expect("the cgroups of this process");
    let has = |list: &str| list.split(',').any(|it| it == controller);
    if let Some(root) = mount(&|kind, options| kind == "cgroup" && has(options)) {
        let path = own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            parts.next().filter(|controllers| has(controllers)).and(parts.next())
        });
        return (root.join(path.unwrap_or_default().trim_start_matches('/')), true);
    }
    let root = mount(&|kind, _| kind == "cgroup2").expect("cgroup2 is mounted");
    enable(&root, controller);
    (root, false)
}

/// Where the first hierarchy is mounted that is wanted by its kind and its options.
fn mount(wanted: &dyn Fn(&str, &str) -> bool) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("a list of mounts");
    let line = mounts.lines().find(|line| {
        let mut words = line.split(" - ").nth(1).unwrap_or_default().split(' ');
        let (kind, options) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
        wanted(kind, options)
    })?;
    line.split(' ').nth(4).map(PathBuf::from)
}

fn enable(root: &Path, controller: &str) {
    let control = root.join("cgroup.subtree_control");
    fs::write(&control, format!("+{controller}")).unwrap_or_else(|error| panic!("no controller {controller}: {error}"));
}
