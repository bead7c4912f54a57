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
    /// The SYN never left this host.
    NoRouteOrLocalBlock = "no_route_or_local_block",
    /// The listener's accept queue is full.
    ListenQueueFull = "listen_queue_full",
    /// The packet came in, and this host's own rules dropped it before TCP.
    DroppedByLocalFirewall = "dropped_by_local_firewall",
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
