//! The rules of nftables in a network namespace, as far as they can drop a packet: chains with their hooks and policies,
//! and rules with what they do, what they compare and what they have counted. iptables-nft is among them.
//!
//! Nothing is printed here, and no rule is changed. Expressions that are not known restrict a rule, as far as this file
//! is concerned: it may match, or not.
//! <https://git.netfilter.org/libnftnl>, include/uapi/linux/netfilter/nf_tables.h

use std::io;

use super::{
    Channel,
    channel::Error,
    message::{attributes, text},
};

/// NFNL_SUBSYS_NFTABLES in the upper half; NFT_MSG_GETCHAIN and NFT_MSG_GETRULE.
const GET_CHAINS: u16 = 10 << 8 | 4;
const GET_RULES: u16 = 10 << 8 | 7;
/// `struct nfgenmsg`.
const HEADER: usize = 4;
/// NFT_REG_VERDICT.
const VERDICT: u32 = 0;
/// NFT_JUMP and NFT_GOTO.
const JUMP: i32 = -3;
const GOTO: i32 = -4;

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// NFPROTO_*: 1 inet, 2 ip, 5 netdev, 7 bridge, 10 ip6.
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) name: String,
    /// NF_INET_*; a chain without is only jumped to.
    pub(crate) hook: Option<u32>,
    pub(crate) policy_drops: bool,
    /// The number of its rules, and of what jumps to it.
    rules: u32,
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) chain: String,
    pub(crate) handle: u64,
    /// It drops, or may: it hands the packet to a program, or takes the verdict from a map.
    pub(crate) drops: bool,
    /// It answers, too.
    pub(crate) rejects: bool,
    pub(crate) jumps: Vec<String>,
    /// It takes the verdict from a map, which may name any chain.
    pub(crate) jumps_by_map: bool,
    /// The packets that it has counted, if it counts.
    pub(crate) packets: Option<u64>,
    pub(crate) tests: Vec<Test>,
}

/// A comparison with bytes of the packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Test {
    /// NFT_PAYLOAD_*: 1 from the IP header on, 2 from the TCP header on.
    pub(crate) base: u32,
    pub(crate) offset: usize,
    pub(crate) mask: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) is_equal: bool,
}

/// The most rules that are read: fifty thousand take a tenth of a second.
const MOST: u64 = 20_000;

/// All chains and rules; an error where there are too many to read them in passing.
pub(crate) fn list(channel: &mut Channel) -> Result<(Vec<Chain>, Vec<Rule>), Error> {
    // AF_UNSPEC: of every family.
    let chains = channel.dump(GET_CHAINS, &[0; HEADER], chain)?;
    let count: u64 = chains.iter().map(|it| u64::from(it.rules)).sum();
    if count > MOST {
        return Err(io::Error::other(format!("{count} rules are more than {MOST}")).into());
    }
    // Without a chain there is no rule.
    let rules = if chains.is_empty() { Vec::new() } else { channel.dump(GET_RULES, &[0; HEADER], rule)? };
    Ok((chains, rules))
}

impl Channel {
    /// For the rules of the firewall, in the network namespace of the calling thread.
    pub(crate) fn netfilter() -> io::Result<Self> {
        Self::open(netlink_sys::protocols::NETLINK_NETFILTER)
    }
}

fn chain(payload: &[u8]) -> Option<Chain> {
    let mut it = Chain { family: *payload.first()?, ..Chain::default() };
    for attribute in attributes(payload.get(HEADER..)?) {
        match attribute.kind() {
            1 => it.table = text(attribute.value()),
            3 => it.name = text(attribute.value()),
            4 => it.hook = part(attribute.value(), 1).and_then(|bytes| number(&bytes)),
            6 => it.rules = number(attribute.value()).unwrap_or(0),
            5 => it.policy_drops = number(attribute.value()) == Some(0),
            _ => {}
        }
    }
    Some(it)
}

fn rule(payload: &[u8]) -> Option<Rule> {
    let mut it = Rule { family: *payload.first()?, ..Rule::default() };
    let mut loaded = None;
    for attribute in attributes(payload.get(HEADER..)?) {
        match attribute.kind() {
            1 => it.table = text(attribute.value()),
            2 => it.chain = text(attribute.value()),
            3 => it.handle = long(attribute.value()).unwrap_or(0),
            4 => attributes(attribute.value()).for_each(|expression| add(&mut it, &mut loaded, expression.value())),
            _ => {}
        }
    }
    Some(it)
}

/// The bytes that the last expression loaded, and by what they were masked.
type Loaded = Option<(u32, Test)>;

fn add(rule: &mut Rule, loaded: &mut Loaded, expression: &[u8]) {
    let name = part(expression, 1).map(|name| text(&name)).unwrap_or_default();
    let data = part(expression, 2).unwrap_or_default();
    let before = loaded.take();
    match name.as_str() {
        "immediate" => immediate(rule, &data),
        "reject" => (rule.drops, rule.rejects) = (true, true),
        // A program decides, or a proxy takes the packet over.
        "queue" | "synproxy" => rule.drops = true,
        "lookup" | "objref" if part(&data, 3).and_then(|it| number(&it)) == Some(VERDICT) => {
            (rule.drops, rule.jumps_by_map) = (true, true);
        }
        "target" => {
            let name = part(&data, 1).map(|name| text(&name)).unwrap_or_default();
            rule.drops |= matches!(name.as_str(), "DROP" | "REJECT" | "NFQUEUE" | "SYNPROXY" | "TARPIT");
            rule.rejects |= name == "REJECT";
        }
        "counter" => rule.packets = part(&data, 2).and_then(|it| long(&it)),
        "payload" => *loaded = payload(&data),
        "bitwise" => *loaded = before.and_then(|it| masked(it, &data)),
        "cmp" => rule.tests.extend(before.and_then(|it| compared(it, &data))),
        _ => {}
    }
}

/// A verdict; a number for a register is none.
fn immediate(rule: &mut Rule, data: &[u8]) {
    let Some(verdict) = part(data, 2).and_then(|data| part(&data, 2)) else { return };
    match part(&verdict, 1).and_then(|code| number(&code)).map(u32::cast_signed) {
        Some(0) => rule.drops = true,
        Some(JUMP | GOTO) => rule.jumps.extend(part(&verdict, 2).map(|name| text(&name))),
        // NF_QUEUE, with the queue's number above it.
        Some(code) if code > 0 && code & 0xff == 3 => rule.drops = true,
        Some(_) | None => {}
    }
}

fn payload(data: &[u8]) -> Loaded {
    let field = |kind| part(data, kind).and_then(|it| number(&it));
    let (register, base, offset, length) = (field(1)?, field(2)?, field(3)?, field(4)?);
    let mask = vec![0xff; usize::try_from(length).ok().filter(|&it| it <= 16)?];
    Some((register, Test { base, offset: offset as usize, mask, ..Test::default() }))
}

/// Only a mask that changes nothing else.
fn masked((register, test): (u32, Test), data: &[u8]) -> Loaded {
    let field = |kind| part(data, kind).and_then(|it| number(&it));
    let value = |kind| part(data, kind).and_then(|it| part(&it, 1));
    let is_mask = field(6).unwrap_or(0) == 0 && value(5)?.iter().all(|&it| it == 0);
    let mask = value(4).filter(|mask| is_mask && mask.len() == test.mask.len() && field(1) == Some(register))?;
    Some((field(2)?, Test { mask, ..test }))
}

fn compared((register, test): (u32, Test), data: &[u8]) -> Option<Test> {
    let field = |kind| part(data, kind).and_then(|it| number(&it));
    let value = part(data, 3).and_then(|it| part(&it, 1)).filter(|it| it.len() == test.mask.len())?;
    let is_equal = match field(2)? {
        0 => true,
        1 => false,
        // Less and greater: it may match, or not.
        _ => return None,
    };
    (field(1) == Some(register)).then_some(Test { value, is_equal, ..test })
}

impl Test {
    /// Whether it holds of a header that begins at its base, a byte and the bits that are known of it; `None`: it
    /// compares bits that are not known.
    pub(crate) fn holds(&self, header: &[(u8, u8)]) -> Option<bool> {
        let bytes = header.get(self.offset..)?.get(..self.mask.len())?;
        let compared = || bytes.iter().zip(&self.mask).zip(&self.value);
        if compared().any(|((&(_, known), mask), _)| mask & !known != 0) {
            return None;
        }
        Some(compared().all(|((&(byte, _), mask), value)| byte & mask == *value) == self.is_equal)
    }
}

/// An attribute within others. The flag of nested ones is not set by every sender.
fn part(bytes: &[u8], kind: u16) -> Option<Vec<u8>> {
    attributes(bytes).find(|it| it.kind() & 0x3fff == kind).map(|it| it.value().to_vec())
}

/// nftables' numbers have the network's order.
fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn long(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::message::push;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut it = Vec::new();
        push(&mut it, kind, value);
        it
    }

    fn expression(name: &str, data: &[u8]) -> Vec<u8> {
        attribute(1, &[attribute(1, name.as_bytes()), attribute(2, data)].concat())
    }

    fn numbers(fields: &[(u16, u32)]) -> Vec<u8> {
        fields.iter().flat_map(|(kind, value)| attribute(*kind, &value.to_be_bytes())).collect()
    }

    #[test]
    fn a_rule_is_what_it_compares_and_does() {
        let verdict = attribute(2, &attribute(2, &attribute(1, &0u32.to_be_bytes())));
        let expressions = [
            expression("payload", &numbers(&[(1, 1), (2, 2), (3, 2), (4, 2)])),
            expression("cmp", &[numbers(&[(1, 1), (2, 0)]), attribute(3, &attribute(1, &[0, 80]))].concat()),
            expression("counter", &[attribute(1, &[0; 8]), attribute(2, &7u64.to_be_bytes())].concat()),
            expression("immediate", &[numbers(&[(1, 0)]), verdict].concat()),
        ]
        .concat();
        let payload = [vec![1, 0, 0, 0], attribute(1, b"t\0"), attribute(2, b"i\0"), attribute(4, &expressions)];
        let found = rule(&payload.concat()).expect("it is one");
        assert_eq!((found.family, &*found.table, &*found.chain), (1, "t", "i"));
        assert!(found.drops && !found.rejects, "{found:?}");
        assert_eq!(found.packets, Some(7));
        let [test] = &found.tests[..] else { panic!("{found:?}") };
        let holds = |port, known| test.holds(&[(0, 0), (0, 0), (0, 0xff), (port, known)]);
        assert_eq!([holds(80, 0xff), holds(81, 0xff), holds(81, 0x7f)], [Some(true), Some(false), None]);
        assert_eq!(test.holds(&[]), None);
        assert_eq!(rule(&[]), None);
    }
}
