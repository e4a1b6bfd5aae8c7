//! [`Readings`]: what is read when a monitoring system asks, and the gauges that show it.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{One, Two};

/// What a node is at one moment.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// How each connected peer is connected.
    pub peers: Vec<PeerWay>,
    pub store: StoreBytes,
    /// The most bytes that the store may hold; `None` for as many as the disk takes.
    pub quota: Option<u64>,
    pub models: ReplicaStates,
    /// Entries of the catalogue: of publishers that are kept whole, and of strangers.
    pub entries: (u64, u64),
    /// Whether the index of the store is kept in memory because the disk does not take it.
    pub index_in_trouble: bool,
    /// Whether the catalogue is closed, or not on the disk as it is in memory.
    pub catalogue_in_trouble: bool,
    /// When the node started, in seconds since 1970.
    pub started: u64,
}

/// How a peer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerWay {
    /// Whether it is on this machine or in the zone.
    pub is_near: bool,
    pub transport: Transport,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Quic,
    /// No connection is direct.
    Relay,
}

impl Transport {
    const ALL: [Self; 3] = [Self::Tcp, Self::Quic, Self::Relay];

    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Relay => "relay",
        }
    }
}

/// The bytes of the store's disk. No byte is in two of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreBytes {
    /// Whole blobs of models that are never evicted.
    pub kept: u64,
    /// Other whole blobs, which go where room is needed.
    pub evictable: u64,
    /// Whole blobs that are kept for others alone.
    pub donated: u64,
    /// Verified pieces of blobs that are not whole.
    pub partial: u64,
    /// What the disk can still take.
    pub free: u64,
}

/// The models in the store by what is proven of their replicas at other nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplicaStates {
    /// Below the target for hours.
    pub endangered: u64,
    /// Below the target, and not endangered yet or any more.
    pub scarce: u64,
    /// At the target.
    pub enough: u64,
    /// Not audited: not whole, not shared, or the node audits nothing.
    pub uncounted: u64,
}

type Gauges1 = Family<One, Gauge>;

/// The gauges of the readings.
pub(super) struct Gauges {
    peers: Family<Two, Gauge>,
    store: Gauges1,
    quota: Gauge<f64, AtomicU64>,
    models: Gauges1,
    entries: Gauges1,
    trouble: Gauges1,
    started: Gauge,
}

impl Gauges {
    /// Makes all of them, and names them in `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let build: Family<One, Gauge> = Family::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("build_info", "1, with the version of this node", build);
        let new = Self {
            peers: Family::default(),
            store: Gauges1::default(),
            quota: Gauge::default(),
            models: Gauges1::default(),
            entries: Gauges1::default(),
            trouble: Gauges1::default(),
            started: Gauge::default(),
        };
        new.set(&Readings::default());
        registry.register(
            "peers",
            "Connected peers, by whether they are near and by what carries the connection",
            new.peers.clone(),
        );
        registry.register_with_unit(
            "store",
            "Bytes on the disk of the store",
            Unit::Bytes,
            new.store.clone(),
        );
        registry.register_with_unit(
            "store_quota",
            "Bytes that the store may hold, or +Inf where the disk alone bounds it",
            Unit::Bytes,
            new.quota.clone(),
        );
        registry.register(
            "models",
            "Models in the store, by what is proven of their replicas at other nodes",
            new.models.clone(),
        );
        registry.register(
            "catalogue_entries",
            "Entries of the catalogue, by whether all of their publisher is kept",
            new.entries.clone(),
        );
        registry.register(
            "trouble",
            "1 where a part of the node cannot be written or read as it should be, else 0",
            new.trouble.clone(),
        );
        registry.register_with_unit(
            "start_time",
            "When the node started, in seconds since 1970",
            Unit::Seconds,
            new.started.clone(),
        );
        new
    }

    /// Shows these readings in place of those before.
    pub(super) fn set(&self, readings: &Readings) {
        let Readings { peers, store, quota, models, entries, started, .. } = readings;
        for is_near in [true, false] {
            for transport in Transport::ALL {
                let way = PeerWay { is_near, transport };
                let count = peers.iter().filter(|it| **it == way).count();
                let near = if is_near { "true" } else { "false" };
                self.peers
                    .get_or_create(&[("near", near), ("transport", transport.name())])
                    .set(signed(count));
            }
        }
        let StoreBytes { kept, evictable, donated, partial, free } = *store;
        let kinds = [("kept", kept), ("evictable", evictable), ("donated", donated)];
        show(&self.store, "kind", &kinds);
        show(&self.store, "kind", &[("partial", partial), ("free", free)]);
        self.quota.set(quota.map_or(f64::INFINITY, |it| it as f64));
        let ReplicaStates { endangered, scarce, enough, uncounted } = *models;
        let states =
            [("endangered", endangered), ("scarce", scarce), ("enough", enough), ("uncounted", uncounted)];
        show(&self.models, "replica_state", &states);
        show(&self.entries, "trust", &[("kept", entries.0), ("stranger", entries.1)]);
        let trouble = [
            ("index", u64::from(readings.index_in_trouble)),
            ("catalogue", u64::from(readings.catalogue_in_trouble)),
        ];
        show(&self.trouble, "part", &trouble);
        self.started.set(signed(*started));
    }
}

fn show(gauges: &Gauges1, label: &'static str, values: &[(&'static str, u64)]) {
    for (name, value) in values {
        gauges.get_or_create(&[(label, name)]).set(signed(*value));
    }
}

fn signed(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
