//! Connection tracking's entry for a flow of TCP, with what its addresses were translated to.
//!
//! An entry is asked for by its flow; the table is never listed. Needs CAP_NET_ADMIN.
//! <https://docs.kernel.org/networking/nf_conntrack-sysctl.html>, include/uapi/linux/netfilter/nfnetlink_conntrack.h

use std::net::{IpAddr, SocketAddr};

use super::{
    Channel,
    channel::Error,
    message::{address, attributes, bytes_of, push},
};

/// NFNL_SUBSYS_CTNETLINK in the upper half; IPCTNL_MSG_CT_GET.
const GET: u16 = 1 << 8 | 1;
/// `struct nfgenmsg`.
const HEADER: usize = 4;
/// CTA_TUPLE_ORIG and CTA_TUPLE_REPLY, and what is in them: CTA_TUPLE_IP, CTA_TUPLE_PROTO.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const IP: u16 = 1;
const PROTO: u16 = 2;
/// CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT.
const NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
/// NLA_F_NESTED.
const NESTED: u16 = 1 << 15;

/// From where to where.
pub(crate) type Flow = (SocketAddr, SocketAddr);

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As the first packet came.
    pub(crate) original: Flow,
    /// As the answers to it come.
    pub(crate) reply: Flow,
}

impl Entry {
    fn decode(message: &[u8]) -> Option<Self> {
        let (mut original, mut reply) = (None, None);
        for attribute in attributes(message.get(HEADER..)?) {
            match attribute.kind() {
                ORIGINAL => original = flow(attribute.value()),
                REPLY => reply = flow(attribute.value()),
                _ => {}
            }
        }
        Some(Self { original: original?, reply: reply? })
    }
}

fn flow(tuple: &[u8]) -> Option<Flow> {
    let (mut addresses, mut ports) = ([None; 2], [None; 2]);
    let port = |value: &[u8]| value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    for attribute in attributes(tuple) {
        for part in attributes(attribute.value()) {
            match (attribute.kind(), part.kind()) {
                // CTA_IP_V4_SRC and V6_SRC, then the destinations.
                (IP, 1 | 3) => addresses[0] = address(part.value()),
                (IP, 2 | 4) => addresses[1] = address(part.value()),
                (PROTO, SOURCE_PORT) => ports[0] = port(part.value()),
                (PROTO, DESTINATION_PORT) => ports[1] = port(part.value()),
                _ => {}
            }
        }
    }
    let end = |side: usize| Some(SocketAddr::new(addresses[side]?, ports[side]?));
    Some((end(0)?, end(1)?))
}

/// The entry of a flow, as it came or as its answers come; `None`: there is none.
///
/// # Errors
/// Where the kernel has no connection tracking, or refuses to say.
pub(crate) fn look_up(channel: &mut Channel, (from, to): Flow) -> Result<Option<Entry>, Error> {
    let nested = |kind: u16, body: &[u8]| {
        let mut attribute = Vec::new();
        push(&mut attribute, kind | NESTED, body);
        attribute
    };
    let (mut ends, mut ports) = (Vec::new(), Vec::new());
    let first = if matches!(from.ip(), IpAddr::V4(_)) { 1 } else { 3 };
    let (family, source) = bytes_of(from.ip());
    push(&mut ends, first, &source);
    push(&mut ends, first + 1, &bytes_of(to.ip()).1);
    push(&mut ports, NUMBER, &[libc::IPPROTO_TCP as u8]);
    push(&mut ports, SOURCE_PORT, &from.port().to_be_bytes());
    push(&mut ports, DESTINATION_PORT, &to.port().to_be_bytes());
    let tuple = [nested(IP, &ends), nested(PROTO, &ports)].concat();
    let body = [vec![family, 0, 0, 0], nested(ORIGINAL, &tuple)].concat();
    match channel.get(GET, &body, Entry::decode) {
        Err(error) if error.refused() == Some(libc::ENOENT) => Ok(None),
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_both_its_flows() {
        // What the kernel sent for a service on 192.0.2.10 that is translated to 203.0.113.2.
        let tuple = |kind: u16, ends: [[u8; 4]; 2], ports: [u16; 2]| {
            let (mut ip, mut proto, mut both, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            push(&mut ip, 1, &ends[0]);
            push(&mut ip, 2, &ends[1]);
            push(&mut proto, NUMBER, &[6]);
            push(&mut proto, SOURCE_PORT, &ports[0].to_be_bytes());
            push(&mut proto, DESTINATION_PORT, &ports[1].to_be_bytes());
            push(&mut both, IP | NESTED, &ip);
            push(&mut both, PROTO | NESTED, &proto);
            push(&mut all, kind | NESTED, &both);
            all
        };
        let (client, service, server) = ([198, 51, 100, 2], [192, 0, 2, 10], [203, 0, 113, 2]);
        let original = tuple(ORIGINAL, [client, service], [40_000, 80]);
        let reply = tuple(REPLY, [server, client], [8080, 40_000]);
        let message = [vec![2, 0, 0, 0], original.clone(), reply].concat();
        let entry = Entry {
            original: ((client, 40_000).into(), (service, 80).into()),
            reply: ((server, 8080).into(), (client, 40_000).into()),
        };
        assert_eq!(Entry::decode(&message), Some(entry));
        assert_eq!(Entry::decode(&[vec![2, 0, 0, 0], original].concat()), None, "cut off");
        assert_eq!(Entry::decode(&[2]), None);
    }
}
