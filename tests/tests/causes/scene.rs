//! A lab with a tracer in it, and what the makers share.

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tcptrace_tests::{
    contract,
    lab::{
        ABSENT_V4, ABSENT_V6, CLIENT_V4, CLIENT_V6, ConnectOptions, Connecting, Lab, NftTable, Ns, OTHER_V4, OTHER_V6,
        SERVER_V4, SERVER_V6, Tracer, eventually, stranger_v4, stranger_v6,
    },
};

use crate::scenario::{Place, Scenario, Socket};

/// For what comes by itself; the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The client port of the attempt that is judged.
pub(crate) const PORT: u16 = 40000;
/// The client port of one that is there to be compared with.
const BESIDE: u16 = 40100;
/// The server port that fails.
pub(crate) const FAILING: u16 = 6036;
/// The server port that works.
pub(crate) const WORKING: u16 = 80;

/// What a maker works with. Dropping it takes everything back.
pub(crate) struct Scene {
    guards: RefCell<Vec<Box<dyn Any>>>,
    tracer: Tracer,
    v6: bool,
    pub(crate) lab: Lab,
}

impl Scene {
    #[track_caller]
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let lab = Lab::new();
        for ns in [&lab.client, &lab.router, &lab.server] {
            // A client that connects from any port must not take the judged one.
            ns.sysctl("net.ipv4.ip_local_port_range", "50000 59999");
        }
        (scenario.before)(&lab);
        let (ns, interfaces): (_, &[_]) = match scenario.place {
            Place::Client => (&lab.client, &["-i", "eth0"]),
            Place::ClientSecondWay => (&lab.client, &["-i", "eth1"]),
            Place::Router => (&lab.router, &["-i", "client0", "-i", "server0"]),
            Place::Server => (&lab.server, &["-i", "eth0"]),
        };
        let tracer = Tracer::start(ns, ["--json", "--local", "own"].iter().chain(interfaces).chain(scenario.args));
        Self { guards: RefCell::default(), tracer, v6: scenario.v6, lab }
    }

    /// The server's address in the row's IP version.
    pub(crate) fn server(&self) -> IpAddr {
        if self.v6 { SERVER_V6 } else { SERVER_V4 }
    }

    pub(crate) fn other(&self) -> IpAddr {
        if self.v6 { OTHER_V6 } else { OTHER_V4 }
    }

    pub(crate) fn absent(&self) -> IpAddr {
        if self.v6 { ABSENT_V6 } else { ABSENT_V4 }
    }

    pub(crate) fn client(&self) -> IpAddr {
        if self.v6 { CLIENT_V6 } else { CLIENT_V4 }
    }

    pub(crate) fn stranger(&self, number: u16) -> IpAddr {
        if self.v6 { stranger_v6(number) } else { stranger_v4(number) }
    }

    /// nftables' word for the IP version.
    pub(crate) fn family(&self) -> &'static str {
        if self.v6 { "ip6" } else { "ip" }
    }

    /// A port of the server.
    pub(crate) fn to(&self, port: u16) -> SocketAddr {
        (self.server(), port).into()
    }

    /// Keeps something until the tracer has ended.
    pub(crate) fn keep(&self, it: impl Any) {
        self.guards.borrow_mut().push(Box::new(it));
    }

    /// The connect that is judged, to its end by itself.
    pub(crate) fn connect(&self, to: SocketAddr) -> Socket {
        self.keep_socket(self.start(to).finish(PATIENCE))
    }

    /// The same, and nothing waited for but the SYN.
    #[track_caller]
    pub(crate) fn start(&self, to: SocketAddr) -> Connecting {
        let options = ConnectOptions { from_port: Some(PORT), ..Default::default() };
        self.lab.client.start_connect(to, options).expect("a socket is made and bound")
    }

    /// The same, of an application that closes after so long.
    #[track_caller]
    pub(crate) fn connect_for(&self, to: SocketAddr, patience: Duration) -> Socket {
        self.keep_socket(self.start(to).finish(patience))
    }

    pub(crate) fn keep_socket(&self, result: io::Result<TcpStream>) -> Socket {
        let socket = Socket::of(&result);
        self.keep(result);
        socket
    }

    /// Has a server listen, and be seen to answer the client.
    #[track_caller]
    pub(crate) fn answers(&self, ip: IpAddr, port: u16) {
        self.keep(self.lab.server.listen((ip, port).into()));
        let number = u16::try_from(self.guards.borrow().len()).expect("a maker keeps little");
        self.keep(self.lab.client.connect_from(BESIDE + number, (ip, port).into(), PATIENCE).expect("it answers"));
    }

    /// The tracer's first line of this type about the judged attempt, waited for.
    #[track_caller]
    pub(crate) fn wait(&self, kind: &str) -> Value {
        self.tracer.wait_for_line(|line| line["type"] == kind && is_judged(line), PATIENCE)
    }

    /// Ctrl-C: the lines about the judged attempt, in their order.
    #[track_caller]
    pub(crate) fn end(self) -> Vec<Value> {
        let finished = self.tracer.stop();
        assert_eq!(finished.status.code(), Some(0), "Ctrl-C is no error: {}", finished.stderr);
        let lines = finished.json();
        lines.iter().for_each(contract::hold);
        assert_eq!(
            lines.last().map(|it| &it["losses"]),
            Some(&serde_json::json!({})),
            "a verdict rests on all packets"
        );
        lines.into_iter().filter(is_judged).collect()
    }
}

/// Whether a line is about the judged attempt, or about a connect(2) that has no client port yet.
fn is_judged(line: &Value) -> bool {
    match line["type"].as_str() {
        Some("stall" | "attempt") => [&line["client"], &line["server"]].iter().any(|it| it["port"] == PORT),
        Some("connect") => true,
        _ => false,
    }
}

/// Loads one rule, which has to count.
#[track_caller]
pub(crate) fn counting(ns: &Ns, hook: &str, rule: &str) -> NftTable {
    assert!(rule.contains("counter"), "a rule that does not count proves nothing: {rule}");
    ns.filter(hook, rule)
}

/// Waits until a rule has counted so many packets.
#[track_caller]
pub(crate) fn until_counted(rule: &NftTable, packets: u64) {
    eventually(PATIENCE, || {
        let enough = rule.packets() >= packets;
        // Each look is a process, and others need the processor.
        (!enough).then(|| thread::sleep(Duration::from_millis(50)));
        enough.then_some(())
    });
}

/// What makes a rule match so many packets and no more: no test is fast enough to take a rule away in time.
pub(crate) fn the_first(packets: u64) -> String {
    format!("limit rate 1/hour burst {packets} packets")
}
