//! Prints docs/causes.md, as the rule table says it: `cargo run -p tcptrace-verdict --example causes > docs/causes.md`.

fn main() {
    print!("{}", tcptrace_verdict::page::causes());
}
