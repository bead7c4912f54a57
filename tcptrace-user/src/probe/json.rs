//! The diagnosis as one JSON object: the definition `diagnosis` of the schema. Rendering only.

use std::{net::IpAddr, time::Duration};

use serde_json::{Value, json};
use tcptrace_core::segment::{Flags, Options};
use tcptrace_report::json::VERSION;
use tcptrace_vocabulary::{
    cause::{Cause, Confidence},
    errno::errno_name,
    facts::ProbeKind,
    icmp::Meaning,
    scope::Extent,
    words::flag_names,
};

use super::{
    conclusion::Conclusion,
    diagnosis::{
        Agreed, Answer, Connect, Diagnosis, End, Hop, IcmpError, MtuFound, Names, Probed, Resolver, Tried, Walk, Way,
    },
    findings,
};

/// The object, without the line's end.
pub(super) fn line(diagnosis: &Diagnosis, conclusion: &Conclusion) -> String {
    let object = json!({
        "v": VERSION,
        "type": "diagnosis",
        "at": format!("{:.9}", diagnosis.began),
        "took_s": seconds(diagnosis.took),
        "interrupted": diagnosis.interrupted,
        "host": diagnosis.host,
        "ports": diagnosis.ports,
        "ports_assumed": diagnosis.ports_assumed,
        "result": conclusion.reach.name(),
        "verdict": verdict(conclusion),
        "names": diagnosis.names.as_ref().map(names),
        "addresses": diagnosis.addresses.iter().map(address).collect::<Vec<_>>(),
        "left_out": diagnosis.left_out,
    });
    object.to_string()
}

fn verdict(conclusion: &Conclusion) -> Value {
    json!({
        "cause": conclusion.cause.map(Cause::name),
        "confidence": conclusion.confidence.map(Confidence::name),
        "scope": conclusion.scope.map(Extent::name),
        "address": conclusion.address,
        "port": conclusion.port,
        "errno": conclusion.errno.map(errno),
        "by": conclusion.by,
        "text": conclusion.headline,
        "evidence": conclusion.evidence,
        "next": conclusion.next,
        "notes": conclusion.notes,
    })
}

/// None stands for silence that this program ended.
fn errno(errno: i32) -> Value {
    if errno == 0 { Value::Null } else { errno_name(errno).into() }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn names(names: &Names) -> Value {
    let system = names.system.as_ref().map(|step| {
        json!({
            "took_s": seconds(step.took),
            "addresses": step.found.as_ref().ok(),
            "error": step.found.as_ref().err(),
        })
    });
    let found = findings::of_names(names);
    json!({
        "is_address": names.is_address,
        "addresses": names.addresses,
        "passed_over": names.passed_over,
        "applications": system,
        "hosts_file": names.hosts,
        "resolvers": names.resolvers.iter().map(resolver).collect::<Vec<_>>(),
        "not_asked": names.not_asked,
        "findings": found.iter().map(|it| json!({ "kind": it.kind, "text": it.text })).collect::<Vec<_>>(),
    })
}

fn resolver(resolver: &Resolver) -> Value {
    let answer = |it: &Answer| {
        json!({
            "took_s": seconds(it.took),
            "over_tcp": it.over_tcp,
            "result": it.result.as_ref().err().map_or("answered", |it| it.name()),
            "addresses": it.result.as_ref().ok(),
        })
    };
    json!({ "ip": resolver.address, "zone": resolver.zone, "asked": resolver.asked, "a": answer(&resolver.v4), "aaaa": answer(&resolver.v6) })
}

fn address(at: &Probed) -> Value {
    json!({
        "ip": at.address,
        "route": at.way.as_ref().map(|step| way(step.took, &step.found)),
        "neighbour": at.neighbour.as_ref().map(|it| json!({
            "ip": it.address,
            "is_host": it.is_peer,
            "state": it.state.name(),
        })),
        "ping": at.ping.as_ref().map(|step| {
            let ping = step.found.as_ref().ok();
            json!({
                "took_s": seconds(step.took),
                "impossible": step.found.as_ref().err(),
                "sent": ping.map(|it| it.sent),
                "replies_s": ping.map(|it| it.replies.iter().map(|it| seconds(*it)).collect::<Vec<_>>()),
                "ttl": ping.and_then(|it| it.ttl),
                "icmp": ping.and_then(|it| it.error).map(|it| icmp(&it)),
                "errno": ping.and_then(|it| it.refused).map(errno),
            })
        }),
        "path_mtu": at.mtu.as_ref().map(|step| {
            let mtu = step.found.as_ref().ok();
            let (result, octets, by) = match mtu.map(|it| it.found) {
                Some(MtuFound::Passes) => (Some("passes"), mtu.map(|it| it.assumed), None),
                Some(MtuFound::Smaller { mtu, by }) => (Some("smaller"), Some(mtu), by),
                Some(MtuFound::BlackHole { passes }) => (Some("black_hole"), passes, None),
                Some(MtuFound::Untold) => (Some("untold"), None, None),
                None => (None, None, None),
            };
            json!({
                "took_s": seconds(step.took),
                "impossible": step.found.as_ref().err(),
                "assumed": mtu.map(|it| it.assumed),
                "result": result,
                "octets": octets,
                "by": by,
            })
        }),
        "connects": at.connects.iter().map(connect).collect::<Vec<_>>(),
        "walks": at.walks.iter().map(walk).collect::<Vec<_>>(),
    })
}

fn way(took: Duration, found: &Result<Way, String>) -> Value {
    let route = match found {
        Ok(Way::Route(route)) => Some(route),
        Ok(Way::None { .. }) | Err(_) => None,
    };
    json!({
        "took_s": seconds(took),
        "impossible": found.as_ref().err(),
        "errno": match found {
            Ok(Way::None { errno: it }) => errno(*it),
            Ok(Way::Route(_)) | Err(_) => Value::Null,
        },
        "gateway": route.and_then(|it| it.gateway),
        "interface": route.map(|it| &it.interface),
        "up": route.map(|it| it.up),
        "carrier": route.map(|it| it.carrier),
        "mtu": route.map(|it| it.mtu),
        "is_local": route.map(|it| it.is_local),
        "source": route.and_then(|it| it.source.as_ref()).map(|it| json!({
            "ip": it.address,
            "prefix": it.prefix,
            "flags": it.flags,
            "label": it.label,
        })),
    })
}

fn icmp(error: &IcmpError) -> Value {
    json!({ "from": error.from, "type": error.icmp.kind, "code": error.icmp.code, "reason": Meaning::of(error.icmp).word() })
}

fn connect(connect: &Connect) -> Value {
    let result = match connect.result {
        Tried::Open(_) => "open",
        _ if connect.icmp.is_some() => "unreachable",
        _ if connect.is_reset() => "refused",
        _ if connect.is_silent() => "silent",
        Tried::Failed(_) | Tried::Silent => "failed",
    };
    let (agreed, errno) = match connect.result {
        Tried::Open(agreed) => (Some(agreed), Value::Null),
        Tried::Failed(number) => (None, errno(number)),
        Tried::Silent => (None, Value::Null),
    };
    json!({
        "port": connect.port,
        "is_asked": connect.is_asked,
        "took_s": seconds(connect.took),
        "result": result,
        "errno": errno,
        "icmp": connect.icmp.as_ref().map(icmp),
        "retries": connect.retries,
        "agreed": agreed.map(self::agreed),
        "wire": connect.wire.map(|connect| json!({
            "syns": connect.syns,
            "offered": connect.offered.map(options),
            "answer": connect.answer.map(|connect| json!({
                "flags": flag_names(connect.flags.0),
                "ttl": connect.ttl,
                "window": connect.window,
                "options": connect.flags.any(Flags::SYN).then(|| options(connect.options)),
            })),
        })),
    })
}

fn options(options: Options) -> Value {
    let has = |bit: u8| options.present & bit != 0;
    json!({
        "mss": has(Options::MSS).then_some(options.mss),
        "window_scale": has(Options::WINDOW_SCALE).then_some(options.window_scale),
        "sack_permitted": has(Options::SACK_PERMITTED),
        "timestamps": has(Options::TIMESTAMPS),
        "ecn": has(Options::ECN),
    })
}

fn agreed(agreed: Agreed) -> Value {
    let (ours, theirs) = agreed.window_scale.unzip();
    json!({
        "mss": agreed.mss,
        "window_scale": ours,
        "peer_window_scale": theirs,
        "sack_permitted": agreed.sack,
        "timestamps": agreed.timestamps,
        "ecn": agreed.ecn,
        "rtt_s": seconds(agreed.rtt),
    })
}

fn walk(walk: &Walk) -> Value {
    let (by, port) = match walk.by {
        ProbeKind::Syn(port) => ("syn", Some(port)),
        ProbeKind::Echo => ("echo", None),
    };
    let (end, ttl, error) = match &walk.end {
        End::Answered { ttl, reset: false } => ("answered", Some(*ttl), None),
        End::Answered { ttl, reset: true } => ("reset", Some(*ttl), None),
        End::Rejected { ttl, icmp } => ("rejected", Some(*ttl), Some(icmp)),
        End::Dies => ("dies", None, None),
        End::Unsent(_) => ("unsent", None, None),
    };
    let hop = |it: &Hop| -> Value {
        let from: Option<IpAddr> = it.from;
        json!({ "ttl": it.ttl, "from": from, "took_s": it.took.map(seconds) })
    };
    json!({
        "by": by,
        "port": port,
        "took_s": seconds(walk.took),
        "hops": walk.hops.iter().map(hop).collect::<Vec<_>>(),
        "end": end,
        "ttl": ttl,
        "icmp": error.map(icmp),
    })
}
