//! What makes the conditions, by where in the way of a handshake they are.

pub(crate) mod absent;
pub(crate) mod client;
pub(crate) mod closed;
pub(crate) mod firewall;
pub(crate) mod innocent;
pub(crate) mod listener;
pub(crate) mod way;
