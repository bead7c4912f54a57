//! The life of a finding: how many are kept, and what makes room.

use tcptrace_verdict::patterns::lifecycle::{Course, KEPT, Lifecycle};

/// A finding that is its own number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number(usize);

impl Course for Number {
    type Finding = Self;

    fn finding(&self) -> Self {
        *self
    }

    fn close(self) -> Self {
        self
    }
}

fn begun(number: usize) -> Lifecycle<usize, Number> {
    let mut all = Lifecycle::default();
    for it in 0..number {
        all.begin(it, |_| Number(it));
    }
    all
}

#[test]
fn the_oldest_makes_room_if_too_many_run() {
    let counts = |number| {
        let all = begun(number);
        (all.begun(), all.running(), all.forgotten(), all.all().first().copied())
    };
    assert_eq!(counts(KEPT), (KEPT as u64, KEPT, 0, Some(Number(0))));
    assert_eq!(counts(KEPT + 2), (KEPT as u64 + 2, KEPT, 2, Some(Number(2))));
}

#[test]
fn what_is_over_makes_room_first() {
    let mut all = begun(KEPT - 1);
    all.end(|it| it.0 == 7);
    all.begin(KEPT, |_| Number(KEPT));
    assert_eq!((all.running(), all.forgotten(), all.over_mut().count()), (KEPT - 1, 0, 1));
    all.begin(KEPT + 1, |_| Number(KEPT + 1));
    assert_eq!((all.running(), all.forgotten(), all.over_mut().count()), (KEPT, 1, 0));
}

#[test]
fn what_is_withdrawn_never_began() {
    let mut all = begun(4);
    assert_eq!(all.withdraw(|it| it.0 % 2 == 1), [Number(1), Number(3)]);
    assert_eq!(all.all(), [Number(0), Number(2)]);
    assert!(all.news().is_empty());
    all.announce(&2);
    all.end(|it| it.0 == 0);
    assert_eq!(all.news(), [Number(2), Number(0)]);
}
