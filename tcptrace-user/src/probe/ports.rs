//! Ports as people write them: `443`, `8080-8090`, `https`.
//!
//! Names are those that the filter knows.

use std::ops::RangeInclusive;

use tcptrace_filter::services;

/// The ports that a word means; `None`: it means none.
pub(super) fn read(word: &str) -> Option<RangeInclusive<u16>> {
    let number = |word: &str| word.parse().ok().filter(|port| *port > 0);
    if let Some(port) = number(word) {
        return Some(port..=port);
    }
    let is_name = word.bytes().any(|it| it.is_ascii_alphabetic());
    if let Some((from, to)) = word.split_once('-').filter(|_| !is_name) {
        let range = number(from)?..=number(to)?;
        return (!range.is_empty()).then_some(range);
    }
    let port = services::port(word).filter(|_| is_name)?;
    Some(port..=port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_port_means_none() {
        for word in ["", "-", "0", "65536", "80-", "-80", "90-80", "80-90-100", "no-such-service", "+"] {
            assert_eq!(read(word), None, "{word}");
        }
        assert_eq!(read("80-90"), Some(80..=90));
        assert_eq!(read("redis"), Some(6379..=6379));
    }
}
