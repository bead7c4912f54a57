//! Which step waits for which: names first, then every address by itself, all at once.
//!
//! A port that answers quickly ends the waiting for the ports that are only there to compare with. A port that stays
//! silent for a second is walked to while it is still being waited for.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use tcptrace_vocabulary::facts::{Missing, ProbeKind};

use super::{
    Shared, connect,
    diagnosis::{Connect, Probed, Tried, Way, Zone},
    names::{self, Files},
    path_mtu,
    peer::{Peer, on_the_wire},
    ping, route, walk,
    wire::Tap,
    zone::is_zoned,
};
use crate::{clock::monotonic, host::Host};

/// Ports that are tried to compare with. The last is nobody's: above what Linux takes for clients, and not assigned.
const COMPARED: [u16; 4] = [22, 80, 443, 65_432];
/// The time that those are waited for when every port asked for has been answered.
const PATIENCE: Duration = Duration::from_millis(1200);
/// Connects that are only there to compare with begin a little later: they are not sent where all is well, and do not
/// use up the ICMP errors that a router sends in a second (RFC 1812, section 4.3.2.8).
const LATER: Duration = Duration::from_millis(50);
/// Connects at once: no more descriptors than any user may have.
const CONNECTS: usize = 128;

/// When each port's connect began.
type Begun = Arc<Mutex<HashMap<u16, Instant>>>;

/// The place of the packet socket, for the writer of what it saw.
pub(super) type TapSlot = Arc<Mutex<Option<Arc<Tap>>>>;

/// Runs all steps. Each finding is in the diagnosis as soon as it is found.
pub(super) async fn all(shared: &Shared, files: Files, zone: Option<Zone>, tap: &TapSlot) {
    let host = shared.change(|it| it.host.clone());
    let (found, mut addresses) = watch::channel(None);
    let names = names::resolve(shared, &host, &files, &found);
    let rest = async {
        let Ok(addresses) = addresses.wait_for(Option::is_some).await.map(|it| it.clone().unwrap_or_default()) else {
            return;
        };
        probe(shared, addresses, zone, tap).await;
    };
    tokio::join!(names, rest);
}

async fn probe(shared: &Shared, addresses: Vec<IpAddr>, zone: Option<Zone>, slot: &TapSlot) {
    let zone_of = |it: IpAddr| zone.as_ref().filter(|_| is_zoned(it));
    let probed = |it: &IpAddr| Probed { zone: zone_of(*it).cloned(), ..Probed::new(*it) };
    let mut probed: Vec<_> = addresses.iter().map(probed).collect();
    for at in &mut probed {
        at.way = Some(route::look_up(Peer::new(at.address, at.zone.as_ref())));
    }
    shared.change(|it| it.addresses = probed);
    let tap = match Tap::open(&addresses) {
        Ok(tap) => Some(Arc::new(tap)),
        Err(error) => {
            let why = format!("whether SYNs leave this host ({error}); grant CAP_NET_RAW");
            shared.change(|it| it.left_out.push(why));
            None
        }
    };
    slot.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&tap);

    let connects = Arc::new(Semaphore::new(CONNECTS));
    // One walk at a time in each family.
    let walks = [(); 2].map(|()| Arc::new(Mutex::new(false)));
    let mut all = JoinSet::new();
    for (place, address) in addresses.into_iter().enumerate() {
        let one = One {
            shared: shared.clone(),
            tap: tap.clone(),
            place,
            peer: Peer::new(address, zone_of(address)),
            connects: Arc::clone(&connects),
            is_walked: Arc::clone(&walks[usize::from(address.is_ipv6())]),
        };
        all.spawn(one.run());
    }
    all.join_all().await;
}

/// One address, and what all addresses share.
#[derive(Clone)]
struct One {
    shared: Shared,
    tap: Option<Arc<Tap>>,
    place: usize,
    peer: Peer,
    connects: Arc<Semaphore>,
    /// Another address of the family has been walked to, or is.
    is_walked: Arc<Mutex<bool>>,
}

impl One {
    fn change<T>(&self, change: impl FnOnce(&mut Probed) -> T) -> T {
        self.shared.change(|it| change(&mut it.addresses[self.place]))
    }

    async fn run(self) {
        let (is_local, has_way) = self.change(|it| match it.way.as_ref().map(|it| &it.found) {
            Some(Ok(Way::Route(route))) => (route.is_local, true),
            Some(Ok(Way::None { .. })) => (false, false),
            Some(Err(_)) | None => (false, true),
        });
        let (settled, is_settled) = watch::channel(false);
        let pings = async {
            if has_way {
                let _running = self.shared.begin("ping");
                let step = ping::ping(self.peer).await;
                self.change(|it| it.ping = Some(step));
            }
        };
        let mtus = async {
            if has_way && !is_local {
                sleep(LATER * 3).await;
                let _running = self.shared.begin("path MTU");
                let step = path_mtu::measure(self.peer).await;
                self.change(|it| it.mtu = Some(step));
            }
        };
        let connects = async {
            self.connect_all(has_way).await;
            let _ = settled.send(true);
        };
        let walks = async {
            if has_way && !is_local {
                self.walk_all(is_settled).await;
            }
        };
        tokio::join!(pings, mtus, connects, walks);
        if is_local {
            self.look_at_listeners();
        } else {
            self.look_at_link();
        }
    }

    /// This host's own listeners on the ports that did not open.
    fn look_at_listeners(&self) {
        let mut host = Host::own();
        self.change(|at| {
            for connect in at.connects.iter_mut().filter(|it| !it.is_open()) {
                connect.listener = host.own_listener(self.peer.at(connect.port), monotonic());
            }
        });
    }

    /// The neighbour on the way and its state, and the state of the link itself, as they are by now.
    fn look_at_link(&self) {
        let route = self.change(|at| at.route().cloned());
        let Some(route) = route else { return };
        match route::neighbour(self.peer.ip, &route) {
            Ok(mut neighbour) => {
                if let Some(it) = &mut neighbour {
                    it.may_be_unheard = Host::own().may_drop_neighbours(it.address, monotonic());
                }
                self.change(|it| it.neighbour = neighbour);
            }
            Err(error) => self.leave_out(&format!("the neighbour on the way to {} ({error})", self.peer.ip)),
        }
        match route::link_now(&route) {
            Ok(now) => self.change(|it| {
                if let Some(Ok(Way::Route(route))) = it.way.as_mut().map(|it| &mut it.found) {
                    (route.up, route.carrier) = now;
                }
            }),
            Err(error) => self.leave_out(&format!("the state of {} after the connects ({error})", route.interface)),
        }
    }

    fn leave_out(&self, what: &str) {
        self.shared.change(|it| it.left_out.push(what.to_owned()));
    }

    async fn connect_all(&self, has_way: bool) {
        let asked = self.shared.change(|it| it.ports.clone());
        let others = COMPARED.into_iter().filter(|it| has_way && !asked.contains(it));
        let patience = Instant::now() + PATIENCE;
        let mut under_way = JoinSet::new();
        let mut left: Vec<(u16, bool)> = Vec::new();
        let begun = Begun::default();
        for (port, is_asked) in asked.iter().map(|it| (*it, true)).chain(others.map(|it| (it, false))) {
            left.push((port, is_asked));
            under_way.spawn(self.clone().try_port(port, is_asked, Arc::clone(&begun)));
        }
        loop {
            let waits = left.iter().any(|(_, is_asked)| *is_asked);
            let is_well = self.change(|it| it.connects.iter().all(|it| !it.is_asked || it.is_open()));
            if !waits && is_well {
                break;
            }
            let next = tokio::select! {
                next = under_way.join_next() => next,
                () = sleep_until(patience), if !waits => break,
            };
            match next {
                Some(Ok((port, connect))) => {
                    left.retain(|(other, _)| *other != port);
                    match connect {
                        Ok(connect) => self.add(connect),
                        Err(error) => self.leave_out(&format!("port {port} of {} ({error})", self.peer.ip)),
                    }
                }
                Some(Err(_)) => {}
                None => return,
            }
        }
        // A port that has waited long enough is silent; one that was only just begun is nothing.
        let begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
        let has_waited = |port| begun.get(&port).is_some_and(|began| began.elapsed() + LATER >= PATIENCE);
        for (port, is_asked) in left.into_iter().filter(|(port, _)| has_waited(*port)) {
            self.add(Connect {
                port,
                is_asked,
                took: PATIENCE,
                result: Tried::Silent,
                icmp: None,
                retries: 1,
                from: None,
                wire: None,
                listener: Err(Missing::NotAsked),
            });
        }
    }

    /// One connect, once it has a permit; `begun` gets the moment.
    async fn try_port(self, port: u16, is_asked: bool, begun: Begun) -> (u16, io::Result<Connect>) {
        if !is_asked {
            sleep(LATER).await;
        }
        let _permit = self.connects.acquire().await;
        let _running = self.shared.begin(&if is_asked { format!("tcp {port}") } else { "others".to_owned() });
        let to = self.peer.at(port);
        begun.lock().unwrap_or_else(PoisonError::into_inner).insert(port, Instant::now());
        let connect = connect::connect(to, is_asked, |from| self.shared.is_mine(from)).await;
        let connect = connect.map(|connect| {
            let seen = self.tap.as_ref().zip(connect.from);
            Connect { wire: seen.and_then(|(tap, from)| tap.of(from, on_the_wire(to))), ..connect }
        });
        (port, connect)
    }

    fn add(&self, connect: Connect) {
        self.change(|it| {
            it.connects.push(connect);
            it.connects.sort_by_key(|it| (!it.is_asked, it.port));
        });
    }

    /// Walks to the first port that does not open, and to something that does.
    async fn walk_all(&self, mut is_settled: watch::Receiver<bool>) {
        let _ = timeout(PATIENCE, is_settled.wait_for(|it| *it)).await;
        let Some(port) = self.worth_walking() else { return };
        if std::mem::replace(&mut *self.is_walked.lock().unwrap_or_else(PoisonError::into_inner), true) {
            return;
        }
        self.walk(ProbeKind::Syn(port)).await;
        if let Some(by) = self.change(|it| comparison(it, port)) {
            self.walk(by).await;
        }
    }

    async fn walk(&self, by: ProbeKind) {
        let _running = self.shared.begin("hops");
        let walk = walk::walk(self.peer, by, &self.shared).await;
        self.change(|it| it.walks.push(walk));
    }

    /// The first port asked for that has not opened; none if the answer came from this link.
    fn worth_walking(&self) -> Option<u16> {
        self.shared.change(|it| {
            let at = &it.addresses[self.place];
            if it.ports_assumed && it.ports.iter().any(|port| at.is_open(*port)) {
                return None;
            }
            let on_link = at.route().is_some_and(|route| route.gateway.is_none());
            it.ports.iter().copied().find(|port| !at.is_open(*port)).filter(|_| !on_link)
        })
    }
}

/// The probe to hold a walk against: a port that opens, one that answers with a RST, or echo requests if they are
/// answered.
fn comparison(at: &Probed, port: u16) -> Option<ProbeKind> {
    let connect = at.connects.iter().find(|it| it.port == port);
    if connect.is_some_and(|it| it.icmp.is_some()) {
        return None;
    }
    let others = || at.connects.iter().filter(|it| it.port != port);
    let open = others().find(|it| it.is_open());
    // A RST says nothing of another RST.
    let is_reset = connect.is_some_and(Connect::is_reset);
    let answered = open.or_else(|| others().find(|it| it.is_answered() && !is_reset));
    let is_pinged = || at.ping.as_ref().and_then(|it| it.found.as_ref().ok()).is_some_and(|it| !it.replies.is_empty());
    answered.map(|it| ProbeKind::Syn(it.port)).or_else(|| is_pinged().then_some(ProbeKind::Echo))
}
