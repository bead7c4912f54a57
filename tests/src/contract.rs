//! The JSON contract: every line that a test sees is held against the schema that `tcptrace schema` prints.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;
use tcptrace_report::json;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(json::SCHEMA).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is one")
});

/// Panics where a line is not as the schema says, with the place and the reason.
#[track_caller]
pub fn hold(line: &Value) {
    // The one that applies, for its messages.
    let errors: Vec<String> = SCHEMA.iter_errors(line).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(errors.is_empty(), "{}\n{line:#}", errors.join("\n"));
}
