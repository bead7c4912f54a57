//! A filter of any text: read, or a mistake that points at it; and what is read reads itself again.

use tcptrace_filter::Filter;

/// Panics where it does not hold.
pub(crate) fn check(text: &str) {
    match Filter::parse(text) {
        Ok(it) => {
            let again = Filter::parse(&it.to_string()).expect("its own text is a filter");
            assert_eq!(again.to_string(), it.to_string());
        }
        Err(mistake) => assert!(!mistake.to_string().is_empty()),
    }
}
