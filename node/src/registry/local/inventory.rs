//! Describes, pins and removes the models in the store, and collects garbage.

use std::sync::Arc;

use reg_api::clock;
use reg_api::fault::{Fault, FaultKind};
use reg_api::report::{AttestationInfo, Collected, FileInfo, ModelInfo, PartSummary, Paused, Status};
use reg_api::request::{CardClaims, Claims, wanted_tag};
use reg_proto::attestation::{ATTESTATION_ARTIFACT_TYPE, Mirror};
use reg_proto::catalogue::{CARD_ARTIFACT_TYPE, SignedCard};
use reg_proto::digest::Digest;
use reg_proto::name::{Petname, Publisher, PublisherId, Reference};
use reg_proto::referrer::BUNDLE_ARTIFACT_TYPE;
use reg_proto::tag::{SignedTag, TagRecord};
use thiserror::Error;
use tokio::task::JoinError;

use super::Local;
use super::listing::More;
use crate::net::Rendezvous;
use crate::registry::model::checkout::CheckoutError;
use crate::registry::model::folder::FolderError;
use crate::registry::model::kept::{self, Kept};
use crate::registry::model::record::{self, ModelError, ModelRecord, referrers_here};
use crate::registry::publishers::{TagsError, keys, tags};
use crate::registry::resolve::{ModelHere, ResolveError, TagHere};
use crate::registry::trust::TrustError;
use crate::store::{CacheSize, DocumentKind, ReadError, WriteError};

/// Why the owner's question or change fails.
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
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("file cannot be examined")]
    File(#[from] CheckoutError),
    #[error("{reference} is pinned")]
    Pinned { reference: Reference },
    #[error("{reference} has no OpenSSF bundle")]
    NoBundle { reference: Reference },
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for CatalogueError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Resolve(source) => source.kind(),
            Self::Model(ModelError::NotHere { .. }) | Self::NoBundle { .. } => FaultKind::NotFound,
            Self::Folder(source) => source.kind(),
            Self::Pinned { .. } => FaultKind::Denied,
            Self::Trust(source) => source.kind(),
            Self::Tags(source) => source.kind(),
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(ResolveError::Offline { .. }) | Self::Model(ModelError::NotHere { .. }) => {
                Some("`reg ls` shows the models in the store, `reg pull REF` fetches one".into())
            }
            Self::Resolve(source) => source.hint(),
            Self::Folder(source) => source.hint(),
            Self::Pinned { reference } => Some(format!("release it first: reg unpin {reference}")),
            Self::Trust(source) => source.hint(),
            Self::Tags(source) => source.hint(),
            _ => None,
        }
    }
}

impl Local {
    /// Returns everything that this node knows of a model in the store.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn info(self: &Arc<Self>, reference: &Reference) -> Result<ModelInfo, CatalogueError> {
        let reference = reference.clone();
        self.on_blocking_thread(move |local| {
            let here = local.resolver.model_here(&reference)?;
            let mirror = local.mirror(&here);
            let lineage = local.lineage(&here, mirror.as_ref());
            let ModelHere { manifest, record, tag } = here;
            let publisher = record.publisher;
            let (keys, tags_here) = local.tags_of(publisher, &record.model)?;
            let tags_here = tags_here.get(&manifest).cloned().unwrap_or_default();
            let row = local.row(manifest, &record, keys.as_ref(), tags_here);
            let more = More::of(&local, std::slice::from_ref(&row))?;
            let summary = local.summary(row, &more);
            let (tag, behind) = match tag {
                Some(TagHere { tag, behind }) => (Some(tag), behind),
                None => {
                    let mut known = tags::records(&local.store, publisher, Some(&record.model))?.into_iter();
                    (known.find(|it| it.record().manifest.digest == manifest), None)
                }
            };
            let tag = tag.as_ref().map(SignedTag::record);
            let said = local.resolver.said_here(&manifest, &record);
            let petnames = local.trust.petnames();
            let collected = local.catalogue.collected_in(publisher, &record.model, &summary.tags, &manifest);
            let attestations = said.iter().map(|it| AttestationInfo::of(it, &petnames)).collect();
            let checks = local.trust.judge_here(&manifest, &record, &said, behind.as_ref())?;
            let heard = || {
                let tag = &tag?.tag;
                local.heard_of_newer(record.publisher, &record.model, tag, &manifest)
            };
            let behind = behind.or_else(heard);
            let version = keys.map_or(0, |keys| keys.version());
            let stated = record::manifest(&local.store, &manifest).ok();
            let claims = stated.and_then(|it| record::claims(&local.store, &it)).map(Claims::from);
            let (licence, card) =
                (local.trust.licence_here(&manifest, &record), local.card(&manifest, &record));
            Ok(ModelInfo {
                reference,
                key_document_version: tag.map_or(version, |it| it.key_document),
                seq: tag.map(|it| it.seq),
                issued: tag.map(|it| it.issued),
                fresh_until: tag.and_then(|it| it.fresh_until),
                expires: tag.and_then(|it| it.expires),
                behind,
                claims,
                licence,
                card,
                metadata: record.metadata.clone(),
                referrers: record.referrers.clone(),
                kinds: record.kinds.clone(),
                profile: local.profile(publisher)?,
                mirror,
                attestations,
                checks,
                collected,
                lineage,
                summary,
            })
        })
        .await
    }

    /// Returns the repository that the files of a model come from, as its publisher states it.
    pub(super) fn mirror(&self, here: &ModelHere) -> Option<Mirror> {
        let ModelHere { manifest, record, .. } = here;
        let keys = keys::keys(&self.store, record.publisher).ok().flatten()?;
        let referrers = referrers_here(&self.store, record);
        let (_, said) = referrers.iter().find(|(_, it)| it.artifact_type == ATTESTATION_ARTIFACT_TYPE)?;
        let document = record::document(&self.store, &said.document.digest)?;
        Mirror::verify(&String::from_utf8_lossy(&document), &keys, manifest).ok()
    }

    /// Returns what the publisher has claimed about a version in its newest card, for searches.
    fn card(&self, manifest: &Digest, record: &ModelRecord) -> Option<CardClaims> {
        let keys = keys::keys(&self.store, record.publisher).ok().flatten()?;
        let cards = referrers_here(&self.store, record);
        let cards = cards.iter().filter(|(_, it)| it.artifact_type == CARD_ARTIFACT_TYPE);
        let verified = cards.filter_map(|(_, it)| {
            let document = record::document(&self.store, &it.document.digest)?;
            SignedCard::verify(&String::from_utf8_lossy(&document), &keys).ok()
        });
        let newest =
            verified.filter(|it| it.card().manifest == *manifest).max_by_key(|it| it.card().issued)?;
        let claimed = newest.card().claimed.clone();
        Some(CardClaims { task: claimed.task, summary: claimed.summary })
    }

    /// Lists the files of a model in the store.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn files(self: &Arc<Self>, reference: &Reference) -> Result<Vec<FileInfo>, CatalogueError> {
        let reference = reference.clone();
        self.on_blocking_thread(move |local| {
            let digest = local.resolver.model_here(&reference)?.manifest;
            let manifest = record::manifest(&local.store, &digest)?;
            let info = |file: &reg_proto::manifest::ModelFile| FileInfo {
                path: file.path.clone(),
                size: file.layout.size(),
                digest: file.digest,
                media_type: file.media_type.clone(),
                here: local.store.contains(&file.digest),
            };
            Ok(manifest.files().iter().map(info).collect())
        })
        .await
    }

    /// Returns the OpenSSF bundle that the publisher made for this model.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn signature(self: &Arc<Self>, reference: &Reference) -> Result<String, CatalogueError> {
        let reference = reference.clone();
        self.on_blocking_thread(move |local| {
            let record = local.resolver.model_here(&reference)?.record;
            let referrers = referrers_here(&local.store, &record);
            let bundle = referrers.iter().find(|(_, it)| it.artifact_type == BUNDLE_ARTIFACT_TYPE);
            let document = bundle.and_then(|(_, it)| record::document(&local.store, &it.document.digest));
            let text = document.and_then(|bytes| String::from_utf8(bytes).ok());
            text.ok_or(CatalogueError::NoBundle { reference })
        })
        .await
    }

    /// Pins a model, so that it is not evicted. Returns the digest of its manifest.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn pin(self: &Arc<Self>, reference: &Reference) -> Result<Digest, CatalogueError> {
        let reference = reference.clone();
        self.on_blocking_thread(move |local| {
            let ModelHere { manifest, record, .. } = local.resolver.model_here(&reference)?;
            let (key, name) = (key_of(&manifest, &record), reference.to_string());
            kept::pin(&local.store, &key, &name)?;
            Ok(manifest)
        })
        .await
    }

    /// Unpins a model, so that it may be evicted, also one that was published here. Returns the digest of its manifest.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn unpin(self: &Arc<Self>, reference: &Reference) -> Result<Digest, CatalogueError> {
        let reference = reference.clone();
        self.on_blocking_thread(move |local| {
            let ModelHere { manifest, record, .. } = local.resolver.model_here(&reference)?;
            kept::release(&local.store, &key_of(&manifest, &record))?;
            Ok(manifest)
        })
        .await
    }

    /// Removes a model with its tags, and the blobs that no other model needs. A reference by tag removes
    /// only that tag while other tags name the same manifest.
    ///
    /// The first step frees bytes, and the documents of the tags are written later. So a removal works on a
    /// full disk. If it is interrupted, the tags name a model that is not in the store, as after an eviction.
    /// The same call then removes these tags first, and no older version in their place.
    ///
    /// # Errors
    /// The model is pinned or not in the store: see [`CatalogueError`].
    pub async fn remove(self: &Arc<Self>, reference: &Reference) -> Result<Collected, CatalogueError> {
        let reference = reference.clone();
        let removed = self.on_blocking_thread(move |local| {
            let left = local.resolver.tags_left_here(&reference)?;
            if !left.is_empty() {
                let report = local.store.gc(false)?;
                local.forget_tags(&left)?;
                let models = left.iter().map(|it| it.record().manifest.digest).collect();
                return Ok(Collected {
                    models,
                    blobs: report.blobs,
                    bytes: report.bytes,
                    ..Collected::default()
                });
            }
            let ModelHere { manifest, record, .. } = local.resolver.model_here(&reference)?;
            let tags = tags::records(&local.store, record.publisher, Some(&record.model))?;
            let (named, others): (Vec<SignedTag>, Vec<SignedTag>) = tags
                .into_iter()
                .filter(|it| it.record().manifest.digest == manifest)
                .partition(|it| wanted_tag(&reference).is_none_or(|tag| tag == it.record().tag));
            let kept = local.kept(&manifest, &record)?;
            if others.is_empty() && kept == Some(Kept::Pinned) {
                return Err(CatalogueError::Pinned { reference });
            }
            if !others.is_empty() {
                local.forget_tags(&named)?;
                return Ok(Collected::default());
            }
            let unfreed = local.unfreed(&manifest, &record, kept)?;
            if kept.is_some() {
                kept::release(&local.store, &key_of(&manifest, &record))?;
            }
            local.store.remove_document(DocumentKind::Model, &key_of(&manifest, &record))?;
            let report = local.store.gc(false)?;
            local.forget_tags(&named)?;
            let (models, blobs, bytes) = (vec![manifest], report.blobs, report.bytes);
            Ok(Collected { models, blobs, bytes, dry_run: false, unfreed })
        });
        let removed = removed.await?;
        self.removed.notify_one();
        Ok(removed)
    }

    fn forget_tags(&self, tags: &[SignedTag]) -> Result<(), CatalogueError> {
        let forgotten = tags.iter().try_for_each(|tag| tags::forget(&self.store, tag));
        for tag in tags {
            let TagRecord { publisher, model, tag, .. } = tag.record();
            self.news.forget_tag(*publisher, model, tag);
            self.resolver.views.forget(*publisher, model, tag);
        }
        Ok(forgotten?)
    }

    /// Removes blobs that no model needs, and the least recently used models while the cache is above its size limit.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn gc(self: &Arc<Self>, dry_run: bool) -> Result<Collected, CatalogueError> {
        let collected = self.on_blocking_thread(move |local| {
            let report = local.store.gc(dry_run)?;
            let (models, blobs, bytes) = (report.models, report.blobs, report.bytes);
            Ok(Collected { models, blobs, bytes, dry_run, unfreed: None })
        });
        let collected = collected.await?;
        if !dry_run {
            self.removed.notify_one();
        }
        Ok(collected)
    }

    /// Pauses or resumes the pulls of a model, or, without a reference, everything. Returns how many pulls that concerns.
    ///
    /// # Errors
    /// The petname in the reference is not known.
    pub fn set_paused(
        &self,
        reference: Option<&Reference>,
        is_paused: bool,
    ) -> Result<Paused, CatalogueError> {
        let meant = reference.map(|it| self.meant(it)).transpose()?;
        Ok(self.fetching.priorities.set_paused(meant.as_ref(), is_paused))
    }

    /// Returns the status of the node in figures.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn status(self: &Arc<Self>) -> Result<Status, CatalogueError> {
        let (listen, peers) = (self.network.listen_addresses().await, self.network.connected().await.len());
        let outdated_peers = self.network.peers().await.iter().filter(|it| it.outdated).count();
        let reachability = self.network.reachability().await;
        let known_peers = self.network.remembered().list().len();
        let dht_keys = self.network.dht_keys().await;
        self.on_blocking_thread(move |local| {
            let usage = local.store.usage()?;
            Ok(Status {
                peer_id: local.network.peer_id(),
                listen,
                reachability,
                peers,
                outdated_peers,
                known_peers,
                dht_keys,
                rendezvous: local.network.rendezvous().map(Rendezvous::report),
                models: local.count()?,
                blobs: usage.blobs,
                bytes: usage.bytes,
                partial_bytes: usage.partial_bytes,
                cache_max_bytes: local.store.max_size(),
                bytes_served: local.fetching.traffic.served(),
                bytes_served_first: local.fetching.traffic.served_first(),
                bytes_fetched: local.fetching.traffic.fetched(),
                paused: local.fetching.priorities.is_all_paused(),
                uptime_seconds: clock::now().saturating_sub(local.started),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                audited: local.health.spent(),
                index_trouble: local.store.index_trouble(),
                catalogue_trouble: local.catalogue.trouble(),
                cache_size_is_default: local.store.limits().max_size == CacheSize::Share,
                swarm: None,
            })
        })
        .await
    }

    /// Runs `work`, which reads or writes the store, on a thread that may block.
    pub(super) async fn on_blocking_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> Result<T, CatalogueError> + Send + 'static,
    ) -> Result<T, CatalogueError> {
        let local = self.clone();
        tokio::task::spawn_blocking(move || work(local)).await?
    }

    /// Returns the selected part of a model, and whether it is complete in the store. `None` if the manifest cannot be read.
    pub(super) fn part_summary(&self, manifest: &Digest, record: &ModelRecord) -> Option<PartSummary> {
        let (part, manifest) = (record.part(), record::manifest(&self.store, manifest).ok()?);
        Some(PartSummary {
            files: part.files(&manifest).count(),
            bytes: part.bytes(&manifest),
            complete: part.blobs(&manifest).keys().all(|blob| self.store.contains(blob)),
        })
    }

    fn kept(&self, manifest: &Digest, record: &ModelRecord) -> Result<Option<Kept>, ReadError> {
        kept::kept(&self.store, &key_of(manifest, record))
    }
}

fn key_of(manifest: &Digest, record: &ModelRecord) -> String {
    ModelRecord::key(manifest, record.publisher, &record.model)
}

/// Returns a publisher by its petname, if the user has given one, else by its id.
pub fn shown(publisher: PublisherId, petname: Option<&Petname>) -> Publisher {
    petname.map_or(Publisher::Id(publisher), |petname| Publisher::Petname(petname.clone()))
}
