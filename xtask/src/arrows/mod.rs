//! `arrows`: which part of the code uses which, held against the table of rooms in ARCHITECTURE.md.
//!
//! An arrow is a path in code, in a `use` or within an expression, a type or a macro, that names something in another
//! module. It points to where the thing is defined: a re-export is a signpost and is followed, and the `pub use` by
//! which a module re-exports what lies below it is no arrow. The name of a module alone is none either; the paths that
//! begin with it are. Code that is compiled for tests alone is left out. Methods called on values are not seen; the
//! `use` or the signature that brought in their type is.
//!
//! The rules:
//! - Between rooms, an arrow has to be in the table, and all that the table allows has to be used. A path through a
//!   re-export needs both rooms: that of the definition and that of the signpost. Rooms form no circle.
//! - Between files there is no circle, but for one: a file and its child modules may know each other, as a trait and
//!   the table of its implementors do. No other file may be on such a circle, neither a grandchild nor a foreign file,
//!   and there has to be no circle left among the children when their arrows to the parent are taken away.
//!
//! The table is about the product. Circles are looked for in the tests' library and in xtask as well.

mod circles;
mod modules;
mod source;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    folders,
    process::{self, command},
};
use circles::Graph;
use modules::{Arrow, Crate, Modules};
use table::Use;

const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// Packages that are no part of the product: the table says nothing of them.
const BESIDE: [&str; 3] = ["tcptrace-tests", "tcptrace-scenario", "xtask"];

/// A library whose top modules are rooms where the table does not say otherwise.
const HOUSE: &str = "tcptrace";

/// Prints the table as the code is, and every circle; or checks them.
pub(crate) fn run(only_check: bool) -> Result<()> {
    if only_check {
        return check();
    }
    let found = Found::look()?;
    println!("| room | may use |\n| --- | --- |");
    for (room, others) in found.per_room() {
        let others = others.iter().map(|other| format!("`{other}`")).collect::<Vec<_>>().join(", ");
        println!("| `{room}` | {} |", if others.is_empty() { "nothing" } else { &others });
    }
    println!("\n{} circles:", found.circles.len());
    found.circles.iter().for_each(|circle| println!("{circle}"));
    println!("\nparents and children that know each other, which is allowed:");
    found.families.iter().for_each(|family| println!("{family}"));
    Ok(())
}

/// Fails with every arrow that the table forbids, every permission that nothing uses, and every circle.
pub(crate) fn check() -> Result<()> {
    let found = Found::look()?;
    ensure!(!found.rows.is_empty(), "{ARCHITECTURE} has no table `| room | may use |`: `cargo xtask arrows` prints it");
    let modules = found.product.iter().map(String::as_str).collect::<Vec<_>>();
    let mistakes =
        table::judge(&found.rows, &found.uses, &modules).into_iter().chain(found.circles).collect::<Vec<_>>();
    ensure!(mistakes.is_empty(), "{} arrows are wrong:\n{}", mistakes.len(), mistakes.join("\n"));
    Ok(())
}

struct Found {
    rows: Vec<table::Row>,
    /// The paths of the product's modules.
    product: Vec<String>,
    uses: BTreeSet<Use>,
    circles: Vec<String>,
    families: Vec<String>,
}

impl Found {
    fn look() -> Result<Self> {
        let root = folders::workspace();
        let architecture = fs::read_to_string(root.join(ARCHITECTURE)).context(ARCHITECTURE)?;
        let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
        Self::of(&crates()?, &architecture, &read)
    }

    fn of(crates: &[Crate], architecture: &str, read: &dyn Fn(&Path) -> Option<String>) -> Result<Self> {
        let modules = Modules::load(crates, read)?;
        let arrows = modules.arrows();
        let rows = table::read(architecture);
        let beside =
            |path: &str| table::room(path, crates.iter().filter(|it| !it.product).map(|it| it.name.as_str())).is_some();
        let product =
            modules.all.iter().map(|module| module.path.clone()).filter(|path| !beside(path)).collect::<Vec<_>>();
        let rooms = if rows.is_empty() {
            usual_rooms(&product)
        } else {
            rows.iter().map(|row| row.room.clone()).collect::<BTreeSet<_>>()
        };
        let uses = uses(&modules, &arrows, &rooms);
        let (mut circles, families) = file_circles(&modules, &arrows);
        circles.extend(room_circles(&rooms, &uses));
        Ok(Self { rows, product, uses, circles, families })
    }

    /// For each room, those that it uses.
    fn per_room(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let rooms = if self.rows.is_empty() { usual_rooms(&self.product) } else { BTreeSet::new() };
        let mut per_room = BTreeMap::<&str, BTreeSet<&str>>::new();
        for module in &self.product {
            let names = rooms.iter().chain(self.rows.iter().map(|row| &row.room)).map(String::as_str);
            if let Some(room) = table::room(module, names) {
                per_room.entry(&module[..room.len()]).or_default();
            }
        }
        for it in &self.uses {
            per_room.entry(&it.from).or_default().insert(&it.to);
        }
        per_room
    }
}

/// Each crate, and the top modules of the tool's library.
fn usual_rooms(product: &[String]) -> BTreeSet<String> {
    let room = |path: &String| {
        let length = if path.split("::").next() == Some(HOUSE) { 2 } else { 1 };
        path.split("::").take(length).collect::<Vec<_>>().join("::")
    };
    product.iter().map(room).collect()
}

fn uses(modules: &Modules, arrows: &[Arrow], rooms: &BTreeSet<String>) -> BTreeSet<Use> {
    let room = |module: usize| table::room(&modules.all[module].path, rooms.iter().map(String::as_str));
    let mut uses = BTreeMap::new();
    for arrow in arrows {
        let Some(from) = room(arrow.from) else { continue };
        for to in [arrow.to, arrow.through].into_iter().filter_map(room).filter(|to| *to != from) {
            let place = format!("{}:{}", modules.all[arrow.from].file.display(), arrow.line);
            let [from, to] = [from, to].map(str::to_owned);
            let key = (from.clone(), to.clone(), place.clone());
            uses.entry(key).or_insert_with(|| Use { from, to, place, path: arrow.path.clone() });
        }
    }
    uses.into_values().collect()
}

/// Circles among files: the forbidden ones, and those of a parent and its children.
fn file_circles(modules: &Modules, arrows: &[Arrow]) -> (Vec<String>, Vec<String>) {
    let files = modules.all.iter().map(|module| &module.file).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    let number = |module: usize| files.binary_search(&&modules.all[module].file).expect("every file is in the list");
    let parents: BTreeMap<usize, usize> = (0..modules.all.len())
        .filter_map(|module| {
            let parent = modules.parent_file(module)?.to_owned();
            Some((number(module), files.binary_search(&&parent).ok()?))
        })
        .collect();
    let mut graph = Graph::new();
    let mut lines = BTreeMap::new();
    for arrow in arrows {
        let (from, to) = (number(arrow.from), number(arrow.to));
        if from != to {
            graph.entry(from).or_default().insert(to);
            lines.entry((from, to)).or_insert((arrow.line, &arrow.path));
        }
    }
    let (mut forbidden, mut families) = (Vec::new(), Vec::new());
    for group in circles::groups(&graph) {
        let way = circles::shortest(&graph, &group);
        let step = |at: usize| {
            let (from, to) = (way[at], way[(at + 1) % way.len()]);
            let (line, path) = lines[&(from, to)];
            format!("  {}:{line} uses {} by `{path}`", files[from].display(), files[to].display())
        };
        let steps = (0..way.len()).map(step).collect::<Vec<_>>().join("\n");
        let names = group.iter().map(|file| files[*file].display().to_string()).collect::<Vec<_>>().join(", ");
        let told = format!("circle of {} files: {names}\n{steps}", group.len());
        if is_family(&group, &graph, &parents) { families.push(told) } else { forbidden.push(told) }
    }
    (forbidden, families)
}

/// A parent and children of its own, among whom no circle is left without their arrows to it.
fn is_family(group: &BTreeSet<usize>, graph: &Graph, parents: &BTreeMap<usize, usize>) -> bool {
    let is_head = |head: &&usize| group.iter().all(|file| file == *head || parents.get(file) == Some(*head));
    let Some(head) = group.iter().find(is_head) else { return false };
    let within = |others: &BTreeSet<usize>| others.iter().filter(|other| *other != head).copied().collect();
    let children = graph.iter().filter(|(file, _)| group.contains(file));
    circles::groups(&children.map(|(file, others)| (*file, within(others))).collect()).is_empty()
}

fn room_circles(rooms: &BTreeSet<String>, uses: &BTreeSet<Use>) -> Vec<String> {
    let rooms = rooms.iter().collect::<Vec<_>>();
    let number = |room: &String| rooms.binary_search(&room).expect("uses are among rooms");
    let mut graph = Graph::new();
    for it in uses {
        graph.entry(number(&it.from)).or_default().insert(number(&it.to));
    }
    let told = |group: BTreeSet<usize>| {
        let way = circles::shortest(&graph, &group);
        let step = |at: usize| {
            let (from, to) = (rooms[way[at]], rooms[way[(at + 1) % way.len()]]);
            let it = uses.iter().find(|it| it.from == *from && it.to == *to);
            let (place, path) = it.map(|it| (it.place.as_str(), it.path.as_str())).unwrap_or_default();
            format!("  `{from}` uses `{to}`: {place}: `{path}`")
        };
        let names = group.iter().map(|room| format!("`{}`", rooms[*room])).collect::<Vec<_>>().join(", ");
        format!("circle of {} rooms: {names}\n{}", group.len(), (0..way.len()).map(step).collect::<Vec<_>>().join("\n"))
    };
    circles::groups(&graph).into_iter().map(told).collect()
}

/// The libraries and programs of the workspace, by relative paths.
fn crates() -> Result<Vec<Crate>> {
    let metadata = process::output(&mut command("cargo metadata --no-deps --offline --format-version 1"))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("`cargo metadata` is not JSON")?;
    let mut crates = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let product = !BESIDE.contains(&package["name"].as_str().unwrap_or_default());
        for target in package["targets"].as_array().into_iter().flatten() {
            let kinds = target["kind"].as_array().into_iter().flatten().filter_map(|it| it.as_str());
            let (Some(name), Some(root)) = (target["name"].as_str(), target["src_path"].as_str()) else { continue };
            let root = Path::new(root).strip_prefix(folders::workspace()).unwrap_or(Path::new(root));
            crates.extend(named(name, &kinds.collect::<Vec<_>>(), root, product));
        }
    }
    Ok(crates)
}

/// A library or a program; tests, examples and build scripts are no part of the house.
fn named(name: &str, kinds: &[&str], root: &Path, product: bool) -> Option<Crate> {
    let library = kinds.contains(&"lib");
    let name = match name.replace('-', "_") {
        name if name == HOUSE && !library => format!("{name}::main"),
        name => name,
    };
    (library || kinds.contains(&"bin")).then(|| Crate { name, root: PathBuf::from(root), library, product })
}

#[cfg(test)]
mod tests;
