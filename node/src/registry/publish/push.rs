//! Takes pushed manifests. A ModelPack under the user's own name is published. One of another publisher is adopted once its
//! provenance is known, from referrers that were pushed with it or from peers. Until then it is held, and shown only to a
//! client that asks for it by digest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use reg_api::fault::{Fault, FaultKind};
use reg_api::report::Published;
use reg_api::reporter::Reporter;
use reg_api::request::{PublishRequest, PublishSource};
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::json;
use reg_proto::key::KeyHistory;
use reg_proto::limits::MANIFEST_BYTES_MAX;
use reg_proto::manifest::{Manifest, ManifestError};
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::referrer::{KEYS_ARTIFACT_TYPE, Referrer};
use serde::Deserialize;
use thiserror::Error;

use super::Publishing;
use super::error::PublishError;
use super::signatory::Signatory;
use crate::registry::import::UploadError;
use crate::registry::limits::{HELD_MAX, UPLOAD_IDLE};
use crate::registry::model::{record, whole};
use crate::registry::publishers::{keys, tags};
use crate::registry::pull::ConcludeError;
use crate::registry::resolve::{ModelView, Referrers, Resolved, Revision, ViewError, accept};

/// Media type of an OCI index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// The result of pushing a manifest.
#[derive(Debug)]
pub enum Pushed {
    /// It was signed with the user's key and published.
    Published(Box<Published>),
    /// Its provenance verifies: the model is kept and shared like one that was pulled.
    Adopted { manifest: Digest },
    /// It is held, because its provenance is not known yet.
    Held { manifest: Digest },
    /// It is a referrer: a document about the manifest `subject`.
    Referrer { manifest: Digest, subject: Digest },
}

/// Why a pushed manifest is refused.
#[derive(Debug, Error)]
pub enum PushError {
    #[error("manifest is neither of a model nor of a referrer")]
    NoModel(#[from] ManifestError),
    #[error("{blob} has not been uploaded")]
    Missing { blob: Digest },
    #[error("{path} looks like a secret: {found}")]
    Secret { path: SafePath, found: String },
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("manifest cannot be kept")]
    Upload(#[from] UploadError),
    #[error("{HELD_MAX} manifests wait for their provenance already")]
    TooMany,
    #[error("model is complete, but cannot be recorded")]
    Conclude(#[from] Box<ConcludeError>),
    #[error(transparent)]
    View(#[from] ViewError),
}

impl Fault for PushError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NoModel(_) | Self::Missing { .. } | Self::Secret { .. } => FaultKind::Invalid,
            Self::Publish(source) => source.kind(),
            Self::Upload(source) => source.kind(),
            Self::TooMany => FaultKind::RetryLater,
            Self::Conclude(_) => FaultKind::Denied,
            Self::View(source) => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoModel(_) => Some("push a CNCF ModelPack with raw layers, or its referrers".to_owned()),
            Self::Secret { path, .. } => {
                Some(format!("leave it out, or publish the folder with `reg publish --secret {path}`"))
            }
            Self::Publish(source) => source.client_hint(),
            Self::View(source) => source.hint(),
            _ => None,
        }
    }
}

/// Pushed manifests that belong to no recorded model. They are dropped after [`UPLOAD_IDLE`].
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<BTreeMap<Digest, HeldManifest>>);

#[derive(Debug, Clone)]
struct HeldManifest {
    publisher: PublisherId,
    model: ModelName,
    bytes: Vec<u8>,
    /// The manifest that a referrer is about.
    subject: Option<Digest>,
    since: Instant,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, HeldManifest>> {
        let mut held = self.0.lock().expect("no holder of this lock panics");
        held.retain(|_, it| it.since.elapsed() < UPLOAD_IDLE);
        held
    }
}

/// The fields of an OCI manifest that name other blobs.
#[derive(Deserialize)]
struct AnyManifest {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    subject: Option<Descriptor>,
}

impl Publishing {
    /// Takes a manifest. Its blobs must have been uploaded. `by` signs it, if the user may publish under that name.
    ///
    /// # Errors
    /// A blob is missing, or the manifest is refused: see [`PushError`].
    pub async fn push_manifest(
        self: &Arc<Self>,
        publisher: PublisherId,
        model: &ModelName,
        tag: Option<Tag>,
        bytes: Vec<u8>,
        by: Option<Signatory<'_>>,
    ) -> Result<Pushed, PushError> {
        let digest = Digest::of(&bytes);
        let any: AnyManifest = json::from_slice(&bytes, MANIFEST_BYTES_MAX).map_err(ManifestError::from)?;
        let subject = any.subject.as_ref().map(|it| it.digest);
        let manifest = if subject.is_none() { Some(Manifest::from_bytes(&bytes)?) } else { None };
        let needed = any.layers.iter().chain(&any.config).map(|it| it.digest);
        for blob in needed.filter(|blob| *blob != Digest::of(reg_proto::referrer::EMPTY_BLOB)) {
            self.store.blob_size(&blob).ok_or(PushError::Missing { blob })?;
        }
        self.importing.put_small(bytes.clone()).await?;
        if let (Some(manifest), Some(by), Some(tag)) =
            (&manifest, by.filter(|it| it.publisher == publisher), &tag)
        {
            for file in manifest.files() {
                if let Some(found) = self.importing.secret_in(&file.path, file.digest).await {
                    return Err(PushError::Secret { path: file.path.clone(), found });
                }
            }
            let (pack, model) = (PublishSource::Pack(digest), self.spelling(publisher, model));
            let request = PublishRequest {
                allow_unsafe: self.resolver.consent.is_to_everything(),
                allow: self.resolver.consent.kinds().clone(),
                ..PublishRequest::new(pack, Vec::new(), model, tag.clone())
            };
            let published = self.publish(by, request, &Reporter::silent()).await?;
            return Ok(Pushed::Published(Box::new(published)));
        }
        let held = HeldManifest { publisher, model: model.clone(), bytes, subject, since: Instant::now() };
        {
            let mut all = self.held.lock();
            if all.len() >= HELD_MAX && !all.contains_key(&digest) {
                return Err(PushError::TooMany);
            }
            all.insert(digest, held);
        }
        let about = subject.unwrap_or(digest);
        let adopted = self.adopt(publisher, model, about, subject.is_none()).await?;
        Ok(match (subject, adopted) {
            (Some(subject), _) => Pushed::Referrer { manifest: digest, subject },
            (None, true) => Pushed::Adopted { manifest: digest },
            (None, false) => Pushed::Held { manifest: digest },
        })
    }

    /// Returns the bytes of a held manifest; `None` if there is none of that publisher, name and digest.
    pub fn held_manifest(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        digest: &Digest,
    ) -> Option<Vec<u8>> {
        let held = self.held.lock();
        let it = held.get(digest)?;
        (it.publisher == publisher && it.model.folded() == model.folded()).then(|| it.bytes.clone())
    }

    /// Forgets a held manifest. Returns whether there was one.
    pub fn drop_held(&self, digest: &Digest) -> bool {
        self.held.lock().remove(digest).is_some()
    }

    /// Returns the referrers of a version of a model: those in the store, and those that are held.
    pub async fn referrers(self: &Arc<Self>, view: &ModelView) -> Vec<Descriptor> {
        let (publishing, subject) = (self.clone(), view.digest());
        let listed: Vec<Digest> = view.referrers().to_vec();
        let read = move || {
            let kept = listed
                .iter()
                .filter_map(|digest| describe(*digest, &record::document(&publishing.store, digest)?));
            let mut all: BTreeMap<Digest, Descriptor> = kept.map(|it| (it.digest, it)).collect();
            all.extend(publishing.held_referrers(subject).into_iter().map(|it| (it.digest, it)));
            all.into_values().collect()
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }

    /// Returns the held referrers of a manifest.
    pub fn held_referrers(&self, subject: Digest) -> Vec<Descriptor> {
        let held = self.held.lock();
        let about = held.iter().filter(|(_, it)| it.subject == Some(subject));
        about.filter_map(|(digest, it)| describe(*digest, &it.bytes)).collect()
    }

    /// Records the model of another publisher, if everything that proves it is in the store, or, with `ask`, at a peer.
    async fn adopt(
        self: &Arc<Self>,
        publisher: PublisherId,
        model: &ModelName,
        digest: Digest,
        ask: bool,
    ) -> Result<bool, PushError> {
        let publishing = self.clone();
        let name = model.clone();
        let local = tokio::task::spawn_blocking(move || publishing.adopt_here(publisher, &name, digest));
        let mut view = local.await.ok().flatten();
        if view.is_none() && ask && !self.network.is_offline() {
            let by_id = Publisher::Id(publisher);
            let found = self.resolver.view(&by_id, model, &Revision::Digest(digest)).await;
            view = found.ok();
        }
        let Some(view) = view else { return Ok(false) };
        let publishing = self.clone();
        let concluded = tokio::task::spawn_blocking(move || {
            publishing.puller.conclude(&view)?;
            publishing.held.lock().retain(|it, held| *it != digest && held.subject != Some(digest));
            Ok::<_, ConcludeError>(whole::is_complete(&publishing.store, &digest))
        });
        match concluded.await {
            Ok(Ok(complete)) => Ok(complete),
            Ok(Err(error)) => Err(PushError::Conclude(Box::new(error))),
            Err(_) => Ok(false),
        }
    }

    /// Returns a model's name as the publisher spells it. OCI clients send it in lower case.
    fn spelling(&self, publisher: PublisherId, model: &ModelName) -> ModelName {
        let known = tags::records(&self.store, publisher, Some(model)).unwrap_or_default();
        known.first().map_or_else(|| model.clone(), |tag| tag.record().model.clone())
    }

    /// Proves a held model without asking peers: by keys that are known or were pushed, and by a pushed provenance.
    fn adopt_here(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        digest: Digest,
    ) -> Option<Arc<ModelView>> {
        let bytes = self.held.lock().get(&digest)?.bytes.clone();
        let manifest = Manifest::from_bytes(&bytes).ok()?;
        let mut candidates = Referrers::default();
        for pushed in self.held_referrers(digest) {
            let bytes = self.held.lock().get(&pushed.digest)?.bytes.clone();
            let Ok(referrer) = Referrer::from_bytes(&bytes) else { continue };
            let Some(document) = record::document(&self.store, &referrer.document.digest) else { continue };
            candidates.add(pushed.digest, referrer, document);
        }
        let known = keys::keys(&self.store, publisher).ok().flatten();
        let pushed = candidates
            .of_type(KEYS_ARTIFACT_TYPE)
            .find_map(|text| KeyHistory::from_json(publisher, text.as_bytes()).ok());
        let keys = known.or(pushed)?;
        let accepted =
            accept(&candidates, &keys, model, digest, &manifest, &self.resolver.attestors()).ok()?;
        keys::pin_keys(&self.store, &keys).ok()?;
        let mut documents = BTreeMap::from([(digest, bytes)]);
        for (referrer, parsed, document) in candidates.iter() {
            if accepted.referrers.contains(referrer) {
                documents.insert(*referrer, self.held.lock().get(referrer)?.bytes.clone());
                documents.insert(parsed.document.digest, document.clone());
            }
        }
        let empty = reg_proto::referrer::EMPTY_BLOB;
        documents.insert(Digest::of(empty), empty.to_vec());
        let by_id = Publisher::Id(publisher);
        let reference = Reference { publisher: by_id, model: model.clone(), tag: None, digest: Some(digest) };
        let resolved = Resolved {
            keys,
            model: accepted.provenance.model.clone(),
            tag: None,
            digest,
            manifest,
            provenance: accepted.provenance,
            documents,
            states: BTreeMap::new(),
            referrers: accepted.referrers,
            said: accepted.said,
            notes: Vec::new(),
            finder: None,
            later: None,
            holders: Vec::new(),
            strangers: BTreeSet::new(),
            behind: None,
            head: None,
            has_other: false,
        };
        self.resolver.keep_view(reference, resolved).ok().map(Arc::new)
    }
}

fn describe(digest: Digest, bytes: &[u8]) -> Option<Descriptor> {
    let referrer = Referrer::from_bytes(bytes).ok()?;
    let artifact_type = Some(referrer.artifact_type);
    Some(Descriptor {
        artifact_type,
        ..Descriptor::new(reg_proto::manifest::MANIFEST_TYPE, digest, bytes.len() as u64)
    })
}
