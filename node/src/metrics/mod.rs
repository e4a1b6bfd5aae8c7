//! [`Metrics`]: every counter of a node, and the figures that are read when a monitoring system asks, for Prometheus.
//!
//! In: events that the rooms of the registry and the gateways count, and [`Readings`]. Out: text in one of two formats. Promise: each
//! event is counted here and nowhere else, so that `reg status` and a scrape agree. Every label has few values that are named in this
//! module: no peer, no model and no path is one. So the number of series does not grow with what a node holds or meets.
//!
//! This is the only code that names the crate `prometheus_client`.

mod events;
mod format;
mod labels;
mod pulls;
mod readings;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;
use reg_commons::Answer;
use reg_proto::wire::Rejection;

use self::events::Events;
pub use self::format::Format;
pub use self::labels::{Begun, Dialect, Place, Source, Unwanted};
pub use self::pulls::{PullCount, PullEnd};
use self::readings::Gauges;
pub use self::readings::{PeerWay, Readings, ReplicaStates, StoreBytes, Transport};

/// The counters of a node. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Counted>);

struct Counted {
    events: Events,
    gauges: Gauges,
    /// All of them by their names.
    registry: Registry,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("reg");
        let (events, gauges) = (Events::register(&mut registry), Gauges::register(&mut registry));
        Self(Arc::new(Counted { events, gauges, registry }))
    }
}

impl Metrics {
    /// Counts a piece of `bytes` bytes that was verified and stored.
    pub fn piece_verified(&self, source: Source, bytes: u64) {
        self.pieces_verified(source, 1, bytes);
    }

    /// Counts pieces of `bytes` bytes together that were verified and stored.
    pub fn pieces_verified(&self, source: Source, pieces: u64, bytes: u64) {
        self.0.events.verified(source, pieces, bytes);
    }

    /// Returns the bytes of verified pieces that came from these sources.
    pub fn received(&self, sources: &[Source]) -> u64 {
        self.0.events.received(sources)
    }

    /// Counts a piece that came and is not kept.
    pub fn piece_rejected(&self, why: Unwanted) {
        self.0.events.rejected(why);
    }

    /// Counts bytes of a piece that was sent to a peer; `is_first` says whether this node sends that piece for the first time.
    pub fn sent(&self, place: Place, bytes: u64, is_first: bool) {
        self.0.events.sent(place, bytes, is_first);
    }

    /// Returns the bytes of pieces that were sent to all peers.
    pub fn all_sent(&self) -> u64 {
        self.0.events.all_sent()
    }

    /// Returns the bytes of pieces that were sent for the first time.
    pub fn all_sent_first(&self) -> u64 {
        self.0.events.all_sent_first()
    }

    /// Counts a request for pieces that was refused.
    pub fn request_refused(&self, why: &Rejection) {
        self.0.events.refused(labels::refusal(why));
    }

    /// Counts a stream that was refused because this node, or its peer, has too many.
    pub fn stream_refused(&self) {
        self.0.events.refused(labels::STREAMS);
    }

    /// Counts what came of asking for a piece to audit a copy, and the bytes that came.
    pub fn audited(&self, answer: Answer, bytes: u64) {
        self.0.events.audited(answer, bytes);
    }

    /// Returns the bytes that audits have fetched.
    pub fn audited_bytes(&self) -> u64 {
        self.0.events.audited_bytes()
    }

    /// Counts a pull that begins. What is returned counts its end, also where it is dropped.
    pub fn pull_begins(&self) -> PullCount {
        PullCount::begin(self.clone())
    }

    /// Records how long a reader of a gateway waited for its first verified bytes.
    pub fn first_bytes(&self, from: Begun, after: Duration) {
        self.0.events.first_bytes(from, after);
    }

    /// Counts a request of the gateways with the status of its answer, and how long the answer took to begin.
    pub fn answered(&self, dialect: Dialect, status: u16, after: Duration) {
        self.0.events.answered(dialect, status, after);
    }

    /// Writes everything that was counted, and these readings.
    pub fn write(&self, format: Format, readings: &Readings) -> String {
        let Counted { gauges, registry, .. } = &*self.0;
        gauges.set(readings);
        let mut written = String::new();
        let done = match format {
            Format::OpenMetrics => text::encode(&mut written, registry),
            Format::Text => prometheus_text::encode(&mut written, registry),
        };
        done.expect("a string takes everything");
        written
    }
}

#[cfg(test)]
mod tests;
