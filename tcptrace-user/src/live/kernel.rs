//! The kernel side as userspace holds it: the loaded object, its programs, its maps.
//!
//! Map sizes and policy are set before loading and never change. `hooks` attaches.
#![expect(unsafe_code, reason = "aya asks for an unsafe promise that a type is plain data")]

use std::sync::Arc;

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, MapData, PerCpuArray, RingBuf},
    programs::{SchedClassifier, Xdp},
    util::{KernelVersion, nr_cpus, online_cpus},
};
pub use tcptrace_core::hooks::Program;
use tcptrace_core::{
    config::Config,
    connect::SocketOffsets,
    drops::FieldOffsets,
    event::Counters,
    flood::{ACCOUNTS, Policy},
    flow::HashKey,
    predicate::Test,
    table::WAYS,
};
use tcptrace_vocabulary::facts::Missing;

use super::{
    accounts::Accounts,
    btf::Btf,
    connects::{self, Connects},
    drops::{Drops, Layout},
    embedded::OBJECT,
    guard::Guard,
    load::{LoadError, OLDEST, array, loaded, refused},
    source::Unavailable,
    table::Table,
};
use crate::random;

/// `bpf_get_retval` in programs of connect(2).
const READS_REFUSALS: KernelVersion = KernelVersion::new(6, 1, 0);

/// The settings that are fixed when the programs are loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Slots of the table; rounded up to a power of two, at least one set.
    pub max_attempts: u32,
    /// Bytes of the ring; rounded up to a power of two, at least a page.
    pub ring: u32,
    /// Nanoseconds without progress after which an attempt is stalled, and after which a completion is late.
    pub stall_after: u64,
    /// Tell every completed handshake.
    pub tell_all: bool,
    /// Which attempts to take in at all; empty for every one.
    pub filter: Vec<Test>,
    /// When a listener counts as flooded; `None`: what the table can take of it.
    pub flood: Option<Policy>,
    /// Look into tunnels.
    pub decap: bool,
    /// Bytes of the ring that the packets of attempts cross by; zero for none.
    pub packets: u32,
    /// Calls of connect(2) to remember; rounded up to a power of two, zero for none.
    pub connects: u32,
    /// Flows of which to remember what was dropped; rounded up to a power of two, zero for none.
    pub drops: u32,
    /// The cookie of the one network namespace whose drops are noted; zero for every one.
    pub drops_within: u64,
    /// The programs' own log, read by [`Kernel::take_log`].
    pub debug: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_attempts: 1 << 18,
            ring: 1 << 22,
            stall_after: 3_000_000_000,
            tell_all: false,
            filter: Vec::new(),
            flood: None,
            decap: false,
            packets: 0,
            connects: 1 << 14,
            drops: 1 << 12,
            drops_within: 0,
            debug: false,
        }
    }
}

/// The loaded object.
pub struct Kernel {
    ebpf: Ebpf,
    /// The attempts.
    pub table: Table,
    accounts: Option<Accounts>,
    tally: PerCpuArray<MapData, PlainCounters>,
    key: HashKey,
    keeps_connects: bool,
    /// The fields that the hook of drops reads of this kernel, until it is attached; `None` where it is off.
    layout: Option<Result<Layout, String>>,
    /// The same for the hooks of sockets.
    sockets: Result<SocketOffsets, String>,
    /// Whether packets cross: that takes helpers of 5.18 in XDP programs.
    pub keeps_packets: bool,
    /// Whether the programs to attach are those that look into tunnels.
    pub decap: bool,
    /// Takes TC filters off if this process is killed.
    pub(super) guard: Arc<Guard>,
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PlainCounters(Counters);

// SAFETY: `Counters` is an array of integers under repr(C).
unsafe impl Pod for PlainCounters {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PlainTest(Test);

// SAFETY: `Test` is integers under repr(C), without a gap.
unsafe impl Pod for PlainTest {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PlainConfig(Config);

// SAFETY: `Config` is integers under repr(C), without a gap: its padding is a field.
unsafe impl Pod for PlainConfig {}

/// A loader with room for so many calls of connect(2).
fn with_calls(connects: u32) -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    for (map, calls) in connects::MAPS {
        loader.map_max_entries(map, connects.div_ceil(calls));
    }
    loader
}

/// Writes the tests of the filter into its map.
fn set_filter(ebpf: &mut Ebpf, tests: &[Test]) -> Result<(), LoadError> {
    let map = ebpf.map_mut("FILTER").and_then(|map| Array::try_from(map).ok());
    let mut map: Array<_, PlainTest> = map.expect("FILTER is in the object");
    for (index, test) in (0..).zip(tests) {
        map.set(index, PlainTest(*test), 0).map_err(|error| refused("filter", &error))?;
    }
    Ok(())
}

impl Settings {
    /// The part of the settings that the programs read; the creator of the maps uses their sizes.
    fn config(&self, flood: Policy, known: Option<&Layout>, sockets: Option<SocketOffsets>) -> Config {
        Config {
            stall_after: self.stall_after,
            drop_netns: self.drops_within,
            flood,
            // Programs that are not loaded read none of it.
            skipped_reasons: known.map_or(Config::UNSET.skipped_reasons, |layout| layout.skipped),
            offsets: known.map_or(FieldOffsets::NONE, offsets),
            socket_offsets: sockets.unwrap_or(SocketOffsets::NONE),
            reads_refusals: u8::from(KernelVersion::current().is_ok_and(|it| it >= READS_REFUSALS)),
            tell_all: u8::from(self.tell_all),
            filtered: u8::from(!self.filter.is_empty()),
            keep_packets: u8::from(self.packets > 0),
            decap: u8::from(self.decap),
            ..Config::UNSET
        }
    }
}

impl Kernel {
    /// Creates the maps. Programs are loaded when first asked for.
    ///
    /// # Errors
    /// When the kernel refuses a map, or memory for it.
    pub fn load(settings: &Settings) -> Result<Self, LoadError> {
        if KernelVersion::current().is_ok_and(|it| it < KernelVersion::new(OLDEST.0, OLDEST.1, 0)) {
            return Err(LoadError::TooOld { release: release() });
        }
        let sets = (settings.max_attempts as usize).div_ceil(WAYS).next_power_of_two() as u32;
        let slots = sets * WAYS as u32;
        let cpus = nr_cpus().map_err(|(what, error)| LoadError::Kernel { what, reason: error.to_string() })? as u32;
        // A virtual machine often has more possible CPUs than online ones.
        let online = online_cpus().map_or(cpus as usize, |it| it.len());
        let flood = settings.flood.unwrap_or_else(|| Policy::of(slots.into(), online as u64));
        let key = random::hash_key().map_err(LoadError::Random)?;
        let connects = settings.connects.next_power_of_two();
        let drops = settings.drops.next_power_of_two();
        let btf = Btf::of_this_kernel().map_err(|error| error.to_string());
        let btf = btf.as_ref().map_err(Clone::clone);
        let layout = (settings.drops > 0).then(|| Layout::of(btf.clone()?).map_err(|error| error.to_string()));
        let sockets = btf.and_then(|btf| connects::socket_offsets(btf).map_err(|error| error.to_string()));
        let known = layout.as_ref().and_then(|result| result.as_ref().ok());
        let config = Config {
            hash_key: key,
            set_mask: u64::from(sets - 1),
            connect_places: u64::from(connects),
            drop_mask: u64::from(drops - 1),
            ..settings.config(flood, known, sockets.as_ref().ok().copied())
        };
        let mut ebpf = with_calls(connects)
            .map_max_entries("SETS", sets)
            .map_max_entries("SLOTS", slots)
            .map_max_entries("EVENTS", settings.ring.next_power_of_two().max(4096))
            .map_max_entries("OUTERS", if settings.decap { slots } else { 1 })
            .map_max_entries("ACCOUNTS", cpus * ACCOUNTS as u32)
            .map_max_entries("PRESSURE", cpus)
            .map_max_entries("PACKETS", settings.packets.next_power_of_two().max(4096))
            .map_max_entries("DROPS", drops)
            .override_global("CONFIG", &PlainConfig(config), true)
            .override_global(aya_log::LEVEL, &if settings.debug { aya_log::Level::Debug as u8 } else { 0 }, true)
            .load(OBJECT)
            .map_err(|error| refused("maps", &error))?;
        set_filter(&mut ebpf, &settings.filter)?;
        let outers = settings.decap.then(|| array(&ebpf, "OUTERS"));
        let table = Table::map(array(&ebpf, "SETS"), array(&ebpf, "SLOTS"), outers, key)
            .map_err(|error| refused("table", &error))?;
        let accounts = Accounts::map(array(&ebpf, "ACCOUNTS")).map_err(|error| refused("accounts", &error))?;
        let tally = ebpf
            .take_map("COUNTERS")
            .and_then(|map| PerCpuArray::try_from(map).ok())
            .expect("COUNTERS is in the object");
        Ok(Self {
            ebpf,
            table,
            accounts: Some(accounts),
            tally,
            key,
            keeps_connects: settings.connects > 0,
            layout,
            sockets,
            keeps_packets: settings.packets > 0,
            decap: settings.decap,
            guard: Arc::default(),
        })
    }

    /// The accounts of listeners; once.
    pub fn take_accounts(&mut self) -> Option<Accounts> {
        self.accounts.take()
    }

    /// Attaches the hooks of connect(2); once.
    ///
    /// # Errors
    /// Why its callers stay unknown. Tracing continues without.
    pub fn attach_connects(&mut self) -> Result<Connects, Unavailable> {
        if !self.keeps_connects {
            return Err(Unavailable::new("the callers of connect(2)", Missing::NotAsked, "not asked for"));
        }
        Connects::attach(&mut self.ebpf, self.key, self.sockets.clone())
    }

    /// Attaches the hook of drops; once.
    ///
    /// # Errors
    /// Why their reasons stay unknown. Tracing continues without.
    pub fn attach_drops(&mut self) -> Result<Drops, Unavailable> {
        let Some(layout) = self.layout.take() else {
            return Err(Unavailable::new("drop reasons", Missing::NotAsked, "not asked for"));
        };
        Drops::attach(&mut self.ebpf, layout, self.key)
    }

    /// The ring of packets; once, and only where packets cross.
    pub fn take_packets(&mut self) -> Option<RingBuf<MapData>> {
        // A map that is taken and dropped is none for a program that is loaded later.
        if !self.keeps_packets {
            return None;
        }
        RingBuf::try_from(self.ebpf.take_map("PACKETS")?).ok()
    }

    /// The ring buffer; once.
    pub fn take_events(&mut self) -> Option<RingBuf<MapData>> {
        RingBuf::try_from(self.ebpf.take_map("EVENTS")?).ok()
    }

    /// The reader of the programs' log; once.
    pub fn take_log(&mut self) -> Option<aya_log::EbpfLogger<&'static dyn ::log::Log>> {
        aya_log::EbpfLogger::init(&mut self.ebpf).ok()
    }

    /// All CPUs' counters, added up.
    ///
    /// # Errors
    /// Those of the map look-up.
    pub fn tally(&self) -> Result<Counters, aya::maps::MapError> {
        let mut sum = Counters::default();
        for PlainCounters(cpu) in self.tally.get(&0, 0)?.iter() {
            sum.add(cpu);
        }
        Ok(sum)
    }

    /// An XDP program, loaded.
    ///
    /// # Errors
    /// When the verifier refuses it, with its log.
    pub fn xdp(&mut self, program: Program) -> Result<&mut Xdp, LoadError> {
        let it: &mut Xdp =
            self.ebpf.program_mut(program.name()).and_then(|it| it.try_into().ok()).expect("an XDP program");
        loaded(it.load(), program.name())?;
        Ok(it)
    }

    /// A TC program, loaded.
    ///
    /// # Errors
    /// When the verifier refuses it, with its log.
    pub fn classifier(&mut self, program: Program) -> Result<&mut SchedClassifier, LoadError> {
        let it: &mut SchedClassifier =
            self.ebpf.program_mut(program.name()).and_then(|it| it.try_into().ok()).expect("a TC program");
        loaded(it.load(), program.name())?;
        Ok(it)
    }
}

/// The running kernel's release, as it calls itself.
fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |it| it.trim().to_owned())
}

/// The fields that the hook of drops reads of the running kernel, as its program takes them.
const fn offsets(layout: &Layout) -> FieldOffsets {
    FieldOffsets {
        skb_head: layout.head,
        skb_network_header: layout.network_header,
        skb_protocol: layout.protocol,
        skb_iif: layout.iif,
        skb_dev: layout.dev,
        skb_sk: layout.sk,
        skb_dst: layout.dst,
        dst_dev: layout.dst_dev,
        dev_net: layout.dev_net,
        sock_net: layout.sock_net,
        net_cookie: layout.net_cookie,
    }
}
