//! The formats of the output: what each makes of a report, a finding, a call that sent no SYN, and the summary.
//!
//! Whoever prints goes through here; a new format is a new variant. `diagnose` prints one object and has its own two
//! forms.

use tcptrace_vocabulary::{
    incident::{Incident, Phase},
    report::Report,
    verdict::Unsent,
};

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

/// Whether a line for people has to say it: a wider incident says what becomes of the narrower ones, and a single
/// failure that did not stall has said all.
fn is_news(incident: &Incident) -> bool {
    match incident.phase {
        Phase::Begun => incident.took_over > 0,
        Phase::Update => true,
        Phase::Ended => incident.absorbed_by.is_none() && (incident.failures() > 1 || incident.stalls > 0),
    }
}

impl Format {
    /// A report's line, without its end.
    #[must_use]
    pub fn report(self, report: &Report, setting: &Setting) -> String {
        match self {
            Self::Text { quiet, verbose } => self.folded(text::line(report, setting, quiet, verbose), setting),
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
            Self::Text { quiet, .. } => self.folded(finding.text(setting, quiet), setting),
            Self::Json => finding.line(setting),
        }
    }

    /// An incident's line, without its end; `None` where other lines say it: in text the first failure says that it
    /// began, and with `each` its failures say the rest.
    #[must_use]
    pub fn incident(self, incident: &Incident, setting: &Setting, each: bool) -> Option<String> {
        match self {
            Self::Text { quiet, verbose } => (!each && is_news(incident))
                .then(|| self.folded(text::incident(incident, setting, quiet, verbose), setting)),
            Self::Json => Some(json::incident(incident, setting)),
        }
    }

    /// The line of a connect(2) that put no SYN on the wire, without its end.
    #[must_use]
    pub fn unsent(self, unsent: &Unsent, setting: &Setting) -> String {
        match self {
            Self::Text { quiet, verbose } => self.folded(text::connect(unsent, setting, quiet, verbose), setting),
            Self::Json => json::connect(unsent, setting),
        }
    }

    /// A report folded at the setting's width; not if it is to be one line.
    fn folded(self, report: String, setting: &Setting) -> String {
        match self {
            Self::Text { quiet: false, .. } => text::fold(&report, setting.width),
            Self::Text { quiet: true, .. } | Self::Json => report,
        }
    }

    /// The summary as the last line of standard output; `None` where it is no line of the output.
    #[must_use]
    pub fn last_line(self, summary: &Summary, setting: &Setting) -> Option<String> {
        (self == Self::Json).then(|| summary.json(setting))
    }

    /// What standard error says at the end; `None`: nothing.
    #[must_use]
    pub fn closing(self, summary: &Summary, setting: &Setting) -> Option<String> {
        match self {
            Self::Text { quiet: false, .. } => Some(self.folded(summary.text(), setting)),
            Self::Text { quiet: true, .. } => (!summary.is_complete()).then(|| summary.loss_line()),
            Self::Json => None,
        }
    }
}
