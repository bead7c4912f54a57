//! `bless`: runs all tests and rewrites the golden files with what they got.
//!
//! It does not judge the difference and does not commit: both are for a person.

use anyhow::Result;

use crate::test;

pub(crate) fn run() -> Result<()> {
    test::run_with(&[], |cargo| {
        cargo.env("INSTA_UPDATE", "always").env("TCPTRACE_BLESS_MATRIX", "1");
    })?;
    eprintln!("golden files are rewritten: read `git diff`, and commit them in a commit of their own");
    Ok(())
}
