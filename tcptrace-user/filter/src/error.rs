//! Mistakes in a filter, and how they are shown: carets stand under the wrong words.
//!
//! The text is user input, so it is shown without control characters and cut to one line of a terminal.

use std::{fmt, net::Ipv4Addr, ops::Range};

/// Columns shown of the text, so that no terminal breaks the line and parts the carets from their words; of these, the
/// most that the wrong words take, and the least that is left for what follows them.
const SHOWN: usize = 74;
const WRONG: usize = 30;
const AFTER: usize = 14;
/// The part of a word that goes into a message.
const QUOTED: usize = 40;

/// Why a filter cannot be read, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub(super) problem: Problem,
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

impl Mistake {
    /// The range of the wrong words in the text, in bytes; empty, and at the end of the text, if something is missing.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The same place, with what the words there were probably meant to be: the caller may know more words than
    /// filters have.
    #[must_use]
    pub fn meant(self, meant: &str) -> Self {
        let word = quoted(&self.text[self.span.clone()]);
        Self { problem: Problem::Near { word, meant: meant.to_owned() }, ..self }
    }
}

/// The problem. Words are already in quotes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("expected {expected}{after}, found {found}")]
    Unexpected { expected: &'static str, after: String, found: String },
    #[error("{0} is not in tcptrace's subset of pcap-filter; use host, net, port, portrange, tcp, ip and ip6")]
    Outside(String),
    #[error("{0} cannot be compared: tcptrace reads no header bytes; use host, net or port")]
    Comparison(String),
    #[error("{0} is never seen: only TCP is traced; leave it out")]
    Untraced(String),
    #[error("{word} is unknown; write '{remedy}'")]
    Case { word: String, remedy: String },
    #[error("{word} is unknown; did you mean {meant}?")]
    Near { word: String, meant: String },
    #[error("{0} is one character short; write it twice")]
    Single(String),
    #[error("{word} has no qualifier; write '{likely} {}'", .word.trim_matches('\''))]
    Bare { word: String, likely: &'static str },
    #[error("this parenthesis is never closed")]
    Unclosed,
    #[error("this parenthesis was never opened")]
    Unopened,
    #[error("a list of values cannot begin with a parenthesis; put a value first")]
    ListInList,
    #[error("parentheses are nested more than {0} deep")]
    TooDeep(usize),
    #[error("'{protocol}' does not go with {kind}; {remedy}")]
    Qualifier { protocol: &'static str, kind: &'static str, remedy: &'static str },
    #[error("'{protocol}' does not go with {word}, an {family} address; leave '{protocol}' out")]
    Family { protocol: &'static str, word: String, family: &'static str },
    #[error("no such port {0}; write a number, a name of /etc/services, or 'portrange' for several")]
    NoSuchPort(String),
    #[error("no such port {0}; the highest is 65535")]
    PortTooHigh(String),
    #[error("{0} is not one port; write 'portrange'")]
    RangeAsPort(String),
    #[error("{0} is not a range; write two ports with a hyphen between them")]
    NoRange(String),
    #[error("{0} is a name, and names are not resolved; write an address")]
    Name(String),
    #[error("{0} is not an address; write one such as 10.0.0.1 or 2001:db8::1")]
    NoAddress(String),
    #[error("{0} is not a whole address; write all four numbers, or 'net' for a network")]
    PartialAddress(String),
    #[error("{word} is traced as IPv4; write {inner}")]
    Mapped { word: String, inner: Ipv4Addr },
    #[error("{0} begins with a zero, which can be read as octal; write it without")]
    LeadingZero(String),
    #[error("'{net}' has bits set outside of its mask; write {remedy}")]
    HostBits { net: String, remedy: String },
    #[error("{word} is not a prefix length; the longest is {longest}")]
    Length { word: String, longest: u32 },
    #[error("'{word}' needs all four numbers here; write {remedy}")]
    ShortNet { word: String, remedy: Ipv4Addr },
    #[error("'net 0' can be read in two ways; write 0.0.0.0/8 or 0.0.0.0/32")]
    NetZero,
    #[error("only IPv4 has masks; write a prefix length")]
    MaskOfV6,
    #[error("a mask goes with 'net' only")]
    MaskOfHost,
}

/// A word in quotes, harmless and not too long.
pub(super) fn quoted(word: &str) -> String {
    match word.char_indices().nth(QUOTED) {
        Some((cut, _)) => format!("'{}…'", word[..cut].escape_debug()),
        None => format!("'{}'", word.escape_debug()),
    }
}

impl std::error::Error for Mistake {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: &str| text.chars().map(columns).sum::<usize>();
        let wrong = head(&self.text[self.span.clone()], WRONG);
        let before = tail(&self.text[..self.span.start], SHOWN - AFTER - width(&wrong));
        let after = head(&self.text[self.span.end..], SHOWN.saturating_sub(width(&before) + width(&wrong)));
        writeln!(f, "cannot read the filter: {}", self.problem)?;
        writeln!(f, "  {}", format!("{before}{wrong}{after}").trim_end())?;
        write!(f, "  {:indent$}{}", "", "^".repeat(width(&wrong).max(1)), indent = width(&before))
    }
}

/// The beginning, as far as it fits.
fn head(text: &str, room: usize) -> String {
    let mut used = 0;
    let mut shown: String = text.chars().map(visible).take_while(|&it| fits(&mut used, it, room)).collect();
    if used > room {
        shown.push('…');
    }
    shown
}

/// The end, as far as it fits.
fn tail(text: &str, room: usize) -> String {
    let mut used = 0;
    let mut shown: Vec<_> = text.chars().rev().map(visible).take_while(|&it| fits(&mut used, it, room)).collect();
    if used > room {
        shown.push('…');
    }
    shown.iter().rev().collect()
}

fn fits(used: &mut usize, character: char, room: usize) -> bool {
    *used += columns(character);
    *used <= room
}

/// A tab is as wide as the terminal likes, and other control characters do what they like.
fn visible(character: char) -> char {
    match character {
        '\t' | '\r' | '\n' => ' ',
        _ if character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}') =>
        {
            '\u{fffd}'
        }
        _ => character,
    }
}

/// The columns of a character on a terminal: Unicode's annex 11, in blocks. A missed block only moves the carets.
fn columns(character: char) -> usize {
    match character {
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}
