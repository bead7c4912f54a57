//! The records of a connect(2): its caller, its destination, whether TCP was handed its SYN, and how it failed.
//!
//! Layout and places only; the hooks that fill them are the kernel programs' `sockets`. A call that opens has no
//! [`Failure`]: the handshake says how its SYN ended.

use crate::{flow::Addr, handshake::Nanos};

/// One call, by its socket. Two cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Connect {
    /// Odd while it is written, zero while nobody has.
    pub version: u64,
    /// The socket's, unique until the next boot.
    pub cookie: u64,
    /// When connect(2) was called.
    pub called: Nanos,
    /// When its SYN was handed to TCP; zero: it was not.
    pub sent: Nanos,
    /// The network namespace's cookie.
    pub netns: u64,
    /// The caller's cgroup, as cgroup2 numbers them.
    pub cgroup: u64,
    /// The destination that connect(2) was given. The flow may have another: the unspecified address becomes the
    /// loopback address, and a cgroup program may write a new one.
    pub asked_addr: Addr,
    /// The flow as TCP has it, once `sent` says so; until then the client's is what bind(2) chose, or zero.
    pub client_addr: Addr,
    pub server_addr: Addr,
    /// The caller's name, zero at its end.
    pub comm: [u8; 16],
    /// The process (thread group) that called, numbered as in the first namespace of processes.
    pub pid: u32,
    pub uid: u32,
    pub asked_port: u16,
    pub client_port: u16,
    pub server_port: u16,
    /// The errno with which another program refused the call; zero: none that ran before this one did.
    pub refused: u16,
}

const _: () = assert!(size_of::<Connect>() == 128 && align_of::<Connect>() == 8);

/// The error that came for a socket in SYN-SENT, or how it left for CLOSE. In a place of its own, so that a call that opens writes nothing here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Failure {
    /// Odd while it is written, zero while nobody has.
    pub version: u64,
    /// The socket's.
    pub cookie: u64,
    pub at: Nanos,
    /// The error that came for the socket (`sk_err`); zero: none did, and connect(2) itself gave up.
    pub errno: i32,
    /// The port that was chosen for it; zero: none was.
    pub port: u16,
    /// Not zero: its program closed it.
    pub is_closed: u8,
    /// Zero: makes the size a multiple of eight.
    pub pad: u8,
}

const _: () = assert!(size_of::<Failure>() == 32 && align_of::<Failure>() == 8);

/// The offsets, in the running kernel, of the fields that the hook of failed calls reads of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SocketOffsets {
    /// `sock_common.skc_cookie`.
    pub cookie: u32,
    /// `sock.sk_err`.
    pub err: u32,
    /// `sock.sk_shutdown`.
    pub shutdown: u32,
    /// `inet_sock.inet_sport`.
    pub port: u32,
    /// `sock_common.skc_state`.
    pub state: u32,
    /// `sock.sk_error_queue.prev`: the newest of the errors that wait.
    pub newest_error: u32,
    /// `ee` of the `sock_exterr_skb` in such an entry.
    pub queued: u32,
    /// Zero: makes the size a multiple of eight.
    pub pad: u32,
}

impl SocketOffsets {
    /// The hook is not loaded.
    pub const NONE: Self =
        Self { cookie: 0, err: 0, shutdown: 0, port: 0, state: 0, newest_error: 0, queued: 0, pad: 0 };
}

/// The longest that a connect waits for its SYN where nothing goes wrong. Routing and choosing a port take
/// microseconds, and userspace looks for calls that never sent a SYN about every second.
const RECENT: u64 = 5_000_000_000;

impl Connect {
    /// Whether to write another socket's call here loses one whose fate nobody may have looked at yet.
    #[inline(always)]
    #[must_use]
    pub const fn is_lost_to(&self, cookie: u64, now: Nanos) -> bool {
        self.cookie != cookie && self.cookie != 0 && self.sent.0 == 0 && now.since(self.called) < RECENT
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
        assert!(!Connect { sent: Nanos(RECENT), ..waits }.is_lost_to(8, Nanos(RECENT + 1)));
        assert!(!Connect::default().is_lost_to(8, Nanos(1)), "an empty place");
    }
}
