//! Floods, while tracing: brings the desk what the kernel's accounts counted.

use super::accounts::Accounts;
use crate::{desk::Desk, host};

/// Brings what came by for flooded listeners since the last time.
pub fn feed(accounts: &mut Accounts, desk: &mut Desk) {
    let passages = accounts.look();
    if !passages.is_empty() || desk.is_flooded() {
        desk.feed(passages, host::cookies_sent());
    }
}
