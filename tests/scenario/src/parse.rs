//! From text to scenarios. A mistake is an error with its line, never a guess. The language is described in `mod`.

use std::{fmt, time::Duration};

use tcptrace_core::segment::Flags;
use tcptrace_vocabulary::outcome::Outcome;

use super::{
    Expected, Family, Scenario, Seen, Step,
    packet::{Around, Base, Extension, FLAGS, ICMP_ERRORS, Number, Packet, Party, Tcp},
    words,
};

/// A mistake in a scenario.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseError {
    pub line: usize,
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

type Result<T> = std::result::Result<T, String>;

/// Reads a file of cases.
///
/// # Errors
/// The first mistake.
pub fn parse(text: &str) -> std::result::Result<Vec<Scenario>, ParseError> {
    let mut cases: Vec<Scenario> = Vec::new();
    let mut open: Option<Scenario> = None;
    let mut last = 0;
    for (index, whole) in text.lines().enumerate() {
        let line = index + 1;
        let content = whole.split('#').next().unwrap_or_default().trim_end();
        if content.is_empty() {
            continue;
        }
        last = line;
        let done = if content.starts_with(' ') {
            indented(&mut open, line, content.trim())
        } else {
            start(&mut open, content)
        };
        match done {
            Ok(None) => {}
            Ok(Some(case)) if cases.iter().any(|it| it.name == case.name) => {
                return Err(ParseError { line, message: format!("there is another '{}'", case.name) });
            }
            Ok(Some(case)) => cases.push(case),
            Err(message) => return Err(ParseError { line, message }),
        }
    }
    match open {
        Some(case) => Err(ParseError { line: last, message: format!("'{}' has no line with '='", case.name) }),
        None => Ok(cases),
    }
}

fn start(open: &mut Option<Scenario>, content: &str) -> Result<Option<Scenario>> {
    if let Some(case) = open {
        return Err(format!("'{}' has no line with '='", case.name));
    }
    let mut words = content.split_whitespace();
    let name = words.next().unwrap_or_default().to_owned();
    let families = match words.next() {
        None => Family::ALL,
        Some("v4") => &[Family::V4],
        Some("v6") => &[Family::V6],
        Some(other) => return Err(format!("'{other}' after the name; it may be v4 or v6")),
    };
    *open = Some(Scenario { name, families, steps: Vec::new(), expected: Expected::nothing() });
    Ok(None)
}

fn indented(open: &mut Option<Scenario>, line: usize, content: &str) -> Result<Option<Scenario>> {
    let case = open.as_mut().ok_or("a case begins with its name, not indented")?;
    if let Some(rest) = content.strip_prefix('=') {
        case.expected = expected(rest)?;
        return Ok(open.take());
    }
    case.steps.push(step(line, content)?);
    Ok(None)
}

fn expected(rest: &str) -> Result<Expected> {
    let mut expected = Expected::nothing();
    let mut words = rest.split_whitespace();
    match words.next().ok_or("no outcome after '='")? {
        "nothing" => {}
        word => {
            let outcome = Outcome::ALL.iter().find(|it| it.name() == word);
            expected.outcome = Some(*outcome.ok_or_else(|| format!("'{word}' is no outcome"))?);
        }
    }
    while let Some(word) = words.next() {
        match word {
            "syn" => expected.syns = number(words.next(), word)?,
            "answer" => expected.answers = number(words.next(), word)?,
            _ => {
                let fact = words::FACTS.iter().find(|(name, _)| *name == word);
                expected.facts |= fact.ok_or_else(|| format!("'{word}' is no fact"))?.1;
            }
        }
    }
    Ok(expected)
}

fn step(line: usize, content: &str) -> Result<Step> {
    let (packet, effects) = content.split_once('|').ok_or("no '|' before what the packet does")?;
    let mut words = packet.split_whitespace().peekable();
    let after = match words.next_if(|it| it.starts_with('+')) {
        Some(word) => delay(word)?,
        None => Duration::ZERO,
    };
    let seen = match words.next_if(|it| it.starts_with('@')) {
        Some(place) => seen(place, words.next())?,
        None => Seen::default(),
    };
    let from = party(words.next())?;
    if words.next() != Some(">") {
        return Err("'>' is missing between sender and receiver".to_owned());
    }
    let to = party(words.next())?;
    let body: Vec<&str> = words.collect();
    let effects: Option<Vec<_>> = effects.split_whitespace().map(words::to_effect).collect();
    Ok(Step {
        line,
        text: content.to_owned(),
        after,
        seen,
        packet: body_of(from, to, &body.join(" "))?,
        effects: effects.ok_or("an effect is neither a transition nor a counter")?,
    })
}

fn body_of(from: Party, to: Party, body: &str) -> Result<Packet> {
    let Some(error) = body.strip_prefix("ICMP ") else {
        let (tcp, around, cut) = segment(from, to, body)?;
        return if cut { Err("only a quotation can be cut".to_owned()) } else { Ok(Packet::Tcp(tcp, around)) };
    };
    let (what, quoted) = error.split_once(" quoting ").ok_or("an ICMP error has to be quoting something")?;
    let (v4, v6) = match ICMP_ERRORS.iter().find(|it| it.name == what) {
        Some(it) => (it.v4, it.v6),
        None => {
            let (kind, code) = what.split_once('/').ok_or_else(|| format!("'{what}' is no ICMP error"))?;
            let both = (number(Some(kind), "type")?, number(Some(code), "code")?);
            (both, both)
        }
    };
    let other = if to == Party::Client { Party::Server } else { Party::Client };
    let (quoted, _, cut) = segment(to, other, quoted)?;
    Ok(Packet::Icmp { from, to, v4, v6, quoted, cut })
}

fn segment(from: Party, to: Party, body: &str) -> Result<(Tcp, Around, bool)> {
    let (before, options, after) = split_options(body)?;
    let mut words = before.split_whitespace().chain(after.split_whitespace());
    let mut tcp = Tcp::usual(from, to, flags(words.next().ok_or("no flags")?)?);
    if let Some(list) = options {
        tcp.options = tcp_options(list)?;
    }
    let mut around = Around::default();
    let mut cut = false;
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "seq" => tcp.seq = sequence(value)?,
            "ack" => tcp.ack = sequence(value)?,
            "win" => tcp.window = number(Some(value), key)?,
            "ttl" => tcp.ttl = number(Some(value), key)?,
            "len" => tcp.payload = number(Some(value), key)?,
            "vlan" => around.vlans = value.split(',').map(|id| number(Some(id), key)).collect::<Result<_>>()?,
            "ip4" if value == "options" => around.ip4_options = true,
            "id" => around.ip4_id = number(Some(value), key)?,
            "ip6" => around.ip6_extensions = value.split(',').map(extension).collect::<Result<_>>()?,
            "cut" => cut = true,
            _ => return Err(format!("'{word}' is no attribute")),
        }
    }
    Ok((tcp, around, cut))
}

/// Takes `<…>` out of the middle.
fn split_options(body: &str) -> Result<(&str, Option<&str>, &str)> {
    let Some((before, rest)) = body.split_once('<') else { return Ok((body, None, "")) };
    let (options, after) = rest.split_once('>').ok_or("'<' without '>'")?;
    Ok((before, Some(options), after))
}

fn tcp_options(list: &str) -> Result<Vec<u8>> {
    let mut octets = Vec::new();
    for option in list.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let (name, value) = option.split_once(' ').unwrap_or((option, ""));
        match name {
            "mss" => {
                octets.extend([2, 4]);
                octets.extend(number::<u16>(Some(value), name)?.to_be_bytes());
            }
            "wscale" => octets.extend([3, 3, number(Some(value), name)?]),
            "sackOK" => octets.extend([4, 2]),
            "TS" => octets.extend([8, 10, 0, 0, 0, 1, 0, 0, 0, 0]),
            "nop" => octets.push(1),
            "eol" => octets.push(0),
            "fastopen_request" => octets.extend([34, 2]),
            "fastopen" => octets.extend([34, 10, 1, 2, 3, 4, 5, 6, 7, 8]),
            "mptcp" => octets.extend([30, 4, 0, 1]),
            // A kind alone, where its length should be.
            "broken" => octets.extend([2, 1]),
            _ => return Err(format!("'{name}' is no TCP option")),
        }
    }
    octets.resize(octets.len().next_multiple_of(4), 1);
    if octets.len() > 40 { Err("more than forty octets of options".to_owned()) } else { Ok(octets) }
}

fn extension(word: &str) -> Result<Extension> {
    Ok(match word {
        "hop" => Extension::HopByHop,
        "dst" => Extension::Destination,
        "auth" => Extension::Authentication,
        "frag" => Extension::Fragment,
        _ => return Err(format!("'{word}' is no extension header")),
    })
}

fn flags(word: &str) -> Result<Flags> {
    if word == "NULL" {
        return Ok(Flags(0));
    }
    let mut flags = 0;
    for name in word.split('/') {
        flags |= FLAGS.iter().find(|(it, _)| *it == name).ok_or_else(|| format!("'{name}' is no flag"))?.1;
    }
    Ok(Flags(flags))
}

fn sequence(word: &str) -> Result<Number> {
    let at = word.find(['+', '-']).unwrap_or(word.len());
    let (symbol, offset) = word.split_at(at);
    let base = match symbol {
        "isn" => Base::Isn,
        "sisn" => Base::ServerIsn,
        _ => return Ok(Number { base: Base::Zero, offset: number(Some(word), "number")? }),
    };
    let offset = if offset.is_empty() { 0 } else { number::<i64>(Some(offset), "offset")? };
    Ok(Number { base, offset: offset as u32 })
}

fn seen(place: &str, way: Option<&str>) -> Result<Seen> {
    let interface = ["@eth0", "@eth1"].iter().position(|it| *it == place);
    let out = ["in", "out"].iter().position(|it| Some(*it) == way);
    match (interface, out) {
        (Some(interface), Some(out)) => Ok(Seen { interface, out: out == 1 }),
        _ => Err(format!("a place is '@eth0' or '@eth1' and 'in' or 'out', not '{place} {}'", way.unwrap_or_default())),
    }
}

fn party(word: Option<&str>) -> Result<Party> {
    Ok(match word.ok_or("sender and receiver are missing")? {
        "C" => Party::Client,
        "S" => Party::Server,
        "R" => Party::Router,
        "B" => Party::Bystander,
        other => return Err(format!("'{other}' is nobody; there are C, S, R and B")),
    })
}

fn delay(word: &str) -> Result<Duration> {
    let digits = word.trim_start_matches('+');
    let at = digits.find(|it: char| it.is_ascii_alphabetic()).ok_or_else(|| format!("'{word}' has no unit"))?;
    let (count, unit) = digits.split_at(at);
    let unit = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return Err(format!("'{unit}' is no unit; there are s, ms and us")),
    };
    let count: f64 = number(Some(count), "delay")?;
    Ok(Duration::from_nanos((count * unit * 1e9).round() as u64))
}

fn number<T: std::str::FromStr>(word: Option<&str>, what: &str) -> Result<T> {
    let word = word.unwrap_or_default();
    word.parse().map_err(|_| format!("'{word}' is no {what}"))
}
