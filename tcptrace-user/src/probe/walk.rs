//! Step seven: probes that may go one, two, three … hops, to learn which routers pass them and where they end.
//!
//! As traceroute does it, but with the real thing: a SYN to the port in question, one a hop. At most [`AHEAD`] are out
//! beyond the last router that spoke, so that few SYNs reach a host that answers late.
//! <https://www.rfc-editor.org/rfc/rfc1812#section-4.3.2.4>

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use tcptrace_verdict::patterns::checks::PROBE_HOPS;
use tcptrace_vocabulary::{facts::ProbeKind, icmp::Meaning};
use tokio::task::JoinSet;

use super::{
    Shared,
    connect::{self, Attempt},
    diagnosis::{End, Hop, IcmpError, Tried, Walk},
    peer::Peer,
    ping::{Echo, Kind, echo},
};

const FARTHEST: u8 = PROBE_HOPS;
/// Hops that are tried at once.
const AHEAD: usize = 5;
/// Routers that stay silent one after the other: behind this many nobody else will speak.
const SILENT: u8 = 7;
/// Less than a second, after which the kernel would send a second SYN.
const WAIT: Duration = Duration::from_millis(900);

/// The result of one probe.
enum Reply {
    Hop(IpAddr, Duration),
    Answered { reset: bool },
    Rejected(IcmpError),
    Silent,
    Unsent(String),
}

/// Walks towards an address. None of it takes longer than some three seconds.
pub(super) async fn walk(to: Peer, by: ProbeKind, shared: &Shared) -> Walk {
    let began = Instant::now();
    let mut out = JoinSet::new();
    let mut told: BTreeMap<u8, Reply> = BTreeMap::new();
    let mut next = 1;
    loop {
        let spoke = told.iter().rev().find_map(|(ttl, it)| matches!(it, Reply::Hop(..)).then_some(*ttl)).unwrap_or(0);
        let is_over = told.values().any(|it| !matches!(it, Reply::Hop(..) | Reply::Silent));
        while !is_over && out.len() < AHEAD && next <= FARTHEST.min(spoke + SILENT) {
            let ttl = next;
            let shared = shared.clone();
            out.spawn(async move { (ttl, probe(to, by, ttl, &shared).await) });
            next += 1;
            // On a short way the answer is there before the next has to go.
            if let Ok(Some(Ok((ttl, it)))) = tokio::time::timeout(Duration::from_millis(20), out.join_next()).await {
                let is_last = !matches!(it, Reply::Hop(..) | Reply::Silent);
                told.insert(ttl, it);
                if is_last {
                    break;
                }
            }
        }
        match out.join_next().await {
            Some(Ok((ttl, it))) => drop(told.insert(ttl, it)),
            Some(Err(_)) => {}
            None if is_over || next > FARTHEST.min(spoke + SILENT) => break,
            None => {}
        }
    }
    let (hops, end) = account(told);
    Walk { by, took: began.elapsed(), hops, end }
}

/// The hops before the first that is none, and what that is.
fn account(told: BTreeMap<u8, Reply>) -> (Vec<Hop>, End) {
    let mut hops = Vec::new();
    let mut end = End::Dies;
    for (ttl, it) in told {
        match it {
            Reply::Hop(from, took) => hops.push(Hop { ttl, from: Some(from), took: Some(took) }),
            Reply::Silent => hops.push(Hop { ttl, from: None, took: None }),
            Reply::Answered { reset } => end = End::Answered { ttl, reset },
            Reply::Rejected(icmp) => end = End::Rejected { ttl, icmp },
            Reply::Unsent(why) => end = End::Unsent(why),
        }
        if end != End::Dies {
            break;
        }
    }
    // Silence after the last that spoke is where it dies, and no hop.
    if end == End::Dies {
        let spoken = hops.iter().rposition(|hop| hop.from.is_some()).map_or(0, |it| it + 1);
        hops.truncate(spoken);
    }
    (hops, end)
}

async fn probe(to: Peer, by: ProbeKind, ttl: u8, shared: &Shared) -> Reply {
    match by {
        ProbeKind::Syn(port) => {
            let to = to.at(port);
            let attempt = match connect::open(to, Some(ttl), WAIT * 4).and_then(|socket| Attempt::begin(socket, to)) {
                Ok(attempt) => attempt,
                Err(error) => return Reply::Unsent(error.to_string()),
            };
            shared.is_mine(attempt.local());
            let ended = attempt.end(WAIT).await;
            match (ended.icmp, ended.result) {
                (Some(icmp), _) => by_icmp(icmp, ended.took),
                (None, Tried::Open(_)) => Reply::Answered { reset: false },
                (None, Tried::Failed(libc::ECONNREFUSED | libc::ECONNRESET)) => Reply::Answered { reset: true },
                (None, _) => Reply::Silent,
            }
        }
        ProbeKind::Echo => match echo(to, Kind { hops: Some(ttl), size: None }, WAIT).await {
            Ok(Echo::Reply { .. }) => Reply::Answered { reset: false },
            Ok(Echo::Error { took, icmp }) => by_icmp(icmp, took),
            Ok(Echo::Silent) => Reply::Silent,
            Ok(Echo::Refused(errno)) => Reply::Unsent(std::io::Error::from_raw_os_error(errno).to_string()),
            Err(error) => Reply::Unsent(error),
        },
    }
}

fn by_icmp(icmp: IcmpError, took: Duration) -> Reply {
    match icmp.from {
        Some(from) if Meaning::of(icmp.icmp) == Meaning::TimeExceeded => Reply::Hop(from, took),
        _ => Reply::Rejected(icmp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_a_hop_only_before_one_that_speaks() {
        let router: IpAddr = [192, 0, 2, 1].into();
        let hop = || Reply::Hop(router, Duration::ZERO);
        let told = |it: Vec<Reply>| account((1..).zip(it).collect());
        let (hops, end) = told(vec![Reply::Silent, hop(), Reply::Silent, Reply::Silent]);
        assert_eq!(hops.iter().map(|it| it.from).collect::<Vec<_>>(), [None, Some(router)]);
        assert_eq!(end, End::Dies);
        let (hops, end) =
            told(vec![hop(), Reply::Silent, Reply::Answered { reset: true }, Reply::Answered { reset: true }]);
        assert_eq!((hops.len(), end), (2, End::Answered { ttl: 3, reset: true }));
        let (hops, end) = told(vec![Reply::Unsent("no".into()), Reply::Unsent("no".into())]);
        assert_eq!((hops.len(), end), (0, End::Unsent("no".into())));
    }
}
