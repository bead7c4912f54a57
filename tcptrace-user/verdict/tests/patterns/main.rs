//! The suite `patterns`: health checks, probes of this host, races between addresses, and the life of a finding. Pure.

mod checks;
#[path = "../common/mod.rs"]
mod common;
mod lifecycle;
mod race;
