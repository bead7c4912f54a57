//! A process by the names that people use: its command, its systemd unit, its container, its pod.
//!
//! Names come from files that others write. They are kept as they are; [`Container::words`] and whoever prints one
//! escapes it.

/// A process by the names that people use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// The process id in this host's own namespace.
    pub pid: u32,
    /// `comm`, or the first word of the command line where that is longer.
    pub command: String,
    /// The systemd unit that it runs in.
    pub unit: Option<String>,
    /// The container that it runs in.
    pub container: Option<Container>,
    /// Whether it had ended when it was looked up. Its unit is not known then, and its container is that of its network
    /// namespace, where that has one.
    pub is_gone: bool,
}

impl Process {
    /// Whether another is the same program at the same place.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let place = |it: &Self| it.container.as_ref().map(|it| it.id.clone());
        (&self.command, &self.unit, place(self)) == (&other.command, &other.unit, place(other))
    }
}

/// A container by the names that people use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The first 12 digits of its id, or its name where the runtime has no ids (LXC).
    pub id: String,
    /// Its name; of a pod's container, the name in the pod's specification. `None`: no file has it.
    pub name: Option<String>,
    /// The pod of Kubernetes that it belongs to.
    pub pod: Option<Pod>,
    /// What a command begins with that runs in it: `docker exec -it web-1`. `None`: the runtime is not known, or runs as
    /// another user.
    pub enter: Option<String>,
}

/// A pod of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Container {
    /// `pod shop/web-0`, `container web-1`, or with the id for want of a name. Escaped.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.pod {
            Some(Pod { namespace, name }) => format!("pod {}/{}", namespace.escape_debug(), name.escape_debug()),
            None => format!("container {}", self.name.as_ref().unwrap_or(&self.id).escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_best_name_and_escaped() {
        let id = Container { id: "3f9a1c0b5e7d".to_owned(), ..Container::default() };
        let named = |name: &str| Container { name: Some(name.to_owned()), ..id.clone() };
        let pod = Some(Pod { namespace: "shop".to_owned(), name: "web-0".to_owned() });
        assert_eq!(id.words(), "container 3f9a1c0b5e7d");
        assert_eq!(named("web-1").words(), "container web-1");
        assert_eq!(named("\x1b[2J\n").words(), r"container \u{1b}[2J\n");
        assert_eq!(Container { pod, ..named("nginx") }.words(), "pod shop/web-0");
    }
}
