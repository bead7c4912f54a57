//! The rules, a cause each, in the order of the vocabulary. Each is a function over a case: none knows of another.
//!
//! Of those that find something, the surest is the verdict; among equals the first in this order. So `certain` is for
//! what no other cause leaves behind.

mod here;
mod path;
mod peer;
mod reject;
mod sender;
mod silence;

use tcptrace_vocabulary::cause::{Cause, Confidence};

use crate::case::Case;

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) confidence: Confidence,
    pub(super) evidence: Vec<String>,
}

type Rule = fn(&Case<'_>) -> Option<Found>;

pub(super) const RULES: [(Cause, Rule); 19] = [
    (Cause::PortClosed, reject::port_closed),
    (Cause::FirewallReject, reject::firewall_reject),
    (Cause::FirewallDrop, silence::firewall_drop),
    (Cause::HostDown, silence::host_down),
    (Cause::NetworkUnreachable, silence::network_unreachable),
    (Cause::NoRouteOrLocalBlock, here::no_route_or_local_block),
    (Cause::ListenQueueFull, here::listen_queue_full),
    (Cause::DroppedByLocalFirewall, here::dropped_by_local_firewall),
    (Cause::SynFlood, peer::syn_flood),
    (Cause::ClientVanished, peer::client_vanished),
    (Cause::AnswerLostLocally, here::answer_lost_locally),
    (Cause::AsymmetricPath, path::asymmetric_path),
    (Cause::NatMismatch, path::nat_mismatch),
    (Cause::PortReuse, path::port_reuse),
    (Cause::MiddleboxReset, reject::middlebox_reset),
    (Cause::DuplicateIp, path::duplicate_ip),
    (Cause::ApplicationGaveUp, peer::application_gave_up),
    (Cause::HealthCheck, peer::health_check),
    (Cause::OutOfMemory, here::out_of_memory),
];

fn certain(evidence: impl Into<Vec<String>>) -> Option<Found> {
    Some(Found { confidence: Confidence::Certain, evidence: evidence.into() })
}

fn likely(evidence: impl Into<Vec<String>>) -> Option<Found> {
    Some(Found { confidence: Confidence::Likely, evidence: evidence.into() })
}

fn possible(evidence: impl Into<Vec<String>>) -> Option<Found> {
    Some(Found { confidence: Confidence::Possible, evidence: evidence.into() })
}
