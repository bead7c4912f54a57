//! A verdict, and what this host knows of an attempt, as the functions that they are: on one core, nobody traced.

use std::{hint::black_box, time::Instant};

use anyhow::Result;
use tcptrace::{clock::monotonic, host::Host};
use tcptrace_core::{
    flow::Addr,
    handshake::{End, Facts, Handshake, Nanos, Offer, Point, State},
    segment::Flags,
};
use tcptrace_tests::{
    cpu,
    figures::{Account, Column, Goal, Options, Table},
    lab::Lab,
};
use tcptrace_verdict::{case::Case, judge, past::Past};
use tcptrace_vocabulary::{
    attempt::Attempt,
    facts::{Local, Missing},
    outcome::Outcome,
};

const HOSTS: u32 = 10_000;
const SECOND: u64 = 1_000_000_000;

const COLUMNS: &[Column] = &[Column("ns", "ns each", 0), Column("per_s", "a second", 0)];

pub(crate) fn measure(lab: &Lab, options: &Options, account: &mut Account) -> Result<()> {
    cpu::stay_on(1)?;
    let mut verdicts = Table::new("a verdict, with 10,000 hosts in mind", COLUMNS);
    let mut looks = Table::new("a look at this host", COLUMNS);
    let count = if options.full { 20_000 } else { 100 };
    let [mixed, silent] = [false, true].map(history);
    for _ in 0..options.rounds {
        for (name, make) in KINDS {
            verdicts.add(name, None, &each(count, verdict(&mixed, make)));
        }
        // The worst: whoever looks for one that answers finds none.
        verdicts.add("no reply, from anybody", None, &each(count / 20, verdict(&silent, syn)));
        for (name, ns, make) in [
            ("client here", &lab.client, refused as Make),
            ("server here", &lab.server, asked_here as Make),
            ("neither here", &lab.router, refused as Make),
        ] {
            let mut host = ns.enter(Host::own);
            host.tick(monotonic());
            let look = |number: u32| {
                let now = monotonic();
                let it =
                    Handshake { first_syn: now, client_port: 1024 + (number % 60_000) as u16, ..make(host_of(number)) };
                black_box(host.fill(&it, now));
            };
            looks.add(name, None, &each(count / 10, look));
        }
    }
    for (name, _) in KINDS.iter().chain(&[("no reply, from anybody", syn as Make)]) {
        account.goal(format!("verdicts, {name}: a second"), verdicts.figures(name, "per_s"), Goal::AtLeast(1e5));
    }
    for name in ["client here", "server here", "neither here"] {
        account.goal(format!("looks, {name}: a second"), looks.figures(name, "per_s"), Goal::AtLeast(1e4));
    }
    account.tables.extend([verdicts, looks]);
    Ok(())
}

type Make = fn(Addr) -> Handshake;
const KINDS: [(&str, Make); 4] =
    [("refused", refused), ("no reply", syn), ("half open", answered), ("unreachable", unreachable)];

/// Nanoseconds each, and how many a second.
fn each(count: u32, mut act: impl FnMut(u32)) -> [f64; 2] {
    let started = Instant::now();
    (0..count).for_each(&mut act);
    let nanos = started.elapsed().as_secs_f64() * 1e9 / f64::from(count);
    [nanos, 1e9 / nanos]
}

fn verdict(history: &Past, make: Make) -> impl FnMut(u32) {
    move |number| {
        let handshake = make(host_of(number));
        let outcome = Outcome::to_the_end(&handshake).expect("an attempt");
        let attempt = Attempt::from_handshake(handshake, outcome);
        let local = Local { client_here: Ok(true), server_here: Ok(false), ..Local::unknown(Missing::Elsewhere) };
        black_box(judge(&Case { attempt: &attempt, local: &local, past: history, checks: 0 }));
    }
}

/// 40 hosts a network; of ten one is silent, one refuses, the others answer. Or all are silent.
fn history(silent: bool) -> Past {
    let mut history = Past::default();
    for number in 0..HOSTS {
        let to = host_of(number);
        let make = match number % 10 {
            _ if silent => syn,
            0 => syn,
            1 => refused,
            _ => established,
        };
        for port in [80, 443] {
            let it = Handshake { server_port: port, ..make(to) };
            history.note(&it, Outcome::to_the_end(&it).expect("an attempt"));
        }
    }
    history
}

fn host_of(number: u32) -> Addr {
    let number = number % HOSTS;
    Addr::v4(0x0a00_0001 + ((number / 40) << 8) + number % 40)
}

fn syn(to: Addr) -> Handshake {
    let now = Nanos(10_000 * SECOND);
    Handshake {
        client_addr: Addr::v4(0xc633_6402),
        client_port: 40_000,
        server_addr: to,
        server_port: 6036,
        first_syn: now,
        last_syn: now,
        client_point: Point::egress(2),
        syn: Offer { ttl: 64, tries: 1, ..Offer::default() },
        state: State::SynSent as u8,
        ..Handshake::default()
    }
}

fn answered(to: Addr) -> Handshake {
    let it = syn(to);
    let at = Nanos(it.first_syn.0 + SECOND / 50);
    Handshake {
        first_answer: at,
        last_answer: at,
        server_point: Point::ingress(2),
        answer: Offer { ttl: 60, tries: 1, ..Offer::default() },
        answered_try: 1,
        state: State::SynReceived as u8,
        ..it
    }
}

fn established(to: Addr) -> Handshake {
    let it = answered(to);
    let ended = Nanos(it.last_answer.0 + 1);
    Handshake { ended, end: End { flags: Flags::ACK, ..End::default() }, state: State::Established as u8, ..it }
}

fn refused(to: Addr) -> Handshake {
    let it = syn(to);
    let end = End { ttl: 60, window: 0, flags: Flags::RST | Flags::ACK };
    Handshake { ended: Nanos(it.first_syn.0 + SECOND / 50), end, state: State::Refused as u8, ..it }
}

fn unreachable(to: Addr) -> Handshake {
    let it = syn(to);
    Handshake { ended: it.first_syn, facts: Facts(Facts::UNREACHABLE), icmp_kind: 3, icmp_code: 1, ..it }
}

/// The lab's server.
fn asked_here(_: Addr) -> Handshake {
    let it = refused(Addr::v4(0xcb00_7102));
    Handshake { client_point: Point::ingress(2), ..it }
}
