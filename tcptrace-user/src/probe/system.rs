//! The addresses that programs on this host get for a name.
//!
//! With glibc that is getaddrinfo(3). musl's getaddrinfo reads /etc/hosts and asks DNS, and ignores nsswitch.conf: a
//! static binary asks glibc's `getent ahosts` where there is one.

use std::{
    fs, io,
    net::{IpAddr, ToSocketAddrs as _},
    process::{Command, Stdio},
};

const NSSWITCH: &str = "/etc/nsswitch.conf";
/// Services of nsswitch.conf that musl asks too.
const ASKED_BY_MUSL: [&str; 2] = ["files", "dns"];
/// getent's exit code for a name without addresses.
const NOT_FOUND: i32 = 2;
/// Both families, as getaddrinfo(3) gives them without flags. A getent that knows no such option only asks for the
/// families that this host has addresses of.
const ALL_FAMILIES: &str = "--no-addrconfig";

/// The system's answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// The addresses in their order, or the reason why there are none.
    pub(super) found: Result<Vec<IpAddr>, String>,
    /// Services of nsswitch.conf that programs of this host ask and this one could not.
    pub(super) not_asked: Vec<String>,
}

/// Asks for a name's addresses, and waits for as long as it takes.
pub(super) fn lookup(host: &str) -> Answer {
    if !cfg!(target_env = "musl") {
        return Answer { found: by_getaddrinfo(host), not_asked: Vec::new() };
    }
    if let Some(found) = by_getent(host) {
        return Answer { found, not_asked: Vec::new() };
    }
    let not_asked = fs::read_to_string(NSSWITCH).map(|text| beyond_musl(&text)).unwrap_or_default();
    Answer { found: by_getaddrinfo(host), not_asked }
}

fn by_getaddrinfo(host: &str) -> Result<Vec<IpAddr>, String> {
    let found = (host, 0).to_socket_addrs().map_err(|error| said(&error))?;
    Ok(each_once(found.map(|it| it.ip())))
}

/// `None`: there is no getent that could be asked.
fn by_getent(host: &str) -> Option<Result<Vec<IpAddr>, String>> {
    [&[ALL_FAMILIES][..], &[]].into_iter().find_map(|options| {
        let mut getent = Command::new("getent");
        getent.args(options).args(["ahosts", host]).stdin(Stdio::null()).stderr(Stdio::null());
        let output = getent.output().ok()?;
        match output.status.code()? {
            0 => Some(Ok(addresses(&String::from_utf8_lossy(&output.stdout)))),
            NOT_FOUND => Some(Err("no address, says getent".to_owned())),
            _ => None,
        }
    })
}

/// The addresses of getent's lines: `192.0.2.1  STREAM a.example`. A link-local one may have its zone.
fn addresses(lines: &str) -> Vec<IpAddr> {
    let first = |line: &str| line.split([' ', '%']).next().unwrap_or_default().parse::<IpAddr>().ok();
    each_once(lines.lines().filter_map(first))
}

fn each_once(found: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for address in found.map(|it| it.to_canonical()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// The services for host names that musl passes over; without such a line glibc asks what musl asks.
fn beyond_musl(nsswitch: &str) -> Vec<String> {
    let plain = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let hosts = nsswitch.lines().map(plain).find_map(|line| line.strip_prefix("hosts:").map(str::to_owned));
    let hosts = hosts.unwrap_or_default();
    // [NOTFOUND=return] says when to stop, and may hold several words.
    let services = hosts.split('[').flat_map(|part| part.rsplit(']').next()).flat_map(str::split_whitespace);
    services.filter(|service| !ASKED_BY_MUSL.contains(service)).map(str::to_owned).collect()
}

/// Without the words that std puts before the C library's.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_from_the_lines_of_getent() {
        let lines = "2001:db8::1     STREAM a.example\n2001:db8::1     DGRAM  \n2001:db8::1     RAW    \n\
                     ::ffff:192.0.2.1 STREAM \n192.0.2.1       STREAM \nfe80::1%eth0    STREAM \n\n";
        let expected = ["2001:db8::1", "192.0.2.1", "fe80::1"].map(|it| it.parse::<IpAddr>().unwrap());
        assert_eq!(addresses(lines), expected);
    }

    #[test]
    fn services_that_musl_passes_over() {
        for (text, expected) in [
            ("passwd: files\nhosts: files dns\n", &[][..]),
            ("hosts:          files mdns4_minimal [NOTFOUND=return] dns\n", &["mdns4_minimal"]),
            ("hosts: mymachines resolve [!UNAVAIL = return] files # myhostname\n", &["mymachines", "resolve"]),
            ("# hosts: nis\n", &[]),
            ("", &[]),
        ] {
            assert_eq!(beyond_musl(text), expected, "{text}");
        }
    }

    /// getent is glibc's own front end of getaddrinfo.
    #[test]
    fn getent_and_getaddrinfo_agree() {
        if let Some(found) = by_getent("localhost") {
            assert_eq!(found, by_getaddrinfo("localhost"));
        }
        assert!(by_getent("no-such-name.invalid").is_none_or(|found| found.is_err()));
    }
}
