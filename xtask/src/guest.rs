//! The runs on a kernel under test, and their expected results: guest.sh runs there, and its lines are judged here.
//!
//! It knows nothing of packages and machines: `kernels` does. JSON is compared by words, not parsed: it only matters
//! whether a kernel makes a difference, and the tests of tcptrace-user know the rest.

use anyhow::{Context as _, Result, ensure};

/// On the way in and out, two of connect(2), two of its sockets, one of drops.
const PROGRAMS: usize = 7;

/// The guest's first process.
pub(crate) const SCRIPT: &str = include_str!("guest.sh");

/// The runs that worked, in one line, and rows of the confusion matrix for what is made here alone
/// (docs/confusion-matrix.md).
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) summary: String,
    pub(crate) rows: Vec<String>,
}

/// Judges the guest's report on a kernel: the first mismatch, or what worked.
pub(crate) fn judge(log: &str, release: &str, has_tcx: bool) -> Result<Judged> {
    let told = log.lines().filter_map(|line| line.trim_end().strip_prefix("@ ")).collect::<Vec<_>>();
    ensure!(told.first() == Some(&format!("release {release}").as_str()), "the guest did not start");
    let runs = told[1..].chunk_by(|_, next| !next.starts_with("run ") && *next != "end").collect::<Vec<_>>();
    let egress = if has_tcx { "tcx" } else { "clsact" };
    let (mut verified, mut rows) = (0, Vec::new());
    for (run, expected) in runs.iter().zip(EXPECTED) {
        let values = |key: &str| run.iter().filter_map(|it| it.strip_prefix(key)).collect::<Vec<_>>();
        (|| {
            ensure!(values("run ") == [expected.run], "out of turn: {:?}", values("run "));
            let said = values("error ");
            let attached = said.first().is_some_and(|it| {
                it.contains(&format!(": in by {} (", expected.ingress)) && it.ends_with(&format!("out by {egress}"))
            });
            ensure!(attached, "not in by {} and out by {egress}:\n  {}", expected.ingress, said.join("\n  "));
            ensure!(values("exit ") == [expected.exit], "exit {:?}, not {}", values("exit "), expected.exit);
            let facts = values("fact ");
            ensure!(facts == expected.facts, "not {:?}, but:\n  {}", expected.facts, facts.join("\n  "));
            rows.extend(expected.compare(&values("line "))?);
            ensure!(values("left ").is_empty(), "left behind:\n  {}", values("left ").join("\n  "));
            let counts = values("verified ").iter().map(|it| it.parse::<u32>()).collect::<Result<Vec<_>, _>>()?;
            ensure!(counts.len() == PROGRAMS, "{} programs where {PROGRAMS} were to be loaded", counts.len());
            verified = counts.into_iter().fold(verified, u32::max);
            Ok(())
        })()
        .with_context(|| format!("run '{}'", expected.run))?;
    }
    ensure!(runs.len() == EXPECTED.len() + 1 && told.last() == Some(&"end"), "the guest did not come to its end");
    let summary =
        format!("in by TC, native XDP, generic XDP; out by {egress}; at most {verified} instructions verified");
    Ok(Judged { summary, rows })
}

/// The expected result of a run of the tracer.
struct Expected {
    run: &'static str,
    ingress: &'static str,
    exit: &'static str,
    attempts: &'static [Line],
    /// Words of the last line; a run that is killed has none.
    summary: &'static [&'static str],
    /// The words of others in the guest: clients, and the kernel's own counters.
    facts: &'static [&'static str],
}

/// A line of data.
struct Line {
    /// The number of lines with these words.
    times: usize,
    words: &'static [&'static str],
    /// The name of its row in the confusion matrix, and what was made.
    row: Option<(&'static str, &'static str)>,
}

impl Line {
    const fn once(words: &'static [&'static str]) -> Self {
        Self { times: 1, words, row: None }
    }

    const fn row(self, scenario: &'static str, made: &'static str) -> Self {
        Self { row: Some((scenario, made)), ..self }
    }

    /// The row, with what is said in such a line. All are seen at the client.
    fn told(&self, line: &str) -> Option<String> {
        let (scenario, made) = self.row?;
        let word = |key| line.split_once(key).and_then(|(_, rest)| rest.split('"').next());
        let said = word(r#""cause":{"name":""#).unwrap_or("nothing");
        let [confidence, scope] = [r#""confidence":""#, r#""extent":""#].map(|key| word(key).unwrap_or_default());
        Some(format!("| {scenario} | client | {made} | {said} | {confidence} | {scope} |  |"))
    }
}

const OUT: &str = r#""client":{"interface":"veth0","direction":"out"}"#;
const IN: &str = r#""client":{"interface":"veth0","direction":"in"}"#;
const ATTEMPTS: &[Line] = &[
    Line::once(&[r#""outcome":"refused""#, r#""server":{"ip":"10.0.0.2","port":81}"#, OUT]),
    Line::once(&[r#""outcome":"refused""#, r#""server":{"ip":"fd00::2","port":82}"#, OUT]),
    Line::once(&[r#""type":"open""#, r#""server":{"ip":"10.0.0.2","port":80}"#, OUT]),
    Line::once(&[r#""outcome":"closed""#, r#""server":{"ip":"10.0.0.2","port":80}"#, OUT]),
    Line::once(&[r#""outcome":"refused""#, r#""server":{"ip":"10.0.0.1","port":83}"#, IN]),
];
const SUMMARY: &[&str] = &[r#""type":"summary""#, r#""opened":4"#, r#""refused":3"#, r#""closed":1"#, r#""losses":{}"#];
const UNANSWERED: &[&str] = &[r#""type":"summary""#, r#""opened":1"#, r#""in_flight":1"#, r#""losses":{}"#];

const RESET: &str = r#""outcome":"reset_by_server""#;
const FOR_MEMORY: &str =
    r#""cause":{"name":"out_of_memory","confidence":"likely","evidence":["TCPAbortOnMemory grew by 1 at the reset"#;
const CLOSED: &str = r#""cause":{"name":"port_closed","confidence":"certain""#;
const MEMORY: &[Line] = &[
    Line { times: 5, ..Line::once(&[r#""type":"open""#]) },
    Line { times: 2, ..Line::once(&[r#""outcome":"closed""#, r#""cause":null"#]) }
        .row("works with memory at its limit", "nothing"),
    Line::once(&[r#""outcome":"refused""#, r#""port":984}"#, CLOSED])
        .row("port closed with memory at its limit", "port_closed"),
    Line::once(&[r#""outcome":"refused""#, r#""port":985}"#, CLOSED]).row("port closed with orphans", "port_closed"),
    Line::once(&[RESET, r#""port":84}"#, FOR_MEMORY]).row("memory at its limit", "out_of_memory"),
    Line::once(&[RESET, r#""port":85}"#, FOR_MEMORY]).row("too many orphans", "out_of_memory"),
    Line::once(&[RESET, r#""port":86}"#, r#""cause":{"name":"no_backend""#, r#""for_memory":0,"otherwise":1}"#])
        .row("reset by its program", "nothing"),
];
const SHORT: &[&str] = &[
    r#""type":"summary""#,
    r#""refused":2"#,
    r#""closed":2"#,
    r#""reset_by_server":3"#,
    r#""out_of_memory":2"#,
    r#""losses":{}"#,
];
const TORN: &str = "client: cat: read error: Connection reset by peer";
const FACTS: &[&str] =
    &[TORN, "TCPAbortOnMemory grew by 1", TORN, "TCPAbortOnMemory grew by 1", TORN, "TCPAbortOnClose grew by 1"];

const EXPECTED: [Expected; 8] = [
    traced("tc", "TC"),
    traced("generic", "generic XDP"),
    traced("asked-tc", "TC"),
    traced("asked-generic", "generic XDP"),
    Expected { exit: "137", summary: &[], ..traced("killed-auto", "TC") },
    Expected { exit: "137", summary: &[], ..traced("killed-xdp", "native XDP") },
    Expected { attempts: &[], summary: UNANSWERED, ..traced("tun", "TC") },
    Expected { attempts: MEMORY, summary: SHORT, facts: FACTS, ..traced("memory", "TC") },
];

/// A run that sees the guest's four attempts to their ends.
const fn traced(run: &'static str, ingress: &'static str) -> Expected {
    Expected { run, ingress, exit: "0", attempts: ATTEMPTS, summary: SUMMARY, facts: &[] }
}

impl Expected {
    /// Every line of data: how often, and its words.
    fn lines(&self) -> impl Iterator<Item = (usize, &[&str])> {
        let attempts = self.attempts.iter().map(|it| (it.times, it.words));
        attempts.chain([(1, self.summary)]).filter(|(_, words)| !words.is_empty())
    }

    /// Expects each of these lines as often as that, and no other; their rows.
    fn compare(&self, lines: &[&str]) -> Result<Vec<String>> {
        let has = |line: &str, words: &[&str]| words.iter().all(|it| line.contains(it));
        for (times, words) in self.lines() {
            let found = lines.iter().filter(|line| has(line, words)).count();
            let (words, all) = (words.join(", "), lines.join("\n  "));
            ensure!(found == times, "{found} lines, not {times}, with {words}; all:\n  {all}");
        }
        let all = self.lines().map(|(times, _)| times).sum::<usize>();
        ensure!(lines.len() == all, "more lines than expected:\n  {}", lines.join("\n  "));
        let row = |it: &Line| it.told(lines.iter().find(|line| has(line, it.words))?);
        Ok(self.attempts.iter().filter_map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The report of a guest where all is as expected.
    fn told(release: &str, egress: &str) -> String {
        let mut log = format!("\x1bc\r\n@ release {release}\r\n");
        for it in &EXPECTED {
            let lines = it.lines().map(|(times, words)| format!("@ line {}\r\n", words.join(",")).repeat(times));
            let facts = it.facts.iter().map(|fact| format!("@ fact {fact}\r\n")).collect::<String>();
            log += &format!(
                "@ run {}\r\n@ verified 7\r\n{}@ verified 5\r\n{facts}@ exit {}\r\n",
                it.run,
                "@ verified 3\r\n".repeat(PROGRAMS - 2),
                it.exit
            );
            log += &format!("@ error x: in by {} (why), out by {egress}\r\n{}", it.ingress, lines.collect::<String>());
        }
        log + "@ end\r\n"
    }

    #[test]
    fn every_mismatch_is_found() {
        let judged = |log: &str| judge(log, "6.1.0-48-cloud-amd64", false);
        let good = told("6.1.0-48-cloud-amd64", "clsact");
        let Judged { summary, rows } = judged(&good).unwrap();
        assert!(summary.ends_with("out by clsact; at most 7 instructions verified"), "{summary}");
        assert_eq!(rows.len(), 6);
        assert_eq!(rows[0], "| works with memory at its limit | client | nothing | nothing |  |  |  |");
        assert_eq!(rows[3], "| memory at its limit | client | out_of_memory | out_of_memory | likely |  |  |");
        for (from, to) in [
            ("@ end", ""),
            ("release 6.1", "release 6.2"),
            ("@ run tun", ""),
            ("out by clsact", "out by tcx"),
            ("in by native XDP", "in by TC"),
            ("@ exit 137", "@ exit 0"),
            (r#""losses":{}"#, r#""losses":{"ring_full_refused":1}"#),
            (r#""outcome":"refused""#, r#""outcome":"aborted""#),
            ("@ line", "@ line {}\r\n@ line"),
            ("@ verified 5\r\n", ""),
            ("TCPAbortOnMemory grew by 1\r", "TCPAbortOnMemory grew by 2\r"),
            (TORN, "client: cat: read error: Broken pipe"),
            (CLOSED, FOR_MEMORY),
            ("@ end", "@ left qdisc clsact ffff:\r\n@ end"),
        ] {
            judged(&good.replacen(from, to, 1)).expect_err(from);
        }
    }
}
