//! The namespace lab: a client, a router and a server on one machine, real stacks with a real wire between them.
//!
//! ```text
//!   client                  router                    server
//!   eth0 ────────── client0        server0 ────────── eth0
//!   198.51.100.2/24 .1                  .1  203.0.113.2/24, 203.0.113.3
//!   2001:db8:1::2   ::1                ::1  2001:db8:2::2, 2001:db8:2::3
//! ```
//!
//! Everything that a handshake shows is the same on every machine: addresses, link-layer addresses, socket buffers (and
//! so the window scale), the TCP options and the retry ladder. Neighbours are static, so nobody solicits a listed
//! address. Every lab has its own namespaces, so tests run in parallel; dropping the lab removes them, and a panic
//! prints the commands that build it again. It needs root. It does not shape traffic: `hold` delays it.

mod addresses;
mod cgroup;
mod command_log;
mod extra_host;
pub mod foreign_tcx;
mod handshakes;
mod hold;
mod listener;
mod netns;
mod nft;
mod process;
mod quiet;
mod raw_bpf;
mod raw_link;
mod refusing;
mod resolver;
mod responder;
mod second_way;
mod socket;
mod strangers;
mod tcp_frame;
mod topology;
mod tracer;
mod truth;
mod tun;
mod turn;
mod wait;

#[cfg(test)]
mod smoke;

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

pub use addresses::*;
pub use cgroup::{Cgroup, Limit};
pub use command_log::CommandLog;
pub use extra_host::{EXTRA_MAC, ExtraHost};
pub use hold::{Hold, Towards};
pub use listener::{IdleListener, Listener, OnAccept};
pub use netns::{Ns, remove_stale};
pub use nft::NftTable;
pub use process::{Finished, Process, Streams};
pub use quiet::{Noise, Quiet};
pub use raw_link::{Captured, RawLink};
pub use refusing::Refusing;
pub use resolver::Resolution;
pub use responder::Responder;
pub use second_way::SECOND_MAC;
pub use socket::{ConnectOptions, Connecting, reset};
pub use strangers::Strangers;
pub use tcp_frame::{TcpFrame, TcpOptionElement, flags};
pub use tracer::Tracer;
pub use tun::Tun;
pub use wait::eventually;

/// Three namespaces, up and connected. Dropping it removes them.
#[derive(Debug)]
pub struct Lab {
    pub client: Ns,
    pub router: Ns,
    pub server: Ns,
    log: CommandLog,
}

impl Lab {
    /// Builds a lab. Panics, and removes what there is of it, when this machine cannot.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it changes the machine, which no one expects of a default value")]
    pub fn new() -> Self {
        static STALE: Once = Once::new();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        STALE.call_once(remove_stale);
        let name = netns::lab_name(NUMBER.fetch_add(1, Ordering::Relaxed));
        let log = CommandLog::default();
        let [client, router, server] = ["client", "router", "server"].map(|role| Ns::new(&name, role, &log));
        // From here on a panic drops the lab, which removes what was made so far.
        let lab = Self { client, router, server, log };
        lab.make_links();
        lab.configure();
        lab.wait_until_usable();
        lab
    }

    /// The shell lines that build this lab and do what was done in it.
    pub fn reproduce(&self) -> String {
        self.log.text()
    }

    fn namespaces(&self) -> [&Ns; 3] {
        [&self.client, &self.router, &self.server]
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("reproduce with:\n{}", self.log.text());
        }
        let made = self.namespaces().into_iter().filter(|ns| ns.path().exists());
        let lines: String = made.map(|ns| format!("netns del {}\n", ns.name())).collect();
        if let Err(error) = self.log.ip_batch(None, &lines) {
            eprintln!("cannot remove the lab: {error}");
        }
    }
}
