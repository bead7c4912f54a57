//! Addresses of interfaces (`RTM_GETADDR`).
//!
//! <https://man7.org/linux/man-pages/man7/rtnetlink.7.html>

use std::{io, net::IpAddr};

use super::{
    channel::Channel,
    message::{address, attributes, number, text},
};

/// An address of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configured {
    pub(crate) address: IpAddr,
    /// Bits of the prefix that is on the link.
    pub(crate) prefix: u8,
    /// Bits of IFA_F_*.
    pub(crate) flags: u32,
    /// The name that `ifconfig` gave it.
    pub(crate) label: Option<String>,
}

impl Configured {
    fn decode(message: &[u8]) -> Option<Self> {
        let &[_, prefix, flags, ..] = message.first_chunk::<8>()?;
        // The first of a point-to-point interface is the other end's, and its own is IFA_LOCAL.
        let (mut ours, mut either, mut label, mut flags) = (None, None, None, u32::from(flags));
        for attribute in attributes(message.get(8..)?) {
            let value = attribute.value();
            match attribute.kind() {
                libc::IFA_LOCAL => ours = address(value),
                libc::IFA_ADDRESS => either = address(value),
                libc::IFA_LABEL => label = Some(text(value)),
                libc::IFA_FLAGS => flags = number(value, 0).unwrap_or(flags),
                _ => {}
            }
        }
        Some(Self { address: ours.or(either)?, prefix, flags, label })
    }
}

/// The addresses of all interfaces.
pub(crate) fn list(channel: &mut Channel) -> io::Result<Vec<Configured>> {
    Ok(channel.dump(libc::RTM_GETADDR, &[0; 8], Configured::decode)?)
}

#[cfg(test)]
mod tests {
    use super::{super::message::push, *};

    #[test]
    fn the_own_end_of_a_point_to_point_interface_is_its_address() {
        let mut message = vec![libc::AF_INET as u8, 32, libc::IFA_F_PERMANENT as u8, 0, 7, 0, 0, 0];
        push(&mut message, libc::IFA_ADDRESS, &[192, 0, 2, 2]);
        push(&mut message, libc::IFA_LOCAL, &[192, 0, 2, 1]);
        push(&mut message, libc::IFA_LABEL, b"tun0\0");
        push(&mut message, libc::IFA_FLAGS, &(libc::IFA_F_PERMANENT | libc::IFA_F_NODAD).to_ne_bytes());
        let expected = Configured {
            address: [192, 0, 2, 1].into(),
            prefix: 32,
            flags: libc::IFA_F_PERMANENT | libc::IFA_F_NODAD,
            label: Some("tun0".to_owned()),
        };
        assert_eq!(Configured::decode(&message), Some(expected));
        for length in 0..16 {
            assert_eq!(Configured::decode(&message[..length]), None, "{length} bytes");
        }
    }
}
