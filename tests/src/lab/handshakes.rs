//! Handshakes that end in an unusual way, on the wire exactly as their names say, at both ends.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;

use super::Lab;
use super::hold::Towards;
use super::responder::Responder;
use super::socket::ConnectOptions;
use super::tcp_frame::{TcpFrame, TcpOptionElement, flags};

impl Lab {
    /// Has the client's kernel send three SYNs, the last two or three seconds after the first, and then give up.
    pub fn client_gives_up_after_three_syns(&self) {
        // Where there are linear timeouts, they add to the retries.
        if self.client.read_sysctl("net.ipv4.tcp_syn_linear_timeouts").is_some() {
            self.client.sysctls(&[("net.ipv4.tcp_syn_linear_timeouts", "1"), ("net.ipv4.tcp_syn_retries", "1")]);
        } else {
            self.client.sysctl("net.ipv4.tcp_syn_retries", "2");
        }
    }

    /// The client closes its socket while the SYN/ACK is on its way: SYN, SYN/ACK, RST.
    ///
    /// The close itself sends nothing, with or without `SO_LINGER`; the RST is the stack's answer to a SYN/ACK that no
    /// socket expects. The SYN/ACK is held at the router meanwhile: on a veth pair it is back before `connect` returns.
    /// Needs a listener at `to`.
    #[track_caller]
    pub fn connect_and_close_during_handshake(&self, from_port: u16, to: SocketAddr) {
        let syn_ack = self.router.raw_link("server0");
        let held = self.hold(Towards::Client);
        self.client.log.add("# the client closes the next connection before its SYN/ACK arrives".to_owned());
        let options = ConnectOptions { from_port: Some(from_port), ..Default::default() };
        let connecting =
            self.client.start_connect(to, options).unwrap_or_else(|error| panic!("cannot connect: {error}"));
        let answered = syn_ack.recv_tcp(Duration::from_secs(10), |segment| {
            segment.source == to && segment.target.port() == from_port && segment.has(flags::SYN | flags::ACK)
        });
        assert!(answered.is_some(), "{to} did not answer; a server has to listen there");
        connecting.abandon();
        held.release();
    }

    /// A server whose SYN/ACK is followed at once by its RST.
    ///
    /// No Linux server does this to a plain handshake: a listener that closes, or whose request `ss -K` destroys, sends
    /// nothing until the final ACK comes. So a responder plays it. Use `connect_delaying_final_ack` at the client:
    /// another client's ACK overtakes the RST.
    #[track_caller]
    pub fn reset_on_answer(&self, at: SocketAddr) -> Responder {
        self.server.respond(at, |segment| {
            if !segment.is_syn() {
                return Vec::new();
            }
            let options = [TcpOptionElement::MaximumSegmentSize(1460)];
            let syn_ack = segment.answer(flags::SYN | flags::ACK, 0xffff_fff0).with_options(&options);
            let reset = TcpFrame { window: 0, ..syn_ack.followed_by(flags::RST | flags::ACK) };
            vec![syn_ack, reset]
        })
    }

    /// Connects as a client whose final ACK waits for its first data, for 200 ms at most. The RST that overtakes it is
    /// the error, at the connect or at the first read.
    pub fn connect_delaying_final_ack(&self, from_port: u16, to: SocketAddr, timeout: Duration) -> io::Error {
        let options = ConnectOptions { from_port: Some(from_port), delay_final_ack: true };
        let connected = self.client.start_connect(to, options).and_then(|connecting| connecting.finish(timeout));
        let read = connected.and_then(|mut stream| {
            stream.set_read_timeout(Some(timeout))?;
            stream.read(&mut [0])
        });
        read.err().unwrap_or_else(|| io::Error::other("the server sent data, or closed without a reset"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SERVER_V4, SERVER_V6, reset};
    use super::*;

    const QUIET: Duration = Duration::from_millis(500);
    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_client_that_closes_during_the_handshake_resets_the_answer() {
        let lab = Lab::new();
        for (ip, port) in [(SERVER_V4, 40000), (SERVER_V6, 40001)] {
            let to = SocketAddr::new(ip, 80);
            let _listener = lab.server.listen(to);
            let ends = [lab.client.raw_link("eth0"), lab.server.raw_link("eth0")];
            lab.connect_and_close_during_handshake(port, to);
            assert_eq!(ends.map(|end| end.conversation(port, QUIET)), [["> S", "< S.", "> R"]; 2]);
        }
    }

    #[test]
    fn a_close_alone_sends_nothing() {
        let lab = Lab::new();
        let to = SocketAddr::new(SERVER_V4, 80);
        let _dropped = lab.server.filter("input", "tcp dport 80 drop");
        let wires = [(); 2].map(|()| lab.client.raw_link("eth0"));
        for (from_port, close) in [(40000, drop as fn(_)), (40001, reset)] {
            let options = ConnectOptions { from_port: Some(from_port), ..Default::default() };
            close(lab.client.start_connect(to, options).unwrap().into_stream());
        }
        // Past the time of a second SYN.
        assert_eq!(wires[0].conversation(40000, Duration::from_millis(1300)), ["> S"]);
        assert_eq!(wires[1].conversation(40001, Duration::ZERO), ["> S"]);
    }

    #[test]
    fn a_server_that_resets_on_answer_does_so_before_the_final_ack() {
        let lab = Lab::new();
        for (ip, port) in [(SERVER_V4, 40000), (SERVER_V6, 40001)] {
            let to = SocketAddr::new(ip, 80);
            let _server = lab.reset_on_answer(to);
            let ends = [lab.client.raw_link("eth0"), lab.server.raw_link("eth0")];
            let error = lab.connect_delaying_final_ack(port, to, PATIENCE);
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(ends.map(|end| end.conversation(port, QUIET)), [["> S", "< S.", "< R."]; 2]);
        }
    }
}
