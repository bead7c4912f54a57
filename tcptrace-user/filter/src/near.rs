//! The keyword that a misspelt word was meant to be.
//!
//! Only a suggestion: it never changes what a filter means. <https://docs.rs/strsim>

/// The words that an operand begins with, the likeliest first.
const HEADS: [&str; 10] = ["port", "host", "net", "src", "dst", "tcp", "ip", "ip6", "portrange", "not"];
/// Longer than any keyword with its mistakes.
const LONGEST: usize = 12;

/// The word of an operand's beginning that is spelt like this one.
pub(super) fn head(word: &str) -> Option<&'static str> {
    nearest(word, HEADS)
}

/// The same among the words in quotes of what was expected.
pub(super) fn expected(word: &str, expected: &'static str) -> Option<&'static str> {
    nearest(word, expected.split('\'').skip(1).step_by(2))
}

fn nearest(word: &str, keywords: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    if !(2..=LONGEST).contains(&word.len()) {
        return None;
    }
    let allowed = if word.len() < 6 { 1 } else { 2 };
    let distances = keywords.into_iter().map(|it| (strsim::osa_distance(word, it), it));
    distances.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_near_and_another_word_is_not() {
        for (word, meant) in [
            ("prot", Some("port")),
            ("por", Some("port")),
            ("hots", Some("host")),
            ("srx", Some("src")),
            ("dest", Some("dst")),
            ("ipv6", Some("ip6")),
            ("prtorange", Some("portrange")),
            ("example", None),
            ("10.0.0.1", None),
            ("443", None),
            ("r", None),
            ("", None),
        ] {
            assert_eq!(head(word), meant, "{word}");
        }
        assert_eq!(expected("adn", "'and' or 'or'"), Some("and"));
        assert_eq!(expected("port", "'and' or 'or'"), None);
    }
}
