//! Makes entries of listings: the texts that are passed on, and the facts that searches read.

use reg_api::clock;
use reg_api::request::{CardClaims, Claims};
use reg_catalogue::{Entry, Facts, Listing as Texts};
use reg_proto::catalogue::{Card, Listing, SignedListing, content_digest};
use reg_proto::content::label::Label;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::revocation::Revoked;
use reg_proto::tag::TagRecord;

use super::Cataloguing;
use crate::registry::model::card::{self, About};
use crate::registry::model::record::{self, ModelRecord};

impl Cataloguing {
    /// Returns the entry of a listing. Where the publisher has signed no card and the model is in the store, the facts are those
    /// that this node has computed. A model that its publisher has withdrawn is listed for peers, and no search shows it.
    pub(super) fn entry(&self, listing: &SignedListing, keys: &KeyHistory) -> Option<Entry> {
        let facts = listing.facts();
        let (key, value) = (*facts.key.as_bytes(), *facts.value.as_bytes());
        if let Some(tombstone) = listing.tombstone() {
            let said = tombstone.tombstone();
            let none = tombstone.payload_digest();
            return Some(Entry {
                publisher: said.publisher,
                model: said.model.clone(),
                tag: said.tag.clone(),
                listing: Texts { record: tombstone.envelope().to_owned(), card: None },
                payload: none,
                manifest: none,
                content: none,
                seq: said.seq,
                issued: said.issued,
                heard: clock::now(),
                is_tombstone: true,
                key,
                value,
                facts: Facts::default(),
            });
        }
        let signed = listing.record()?;
        let record = signed.record();
        let manifest = record.manifest.digest;
        let facts = match listing.card() {
            Some(signed) => facts_of(signed.card(), true),
            None => self.computed(record).unwrap_or_default(),
        };
        let card = listing.card().map(|it| it.envelope().to_owned());
        Some(Entry {
            publisher: record.publisher,
            model: record.model.clone(),
            tag: record.tag.clone(),
            listing: Texts { record: signed.envelope().to_owned(), card },
            payload: signed.payload_digest(),
            manifest,
            // A card may name the content of any model. What another node computes of the manifest is the same.
            content: self.content_here(&manifest).unwrap_or(manifest),
            seq: record.seq,
            issued: record.issued,
            heard: clock::now(),
            is_tombstone: keys.revocation(&Revoked::Manifest(record.manifest.digest)).is_some(),
            key,
            value,
            facts,
        })
    }

    /// Returns the digest of the content of a manifest that is in the store.
    pub(super) fn content_here(&self, manifest: &Digest) -> Option<Digest> {
        record::manifest(&self.store, manifest).ok().map(|it| content_digest(&it))
    }

    /// Returns the facts that this node has computed; `None` if the model is not in the store.
    fn computed(&self, tag: &TagRecord) -> Option<Facts> {
        let digest = tag.manifest.digest;
        let here = ModelRecord::load(&self.store, &digest, tag.publisher, &tag.model).ok().flatten()?;
        let manifest = record::manifest(&self.store, &digest).ok()?;
        let claims = record::claims(&self.store, &manifest).map(Claims::from).unwrap_or_default();
        let about = About {
            publisher: tag.publisher,
            model: &tag.model,
            digest,
            manifest: &manifest,
            metadata: &here.metadata,
            claims: &claims,
            more: &CardClaims::default(),
            base: None,
        };
        let card = card::card(&about, tag.key_document, tag.issued);
        Some(facts_of(&card, false))
    }
}

/// Returns the listing that an entry was made of.
pub(super) fn listing(entry: &Entry) -> Listing {
    let Texts { record, card } = entry.listing.clone();
    // A tombstone means no manifest, so it is written in the place of one.
    match entry.manifest == entry.payload {
        true => Listing::Tombstone { tombstone: record },
        false => Listing::Record { record, card },
    }
}

fn facts_of(card: &Card, is_claimed: bool) -> Facts {
    let said = |label: &Option<Label>| label.as_ref().map(ToString::to_string).unwrap_or_default();
    let Card { claimed, computed, .. } = card;
    Facts {
        title: said(&claimed.title),
        task: said(&claimed.task),
        summary: said(&claimed.summary),
        licence: said(&claimed.licence),
        languages: claimed.languages.iter().map(ToString::to_string).collect(),
        base: said(&claimed.base),
        base_manifest: computed.base_manifest,
        formats: computed.formats.iter().map(ToString::to_string).collect(),
        quantisations: computed.quantisations.iter().map(ToString::to_string).collect(),
        parameters: computed.parameters,
        bytes: Some(computed.bytes),
        context: computed.context.map(u64::from),
        is_claimed,
    }
}
