//! Assembles a model from files, from blobs in the store, or from a ModelPack that was pushed. Inspects and judges every file,
//! and builds the manifest, or keeps the one of the ModelPack byte for byte.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reg_api::consent::Acceptance;
use reg_api::fault::{Fault, FaultKind};
use reg_api::ingest::LeftOutList;
use reg_api::reporter::Reporter;
use reg_api::request::{Claims, PublishRequest, PublishSource};
use reg_proto::content::class::ModelPackClass;
use reg_proto::content::metadata::Metadata;
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::limits::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX};
use reg_proto::manifest::{
    MODEL_CONFIG_TYPE, Manifest, ManifestError, ModelConfig, ModelDescriptor, ModelFile,
};
use reg_proto::piece::{BlobLayout, BlobTooLarge};
use thiserror::Error;

use super::Publishing;
use super::ingest::Ingested;
use crate::registry::model::describe::{DescribeError, Description};
use crate::registry::model::tree::TreeError;
use crate::store::{Cancel, ImportError, Lease, ReadError, ReserveError, Store, WriteError};

/// A model that is complete in the store and not signed yet.
#[derive(Debug)]
pub struct Assembled {
    pub manifest: Manifest,
    /// The bytes of the manifest.
    pub bytes: Vec<u8>,
    /// The digest of the piece states of each blob that has more than one piece.
    pub states: BTreeMap<Digest, Digest>,
    pub metadata: Metadata,
    pub kinds: BTreeMap<String, usize>,
    /// Keeps the blobs from being evicted until the model is recorded.
    pub lease: Lease,
    /// What was left out of the directory.
    pub left_out: LeftOutList,
    /// Whether large files were to be linked and had to be copied.
    pub copied: bool,
}

impl Assembled {
    /// Returns the model with the manifest without titles, if that is the one with this digest.
    pub fn untitled(self, store: &Store, wanted: &Digest) -> Result<Self, WriteError> {
        let manifest = self.manifest.clone().untitled();
        let bytes = manifest.to_bytes();
        if Digest::of(&bytes) != *wanted {
            return Ok(self);
        }
        store.put_blob(&bytes)?;
        Ok(Self { manifest, bytes, ..self })
    }
}

/// Why files do not become a model.
#[derive(Debug, Error)]
pub enum AssembleError {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("{path} cannot be imported")]
    Import { path: PathBuf, source: ImportError },
    #[error(transparent)]
    Describe(#[from] DescribeError),
    #[error("files do not make a model")]
    Manifest(#[from] ManifestError),
    #[error("store cannot keep the model")]
    Write(#[from] WriteError),
    #[error("there is no room for the model")]
    Reserve(#[from] ReserveError),
    #[error("{blob} is not in the store: upload it first")]
    Missing { blob: Digest },
    #[error("{blob} has {found} bytes, the manifest says {stated}")]
    OtherSize { blob: Digest, found: u64, stated: u64 },
    #[error("{blob} is too large")]
    TooLarge { blob: Digest, source: BlobTooLarge },
    #[error("{blob} cannot be read from the cache")]
    Read { blob: Digest, source: ReadError },
}

impl Fault for AssembleError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Import { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Reserve(source) => source.kind(),
            Self::Tree(source) => source.kind(),
            Self::Missing { .. } => FaultKind::NotFound,
            Self::Import { source: ImportError::Source { source, .. }, .. } => FaultKind::of_path(source),
            Self::Describe(error) => error.kind(),
            Self::Import { source: ImportError::Write(_), .. } | Self::Write(_) | Self::Read { .. } => {
                FaultKind::Internal
            }
            _ => FaultKind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Describe(error) => error.publish_hint(),
            Self::Tree(source) => source.hint(),
            Self::Manifest(ManifestError::TooLarge { .. }) => {
                Some("leave files out with --exclude, or pack many small ones into archives".into())
            }
            Self::Reserve(source) => source.publish_hint(),
            _ => None,
        }
    }

    fn client_hint(&self) -> Option<String> {
        match self {
            Self::Describe(error) => error.client_hint(),
            error => error.hint(),
        }
    }
}

impl Publishing {
    /// Assembles the model of a request. `accepted` says what is accepted beside data. Blocks.
    ///
    /// # Errors
    /// A file is refused, a blob is missing, or the store has no room: see [`AssembleError`].
    pub fn assemble(
        &self,
        request: &PublishRequest,
        accepted: &Acceptance,
        reporter: &Reporter,
        cancel: &Cancel,
    ) -> Result<Assembled, AssembleError> {
        let PublishRequest { source, claims, ingest, .. } = request;
        let (blobs, lease, left_out, copied) = match source {
            PublishSource::Path(path) => {
                let Ingested { blobs, lease, left_out, copied } =
                    self.ingest((path, ingest), claims, accepted, reporter, cancel)?;
                (blobs, lease, left_out, copied)
            }
            PublishSource::Blobs(blobs) => {
                let lease = self.store.reserve(0, &blobs.iter().map(|(_, blob)| *blob).collect())?;
                (blobs.clone(), lease, LeftOutList::default(), false)
            }
            PublishSource::Pack(digest) => return self.assemble_pack(*digest, accepted),
        };
        let mut description = Description::default();
        let mut files = Vec::new();
        for (path, digest) in blobs {
            if cancel.is_cancelled() {
                let path = PathBuf::from(path.as_str());
                return Err(AssembleError::Import { path, source: ImportError::Cancelled });
            }
            let size = self.size_of(digest)?;
            let layout =
                BlobLayout::new(size).map_err(|source| AssembleError::TooLarge { blob: digest, source })?;
            let class = description.add(&self.store, &path, &digest, size, &accepted.consent)?;
            files.push(ModelFile { path, digest, layout, media_type: raw_layer_type(class) });
        }
        description.settle(&accepted.consent, accepted.incomplete)?;
        let (manifest, config) = manifest_of(claims.clone(), files)?;
        self.store.put_blob(&config)?;
        let bytes = manifest.to_bytes();
        let assembled = self.assembled(manifest, bytes, description, lease)?;
        Ok(Assembled { left_out, copied, ..assembled })
    }

    /// Assembles a model from the manifest of a ModelPack, which keeps its bytes and its digest.
    fn assemble_pack(&self, digest: Digest, accepted: &Acceptance) -> Result<Assembled, AssembleError> {
        let read = |source| AssembleError::Read { blob: digest, source };
        let bytes = self.store.read_blob(&digest, MANIFEST_BYTES_MAX as u64).map_err(read)?;
        let manifest = Manifest::from_bytes(&bytes)?;
        let lease = self.store.reserve(0, &manifest.blobs().into_keys().chain([digest]).collect())?;
        for (blob, layout) in manifest.blobs() {
            let (stated, found) = (layout.size(), self.size_of(blob)?);
            if found != stated {
                return Err(AssembleError::OtherSize { blob, found, stated });
            }
        }
        let config = manifest.config().digest;
        let config = self.store.read_blob(&config, CONFIG_BYTES_MAX as u64).map_err(read)?;
        ModelConfig::from_bytes(&config).map_err(ManifestError::from)?;
        let mut description = Description::default();
        for file in manifest.files() {
            description.add(&self.store, &file.path, &file.digest, file.layout.size(), &accepted.consent)?;
        }
        description.settle(&accepted.consent, accepted.incomplete)?;
        self.assembled(manifest, bytes, description, lease)
    }

    /// Returns the size of a blob in the store. Its bytes are checked: the index may name a blob that a crash has damaged.
    fn size_of(&self, blob: Digest) -> Result<u64, AssembleError> {
        match self.store.open_blob(&blob) {
            Ok(file) => Ok(file.layout().size()),
            Err(ReadError::NotHere { .. } | ReadError::Damaged { .. } | ReadError::Unverified { .. }) => {
                Err(AssembleError::Missing { blob })
            }
            // The disk fails, which does not mean that the user has to upload it.
            Err(source) => Err(AssembleError::Read { blob, source }),
        }
    }

    fn assembled(
        &self,
        manifest: Manifest,
        bytes: Vec<u8>,
        description: Description,
        lease: Lease,
    ) -> Result<Assembled, AssembleError> {
        let mut states = BTreeMap::new();
        for (blob, _) in manifest.blobs().into_iter().filter(|(_, layout)| layout.piece_count() > 1) {
            let list = self.store.states(&blob).map_err(|source| AssembleError::Read { blob, source })?;
            states.insert(blob, list.digest());
        }
        let (metadata, kinds) = description.finish();
        let (left_out, copied) = (LeftOutList::default(), false);
        Ok(Assembled { manifest, bytes, states, metadata, kinds, lease, left_out, copied })
    }
}

/// Returns the manifest of these files with these claims, and the bytes of its config.
pub(super) fn manifest_of(
    claims: Claims,
    files: Vec<ModelFile>,
) -> Result<(Manifest, Vec<u8>), AssembleError> {
    let config = ModelConfig::new(descriptor(claims), &files).to_bytes();
    let manifest = Manifest::new(Descriptor::of(MODEL_CONFIG_TYPE, &config), files)?;
    Ok((manifest, config))
}

pub(super) fn raw_layer_type(class: ModelPackClass) -> String {
    format!("application/vnd.cncf.model.{class}.v1.raw")
}

fn descriptor(claims: Claims) -> ModelDescriptor {
    let Claims { licenses, title, description, version, source_url } = claims;
    ModelDescriptor { title, description, version, licenses, source_url }
}
