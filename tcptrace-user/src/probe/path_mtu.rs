//! Step four: the largest packet that passes on the way, by the kernel's account and by echo requests of that size that
//! nobody may fragment.
//!
//! A path that is narrower and says so is no fault: TCP sends smaller segments (RFC 1191, RFC 8201). A path that drops
//! large packets without a word lets connections open and then hang, unless TCP itself probes (RFC 4821).

use std::{
    io,
    net::{IpAddr, UdpSocket},
    time::{Duration, Instant},
};

use nix::sys::socket::{getsockopt, sockopt::IpMtu};

use super::{
    diagnosis::{MtuFound, PathMtu, Step},
    peer::Peer,
    ping::{Echo, Kind, echo},
};
use crate::socket::Ipv6Mtu;

const WAIT: Duration = Duration::from_millis(900);
/// The sizes to try where large packets vanish: Ethernet, PPPoE, common tunnels, WireGuard, the least of IPv6 and of
/// IPv4.
const USUAL: [u32; 7] = [1500, 1492, 1476, 1450, 1420, 1280, 576];
/// Larger ones are no wire's: the loopback device has 65,536.
const MOST: u32 = 16_384;

/// Finds out what passes.
pub(super) async fn measure(to: Peer) -> Step<PathMtu> {
    let began = Instant::now();
    let found = match assumed(to) {
        Ok(assumed) if assumed > MOST => Ok(PathMtu { assumed, found: MtuFound::Untold }),
        Ok(assumed) => probe(to, assumed).await.map(|found| PathMtu { assumed, found }),
        Err(error) => Err(error.to_string()),
    };
    Step { took: began.elapsed(), found }
}

/// The route's MTU, or what the kernel has learnt of the path since. Nothing is sent.
fn assumed(to: Peer) -> io::Result<u32> {
    let any = if to.ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to.at(9))?;
    let mtu = match to.ip {
        IpAddr::V4(_) => getsockopt(&socket, IpMtu)?,
        IpAddr::V6(_) => getsockopt(&socket, Ipv6Mtu)?,
    };
    Ok(mtu.cast_unsigned())
}

async fn probe(to: Peer, mut size: u32) -> Result<MtuFound, String> {
    let (mut said, mut small) = (None, None);
    // Each round a router further on may name a smaller one.
    for _ in 0..4 {
        let large = Kind { size: Some(size), ..Kind::default() };
        let answer = match small {
            None => {
                let (large, plain) = tokio::join!(echo(to, large, WAIT), echo(to, Kind::default(), WAIT));
                small = Some(plain?);
                large?
            }
            Some(_) => echo(to, large, WAIT).await?,
        };
        match answer {
            Echo::Reply { .. } => {
                return Ok(said.map_or(MtuFound::Passes, |by| MtuFound::Smaller { mtu: size, by }));
            }
            Echo::Error { icmp, .. } => match icmp.mtu.filter(|it| *it < size && *it >= 68) {
                Some(mtu) => (size, said) = (mtu, Some(icmp.from)),
                None => return Ok(MtuFound::Untold),
            },
            // The device's own limit: a route with a larger MTU than its interface.
            Echo::Refused(_) => return Ok(MtuFound::Untold),
            Echo::Silent => break,
        }
    }
    if !matches!(small, Some(Echo::Reply { .. })) {
        // A router named it, and the host answers no echo at all.
        return Ok(said.map_or(MtuFound::Untold, |by| MtuFound::Smaller { mtu: size, by }));
    }
    let least = if to.ip.is_ipv4() { 68 } else { 1280 };
    let mut tried = tokio::task::JoinSet::new();
    // The same size once more: a single loss is no hole.
    for smaller in USUAL.into_iter().filter(|it| *it < size && *it >= least).chain([size]) {
        tried.spawn(async move {
            let kind = Kind { size: Some(smaller), ..Kind::default() };
            matches!(echo(to, kind, WAIT).await, Ok(Echo::Reply { .. })).then_some(smaller)
        });
    }
    let mut passes = None;
    while let Some(result) = tried.join_next().await {
        passes = passes.max(result.ok().flatten());
    }
    Ok(if passes == Some(size) { MtuFound::Passes } else { MtuFound::BlackHole { passes } })
}
