//! The JSON contract: every line that a test sees is held against the schema that `tcptrace schema` prints, and against the
//! contract as readers know it since its first version (`contract/v1.json`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use jsonschema::Validator;
use serde_json::Value;
use tcptrace_report::json;
use tcptrace_vocabulary::{cause::Cause, outcome::Outcome};

static PRINTED: LazyLock<Validator> = LazyLock::new(|| validator(&printed()));
static FIRST: LazyLock<Validator> = LazyLock::new(|| validator(&as_a_reader(first())));

fn validator(schema: &Value) -> Validator {
    jsonschema::validator_for(schema).expect("the schema is one")
}

/// The schema that the tool prints.
#[must_use]
pub fn printed() -> Value {
    serde_json::from_str(&json::schema()).expect("the schema is JSON")
}

/// The contract as it was when the schema was written by hand.
#[must_use]
pub fn first() -> Value {
    serde_json::from_str(include_str!("../contract/v1.json")).expect("the first version is JSON")
}

/// A reader ignores fields that it does not know, and takes new outcomes, causes and stages for what they are: words.
fn as_a_reader(mut schema: Value) -> Value {
    schema["$defs"]["outcome"]["enum"] = Outcome::ALL.map(Outcome::name).as_slice().into();
    let causes: Vec<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
    schema["$defs"]["cause"]["properties"]["name"]["enum"] = causes.into();
    let stages = &mut schema["$defs"]["attempt"]["properties"]["stage"]["enum"];
    stages.as_array_mut().expect("it lists words").push("unserved".into());
    fn open(part: &mut Value) {
        match part {
            Value::Object(fields) => {
                fields.retain(|name, value| name != "additionalProperties" || *value != Value::Bool(false));
                fields.values_mut().for_each(open);
            }
            Value::Array(parts) => parts.iter_mut().for_each(open),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    open(&mut schema);
    schema
}

/// Panics if a line is not what both schemas allow, with the place and the reason.
#[track_caller]
pub fn hold(line: &Value) {
    // A reader of the first version passes over lines of a type that it does not know.
    let first = (line["type"] != "incident").then_some(("first", &*FIRST));
    for (which, schema) in [("printed", &*PRINTED)].into_iter().chain(first) {
        let errors = schema.iter_errors(line).map(|error| format!("{which}: {}: {error}", error.instance_path()));
        let errors: Vec<String> = errors.collect();
        assert!(errors.is_empty(), "{}\n{line:#}", errors.join("\n"));
    }
}

/// What a schema says of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    pub types: BTreeSet<String>,
    /// The words it may be; empty if any is allowed.
    pub words: BTreeSet<String>,
    pub pattern: Option<String>,
    /// Fields that an object must have.
    pub required: BTreeSet<String>,
    /// Whether an object may have no other fields.
    pub is_closed: bool,
}

/// Every field of a schema by its path, `attempt.syn.tries`, with references and alternatives resolved; `[]` stands for the
/// items of a list, `*` for a map's values.
#[must_use]
pub fn fields(schema: &Value) -> BTreeMap<String, Field> {
    let mut fields = BTreeMap::new();
    walk(schema, schema, String::new(), &mut fields);
    fields
}

fn walk(root: &Value, part: &Value, path: String, into: &mut BTreeMap<String, Field>) {
    if let Some(target) = part["$ref"].as_str() {
        let target = root.pointer(&target[1..]).expect("a reference leads somewhere");
        walk(root, target, path.clone(), into);
    }
    for one in ["oneOf", "anyOf", "allOf"].iter().filter_map(|word| part[*word].as_array()).flatten() {
        walk(root, one, path.clone(), into);
    }
    // The lines are told apart by their type.
    let path = match part["properties"].get("type") {
        Some(kind) if path.is_empty() => words(kind).next().expect("a line has a type"),
        _ => path,
    };
    let field = into.entry(path.clone()).or_default();
    field.types.extend(types(part));
    field.words.extend(words(part));
    field.pattern = field.pattern.take().or(part["pattern"].as_str().map(str::to_owned));
    field
        .required
        .extend(part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    field.is_closed |= part["additionalProperties"] == Value::Bool(false);
    for (name, value) in part["properties"].as_object().into_iter().flatten() {
        walk(root, value, format!("{path}.{name}"), into);
    }
    for (word, mark) in [("items", "[]"), ("additionalProperties", "*"), ("propertyNames", "key")] {
        if part[word].is_object() {
            walk(root, &part[word], format!("{path}.{mark}"), into);
        }
    }
}

/// The types that a part of a schema allows; those of its words, if it has no other.
fn types(part: &Value) -> BTreeSet<String> {
    let of = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let named = match &part["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => part["enum"].as_array().into_iter().flatten().chain(part.get("const")).map(of).collect(),
    };
    named.into_iter().map(str::to_owned).collect()
}

fn words(part: &Value) -> impl Iterator<Item = String> {
    part["enum"].as_array().into_iter().flatten().chain(part.get("const")).map(|word| match word {
        Value::String(word) => word.clone(),
        other => other.to_string(),
    })
}
