//! Parts that several lines have: endpoints, interfaces, counts by word.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use tcptrace_core::flow;
use tcptrace_vocabulary::outcome::Outcome;

use super::{short::Ip, word::Word};

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "endpoint", deny_unknown_fields)]
pub(super) struct Endpoint {
    ip: Ip,
    port: u16,
}

impl Endpoint {
    pub(super) fn of(endpoint: flow::Endpoint) -> Self {
        Self { ip: Ip::of(endpoint.addr), port: endpoint.port }
    }
}

/// A direction as seen by the interface.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Direction {
    In,
    Out,
}

impl Direction {
    pub(super) const fn of(is_egress: bool) -> Self {
        if is_egress { Self::Out } else { Self::In }
    }
}

/// Seconds with their fraction.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Seconds(f64);

impl Seconds {
    pub(super) fn of(nanos: u64) -> Self {
        Self(nanos as f64 / 1e9)
    }
}

/// A rate, which is never below zero.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Rate(pub(super) f64);

/// A share of the whole, from 0 to 1.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Share(pub(super) f64);

schemas! {
    // Null in all lines that may lack a duration; not in those that always have one.
    Seconds, "seconds", { "type": ["number", "null"], "minimum": 0 };
    Rate, "rate", { "type": "number", "minimum": 0 };
    Share, "share", { "type": "number", "minimum": 0, "maximum": 1 };
    Counts, "counts", { "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } };
}

/// Numbers by word, in the order in which they are given.
#[derive(Clone, Debug)]
pub(super) struct Counts(pub(super) Vec<(Cow<'static, str>, u64)>);

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(word, count)| (word, count)))
    }
}

/// Numbers of attempts by outcome.
#[derive(Clone, Debug)]
pub(super) struct OutcomeCounts(pub(super) Vec<(Outcome, u64)>);

impl OutcomeCounts {
    /// Only the outcomes that there were.
    pub(super) fn some(attempts: &[u64; Outcome::ALL.len()]) -> Self {
        let every = Outcome::ALL.into_iter().map(|outcome| (outcome, attempts[outcome as usize]));
        Self(every.filter(|(_, count)| *count > 0).collect())
    }
}

impl Serialize for OutcomeCounts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(outcome, count)| (outcome.name(), count)))
    }
}

impl JsonSchema for OutcomeCounts {
    fn schema_name() -> Cow<'static, str> {
        "outcome_counts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let outcome = generator.subschema_for::<Word<Outcome>>();
        json_schema!({
            "type": "object",
            "propertyNames": outcome,
            "additionalProperties": { "type": "integer", "minimum": 0 },
        })
    }
}

/// Numbers of attempts by outcome; null if one could not be counted.
#[derive(Clone, Debug)]
pub(super) struct KnownOutcomeCounts(pub(super) Vec<(Outcome, Option<u64>)>);

impl Serialize for KnownOutcomeCounts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(outcome, count)| (outcome.name(), count)))
    }
}

impl JsonSchema for KnownOutcomeCounts {
    fn schema_name() -> Cow<'static, str> {
        "known_outcome_counts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let outcome = generator.subschema_for::<Word<Outcome>>();
        json_schema!({
            "type": "object",
            "propertyNames": outcome,
            "additionalProperties": { "type": ["integer", "null"], "minimum": 0 },
        })
    }
}
