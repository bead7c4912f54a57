//! Live.
pub mod decode;
pub mod kernel;
pub mod table;
