//! Which interfaces the words of `-i` select: names, `any`, shell patterns, and patterns that leave some out.
//!
//! Pure: it knows neither the kernel nor what is attached. Sets in brackets are not read: a bracket is part of a name.
//! <https://man7.org/linux/man-pages/man7/glob.7.html>

use std::fmt;

use super::interfaces::{Interface, LinkType};

/// The word for every interface.
const ANY: &str = "any";

/// The words of a run, sorted by what they do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    words: Vec<String>,
    /// Interfaces that have to exist.
    names: Vec<String>,
    /// Patterns of those that are taken whenever they exist.
    patterns: Vec<String>,
    /// Patterns of those among them that are left out.
    left_out: Vec<String>,
}

impl Choice {
    /// Sorts the words. If all of them leave something out, everything else is selected.
    #[must_use]
    pub fn of(words: &[String]) -> Self {
        let mut choice = Self { words: words.to_vec(), ..Self::default() };
        for word in words {
            if let Some(pattern) = word.strip_prefix('!') {
                choice.left_out.push(pattern.to_owned());
            } else if word == ANY {
                choice.patterns.push("*".to_owned());
            } else if word.contains(['*', '?']) {
                choice.patterns.push(word.clone());
            } else {
                choice.names.push(word.clone());
            }
        }
        if choice.names.is_empty() && choice.patterns.is_empty() && !words.is_empty() {
            choice.patterns.push("*".to_owned());
        }
        choice
    }

    /// Whether nothing is selected: then the interface of the default route is choice.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The interfaces that have to exist.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether interfaces are taken as they come and go.
    #[must_use]
    pub const fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// Whether a pattern takes this interface: by its name or an alternative one, and if it can carry IP.
    #[must_use]
    pub fn takes(&self, interface: &Interface) -> bool {
        let names = || interface.alternative_names.iter().chain([&interface.name]);
        let is_in = |patterns: &[String]| patterns.iter().any(|pattern| names().any(|name| matches(pattern, name)));
        !matches!(interface.link_type, LinkType::Other(_)) && is_in(&self.patterns) && !is_in(&self.left_out)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(", ").escape_debug().to_string())
    }
}

/// Whether a pattern stands for the whole name: `*` for any number of characters, `?` for one.
///
/// Looks back only to the last `*`, so its time is at most the product of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut next) = (0, 0);
    // Behind the last `*`, and where in the name what follows it was tried.
    let mut star: Option<(usize, usize)> = None;
    while next < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, next));
                at += 1;
            }
            Some(&it) if it == '?' || it == name[next] => (at, next) = (at + 1, next + 1),
            _ => {
                let Some((behind, tried)) = star else { return false };
                star = Some((behind, tried + 1));
                (at, next) = (behind, tried + 1);
            }
        }
    }
    pattern[at..].iter().all(|it| *it == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::links::nic;

    fn choice(words: &[&str]) -> Choice {
        Choice::of(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn patterns_stand_for_whole_names() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "lo", true),
            ("veth*", "veth", true),
            ("veth*", "veth0a1b", true),
            ("veth*", "xveth0", false),
            ("eth?", "eth0", true),
            ("eth?", "eth", false),
            ("eth?", "eth10", false),
            ("*.100", "eth0.100", true),
            ("*.100", "eth0.1000", false),
            ("*0*1", "eth0.01", true),
            ("*0*1", "eth0.02", false),
            ("a*b*c", "aXbXbXc", true),
            ("eth[0]", "eth0", false),
            ("?", "ü", true),
            ("*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn words_select_by_name_by_pattern_and_by_leaving_out() {
        for (words, names, taken) in [
            (&[][..], &[][..], &[][..]),
            (&["eth0"], &["eth0"], &[]),
            (&["any"], &[], &["lo", "eth0", "eth1", "veth7"]),
            (&["eth?"], &[], &["eth0", "eth1"]),
            (&["eth0", "veth*"], &["eth0"], &["veth7"]),
            (&["!lo"], &[], &["eth0", "eth1", "veth7"]),
            (&["any", "!veth*", "!lo"], &[], &["eth0", "eth1"]),
            (&["eth0", "!eth0"], &["eth0"], &[]),
            (&["uplink*"], &[], &["eth1"]),
            (&["any", "!uplink"], &[], &["lo", "eth0", "veth7"]),
        ] {
            let choice = choice(words);
            assert_eq!(choice.names(), names, "{words:?}");
            let other = Interface { alternative_names: vec!["uplink".to_owned()], ..nic(3, "eth1") };
            let all = [nic(1, "lo"), nic(2, "eth0"), other, nic(4, "veth7")];
            let found: Vec<_> = all.iter().filter(|it| choice.takes(it)).map(|it| &*it.name).collect();
            assert_eq!(found, taken, "{words:?}");
        }
    }

    /// A Wi-Fi monitor and an InfiniBand interface are passed over, not refused.
    #[test]
    fn patterns_take_only_what_can_carry_ip() {
        let monitor = Interface { link_type: LinkType::Other(803), ..nic(2, "wlan0mon") };
        assert!(!choice(&["any"]).takes(&monitor));
    }
}
