//! From tokens to an expression, by recursive descent.
//!
//! A bare value inherits as in libpcap's grammar, and not the manual's "most recent keyword": after a parenthesis it
//! inherits what stood before it, and after a bare protocol nothing. Recursion is bounded by [`DEEPEST`], and each
//! token is looked at no more often than it has parentheses around it.

use std::ops::Range;

use super::{
    Expression, Join, Mistake,
    cursor::{AFTER_PROTOCOL, Cursor, PRIMITIVE},
    error::{Problem, quoted},
    lex::Token,
    primitive::{Direction, Net, Primitive},
    value::{self, Literal},
};

/// The limit of nested parentheses. The stack holds many more.
const DEEPEST: usize = 64;

/// Nothing for an empty text.
pub(super) fn filter(text: &str) -> Result<Option<Expression>, Mistake> {
    let mut parser = Parser { cursor: Cursor::new(text), depth: 0 };
    if parser.cursor.token().is_none() {
        return Ok(None);
    }
    let (expression, _) = parser.expression(None)?;
    match parser.cursor.token() {
        None => Ok(Some(expression)),
        Some(Token::Close) => Err(parser.cursor.wrong(Problem::Unopened)),
        Some(_) => Err(parser.cursor.unexpected("'and' or 'or'")),
    }
}

/// The qualifiers in front of a value, which following values inherit.
#[derive(Clone, Copy)]
struct Head {
    family: Option<Family>,
    direction: Direction,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
}

/// An expression, and what a value after it inherits.
type Operand = (Expression, Option<Head>);

struct Parser<'text> {
    cursor: Cursor<'text>,
    /// Parentheses that are open.
    depth: usize,
}

impl Parser<'_> {
    /// Operands and what joins them, up to a parenthesis or the end.
    fn expression(&mut self, inherited: Option<Head>) -> Result<Operand, Mistake> {
        let (first, mut head) = self.operand(inherited)?;
        let mut rest = Vec::new();
        while let Some(join) = self.cursor.join() {
            let (operand, following) = self.operand(head)?;
            rest.push((join, operand));
            head = following;
        }
        Ok((Expression::chain(first, rest), head))
    }

    fn operand(&mut self, inherited: Option<Head>) -> Result<Operand, Mistake> {
        let negated = self.cursor.negations();
        let (expression, head) = match self.cursor.token() {
            Some(Token::Open) if !self.cursor.values_ahead() => {
                (self.parenthesis(|parser| Ok(parser.expression(inherited)?.0))?, inherited)
            }
            Some(Token::Open | Token::Value) => {
                self.cursor.well_spelt()?;
                let head = inherited.ok_or_else(|| self.cursor.bare())?;
                (self.values(head)?, inherited)
            }
            _ => self.qualified()?,
        };
        Ok((if negated { expression.negated() } else { expression }, head))
    }

    /// A protocol alone, or qualifiers with what they qualify.
    fn qualified(&mut self) -> Result<Operand, Mistake> {
        let start = self.cursor.at();
        let protocol = self.cursor.take(|it| matches!(it, Token::Tcp | Token::Ip | Token::Ip6));
        let direction = self.direction()?;
        let kind = self.cursor.take(|it| matches!(it, Token::Host | Token::Net | Token::Port | Token::PortRange));
        if kind.is_none() && direction.is_some() {
            self.cursor.well_spelt()?;
        }
        let (kind, noun) = match (kind, direction, protocol) {
            (Some(Token::Net), ..) => (Kind::Net, "networks"),
            (Some(Token::Port), ..) => (Kind::Port, "ports"),
            (Some(Token::PortRange), ..) => (Kind::PortRange, "ports"),
            (Some(_), ..) | (None, Some(_), _) => (Kind::Host, "hosts"),
            (None, None, Some(protocol)) => return self.protocol(protocol),
            (None, None, None) => {
                return Err(self.cursor.unexpected(PRIMITIVE));
            }
        };
        let family = match (protocol, kind) {
            (Some(Token::Tcp), Kind::Host | Kind::Net) => {
                let remedy = "join them with 'and', or write 'port'";
                return Err(self.cursor.wrong_at(start, Problem::Qualifier { protocol: "tcp", kind: noun, remedy }));
            }
            (Some(ip @ (Token::Ip | Token::Ip6)), Kind::Port | Kind::PortRange) => {
                let protocol = if ip == Token::Ip { "ip" } else { "ip6" };
                let remedy = "join them with 'and'";
                return Err(self.cursor.wrong_at(start, Problem::Qualifier { protocol, kind: noun, remedy }));
            }
            (Some(Token::Ip), _) => Some(Family::V4),
            (Some(Token::Ip6), _) => Some(Family::V6),
            _ => None,
        };
        let head = Head { family, direction: direction.unwrap_or(Direction::Either), kind };
        Ok((self.values(head)?, Some(head)))
    }

    /// A protocol that qualifies nothing: nothing is inherited from it.
    fn protocol(&self, protocol: Token) -> Result<Operand, Mistake> {
        if !matches!(self.cursor.token(), None | Some(Token::And | Token::Or | Token::Close)) {
            return Err(self.cursor.unexpected(AFTER_PROTOCOL));
        }
        let primitive = if protocol == Token::Ip {
            Primitive::Ip
        } else if protocol == Token::Ip6 {
            Primitive::Ip6
        } else {
            Primitive::Tcp
        };
        Ok((Expression::Primitive(primitive), None))
    }

    /// `src`, `dst`, or both with a word between them.
    fn direction(&mut self) -> Result<Option<Direction>, Mistake> {
        let Some(first) = self.cursor.take(|it| matches!(it, Token::Src | Token::Dst)) else { return Ok(None) };
        let Some(join) = self.cursor.join() else {
            return Ok(Some(if first == Token::Src { Direction::Src } else { Direction::Dst }));
        };
        let (other, expected) = if first == Token::Src { (Token::Dst, "'dst'") } else { (Token::Src, "'src'") };
        self.cursor.take(|it| it == other).ok_or_else(|| self.cursor.unexpected(expected))?;
        Ok(Some(match join {
            Join::And => Direction::Both,
            Join::Or => Direction::Either,
        }))
    }

    /// A value, or several in parentheses, each with the same qualifiers.
    fn values(&mut self, head: Head) -> Result<Expression, Mistake> {
        let negated = self.cursor.negations();
        let values = if self.cursor.token() == Some(Token::Open) {
            self.parenthesis(|parser| {
                if parser.cursor.token() == Some(Token::Open) && !parser.cursor.number_ahead() {
                    return Err(parser.cursor.wrong(Problem::ListInList));
                }
                let first = parser.values(head)?;
                let mut rest = Vec::new();
                while let Some(join) = parser.cursor.join() {
                    rest.push((join, parser.values(head)?));
                }
                Ok(Expression::chain(first, rest))
            })?
        } else {
            Expression::Primitive(self.value(head)?)
        };
        Ok(if negated { values.negated() } else { values })
    }

    fn value(&mut self, head: Head) -> Result<Primitive, Mistake> {
        let expected = match head.kind {
            Kind::Host => "an address",
            Kind::Net => "a network",
            Kind::Port => "a port",
            Kind::PortRange => "two ports and a hyphen",
        };
        let (word, span) = self.cursor.value(expected)?;
        let there = |problem| self.cursor.mistake(span.clone(), problem);
        Ok(match head.kind {
            Kind::Host => {
                let net = Literal::parse(word).and_then(|it| it.host(word)).map_err(there)?;
                if matches!(self.cursor.token(), Some(Token::Slash | Token::Mask)) {
                    return Err(self.cursor.wrong(Problem::MaskOfHost));
                }
                Primitive::Net(head.direction, self.of_family(head, net, word, span)?)
            }
            Kind::Net => {
                let net = self.net(word, &span)?;
                Primitive::Net(head.direction, self.of_family(head, net, word, span)?)
            }
            Kind::Port => {
                let port = value::port(word).map_err(there)?;
                Primitive::Ports(head.direction, port, port)
            }
            Kind::PortRange => {
                // Divided as libpcap does, so a name with a hyphen cannot come first. A number may be alone, a name may
                // not.
                let (first, last) = match word.split_once('-') {
                    None if !value::number(word) => return Err(there(Problem::NoRange(quoted(word)))),
                    divided => divided.unwrap_or((word, word)),
                };
                let bound = |word: &str, start| {
                    value::bound(word).map_err(|problem| self.cursor.mistake(start..start + word.len(), problem))
                };
                let (first, last) = (bound(first, span.start)?, bound(last, span.end - last.len())?);
                // libpcap turns them as well.
                Primitive::Ports(head.direction, first.min(last), first.max(last))
            }
        })
    }

    /// The rest of a network whose address is at `span`.
    fn net(&mut self, word: &str, span: &Range<usize>) -> Result<Net, Mistake> {
        let literal = Literal::parse(word).map_err(|problem| self.cursor.mistake(span.clone(), problem))?;
        let Some(divider) = self.cursor.take(|it| matches!(it, Token::Slash | Token::Mask)) else {
            return literal.net(word, None).map_err(|problem| self.cursor.mistake(span.clone(), problem));
        };
        let expected = if divider == Token::Slash { "a prefix length" } else { "a mask" };
        let (suffix, last) = self.cursor.value(expected)?;
        let there = |problem| self.cursor.mistake(last.clone(), problem);
        let net = if divider == Token::Slash {
            literal.net(word, Some(value::length(suffix, literal.bits()).map_err(there)?))
        } else {
            literal.masked(word, Literal::parse(suffix).map_err(there)?, suffix)
        };
        net.map_err(|problem| self.cursor.mistake(span.start..last.end, problem))
    }

    /// The network, if `ip` or `ip6` in front of it allows it.
    fn of_family(&self, head: Head, net: Net, word: &str, span: Range<usize>) -> Result<Net, Mistake> {
        let (protocol, family) = match (head.family, net.is_v4()) {
            (Some(Family::V4), false) => ("ip", "IPv6"),
            (Some(Family::V6), true) => ("ip6", "IPv4"),
            _ => return Ok(net),
        };
        Err(self.cursor.mistake(span, Problem::Family { protocol, word: quoted(word), family }))
    }

    /// The content of a parenthesis.
    fn parenthesis(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<Expression, Mistake>,
    ) -> Result<Expression, Mistake> {
        let open = self.cursor.at();
        if self.depth == DEEPEST {
            return Err(self.cursor.wrong(Problem::TooDeep(DEEPEST)));
        }
        self.depth += 1;
        self.cursor.take(|it| it == Token::Open);
        let inner = inner(self)?;
        self.depth -= 1;
        match self.cursor.take(|it| it == Token::Close) {
            Some(_) => Ok(inner),
            None if self.cursor.token().is_none() => Err(self.cursor.wrong_at(open, Problem::Unclosed)),
            None => Err(self.cursor.unexpected("'and', 'or' or ')'")),
        }
    }
}
