//! The log of the kernel programs, under `-vv`: it goes to standard error, marked as such.
//!
//! Other crates' logging stays unheard: users read sentences instead.

use log::{LevelFilter, Log, Metadata, Record};

use crate::output;

/// The targets that aya-log-ebpf gives records: the kernel crate's module paths.
const KERNEL: &str = "tcptrace_bpf";

struct KernelLog;

impl Log for KernelLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(KERNEL)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            output::say(&format!("kernel: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Begins to listen; a second call changes nothing.
pub(super) fn listen() {
    if log::set_logger(&KernelLog).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
