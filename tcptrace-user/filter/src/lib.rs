//! The filter language: which attempts to report, in a subset of pcap-filter(7).
//!
//! A filter applies to an attempt's SYN, so `src` is the client and `dst` the server. Whatever it accepts, tcpdump
//! accepts and reads the same way. Text that tcpdump reads and tcptrace does not is an error, never another meaning. It
//! resolves no host names.
//!
//! ```text
//! expression = operand { ("and" | "&&" | "or" | "||") operand }      equal precedence, from left to right
//! operand    = { "not" | "!" } ( "(" expression ")" | protocol | head values | values )
//! protocol   = "tcp" | "ip" | "ip6"
//! head       = [ protocol ] [ direction ] [ "host" | "net" | "port" | "portrange" ]      not a protocol alone
//! direction  = "src" | "dst" | "src or dst" | "dst or src" | "src and dst" | "dst and src"
//! values     = { "not" | "!" } ( value | "(" values { ("and" | "or") values } ")" )      with the head before
//!              the first of several in parentheses does not itself begin with one, unless a number is all in it
//! value      = address | network [ "/" length | "mask" mask ] | port | port "-" port
//! ```
//! <https://www.tcpdump.org/manpages/pcap-filter.7.html>
#![warn(missing_docs, clippy::missing_errors_doc, clippy::wildcard_enum_match_arm)]

use std::fmt;

use tcptrace_core::{flow::Endpoint, predicate::Test};

pub use self::error::Mistake;
use self::primitive::Primitive;

mod compile;
mod cursor;
mod error;
mod lex;
mod near;
mod parse;
mod primitive;
pub mod services;
mod value;

/// Which attempts are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Nothing wants everything, as tcpdump's empty filter does.
    root: Option<Expression>,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// The first mistake in the text, with its place and the remedy.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        parse::filter(text).map(|root| Self { root })
    }

    /// The same filter for the kernel; `None` where it is too long for that.
    #[must_use]
    pub fn tests(&self) -> Option<Vec<Test>> {
        compile::tests(self.root.as_ref())
    }

    /// Whether an attempt from `src`, the client, to `dst`, the server, is wanted.
    #[must_use]
    pub fn matches(&self, src: Endpoint, dst: Endpoint) -> bool {
        self.root.as_ref().is_none_or(|root| root.matches(src, dst))
    }
}

/// The canonical text: every primitive with its own qualifiers, no parenthesis that changes nothing.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.as_ref().map_or(Ok(()), |root| root.fmt(f))
    }
}

impl std::str::FromStr for Filter {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        Self::parse(text)
    }
}

/// An expression. It is as deep as its parentheses, which the parser bounds; a chain of any length is flat.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    Primitive(Primitive),
    /// Never of another `Not`.
    Not(Box<Expression>),
    /// Evaluated from left to right; the first is never a chain, and the rest is never empty.
    Chain(Box<Expression>, Vec<(Join, Expression)>),
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    And,
    Or,
}

impl Expression {
    fn matches(&self, src: Endpoint, dst: Endpoint) -> bool {
        match self {
            Self::Primitive(primitive) => primitive.matches(src, dst),
            Self::Not(inner) => !inner.matches(src, dst),
            Self::Chain(first, rest) => {
                rest.iter().fold(first.matches(src, dst), |so_far, (join, operand)| match join {
                    Join::And => so_far && operand.matches(src, dst),
                    Join::Or => so_far || operand.matches(src, dst),
                })
            }
        }
    }

    fn negated(self) -> Self {
        if let Self::Not(inner) = self { *inner } else { Self::Not(Box::new(self)) }
    }

    /// A parenthesis around what comes first changes nothing, so it is not kept.
    fn chain(first: Self, mut rest: Vec<(Join, Self)>) -> Self {
        if rest.is_empty() {
            return first;
        }
        let Self::Chain(first, mut before) = first else { return Self::Chain(Box::new(first), rest) };
        before.append(&mut rest);
        Self::Chain(first, before)
    }

    /// As an operand: a chain needs its parentheses.
    fn fmt_operand(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(..) => write!(f, "({self})"),
            Self::Primitive(_) | Self::Not(_) => write!(f, "{self}"),
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(primitive) => primitive.fmt(f),
            Self::Not(inner) => {
                f.write_str("not ")?;
                inner.fmt_operand(f)
            }
            Self::Chain(first, rest) => {
                first.fmt_operand(f)?;
                for (join, operand) in rest {
                    f.write_str(match join {
                        Join::And => " and ",
                        Join::Or => " or ",
                    })?;
                    operand.fmt_operand(f)?;
                }
                Ok(())
            }
        }
    }
}
