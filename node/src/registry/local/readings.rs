//! Reads for monitoring what changes without an event: peers, the disk, the models, the catalogue.
//!
//! Promise: however often a client asks, reading takes a bounded share of one core, because the same readings are given again for
//! [`REST`] times as long as they took to read. On a node with few models that is some milliseconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CatalogueError, Local};
use crate::metrics::{Format, PeerWay, Readings, ReplicaStates, StoreBytes, Transport};
use crate::store::Shares;

/// How many times as long as reading took no other reading begins: reading then takes at most a twentieth of the time.
const REST: u32 = 20;
/// The longest rest: after a disk that stood still for a while, the readings are soon of now again.
const REST_MAX: Duration = Duration::from_secs(60);

/// The last readings. Held while others are read, so that one client reads for all.
#[derive(Debug, Default)]
pub(super) struct LastReadings(Arc<tokio::sync::Mutex<Option<(Instant, Readings)>>>);

impl Local {
    /// Returns all metrics in a format.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn metrics(self: &Arc<Self>, format: Format) -> Result<String, CatalogueError> {
        let mut last = self.readings.0.clone().lock_owned().await;
        let is_due = last.as_ref().is_none_or(|(again, _)| Instant::now() >= *again);
        let readings = if is_due {
            let local = self.clone();
            // A task of its own: where a client goes away, the next one waits for this reading and begins none beside it.
            let reading = tokio::spawn(async move {
                let begun = Instant::now();
                let readings = local.read().await?;
                *last = Some((Instant::now() + (begun.elapsed() * REST).min(REST_MAX), readings.clone()));
                Ok::<_, CatalogueError>(readings)
            });
            reading.await??
        } else {
            last.as_ref().map(|(_, readings)| readings.clone()).unwrap_or_default()
        };
        Ok(self.fetching.metrics.write(format, &readings))
    }

    async fn read(self: &Arc<Self>) -> Result<Readings, CatalogueError> {
        let peers = self.peer_ways().await;
        self.on_blocking_thread(move |local| {
            let Shares { kept, evictable, donated, partial } = local.store.shares()?;
            let free = local.store.free_space().unwrap_or(0);
            let (kept_entries, strangers) = local.catalogue.counts();
            Ok(Readings {
                peers,
                store: StoreBytes { kept, evictable, donated, partial, free },
                quota: local.store.max_size(),
                models: local.replica_states()?,
                entries: (kept_entries as u64, strangers as u64),
                index_in_trouble: local.store.index_trouble().is_some(),
                catalogue_in_trouble: local.catalogue.trouble().is_some(),
                started: local.started,
            })
        })
        .await
    }

    async fn peer_ways(&self) -> Vec<PeerWay> {
        let foreign = self.network.foreign().await;
        let peers = self.network.peers().await.into_iter();
        let own = peers.filter(|it| !it.outdated && !foreign.contains(&it.peer));
        let ways = own.map(|info| PeerWay {
            is_near: self.fetching.are_in_zone(&info.addresses),
            transport: match info.transport.as_deref() {
                Some("quic") => Transport::Quic,
                Some("relay") => Transport::Relay,
                _ => Transport::Tcp,
            },
        });
        ways.collect()
    }

    fn replica_states(&self) -> Result<ReplicaStates, CatalogueError> {
        let mut states = self.health.states();
        let counted = states.endangered + states.scarce + states.enough;
        states.uncounted = (self.count()? as u64).saturating_sub(counted);
        Ok(states)
    }
}
