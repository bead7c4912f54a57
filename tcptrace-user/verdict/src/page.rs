//! docs/causes.md, made of the rule table and the next steps: a row a cause.
//!
//! `cargo run -p tcptrace-verdict --example causes` prints it; a test of this module compares the committed page.

use std::fmt::Write as _;

use tcptrace_vocabulary::cause::Cause;

use crate::{
    next::next,
    proof::{Argument, Proof},
    rules::RULES,
};

const HEAD: &str = "# Causes: evidence and next steps

Each row is a cause, from the rule table (`tcptrace-user/verdict/src/rules`). Do not edit this page. To rewrite it:
`cargo run -p tcptrace-verdict --example causes > docs/causes.md`.

`tcptrace explain CAUSE` has the rest. SERVER, PORT and CLIENT are those of the line; HOST is the sender of the ICMP error
or of the answer, or the server where there is none.

| cause | evidence | mistaken for | next steps |
| --- | --- | --- | --- |
";

const PROOFS: &str = "
## What is certain, and why

A verdict is certain only by one of these. Each is tested in the suite `proofs` of the crate `tcptrace-verdict`: the
evidence makes the verdict certain, and the nearest thing that looks like it does not. A verdict is at most likely if
events were lost. The evidence is there on every supported kernel (Linux 6.1 and later) unless a row names a later one.

| cause | evidence | why nothing else leaves it behind | looks like it |
| --- | --- | --- | --- |
";

/// The page, in Markdown.
#[must_use]
pub fn causes() -> String {
    let mut page = HEAD.to_owned();
    for row in &RULES {
        write_row(&mut page, row.cause, row.evidence, row.apart);
    }
    let evidence = "No rule fits the evidence. The next step names what would decide.";
    write_row(&mut page, Cause::Unknown, evidence, "Every other cause: one of them is behind it.");
    page.push_str(PROOFS);
    for proof in Proof::ALL {
        write_proof(&mut page, proof.argument());
    }
    page
}

fn write_row(page: &mut String, cause: Cause, evidence: &str, apart: &str) {
    let steps: Vec<_> = next(cause).iter().map(|step| named(step)).collect();
    let steps = steps.join("<br>").replace('|', "\\|");
    let _ = writeln!(page, "| `{}` | {evidence} | {apart} | {steps} |", cause.name());
}

fn write_proof(page: &mut String, it: Argument) {
    let since = it.since.map(|since| format!(" Linux {since} and later.")).unwrap_or_default();
    let _ = writeln!(page, "| `{}` | {}{since} | {} | {} |", it.cause.name(), it.evidence, it.why, it.alike);
}

/// The placeholders as words.
fn named(step: &str) -> String {
    let names = [("{server}", "SERVER"), ("{port}", "PORT"), ("{client}", "CLIENT"), ("{host}", "HOST")];
    names.iter().fold(step.to_owned(), |step, (placeholder, name)| step.replace(placeholder, name))
}

#[cfg(test)]
mod tests {
    use super::{Cause, RULES, causes};

    #[test]
    fn every_cause_has_one_row_in_the_order_of_the_vocabulary() {
        let rows: Vec<_> = RULES.iter().map(|row| row.cause).chain([Cause::Unknown]).collect();
        assert_eq!(rows, Cause::ALL);
    }

    #[test]
    fn the_committed_page_is_the_tables() {
        let committed = include_str!("../../../docs/causes.md");
        assert!(committed == causes(), "cargo run -p tcptrace-verdict --example causes > docs/causes.md");
    }
}
