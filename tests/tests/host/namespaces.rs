//! The owner of an address among all network namespaces of this host; processes; privilege; what a look costs.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use caps::CapSet;
use tcptrace::host::Host;
use tcptrace_tests::lab::{CLIENT_V4, ConnectOptions, Lab, SERVER_V4, eventually, stranger_v4};
use tcptrace_vocabulary::facts::Missing;

use crate::{PATIENCE, attempt, look, now, own};

/// An address that no other lab has: theirs are all alike, and what several namespaces have is nobody's. Of the numbers
/// for benchmarks (RFC 2544), by process and call.
pub(crate) fn unique() -> IpAddr {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() << 4 | NUMBER.fetch_add(1, Ordering::Relaxed);
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | number & 0xff_ffff))
}

#[test]
fn an_address_of_one_other_namespace_is_found() {
    let lab = Lab::new();
    let (server, shared) = (unique(), unique());
    lab.server.ip(&format!("addr add {server}/32 dev eth0\naddr add {shared}/32 dev eth0"));
    lab.router.ip(&format!("addr add {shared}/32 dev server0"));
    let to = SocketAddr::new(server, 80);
    let _listener = lab.server.listen_without_accept(to, 5);
    let mut all = lab.client.enter(Host::new);
    let local = look(&mut all, (CLIENT_V4, 40000).into(), to);
    assert_eq!((local.client_here, local.server_here), (Ok(true), Ok(true)), "the own namespace comes first");
    let listener = local.listener.unwrap().unwrap();
    assert_eq!((listener.queue_max, listener.process.unwrap().pid), (5, std::process::id()));
    assert_eq!(local.socket, Ok(None));
    let counters = local.counters.expect("they were read when the namespace was found");
    assert_eq!(counters.listen_overflows, 0);
    assert!(counters.memory_limit > 0, "the first namespace shows it: {counters:?}");
    let elsewhere = look(&mut all, (CLIENT_V4, 40000).into(), (shared, 80).into());
    assert_eq!((elsewhere.server_here, elsewhere.listener), (Err(Missing::Elsewhere), Err(Missing::Elsewhere)));
    let cookies = [CLIENT_V4, server].map(|it| all.namespace_cookie(it, now()).unwrap());
    assert_ne!(cookies[0], cookies[1]);
    let mut server_only = own(&lab.server);
    assert_eq!(server_only.namespace_cookie(server, now()), Ok(cookies[1]));
    let alone = look(&mut own(&lab.client), (CLIENT_V4, 40000).into(), to);
    assert_eq!((alone.server_here, alone.listener), (Ok(false), Err(Missing::Elsewhere)));
}

#[test]
fn what_changes_is_noticed() {
    let lab = Lab::new();
    let (ours, theirs) = (unique(), unique());
    let mut host = lab.client.enter(Host::new);
    let here = |host: &mut Host, ip| look(host, (CLIENT_V4, 40000).into(), (ip, 80).into()).server_here;
    assert_eq!([ours, theirs].map(|ip| here(&mut host, ip)), [Ok(false), Ok(false)]);
    lab.client.ip(&format!("addr add {ours}/32 dev eth0"));
    assert_eq!(here(&mut host, ours), Ok(true), "of the own namespace at once");
    lab.server.ip(&format!("addr add {theirs}/32 dev eth0"));
    eventually(PATIENCE, || (here(&mut host, theirs) == Ok(true)).then_some(()));
}

/// The tracer gives its privileges up once it is attached.
#[test]
fn what_is_open_stays_known_when_privileges_are_given_up() {
    let lab = Lab::new();
    let server = unique();
    lab.server.ip(&format!("addr add {server}/32 dev eth0"));
    let _listener = lab.server.listen((server, 80).into());
    lab.client.enter(|| {
        let mut host = Host::new();
        // Keeps it open, of however many labs there are.
        assert!(look(&mut host, (CLIENT_V4, 40000).into(), (server, 80).into()).listener.unwrap().is_some());
        caps::clear(None, CapSet::Effective).unwrap();
        let stranger = (stranger_v4(1), 40000).into();
        eventually(PATIENCE, || {
            let local = look(&mut host, stranger, (server, 80).into());
            (local.client_here == Err(Missing::Privilege)).then_some(())
        });
        let local = look(&mut host, stranger, (server, 80).into());
        assert_eq!(local.server_here, Ok(true));
        let listener = local.listener.unwrap().unwrap();
        assert_eq!((listener.sockets, listener.process.unwrap().pid), (1, std::process::id()));
    });
}

#[test]
fn without_privilege_only_the_own_namespace_is_known() {
    let lab = Lab::new();
    let _listener = lab.client.listen((CLIENT_V4, 80).into());
    let _guest = lab.client.spawn(["sleep", "60"]);
    lab.client.enter(|| {
        // The capabilities of this thread, and of those that it starts.
        caps::clear(None, CapSet::Effective).unwrap();
        let mut host = Host::new();
        let local = look(&mut host, (SERVER_V4, 40000).into(), (CLIENT_V4, 80).into());
        assert_eq!((local.client_here, local.server_here), (Err(Missing::Privilege), Ok(true)));
        assert_eq!(local.socket, Err(Missing::Privilege));
        let listener = local.listener.unwrap().unwrap();
        assert_eq!(listener.process.map(|it| it.pid), Ok(std::process::id()), "one's own descriptors are readable");
    });
}

#[test]
fn a_process_has_a_name() {
    let lab = Lab::new();
    let sleep = lab.client.spawn(["sleep", "60"]);
    let mut host = own(&lab.client);
    let pid = sleep.pid().as_raw().cast_unsigned();
    // `ip netns exec` becomes it in a moment.
    let process = eventually(PATIENCE, || host.process(pid, now()).ok().filter(|it| it.command == "sleep"));
    assert_eq!((process.pid, process.container), (pid, None));
    drop(sleep);
    eventually(PATIENCE, || (host.process(pid, now()) == Err(Missing::Gone)).then_some(()));
}

/// The time that this thread has run.
fn cpu() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

/// Ten thousand attempts: of one client and many ports, and of as many clients. It prints; speed is not tested.
#[test]
fn what_ten_thousand_looks_cost() {
    const LOOKS: u16 = 10_000;
    let lab = Lab::new();
    let _listeners = [80, 81, 82].map(|port| lab.server.listen((SERVER_V4, port).into()));
    let options = ConnectOptions { from_port: Some(40000), ..Default::default() };
    let _open = lab.client.start_connect((SERVER_V4, 80).into(), options).unwrap();
    for (what, ns, client) in [
        ("a server, one client", &lab.server, (|_| CLIENT_V4) as fn(u16) -> IpAddr),
        ("a server, as many clients", &lab.server, stranger_v4),
        ("a client", &lab.client, |_| CLIENT_V4),
    ] {
        for (hosts, open) in [("own", Host::own as fn() -> Host), ("all", Host::new)] {
            let mut host = ns.enter(open);
            host.tick(now());
            let begun = cpu();
            for number in 0..LOOKS {
                let local = host.fill(&attempt((client(number), 30000 + number).into(), (SERVER_V4, 80).into()), now());
                assert!(local.counters.is_ok(), "{local:?}");
            }
            println!("{what}, {hosts}: {:?} a look", (cpu() - begun) / u32::from(LOOKS));
        }
    }
}
