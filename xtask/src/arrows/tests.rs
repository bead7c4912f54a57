//! The rules of `arrows`, on houses of a few lines.

use super::*;

/// The findings among files `path: text`; each crate's root is `NAME/lib.rs`.
fn found(architecture: &str, files: &[(&str, &str)]) -> Found {
    let roots = files.iter().filter_map(|(path, _)| path.strip_suffix("/lib.rs"));
    let whole = |name: &str| Crate {
        name: name.to_owned(),
        root: format!("{name}/lib.rs").into(),
        library: true,
        product: true,
    };
    let read = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned());
    Found::of(&roots.map(whole).collect::<Vec<_>>(), architecture, &read).unwrap()
}

#[track_caller]
fn assert_circle(files: &[(&str, &str)], expected: &str) {
    let found = found("", files);
    assert_eq!(found.circles.len(), 1, "{:?} and families {:?}", found.circles, found.families);
    assert!(found.circles[0].contains(expected), "{}", found.circles[0]);
}

#[track_caller]
fn assert_none(files: &[(&str, &str)], families: usize) {
    let found = found("", files);
    assert_eq!(found.circles, [""; 0]);
    assert_eq!(found.families.len(), families, "{:?}", found.families);
}

const ROOT: (&str, &str) = ("t/lib.rs", "mod a; mod b; mod c;");

#[test]
fn a_planted_circle_is_found_with_its_lines() {
    let expected = "circle of 3 files: t/a.rs, t/b.rs, t/c.rs\n  t/a.rs:2 uses t/b.rs by `crate::b::B`\n  \
                    t/b.rs:1 uses t/c.rs by `super::c::C`\n  t/c.rs:3 uses t/a.rs by `crate::a::A`";
    let a = ("t/a.rs", "pub struct A;\nuse crate::b::B;");
    let b = ("t/b.rs", "pub struct B(super::c::C);");
    let c = ("t/c.rs", "pub struct C;\nfn f() {\n    assert!(crate::a::A.is());\n}");
    assert_circle(&[ROOT, a, b, c], expected);
}

#[test]
fn a_circle_by_a_module_that_is_imported_is_found() {
    let a = ("t/a.rs", "use crate::b;\npub fn f() { b::g() }");
    let b = ("t/b.rs", "pub fn g() { use super::a; let _ = vec![a::f()]; }");
    assert_circle(&[ROOT, a, b, ("t/c.rs", "")], "t/b.rs:1 uses t/a.rs by `a::f`");
}

#[test]
fn a_circle_of_tests_alone_is_none() {
    let a = ("t/a.rs", "pub struct A;\n#[cfg(test)]\nmod tests { use crate::b::B; }");
    assert_none(&[ROOT, a, ("t/b.rs", "pub struct B(crate::a::A);"), ("t/c.rs", "")], 0);
}

#[test]
fn a_re_export_is_followed_and_is_no_use_itself() {
    let root = ("t/lib.rs", "mod a;");
    let a = ("t/a/mod.rs", "mod x; mod y;\npub use x::X; pub use y::Y;");
    let x = ("t/a/x.rs", "pub struct X(super::Y);");
    assert_none(&[root, a, x, ("t/a/y.rs", "pub struct Y;")], 0);
    assert_circle(&[root, a, x, ("t/a/y.rs", "pub struct Y(crate::a::X);")], "t/a/x.rs:1 uses t/a/y.rs by `super::Y`");
}

#[test]
fn a_parent_and_its_children_may_know_each_other_and_nobody_else() {
    let root = ("t/lib.rs", "mod a; mod b;");
    let a = ("t/a/mod.rs", "mod x; mod y;\npub trait Rule {}\nconst ALL: [&dyn Rule; 2] = [&x::X, &y::Y];");
    let (x, y) = (("t/a/x.rs", "use super::Rule; pub struct X;"), ("t/a/y.rs", "use super::Rule; pub struct Y;"));
    let nothing = ("t/b.rs", "");
    assert_none(&[root, a, x, y, nothing], 1);
    let sibling = ("t/a/y.rs", "use super::x::X; pub struct Y;");
    let other = ("t/a/x.rs", "use super::{Rule, y::Y}; pub struct X;");
    assert_circle(&[root, a, other, sibling, nothing], "circle of 3 files");
    let stranger = ("t/b.rs", "pub struct B(crate::a::x::X);");
    let led = ("t/a/mod.rs", "pub mod x;\npub trait Rule { fn f(b: crate::b::B); }");
    assert_eq!(found("", &[root, led, x, stranger]).circles.len(), 1);
    let deep = ("t/a/x.rs", "mod z; pub struct X;");
    let grandchild = ("t/a/x/z.rs", "use super::super::Rule; pub struct Z;");
    let reached = ("t/a/mod.rs", "mod x;\npub trait Rule { fn f(z: x::z::Z); }");
    assert_circle(&[root, reached, deep, grandchild, nothing], "circle of 2 files");
}

#[test]
fn crates_and_their_rooms_are_held_to_the_table() {
    let core = ("core/lib.rs", "pub mod flow;");
    let flow = ("core/flow.rs", "pub struct Flow;");
    let words = ("words/lib.rs", "pub use core::flow::Flow; pub struct Word;");
    let tool = ("tool/lib.rs", "mod live; mod host;");
    let live = ("tool/live.rs", "use words::Flow;\nuse crate::host::Host;");
    let host = ("tool/host.rs", "pub struct Host;");
    let table = "| room | may use |\n|---|---|\n| `core` | nothing |\n| `words` | `core` |\n| `tool` | nothing |\n\
                 | `tool::live` | `core`, `words`, `tool::host` |\n| `tool::host` | nothing |\n";
    let judged = |table: &str| {
        let found = found(table, &[core, flow, words, tool, live, host]);
        table::judge(&found.rows, &found.uses, &found.product.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(judged(table), [""; 0]);
    for (from, to, expected) in [
        ("`words`, `tool::host`", "`words`", "tool/live.rs:2: `crate::host::Host`: the room `tool::live` may not use"),
        ("`core`, `words`", "`words`", "tool/live.rs:1: `words::Flow`: the room `tool::live` may not use `core`"),
        (
            "| `tool::host` | nothing |",
            "| `tool::host` | `core` |",
            "ARCHITECTURE.md:7: the room `tool::host` may use `core`",
        ),
    ] {
        let told = judged(&table.replacen(from, to, 1));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    }
}

#[test]
fn rooms_form_no_circle_even_where_their_files_do_not() {
    let tool = ("tool/lib.rs", "mod live; mod host;");
    let files = [
        tool,
        ("tool/live/mod.rs", "pub mod x; pub mod y;"),
        ("tool/live/x.rs", "pub struct X(crate::host::x::H);"),
        ("tool/live/y.rs", "pub struct Y;"),
        ("tool/host/mod.rs", "pub mod x; pub mod y;"),
        ("tool/host/x.rs", "pub struct H;"),
        ("tool/host/y.rs", "pub struct I(crate::live::y::Y);"),
    ];
    let table = "| room | may use |\n|---|---|\n| `tool` | nothing |\n| `tool::live` | `tool::host` |\n| `tool::host` | `tool::live` |\n";
    let found = found(table, &files);
    assert_eq!(found.circles.len(), 1);
    assert!(found.circles[0].starts_with("circle of 2 rooms: `tool::host`, `tool::live`"), "{}", found.circles[0]);
}

#[test]
fn a_program_beside_its_library_has_a_name_of_its_own() {
    let names = [("tcptrace", "lib"), ("tcptrace", "bin"), ("tcptrace-x", "lib"), ("y", "bench")];
    let names = names.map(|(name, kind)| named(name, &[kind], Path::new("src/x.rs"), true).map(|it| it.name));
    assert_eq!(names.map(Option::unwrap_or_default), ["tcptrace", "tcptrace::main", "tcptrace_x", ""]);
}
