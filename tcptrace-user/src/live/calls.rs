//! Calls of connect(2) that put no SYN on the wire: which calls these are, and the facts about them for the judge.
//!
//! They are reported only where this host itself proves it. A call whose SYN left by an untraced interface looks the
//! same.

use std::{
    cell::OnceCell,
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Handshake, Nanos, State},
};
use tcptrace_verdict::{case::Case, judge, past::Past};
use tcptrace_vocabulary::{
    attempt::Attempt,
    cause::{Cause, Confidence},
    facts::{Call, Dropped, Fact, Local, Missing, Place, Process, Way},
    outcome::Outcome,
    verdict::{Unsent, Verdict},
    words::{addr, ip},
};

use super::{
    connects::{Connect, Connects, Failed, HandedOver, How},
    drops::{self, Drops},
};
use crate::{
    host::{Host, Route},
    netlink::sockets::Pending,
};

/// The pause between the end of a call and the look at it. Routing and choosing a port take microseconds; the same
/// process may try another address at once.
const SETTLED: u64 = 250_000_000;
/// The longest that a call may be without a SYN: with Fast Open it waits for the first data.
const UNSENT: u64 = 3_000_000_000;
/// The longest that a SYN may take to the wire: longer than ARP and neighbour discovery try (three times a second).
const UNSEEN: u64 = 4_000_000_000;
/// Older calls are not read. An attempt is held for a while before its race is decided, so this has to be longer.
const CALLS_READ: u64 = 30_000_000_000;
/// The time for which a reading of the calls is kept: less than lies between two sweeps.
const KEPT: u64 = 100_000_000;
/// Lost calls that are kept, the newest: as many as have a place.
const LOST: usize = 1 << 14;
/// Calls of one process to one port that are compared.
const RIVALS: usize = 64;
/// Calls that are made within this time, by one process to one port, are one try of several addresses (RFC 8305).
const RIVAL_WINDOW: u64 = 1_000_000_000;

/// Calls explained at a look: each asks the kernel several times, and any process can make them by the thousand.
const EXPLAINED: usize = 16;

/// Places in [`Recent::calls`] by network namespace, process and port, the first call first.
type ByPort = HashMap<(u64, u32, u16), Vec<usize>>;

/// Calls of late.
#[derive(Debug, Default)]
pub struct Recent {
    read: Nanos,
    calls: Vec<Connect>,
    /// So many at the beginning are as they were last read: later calls have taken the places of their records. What
    /// became of them since is not known, but who called, and from where to where if the SYN was made by then.
    lost: usize,
    /// Places in `calls`, made when they are first asked for.
    by_port: OnceCell<ByPort>,
    by_flow: OnceCell<HashMap<(Endpoint, Endpoint), usize>>,
    lost_by_socket: OnceCell<HashMap<u64, usize>>,
}

impl Recent {
    /// Reads them again, unless they were just read.
    pub fn read(&mut self, connects: &Connects, now: Nanos) {
        if now.since(self.read) < KEPT {
            return;
        }
        let since = Nanos(now.0.saturating_sub(CALLS_READ));
        let calls = connects.recent(since);
        self.replace(calls, now, since, |call| connects.has(call.cookie));
    }

    /// Takes a new reading in, and keeps of the one before what is not there any more.
    fn replace(&mut self, calls: Vec<Connect>, now: Nanos, since: Nanos, is_there: impl Fn(&Connect) -> bool) {
        let mut all = std::mem::take(&mut self.calls);
        let mut place = 0;
        all.retain(|it| {
            place += 1;
            it.called >= since && (place <= self.lost || !is_there(it))
        });
        all.drain(..all.len().saturating_sub(LOST));
        let lost = all.len();
        all.extend(calls);
        *self = Self { read: now, calls: all, lost, ..Self::default() };
    }

    /// Those whose records are there.
    fn there(&self) -> &[Connect] {
        &self.calls[self.lost..]
    }

    /// The last call with that flow that was made before its first SYN, as it was last read.
    pub fn by_flow(&self, hs: &Handshake) -> Option<Connect> {
        let by_flow = self.by_flow.get_or_init(|| {
            // What is there comes last: it is known better.
            let calls = self.calls.iter().enumerate();
            calls.filter_map(|(place, it)| it.sent.map(|sent| ((sent.client, sent.server), place))).collect()
        });
        let is_its = |it: &Connect| it.called <= hs.first_syn && it.failed.is_none_or(|end| end.at >= hs.first_syn);
        by_flow.get(&(hs.client(), hs.server())).map(|place| self.calls[*place]).filter(is_its)
    }

    /// The last call of a socket that was made before `since`, if its record is lost.
    pub fn lost_by_socket(&self, cookie: u64, since: Nanos) -> Option<Connect> {
        let lost = self.calls[..self.lost].iter().enumerate();
        let by_socket = self.lost_by_socket.get_or_init(|| lost.map(|(place, it)| (it.cookie, place)).collect());
        by_socket.get(&cookie).map(|place| self.calls[*place]).filter(|it| it.called <= since)
    }

    fn by_port(&self) -> &ByPort {
        self.by_port.get_or_init(|| {
            let mut by_port = ByPort::new();
            for (place, it) in self.calls.iter().enumerate() {
                by_port.entry((it.netns, it.pid, it.asked.port)).or_default().push(place);
            }
            by_port.values_mut().for_each(|places| places.sort_unstable_by_key(|place| self.calls[*place].called));
            by_port
        })
    }

    /// Whether the same process asked another address of the same port at about the same time, and `works` for that
    /// one.
    pub fn is_overtaken(&self, connect: &Connect, works: impl Fn(HandedOver) -> bool) -> bool {
        self.is_overtaken_by(connect, |_| true, works)
    }

    /// The same, by an address of the other family.
    pub fn is_overtaken_by_other_family(&self, connect: &Connect, works: impl Fn(HandedOver) -> bool) -> bool {
        self.is_overtaken_by(connect, |other| other.is_v4() != connect.asked.addr.is_v4(), works)
    }

    fn is_overtaken_by(
        &self,
        connect: &Connect,
        may_be: impl Fn(Addr) -> bool,
        works: impl Fn(HandedOver) -> bool,
    ) -> bool {
        let key = (connect.netns, connect.pid, connect.asked.port);
        let rivals = self.by_port().get(&key).map_or(&[][..], Vec::as_slice);
        let first = rivals.partition_point(|place| connect.called.since(self.calls[*place].called) > RIVAL_WINDOW);
        let rivals = rivals[first..].iter().map(|place| &self.calls[*place]);
        let rivals = rivals.take_while(|it| it.called.since(connect.called) <= RIVAL_WINDOW);
        // A process that connects to more addresses at a time is no browser.
        rivals.take(RIVALS).any(|other| {
            other.asked.addr != connect.asked.addr && may_be(other.asked.addr) && other.sent.is_some_and(&works)
        })
    }
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It may still be under way, or be seen.
    No,
    /// It has failed, as far as is known: what proves why is reported.
    Now,
    /// Nothing more comes of it: what makes a cause possible is reported as well.
    AtLast,
}

impl Due {
    fn of(connect: &Connect, now: Nanos, is_end: bool) -> Self {
        let is_past = |since: Nanos, pause| now.since(since) >= pause;
        let failed = connect.failed.filter(|failed| failed.how != How::Closed);
        let (settled, last) = match (connect.sent, failed) {
            (_, Some(failed)) => (false, is_end || is_past(failed.at, SETTLED)),
            (None, None) => (is_past(connect.called, SETTLED), is_past(connect.called, UNSENT)),
            (Some(sent), None) => (false, is_past(sent.at, UNSEEN)),
        };
        match (settled || is_end, last) {
            (_, true) => Self::AtLast,
            (true, false) => Self::Now,
            (false, false) => Self::No,
        }
    }
}

/// What was already learnt of a call.
#[derive(Debug)]
struct Known {
    called: Nanos,
    /// It was reported, or will not be.
    is_done: bool,
    /// Where routing led at the first look.
    way: Option<Fact<Way>>,
    /// When it was last seen to wait for data with its SYN.
    waited: Nanos,
}

/// Which calls were looked at.
#[derive(Debug, Default)]
pub struct Calls {
    /// By the socket's cookie.
    known: HashMap<u64, Known>,
    /// Calls of which another of the same process took the place: happy eyeballs.
    pub overtaken: u64,
    /// Calls that were too many to be explained.
    pub unexamined: u64,
}

/// Where the calls are of which nothing is noted: in SYN-SENT, or nowhere.
pub struct Whereabouts<'a> {
    connects: &'a Connects,
    /// By cookie. Read before the calls are read once more: each that was in SYN-SENT before is in one of the two.
    pending: Fact<HashMap<u64, Pending>>,
}

impl<'a> Whereabouts<'a> {
    /// The kernel's sockets as they are now.
    pub fn look(connects: &'a Connects, host: &mut Host) -> Self {
        let pending = host.pending();
        Self { connects, pending: pending.map(|all| all.into_iter().map(|it| (it.cookie, it)).collect()) }
    }

    /// A call as it is now; `None` where that is unknown.
    fn complete(&self, call: &Connect, known: &mut Known, now: Nanos) -> Option<Connect> {
        let pending = self.pending.as_ref().ok()?;
        let Some(socket) = pending.get(&call.cookie) else {
            return self.connects.by_socket(call.cookie, now).filter(|it| it.called == call.called);
        };
        if !socket.has_sent {
            known.waited = now;
            return Some(*call);
        }
        let end = |of: SocketAddr| Endpoint { addr: addr(of.ip()), port: of.port() };
        let sent = HandedOver { at: known.waited, client: end(socket.ours), server: end(socket.theirs) };
        Some(Connect { sent: Some(sent), ..*call })
    }
}

impl Calls {
    /// Calls of a network namespace to look at: how far they have come. None that opened, or are done with.
    fn due<'a>(
        &'a self,
        recent: &'a Recent,
        netns: u64,
        (now, ended): (Nanos, Option<Nanos>),
    ) -> impl Iterator<Item = &'a Connect> {
        // Packets of later calls passed no hook.
        let ours = move |it: &&Connect| it.netns == netns && ended.is_none_or(|ended| it.called < ended);
        let is_due = move |it: &&Connect| !it.is_open && Due::of(it, now, ended.is_some()) != Due::No;
        let is_done = |it: &&Connect| self.known.get(&it.cookie).is_some_and(|known| known.is_done_with(it));
        recent.there().iter().filter(ours).filter(is_due).filter(move |it| !is_done(it))
    }

    /// Whether nothing is noted of a call that is to be looked at.
    pub fn are_lost(&self, recent: &Recent, netns: u64, times: (Nanos, Option<Nanos>)) -> bool {
        self.due(recent, netns, times).any(Connect::is_unsettled)
    }

    /// Explains the calls of a network namespace that should have shown by now. `is_seen` says whether a SYN did,
    /// `explain` why not, with what was known of the way; at the end of tracing, `ended` says when that was.
    pub fn look(
        &mut self,
        recent: &Recent,
        netns: u64,
        (now, ended): (Nanos, Option<Nanos>),
        whereabouts: Option<&Whereabouts<'_>>,
        is_seen: impl Fn(Endpoint, Endpoint) -> bool,
        mut explain: impl FnMut(&Connect, &mut Option<Fact<Way>>) -> Option<Unsent>,
    ) -> Vec<Unsent> {
        self.known.retain(|_, it| now.since(it.called) < 2 * CALLS_READ);
        let (mut found, mut explained) = (Vec::new(), 0);
        let due: Vec<_> = self.due(recent, netns, (now, ended)).copied().collect();
        for call in due {
            let known = self.known.entry(call.cookie);
            let known = known.and_modify(|known| known.begin(&call)).or_insert_with(|| Known::of(&call));
            let completed = match whereabouts {
                Some(whereabouts) if call.is_unsettled() => whereabouts.complete(&call, known, now),
                Some(_) | None => Some(call),
            };
            let Some(it) = completed.as_ref() else { continue };
            known.is_done =
                it.is_open || it.sent.is_some_and(|sent| is_seen(sent.client, sent.server)) || it.is_waiting_for_data();
            let due = Due::of(it, now, ended.is_some());
            if known.is_done || due == Due::No {
                continue;
            }
            // The winner's SYN may have left by an interface that is not traced.
            let works = |sent: HandedOver| it.sent.is_none() || is_seen(sent.client, sent.server);
            if it.may_lose_race() && recent.is_overtaken(it, works) {
                (known.is_done, self.overtaken) = (true, self.overtaken + 1);
            } else if explained < EXPLAINED {
                explained += 1;
                let unsent = explain(it, &mut known.way);
                let is_told = |unsent: &Unsent| due == Due::AtLast || unsent.verdict.confidence != Confidence::Possible;
                let unsent = unsent.filter(is_told);
                known.is_done = due == Due::AtLast || unsent.is_some();
                found.extend(unsent);
            } else if due == Due::AtLast {
                (known.is_done, self.unexamined) = (true, self.unexamined + 1);
            }
        }
        found
    }
}

impl Known {
    const fn of(connect: &Connect) -> Self {
        Self { called: connect.called, is_done: false, way: None, waited: connect.called }
    }

    /// Whether that very call needs no look any more.
    const fn is_done_with(&self, connect: &Connect) -> bool {
        self.called.0 == connect.called.0 && self.is_done
    }

    /// The same socket may call again.
    fn begin(&mut self, connect: &Connect) {
        if self.called != connect.called {
            *self = Self::of(connect);
        }
    }
}

/// The causes that keep a SYN on this host.
const IS_OWN: [Cause; 8] = [
    Cause::NoRoute,
    Cause::NoLocalPort,
    Cause::ConnectFailed,
    Cause::GatewayDown,
    Cause::DroppedByLocalFirewall,
    Cause::ConntrackFull,
    Cause::NatExhausted,
    Cause::FirewallReject,
];

/// Why a call put no SYN on the wire; `None` where nothing on this host proves that it did not. `way` keeps where
/// routing led when it was first asked.
pub fn explain(
    connect: &Connect,
    process: Process,
    host: &mut Host,
    drops: Fact<&Drops>,
    past: &Past,
    now: Nanos,
    way: &mut Option<Fact<Way>>,
) -> Option<Unsent> {
    let handshake = handshake(connect);
    let attempt = Attempt::from_handshake(handshake, Outcome::NoReply);
    let mut local = match connect.sent {
        Some(sent) => on_its_way(connect, sent, &handshake, host, drops, now),
        None => Local {
            own: host.own_addresses(),
            ..not_made(connect, way.get_or_insert_with(|| self::way(connect, host)).clone())
        },
    };
    let errno = errno(connect, &local.way);
    if errno.is_some() || connect.failed.is_some() {
        let took = connect.failed.map_or(0, |failed| failed.at.since(connect.called));
        local.call = Ok(Call { errno, took: Duration::from_nanos(took) });
    }
    let verdict = judge(&Case { attempt: &attempt, local: &local, past, checks: 0 });
    let Verdict { cause, confidence, .. } = verdict;
    let is_proven = IS_OWN.contains(&cause) || cause == Cause::HostDown && confidence >= Confidence::Likely;
    let client = connect.sent.map(|sent| sent.client);
    is_proven.then_some(Unsent {
        called: connect.called,
        client,
        server: connect.asked,
        process,
        errno,
        verdict,
        incident: None,
    })
}

/// The errno of a call, by what stands for it; `None` where it had none, or nothing does.
fn errno(connect: &Connect, way: &Fact<Way>) -> Option<i32> {
    match (connect.refused, connect.failed.map(|failed| failed.how), connect.sent) {
        (Some(errno), ..) | (None, Some(How::Error(errno)), _) => Some(errno),
        (None, Some(How::GaveUp { .. }), None) if connect.lacks_port() => Some(libc::EADDRNOTAVAIL),
        // A route for the port that was chosen, or memory: nothing says which.
        (None, Some(How::GaveUp { .. } | How::Closed), _) | (None, None, Some(_)) => None,
        (None, None, None) => match way {
            Ok(Way::Nowhere { errno }) => Some(*errno),
            Ok(Way::Many) => Some(libc::ENETUNREACH),
            Ok(Way::Link { .. }) | Err(_) => None,
        },
    }
}

/// The call as an attempt of which no packet was seen.
fn handshake(connect: &Connect) -> Handshake {
    let client = connect.sent.map_or(connect.bound, |sent| sent.client);
    let server = connect.sent.map_or(connect.asked, |sent| sent.server);
    Handshake {
        client_addr: client.addr,
        client_port: client.port,
        server_addr: server.addr,
        server_port: server.port,
        first_syn: connect.called,
        last_syn: connect.called,
        state: State::SynSent as u8,
        ..Handshake::default()
    }
}

/// The facts of this host about a SYN that TCP made, and that no traced interface saw.
fn on_its_way(
    connect: &Connect,
    sent: HandedOver,
    handshake: &Handshake,
    host: &mut Host,
    drops: Fact<&Drops>,
    now: Nanos,
) -> Local {
    let drops =
        drops.and_then(|drops| drops.of_flow((sent.client, sent.server), None, connect.called, Some(connect.netns)));
    // Its own namespace was looked into, and no other; and since the call these ports are its own.
    let within = host.netns(connect.netns, now);
    let at_home = |drop| Dropped { place: Place::Client, fits: Some(true), within: within.clone(), ..drop };
    let mut local = Local {
        drops: drops.map(|drops| drops.into_iter().map(at_home).collect()),
        client_here: Ok(true),
        made: Ok(true),
        ..host.fill(handshake, now)
    };
    drops::look_where(host, &mut local, handshake, now);
    local
}

/// The facts of this host about a call of which no SYN was handed over.
fn not_made(connect: &Connect, way: Fact<Way>) -> Local {
    // Errors come for a SYN: there was one, and the hook that notes it could not.
    if connect.refused.is_none() && matches!(connect.failed, Some(Failed { how: How::Error(_), .. })) {
        return Local { client_here: Ok(true), ..Local::unknown(Missing::Gone) };
    }
    // A call that another program refused, or that routing let pass, did not fail for its route.
    let way = if connect.refused.is_some() || connect.failed.is_some() { Err(Missing::NotAsked) } else { way };
    Local { client_here: Ok(true), made: Ok(false), left: Ok(0), way, ..Local::unknown(Missing::NotAsked) }
}

/// Where routing led for a call, if it is known to have been so then.
fn way(connect: &Connect, host: &mut Host) -> Fact<Way> {
    let given = |addr: Addr| Some(ip(addr)).filter(|addr| !addr.is_unspecified());
    // TCP takes the unspecified address for the loopback.
    let to = given(connect.asked.addr).unwrap_or_else(|| match ip(connect.asked.addr) {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    });
    if to.is_multicast() {
        return Ok(Way::Many);
    }
    match host.route_at(connect.called, to, given(connect.bound.addr))? {
        Route::Nowhere { errno } => Ok(Way::Nowhere { errno }),
        Route::Many => Ok(Way::Many),
        // The state of the interface was not read.
        Route::Local | Route::Through { .. } => Err(Missing::NotAsked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcptrace_core::connect;

    const SERVER: Endpoint = Endpoint { addr: Addr::v4(0x0a00_0001), port: 443 };

    fn call(cookie: u64, called: u64, client_port: Option<u16>) -> Connect {
        let client = |port| Endpoint { addr: Addr::v4(0x0a00_0002), port };
        let sent = client_port.map(|port| HandedOver { at: Nanos(called + 1), client: client(port), server: SERVER });
        let blank = Connect::of(&connect::Connect::default(), &connect::Fate::default());
        Connect { cookie, called: Nanos(called), asked: SERVER, sent, ..blank }
    }

    fn attempt(client_port: u16, first_syn: u64) -> Handshake {
        Handshake {
            client_addr: Addr::v4(0x0a00_0002),
            client_port,
            server_addr: SERVER.addr,
            server_port: SERVER.port,
            first_syn: Nanos(first_syn),
            ..Handshake::default()
        }
    }

    #[test]
    fn a_call_that_lost_its_place_is_known_as_it_was() {
        let mut recent = Recent::default();
        recent.replace(vec![call(1, 100, Some(40_000)), call(2, 100, None)], Nanos(200), Nanos(0), |_| true);
        let by_flow = |recent: &Recent, port, at| recent.by_flow(&attempt(port, at)).map(|it| it.cookie);
        assert_eq!(by_flow(&recent, 40_000, 150), Some(1), "it has its place");
        let newer = vec![call(3, 300, Some(40_001))];
        recent.replace(newer.clone(), Nanos(400), Nanos(0), |it| it.cookie == 3);
        assert_eq!(by_flow(&recent, 40_000, 150), Some(1));
        assert_eq!(by_flow(&recent, 40_000, 99), None, "its call came after that SYN");
        assert_eq!(by_flow(&recent, 40_001, 350), Some(3));
        let by_socket = |cookie, at| recent.lost_by_socket(cookie, Nanos(at)).map(|it| it.cookie);
        assert_eq!([by_socket(2, 150), by_socket(2, 99), by_socket(3, 350)], [Some(2), None, None]);
        recent.replace(newer, Nanos(500), Nanos(101), |it| it.cookie == 3);
        assert_eq!(by_flow(&recent, 40_000, 150), None, "too old");
    }

    /// Sixty calls at a time are few enough, however many there were before.
    #[test]
    fn a_race_is_among_the_calls_of_its_time() {
        let mut recent = Recent::default();
        let at = |second: u64| second * 1_000_000_000;
        let elsewhere = |it: Connect| Connect { asked: Endpoint { addr: Addr::v4(0x0a00_0009), ..SERVER }, ..it };
        let mut calls: Vec<_> = (0..600).map(|it| elsewhere(call(it, at(it / 60), Some(1000 + it as u16)))).collect();
        let loser = call(1000, at(20), Some(40_000));
        calls.push(loser);
        recent.replace(calls.clone(), Nanos(at(30)), Nanos(0), |_| true);
        assert!(!recent.is_overtaken(&loser, |_| true), "the others were long before");
        let winner = elsewhere(call(1001, at(20) + RIVAL_WINDOW, Some(40_001)));
        recent.replace([calls.clone(), vec![winner]].concat(), Nanos(at(30)), Nanos(0), |_| true);
        assert!(recent.is_overtaken(&loser, |it| it.client.port == 40_001));
        assert!(!recent.is_overtaken(&loser, |it| it.client.port != 40_001), "it did not work there");
        let late = Connect { called: Nanos(winner.called.0 + 1), ..winner };
        recent.replace([calls, vec![late]].concat(), Nanos(at(30)), Nanos(0), |_| true);
        assert!(!recent.is_overtaken(&loser, |_| true));
    }

    #[test]
    fn the_lost_are_bounded() {
        let mut recent = Recent::default();
        for round in 0..4 {
            let calls = (0..LOST as u64).map(|at| call(round * LOST as u64 + at, 100 + round, None));
            recent.replace(calls.collect(), Nanos(100 + round), Nanos(0), |_| false);
        }
        assert_eq!((recent.lost, recent.there().len()), (LOST, LOST));
        assert_eq!(recent.calls[0].cookie, 2 * LOST as u64, "the newest are kept");
    }
}
