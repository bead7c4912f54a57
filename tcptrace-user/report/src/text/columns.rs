//! The parts that every line for people has: its columns, its colours, how a duration is written.

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use tcptrace_core::handshake::Nanos;

use crate::Setting;

pub(super) const RED: Style = AnsiColor::Red.on_default().bold();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
pub(super) const DIM: Style = Style::new().dimmed();

/// The columns that every line has: when, what, who, how long (a dash if that is not known), and what there is to say.
pub(super) fn columns(
    setting: &Setting,
    at: Nanos,
    style: Style,
    word: &str,
    whom: &str,
    lasted: Option<u64>,
    story: &str,
) -> String {
    let lasted = lasted.map_or_else(|| "-".to_owned(), duration);
    format!("{}  {style}{word:<15}{style:#}  {whom:<44}  {lasted:>8}  {story}", time(at, setting))
}

/// Local time to the millisecond.
fn time(at: Nanos, setting: &Setting) -> String {
    let format = if setting.dated { "%Y-%m-%d %H:%M:%S%.3f" } else { "%H:%M:%S%.3f" };
    setting.timestamp(at).to_zoned(TimeZone::system()).strftime(format).to_string()
}

/// A duration in three digits or so.
pub(super) fn duration(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        _ => format!("{:.2} s", nanos as f64 / 1e9),
    }
}
