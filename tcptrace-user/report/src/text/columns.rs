//! The parts that every report for people has: its first line, its colours, how a duration is written, where it is
//! folded.

use anstyle::{AnsiColor, Style};
use jiff::tz::Offset;
use tcptrace_core::handshake::Nanos;
use textwrap::{Options, WordSeparator, WordSplitter};

use crate::Setting;

pub(super) const RED: Style = AnsiColor::Red.on_default().bold();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
pub(super) const DIM: Style = Style::new().dimmed();

/// The margin of every line of a report but its first.
pub(super) const INDENT: &str = "    ";

/// The first line of a report: when, what, who to whom, and how long if that is known. One that is not in time order says
/// so.
pub(super) fn head(setting: &Setting, at: Nanos, style: Style, word: &str, whom: &str, lasted: Option<u64>) -> String {
    let lasted = lasted.map_or_else(String::new, |nanos| format!("  {}", duration(nanos)));
    let order = if setting.is_late(at) { "  [out of order]" } else { "" };
    format!("{}  {style}{word}{style:#}  {whom}{lasted}{order}", time(at, setting))
}

/// A report's first line with what there is to say: below it, or after it if the report is to be short.
pub(super) fn with_story(head: &str, story: &str, quiet: bool) -> String {
    if quiet { format!("{head}  {story}") } else { format!("{head}\n{INDENT}{story}") }
}

/// Date, time to the millisecond, and zone.
fn time(at: Nanos, setting: &Setting) -> String {
    let at = setting.timestamp(at).to_zoned(setting.zone.clone());
    let zone = if at.offset() == Offset::UTC { "Z" } else { "%:z" };
    at.strftime(&format!("%Y-%m-%d %H:%M:%S%.3f{zone}")).to_string()
}

/// A duration in three digits or so.
pub(super) fn duration(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        1_000_000_000..100_000_000_000 => format!("{:.2} s", nanos as f64 / 1e9),
        _ if seconds < 7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A rate in two digits and a unit.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        1e6.. => format!("{:.1} M", per_second / 1e6),
        1e4.. => format!("{:.0} k", per_second / 1e3),
        _ => format!("{per_second:.0}"),
    }
}

/// A share, never rounded to all or nothing.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        it if it < 0.1 => "under 0.1 %".to_owned(),
        it if it < 10.0 => format!("{it:.1} %"),
        it if (99.5..100.0).contains(&it) => "over 99 %".to_owned(),
        it => format!("{it:.0} %"),
    }
}

/// Folds each line of a report at a width. What continues a line has a wider margin; no word is broken.
#[must_use]
pub fn fold(report: &str, width: usize) -> String {
    let lines: Vec<_> = report.split('\n').map(|line| fold_line(line, width)).collect();
    lines.join("\n")
}

fn fold_line(line: &str, width: usize) -> String {
    // Characters are no more columns than bytes.
    if line.len() <= width {
        return line.to_owned();
    }
    let text = line.trim_start_matches(' ');
    let margin = &line[..line.len() - text.len()];
    let hanging = if margin.is_empty() { INDENT.to_owned() } else { format!("{margin}  ") };
    let options = Options::new(width)
        .initial_indent(margin)
        .subsequent_indent(&hanging)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_hangs_below_its_beginning() {
        let report = "2026-11-30 15:22:16.127Z  refused\n    one two three four five six seven\n    → short";
        let folded = "2026-11-30\n    15:22:16.127Z\n    refused\n    one two three\n      four five six\n      seven\n    → short";
        assert_eq!(fold(report, 20), folded);
        assert_eq!(fold(report, 100), report);
    }

    #[test]
    fn styles_take_no_columns_and_words_are_whole() {
        let line = format!("{RED}refused{RED:#} [2001:db8:ffff:ffff::1]:443 {DIM}and{DIM:#} so");
        assert_eq!(
            fold(&line, 20),
            format!("{RED}refused{RED:#}\n    [2001:db8:ffff:ffff::1]:443\n    {DIM}and{DIM:#} so")
        );
    }

    #[test]
    fn durations_are_short() {
        let all = [999, 30_000, 2_500_000, 2_030_000_000, 127_000_000_000, 90_061_000_000_000].map(duration);
        assert_eq!(all, ["999 ns", "30 µs", "2.5 ms", "2.03 s", "2 min 7 s", "25 h 1 min"]);
    }
}
