//! The line of a connect(2) that put no SYN on the wire.

use schemars::JsonSchema;
use serde::Serialize;
use tcptrace_vocabulary::{errno::errno_name, verdict::Unsent};

use super::{
    part::Endpoint,
    short::Time,
    why::{CauseLine, ProcessLine, ScopeLine},
    word::Version,
};
use crate::Setting;

/// A connect(2) on this host that put no SYN on the wire.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "connect", deny_unknown_fields)]
pub(super) struct ConnectLine<'a> {
    v: Version,
    r#type: ConnectType,
    outcome: ConnectOutcome,
    /// when it was called
    first_seen: Time,
    /// null if the call failed before it had a port
    client: Option<Endpoint>,
    server: Endpoint,
    process: ProcessLine<'a>,
    /// the name of the call's errno; null if it had none, or none is known
    errno: Option<String>,
    cause: CauseLine<'a>,
    scope: ScopeLine<'a>,
    /// the number of its incident
    incident: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum ConnectType {
    Connect,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum ConnectOutcome {
    NotSent,
}

/// A JSON line, without its end.
#[must_use]
pub(crate) fn line(unsent: &Unsent, setting: &Setting) -> String {
    let line = ConnectLine {
        v: Version,
        r#type: ConnectType::Connect,
        outcome: ConnectOutcome::NotSent,
        first_seen: Time::of(setting.clock.wall(unsent.called)),
        client: unsent.client.map(Endpoint::of),
        server: Endpoint::of(unsent.server),
        process: ProcessLine::of(&unsent.process),
        errno: unsent.errno.map(errno_name),
        cause: CauseLine::of(&unsent.verdict, false),
        scope: ScopeLine::of(&unsent.verdict),
        incident: unsent.incident,
    };
    serde_json::to_string(&line).unwrap_or_default()
}
