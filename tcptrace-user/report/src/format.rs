//! The formats of the output: what each makes of a report, a finding, a call that sent no SYN, and the summary.
//!
//! Whoever prints goes through here; a new format is a new variant. `diagnose` prints one object and has its own two
//! forms.

use tcptrace_vocabulary::{report::Report, verdict::Unsent};

use crate::{Setting, finding::Finding, json, summary::Summary, text};

/// A format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people, styled; the summary goes to standard error.
    Text {
        /// One line a report, and no summary unless something was lost.
        quiet: bool,
        /// The words of Zeek and Wireshark too.
        verbose: bool,
    },
    /// JSON lines; the last is the summary.
    Json,
}

impl Format {
    /// A report's line, without its end.
    #[must_use]
    pub fn report(self, report: &Report, setting: &Setting) -> String {
        match self {
            Self::Text { quiet, verbose } => text::line(report, setting, quiet, verbose),
            Self::Json => json::line(report, setting),
        }
    }

    /// The same, added to a buffer.
    pub fn write_report(self, buffer: &mut Vec<u8>, report: &Report, setting: &Setting) {
        match self {
            Self::Text { .. } => buffer.extend_from_slice(self.report(report, setting).as_bytes()),
            Self::Json => json::write(buffer, report, setting),
        }
    }

    /// A finding's line, without its end.
    #[must_use]
    pub fn finding(self, finding: &Finding, setting: &Setting) -> String {
        match self {
            Self::Text { .. } => finding.text(setting),
            Self::Json => finding.line(setting),
        }
    }

    /// The line of a connect(2) that put no SYN on the wire, without its end.
    #[must_use]
    pub fn unsent(self, unsent: &Unsent, setting: &Setting) -> String {
        match self {
            Self::Text { quiet, .. } => text::connect(unsent, setting, quiet),
            Self::Json => json::connect(unsent, setting),
        }
    }

    /// The summary as the last line of standard output; `None` where it is no line of the output.
    #[must_use]
    pub fn last_line(self, summary: &Summary, setting: &Setting) -> Option<String> {
        (self == Self::Json).then(|| summary.json(setting))
    }

    /// What standard error says at the end; `None`: nothing.
    #[must_use]
    pub fn closing(self, summary: &Summary) -> Option<String> {
        match self {
            Self::Text { quiet: false, .. } => Some(summary.text()),
            Self::Text { quiet: true, .. } => (!summary.is_complete()).then(|| summary.loss_line()),
            Self::Json => None,
        }
    }
}
