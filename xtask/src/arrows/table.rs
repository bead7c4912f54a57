//! The table of rooms in ARCHITECTURE.md: `| room | may use |`, a row a room, names in backquotes.
//!
//! A room is a module with all below it that has no row of its own. It reads the table and judges arrows by it.

use std::collections::BTreeSet;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) room: String,
    pub(crate) may_use: Vec<String>,
    /// Its line in ARCHITECTURE.md.
    pub(crate) line: usize,
}

/// One room that uses another, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) from: String,
    pub(crate) to: String,
    /// File and line.
    pub(crate) place: String,
    pub(crate) path: String,
}

const HEAD: &str = "| room | may use |";

/// The rows; none if there is no such table.
pub(crate) fn read(architecture: &str) -> Vec<Row> {
    let mut lines = architecture.lines().enumerate().skip_while(|(_, line)| line.trim() != HEAD);
    lines.by_ref().take(2).for_each(drop);
    let rows = lines.take_while(|(_, line)| line.trim_start().starts_with('|'));
    rows.filter_map(|(at, line)| {
        let mut cells = line.trim().trim_matches('|').split('|').map(quoted);
        let room = cells.next()?.into_iter().next()?;
        Some(Row { room, may_use: cells.next().unwrap_or_default(), line: at + 1 })
    })
    .collect()
}

/// The room that a module is in: the longest of these names that the module's path begins with.
pub(crate) fn room<'rooms>(module: &str, rooms: impl Iterator<Item = &'rooms str>) -> Option<&'rooms str> {
    let holds = |room: &&str| module.strip_prefix(*room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    rooms.filter(holds).max_by_key(|room| room.len())
}

/// The differences between the table and the code, a line each.
pub(crate) fn judge(rows: &[Row], uses: &BTreeSet<Use>, modules: &[&str]) -> Vec<String> {
    let names = || rows.iter().map(|row| row.room.as_str());
    let homeless = modules.iter().filter(|module| room(module, names()).is_none());
    let homeless = homeless.map(|module| format!("ARCHITECTURE.md: no row has the module `{module}` in its room"));
    let forbidden = uses.iter().filter_map(|it| {
        let row = rows.iter().find(|row| row.room == it.from)?;
        let Use { from, to, place, path } = it;
        let allowed = row.may_use.join("`, `");
        (!row.may_use.contains(to)).then(|| {
            format!("{place}: `{path}`: the room `{from}` may not use `{to}`; its row (ARCHITECTURE.md:{}) allows `{allowed}`", row.line)
        })
    });
    let unused = rows.iter().flat_map(|row| row.may_use.iter().map(move |to| (row, to))).filter_map(|(row, to)| {
        let used = uses.iter().any(|it| it.from == row.room && it.to == *to);
        let Row { room, line, .. } = row;
        (!used).then(|| format!("ARCHITECTURE.md:{line}: the room `{room}` may use `{to}`, and nothing in it does"))
    });
    let twice = rows.iter().enumerate().filter(|(at, row)| rows[..*at].iter().any(|before| before.room == row.room));
    let twice = twice.map(|(_, row)| format!("ARCHITECTURE.md:{}: a second row for `{}`", row.line, row.room));
    let empty = rows.iter().filter(|row| !modules.iter().any(|module| room(module, names()) == Some(&row.room)));
    let empty = empty.map(|row| format!("ARCHITECTURE.md:{}: no module is in the room `{}`", row.line, row.room));
    homeless.chain(forbidden).chain(unused).chain(twice).chain(empty).collect()
}

/// The words in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# A\n\n| room | may use |\n| --- | --- |\n| `core` | nothing |\n| `tool` | `core` |\n\
                         | `tool::live` | `core`, `tool` |\n\n| `not` | a row |\n";

    fn used(from: &str, to: &str) -> Use {
        let [from, to, place, path] = [from, to, "src/a.rs:7", "x::Y"].map(str::to_owned);
        Use { from, to, place, path }
    }

    #[test]
    fn a_module_is_in_the_narrowest_room() {
        let rooms = ["tool", "tool::live"];
        assert_eq!(room("tool::live::hooks", rooms.into_iter()), Some("tool::live"));
        assert_eq!(room("tool::lively", rooms.into_iter()), Some("tool"));
        assert_eq!(room("tools", rooms.into_iter()), None);
    }

    #[test]
    fn table_and_code_have_to_agree_both_ways() {
        let rows = read(TABLE);
        let modules = ["core", "tool", "tool::live", "tool::live::hooks"];
        let good = BTreeSet::from([used("tool", "core"), used("tool::live", "core"), used("tool::live", "tool")]);
        assert_eq!(judge(&rows, &good, &modules), [""; 0]);

        let mut more = good.clone();
        more.insert(used("core", "tool"));
        let told = judge(&rows, &more, &modules);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("src/a.rs:7: `x::Y`: the room `core` may not use `tool`; its row (ARCHITECTURE.md:5)"),
            "{told:?}"
        );

        let mut fewer = good.clone();
        fewer.remove(&used("tool", "core"));
        assert_eq!(
            judge(&rows, &fewer, &modules),
            ["ARCHITECTURE.md:6: the room `tool` may use `core`, and nothing in it does"]
        );

        assert_eq!(judge(&rows, &good, &["core", "tool", "tool::live", "new"]).len(), 1);
        assert_eq!(
            judge(&rows, &good, &["core", "tool::live"]),
            ["ARCHITECTURE.md:6: no module is in the room `tool`"]
        );
    }
}
