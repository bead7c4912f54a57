//! Whether an attempt is listed by the processes at its ends: who they are, and what was decided once.
//!
//! It matches no name: `selection` does.

use std::collections::HashMap;

use tcptrace_core::handshake::Nanos;
use tcptrace_vocabulary::{
    attempt::Attempt,
    facts::{Fact, Missing, Process},
};

use super::{
    caller::{call_of, process},
    calls::Recent,
    connects::Connects,
};
use crate::{desk::Wanted, host::Host};

/// Attempts that are remembered.
const MOST: usize = 1 << 14;

/// What was decided on attempts, by their ids: a report may be held, and an attempt's end may come when its process is
/// gone.
#[derive(Debug, Default)]
pub(super) struct Listed(HashMap<u64, Wanted>);

impl Listed {
    /// The decision on an attempt: the first that was one.
    pub(super) fn decide(&mut self, attempt: u64, anew: impl FnOnce() -> Wanted) -> Wanted {
        if let Some(known) = self.0.get(&attempt) {
            return *known;
        }
        let wanted = anew();
        if self.0.len() >= MOST {
            self.0.clear();
        }
        if wanted != Wanted::Unknown {
            self.0.insert(attempt, wanted);
        }
        wanted
    }
}

/// The processes at the ends of an attempt; `Ok(None)` where nobody is, or where the end is elsewhere and the other is
/// here.
pub(super) fn processes(
    host: &mut Host,
    connects: Result<&Connects, Missing>,
    recent: &Recent,
    attempt: &Attempt,
    now: Nanos,
) -> [Fact<Option<Process>>; 2] {
    let hs = &attempt.handshake;
    let local = host.fill(hs, now);
    let elsewhere = |other: Fact<bool>| if other == Ok(true) { Ok(None) } else { Err(Missing::Elsewhere) };
    let client = match (connects, local.client_here) {
        (Ok(connects), Ok(true)) => {
            let call = call_of(connects, recent, hs, || local.socket.clone());
            call.map(|call| Some(process(host, &call, now)))
        }
        (Err(why), Ok(true)) | (_, Err(why)) => Err(why),
        (_, Ok(false)) => elsewhere(local.server_here),
    };
    let server = match (&local.listener, local.server_here) {
        (Ok(Some(listener)), _) => listener.process.clone().map(Some),
        // Nobody listens there; who did last is as good.
        (Ok(None), _) => Ok(local.service.ok().flatten().map(|it| it.process)),
        (Err(_), Ok(false)) => elsewhere(local.client_here),
        (Err(why), Ok(true) | Err(_)) => Err(*why),
    };
    [client, server]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_decision_stays() {
        let mut listed = Listed::default();
        for (given, expected) in [
            (Wanted::Unknown, Wanted::Unknown),
            (Wanted::Yes, Wanted::Yes),
            (Wanted::Unknown, Wanted::Yes),
            (Wanted::No, Wanted::Yes),
        ] {
            assert_eq!(listed.decide(7, || given), expected);
        }
        for attempt in 0..2 * MOST as u64 {
            listed.decide(attempt, || Wanted::No);
        }
        assert!(listed.0.len() <= MOST);
    }
}
