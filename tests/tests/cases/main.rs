//! The suite `cases`: what people reported, as small inputs (`tests/cases`), and what has to be said of each; beside it
//! more of the same kind, and innocent twins.

mod bytes;
mod calls;
mod doubt;
mod errno;
mod found;
mod neighbours;
mod order;
mod recorded;
mod service;
mod wire;
