//! A place among the tokens: the next token, the taken ones, and the words for what should have been there.
//!
//! Knows nothing of the grammar.

use std::ops::Range;

use super::{
    Join, Mistake,
    error::{Problem, quoted},
    lex::{self, Lexeme, Token},
    near, value,
};

/// The tokens that an operand begins with, except parentheses and negation.
pub(super) const PRIMITIVE: &str = "a word such as 'host', 'net' or 'port'";
/// What can follow a protocol.
pub(super) const AFTER_PROTOCOL: &str = "'and', 'or' or a qualifier";

pub(super) struct Cursor<'text> {
    text: &'text str,
    lexemes: Vec<Lexeme>,
    at: usize,
}

impl<'text> Cursor<'text> {
    pub(super) fn new(text: &'text str) -> Self {
        Self { text, lexemes: lex::lex(text), at: 0 }
    }

    /// The number of tokens taken; the next one's place for [`Self::wrong_at`].
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Takes a value: its text and where it is.
    pub(super) fn value(&mut self, expected: &'static str) -> Result<(&'text str, Range<usize>), Mistake> {
        self.take(|it| it == Token::Value).ok_or_else(|| self.unexpected(expected))?;
        let span = self.lexemes[self.at - 1].span.clone();
        let word = &self.text[span.clone()];
        let lower = word.to_lowercase();
        if lex::word(&lower) != Token::Value {
            return Err(self.mistake(span, Problem::Case { word: quoted(word), remedy: lower }));
        }
        Ok((word, span))
    }

    /// Whether the next is a number, in parentheses or not: to libpcap's grammar that is still a number.
    pub(super) fn number_ahead(&self) -> bool {
        let rest = &self.lexemes[self.at..];
        let depth = rest.iter().take_while(|it| it.token == Token::Open).count();
        let Some((number, behind)) = rest[depth..].split_first() else { return false };
        self.text[number.span.clone()].bytes().all(|it| it.is_ascii_digit())
            && behind.len() >= depth
            && behind[..depth].iter().all(|it| it.token == Token::Close)
    }

    /// Whether what is in the parentheses begins with a value: then there are only values in it.
    pub(super) fn values_ahead(&self) -> bool {
        let ahead = self.lexemes[self.at..].iter().find(|it| !matches!(it.token, Token::Open | Token::Not));
        ahead.is_some_and(|it| it.token == Token::Value)
    }

    /// Whether an odd number of negations is taken.
    pub(super) fn negations(&mut self) -> bool {
        let start = self.at;
        while self.take(|it| it == Token::Not).is_some() {}
        (self.at - start) % 2 == 1
    }

    pub(super) fn join(&mut self) -> Option<Join> {
        let and = self.take(|it| it == Token::And).map(|_| Join::And);
        and.or_else(|| self.take(|it| it == Token::Or).map(|_| Join::Or))
    }

    pub(super) fn take(&mut self, wanted: impl FnOnce(Token) -> bool) -> Option<Token> {
        let token = self.token().filter(|&it| wanted(it))?;
        self.at += 1;
        Some(token)
    }

    pub(super) fn token(&self) -> Option<Token> {
        self.lexemes.get(self.at).map(|it| it.token)
    }

    /// A value that inherits nothing, perhaps inside of parentheses.
    pub(super) fn bare(&self) -> Mistake {
        let at = (self.at..).find(|&at| self.lexemes[at].token == Token::Value).unwrap_or(self.at);
        let word = &self.text[self.lexemes[at].span.clone()];
        let Some(likely) = value::likely_head(word) else { return self.unexpected_at(at, PRIMITIVE) };
        self.wrong_at(at, Problem::Bare { word: quoted(word), likely })
    }

    /// Whether the next is no misspelt keyword: one that looks like a value, before what follows no value.
    pub(super) fn well_spelt(&self) -> Result<(), Mistake> {
        let Some([lexeme, next]) = self.lexemes.get(self.at..self.at + 2) else { return Ok(()) };
        let ends_a_value =
            matches!(next.token, Token::And | Token::Or | Token::Close | Token::Slash | Token::Mask | Token::Symbol);
        let lower = self.word(self.at).to_lowercase();
        // A keyword in capitals is another mistake.
        if ends_a_value || lexeme.token != Token::Value || lex::word(&lower) != Token::Value {
            return Ok(());
        }
        near::head(&lower).map_or(Ok(()), |meant| Err(self.near(self.at, meant)))
    }

    fn near(&self, at: usize, meant: &str) -> Mistake {
        self.wrong_at(at, Problem::Near { word: self.quoted(at), meant: format!("'{meant}'") })
    }

    /// The next token, or the end, is none of what can stand here.
    pub(super) fn unexpected(&self, expected: &'static str) -> Mistake {
        self.unexpected_at(self.at, expected)
    }

    fn unexpected_at(&self, at: usize, expected: &'static str) -> Mistake {
        let after = match at.checked_sub(1) {
            Some(before) => format!(" after {}", self.quoted(before)),
            None => String::new(),
        };
        let Some(lexeme) = self.lexemes.get(at) else {
            let end = self.text.trim_ascii_end().len();
            return self.mistake(end..end, Problem::Unexpected { expected, after, found: "the end".to_owned() });
        };
        let found = self.quoted(at);
        let word = self.word(at);
        let lower = word.to_lowercase();
        let is_comparison = matches!(word, "[" | "<" | ">" | "=" | "==" | "<=" | ">=") && at > 0;
        let problem = if lexeme.token == Token::Untraced {
            Problem::Untraced(found)
        } else if lexeme.token == Token::Outside {
            Problem::Outside(found)
        } else if lexeme.token == Token::Symbol && matches!(word, "&" | "|") {
            Problem::Single(found)
        } else if lexeme.token == Token::Symbol && is_comparison {
            Problem::Comparison(self.quoted(at - 1))
        } else if lexeme.token == Token::Value && lex::word(&lower) != Token::Value {
            Problem::Case { word: found, remedy: lower }
        } else if lexeme.token == Token::Value
            && let Some(meant) = keyword(&lower, expected)
        {
            return self.near(at, meant);
        } else {
            Problem::Unexpected { expected, after, found }
        };
        self.wrong_at(at, problem)
    }

    fn word(&self, at: usize) -> &'text str {
        &self.text[self.lexemes[at].span.clone()]
    }

    fn quoted(&self, at: usize) -> String {
        quoted(self.word(at))
    }

    pub(super) fn wrong(&self, problem: Problem) -> Mistake {
        self.wrong_at(self.at, problem)
    }

    pub(super) fn wrong_at(&self, at: usize, problem: Problem) -> Mistake {
        self.mistake(self.lexemes[at].span.clone(), problem)
    }

    pub(super) fn mistake(&self, span: Range<usize>, problem: Problem) -> Mistake {
        Mistake { problem, text: self.text.to_owned(), span }
    }
}

/// The keyword that was expected, and is spelt like this.
fn keyword(word: &str, expected: &'static str) -> Option<&'static str> {
    let is_head = matches!(expected, PRIMITIVE | AFTER_PROTOCOL);
    near::expected(word, expected).or_else(|| if is_head { near::head(word) } else { None })
}
