//! Clients without a stack behind the client's `eth0`: one frame each where a real one would take a host.
//!
//! What the server sends back to `stranger_v4` and `stranger_v6` reaches that interface and nobody answers, which is
//! what a spoofed source is to a server. Frames with addresses of real hosts may be sent, too: then that host answers.

use std::net::SocketAddr;
use std::time::Duration;

use super::Lab;
use super::addresses::{CLIENT_GATEWAY_MAC, CLIENT_MAC};
use super::raw_link::RawLink;
use super::tcp_frame::{TcpFrame, TcpOptionElement, flags};

/// The options of a SYN of Linux, and without them.
const OPTIONS: [TcpOptionElement; 3] = [
    TcpOptionElement::MaximumSegmentSize(1460),
    TcpOptionElement::SelectiveAcknowledgementPermitted,
    TcpOptionElement::WindowScale(7),
];
const PATIENCE: Duration = Duration::from_secs(10);

/// Whoever one says, by raw frames.
#[derive(Debug)]
pub struct Strangers {
    link: RawLink,
}

impl Lab {
    #[track_caller]
    pub fn strangers(&self) -> Strangers {
        self.client.log.add("# raw frames are sent by the client's eth0, and what comes back is read there".to_owned());
        Strangers { link: self.client.raw_link("eth0") }
    }
}

impl Strangers {
    /// A SYN, not sent.
    #[must_use]
    pub fn syn(from: SocketAddr, to: SocketAddr) -> TcpFrame {
        // Far from any sequence number's end, and different by port: nobody mistakes one for another's retry.
        let seq = u32::from(from.port()) << 8;
        TcpFrame::new((CLIENT_MAC, CLIENT_GATEWAY_MAC), from, to, flags::SYN, seq).with_options(&OPTIONS)
    }

    #[track_caller]
    pub fn send(&self, frame: &TcpFrame) {
        self.link.send(&frame.bytes());
    }

    /// The SYN/ACK to a SYN that was sent.
    #[track_caller]
    pub fn answer(&self, syn: &TcpFrame) -> TcpFrame {
        let is_answer = |it: &TcpFrame| it.target == syn.source && it.has(flags::SYN | flags::ACK);
        let answer = self.link.recv_tcp(PATIENCE, is_answer);
        answer.unwrap_or_else(|| panic!("{} did not answer {}", syn.target, syn.source))
    }

    /// SYN, SYN/ACK and ACK; returns the ACK.
    #[track_caller]
    pub fn open(&self, from: SocketAddr, to: SocketAddr) -> TcpFrame {
        let syn = Self::syn(from, to);
        self.send(&syn);
        let ack = self.answer(&syn).answer(flags::ACK, syn.next_seq());
        self.send(&ack);
        ack
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SERVER_V4, SERVER_V6, eventually, stranger_v4, stranger_v6};
    use super::*;

    #[test]
    fn strangers_open_connections_or_leave_them_half_open() {
        let lab = Lab::new();
        let strangers = lab.strangers();
        for (server, from) in [(SERVER_V4, stranger_v4 as fn(u16) -> _), (SERVER_V6, stranger_v6 as _)] {
            let listener = lab.server.listen_without_accept((server, 80).into(), 8);
            let half_open = Strangers::syn((from(1), 40001).into(), (server, 80).into());
            strangers.send(&half_open);
            strangers.answer(&half_open);
            strangers.open((from(2), 40002).into(), (server, 80).into());
            let peer = eventually(PATIENCE, || listener.accept().ok()).peer_addr().unwrap();
            assert_eq!(peer, (from(2), 40002).into());
            assert!(listener.accept().is_err(), "the other one's handshake is not complete");
        }
    }
}
