//! The target of a diagnosis: `HOST`, `HOST:PORT,PORT`, `[v6]:PORT`, and more ports behind it.

use std::net::IpAddr;

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
        let ports = ports.map(|it| (first, it)).into_iter().chain(more.iter().map(|it| (it.as_str(), it.as_str())));
        for (word, list) in ports {
            for port in list.split(',') {
                match port.parse() {
                    Ok(port @ 1..) if all.contains(&port) => {}
                    Ok(port @ 1..) => all.push(port),
                    _ => return Err(Mistake::form(word, "ports are numbers from 1 to 65535")),
                }
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
