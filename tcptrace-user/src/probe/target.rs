//! The target of a diagnosis: `HOST`, `HOST:PORT,PORT`, `[v6]:PORT`, and more ports behind it. What has two readings is
//! asked about, and what can be no host is an error and no question to DNS.

use std::net::{IpAddr, Ipv6Addr};

use super::ports;
use crate::exit::{self, ExitCode};

/// Asked for when no port is.
const USUAL: [u16; 2] = [443, 80];
/// Ports are tried all at once: more would be a scan.
const MOST: usize = 16;

/// A host and its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub host: String,
    pub ports: Vec<u16>,
    /// Nobody named one.
    pub ports_assumed: bool,
}

/// Words that are no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot diagnose '{}': {why}", .word.escape_debug())]
pub struct Mistake {
    word: String,
    why: String,
}

impl ExitCode for Mistake {
    fn exit_code(&self) -> u8 {
        exit::USAGE
    }
}

impl Mistake {
    pub(super) fn new(word: &str, why: String) -> Self {
        Self { word: word.to_owned(), why }
    }

    fn form(word: &str, why: &str) -> Self {
        Self::new(word, format!("{why}; write HOST, HOST:PORT,PORT or [IPV6]:PORT, then more ports"))
    }

    /// An IPv6 address whose last group may be meant as a port.
    fn ambiguous(word: &str, host: Ipv6Addr, port: u16) -> Self {
        let why = format!("it has two readings: write [{host}]:{port} for that port, or [{word}] for the address");
        Self::new(word, why)
    }
}

impl Target {
    /// Reads the words of the command line: the first is the host, the others are ports.
    ///
    /// # Errors
    /// Which word is wrong, and why.
    pub fn parse(words: &[String]) -> Result<Self, Mistake> {
        let (first, more) = words.split_first().map_or(("", words), |(first, more)| (first.as_str(), more));
        let mistake = |why| Mistake::form(first, why);
        let (host, ports) = split(first).map_err(mistake)?;
        if host.is_empty() {
            return Err(mistake("the host is missing"));
        }
        if host.len() > 254 || host.contains(|it: char| it.is_whitespace() || it.is_control() || it == '/') {
            return Err(mistake("a host name has at most 253 bytes, no spaces and no slashes"));
        }
        let mut all: Vec<u16> = Vec::new();
        if let Some(part) = no_address(host) {
            let why = format!("'{part}' is no part of an IPv4 address, and no name ends in a number");
            return Err(Mistake::new(first, why));
        }
        if more.is_empty()
            && let Some((host, port)) = other_reading(first)
        {
            return Err(Mistake::ambiguous(first, host, port));
        }
        let ports = ports.map(|it| (first, it)).into_iter().chain(more.iter().map(|it| (it.as_str(), it.as_str())));
        for (word, list) in ports {
            for port in list.split(',') {
                let range = ports::read(port).ok_or_else(|| {
                    Mistake::form(word, "ports are numbers from 1 to 65535, ranges of them, or names in /etc/services")
                })?;
                if range.clone().count() > MOST {
                    return Err(mistake("more than 16 ports would be a scan"));
                }
                let new: Vec<_> = range.filter(|port| !all.contains(port)).collect();
                all.extend(new);
            }
        }
        if all.len() > MOST {
            return Err(mistake("more than 16 ports would be a scan"));
        }
        let ports_assumed = all.is_empty();
        let ports = if ports_assumed { USUAL.to_vec() } else { all };
        Ok(Self { host: host.to_owned(), ports, ports_assumed })
    }
}

/// An address, and what is behind its `%` (RFC 4007, section 11); `None`: it is a name.
pub(super) fn literal(host: &str) -> Option<(IpAddr, Option<&str>)> {
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    Some((address.parse::<IpAddr>().ok()?.to_canonical(), zone))
}

/// What a word without brackets means as well, if it is an IPv6 address: another address, and a port.
fn other_reading(word: &str) -> Option<(Ipv6Addr, u16)> {
    word.parse::<Ipv6Addr>().ok()?;
    let (host, port) = word.rsplit_once(':')?;
    let is_decimal = port.bytes().all(|it| it.is_ascii_digit()) && !port.starts_with('0');
    Some((host.parse().ok()?, port.parse().ok().filter(|_| is_decimal)?))
}

/// The part of a host that can be no number of an IPv4 address, where all parts are numbers: no name ends in one
/// (RFC 3696, section 2). The forms of inet_aton(3) with fewer parts are left to the resolver.
fn no_address(host: &str) -> Option<&str> {
    let parts: Vec<_> = host.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    if !parts.iter().all(is_number) {
        return None;
    }
    // The last one fills the octets that are left.
    let limit = |at: usize| if at + 1 < parts.len() { 255 } else { u64::from(u32::MAX >> (8 * at.min(3))) };
    let fits = |at: usize, part: &str| at < 4 && part.parse().is_ok_and(|number: u64| number <= limit(at));
    parts.iter().enumerate().find(|(at, part)| !fits(*at, part)).map(|(_, part)| *part)
}

/// The host, and the list of ports behind its colon.
fn split(word: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = word.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
        literal(host).ok_or("no address in the brackets")?;
        return match rest {
            "" => Ok((host, None)),
            _ => rest.strip_prefix(':').map(|ports| (host, Some(ports))).ok_or("only :PORT may follow ]"),
        };
    }
    if literal(word).is_some() {
        return Ok((word, None));
    }
    if word.contains("://") {
        return Err("it is a URL");
    }
    match word.split_once(':') {
        Some((_, ports)) if ports.contains(':') => Err("an IPv6 address with a port needs brackets"),
        Some((host, ports)) => Ok((host, Some(ports))),
        None => Ok((word, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    fn parse(line: &str) -> Result<(String, Vec<u16>, bool), String> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Target::parse(&words).map(|it| (it.host, it.ports, it.ports_assumed)).map_err(|it| it.to_string())
    }

    #[test]
    fn hosts_and_ports_in_every_form() {
        for (line, host, ports, assumed) in [
            ("example.org", "example.org", &[443, 80][..], true),
            ("example.org:22", "example.org", &[22], false),
            ("example.org:22,80 443 8000,80", "example.org", &[22, 80, 443, 8000], false),
            ("192.0.2.1", "192.0.2.1", &[443, 80], true),
            ("192.0.2.1:6036", "192.0.2.1", &[6036], false),
            ("2001:db8::1", "2001:db8::1", &[443, 80], true),
            ("2001:db8::1 22", "2001:db8::1", &[22], false),
            ("[2001:db8::1]", "2001:db8::1", &[443, 80], true),
            ("[2001:db8::1]:22,23", "2001:db8::1", &[22, 23], false),
            ("[192.0.2.1]:22", "192.0.2.1", &[22], false),
            ("fe80::1%eth0", "fe80::1%eth0", &[443, 80], true),
            ("fe80::1%eth0 22", "fe80::1%eth0", &[22], false),
            ("[fe80::1%eth0.7]:443", "fe80::1%eth0.7", &[443], false),
            ("[2001:db8::2:80]", "2001:db8::2:80", &[443, 80], true),
            ("2001:db8::2:80 443", "2001:db8::2:80", &[443], false),
            ("2001:db8::80", "2001:db8::80", &[443, 80], true),
            ("2001:db8::2:8a", "2001:db8::2:8a", &[443, 80], true),
            ("2001:db8:0:0:0:0:2:80", "2001:db8:0:0:0:0:2:80", &[443, 80], true),
            ("a:https", "a", &[443], false),
            ("a ssh,http", "a", &[22, 80], false),
            ("a:80-82,81,443", "a", &[80, 81, 82, 443], false),
            ("[2001:db8::1]:http", "2001:db8::1", &[80], false),
            ("10.1", "10.1", &[443, 80], true),
            ("10.300", "10.300", &[443, 80], true),
            ("300.example", "300.example", &[443, 80], true),
        ] {
            assert_eq!(parse(line).expect(line), (host.to_owned(), ports.to_vec(), assumed), "{line}");
        }
    }

    #[test]
    fn mistakes_name_the_word_and_the_reason() {
        let many = format!("a:{}", (1..18).map(|it| it.to_string()).collect::<Vec<_>>().join(","));
        for (line, why) in [
            ("", "the host is missing"),
            (":80", "the host is missing"),
            ("a:", "ports are numbers"),
            ("a:0", "ports are numbers"),
            ("a:65536", "ports are numbers"),
            ("a 80x", "ports are numbers"),
            ("a:90-80", "ports are numbers"),
            ("a:0-3", "ports are numbers"),
            ("a:80-", "ports are numbers"),
            ("a:80-96", "would be a scan"),
            ("a:1-65535", "would be a scan"),
            ("10.0.0.300", "'300' is no part of an IPv4 address"),
            ("10.0.0.300:80", "'300' is no part of an IPv4 address"),
            ("256.1.1.1", "'256' is no part"),
            ("1.2.3.4.5", "'5' is no part"),
            ("2001:db8::2:80", "[2001:db8::2]:80 for that port, or [2001:db8::2:80] for the address"),
            ("::1:443", "[::1]:443 for that port, or [::1:443] for the address"),
            ("a:80:90", "needs brackets"),
            ("[a]:80", "no address in the brackets"),
            ("[2001:db8::1", "not closed"),
            ("[2001:db8::1]80", "only :PORT may follow"),
            ("https://a/", "it is a URL"),
            ("a/24", "no spaces and no slashes"),
            (&many, "would be a scan"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
        assert!(parse("\u{1b}[2J/").expect_err("a slash").starts_with("cannot diagnose '\\u{1b}[2J/': "));
    }
}
