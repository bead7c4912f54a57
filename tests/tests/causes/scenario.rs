//! A row of the table: what is made, where one looks, and what may be said of it.

use std::io;

use tcptrace_vocabulary::cause::{Cause, Confidence};

use crate::scene::Scene;

/// Where the tracer runs, and on which interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Client,
    /// The client, on the wire that only answers take.
    ClientSecondWay,
    /// Both sides of the router.
    Router,
    Server,
}

/// What became of the client's socket, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    /// The kernel's errno.
    Failed(i32),
    Open,
    /// The application closed it before there was an answer.
    GivenUp,
    /// There is none: frames were sent by hand.
    None,
}

impl Socket {
    /// The state after a connect; the caller has to keep a connection that opened.
    pub(crate) fn of<T>(result: &io::Result<T>) -> Self {
        match result {
            Ok(_) => Self::Open,
            Err(error) => error.raw_os_error().map_or(Self::GivenUp, Self::Failed),
        }
    }
}

/// A verdict that is right, and how sure it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right {
    pub(crate) cause: Cause,
    pub(crate) least: Confidence,
    pub(crate) most: Confidence,
}

/// Nothing else leaves this trace, and the tool has to know.
pub(crate) const fn surely(cause: Cause) -> Right {
    Right { cause, least: Confidence::Certain, most: Confidence::Certain }
}

/// It may be called certain, and has to be called likely.
pub(crate) const fn well(cause: Cause) -> Right {
    Right { cause, least: Confidence::Likely, most: Confidence::Certain }
}

/// It has to be called likely; something else that is in the table leaves the same trace by an unusual setting.
pub(crate) const fn likely(cause: Cause) -> Right {
    Right { cause, least: Confidence::Likely, most: Confidence::Likely }
}

/// It may be taken for this; called certain, it would be wrong.
pub(crate) const fn maybe(cause: Cause) -> Right {
    Right { cause, least: Confidence::Possible, most: Confidence::Likely }
}

/// A guess that says that it is one.
pub(crate) const fn hardly(cause: Cause) -> Right {
    Right { cause, least: Confidence::Possible, most: Confidence::Possible }
}

/// What the tracer's account has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing is listed.
    Nothing,
    /// A connect(2) that put no SYN on the wire.
    Connect,
    /// An attempt that ends in time, with this outcome.
    Ended(&'static str),
    /// An attempt that was stalled, with the outcome that it has when tracing ends: what it comes to takes longer and
    /// shows nothing more.
    Stalled(&'static str),
    /// An attempt that goes on, or lies open, when tracing ends.
    Open(&'static str),
}

/// A row. Each is also a test of its name.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The truth; `None`: nothing is wrong, or nothing that has a name.
    pub(crate) made: Option<Cause>,
    pub(crate) place: Place,
    pub(crate) v6: bool,
    pub(crate) args: &'static [&'static str],
    /// What has to be there when the tracer starts.
    pub(crate) before: fn(&tcptrace_tests::lab::Lab),
    /// Makes it, and proves that it did.
    pub(crate) make: fn(&Scene) -> Socket,
    pub(crate) socket: Socket,
    pub(crate) told: Told,
    /// `unknown` is never wrong here, but right only where it is named.
    pub(crate) right: &'static [Right],
    /// Any of these; none: whatever it says.
    pub(crate) scope: &'static [&'static str],
    /// Words that the evidence has to contain, in whatever line of it.
    pub(crate) evidence: &'static [&'static str],
    /// What the first next step begins with.
    pub(crate) next: &'static str,
    /// What the line has at a place, as JSON.
    pub(crate) facts: &'static [(&'static str, &'static str)],
}

impl Scenario {
    pub(crate) const fn new(made: Option<Cause>, place: Place, make: fn(&Scene) -> Socket) -> Self {
        Self {
            name: "",
            made,
            place,
            v6: false,
            args: &[],
            before: |_| (),
            make,
            socket: Socket::None,
            told: Told::Nothing,
            right: &[],
            scope: &[],
            evidence: &[],
            next: "",
            facts: &[],
        }
    }

    pub(crate) const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub(crate) const fn v6(self) -> Self {
        Self { v6: true, ..self }
    }

    pub(crate) const fn with(self, args: &'static [&'static str]) -> Self {
        Self { args, ..self }
    }

    pub(crate) const fn after(self, before: fn(&tcptrace_tests::lab::Lab)) -> Self {
        Self { before, ..self }
    }

    pub(crate) const fn fails(self, errno: i32) -> Self {
        Self { socket: Socket::Failed(errno), ..self }
    }

    pub(crate) const fn socket(self, socket: Socket) -> Self {
        Self { socket, ..self }
    }

    pub(crate) const fn told(self, told: Told) -> Self {
        Self { told, ..self }
    }

    pub(crate) const fn right(self, right: &'static [Right]) -> Self {
        Self { right, ..self }
    }

    pub(crate) const fn scope(self, scope: &'static [&'static str]) -> Self {
        Self { scope, ..self }
    }

    pub(crate) const fn evidence(self, evidence: &'static [&'static str]) -> Self {
        Self { evidence, ..self }
    }

    pub(crate) const fn next(self, next: &'static str) -> Self {
        Self { next, ..self }
    }

    pub(crate) const fn facts(self, facts: &'static [(&'static str, &'static str)]) -> Self {
        Self { facts, ..self }
    }
}
