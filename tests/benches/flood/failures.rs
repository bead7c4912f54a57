//! Connections that fail for real, a hundred a second: sockets of the lab's client, and nftables rules.
//!
//! Whoever waits for an answer is patient: the flood goes through the same queues, and what these drop comes again only
//! as the socket's retry.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tcptrace_tests::lab::{
    ConnectOptions, IdleListener, Lab, NftTable, Ns, OTHER_V4, OTHER_V6, SERVER_MAC, SERVER_V4, SERVER_V6, mac_text,
};

pub(crate) const A_SECOND: u32 = 100;
/// Where the generator's SYNs go.
pub(crate) const FLOODED: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 0));

/// The client's port of the first; the others follow, so that a port tells which it was.
pub(crate) const FIRST_PORT: u16 = 2000;

/// By turns.
const SERVERS: [IpAddr; 4] = [SERVER_V4, SERVER_V6, OTHER_V4, OTHER_V6];

/// How long a client waits: for three SYNs of its own, or three SYN/ACKs.
const PATIENCE: Duration = Duration::from_secs(5);

/// One way to fail.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// What tcptrace is to call it.
    pub(crate) outcome: &'static str,
    port: u16,
    /// In twenty.
    share: usize,
}

pub(crate) const KINDS: [Kind; 6] = [
    Kind { name: "refused", outcome: "refused", port: 6036, share: 8 },
    Kind { name: "no reply", outcome: "no_reply", port: 81, share: 4 },
    Kind { name: "SYN/ACK lost", outcome: "half_open", port: 82, share: 3 },
    Kind { name: "final ACK lost", outcome: "half_open", port: 83, share: 2 },
    Kind { name: "aborted", outcome: "aborted", port: 84, share: 2 },
    Kind { name: "with the flooded", outcome: "half_open", port: 443, share: 1 },
];

const SILENT: &str = "tcp dport 81 drop";
/// The RST goes to the server, as from a client that has changed its mind.
const ON_THE_WAY: &str = "tcp sport { 82, 443 } tcp flags & (syn | ack) == syn | ack drop;
    tcp dport 83 tcp flags & syn == 0 drop;
    tcp sport 84 tcp flags & (syn | ack) == syn | ack reject with tcp reset";

impl Kind {
    pub(crate) fn is_of_the_flooded(&self) -> bool {
        self.port == 443
    }

    fn server(&self, number: usize) -> SocketAddr {
        let ip = if self.is_of_the_flooded() { FLOODED } else { SERVERS[number / 20 % SERVERS.len()] };
        (ip, self.port).into()
    }
}

/// A failure that was made, by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// The index in [`KINDS`].
    pub(crate) kind: usize,
    pub(crate) server: SocketAddr,
}

/// What there is to fail with.
#[derive(Debug)]
pub(crate) struct Services {
    _rules: [NftTable; 2],
    _listeners: Vec<IdleListener>,
}

impl Services {
    /// Nobody has to accept: no handshake completes. The flooded listener has a short queue, so that its host sends SYN
    /// cookies.
    pub(crate) fn open(lab: &Lab) -> Self {
        lab.server.ip(&format!("addr add {FLOODED}/32 dev eth0"));
        lab.router.ip(&format!("neigh add {FLOODED} lladdr {} dev server0 nud permanent", mac_text(SERVER_MAC)));
        lab.server.sysctl("net.ipv4.tcp_synack_retries", "2");
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let listen = |(ip, port, queue)| lab.server.listen_without_accept(SocketAddr::new(ip, port), queue);
        Self {
            _rules: [lab.server.filter("input", SILENT), lab.router.filter("forward", ON_THE_WAY)],
            _listeners: [(any, 82, 4096), (any, 83, 4096), (any, 84, 4096), (FLOODED, 443, 1)].map(listen).into(),
        }
    }
}

/// Lets connections fail for so long, each at its time. In the order of their ports.
pub(crate) fn make(client: &Ns, time: Duration) -> Result<Vec<Failure>> {
    let count = (time.as_secs_f64() * f64::from(A_SECOND)) as u32;
    ensure!(count <= u32::from(u16::MAX - FIRST_PORT), "the client has too few ports for so long");
    let in_turn: Vec<usize> =
        KINDS.iter().enumerate().flat_map(|(index, kind)| std::iter::repeat_n(index, kind.share)).collect();
    let (mut made, mut waiting) = (Vec::new(), VecDeque::new());
    let started = Instant::now();
    for (number, port) in (FIRST_PORT..).enumerate().take(count as usize) {
        let at = started + Duration::from_secs(number as u64) / A_SECOND;
        thread::sleep(at.saturating_duration_since(Instant::now()));
        let kind = in_turn[number % in_turn.len()];
        let server = KINDS[kind].server(number);
        let options = ConnectOptions { from_port: Some(port), ..Default::default() };
        let connecting = client.start_connect(server, options).with_context(|| format!("{port} to {server}"))?;
        made.push(Failure { kind, server });
        waiting.push_back((at, connecting));
        while waiting.front().is_some_and(|(since, _)| since.elapsed() >= PATIENCE) {
            waiting.pop_front();
        }
    }
    // The last ones wait, too.
    thread::sleep(PATIENCE);
    Ok(made)
}
