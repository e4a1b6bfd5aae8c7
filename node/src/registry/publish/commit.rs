//! The second half of a publication: verify what was signed → store → tag → announce → provide.
//!
//! [`Publishing::commit_publish`] verifies the signatures as strictly as those of a peer, and only then moves the tag. The
//! model and its documents are in the store before the tag's document names them; that is written before peers hear of it.

use std::sync::Arc;

use reg_api::prepared::Signed;
use reg_api::report::Published;
use reg_api::reporter::Reporter;
use reg_api::request::PublishRequest;
use reg_keys::oms::bundle;
use reg_proto::attestation::{ATTESTATION_ARTIFACT_TYPE, Mirror};
use reg_proto::catalogue::{CARD_ARTIFACT_TYPE, SignedCard};
use reg_proto::key::KeyHistory;
use reg_proto::limits::BUNDLE_BYTES_MAX;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference};
use reg_proto::provenance::Provenance;
use reg_proto::referrer::{
    BUNDLE_ARTIFACT_TYPE, ENVELOPE_MEDIA_TYPE, KEYS_ARTIFACT_TYPE, PROVENANCE_ARTIFACT_TYPE,
};
use reg_proto::tag::SignedTag;

use super::Publishing;
use super::error::PublishError;
use super::preparation::Preparation;
use super::signatory::Signatory;
use crate::registry::model::record::ModelRecord;
use crate::registry::model::{kept, refer};
use crate::registry::publishers::{keys, publication, revoked, tags};

impl Publishing {
    /// Verifies the signatures, records the model and moves the tag. `id` names the preparation. Once it returns, the model
    /// survives a crash, and is announced behind the caller.
    ///
    /// # Errors
    /// The preparation is not known, or what was signed is not what was prepared: see [`PublishError`].
    pub async fn commit_publish(
        self: &Arc<Self>,
        id: u64,
        signed: Signed,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        self.commit_prepared(self.preparations.take(id)?, signed, reporter).await
    }

    /// Commits a preparation in a task of its own, so that a tag that has moved is announced even if the command has ended. Waits
    /// for no peer.
    pub(super) async fn commit_prepared(
        self: &Arc<Self>,
        preparation: Preparation,
        signed: Signed,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        let (publishing, reporter) = (self.clone(), reporter.clone());
        let commit = async move {
            let committing = publishing.clone();
            let (published, tag, keys) = tokio::task::spawn_blocking(move || {
                let committed = committing.commit(&preparation, &signed);
                drop::<Preparation>(preparation);
                committed
            })
            .await??;
            tracing::info!(reference = %published.reference, manifest = %published.manifest, "a model is published");
            publishing.resolver.views.forget(published.publisher, &published.model, &tag.record().tag);
            reporter.stage("announcing", &published.reference);
            let (news, manifest) = (publishing.news.clone(), published.manifest);
            // The head is known before the caller goes on: the caller may remove the tag at once, and it must stay removed.
            news.announce(&tag, &keys).await;
            let announce = async move {
                news.seed_model(&manifest).await;
                // A round trip to each peer: afterwards the announcement has left this node.
                let _holders = news.holders(&manifest).await;
            };
            publishing.announcing.begin(announce).await;
            Ok(published)
        };
        tokio::spawn(commit).await?
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
        let preparation = self.preparations.take(prepared.id)?;
        let signed = (by.sign)(&prepared)?;
        self.commit_prepared(preparation, signed, reporter).await
    }

    /// Verifies what was signed, records the model, and then moves the tag in one write.
    fn commit(
        &self,
        preparation: &Preparation,
        signed: &Signed,
    ) -> Result<(Published, SignedTag, KeyHistory), PublishError> {
        let prepared = &preparation.prepared;
        let (tag, keys) = self.verify(preparation, signed)?;
        let record = self.record(preparation, signed, &keys)?;
        keys::pin_keys(&self.store, &keys)?;
        record.save(&self.store, &prepared.manifest)?;
        let key = ModelRecord::key(&prepared.manifest, record.publisher, &record.model);
        kept::keep_published(&self.store, &key)?;
        publication::finish(&self.store, &keys, &tag)?;
        // The model that the tag meant before has a successor, which is on the disk now.
        if let Err(error) = self.let_go_of_superseded(prepared.publisher, &prepared.model) {
            tracing::warn!(model = %prepared.model, %error, "older versions cannot be let go of");
        }
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

    fn let_go_of_superseded(&self, publisher: PublisherId, model: &ModelName) -> Result<(), PublishError> {
        let standing = tags::records(&self.store, publisher, Some(model))?;
        let meant = standing.iter().map(|tag| tag.record().manifest.digest).collect();
        Ok(kept::let_go_of_superseded(&self.store, publisher, model, &meant)?)
    }

    /// Verifies the signatures, and that what was signed is what was prepared.
    fn verify(
        &self,
        preparation: &Preparation,
        signed: &Signed,
    ) -> Result<(SignedTag, KeyHistory), PublishError> {
        let Preparation { prepared, manifest, .. } = preparation;
        let mut keys = KeyHistory::read(&signed.key_documents)?;
        revoked::revoke(&self.store, &mut keys)?;
        PublishError::refuse_dead(&keys)?;
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
        Ok((tag, keys))
    }

    /// Keeps the signed documents beside the model, and returns its record.
    fn record(
        &self,
        preparation: &Preparation,
        signed: &Signed,
        keys: &KeyHistory,
    ) -> Result<ModelRecord, PublishError> {
        let Preparation { prepared, manifest, descriptor, metadata, kinds, .. } = preparation;
        let mut record = ModelRecord {
            publisher: prepared.publisher,
            model: prepared.model.clone(),
            blobs: manifest.blobs().into_keys().chain([prepared.manifest]).collect(),
            referrers: Vec::new(),
            bytes: prepared.bytes,
            files: prepared.files,
            complete: true,
            chosen: None,
            pulling: None,
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
            let mirror = Mirror::verify(envelope, keys, &prepared.manifest)?;
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
        // A signer of a version before cards has signed none.
        if let (Some(payload), Some(envelope)) = (&prepared.card, &signed.card) {
            let card = SignedCard::verify(envelope, keys)?;
            if card.card().to_payload() != payload.as_bytes() {
                return Err(PublishError::OtherThanPrepared);
            }
            refer::refer(
                &self.store,
                &mut record,
                descriptor,
                CARD_ARTIFACT_TYPE,
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
        Ok(record)
    }
}
