//! The first half of a publication: import → describe → judge → wait for the turn → number.
//!
//! [`Publishing::prepare_publish`] makes everything but the signatures, and shows it to no peer. The tag's document has the
//! payload before this returns. So no later payload contradicts one that may be signed elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use reg_api::clock;
use reg_api::consent::Acceptance;
use reg_api::fault::{Fault, FaultKind};
use reg_api::prepared::{Prepared, Signed};
use reg_api::report::{Abandoned, Published};
use reg_api::reporter::Reporter;
use reg_api::request::{MinUsable, Origin, PublishRequest};
use reg_proto::attestation::Mirror;
use reg_proto::bounded::Bounded;
use reg_proto::content::metadata::Metadata;
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::manifest::MANIFEST_TYPE;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use reg_proto::naming::Next;
use reg_proto::provenance::Provenance;
use reg_proto::revocation::Revoked;
use reg_proto::tag::{ManifestPointer, SignedTag, TagRecord};

use super::Publishing;
use super::assemble::Assembled;
use super::error::PublishError;
use super::preparation::Preparation;
use super::turns::Turn;
use crate::registry::model::card::{self, About};
use crate::registry::publishers::documents::tag_key;
use crate::registry::publishers::key_pin::{self, KeyPinError};
use crate::registry::publishers::publication::{self, ToBegin};
use crate::registry::publishers::{TagsError, forks, keys, revoked, tags};
use crate::store::CancelOnDrop;

/// A model that is in the store, and the keys that will sign it.
struct Ready {
    request: PublishRequest,
    keys: KeyHistory,
    assembled: Assembled,
}

impl Publishing {
    /// Imports the files, computes their metadata, numbers the record, and returns the documents to sign. Waits for other
    /// publications of the tag.
    ///
    /// # Errors
    /// See [`PublishError`]. After an error no peer and no client can see the model.
    pub async fn prepare_publish(
        self: &Arc<Self>,
        request: PublishRequest,
        reporter: &Reporter,
    ) -> Result<Prepared, PublishError> {
        let keys = KeyHistory::read(&request.key_documents)?;
        let newest = self.newest_record(&keys, &request.model, &request.tag, reporter).await?;
        let holds = request.hold;
        let ready = self.ready(request, keys, reporter).await?;
        let turn = self.turn_of(&ready, reporter).await?;
        let publishing = self.clone();
        let number = move || publishing.number(ready, turn, newest.as_ref());
        let preparation = tokio::task::spawn_blocking(number).await??;
        let prepared = preparation.prepared.clone();
        if !holds {
            self.preparations.remember(preparation)?;
        }
        Ok(prepared)
    }

    /// Publishes what was prepared earlier, perhaps by another node, and signed elsewhere. Reads the files again: they must be
    /// those that were signed.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_signed(
        self: &Arc<Self>,
        request: PublishRequest,
        prepared: Prepared,
        signed: Signed,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        let keys = KeyHistory::read(&request.key_documents)?;
        let mut ready = self.ready(request, keys, reporter).await?;
        let turn = self.turn_of(&ready, reporter).await?;
        let record = TagRecord::from_payload(prepared.tag_record.as_bytes())?;
        if Self::pointer(&ready.assembled).digest != prepared.manifest {
            // An earlier version may have prepared it, and its manifests have no titles.
            ready.assembled = ready.assembled.untitled(&self.store, &prepared.manifest)?;
        }
        let found = Self::pointer(&ready.assembled);
        if (prepared.manifest, record.manifest) != (found.digest, found) {
            return Err(PublishError::OtherFiles { prepared: prepared.manifest, found: found.digest });
        }
        let preparation = self.preparation(ready, turn, record);
        self.commit_prepared(preparation, signed, reporter).await
    }

    /// Gives up the payload of a tag that waits for its signature.
    ///
    /// # Errors
    /// The publisher is not known, or no payload waits.
    pub async fn abandon(self: &Arc<Self>, reference: Reference) -> Result<Abandoned, PublishError> {
        let publishing = self.clone();
        let tag = reference.tag.clone().unwrap_or_else(Tag::latest);
        let publisher = self.trust.file.resolve(&reference.publisher)?;
        let turn = self.turn(tag_key(&publisher, &reference.model, &tag), &Reporter::silent()).await?;
        let abandon = move || {
            let model = &reference.model;
            let given_up = publication::abandon(&publishing.store, publisher, model, &tag)?;
            drop::<Turn>(turn);
            let TagRecord { model, tag, seq, manifest, .. } = given_up.record;
            let (manifest, since) = (manifest.digest, given_up.since);
            Ok(Abandoned { publisher, model, tag, seq, manifest, since })
        };
        tokio::task::spawn_blocking(abandon).await?
    }

    /// Returns the newest record of a tag in the store or at any peer, which the new record has to follow.
    pub(super) async fn newest_record(
        &self,
        keys: &KeyHistory,
        model: &ModelName,
        tag: &Tag,
        reporter: &Reporter,
    ) -> Result<Option<SignedTag>, PublishError> {
        let reference = Reference {
            publisher: Publisher::Id(keys.publisher()),
            model: model.clone(),
            tag: Some(tag.clone()),
            digest: None,
        };
        if self.network.connected().await.is_empty() {
            return Ok(None);
        }
        match self.resolver.newest_tag(&reference, reporter).await {
            Ok((tag, seen_keys)) => {
                // A publisher must not sign with older key documents than peers have seen.
                if let Some(seen_keys) = seen_keys {
                    match key_pin::follow(Some(&seen_keys), keys, Some(&keys.head())) {
                        Ok(_) | Err(KeyPinError::Dead { .. }) => {}
                        Err(error) => return Err(PublishError::Tags(error.into())),
                    }
                }
                Ok(tag)
            }
            Err(error) if error.kind() == FaultKind::Verification => {
                Err(PublishError::Newest(Box::new(error)))
            }
            Err(_) => Ok(None),
        }
    }

    /// Checks the name and the keys, and assembles the model.
    async fn ready(
        self: &Arc<Self>,
        request: PublishRequest,
        mut keys: KeyHistory,
        reporter: &Reporter,
    ) -> Result<Ready, PublishError> {
        let (publishing, reporter) = (self.clone(), reporter.clone());
        // Where the command has ended, nothing is hashed for it.
        let caller = CancelOnDrop::default();
        let cancel = caller.cancel();
        let ready = move || {
            let publisher = keys.publisher();
            let store = &publishing.store;
            let accepted = forks::accepted(store, publisher)?;
            key_pin::follow(keys::keys(store, publisher)?.as_ref(), &keys, accepted.as_ref())
                .map_err(TagsError::from)?;
            revoked::revoke(store, &mut keys)?;
            PublishError::refuse_dead(&keys)?;
            publishing.check_name(publisher, &request.model)?;
            let consent = publishing.trust.consent_to(publisher, &request.model, &request.consent())?;
            let accepted = Acceptance { consent, incomplete: request.incomplete, model: None };
            let assembled = publishing.assemble(&request, &accepted, &reporter, &cancel)?;
            let digest = store.put_blob(&assembled.bytes)?;
            if keys.revocation(&Revoked::Manifest(digest)).is_some() {
                return Err(PublishError::Withdrawn { digest });
            }
            Ok(Ready { request, keys, assembled })
        };
        tokio::task::spawn_blocking(ready).await?
    }

    async fn turn_of(&self, ready: &Ready, reporter: &Reporter) -> Result<Turn, PublishError> {
        let PublishRequest { model, tag, .. } = &ready.request;
        self.turn(tag_key(&ready.keys.publisher(), model, tag), reporter).await
    }

    /// Gives the model the next number of its tag, and makes the documents to sign.
    fn number(
        &self,
        ready: Ready,
        turn: Turn,
        newest: Option<&SignedTag>,
    ) -> Result<Preparation, PublishError> {
        let Ready { request, keys, assembled } = &ready;
        let PublishRequest { model, tag, fresh_for, expires_in, min_usable, settle, hold, .. } = request;
        let manifest = Self::pointer(assembled);
        let now = clock::now();
        let make = |next: Next, issued: Option<u64>| {
            let issued = issued.unwrap_or(now);
            TagRecord {
                publisher: keys.publisher(),
                model: model.clone(),
                tag: tag.clone(),
                seq: next.seq,
                prev: next.prev,
                manifest,
                key_document: keys.version(),
                issued,
                fresh_until: fresh_for.map(|seconds| issued.saturating_add(seconds)),
                expires: expires_in.map(|seconds| issued.saturating_add(seconds)),
                settles: Bounded::first_of(next.settles),
                min_usable: match min_usable {
                    Some(MinUsable::This) => Some(next.seq),
                    Some(MinUsable::Number(lowest)) => Some((*lowest).min(next.seq)),
                    None => next.min_usable,
                },
            }
        };
        let to_begin = ToBegin { model, tag, newest, settle: *settle, held: *hold };
        let record = match publication::begin(&self.store, keys, &to_begin, &make) {
            Err(source @ TagsError::Frozen { .. }) => return Err(PublishError::Frozen { source }),
            begun => begun?,
        };
        Ok(self.preparation(ready, turn, record))
    }

    fn pointer(assembled: &Assembled) -> ManifestPointer {
        let descriptor = Descriptor::of(MANIFEST_TYPE, &assembled.bytes);
        ManifestPointer { digest: descriptor.digest, size: descriptor.size }
    }

    /// Returns the preparation of a model with the tag record `record`.
    fn preparation(&self, ready: Ready, turn: Turn, record: TagRecord) -> Preparation {
        let Ready { request, keys, assembled } = ready;
        let Assembled { manifest, bytes, states, metadata, kinds, lease, left_out, copied } = assembled;
        let descriptor = Descriptor::of(MANIFEST_TYPE, &bytes);
        let (digest, publisher, issued) = (descriptor.digest, keys.publisher(), record.issued);
        let (model, key_document) = (request.model, keys.version());
        let provenance = Provenance { publisher, model: model.clone(), key_document, issued, states };
        let attestation = request.origin.map(|Origin { endpoint, repository, commit }| {
            let repository = repository.to_string();
            let mirror = Mirror { publisher, key_document, issued, endpoint, repository, commit };
            String::from_utf8_lossy(&mirror.to_payload(&digest)).into_owned()
        });
        let about = About {
            publisher,
            model: &model,
            digest,
            manifest: &manifest,
            metadata: &metadata,
            claims: &request.claims,
            more: &request.card,
            base: self.base_here(&metadata),
        };
        let card = card::card(&about, key_document, issued).to_payload();
        let prepared = Prepared {
            id: self.ids.fetch_add(1, Ordering::Relaxed),
            publisher,
            model,
            tag: request.tag,
            manifest: digest,
            files: manifest.files().len(),
            bytes: manifest.total_bytes(),
            provenance: String::from_utf8_lossy(&provenance.to_payload(&digest)).into_owned(),
            tag_record: String::from_utf8_lossy(&record.to_payload()).into_owned(),
            resources: manifest.files().iter().map(|file| (file.path.clone(), file.digest)).collect(),
            issued,
            attestation,
            card: Some(String::from_utf8_lossy(&card).into_owned()),
            left_out,
            copied,
        };
        let since = Instant::now();
        Preparation { prepared, manifest, descriptor, metadata, kinds, since, turn, _lease: lease }
    }

    /// Returns the manifest of the model that this one says it is derived from, where that name means a model in the store.
    fn base_here(&self, metadata: &Metadata) -> Option<Digest> {
        let reference: Reference = card::base_of(metadata)?.as_str().parse().ok()?;
        Some(self.resolver.model_here(&reference).ok()?.manifest)
    }

    /// Checks that no other model of the publisher has this name in another case: OCI would take `Tiny` and `tiny` for one.
    fn check_name(&self, publisher: PublisherId, wanted: &ModelName) -> Result<(), PublishError> {
        let existing = tags::records(&self.store, publisher, Some(wanted))?
            .into_iter()
            .map(|it| it.record().model.clone());
        match existing.into_iter().find(|it| it != wanted) {
            Some(existing) => Err(PublishError::NameTaken { wanted: wanted.clone(), existing }),
            None => Ok(()),
        }
    }
}
