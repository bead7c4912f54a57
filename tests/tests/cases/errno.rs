//! What each errno of connect(2) may mean, and what stands beside a cause: pure rows, no lab.

use std::{net::IpAddr, time::Duration};

use libc::{EACCES, EADDRNOTAVAIL, ECONNREFUSED, EHOSTUNREACH, EINVAL, ENETUNREACH, EPERM, ETIMEDOUT};
use tcptrace_core::{
    drops::Kind,
    flow::Addr,
    handshake::{Handshake, Nanos, Side, State},
};
use tcptrace_verdict::{case::Case, judge, past::Past};
use tcptrace_vocabulary::{
    attempt::Attempt,
    cause::{
        Cause::{self, ConnectFailed, DroppedByLocalFirewall, FirewallReject, NoLocalPort, NoRoute, PortClosed},
        Confidence::{self, Certain, Likely, Possible},
    },
    facts::{Call, Dropped, Fact, Local, Missing, Place, Process, Service, Suspect, Trouble, Way},
    outcome::Outcome,
    verdict::Verdict,
};

/// A call for an address, without a SYN on the wire.
fn call(local: Local) -> Verdict {
    let handshake = Handshake {
        server_addr: Addr::v4(0xcb00_7102),
        server_port: 443,
        first_syn: Nanos(1),
        last_syn: Nanos(1),
        state: State::SynSent as u8,
        ..Handshake::default()
    };
    let attempt = Attempt::from_handshake(handshake, Outcome::NoReply);
    judge(&Case { attempt: &attempt, local: &local, past: &Past::default(), checks: 0 })
}

fn failed(made: Fact<bool>, errno: Option<i32>, way: Fact<Way>) -> Local {
    let call = errno.map_or(Err(Missing::NotAsked), |errno| Ok(Call { errno: Some(errno), took: Duration::ZERO }));
    Local { client_here: Ok(true), made, left: Ok(0), call, way, ..Local::unknown(Missing::NotAsked) }
}

fn nowhere(errno: i32) -> Fact<Way> {
    Ok(Way::Nowhere { errno })
}

fn link() -> Fact<Way> {
    Ok(Way::Link { interface: "eth0".to_owned(), up: true, carrier: true })
}

#[test]
fn each_errno_has_the_causes_that_can_give_it() {
    const NOT_ASKED: Fact<Way> = Err(Missing::NotAsked);
    type Row = (&'static str, Fact<bool>, Option<i32>, Fact<Way>, Cause, Confidence);
    let rows: [Row; 16] = [
        ("no route", Ok(false), Some(ENETUNREACH), nowhere(ENETUNREACH), NoRoute, Certain),
        ("prohibit", Ok(false), Some(EACCES), nowhere(EACCES), NoRoute, Certain),
        ("blackhole", Ok(false), Some(EINVAL), nowhere(EINVAL), NoRoute, Certain),
        ("unreachable", Ok(false), Some(EHOSTUNREACH), nowhere(EHOSTUNREACH), NoRoute, Certain),
        ("routing changed since", Ok(false), None, Err(Missing::Gone), NoRoute, Likely),
        ("a route, and nothing else known", Ok(false), None, NOT_ASKED, ConnectFailed, Possible),
        ("no port", Ok(false), Some(EADDRNOTAVAIL), NOT_ASKED, NoLocalPort, Certain),
        (
            "no port, and routing changed since",
            Ok(false),
            Some(EADDRNOTAVAIL),
            Err(Missing::Gone),
            NoLocalPort,
            Certain,
        ),
        ("a program's EPERM", Ok(false), Some(EPERM), NOT_ASKED, ConnectFailed, Certain),
        ("a program's EACCES", Ok(false), Some(EACCES), NOT_ASKED, ConnectFailed, Certain),
        ("a program's ECONNREFUSED", Ok(false), Some(ECONNREFUSED), NOT_ASKED, ConnectFailed, Certain),
        ("broadcast", Ok(false), Some(ENETUNREACH), Ok(Way::Many), ConnectFailed, Certain),
        // `diagnose` has the errno itself, and does not know whether there was a SYN.
        ("EPERM of a call", Err(Missing::NotAsked), Some(EPERM), link(), ConnectFailed, Certain),
        ("EACCES while routing lets it pass", Err(Missing::NotAsked), Some(EACCES), link(), ConnectFailed, Certain),
        ("EACCES, routing unknown", Err(Missing::NotAsked), Some(EACCES), NOT_ASKED, ConnectFailed, Likely),
        ("EACCES of a prohibit route", Err(Missing::NotAsked), Some(EACCES), nowhere(EACCES), NoRoute, Certain),
    ];
    for (what, made, errno, way, cause, confidence) in rows {
        let said = call(failed(made, errno, way));
        assert_eq!((said.cause, said.confidence), (cause, confidence), "{what}: {said:#?}");
    }
    // An error that came for a SYN on another interface is no routing of this host.
    let said = call(failed(Ok(true), Some(ENETUNREACH), link()));
    assert!(!matches!(said.cause, NoRoute | ConnectFailed), "{said:#?}");
}

/// The drop alone is a drop; with an errno that only an answer gives, it is a reject.
#[test]
fn a_rule_rejects_only_where_the_call_failed() {
    let with_rules = |errno: Option<i32>, reason: &str, made, rules| {
        let drop = Dropped {
            at: Nanos(1),
            from: Side::Client,
            packet: Kind::Syn,
            fits: Some(true),
            reason: reason.to_owned(),
            count: 1,
            place: Place::Client,
            netns: 7,
            within: None,
            translated: None,
        };
        let said = call(Local { drops: Ok(vec![drop]), left: Ok(0), rules, ..failed(made, errno, link()) });
        (said.cause, said.confidence)
    };
    let rule = |rejects| {
        let (table, chain) = ("t".to_owned(), "out".to_owned());
        let (hook, family) = ("output", "inet");
        Ok(vec![Suspect { hook, family, table, chain, handle: Some(2), rejects, packets: None, grew: None }])
    };
    let with = |errno, reason, made| with_rules(errno, reason, made, rule(true));
    assert_eq!(with(Some(ECONNREFUSED), "NETFILTER_DROP", Ok(true)), (FirewallReject, Certain));
    assert_eq!(with(Some(EACCES), "NETFILTER_DROP", Ok(true)), (FirewallReject, Certain));
    // A later SYN may have left by an interface that is not traced, and have been answered there.
    for rules in [Ok(Vec::new()), Err(Missing::Privilege)] {
        assert_eq!(with_rules(Some(ECONNREFUSED), "NETFILTER_DROP", Ok(true), rules), (FirewallReject, Likely));
    }
    let silent = with_rules(Some(ECONNREFUSED), "NETFILTER_DROP", Ok(true), rule(false));
    assert_eq!(silent, (DroppedByLocalFirewall, Likely), "a rule that drops answers nothing");
    for errno in [None, Some(ETIMEDOUT)] {
        assert_eq!(with_rules(errno, "NETFILTER_DROP", Ok(true), rule(false)).0, DroppedByLocalFirewall);
    }
    assert_ne!(with(Some(EHOSTUNREACH), "NEIGH_FAILED", Ok(true)).0, FirewallReject, "no rule dropped it");
}

#[test]
fn an_address_that_is_missing_is_said_beside_the_route() {
    let said = |own: &[&str]| {
        let own = own.iter().map(|it| it.parse::<IpAddr>().expect("an address")).collect();
        call(Local { own: Ok(own), ..failed(Ok(false), Some(ENETUNREACH), nowhere(ENETUNREACH)) }).evidence.join("; ")
    };
    assert!(said(&["127.0.0.1"]).contains("no IPv4 address but the loopback's"));
    assert!(said(&["127.0.0.1", "169.254.3.4", "2001:db8::1"]).contains("169.254.3.4, is link-local"));
    for fine in [&["192.0.2.7"][..], &["169.254.3.4", "192.0.2.7"]] {
        assert!(!said(fine).contains("address"), "{}", said(fine));
    }
    let unknown = call(failed(Ok(false), Some(ENETUNREACH), nowhere(ENETUNREACH)));
    assert_eq!(unknown.evidence.len(), 1, "what is not known is not missing: {unknown:#?}");
}

/// Beside the causes that are about the service, and no other.
#[test]
fn a_service_in_trouble_is_named_with_what_helps() {
    let process =
        Process { pid: 7, command: "nginx".to_owned(), unit: Some("nginx.service".to_owned()), ..Process::default() };
    let said = |trouble, outcome| {
        let handshake = Handshake { first_syn: Nanos(1), state: State::Refused as u8, ..Handshake::default() };
        let attempt = Attempt::from_handshake(handshake, outcome);
        let service = Service { process: process.clone(), listens: false, troubles: vec![trouble] };
        let local = Local {
            server_here: Ok(true),
            client_here: Ok(false),
            listener: Ok(None),
            service: Ok(Some(service)),
            ..Local::unknown(Missing::NotAsked)
        };
        judge(&Case { attempt: &attempt, local: &local, past: &Past::default(), checks: 0 })
    };
    for (trouble, evidence, step) in [
        (Trouble::Stopped, "nginx (pid 7), which listens there, is stopped", "kill -CONT 7"),
        (Trouble::Ended { seconds: 3 }, "was last seen 3 s ago, and has ended", "systemctl status nginx.service"),
        (Trouble::StoppedListening, "still running: it closed its socket", "the log of nginx"),
        (
            Trouble::KilledForMemory { kills: 1, is_own: true },
            "the kernel killed 1 process of the cgroup of nginx.service for want of memory",
            "journalctl -k --grep oom-kill",
        ),
        (Trouble::Throttled { periods: 80, of: 100 }, "throttled in 80 of 100 periods", "CPUQuota="),
        (Trouble::Starved { resource: "memory", percent: 40 }, "waited for memory in 40 %", "systemd-cgtop"),
    ] {
        let refused = said(trouble, Outcome::Refused);
        assert_eq!(refused.cause, PortClosed);
        assert!(refused.evidence.last().is_some_and(|last| last.contains(evidence)), "{refused:#?}");
        assert!(refused.next[0].contains(step), "{refused:#?}");
        let other = said(trouble, Outcome::NoReply);
        assert!(!other.evidence.iter().any(|it| it.contains(evidence)), "another cause: {other:#?}");
    }
}
