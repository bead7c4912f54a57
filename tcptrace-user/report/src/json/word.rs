//! Closed vocabularies in JSON: each value is written as its name, and the schema lists all of them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use tcptrace_core::{drops, handshake::Side, tunnel::Kind};
use tcptrace_vocabulary::{
    attempt::StalledBy,
    cause::{Cause, Confidence},
    facts::Missing,
    incident::{Phase, Role, Symptom},
    outcome::Outcome,
    scope::Extent,
};

/// The schema's version: the `v` of every line.
pub const VERSION: u32 = 1;

/// The `v` of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(VERSION)
    }
}

impl JsonSchema for Version {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": VERSION })
    }
}

/// A closed set of words.
pub(super) trait Words: Copy + 'static {
    /// The set's name among the schema's definitions.
    const TITLE: &'static str;
    /// Every word, in the order of the vocabulary.
    const EVERY: &'static [Self];

    /// The value in JSON.
    fn word(self) -> &'static str;
}

/// A value of a closed set, written as its word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<T>(pub(super) T);

impl<T: Words> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.word())
    }
}

impl<T: Words> JsonSchema for Word<T> {
    fn schema_name() -> Cow<'static, str> {
        T::TITLE.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = T::EVERY.iter().map(|value| value.word()).collect();
        json_schema!({ "enum": words })
    }
}

macro_rules! words {
    ($($set:ty, $title:literal, $every:expr;)*) => {
        $(impl Words for $set {
            const TITLE: &'static str = $title;
            const EVERY: &'static [Self] = $every;

            fn word(self) -> &'static str {
                self.name()
            }
        })*
    };
}

words! {
    Outcome, "outcome", &Self::ALL;
    Cause, "cause_name", Self::ALL;
    Confidence, "confidence", &[Self::Certain, Self::Likely, Self::Possible];
    Extent, "extent", &Self::ALL;
    Missing, "missing", &[Self::NotAsked, Self::Elsewhere, Self::Privilege, Self::Kernel, Self::Gone, Self::Failed];
    StalledBy, "stalled_by", &[Self::ThirdSyn, Self::ThirdSynAck, Self::Silence];
    drops::Kind, "packet", &[Self::Syn, Self::SynAck, Self::Ack, Self::Rst, Self::Fin, Self::Data];
    Role, "role", &Self::ALL;
    Symptom, "symptom", &Self::ALL;
    Phase, "phase", &Self::ALL;
    Kind, "tunnel", &[Self::Vxlan, Self::Geneve, Self::Gre, Self::Ipip, Self::Sit, Self::Mpls];
}

impl Words for Side {
    const EVERY: &'static [Self] = &[Self::Client, Self::Server];
    const TITLE: &'static str = "side";

    fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}
