//! Durations of the command line: `500ms`, `1m30s`, `2h`, `1d`; a bare number is seconds.
//!
//! jiff reads the units. A day is always 24 hours; months and years, which have no fixed length, are refused.
//! <https://docs.rs/jiff/latest/jiff/fmt/friendly/index.html>

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// The longest one, which is not reached: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Reads a duration above zero and below ten years.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn parse(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => with_units(text)?,
    };
    let is_in_range = |it: &Duration| !it.is_zero() && *it < LONGEST;
    duration.filter(is_in_range).ok_or_else(|| "out of range; write one above zero and below ten years".to_owned())
}

/// `None`: below zero.
fn with_units(text: &str) -> Result<Option<Duration>, String> {
    let days = SpanRelativeTo::days_are_24_hours();
    let signed = text.parse::<Span>().and_then(|span| span.to_duration(days));
    let signed =
        signed.map_err(|_| "not a duration; write one such as 90s, 500ms, 1m30s, 2h or 1d, or seconds".to_owned())?;
    Ok(Duration::try_from(signed).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_a_bare_number_is_seconds() {
        for (text, milliseconds) in [
            ("3", 3_000),
            ("0.5", 500),
            ("2.5s", 2_500),
            ("500ms", 500),
            ("90s", 90_000),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("1.5h", 5_400_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1d12h", 129_600_000),
            ("2 minutes", 120_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "s", "x", "1x", "1m30", "5 s 3", "3ss", "1month", "1y", "ms", "1h30m x", "٣s"] {
            let said = parse(text).expect_err(text);
            assert!(said.contains("such as 90s, 500ms"), "{text}: {said}");
        }
        for text in ["0", "0s", "0ms", "-1", "-5s", "inf", "nan", "1e300", "11000d", "315360000"] {
            let said = parse(text).expect_err(text);
            assert!(said.starts_with("out of range"), "{text}: {said}");
        }
    }
}
