//! Receives, passes on and serves the declarations of publishers, with a tag or without one: by gossip, and to new
//! neighbours.
//!
//! Declarations of a publisher that this node follows, or that the user gave a petname, are kept for ever, even if the
//! store has none of its tags. Those of other publishers are passed on, and kept with their listings in the catalogue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::limits::{VERIFICATIONS_PER_ANSWER_MAX, VERIFICATIONS_PER_PAGE_MAX, VOWS_PER_PAGE_MAX};
use reg_proto::name::PublisherId;
use reg_proto::peer::PeerId;
use reg_proto::verification::Budget;
use reg_proto::wire::{PublisherVows, Request, Response};
use tracing::info;

use super::News;
use super::heads::{self, Heard};
use super::holder::holder_of;
use crate::registry::limits::{
    DECLARATION_PAGE_BYTES_MAX, DECLARATION_PAGES_MAX, DECLARATIONS_PASSED_MAX, KEYS_ASKED_MAX,
    PEERS_ASKED_FOR_KEYS,
};
use crate::registry::publishers::{TagsError, declarations, keys, revoked};

/// The digests of declarations without a tag that this node has passed on.
#[derive(Debug, Default)]
pub(super) struct DeclarationsPassed(BTreeSet<Digest>);

impl DeclarationsPassed {
    /// Remembers these declarations, and returns whether they were not passed on before.
    fn pass(&mut self, keys: &KeyHistory) -> bool {
        if self.0.len() >= DECLARATIONS_PASSED_MAX {
            self.0.clear();
        }
        let mut text = keys.head().to_string();
        keys.revocations().for_each(|(_, envelope)| text.push_str(envelope));
        self.0.insert(Digest::of(text.as_bytes()))
    }
}

impl News {
    /// Takes the keys that an announcement brought. Returns the keys that this node goes by from then on, and whether they
    /// bring a revocation or a key document that was not known.
    pub(super) fn take_declarations_of(&self, brought: KeyHistory) -> (KeyHistory, bool) {
        let publisher = brought.publisher();
        let followed = keys::keys(&self.store, publisher).ok().flatten();
        if followed.is_none() && !self.trust.has_named(&publisher) {
            self.catalogue.hear_keys(&brought);
            return (brought, false);
        }
        let revoked = declarations::remember(&self.store, &brought).unwrap_or_else(|error| {
            info!(%publisher, %error, "keys of a publisher are not followed further");
            false
        });
        let keys = match keys::keys(&self.store, publisher).ok().flatten() {
            Some(followed) => followed,
            None => brought,
        };
        if revoked {
            self.revoke(&keys);
            self.revocations.fetch_add(1, Ordering::Release);
        }
        (keys, revoked)
    }

    /// Asks connected peers for the keys of a publisher with their inheritance list, which was too long for gossip.
    pub(super) fn ask_for_keys(self: &Arc<Self>, publisher: PublisherId) {
        {
            let mut asking = self.asking.lock().expect("no holder of this lock panics");
            if asking.len() >= KEYS_ASKED_MAX || !asking.insert(publisher) {
                return;
            }
        }
        let news = self.clone();
        tokio::spawn(async move {
            for peer in news.network.connected().await.into_iter().take(PEERS_ASKED_FOR_KEYS) {
                let request = Request::GetRecords { publisher, model: None, tag: None, documents: None };
                let Ok(Response::Records(records)) = news.network.ask(peer, request).await else { continue };
                let taking = news.clone();
                let work = move |budget: &mut Budget| {
                    let revocations = records.revocations.iter().map(String::as_str);
                    let read = || KeyHistory::verify_with(publisher, &records.key_documents, revocations);
                    let keys = budget.run(read).ok().and_then(Result::ok);
                    let keys = keys.filter(|keys| !keys.chain().is_incomplete());
                    keys.map(|keys| taking.take_declarations_of(keys)).is_some()
                };
                if matches!(news.verifier.answer(peer, VERIFICATIONS_PER_ANSWER_MAX, work).await, Ok(true)) {
                    break;
                }
            }
            news.asking.lock().expect("no holder of this lock panics").remove(&publisher);
        });
    }

    /// Judges gossiped keys without a tag. Keys that say nothing new are not passed on.
    pub(super) fn hear_declarations(&self, brought: KeyHistory) -> Heard {
        let is_new = self.passed.lock().expect("no holder of this lock panics").pass(&brought);
        let (_, revoked) = self.take_declarations_of(brought);
        if is_new || revoked { Heard::New } else { Heard::Known }
    }

    /// Announces the declarations of a publisher, whether it has a tag or not.
    pub async fn announce_declarations(self: &Arc<Self>, keys: &KeyHistory) {
        let own = holder_of(self.network.peer_id(), self.network.listen_addresses().await);
        self.network.announce(heads::announcement(None, keys, own, None)).await;
    }

    /// Returns a page of the known revocations, of publishers with ids above `after`. A node that shares only some
    /// models reports no publishers.
    pub fn declarations_page(
        &self,
        after: Option<&PublisherId>,
    ) -> Result<Bounded<PublisherVows, VOWS_PER_PAGE_MAX>, TagsError> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        let known = if self.trust.sharing.gives_all() {
            revoked::revoking(&self.store).unwrap_or_default()
        } else {
            Vec::new()
        };
        for publisher in known.into_iter().filter(|it| after.is_none_or(|after| it > after)) {
            // The longest history with a revocation stands for the shorter ones, but not for those that part from it.
            let followed = keys::keys(&self.store, publisher)?;
            let witnesses = revoked::witnesses(&self.store, publisher)?;
            let longest = followed.into_iter().chain(witnesses).max_by_key(KeyHistory::version);
            let Some(keys) = longest else { continue };
            let declarations = PublisherVows {
                key_documents: Bounded::first_of(keys.texts()),
                revocations: Bounded::first_of(keys.revocations().map(|(_, text)| text.to_owned())),
            };
            let size: usize = declarations
                .key_documents
                .iter()
                .chain(declarations.revocations.iter())
                .map(String::len)
                .sum();
            if size > DECLARATION_PAGE_BYTES_MAX {
                continue;
            }
            if page.len() >= VOWS_PER_PAGE_MAX || bytes + size > DECLARATION_PAGE_BYTES_MAX {
                break;
            }
            bytes += size;
            page.push(declarations);
        }
        Ok(Bounded::first_of(page))
    }

    /// Fetches the revocations that a new neighbour knows.
    pub async fn ask_for_declarations(self: &Arc<Self>, peer: PeerId) {
        let mut after = None;
        for _page in 0..DECLARATION_PAGES_MAX {
            let Ok(Response::Vows { publishers }) = self.network.ask(peer, Request::GetVows { after }).await
            else {
                return;
            };
            let news = self.clone();
            let work = move |budget: &mut Budget| news.take_declarations_page(&publishers, peer, budget);
            let Ok(last) = self.verifier.page(peer, VERIFICATIONS_PER_PAGE_MAX, work).await else { return };
            match last.filter(|last| after.is_none_or(|after| *last > after)) {
                Some(last) => after = Some(last),
                None => return,
            }
        }
    }

    /// Takes a page of declarations, and returns the last publisher of it; `None` for an empty page.
    fn take_declarations_page(
        &self,
        publishers: &[PublisherVows],
        peer: PeerId,
        budget: &mut Budget,
    ) -> Option<PublisherId> {
        let mut last = None;
        for PublisherVows { key_documents, revocations } in publishers {
            match budget.run(|| heads::keys_from(key_documents, revocations)) {
                Err(error) => info!(%peer, %error, "revocations from a peer are left out"),
                Ok(Ok(keys)) => {
                    last = last.max(Some(keys.publisher()));
                    self.take_declarations_of(keys);
                }
                Ok(Err(error)) => info!(%peer, %error, "revocations from a peer are refused"),
            }
        }
        last
    }
}
