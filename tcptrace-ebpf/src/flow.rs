//! Addresses, endpoints, the seeded hash that is the same in both directions, and the handshake's id.

/// An IPv6 address, or an IPv4 address in its mapped form `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2).
///
/// Two numbers rather than sixteen bytes: the kernel hashes and compares them without a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Addr {
    /// The first eight bytes, as a number.
    pub hi: u64,
    /// The last eight.
    pub lo: u64,
}

const MAPPED: u64 = 0xffff << 32;

impl Addr {
    /// The mapped form of an IPv4 address given as a number.
    #[inline(always)]
    #[must_use]
    pub const fn v4(addr: u32) -> Self {
        Self { hi: 0, lo: MAPPED | addr as u64 }
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(self) -> bool {
        self.hi == 0 && self.lo & !0xffff_ffff == MAPPED
    }

    /// The sixteen bytes of the (mapped) address.
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        (((self.hi as u128) << 64) | self.lo as u128).to_be_bytes()
    }
}

/// An address and a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The host.
    pub addr: Addr,
    /// The TCP port, in host order.
    pub port: u16,
}

/// The key that makes the flow hash unpredictable to whoever chooses addresses and ports; drawn anew at each load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HashKey(pub u64, pub u64);

/// The hash of a flow, equal for both directions: the two endpoints' keyed hashes, added and mixed.
///
/// An endpoint's is a product of two keyed sums, as in NH (UMAC, RFC 4418, section 5.2): whoever does not know the key
/// cannot choose endpoints that fall together. SipHash would be the textbook answer and costs a data packet more than
/// all the rest.
#[inline(always)]
#[must_use]
pub fn hash(key: HashKey, a: Endpoint, b: Endpoint) -> u64 {
    // Flows that differ in one port make an arithmetic progression, which a product alone leaves one: the folds do not.
    // The odd constant is the golden ratio's, as in Fibonacci hashing.
    let fold = |it: u64| it ^ it >> 32;
    fold(fold(endpoint_hash(key, a).wrapping_add(endpoint_hash(key, b))).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The hash of one endpoint, mixed with something.
#[inline(always)]
#[must_use]
pub fn hash_one(key: HashKey, endpoint: Endpoint, with: u64) -> u64 {
    let hash = endpoint_hash(key, endpoint).wrapping_add(with).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 32
}

/// The port shares its bits with the prefix's first sixteen, which nobody chooses freely.
#[inline(always)]
fn endpoint_hash(key: HashKey, endpoint: Endpoint) -> u64 {
    let high = endpoint.addr.hi.rotate_left(16) ^ endpoint.port as u64;
    (endpoint.addr.lo ^ key.0).wrapping_mul(high.wrapping_add(key.1))
}

/// The id of a handshake: the same wherever and whenever its packets are seen.
///
/// FNV-1a, 64 bits, over client address (16 bytes, IPv4 mapped), client port, server address, server port and the
/// client's ISN, each in network order.
#[must_use]
pub fn handshake_id(client: Endpoint, server: Endpoint, isn: u32) -> u64 {
    let fold = |hash: u64, octets: &[u8]| {
        octets.iter().fold(hash, |hash, &octet| (hash ^ octet as u64).wrapping_mul(0x0000_0100_0000_01b3))
    };
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for endpoint in [client, server] {
        hash = fold(hash, &endpoint.addr.octets());
        hash = fold(hash, &endpoint.port.to_be_bytes());
    }
    fold(hash, &isn.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Endpoint = Endpoint { addr: Addr::v4(0xc633_6402), port: 40_000 };
    const B: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 443 };

    #[test]
    fn hash_is_symmetric_and_keyed() {
        let key = HashKey(1, 2);
        assert_eq!(hash(key, A, B), hash(key, B, A));
        assert_ne!(hash(key, A, B), hash(HashKey(1, 3), A, B));
        let swapped_ports = (Endpoint { port: B.port, ..A }, Endpoint { port: A.port, ..B });
        assert_ne!(hash(key, A, B), hash(key, swapped_ports.0, swapped_ports.1));
    }

    /// One client's ports to one server, in a table half full: whatever the key, what falls out of sets of eight is
    /// what chance makes fall out (a Poisson distribution of mean four: 34 of 4,096), and not a quarter.
    #[test]
    fn hash_spreads_neighbouring_flows() {
        for key in 1..=200u64 {
            let key = HashKey(key.wrapping_mul(0x0123_4567_89ab_cdef), key.wrapping_mul(0xfedc_ba98_7654_3211));
            let (mut sets, mut out) = ([0u8; 1024], 0);
            for port in 0..4096u16 {
                let set = &mut sets[hash(key, Endpoint { port, ..A }, B) as usize % 1024];
                *set += 1;
                out += u32::from(*set > 8);
            }
            assert!(out < 80, "{out} of 4,096 with {key:?}");
        }
    }

    #[test]
    fn id_is_stable() {
        assert_eq!(handshake_id(A, B, 7), handshake_id(A, B, 7));
        assert_ne!(handshake_id(A, B, 7), handshake_id(B, A, 7));
        assert_eq!(handshake_id(Endpoint::default(), Endpoint::default(), 0), 0x40d6_9e0c_f0f6_5c45);
    }
}
