//! The reach of a failure.

/// The set that fails along with the attempt. The name is the value in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Extent {
    /// This attempt alone: the port answered the same client.
    Attempt,
    /// This client's attempts: the port answers others.
    Client,
    /// This port of this host.
    Port,
    /// Every port of this host that was tried.
    Host,
    /// Every host of its network that was tried.
    Network,
    /// Everything that was tried.
    Everything,
    /// Nothing else was tried that could show it.
    Unknown,
}

impl Extent {
    /// Every extent, the narrowest first.
    pub const ALL: [Self; 7] =
        [Self::Attempt, Self::Client, Self::Port, Self::Host, Self::Network, Self::Everything, Self::Unknown];

    /// The word in JSON and in text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Client => "client",
            Self::Port => "port",
            Self::Host => "host",
            Self::Network => "network",
            Self::Everything => "everything",
            Self::Unknown => "unknown",
        }
    }

    /// The same in a sentence.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Attempt => "this attempt only",
            Self::Client => "this client only",
            Self::Port => "this port only",
            Self::Host => "the whole server",
            Self::Network => "its whole network",
            Self::Everything => "everything from here",
            Self::Unknown => "scope unknown",
        }
    }
}

/// An extent, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The set that fails along with the attempt.
    pub extent: Extent,
    /// The sentences that it rests on.
    pub evidence: Vec<String>,
}
