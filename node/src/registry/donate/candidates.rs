//! Chooses the models elsewhere of which replicas are counted, and learns what verifies their pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reg_api::clock;
use reg_api::donate::{DonateAction, DonateScope, DonateSettings};
use reg_api::fault::chain;
use reg_api::follow::Followed;
use reg_commons::{Chance, Refusal, Standing};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference};
use reg_proto::states::PieceStates;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::Donating;
use super::known::{CANDIDATES_MAX, DONATIONS_MAX, Known, Looked, Part, Refused};
use super::words::verdict;
use crate::registry::health::Candidate;
use crate::registry::model::record::ModelRecord;
use crate::registry::pull::{Probed, PullError};
use crate::registry::resolve::ResolveError;
use crate::store::DocumentKind;

/// Models that are looked at in one round. Each costs what `reg info` of an absent model does.
const LOOKS_PER_ROUND: usize = 16;
/// Looks under way at once.
const LOOKS_AT_ONCE: usize = 2;
/// How long a look may take: a search, and states of some megabytes over a slow line.
const LOOK_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a look counts: the rules, the denylists and the peers that offer a model change.
const LOOK_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// How long the next look waits after one that failed; twice as long after the next, and so on.
const LOOK_RETRY: u64 = 600;
/// Failed looks after which a candidate makes room for another one.
const LOOKS_FAILED_MAX: u32 = 4;
/// Bytes of piece states of all candidates together: two million pieces, of 2 TB of models. Of more, fewer blobs are asked for.
const STATES_BYTES_MAX: usize = 64 << 20;

/// The publishers that the user knows.
pub(super) struct Users {
    followed: BTreeSet<PublisherId>,
    named: BTreeSet<PublisherId>,
    known: BTreeSet<PublisherId>,
}

impl Users {
    pub(super) fn standing(&self, publisher: &PublisherId, is_asked_for: bool) -> Standing {
        if self.followed.contains(publisher) {
            Standing::Followed
        } else if self.named.contains(publisher) {
            Standing::Named
        } else if self.known.contains(publisher) || is_asked_for {
            Standing::Collected
        } else {
            Standing::Stranger
        }
    }
}

/// Tells whether a scope that names models has this one.
pub(super) fn asks_for(scope: &DonateScope, publisher: PublisherId, model: &ModelName) -> bool {
    let DonateScope::Models(Followed { publisher: of, models }) = scope else { return false };
    *of == Publisher::Id(publisher) && models.covers(model)
}

/// Tells whether a model of this publisher may be a candidate.
pub(super) fn is_in_scope(
    scope: &DonateScope,
    users: &Users,
    publisher: PublisherId,
    model: &ModelName,
) -> bool {
    match scope {
        DonateScope::Everything => true,
        DonateScope::Models(_) => asks_for(scope, publisher, model),
        DonateScope::Named => users.standing(&publisher, false) != Standing::Stranger,
    }
}

impl Donating {
    pub(super) fn users(&self) -> Users {
        let keys = self.puller.store.document_keys(DocumentKind::Follow, "").unwrap_or_default();
        let named = self.puller.trust.file.names().unwrap_or_default();
        Users {
            followed: keys.iter().filter_map(|key| key.split('/').next()?.parse().ok()).collect(),
            named: named.petnames.into_values().chain(named.domains.into_values()).collect(),
            known: self.catalogue.known(),
        }
    }

    /// Lets candidates go that are no longer in the scope, and chooses others for free places. Blocks.
    pub(super) fn choose(&self, settings: &DonateSettings, chance: &mut Chance) {
        let users = self.users();
        let mut state = self.state();
        let out: Vec<Digest> = state
            .of(Part::Candidate)
            .filter(|(_, it)| !is_in_scope(&settings.scope, &users, it.publisher, &it.model))
            .map(|(manifest, _)| *manifest)
            .collect();
        for manifest in out {
            state.models.remove(&manifest);
        }
        let donations = state.of(Part::Donation).count();
        let free = CANDIDATES_MAX
            .saturating_sub(state.of(Part::Candidate).count())
            .min(DONATIONS_MAX.saturating_sub(donations));
        let known: BTreeSet<Digest> = state.models.keys().copied().collect();
        // The catalogue is searched without this lock.
        drop(state);
        let publishers = match &settings.scope {
            DonateScope::Named => Some(users.known.clone()),
            DonateScope::Models(Followed { publisher: Publisher::Id(id), .. }) => Some([*id].into()),
            DonateScope::Models(_) => Some(BTreeSet::new()),
            DonateScope::Everything => None,
        };
        let (sharing, store) = (&self.puller.trust.sharing, &self.puller.store);
        let is_wanted = |head: &reg_catalogue::EntryHead| {
            !known.contains(&head.manifest)
                && is_in_scope(&settings.scope, &users, head.publisher, &head.model)
                && sharing.takes(&head.publisher)
                && sharing.gives(&head.publisher, &head.model)
                && ModelRecord::of_manifest(store, &head.manifest).is_empty()
        };
        let heads =
            self.catalogue.some_heads(publishers.as_ref(), free, &is_wanted, &mut |end| chance.below(end));
        let mut state = self.state();
        for head in heads {
            let bytes = head.bytes.unwrap_or(0);
            let new = Known::new(head.publisher, head.model, Some(head.tag), bytes, Part::Candidate);
            state.models.entry(head.manifest).or_insert(new);
        }
    }

    /// Looks at candidates of which nothing is known yet, or not lately, and has replicas counted of all of them.
    pub(super) async fn look(self: &Arc<Self>) {
        let due = self.on_blocking_thread(|donating| donating.due_looks()).await.unwrap_or_default();
        let (mut due, mut looks) = (due.into_iter(), JoinSet::new());
        loop {
            while looks.len() < LOOKS_AT_ONCE
                && let Some(manifest) = due.next()
            {
                looks.spawn(Box::pin(self.clone().look_at(manifest)));
            }
            if looks.join_next().await.is_none() {
                break;
            }
        }
        self.count_candidates();
    }

    /// Says which models have replicas counted that were counted before the node started.
    pub async fn remind(self: &Arc<Self>) {
        drop(self.on_blocking_thread(|donating| donating.count_candidates()).await);
    }

    /// Has replicas counted of the candidates, and of the donations that are not whole here.
    fn count_candidates(&self) {
        let looked = |(manifest, known): (&Digest, &Known)| {
            Some((*manifest, known.looked.as_ref()?.candidate.clone()))
        };
        let (counted, waiting) = {
            let state = self.state();
            let meant = || state.models.iter().filter(|(_, it)| it.part != Part::Past);
            let counted: BTreeMap<Digest, Arc<Candidate>> = meant().filter_map(looked).collect();
            (counted, meant().map(|(manifest, _)| *manifest).collect())
        };
        self.health.set_candidates(counted, waiting);
    }

    fn due_looks(&self) -> Vec<Digest> {
        let now = clock::now();
        let is_due = |known: &Known| {
            let is_old = known.looked.as_ref().is_none_or(|it| it.at.elapsed() >= LOOK_AGAIN);
            known.part == Part::Candidate && is_old && known.next_try <= now
        };
        let state = self.state();
        let mut due: Vec<(Option<Instant>, Digest)> = state
            .models
            .iter()
            .filter(|(_, known)| is_due(known))
            .map(|(manifest, known)| (known.looked.as_ref().map(|it| it.at), *manifest))
            .collect();
        due.sort_unstable();
        due.into_iter().take(LOOKS_PER_ROUND).map(|(_, manifest)| manifest).collect()
    }

    /// Looks at one candidate, and notes what was found.
    async fn look_at(self: Arc<Self>, manifest: Digest) {
        let denied = self.on_blocking_thread(move |donating| donating.denied(&manifest)).await;
        let (known, states) = {
            let state = self.state();
            let Some(known) = state.models.get(&manifest).cloned() else { return };
            let others = state.models.iter().filter(|(it, _)| **it != manifest);
            let bytes = |it: &Known| it.looked.as_ref().map_or(0, |it| it.candidate.states_bytes());
            (known, others.map(|(_, it)| bytes(it)).sum::<usize>())
        };
        if let Ok(Some(why)) = denied {
            return self.refuse(&manifest, Refused { by: Refusal::Denylist, why });
        }
        let states_max = STATES_BYTES_MAX.saturating_sub(states);
        let found = timeout(LOOK_TIMEOUT, self.probe(&known, manifest, states_max)).await;
        match found {
            Ok(Ok(probed)) if probed.manifest == manifest => self.looked(&known, probed),
            Ok(Ok(_)) => self.not_found(&manifest, "its tag means another version now"),
            Ok(Err(error)) => self.not_found(&manifest, &chain(&error)),
            Err(_) => self.not_found(&manifest, "looking at it takes too long"),
        }
    }

    /// Looks at a model by its tag, so that peers learn where it is by its name, or by its manifest alone once the tag means another.
    async fn probe(&self, known: &Known, manifest: Digest, states_max: usize) -> Result<Probed, PullError> {
        let by_digest = known.reference(manifest);
        let by_tag = Reference { tag: known.tag.clone(), ..by_digest.clone() };
        match Box::pin(self.puller.probe(by_tag, states_max)).await {
            Err(PullError::Resolve(ResolveError::TagMoved { .. })) => {
                Box::pin(self.puller.probe(by_digest, states_max)).await
            }
            probed => probed,
        }
    }

    fn looked(&self, known: &Known, probed: Probed) {
        let Probed { manifest, bytes, blobs, states, refused, is_offered } = probed;
        if let Some((by, why)) = refused {
            return self.refuse(&manifest, Refused { by, why });
        }
        let states: BTreeMap<Digest, PieceStates> = states;
        let (publisher, model) = (known.publisher, known.model.clone());
        let candidate = Arc::new(Candidate { publisher, model, blobs, states });
        let now = self.health.now();
        if let Some(known) = self.state().models.get_mut(&manifest) {
            (known.bytes, known.failures) = (bytes, 0);
            known.counted_since.get_or_insert(now);
            known.looked = Some(Looked { at: Instant::now(), is_offered, candidate });
        }
    }

    /// Remembers that a model is refused, and by what.
    pub(super) fn refuse(&self, manifest: &Digest, refused: Refused) {
        let (now, at, pace) = (self.health.now(), clock::now(), self.health.pace());
        let reason = reg_commons::Reason::Refused(refused.by);
        let action = reg_commons::Action::Leave;
        let said = super::words::in_words(action, reason, Some(&refused.why), now, pace, at);
        debug!(%manifest, reason = said.reason, "a model is not kept for others");
        if let Some(known) = self.state().models.get_mut(manifest) {
            let why = said.reason.clone();
            known.refused = Some(Refused { why, ..refused });
            known.let_go(said);
        }
    }

    fn not_found(&self, manifest: &Digest, why: &str) {
        debug!(%manifest, why, "a candidate cannot be looked at");
        let now = clock::now();
        if let Some(known) = self.state().models.get_mut(manifest) {
            known.failures = known.failures.saturating_add(1);
            known.next_try = now + LOOK_RETRY * (1 << known.failures.min(LOOKS_FAILED_MAX));
            let said = verdict(DonateAction::Leave, "not-found", why, Some(now));
            if known.failures >= LOOKS_FAILED_MAX {
                known.let_go(said);
            } else {
                known.verdict = Some(said);
                if let Some(looked) = &mut known.looked {
                    looked.is_offered = false;
                }
            }
        }
    }

    /// Returns why a denylist refuses a model, by its name or manifest. Blocks.
    fn denied(&self, manifest: &Digest) -> Option<String> {
        let publisher = self.state().models.get(manifest)?.publisher;
        let trust = self.puller.trust.file.load().ok()?;
        let denials = self.puller.trust.denials(&trust);
        let (denied, denial) = denials.of_model(publisher, manifest, [])?;
        Some(format!("{denied} is on {}: {}", denial.list, denial.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_what_it_names_and_nothing_else() {
        let [followed, named, stranger] = [1, 2, 3].map(|byte| PublisherId::from_bytes([byte; 32]));
        let users = Users { followed: [followed].into(), named: [named].into(), known: BTreeSet::new() };
        let models = |of: PublisherId, models: &str| {
            DonateScope::Models(Followed { publisher: Publisher::Id(of), models: models.parse().unwrap() })
        };
        for (scope, expected) in [
            (DonateScope::Named, [true, true, true, true, false]),
            (models(named, "llama-*"), [false, false, true, false, false]),
            (models(stranger, "*"), [false, false, false, false, true]),
            (DonateScope::Everything, [true; 5]),
        ] {
            let has = |(publisher, model): (PublisherId, &str)| {
                is_in_scope(&scope, &users, publisher, &model.parse().unwrap())
            };
            let all = [
                (followed, "llama-8b"),
                (followed, "qwen"),
                (named, "Llama-8b"),
                (named, "qwen"),
                (stranger, "llama-8b"),
            ];
            assert_eq!(all.map(has), expected, "{scope:?}");
        }
    }
}
