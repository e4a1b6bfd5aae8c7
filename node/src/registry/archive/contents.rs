//! [`Contents`]: everything that an archive of some models has: its index, their blobs, and what only the archive has.

use std::collections::{BTreeMap, BTreeSet};

use reg_api::archive::{ExportRequest, ExportedModel};
use reg_api::request::wanted_tag;
use reg_api::selection::Selection;
use reg_api::size::Size;
use reg_proto::bounded::Bounded;
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::equivocation::Equivocation;
use reg_proto::key::KeyHistory;
use reg_proto::layout::{CARRIED_BYTES_MAX, CARRIED_VERSION, CarriedModel, LayoutIndex, ref_names};
use reg_proto::limits::{ANCESTORS_PER_RESPONSE_MAX, REFERRERS_MAX};
use reg_proto::manifest::MANIFEST_TYPE;
use reg_proto::name::{Publisher, Reference};
use reg_proto::path::SafePath;
use reg_proto::referrer::EMPTY_BLOB;
use reg_proto::tag::SignedTag;
use reg_proto::wire::Records;

use super::Archiving;
use super::bounds;
use super::error::ExportError;
use crate::registry::limits::BROUGHT_BYTES_MAX;
use crate::registry::model::record::{self, ModelRecord, referrers_here};
use crate::registry::publishers::{TagsError, declarations, forks, keys, profiles, proofs, tags, usable};
use crate::registry::resolve::{ModelHere, TagHere};
use crate::store::Store;

/// The content of an archive.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) index: LayoutIndex,
    pub(super) carried: Vec<CarriedModel>,
    pub(super) models: Vec<ExportedModel>,
    /// Small documents that only the archive has.
    pub(super) own: BTreeMap<Digest, Vec<u8>>,
    /// Blobs of the store, with their sizes in bytes.
    pub(super) blobs: BTreeMap<Digest, u64>,
    /// What the user should know of it.
    pub(super) notes: Vec<String>,
}

impl Contents {
    /// Returns the bytes of all blobs.
    pub(super) fn bytes(&self) -> u64 {
        let own = self.own.values().map(|bytes| bytes.len() as u64);
        self.blobs.values().copied().chain(own).sum()
    }

    fn add_own(&mut self, bytes: Vec<u8>) {
        let digest = Digest::of(&bytes);
        if !self.blobs.contains_key(&digest) {
            self.own.insert(digest, bytes);
        }
    }
}

/// A model of the store, and what the archive carries of it.
struct Chosen {
    carried: CarriedModel,
    exported: ExportedModel,
    manifest_bytes: u64,
    /// The referrers with their types.
    referrers: Vec<(Digest, String)>,
}

/// Returns the reference by which the model of an archive is resolved.
pub(super) fn reference_of(carried: &CarriedModel) -> Reference {
    Reference {
        publisher: Publisher::Id(carried.publisher),
        model: carried.model.clone(),
        tag: carried.tag.clone(),
        digest: carried.tag.is_none().then_some(carried.manifest),
    }
}

impl Archiving {
    /// Gathers the content of an archive. Blocks.
    ///
    /// # Errors
    /// A model is not in the store as far as it is wanted, or an import would refuse the archive: see [`ExportError`].
    pub(super) fn contents(&self, request: &ExportRequest) -> Result<Contents, ExportError> {
        let mut contents = Contents::default();
        let mut chosen: Vec<Chosen> = Vec::new();
        for reference in &request.references {
            let found = self.chosen(reference, request, &mut contents)?;
            let of = reference_of(&found.carried);
            if chosen.iter().all(|it| reference_of(&it.carried) != of) {
                chosen.push(found);
            }
        }
        contents.carried = chosen.iter().map(|it| it.carried.clone()).collect();
        let mut listed = BTreeSet::new();
        for (Chosen { carried, exported, manifest_bytes, referrers }, name) in
            chosen.into_iter().zip(ref_names(&contents.carried))
        {
            contents.index.manifests.push(carried.descriptor(manifest_bytes, &name));
            let own = carried.referrer(manifest_bytes);
            let (document, bytes) = (carried.to_bytes(), own.to_bytes());
            contents.index.manifests.push(own.descriptor(Digest::of(&bytes)));
            contents.add_own(document);
            contents.add_own(bytes);
            for (digest, artifact_type) in referrers.into_iter().filter(|(digest, _)| listed.insert(*digest))
            {
                let size = contents.blobs.get(&digest).copied().unwrap_or(0);
                let descriptor = Descriptor::new(MANIFEST_TYPE, digest, size);
                let artifact_type = Some(artifact_type);
                contents.index.manifests.push(Descriptor { artifact_type, ..descriptor });
            }
            contents.models.push(ExportedModel { ref_name: name, ..exported });
        }
        contents.add_own(EMPTY_BLOB.to_vec());
        bounds::check(&contents, request.form)?;
        Ok(contents)
    }

    /// Finds a model in the store, and adds its blobs to the archive.
    fn chosen(
        &self,
        reference: &Reference,
        request: &ExportRequest,
        contents: &mut Contents,
    ) -> Result<Chosen, ExportError> {
        let store = &self.puller.store;
        let ModelHere { manifest: digest, record, tag } = self.puller.resolver.model_here(reference)?;
        let manifest = record::manifest(store, &digest)?;
        let is_empty = request.selection == Selection::default();
        let part =
            if is_empty { record.part() } else { request.selection.choose(&manifest, &mut Vec::new())? };
        let blobs = part.blobs(&manifest);
        let missing = blobs.keys().filter(|blob| !store.contains(blob)).count();
        if missing > 0 {
            return Err(ExportError::NotWhole { reference: reference.clone(), missing });
        }
        let files: BTreeSet<SafePath> = part.files(&manifest).map(|file| file.path.clone()).collect();
        let is_part = files.len() < manifest.files().len();
        let failed = |source| ExportError::Tags { reference: reference.clone(), source };
        let keys = keys::keys(store, record.publisher).map_err(failed)?;
        let tag = tag.filter(|_| wanted_tag(reference).is_some());
        let records = match &keys {
            Some(keys) => records(store, keys, &digest, &record, tag.as_ref()).map_err(failed)?,
            None => Records::default(),
        };
        let size = |digest: &Digest| store.blob_size(digest).unwrap_or(0);
        let mut here = referrers_here(store, &record);
        here.retain(|(_, it)| store.contains(&it.document.digest));
        let (referrers, left_out) =
            bounds::fitting(here, |digest, it| size(digest) + size(&it.document.digest));
        if left_out > 0 {
            contents.notes.push(format!(
                "{left_out} attestations of {reference} are not in the archive, which takes {REFERRERS_MAX} documents and {} of \
                 each model",
                Size(BROUGHT_BYTES_MAX as u64)
            ));
        }
        let carried = CarriedModel {
            version: CARRIED_VERSION,
            publisher: record.publisher,
            model: record.model.clone(),
            tag: tag.as_ref().map(|it| it.tag.record().tag.clone()),
            manifest: digest,
            files: is_part.then(|| files.clone()),
            referrers: Bounded::first_of(referrers.iter().map(|(digest, _)| *digest)),
            records,
        };
        let carried_bytes = carried.to_bytes().len();
        if carried_bytes > CARRIED_BYTES_MAX {
            return Err(ExportError::TooMuch { reference: reference.clone(), size: carried_bytes });
        }
        let documents = referrers.iter().flat_map(|(digest, it)| [*digest, it.document.digest]);
        for document in documents.chain([digest]) {
            contents.blobs.insert(document, size(&document));
        }
        contents.blobs.extend(blobs.iter().map(|(blob, layout)| (*blob, layout.size())));
        let exported = ExportedModel {
            reference: reference_of(&carried),
            publisher: carried.publisher,
            model: carried.model.clone(),
            tag: carried.tag.clone(),
            manifest: digest,
            ref_name: String::new(),
            files: files.len(),
            bytes: part.bytes(&manifest),
            is_part,
            behind: tag.and_then(|it| it.behind),
        };
        let manifest_bytes = size(&digest);
        let referrers = referrers.into_iter().map(|(digest, it)| (digest, it.artifact_type)).collect();
        Ok(Chosen { carried, exported, manifest_bytes, referrers })
    }
}

/// Returns what a peer would answer about a model: the publisher's keys and declarations, and the records of the tag from its
/// head to the one that is exported. It names no peer.
fn records(
    store: &Store,
    keys: &KeyHistory,
    manifest: &Digest,
    record: &ModelRecord,
    tag: Option<&TagHere>,
) -> Result<Records, TagsError> {
    let (model, name) = (&record.model, tag.map(|it| &it.tag.record().tag));
    let (heads, ancestors) = match tag {
        Some(TagHere { tag, .. }) => {
            let line = usable::usable(store, keys, model, &tag.record().tag)?;
            line_to(tag, line)
        }
        None => {
            let named = tags::records(store, record.publisher, Some(model))?.into_iter();
            (named.filter(|it| it.record().manifest.digest == *manifest).collect(), Vec::new())
        }
    };
    let text = |it: &SignedTag| it.envelope().to_owned();
    let contradictions = proofs::all(store, keys, Some(model), name)?;
    let delegations = declarations::delegations(store, keys)?;
    Ok(Records {
        key_documents: Bounded::first_of(keys.texts()),
        tags: Bounded::first_of(heads.iter().map(text)),
        ancestors: Bounded::first_of(ancestors.iter().map(text)),
        revocations: Bounded::first_of(keys.revocations().map(|(_, text)| text.to_owned())),
        delegations: Bounded::first_of(delegations.iter().map(|it| it.envelope().to_owned())),
        profile: profiles::text(store, keys),
        proofs: Bounded::first_of(contradictions.iter().map(Equivocation::to_claim)),
        branch: Bounded::first_of(forks::evidence(store, keys)),
        ..Records::default()
    })
}

/// Divides the records of a tag into its head and the ones after it, down to the one that is used, which is never left out.
fn line_to(used: &SignedTag, line: Vec<SignedTag>) -> (Vec<SignedTag>, Vec<SignedTag>) {
    let Some(place) = line.iter().position(|it| it.payload_digest() == used.payload_digest()) else {
        return (vec![used.clone()], Vec::new());
    };
    let mut line = line.into_iter();
    let heads: Vec<SignedTag> = line.next().into_iter().collect();
    let mut older: Vec<SignedTag> = line.take(place).collect();
    if older.len() > ANCESTORS_PER_RESPONSE_MAX {
        older.drain(ANCESTORS_PER_RESPONSE_MAX - 1..older.len() - 1);
    }
    (heads, older)
}
