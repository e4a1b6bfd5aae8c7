//! [`ModelRecord`]: what the store remembers of a model that it has, or that is being pulled.

use std::collections::BTreeSet;

use reg_api::selection::Part;
use reg_proto::content::metadata::Metadata;
use reg_proto::digest::Digest;
use reg_proto::json::{self, JsonError};
use reg_proto::limits::{MANIFEST_BYTES_MAX, RESPONSE_DOCUMENT_BYTES_MAX};
use reg_proto::manifest::{Manifest, ManifestError, ModelConfig, ModelDescriptor};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::path::SafePath;
use reg_proto::referrer::Referrer;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::store::{DocumentKind, ReadError, Store, WriteError};

/// Bytes of a record: a model of 20,000 files has as many digests of 75 bytes, and at most 4 MiB of paths.
const RECORD_BYTES_MAX: usize = 8 << 20;

/// A model in the store, or one that is being pulled. The store reads `blobs` to know which blobs belong together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelRecord {
    pub publisher: PublisherId,
    pub model: ModelName,
    /// All blobs of the model but piece states: the manifest, the config, the files, the referrers and their documents.
    pub blobs: BTreeSet<Digest>,
    /// The manifests that refer to this one, with the provenance and the OpenSSF bundle among them.
    pub referrers: Vec<Digest>,
    pub bytes: u64,
    pub files: usize,
    /// Whether the store has every blob. Otherwise a pull has begun and not ended.
    pub complete: bool,
    /// The files that the user chose, where it was only a part of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<BTreeSet<SafePath>>,
    /// The tag by which a pull has begun that has not ended: the model goes by it until the tag's record is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulling: Option<Tag>,
    pub metadata: Metadata,
    /// The number of files of each kind of content.
    pub kinds: std::collections::BTreeMap<String, usize>,
}

/// Why a model's record or manifest cannot be read.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error("model {manifest} is not in the store")]
    NotHere { manifest: Digest },
    #[error("record of model {manifest} cannot be parsed")]
    Record { manifest: Digest, source: JsonError },
    #[error("manifest {manifest} cannot be read")]
    Read { manifest: Digest, source: ReadError },
    #[error("manifest {manifest} is not that of a model")]
    Manifest { manifest: Digest, source: ManifestError },
}

impl ModelRecord {
    /// Returns the key of the record. Two publishers may have the same manifest, and each has a record of its own.
    pub fn key(manifest: &Digest, publisher: PublisherId, model: &ModelName) -> String {
        format!("{manifest} {publisher}/{}", model.folded())
    }

    /// Returns the manifest, the publisher and the model of a key; `None` if it has another form.
    pub fn of_key(key: &str) -> Option<(Digest, PublisherId, ModelName)> {
        let (manifest, name) = key.split_once(' ')?;
        let (publisher, model) = name.split_once('/')?;
        Some((manifest.parse().ok()?, publisher.parse().ok()?, model.parse().ok()?))
    }

    /// Returns the keys of all records, in order. Reads no record.
    pub fn keys(store: &Store) -> Result<BTreeSet<String>, ReadError> {
        Ok(store.document_keys(DocumentKind::Model, "")?.into_iter().collect())
    }

    /// Removes the record with this key. Its blobs go at the next collection, if no other model needs them.
    pub fn remove(store: &Store, key: &str) -> Result<(), WriteError> {
        store.remove_document(DocumentKind::Model, key)
    }

    /// Reads the record of a publisher's model; `None` where the store has none.
    pub fn load(
        store: &Store,
        manifest: &Digest,
        publisher: PublisherId,
        model: &ModelName,
    ) -> Result<Option<Self>, ModelError> {
        let key = Self::key(manifest, publisher, model);
        let record = store
            .get_document(DocumentKind::Model, &key)
            .map_err(|source| ModelError::Read { manifest: *manifest, source })?;
        record.map(|bytes| Self::parse(*manifest, &bytes)).transpose()
    }

    /// Reads the records of all models. A record that cannot be parsed is left out and logged.
    pub fn all(store: &Store) -> Result<Vec<(Digest, Self)>, ReadError> {
        Self::list(store, "")
    }

    /// Reads the records of all models that have this manifest, of every publisher.
    pub fn of_manifest(store: &Store, manifest: &Digest) -> Vec<Self> {
        let records = Self::list(store, &format!("{manifest} ")).unwrap_or_default();
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// Reads the records of all versions of a publisher's model. Parses no others.
    pub fn of_model(store: &Store, publisher: PublisherId, model: &ModelName) -> Vec<(Digest, Self)> {
        let of = format!(" {publisher}/{}", model.folded());
        let keys = store.document_keys(DocumentKind::Model, "").unwrap_or_default();
        let manifests = keys.iter().filter_map(|key| key.strip_suffix(&of)?.parse().ok());
        let record = |manifest: Digest| {
            Some((manifest, Self::load(store, &manifest, publisher, model).ok().flatten()?))
        };
        manifests.filter_map(record).collect()
    }

    fn list(store: &Store, prefix: &str) -> Result<Vec<(Digest, Self)>, ReadError> {
        let documents = store.list_documents(DocumentKind::Model, prefix)?;
        let records = documents.into_iter().filter_map(|(key, bytes)| {
            let manifest = key.split(' ').next()?.parse().ok()?;
            match Self::parse(manifest, &bytes) {
                Ok(record) => Some((manifest, record)),
                Err(error) => {
                    tracing::warn!(%manifest, %error, "record of a model is left out");
                    None
                }
            }
        });
        Ok(records.collect())
    }

    fn parse(manifest: Digest, bytes: &[u8]) -> Result<Self, ModelError> {
        json::from_slice(bytes, RECORD_BYTES_MAX).map_err(|source| ModelError::Record { manifest, source })
    }

    /// Reads the record of a model of which a pull by this tag has begun and not ended.
    pub fn of_pull(
        store: &Store,
        publisher: PublisherId,
        model: &ModelName,
        tag: &Tag,
    ) -> Option<(Digest, Self)> {
        let mut begun = Self::of_model(store, publisher, model).into_iter();
        begun.find(|(_, it)| it.pulling.as_ref() == Some(tag))
    }

    /// Returns the part of the model that the user wants once `part` is added.
    pub fn with(&self, part: &Part, manifest: &Manifest) -> Part {
        match &self.chosen {
            _ if self.complete => Part::Whole,
            Some(chosen) => part.with(chosen, manifest),
            None => part.clone(),
        }
    }

    /// Returns the part of the model that the user wants in this store.
    pub fn part(&self) -> Part {
        self.chosen.clone().map_or(Part::Whole, Part::Files)
    }

    /// Writes the record, fsynced.
    pub fn save(&self, store: &Store, manifest: &Digest) -> Result<(), WriteError> {
        store.put_document(
            DocumentKind::Model,
            &Self::key(manifest, self.publisher, &self.model),
            &json::to_vec(self),
        )
    }
}

/// Reads a manifest from the store.
pub fn manifest(store: &Store, digest: &Digest) -> Result<Manifest, ModelError> {
    if !store.contains(digest) {
        return Err(ModelError::NotHere { manifest: *digest });
    }
    let bytes = store
        .read_blob(digest, MANIFEST_BYTES_MAX as u64)
        .map_err(|source| ModelError::Read { manifest: *digest, source })?;
    Manifest::from_bytes(&bytes).map_err(|source| ModelError::Manifest { manifest: *digest, source })
}

/// Reads what the publisher claims of a model in its ModelPack config; `None` where the store does not have that.
pub fn claims(store: &Store, manifest: &Manifest) -> Option<ModelDescriptor> {
    let config = document(store, &manifest.config().digest)?;
    Some(ModelConfig::from_bytes(&config).ok()?.descriptor)
}

/// Reads a small document from the store: a referrer, an envelope, a bundle.
pub fn document(store: &Store, digest: &Digest) -> Option<Vec<u8>> {
    store.read_blob(digest, RESPONSE_DOCUMENT_BYTES_MAX as u64).ok()
}

/// Returns those referrers of a model that are in the store, each with its digest.
pub fn referrers_here(store: &Store, record: &ModelRecord) -> Vec<(Digest, Referrer)> {
    let read = |digest: &Digest| Referrer::from_bytes(&document(store, digest)?).ok();
    record.referrers.iter().filter_map(|digest| Some((*digest, read(digest)?))).collect()
}
