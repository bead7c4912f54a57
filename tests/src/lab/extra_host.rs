//! One more host on the server's link: its own stack and link-layer address, and whatever IP address it is given.
//!
//! A macvlan of the server's `eth0`, so the router reaches both by one wire and asks both when it asks by broadcast.
//! The two do not hear each other: Linux keeps a macvlan from the interface that it is made of, and so a second host
//! with the server's address does not make the server find the duplicate.

use std::net::IpAddr;

use super::Lab;
use super::addresses::{Mac, SERVER_GATEWAY_V4, mac_text};
use super::netns::Ns;

/// `eth0` of the extra host.
pub const EXTRA_MAC: Mac = [0x02, 0, 0, 0, 0x02, 0x99];

/// A running host. Dropping it removes it.
#[derive(Debug)]
pub struct ExtraHost {
    pub ns: Ns,
}

impl Lab {
    /// Adds a host with this IPv4 address, which may be one that is in use.
    #[track_caller]
    pub fn extra_host(&self, address: IpAddr) -> ExtraHost {
        let lab = self.server.name().trim_end_matches("-server");
        let ns = Ns::new(lab, "extra", &self.log);
        let made = self.log.ip_batch(None, &format!("netns add {}\n", ns.name()));
        made.unwrap_or_else(|error| panic!("cannot make one more network namespace: {error}"));
        let host = ExtraHost { ns };
        self.server.ip(&format!(
            "link add link eth0 name extra0 address {} netns {} type macvlan mode bridge",
            mac_text(EXTRA_MAC),
            host.ns.name()
        ));
        host.ns.ip(&format!(
            "link set lo up
            link set extra0 name eth0
            link set eth0 addrgenmode none up
            addr add {address}/24 dev eth0
            route add default via {SERVER_GATEWAY_V4}"
        ));
        host
    }

    /// Makes the router ask for the server by ARP, as routers do, and believe who speaks last.
    #[track_caller]
    pub fn router_learns_neighbours(&self, address: IpAddr) {
        let mac = mac_text(super::addresses::SERVER_MAC);
        self.router.ip(&format!("neigh replace {address} lladdr {mac} dev server0 nud stale"));
    }
}

impl Drop for ExtraHost {
    fn drop(&mut self) {
        // The lab may have removed the link already.
        let _ = self.ns.log.ip_batch(None, &format!("netns del {}\n", self.ns.name()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use super::super::{SERVER_GATEWAY_V4, SERVER_MAC, SERVER_V4};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn who_speaks_last_has_the_address() {
        let lab = Lab::new();
        let _web = lab.server.listen((SERVER_V4, 80).into());
        lab.router_learns_neighbours(SERVER_V4);
        lab.client.connect((SERVER_V4, 80).into(), PATIENCE).unwrap();
        assert!(lab.router.ip("neigh show dev server0").contains(&mac_text(SERVER_MAC)));
        let extra = lab.extra_host(SERVER_V4);
        // Its ARP request names its own address and link-layer address.
        let error = extra.ns.connect((SERVER_GATEWAY_V4, 9).into(), PATIENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let shown = lab.router.ip(&format!("neigh show {SERVER_V4}"));
        assert!(shown.contains(&mac_text(EXTRA_MAC)), "{shown}");
        let error = lab.client.connect((SERVER_V4, 80).into(), PATIENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "the other host has no web server");
    }
}
