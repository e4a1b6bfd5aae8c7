//! Lists the models in the store, page by page, from the rows that the index keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use reg_api::behind::{Behind, BehindReason};
use reg_api::report::ModelSummary;
use reg_api::request::ListRequest;
use reg_proto::content::metadata::Metadata;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Petname, PublisherId, Tag};
use reg_proto::revocation::Revoked;

use super::rows::{Group, Row};
use super::{CatalogueError, Local};
use crate::registry::catalogue::NamesHere;
use crate::registry::model::kept::{self, Kept};
use crate::registry::model::record::{self, ModelRecord};
use crate::registry::publishers::{keys, revoked, tags};
use crate::registry::resolve::refuse;
use crate::store::{DocumentKind, Partial};

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    pub models: Vec<T>,
    /// Where the next page begins; `None` where this is the last one.
    pub next: Option<String>,
}

/// The models that gateways may serve, and the names of all that the store has.
#[derive(Debug, Clone)]
pub struct Served {
    pub models: Vec<DescribedModel>,
    pub here: NamesHere,
}

/// A model in the store that gateways may serve.
#[derive(Debug, Clone)]
pub struct DescribedModel {
    pub summary: ModelSummary,
    /// When its provenance was signed, in seconds since 1970.
    pub issued: u64,
    /// What its files and its publisher say of it; `None` until it is read.
    pub metadata: Option<Metadata>,
}

impl Local {
    /// Lists the models in the store, complete or partial.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn list(
        self: &Arc<Self>,
        request: ListRequest,
    ) -> Result<Listed<ModelSummary>, CatalogueError> {
        self.on_blocking_thread(move |local| {
            let Listed { models: rows, next } = local.rows(&request)?;
            let more = More::of(&local, &rows)?;
            let models = rows.into_iter().map(|row| local.summary(row, &more)).collect();
            Ok(Listed { models, next })
        })
        .await
    }

    /// Lists the models in the store that gateways may serve and that are `wanted`, without their metadata. Their provenance
    /// stands, and the user's rules and lists allow them. The names are those of all models in the store.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn list_served(
        self: &Arc<Self>,
        wanted: impl Fn(&ModelSummary) -> bool + Send + 'static,
    ) -> Result<Served, CatalogueError> {
        self.on_blocking_thread(move |local| {
            let Listed { models: rows, .. } = local.rows(&ListRequest::default())?;
            let more = More::of(&local, &rows)?;
            let rulings = local.trust.rulings()?;
            let (mut models, mut here) = (Vec::new(), NamesHere::default());
            for row in rows {
                row.name_in(&mut here);
                let Some(issued) = row.issued.filter(|_| local.trust.sharing.takes(&row.publisher)) else {
                    continue;
                };
                let summary = local.summary(row, &more);
                if !wanted(&summary) {
                    continue;
                }
                let is_judged = rulings.may_refuse(summary.publisher, &summary.model);
                if !is_judged || local.is_allowed(&summary)? {
                    models.push(DescribedModel { summary, issued, metadata: None });
                }
            }
            Ok(Served { models, here })
        })
        .await
    }

    /// Reads the metadata of models that were listed. A model that was removed meanwhile is left out.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn describe(
        self: &Arc<Self>,
        models: Vec<DescribedModel>,
    ) -> Result<Vec<DescribedModel>, CatalogueError> {
        self.on_blocking_thread(move |local| {
            let described = models.into_iter().filter_map(|it| {
                let metadata = Some(local.record(&it.summary)?.metadata);
                Some(DescribedModel { metadata, ..it })
            });
            Ok(described.collect())
        })
        .await
    }

    /// Returns the number of models in the store, complete or partial.
    pub(super) fn count(&self) -> Result<usize, CatalogueError> {
        Ok(self.store.document_keys(DocumentKind::Model, "")?.len())
    }

    /// Returns a page of rows that are as the documents are now.
    pub(super) fn rows(&self, request: &ListRequest) -> Result<Listed<Row>, CatalogueError> {
        let _one = self.deriving.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh()?;
        let limit = request.limit.unwrap_or(usize::MAX).max(1);
        let read = || self.store.rows("", request.after.as_deref(), limit);
        let mut page = read()?;
        let (mut old, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
        for (key, row) in &page {
            match Row::parse(row) {
                None => old.extend(Group::of_key(key)),
                Some(row) if row.may_change => doubtful.extend(Group::of_key(key)),
                Some(_) => {}
            }
        }
        for group in doubtful {
            if !old.contains(&group) && self.has_changed(&group)? {
                old.insert(group);
            }
        }
        if !old.is_empty() {
            self.derive_again(&old)?;
            page = read()?;
        }
        let rows = page.iter().filter_map(|(_, row)| Row::parse(row)).collect();
        let next = page.last().filter(|_| page.len() == limit).map(|(key, _)| key.clone());
        Ok(Listed { models: rows, next })
    }

    fn is_allowed(&self, model: &ModelSummary) -> Result<bool, CatalogueError> {
        let Some(record) = self.record(model) else { return Ok(false) };
        let said = self.resolver.said_here(&model.manifest, &record);
        let checks = self.trust.judge_here(&model.manifest, &record, &said, None)?;
        Ok(refuse(&checks, model.publisher, &model.model).is_ok())
    }

    fn record(&self, model: &ModelSummary) -> Option<ModelRecord> {
        ModelRecord::load(&self.store, &model.manifest, model.publisher, &model.model).ok().flatten()
    }

    /// Returns how a version in the store stands behind the head that peers have announced.
    pub(super) fn heard_of_newer(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        tag: &Tag,
        manifest: &Digest,
    ) -> Option<Behind> {
        let head = self.news.head_of(publisher, model, tag).filter(|it| it.manifest.digest != *manifest)?;
        let used = tags::record(&self.store, publisher, model, tag).ok().flatten()?;
        let is_newer = head.order() > used.record().order();
        is_newer.then(|| Behind {
            head: head.seq,
            manifest: head.manifest.digest,
            used: used.record().seq,
            reason: BehindReason::Heard,
            why: "peers have announced a newer one; `reg pull` looks at it".to_owned(),
        })
    }

    /// Returns how many bytes of the chosen files are in the store, verified; `None` where all are, or that cannot be told.
    fn bytes_here(&self, row: &Row) -> Option<u64> {
        if row.is_here || row.part.is_some_and(|part| part.complete) {
            return None;
        }
        let record =
            ModelRecord::load(&self.store, &row.manifest, row.publisher, &row.model).ok().flatten()?;
        let manifest = record::manifest(&self.store, &row.manifest).ok()?;
        let blobs = record.part().blobs(&manifest);
        let here = blobs.iter().map(|(blob, layout)| match self.store.contains(blob) {
            true => layout.size(),
            false => self.store.open_partial(blob).iter().map(Partial::verified_bytes).max().unwrap_or(0),
        });
        Some(here.sum())
    }

    pub(super) fn summary(&self, row: Row, more: &More) -> ModelSummary {
        let bytes_here = self.bytes_here(&row);
        let kept = more.kept.get(&ModelRecord::key(&row.manifest, row.publisher, &row.model)).copied();
        let withdrawn = more.withdrawn.get(&row.publisher).and_then(|it| it.get(&row.manifest));
        ModelSummary {
            publisher: row.publisher,
            petname: more.petnames.get(&row.publisher).cloned(),
            tags: row.tags.keys().cloned().collect(),
            behind: row
                .tags
                .into_iter()
                .filter_map(|(tag, behind)| {
                    let behind = behind
                        .or_else(|| self.heard_of_newer(row.publisher, &row.model, &tag, &row.manifest))?;
                    Some((tag, behind))
                })
                .collect(),
            manifest: row.manifest,
            bytes: row.bytes,
            files: row.files,
            pinned: kept == Some(Kept::Pinned),
            published: kept == Some(Kept::Published),
            followed: kept == Some(Kept::Followed),
            donated: kept == Some(Kept::Donated),
            spread: kept == Some(Kept::Spread),
            part: row.part,
            complete: row.complete,
            here: row.is_here || row.part.is_some_and(|part| part.complete),
            bytes_here,
            pulling: row.pulling,
            was: row.was.into_iter().collect(),
            last_used: self.store.last_used(&row.manifest),
            withdrawn: withdrawn.cloned(),
            model: row.model,
        }
    }
}

/// What a list says of models beside their rows.
#[derive(Debug)]
pub(super) struct More {
    petnames: BTreeMap<PublisherId, Petname>,
    /// The keys of the models that are never evicted.
    kept: BTreeMap<String, Kept>,
    /// The publishers that have revoked something.
    revoking: BTreeSet<PublisherId>,
    /// The manifests that publishers have withdrawn, with their reasons.
    withdrawn: BTreeMap<PublisherId, BTreeMap<Digest, String>>,
}

impl More {
    /// Returns what is to be said of models with these rows.
    pub(super) fn of(local: &Local, rows: &[Row]) -> Result<Self, CatalogueError> {
        let mut more = Self::of_all(local)?;
        more.add(local, rows);
        Ok(more)
    }

    /// Reads what concerns all models, once for all pages of a list.
    pub(super) fn of_all(local: &Local) -> Result<Self, CatalogueError> {
        let kept = kept::all(&local.store)?;
        let revoking = revoked::revoking(&local.store)?.into_iter().collect();
        Ok(Self { petnames: local.trust.petnames(), kept, revoking, withdrawn: BTreeMap::new() })
    }

    /// Adds what concerns the publishers of these rows. Only their keys are read, because signatures are verified: a node may
    /// remember revocations of many publishers that it has no models of.
    pub(super) fn add(&mut self, local: &Local, rows: &[Row]) {
        let publishers: BTreeSet<PublisherId> = rows.iter().map(|row| row.publisher).collect();
        for publisher in publishers.intersection(&self.revoking) {
            if self.withdrawn.contains_key(publisher) {
                continue;
            }
            // Keys that cannot be read are told of by what needs them.
            let Ok(Some(keys)) = keys::keys(&local.store, *publisher) else { continue };
            let of = keys.revocations().filter_map(|(it, _)| match it.subject {
                Revoked::Manifest(digest) => Some((digest, it.reason.as_str().to_owned())),
                Revoked::Key(_) | Revoked::Delegation(_) => None,
            });
            self.withdrawn.insert(*publisher, of.collect());
        }
    }
}
