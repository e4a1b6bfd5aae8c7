//! Gathers the statements of a publisher that stand now, from the store and from peers, so that the next key document can
//! take them over.
//!
//! Under the next document, nothing counts that older keys have signed and that its list does not name. So a statement
//! that is missed here is void for every follower.
//!
//! Revocations of keys are disregarded here. What a revoked key has signed counts no longer, and may be the publisher's own
//! all the same: a thief can revoke the key that it stole, and must not empty the list by that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reg_api::declarations::{Inheritable, Statement, StatementKind};
use reg_api::reporter::Reporter;
use reg_proto::attestation::{ATTESTATION_ARTIFACT_TYPE, Said};
use reg_proto::catalogue::{CARD_ARTIFACT_TYPE, SignedCard, SignedTombstone};
use reg_proto::digest::Digest;
use reg_proto::envelope::Envelope;
use reg_proto::key::{Inheritance, KeyHistory};
use reg_proto::limits::{PROVENANCE_BYTES_MAX, REVOCATION_BYTES_MAX, VERIFICATIONS_PER_ANSWER_MAX};
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference};
use reg_proto::peer::PeerId;
use reg_proto::profile::SignedProfile;
use reg_proto::provenance::Provenance;
use reg_proto::referrer::{PROVENANCE_ARTIFACT_TYPE, Referrer};
use reg_proto::revocation::Revoked;
use reg_proto::tag::SignedTag;
use reg_proto::verification::Budget;
use reg_proto::wire::{Request, Response};
use tokio::time::{Instant, timeout_at};

use super::Publishing;
use crate::registry::limits::{INHERITANCE_PATIENCE, MODEL_PATIENCE, PEERS_ASKED_FOR_TAGS};
use crate::registry::model::record::{self, ModelRecord, referrers_here};
use crate::registry::publishers::{TagsError, declarations, documents, history, keys, profiles, tombstones};
use crate::registry::resolve::{ResolveOptions, Resolved};

/// Statements by their payload digests.
#[derive(Default)]
struct Gathered {
    statements: BTreeMap<Digest, Statement>,
    /// Whether what is gathered now comes from peers.
    elsewhere: bool,
}

impl Publishing {
    /// Returns the statements of a publisher that stand under the keys that this node follows. Asks peers for tags, and for
    /// the provenances of models that the store does not have, for at most half a minute.
    ///
    /// # Errors
    /// Documents in the store cannot be read.
    pub async fn inheritable(
        self: &Arc<Self>,
        publisher: PublisherId,
        reporter: &Reporter,
    ) -> Result<Inheritable, TagsError> {
        let mut found = Inheritable { publisher, peers: 0, statements: Vec::new() };
        let Some(keys) = keys::keys_unrevoked(&self.store, publisher)? else { return Ok(found) };
        reporter.stage("gathering", format_args!("what {publisher} has signed"));
        let (publishing, own) = (self.clone(), keys.clone());
        let gathering = tokio::task::spawn_blocking(move || publishing.statements_here(&own));
        let mut gathered =
            gathering.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let end = Instant::now() + INHERITANCE_PATIENCE;
        let (heads, asked) = self.tags_elsewhere(&keys, end).await;
        found.peers = asked;
        gathered.elsewhere = true;
        let news = self.news.clone();
        let heard = tokio::task::spawn_blocking(move || news.all_heads_of(publisher)).await;
        let heard = heard.unwrap_or_default().into_iter().map(|head| head.tag);
        let heard = heard.filter(|tag| SignedTag::verify(tag.envelope(), &keys).is_ok());
        for tag in heard.collect::<Vec<_>>().into_iter().chain(heads) {
            gathered.add_tag(&tag);
            let manifest = tag.record().manifest.digest;
            if !gathered.has_provenance(&manifest) && Instant::now() < end {
                self.provenance_elsewhere(&keys, &tag, &mut gathered, reporter).await;
            }
        }
        gathered.add_inherited(&keys);
        found.statements = gathered.statements.into_values().collect();
        Ok(found)
    }

    /// Gathers what the store has: the records of tags with their ancestors, and what is signed about models.
    fn statements_here(&self, keys: &KeyHistory) -> Result<Gathered, TagsError> {
        let publisher = keys.publisher();
        let mut gathered = Gathered::default();
        for (model, tag) in documents::names(&self.store, publisher)? {
            for record in history::records(&self.store, keys, &model, &tag)? {
                gathered.add_tag(&record);
            }
        }
        for (manifest, record) in ModelRecord::all(&self.store).unwrap_or_default() {
            for (_, referrer) in referrers_here(&self.store, &record) {
                let Some(document) = record::document(&self.store, &referrer.document.digest) else {
                    continue;
                };
                gathered.add_referred(keys, &record.model, &manifest, &referrer, &document, || {
                    record::manifest(&self.store, &manifest).ok()
                });
            }
        }
        for signed in declarations::delegations(&self.store, keys)? {
            let it = signed.delegation();
            gathered.add(Statement {
                payload: signed.payload_digest(),
                kind: StatementKind::Delegation,
                about: format!("{} to {}", it.models, it.to),
                key_document: it.key_document,
                issued: it.issued,
                manifest: None,
                stored: true,
            });
        }
        if let Some(signed) = profiles::profile(&self.store, keys)? {
            gathered.add_profile(&signed);
        }
        for signed in tombstones::tombstones(&self.store, keys)? {
            gathered.add_tombstone(&signed);
        }
        for (revocation, text) in keys.revocations() {
            let Ok(envelope) = Envelope::from_bytes(text.as_bytes(), REVOCATION_BYTES_MAX) else { continue };
            let (about, manifest) = match revocation.subject {
                Revoked::Key(key) => (format!("key {key}"), None),
                Revoked::Manifest(digest) => (format!("manifest {digest}"), Some(digest)),
                Revoked::Delegation(digest) => (format!("delegation {digest}"), None),
            };
            gathered.add(Statement {
                payload: Digest::of(&envelope.payload),
                kind: StatementKind::Revocation,
                about,
                key_document: revocation.key_document,
                issued: revocation.issued,
                manifest,
                stored: true,
            });
        }
        Ok(gathered)
    }

    /// Returns the tag records that connected peers have of the publisher, and how many peers answered.
    async fn tags_elsewhere(&self, keys: &KeyHistory, end: Instant) -> (Vec<SignedTag>, usize) {
        let (mut found, mut asked) = (Vec::new(), 0);
        let names = documents::names(&self.store, keys.publisher()).unwrap_or_default();
        let models: BTreeSet<ModelName> = names.into_iter().map(|(model, _)| model).collect();
        for peer in self.network.connected().await.into_iter().take(PEERS_ASKED_FOR_TAGS) {
            // One answer has only so many tags. Those of known models are asked for one model at a time.
            let mut has_answered = false;
            for model in [None].into_iter().chain(models.iter().cloned().map(Some)) {
                let Some(tags) = self.tags_of(keys, peer, model, end).await else { break };
                has_answered = true;
                found.extend(tags);
            }
            asked += usize::from(has_answered);
        }
        (found, asked)
    }

    async fn tags_of(
        &self,
        keys: &KeyHistory,
        peer: PeerId,
        model: Option<ModelName>,
        end: Instant,
    ) -> Option<Vec<SignedTag>> {
        let request = Request::GetRecords { publisher: keys.publisher(), model, tag: None, documents: None };
        let answer = timeout_at(end, self.network.ask(peer, request)).await;
        let Ok(Ok(Response::Records(records))) = answer else { return None };
        let keys = keys.clone();
        let work = move |budget: &mut Budget| {
            let tags = records.tags.iter().filter_map(|text| SignedTag::verify(text, &keys).ok());
            budget.run(|| tags.collect::<Vec<SignedTag>>())
        };
        let verified = self.resolver.verifier().answer(peer, VERIFICATIONS_PER_ANSWER_MAX, work).await;
        Some(verified.ok()?.unwrap_or_default())
    }

    /// Adds the provenance of a tag's manifest that is not in the store.
    async fn provenance_elsewhere(
        &self,
        keys: &KeyHistory,
        tag: &SignedTag,
        gathered: &mut Gathered,
        reporter: &Reporter,
    ) {
        let record = tag.record();
        let reference = Reference {
            publisher: Publisher::Id(record.publisher),
            model: record.model.clone(),
            tag: None,
            digest: Some(record.manifest.digest),
        };
        let options = ResolveOptions { patience: Some(MODEL_PATIENCE), ..ResolveOptions::default() };
        let Ok(resolved) = self.resolver.resolve(&reference, &options, reporter).await else { return };
        let Resolved { documents, referrers, model, digest, manifest, .. } = resolved;
        for referrer in referrers.iter().filter_map(|it| Referrer::from_bytes(documents.get(it)?).ok()) {
            if let Some(document) = documents.get(&referrer.document.digest) {
                gathered.add_referred(keys, &model, &digest, &referrer, document, || Some(manifest.clone()));
            }
        }
    }
}

impl Gathered {
    /// Adds what the newest document takes over already, also where this node does not have the text. A later thief of its
    /// keys cannot have changed that list.
    fn add_inherited(&mut self, keys: &KeyHistory) {
        self.elsewhere = false;
        let list = keys.chain().inheritance().map(Inheritance::payloads).unwrap_or_default();
        for payload in list {
            self.add(Statement {
                payload: *payload,
                kind: StatementKind::Inherited,
                about: format!("{payload}, which key document {} takes over", keys.version()),
                key_document: 0,
                issued: 0,
                manifest: None,
                stored: true,
            });
        }
    }

    fn add(&mut self, statement: Statement) {
        let stored = !self.elsewhere;
        self.statements.entry(statement.payload).or_insert(Statement { stored, ..statement });
    }

    fn add_tag(&mut self, tag: &SignedTag) {
        let record = tag.record();
        self.add(Statement {
            payload: tag.payload_digest(),
            kind: StatementKind::Tag,
            about: format!("{}:{} number {}", record.model, record.tag, record.seq),
            key_document: record.key_document,
            issued: record.issued,
            manifest: Some(record.manifest.digest),
            stored: true,
        });
    }

    fn add_profile(&mut self, signed: &SignedProfile) {
        let profile = signed.profile();
        self.add(Statement {
            payload: signed.payload_digest(),
            kind: StatementKind::Profile,
            about: format!("number {}", profile.seq),
            key_document: profile.key_document,
            issued: profile.issued,
            manifest: None,
            stored: true,
        });
    }

    fn add_tombstone(&mut self, signed: &SignedTombstone) {
        let said = signed.tombstone();
        self.add(Statement {
            payload: signed.payload_digest(),
            kind: StatementKind::Tombstone,
            about: format!("{}:{} up to number {}", said.model, said.tag, said.seq),
            key_document: said.key_document,
            issued: said.issued,
            manifest: None,
            stored: true,
        });
    }

    fn has_provenance(&self, manifest: &Digest) -> bool {
        let mut provenances = self.statements.values().filter(|it| it.kind == StatementKind::Provenance);
        provenances.any(|it| it.manifest.as_ref() == Some(manifest))
    }

    /// Adds the document of a referrer if it is a provenance, an attestation or a card by this publisher that stands.
    fn add_referred(
        &mut self,
        keys: &KeyHistory,
        model: &ModelName,
        digest: &Digest,
        referrer: &Referrer,
        document: &[u8],
        manifest: impl FnOnce() -> Option<reg_proto::manifest::Manifest>,
    ) {
        let Ok(text) = std::str::from_utf8(document) else { return };
        let Ok(envelope) = Envelope::from_bytes(document, PROVENANCE_BYTES_MAX) else { return };
        let (kind, about, key_document, issued) = match referrer.artifact_type.as_str() {
            PROVENANCE_ARTIFACT_TYPE => {
                let Some(manifest) = manifest() else { return };
                let Ok(it) = Provenance::verify(text, keys, model, digest, &manifest) else { return };
                (StatementKind::Provenance, format!("{model} is {digest}"), it.key_document, it.issued)
            }
            ATTESTATION_ARTIFACT_TYPE => {
                let Ok(it) = Said::verify(text, keys, digest) else { return };
                let about = format!("{} {} of {digest}", it.kind(), it.result());
                (StatementKind::Attestation, about, it.key_document(), it.issued())
            }
            CARD_ARTIFACT_TYPE => {
                let Ok(signed) = SignedCard::verify(text, keys) else { return };
                let it = signed.card();
                if it.manifest != *digest || it.model.folded() != model.folded() {
                    return;
                }
                (StatementKind::Card, format!("{model}, {digest}"), it.key_document, it.issued)
            }
            _ => return,
        };
        let (payload, manifest) = (Digest::of(&envelope.payload), Some(*digest));
        self.add(Statement { payload, kind, about, key_document, issued, manifest, stored: true });
    }
}
