//! The modules of all crates as a tree, and which of them a path leads to.
//!
//! A path is followed through re-exports to the module that defines what it names. It knows nothing of rooms and
//! circles, and nothing of types: a method that is called on a value is no path.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::source::{Declared, Import, Mention, Text};

/// Re-exports of re-exports end long before this many; a circle of them never does.
const HOPS: usize = 8;

pub(crate) struct Crate {
    /// As code names it; a program beside a library of the same name is that name and `main`.
    pub(crate) name: String,
    pub(crate) root: PathBuf,
    /// Whether other crates can name it.
    pub(crate) library: bool,
    /// Whether the table of rooms is about it.
    pub(crate) product: bool,
}

#[derive(Debug)]
pub(crate) struct Module {
    /// `tcptrace::live::hooks`.
    pub(crate) path: String,
    pub(crate) file: PathBuf,
    parent: Option<usize>,
    children: HashMap<String, usize>,
    imports: Vec<Import>,
    items: HashSet<String>,
    mentions: Vec<Mention>,
}

#[derive(Debug, Default)]
pub(crate) struct Modules {
    pub(crate) all: Vec<Module>,
    libraries: HashMap<String, usize>,
}

/// One module that uses another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrow {
    pub(crate) from: usize,
    /// The module in which the thing is defined.
    pub(crate) to: usize,
    /// The module in which the path names it, which is another one if that re-exports it.
    pub(crate) through: usize,
    pub(crate) line: usize,
    /// The path as it is written.
    pub(crate) path: String,
}

/// The target of a path.
#[derive(Clone, Copy, Debug)]
struct Target {
    module: usize,
    /// Whether it names something in the module, and not the module alone.
    item: bool,
    through: Option<usize>,
}

impl Modules {
    pub(crate) fn load(crates: &[Crate], read: &dyn Fn(&Path) -> Option<String>) -> Result<Self> {
        let mut modules = Self::default();
        for it in crates {
            let text = read(&it.root).with_context(|| format!("cannot read {}", it.root.display()))?;
            let text = Text::parse(&text).with_context(|| it.root.display().to_string())?;
            let folder = it.root.parent().unwrap_or(Path::new("")).to_owned();
            let root = modules.add(None, it.name.clone(), &it.root, &folder, text, read)?;
            if it.library {
                modules.libraries.insert(it.name.clone(), root);
            }
        }
        Ok(modules)
    }

    /// Adds a module and its children, whose files lie in `folder`.
    fn add(
        &mut self,
        parent: Option<usize>,
        path: String,
        file: &Path,
        folder: &Path,
        text: Text,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<usize> {
        let number = self.all.len();
        let Text { imports, items, mentions, modules, exported } = text;
        let root = parent.map_or(number, |parent| self.root(parent));
        let children = HashMap::new();
        self.all.push(Module { path: path.clone(), file: file.to_owned(), parent, children, imports, items, mentions });
        if root != number {
            let macros = exported.into_iter().map(|name| {
                let words = ["crate"].into_iter().chain(path.split("::").skip(1)).chain([name.as_str()]);
                let path = words.map(str::to_owned).collect();
                Import { name: Some(name), path, line: 1, public: true }
            });
            let macros = macros.collect::<Vec<_>>();
            self.all[root].imports.extend(macros);
        }
        for Declared { name, inline, path: named } in modules {
            let path = format!("{path}::{name}");
            let inner = folder.join(&name);
            let child = match inline {
                Some(text) => self.add(Some(number), path, file, &inner, text, read)?,
                None => {
                    let beside = |named: &String| file.parent().unwrap_or(Path::new("")).join(named);
                    let places = match &named {
                        Some(named) => vec![beside(named)],
                        None => vec![folder.join(format!("{name}.rs")), inner.join("mod.rs")],
                    };
                    let Some((place, text)) = places.iter().find_map(|place| Some((place, read(place)?))) else {
                        bail!("{}: no file for `mod {name};`", file.display());
                    };
                    let text = Text::parse(&text).with_context(|| place.display().to_string())?;
                    self.add(Some(number), path, place, &inner, text, read)?
                }
            };
            self.all[number].children.insert(name, child);
        }
        Ok(number)
    }

    /// Every use of another module, in the order of modules. A re-export of what lies below a module is no use.
    pub(crate) fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (from, module) in self.all.iter().enumerate() {
            for import in &module.imports {
                let found = self.resolve(from, &import.path, 0, import.name.as_deref());
                let Some(target) = found.filter(|target| target.item || import.name.is_none()) else { continue };
                if !(import.public && self.is_below(target.module, from)) {
                    arrows.extend(self.arrow(from, target, import.line, &import.path));
                }
            }
            for mention in &module.mentions {
                let found = self.resolve(from, &mention.path, 0, None).filter(|target| target.item);
                arrows.extend(found.and_then(|target| self.arrow(from, target, mention.line, &mention.path)));
            }
        }
        arrows
    }

    fn arrow(&self, from: usize, target: Target, line: usize, path: &[String]) -> Option<Arrow> {
        let through = target.through.unwrap_or(target.module);
        let arrow = Arrow { from, to: target.module, through, line, path: path.join("::") };
        (target.module != from).then_some(arrow)
    }

    /// Follows a path from a module. `None`: it leads to a crate that is not ours, or to a local name. `own` is the
    /// name that the path is imported as: it cannot lead by itself.
    fn resolve(&self, from: usize, path: &[String], hops: usize, own: Option<&str>) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.walk(from, self.root(from), rest, hops),
            "self" => self.walk(from, from, rest, hops),
            "super" => self.walk(from, self.all[from].parent?, rest, hops),
            name => {
                let leads_by_itself = own == Some(name) && !self.all[from].children.contains_key(name);
                let local = if leads_by_itself { None } else { self.walk_on(from, from, path, hops) };
                local.or_else(|| self.walk(from, *self.libraries.get(name)?, rest, hops))
            }
        }
    }

    /// The rest of a path from a module that it has reached. A name that is not found there is one that a macro made.
    fn walk(&self, from: usize, at: usize, rest: &[String], hops: usize) -> Option<Target> {
        match rest.split_first() {
            None => Some(Target { module: at, item: false, through: None }),
            Some((first, rest)) if first == "super" => self.walk(from, self.all[at].parent?, rest, hops),
            Some((first, rest)) if first == "self" => self.walk(from, at, rest, hops),
            Some((name, _)) => self.walk_on(from, at, rest, hops).or_else(|| {
                let external = self.all[at].imports.iter().any(|import| import.name.as_ref() == Some(name));
                (!external).then_some(Target { module: at, item: true, through: None })
            }),
        }
    }

    /// The same, where only what is known to be there is found.
    fn walk_on(&self, from: usize, at: usize, path: &[String], hops: usize) -> Option<Target> {
        let (name, rest) = path.split_first()?;
        let module = &self.all[at];
        if module.items.contains(name) && (rest.is_empty() || !module.children.contains_key(name)) {
            return Some(Target { module: at, item: true, through: None });
        }
        if let Some(child) = module.children.get(name) {
            return self.walk(from, *child, rest, hops);
        }
        if hops == HOPS {
            return None;
        }
        let named = module.imports.iter().filter(|import| import.name.as_ref() == Some(name));
        let led = named.filter_map(|import| {
            let target = self.resolve(at, &import.path, hops + 1, Some(name))?;
            if target.item { Some(target) } else { self.walk(from, target.module, rest, hops + 1) }
        });
        let globs = module.imports.iter().filter(|import| import.name.is_none());
        let spread = globs.filter_map(|import| {
            let target = self.resolve(at, &import.path, hops + 1, None).filter(|target| !target.item)?;
            if target.module == at { None } else { self.walk_on(from, target.module, path, hops + 1) }
        });
        let target = led.chain(spread).next()?;
        let through = if at == from { target.through } else { Some(at) };
        Some(Target { through, ..target })
    }

    fn root(&self, module: usize) -> usize {
        self.all[module].parent.map_or(module, |parent| self.root(parent))
    }

    /// Whether a module is a child of another, or a child's child.
    fn is_below(&self, module: usize, above: usize) -> bool {
        self.all[module].parent.is_some_and(|parent| parent == above || self.is_below(parent, above))
    }

    /// The file of the nearest module above that is in another file.
    pub(crate) fn parent_file(&self, module: usize) -> Option<&Path> {
        let parent = self.all[module].parent?;
        let file = &self.all[parent].file;
        if *file == self.all[module].file { self.parent_file(parent) } else { Some(file) }
    }
}
