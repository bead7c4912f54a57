//! The diagnosis for people: one line a step with its mark, then the verdict in one paragraph. Rendering only.
//!
//! Marks: `ok`; `!!` where something is wrong; `??` where nothing can be said; `--` what is only there to compare with.
//! Whatever came from the network is escaped.

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use anstyle::{AnsiColor, Style};
use tcptrace_core::segment::Options;
use tcptrace_vocabulary::{
    cause::Cause,
    errno::{errno_name, errno_text},
    facts::ProbeKind,
    icmp::Meaning,
    words::NEGOTIATED,
};

use super::{
    conclusion::{Conclusion, Reach},
    diagnosis::{Agreed, Connect, Diagnosis, End, MtuFound, Names, NeighbourState, Probed, Resolver, Tried, Walk, Way},
    findings::{self, listed},
};
use crate::output::plain;

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();
const DIM: Style = Style::new().dimmed();
/// Columns of the verdict.
const WIDTH: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ok,
    Wrong,
    Untold,
    Aside,
}

/// All of it, styled; `anstream` takes the styles out where they are not wanted.
pub(super) fn render(diagnosis: &Diagnosis, conclusion: &Conclusion) -> String {
    let mut out = String::new();
    let mut line = |mark: Mark, step: &str, took: Option<Duration>, text: &str| {
        let (style, word) = match mark {
            Mark::Ok => (GREEN, "ok"),
            Mark::Wrong => (RED, "!!"),
            Mark::Untold => (YELLOW, "??"),
            Mark::Aside => (DIM, "--"),
        };
        let took = took.map_or_else(String::new, duration);
        let _ = writeln!(out, "{style}{word}{style:#}  {step:<9} {took:>8}  {}", plain(text));
    };
    if diagnosis.ports_assumed {
        line(Mark::Aside, "ports", None, "none given: 443 and 80; one is enough");
    }
    if let Some(names) = &diagnosis.names {
        name_lines(diagnosis, names, &mut line);
    }
    let many = diagnosis.addresses.len() > 1;
    for at in &diagnosis.addresses {
        let of = if many { format!("{}: ", at.name()) } else { String::new() };
        let mut line = |mark: Mark, step: &str, took: Option<Duration>, text: &str| {
            line(mark, step, took, &format!("{of}{text}"));
        };
        route_line(at, &mut line);
        ping_line(at, &mut line);
        mtu_line(at, &mut line);
        for connect in at.connects.iter().filter(|it| it.is_asked) {
            connect_line(connect, &mut line);
        }
        let others: Vec<_> =
            at.connects.iter().filter(|it| !it.is_asked).map(|it| format!("{} {}", it.port, in_a_word(it))).collect();
        if !others.is_empty() {
            line(Mark::Aside, "others", None, &others.join(", "));
        }
        for walk in &at.walks {
            walk_line(walk, &mut line);
        }
    }
    for left in &diagnosis.left_out {
        line(Mark::Untold, "left out", None, left);
    }
    out.push('\n');
    out.push_str(&paragraph(diagnosis, conclusion));
    out
}

fn name_lines(diagnosis: &Diagnosis, names: &Names, line: &mut impl FnMut(Mark, &str, Option<Duration>, &str)) {
    if names.is_address {
        return;
    }
    let host = &diagnosis.host;
    let found = findings::of_names(names);
    let took = names.system.as_ref().map(|it| it.took);
    let more = match names.passed_over {
        0 => String::new(),
        more => format!(", and {more} more that are not tried"),
    };
    let asked = names.resolvers.iter().map(Resolver::name).collect::<Vec<_>>().join(", ");
    match (names.system.as_ref().map(|it| &it.found), names.addresses.is_empty()) {
        (None, true) => line(Mark::Untold, "name", None, &format!("{host}: no answer yet")),
        (Some(Err(error)), true) => line(Mark::Wrong, "name", took, &format!("{host}: {error}")),
        (_, true) => line(Mark::Wrong, "name", took, &format!("{host} has no address")),
        (_, false) => {
            let by = match (found.is_empty(), names.resolvers.is_empty(), names.hosts.is_empty()) {
                (true, false, _) => format!("; from {asked}"),
                (true, true, false) => "; from /etc/hosts".to_owned(),
                _ => String::new(),
            };
            line(Mark::Ok, "name", took, &format!("{host} is {}{more}{by}", listed(&names.addresses)));
        }
    }
    for finding in found {
        line(Mark::Wrong, "name", None, &finding.text);
    }
    if let Some(why) = &names.not_asked {
        line(Mark::Untold, "name", None, &format!("no resolver was asked: {why}"));
    }
}

fn route_line(at: &Probed, line: &mut impl FnMut(Mark, &str, Option<Duration>, &str)) {
    let Some(step) = &at.way else { return };
    let took = Some(step.took);
    let route = match &step.found {
        Err(why) => return line(Mark::Untold, "route", took, why),
        Ok(Way::None { errno }) => {
            return line(Mark::Wrong, "route", took, &format!("none: {} ({})", errno_text(*errno), errno_name(*errno)));
        }
        Ok(Way::Route(route)) => route,
    };
    let mut text = match (route.is_local, route.gateway) {
        (true, _) => format!("this host itself, {}", route.interface),
        (false, Some(gateway)) => format!("via {gateway} on {}", route.interface),
        (false, None) => format!("on the link of {}", route.interface),
    };
    let mut mark = Mark::Ok;
    if !route.up || !route.carrier {
        text.push_str(if route.up { ", which has no carrier" } else { ", which is down" });
        mark = Mark::Wrong;
    }
    match &route.source {
        Some(source) => {
            let _ = write!(text, ", from {}/{} ({})", source.address, source.prefix, source.flags.join(", "));
            if source.flags.iter().any(|it| matches!(*it, "tentative" | "duplicate" | "deprecated")) {
                mark = Mark::Wrong;
            }
        }
        None => text.push_str(", without a source address"),
    }
    let _ = write!(text, ", MTU {}", route.mtu);
    if let Some(neighbour) = &at.neighbour {
        let who = if neighbour.is_peer { "the host" } else { "the gateway" };
        let _ = write!(
            text,
            "; {who} {}",
            match neighbour.state {
                NeighbourState::Failed | NeighbourState::Incomplete => "does not answer on the link",
                NeighbourState::Reachable => "answers on the link",
                NeighbourState::Stale => "answered on the link earlier",
                NeighbourState::Fixed => "has a fixed link address",
            }
        );
        if matches!(neighbour.state, NeighbourState::Failed | NeighbourState::Incomplete) {
            mark = Mark::Wrong;
        }
    }
    line(mark, "route", took, &text);
}

fn ping_line(at: &Probed, line: &mut impl FnMut(Mark, &str, Option<Duration>, &str)) {
    let Some(step) = &at.ping else { return };
    let ping = match &step.found {
        Err(why) => return line(Mark::Untold, "ping", Some(step.took), why),
        Ok(ping) => ping,
    };
    if let Some(least) = ping.replies.iter().min() {
        let most = ping.replies.iter().max().unwrap_or(least);
        let ttl = ping.ttl.map_or_else(String::new, |it| format!(", TTL {it}"));
        let text =
            format!("{} of {} answered, {}–{}{ttl}", ping.replies.len(), ping.sent, duration(*least), duration(*most));
        return line(Mark::Ok, "ping", Some(step.took), &text);
    }
    let text = match (ping.error, ping.refused) {
        (Some(icmp), _) => {
            let from = icmp.from.map_or_else(|| "somebody".to_owned(), |it| it.to_string());
            format!("ICMP {} from {from}", Meaning::of(icmp.icmp).word())
        }
        (None, Some(errno)) => format!("this host drops it ({})", errno_name(errno)),
        (None, None) => "no answer, which proves nothing".to_owned(),
    };
    line(Mark::Untold, "ping", Some(step.took), &text);
}

fn mtu_line(at: &Probed, line: &mut impl FnMut(Mark, &str, Option<Duration>, &str)) {
    let Some(step) = &at.mtu else { return };
    let mtu = match &step.found {
        // Said of the ping already.
        Err(_) => return,
        Ok(mtu) => mtu,
    };
    let (mark, text) = match mtu.found {
        MtuFound::Passes => (Mark::Ok, format!("packets of {} bytes pass whole", mtu.assumed)),
        MtuFound::Smaller { mtu: found, by } => {
            let by = by.map_or_else(|| "a router".to_owned(), |it| it.to_string());
            (Mark::Ok, format!("{by} reports {found} bytes, {} here: TCP adapts", mtu.assumed))
        }
        MtuFound::BlackHole { passes } => {
            let passes = passes.map_or_else(String::new, |it| format!(", {it} pass"));
            (Mark::Wrong, format!("packets of {} bytes get lost silently{passes}: a black hole?", mtu.assumed))
        }
        MtuFound::Untold => {
            (Mark::Untold, format!("{} by the kernel's estimate; large echo requests show no more", mtu.assumed))
        }
    };
    line(mark, "path MTU", Some(step.took), &text);
}

fn connect_line(connect: &Connect, line: &mut impl FnMut(Mark, &str, Option<Duration>, &str)) {
    let step = format!("tcp {}", connect.port);
    let mut text = match connect.result {
        Tried::Open(agreed) => format!("open  [{}]", options(&agreed, connect)),
        Tried::Silent => "no answer".to_owned(),
        Tried::Failed(libc::ETIMEDOUT) if connect.icmp.is_none() => "no answer (ETIMEDOUT)".to_owned(),
        Tried::Failed(errno) if connect.is_reset() => format!("RST ({})", errno_name(errno)),
        Tried::Failed(errno) => match connect.icmp {
            Some(icmp) => {
                let from = icmp.from.map_or_else(|| "somebody".to_owned(), |it| it.to_string());
                format!("ICMP {} from {from} ({})", Meaning::of(icmp.icmp).word(), errno_name(errno))
            }
            None => format!("{} ({})", errno_text(errno), errno_name(errno)),
        },
    };
    if connect.retries > 0 {
        let _ = write!(text, ", {} SYNs", u32::from(connect.retries) + 1);
    }
    if connect.wire.is_some_and(|it| it.syns == 0) && !connect.is_open() {
        text.push_str(", none seen leaving");
    }
    let is_smooth = connect.is_open() && connect.retries == 0;
    let mark = if is_smooth { Mark::Ok } else { Mark::Wrong };
    line(mark, &step, Some(connect.took), &text);
}

/// The options that were agreed on, and those that the SYN/ACK offered, if it was seen.
fn options(agreed: &Agreed, connect: &Connect) -> String {
    let answer = connect.wire.and_then(|it| it.answer);
    let mss = |it: Options| (it.present & Options::MSS != 0).then_some(it.mss);
    let offered = connect.wire.and_then(|it| mss(it.offered?));
    let mut words = vec![match offered.zip(answer.and_then(|it| mss(it.options))) {
        Some((ours, theirs)) => format!("mss {ours}/{theirs}"),
        None => format!("mss {}", agreed.mss),
    }];
    let has = |bit: u8| match bit {
        Options::WINDOW_SCALE => agreed.window_scale.is_some(),
        Options::SACK_PERMITTED => agreed.sack,
        Options::TIMESTAMPS => agreed.timestamps,
        Options::ECN => agreed.ecn,
        _ => false,
    };
    for (bit, _, name) in NEGOTIATED.iter().filter(|(bit, ..)| has(*bit)) {
        match agreed.window_scale {
            Some((ours, theirs)) if *bit == Options::WINDOW_SCALE => words.push(format!("{name} {ours}/{theirs}")),
            _ => words.push((*name).to_owned()),
        }
    }
    if let Some(answer) = answer {
        words.push(format!("ttl {}", answer.ttl));
    }
    words.join(" ")
}

fn in_a_word(connect: &Connect) -> String {
    match (connect.result, connect.icmp) {
        (Tried::Open(_), _) => "open".to_owned(),
        (_, Some(icmp)) => Meaning::of(icmp.icmp).word().to_owned(),
        _ if connect.is_reset() => "RST".to_owned(),
        (Tried::Silent | Tried::Failed(libc::ETIMEDOUT), None) => "silent".to_owned(),
        (Tried::Failed(errno), None) => errno_name(errno),
    }
}

fn walk_line(walk: &Walk, line: &mut impl FnMut(Mark, &str, Option<Duration>, &str)) {
    let what = match walk.by {
        ProbeKind::Syn(port) => format!("SYNs to {port}"),
        ProbeKind::Echo => "echo requests".to_owned(),
    };
    let from = |it: Option<IpAddr>| it.map_or_else(|| "*".to_owned(), |it| it.to_string());
    let mut hops: Vec<_> = walk.hops.iter().map(|hop| format!("{} {}", hop.ttl, from(hop.from))).collect();
    let mark = match &walk.end {
        End::Answered { ttl, reset } => {
            hops.push(format!("{ttl} {}", if *reset { "RST" } else { "answered" }));
            Mark::Aside
        }
        End::Rejected { ttl, icmp } => {
            hops.push(format!("{ttl} {} from {}", Meaning::of(icmp.icmp).word(), from(icmp.from)));
            Mark::Wrong
        }
        End::Dies => {
            hops.push(if hops.is_empty() { "not even the first hop answers" } else { "and no farther" }.to_owned());
            Mark::Wrong
        }
        End::Unsent(why) => {
            hops.push(why.clone());
            Mark::Untold
        }
    };
    line(mark, "hops", Some(walk.took), &format!("{what}: {}", hops.join(", ")));
}

/// The verdict.
fn paragraph(diagnosis: &Diagnosis, conclusion: &Conclusion) -> String {
    let style = match conclusion.reach {
        Reach::Reachable => GREEN,
        Reach::Partly | Reach::Unfinished => YELLOW,
        Reach::Unreachable | Reach::Unresolved => RED,
    };
    let word = conclusion.cause.map_or(conclusion.reach.name(), |it| it.name());
    let how = match (conclusion.confidence, conclusion.scope) {
        // Nothing is claimed that one could be sure of.
        (Some(_), Some(scope)) if conclusion.cause == Some(Cause::Unknown) => format!(" ({})", scope.words()),
        (Some(confidence), Some(scope)) => format!(" ({}, {})", confidence.name(), scope.words()),
        _ => String::new(),
    };
    let mut text = format!("{word}{how}: {}", conclusion.headline);
    if !conclusion.evidence.is_empty() {
        let _ = write!(text, ": {}", conclusion.evidence.join("; "));
    }
    text.push('.');
    for note in &conclusion.notes {
        let _ = write!(text, " Also: {note}.");
    }
    if let Some(next) = &conclusion.next {
        let _ = write!(text, " Next: {next}");
        if !next.ends_with(['?', '.']) {
            text.push('.');
        }
    }
    if diagnosis.interrupted {
        text.push_str(" Interrupted: this is what was known by then.");
    }
    let wrapped = wrap(&plain(&text));
    // The first word is the verdict's.
    format!("{style}{}{style:#}{}\n", &wrapped[..word.len()], &wrapped[word.len()..])
}

/// Lines no longer than is read with ease.
fn wrap(text: &str) -> String {
    let mut wrapped = String::with_capacity(text.len() + 8);
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 {
            let fits = column + 1 + length <= WIDTH;
            wrapped.push(if fits { ' ' } else { '\n' });
            column = if fits { column + 1 } else { 0 };
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

fn duration(duration: Duration) -> String {
    match duration.as_micros() {
        0..1_000 => format!("{} µs", duration.as_micros()),
        1_000..1_000_000 => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}
