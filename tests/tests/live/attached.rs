//! What is attached to an interface, asked of the kernel and not of the tracer.

use aya::programs::{SchedClassifier, TcAttachType};
use tcptrace_tests::lab::{Ns, eventually};

use crate::view::PATIENCE;

/// The programs and qdiscs on an interface, one line each.
pub(crate) fn attached(ns: &Ns, interface: &str) -> Vec<String> {
    let mut found = Vec::new();
    ns.enter(|| {
        for (direction, name) in [(TcAttachType::Ingress, "ingress"), (TcAttachType::Egress, "egress")] {
            // Before 6.6 there is no tcx, so there is nothing on it.
            let (_, programs) = SchedClassifier::query_tcx(interface, direction).unwrap_or_default();
            found.extend(programs.iter().map(|it| format!("tcx {name} {}", it.name_as_str().unwrap_or("?"))));
        }
    });
    let link = ns.run(["ip", "-d", "link", "show", "dev", interface]);
    found.extend(link.lines().filter(|line| line.contains("prog/xdp")).map(|_| "xdp".to_owned()));
    let qdiscs = ns.run(["tc", "qdisc", "show", "dev", interface, "clsact"]);
    found.extend(qdiscs.lines().map(|_| "clsact".to_owned()));
    for direction in ["ingress", "egress"] {
        let filters = ns.try_run(["tc", "filter", "show", "dev", interface, direction]);
        let filters = String::from_utf8_lossy(&filters.stdout);
        found.extend(filters.lines().filter(|line| line.contains("handle")).map(|_| format!("filter {direction}")));
    }
    found
}

/// Waits until nothing is left: the kernel lets go of a killed process's links in its own time.
#[track_caller]
pub(crate) fn assert_nothing_left(ns: &Ns, interface: &str) {
    eventually(PATIENCE, || attached(ns, interface).is_empty().then_some(()));
}
