//! A filter as the kernel applies it: tests that lead to each other. Userspace applies a filter that does not fit.

use tcptrace_core::{
    flow::Addr,
    predicate::{ACCEPT, LENGTH, REJECT, Test},
};

use super::{
    Expression, Join,
    primitive::{Direction, Net, Primitive},
};

/// The tests, the first first; `None` where they are more than the kernel has room for.
pub(super) fn tests(root: Option<&Expression>) -> Option<Vec<Test>> {
    // From the last to the first, because each leads to those behind it.
    let mut tests = Vec::new();
    match root {
        Some(root) => drop(compile(root, Target::Accept, Target::Reject, &mut tests)),
        None => tests.push((Test { truth: Test::ALWAYS, ..ANY }, Target::Accept, Target::Reject)),
    }
    if tests.len() > LENGTH {
        return None;
    }
    let last = tests.len() - 1;
    let number = |target| match target {
        Target::Accept => ACCEPT,
        Target::Reject => REJECT,
        Target::Test(it) => (last - it) as u8,
    };
    Some(tests.iter().rev().map(|&(test, yes, no)| Test { yes: number(yes), no: number(no), ..test }).collect())
}

/// The target of an answer; a test by its place from the end.
#[derive(Clone, Copy)]
enum Target {
    Accept,
    Reject,
    Test(usize),
}

type Tests = Vec<(Test, Target, Target)>;

/// Adds what an expression asks, and says where that begins.
fn compile(expression: &Expression, yes: Target, no: Target, tests: &mut Tests) -> Target {
    match expression {
        Expression::Primitive(found) => {
            tests.push((primitive(*found), yes, no));
            Target::Test(tests.len() - 1)
        }
        Expression::Not(inner) => compile(inner, no, yes, tests),
        Expression::Chain(first, rest) => {
            let (mut yes, mut no) = (yes, no);
            for (join, operand) in rest.iter().rev() {
                let begin = compile(operand, yes, no, tests);
                match join {
                    Join::And => yes = begin,
                    Join::Or => no = begin,
                }
            }
            compile(first, yes, no, tests)
        }
    }
}

const V4: u8 = 2;
const V6: u8 = 1;
const NOWHERE: Addr = Addr { hi: 0, lo: 0 };
/// Fits every endpoint.
const ANY: Test = Test {
    addr: NOWHERE,
    mask: NOWHERE,
    first: 0,
    last: u16::MAX,
    families: V4 | V6,
    truth: 0,
    no: REJECT,
    yes: ACCEPT,
};

fn primitive(primitive: Primitive) -> Test {
    match primitive {
        Primitive::Tcp => Test { truth: Test::ALWAYS, ..ANY },
        Primitive::Ip => Test { families: V4, truth: Test::SRC, ..ANY },
        Primitive::Ip6 => Test { families: V6, truth: Test::SRC, ..ANY },
        Primitive::Net(direction, net) => {
            let families = if net.is_v4() { V4 } else { V6 };
            let Net { addr, mask } = net;
            Test { addr, mask, families, truth: truth(direction), ..ANY }
        }
        Primitive::Ports(direction, first, last) => Test { first, last, truth: truth(direction), ..ANY },
    }
}

const fn truth(direction: Direction) -> u8 {
    match direction {
        Direction::Src => Test::SRC,
        Direction::Dst => Test::DST,
        Direction::Either => Test::EITHER,
        Direction::Both => Test::BOTH,
    }
}
