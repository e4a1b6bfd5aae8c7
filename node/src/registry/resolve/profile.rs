//! Finds the newest profile of a publisher: asks peers for its records, follows its keys, and keeps the highest number.

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
use super::introductions::ask_patiently;
use super::verified::VerifiedRecords;
use crate::net::Network;
use crate::registry::announce::News;
use crate::registry::limits::{ANSWERS_PATIENCE, PROFILE_ASKED_MAX, PROFILE_PATIENCE, QUIET};
use crate::registry::publishers::key_pin::joined;
use crate::registry::publishers::{TagsError, keys, profiles};

/// What peers have said of a publisher so far.
#[derive(Default)]
struct Heard {
    keys: Option<KeyHistory>,
    /// The envelopes that one answer's own keys have signed, at most one of each peer.
    profiles: Vec<SignedProfile>,
    /// How many peers knew the publisher.
    knew: usize,
}

impl Resolver {
    /// Returns the newest profile of a publisher that this node or a peer in reach has, and how many peers knew the publisher.
    /// It stops soon after a profile was found that names `wanted`, and follows the publisher's keys from now on.
    ///
    /// # Errors
    /// The keys part from those that are followed, or the store fails.
    pub async fn find_profile(
        self: &Arc<Self>,
        publisher: PublisherId,
        wanted: Option<&Domain>,
        from: &[Address],
        reporter: &Reporter,
    ) -> Result<(Option<SignedProfile>, usize), TagsError> {
        let known = keys::keys(&self.store, publisher)?;
        let mut heard = Heard { keys: known, ..Heard::default() };
        if !self.network.is_offline() {
            self.hear_profiles(publisher, wanted, from, reporter, &mut heard).await;
        }
        let resolver = self.clone();
        let keep = move || {
            let Heard { keys, profiles: found, knew } = heard;
            let Some(keys) = keys else { return Ok((None, knew)) };
            keys::pin_keys(&resolver.store, &keys)?;
            for profile in &found {
                profiles::keep(&resolver.store, &keys, profile.envelope())?;
            }
            Ok((profiles::profile(&resolver.store, &keys)?, knew))
        };
        tokio::task::spawn_blocking(keep)
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn hear_profiles(
        &self,
        publisher: PublisherId,
        wanted: Option<&Domain>,
        from: &[Address],
        reporter: &Reporter,
        heard: &mut Heard,
    ) {
        let holders = self.news.heads_of(publisher, None, None).into_iter().flat_map(|head| head.holders);
        let search = Search {
            from: from.to_vec(),
            keys: vec![DhtKey::publisher(&publisher)],
            hints: holders.map(|holder| (holder, None)).collect(),
            reporter: reporter.clone(),
            strangers: None,
        };
        let mut finder = Finder::start(&self.network, search);
        let (mut questions, mut asked) = (JoinSet::new(), 0);
        let mut end = Instant::now() + PROFILE_PATIENCE;
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
                    if let Ok(Some((keys, profile))) = answer {
                        heard.take(keys, profile);
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
}

/// Asks one peer. The answer is verified on a thread that answers no peer.
async fn ask(
    network: Network,
    news: Arc<News>,
    publisher: PublisherId,
    peer: PeerId,
) -> Option<(KeyHistory, Option<SignedProfile>)> {
    let request = Request::GetRecords { publisher, model: None, tag: None, documents: None };
    let Ok(Response::Records(records)) = ask_patiently(&network, peer, request).await else { return None };
    let work = move |budget: &mut Budget| budget.run(|| VerifiedRecords::verify(publisher, &records)).ok();
    let verified = news.verifier().answer(peer, VERIFICATIONS_PER_ANSWER_MAX, work).await.ok().flatten()?;
    match verified.keys {
        Ok(keys) => Some((keys, verified.profile)),
        Err(error) => {
            debug!(%peer, %error, "a peer offered keys that are not the publisher's");
            None
        }
    }
}

impl Heard {
    /// Takes the keys and the profile of one answer. Keys that part from those that came first are left out.
    fn take(&mut self, offered: KeyHistory, profile: Option<SignedProfile>) {
        self.knew += 1;
        self.keys = Some(match self.keys.take() {
            None => offered,
            Some(known) if known.is_prefix_of(&offered) || offered.is_prefix_of(&known) => {
                joined(known, &offered)
            }
            Some(known) => known,
        });
        self.profiles.extend(profile);
    }

    /// Tells whether the newest profile of the answers names a domain.
    fn names(&self, wanted: Option<&Domain>) -> bool {
        let newest = self.profiles.iter().max_by_key(|it| it.profile().order());
        newest.is_some_and(|it| wanted.is_none() || it.profile().domain.as_ref() == wanted)
    }
}
