//! A connect(2) that put no SYN on the wire, as text and as JSON.

use serde::Serialize;
use tcptrace_vocabulary::{verdict::Unsent, words::endpoint};

use crate::{
    Setting,
    json::VERSION,
    short::{self, Short},
    text,
    why::{self, CauseLine, ProcessLine, ScopeLine},
};

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    r#type: &'static str,
    first_seen: Short,
    client: Option<Endpoint>,
    server: Endpoint,
    process: ProcessLine<'a>,
    cause: CauseLine<'a>,
    scope: ScopeLine<'a>,
}

#[derive(Serialize)]
struct Endpoint {
    ip: Short,
    port: u16,
}

/// A JSON line, without its end.
#[must_use]
pub fn line(it: &Unsent, setting: &Setting) -> String {
    let endpoint = |it: tcptrace_core::flow::Endpoint| Endpoint { ip: short::ip(it.addr), port: it.port };
    let line = Line {
        v: VERSION,
        r#type: "connect",
        first_seen: short::time(setting.clock.wall(it.called)),
        client: it.client.map(endpoint),
        server: endpoint(it.server),
        process: ProcessLine::of(&it.process),
        cause: CauseLine::of(&it.verdict),
        scope: ScopeLine::of(&it.verdict),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

/// A line for eyes, without its end, styled, and below it why.
#[must_use]
pub fn text(it: &Unsent, setting: &Setting, quiet: bool) -> String {
    let client = it.client.map_or_else(|| "*".to_owned(), endpoint);
    let whom = format!("{client} → {}", endpoint(it.server));
    let story = format!("connect(2) by {}, no SYN", why::name(&it.process));
    let line = text::columns(setting, it.called, text::RED, "not_sent", &whom, 0, &story);
    line + &why::verdict(&it.verdict, None, quiet)
}
