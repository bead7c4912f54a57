//! Ports where nobody listens, and what looks like one.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::TcpOptionElement;
use tcptrace_tests::lab::{CLIENT_GATEWAY_V4, Quiet, Responder, TcpFrame, Towards, flags};

use crate::scenario::Socket;
use crate::scene::{FAILING, PATIENCE, PORT, Scene, WORKING};

/// A closed port of a host that answers on another port: the same TTL. Linux sends no options, IP ID 0 and window 0.
pub(crate) fn port(scene: &Scene) -> Socket {
    scene.answers(scene.server(), WORKING);
    port_and_nothing_else(scene)
}

/// A closed port of a host whose SYN/ACKs have an IP ID, as other systems send them: its RSTs have none.
pub(crate) fn port_of_a_host_that_numbers(scene: &Scene) -> Socket {
    let rule =
        "chain out { type filter hook output priority 0; tcp flags & (syn | ack) == syn | ack counter ip id set 77; }";
    scene.keep(scene.lab.server.nft(rule));
    let wire = scene.lab.client.raw_link("eth0");
    scene.answers(scene.server(), WORKING);
    let answer = wire.recv_tcp(PATIENCE, |it| it.has(flags::SYN | flags::ACK)).expect("there was one");
    assert_eq!(answer.ip_id, 77, "it is numbered");
    port_and_nothing_else(scene)
}

/// A closed port of a host of which nothing else is known.
pub(crate) fn port_and_nothing_else(scene: &Scene) -> Socket {
    assert_eq!(scene.lab.server.accept_queue(FAILING), None, "nobody listens there");
    scene.connect(scene.to(FAILING))
}

/// Somebody listens, and on another address of the host: for those on it alone, as databases do until they are told.
pub(crate) fn port_of_another_address(scene: &Scene) -> Socket {
    let own = if scene.server().is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { IpAddr::from(Ipv6Addr::LOCALHOST) };
    scene.keep(scene.lab.server.listen((own, FAILING).into()));
    scene.answers(scene.server(), WORKING);
    scene.connect(scene.to(FAILING))
}

/// A translation that covers one port of the router's address; behind the other there is the router itself.
pub(crate) fn port_that_is_not_translated(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let server = scene.server();
    let rules =
        format!("chain nat {{ type nat hook prerouting priority -100; tcp dport 80 counter dnat ip to {server}; }}");
    let table = scene.lab.router.nft(&rules);
    scene.keep(scene.lab.client.connect((CLIENT_GATEWAY_V4, WORKING).into(), PATIENCE).expect("port 80 is covered"));
    let socket = scene.connect((CLIENT_GATEWAY_V4, FAILING).into());
    assert_eq!(table.packets(), 1, "one of two connections was translated: {}", table.list());
    scene.keep(table);
    socket
}

/// A port that is translated to the server, where rules of the one who translates drop it after that.
pub(crate) fn port_that_is_dropped_when_translated(scene: &Scene) -> Socket {
    // Translated, it is a flow that nobody follows.
    scene.keep(Quiet::begin());
    scene.lab.client_gives_up_after_three_syns();
    let server = scene.server();
    let rules = format!(
        "chain nat {{ type nat hook prerouting priority -100; tcp dport {FAILING} dnat ip to {server}:{WORKING}; }}
        chain filter {{ type filter hook forward priority 0; ip daddr {server} tcp dport {WORKING} counter drop; }}"
    );
    let table = scene.lab.router.nft(&rules);
    let socket = scene.connect((CLIENT_GATEWAY_V4, FAILING).into());
    assert!(table.packets() > 0, "the rule dropped the SYNs: {}", table.list());
    scene.keep(table);
    socket
}

/// A port that is translated to a host that is away: the one who translates says so in its own name.
pub(crate) fn port_that_is_translated_to_nobody(scene: &Scene) -> Socket {
    scene.keep(Quiet::begin());
    scene.lab.router.sysctl("net.ipv4.neigh.server0.retrans_time_ms", "100");
    scene.keep(scene.lab.router.listen((CLIENT_GATEWAY_V4, WORKING).into()));
    scene.keep(scene.lab.client.connect((CLIENT_GATEWAY_V4, WORKING).into(), PATIENCE).expect("it is there"));
    let absent = scene.absent();
    let rule =
        format!("chain nat {{ type nat hook prerouting priority -100; tcp dport {FAILING} dnat ip to {absent}; }}");
    scene.keep(scene.lab.router.nft(&rule));
    scene.connect((CLIENT_GATEWAY_V4, FAILING).into())
}

/// A RST that comes before the server's SYN/ACK, with a TTL, a window and an IP ID that are not the server's.
pub(crate) fn reset_before_the_answer(scene: &Scene) -> Socket {
    scene.answers(scene.server(), WORKING);
    let _late = scene.lab.hold(Towards::Client);
    let injector = injector(scene, |syn| syn.is_syn().then(|| syn.answer(flags::RST | flags::ACK, 0)));
    let socket = scene.connect(scene.to(WORKING));
    scene.keep(injector);
    socket
}

/// A RST from the router with the TTL of the host, whose own answer is dropped there: told by its options and its number.
pub(crate) fn reset_with_the_ttl_of_the_host(scene: &Scene) -> Socket {
    scene.answers(scene.server(), WORKING);
    let rule = scene.lab.router.nft("chain in { type filter hook forward priority 0; tcp sport 80 counter drop; }");
    let timestamps = [TcpOptionElement::Timestamp(1, 0)];
    let injector = scene.lab.router.respond_at("client0", scene.to(WORKING), move |it| {
        let ours = it.is_syn() && it.source.port() == PORT;
        let reset = || TcpFrame { ttl: 63, window: 0, ..it.answer(flags::RST | flags::ACK, 0x5eed) };
        ours.then(|| reset().with_options(&timestamps)).into_iter().collect()
    });
    let socket = scene.connect(scene.to(WORKING));
    scene.keep(injector);
    scene.keep(rule);
    socket
}

/// A RST after the client's first data, in the server's name.
pub(crate) fn reset_after_data(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let injector = injector(scene, |it| {
        (!it.payload.is_empty()).then(|| TcpFrame { seq: it.ack, ..it.answer(flags::RST, it.ack) })
    });
    let mut stream = scene.start(scene.to(WORKING)).finish(PATIENCE).expect("it opens");
    stream.write_all(b"GET / HTTP/1.1\r\n").expect("it takes data");
    let read = stream.read(&mut [0]);
    scene.keep(injector);
    scene.keep(stream);
    Socket::of(&read)
}

/// Sends to the client, from the router, what `answer` makes of the judged attempt's segments.
fn injector(scene: &Scene, answer: impl Fn(&TcpFrame) -> Option<TcpFrame> + Send + 'static) -> Responder {
    scene.lab.router.respond_at("client0", scene.to(WORKING), move |segment| {
        let foreign = |it| TcpFrame { ttl: 200, ip_id: 0x1234, window: 8192, ..it };
        (segment.source.port() == PORT).then(|| answer(segment)).flatten().map(foreign).into_iter().collect()
    })
}
