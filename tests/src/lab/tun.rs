//! A tun device whose far end is the test: IP packets without a link header, read and written by hand.
//!
//! <https://docs.kernel.org/networking/tuntap.html>

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::PollFlags;

use super::netns::Ns;
use super::socket::wait_ready;
use super::tcp_frame::TcpFrame;

/// Longer than any packet of a test.
const PACKET: usize = 1 << 16;
/// An Ethernet header's length.
const LINK_HEADER: usize = 14;

/// The far end of a tun device. Dropping it removes the device.
#[derive(Debug)]
pub struct Tun {
    file: File,
}

impl Ns {
    /// Makes a tun device, down and without addresses.
    #[track_caller]
    pub fn tun(&self, name: &str) -> Tun {
        self.log.add(format!("# a tun device '{name}' in {}, whose far end is the test", self.name));
        let opened = self.enter(|| Tun::open(name));
        opened.unwrap_or_else(|error| panic!("cannot make the tun device '{name}' in {}: {error}", self.name))
    }
}

impl Tun {
    #[expect(unsafe_code, reason = "ioctl has no safe form")]
    fn open(name: &str) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
        let mut ifr_name = [0; libc::IFNAMSIZ];
        for (to, from) in ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        let request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
        // SAFETY: TUNSETIFF reads and writes one ifreq, which is whole and outlives the call.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw const request) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { file }) }
    }

    /// Makes the device say that its frames begin with this link header (`ARPHRD_*`). It has to be down.
    #[track_caller]
    #[expect(unsafe_code, reason = "ioctl has no safe form")]
    pub fn set_link_type(&self, number: u16) {
        // SAFETY: TUNSETLINK takes a number, and no memory.
        let done = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETLINK as _, libc::c_int::from(number)) };
        assert_eq!(done, 0, "a tun device that is down takes any link type: {}", io::Error::last_os_error());
    }

    /// Has the device receive this segment, as an IP packet.
    #[track_caller]
    pub fn send(&self, segment: &TcpFrame) {
        let frame = segment.bytes();
        (&self.file).write_all(&frame[LINK_HEADER..]).expect("a tun device that is up takes a packet");
    }

    /// The next TCP segment that leaves through the device and that `wanted` accepts; all else before it is lost.
    pub fn recv_tcp(&self, timeout: Duration, wanted: impl Fn(&TcpFrame) -> bool) -> Option<TcpFrame> {
        let deadline = Instant::now() + timeout;
        let mut frame = vec![0; LINK_HEADER + PACKET];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !wait_ready(&self.file, PollFlags::POLLIN, left).expect("a tun device can be polled") {
                return None;
            }
            // An Ethernet header of nobody's, so that the segment has one reader.
            let Ok(length) = (&self.file).read(&mut frame[LINK_HEADER..]) else { continue };
            let ethertype: u16 = if frame[LINK_HEADER] >> 4 == 4 { 0x0800 } else { 0x86dd };
            frame[LINK_HEADER - 2..LINK_HEADER].copy_from_slice(&ethertype.to_be_bytes());
            match TcpFrame::parse(&frame[..LINK_HEADER + length]) {
                Some(segment) if wanted(&segment) => return Some(segment),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::{Lab, eventually, flags};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn the_test_is_the_server_at_the_far_end() {
        let lab = Lab::new();
        let tun = lab.client.tun("tun0");
        lab.client.ip("link set tun0 addrgenmode none up
            addr add 192.0.2.1/24 dev tun0
            addr add 2001:db8:5::1/64 dev tun0 nodad");
        for peer in ["192.0.2.2", "2001:db8:5::2"] {
            let peer: IpAddr = peer.parse().unwrap();
            // An IPv6 address is usable a moment after it was added.
            let connecting =
                eventually(PATIENCE, || lab.client.start_connect((peer, 80).into(), Default::default()).ok());
            let syn = tun.recv_tcp(PATIENCE, TcpFrame::is_syn).unwrap();
            assert_eq!(syn.target, (peer, 80).into());
            tun.send(&syn.answer(flags::SYN | flags::ACK, 7));
            let _open = connecting.finish(PATIENCE).unwrap();
        }
    }
}
