//! The kernel's answers over netlink: links, addresses, routes, neighbours, sockets. Only this module knows its
//! messages.
//!
//! Typed answers, and no policy: the caller decides what an answer means for a trace or a verdict. A failed or
//! interrupted reading is an error, never an empty list.
//! <https://docs.kernel.org/userspace-api/netlink/intro.html>

pub(crate) mod addresses;
mod channel;
pub(crate) mod conntrack;
pub(crate) mod firewall;
pub mod links;
mod message;
pub(crate) mod neighbours;
pub(crate) mod routes;
pub(crate) mod sockets;

pub(crate) use channel::Channel;
pub use channel::Error;
pub(crate) use message::{attributes, text};
