//! Port names: /etc/services, and a small table for machines that have none or a poor one.
//!
//! Knows TCP alone: a name that only UDP has is no name here. It uses no name service; getaddrinfo(3) would, and could
//! hang. <https://man7.org/linux/man-pages/man5/services.5.html>

use std::sync::LazyLock;

/// Read once, and only when a filter has a name in it.
static SYSTEM: LazyLock<String> = LazyLock::new(|| {
    std::fs::read("/etc/services").map_or_else(|_| String::new(), |it| String::from_utf8_lossy(&it).into_owned())
});

/// The port of a TCP service; `None`: no service has that name here (services(5)).
#[must_use]
pub fn port(name: &str) -> Option<u16> {
    listed(&SYSTEM, name).or_else(|| TABLE.iter().find(|(known, _)| *known == name).map(|(_, port)| *port))
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
    fn table_is_sorted_by_port() {
        assert!(TABLE.is_sorted_by_key(|(_, port)| port));
    }
}
