//! Finds the model that a reference means among those in the store.

use reg_api::behind::{Behind, BehindReason};
use reg_api::reporter::Reporter;
use reg_api::request::wanted_tag;
use reg_proto::attestation::Said;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::{ModelName, PublisherId, Reference, Tag};
use reg_proto::tag::SignedTag;

use super::{Referrers, ResolveError, Resolver};
use crate::registry::model::record::{self, ModelRecord, referrers_here};
use crate::registry::model::whole;
use crate::registry::publishers::{TagsError, keys, proofs, tags, usable};

/// The version of a tag that is used in this store.
#[derive(Debug, Clone)]
pub struct TagHere {
    pub tag: SignedTag,
    /// How it stands behind the head of the tag; `None` where it is the head.
    pub behind: Option<Behind>,
}

/// A model in the store that a reference means.
#[derive(Debug, Clone)]
pub struct ModelHere {
    pub manifest: Digest,
    pub record: ModelRecord,
    /// The record by which the reference means it; `None` for a reference by digest.
    pub tag: Option<TagHere>,
}

impl Resolver {
    /// Finds a model in the store without asking any peer. A name that the user has pointed elsewhere means the model there.
    pub fn model_here(&self, named: &Reference) -> Result<ModelHere, ResolveError> {
        let (reference, publisher) = self.meant_here(named)?;
        let reference = &reference;
        let missing = || ResolveError::NotHere { reference: reference.clone() };
        let failed = |source| ResolveError::Tags { reference: reference.clone(), source };
        let tag = match (wanted_tag(reference), keys::keys(&self.store, publisher).map_err(failed)?) {
            (Some(tag), Some(keys)) => self.tag_here(&keys, &reference.model, &tag).map_err(failed)?,
            _ => None,
        };
        // A record that does not count any more still names what a list shows under it.
        let tag = match (tag, wanted_tag(reference)) {
            (None, Some(wanted)) => {
                let kept = tags::record(&self.store, publisher, &reference.model, &wanted).map_err(failed)?;
                kept.map(|tag| TagHere { tag, behind: None })
            }
            (tag, _) => tag,
        };
        let tagged = tag.as_ref().map(|it| it.tag.record().manifest.digest);
        if let Some(manifest) = reference.digest.or(tagged)
            && let Some(record) = ModelRecord::load(&self.store, &manifest, publisher, &reference.model)?
        {
            return Ok(ModelHere { manifest, record, tag });
        }
        // A pull of it has begun: its tag is kept at the end.
        let begun = wanted_tag(reference).filter(|_| reference.digest.is_none());
        let begun = begun.and_then(|it| ModelRecord::of_pull(&self.store, publisher, &reference.model, &it));
        let (manifest, record) = begun.ok_or_else(missing)?;
        Ok(ModelHere { manifest, record, tag: None })
    }

    /// Returns the reference that a name means by the user's aliases, and its publisher. No peer is asked.
    fn meant_here(&self, named: &Reference) -> Result<(Reference, PublisherId), ResolveError> {
        let (reference, _) = self.aliased(named, &Reporter::silent())?;
        match self.trust.file.resolve(&reference.publisher) {
            Ok(publisher) => Ok((reference, publisher)),
            Err(source) => Err(ResolveError::Trust { reference, source }),
        }
    }

    /// Returns the tag records that this store keeps, among those that a reference means, without their models: these were
    /// evicted, or a removal has ended in the middle.
    pub fn tags_left_here(&self, named: &Reference) -> Result<Vec<SignedTag>, ResolveError> {
        let (reference, publisher) = self.meant_here(named)?;
        let reference = &reference;
        let kept = tags::records(&self.store, publisher, Some(&reference.model))
            .map_err(|source| ResolveError::Tags { reference: reference.clone(), source })?;
        let mut left = Vec::new();
        for tag in kept {
            let (record, digest) = (tag.record(), tag.record().manifest.digest);
            let is_meant = reference.digest.is_none_or(|it| it == digest)
                && wanted_tag(reference).is_none_or(|it| it == record.tag);
            if is_meant && ModelRecord::load(&self.store, &digest, publisher, &record.model)?.is_none() {
                left.push(tag);
            }
        }
        Ok(left)
    }

    /// Returns the version of a tag that is used in this store: the newest one that is whole, or of which every chosen file
    /// is here; else the newest one of which anything is here, else the head.
    pub fn tag_here(
        &self,
        keys: &KeyHistory,
        model: &ModelName,
        tag: &Tag,
    ) -> Result<Option<TagHere>, TagsError> {
        let (store, publisher) = (&self.store, keys.publisher());
        let mut line = usable::usable(store, keys, model, tag)?;
        if line.is_empty() {
            line.extend(tags::record(store, publisher, model, tag)?);
        }
        let record = |tag: &SignedTag| {
            ModelRecord::load(store, &tag.record().manifest.digest, publisher, model).ok().flatten()
        };
        let records: Vec<Option<ModelRecord>> = line.iter().map(record).collect();
        let is_whole = |index: &usize| {
            let manifest = line[*index].record().manifest.digest;
            records[*index].as_ref().is_some_and(|record| whole::has_part(store, &manifest, record))
        };
        let used = (0..line.len()).find(is_whole).or_else(|| records.iter().position(Option::is_some));
        let Some(tag) = line.get(used.unwrap_or(0)).cloned() else { return Ok(None) };
        let behind = self.behind_here(keys, &line, &tag)?;
        Ok(Some(TagHere { tag, behind }))
    }

    fn behind_here(
        &self,
        keys: &KeyHistory,
        line: &[SignedTag],
        used: &SignedTag,
    ) -> Result<Option<Behind>, TagsError> {
        let record = used.record();
        let frozen = proofs::freezing(&self.store, keys, &record.model, &record.tag, &[])?;
        let (head, reason, why) = match (&frozen, line.first()) {
            (Some(proof), _) => {
                let why = "the tag is frozen, because two records contradict each other".to_owned();
                (proof.records()[1], BehindReason::Frozen, why)
            }
            (None, Some(head)) => (head, BehindReason::NotPulled, "it is not whole in the store".to_owned()),
            (None, None) => return Ok(None),
        };
        if head.payload_digest() == used.payload_digest() {
            return Ok(None);
        }
        let (head, used) = (head.record(), record.seq);
        Ok(Some(Behind { head: head.seq, manifest: head.manifest.digest, used, reason, why }))
    }

    /// Returns the attestations about a model in the store, verified again.
    pub fn said_here(&self, manifest: &Digest, record: &ModelRecord) -> Vec<Said> {
        let Ok(Some(keys)) = keys::keys(&self.store, record.publisher) else { return Vec::new() };
        let record = ModelRecord::load(&self.store, manifest, record.publisher, &record.model);
        let Ok(Some(record)) = record else { return Vec::new() };
        let mut candidates = Referrers::default();
        for (digest, referrer) in referrers_here(&self.store, &record) {
            if let Some(document) = record::document(&self.store, &referrer.document.digest) {
                candidates.add(digest, referrer, document);
            }
        }
        self.attestors().gather(&candidates, &keys, manifest).said
    }
}
