//! Step one: from the name to addresses, as applications get them and as each resolver gives them.
//!
//! Both are asked at once. Probing begins as soon as there are addresses. A getaddrinfo(3) that waits for a silent
//! resolver continues beside it, because applications lose that time.

use std::{
    fs,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

use super::{
    Shared,
    diagnosis::{Answer, Names, Resolver, Step},
    dns,
    hosts::{self, NameServer, Resolution},
    peer::Peer,
    system,
    target::literal,
    zone,
};

/// The time that getaddrinfo(3) is waited for; with a silent resolver before one that answers it takes five seconds.
const SYSTEM: Duration = Duration::from_millis(6500);
/// When an address is taken from whoever has one.
const ENOUGH: Duration = Duration::from_millis(300);
/// Addresses of one family that are tried.
const EACH: usize = 4;

/// Finds out everything about the name, and says through `found` which addresses to try as soon as that is known; an
/// empty list means that there are none.
pub(super) async fn resolve(shared: &Shared, host: &str, files: &Files, found: &watch::Sender<Option<Vec<IpAddr>>>) {
    if let Some((address, _)) = literal(host) {
        let addresses = vec![address.to_canonical()];
        let names = Names { is_address: true, addresses: addresses.clone(), ..Names::default() };
        shared.change(|diagnosis| diagnosis.names = Some(names));
        let _ = found.send(Some(addresses));
        return;
    }
    let _running = shared.begin("name");
    shared.change(|diagnosis| diagnosis.names = Some(Names::default()));
    let from_file = fs::read_to_string(&files.hosts).map(|text| hosts::of_file(&text, host)).unwrap_or_default();
    change(shared, |names| names.hosts = from_file);

    let system = async {
        let began = Instant::now();
        let name = host.to_owned();
        let lookup = spawn_blocking(move || system::lookup(&name));
        let without = |why: String| system::Answer { found: Err(why), not_asked: Vec::new() };
        let answer = match tokio::time::timeout(SYSTEM, lookup).await {
            Ok(answer) => answer.unwrap_or_else(|error| without(error.to_string())),
            Err(_) => without(format!("no answer within {} s", SYSTEM.as_secs_f64())),
        };
        change(shared, |names| {
            names.system = Some(Step { took: began.elapsed(), found: answer.found });
            names.services_not_asked = answer.not_asked;
        });
        settle(shared, found, true);
    };
    let resolvers = async {
        let began = Instant::now();
        ask_all(shared, host, files).await;
        settle(shared, found, began.elapsed() >= ENOUGH);
    };
    let enough = async {
        // A resolver's answer by then will do: getaddrinfo(3) waits for the others.
        let mut is_known = found.subscribe();
        tokio::select! {
            () = sleep(ENOUGH) => settle(shared, found, true),
            _ = is_known.wait_for(Option::is_some) => {}
        }
    };
    tokio::join!(system, resolvers, enough);
    // Nobody has any.
    if found.borrow().is_none() {
        let _ = found.send(Some(Vec::new()));
    }
}

/// The files of the names' configuration.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) hosts: PathBuf,
    pub(super) resolv_conf: PathBuf,
}

fn change(shared: &Shared, change: impl FnOnce(&mut Names)) {
    shared.change(|diagnosis| diagnosis.names.as_mut().map(change));
}

/// Publishes the addresses once it is clear which: the system's, or the resolvers' where it has none or, once it is
/// late, has not answered.
fn settle(shared: &Shared, found: &watch::Sender<Option<Vec<IpAddr>>>, is_late: bool) {
    if found.borrow().is_some() {
        return;
    }
    let mut chosen = Vec::new();
    change(shared, |names| {
        if names.system.is_none() && !is_late {
            return;
        }
        let of_system = names.system.as_ref().and_then(|it| it.found.as_ref().ok());
        let of_resolvers =
            || names.resolvers.iter().flat_map(|it| [&it.v4, &it.v6]).filter_map(|it| it.result.as_ref().ok());
        let all: Vec<IpAddr> = match of_system {
            Some(addresses) => addresses.clone(),
            None => names.hosts.iter().chain(of_resolvers().flatten()).copied().collect(),
        };
        let mut counts = [0, 0];
        for address in all {
            let count = &mut counts[usize::from(address.is_ipv6())];
            if chosen.contains(&address) {
                continue;
            }
            *count += 1;
            if *count > EACH {
                names.passed_over += 1;
            } else {
                chosen.push(address);
            }
        }
        names.addresses.clone_from(&chosen);
    });
    if !chosen.is_empty() {
        let _ = found.send(Some(chosen));
    }
}

/// Asks every configured resolver, all at once.
async fn ask_all(shared: &Shared, host: &str, files: &Files) {
    let resolution = match fs::read_to_string(&files.resolv_conf) {
        Ok(text) => Resolution::parse(&text),
        Err(error) => {
            let why = format!("cannot read '{}': {error}", files.resolv_conf.display());
            return change(shared, |names| names.not_asked = Some(why));
        }
    };
    if resolution.resolvers.is_empty() {
        let why = format!("'{}' lists none", files.resolv_conf.display());
        return change(shared, |names| names.not_asked = Some(why));
    }
    let candidates = resolution.names(host);
    let mut asked = JoinSet::new();
    for (place, server) in resolution.resolvers.into_iter().enumerate() {
        let candidates = candidates.clone();
        asked.spawn(async move { (place, ask_one(server, &candidates).await) });
    }
    let mut answers = Vec::new();
    while let Some(answer) = asked.join_next().await {
        answers.extend(answer);
        answers.sort_by_key(|(place, _)| *place);
        let so_far = answers.iter().map(|(_, resolver): &(usize, Resolver)| resolver.clone()).collect();
        change(shared, |names| names.resolvers = so_far);
    }
}

/// The first of the names that the resolver knows, or the first of all.
async fn ask_one(server: NameServer, candidates: &[String]) -> Resolver {
    let mut first: Option<Resolver> = None;
    let peer = peer(&server);
    for name in candidates {
        let (v4, v6) = match &peer {
            Ok(peer) => tokio::join!(dns::ask(*peer, name, false), dns::ask(*peer, name, true)),
            Err(why) => (Answer::unasked(why), Answer::unasked(why)),
        };
        let has = |it: &Answer| it.result.as_ref().is_ok_and(|it| !it.is_empty());
        let is_found = has(&v4) || has(&v6);
        let is_answered = v4.result.is_ok() || v6.result.is_ok() || is_told(&v4) || is_told(&v6);
        let this = Resolver { address: server.address, zone: server.zone.clone(), asked: name.clone(), v4, v6 };
        if is_found {
            return this;
        }
        first = first.or(Some(this));
        if !is_answered {
            break;
        }
    }
    first.expect("there is at least one name")
}

/// The address for asking a resolver, or why it cannot be asked.
fn peer(server: &NameServer) -> Result<Peer, String> {
    let Some(zone) = &server.zone else { return Ok(Peer::new(server.address, None)) };
    let found = zone::find(zone).map_err(|error| format!("the interfaces cannot be listed: {error}"))?;
    let found = found.ok_or_else(|| format!("there is no interface '{}'", zone.escape_debug()))?;
    Ok(Peer::new(server.address, Some(&found)))
}

/// It said that there is no such name, which is worth asking for another.
fn is_told(answer: &Answer) -> bool {
    matches!(answer.result, Err(super::diagnosis::DnsFailure::NxDomain))
}
