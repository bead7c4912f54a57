//! The files that say how names are resolved: `/etc/hosts` and `/etc/resolv.conf`. Reading only.
//!
//! nsswitch.conf(5) is not interpreted: getaddrinfo(3) itself says which answer applications get.
//! <https://man7.org/linux/man-pages/man5/resolv.conf.5.html>

use std::net::IpAddr;

use super::target::literal;

/// glibc asks the first three (`MAXNS`).
const RESOLVERS: usize = 3;
/// Names that are tried for one without a dot; more would take too long.
const NAMES: usize = 3;

/// A resolver as `/etc/resolv.conf` names it. A link-local address has its interface behind it (`fe80::1%eth0`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameServer {
    pub(super) address: IpAddr,
    /// The interface's name or index; `None`: routing decides.
    pub(super) zone: Option<String>,
}

impl NameServer {
    fn parse(word: &str) -> Option<Self> {
        let (address, zone) = literal(word)?;
        Some(Self { address, zone: zone.map(str::to_owned) })
    }
}

/// The parts of `/etc/resolv.conf` that matter here.
///
/// Not read by the crate `resolv-conf` (0.7): it refuses a zone with a dot or a hyphen (`eth0.7`, `br-lan`), and one
/// line that it cannot read fails the whole file, where glibc reads on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolution {
    pub(super) resolvers: Vec<NameServer>,
    pub(super) search: Vec<String>,
    pub(super) dots: usize,
}

impl Resolution {
    pub(super) fn parse(text: &str) -> Self {
        let mut this = Self { resolvers: Vec::new(), search: Vec::new(), dots: 1 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => this.resolvers.extend(words.next().and_then(NameServer::parse)),
                Some("search" | "domain") => {
                    this.search = words.map(|it| it.trim_end_matches('.').to_owned()).collect();
                }
                Some("options") => {
                    let dots = words.filter_map(|it| it.strip_prefix("ndots:")?.parse().ok()).next_back();
                    this.dots = dots.unwrap_or(this.dots);
                }
                _ => {}
            }
        }
        this.search.retain(|it| !it.is_empty());
        this.resolvers.truncate(RESOLVERS);
        this
    }

    /// The names that are asked for, one after the other until one exists.
    pub(super) fn names(&self, host: &str) -> Vec<String> {
        if let Some(full) = host.strip_suffix('.') {
            return vec![full.to_owned()];
        }
        let mut names: Vec<_> = self.search.iter().map(|domain| format!("{host}.{domain}")).collect();
        let is_full = host.matches('.').count() >= self.dots;
        names.insert(if is_full { 0 } else { names.len() }, host.to_owned());
        names.truncate(NAMES);
        names
    }
}

/// The addresses that a hosts file has for a name.
pub(super) fn of_file(text: &str, host: &str) -> Vec<IpAddr> {
    let host = host.trim_end_matches('.');
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(|it| it.parse().ok()) else { continue };
        if words.any(|it| it.trim_end_matches('.').eq_ignore_ascii_case(host)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_as_the_manual_has_it() {
        let text = "# no\nnameserver 192.0.2.53\nnameserver 2001:db8::53 # yes\n\
                    nameserver x\nnameserver 192.0.2.54\nnameserver 192.0.2.55\ndomain a.\nsearch b c.d\n\
                    options rotate ndots:2\n";
        let it = Resolution::parse(text);
        let resolvers: Vec<_> = it.resolvers.iter().map(|it| it.address.to_string()).collect();
        assert_eq!(resolvers, ["192.0.2.53", "2001:db8::53", "192.0.2.54"]);
        assert_eq!(it.names("www"), ["www.b", "www.c.d", "www"]);
        assert_eq!(it.names("www.x"), ["www.x.b", "www.x.c.d", "www.x"]);
        assert_eq!(it.names("www.x.y"), ["www.x.y", "www.x.y.b", "www.x.y.c.d"]);
        assert_eq!(it.names("www."), ["www"]);
        assert_eq!(Resolution::parse("").names("www"), ["www"]);
    }

    #[test]
    fn a_resolver_on_a_link_is_named_with_its_interface() {
        for (word, address, zone) in [
            ("fe80::1%eth0", "fe80::1", Some("eth0")),
            ("fe80::1%eth0.7", "fe80::1", Some("eth0.7")),
            ("fe80::1%br-lan", "fe80::1", Some("br-lan")),
            ("fe80::1%2", "fe80::1", Some("2")),
            ("2001:db8::53", "2001:db8::53", None),
        ] {
            let resolution = Resolution::parse(&format!("nameserver {word}\n"));
            let expected = NameServer { address: address.parse().expect(address), zone: zone.map(str::to_owned) };
            assert_eq!(resolution.resolvers, [expected], "{word}");
        }
    }

    #[test]
    fn hosts_file_by_any_of_its_names() {
        let text =
            "127.0.0.1 localhost\n192.0.2.1\tWeb.Example web # old\n2001:db8::1 web\n# 192.0.2.9 web\n192.0.2.1 web\n";
        let found = |host| of_file(text, host).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("web"), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(found("WEB.example."), ["192.0.2.1"]);
        assert_eq!(found("old"), [""; 0]);
    }
}
