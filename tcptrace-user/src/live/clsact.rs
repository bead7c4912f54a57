//! The `clsact` qdisc, which holds TC programs before 6.6 (tcx): whether it is there, what a killed run left on it, and
//! its removal.
//!
//! It neither adds the qdisc nor attaches a program: aya does. It touches only BPF filters of exactly the name that it
//! is given.
//! <https://man7.org/linux/man-pages/man8/tc-bpf.8.html>

use std::io;

use anyhow::{Context as _, Result};
use netlink_packet_core::{Parseable as _, parse_u32};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage},
};

use crate::netlink::{Channel, attributes, text};

const KIND: &str = "clsact";
/// The handle that the kernel gives it: `TC_H_CLSACT` with no minor number.
const HANDLE: TcHandle = TcHandle { major: u16::MAX, minor: 0 };
/// Not in every libc (include/uapi/linux/rtnetlink.h).
const TCA_CHAIN: u16 = 11;

/// Which of its two lists a filter is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` or `TC_H_MIN_EGRESS` (include/uapi/linux/pkt_sched.h).
    fn parent(self) -> TcHandle {
        let minor = match self {
            Self::Ingress => TcHandle::MIN_INGRESS,
            Self::Egress => TcHandle::MIN_EGRESS,
        };
        TcHandle { major: u16::MAX, minor }
    }
}

/// One BPF filter, by what the kernel needs to find it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The index of the interface.
    pub index: u32,
    pub direction: Direction,
    /// Unique among those of one priority.
    pub handle: u32,
    pub priority: u16,
    /// The ethertype that it takes, `ETH_P_ALL` (3) for every one.
    pub protocol: u16,
    pub chain: u32,
    /// `TCA_BPF_NAME`: with aya, the program's.
    pub name: String,
    /// As `bpftool prog show id` takes it; None before 4.12.
    pub prog_id: Option<u32>,
}

/// Whether the interface has a clsact qdisc; false for one that is gone, and for the older `ingress` qdisc, which
/// has the same place and no egress.
pub fn exists(index: u32) -> Result<bool> {
    let found = dump(&RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()), |payload| {
        let header = TcHeader::parse(payload).ok()?;
        let ours = header.index.cast_unsigned() == index && kind_of(payload)? == KIND;
        ours.then_some(())
    });
    Ok(!found.with_context(|| format!("cannot list the qdiscs of interface {index}"))?.is_empty())
}

/// Deletes the interface's clsact qdisc unless a filter is left on it, whosever; false if it was kept or not there.
/// For one that this run has added: an empty one that was there before is somebody else's. A filter that another
/// process adds between the look and the deletion goes with it: the kernel has no way to ask for both at once.
pub fn remove_if_empty(index: u32) -> Result<bool> {
    if !exists(index)? {
        return Ok(false);
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        if !filters(index, direction, |_| Some(()))?.is_empty() {
            return Ok(false);
        }
    }
    let mut request = TcMessage::with_index(index.cast_signed());
    request.header.parent = TcHandle::CLSACT;
    request.header.handle = HANDLE;
    // With its kind, so that an `ingress` qdisc put there meanwhile is refused and not deleted.
    request.attributes.push(TcAttribute::Kind(KIND.to_owned()));
    done(execute(&RouteNetlinkMessage::DelQueueDiscipline(request))).with_context(|| {
        format!("interface {index} keeps tcptrace's clsact qdisc; remove it with tc qdisc del dev … clsact")
    })
}

/// The BPF filters of exactly this name on the interface: after a run that was killed, those that it left behind.
/// The kernel does not tell whether the process that added one is alive.
pub fn stale_filters(index: u32, name: &str) -> Result<Vec<Filter>> {
    let mut found = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let bpf = filters(index, direction, |payload| decode(payload, index, direction))?;
        found.extend(bpf.into_iter().filter(|filter| filter.name == name));
    }
    Ok(found)
}

/// Removes that filter; false if it was gone already.
pub fn delete_filter(filter: &Filter) -> Result<bool> {
    let mut request = TcMessage::with_index(filter.index.cast_signed());
    request.header.parent = filter.direction.parent();
    request.header.handle = TcHandle::from(filter.handle);
    request.header.info = u32::from(filter.priority) << 16 | u32::from(filter.protocol.to_be());
    // With its kind, so that another filter that took its place is refused and not deleted.
    request.attributes.push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    if filter.chain != 0 {
        request.attributes.push(TcAttribute::Chain(filter.chain));
    }
    match done(execute(&RouteNetlinkMessage::DelTrafficFilter(request))) {
        // Said of a filter whose qdisc is gone, too (`__tcf_qdisc_find`, net/sched/cls_api.c).
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !exists(filter.index)? => Ok(false),
        result => result,
    }
    .with_context(|| {
        format!("filter '{}' stays on interface {}; remove it: tc filter del", filter.name.escape_debug(), filter.index)
    })
}

fn filters<T>(index: u32, direction: Direction, pick: impl FnMut(&[u8]) -> Option<T>) -> Result<Vec<T>> {
    let mut request = TcMessage::with_index(index.cast_signed());
    request.header.parent = direction.parent();
    dump(&RouteNetlinkMessage::GetTrafficFilter(request), pick)
        .with_context(|| format!("cannot list the TC filters of interface {index}"))
}

/// The index is the one asked for: the filters of a block that several interfaces share come with none.
fn decode(payload: &[u8], index: u32, direction: Direction) -> Option<Filter> {
    let header = TcHeader::parse(payload).ok()?;
    if kind_of(payload)? != TcFilterBpf::KIND {
        return None;
    }
    let (mut name, mut prog_id, mut chain) = (None, None, 0);
    for attribute in attributes(payload.get(20..)?) {
        match attribute.kind() {
            TCA_CHAIN => chain = parse_u32(attribute.value()).ok()?,
            libc::TCA_OPTIONS => {
                for option in attributes(attribute.value()) {
                    match TcFilterBpfOption::parse(&option) {
                        Ok(TcFilterBpfOption::ProgName(found)) => name = Some(found),
                        Ok(TcFilterBpfOption::ProgId(id)) => prog_id = Some(id),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(Filter {
        index,
        direction,
        handle: header.handle.into(),
        priority: (header.info >> 16) as u16,
        protocol: u16::from_be(header.info as u16),
        chain,
        // A dump begins each priority with an entry that has no options: the list, not a filter.
        name: name?,
        prog_id,
    })
}

fn dump<T>(message: &RouteNetlinkMessage, pick: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    Ok(Channel::route()?.dump_message(message, pick)?)
}

fn execute(message: &RouteNetlinkMessage) -> io::Result<()> {
    Ok(Channel::route()?.execute(message)?)
}

fn kind_of(payload: &[u8]) -> Option<String> {
    attributes(payload.get(20..)?).find(|attribute| attribute.kind() == libc::TCA_KIND).map(|kind| text(kind.value()))
}

/// False for what is gone already, itself or with its interface.
fn done(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable as _;
    use netlink_packet_route::tc::TcOption;

    use super::*;

    fn entry(kind: &str, options: Vec<TcFilterBpfOption>) -> Vec<u8> {
        let mut message = TcMessage::with_index(9);
        message.header.handle = TcHandle::from(1);
        message.header.info = 0xc000 << 16 | u32::from(3u16.to_be());
        message.attributes = vec![TcAttribute::Kind(kind.to_owned())];
        if !options.is_empty() {
            message.attributes.push(TcAttribute::Options(options.into_iter().map(TcOption::Bpf).collect()));
        }
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }
    #[test]
    fn decode_reads_bpf_filters_only() {
        let name = TcFilterBpfOption::ProgName("tcptrace_out".to_owned());
        let filter = Filter {
            index: 9,
            direction: Direction::Egress,
            handle: 1,
            priority: 0xc000,
            protocol: 3,
            chain: 0,
            name: "tcptrace_out".to_owned(),
            prog_id: None,
        };
        let cases = [
            ("filter", entry("bpf", vec![name.clone()]), Some(filter.clone())),
            ("with its program", entry("bpf", vec![name.clone(), TcFilterBpfOption::ProgId(42)]), {
                Some(Filter { prog_id: Some(42), ..filter })
            }),
            ("the list that it is on", entry("bpf", vec![]), None),
            ("of another kind, same option number", entry("flower", vec![name]), None),
            ("cut off", entry("bpf", vec![])[..19].to_vec(), None),
        ];
        for (what, payload, expected) in cases {
            assert_eq!(decode(&payload, 9, Direction::Egress), expected, "{what}");
        }
    }

    #[test]
    fn parents_are_the_kernels_numbers() {
        assert_eq!(u32::from(TcHandle::CLSACT), 0xffff_fff1);
        assert_eq!(u32::from(Direction::Ingress.parent()), 0xffff_fff2);
        assert_eq!(u32::from(Direction::Egress.parent()), 0xffff_fff3);
    }
}
