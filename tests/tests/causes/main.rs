//! The suite `causes`: every cause made for real in the lab, and beside each something innocent that looks like it.
//!
//! The table says what is made and what may be said of it, and how surely; each row is a test. A row first proves that
//! it made what it says: by the socket's own error, by the firewall's counters, by the kernel's. `confusion_matrix`
//! runs them all and counts what was said against what was made; it writes target/tmp/confusion-matrix.md, and
//! docs/confusion-matrix.md when `TCPTRACE_BLESS_MATRIX` is set. With `TCPTRACE_SHOW_LINES` each row shows its lines,
//! and how long it took.
//!
//! `out_of_memory` is not made here: tcp_mem and tcp_max_orphans belong to the whole machine, not to a namespace, and
//! whoever lowers them takes the connections of everybody on it. `cargo xtask kernels` makes it in a machine of its own.

mod judge;
mod make;
mod matrix;
mod run;
mod scenario;
mod scene;
mod table;

/// No verdict that is called certain is wrong, and every row is told as the table says.
#[test]
fn confusion_matrix() {
    matrix::check();
}
