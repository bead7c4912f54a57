//! What is done on a kernel under test, and what has to come of it: guest.sh runs there, and its lines are judged here.
//!
//! It knows nothing of packages and machines: `kernels` does. JSON is compared by words, not parsed: what is of interest
//! is whether a kernel makes a difference, and the tests of tcptrace-user know the rest.

use anyhow::{Context as _, Result, ensure};

/// On the way in and out, two of connect(2), one of its SYNs, one of drops.
const PROGRAMS: usize = 6;

/// The guest's first process.
pub(crate) const SCRIPT: &str = include_str!("guest.sh");

/// Judges what the guest told of a kernel: the first mismatch, or what worked in one line.
pub(crate) fn judge(log: &str, release: &str, has_tcx: bool) -> Result<String> {
    let told = log.lines().filter_map(|line| line.trim_end().strip_prefix("@ ")).collect::<Vec<_>>();
    ensure!(told.first() == Some(&format!("release {release}").as_str()), "the guest did not start");
    let runs = told[1..].chunk_by(|_, next| !next.starts_with("run ") && *next != "end").collect::<Vec<_>>();
    let egress = if has_tcx { "tcx" } else { "clsact" };
    let mut verified = 0;
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
            expected.compare(&values("line "))?;
            ensure!(values("left ").is_empty(), "left behind:\n  {}", values("left ").join("\n  "));
            let counts = values("verified ").iter().map(|it| it.parse::<u32>()).collect::<Result<Vec<_>, _>>()?;
            ensure!(counts.len() == PROGRAMS, "{} programs where {PROGRAMS} were to be loaded", counts.len());
            verified = counts.into_iter().fold(verified, u32::max);
            Ok(())
        })()
        .with_context(|| format!("run '{}'", expected.run))?;
    }
    ensure!(runs.len() == EXPECTED.len() + 1 && told.last() == Some(&"end"), "the guest did not come to its end");
    Ok(format!("in by TC, native XDP, generic XDP; out by {egress}; at most {verified} instructions verified"))
}

/// What a run of the tracer has to come to.
struct Expected {
    run: &'static str,
    ingress: &'static str,
    exit: &'static str,
    /// Words of each attempt's line.
    attempts: &'static [[&'static str; 3]],
    /// Words of the last line; a run that is killed has none.
    summary: &'static [&'static str],
}

const OUT: &str = r#""client":{"interface":"veth0","direction":"out"}"#;
const IN: &str = r#""client":{"interface":"veth0","direction":"in"}"#;
const ATTEMPTS: &[[&str; 3]] = &[
    [r#""outcome":"refused""#, r#""server":{"ip":"10.0.0.2","port":81}"#, OUT],
    [r#""outcome":"refused""#, r#""server":{"ip":"fd00::2","port":82}"#, OUT],
    [r#""type":"open""#, r#""server":{"ip":"10.0.0.2","port":80}"#, OUT],
    [r#""outcome":"closed""#, r#""server":{"ip":"10.0.0.2","port":80}"#, OUT],
    [r#""outcome":"refused""#, r#""server":{"ip":"10.0.0.1","port":83}"#, IN],
];
const SUMMARY: &[&str] = &[r#""type":"summary""#, r#""opened":4"#, r#""refused":3"#, r#""closed":1"#, r#""losses":{}"#];
const UNANSWERED: &[&str] = &[r#""type":"summary""#, r#""opened":1"#, r#""in_flight":1"#, r#""losses":{}"#];

const EXPECTED: [Expected; 7] = [
    Expected { run: "tc", ingress: "TC", exit: "0", attempts: ATTEMPTS, summary: SUMMARY },
    Expected { run: "generic", ingress: "generic XDP", exit: "0", attempts: ATTEMPTS, summary: SUMMARY },
    Expected { run: "asked-tc", ingress: "TC", exit: "0", attempts: ATTEMPTS, summary: SUMMARY },
    Expected { run: "asked-generic", ingress: "generic XDP", exit: "0", attempts: ATTEMPTS, summary: SUMMARY },
    Expected { run: "killed-auto", ingress: "TC", exit: "137", attempts: ATTEMPTS, summary: &[] },
    Expected { run: "killed-xdp", ingress: "native XDP", exit: "137", attempts: ATTEMPTS, summary: &[] },
    Expected { run: "tun", ingress: "TC", exit: "0", attempts: &[], summary: UNANSWERED },
];

impl Expected {
    /// The words of every line of data.
    fn lines(&self) -> impl Iterator<Item = &[&str]> {
        self.attempts.iter().map(<[_; 3]>::as_slice).chain([self.summary]).filter(|it| !it.is_empty())
    }

    /// Expects each of these lines once, and no other.
    fn compare(&self, lines: &[&str]) -> Result<()> {
        for words in self.lines() {
            let found = lines.iter().filter(|line| words.iter().all(|it| line.contains(it))).count();
            ensure!(found == 1, "{found} lines, not one, with {}; all:\n  {}", words.join(", "), lines.join("\n  "));
        }
        ensure!(lines.len() == self.lines().count(), "more lines than expected:\n  {}", lines.join("\n  "));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a guest tells where all is as expected.
    fn told(release: &str, egress: &str) -> String {
        let mut log = format!("\x1bc\r\n@ release {release}\r\n");
        for it in &EXPECTED {
            let lines = it.lines().map(|words| format!("@ line {}\r\n", words.join(",")));
            log += &format!(
                "@ run {}\r\n@ verified 7\r\n{}@ verified 5\r\n@ exit {}\r\n",
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
        let summary = judged(&good).unwrap();
        assert!(summary.ends_with("out by clsact; at most 7 instructions verified"), "{summary}");
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
            ("@ end", "@ left qdisc clsact ffff:\r\n@ end"),
        ] {
            judged(&good.replacen(from, to, 1)).expect_err(from);
        }
    }
}
