//! What tcptrace said of it all, beside what there was.

use std::{collections::HashMap, net::SocketAddr};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tcptrace_tests::lab::{CLIENT_V4, CLIENT_V6, Finished};

use crate::failures::{FIRST_PORT, FLOODED, Failure, KINDS};

/// Failures of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OfKind {
    pub(crate) as_it_was: u64,
    /// With another outcome.
    pub(crate) otherwise: u64,
    pub(crate) missing: u64,
}

impl OfKind {
    pub(crate) fn made(self) -> u64 {
        self.as_it_was + self.otherwise + self.missing
    }
}

#[derive(Debug)]
pub(crate) struct Told {
    /// By kind.
    pub(crate) kinds: [OfKind; KINDS.len()],
    /// SYNs of the flood, by the kernel side's counters.
    pub(crate) at_the_hook: u64,
    pub(crate) in_the_finding: u64,
    pub(crate) findings: u64,
    /// Lines about attempts of the flood.
    pub(crate) listed: u64,
    pub(crate) lost: u64,
    /// The finding, and the losses by stage.
    pub(crate) story: String,
}

impl Told {
    /// Reads its output, and looks for each failure in it.
    pub(crate) fn of(finished: &Finished, made: &[Failure]) -> Result<Self> {
        let mut lines = finished.json();
        let summary = lines.pop().filter(|it| it["type"] == "summary").context("tcptrace printed no summary")?;
        // The last line about an attempt has the last word.
        let mut outcomes: HashMap<(SocketAddr, SocketAddr), &str> = HashMap::new();
        let is_of_attempt = |it: &&Value| ["stall", "attempt"].map(Value::from).contains(&it["type"]);
        for line in lines.iter().filter(is_of_attempt) {
            let ends = endpoint(&line["client"]).zip(endpoint(&line["server"])).context("a line without endpoints")?;
            outcomes.insert(ends, line["outcome"].as_str().context("a line without outcome")?);
        }
        let mut kinds = [OfKind::default(); KINDS.len()];
        for (port, failure) in (FIRST_PORT..).zip(made) {
            let ip = if failure.server.is_ipv4() { CLIENT_V4 } else { CLIENT_V6 };
            let told = outcomes.remove(&((ip, port).into(), failure.server));
            let of_kind = &mut kinds[failure.kind];
            match told {
                Some(outcome) if outcome == KINDS[failure.kind].outcome => of_kind.as_it_was += 1,
                Some(_) => of_kind.otherwise += 1,
                None => of_kind.missing += 1,
            }
        }
        let figure = |path: &str| summary.pointer(path).and_then(Value::as_u64).context("a summary without counters");
        // What opened an attempt and was none of ours: the flood's, as far as they were let in.
        let ours = kinds.iter().map(|it| it.made()).sum::<u64>();
        let opened = figure("/segments/opened")?.saturating_sub(ours);
        let findings = summary["findings"].as_array().context("a summary without findings")?;
        let flood = findings.first().unwrap_or(&Value::Null);
        ensure!(flood.is_null() || flood["server"]["ip"] == FLOODED.to_string(), "another flood: {flood:#}");
        let losses = summary["losses"].as_object().context("a summary without losses")?;
        Ok(Self {
            kinds,
            at_the_hook: figure("/counters/flood_passed_over")? + opened,
            in_the_finding: flood["packets"].as_u64().unwrap_or(0),
            findings: findings.len() as u64,
            listed: outcomes.keys().filter(|(_, server)| server.ip() == FLOODED).count() as u64,
            lost: losses.values().filter_map(Value::as_u64).sum(),
            story: story(flood, &summary["losses"]),
        })
    }
}

fn endpoint(it: &Value) -> Option<SocketAddr> {
    let port = it["port"].as_u64().and_then(|it| u16::try_from(it).ok())?;
    Some(SocketAddr::new(it["ip"].as_str()?.parse().ok()?, port))
}

/// What the finding says, and what was lost.
fn story(flood: &Value, losses: &Value) -> String {
    let (sources, cookies) = (&flood["sources"], &flood["syn_cookies"]);
    let [rate, peak] = ["per_second", "peak_per_second"].map(|it| flood[it].as_f64().unwrap_or(0.0));
    format!(
        "{rate:.0} a second, at most {peak:.0}; {} networks in a sample of {}, top {}; completed {}; {cookies} SYN cookies; \
         losses {losses}",
        sources["networks"], sources["sample"], sources["top"], flood["completed_share"],
    )
}
