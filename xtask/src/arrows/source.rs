//! One file: the modules it declares, what they import, what they define, and every path that their code mentions.
//!
//! Items are parsed by syn. Paths are looked for in the tokens of each item and not in its syntax tree, which ends at
//! every macro: `assert!(crate::a::b())` is an arrow like any other. Code that is compiled for tests alone is left out.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// A module's own text, without its child modules.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) imports: Vec<Import>,
    pub(crate) items: HashSet<String>,
    pub(crate) mentions: Vec<Mention>,
    pub(crate) modules: Vec<Declared>,
    /// Macros that `#[macro_export]` puts into the crate's root.
    pub(crate) exported: Vec<String>,
}

/// One name that a `use` brings in.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// `None` for a glob.
    pub(crate) name: Option<String>,
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    pub(crate) public: bool,
}

/// A path in code.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// A child module: its text where it is inline, the value of `#[path]` where it has one.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) inline: Option<Text>,
    pub(crate) path: Option<String>,
}

impl Text {
    pub(crate) fn parse(source: &str) -> Result<Self> {
        let file = syn::parse_file(source).context("this is not Rust")?;
        Self::of(file.items)
    }

    fn of(items: Vec<Item>) -> Result<Self> {
        let mut text = Self::default();
        for item in items {
            if !attributes(&item).iter().any(|attribute| is_for_tests(&attribute.meta.to_token_stream())) {
                text.add(item)?;
            }
        }
        Ok(text)
    }

    fn add(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Mod(module) => {
                let declared = Declared::of(module)?;
                self.modules.push(declared);
                return Ok(());
            }
            Item::Use(import) => {
                self.import(&import);
                return Ok(());
            }
            Item::Macro(made) if made.ident.is_some() => {
                let name = made.ident.as_ref().map(ToString::to_string).unwrap_or_default();
                if made.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) {
                    self.exported.push(name.clone());
                }
                self.items.insert(name);
                self.walk(made.to_token_stream());
            }
            other => {
                self.items.extend(name(&other));
                self.walk(other.to_token_stream());
            }
        }
        Ok(())
    }

    fn import(&mut self, import: &ItemUse) {
        let public = !matches!(import.vis, Visibility::Inherited);
        flatten(&import.tree, &mut Vec::new(), public, &mut self.imports);
    }

    /// Finds the paths and the local `use` lines among tokens.
    fn walk(&mut self, tokens: TokenStream) {
        let tokens = tokens.into_iter().collect::<Vec<_>>();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => self.attribute(&tokens, at + 1),
                TokenTree::Group(group) => {
                    self.walk(group.stream());
                    at + 1
                }
                TokenTree::Ident(ident) if *ident == "use" && !is_punct(&tokens, at + 1, '<') => {
                    self.local_use(&tokens, at)
                }
                TokenTree::Ident(ident) => self.mention(&tokens, at, ident),
                TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
            };
        }
    }

    /// An attribute's paths may be strings (`with = "crate::a"`). One for tests takes what it stands before with it.
    fn attribute(&mut self, tokens: &[TokenTree], mut at: usize) -> usize {
        at += usize::from(is_punct(tokens, at, '!'));
        let Some(TokenTree::Group(group)) = tokens.get(at) else { return at };
        if group.delimiter() != Delimiter::Bracket {
            return at;
        }
        if is_for_tests(&group.stream()) {
            return end_of_item(tokens, at + 1);
        }
        self.strings(group);
        self.walk(group.stream());
        at + 1
    }

    fn strings(&mut self, group: &Group) {
        for token in group.stream() {
            match token {
                TokenTree::Group(inner) => self.strings(&inner),
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    let text = literal.to_string();
                    let path = text.trim_matches('"').split("::").map(str::to_owned).collect::<Vec<_>>();
                    if path.len() > 1 && path.iter().all(|word| syn::parse_str::<Ident>(word).is_ok() || is_root(word))
                    {
                        self.mentions.push(Mention { path, line });
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }

    fn local_use(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let ends = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';');
        let Some(length) = tokens[at..].iter().position(ends) else { return at + 1 };
        let end = at + length + 1;
        let line = tokens[at..end].iter().cloned().collect::<TokenStream>();
        if let Ok(import) = syn::parse2::<ItemUse>(line) {
            self.import(&import);
        }
        end
    }

    /// A path that begins here; a field or a method is none.
    fn mention(&mut self, tokens: &[TokenTree], at: usize, first: &Ident) -> usize {
        let is_member = at > 0 && is_punct(tokens, at - 1, '.') && !(at > 1 && is_punct(tokens, at - 2, '.'));
        let mut path = vec![plain(first)];
        let mut end = at + 1;
        while is_punct(tokens, end, ':')
            && is_punct(tokens, end + 1, ':')
            && let Some(TokenTree::Ident(next)) = tokens.get(end + 2)
        {
            path.push(plain(next));
            end += 3;
        }
        if !is_member {
            self.mentions.push(Mention { path, line: first.span().start().line });
        }
        end
    }
}

impl Declared {
    fn of(module: ItemMod) -> Result<Self> {
        let path = module.attrs.iter().find_map(|attribute| {
            let meta = attribute.meta.require_name_value().ok().filter(|meta| meta.path.is_ident("path"))?;
            Some(meta.value.to_token_stream().to_string().trim_matches('"').to_owned())
        });
        let inline = module.content.map(|(_, items)| Text::of(items)).transpose()?;
        Ok(Self { name: plain(&module.ident), inline, path })
    }
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, public: bool, imports: &mut Vec<Import>) {
    match tree {
        UseTree::Path(path) => {
            before.push(plain(&path.ident));
            flatten(&path.tree, before, public, imports);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, public, imports)),
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            imports.push(Import { name: None, path: before.clone(), line, public });
        }
        UseTree::Name(name) => named(&name.ident, None, before, public, imports),
        UseTree::Rename(renamed) => named(&renamed.ident, Some(&renamed.rename), before, public, imports),
    }
}

/// `a::{self}` is `a`.
fn named(ident: &Ident, rename: Option<&Ident>, before: &[String], public: bool, imports: &mut Vec<Import>) {
    let mut path = before.to_vec();
    if *ident != "self" || path.is_empty() {
        path.push(plain(ident));
    }
    let name = rename.map(plain).or_else(|| path.last().cloned());
    imports.push(Import { name, path, line: ident.span().start().line, public });
}

/// After an attribute: behind the item, field or arm that it stands before, whatever else stands before that.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let is_use = tokens[from..].iter().take(3).any(|token| matches!(token, TokenTree::Ident(word) if *word == "use"));
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';' || punct.as_char() == ',',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !is_use,
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    tokens[from..].iter().position(ends).map_or(tokens.len(), |length| from + length + 1)
}

/// `cfg(test)` and what asks for it among others, but not `cfg(not(test))`.
fn is_for_tests(attribute: &TokenStream) -> bool {
    let mut tokens = attribute.clone().into_iter();
    let is_cfg = matches!(tokens.next(), Some(TokenTree::Ident(name)) if name == "cfg");
    let Some(TokenTree::Group(condition)) = tokens.next() else { return false };
    is_cfg && needs_test(condition.stream())
}

fn needs_test(condition: TokenStream) -> bool {
    let tokens = condition.into_iter().collect::<Vec<_>>();
    tokens.iter().enumerate().any(|(at, token)| match (token, tokens.get(at + 1)) {
        (TokenTree::Ident(word), Some(TokenTree::Group(inner))) if *word == "all" => needs_test(inner.stream()),
        (TokenTree::Ident(word), _) => *word == "test",
        _ => false,
    })
}

fn is_punct(tokens: &[TokenTree], at: usize, letter: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == letter)
}

fn is_root(word: &str) -> bool {
    ["crate", "super", "self"].contains(&word)
}

fn plain(ident: &Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(plain(ident))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mentioned(source: &str) -> Vec<String> {
        let text = Text::parse(source).unwrap();
        let all = text.mentions.iter().map(|mention| format!("{}:{}", mention.line, mention.path.join("::")));
        all.filter(|it| it.contains("::")).collect()
    }

    #[test]
    fn paths_are_found_in_macros_attributes_types_and_ranges() {
        let source = "fn f(a: crate::a::A) -> <crate::b::B as super::c::C>::D {\n assert!(crate::d::e(), \"{}\", x.y);\n\
                      let s = S { ..crate::s::new() };\n}\n#[serde(with = \"crate::w\")]\nstruct S(self::t::T);\n\
                      macro_rules! m { () => { $crate::q::r() } }";
        let expected = [
            "1:crate::a::A",
            "1:crate::b::B",
            "1:super::c::C",
            "2:crate::d::e",
            "3:crate::s::new",
            "5:crate::w",
            "6:self::t::T",
            "7:crate::q::r",
        ];
        assert_eq!(mentioned(source), expected);
    }

    #[test]
    fn what_is_for_tests_alone_is_left_out() {
        let source = "#[cfg(test)] mod tests { use super::x::Y; fn f() { crate::a::b() } }\n\
                      #[cfg(all(test, unix))] use crate::c::{D};\n#[cfg(not(test))] fn g() { crate::kept::h() }\n\
                      impl S { #[cfg(test)] fn i(&self) { crate::j::k() } fn l(&self) { crate::kept::m() } }";
        let text = Text::parse(source).unwrap();
        assert!(text.imports.is_empty() && text.modules.is_empty());
        assert_eq!(mentioned(source), ["3:crate::kept::h", "4:crate::kept::m"]);
    }

    #[test]
    fn use_trees_are_flattened_also_within_functions() {
        let source = "pub use a::{self, b::{C as D, e}, f::*};\nfn g() { use super::h::I; }";
        let text = Text::parse(source).unwrap();
        let shown = |import: &Import| {
            format!("{} {} {}", import.path.join("::"), import.name.as_deref().unwrap_or("*"), import.public)
        };
        let expected = ["a a true", "a::b::C D true", "a::b::e e true", "a::f * true", "super::h::I I false"];
        assert_eq!(text.imports.iter().map(shown).collect::<Vec<_>>(), expected);
    }
}
