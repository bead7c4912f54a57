//! The confusion matrix: rows what was made, columns what was said; and each row's last word.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, iter, thread};

use crate::judge;
use crate::run::{Record, record};
use crate::scenario::Scenario;
use crate::table::TABLE;

/// Rows at once. They wait for the kernel's timers most of the time.
const AT_ONCE: usize = 6;
/// Where nothing is said.
const NOTHING: &str = "nothing";
/// The heading of the part that the suite `probe` writes.
const BELOW: &str = "\n## `tcptrace diagnose`\n";
/// The cause that the table has no row for.
const NOT_MADE: &str = "\
The limits behind `out_of_memory` (tcp_mem, tcp_max_orphans) belong to the whole machine, so this suite does not make
it. `cargo xtask kernels` makes it in a virtual machine, next to innocent twins, and prints rows like these.";

/// Runs what has not run yet, writes the matrix, and holds it against the rules.
pub(crate) fn check() {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let numbers = iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                for number in numbers.take_while(|it| *it < TABLE.len()) {
                    record(number);
                }
            });
        }
    });
    let rows: Vec<_> = TABLE.iter().enumerate().map(|(number, row)| (row, record(number))).collect();
    let text = text(&rows);
    write(&text);
    let false_ones = rows.iter().filter(|(row, it)| it.said.iter().any(|said| said.is_false(row)));
    let false_ones: Vec<_> = false_ones.map(|(row, _)| row.name).collect();
    assert!(false_ones.is_empty(), "called certain, and false: {false_ones:?}\n{text}");
    let faulty: Vec<_> = rows.iter().filter(|(_, it)| !it.faults.is_empty()).map(|(row, _)| row.name).collect();
    assert!(faulty.is_empty(), "not as the table says (their own tests say why): {faulty:?}\n{text}");
}

fn write(text: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let blessed = env::var_os("TCPTRACE_BLESS_MATRIX").map(|_| root.join("docs"));
    for directory in [Some(temporary.to_owned()), blessed].into_iter().flatten() {
        let path = directory.join("confusion-matrix.md");
        // What the suite `probe` wrote stands below.
        let known = fs::read_to_string(&path).unwrap_or_default();
        let below = known.find(BELOW).map_or("", |at| &known[at..]);
        fs::write(&path, format!("{text}{below}"))
            .unwrap_or_else(|error| panic!("cannot write '{}': {error}", path.display()));
    }
    // libtest keeps what print! says of a test that passes, and not what goes to the stream itself.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// What was said last.
fn last(record: &Record) -> &'static str {
    record.said.last().map_or(NOTHING, |it| it.cause.name())
}

fn text(rows: &[(&Scenario, &Record)]) -> String {
    let mut said = BTreeMap::<_, BTreeMap<_, usize>>::new();
    for (scenario, record) in rows {
        let made = scenario.made.map_or(NOTHING, |it| it.name());
        *said.entry(made).or_default().entry(last(record)).or_default() += 1;
    }
    let columns: BTreeSet<_> = said.values().flat_map(BTreeMap::keys).copied().collect();
    let mut text = "# Confusion matrix: the cause that was made, and the verdict\n\n".to_owned();
    let heads = columns.iter().map(|it| format!(" {it} |")).collect::<String>();
    let _ = writeln!(text, "| made \\ said |{heads}\n|---|{}", "---:|".repeat(columns.len()));
    for (made, said) in &said {
        let cells = columns.iter().map(|it| said.get(it).map_or(" |".to_owned(), |count| format!(" {count} |")));
        let _ = writeln!(text, "| {made} |{}", cells.collect::<String>());
    }
    let right = rows.iter().filter(|(row, it)| it.faults.is_empty() && judge::is_right(row, &it.said)).count();
    let _ = writeln!(text, "\n{right} of {} as expected.\n\n{NOT_MADE}\n", rows.len());
    let _ =
        writeln!(text, "| scenario | seen at | made | said | confidence | scope | |\n|---|---|---|---|---|---|---|");
    for (row, record) in rows {
        let made = row.made.map_or(NOTHING, |it| it.name());
        let (confidence, scope) = record.said.last().map_or(("", ""), |it| (it.confidence.name(), &it.scope));
        let mark = match (record.faults.is_empty(), judge::is_right(row, &record.said)) {
            (false, _) => "wrong",
            (true, true) => "",
            (true, false) => "not said",
        };
        let place = format!("{:?}", row.place).to_lowercase();
        let (name, said) = (row.name.replace('_', " "), last(record));
        let _ = writeln!(text, "| {name} | {place} | {made} | {said} | {confidence} | {scope} | {mark} |");
    }
    text
}
