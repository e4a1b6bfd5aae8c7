//! [`Events`]: the counters and histograms that grow with each event.
//!
//! Every series exists from the start, with 0, so that the first event shows in a rate. The series of statuses are the exception:
//! they appear with the first answer of each.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use reg_api::fault::FaultKind;
use reg_commons::Answer;

use super::labels::{self, ANSWERS, Begun, Dialect, One, Place, REFUSALS, Source, Two, Unwanted};

/// Bounds in seconds of pulls: from a few small files near by to 100 GB over a slow line.
const PULL_BOUNDS: [f64; 12] =
    [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0];
/// Bounds in seconds of answers and first bytes: from a look into memory to the patience of a reader.
const WAIT_BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

type Counters = Family<One, Counter>;
type Histograms = Family<One, Histogram, fn() -> Histogram>;

/// What is counted. It has 14 fields, because each metric is one.
pub(super) struct Events {
    pieces_verified: Counters,
    received: Counters,
    pieces_rejected: Counters,
    sent: Counters,
    sent_first: Counter,
    refused: Counters,
    audits: Counters,
    audited: Counter,
    pulls_started: Counter,
    pulls_finished: Counters,
    pull_seconds: Histogram,
    first_bytes: Histograms,
    answered: Family<Two, Counter>,
    answer_seconds: Histograms,
}

impl Events {
    /// Makes all of them, and names them in `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let waits = || Histograms::new_with_constructor(|| Histogram::new(WAIT_BOUNDS));
        let new = Self {
            pieces_verified: Counters::default(),
            received: Counters::default(),
            pieces_rejected: Counters::default(),
            sent: Counters::default(),
            sent_first: Counter::default(),
            refused: Counters::default(),
            audits: Counters::default(),
            audited: Counter::default(),
            pulls_started: Counter::default(),
            pulls_finished: Counters::default(),
            pull_seconds: Histogram::new(PULL_BOUNDS),
            first_bytes: waits(),
            answered: Family::default(),
            answer_seconds: waits(),
        };
        new.begin();
        new.name_transfers(registry);
        new.name_pulls_and_answers(registry);
        new
    }

    /// Makes every series.
    fn begin(&self) {
        let make = |family: &Counters, label: One| drop(family.get_or_create_owned(&label));
        for source in Source::ALL {
            make(&self.pieces_verified, source.label());
            if source != Source::Reuse {
                make(&self.received, source.label());
            }
        }
        Unwanted::ALL.iter().for_each(|it| make(&self.pieces_rejected, it.label()));
        Place::ALL.iter().for_each(|it| make(&self.sent, it.label()));
        REFUSALS.iter().for_each(|it| make(&self.refused, *it));
        ANSWERS.iter().for_each(|it| make(&self.audits, labels::audit(*it)));
        [labels::DONE, labels::CANCELLED].iter().for_each(|it| make(&self.pulls_finished, *it));
        FaultKind::ALL.iter().for_each(|it| make(&self.pulls_finished, labels::failed(*it)));
        Begun::ALL.iter().for_each(|it| drop(self.first_bytes.get_or_create_owned(&it.label())));
        for dialect in Dialect::ALL {
            drop(self.answered.get_or_create_owned(&dialect.with(200)));
            drop(self.answer_seconds.get_or_create_owned(&dialect.label()));
        }
    }

    fn name_transfers(&self, to: &mut Registry) {
        to.register(
            "pieces_verified",
            "Pieces that were verified and stored, by what they came from",
            self.pieces_verified.clone(),
        );
        to.register_with_unit(
            "received",
            "Bytes of verified pieces that came over the network, by what they came from",
            Unit::Bytes,
            self.received.clone(),
        );
        to.register("pieces_rejected", "Pieces that came and were not kept", self.pieces_rejected.clone());
        to.register_with_unit(
            "sent",
            "Bytes of pieces that were sent to peers, by where the peers are",
            Unit::Bytes,
            self.sent.clone(),
        );
        to.register_with_unit(
            "sent_first",
            "Bytes of pieces that this node sent for the first time",
            Unit::Bytes,
            self.sent_first.clone(),
        );
        to.register(
            "requests_refused",
            "Requests and streams of peers that were refused",
            self.refused.clone(),
        );
        to.register(
            "audits",
            "Pieces that were asked for to audit copies at peers, by what came of it",
            self.audits.clone(),
        );
        to.register_with_unit(
            "audited",
            "Bytes that audits of copies at peers have fetched",
            Unit::Bytes,
            self.audited.clone(),
        );
    }

    fn name_pulls_and_answers(&self, to: &mut Registry) {
        to.register("pulls_started", "Pulls that have begun", self.pulls_started.clone());
        to.register("pulls_finished", "Pulls that have ended, by how", self.pulls_finished.clone());
        to.register_with_unit(
            "pull",
            "How long pulls took that have brought their model",
            Unit::Seconds,
            self.pull_seconds.clone(),
        );
        to.register_with_unit(
            "first_byte",
            "How long readers of gateways waited for their first verified bytes, by where the file was",
            Unit::Seconds,
            self.first_bytes.clone(),
        );
        to.register(
            "http_requests",
            "Requests that the gateways have answered, by dialect and status",
            self.answered.clone(),
        );
        to.register_with_unit(
            "http_request",
            "How long the gateways took until an answer began, by dialect",
            Unit::Seconds,
            self.answer_seconds.clone(),
        );
    }

    pub(super) fn verified(&self, source: Source, pieces: u64, bytes: u64) {
        self.pieces_verified.get_or_create(&source.label()).inc_by(pieces);
        if source != Source::Reuse {
            self.received.get_or_create(&source.label()).inc_by(bytes);
        }
    }

    pub(super) fn received(&self, sources: &[Source]) -> u64 {
        sources.iter().map(|it| self.received.get_or_create(&it.label()).get()).sum()
    }

    pub(super) fn rejected(&self, why: Unwanted) {
        self.pieces_rejected.get_or_create(&why.label()).inc();
    }

    pub(super) fn sent(&self, place: Place, bytes: u64, is_first: bool) {
        self.sent.get_or_create(&place.label()).inc_by(bytes);
        if is_first {
            self.sent_first.inc_by(bytes);
        }
    }

    pub(super) fn all_sent(&self) -> u64 {
        Place::ALL.iter().map(|it| self.sent.get_or_create(&it.label()).get()).sum()
    }

    pub(super) fn all_sent_first(&self) -> u64 {
        self.sent_first.get()
    }

    pub(super) fn refused(&self, why: One) {
        self.refused.get_or_create(&why).inc();
    }

    pub(super) fn audited(&self, answer: Answer, bytes: u64) {
        self.audits.get_or_create(&labels::audit(answer)).inc();
        self.audited.inc_by(bytes);
    }

    pub(super) fn audited_bytes(&self) -> u64 {
        self.audited.get()
    }

    pub(super) fn pull_begins(&self) {
        self.pulls_started.inc();
    }

    /// Counts the end of a pull; `after` is how long it took, where it has brought its model.
    pub(super) fn pull_ends(&self, outcome: One, after: Option<Duration>) {
        self.pulls_finished.get_or_create(&outcome).inc();
        if let Some(after) = after {
            self.pull_seconds.observe(after.as_secs_f64());
        }
    }

    pub(super) fn first_bytes(&self, from: Begun, after: Duration) {
        self.first_bytes.get_or_create(&from.label()).observe(after.as_secs_f64());
    }

    pub(super) fn answered(&self, dialect: Dialect, status: u16, after: Duration) {
        self.answered.get_or_create(&dialect.with(status)).inc();
        self.answer_seconds.get_or_create(&dialect.label()).observe(after.as_secs_f64());
    }
}
