//! Finds the newest profile of a publisher: asks peers for its records, follows its keys, and keeps the highest number.

use std::collections::BTreeSet;
use std::sync::Arc;

use reg_api::reporter::Reporter;
use reg_proto::dht::DhtKey;
use reg_proto::domain::Domain;
use reg_proto::key::KeyHistory;
use reg_proto::limits::VERIFICATIONS_PER_ANSWER_MAX;
use reg_proto::name::PublisherId;
use reg_proto::peer::{Address, PeerId};
use reg_proto::profile::SignedProfile;
use reg_proto::verification::Budget;
use reg_proto::wire::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::debug;

use super::Resolver;
use super::finder::{Finder, Search, Step};
use super::heard_keys::{HeardKeys, Offered};
use super::introductions::ask_patiently;
use super::verified::VerifiedRecords;
use crate::net::Network;
use crate::registry::announce::News;
use crate::registry::limits::{ANSWERS_PATIENCE, FIND_TIMEOUT, PROFILE_ASKED_MAX, PROFILE_PATIENCE, QUIET};
use crate::registry::publishers::{TagsError, keys, profiles, revoked};

/// What peers have said of a publisher so far.
#[derive(Default)]
struct Heard {
    keys: HeardKeys,
    /// The envelopes that one answer's own keys have signed, at most one of each peer.
    profiles: Vec<SignedProfile>,
    /// How many peers knew the publisher.
    knew: usize,
}

/// Which publisher's profile is searched for, and where.
#[derive(Debug)]
pub struct ProfileSearch<'a> {
    pub publisher: PublisherId,
    /// The search stops soon after a profile was found that names this domain.
    pub wanted: Option<&'a Domain>,
    /// Peers to ask first.
    pub from: &'a [Address],
    /// Whether strangers are looked for, also where the configuration does not say so.
    pub public: bool,
}

/// What was found of a publisher. Keys that are not followed yet are kept by [`Resolver::follow_profile`] only.
#[derive(Debug)]
pub struct FoundProfile {
    /// The newest profile that counts by the keys.
    pub profile: Option<SignedProfile>,
    /// How many peers knew the publisher.
    pub knew: usize,
    keys: Option<KeyHistory>,
}

impl Resolver {
    /// Returns the newest profile of a publisher that this node or a peer in reach has. Of a publisher that is followed, its keys
    /// and its profile are kept.
    ///
    /// # Errors
    /// Two branches of the keys are known, so that one is a thief's; the keys part from those that are followed; or the store
    /// fails.
    pub async fn find_profile(
        self: &Arc<Self>,
        search: ProfileSearch<'_>,
        reporter: &Reporter,
    ) -> Result<FoundProfile, TagsError> {
        let (resolver, publisher) = (self.clone(), search.publisher);
        let keys = aside(move || HeardKeys::of_store(&resolver.store, publisher)).await?;
        let mut heard = Heard { keys, ..Heard::default() };
        if !self.network.is_offline() {
            self.hear_profiles(&search, reporter, &mut heard).await;
        }
        let resolver = self.clone();
        aside(move || resolver.judge_profiles(heard)).await
    }

    /// Returns the newest profile of a publisher, whichever domain it names. Strangers are asked only where the configuration says
    /// so.
    ///
    /// # Errors
    /// As [`Self::find_profile`].
    pub async fn profile_of(
        self: &Arc<Self>,
        publisher: PublisherId,
        reporter: &Reporter,
    ) -> Result<Option<SignedProfile>, TagsError> {
        let search = ProfileSearch { publisher, wanted: None, from: &[], public: false };
        Ok(self.find_profile(search, reporter).await?.profile)
    }

    /// Follows the keys of a publisher from now on, and keeps its profile.
    ///
    /// # Errors
    /// The keys part from those that are followed meanwhile, or the store fails.
    pub async fn follow_profile(self: &Arc<Self>, found: FoundProfile) -> Result<(), TagsError> {
        let resolver = self.clone();
        aside(move || resolver.keep_profile(&found)).await
    }

    /// Decides which keys and which profile count. Blocks.
    fn judge_profiles(&self, heard: Heard) -> Result<FoundProfile, TagsError> {
        let Heard { keys: HeardKeys { known, pinned, parted, .. }, profiles: offered, knew } = heard;
        if let Some(parted) = parted {
            return Err(TagsError::KeyPin(parted));
        }
        let Some(mut keys) = known else { return Ok(FoundProfile { profile: None, knew, keys: None }) };
        // Revocations heard before the node followed the publisher count too.
        revoked::revoke(&self.store, &mut keys)?;
        let mut profile = profiles::profile(&self.store, &keys)?;
        for text in offered.iter().map(SignedProfile::envelope) {
            let Ok(offered) = SignedProfile::verify(text, &keys) else { continue };
            if profile.as_ref().is_none_or(|known| offered.replaces(known)) {
                profile = Some(offered);
            }
        }
        let found = FoundProfile { profile, knew, keys: Some(keys) };
        if pinned.is_some() {
            self.keep_profile(&found)?;
        }
        Ok(found)
    }

    fn keep_profile(&self, found: &FoundProfile) -> Result<(), TagsError> {
        let Some(keys) = &found.keys else { return Ok(()) };
        keys::pin_keys(&self.store, keys)?;
        if let Some(profile) = &found.profile {
            profiles::keep(&self.store, keys, profile.envelope())?;
        }
        Ok(())
    }

    async fn hear_profiles(&self, search: &ProfileSearch<'_>, reporter: &Reporter, heard: &mut Heard) {
        let ProfileSearch { publisher, wanted, from, public } = *search;
        let heads = self.news.heads_of(publisher, None, None);
        let mut seen = BTreeSet::new();
        for head in heads.iter().filter(|head| seen.insert(head.keys.head())) {
            self.take_profile(heard, head.keys.as_ref().clone(), None, None);
        }
        let search = Search {
            from: from.to_vec(),
            keys: vec![DhtKey::publisher(&publisher)],
            hints: heads.into_iter().flat_map(|head| head.holders).map(|holder| (holder, None)).collect(),
            reporter: reporter.clone(),
            strangers: (public || self.network.meets_strangers()).then_some(publisher),
        };
        let (mut questions, mut asked) = (JoinSet::new(), 0);
        let patience = if search.strangers.is_some() { FIND_TIMEOUT } else { PROFILE_PATIENCE };
        let mut finder = Finder::start(&self.network, search);
        let mut end = Instant::now() + patience;
        let mut last_news = Instant::now();
        loop {
            let is_waiting = !questions.is_empty() || finder.is_searching() || finder.is_dialling();
            let quiet = if is_waiting { end } else { end.min(last_news + QUIET) };
            tokio::select! {
                step = finder.step(), if asked < PROFILE_ASKED_MAX => match step {
                    Some(Step::Peer(found)) => {
                        asked += 1;
                        last_news = Instant::now();
                        questions.spawn(ask(self.network.clone(), self.news.clone(), publisher, found.peer));
                    }
                    Some(Step::Answered) => last_news = Instant::now(),
                    None => break,
                },
                Some(answer) = questions.join_next() => {
                    last_news = Instant::now();
                    if let Ok(Some(Told { keys, branch, profile })) = answer {
                        heard.knew += 1;
                        self.take_profile(heard, keys, branch, profile);
                        finder.settle();
                    }
                    if heard.names(wanted) {
                        end = end.min(Instant::now() + ANSWERS_PATIENCE);
                    }
                }
                () = tokio::time::sleep_until(quiet) => break,
            }
        }
    }

    /// Takes the keys and the profile of one answer. Branches that part are kept as evidence.
    fn take_profile(
        &self,
        heard: &mut Heard,
        keys: KeyHistory,
        branch: Option<KeyHistory>,
        profile: Option<SignedProfile>,
    ) {
        for offered in [keys].into_iter().chain(branch) {
            if let Offered::NotAccepted | Offered::Parted(_) = heard.keys.offer(offered.clone()) {
                debug!(publisher = %offered.publisher(), "a peer offered keys that part from those that are known");
                self.keep_branches(&heard.keys, &offered);
                return;
            }
        }
        heard.profiles.extend(profile);
    }
}

/// What one peer has said of a publisher.
struct Told {
    keys: KeyHistory,
    branch: Option<KeyHistory>,
    profile: Option<SignedProfile>,
}

/// Runs what blocks on a thread for it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Asks one peer. The answer is verified on a thread that answers no peer.
async fn ask(network: Network, news: Arc<News>, publisher: PublisherId, peer: PeerId) -> Option<Told> {
    let request = Request::GetRecords { publisher, model: None, tag: None, documents: None };
    let Ok(Response::Records(records)) = ask_patiently(&network, peer, request).await else { return None };
    let work = move |budget: &mut Budget| budget.run(|| VerifiedRecords::verify(publisher, &records)).ok();
    let verified = news.verifier().answer(peer, VERIFICATIONS_PER_ANSWER_MAX, work).await.ok().flatten()?;
    match verified.keys {
        Ok(keys) => Some(Told { keys, branch: verified.branch, profile: verified.profile }),
        Err(error) => {
            debug!(%peer, %error, "a peer offered keys that are not the publisher's");
            None
        }
    }
}

impl Heard {
    /// Tells whether the newest profile of the answers names a domain.
    fn names(&self, wanted: Option<&Domain>) -> bool {
        let newest = self.profiles.iter().max_by_key(|it| it.profile().order());
        newest.is_some_and(|it| wanted.is_none() || it.profile().domain.as_ref() == wanted)
    }
}
