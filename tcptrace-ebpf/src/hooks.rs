//! The table of entry points: one row a program. The kernel programs make their functions of it, userspace its names.

/// Hands the rows to a macro: variant, name in the object, hook, whether it looks into tunnels.
///
/// A hook is `(xdp)`; `(xdp frags)`, which takes frames of several buffers and needs 5.18; or `(tc LINK DIRECTION)`.
#[macro_export]
macro_rules! with_programs {
    ($then:ident) => {
        $then! {
            XdpIngressFrags xdp_ingress_frags (xdp frags) false;
            XdpIngress xdp_ingress (xdp) false;
            TcIngress tc_ingress (tc Ethernet ingress) false;
            TcEgress tc_egress (tc Ethernet egress) false;
            TcIngressIp tc_ingress_ip (tc Ip ingress) false;
            TcEgressIp tc_egress_ip (tc Ip egress) false;
            XdpIngressDecap xdp_ingress_decap (xdp frags) true;
            TcIngressDecap tc_ingress_decap (tc Ethernet ingress) true;
            TcEgressDecap tc_egress_decap (tc Ethernet egress) true;
            TcIngressIpDecap tc_ingress_ip_decap (tc Ip ingress) true;
            TcEgressIpDecap tc_egress_ip_decap (tc Ip egress) true;
        }
    };
}

macro_rules! programs {
    ($($variant:ident $name:ident $hook:tt $decap:literal;)*) => {
        /// A program that sees packets.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Program {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                $variant,
            )*
        }

        impl Program {
            /// Every program.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in the object, and in the kernel's list of programs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)*
                }
            }

            /// Whether it looks into tunnels.
            #[must_use]
            pub const fn decap(self) -> bool {
                match self {
                    $(Self::$variant => $decap,)*
                }
            }
        }
    };
}

with_programs!(programs);
