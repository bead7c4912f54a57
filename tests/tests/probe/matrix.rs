//! The confusion matrix of `tcptrace diagnose`: what was made, what was said, and that nothing certain is false.
//!
//! Its rows are few, and each cause has its own tests beside (`causes.rs`); here it is seen what each is taken for. It
//! writes target/tmp/confusion-matrix.md, and its part of docs/confusion-matrix.md when `TCPTRACE_BLESS_MATRIX` is set.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    net::IpAddr,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tcptrace_tests::lab::{ABSENT_V4, ABSENT_V6, CLIENT_GATEWAY_V4, CLIENT_V4, CLIENT_V6, Lab, SERVER_V4, SERVER_V6};

use crate::told::{PATIENCE, diagnose, give_up_soon, target};

const PORT: u16 = 6036;
/// Rows at once. They wait for the kernel's timers most of the time.
const AT_ONCE: usize = 4;
const HEADING: &str = "\n## `tcptrace diagnose`\n";
/// Where there is no cause.
const NOTHING: &str = "nothing";

/// What has to stay until the diagnosis is over.
type Held = Vec<Box<dyn Any>>;

/// A row: its name, the cause that is made, the address asked about, how it is made, and what may be said of it.
struct Row {
    name: &'static str,
    made: &'static str,
    address: IpAddr,
    make: fn(&Lab) -> Held,
    right: &'static [&'static str],
}

const fn row(
    name: &'static str,
    made: &'static str,
    address: IpAddr,
    make: fn(&Lab) -> Held,
    right: &'static [&'static str],
) -> Row {
    Row { name, made, address, make, right }
}

fn web(lab: &Lab, ip: IpAddr) -> Box<dyn Any> {
    let web = lab.server.listen((ip, 80).into());
    lab.client.connect((ip, 80).into(), PATIENCE).expect("it listens");
    Box::new(web)
}

/// Beside an open port, with a rule of the router.
fn beside_web(lab: &Lab, rule: &str) -> Held {
    give_up_soon(lab);
    let rule = lab.router.filter("forward", &format!("tcp dport {PORT} {rule}"));
    vec![web(lab, SERVER_V4), web(lab, SERVER_V6), Box::new(rule)]
}

/// With a rule of the client's own.
fn kept(lab: &Lab, rule: &str) -> Held {
    give_up_soon(lab);
    let rule = lab.client.filter("output", &format!("tcp dport {PORT} {rule}"));
    vec![web(lab, SERVER_V4), Box::new(rule)]
}

fn silent_server(lab: &Lab, what: &str) -> Held {
    give_up_soon(lab);
    vec![Box::new(lab.server.filter("input", &format!("meta l4proto {what} drop")))]
}

fn routes(lab: &Lab, lines: &str) -> Held {
    lab.client.ip(lines);
    Vec::new()
}

fn open(lab: &Lab) -> Held {
    [SERVER_V4, SERVER_V6].map(|ip| Box::new(lab.server.listen((ip, PORT).into())) as Box<dyn Any>).into()
}

fn closed(lab: &Lab) -> Held {
    vec![web(lab, SERVER_V4), web(lab, SERVER_V6)]
}

fn full_queue(lab: &Lab) -> Held {
    give_up_soon(lab);
    let idle = lab.client.listen_without_accept((CLIENT_V4, PORT).into(), 0);
    vec![Box::new(lab.client.connect((CLIENT_V4, PORT).into(), PATIENCE).expect("one may wait")), Box::new(idle)]
}

const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

const ROWS: &[Row] = &[
    row("open", NOTHING, SERVER_V4, open, &["nothing"]),
    row("open v6", NOTHING, SERVER_V6, open, &["nothing"]),
    row(
        "open on a narrower path",
        NOTHING,
        SERVER_V4,
        |lab| {
            lab.router.ip("link set server0 mtu 1400");
            open(lab)
        },
        &["nothing"],
    ),
    row(
        "open, large packets are swallowed",
        NOTHING,
        SERVER_V4,
        |lab| {
            let mut held = open(lab);
            held.push(Box::new(lab.router.filter("forward", "meta length > 1420 drop")));
            held
        },
        &["nothing"],
    ),
    row("closed beside an open port", "port_closed", SERVER_V4, closed, &["port_closed possible"]),
    row("closed beside an open port v6", "port_closed", SERVER_V6, closed, &["port_closed possible"]),
    row("closed, nothing else open", "port_closed", SERVER_V4, |_| Vec::new(), &["port_closed possible"]),
    row("closed on this host", "port_closed", CLIENT_V6, |_| Vec::new(), &["port_closed possible"]),
    row("dropped on the way", "firewall_drop", SERVER_V4, |lab| beside_web(lab, "drop"), &["firewall_drop likely"]),
    row("dropped on the way v6", "firewall_drop", SERVER_V6, |lab| beside_web(lab, "drop"), &["firewall_drop likely"]),
    row(
        "everything dropped but echo",
        "firewall_drop",
        SERVER_V4,
        |lab| silent_server(lab, "tcp"),
        &["firewall_drop likely"],
    ),
    row(
        "everything dropped",
        "firewall_drop",
        SERVER_V4,
        |lab| silent_server(lab, "{ tcp, icmp, icmpv6 }"),
        &["firewall_drop likely", "host_down possible", "unknown possible"],
    ),
    row(
        "rejected by a RST",
        "firewall_reject",
        SERVER_V4,
        |lab| beside_web(lab, "reject with tcp reset"),
        &["firewall_reject possible", "firewall_reject likely"],
    ),
    row(
        "rejected as prohibited",
        "firewall_reject",
        SERVER_V6,
        |lab| beside_web(lab, "reject with icmpx admin-prohibited"),
        &["firewall_reject certain"],
    ),
    row(
        "rejected as an unreachable port",
        "firewall_reject",
        SERVER_V4,
        |lab| beside_web(lab, "reject with icmpx port-unreachable"),
        &["firewall_reject likely"],
    ),
    row(
        "rejected as an unreachable host",
        "firewall_reject",
        SERVER_V4,
        |lab| beside_web(lab, "reject with icmp type host-unreachable"),
        &["firewall_reject likely"],
    ),
    row(
        "rejected by an own rule",
        "firewall_reject",
        SERVER_V4,
        |lab| kept(lab, "reject"),
        &["firewall_reject likely", "firewall_reject certain"],
    ),
    row("absent", "host_down", ABSENT_V4, |_| Vec::new(), &["host_down likely"]),
    row("absent v6", "host_down", ABSENT_V6, |_| Vec::new(), &["host_down likely"]),
    row(
        "no way at the router",
        "network_unreachable",
        NOWHERE,
        |_| Vec::new(),
        &["network_unreachable likely", "network_unreachable certain"],
    ),
    row(
        "prohibited by a route",
        "no_route",
        NOWHERE,
        |lab| routes(lab, "route add prohibit 192.0.2.0/24"),
        &["no_route certain"],
    ),
    row("no route", "no_route", NOWHERE, |lab| routes(lab, "route del default"), &["no_route certain"]),
    row(
        "the link is down",
        "no_route",
        SERVER_V6,
        |lab| {
            lab.router.ip("link set client0 down");
            Vec::new()
        },
        &["no_route certain"],
    ),
    row(
        "the gateway is gone",
        "gateway_down",
        SERVER_V4,
        |lab| routes(lab, &format!("route del default via {CLIENT_GATEWAY_V4}\nroute add default via 198.51.100.77")),
        &["gateway_down certain"],
    ),
    row(
        "dropped by an own rule",
        "dropped_by_local_firewall",
        SERVER_V4,
        |lab| kept(lab, "drop"),
        &["dropped_by_local_firewall likely", "dropped_by_local_firewall certain"],
    ),
    row("full queue of this host", "listen_queue_full", CLIENT_V4, full_queue, &["listen_queue_full likely"]),
];

/// The cause and the confidence that a row got.
fn said(row: &Row) -> (String, String) {
    let lab = Lab::new();
    lab.client.ip("link set lo up");
    let held = (row.make)(&lab);
    let told = diagnose(&lab, &[&target(row.address, PORT)]);
    drop(held);
    let [cause, confidence, _] = told.verdict();
    let cause = if cause == "-" { NOTHING } else { cause };
    (cause.to_owned(), confidence.replace('-', ""))
}

/// No verdict that is called certain is wrong, and every row is told as it may be.
#[test]
fn confusion_matrix_of_diagnose() {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && number < ROWS.len()
                {
                    let said = said(&ROWS[number]);
                    found.lock().expect("no row panics while it writes").insert(number, said);
                }
            });
        }
    });
    let found = found.into_inner().expect("all are over");
    let is_right = |number: usize| {
        let (cause, confidence) = &found[&number];
        let said = format!("{cause} {confidence}");
        ROWS[number].right.iter().any(|it| *it == said.trim_end())
    };
    let text = text(&found, is_right);
    write(&text);
    let wrong: Vec<_> = (0..ROWS.len()).filter(|it| !is_right(*it)).map(|it| ROWS[it].name).collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{text}");
}

fn text(found: &BTreeMap<usize, (String, String)>, is_right: impl Fn(usize) -> bool) -> String {
    let mut counts = BTreeMap::<&str, BTreeMap<&str, usize>>::new();
    for (number, (cause, _)) in found {
        *counts.entry(ROWS[*number].made).or_default().entry(cause).or_default() += 1;
    }
    let columns: BTreeSet<_> = counts.values().flat_map(BTreeMap::keys).copied().collect();
    let heads = columns.iter().map(|it| format!(" {it} |")).collect::<String>();
    let mut text = format!("{HEADING}\n| made \\ said |{heads}\n|---|{}\n", "---:|".repeat(columns.len()));
    for (made, said) in &counts {
        let cells = columns.iter().map(|it| said.get(it).map_or(" |".to_owned(), |count| format!(" {count} |")));
        let _ = writeln!(text, "| {made} |{}", cells.collect::<String>());
    }
    let right = (0..ROWS.len()).filter(|it| is_right(*it)).count();
    let _ = writeln!(text, "\n{right} of {} as expected.\n\n| scenario | made | said | confidence | |", ROWS.len());
    text.push_str("|---|---|---|---|---|\n");
    for (number, (cause, confidence)) in found {
        let Row { name, made, .. } = ROWS[*number];
        let mark = if is_right(*number) { "" } else { "wrong" };
        let _ = writeln!(text, "| {name} | {made} | {cause} | {confidence} | {mark} |");
    }
    text
}

/// The suite `causes` writes what stands above.
fn write(text: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let blessed = env::var_os("TCPTRACE_BLESS_MATRIX").map(|_| root.join("docs"));
    for directory in [Some(temporary.to_owned()), blessed].into_iter().flatten() {
        let path = directory.join("confusion-matrix.md");
        let known = fs::read_to_string(&path).unwrap_or_default();
        let above = known.find(HEADING).map_or(&*known, |at| &known[..at]);
        fs::write(&path, format!("{above}{text}"))
            .unwrap_or_else(|error| panic!("cannot write '{}': {error}", path.display()));
    }
}
