//! Assembles a model from files, from blobs in the store, or from a ModelPack that was pushed. Inspects and judges every file,
//! and builds the manifest, or keeps the one of the ModelPack byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use reg_api::fault::{Fault, FaultKind};
use reg_api::progress::Progress;
use reg_api::reporter::Reporter;
use reg_api::request::{Claims, PublishSource};
use reg_proto::content::class::ModelPackClass;
use reg_proto::content::metadata::Metadata;
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::limits::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX};
use reg_proto::manifest::{
    MODEL_CONFIG_TYPE, Manifest, ManifestError, ModelConfig, ModelDescriptor, ModelFile,
};
use reg_proto::path::SafePath;
use reg_proto::piece::{BlobLayout, BlobTooLarge};
use thiserror::Error;

use super::Publishing;
use crate::registry::model::describe::{DescribeError, Description};
use crate::registry::model::tree::{self, SourceFile, TreeError};
use crate::registry::model::whole::is_whole;
use crate::store::{ImportError, Lease, ReadError, ReserveError, Taking, ToImport, WriteError};

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
            Self::Reserve(_) => FaultKind::DiskFull,
            Self::Tree(TreeError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                FaultKind::NotFound
            }
            Self::Missing { .. } => FaultKind::NotFound,
            Self::Import { source: ImportError::Source { source, .. }, .. }
            | Self::Tree(TreeError::Read { source, .. }) => FaultKind::of_path(source),
            Self::Describe(error) => error.kind(),
            Self::Import { source: ImportError::Write(_), .. } | Self::Write(_) | Self::Read { .. } => {
                FaultKind::Internal
            }
            _ => FaultKind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Describe(error) if error.is_consent_missing() => Some(
                "publish it anyway with --allow-unsafe; a puller then has to pass --allow-unsafe too".into(),
            ),
            Self::Tree(TreeError::LinkOutside { .. }) => Some("copy the file into the directory".into()),
            Self::Tree(TreeError::Name { .. }) => Some("rename the file".into()),
            Self::Reserve(_) => Some("make room with `reg gc`, or raise cache.max_size".into()),
            _ => None,
        }
    }
}

impl Publishing {
    /// Assembles a model from `source`. `claims` are what the publisher says of it beside the files. Blocks.
    ///
    /// # Errors
    /// A file is refused, a blob is missing, or the store has no room: see [`AssembleError`].
    pub fn assemble(
        &self,
        source: PublishSource,
        claims: Claims,
        allow_unsafe: bool,
        reporter: &Reporter,
    ) -> Result<Assembled, AssembleError> {
        let (blobs, lease) = match source {
            PublishSource::Path(path) => self.import(&path, allow_unsafe, reporter)?,
            PublishSource::Blobs(blobs) => {
                let lease = self.store.reserve(0, &blobs.iter().map(|(_, blob)| *blob).collect())?;
                (blobs, lease)
            }
            PublishSource::Pack(digest) => return self.assemble_pack(digest, allow_unsafe),
        };
        let mut description = Description::default();
        let mut files = Vec::new();
        for (path, digest) in blobs {
            // The index may name a blob that a crash has damaged, so its bytes are checked.
            if !is_whole(&self.store, &digest) {
                return Err(AssembleError::Missing { blob: digest });
            }
            let size = self.store.blob_size(&digest).ok_or(AssembleError::Missing { blob: digest })?;
            let layout =
                BlobLayout::new(size).map_err(|source| AssembleError::TooLarge { blob: digest, source })?;
            let kind = description.add(&self.store, &path, &digest, size, allow_unsafe)?;
            let media_type = raw_layer_type(ModelPackClass::of(path.as_str(), kind));
            files.push(ModelFile { path, digest, layout, media_type });
        }
        let config = ModelConfig::new(descriptor(claims), &files).to_bytes();
        let manifest = Manifest::new(Descriptor::of(MODEL_CONFIG_TYPE, &config), files)?;
        self.store.put_blob(&config)?;
        let bytes = manifest.to_bytes();
        self.assembled(manifest, bytes, description, lease)
    }

    /// Assembles a model from the manifest of a ModelPack, which keeps its bytes and its digest.
    fn assemble_pack(&self, digest: Digest, allow_unsafe: bool) -> Result<Assembled, AssembleError> {
        let read = |source| AssembleError::Read { blob: digest, source };
        let bytes = self.store.read_blob(&digest, MANIFEST_BYTES_MAX as u64).map_err(read)?;
        let manifest = Manifest::from_bytes(&bytes)?;
        let lease = self.store.reserve(0, &manifest.blobs().into_keys().chain([digest]).collect())?;
        for (blob, layout) in manifest.blobs() {
            let (stated, found) = (layout.size(), self.store.blob_size(&blob));
            let found =
                found.filter(|_| is_whole(&self.store, &blob)).ok_or(AssembleError::Missing { blob })?;
            if found != stated {
                return Err(AssembleError::OtherSize { blob, found, stated });
            }
        }
        let config = manifest.config().digest;
        let config = self.store.read_blob(&config, CONFIG_BYTES_MAX as u64).map_err(read)?;
        ModelConfig::from_bytes(&config).map_err(ManifestError::from)?;
        let mut description = Description::default();
        for file in manifest.files() {
            description.add(&self.store, &file.path, &file.digest, file.layout.size(), allow_unsafe)?;
        }
        self.assembled(manifest, bytes, description, lease)
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
        Ok(Assembled { manifest, bytes, states, metadata, kinds, lease })
    }

    /// Imports every file below a path on all cores and reads each once. Refuses files by name and first bytes before that.
    fn import(
        &self,
        path: &Path,
        allow_unsafe: bool,
        reporter: &Reporter,
    ) -> Result<(Vec<(SafePath, Digest)>, Lease), AssembleError> {
        let sources = tree::list(path)?;
        let total = sources.iter().map(|it| it.size).sum();
        let lease = self.store.reserve(total, &BTreeSet::new())?;
        reporter.stage("hashing", format_args!("{} files", sources.len()));
        for SourceFile { path, source, size } in &sources {
            Description::judge_source(path, source, *size, allow_unsafe)?;
        }
        let done = AtomicU64::new(0);
        let tell = |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            reporter.tell(Progress::Bytes { done, total, peers: 0 });
        };
        let (paths, files): (Vec<_>, Vec<_>) = sources
            .into_iter()
            .map(|it| (it.path, ToImport { path: it.source, taking: Taking::Copy }))
            .unzip();
        let imported = self.store.import_files(&files, &tell);
        let imported = imported.map_err(|(path, source)| AssembleError::Import { path, source })?;
        let blobs = paths.into_iter().zip(imported).map(|(path, imported)| (path, imported.digest)).collect();
        Ok((blobs, lease))
    }
}

fn raw_layer_type(class: ModelPackClass) -> String {
    format!("application/vnd.cncf.model.{class}.v1.raw")
}

fn descriptor(claims: Claims) -> ModelDescriptor {
    let Claims { licenses, title, description, version, source_url } = claims;
    ModelDescriptor { title, description, version, licenses, source_url }
}
