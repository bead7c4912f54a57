//! The words that every part of tcptrace shares: outcomes, causes, scopes, facts of the host, attempts and verdicts.
//!
//! Nothing here decides, renders or reads anything; everything above uses it. docs/causes.md lists the causes
//! with their evidence.
#![warn(missing_docs, clippy::missing_errors_doc, clippy::wildcard_enum_match_arm)]

pub mod attempt;
pub mod cause;
pub mod clock;
pub mod errno;
pub mod facts;
pub mod foreign;
pub mod icmp;
pub mod incident;
pub mod network;
pub mod outcome;
pub mod process;
pub mod report;
pub mod scope;
pub mod ttl;
pub mod verdict;
pub mod words;
