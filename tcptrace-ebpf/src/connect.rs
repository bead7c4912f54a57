//! The records of a connect(2): its caller and destination, and how it left SYN-SENT.
//!
//! Layout and places only; the hooks that fill them are the kernel programs' `sockets`. Each record has one writer, which
//! writes it whole and reads nothing: a sum shows whether all of it is one record's. A lock would wait for memory that
//! no cache has, at each connect(2).

use crate::{flow::Addr, handshake::Nanos};

/// One call, by its socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Connect {
    /// [`sum`] of the rest.
    pub sum: u64,
    /// The socket's, unique until the next boot; zero while nobody has written.
    pub cookie: u64,
    /// When connect(2) was called.
    pub called: Nanos,
    /// The network namespace's cookie.
    pub netns: u64,
    /// The destination that connect(2) was given. The flow may have another: the unspecified address becomes the
    /// loopback address, and a cgroup program may write a new one.
    pub asked_addr: Addr,
    /// What bind(2) chose before the call, or zero.
    pub bound_addr: Addr,
    /// The caller's name, as words of its bytes, zero at its end.
    pub comm: [u64; 2],
    /// The process (thread group) that called, numbered as in the first namespace of processes.
    pub pid: u32,
    pub asked_port: u16,
    pub bound_port: u16,
    /// The errno with which another program refused the call; zero: none that ran before this one did.
    pub refused: u16,
    /// Zero: makes the size a multiple of eight.
    pub pad: [u8; 6],
}

const _: () = assert!(size_of::<Connect>() == 96 && align_of::<Connect>() == 8);

/// How far the socket of a call came. Written when it leaves SYN-SENT; before, only where that is needed to tell later
/// why it failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fate {
    /// [`sum`] of the rest.
    pub sum: u64,
    /// The socket's; zero while nobody has written.
    pub cookie: u64,
    pub at: Nanos,
    /// When TCP last sent or received something on the socket (`tcp_mstamp`), rounded up to a microsecond: if not
    /// before the call, TCP has made its SYN. Zero: never.
    pub made: Nanos,
    /// The flow, if the SYN was made.
    pub client_addr: Addr,
    pub server_addr: Addr,
    /// The error that came for the socket (`sk_err`); zero: none did.
    pub errno: i32,
    /// `sk_txhash`, which TCP chooses anew as soon as the call has a port.
    pub tx_hash: u32,
    pub client_port: u16,
    pub server_port: u16,
    /// One of [`Fate::BOUND`] and so on.
    pub step: u8,
    /// Not zero: its program closed it.
    pub is_closed: u8,
    /// Not zero: TCP had a local port for the call.
    pub has_port: u8,
    /// Zero: makes the size a multiple of eight.
    pub pad: u8,
}

const _: () = assert!(size_of::<Fate>() == 80 && align_of::<Fate>() == 8);

impl Fate {
    /// It came to SYN-SENT, and had a port before.
    pub const BOUND: u8 = 1;
    /// An error came in SYN-SENT, and did not end it.
    pub const TROUBLED: u8 = 2;
    /// The connection opened.
    pub const OPENED: u8 = 3;
    /// It went back to CLOSE.
    pub const FAILED: u8 = 4;
}

/// The sum of the words of a record but the first. A record of which two writers wrote a part each has another.
#[inline(always)]
#[must_use]
pub fn sum(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0, |sum, word| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The offsets, in the running kernel, of the fields that the hook of failed calls reads of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SocketOffsets {
    /// `sock_common.skc_cookie`, and the others that lie within [`SocketOffsets::HEAD`].
    pub cookie: u32,
    pub family: u32,
    pub server_port: u32,
    pub client_port: u32,
    pub server_v4: u32,
    pub client_v4: u32,
    /// Zero where the kernel has no IPv6.
    pub server_v6: u32,
    pub client_v6: u32,
    /// `sock.sk_err`.
    pub err: u32,
    /// `sock.sk_shutdown`.
    pub shutdown: u32,
    /// `inet_sock.inet_sport`, which stays where the port is given back.
    pub port: u32,
    /// `sock_common.skc_state`.
    pub state: u32,
    /// `sock.sk_txhash`.
    pub tx_hash: u32,
    /// `tcp_sock.tcp_mstamp`.
    pub mstamp: u32,
    /// `sock.sk_error_queue.prev`: the newest of the errors that wait.
    pub newest_error: u32,
    /// `ee` of the `sock_exterr_skb` in such an entry.
    pub queued: u32,
    /// `sock.sk_protocol`.
    pub protocol: u32,
    /// Zero: makes the size a multiple of eight.
    pub pad: u32,
}

impl SocketOffsets {
    /// Bytes at the start of a socket that hold its ends: read at once.
    pub const HEAD: usize = 96;

    /// The hooks are not loaded.
    pub const NONE: Self = Self {
        cookie: 0,
        family: 0,
        server_port: 0,
        client_port: 0,
        server_v4: 0,
        client_v4: 0,
        server_v6: 0,
        client_v6: 0,
        err: 0,
        shutdown: 0,
        port: 0,
        state: 0,
        tx_hash: 0,
        mstamp: 0,
        newest_error: 0,
        queued: 0,
        protocol: 0,
        pad: 0,
    };
}

/// The longest that a connect waits for its SYN where nothing goes wrong. Routing and choosing a port take
/// microseconds, and userspace looks for calls that never sent a SYN about every second.
const RECENT: u64 = 5_000_000_000;

impl Connect {
    /// Whether to write another socket's call here, of which the fate is unknown, loses one that nobody may have looked
    /// at yet.
    #[inline(always)]
    #[must_use]
    pub const fn is_lost_to(&self, cookie: u64, now: Nanos) -> bool {
        self.cookie != cookie && self.cookie != 0 && now.since(self.called) < RECENT
    }
}

/// Records that lie side by side, for sockets that were made one after the other: as many as a page holds.
const TOGETHER: u64 = 32;

/// The place of a socket's record among `places`, a power of two below 2³².
///
/// Cookies are given out in blocks of 4,096 a CPU (`sock_gen_cookie`, net/core/sock_diag.c). Taken as they are, the
/// blocks of five CPUs would fall on each other in 16,384 places, and so would many when all is multiplied by one
/// number. So each block begins anywhere, and within it the golden ratio spreads its pages evenly. Single records are
/// not spread: each connect(2) would wait for a page that no other has touched lately.
#[inline(always)]
#[must_use]
pub const fn place(cookie: u64, places: u64) -> u32 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let block = (cookie >> 12).wrapping_mul(GOLDEN);
    let begins = (block ^ block >> 32).wrapping_mul(GOLDEN);
    let spread = ((cookie & 0xfff) / TOGETHER).wrapping_mul(GOLDEN).wrapping_add(begins) >> 32;
    let page = (spread * places) >> 32;
    (page & !(TOGETHER - 1) & (places - 1) | cookie & (TOGETHER - 1) & (places - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken places, of 16,384, when each of `cpus` CPUs has given out `each` cookies of its block.
    fn taken(cpus: u64, each: u64) -> usize {
        let mut places = vec![false; 16_384];
        for cpu in 7..7 + cpus {
            (0..each).for_each(|it| places[place(cpu * 4096 + it, 16_384) as usize] = true);
        }
        places.iter().filter(|it| **it).count()
    }

    #[test]
    fn sockets_of_one_block_fall_apart() {
        assert_eq!(taken(1, 4096), 4096);
    }

    /// No worse than chance has it, by which of 512 pages' cookies in as many pages 63 % of the places are taken, give
    /// or take 2 %.
    #[test]
    fn blocks_of_many_cpus_fall_anywhere() {
        assert!(taken(64, 256) > 9_900, "{}", taken(64, 256));
        assert!(taken(64, 64) > 3450, "{}", taken(64, 64));
    }

    #[test]
    fn every_place_is_one() {
        for places in [1, 2, 1024, 16_384] {
            assert!((0..10_000).chain([u64::MAX]).all(|cookie| u64::from(place(cookie, places)) < places));
        }
    }

    #[test]
    fn only_what_waits_for_its_syn_is_lost() {
        let waits = Connect { cookie: 7, called: Nanos(RECENT), ..Connect::default() };
        assert!(waits.is_lost_to(8, Nanos(RECENT + 1)));
        assert!(!waits.is_lost_to(7, Nanos(RECENT + 1)), "the same socket tries again");
        assert!(!waits.is_lost_to(8, Nanos(2 * RECENT)), "it had its time");
        assert!(!Connect::default().is_lost_to(8, Nanos(1)), "an empty place");
    }

    #[test]
    fn a_record_of_two_writers_is_no_record() {
        let [one, other] = [[7u64, 1000, 5, 0x1f90_0000_0000], [8, 1001, 5, 0x1f91_0000_0000]];
        for mask in 0..16 {
            let mixed: [u64; 4] = std::array::from_fn(|at| if mask >> at & 1 == 0 { one[at] } else { other[at] });
            let is_whole = mixed == one;
            assert_eq!(sum(mixed.into_iter()) == sum(one.into_iter()), is_whole, "{mask:b}");
        }
        assert_eq!(sum([0; 11].into_iter()), 0, "an empty place is whole");
    }
}
