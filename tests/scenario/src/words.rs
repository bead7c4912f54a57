//! Words for what the core numbers: transitions and facts, as scenarios and golden files write them.

use tcptrace_core::{
    event::Counter,
    handshake::{Facts, Transition},
};

use super::Effect;

/// Every fact and its word.
pub static FACTS: [(&str, u32); 32] = [
    ("answer_unseen", Facts::ANSWER_UNSEEN),
    ("challenged", Facts::CHALLENGED),
    ("wrong_answer", Facts::WRONG_ANSWER),
    ("two_answers", Facts::TWO_ANSWERS),
    ("crossed", Facts::CROSSED),
    ("odd_syn", Facts::ODD_SYN),
    ("syn_data", Facts::SYN_DATA),
    ("fallback", Facts::FALLBACK),
    ("unreachable", Facts::UNREACHABLE),
    ("answer_unreachable", Facts::ANSWER_UNREACHABLE),
    ("rst_ignored", Facts::RST_IGNORED),
    ("stray", Facts::STRAY),
    ("client_fin", Facts::CLIENT_FIN),
    ("server_fin", Facts::SERVER_FIN),
    ("client_rst", Facts::CLIENT_RST),
    ("server_rst", Facts::SERVER_RST),
    ("recovering", Facts::RECOVERING),
    ("client_answered", Facts::CLIENT_ANSWERED),
    ("client_data", Facts::CLIENT_DATA),
    ("server_data", Facts::SERVER_DATA),
    ("answer_rejected", Facts::ANSWER_REJECTED),
    ("answer_id", Facts::ANSWER_ID),
    ("rst_id", Facts::RST_ID),
    ("rst_options", Facts::RST_OPTIONS),
    ("rst_seq", Facts::RST_SEQ),
    ("ack_ignored", Facts::ACK_IGNORED),
    ("without_timestamps", Facts::WITHOUT_TIMESTAMPS),
    ("without_fast_open", Facts::WITHOUT_FAST_OPEN),
    ("without_mptcp", Facts::WITHOUT_MPTCP),
    ("without_ecn", Facts::WITHOUT_ECN),
    ("out_of_order", Facts::OUT_OF_ORDER),
    ("data_acked", Facts::DATA_ACKED),
];

/// The facts of a set, by their words.
#[must_use]
pub fn facts(set: u32) -> Vec<&'static str> {
    FACTS.iter().filter(|(_, bit)| set & bit != 0).map(|(word, _)| *word).collect()
}

/// `SynRetried` as `syn_retried`.
#[must_use]
pub fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// A transition's word.
#[must_use]
pub fn transition(it: Transition) -> String {
    snake(&format!("{it:?}"))
}

/// An effect as a scenario writes it.
#[must_use]
pub fn effect(it: &Effect) -> String {
    match it {
        Effect::Transition(transition, told) => {
            format!("{}{}", self::transition(*transition), if *told { "!" } else { "" })
        }
        Effect::Counter(counter) => counter.name().to_owned(),
    }
}

/// The effects of a packet as a scenario writes them.
#[must_use]
pub fn effects(of: &[Effect]) -> String {
    of.iter().map(effect).collect::<Vec<_>>().join(" ")
}

/// The effect that a word names.
#[must_use]
pub fn to_effect(word: &str) -> Option<Effect> {
    let (name, told) = word.strip_suffix('!').map_or((word, false), |name| (name, true));
    if let Some(&it) = Transition::ALL.iter().find(|it| transition(**it) == name) {
        return Some(Effect::Transition(it, told));
    }
    Counter::ALL.iter().find(|it| it.name() == word).map(|&it| Effect::Counter(it))
}
