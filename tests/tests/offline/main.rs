//! The suite `offline`: captures through the binary, and what tshark says of them. No root.

mod crowds;
mod edges;
mod explain;
mod files;
mod flags;
mod hostile;
mod judged;
mod limits;
mod links;
mod log;
mod pipes;
mod races;
mod scenarios;
mod tunnels;
mod version;
