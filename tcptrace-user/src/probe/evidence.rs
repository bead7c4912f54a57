//! `-w`: the packets of its own connects, as they were on the wire, each handshake with its outcome as a comment.
//!
//! SYN, SYN/ACK, FIN, RST and ICMP errors, from the IP header on: the packets that the packet socket's filter lets
//! through. Packets of other programs to the same host are not among them.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use anyhow::Context as _;
use tcptrace_capture::{
    Direction,
    write::{InterfaceDescription, PacketRecord, Rotation, Writer},
};
use tcptrace_core::segment::{Found, Link, locate};
use tcptrace_vocabulary::{cause::Cause, errno::errno_name};

use super::{
    Shared,
    conclusion::Conclusion,
    diagnosis::{Diagnosis, Probed, Tried},
    wire::{Seen, Tap, socket_addr},
};

/// `LINKTYPE_RAW`: an IP header comes first.
const RAW: u16 = 101;

/// Writes them; a file without packets if nothing was seen.
pub(super) fn write(
    path: &Path,
    tap: Option<&Tap>,
    shared: &Shared,
    diagnosis: &Diagnosis,
    conclusion: &Conclusion,
) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let tap = tap.with_context(|| format!("cannot write '{name}': no packets were seen; grant CAP_NET_RAW"))?;
    let mine = shared.mine();
    let mut handshakes: BTreeMap<(u64, SocketAddr, SocketAddr), Vec<Seen>> = BTreeMap::new();
    let mut first = BTreeMap::new();
    for packet in tap.packets(|a, b| mine.contains(&a) || mine.contains(&b)) {
        let Some((a, b)) = ends(&packet.octets) else { continue };
        let (from, to) = if mine.contains(&a) { (a, b) } else { (b, a) };
        let begun = *first.entry((from, to)).or_insert(packet.time);
        handshakes.entry((begun, from, to)).or_default().push(packet);
    }

    let mut writer = Writer::create(path, Rotation::default()).with_context(|| format!("cannot write '{name}'"))?;
    let mut interfaces = BTreeMap::new();
    for ((_, from, to), packets) in &handshakes {
        let comment = comment(diagnosis, conclusion, *from, *to);
        for (number, packet) in packets.iter().enumerate() {
            let name = interface_name(diagnosis, packet.interface);
            let interface = *interfaces.entry(packet.interface).or_insert_with(|| {
                writer.interface(InterfaceDescription { name: &name, link: RAW, snaplen: 0, description: None })
            });
            let direction = if packet.is_outgoing { Direction::Outgoing } else { Direction::Incoming };
            writer.packet(&PacketRecord {
                interface,
                time_ns: packet.time,
                octets: &packet.octets,
                original: u32::try_from(packet.original).unwrap_or(u32::MAX),
                direction: Some(direction),
                comment: (number + 1 == packets.len()).then_some(comment.as_str()),
            })?;
        }
        writer.group_end()?;
    }
    writer.finish().with_context(|| format!("cannot write '{name}'"))?;
    Ok(())
}

fn ends(octets: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match locate(octets, Link::Ip) {
        Found::Tcp(it) => Some((socket_addr(it.src), socket_addr(it.dst))),
        Found::Error(it) => Some((socket_addr(it.src), socket_addr(it.dst))),
        Found::Skipped(_) => None,
    }
}

fn interface_name(diagnosis: &Diagnosis, index: u32) -> String {
    let mut routes = diagnosis.addresses.iter().filter_map(Probed::route);
    let name = routes.find(|route| route.index == index).map(|route| route.interface.clone());
    name.unwrap_or_else(|| format!("#{index}"))
}

/// The outcome of one handshake; for the one that the verdict is of, the verdict.
fn comment(diagnosis: &Diagnosis, conclusion: &Conclusion, from: SocketAddr, to: SocketAddr) -> String {
    let at = diagnosis.addresses.iter().find(|it| it.address == to.ip());
    let connect = at.and_then(|it| it.connects.iter().find(|it| it.from == Some(from)));
    let Some(connect) = connect else { return "tcptrace: diagnose: probe for the hop walk".to_owned() };
    if let (Some(cause), Some(confidence)) = (conclusion.cause, conclusion.confidence)
        && (conclusion.address, conclusion.port) == (Some(to.ip()), Some(to.port()))
    {
        let evidence = conclusion.evidence.join("; ");
        let how = if cause == Cause::Unknown { String::new() } else { format!(" ({})", confidence.name()) };
        return format!("tcptrace: diagnose: {}{how}: {evidence}", cause.name());
    }
    match connect.result {
        Tried::Open(_) => "tcptrace: diagnose: open".to_owned(),
        Tried::Failed(errno) => format!("tcptrace: diagnose: {}", errno_name(errno)),
        Tried::Silent => "tcptrace: diagnose: no answer".to_owned(),
    }
}
