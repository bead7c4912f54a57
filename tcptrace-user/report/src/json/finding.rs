//! Floods, scans and avoided networks in JSON: a line of their own, and an object in the summary.

use schemars::JsonSchema;
use serde::Serialize;
use tcptrace_core::{flow::Addr, handshake::Nanos, handshake::Point, pressure::Width};
use tcptrace_verdict::patterns::{
    avoided::Avoided,
    flood::{Flood, Passed},
    scan::Scan,
};
use tcptrace_vocabulary::{
    incident::{Phase, Place, Symptom},
    network::Network,
    outcome::Outcome,
};

use super::{
    incident::{WidthWord, Working},
    part::{Direction, Endpoint, OutcomeCounts, Rate, Share},
    short::{Ip, Time},
    word::{Version, Word},
};
use crate::{
    Setting,
    finding::{Finding, flooded_network, network_name},
};

/// Stands for many attempts, which are not reported one by one. It has a line when it begins and one when it is over.
/// In the summary without v.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "finding")]
pub(super) enum FindingObject {
    Flood(Box<FloodObject>),
    Scan(ScanObject),
    Avoided(AvoidedObject),
}

/// More failing attempts to one or many listeners than tcptrace traces: every packet is
/// counted, a sample is followed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "flood", deny_unknown_fields)]
pub(super) struct FloodObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Version")]
    v: Option<Version>,
    r#type: FloodType,
    state: State,
    #[serde(flatten)]
    common: Common,
    /// syn_ack: SYN/ACKs without SYN, by backscatter or an asymmetric path
    kind: FloodKind,
    /// what is flooded: one listener, all ports of a host, a network, all that one client tries, everything
    scope: FloodScope,
    /// the listener, where the scope is port
    server: Option<Endpoint>,
    /// where the scope is host
    host: Option<Host>,
    /// address and length of its prefix, where the scope is network
    network: Option<String>,
    /// where the scope is client
    client: Option<Host>,
    /// those with a tenth or more of the followed attempts, unless the scope is port
    ports: Vec<PortShare>,
    began: Time,
    last: Time,
    /// counted one by one, except those of the first moments that had failed and were forgotten: less
    /// than one in a hundred
    packets: u64,
    per_second: Rate,
    peak_per_second: Rate,
    /// packets that were counted and not followed
    passed_over: u64,
    /// handshakes, estimated by the sample
    completed: u64,
    completed_share: Share,
    /// followed ones that have ended
    attempts: OutcomeCounts,
    sources: SourcesObject,
    /// sent by this host's stack meanwhile, to any client
    syn_cookies: Option<u64>,
    seen: Vec<PassageObject>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum FloodType {
    Flood,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum State {
    Began,
    Over,
}

/// The fields that an incident has as well, so that one query reads all of them.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Common {
    /// unique in a run, among incidents as well
    id: u64,
    phase: Word<Phase>,
    /// when this was so
    at: Time,
    /// tracing ended while it ran
    still_open: bool,
    /// of most of its attempts; null while none has failed
    symptom: Option<Word<Symptom>>,
    width: WidthWord,
    /// the same as attempts
    outcomes: OutcomeCounts,
    /// different ones, up to 1024; of a flood those in the sample, so at least so many
    clients: u64,
    /// attempts a second, of a flood packets; 0 until ten seconds have passed
    rate: Rate,
    /// the share that worked: of a flood by its sample, else null
    working: Option<Working>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum FloodKind {
    Syn,
    SynAck,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum FloodScope {
    Port,
    Host,
    Network,
    Client,
    Everything,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "host", deny_unknown_fields)]
struct Host {
    ip: Ip,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct PortShare {
    port: u16,
    share: Share,
}

/// A sample of clients, one a tick of the kernel's clock.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct SourcesObject {
    sample: u64,
    /// /24, in IPv6 /48, in the sample
    networks: usize,
    /// those with a tenth of the sample or more
    top: Vec<SourceShare>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct SourceShare {
    ip: Ip,
    share: Share,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct PassageObject {
    interface: String,
    direction: Direction,
    packets: u64,
}

/// A client that fails at many ports of one host.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "scan", deny_unknown_fields)]
pub(super) struct ScanObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Version")]
    v: Option<Version>,
    r#type: ScanType,
    state: State,
    #[serde(flatten)]
    common: Common,
    client: Host,
    host: Host,
    began: Time,
    last: Time,
    /// different ones
    ports: usize,
    /// those that are not reported one by one
    attempts: OutcomeCounts,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum ScanType {
    Scan,
}

/// A network where attempts are overtaken again and again, by other addresses of the same port, and nothing answers: three
/// within ten minutes; of a whole family, three networks.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "avoided", deny_unknown_fields)]
pub(super) struct AvoidedObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Version")]
    v: Option<Version>,
    r#type: AvoidedType,
    state: State,
    #[serde(flatten)]
    common: Common,
    /// address and length of its prefix: 24, in IPv6 64; 0 stands for a whole family
    network: String,
    began: Time,
    last: Time,
    /// those that were overtaken, and are not reported one by one
    attempts: OutcomeCounts,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum AvoidedType {
    Avoided,
}

impl Finding {
    /// A JSON line, without its end.
    #[must_use]
    pub fn line(&self, setting: &Setting) -> String {
        serde_json::to_string(&FindingObject::of(self, Some(Version), setting)).unwrap_or_default()
    }
}

impl Common {
    fn of(is_over: bool, at: Time, (began, last): (Nanos, Nanos), attempts: &[u64; Outcome::ALL.len()]) -> Self {
        let seconds = last.since(began) as f64 / 1e9;
        let rate = if seconds < 10.0 { 0.0 } else { attempts.iter().sum::<u64>() as f64 / seconds };
        Self {
            id: 0,
            phase: Word(if is_over { Phase::Ended } else { Phase::Begun }),
            at,
            still_open: false,
            symptom: Symptom::of_most(attempts).map(Word),
            width: WidthWord::of(Place::Everything),
            outcomes: OutcomeCounts::some(attempts),
            clients: 0,
            rate: Rate(rate),
            working: None,
        }
    }

    fn of_flood(flood: &Flood, setting: &Setting) -> Self {
        let (passed, owner) = (flood.passed(), flood.owner);
        let place = match flood.scope {
            Width::Listener => Place::Port(owner),
            Width::Host => Place::Host(owner.addr),
            Width::Network | Width::WideNetwork => Place::Network(Network::of(owner.addr)),
            Width::Client | Width::Everything => Place::Everything,
        };
        let rate = if flood.lasted() < 10_000_000_000 { 0.0 } else { flood.rate() };
        let working = Working { attempts: passed.completed, share: flood.completed_share(), sample: true };
        Self {
            id: flood.id,
            still_open: flood.is_cut,
            width: WidthWord::of(place),
            clients: flood.sources().clients,
            rate: Rate(rate),
            working: (passed.opens > 0).then_some(working),
            ..Self::of(flood.is_over, time(flood.at, setting), (flood.began, flood.last), &flood.attempts)
        }
    }
}

impl FindingObject {
    /// `None` for `v` leaves it out.
    pub(super) fn of(finding: &Finding, v: Option<Version>, setting: &Setting) -> Self {
        match finding {
            Finding::Flood(flood) => Self::Flood(Box::new(FloodObject::of(flood, v, setting))),
            Finding::Scan(scan) => Self::Scan(ScanObject::of(scan, v, setting)),
            Finding::Avoided(avoided) => Self::Avoided(AvoidedObject::of(avoided, v, setting)),
        }
    }
}

impl FloodObject {
    fn of(flood: &Flood, v: Option<Version>, setting: &Setting) -> Self {
        let host = Host::of(flood.owner.addr);
        let passed = flood.passed();
        Self {
            v,
            r#type: FloodType::Flood,
            state: State::of(flood.is_over),
            common: Common::of_flood(flood, setting),
            kind: if flood.is_of_answers() { FloodKind::SynAck } else { FloodKind::Syn },
            scope: FloodScope::of(flood.scope),
            server: (flood.scope == Width::Listener).then(|| Endpoint::of(flood.owner)),
            host: (flood.scope == Width::Host).then(|| host.clone()),
            network: flooded_network(flood),
            client: (flood.scope == Width::Client).then_some(host),
            ports: flood.ports().into_iter().map(|(port, share)| PortShare { port, share: Share(share) }).collect(),
            began: time(flood.began, setting),
            last: time(flood.last, setting),
            packets: flood.packets(),
            per_second: Rate(flood.rate()),
            peak_per_second: Rate(flood.peak.max(flood.rate())),
            passed_over: passed.over,
            completed: passed.completed,
            completed_share: Share(flood.completed_share()),
            attempts: OutcomeCounts::some(&flood.attempts),
            sources: SourcesObject::of(flood),
            syn_cookies: flood.cookies,
            seen: flood
                .points
                .iter()
                .map(|(&point, passed)| PassageObject::of(Point(point), passed, setting))
                .collect(),
        }
    }
}

impl SourcesObject {
    fn of(flood: &Flood) -> Self {
        let sources = flood.sources();
        let top = sources.top().into_iter().map(|(addr, share)| SourceShare { ip: Ip::of(addr), share: Share(share) });
        Self { sample: sources.sample, networks: sources.networks, top: top.collect() }
    }
}

impl PassageObject {
    fn of(point: Point, passed: &Passed, setting: &Setting) -> Self {
        let interface = setting.interface(point.ifindex());
        Self { interface, direction: Direction::of(point.is_egress()), packets: passed.opens }
    }
}

impl ScanObject {
    fn of(scan: &Scan, v: Option<Version>, setting: &Setting) -> Self {
        Self {
            v,
            r#type: ScanType::Scan,
            state: State::of(scan.is_over),
            common: Common {
                id: scan.id,
                still_open: scan.is_cut,
                width: WidthWord::of(Place::Host(scan.host)),
                clients: 1,
                ..Common::of(scan.is_over, time(scan.at, setting), (scan.began, scan.last), &scan.attempts)
            },
            client: Host::of(scan.client),
            host: Host::of(scan.host),
            began: time(scan.began, setting),
            last: time(scan.last, setting),
            ports: scan.ports,
            attempts: OutcomeCounts::some(&scan.attempts),
        }
    }
}

impl AvoidedObject {
    fn of(avoided: &Avoided, v: Option<Version>, setting: &Setting) -> Self {
        Self {
            v,
            r#type: AvoidedType::Avoided,
            state: State::of(avoided.is_over),
            common: Common {
                id: avoided.id,
                still_open: avoided.is_cut,
                width: WidthWord::of(Place::Network(avoided.network)),
                clients: avoided.clients as u64,
                ..Common::of(
                    avoided.is_over,
                    time(avoided.at, setting),
                    (avoided.began, avoided.last),
                    &avoided.attempts,
                )
            },
            network: network_name(avoided.network),
            began: time(avoided.began, setting),
            last: time(avoided.last, setting),
            attempts: OutcomeCounts::some(&avoided.attempts),
        }
    }
}

impl State {
    const fn of(is_over: bool) -> Self {
        if is_over { Self::Over } else { Self::Began }
    }
}

impl FloodScope {
    const fn of(scope: Width) -> Self {
        match scope {
            Width::Listener => Self::Port,
            Width::Host => Self::Host,
            Width::Network | Width::WideNetwork => Self::Network,
            Width::Client => Self::Client,
            Width::Everything => Self::Everything,
        }
    }
}

impl Host {
    fn of(addr: Addr) -> Self {
        Self { ip: Ip::of(addr) }
    }
}

fn time(at: Nanos, setting: &Setting) -> Time {
    Time::of(setting.clock.wall(at))
}
