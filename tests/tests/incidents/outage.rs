//! Outages of one server port, by real sockets: few lines of text, and every failure in a count.

use std::{
    env,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tcptrace_tests::lab::{ConnectOptions, Lab, OTHER_V4, OnAccept, SERVER_V4};

use crate::{PATIENCE, Watch};

const PAUSE: Duration = Duration::from_millis(18);

/// ../shared/cases/live-noise-dead-backend.sh: one backend refuses and one is silent, 200 connects each.
#[test]
fn two_dead_backends_are_a_few_lines() {
    let lab = Lab::new();
    let _open = lab.server.listen((SERVER_V4, 80).into());
    let _silent = lab.router.filter("forward", &format!("ip daddr {OTHER_V4} drop"));
    let watch = Watch::start(&lab.client, "eth0");
    for _ in 0..200 {
        assert!(lab.client.connect((SERVER_V4, 81).into(), PATIENCE).is_err(), "the port is closed");
        thread::sleep(PAUSE);
    }
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            thread::sleep(PAUSE);
            lab.client.start_connect((OTHER_V4, 80).into(), ConnectOptions::default()).expect("a socket is made")
        })
        .collect();
    thread::sleep(Duration::from_secs(5));
    drop(waiting);
    let account = watch.end();
    assert!(account.text.len() <= 20, "{} lines:\n{}", account.text.len(), account.text.join("\n"));
    account.assert_exact();
    let ended = account.ended();
    let of = |symptom: &str| ended.iter().find(|it| it["symptom"] == symptom).expect("it is there");
    assert_eq!(ended.len(), 2, "{ended:#?}");
    assert_eq!(of("refusal")["outcomes"], json!({ "refused": 200 }));
    assert_eq!(of("refusal")["edge"]["server"], json!({ "ip": "203.0.113.2", "port": 81 }));
    assert_eq!((&of("silence")["outcomes"]["no_reply"], &of("silence")["stalls"]), (&json!(200), &json!(200)));
    let text = account.text.join("\n");
    for count in ["200 refused", "200 no_reply"] {
        assert!(text.contains(count), "no '{count}' in\n{text}");
    }
}

/// Thirty backends of which three fail in different ways: every count is what the sockets said. `TCPTRACE_OUTAGE_SECONDS`
/// makes it longer.
#[test]
fn three_of_thirty_backends_fail() {
    let lab = Lab::new();
    let backends: Vec<SocketAddr> = (8000..8030).map(|port| (SERVER_V4, port).into()).collect();
    let [closed, silent, rejected] = [7, 14, 21].map(|it| backends[it]);
    let _listeners: Vec<_> =
        backends.iter().filter(|it| **it != closed).map(|it| lab.server.listen_and(*it, OnAccept::Close)).collect();
    let rules = [("drop", silent), ("reject with icmp admin-prohibited", rejected)].map(|(verb, it)| {
        lab.router.filter("forward", &format!("ip daddr {SERVER_V4} tcp dport {} {verb}", it.port()))
    });
    let watch = Watch::start(&lab.client, "eth0");
    let (mut failed, mut worked, mut waiting) = ([0u64; 3], 0u64, Vec::new());
    let seconds = env::var("TCPTRACE_OUTAGE_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(3);
    let attempts = 500 * seconds;
    let began = Instant::now();
    for round in 0..attempts {
        let to = backends[round % backends.len()];
        if to == silent {
            waiting.push(lab.client.start_connect(to, ConnectOptions::default()).expect("a socket is made"));
            // A client with so many open sockets gives the oldest up.
            if waiting.len() > 100 {
                waiting.remove(0).abandon();
            }
            failed[1] += 1;
        } else if lab.client.connect(to, PATIENCE).is_ok() {
            worked += 1;
        } else {
            failed[if to == closed { 0 } else { 2 }] += 1;
        }
        let next = began + Duration::from_millis(2) * (round as u32 + 1);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    println!("{attempts} attempts in {:?}: {worked} worked, {failed:?} failed", began.elapsed());
    thread::sleep(Duration::from_secs(4));
    drop(waiting);
    let account = watch.end();
    drop(rules);
    println!("{} lines of text:\n{}", account.text.len(), account.text.join("\n"));
    assert!(account.text.len() <= 40, "{} lines:\n{}", account.text.len(), account.text.join("\n"));
    account.assert_exact();
    let ended = account.ended();
    assert_eq!((ended.len(), worked), (3, attempts as u64 - failed.iter().sum::<u64>()), "{ended:#?}");
    for (server, outcome, number) in
        [(closed, "refused", failed[0]), (silent, "no_reply", failed[1]), (rejected, "unreachable", failed[2])]
    {
        let it = ended.iter().find(|it| it["edge"]["server"]["port"] == server.port()).expect("it is there");
        assert_eq!(it["outcomes"], json!({ (outcome): number }), "{it:#}");
    }
}
