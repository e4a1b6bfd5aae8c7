//! Looks at a model elsewhere as a donor does: proves it, judges it by the user's rules, and gets what verifies its pieces.

use std::collections::BTreeMap;
use std::sync::Arc;

use reg_api::check::CheckResult;
use reg_api::fault::{Fault as _, FaultKind, chain};
use reg_api::reporter::Reporter;
use reg_api::request::{Priority, PullRequest};
use reg_commons::Refusal;
use reg_proto::digest::Digest;
use reg_proto::name::Reference;
use reg_proto::piece::BlobLayout;
use reg_proto::states::PieceStates;

use super::Puller;
use super::error::PullError;
use crate::registry::model::describe::DescribeError;
use crate::registry::resolve::{PolicyError, RecordChoice};

/// What is known of a model before any of its weights is fetched.
#[derive(Debug)]
pub struct Probed {
    pub manifest: Digest,
    pub bytes: u64,
    /// Blobs of which pieces can be verified, the largest first; only as many as there is room for their states.
    pub blobs: Vec<(Digest, BlobLayout)>,
    pub states: BTreeMap<Digest, PieceStates>,
    pub refused: Option<(Refusal, String)>,
    /// Whether a peer is known that may hold it.
    pub is_offered: bool,
}

impl Puller {
    /// Resolves a model for a donor, and gets the states of its largest blobs, which take at most `states_max` bytes.
    ///
    /// # Errors
    /// The model cannot be resolved, or no peer sends its states: see [`PullError`].
    pub async fn probe(
        self: &Arc<Self>,
        reference: Reference,
        states_max: usize,
    ) -> Result<Probed, PullError> {
        let request = self.donors_request(reference);
        let silent = Reporter::silent();
        let (mut resolved, part) = self.find(&request, &RecordChoice::default(), &silent).await?;
        let checks = self.resolver.consent(&resolved).await?;
        let denied = checks.iter().find(|it| it.result == CheckResult::Deny);
        let mut refused = denied.map(|it| (refusing(&it.check), format!("{}: {}", it.check, it.detail)));
        if refused.is_none() {
            let consent = self.consent_of(&resolved, &request).await?;
            let judged = self.judge_early(&mut resolved, &part, &consent, &silent).await;
            refused = judged.err().and_then(|error| error.refusal());
        }
        let mut blobs: Vec<(Digest, BlobLayout)> = resolved.manifest.blobs().into_iter().collect();
        blobs.sort_by_key(|(digest, layout)| (std::cmp::Reverse(layout.size()), *digest));
        let mut left = states_max;
        blobs.retain(|(_, layout)| match PieceStates::byte_len(*layout) {
            bytes if bytes <= left => {
                left -= bytes;
                true
            }
            _ => false,
        });
        let mut states = BTreeMap::new();
        if refused.is_none() {
            let lacking = blobs.iter().filter(|(_, it)| it.piece_count() > 1).copied().collect();
            states = self.fetching.states_of(&lacking, &mut resolved, &silent).await?;
        }
        Ok(Probed {
            manifest: resolved.digest,
            bytes: resolved.manifest.total_bytes(),
            blobs,
            states,
            refused,
            is_offered: !resolved.holders.is_empty(),
        })
    }

    /// Returns the request by which a donor pulls a model: without consent to anything, behind every other pull.
    pub fn donors_request(&self, reference: Reference) -> PullRequest {
        PullRequest { priority: Priority::Low, for_others: true, ..PullRequest::into_cache(reference) }
    }
}

impl PullError {
    /// Returns what refuses the model, if that is why it was not pulled, with the reason in words.
    pub fn refusal(&self) -> Option<(Refusal, String)> {
        let by = match self {
            Self::Policy(PolicyError::Denied { check, .. }) => refusing(check),
            Self::Describe(error) if DescribeError::consent_missing(error).is_some() => Refusal::Consent,
            error if error.kind() == FaultKind::Denied => Refusal::Rule,
            _ => return None,
        };
        Some((by, chain(self)))
    }
}

fn refusing(check: &str) -> Refusal {
    if check == "denylists" { Refusal::Denylist } else { Refusal::Rule }
}
