//! What many attempts have in common: floods, scans, networks that clients avoid, health checks, races.

pub mod avoided;
pub mod checks;
pub mod flood;
pub mod race;
pub mod scan;
