//! The callers of connect(2), which of the calls never became a SYN, and how they failed.
//!
//! The flow of a call is noted as it leaves SYN-SENT. Before, sock_diag knows the socket, and the socket leads to the
//! call. A connect under MPTCP is known by the flow of its first subflow, and its caller stays unknown where the kernel
//! calls no hook. A connect with Fast Open and a cookie becomes a SYN with the first data: until then it counts as
//! unsent.

use std::{
    fmt, io,
    sync::atomic::Ordering::{Acquire, Relaxed},
};

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSockAddr, ProgramError, RawTracePoint, cgroup_sock_addr::CgroupSockAddrLink,
        raw_trace_point::RawTracePointLink,
    },
};
use tcptrace_core::{
    connect::{self, Connect as Record, Fate, SocketOffsets},
    flow::{self, Endpoint, HashKey},
    handshake::Nanos,
};
use tcptrace_vocabulary::facts::{Fact, Missing};

use super::{
    btf::{Btf, Error},
    cgroup, decode,
    load::{array, errno, loaded},
    mapping::Mapping,
    source::Unavailable,
};

const WHAT: &str = "the callers of connect(2)";
/// The maps of calls, and how many calls an entry of each is for.
pub(super) const MAPS: [(&str, u32); 4] = [("CONNECTS", 1), ("FATES", 1), ("WAITING", 8), ("FLOWS", 1)];
/// In the object and in the kernel's list of programs.
const CONNECT: [&str; 2] = ["connect_ipv4", "connect_ipv6"];
const STATE: &str = "connect_state";
const ERROR: &str = "connect_error";

/// A call of connect(2) over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The socket's cookie, as sock_diag has it.
    pub cookie: u64,
    pub called: Nanos,
    /// The destination of the call.
    pub asked: Endpoint,
    /// What bind(2) chose before the call; unspecified where it did not.
    pub bound: Endpoint,
    /// The errno with which another program refused it.
    pub refused: Option<i32>,
    /// Its SYN, if one was handed to TCP; also `None` while nothing of it is noted.
    pub sent: Option<HandedOver>,
    /// Whether its connection opened.
    pub is_open: bool,
    /// How its socket went back from SYN-SENT to CLOSE, if it did.
    pub failed: Option<Failed>,
    pub pid: u32,
    pub comm: Comm,
    /// The cookie of the network namespace (SO_NETNS_COOKIE).
    pub netns: u64,
}

/// A SYN as TCP made it, on its way to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// When TCP last did something with its socket: not before the SYN.
    pub at: Nanos,
    pub client: Endpoint,
    pub server: Endpoint,
}

/// How a socket went back from SYN-SENT to CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    pub at: Nanos,
    pub how: How,
}

/// The end of a call that did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// An error came for the socket.
    Error(i32),
    /// The program closed the socket, and the call has no errno.
    Closed,
    /// connect(2) itself gave up, between routing and the SYN; whether TCP had a local port for it by then.
    GaveUp { has_port: bool },
}

impl Failed {
    fn of(fate: &Fate) -> Option<Self> {
        let how = match *fate {
            Fate { step: Fate::OPENED, .. } => return None,
            Fate { errno, .. } if errno != 0 => How::Error(errno),
            Fate { is_closed: 0, has_port, .. } => How::GaveUp { has_port: has_port != 0 },
            Fate { .. } => How::Closed,
        };
        Some(Self { at: fate.at, how })
    }
}

/// A task's name: up to 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Comm([u64; 2]);

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.map(u64::to_ne_bytes).concat();
        let name = name.split(|it| *it == 0).next().unwrap_or_default();
        f.write_str(&String::from_utf8_lossy(name))
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Connect {
    pub(super) fn of(record: &Record, fate: &Fate) -> Self {
        let end = |addr, port| Endpoint { addr, port };
        // That of an earlier call of the socket is none, and on the way to SYN-SENT there is none yet.
        let is_its = fate.cookie == record.cookie && fate.at >= record.called && fate.step > Fate::BOUND;
        let is_sent = is_its && fate.made >= record.called;
        Self {
            cookie: record.cookie,
            called: record.called,
            asked: end(record.asked_addr, record.asked_port),
            bound: end(record.bound_addr, record.bound_port),
            refused: (record.refused > 0).then(|| record.refused.into()),
            sent: is_sent.then(|| HandedOver {
                at: fate.made,
                client: end(fate.client_addr, fate.client_port),
                server: end(fate.server_addr, fate.server_port),
            }),
            is_open: is_its && fate.step == Fate::OPENED,
            failed: if is_its { Failed::of(fate) } else { None },
            pid: record.pid,
            comm: Comm(record.comm),
            netns: record.netns,
        }
    }

    /// Whether the call gave up for want of a local port: none was free, or the one that bind(2) chose is taken towards
    /// that server (`__inet_hash_connect`, net/ipv4/inet_hashtables.c). What comes after, another look at the routes for
    /// one, fails otherwise.
    pub(super) const fn lacks_port(&self) -> bool {
        matches!(self.failed, Some(Failed { how: How::GaveUp { has_port: false }, .. })) && self.sent.is_none()
    }

    /// Whether nothing is noted yet of what became of it: it is in SYN-SENT, or routing failed.
    pub(super) const fn is_unsettled(&self) -> bool {
        self.refused.is_none() && self.sent.is_none() && self.failed.is_none()
    }

    /// Whether another address may have taken its place: not where this host had no port for it, or refused it.
    pub(super) const fn may_lose_race(&self) -> bool {
        self.refused.is_none() && !self.lacks_port()
    }

    /// Whether the program closed a socket for which no SYN was made: Fast Open waited for data, and none came.
    pub(super) fn is_waiting_for_data(&self) -> bool {
        self.sent.is_none() && self.failed.is_some_and(|failed| failed.how == How::Closed)
    }
}

/// The calls, as they are noted from now on. Dropping it takes the hooks off.
pub struct Connects {
    records: Mapping,
    fates: Mapping,
    flows: Mapping,
    key: HashKey,
    /// The hook by which calls are known to have left SYN-SENT, or why it is off.
    pub(super) ends: Result<RawTracePointLink, Unavailable>,
    /// The hook of errors that come for a socket and do not end it, or why it is off.
    pub(super) errors: Result<RawTracePointLink, Unavailable>,
    _connect: [CgroupSockAddrLink; 2],
}

impl Connects {
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        key: HashKey,
        offsets: Result<SocketOffsets, String>,
    ) -> Result<Self, Unavailable> {
        const ENDS: &str = "the ends of connects";
        const ERRORS: &str = "the errors of pending connects";
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Unavailable::refused(WHAT, "its maps", error, (Missing::Failed, error.to_string()))
        };
        let records = Mapping::new::<Record>(array(ebpf, "CONNECTS")).map_err(|error| failed(&error))?;
        let fates = Mapping::new::<Fate>(array(ebpf, "FATES")).map_err(|error| failed(&error))?;
        let flows = Mapping::new::<u64>(array(ebpf, "FLOWS")).map_err(|error| failed(&error))?;
        let root = cgroup::root().map_err(|(missing, reason)| Unavailable::new(WHAT, missing, reason))?;

        // Before the others: a call whose end is not noted would count as one that routing refused.
        let known = |what| offsets.as_ref().map_err(|reason| Unavailable::new(what, Missing::Kernel, reason.clone()));
        let ends = known(ENDS).and_then(|_| attach_tracepoint(ebpf, STATE, "inet_sock_set_state", ENDS));
        let errors = known(ERRORS).and_then(|_| attach_tracepoint(ebpf, ERROR, "inet_sk_error_report", ERRORS));
        // A link is made for `Single` only; others' programs keep running beside it.
        let mode = CgroupAttachMode::Single;
        let mut connect = |name| {
            let program: &mut CgroupSockAddr =
                ebpf.program_mut(name).and_then(|it| it.try_into().ok()).expect("for connects");
            loaded(program.load(), name).map_err(|error| Unavailable::load(WHAT, &error))?;
            let id = program.attach(&root, mode).map_err(|error| refused(name, &error))?;
            program.take_link(id).map_err(|error| failed(&error))
        };
        let connect = [connect(CONNECT[0])?, connect(CONNECT[1])?];
        Ok(Self { records, fates, flows, key, ends, errors, _connect: connect })
    }

    /// The call behind a flow that has left SYN-SENT, and whose first SYN was seen at `since`.
    ///
    /// # Errors
    /// [`Missing::Elsewhere`] where no call with such a SYN has left SYN-SENT on this host since the hooks are there:
    /// the place that it would have is vacant, or holds what was there before. [`Missing::Gone`] where a later one has
    /// taken the place, or the caller was not noted. [`Missing::Failed`] where the record could not be read whole.
    pub fn by_flow(&self, client: Endpoint, server: Endpoint, since: Nanos) -> Fact<Connect> {
        let words = self.flows.words();
        let place = flow::hash(self.key, client, server) as usize & (words.len() - 1);
        let cookie = words[place].load(Acquire);
        if cookie == 0 {
            return Err(self.ends.as_ref().map_or_else(|off| off.missing, |_| Missing::Elsewhere));
        }
        let it = self.record(connect::place(cookie, words.len() as u64) as usize).ok_or(Missing::Failed)?;
        let sent = it.sent.filter(|_| it.cookie == cookie).ok_or(Missing::Gone)?;
        if it.failed.map_or(sent.at, |failed| failed.at) < since {
            // That one was over before.
            Err(Missing::Elsewhere)
        } else if it.called <= since && (sent.client, sent.server) == (client, server) {
            Ok(it)
        } else {
            // Newer than the flow.
            Err(Missing::Gone)
        }
    }

    /// The call of a socket, if it was made before `since`.
    #[must_use]
    pub fn by_socket(&self, cookie: u64, since: Nanos) -> Option<Connect> {
        let places = self.flows.words().len() as u64;
        self.record(connect::place(cookie, places) as usize).filter(|it| it.cookie == cookie && it.called <= since)
    }

    /// Whether a socket's call has its place still.
    #[must_use]
    pub fn has(&self, cookie: u64) -> bool {
        const WORDS: usize = size_of::<Record>() / 8;
        const COOKIE: usize = std::mem::offset_of!(Record, cookie) / 8;
        let place = connect::place(cookie, self.flows.words().len() as u64) as usize;
        self.records.words()[place * WORDS + COOKIE].load(Relaxed) == cookie
    }

    /// Every call since a moment of which the record is there.
    #[must_use]
    pub fn recent(&self, since: Nanos) -> Vec<Connect> {
        const WORDS: usize = size_of::<Record>() / 8;
        const CALLED: usize = std::mem::offset_of!(Record, called) / 8;
        // One word of each first: most are older.
        let called = |place: &usize| self.records.words()[place * WORDS + CALLED].load(Relaxed) >= since.0.max(1);
        let all = (0..self.flows.words().len()).filter(called).filter_map(|place| self.record(place));
        all.filter(|it| it.cookie > 0 && it.called >= since).collect()
    }

    /// A place's record; `None` where it is being written all the time.
    fn record(&self, place: usize) -> Option<Connect> {
        // The fate before the call: a later call's would be taken for that of the one that was read.
        let fate = decode::fate(&self.fates.summed(place)?);
        let record = decode::connect(&self.records.summed(place)?);
        Some(Connect::of(&record, &fate))
    }
}

/// The fields of a socket that the hooks read of this kernel.
pub(super) fn socket_offsets(btf: &Btf) -> Result<SocketOffsets, Error> {
    let field = |of: &str, name: &str, size| {
        let it = btf.field(of, name)?;
        (it.size == size).then_some(it.offset).ok_or_else(|| Error::Missing(format!("{of}.{name} as expected")))
    };
    let head = |name: &str, size: u32| {
        let at = field("sock_common", name, size)?;
        let is_within = (at + size) as usize <= SocketOffsets::HEAD;
        is_within.then_some(at).ok_or_else(|| Error::Missing(format!("sock_common.{name} where it is expected")))
    };
    // An array, of which BTF's reader knows no size, right before the field that it can find.
    let control =
        field("sk_buff", "_skb_refdst", 8)?.checked_sub(48).ok_or(Error::Malformed("no place for sk_buff.cb"))?;
    Ok(SocketOffsets {
        cookie: head("skc_cookie", 8)?,
        family: head("skc_family", 2)?,
        server_port: head("skc_dport", 2)?,
        client_port: head("skc_num", 2)?,
        server_v4: head("skc_daddr", 4)?,
        client_v4: head("skc_rcv_saddr", 4)?,
        // A kernel without IPv6 has no such sockets.
        server_v6: head("skc_v6_daddr", 16).unwrap_or(0),
        client_v6: head("skc_v6_rcv_saddr", 16).unwrap_or(0),
        err: field("sock", "sk_err", 4)?,
        shutdown: field("sock", "sk_shutdown", 1)?,
        port: field("inet_sock", "inet_sport", 2)?,
        state: field("sock_common", "skc_state", 1)?,
        tx_hash: field("sock", "sk_txhash", 4)?,
        mstamp: field("tcp_sock", "tcp_mstamp", 8)?,
        newest_error: btf.field("sock", "sk_error_queue")?.offset + btf.field("sk_buff_head", "prev")?.offset,
        queued: control + btf.field("sock_exterr_skb", "ee")?.offset,
        protocol: field("sock", "sk_protocol", 2)?,
        pad: 0,
    })
}

/// Attaches a hook of sockets.
fn attach_tracepoint(
    ebpf: &mut Ebpf,
    name: &'static str,
    tracepoint: &str,
    what: &'static str,
) -> Result<RawTracePointLink, Unavailable> {
    let program: &mut RawTracePoint =
        ebpf.program_mut(name).and_then(|it| it.try_into().ok()).expect("a raw tracepoint");
    loaded(program.load(), name).map_err(|error| Unavailable::load(what, &error))?;
    let off = |error: ProgramError| {
        Unavailable::refused(what, tracepoint, &error, (Missing::Kernel, format!("{tracepoint}: {error}")))
    };
    let id = program.attach(tracepoint).map_err(off)?;
    program.take_link(id).map_err(off)
}

/// The meaning of the kernel's refusal to attach. A process that may load such a program may attach it, so EPERM means
/// a cgroup whose only program shall be another (`hierarchy_allows_attach`, kernel/bpf/cgroup.c).
fn refused(program: &str, error: &ProgramError) -> Unavailable {
    let otherwise = match errno(error) {
        Some(libc::EPERM) => (
            Missing::Failed,
            format!("{program}: another program holds the hook for itself (`bpftool cgroup tree` names it)"),
        ),
        Some(errno) => (Missing::Kernel, format!("{program}: {}", io::Error::from_raw_os_error(errno))),
        None => (Missing::Kernel, format!("{program}: {error}")),
    };
    Unavailable::refused(WHAT, program, error, otherwise)
}
