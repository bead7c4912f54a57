//! A second wire between the router and the client, which only the way back takes.
//!
//! The client has no address on it and sends nothing there: `client1` of the router, `eth1` of the client. IPv4.

use super::Lab;
use super::addresses::{CLIENT_V4, Mac, mac_text};

/// `eth1` of the client.
pub const SECOND_MAC: Mac = [0x02, 0, 0, 0, 0x01, 0x12];

impl Lab {
    /// Adds the wire, and has the router send by it what is for the client.
    #[track_caller]
    pub fn second_way_to_the_client(&self) {
        let (client, router, mac) = (self.client.name(), self.router.name(), mac_text(SECOND_MAC));
        let pair = format!("link add eth1 address {mac} netns {client} type veth peer name client1 netns {router}\n");
        self.log.ip_batch(None, &pair).unwrap_or_else(|error| panic!("cannot make a second wire: {error}"));
        self.client.ip("link set eth1 addrgenmode none up");
        self.router.ip(&format!(
            "link set client1 addrgenmode none up
            neigh add {CLIENT_V4} lladdr {mac} dev client1 nud permanent
            route add {CLIENT_V4}/32 dev client1"
        ));
        // The end that came up first gets its carrier later, and loses what it is given to send until then.
        for (ns, link) in [(&self.client, "eth1"), (&self.router, "client1")] {
            super::eventually(std::time::Duration::from_secs(10), || {
                ns.ip(&format!("link show dev {link}")).contains(" state UP ").then_some(())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::SERVER_V4;
    use super::*;

    #[test]
    fn the_answer_takes_the_other_wire() {
        let lab = Lab::new();
        lab.second_way_to_the_client();
        let _web = lab.server.listen((SERVER_V4, 80).into());
        let wires = ["eth0", "eth1"].map(|it| lab.client.raw_link(it));
        let _open = lab.client.connect_from(40000, (SERVER_V4, 80).into(), Duration::from_secs(10)).unwrap();
        let quiet = Duration::from_millis(300);
        assert_eq!(wires[0].conversation(40000, quiet), ["> S", "> ."]);
        assert_eq!(wires[1].conversation(40000, quiet), ["< S."]);
    }
}
