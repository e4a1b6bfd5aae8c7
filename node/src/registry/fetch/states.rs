//! Finds the piece states of the blobs of a download: in the store, else from a peer that holds the blobs.
//!
//! The provenance names each list of states by its digest, so any peer may send it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::BlobLayout;
use reg_proto::states::PieceStates;
use reg_proto::wire::Frame;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::Fetching;
use super::error::BeginError;
use crate::net::OpenStreamError;
use crate::registry::deadline::until;
use crate::registry::limits::{DISPUTE_TIMEOUT, FIND_TIMEOUT};
use crate::registry::resolve::Resolved;
use crate::store::Partial;

impl Fetching {
    /// Returns the states of every blob in `missing`. Adds the peers that it finds to the holders in `resolved`.
    ///
    /// # Errors
    /// No peer sends the states of a blob within `FIND_TIMEOUT`.
    pub async fn states_of(
        &self,
        missing: &BTreeMap<Digest, BlobLayout>,
        resolved: &mut Resolved,
        reporter: &Reporter,
    ) -> Result<BTreeMap<Digest, PieceStates>, BeginError> {
        let mut found = BTreeMap::new();
        let mut lacking = BTreeMap::new();
        for (blob, layout) in missing {
            let named = resolved.provenance.states.get(blob).filter(|_| layout.piece_count() > 1);
            let sent = |named: &Digest| PieceStates::parse(*layout, resolved.states.get(named)?).ok();
            let states = match named {
                Some(named) => self.states_here(blob, named).or_else(|| sent(named)),
                None => PieceStates::parse(*layout, &[]).ok(),
            };
            match states {
                Some(states) => drop(found.insert(*blob, states)),
                None => drop(lacking.insert(*blob, *layout)),
            }
        }
        let end = Instant::now() + FIND_TIMEOUT;
        let mut untried: VecDeque<PeerId> = resolved.holders.clone().into();
        let (mut tried, mut behind_nat) = (BTreeSet::new(), 0);
        while let Some(blob) = lacking.keys().next().copied() {
            let peer = match (untried.pop_front(), &mut resolved.finder) {
                (Some(peer), _) => Some(peer),
                (None, Some(finder)) => until(end, finder.next()).await.flatten(),
                (None, None) => None,
            };
            let Some(peer) = peer else {
                return Err(match behind_nat {
                    0 => BeginError::States { blob },
                    peers => BeginError::BehindNat { peers },
                });
            };
            if tried.insert(peer) && !self.resolver.bans.is_banned(&peer) {
                let named = &resolved.provenance.states;
                if let Err(error) = self.ask_states(peer, named, &mut lacking, &mut found).await {
                    debug!(%peer, %error, "no states from a peer");
                    if matches!(error, OpenStreamError::BehindNat) {
                        behind_nat += 1;
                        reporter.note(format_args!("{peer} is not pulled from: {error}"));
                    }
                }
                if !resolved.holders.contains(&peer) {
                    resolved.holders.push(peer);
                }
            }
        }
        Ok(found)
    }

    /// Returns the list with the digest `named` from a partial blob in the store, if there is one.
    pub fn states_here(&self, blob: &Digest, named: &Digest) -> Option<PieceStates> {
        let partials = self.store.open_partial(blob);
        partials.iter().map(Partial::states).find(|states| states.digest() == *named).cloned()
    }

    /// Asks one peer for all lists that are lacking, and moves those that it sends from `lacking` to `found`. `named` are the
    /// digests that were signed.
    ///
    /// # Errors
    /// No stream to the peer can be opened.
    pub async fn ask_states(
        &self,
        peer: PeerId,
        named: &BTreeMap<Digest, Digest>,
        lacking: &mut BTreeMap<Digest, BlobLayout>,
        found: &mut BTreeMap<Digest, PieceStates>,
    ) -> Result<(), OpenStreamError> {
        let (mut reader, mut writer) = self.network.open_stream(peer).await?;
        for (blob, layout) in lacking.clone() {
            reader.set_states_max(PieceStates::byte_len(layout));
            if writer.send(&Frame::GetStates { blob }).await.is_err() {
                return Ok(());
            }
            let bytes = match timeout(DISPUTE_TIMEOUT, reader.next()).await {
                Ok(Ok(Some(Frame::States { blob: of, bytes }))) if of == blob => bytes,
                Ok(Ok(Some(Frame::NoStates { .. }))) => continue,
                answer => {
                    debug!(%peer, %blob, ?answer, "a peer did not send the states it was asked for");
                    return Ok(());
                }
            };
            if named.get(&blob) != Some(&Digest::of(&bytes)) {
                debug!(%peer, %blob, "a peer sent other states than those that were signed");
                continue;
            }
            if let Ok(states) = PieceStates::parse(layout, &bytes) {
                lacking.remove(&blob);
                found.insert(blob, states);
            }
        }
        Ok(())
    }
}
