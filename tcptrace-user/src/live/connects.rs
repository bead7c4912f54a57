//! The callers of connect(2), which of the calls never became a SYN, and how they failed.
//!
//! A connect under MPTCP is known by the flow of its first subflow, and its caller stays unknown where the kernel calls
//! no hook. A connect with Fast Open and a cookie becomes a SYN with the first data: until then it counts as unsent.

use std::{
    fmt, io,
    sync::atomic::Ordering::{Acquire, Relaxed},
};

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSockAddr, ProgramError, RawTracePoint, SockOps, cgroup_sock_addr::CgroupSockAddrLink,
        raw_trace_point::RawTracePointLink, sock_ops::SockOpsLink,
    },
};
use tcptrace_core::{
    connect::{self, Connect as Record, Failure, SocketOffsets},
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
/// In the object and in the kernel's list of programs.
const CONNECT: [&str; 2] = ["connect_ipv4", "connect_ipv6"];
const SENT: &str = "connect_sent";
/// Those of failed calls, and the tracepoints of them.
const FAILING: [(&str, &str); 2] =
    [("connect_failed", "inet_sock_set_state"), ("connect_error", "inet_sk_error_report")];

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
    /// Its SYN, if one was handed to TCP.
    pub sent: Option<HandedOver>,
    /// How its socket went back from SYN-SENT to CLOSE, if it did.
    pub failed: Option<Failed>,
    pub pid: u32,
    pub comm: Comm,
    pub uid: u32,
    /// As cgroup2 numbers them: the inode of the cgroup's directory.
    pub cgroup: u64,
    /// The cookie of the network namespace (SO_NETNS_COOKIE).
    pub netns: u64,
}

/// A SYN as it was handed to TCP: about to be built, not yet on any interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOver {
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
    /// connect(2) itself gave up, between routing and the SYN; the port that it had by then, or zero.
    GaveUp { port: u16 },
}

impl Failed {
    fn of(failure: &Failure) -> Self {
        let how = match *failure {
            Failure { errno, .. } if errno != 0 => How::Error(errno),
            Failure { is_closed: 0, port, .. } => How::GaveUp { port },
            Failure { .. } => How::Closed,
        };
        Self { at: failure.at, how }
    }
}

/// A task's name: up to 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Comm([u8; 16]);

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.split(|it| *it == 0).next().unwrap_or_default();
        f.write_str(&String::from_utf8_lossy(name))
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Connect {
    fn of(record: &Record, failure: &Failure) -> Self {
        let end = |addr, port| Endpoint { addr, port };
        let (client, is_sent) = (end(record.client_addr, record.client_port), record.sent.0 > 0);
        let is_its = failure.cookie == record.cookie && failure.at >= record.called;
        Self {
            cookie: record.cookie,
            called: record.called,
            asked: end(record.asked_addr, record.asked_port),
            bound: if is_sent { Endpoint::default() } else { client },
            refused: (record.refused > 0).then(|| record.refused.into()),
            sent: is_sent.then(|| HandedOver {
                at: record.sent,
                client,
                server: end(record.server_addr, record.server_port),
            }),
            failed: is_its.then(|| Failed::of(failure)),
            pid: record.pid,
            comm: Comm(record.comm),
            uid: record.uid,
            cgroup: record.cgroup,
            netns: record.netns,
        }
    }

    /// Whether the call gave up for want of a local port: none was chosen, or the one that bind(2) chose is taken
    /// towards that server (`__inet_hash_connect`, net/ipv4/inet_hashtables.c). A port that was chosen for the call
    /// leads to another look at the routes, which fails otherwise.
    pub(super) const fn lacks_port(&self) -> bool {
        match self.failed {
            Some(Failed { how: How::GaveUp { port }, .. }) => self.sent.is_none() && (port == 0 || self.bound.port > 0),
            Some(Failed { how: How::Error(_) | How::Closed, .. }) | None => false,
        }
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
    failures: Mapping,
    cookies: Mapping,
    key: HashKey,
    /// The hooks of failed calls, or why they are off.
    pub(super) failing: Result<[RawTracePointLink; 2], Unavailable>,
    // In this order: a call that is noted when its SYN is not would count as unsent.
    _connect: [CgroupSockAddrLink; 2],
    _sent: SockOpsLink,
}

impl Connects {
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        key: HashKey,
        offsets: Result<SocketOffsets, String>,
    ) -> Result<Self, Unavailable> {
        let failed = |error: &dyn std::error::Error| Unavailable::new(WHAT, Missing::Failed, error.to_string());
        let records = Mapping::new::<Record>(array(ebpf, "CONNECTS")).map_err(|error| failed(&error))?;
        let failures = Mapping::new::<Failure>(array(ebpf, "FAILURES")).map_err(|error| failed(&error))?;
        let cookies = Mapping::new::<u64>(array(ebpf, "SENT")).map_err(|error| failed(&error))?;
        let root = cgroup::root().map_err(|(missing, reason)| Unavailable::new(WHAT, missing, reason))?;

        // Before the others: a call whose failure is not noted would count as one that routing refused.
        let failing = attach_failing(ebpf, offsets);
        // A link is made for `Single` only; others' programs keep running beside it.
        let mode = CgroupAttachMode::Single;
        let program: &mut SockOps = ebpf.program_mut(SENT).and_then(|it| it.try_into().ok()).expect("for sockets");
        loaded(program.load(), SENT).map_err(|error| Unavailable::load(WHAT, &error))?;
        let id = program.attach(&root, mode).map_err(|error| refused(SENT, &error))?;
        let sent = program.take_link(id).map_err(|error| failed(&error))?;
        let mut connect = |name| {
            let program: &mut CgroupSockAddr =
                ebpf.program_mut(name).and_then(|it| it.try_into().ok()).expect("for connects");
            loaded(program.load(), name).map_err(|error| Unavailable::load(WHAT, &error))?;
            let id = program.attach(&root, mode).map_err(|error| refused(name, &error))?;
            program.take_link(id).map_err(|error| failed(&error))
        };
        let connect = [connect(CONNECT[0])?, connect(CONNECT[1])?];
        Ok(Self { records, failures, cookies, key, failing, _connect: connect, _sent: sent })
    }

    /// The call behind a flow whose first SYN was seen at `since`.
    ///
    /// # Errors
    /// [`Missing::Elsewhere`] where no such SYN was handed to TCP on this host since the hooks are there: the place
    /// that it would have is vacant, or holds what was there before. [`Missing::Gone`] where a later one has taken the
    /// place, or the caller was not noted. [`Missing::Failed`] where the record could not be read whole.
    pub fn by_flow(&self, client: Endpoint, server: Endpoint, since: Nanos) -> Fact<Connect> {
        let words = self.cookies.words();
        let place = flow::hash(self.key, client, server) as usize & (words.len() - 1);
        let cookie = words[place].load(Acquire);
        if cookie == 0 {
            return Err(Missing::Elsewhere);
        }
        let it = self.record(connect::place(cookie, words.len() as u64) as usize).ok_or(Missing::Failed)?;
        match it.sent {
            Some(sent) if it.cookie == cookie && sent.at <= since => {
                let is_it = (sent.client, sent.server) == (client, server);
                if is_it { Ok(it) } else { Err(Missing::Elsewhere) }
            }
            // Newer than the flow, or itself overwritten.
            Some(_) | None => Err(Missing::Gone),
        }
    }

    /// Every call since a moment of which the record is there.
    #[must_use]
    pub fn recent(&self, since: Nanos) -> Vec<Connect> {
        const WORDS: usize = size_of::<Record>() / 8;
        const CALLED: usize = std::mem::offset_of!(Record, called) / 8;
        // One word of each first: most are older.
        let called = |place: &usize| self.records.words()[place * WORDS + CALLED].load(Relaxed) >= since.0.max(1);
        let all = (0..self.cookies.words().len()).filter(called).filter_map(|place| self.record(place));
        all.filter(|it| it.cookie > 0 && it.called >= since).collect()
    }

    /// A place's record; `None` where it is being written all the time.
    fn record(&self, place: usize) -> Option<Connect> {
        // The failure after the call: it is of this call if it is younger.
        let record = decode::connect(&self.records.record(place)?);
        let failure = decode::failure(&self.failures.record(place)?);
        Some(Connect::of(&record, &failure))
    }
}

/// The fields of a socket that the hook of failed calls reads of this kernel.
pub(super) fn socket_offsets(btf: &Btf) -> Result<SocketOffsets, Error> {
    let field = |of: &str, name: &str, size| {
        let it = btf.field(of, name)?;
        (it.size == size).then_some(it.offset).ok_or_else(|| Error::Missing(format!("{of}.{name} as expected")))
    };
    // An array, of which BTF's reader knows no size, right before the field that it can find.
    let control =
        field("sk_buff", "_skb_refdst", 8)?.checked_sub(48).ok_or(Error::Malformed("no place for sk_buff.cb"))?;
    Ok(SocketOffsets {
        cookie: field("sock_common", "skc_cookie", 8)?,
        err: field("sock", "sk_err", 4)?,
        shutdown: field("sock", "sk_shutdown", 1)?,
        port: field("inet_sock", "inet_sport", 2)?,
        state: field("sock_common", "skc_state", 1)?,
        newest_error: btf.field("sock", "sk_error_queue")?.offset + btf.field("sk_buff_head", "prev")?.offset,
        queued: control + btf.field("sock_exterr_skb", "ee")?.offset,
        pad: 0,
    })
}

/// Attaches the hooks of failed calls.
fn attach_failing(
    ebpf: &mut Ebpf,
    offsets: Result<SocketOffsets, String>,
) -> Result<[RawTracePointLink; 2], Unavailable> {
    const WHAT: &str = "the errors of failed connects";
    offsets.map_err(|reason| Unavailable::new(WHAT, Missing::Kernel, reason))?;
    let mut attach = |(name, tracepoint): (&'static str, &str)| {
        let program: &mut RawTracePoint =
            ebpf.program_mut(name).and_then(|it| it.try_into().ok()).expect("a raw tracepoint");
        loaded(program.load(), name).map_err(|error| Unavailable::load(WHAT, &error))?;
        let off = |error: ProgramError| Unavailable::new(WHAT, Missing::Kernel, format!("{tracepoint}: {error}"));
        let id = program.attach(tracepoint).map_err(off)?;
        program.take_link(id).map_err(off)
    };
    Ok([attach(FAILING[0])?, attach(FAILING[1])?])
}

/// The meaning of the kernel's refusal to attach. A process that may load such a program may attach it, so EPERM means
/// a cgroup whose only program shall be another (`hierarchy_allows_attach`, kernel/bpf/cgroup.c).
fn refused(program: &str, error: &ProgramError) -> Unavailable {
    let (missing, reason) = match errno(error) {
        Some(libc::EPERM) => (
            Missing::Failed,
            format!("{program}: another program holds the hook for itself (`bpftool cgroup tree` names it)"),
        ),
        Some(errno) => (Missing::Kernel, format!("{program}: {}", io::Error::from_raw_os_error(errno))),
        None => (Missing::Kernel, format!("{program}: {error}")),
    };
    Unavailable::new(WHAT, missing, reason)
}
