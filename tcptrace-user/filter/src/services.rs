//! Port names: /etc/services, and a small table for machines that have none or a poor one.
//!
//! Knows TCP alone: a name that only UDP has is no name here. It uses no name service; getaddrinfo(3) would, and could
//! hang. <https://man7.org/linux/man-pages/man5/services.5.html>

use std::{collections::BTreeMap, fs::File, io::Read as _, sync::LazyLock};

/// Read once, and only when names are wanted: the first MiB of it.
static SYSTEM: LazyLock<String> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    let _ = File::open("/etc/services").and_then(|file| file.take(1 << 20).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
});

/// The port of a TCP service; `None`: no service has that name here (services(5)).
#[must_use]
pub fn port(name: &str) -> Option<u16> {
    listed(&SYSTEM, name).or_else(|| TABLE.iter().find(|(known, _)| *known == name).map(|(_, port)| *port))
}

/// The TCP services by port, each by its first name here.
#[must_use]
pub fn by_port() -> BTreeMap<u16, String> {
    all(&SYSTEM)
}

/// A services file, and the table for what it lacks; the first line with a port applies.
fn all(services: &str) -> BTreeMap<u16, String> {
    let mut all = BTreeMap::new();
    let listed = services.lines().filter_map(|line| {
        let line = line.split_once('#').map_or(line, |(before, _)| before);
        let mut words = line.split_ascii_whitespace();
        let (name, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        Some((name, port.parse().ok()?))
    });
    for (name, port) in listed.chain(TABLE.iter().copied()) {
        all.entry(port).or_insert_with(|| name.to_owned());
    }
    all
}

/// A services file; the first line with a name applies.
fn listed(services: &str, name: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let line = line.split_once('#').map_or(line, |(before, _)| before);
        let mut words = line.split_ascii_whitespace();
        let (first, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        (first == name || words.any(|alias| alias == name)).then(|| port.parse().ok())?
    })
}

/// From IANA's registry, under the names that Debian's netbase gives them.
const TABLE: &[(&str, u16)] = &[
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("imap2", 143),
    ("imap", 143),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("microsoft-ds", 445),
    ("submissions", 465),
    ("submission", 587),
    ("ldaps", 636),
    ("domain-s", 853),
    ("rsync", 873),
    ("imaps", 993),
    ("pop3s", 995),
    ("nfs", 2049),
    ("mysql", 3306),
    ("ms-wbt-server", 3389),
    ("postgresql", 5432),
    ("amqp", 5672),
    ("redis", 6379),
    ("http-alt", 8080),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_read_as_services_5_has_it() {
        let file = "# a comment\nhttp\t80/tcp\t\twww # World Wide Web\ntftp 69/udp\nodd\nworse 99999/tcp\nlast 7/tcp";
        assert_eq!(listed(file, "http"), Some(80));
        assert_eq!(listed(file, "www"), Some(80));
        assert_eq!(listed(file, "last"), Some(7));
        for unknown in ["tftp", "odd", "worse", "World", "#", ""] {
            assert_eq!(listed(file, unknown), None, "{unknown}");
        }
    }

    #[test]
    fn ports_have_their_first_name() {
        let all = all("# 7/tcp\nweb 80/tcp www\nlater 80/tcp\ntftp 69/udp\nworse 99999/tcp\nodd\n");
        let name = |port| all.get(&port).map(String::as_str);
        assert_eq!([80, 443, 143, 69, 7].map(name), [Some("web"), Some("https"), Some("imap2"), None, None]);
        assert_eq!(all.len(), TABLE.len() - 1, "143 has two names");
    }

    #[test]
    fn table_is_sorted_by_port() {
        assert!(TABLE.is_sorted_by_key(|(_, port)| port));
    }
}
