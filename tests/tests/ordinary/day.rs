//! A day of traffic: which scenarios, how often, when and between whom. The same in each run, by its seed.
//!
//! Round trips vary, timers do not: what takes less than a fifth of a second in a scenario is stretched or shortened for
//! each conversation, since no stack has a timer that short and every way has a length of its own.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use serde_json::Value;
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    pcap::Pcap,
    scenario::{self, Family, Scenario, Setting},
};
use tcptrace_vocabulary::outcome::Outcome;

const HOURS_24: Duration = Duration::from_secs(86_400);
/// A second within the day and none of its edges.
const SECOND: Duration = Duration::from_secs(1);
/// Delays from here on are timers'.
const TIMERS: Duration = Duration::from_millis(200);

/// Every how long a load balancer looks at the service, and from where.
const CHECKED_EVERY: Duration = Duration::from_secs(5);
const CHECKERS: [(u8, &str); 2] =
    [(10, "ordinary_health_check_rst_for_ack"), (11, "ordinary_health_check_rst_after_ack")];
/// The service that they look at.
const SERVICE: (u8, u16) = (20, 8080);
/// When it is started again, in seconds, and for how long its port is closed then.
const RESTARTS: [u64; 5] = [3_601, 18_123, 40_007, 61_244, 80_003];
const CLOSED_FOR: Duration = Duration::from_secs(3);
/// Clients that run into it, and those that were connected before.
const REFUSED: usize = 12;
const RESET: usize = 20;

/// What happens at any time, and how often.
const MIXED: [(&str, usize); 23] = [
    ("ordinary_web_keep_alive", 4_000),
    ("ordinary_web_short", 8_000),
    ("ordinary_web_slow_answer", 500),
    ("ordinary_syn_lost", 150),
    ("ordinary_syn_ack_lost", 100),
    ("ordinary_syn_ack_lost_timers_cross", 20),
    ("ordinary_final_ack_lost_data_follows", 100),
    ("ordinary_final_ack_lost_server_speaks", 30),
    ("ordinary_port_reused", 300),
    ("ordinary_port_reused_challenged", 3),
    ("ordinary_port_reused_challenged_waits", 2),
    ("ordinary_long_way", 10),
    ("ordinary_fast_open_request", 200),
    ("ordinary_fast_open_cookie", 400),
    ("ordinary_fast_open_cookie_not_taken", 50),
    ("ordinary_slow_server", 20),
    ("ordinary_slow_server_linear", 20),
    ("ordinary_client_resets_at_close", 1_500),
    ("ordinary_spare_connection", 800),
    ("ordinary_idle_with_keep_alives", 60),
    ("ordinary_last_ack_lost", 100),
    ("ordinary_simultaneous_close", 100),
    ("ordinary_client_leaves_early", 200),
];

/// Losers of happy eyeballs, each with a winner that starts 250 ms later (RFC 8305, section 5).
const EYEBALLS: [(&str, usize); 4] = [
    ("ordinary_eyeballs_loser_silent", 300),
    ("ordinary_eyeballs_loser_late", 100),
    ("ordinary_eyeballs_loser_unreachable", 50),
    ("ordinary_eyeballs_loser_connected", 100),
];
const HEAD_START: Duration = Duration::from_millis(250);
/// Networks of their own have those that never answer: another conversation would show that they do.
const LOST: [(&str, u16); 2] = [("ordinary_eyeballs_loser_silent", 3), ("ordinary_eyeballs_loser_unreachable", 4)];

/// The network in which all that is asked is overtaken, day and night, and one of which an error says each time that there is
/// no way: at times three of these come within ten minutes.
pub(crate) const SILENT_NETWORK: &str = "2001:db8:3::/64";
pub(crate) const NO_WAY_NETWORK: &str = "2001:db8:4::/64";

/// Conversations that the capture's first packet finds open.
const OLDER: usize = 40;
/// Those that its end cuts off, after so many packets: the scenario's first ones, but no case of their own.
const CUT_OFF: usize = 3;
pub(crate) const CUT_OFF_CASES: [(&str, Outcome); 2] =
    [("cut off after the SYN", Outcome::NoReply), ("cut off after the SYN/ACK", Outcome::HalfOpen)];

pub(crate) struct Day {
    pub(crate) capture: Pcap,
    /// By the client's address and port, of which each is used once.
    cases: HashMap<(String, u64), &'static str>,
    outcomes: BTreeMap<&'static str, u64>,
}

impl Day {
    pub(crate) fn new(seed: u64) -> Self {
        let mut making = Making::new(seed);
        making.health_checks();
        making.restarts();
        making.eyeballs();
        for (case, count) in MIXED {
            for _ in 0..count {
                let at = making.some_time(case);
                let client = making.some_client();
                making.converse(case, at, client, WEB);
            }
        }
        for _ in 0..OLDER {
            let (at, client) = (making.random.up_to(SECOND), making.some_client());
            making.converse("ordinary_older_connection", at, client, WEB);
        }
        for packets in 1..=CUT_OFF_CASES.len() {
            for _ in 0..CUT_OFF {
                let client = making.some_client();
                making.cut_off(packets, client);
            }
        }
        making.done()
    }

    /// The scenario behind a line, by its client.
    pub(crate) fn case_of(&self, ip: &Value, port: &Value) -> &'static str {
        let key = (ip.as_str().unwrap_or_default().to_owned(), port.as_u64().unwrap_or(0));
        self.cases.get(&key).unwrap_or_else(|| panic!("nobody sent from {ip} port {port}"))
    }

    /// How many another address overtook.
    pub(crate) fn overtaken(&self) -> usize {
        EYEBALLS.iter().filter(|it| it.0 != "ordinary_eyeballs_loser_connected").map(|it| it.1).sum()
    }

    /// How many conversations are of one.
    pub(crate) fn count(&self, case: &str) -> usize {
        self.cases.values().filter(|it| **it == case).count()
    }

    pub(crate) fn conversations(&self) -> usize {
        self.cases.len()
    }

    /// How many attempts end how.
    pub(crate) const fn outcomes(&self) -> &BTreeMap<&'static str, u64> {
        &self.outcomes
    }
}

/// The last part of a server's address, and its port.
type Server = (u8, u16);
const WEB: Server = (80, 443);

struct Making {
    random: Random,
    scenarios: HashMap<String, Scenario>,
    /// By time, then in the order in which they were made.
    frames: Vec<(Duration, Vec<u8>)>,
    ports: HashMap<u8, u16>,
    cases: HashMap<(String, u64), &'static str>,
    outcomes: BTreeMap<&'static str, u64>,
}

impl Making {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            scenarios: scenario::all().into_iter().map(|it| (it.name.clone(), it)).collect(),
            frames: Vec::new(),
            ports: HashMap::new(),
            cases: HashMap::new(),
            outcomes: BTreeMap::new(),
        }
    }

    fn health_checks(&mut self) {
        for (host, case) in CHECKERS {
            let mut at = self.random.up_to(CHECKED_EVERY);
            while at + SECOND < HOURS_24 {
                let closed = RESTARTS.iter().any(|it| {
                    let since = Duration::from_secs(*it);
                    (since..since + CLOSED_FOR).contains(&at)
                });
                self.converse(if closed { "ordinary_restart_refused" } else { case }, at, host, SERVICE);
                at += CHECKED_EVERY;
            }
        }
    }

    fn restarts(&mut self) {
        for start in RESTARTS.map(Duration::from_secs) {
            let before = self.length("ordinary_restart_reset");
            for _ in 0..RESET {
                let client = self.some_client();
                self.converse("ordinary_restart_reset", start - before, client, SERVICE);
            }
            for _ in 0..REFUSED {
                let (at, client) = (start + self.random.up_to(CLOSED_FOR), self.some_client());
                self.converse("ordinary_restart_refused", at, client, SERVICE);
                let again = start + CLOSED_FOR + self.random.up_to(SECOND * 5);
                self.converse("ordinary_web_short", again, client, SERVICE);
            }
        }
    }

    fn eyeballs(&mut self) {
        for (loser, count) in EYEBALLS {
            for _ in 0..count {
                let (at, client) = (self.some_time("ordinary_web_keep_alive"), self.some_client());
                self.converse(loser, at, client, WEB);
                self.converse("ordinary_web_keep_alive", at + HEAD_START, client, WEB);
            }
        }
    }

    /// A whole conversation, from a port of its own.
    fn converse(&mut self, case: &'static str, at: Duration, client_host: u8, server: Server) {
        let setting = self.setting(case, client_host, server);
        self.note(case, &setting);
        let scenario = &self.scenarios[case];
        let opened = scenario.steps.iter().filter(|it| it.effects.iter().any(scenario::Effect::is_opening)).count();
        let outcome = match scenario.expected.outcome {
            Some(it) => it,
            None => Outcome::Midstream,
        };
        *self.outcomes.entry(outcome.name()).or_default() += opened.max(1) as u64;
        let stretch = 500 + self.random.next() % 1000;
        let mut now = at;
        for step in &scenario.steps {
            now += if step.after < TIMERS { step.after * stretch / 1000 } else { step.after };
            self.frames.push((now, step.frame(&setting, Link::Ethernet)));
        }
        assert!(now < HOURS_24, "{case} goes on after the day");
    }

    /// Connections that are cut off, so that nobody can know how they continue.
    fn cut_off(&mut self, packets: usize, client_host: u8) {
        let setting = self.setting("ordinary_web_short", client_host, WEB);
        let (case, outcome) = CUT_OFF_CASES[packets - 1];
        self.note(case, &setting);
        *self.outcomes.entry(outcome.name()).or_default() += 1;
        let steps = &self.scenarios["ordinary_web_short"].steps[..packets];
        let mut at = HOURS_24 - SECOND / 10 + self.random.up_to(SECOND / 20);
        for step in steps {
            at += step.after;
            self.frames.push((at, step.frame(&setting, Link::Ethernet)));
        }
    }

    fn setting(&mut self, case: &str, client_host: u8, (server_host, server_port): Server) -> Setting {
        let port = self.ports.entry(client_host).or_insert(1024);
        *port = port.checked_add(1).expect("a client has ports enough for a day");
        let (client_port, family) = (*port, self.scenarios[case].families[0]);
        let (isn, server_isn) = (self.random.next(), self.random.next());
        let server_net = LOST.iter().find(|(it, _)| *it == case).map_or(2, |it| it.1);
        Setting { family, isn, server_isn, client_port, server_port, client_host, server_host, server_net }
    }

    fn note(&mut self, case: &'static str, setting: &Setting) {
        let host = setting.client_host;
        let ip = match setting.family {
            Family::V4 => Ipv4Addr::new(198, 51, 100, host).to_string(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host.into()).to_string(),
        };
        let before = self.cases.insert((ip, setting.client_port.into()), case);
        assert_eq!(before, None, "each conversation has a port of its own");
    }

    /// When a conversation can begin that is to end within the day.
    fn some_time(&mut self, case: &str) -> Duration {
        let length = self.length(case);
        SECOND + self.random.up_to(HOURS_24 - length * 2 - SECOND * 3)
    }

    fn length(&self, case: &str) -> Duration {
        self.scenarios[case].steps.iter().map(|it| it.after).sum()
    }

    fn some_client(&mut self) -> u8 {
        30 + (self.random.next() % 200) as u8
    }

    fn done(mut self) -> Day {
        self.frames.sort_by_key(|it| it.0);
        let mut capture = Pcap::new(Link::Ethernet);
        let mut now = Duration::ZERO;
        for (at, frame) in &self.frames {
            capture.frame(*at - now, frame);
            now = *at;
        }
        Day { capture, cases: self.cases, outcomes: self.outcomes }
    }
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// To the microsecond.
    fn up_to(&mut self, end: Duration) -> Duration {
        let number = u64::from(self.next()) << 32 | u64::from(self.next());
        Duration::from_micros(number % end.as_micros() as u64)
    }
}
