//! Ports where nobody listens, and what looks like one.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tcptrace_tests::lab::{CLIENT_GATEWAY_V4, Responder, TcpFrame, Towards, flags};

use crate::scenario::Socket;
use crate::scene::{FAILING, PATIENCE, PORT, Scene, WORKING};

/// Of a host that answers on another port: the same TTL. Linux sends no options, IP ID 0 and window 0.
pub(crate) fn port(scene: &Scene) -> Socket {
    scene.answers(scene.server(), WORKING);
    port_and_nothing_else(scene)
}

/// Of a host of which nothing else is known.
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

/// A RST that comes before the server's SYN/ACK, with a TTL, a window and an IP ID that are not the server's.
pub(crate) fn reset_before_the_answer(scene: &Scene) -> Socket {
    scene.answers(scene.server(), WORKING);
    let _late = scene.lab.hold(Towards::Client);
    let injector = injector(scene, |syn| syn.is_syn().then(|| syn.answer(flags::RST | flags::ACK, 0)));
    let socket = scene.connect(scene.to(WORKING));
    scene.keep(injector);
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
