//! Takes listings that verify, and lets go of those that no longer do.

use std::cmp::Reverse;
use std::sync::{Arc, PoisonError};

use reg_catalogue::{Entry, EntryName, PublisherTexts};
use reg_proto::catalogue::{CARD_ARTIFACT_TYPE, Listing, ListingFacts, SignedListing, SignedTombstone, Trie};
use reg_proto::digest::Digest;
use reg_proto::envelope::Envelope;
use reg_proto::key::KeyHistory;
use reg_proto::limits::TAG_ENVELOPE_BYTES_MAX;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::{SignedTag, TagRecord};

use super::Cataloguing;
use super::entries;
use super::lineage::SAME_MANIFEST_MAX;
use super::opened::Opened;
use crate::registry::chance;
use crate::registry::limits::COLLECTED_KEPT_MAX;
use crate::registry::model::record::{self, ModelRecord, referrers_here};
use crate::registry::publishers::key_pin::joined;
use crate::registry::publishers::{keys, tombstones};

/// What became of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is listed, and was not before.
    New,
    /// What is listed supersedes it, or is the same.
    Known,
    /// It is denied, its publisher is not one that this node takes models of, or there is no room.
    Refused,
}

impl Cataloguing {
    /// Takes a listing in the place of one that it supersedes, if the newest keys that are known stand for it: `keys` are those that
    /// came with it. Blocks.
    pub fn take(&self, listing: &SignedListing, keys: &KeyHistory) -> Taken {
        let Some(opened) = self.opened() else { return Taken::Refused };
        // From here on, newer keys wait: else they would remove listings before this one, which their retired keys have signed.
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.newest(&opened, keys);
        let again;
        let (listing, keys) = match &newest {
            None => (listing, keys),
            Some(newest) => {
                let Some(verified) = verified(&listing.to_listing(), newest) else { return Taken::Refused };
                again = verified;
                (&again, newest)
            }
        };
        let facts = *listing.facts();
        if !self.trust.sharing.takes(&facts.publisher) {
            return Taken::Refused;
        }
        let Some(entry) = self.entry(listing, keys) else { return Taken::Refused };
        if !entry.is_tombstone && self.trust.is_unserved(&entry.manifest) {
            return Taken::Refused;
        }
        let known = opened.catalogue.get(entry.publisher, &entry.model, &entry.tag);
        let Some(known) = self.read(&opened, known) else { return Taken::Refused };
        if known.is_none() && !self.has_room(&opened, &facts.publisher) {
            return Taken::Refused;
        }
        if known.is_some_and(|known| !is_superseded(&known, &facts)) {
            return Taken::Known;
        }
        let is_given = self.trust.sharing.gives(&entry.publisher, &entry.model);
        let mut chance = draw;
        match opened.catalogue.put(vec![entry], &mut chance) {
            Ok(put) if put.taken > 0 => {
                opened.unset(put.evicted);
                opened.set(facts.publisher, facts.key, facts.value, is_given);
                keep_texts(&opened, keys);
                Taken::New
            }
            Ok(put) => {
                for (_, refusal) in put.refused {
                    tracing::debug!(publisher = %facts.publisher, %refusal, "a tag is not listed");
                }
                Taken::Refused
            }
            Err(error) => {
                tracing::warn!(%error, "the catalogue cannot be written");
                Taken::Refused
            }
        }
    }

    /// Tells whether there is room for a new entry of a publisher: one that is only collected leaves some to the others.
    fn has_room(&self, opened: &Opened, publisher: &PublisherId) -> bool {
        opened.catalogue.counts().0 < COLLECTED_KEPT_MAX || !self.is_only_collected(publisher)
    }

    /// Lists the head of a tag, with the card of its model where the store has one; or its tombstone, where the store has that.
    /// Blocks.
    pub fn take_head(&self, tag: &SignedTag, keys: &KeyHistory) -> Taken {
        let said = tag.record();
        if let Ok(Some(tombstone)) = tombstones::tombstone(&self.store, keys, &said.model, &said.tag)
            && tombstone.tombstone().order() >= said.order()
        {
            // The catalogue may have been lost since the publisher took the tag out of it.
            return self.take_tombstone(&tombstone, keys);
        }
        let taken = match self.is_listed_with_card(tag) {
            true => Taken::Known,
            false => {
                let listing =
                    Listing::Record { record: tag.envelope().to_owned(), card: self.card_here(tag) };
                verified(&listing, keys).map_or(Taken::Refused, |listing| self.take(&listing, keys))
            }
        };
        if taken == Taken::Known {
            self.note_content(said.publisher, &said.model, &said.tag);
        }
        taken
    }

    /// Notes the content of a manifest that came into the store after it was listed, in every entry that has the manifest.
    fn note_content(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) {
        let Some(opened) = self.opened() else { return };
        let listed = opened.catalogue.head(publisher, model, tag).filter(|it| it.content == it.manifest);
        let Some(manifest) = listed.map(|it| it.manifest) else { return };
        let Some(content) = self.content_here(&manifest) else { return };
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut noted = Vec::new();
        for head in opened.catalogue.with_manifest(&manifest, SAME_MANIFEST_MAX) {
            let entry = opened.catalogue.get(head.publisher, &head.model, &head.tag).ok().flatten();
            noted.extend(entry.filter(|it| it.manifest == manifest).map(|it| Entry { content, ..it }));
        }
        let mut chance = draw;
        if let Err(error) = opened.catalogue.put(noted, &mut chance) {
            tracing::warn!(%error, "the catalogue cannot be written");
        }
    }

    /// Tells whether this record is listed with a card already, as at most starts of a node: then nothing is read and verified anew.
    fn is_listed_with_card(&self, tag: &SignedTag) -> bool {
        let said = tag.record();
        let listed = self
            .opened()
            .and_then(|it| it.catalogue.get(said.publisher, &said.model, &said.tag).ok().flatten());
        listed.is_some_and(|it| it.payload == tag.payload_digest() && it.listing.card.is_some())
    }

    /// Takes the listing of a tag away, as its publisher wants. Blocks.
    pub fn take_tombstone(&self, tombstone: &SignedTombstone, keys: &KeyHistory) -> Taken {
        let listing = Listing::Tombstone { tombstone: tombstone.envelope().to_owned() };
        SignedListing::verify(&listing, keys).map_or(Taken::Refused, |listing| self.take(&listing, keys))
    }

    /// Returns the card of a tag's model, as an envelope, where the store has one. It is not verified. Blocks.
    pub fn card_here(&self, tag: &SignedTag) -> Option<String> {
        let said = tag.record();
        let manifest = said.manifest.digest;
        let here = ModelRecord::load(&self.store, &manifest, said.publisher, &said.model).ok().flatten()?;
        let referrers = referrers_here(&self.store, &here);
        let (_, card) = referrers.into_iter().find(|(_, it)| it.artifact_type == CARD_ARTIFACT_TYPE)?;
        String::from_utf8(record::document(&self.store, &card.document.digest)?).ok()
    }

    /// Tells whether a listing is refused for the model that it names, so that it need not be verified. What it names is not proven.
    pub fn is_denied(&self, listing: &Listing) -> bool {
        let Listing::Record { record, .. } = listing else { return false };
        let envelope = Envelope::from_bytes(record.as_bytes(), TAG_ENVELOPE_BYTES_MAX).ok();
        let named = envelope.and_then(|it| TagRecord::from_payload(&it.payload).ok());
        named.is_some_and(|it| self.trust.is_unserved(&it.manifest.digest))
    }

    /// Returns the head that is listed of a tag, with the keys that verify it. Blocks.
    pub fn head(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        tag: &Tag,
    ) -> Option<(SignedTag, KeyHistory)> {
        let opened = self.opened()?;
        let entry = self.read(&opened, opened.catalogue.get(publisher, model, tag)).flatten()?;
        let keys = self.keys(publisher)?;
        let signed = SignedTag::verify(&entry.listing.record, &keys).ok()?;
        Some((signed, keys))
    }

    /// Returns the heads that are listed of a publisher's tags that `is_wanted`, the newest `max` of them, with the keys that verify
    /// them. Blocks.
    pub fn heads(
        &self,
        publisher: PublisherId,
        max: usize,
        is_wanted: &dyn Fn(&EntryName) -> bool,
    ) -> Option<(Vec<SignedTag>, KeyHistory)> {
        let opened = self.opened()?;
        let mut names = opened.catalogue.names(&publisher);
        names.retain(is_wanted);
        if names.len() > max {
            let issued = |it: &EntryName| {
                // What is not committed yet was just heard of.
                let head = opened.catalogue.head(publisher, &it.model, &it.tag);
                Reverse(head.map_or(u64::MAX, |it| it.issued))
            };
            names.sort_by_cached_key(issued);
            names.truncate(max);
        }
        if names.is_empty() {
            return None;
        }
        let keys = self.keys(publisher)?;
        let entry =
            |it: EntryName| self.read(&opened, opened.catalogue.get(publisher, &it.model, &it.tag)).flatten();
        let entries = names.into_iter().filter_map(entry);
        let heads = entries.filter_map(|it| SignedTag::verify(&it.listing.record, &keys).ok()).collect();
        Some((heads, keys))
    }

    /// Returns the root of the trie of a publisher: it changes with what is listed. Blocks.
    pub fn root_of(&self, publisher: &PublisherId) -> Option<[u8; 32]> {
        self.opened()?.tries().own.get(publisher).map(Trie::root)
    }

    /// Returns the keys of a publisher: those that this node follows, else those that came with its listings. Blocks.
    pub fn keys(&self, publisher: PublisherId) -> Option<KeyHistory> {
        if let Some(followed) = keys::keys(&self.store, publisher).ok().flatten() {
            return Some(followed);
        }
        let opened = self.opened()?;
        let texts = self.read(&opened, opened.catalogue.publisher(&publisher)).flatten()?;
        let revocations = texts.revocations.iter().map(String::as_str);
        KeyHistory::verify_with(publisher, &texts.key_documents, revocations).ok()
    }

    /// Takes keys of a publisher that this node does not follow, where they say more than those that came with its listings.
    /// Blocks.
    pub fn hear_keys(&self, brought: &KeyHistory) {
        let is_listed = |opened: &Arc<Opened>| !opened.catalogue.names(&brought.publisher()).is_empty();
        let Some(known) =
            self.opened().filter(|it| is_listed(it)).and_then(|_| self.keys(brought.publisher()))
        else {
            return;
        };
        let keys = joined(known.clone(), brought);
        let is_more =
            keys.version() > known.version() || keys.revocations().count() > known.revocations().count();
        if is_more {
            self.revoke(&keys);
        }
    }

    /// Returns the keys that listings are judged by where those that came with them are not all that is known: a peer may lag
    /// behind, and a thief of retired keys hides the newer ones.
    fn newest(&self, opened: &Opened, keys: &KeyHistory) -> Option<KeyHistory> {
        let publisher = keys.publisher();
        if opened.knows_texts(&publisher, &digest_of(keys)) {
            return None;
        }
        self.keys(publisher).map(|known| joined(known, keys))
    }

    /// Lets go of the listings of a publisher that its keys no longer stand for: `keys`, with those that are known. Blocks.
    pub fn revoke(&self, keys: &KeyHistory) {
        let Some(opened) = self.opened() else { return };
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.newest(&opened, keys);
        let keys = newest.as_ref().unwrap_or(keys);
        let publisher = keys.publisher();
        let (mut gone, mut hidden) = (Vec::new(), Vec::new());
        for name in opened.catalogue.names(&publisher) {
            let Some(entry) = opened.catalogue.get(publisher, &name.model, &name.tag).ok().flatten() else {
                continue;
            };
            match SignedListing::verify(&entries::listing(&entry), keys) {
                Ok(listing) => {
                    hidden.extend(
                        self.entry(&listing, keys).filter(|it| it.is_tombstone != entry.is_tombstone),
                    );
                }
                Err(_) => {
                    opened.catalogue.remove(publisher, &name.model, &name.tag);
                    gone.push(name);
                }
            }
        }
        opened.unset(gone);
        let mut chance = draw;
        if let Err(error) = opened.catalogue.put(hidden, &mut chance) {
            tracing::warn!(%error, "the catalogue cannot be written");
        }
        keep_texts(&opened, keys);
    }

    /// Lets go of a tag that this node has removed. It comes back with a peer that lists it. Blocks.
    pub fn forget(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) {
        let Some(opened) = self.opened() else { return };
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.catalogue.remove(publisher, model, tag) {
            opened.unset([EntryName { publisher, model: model.clone(), tag: tag.clone() }]);
        }
    }
}

/// Verifies a listing, or the record in it alone where its card does not hold.
fn verified(listing: &Listing, keys: &KeyHistory) -> Option<SignedListing> {
    SignedListing::verify(listing, keys)
        .or_else(|_| SignedListing::verify(&listing.clone().without_card(), keys))
        .ok()
}

/// Tells whether a listing with these facts takes the place of an entry.
fn is_superseded(known: &Entry, by: &ListingFacts) -> bool {
    known.value != *by.value.as_bytes()
        && entries::listing(known).read().map_or(true, |known| by.supersedes(&known))
}

/// Keeps the texts of a publisher's keys beside its entries, where they have changed.
fn keep_texts(opened: &Opened, keys: &KeyHistory) {
    let publisher = keys.publisher();
    if opened.has_texts(publisher, digest_of(keys)) {
        return;
    }
    let key_documents = keys.texts();
    let revocations: Vec<String> = keys.revocations().map(|(_, text)| text.to_owned()).collect();
    let texts = PublisherTexts { publisher, key_documents, revocations };
    if let Err(refusal) = opened.catalogue.put_publisher(texts) {
        opened.forget_texts(&publisher);
        tracing::debug!(%publisher, %refusal, "keys of a publisher are not kept with its listings");
    }
}

/// Returns a digest of the texts of a publisher's keys.
fn digest_of(keys: &KeyHistory) -> Digest {
    let mut all = keys.texts();
    all.extend(keys.revocations().map(|(_, text)| text.to_owned()));
    Digest::of(all.join("\n").as_bytes())
}

/// Draws a number by which an entry is chosen that makes room.
pub(super) fn draw() -> u64 {
    // Without random numbers the first entry makes room.
    chance::draw().unwrap_or_default()
}
