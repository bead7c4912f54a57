//! Ordinary traffic in the lab, by real sockets: each kind has a server port of its own, so that a line tells which it
//! was. What the network does to it (a lost packet, a slow host, a dead end) is nftables' and the router's neighbours'.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};
use tcptrace_tests::lab::{
    CLIENT_GATEWAY_V4, ConnectOptions, Connecting, Lab, Listener, NftTable, OnAccept, SERVER_GATEWAY_V4, SERVER_MAC,
    SERVER_V4, SERVER_V6, Strangers, flags, mac_text, reset, stranger_v4,
};

/// For what comes by itself; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// RFC 8305, section 5.
const HEAD_START: Duration = Duration::from_millis(250);
/// For how long a service that is started again is not there.
const CLOSED_FOR: Duration = Duration::from_secs(3);

/// The slow addresses of the server. Nothing else connects to them, since the router holds back all packets for one.
const SLOW_V6: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x20)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x21)),
];
const SLOW_V4: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 20)), IpAddr::V4(Ipv4Addr::new(203, 0, 113, 21))];

/// In a network of which nothing ever comes back.
const SILENT_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 4, 0, 0, 0, 0, 2));
pub(crate) const SILENT_NETWORK: &str = "2001:db8:4::/64";
/// The server, to whom data may be sent in the SYN without a cookie.
const NO_COOKIE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 22));

/// What happens, by its server port.
pub(crate) const CASES: [(u16, &str); 22] = [
    (8001, "web_keep_alive"),
    (8002, "health_check_rst_after_ack"),
    (8003, "health_check_rst_for_ack"),
    (8004, "eyeballs_loser_silent"),
    (8005, "eyeballs_loser_late"),
    (8006, "eyeballs_loser_unreachable"),
    (8007, "syn_lost"),
    (8008, "syn_ack_lost"),
    (8009, "final_ack_lost_data_follows"),
    (8010, "restart"),
    (8011, "port_reused"),
    (8012, "fast_open"),
    (8013, "slow_server"),
    (8014, "very_slow_server"),
    (8015, "scanner"),
    (8020, "idle_with_keep_alives"),
    (8021, "client_resets_at_close"),
    (8022, "spare_connection"),
    (8023, "client_leaves_early"),
    (8024, "eyeballs_loser_connected"),
    (8025, "fast_open_cookie"),
    (8026, "short"),
];
/// What the scanner looks at: the first has a service, the others are closed.
const SCANNED: std::ops::Range<u16> = 8015..8020;

/// The kind of an attempt, by its server port.
pub(crate) fn case_of(port: u64) -> &'static str {
    let port = u16::try_from(port).unwrap_or(0);
    let port = if SCANNED.contains(&port) { SCANNED.start } else { port };
    CASES.iter().find(|it| it.0 == port).unwrap_or_else(|| panic!("nobody was asked at port {port}")).1
}

/// The lab, with what loses packets in it.
pub(crate) struct Scenery {
    pub(crate) lab: Lab,
    _rules: [NftTable; 1],
    counts: Mutex<BTreeMap<&'static str, usize>>,
}

/// Loses the first of each conversation that matches: whoever comes again gets through.
fn first_of(set: &str, wanted: &str, port: &str) -> String {
    format!("{wanted} tcp {port} != @{set} add @{set} {{ tcp {port} }} drop;\n")
}

fn set(name: &str) -> String {
    // Ports come again, minutes later, and are to lose their first once more.
    format!("set {name} {{ type inet_service; size 65535; flags dynamic, timeout; timeout 20s; }}\n")
}

impl Scenery {
    pub(crate) fn new() -> Self {
        let lab = Lab::new();
        // Fast Open, at listeners that did not ask for it; without a cookie where both routes say so.
        lab.server.sysctl("net.ipv4.tcp_fastopen", "1026");
        lab.server.ip(&format!("rule add from {NO_COOKIE_V4} table 100"));
        lab.server.ip(&format!("route add default via {SERVER_GATEWAY_V4} table 100 fastopen_no_cookie 1"));
        lab.client.sysctl("net.ipv4.tcp_fastopen", "1");
        lab.client.ip(&format!("route add {NO_COOKIE_V4} via {CLIENT_GATEWAY_V4} fastopen_no_cookie 1"));
        let mac = mac_text(SERVER_MAC);
        for ip in SLOW_V6 {
            lab.server.ip(&format!("addr add {ip}/64 dev eth0 nodad"));
        }
        for ip in SLOW_V4.iter().chain([&NO_COOKIE_V4]) {
            lab.server.ip(&format!("addr add {ip}/24 dev eth0"));
        }
        lab.router.ip(&format!("route add {SILENT_NETWORK} via {SERVER_V6}"));
        for ip in SLOW_V4.iter().chain([&NO_COOKIE_V4]).chain(&SLOW_V6) {
            lab.router.ip(&format!("neigh replace {ip} lladdr {mac} dev server0 nud permanent"));
        }
        let rules = [
            set("syns"),
            set("answers"),
            set("acks"),
            "chain forward { type filter hook forward priority 0;\n".to_owned(),
            format!("ip6 daddr {SILENT_NETWORK} drop;\n"),
            "ip6 nexthdr tcp tcp dport 8006 reject with icmpv6 no-route;\n".to_owned(),
            first_of("syns", "tcp dport 8007 tcp flags & (syn | ack) == syn", "sport"),
            first_of("answers", "tcp sport 8008 tcp flags & (syn | ack) == syn | ack", "dport"),
            first_of("acks", "tcp dport 8009 tcp flags & (syn | ack | psh | fin | rst) == ack", "sport"),
            "}".to_owned(),
        ]
        .concat();
        let rules = [lab.router.nft(&rules)];
        Self { lab, _rules: rules, counts: Mutex::default() }
    }

    /// Everything at once, for so long, with `rate` short connections a second beside it: how often there was what.
    pub(crate) fn play(&self, time: Duration, rate: u32) -> BTreeMap<&'static str, usize> {
        let until = Instant::now() + time;
        let v4 = |port: u16| SocketAddr::from((SERVER_V4, port));
        let any = |port: u16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let listen = |port, then| self.lab.server.listen_and(any(port), then);
        let echoing = [8001, 8003].into_iter().chain(8004..=8009).chain(8012..=8015).chain(8020..=8026);
        let _listeners: Vec<Listener> = echoing
            .map(|port| listen(port, OnAccept::Echo))
            .chain([listen(8002, OnAccept::Echo), listen(8011, OnAccept::Close)])
            .collect();
        let ms = Duration::from_millis;
        thread::scope(|scope| {
            let every = |pause: Duration, act: &'static (dyn Fn(&Self, u16) + Sync)| {
                scope.spawn(move || {
                    for round in 0.. {
                        // Nothing begins that would not end.
                        if Instant::now() + Duration::from_secs(5) >= until {
                            return;
                        }
                        act(self, round);
                        thread::sleep(pause);
                    }
                });
            };
            for to in [v4(8001), (SERVER_V6, 8001).into(), v4(8001)] {
                scope.spawn(move || self.browse(to, until));
            }
            for server in [SERVER_V4, SERVER_V6] {
                scope.spawn(move || self.ask_often((server, 8026).into(), until, Duration::from_secs(2) / rate));
            }
            every(ms(2000), &|it, _| it.look_and_reset());
            every(ms(2000), &|it, round| it.look_without_ack(round));
            every(ms(1500), &|it, _| it.race_silent());
            every(ms(1500), &|it, _| it.race_late());
            every(ms(1500), &|it, _| it.race_unreachable());
            every(ms(1500), &|it, _| it.race_both_connect());
            every(ms(700), &|it, _| it.ask("syn_lost", (SERVER_V4, 8007).into()));
            every(ms(900), &|it, _| it.ask("syn_ack_lost", (SERVER_V4, 8008).into()));
            every(ms(700), &|it, _| it.ask("final_ack_lost_data_follows", (SERVER_V4, 8009).into()));
            every(ms(1000), &|it, round| it.reuse(round));
            every(ms(800), &|it, round| it.fast_open("fast_open", 31_000 + round % 1000, (NO_COOKIE_V4, 8012).into()));
            every(ms(800), &|it, round| {
                it.fast_open("fast_open_cookie", 29_000 + round % 1000, (SERVER_V4, 8025).into());
            });
            every(ms(3000), &|it, _| it.ask_slow("slow_server", SLOW_V4[0], 8013, Duration::from_millis(1500)));
            every(ms(6000), &|it, _| it.ask_slow("very_slow_server", SLOW_V4[1], 8014, Duration::from_millis(2500)));
            every(ms(15_000), &|it, _| it.scan());
            every(ms(500), &|it, _| it.reset_at_close());
            every(ms(1000), &|it, _| it.spare());
            every(ms(500), &|it, _| it.leave_early());
            scope.spawn(move || self.restart(until));
            scope.spawn(move || self.idle(until));
        });
        let metrics = self.lab.client.ip(&format!("tcp_metrics show {SERVER_V4}"));
        assert!(metrics.contains("fo_cookie"), "the client has a cookie: {metrics}");
        std::mem::take(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, case: &'static str) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(case).or_default() += 1;
    }

    fn start(&self, to: SocketAddr) -> Connecting {
        self.lab.client.start_connect(to, ConnectOptions::default()).expect("a socket is made")
    }

    fn connect(&self, case: &'static str, to: SocketAddr) -> TcpStream {
        self.count(case);
        self.start(to).finish(PATIENCE).unwrap_or_else(|error| panic!("{case}: {to}: {error}"))
    }

    fn exchange(stream: &mut TcpStream) {
        stream.write_all(&[b'x'; 200]).expect("the server reads");
        let mut answer = [0; 200];
        stream.read_exact(&mut answer).expect("the server answers");
    }

    fn ask(&self, case: &'static str, to: SocketAddr) {
        Self::exchange(&mut self.connect(case, to));
    }

    /// One short connection each `pause`, whatever the last one took.
    fn ask_often(&self, to: SocketAddr, until: Instant, pause: Duration) {
        let mut next = Instant::now();
        while next + Duration::from_secs(5) < until {
            self.ask("short", to);
            next += pause;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn browse(&self, to: SocketAddr, until: Instant) {
        while Instant::now() + Duration::from_secs(5) < until {
            let mut stream = self.connect("web_keep_alive", to);
            for _ in 0..5 {
                Self::exchange(&mut stream);
                thread::sleep(Duration::from_millis(40));
            }
        }
    }

    fn look_and_reset(&self) {
        reset(self.connect("health_check_rst_after_ack", (SERVER_V4, 8002).into()));
    }

    /// As a load balancer does that has no socket for it. Its port is another each time.
    fn look_without_ack(&self, round: u16) {
        self.count("health_check_rst_for_ack");
        let strangers = self.lab.strangers();
        let syn = Strangers::syn((stranger_v4(7), 20_000 + round).into(), (SERVER_V4, 8003).into());
        strangers.send(&syn);
        let answer = strangers.answer(&syn);
        strangers.send(&answer.answer(flags::RST, syn.next_seq()));
    }

    fn race_silent(&self) {
        let loser = self.start((SILENT_V6, 8004).into());
        thread::sleep(HEAD_START);
        self.ask("eyeballs_loser_silent", (SERVER_V4, 8004).into());
        loser.abandon();
    }

    /// The loser's SYN arrives when nobody waits for it any more.
    fn race_late(&self) {
        let [slow, _] = SLOW_V6;
        self.hold(slow);
        let loser = self.start((slow, 8005).into());
        thread::sleep(HEAD_START);
        self.ask("eyeballs_loser_late", (SERVER_V4, 8005).into());
        loser.abandon();
        thread::sleep(Duration::from_millis(100));
        self.let_go(slow);
    }

    /// IPv6 connects a little after IPv4, and is closed at once.
    fn race_both_connect(&self) {
        let [_, slow] = SLOW_V6;
        self.hold(slow);
        let loser = self.start((slow, 8024).into());
        thread::sleep(HEAD_START);
        let mut winner = self.connect("eyeballs_loser_connected", (SERVER_V4, 8024).into());
        self.let_go(slow);
        drop(loser.finish(PATIENCE).expect("it answers in the end"));
        Self::exchange(&mut winner);
    }

    /// Whoever is told that there is no way does not wait.
    fn race_unreachable(&self) {
        let lost = self.start((SERVER_V6, 8006).into()).finish(PATIENCE);
        assert!(lost.is_err(), "IPv6 has no way there");
        self.ask("eyeballs_loser_unreachable", (SERVER_V4, 8006).into());
    }

    fn reuse(&self, _: u16) {
        self.count("port_reused");
        // The server closes first, and so has the TIME-WAIT (RFC 6191).
        let mut stream =
            self.lab.client.connect_from(30_000, (SERVER_V4, 8011).into(), PATIENCE).expect("it may be used again");
        assert_eq!(stream.read(&mut [0]).expect("the server closes"), 0);
    }

    /// Data in the SYN: at once where the route asks for no cookie, and else from the second time on.
    fn fast_open(&self, case: &'static str, from: u16, to: SocketAddr) {
        self.count(case);
        let data = [b'x'; 200];
        let mut stream = self.lab.client.fast_open(from, to, &data, PATIENCE).expect("the server listens");
        stream.read_exact(&mut [0; 200]).expect("the server answers");
    }

    fn ask_slow(&self, case: &'static str, ip: IpAddr, port: u16, time: Duration) {
        self.count(case);
        self.hold(ip);
        let connecting = self.start((ip, port).into());
        thread::sleep(time);
        self.let_go(ip);
        Self::exchange(&mut connecting.finish(PATIENCE).expect("it answers in the end"));
    }

    /// Five ports, one after the other: somebody's inventory.
    fn scan(&self) {
        for port in SCANNED {
            self.count("scanner");
            let result = self.start((SERVER_V4, port).into()).finish(PATIENCE);
            assert_eq!(result.is_ok(), port == SCANNED.start);
        }
    }

    fn reset_at_close(&self) {
        let mut stream = self.connect("client_resets_at_close", (SERVER_V4, 8021).into());
        Self::exchange(&mut stream);
        reset(stream);
    }

    fn spare(&self) {
        let _stream = self.connect("spare_connection", (SERVER_V6, 8022).into());
        thread::sleep(Duration::from_secs(4));
    }

    /// Closes with the answer unread: a RST.
    fn leave_early(&self) {
        let mut stream = self.connect("client_leaves_early", (SERVER_V4, 8023).into());
        stream.write_all(&[b'x'; 200]).expect("the server reads");
        thread::sleep(Duration::from_millis(5));
    }

    /// A service that goes and comes again; its clients try until it is there.
    fn restart(&self, until: Instant) {
        let to = SocketAddr::from((SERVER_V4, 8010));
        while Instant::now() + Duration::from_secs(10) < until {
            let service = self.lab.server.listen_and(to, OnAccept::Echo);
            let mut before: Vec<_> = (0..4).map(|_| self.connect("restart", to)).collect();
            before.iter_mut().for_each(Self::exchange);
            thread::sleep(Duration::from_secs(3));
            drop(service);
            let closed = Instant::now();
            thread::scope(|scope| {
                let clients: Vec<_> = (0..3u64)
                    .map(|number| {
                        scope.spawn(move || {
                            thread::sleep(Duration::from_millis(200 * number));
                            loop {
                                self.count("restart");
                                if let Ok(mut stream) = self.start(to).finish(PATIENCE) {
                                    return Self::exchange(&mut stream);
                                }
                                thread::sleep(Duration::from_millis(700));
                            }
                        })
                    })
                    .collect();
                thread::sleep(CLOSED_FOR.saturating_sub(closed.elapsed()));
                let _service = self.lab.server.listen_and(to, OnAccept::Echo);
                clients.into_iter().for_each(|it| it.join().expect("it is there again"));
            });
        }
    }

    /// Without a word but keep-alives.
    fn idle(&self, until: Instant) {
        let stream = self.connect("idle_with_keep_alives", (SERVER_V4, 8020).into());
        setsockopt(&stream, sockopt::KeepAlive, &true).expect("it may be kept alive");
        setsockopt(&stream, sockopt::TcpKeepIdle, &5).expect("it may be asked that often");
        setsockopt(&stream, sockopt::TcpKeepInterval, &5).expect("it may be asked that often");
        thread::sleep(until.saturating_duration_since(Instant::now()).saturating_sub(Duration::from_secs(2)));
    }

    /// What is for this address waits at the router: an entry without answer, that nobody asks for.
    fn hold(&self, ip: IpAddr) {
        self.lab.router.ip(&format!("neigh replace {ip} dev server0 nud incomplete"));
    }

    fn let_go(&self, ip: IpAddr) {
        let mac = mac_text(SERVER_MAC);
        self.lab.router.ip(&format!("neigh replace {ip} lladdr {mac} dev server0 nud permanent"));
    }
}
