//! Floods, scans and networks that attempts avoid: one finding, reported when it begins and when it is over.
//!
//! `text` and `json` render it.

use tcptrace_verdict::patterns::{avoided::Avoided, flood::Flood, scan::Scan};
use tcptrace_vocabulary::{network::Network, words::ip};

/// Something that many attempts have in common.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// More attempts that lead nowhere than the kernel's table follows.
    Flood(Box<Flood>),
    /// A client that fails at many ports of one host.
    Scan(Scan),
    /// A network that does not answer, so that attempts go to other addresses of the same name.
    Avoided(Avoided),
}

impl Finding {
    /// Its number, unique in a run among incidents as well.
    #[must_use]
    pub fn id(&self) -> u64 {
        match self {
            Self::Flood(flood) => flood.id,
            Self::Scan(scan) => scan.id,
            Self::Avoided(avoided) => avoided.id,
        }
    }
}

/// The network that a flood goes to, as people write it; `None` for a flood of anything else.
pub(crate) fn flooded_network(flood: &Flood) -> Option<String> {
    let prefix = flood.scope.prefix(flood.owner.addr.is_v4())?;
    Some(format!("{}/{prefix}", ip(flood.owner.addr)))
}

/// A network as people write it.
pub(crate) fn network_name(network: Network) -> String {
    format!("{}/{}", ip(network.addr), network.prefix)
}
