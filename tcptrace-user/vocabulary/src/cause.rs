//! The closed set of causes, in the order of the vocabulary. The name is the value in JSON.

macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why an attempt failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Cause {
            $($(#[$doc])* $variant,)*
        }

        impl Cause {
            /// Every cause, in the order of the vocabulary.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in JSON, in text and in the documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

causes! {
    /// No socket listens on the port, and the host answers with a RST.
    PortClosed = "port_closed",
    /// Something on the way, or the host's own rules, rejected it: by an ICMP error or by a RST that is not the host's.
    FirewallReject = "firewall_reject",
    /// Something on the way, or the host's own rules, dropped it without an answer.
    FirewallDrop = "firewall_drop",
    /// The host answers nothing at all.
    HostDown = "host_down",
    /// A router has no route.
    NetworkUnreachable = "network_unreachable",
    /// Routing on this host leads nowhere, for the SYN or for its answer.
    NoRoute = "no_route",
    /// No local port or address is left for the connection.
    NoLocalPort = "no_local_port",
    /// connect(2) failed with an errno that no other cause explains.
    ConnectFailed = "connect_failed",
    /// The next hop does not answer on the link. It says nothing of the server.
    GatewayDown = "gateway_down",
    /// The listener's accept queue is full.
    ListenQueueFull = "listen_queue_full",
    /// The listener's queue of half-open connections is full, and SYN cookies are off.
    SynQueueFull = "syn_queue_full",
    /// A rule or policy of this host dropped a packet of the handshake.
    DroppedByLocalFirewall = "dropped_by_local_firewall",
    /// The connection tracking table of this host is full.
    ConntrackFull = "conntrack_full",
    /// Address translation on this host found no free port.
    NatExhausted = "nat_exhausted",
    /// The kernel dropped the packet because the way back to its sender uses another interface.
    ReversePathFilter = "reverse_path_filter",
    /// A checksum of the packet is wrong.
    BadChecksum = "bad_checksum",
    /// Half-open attempts to one listener from many sources.
    SynFlood = "syn_flood",
    /// The client stays silent after the SYN/ACK.
    ClientVanished = "client_vanished",
    /// The SYN/ACK came in and the socket never saw it.
    AnswerLostLocally = "answer_lost_locally",
    /// The other half of the handshake goes another way.
    AsymmetricPath = "asymmetric_path",
    /// The answer comes from another address than the SYN went to.
    NatMismatch = "nat_mismatch",
    /// The ports are in use by an older connection.
    PortReuse = "port_reuse",
    /// A RST that is not the peer's.
    MiddleboxReset = "middlebox_reset",
    /// Two hosts have one address.
    DuplicateIp = "duplicate_ip",
    /// The application stopped before the kernel would have.
    ApplicationGaveUp = "application_gave_up",
    /// A checker looks whether the port is open.
    HealthCheck = "health_check",
    /// SYNs with an option are lost or refused, and SYNs without it are answered.
    OptionsBlocked = "options_blocked",
    /// Accepted, and reset before the server sent a byte: nobody is behind what accepts.
    NoBackend = "no_backend",
    /// TCP has no memory left.
    OutOfMemory = "out_of_memory",
    /// The evidence cannot tell.
    Unknown = "unknown",
}

/// The confidence of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Confidence {
    /// Other causes leave the same trace.
    Possible,
    /// Others would leave it only by an unusual setting.
    Likely,
    /// No other cause leaves this trace.
    Certain,
}

impl Confidence {
    /// The word in JSON and in text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}
