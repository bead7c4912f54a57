//! Ways and neighbours: who does not answer, who has two link-layer addresses, where there is no way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use etherparse::PacketBuilder;
use tcptrace::host::Route;
use tcptrace_tests::lab::{
    ABSENT_V4, ABSENT_V6, CLIENT_GATEWAY_MAC, CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6, CLIENT_V4, CLIENT_V6, Lab,
    SERVER_GATEWAY_V6, SERVER_MAC, SERVER_V4, SERVER_V6, eventually,
};

use crate::{PATIENCE, attempt, look, now, own};

#[test]
fn a_neighbour_that_does_not_answer_has_failed() {
    let lab = Lab::new();
    for (from, to) in [(SERVER_V4, ABSENT_V4), (SERVER_V6, ABSENT_V6)] {
        let mut host = own(&lab.server);
        let silent = attempt((from, 40000).into(), (to, 80).into());
        let before = host.fill(&silent, now()).neighbour.unwrap().unwrap();
        assert_eq!((before.is_peer, before.address, before.failed), (true, to, false), "nobody was asked");
        let _connecting = lab.server.start_connect((to, 80).into(), Default::default());
        let neighbour = eventually(PATIENCE, || {
            host.tick(now());
            host.fill(&silent, now()).neighbour.unwrap().filter(|it| it.failed)
        });
        assert_eq!((neighbour.is_peer, neighbour.address, neighbour.link_addresses), (true, to, vec![]));
    }
}

#[test]
fn a_router_is_no_peer() {
    let lab = Lab::new();
    for (from, gateway, to) in [(CLIENT_V4, CLIENT_GATEWAY_V4, SERVER_V4), (CLIENT_V6, CLIENT_GATEWAY_V6, SERVER_V6)] {
        let neighbour = look(&mut own(&lab.client), (from, 40000).into(), (to, 80).into()).neighbour.unwrap().unwrap();
        assert_eq!((neighbour.is_peer, neighbour.address, neighbour.failed), (false, gateway, false));
        assert_eq!(neighbour.link_addresses, [CLIENT_GATEWAY_MAC]);
        let itself = look(&mut own(&lab.client), (from, 40000).into(), (from, 80).into());
        assert_eq!(itself.neighbour, Ok(None));
    }
}

/// Two hosts with one address answer one question.
#[test]
fn two_link_addresses_of_one_address_are_seen() {
    let lab = Lab::new();
    let wire = lab.router.raw_link("server0");
    let macs = [[2, 0, 0, 0, 9, 1], [2, 0, 0, 0, 9, 2]];
    for to in [ABSENT_V4, ABSENT_V6] {
        let from = if to.is_ipv4() { SERVER_V4 } else { SERVER_V6 };
        let mut host = own(&lab.server);
        let _connecting = lab.server.start_connect((to, 80).into(), Default::default());
        for mac in macs {
            wire.send(&if to.is_ipv4() { arp_reply(mac, to) } else { advertisement(mac, to) });
        }
        let asked = attempt((from, 40000).into(), SocketAddr::new(to, 80));
        let neighbour = eventually(PATIENCE, || {
            host.tick(now());
            host.fill(&asked, now()).neighbour.unwrap().filter(|it| it.link_addresses.len() == 2)
        });
        let mut seen = neighbour.link_addresses;
        seen.sort_unstable();
        assert_eq!(seen, macs, "{to}");
    }
}

fn arp_reply(mac: [u8; 6], of: IpAddr) -> Vec<u8> {
    let (IpAddr::V4(of), IpAddr::V4(to)) = (of, SERVER_V4) else { unreachable!("ARP is IPv4's") };
    let head = [&SERVER_MAC[..], &mac, &[8, 6]].concat();
    [&head[..], &[0, 1, 8, 0, 6, 4, 0, 2], &mac, &of.octets(), &SERVER_MAC, &to.octets()].concat()
}

fn advertisement(mac: [u8; 6], of: IpAddr) -> Vec<u8> {
    let (IpAddr::V6(of), IpAddr::V6(to)) = (of, SERVER_V6) else { unreachable!("ARP is IPv4's") };
    // Solicited, override.
    let builder = PacketBuilder::ethernet2(mac, SERVER_MAC).ipv6(of.octets(), to.octets(), 255);
    let builder = builder.icmpv6_raw(136, 0, [0x60, 0, 0, 0]);
    let body = [&of.octets()[..], &[2, 1], &mac].concat();
    let mut frame = Vec::new();
    builder.write(&mut frame, &body).unwrap();
    frame
}

#[test]
fn ways_that_lead_nowhere_are_told_apart() {
    let lab = Lab::new();
    let mut host = own(&lab.client);
    let v4 = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let v6 = |last: u16| format!("2001:db8:9::{last:x}").parse::<IpAddr>().unwrap();
    for (last, kind, errno) in
        [(1, "unreachable", libc::EHOSTUNREACH), (2, "blackhole", libc::EINVAL), (3, "prohibit", libc::EACCES)]
    {
        for (from, to) in [(CLIENT_V4, v4(last)), (CLIENT_V6, v6(last.into()))] {
            assert!(matches!(host.route(to), Ok(Route::Through { gateway: Some(_), .. })), "the default route");
            lab.client.ip(&format!("route add {kind} {to}"));
            assert_eq!(host.route(to), Ok(Route::Nowhere { errno }), "{to}");
            let local = look(&mut host, (from, 40000).into(), (to, 80).into());
            assert_eq!(local.neighbour, Ok(None));
        }
    }
    assert_eq!(host.route(CLIENT_V4), Ok(Route::Local));
    assert!(matches!(host.route(CLIENT_GATEWAY_V6), Ok(Route::Through { gateway: None, .. })));
    lab.client.ip(&format!("route del default via {CLIENT_GATEWAY_V4}\nroute del default via {CLIENT_GATEWAY_V6}"));
    for to in [SERVER_V4, SERVER_GATEWAY_V6] {
        assert_eq!(host.route(to), Ok(Route::Nowhere { errno: libc::ENETUNREACH }), "{to}");
    }
}
