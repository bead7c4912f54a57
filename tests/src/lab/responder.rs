//! A server of the test's own making: it answers segments to one address with whatever the test says, and the kernel
//! there stays silent.

use std::io::{self, PipeReader, PipeWriter};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::netns::Ns;
use super::nft::NftTable;
use super::raw_link::RawLink;
use super::tcp_frame::TcpFrame;

/// A running responder. Dropping it ends it and gives the address back to the kernel.
#[derive(Debug)]
pub struct Responder {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    _kernel_silenced: Option<NftTable>,
}

impl Ns {
    /// Answers what arrives at `eth0` for `address`: `answers` gets each segment and returns those to send.
    ///
    /// The segments pass TC and the packet sockets as any others do; only the local stack never sees them.
    #[track_caller]
    pub fn respond(
        &self,
        address: SocketAddr,
        answers: impl FnMut(&TcpFrame) -> Vec<TcpFrame> + Send + 'static,
    ) -> Responder {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let rule = format!("{family} daddr {} tcp dport {} drop", address.ip(), address.port());
        let kernel_silenced = self.filter("input", &rule);
        let mut responder = self.respond_at("eth0", address, answers);
        responder._kernel_silenced = Some(kernel_silenced);
        responder
    }

    /// Likewise at any interface, and besides the local stack: as if there were two hosts with that address, or
    /// somebody on the way who speaks in its name.
    #[track_caller]
    pub fn respond_at(
        &self,
        interface: &str,
        address: SocketAddr,
        answers: impl FnMut(&TcpFrame) -> Vec<TcpFrame> + Send + 'static,
    ) -> Responder {
        self.log.add(format!("# {}: the test itself answers for {address}, with raw frames", self.name));
        let link = self.raw_link(interface);
        let (stopped, stop) = io::pipe().expect("a pipe can be made");
        let thread = thread::spawn(move || serve(&link, &stopped, address, answers));
        Responder { stop: Some(stop), thread: Some(thread), _kernel_silenced: None }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread has already been printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Runs until the other end of `stopped` is closed.
fn serve(
    link: &RawLink,
    stopped: &PipeReader,
    address: SocketAddr,
    mut answers: impl FnMut(&TcpFrame) -> Vec<TcpFrame>,
) {
    loop {
        let mut fds = [stopped.as_fd(), link.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut fds, PollTimeout::NONE).expect("poll waits on valid descriptors");
        if fds[0].any() == Some(true) {
            return;
        }
        while let Some(frame) = link.recv(Duration::ZERO) {
            let segment = TcpFrame::parse(&frame.bytes).filter(|segment| segment.target == address && !frame.outgoing);
            for answer in segment.iter().flat_map(&mut answers) {
                link.send(&answer.bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tcp_frame::flags;
    use super::super::*;
    use super::*;

    const QUIET: Duration = Duration::from_millis(300);
    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_raw_server_completes_a_handshake_with_a_real_client() {
        let lab = Lab::new();
        for (ip, port) in [(SERVER_V4, 40000), (OTHER_V6, 40001)] {
            let to = SocketAddr::new(ip, 80);
            let wire = lab.server.raw_link("eth0");
            let _server = lab.server.respond(to, |segment| {
                let syn_ack = segment.answer(flags::SYN | flags::ACK, 1);
                if segment.is_syn() { vec![syn_ack] } else { Vec::new() }
            });
            let _open = lab.client.connect_from(port, to, PATIENCE).unwrap();
            assert_eq!(wire.conversation(port, QUIET), ["> S", "< S.", "> ."]);
        }
    }

    #[test]
    fn a_raw_client_completes_a_handshake_with_a_real_server() {
        let lab = Lab::new();
        for (from, ip, port) in [(stranger_v4(1), SERVER_V4, 40000), (stranger_v6(1), SERVER_V6, 40001)] {
            let listener = lab.server.listen_without_accept((ip, 80).into(), 1);
            let (link, wire) = (lab.client.raw_link("eth0"), lab.client.raw_link("eth0"));
            let macs = (CLIENT_MAC, CLIENT_GATEWAY_MAC);
            let syn = TcpFrame::new(macs, (from, port).into(), (ip, 80).into(), flags::SYN, u32::MAX);
            link.send(&syn.bytes());
            let syn_ack = link.recv_tcp(PATIENCE, |segment| segment.target == syn.source).unwrap();
            link.send(&syn_ack.answer(flags::ACK, syn.next_seq()).bytes());
            let accepted = eventually(PATIENCE, || listener.accept().ok());
            assert_eq!(accepted.peer_addr().unwrap(), syn.source);
            assert_eq!(wire.conversation(port, QUIET), ["> S", "< S.", "> ."]);
        }
    }
}
