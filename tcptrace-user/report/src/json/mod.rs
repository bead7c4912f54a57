//! One JSON object a line, versioned: the contract with programs. An unknown value is null; the reason is in `trust` or
//! in the state of the attempt.
//!
//! The schema is generated from the structs that are written (`schema`), so the two cannot differ.

/// The schemas of values that have a form of their own: type, name, schema.
macro_rules! schemas {
    ($($part:ty, $name:literal, $schema:tt;)*) => {
        $(impl schemars::JsonSchema for $part {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        })*
    };
}

mod attempt;
mod connect;
mod finding;
mod incident;
mod part;
mod schema;
mod short;
mod summary;
mod why;
mod word;

pub(crate) use connect::line as connect;
pub(crate) use incident::line as incident;

pub use attempt::{line, write};
pub use schema::schema;
pub use word::VERSION;
