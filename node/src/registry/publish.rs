//! Publishing: import → describe → judge → sign → store → tag → announce → provide.
//!
//! It comes in two halves, because only the command that holds the key signs: [`Registry::prepare_publish`] makes
//! everything but the signatures, and shows it to nobody; [`Registry::commit_publish`] checks the signatures like a
//! stranger's, and only then moves the tag.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use reg_proto::attestation::{ATTESTATION_ARTIFACT_TYPE, Mirror};
use reg_proto::bounded::Bounded;
use reg_proto::content::metadata::Metadata;
use reg_proto::descriptor::Descriptor;
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, EnvelopeError};
use reg_proto::json::{self, JsonError};
use reg_proto::key::{KeyError, KeyHistory, publisher_id};
use reg_proto::limits::{BUNDLE_BYTES_MAX, KEY_ENVELOPE_BYTES_MAX, SETTLES_MAX};
use reg_proto::manifest::{MANIFEST_TYPE, Manifest};
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use reg_proto::peer::PeerId;
use reg_proto::provenance::{Provenance, ProvenanceError};
use reg_proto::referrer::{
    BUNDLE_ARTIFACT_TYPE, EMPTY_BLOB, ENVELOPE_MEDIA_TYPE, KEYS_ARTIFACT_TYPE, PROVENANCE_ARTIFACT_TYPE,
    Referrer,
};
use reg_proto::tag::{ManifestPointer, SignedTag, TagError, TagRecord};
use reg_proto::wire::{Request, Response};
use thiserror::Error;
use tokio::task::{JoinError, JoinSet};
use tracing::debug;

use super::assemble::{AssembleError, Assembled};
use super::bundle::{self, BundleError};
use super::fault::{Fault, FaultKind};
use super::heads::{self, Head};
use super::key_pin::{self, KeyPinError};
use super::limits::{PREPARATION_TIMEOUT, PREPARATIONS_MAX, QUESTIONS_AT_ONCE};
use super::model::ModelRecord;
use super::publisher_key::{PublisherKey, SignError};
use super::report::{Prepared, Published, Signed};
use super::request::{Origin, PublishRequest};
use super::resolve::{ResolveError, holder_of};
use super::tags::{self, TagsError};
use super::{Inner, Registry, Reporter, clock, proofs, vows};
use crate::store::{Lease, WriteError};

/// A model that waits for its signatures.
#[derive(Debug)]
pub(super) struct Preparation {
    prepared: Prepared,
    manifest: Manifest,
    descriptor: Descriptor,
    metadata: Metadata,
    kinds: BTreeMap<String, usize>,
    since: Instant,
    /// Keeps the blobs from being evicted meanwhile.
    _lease: Lease,
}

/// Why a model is not published. Nothing of it is visible to anyone then.
#[derive(Debug, Error)]
pub enum PublishError {
    #[error("key document of the publisher is refused")]
    KeyDocument(#[from] EnvelopeError),
    #[error("keys of the publisher are refused")]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error("{blob} is gone from the cache since the model was prepared")]
    Evicted { blob: Digest },
    #[error("signed bundle is refused")]
    BundleRefused(#[from] BundleError),
    #[error("store does not take the model")]
    Write(#[from] WriteError),
    #[error("tag cannot be moved")]
    Tags(#[from] TagsError),
    #[error("tag cannot be moved")]
    Frozen { source: TagsError },
    #[error("tag record that was prepared is not understood")]
    Record(#[from] JsonError),
    #[error("files are not those that were prepared: their manifest is {found}, not {prepared}")]
    OtherFiles { prepared: Digest, found: Digest },
    #[error("newest record of the tag cannot be found out")]
    Newest(#[source] Box<ResolveError>),
    #[error("model name {wanted} is taken: this publisher has {existing}, the same but for case")]
    NameTaken { wanted: ModelName, existing: ModelName },
    #[error("preparation {id} is not known: it has expired, or the daemon was started anew")]
    NoPreparation { id: u64 },
    #[error("{PREPARATIONS_MAX} models wait for their signatures already")]
    TooManyPreparations,
    #[error("signed provenance is refused")]
    Provenance(#[from] ProvenanceError),
    #[error("signed tag record is refused")]
    Tag(#[from] TagError),
    #[error("what was signed is not what was prepared")]
    OtherThanPrepared,
    #[error("bundle has {size} bytes, at most {BUNDLE_BYTES_MAX} are taken")]
    Bundle { size: usize },
    #[error("model cannot be signed")]
    Sign(#[from] SignError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for PublishError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Assemble(source) => source.kind(),
            Self::Evicted { .. } => FaultKind::RetryLater,
            Self::BundleRefused(_) => FaultKind::Verification,
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Keys(_) | Self::Provenance(_) | Self::Tag(_) | Self::Sign(_) | Self::OtherThanPrepared => {
                FaultKind::Verification
            }
            Self::Newest(source) => source.kind(),
            Self::Tags(source) | Self::Frozen { source } => source.kind(),
            Self::OtherFiles { .. } => FaultKind::Verification,
            Self::NoPreparation { .. } => FaultKind::NotFound,
            Self::TooManyPreparations => FaultKind::RetryLater,
            Self::Write(_) | Self::Interrupted(_) => FaultKind::Internal,
            _ => FaultKind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Assemble(source) => source.hint(),
            Self::Evicted { .. } => Some("publish again".into()),
            Self::NameTaken { existing, .. } => {
                Some(format!("publish as {existing}, or choose another name"))
            }
            Self::NoPreparation { .. } => Some("publish again".into()),
            Self::OtherFiles { .. } => Some("prepare anew: reg publish … --prepare FILE".into()),
            Self::Frozen { .. } => Some(
                "if you have signed both, publish with --settle; if not, your key is stolen: reg key rotate NAME --floor N"
                    .into(),
            ),
            Self::Newest(source) => source.hint(),
            Self::Tags(source) => source.hint(),
            _ => None,
        }
    }
}

impl Registry {
    /// Imports the files, computes what is known of them, and returns what is to be signed.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing is visible to anyone afterwards.
    pub async fn prepare_publish(
        &self,
        request: PublishRequest,
        reporter: &Reporter,
    ) -> Result<Prepared, PublishError> {
        let keys = keys_of(&request.key_documents)?;
        let newest = self.newest_record(&keys, &request.model, &request.tag, reporter).await?;
        let (inner, reporter) = (self.inner.clone(), reporter.clone());
        tokio::task::spawn_blocking(move || inner.prepare(request, keys, newest, None, &reporter)).await?
    }

    /// Publishes what was prepared some time ago, perhaps by another node, and signed meanwhile somewhere else: the files
    /// are read anew, and must be those that were signed.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_signed(
        &self,
        request: PublishRequest,
        prepared: Prepared,
        signed: Signed,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        let keys = keys_of(&request.key_documents)?;
        let (inner, silent) = (self.inner.clone(), reporter.clone());
        let again =
            tokio::task::spawn_blocking(move || inner.prepare(request, keys, None, Some(&prepared), &silent));
        self.commit_publish(again.await??.id, signed, reporter).await
    }

    /// Checks the signatures, keeps the model, moves the tag, and tells the network.
    ///
    /// # Errors
    /// See [`PublishError`]. Once it returns, the model is there after a crash too.
    pub async fn commit_publish(
        &self,
        id: u64,
        signed: Signed,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        let inner = self.inner.clone();
        let (published, tag, keys) = tokio::task::spawn_blocking(move || inner.commit(id, &signed)).await??;
        self.inner.views.forget(published.publisher, &published.model);
        reporter.stage("announcing", &published.reference);
        self.inner.seed_model(&published.manifest).await;
        self.inner.announce(&tag, &keys).await;
        let holders = self.holders(&published.manifest).await;
        Ok(Published { holders, ..published })
    }

    /// Publishes with a key that is at hand: prepares, signs, commits.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(
        &self,
        key: &PublisherKey,
        request: PublishRequest,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        let request = PublishRequest { key_documents: key.key_documents().to_vec(), ..request };
        let prepared = self.prepare_publish(request, reporter).await?;
        let signed = key.sign(&prepared)?;
        self.commit_publish(prepared.id, signed, reporter).await
    }

    /// Counts the connected peers that say they hold the whole model, this node not counted.
    pub async fn holders(&self, manifest: &Digest) -> usize {
        let manifest = *manifest;
        let mut peers = self.inner.network.connected().await.into_iter();
        let mut asked: JoinSet<(PeerId, bool)> = JoinSet::new();
        let mut holders = BTreeSet::new();
        loop {
            while asked.len() < QUESTIONS_AT_ONCE {
                let Some(peer) = peers.next() else { break };
                let network = self.inner.network.clone();
                asked.spawn(async move {
                    let answer = network.ask(peer, Request::GetHolders { manifest }).await;
                    let holds = matches!(answer, Ok(Response::Holders { holders })
                        if holders.iter().any(|holder| holder.peer == peer));
                    (peer, holds)
                });
            }
            match asked.join_next().await {
                Some(Ok((peer, true))) => drop(holders.insert(peer)),
                Some(_) => {}
                None => return holders.len(),
            }
        }
    }

    /// The newest record of a tag that is here or at any peer: what a new record must follow.
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
        if self.inner.network.connected().await.is_empty() {
            return Ok(tags::record(&self.inner.store, keys.publisher(), model, tag)?);
        }
        match self.inner.newest_tag(&reference, reporter).await {
            Ok((tag, told)) => {
                // Whoever holds older keys than others have seen must not sign with them.
                if let Some(told) = told {
                    match key_pin::follow(Some(&told), keys) {
                        Ok(_) | Err(KeyPinError::Dead { .. }) => {}
                        Err(error) => return Err(PublishError::Tags(error.into())),
                    }
                }
                Ok(tag)
            }
            Err(error) if error.kind() == FaultKind::Verification => {
                Err(PublishError::Newest(Box::new(error)))
            }
            Err(_) => Ok(tags::record(&self.inner.store, keys.publisher(), model, tag)?),
        }
    }
}

/// Verifies the key documents of a publisher, the first of which names it.
pub(super) fn keys_of(envelopes: &[String]) -> Result<KeyHistory, PublishError> {
    let first = envelopes.first().ok_or(KeyError::Empty)?;
    let read = Envelope::from_bytes(first.as_bytes(), KEY_ENVELOPE_BYTES_MAX)?;
    Ok(KeyHistory::verify(publisher_id(&read.payload), envelopes)?)
}

impl Inner {
    fn prepare(
        &self,
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
        key_pin::follow(tags::keys(&self.store, publisher)?.as_ref(), &keys).map_err(TagsError::from)?;
        vows::revoke(&self.store, &mut keys)?;
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
                }
            }
        };
        let prepared = Prepared {
            id: self.next_id(),
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

    /// Models are unique per publisher without case: `Tiny` beside `tiny` would be one name to OCI.
    fn check_name(&self, publisher: PublisherId, wanted: &ModelName) -> Result<(), PublishError> {
        let existing = tags::records(&self.store, publisher, Some(wanted))?
            .into_iter()
            .map(|it| it.record().model.clone());
        match existing.into_iter().find(|it| it != wanted) {
            Some(existing) => Err(PublishError::NameTaken { wanted: wanted.clone(), existing }),
            None => Ok(()),
        }
    }

    /// Returns the heads that the next record settles: those that the last one did, and, where the publisher says so, those
    /// of the contradictions that freeze the tag.
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
        // The newest contradictions are those that are still passed around.
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
        let mut keys = keys_of(&signed.key_documents)?;
        vows::revoke(&self.store, &mut keys)?;
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
        self.refer(
            &mut record,
            descriptor,
            PROVENANCE_ARTIFACT_TYPE,
            ENVELOPE_MEDIA_TYPE,
            &signed.provenance,
        )?;
        self.refer(&mut record, descriptor, BUNDLE_ARTIFACT_TYPE, BUNDLE_ARTIFACT_TYPE, &signed.bundle)?;
        if let (Some(payload), Some(envelope)) = (&prepared.attestation, &signed.attestation) {
            let mirror = Mirror::verify(envelope, &keys, &prepared.manifest)?;
            if mirror.to_payload(&prepared.manifest) != payload.as_bytes() {
                return Err(PublishError::OtherThanPrepared);
            }
            self.refer(&mut record, descriptor, ATTESTATION_ARTIFACT_TYPE, ENVELOPE_MEDIA_TYPE, envelope)?;
        }
        let documents = String::from_utf8_lossy(&json::to_vec(&keys.envelopes())).into_owned();
        self.refer(&mut record, descriptor, KEYS_ARTIFACT_TYPE, KEYS_ARTIFACT_TYPE, &documents)?;
        tags::pin_keys(&self.store, &keys)?;
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

    /// Keeps a document about a model, as an OCI referrer of its manifest.
    pub(super) fn refer(
        &self,
        record: &mut ModelRecord,
        subject: &Descriptor,
        artifact_type: &str,
        media_type: &str,
        document: &str,
    ) -> Result<(), WriteError> {
        let referrer = Referrer {
            artifact_type: artifact_type.to_owned(),
            subject: subject.clone(),
            document: Descriptor::of(media_type, document.as_bytes()),
        };
        let digest = self.store.put_blob(&referrer.to_bytes())?;
        record.blobs.extend([
            digest,
            self.store.put_blob(document.as_bytes())?,
            self.store.put_blob(EMPTY_BLOB)?,
        ]);
        record.referrers.push(digest);
        Ok(())
    }

    /// Tells the network what a tag now means, and that this node holds it.
    pub(super) async fn announce(self: &Arc<Self>, tag: &SignedTag, keys: &KeyHistory) {
        if self.sharing.gives(&tag.record().publisher, &tag.record().model) {
            self.announce_text(tag.envelope(), keys).await;
        }
    }

    /// Tells the network a tag record, or that its keys are revoked.
    pub(super) async fn announce_text(self: &Arc<Self>, tag: &str, keys: &KeyHistory) {
        let own = self.network.peer_id();
        let holder = holder_of(own, self.network.listen_addresses().await);
        let announcement = heads::announcement(Some(tag), keys, holder, None);
        match Head::verify(tag, &announcement, keys.clone()) {
            Ok(head) => drop(self.take_head(head)),
            Err(error) => debug!(%error, "a tag record that is revoked is told along with its revocation"),
        }
        self.network.announce(announcement).await;
    }

    /// Provides a model in the DHT: its publisher's records, its large blobs as far as they are here, and its manifest
    /// where it is here whole.
    pub(super) async fn seed_model(&self, manifest: &Digest) {
        let mut keys = BTreeSet::new();
        let records = ModelRecord::of_manifest(&self.store, manifest);
        for record in records.iter().filter(|it| self.sharing.gives(&it.publisher, &it.model)) {
            keys.extend(record.complete.then(|| DhtKey::manifest(manifest)));
            keys.insert(DhtKey::publisher(&record.publisher));
            keys.extend(
                record.blobs.iter().filter_map(|blob| DhtKey::blob(blob, self.store.blob_size(blob)?)),
            );
        }
        for key in keys {
            self.network.provide(key).await;
        }
    }
}
