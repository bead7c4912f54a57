//! The JSON Schema of every line, generated from the structs that are written.
//!
//! The object of `tcptrace diagnose` is written by a crate above this one; its definitions are in `diagnosis.json`.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{
    attempt::AttemptLine, connect::ConnectLine, finding::FindingObject, incident::IncidentObject, summary::SummaryLine,
};

/// Definitions of the object that `tcptrace diagnose --json` prints.
const DIAGNOSIS: &str = include_str!("diagnosis.json");

/// The JSON Schema (draft 2020-12) of every line, without its end.
#[must_use]
pub fn schema() -> String {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut lines = vec![
        generator.subschema_for::<AttemptLine<'static>>().to_value(),
        generator.subschema_for::<ConnectLine<'static>>().to_value(),
        generator.subschema_for::<FindingObject>().to_value(),
        generator.subschema_for::<IncidentObject>().to_value(),
        generator.subschema_for::<SummaryLine<'static>>().to_value(),
    ];
    lines.push(json!({ "$ref": "#/$defs/diagnosis" }));
    let mut definitions = generator.take_definitions(true);
    // A constant of this file's folder: the contract's test parses it.
    definitions.extend(serde_json::from_str::<Map<String, Value>>(DIAGNOSIS).unwrap_or_default());
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tcptrace, version 1",
        "description": "A line of `tcptrace --json`. An unknown value is null. Lines gain fields without a new version; none \
                        is removed or changes its meaning.",
        "oneOf": lines,
        "$defs": definitions,
    });
    format!("{schema:#}\n")
}
