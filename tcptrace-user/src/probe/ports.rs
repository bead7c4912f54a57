//! Ports as people write them: `443`, `8080-8090`, `https`.
//!
//! Names are those of /etc/services, which this host's programs use as well. Where it lacks one (containers have no such
//! file), a few that everybody knows are still understood.

use std::{fs, ops::RangeInclusive};

const SERVICES: &str = "/etc/services";
/// Known where the file does not say.
const KNOWN: [(&str, u16); 14] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("imap", 143),
    ("ldap", 389),
    ("https", 443),
    ("ldaps", 636),
    ("imaps", 993),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("redis", 6379),
];

/// The ports that a word means; `None`: it means none.
pub(super) fn read(word: &str) -> Option<RangeInclusive<u16>> {
    let number = |word: &str| word.parse().ok().filter(|port| *port > 0);
    if let Some(port) = number(word) {
        return Some(port..=port);
    }
    let is_name = word.bytes().any(|it| it.is_ascii_alphabetic());
    if let Some((from, to)) = word.split_once('-').filter(|_| !is_name) {
        let range = number(from)?..=number(to)?;
        return (!range.is_empty()).then_some(range);
    }
    let known = || KNOWN.iter().find(|(name, _)| *name == word).map(|(_, port)| *port);
    let services = fs::read_to_string(SERVICES).unwrap_or_default();
    let port = of_services(&services, word).filter(|_| is_name).or_else(known)?;
    Some(port..=port)
}

/// The port that services(5) has for a name over TCP: `name port/protocol alias...`.
fn of_services(text: &str, name: &str) -> Option<u16> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (first, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        (first == name || words.any(|alias| alias == name)).then(|| port.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_by_name_and_alias_over_tcp() {
        let text = "# no\nhttp\t80/tcp www # yes\nntp 123/udp\nhttps 443/udp\nhttps 443/tcp\nbroken\nodd x/tcp\n";
        for (name, port) in
            [("http", Some(80)), ("www", Some(80)), ("https", Some(443)), ("ntp", None), ("yes", None), ("odd", None)]
        {
            assert_eq!(of_services(text, name), port, "{name}");
        }
    }

    #[test]
    fn what_is_no_port_means_none() {
        for word in ["", "-", "0", "65536", "80-", "-80", "90-80", "80-90-100", "no-such-service", "+"] {
            assert_eq!(read(word), None, "{word}");
        }
        assert_eq!(read("80-90"), Some(80..=90));
        assert_eq!(read("redis"), Some(6379..=6379));
    }
}
