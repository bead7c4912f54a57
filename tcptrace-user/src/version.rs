//! `tcptrace --version`, and with `-v` what exactly this binary is made of.
//!
//! The build script supplies commit and target; the rest is read from the embedded object.

use crate::live::embedded;

/// One line, or with `verbose` a line for each part.
#[must_use]
pub fn text(verbose: bool) -> String {
    let version = concat!("tcptrace ", env!("CARGO_PKG_VERSION"), "\n");
    if !verbose {
        return version.to_owned();
    }
    let (commit, target) = (env!("TCPTRACE_COMMIT"), env!("TCPTRACE_TARGET"));
    let (sha256, programs) = (embedded::sha256(), embedded::programs().join(" "));
    format!(
        "{version}commit: {commit}\ntarget: {target}\nkernel object: sha256 {sha256}\nkernel programs: {programs}\n"
    )
}
