//! Why an attempt failed: pure functions over the attempt and what is known around it. Never sees a packet, a clock or
//! a socket.

mod cause;
mod local;

pub use cause::{Cause, Confidence};
pub use local::{Counters, Dropped, Known, Listener, Local, Missing, Neighbour, Process, Socket};
