//! The callers of connect(2), and which of the calls never became a SYN.
//!
//! A connect under MPTCP is known by the flow of its first subflow, and its caller stays unknown where the kernel calls
//! no hook. A connect with Fast Open and a cookie becomes a SYN with the first data: until then it counts as unsent.

use std::{fmt, io};

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSockAddr, ProgramError, SockOps, cgroup_sock_addr::CgroupSockAddrLink,
        sock_ops::SockOpsLink,
    },
};
use tcptrace_core::{
    connect::{self, Connect as Record},
    flow::{self, Endpoint, HashKey},
    handshake::Nanos,
};
use tcptrace_vocabulary::facts::{Fact, Missing};

use super::{
    cgroup, decode,
    load::{array, errno, loaded},
    mapping::Mapping,
    source::Unavailable,
};

const WHAT: &str = "the callers of connect(2)";
/// In the object and in the kernel's list of programs.
const CONNECT: [&str; 2] = ["connect_ipv4", "connect_ipv6"];
const SENT: &str = "connect_sent";

/// A call of connect(2) over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The socket's cookie, as sock_diag has it.
    pub cookie: u64,
    pub called: Nanos,
    /// The destination of the call.
    pub asked: Endpoint,
    /// Its SYN, if one was handed to TCP.
    pub sent: Option<HandedOver>,
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

impl From<Record> for Connect {
    fn from(record: Record) -> Self {
        let end = |addr, port| Endpoint { addr, port };
        Self {
            cookie: record.cookie,
            called: record.called,
            asked: end(record.asked_addr, record.asked_port),
            sent: (record.sent.0 > 0).then(|| HandedOver {
                at: record.sent,
                client: end(record.client_addr, record.client_port),
                server: end(record.server_addr, record.server_port),
            }),
            pid: record.pid,
            comm: Comm(record.comm),
            uid: record.uid,
            cgroup: record.cgroup,
            netns: record.netns,
        }
    }
}

/// The calls, as they are noted from now on. Dropping it takes the hooks off.
pub struct Connects {
    records: Mapping,
    cookies: Mapping,
    key: HashKey,
    // In this order: a call that is noted when its SYN is not would count as unsent.
    _connect: [CgroupSockAddrLink; 2],
    _sent: SockOpsLink,
}

impl Connects {
    pub(super) fn attach(ebpf: &mut Ebpf, key: HashKey) -> Result<Self, Unavailable> {
        let failed = |error: &dyn std::error::Error| Unavailable::new(WHAT, Missing::Failed, error.to_string());
        let records = Mapping::new::<Record>(array(ebpf, "CONNECTS")).map_err(|error| failed(&error))?;
        let cookies = Mapping::new::<u64>(array(ebpf, "SENT")).map_err(|error| failed(&error))?;
        let root = cgroup::root().map_err(|(missing, reason)| Unavailable::new(WHAT, missing, reason))?;

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
        Ok(Self { records, cookies, key, _connect: connect, _sent: sent })
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
        let cookie = words[place].load(std::sync::atomic::Ordering::Acquire);
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
        let all = (0..self.cookies.words().len()).filter_map(|place| self.record(place));
        all.filter(|it| it.cookie > 0 && it.called >= since).collect()
    }

    /// A place's record; `None` where it is being written all the time.
    fn record(&self, place: usize) -> Option<Connect> {
        self.records.record(place).map(|octets| decode::connect(&octets).into())
    }
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
