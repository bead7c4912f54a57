//! Holding packets back at the router, in order and unharmed, until they are let go.
//!
//! The delay that netem would make, on kernels without it: a neighbour entry put into the state INCOMPLETE by hand
//! starts no timer and sends no solicitation, and the kernel queues what is addressed to it. Making the entry valid
//! again sends the queue. About a hundred frames fit; the oldest are dropped then.

use std::net::IpAddr;

use super::Lab;
use super::addresses::{
    CLIENT_MAC, CLIENT_V4, CLIENT_V6, Mac, OTHER_V4, OTHER_V6, SERVER_MAC, SERVER_V4, SERVER_V6, mac_text,
};
use super::netns::Ns;

/// The direction that a hold stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    Client,
    Server,
}

/// A closed gate; dropping it opens it and lets the held packets go.
#[derive(Debug)]
pub struct Hold {
    router: Ns,
    towards: Towards,
}

impl Lab {
    /// Closes the router's gate for packets in one direction. They leave their sender, and wait.
    #[track_caller]
    pub fn hold(&self, towards: Towards) -> Hold {
        let (interface, _, addresses) = towards.neighbours();
        let line = |address: &IpAddr| format!("neigh replace {address} dev {interface} nud incomplete\n");
        self.router.ip(&addresses.iter().map(line).collect::<String>());
        Hold { router: self.router.clone(), towards }
    }
}

impl Hold {
    /// Lets the packets go, in the order in which they came.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        let (interface, mac, addresses) = self.towards.neighbours();
        let mac = mac_text(mac);
        let line = |address: &IpAddr| format!("neigh replace {address} lladdr {mac} dev {interface} nud permanent\n");
        // The namespace may be gone already, and the packets with it.
        let _ = self.router.log.ip_batch(Some(self.router.name()), &addresses.iter().map(line).collect::<String>());
    }
}

impl Towards {
    fn neighbours(self) -> (&'static str, Mac, &'static [IpAddr]) {
        match self {
            Self::Client => ("client0", CLIENT_MAC, &[CLIENT_V4, CLIENT_V6]),
            Self::Server => ("server0", SERVER_MAC, &[SERVER_V4, SERVER_V6, OTHER_V4, OTHER_V6]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::ConnectOptions;
    use super::*;

    #[test]
    fn what_is_held_comes_late_and_in_order() {
        let lab = Lab::new();
        for (number, (towards, ip)) in [Towards::Client, Towards::Server]
            .into_iter()
            .flat_map(|towards| [SERVER_V4, SERVER_V6, OTHER_V4, OTHER_V6].map(|ip| (towards, ip)))
            .enumerate()
        {
            let port = 40000 + u16::try_from(number).unwrap();
            let _listener = lab.server.listen((ip, 80).into());
            let wire = lab.client.raw_link("eth0");
            let held = lab.hold(towards);
            let options = ConnectOptions { from_port: Some(port), ..Default::default() };
            let connecting = lab.client.start_connect((ip, 80).into(), options).unwrap();
            assert_eq!(wire.conversation(port, Duration::from_millis(50)), ["> S"], "{towards:?} {ip}");
            held.release();
            let _open = connecting.finish(Duration::from_secs(10)).unwrap();
            assert_eq!(wire.conversation(port, Duration::from_millis(50)), ["< S.", "> ."], "{towards:?} {ip}");
        }
    }
}
