//! Floods, while tracing: brings the desk the counts of the kernel's accounts.

use super::accounts::Accounts;
use crate::{desk::Desk, host};

/// Brings the desk the packets for flooded listeners since the last time.
pub fn feed(accounts: &mut Accounts, desk: &mut Desk) {
    let passages = accounts.look();
    if !passages.is_empty() || desk.is_flooded() {
        desk.feed(passages, host::cookies_sent());
    }
}
