//! An incident: the failures of one server, from one place, that look the same.

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::Nanos,
};

use crate::{
    network::Network,
    outcome::Outcome,
    process::Process,
    scope::Extent,
    verdict::{Causes, Verdict},
};

/// Where this host stands. The name is the value in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The client is here.
    Client,
    /// The server is here.
    Server,
    /// Neither is, as far as is known; always so in a capture.
    Between,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Between];

    /// The word in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Between => "between",
        }
    }
}

/// What went wrong, as anybody can see it. Its cause may become clearer; this stays. The name is the value in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Symptom {
    /// The server did not answer. Somebody else may have sent an ICMP error; routers skip some.
    Silence,
    /// A RST answered the SYN.
    Refusal,
    /// A RST came after the SYN/ACK.
    Reset,
    /// The handshake began, and did not end.
    Unfinished,
    /// connect(2) put no SYN on the wire.
    Local,
}

impl Symptom {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Silence, Self::Refusal, Self::Reset, Self::Unfinished, Self::Local];

    /// The symptom of an outcome; `None` for one that is no failure.
    #[must_use]
    pub const fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::NoReply | Outcome::Unreachable => Some(Self::Silence),
            Outcome::Refused => Some(Self::Refusal),
            Outcome::ResetOnAnswer | Outcome::Aborted | Outcome::ResetByClient | Outcome::ResetByServer => {
                Some(Self::Reset)
            }
            Outcome::Challenged | Outcome::HalfOpen | Outcome::WrongAnswer | Outcome::AnswerOnly => {
                Some(Self::Unfinished)
            }
            Outcome::Established | Outcome::Closed | Outcome::HalfClosed | Outcome::Midstream => None,
        }
    }

    /// The symptom that most attempts of these outcomes have; `None` while none has failed.
    #[must_use]
    pub fn of_most(outcomes: &[u64; Outcome::ALL.len()]) -> Option<Self> {
        let count = |symptom: &Self| -> u64 {
            Outcome::ALL.into_iter().filter(|it| Self::of(*it) == Some(*symptom)).map(|it| outcomes[it as usize]).sum()
        };
        // Of two with as many, the first that is named here.
        Self::ALL.into_iter().rev().filter(|it| count(it) > 0).max_by_key(count)
    }

    /// The word in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Refusal => "refusal",
            Self::Reset => "reset",
            Self::Unfinished => "unfinished",
            Self::Local => "local",
        }
    }
}

/// How wide an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// One port of a host.
    Port(Endpoint),
    /// A host with all its ports.
    Host(Addr),
    /// A network with all its hosts.
    Network(Network),
    /// Everything.
    Everything,
    /// Whatever there was no room for: ports of many servers, counted together.
    Others,
}

impl Place {
    /// The place of a failure with that scope.
    #[must_use]
    pub const fn of(server: Endpoint, extent: Extent) -> Self {
        match extent {
            Extent::Attempt | Extent::Client | Extent::Port | Extent::Unknown => Self::Port(server),
            Extent::Host => Self::Host(server.addr),
            Extent::Network => Self::Network(Network::of(server.addr)),
            Extent::Everything => Self::Everything,
        }
    }

    /// Every place that covers a server's port, the widest first.
    #[must_use]
    pub const fn around(server: Endpoint) -> [Self; 4] {
        [Self::Everything, Self::Network(Network::of(server.addr)), Self::Host(server.addr), Self::Port(server)]
    }

    /// Whether a server's port is there.
    #[must_use]
    pub fn covers(self, server: Endpoint) -> bool {
        Self::around(server).contains(&self)
    }

    /// Whether all of another place is there.
    #[must_use]
    pub fn takes(self, narrower: Self) -> bool {
        match narrower {
            Self::Port(server) => self.covers(server),
            Self::Host(addr) => self.covers(Endpoint { addr, port: 0 }),
            Self::Network(network) => self == Self::Everything || self == narrower && network.prefix > 0,
            Self::Everything | Self::Others => self == narrower,
        }
    }

    /// Whether it is of a wider kind than another.
    #[must_use]
    pub const fn is_wider_than(self, other: Self) -> bool {
        self.rank() > other.rank()
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Port(_) | Self::Others => 0,
            Self::Host(_) => 1,
            Self::Network(_) => 2,
            Self::Everything => 3,
        }
    }

    /// The word for its width in JSON.
    #[must_use]
    pub const fn width(self) -> &'static str {
        match self {
            Self::Port(_) => Extent::Port.name(),
            Self::Host(_) => Extent::Host.name(),
            Self::Network(_) => Extent::Network.name(),
            Self::Everything => Extent::Everything.name(),
            Self::Others => "others",
        }
    }
}

/// How far an incident has come. The name is the value in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its first failure.
    Begun,
    /// It has news, or is brought to mind.
    Update,
    /// Nothing failed for as long as it lasted, another incident took it over, or tracing has ended.
    Ended,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Begun, Self::Update, Self::Ended];

    /// The word in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Update => "update",
            Self::Ended => "ended",
        }
    }
}

/// An incident, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Unique in a run.
    pub id: u64,
    /// Where this host stands.
    pub role: Role,
    /// What went wrong.
    pub symptom: Symptom,
    /// How wide it is.
    pub place: Place,
    /// The server of its first failure.
    pub first: Endpoint,
    /// The client of its first failure, if that had an address.
    pub client: Option<Addr>,
    /// The first SYN, or call of connect(2), of its first failure.
    pub began: Nanos,
    /// The last packet of its last failure.
    pub last: Nanos,
    /// How far it has come.
    pub phase: Phase,
    /// When it had come so far.
    pub at: Nanos,
    /// Whether tracing ended while it ran.
    pub is_cut: bool,
    /// Verdicts on its failures, by cause.
    pub causes: Causes,
    /// Its failures that ended, by outcome.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Calls of connect(2) that put no SYN on the wire.
    pub not_sent: u64,
    /// Attempts that stalled.
    pub stalls: u64,
    /// Those of them whose end is not known yet.
    pub waiting: u64,
    /// Those of them that were established after all.
    pub recovered: u64,
    /// Attempts there that began since and worked: those that were seen, so at least so many.
    pub worked: u64,
    /// Different clients, up to 256.
    pub clients: usize,
    /// Processes of the end that is here (who connects, or listens), as far as they are known: those that differ by name or
    /// place, up to eight. The first failure's is the first.
    pub processes: Vec<Process>,
    /// Failures a second, over the last ten seconds or more; zero until ten have passed.
    pub rate: f64,
    /// The surest of its verdicts, and of those the last.
    pub verdict: Verdict,
    /// Whether its cause is another one than was last reported.
    pub is_cause_new: bool,
    /// Narrower incidents that it took over.
    pub took_over: u64,
    /// The wider incident that took it over.
    pub absorbed_by: Option<u64>,
}

/// Processes that an incident names.
const PROCESSES: usize = 8;

impl Incident {
    /// Takes note of a process. One that runs again and again, each time as another number, is named once.
    pub fn add_process(&mut self, process: &Process) {
        if self.processes.len() < PROCESSES && !self.processes.iter().any(|it| it.is_like(process)) {
            self.processes.push(process.clone());
        }
    }

    /// Failures that ended.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.outcomes.iter().sum::<u64>() + self.not_sent
    }

    /// Attempts that failed, stall or recovered, each once.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.attempts() + self.waiting + self.recovered
    }

    /// The share of attempts there that worked, of those that were seen; `None` before any has ended.
    #[must_use]
    pub fn working(&self) -> Option<f64> {
        let all = self.worked + self.attempts();
        (all > 0).then(|| self.worked as f64 / all as f64)
    }
}
