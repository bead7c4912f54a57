//! A filter's text as tokens, each with its place.
//!
//! Knows every word that pcap-filter reserves, so that the parser can tell a word that tcptrace leaves out from a name.
//! Decides nothing: an odd character is a token like another, and the parser says what it wanted instead.

use std::ops::Range;

/// A token and its place, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) span: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    Slash,
    Not,
    And,
    Or,
    Src,
    Dst,
    Host,
    Net,
    Mask,
    Port,
    PortRange,
    Tcp,
    Ip,
    Ip6,
    /// A number, an address, a name, a range: whatever is reserved for nothing.
    Value,
    /// A protocol that tcptrace does not trace.
    Untraced,
    /// Another word that pcap-filter reserves.
    Outside,
    /// A character or an operator that begins nothing in the subset.
    Symbol,
}

/// The tokens, in linear time.
pub(super) fn lex(text: &str) -> Vec<Lexeme> {
    let mut lexemes = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (token, length) = match first {
            ' ' | '\t' | '\r' | '\n' => {
                at += 1;
                continue;
            }
            _ if rest.starts_with("&&") => (Token::And, 2),
            _ if rest.starts_with("||") => (Token::Or, 2),
            _ if ["!=", "==", "<=", ">=", "<<", ">>"].iter().any(|it| rest.starts_with(it)) => (Token::Symbol, 2),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '/' => (Token::Slash, 1),
            '!' => (Token::Not, 1),
            first if in_word(first) => {
                let length = rest.find(|it| !in_word(it)).unwrap_or(rest.len());
                (word(&rest[..length]), length)
            }
            other => (Token::Symbol, other.len_utf8()),
        };
        lexemes.push(Lexeme { token, span: at..at + length });
        at += length;
    }
    lexemes
}

/// Characters beyond ASCII belong to words, so that a mistake shows the whole of what was meant as a name.
fn in_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || ".:_-".contains(character) || !character.is_ascii() && !character.is_control()
}

/// Which word this is; pcap-filter's are in lower case.
pub(super) fn word(text: &str) -> Token {
    match text {
        "not" => Token::Not,
        "and" => Token::And,
        "or" => Token::Or,
        "src" => Token::Src,
        "dst" => Token::Dst,
        "host" => Token::Host,
        "net" => Token::Net,
        "mask" => Token::Mask,
        "port" => Token::Port,
        "portrange" => Token::PortRange,
        "tcp" => Token::Tcp,
        "ip" => Token::Ip,
        "ip6" => Token::Ip6,
        _ if UNTRACED.contains(&text) => Token::Untraced,
        _ if OUTSIDE.contains(&text) => Token::Outside,
        _ if text.starts_with("icmp-") || text.starts_with("icmp6-") || text.starts_with("tcp-") => Token::Outside,
        _ => Token::Value,
    }
}

#[rustfmt::skip]
const UNTRACED: &[&str] = &[
    "udp", "sctp", "icmp", "icmp6", "igmp", "igrp", "pim", "vrrp", "carp", "ah", "esp", "arp", "rarp", "atalk", "aarp",
    "decnet", "lat", "sca", "moprc", "mopdl", "iso", "esis", "es-is", "isis", "is-is", "clnp", "stp", "ipx", "netbeui",
];

#[rustfmt::skip]
const OUTSIDE: &[&str] = &[
    "link", "ether", "ppp", "slip", "fddi", "tr", "wlan", "radio", "l1", "l2", "iih", "lsp", "snp", "csnp", "psnp",
    "proto", "protochain", "gateway", "type", "subtype", "direction", "dir", "address1", "addr1", "address2", "addr2",
    "address3", "addr3", "address4", "addr4", "ra", "ta", "less", "greater", "byte", "broadcast", "multicast", "len",
    "length", "inbound", "outbound", "ifindex", "vlan", "mpls", "pppoed", "pppoes", "geneve", "lane", "llc", "metac",
    "bcc", "oam", "oamf4", "oamf4ec", "oamf4sc", "sc", "ilmic", "vpi", "vci", "connectmsg", "metaconnect", "on",
    "ifname", "rset", "ruleset", "rnr", "rulenum", "srnr", "subrulenum", "reason", "action", "fisu", "lssu", "lsu",
    "msu", "hfisu", "hlssu", "hmsu", "sio", "opc", "dpc", "sls", "hsio", "hopc", "hdpc", "hsls", "icmptype", "icmpcode",
    "icmp6type", "icmp6code", "tcpflags",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_need_no_space_where_pcap_filter_needs_none() {
        let tokens = |text| lex(text).into_iter().map(|it| it.token).collect::<Vec<_>>();
        assert_eq!(tokens("!(tcp&&ip)||ip6"), tokens("! ( tcp && ip ) || ip6"));
        assert_eq!(tokens("net 10.0.0.0/8"), tokens("net\t10.0.0.0 / 8"));
        assert_eq!(tokens("port80or"), [Token::Value]);
        assert_eq!(tokens("port != 80"), [Token::Port, Token::Symbol, Token::Value]);
    }

    #[test]
    fn spans_are_of_the_text() {
        let text = "host  größe\u{a0}🦀, port";
        let words: Vec<_> = lex(text).into_iter().map(|it| &text[it.span]).collect();
        assert_eq!(words, ["host", "größe\u{a0}🦀", ",", "port"]);
    }
}
