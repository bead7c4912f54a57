//! The ignore list (`--ignore`): failures that are known and accepted. They are counted, and not reported.
//!
//! An entry that has expired ignores nothing: its failures are back.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use jiff::{Timestamp, civil, tz::TimeZone};
use serde::Deserialize;
use tcptrace_core::{flow::Endpoint, handshake::Nanos};
use tcptrace_filter::Filter;
use tcptrace_report::summary::Ignored;
use tcptrace_vocabulary::{clock::Clock, incident::Symptom};
use toml::value::Datetime;

use crate::exit;

/// A file that is no ignore list.
#[derive(Debug, thiserror::Error)]
#[error("'{name}' is no ignore list")]
pub struct NoList {
    name: String,
}

impl exit::ExitCode for NoList {
    fn exit_code(&self) -> u8 {
        exit::USAGE
    }
}

/// An ignore list, with what it has ignored so far.
#[derive(Clone, Debug)]
pub struct IgnoreList {
    entries: Vec<Entry>,
    clock: Clock,
}

#[derive(Clone, Debug)]
struct Entry {
    filter: Filter,
    symptom: Option<Symptom>,
    counted: Ignored,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    ignore: Vec<WrittenEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    filter: String,
    symptom: Option<String>,
    reason: String,
    until: Datetime,
}

impl Default for IgnoreList {
    fn default() -> Self {
        Self { entries: Vec::new(), clock: Clock::EPOCH }
    }
}

impl IgnoreList {
    /// Reads a list; dates end in this zone.
    ///
    /// # Errors
    /// When the file cannot be read or is no ignore list; the error says where.
    pub fn read(path: &Path, zone: &TimeZone) -> anyhow::Result<Self> {
        let name = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read the ignore list '{name}'"))?;
        Self::parse(&text, zone).with_context(|| NoList { name: name.to_string() })
    }

    fn parse(text: &str, zone: &TimeZone) -> anyhow::Result<Self> {
        let written: Written = toml::from_str(text)?;
        let entries = written
            .ignore
            .into_iter()
            .enumerate()
            .map(|(number, it)| Entry::of(it, zone).with_context(|| format!("entry {} of [[ignore]]", number + 1)));
        Ok(Self { entries: entries.collect::<anyhow::Result<_>>()?, clock: Clock::EPOCH })
    }

    /// The same list, for moments of another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The number of the entry that accepts a failure of this symptom at a moment.
    #[must_use]
    pub fn find(&self, client: Endpoint, server: Endpoint, symptom: Symptom, at: Nanos) -> Option<usize> {
        let wall = self.clock.wall(at);
        self.entries.iter().position(|it| {
            it.filter.matches(client, server)
                && it.symptom.is_none_or(|only| only == symptom)
                && wall < it.counted.until.as_nanosecond()
        })
    }

    /// Counts an attempt that an entry accepted.
    pub fn count(&mut self, entry: usize) {
        self.entries[entry].counted.attempts += 1;
    }

    /// The entries with their counts, as they stand at a moment.
    #[must_use]
    pub fn counted(&self, at: Nanos) -> Vec<Ignored> {
        let wall = self.clock.wall(at);
        let counted = self.entries.iter().map(|it| &it.counted);
        counted.map(|it| Ignored { has_expired: wall >= it.until.as_nanosecond(), ..it.clone() }).collect()
    }
}

impl Entry {
    fn of(written: WrittenEntry, zone: &TimeZone) -> anyhow::Result<Self> {
        let filter = Filter::parse(&written.filter).map_err(|mistake| anyhow::anyhow!("filter: {mistake}"))?;
        let symptom = written.symptom.as_deref().map(symptom).transpose()?;
        if written.reason.trim().is_empty() {
            bail!("its reason is empty: write why this failure is accepted");
        }
        let until = until(&written.until, zone)?;
        let counted =
            Ignored { filter: written.filter, reason: written.reason, until, has_expired: false, attempts: 0 };
        Ok(Self { filter, symptom, counted })
    }
}

fn symptom(word: &str) -> anyhow::Result<Symptom> {
    let known = Symptom::ALL.into_iter().find(|it| it.name() == word);
    known.with_context(|| format!("symptom '{word}': these exist: {}", Symptom::ALL.map(Symptom::name).join(", ")))
}

/// The moment at which an entry expires. A date without a time is the last day on which it holds.
fn until(written: &Datetime, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    let text = written.to_string();
    if written.offset.is_some() {
        return text.parse().with_context(|| format!("until {text}"));
    }
    let example = || format!("until {text}: write a date or a date with a time: 2027-01-31");
    let end = match (written.date, written.time) {
        (Some(_), Some(_)) => text.parse::<civil::DateTime>().with_context(example)?,
        (Some(_), None) => text.parse::<civil::Date>().with_context(example)?.tomorrow()?.at(0, 0, 0, 0),
        (None, _) => bail!(example()),
    };
    Ok(zone.to_timestamp(end)?)
}

#[cfg(test)]
mod tests {
    use tcptrace_core::flow::Addr;

    use super::*;

    const LIST: &str = r#"
[[ignore]]
filter = "dst host 203.0.113.2 and dst port 81"
symptom = "refusal"
reason = "switched off, ticket 4711"
until = 2027-01-31

[[ignore]]
filter = "dst net 192.0.2.0/24"
reason = "the lab"
until = 2027-01-31T12:00:00Z
"#;

    const fn server(addr: u32, port: u16) -> Endpoint {
        Endpoint { addr: Addr::v4(addr), port }
    }

    fn at(text: &str) -> Nanos {
        let time: Timestamp = text.parse().expect("a time");
        Nanos(u64::try_from(time.as_nanosecond()).expect("after 1970"))
    }

    #[test]
    fn an_entry_accepts_until_it_expires() {
        let east = TimeZone::fixed(jiff::tz::Offset::constant(1));
        let list = IgnoreList::parse(LIST, &east).expect("a list");
        let find = |server, symptom, time: &str| list.find(Endpoint::default(), server, symptom, at(time));
        let (off, lab) = (server(0xcb00_7102, 81), server(0xc000_0201, 443));
        assert_eq!(find(off, Symptom::Refusal, "2027-01-31T22:59:59Z"), Some(0), "to the end of the day");
        assert_eq!(find(off, Symptom::Refusal, "2027-01-31T23:00:00Z"), None, "expired");
        assert_eq!(find(off, Symptom::Silence, "2027-01-01T00:00:00Z"), None, "another symptom");
        assert_eq!(find(server(0xcb00_7102, 80), Symptom::Refusal, "2027-01-01T00:00:00Z"), None, "another port");
        assert_eq!(find(lab, Symptom::Silence, "2027-01-31T11:59:59Z"), Some(1));
        assert_eq!(find(lab, Symptom::Silence, "2027-01-31T12:00:00Z"), None);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, said) in [
            ("[[ignore]]\nfilter = \"port 80\"\nuntil = 2027-01-31", "missing field `reason`"),
            ("[[ignore]]\nfilter = \"port 80\"\nreason = \"x\"", "missing field `until`"),
            ("[[ignore]]\nfilter = \"port 80\"\nreason = \" \"\nuntil = 2027-01-31", "reason is empty"),
            ("[[ignore]]\nfilter = \"prt 80\"\nreason = \"x\"\nuntil = 2027-01-31", "filter: "),
            ("[[ignore]]\nfilter = \"port 80\"\nreason = \"x\"\nuntil = 12:00:00", "write a date"),
            (
                "[[ignore]]\nfilter = \"port 80\"\nreason = \"x\"\nuntil = 2027-01-31\nsymptom = \"slow\"",
                "silence, refusal",
            ),
            ("[[ignored]]\n", "unknown field"),
        ] {
            let error = format!("{:#}", IgnoreList::parse(text, &TimeZone::UTC).expect_err(text));
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
