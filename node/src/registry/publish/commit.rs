//! Publishing: import → describe → judge → sign → store → tag → announce → provide.
//!
//! Publishing has two halves, because only the command that holds the key signs. [`Publishing::prepare_publish`] makes
//! everything but the signatures, and shows it to no peer. [`Publishing::commit_publish`] verifies the signatures as strictly
//! as those of a peer, and only then moves the tag.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use reg_api::clock;
use reg_api::fault::{Fault, FaultKind};
use reg_api::prepared::{Prepared, Signed};
use reg_api::report::Published;
use reg_api::reporter::Reporter;
use reg_api::request::{Origin, PublishRequest};
use reg_keys::oms::bundle;
use reg_proto::attestation::{ATTESTATION_ARTIFACT_TYPE, Mirror};
use reg_proto::bounded::Bounded;
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::limits::{BUNDLE_BYTES_MAX, SETTLES_MAX};
use reg_proto::manifest::MANIFEST_TYPE;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use reg_proto::provenance::Provenance;
use reg_proto::referrer::{
    BUNDLE_ARTIFACT_TYPE, ENVELOPE_MEDIA_TYPE, KEYS_ARTIFACT_TYPE, PROVENANCE_ARTIFACT_TYPE,
};
use reg_proto::tag::{ManifestPointer, SignedTag, TagRecord};

use super::Publishing;
use super::assemble::Assembled;
use super::error::PublishError;
use super::preparation::Preparation;
use super::signatory::Signatory;
use crate::registry::limits::{PREPARATION_TIMEOUT, PREPARATIONS_MAX};
use crate::registry::model::record::ModelRecord;
use crate::registry::model::refer;
use crate::registry::publishers::key_pin::{self, KeyPinError};
use crate::registry::publishers::{TagsError, forks, keys, proofs, revoked, tags};

impl Publishing {
    /// Imports the files, computes their metadata, and returns the documents to sign.
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
        let (publishing, reporter) = (self.clone(), reporter.clone());
        tokio::task::spawn_blocking(move || publishing.prepare(request, keys, newest, None, &reporter))
            .await?
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
        let (publishing, silent) = (self.clone(), reporter.clone());
        let again = tokio::task::spawn_blocking(move || {
            publishing.prepare(request, keys, None, Some(&prepared), &silent)
        });
        self.commit_publish(again.await??.id, signed, reporter).await
    }

    /// Verifies the signatures, records the model, moves the tag, and announces it. `id` names the preparation. Once it returns,
    /// the model survives a crash.
    ///
    /// # Errors
    /// The preparation is not known, or what was signed is not what was prepared: see [`PublishError`].
    pub async fn commit_publish(
        self: &Arc<Self>,
        id: u64,
        signed: Signed,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        let publishing = self.clone();
        let (published, tag, keys) =
            tokio::task::spawn_blocking(move || publishing.commit(id, &signed)).await??;
        self.resolver.views.forget(published.publisher, &published.model);
        reporter.stage("announcing", &published.reference);
        self.news.seed_model(&published.manifest).await;
        self.news.announce(&tag, &keys).await;
        let holders = self.news.holders(&published.manifest).await;
        Ok(Published { holders, ..published })
    }

    /// Publishes in one step for a signatory that can sign now: prepares, lets it sign, commits.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(
        self: &Arc<Self>,
        by: Signatory<'_>,
        request: PublishRequest,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        let request = PublishRequest { key_documents: by.key_documents.to_vec(), ..request };
        let prepared = self.prepare_publish(request, reporter).await?;
        let signed = (by.sign)(&prepared)?;
        self.commit_publish(prepared.id, signed, reporter).await
    }

    /// Returns the newest record of a tag in the store or at any peer, which the new record has to follow.
    async fn newest_record(
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
            return Ok(tags::record(&self.store, keys.publisher(), model, tag)?);
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
            Err(_) => Ok(tags::record(&self.store, keys.publisher(), model, tag)?),
        }
    }

    fn prepare(
        self: &Arc<Self>,
        request: PublishRequest,
        mut keys: KeyHistory,
        newest: Option<SignedTag>,
        again: Option<&Prepared>,
        reporter: &Reporter,
    ) -> Result<Prepared, PublishError> {
        let PublishRequest { source, model, tag, claims, allow_unsafe, fresh_for, origin, settle, .. } =
            request;
        let expires_in = request.expires_in;
        let publisher = keys.publisher();
        let accepted = forks::accepted(&self.store, publisher)?;
        key_pin::follow(keys::keys(&self.store, publisher)?.as_ref(), &keys, accepted.as_ref())
            .map_err(TagsError::from)?;
        revoked::revoke(&self.store, &mut keys)?;
        self.check_name(publisher, &model)?;
        let Assembled { manifest, bytes, states, metadata, kinds, lease } =
            self.assemble(source, claims, allow_unsafe, reporter)?;
        let digest = self.store.put_blob(&bytes)?;
        let issued = again.map_or_else(clock::now, |it| it.issued);
        let provenance =
            Provenance { publisher, model: model.clone(), key_document: keys.version(), issued, states };
        let pointer = ManifestPointer { digest, size: bytes.len() as u64 };
        let record = match again {
            Some(again) => {
                let record = TagRecord::from_payload(again.tag_record.as_bytes())?;
                if (again.manifest, record.manifest) != (digest, pointer) {
                    return Err(PublishError::OtherFiles { prepared: again.manifest, found: digest });
                }
                record
            }
            None => {
                let settles = self.settles(&keys, &model, &tag, newest.as_ref(), settle)?;
                let next = tags::reserve(&self.store, &keys, &model, &tag, newest.as_ref())?;
                TagRecord {
                    publisher,
                    model: model.clone(),
                    tag: tag.clone(),
                    seq: next.seq,
                    prev: next.prev,
                    manifest: pointer,
                    key_document: keys.version(),
                    issued,
                    fresh_until: fresh_for.map(|seconds| issued.saturating_add(seconds)),
                    expires: expires_in.map(|seconds| issued.saturating_add(seconds)),
                    settles,
                    min_usable: None,
                }
            }
        };
        let prepared = Prepared {
            id: self.ids.fetch_add(1, Ordering::Relaxed),
            publisher,
            model,
            tag,
            manifest: digest,
            files: manifest.files().len(),
            bytes: manifest.total_bytes(),
            provenance: String::from_utf8_lossy(&provenance.to_payload(&digest)).into_owned(),
            tag_record: String::from_utf8_lossy(&record.to_payload()).into_owned(),
            resources: manifest.files().iter().map(|file| (file.path.clone(), file.digest)).collect(),
            issued,
            attestation: origin.map(|Origin { endpoint, repository, commit }| {
                let repository = repository.to_string();
                let mirror =
                    Mirror { publisher, key_document: keys.version(), issued, endpoint, repository, commit };
                String::from_utf8_lossy(&mirror.to_payload(&digest)).into_owned()
            }),
        };
        let descriptor = Descriptor::of(MANIFEST_TYPE, &bytes);
        self.remember(Preparation {
            prepared: prepared.clone(),
            manifest,
            descriptor,
            metadata,
            kinds,
            since: Instant::now(),
            _lease: lease,
        })?;
        Ok(prepared)
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

    /// Returns the heads that the next record settles: those of the last record, and, with `settle`, those of the
    /// contradictions that freeze the tag.
    fn settles(
        &self,
        keys: &KeyHistory,
        model: &ModelName,
        tag: &Tag,
        newest: Option<&SignedTag>,
        settle: bool,
    ) -> Result<Bounded<Digest, SETTLES_MAX>, PublishError> {
        let record = newest.map(SignedTag::record);
        let carried = record.into_iter().flat_map(|it| it.settles.iter().copied());
        let proofs = proofs::all(&self.store, keys, Some(model), Some(tag))?;
        let mut settles: Vec<Digest> = carried.collect();
        for proof in &proofs {
            if record.is_some_and(|record| proof.is_settled_by(record)) {
                continue;
            }
            if !settle && proofs::freezing(&self.store, keys, model, tag, &[])?.is_some() {
                return Err(PublishError::Frozen { source: tags::frozen(proof) });
            }
            settles
                .extend(proof.heads().into_iter().filter(|head| !settles.contains(head)).collect::<Vec<_>>());
        }
        // Keeps the newest: peers still exchange the proofs of the newest contradictions.
        let begin = settles.len().saturating_sub(SETTLES_MAX);
        Ok(Bounded::first_of(settles.split_off(begin)))
    }

    fn remember(&self, preparation: Preparation) -> Result<(), PublishError> {
        let mut preparations = self.preparations.lock().expect("no holder of this lock panics");
        preparations.retain(|_, it| it.since.elapsed() < PREPARATION_TIMEOUT);
        if preparations.len() >= PREPARATIONS_MAX {
            return Err(PublishError::TooManyPreparations);
        }
        preparations.insert(preparation.prepared.id, preparation);
        Ok(())
    }

    fn commit(&self, id: u64, signed: &Signed) -> Result<(Published, SignedTag, KeyHistory), PublishError> {
        let preparation = self.preparations.lock().expect("no holder of this lock panics").remove(&id);
        let preparation = preparation.ok_or(PublishError::NoPreparation { id })?;
        let Preparation { prepared, manifest, descriptor, metadata, kinds, .. } = &preparation;
        let mut keys = KeyHistory::read(&signed.key_documents)?;
        revoked::revoke(&self.store, &mut keys)?;
        let provenance =
            Provenance::verify(&signed.provenance, &keys, &prepared.model, &prepared.manifest, manifest)?;
        let tag = SignedTag::verify(&signed.tag_record, &keys)?;
        let same = tag.record().to_payload() == prepared.tag_record.as_bytes()
            && provenance.to_payload(&prepared.manifest) == prepared.provenance.as_bytes();
        if !same {
            return Err(PublishError::OtherThanPrepared);
        }
        if signed.bundle.len() > BUNDLE_BYTES_MAX {
            return Err(PublishError::Bundle { size: signed.bundle.len() });
        }
        bundle::check(&signed.bundle, &keys.signers(keys.version()), &prepared.resources)?;
        if let Some(blob) = manifest.blobs().into_keys().find(|blob| !self.store.contains(blob)) {
            return Err(PublishError::Evicted { blob });
        }
        let mut record = ModelRecord {
            publisher: prepared.publisher,
            model: prepared.model.clone(),
            blobs: manifest.blobs().into_keys().chain([prepared.manifest]).collect(),
            referrers: Vec::new(),
            bytes: prepared.bytes,
            files: prepared.files,
            complete: true,
            chosen: None,
            metadata: metadata.clone(),
            kinds: kinds.clone(),
        };
        refer::refer(
            &self.store,
            &mut record,
            descriptor,
            PROVENANCE_ARTIFACT_TYPE,
            ENVELOPE_MEDIA_TYPE,
            &signed.provenance,
        )?;
        refer::refer(
            &self.store,
            &mut record,
            descriptor,
            BUNDLE_ARTIFACT_TYPE,
            BUNDLE_ARTIFACT_TYPE,
            &signed.bundle,
        )?;
        if let (Some(payload), Some(envelope)) = (&prepared.attestation, &signed.attestation) {
            let mirror = Mirror::verify(envelope, &keys, &prepared.manifest)?;
            if mirror.to_payload(&prepared.manifest) != payload.as_bytes() {
                return Err(PublishError::OtherThanPrepared);
            }
            refer::refer(
                &self.store,
                &mut record,
                descriptor,
                ATTESTATION_ARTIFACT_TYPE,
                ENVELOPE_MEDIA_TYPE,
                envelope,
            )?;
        }
        let documents = keys.to_json();
        refer::refer(
            &self.store,
            &mut record,
            descriptor,
            KEYS_ARTIFACT_TYPE,
            KEYS_ARTIFACT_TYPE,
            &documents,
        )?;
        keys::pin_keys(&self.store, &keys)?;
        record.save(&self.store, &prepared.manifest)?;
        tags::see(&self.store, &keys, &tag)?;
        tags::keep(&self.store, &tag)?;
        self.store.touch(&prepared.manifest);
        self.store.commit();
        let published = Published {
            reference: Reference {
                publisher: Publisher::Id(prepared.publisher),
                model: prepared.model.clone(),
                tag: Some(prepared.tag.clone()),
                digest: None,
            },
            publisher: prepared.publisher,
            model: prepared.model.clone(),
            tag: prepared.tag.clone(),
            manifest: prepared.manifest,
            bytes: prepared.bytes,
            files: prepared.files,
            seq: tag.record().seq,
            holders: 0,
        };
        Ok((published, tag, keys))
    }
}
