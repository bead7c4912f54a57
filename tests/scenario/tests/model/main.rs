//! The suite `model`: the core alone, on the host. No kernel, no root, no clock.

mod again;
mod attempt;
mod kept;
mod oracle;
mod properties;
mod record;
mod scenarios;
mod transitions;
