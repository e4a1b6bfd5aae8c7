//! Which publishers are kept whole: those that the user has named, follows or has collected, those of models in the store, and the
//! user.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use reg_proto::name::PublisherId;
use tokio::time::{Instant, interval};

use super::Cataloguing;
use super::opened::Opened;
use super::taking::draw;
use crate::registry::limits::{CATALOGUE_COMMITTED_EVERY, CATALOGUE_RESTS_AFTER};
use crate::registry::publishers::keys;
use crate::store::DocumentKind;

/// Keeps the set of kept publishers as the user wants it, and commits what was listed. Ends with its task.
pub async fn keep_catalogue(cataloguing: Arc<Cataloguing>) {
    let mut every = interval(CATALOGUE_COMMITTED_EVERY);
    let mut last_change = Instant::now();
    loop {
        every.tick().await;
        let working = cataloguing.clone();
        let rests = last_change.elapsed() >= CATALOGUE_RESTS_AFTER;
        let work = move || {
            let before = working.counts();
            working.settle_kept();
            working.commit();
            if rests {
                working.rest();
            }
            before != working.counts()
        };
        if tokio::task::spawn_blocking(work).await.unwrap_or(false) {
            last_change = Instant::now();
        }
    }
}

impl Cataloguing {
    /// Returns the publishers that the user knows: those that are named, pinned by a domain or followed, and those that a
    /// followed collection names or has models of. Blocks.
    pub fn known(&self) -> BTreeSet<PublisherId> {
        let mut known = self.named();
        known.extend(self.collected().publishers.iter().copied());
        known
    }

    /// Tells whether a publisher is kept whole for the user, and not for a collection alone.
    pub fn keeps_for_user(&self, publisher: &PublisherId) -> bool {
        self.opened().is_some_and(|it| it.catalogue.is_kept(publisher)) && !self.is_only_collected(publisher)
    }

    /// Returns the publishers that the user has named or follows by themselves, those of collections included.
    fn named(&self) -> BTreeSet<PublisherId> {
        let trust = self.trust.file.load().unwrap_or_default();
        let names = trust.names;
        let mut known: BTreeSet<PublisherId> =
            names.petnames.into_values().chain(names.domains.into_values()).collect();
        known.extend(trust.collections.into_iter().map(|it| it.publisher));
        let follows = self.store.document_keys(DocumentKind::Follow, "").unwrap_or_default();
        known.extend(follows.iter().filter_map(|key| key.split('/').next()?.parse::<PublisherId>().ok()));
        known
    }

    /// Takes the publishers into the set that are to be kept whole, and lets the others go. Blocks.
    pub fn settle_kept(&self) {
        if let Some(opened) = self.opened() {
            self.settle_kept_of(&opened);
        }
    }

    pub(super) fn settle_kept_of(&self, opened: &Opened) {
        let mut wanted = self.named();
        wanted.extend(keys::publishers(&self.store).unwrap_or_default());
        let index = self.collected();
        let only_collected: BTreeSet<PublisherId> = index.publishers.difference(&wanted).copied().collect();
        wanted.extend(only_collected.iter().copied());
        self.set_only_collected(only_collected);
        wanted.retain(|publisher| self.trust.sharing.takes(publisher));
        let kept: BTreeSet<PublisherId> = opened.catalogue.kept_publishers().into_iter().collect();
        let changes = wanted.difference(&kept).map(|it| (it, true));
        let changes = changes.chain(kept.difference(&wanted).map(|it| (it, false)));
        let (mut has_more, mut not_kept) = (false, BTreeSet::new());
        let mut before = self.not_kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (publisher, is_kept) in changes {
            let mut chance = draw;
            match opened.catalogue.set_kept(publisher, is_kept, &mut chance) {
                Ok(gone) => {
                    has_more |= is_kept;
                    opened.unset(gone);
                }
                Err(error) => {
                    not_kept.insert(*publisher);
                    if !before.contains(publisher) {
                        tracing::warn!(%publisher, %error, "a publisher is not kept whole in the catalogue");
                    }
                }
            }
            opened.forget_texts(publisher);
        }
        *before = not_kept;
        drop(before);
        if has_more {
            self.kept_changed.notify_one();
        }
    }
}
