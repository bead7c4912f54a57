//! Hosts that are not there, and ways that lead nowhere.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use tcptrace_tests::lab::{CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6};

use crate::scenario::Socket;
use crate::scene::{PATIENCE, PORT, Scene, WORKING, counting};

/// In the client's own network, and nobody's.
const ON_LINK: [&str; 2] = ["198.51.100.99", "2001:db8:1::99"];
/// For everybody on the client's link, and for a group.
const FOR_MANY: [&str; 2] = ["198.51.100.255", "ff02::9"];
/// In no network at all (RFC 5737).
const NOWHERE: [&str; 2] = ["192.0.2.1", "2001:db8:4::1"];

/// The one of two addresses that has the row's IP version.
fn address(scene: &Scene, either: [&str; 2]) -> IpAddr {
    either[usize::from(scene.server().is_ipv6())].parse().expect("an address")
}

/// Nobody answers the client's ARP or neighbour solicitation: the SYN waits for an address that never comes.
pub(crate) fn nobody_on_the_link(scene: &Scene) -> Socket {
    let nobody = address(scene, ON_LINK);
    for family in ["ipv4", "ipv6"] {
        scene.lab.client.sysctl(&format!("net.{family}.neigh.eth0.retrans_time_ms"), "100");
    }
    let wire = scene.lab.client.raw_link("eth0");
    let socket = scene.connect((nobody, WORKING).into());
    assert_eq!(wire.conversation(PORT, Duration::ZERO), [""; 0], "no SYN reached the wire");
    let shown = scene.lab.client.ip(&format!("neigh show {nobody}"));
    assert!(shown.contains("FAILED"), "{shown}");
    socket
}

/// The route leads to a gateway that does not answer ARP or neighbour solicitations.
pub(crate) fn nobody_at_the_gateway(scene: &Scene) -> Socket {
    for family in ["ipv4", "ipv6"] {
        scene.lab.client.sysctl(&format!("net.{family}.neigh.eth0.retrans_time_ms"), "100");
    }
    let gateway = address(scene, ON_LINK);
    let old = if scene.server().is_ipv6() { CLIENT_GATEWAY_V6 } else { CLIENT_GATEWAY_V4 };
    scene.lab.client.ip(&format!("route del default via {old}\nroute add default via {gateway}"));
    let socket = scene.connect(scene.to(WORKING));
    let shown = scene.lab.client.ip(&format!("neigh show {gateway}"));
    assert!(shown.contains("FAILED"), "{shown}");
    socket
}

/// The gateway's link address is not known yet, and it answers: the SYN waits for it, and goes.
pub(crate) fn gateway_that_is_asked_first(scene: &Scene) -> Socket {
    let gateway = if scene.server().is_ipv6() { CLIENT_GATEWAY_V6 } else { CLIENT_GATEWAY_V4 };
    scene.lab.client.ip(&format!("neigh del {gateway} dev eth0"));
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    scene.connect(scene.to(WORKING))
}

/// An address of many: TCP connects to none.
pub(crate) fn address_of_many(scene: &Scene) -> Socket {
    let many = address(scene, FOR_MANY);
    scene.keep_socket(scene.lab.client.connect((many, WORKING).into(), PATIENCE))
}

/// Nobody answers the router's ARP or neighbour solicitation, and it says so.
pub(crate) fn nobody_behind_the_router(scene: &Scene) -> Socket {
    for family in ["ipv4", "ipv6"] {
        scene.lab.router.sysctl(&format!("net.{family}.neigh.server0.retrans_time_ms"), "100");
    }
    // So short a look-up is one only beside a known round trip.
    scene.answers(scene.server(), WORKING);
    let socket = scene.connect((scene.absent(), WORKING).into());
    let shown = scene.lab.router.ip(&format!("neigh show {}", scene.absent()));
    assert!(shown.contains("FAILED") || shown.contains("INCOMPLETE"), "{shown}");
    socket
}

/// The same, and the router keeps it to itself.
pub(crate) fn nobody_and_no_word(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    let rule = counting(&scene.lab.router, "output", "meta l4proto { icmp, icmpv6 } counter drop");
    let socket = scene.connect((scene.absent(), WORKING).into());
    assert!(rule.packets() > 0, "the router had something to say");
    scene.keep(rule);
    socket
}

/// The host answered on one port, and then went: silent on all of them.
pub(crate) fn host_that_went(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.answers(scene.server(), WORKING);
    scene.lab.server.ip("link set eth0 down");
    scene.connect(scene.to(WORKING))
}

/// The calls come when the change of the routes is known to be older: the tracer dates it by when it reads of it.
fn routes_are_settled() {
    thread::sleep(Duration::from_millis(500));
}

/// The client has no route to there.
pub(crate) fn no_route(scene: &Scene) -> Socket {
    scene
        .lab
        .client
        .ip(&format!("route del default via {CLIENT_GATEWAY_V4}\nroute del default via {CLIENT_GATEWAY_V6}"));
    routes_are_settled();
    let result = scene.lab.client.connect_from(PORT, scene.to(WORKING), PATIENCE);
    scene.keep_socket(result)
}

/// The client has a route that says no.
pub(crate) fn prohibited_by_a_route(scene: &Scene) -> Socket {
    scene.lab.client.ip(&format!("route add prohibit {}/32", scene.server()));
    routes_are_settled();
    let result = scene.lab.client.connect_from(PORT, scene.to(WORKING), PATIENCE);
    scene.keep_socket(result)
}

/// All ports that the client may connect from are taken, for this server's port.
pub(crate) fn no_port_left(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    scene.lab.client.sysctl("net.ipv4.ip_local_port_range", "50000 50001");
    for _ in 0..2 {
        scene.keep(scene.lab.client.connect(scene.to(WORKING), PATIENCE).expect("there are two"));
    }
    scene.keep_socket(scene.lab.client.connect(scene.to(WORKING), PATIENCE))
}

/// The router has no route to there.
pub(crate) fn no_route_at_the_router(scene: &Scene) -> Socket {
    scene.connect((address(scene, NOWHERE), WORKING).into())
}

/// The router's own route says that the server is not to be reached, or that nobody may.
pub(crate) fn unreachable_route_at_the_router(scene: &Scene) -> Socket {
    scene.lab.router.ip(&format!("route add unreachable {}/32", scene.absent()));
    scene.connect((scene.absent(), WORKING).into())
}

pub(crate) fn prohibit_route_at_the_router(scene: &Scene) -> Socket {
    scene.lab.router.ip(&format!("route add prohibit {}/32", scene.absent()));
    scene.connect((scene.absent(), WORKING).into())
}

/// The SYN dies on the way, of age: as in a loop of routers.
pub(crate) fn too_many_hops(scene: &Scene) -> Socket {
    scene.lab.client.ip(&format!("route add {}/32 via {CLIENT_GATEWAY_V4} hoplimit 1", scene.server()));
    scene.connect(scene.to(WORKING))
}
