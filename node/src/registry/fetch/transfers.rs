//! [`Transfer`]: a pull that runs, or what clients of gateways read, with the facts of all downloads that serve it.

use std::collections::BTreeMap;

use reg_api::transfer::{PiecesReport, Source, SourceBytes, TransferFacts};
use reg_proto::digest::Digest;

use super::Fetching;
use super::demand::{Part, Sources};
use super::priorities::Registered;

/// Transfers of one report, the oldest first: more than a list on a page shows.
const TRANSFERS_MAX: usize = 100;
/// Sources of one transfer in a report: those with most bytes.
const SOURCES_SHOWN_MAX: usize = 32;

/// A pull that runs, or what clients of gateways read.
#[derive(Debug, Clone)]
pub struct Transfer {
    pub registered: Registered,
    pub facts: TransferFacts,
    /// The source with most bytes first.
    pub sources: Vec<SourceBytes>,
    pub more_sources: usize,
}

impl Fetching {
    /// Returns the transfers that run, the oldest first.
    pub fn transfers(&self) -> Vec<Transfer> {
        let mut parts: BTreeMap<u64, Vec<Part>> = BTreeMap::new();
        for (id, part) in self.downloads.all().iter().flat_map(|demand| demand.parts()) {
            parts.entry(id).or_default().push(part);
        }
        let node_paused = self.priorities.is_all_paused();
        let each = self.priorities.registered().into_iter().take(TRANSFERS_MAX).map(|registered| {
            let parts = parts.remove(&registered.id).unwrap_or_default();
            self.transfer(registered, &parts, node_paused)
        });
        each.collect()
    }

    fn transfer(&self, registered: Registered, parts: &[Part], node_paused: bool) -> Transfer {
        let mut sources = Sources::default();
        parts.iter().for_each(|it| sources.add(it.sources.clone()));
        let limits = parts.iter().filter_map(|it| it.limit.far).chain(self.limits().down);
        let facts = TransferFacts {
            paused: registered.is_paused,
            node_paused,
            waits: registered.waits,
            done: parts.iter().map(|it| it.done).sum(),
            total: parts.iter().map(|it| it.total).sum(),
            rate: parts.iter().map(|it| it.measured.rate).sum(),
            limit: limits.min(),
            connected: parts.iter().map(|it| it.connected).max().unwrap_or(0),
            is_held: parts.iter().any(|it| it.is_held),
            behind_nat: parts.iter().map(|it| it.behind_nat).max().unwrap_or(0),
            // A part that gets bytes is what the transfer waits for.
            quiet: parts.iter().map(|it| it.quiet).min().unwrap_or_default(),
            verifying: parts.iter().map(|it| it.measured.verifying).max().unwrap_or(0),
            writing: parts.iter().map(|it| it.measured.writing).max().unwrap_or(0),
        };
        let peers = sources.peers.into_iter().map(|(peer, bytes)| (Source::Peer(peer), bytes));
        let web = sources.web.into_iter().map(|(seed, bytes)| (Source::Web(seed), bytes));
        let mut sources: Vec<SourceBytes> =
            peers.chain(web).map(|(source, bytes)| SourceBytes { source, bytes }).collect();
        sources.sort_by_key(|it| std::cmp::Reverse(it.bytes));
        let more_sources = sources.len().saturating_sub(SOURCES_SHOWN_MAX);
        sources.truncate(SOURCES_SHOWN_MAX);
        Transfer { registered, facts, sources, more_sources }
    }

    /// Returns which pieces of a model that is being fetched are stored, and from which source; `None` where it is not.
    pub fn pieces(&self, manifest: &Digest) -> Option<PiecesReport> {
        self.downloads.of_model(manifest).map(|demand| demand.pieces())
    }
}
