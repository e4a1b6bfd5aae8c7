//! What is here: listing, describing, pinning, removing, collecting.

use std::collections::BTreeMap;

use reg_proto::attestation::{ATTESTATION_ARTIFACT_TYPE, Mirror};
use reg_proto::digest::Digest;
use reg_proto::name::{Petname, Publisher, PublisherId, Reference, Tag};
use reg_proto::referrer::BUNDLE_ARTIFACT_TYPE;
use reg_proto::tag::{SignedTag, TagRecord};
use thiserror::Error;
use tokio::task::JoinError;

use super::attest::AttestationInfo;
use super::documents::referrers_here;
use super::fault::{Fault, FaultKind};
use super::model::{self, ModelError, ModelRecord};
use super::pulls::Meant;
use super::report::{Collected, FileInfo, ModelInfo, ModelSummary, PartSummary, Paused, PeerReport, Status};
use super::resolve::{ResolveError, wanted_tag};
use super::tags::{self, TagsError};
use super::trust::TrustError;
use super::{Inner, Registry, clock};
use crate::store::{DocumentKind, ReadError, WriteError};

/// Why something about what is here cannot be told or changed.
#[derive(Debug, Error)]
pub enum CatalogueError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("model cannot be read")]
    Model(#[from] ModelError),
    #[error("cache cannot be read")]
    Read(#[from] ReadError),
    #[error("cache cannot be changed")]
    Write(#[from] WriteError),
    #[error("tags cannot be read or changed")]
    Tags(#[from] TagsError),
    #[error("{reference} is pinned")]
    Pinned { reference: Reference },
    #[error("{reference} has no OpenSSF bundle")]
    NoBundle { reference: Reference },
    #[error("trust file cannot be used")]
    Trust(#[from] TrustError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for CatalogueError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Resolve(source) => source.kind(),
            Self::Model(ModelError::NotHere { .. }) | Self::NoBundle { .. } => FaultKind::NotFound,
            Self::Pinned { .. } => FaultKind::Denied,
            Self::Trust(source) => source.kind(),
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(ResolveError::Offline { .. }) | Self::Model(ModelError::NotHere { .. }) => {
                Some("`reg ls` shows what is here, `reg pull REF` fetches".into())
            }
            Self::Resolve(source) => source.hint(),
            Self::Pinned { reference } => Some(format!("release it first: reg unpin {reference}")),
            Self::Trust(source) => source.hint(),
            _ => None,
        }
    }
}

impl Registry {
    /// Lists the models that are here, whole or in part.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn list(&self) -> Result<Vec<ModelSummary>, CatalogueError> {
        self.here(|inner| {
            let petnames = inner.petnames();
            let tags = inner.tags_by_model()?;
            let records = ModelRecord::all(&inner.store)?;
            let mut models: Vec<ModelSummary> = records
                .iter()
                .map(|(manifest, record)| inner.summary(*manifest, record, &petnames, &tags))
                .collect();
            models.sort_by(|one, two| {
                (&one.publisher, &one.model, &one.tags).cmp(&(&two.publisher, &two.model, &two.tags))
            });
            Ok(models)
        })
        .await
    }

    /// Returns all that is known of a model that is here.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn info(&self, reference: &Reference) -> Result<ModelInfo, CatalogueError> {
        let reference = reference.clone();
        self.here(move |inner| {
            let (manifest, record) = inner.model_here(&reference)?;
            let publisher = record.publisher;
            let summary = inner.summary(manifest, &record, &inner.petnames(), &inner.tags_by_model()?);
            let tag = match wanted_tag(&reference) {
                Some(tag) => tags::record(&inner.store, publisher, &record.model, &tag)?,
                None => tags::records(&inner.store, publisher, Some(&record.model))?
                    .into_iter()
                    .find(|it| it.record().manifest.digest == manifest),
            };
            let tag = tag.as_ref().map(SignedTag::record);
            let keys = tags::keys(&inner.store, publisher)?;
            let mirror = keys.as_ref().and_then(|keys| {
                let referrers = referrers_here(&inner, &record);
                let (_, said) =
                    referrers.iter().find(|(_, it)| it.artifact_type == ATTESTATION_ARTIFACT_TYPE)?;
                let document = model::document(&inner.store, &said.document.digest)?;
                Mirror::verify(&String::from_utf8_lossy(&document), keys, &manifest).ok()
            });
            let said = inner.said_here(&manifest, &record);
            let petnames = inner.petnames();
            let attestations = said.iter().map(|it| AttestationInfo::of(it, &petnames)).collect();
            let checks = inner.judge_here(&manifest, &record, &said)?;
            let version = keys.map_or(0, |keys| keys.version());
            Ok(ModelInfo {
                reference,
                key_document_version: tag.map_or(version, |it| it.key_document),
                seq: tag.map(|it| it.seq),
                issued: tag.map(|it| it.issued),
                fresh_until: tag.and_then(|it| it.fresh_until),
                expires: tag.and_then(|it| it.expires),
                metadata: record.metadata.clone(),
                referrers: record.referrers.clone(),
                kinds: record.kinds.clone(),
                mirror,
                attestations,
                checks,
                summary,
            })
        })
        .await
    }

    /// Lists the files of a model that is here.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn files(&self, reference: &Reference) -> Result<Vec<FileInfo>, CatalogueError> {
        let reference = reference.clone();
        self.here(move |inner| {
            let (digest, _) = inner.model_here(&reference)?;
            let manifest = model::manifest(&inner.store, &digest)?;
            let info = |file: &reg_proto::manifest::ModelFile| FileInfo {
                path: file.path.clone(),
                size: file.layout.size(),
                digest: file.digest,
                media_type: file.media_type.clone(),
                here: inner.store.contains(&file.digest),
            };
            Ok(manifest.files().iter().map(info).collect())
        })
        .await
    }

    /// Returns the OpenSSF bundle that the publisher made for this model.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn signature(&self, reference: &Reference) -> Result<String, CatalogueError> {
        let reference = reference.clone();
        self.here(move |inner| {
            let (_, record) = inner.model_here(&reference)?;
            let referrers = referrers_here(&inner, &record);
            let bundle = referrers.iter().find(|(_, it)| it.artifact_type == BUNDLE_ARTIFACT_TYPE);
            let document = bundle.and_then(|(_, it)| model::document(&inner.store, &it.document.digest));
            let text = document.and_then(|bytes| String::from_utf8(bytes).ok());
            text.ok_or(CatalogueError::NoBundle { reference })
        })
        .await
    }

    /// Keeps a model from being evicted.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn pin(&self, reference: &Reference) -> Result<Digest, CatalogueError> {
        let reference = reference.clone();
        self.here(move |inner| {
            let (manifest, record) = inner.model_here(&reference)?;
            let (key, name) = (key_of(&manifest, &record), reference.to_string());
            inner.store.put_document(DocumentKind::Pin, &key, name.as_bytes())?;
            Ok(manifest)
        })
        .await
    }

    /// Lets a model be evicted again.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn unpin(&self, reference: &Reference) -> Result<Digest, CatalogueError> {
        let reference = reference.clone();
        self.here(move |inner| {
            let (manifest, record) = inner.model_here(&reference)?;
            inner.store.remove_document(DocumentKind::Pin, &key_of(&manifest, &record))?;
            Ok(manifest)
        })
        .await
    }

    /// Forgets a model and its tags here, and removes the blobs that no other model needs. A reference by tag forgets
    /// just that tag while others mean the same manifest.
    ///
    /// # Errors
    /// See [`CatalogueError`]; a pinned model is not removed.
    pub async fn remove(&self, reference: &Reference) -> Result<Collected, CatalogueError> {
        let reference = reference.clone();
        self.here(move |inner| {
            let (manifest, record) = inner.model_here(&reference)?;
            let tags = tags::records(&inner.store, record.publisher, Some(&record.model))?;
            let (named, others): (Vec<SignedTag>, Vec<SignedTag>) = tags
                .into_iter()
                .filter(|it| it.record().manifest.digest == manifest)
                .partition(|it| wanted_tag(&reference).is_none_or(|tag| tag == it.record().tag));
            if others.is_empty() && inner.is_pinned(&manifest, &record) {
                return Err(CatalogueError::Pinned { reference });
            }
            for tag in &named {
                tags::forget(&inner.store, tag)?;
                let TagRecord { publisher, model, tag, .. } = tag.record();
                inner.heads.lock().expect("no holder of this lock panics").remove(*publisher, model, tag);
                inner.views.forget(*publisher, model);
            }
            if !others.is_empty() {
                return Ok(Collected::default());
            }
            inner.store.remove_document(DocumentKind::Model, &key_of(&manifest, &record))?;
            let report = inner.store.gc(false)?;
            Ok(Collected { models: vec![manifest], blobs: report.blobs, bytes: report.bytes, dry_run: false })
        })
        .await
    }

    /// Removes blobs that no model needs, and models that are least recently used while the cache is above its size.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn gc(&self, dry_run: bool) -> Result<Collected, CatalogueError> {
        self.here(move |inner| {
            let report = inner.store.gc(dry_run)?;
            Ok(Collected { models: report.models, blobs: report.blobs, bytes: report.bytes, dry_run })
        })
        .await
    }

    /// Pauses or resumes what runs.
    ///
    /// # Errors
    /// The publisher is not known.
    pub fn set_paused(
        &self,
        reference: Option<&Reference>,
        is_paused: bool,
    ) -> Result<Paused, CatalogueError> {
        let meant = match reference {
            Some(reference) => Some(Meant {
                publisher: self.inner.trust.resolve(&reference.publisher)?,
                model: reference.model.clone(),
                tag: reference.tag.clone(),
                digest: reference.digest,
            }),
            None => None,
        };
        Ok(self.inner.pulls.set_paused(meant.as_ref(), is_paused))
    }

    /// Lists the peers that this node is connected to.
    pub async fn peers(&self) -> Vec<PeerReport> {
        let peers = self.inner.network.peers().await.into_iter().map(|info| {
            let bytes = self.inner.traffic.with_peer(&info.peer);
            PeerReport {
                peer: info.peer,
                addresses: info.addresses,
                agent: info.agent,
                transport: info.transport,
                rtt_ms: info.rtt_ms,
                lanes: info.lanes,
                no_lane: info.no_lane,
                bytes_fetched: bytes.fetched,
                bytes_served: bytes.served,
                bytes_by_lane: bytes.by_lane,
            }
        });
        peers.collect()
    }

    /// Returns the node in figures.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn status(&self) -> Result<Status, CatalogueError> {
        let (listen, peers) =
            (self.inner.network.listen_addresses().await, self.inner.network.connected().await.len());
        let reachability = self.inner.network.reachability().await;
        self.here(move |inner| {
            let usage = inner.store.usage()?;
            Ok(Status {
                peer_id: inner.network.peer_id(),
                listen,
                reachability,
                peers,
                models: ModelRecord::all(&inner.store)?.len(),
                blobs: usage.blobs,
                bytes: usage.bytes,
                partial_bytes: usage.partial_bytes,
                cache_max_bytes: inner.store.limits().max_size,
                bytes_served: inner.traffic.served(),
                bytes_served_first: inner.traffic.served_first(),
                bytes_fetched: inner.traffic.fetched(),
                paused: inner.pulls.is_all_paused(),
                uptime_seconds: clock::now().saturating_sub(inner.started),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            })
        })
        .await
    }

    /// Runs what reads or writes the store off the tasks of the network.
    pub(super) async fn here<T: Send + 'static>(
        &self,
        work: impl FnOnce(std::sync::Arc<Inner>) -> Result<T, CatalogueError> + Send + 'static,
    ) -> Result<T, CatalogueError> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || work(inner)).await?
    }
}

impl Inner {
    /// Finds a model that is here, by what is here alone.
    pub(super) fn model_here(&self, reference: &Reference) -> Result<(Digest, ModelRecord), ResolveError> {
        let publisher = self
            .trust
            .resolve(&reference.publisher)
            .map_err(|source| ResolveError::Trust { reference: reference.clone(), source })?;
        let missing = || ResolveError::NotHere { reference: reference.clone() };
        let tagged = match wanted_tag(reference) {
            Some(tag) => tags::record(&self.store, publisher, &reference.model, &tag)
                .map_err(|source| ResolveError::Tags { reference: reference.clone(), source })?
                .map(|it| it.record().manifest.digest),
            None => None,
        };
        let manifest = reference.digest.or(tagged).ok_or_else(missing)?;
        let record =
            ModelRecord::load(&self.store, &manifest, publisher, &reference.model)?.ok_or_else(missing)?;
        Ok((manifest, record))
    }

    fn summary(
        &self,
        manifest: Digest,
        record: &ModelRecord,
        petnames: &BTreeMap<PublisherId, Petname>,
        tags: &BTreeMap<String, Vec<Tag>>,
    ) -> ModelSummary {
        ModelSummary {
            publisher: record.publisher,
            petname: petnames.get(&record.publisher).cloned(),
            model: record.model.clone(),
            tags: tags.get(&key_of(&manifest, record)).cloned().unwrap_or_default(),
            manifest,
            bytes: record.bytes,
            files: record.files,
            pinned: self.is_pinned(&manifest, record),
            part: record.chosen.as_ref().and_then(|_| self.part_summary(&manifest, record)),
            complete: record.complete && record.blobs.iter().all(|blob| self.store.contains(blob)),
            last_used: self.store.last_used(&manifest),
        }
    }

    /// What of a model was chosen, and whether it is here.
    fn part_summary(&self, manifest: &Digest, record: &ModelRecord) -> Option<PartSummary> {
        let (part, manifest) = (record.part(), model::manifest(&self.store, manifest).ok()?);
        Some(PartSummary {
            files: part.files(&manifest).count(),
            bytes: part.bytes(&manifest),
            complete: part.blobs(&manifest).keys().all(|blob| self.store.contains(blob)),
        })
    }

    fn is_pinned(&self, manifest: &Digest, record: &ModelRecord) -> bool {
        matches!(self.store.get_document(DocumentKind::Pin, &key_of(manifest, record)), Ok(Some(_)))
    }

    pub(super) fn petnames(&self) -> BTreeMap<PublisherId, Petname> {
        self.trust.list().unwrap_or_default().into_iter().map(|(petname, id)| (id, petname)).collect()
    }

    fn tags_by_model(&self) -> Result<BTreeMap<String, Vec<Tag>>, CatalogueError> {
        let mut tags: BTreeMap<String, Vec<Tag>> = BTreeMap::new();
        for publisher in tags::publishers(&self.store)? {
            for tag in tags::records(&self.store, publisher, None)? {
                let record = tag.record();
                let key = ModelRecord::key(&record.manifest.digest, publisher, &record.model);
                tags.entry(key).or_default().push(record.tag.clone());
            }
        }
        Ok(tags)
    }
}

fn key_of(manifest: &Digest, record: &ModelRecord) -> String {
    ModelRecord::key(manifest, record.publisher, &record.model)
}

/// Shows a publisher by the user's own name for it, where there is one.
pub fn shown(publisher: PublisherId, petname: Option<&Petname>) -> Publisher {
    petname.map_or(Publisher::Id(publisher), |petname| Publisher::Petname(petname.clone()))
}
