//! [`Description`]: what is computed from a model's files, and the verdict on each file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use reg_api::fault::FaultKind;
use reg_api::selection::Part;
use reg_proto::content::inspect::{Facts, InspectError, Inspected, inspect};
use reg_proto::content::kind::{ContentKind, HEAD_LEN, sniff};
use reg_proto::content::metadata::{Metadata, MetadataBuilder};
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::path::SafePath;
use thiserror::Error;

use crate::registry::policy::{Verdict, judge};
use crate::store::{ReadError, Store};

/// Why a file is not accepted into a model.
#[derive(Debug, Error)]
pub enum DescribeError {
    #[error("{path} is of kind {kind}, which is refused: {reason}")]
    Denied { path: SafePath, kind: ContentKind, reason: &'static str },
    #[error("{path} is refused")]
    Malformed { path: SafePath, source: InspectError },
    #[error("{path} cannot be read from the cache")]
    Read { path: SafePath, source: ReadError },
    #[error("{path} cannot be read")]
    Io { path: SafePath, source: std::io::Error },
}

impl DescribeError {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Denied { .. } | Self::Malformed { .. } => FaultKind::Denied,
            Self::Read { .. } => FaultKind::Internal,
            Self::Io { source, .. } => FaultKind::of_path(source),
        }
    }

    /// Tells whether the user's consent alone would let the file in.
    pub fn is_consent_missing(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Malformed { .. })
    }
}

/// Collects the files of a model, each inspected and judged.
#[derive(Debug, Default)]
pub struct Description {
    builder: MetadataBuilder,
    kinds: BTreeMap<String, usize>,
    files: Vec<(String, ContentKind)>,
}

impl Description {
    /// Judges a file before it is imported, so that a refused file is not read whole.
    pub fn judge_source(
        path: &SafePath,
        source: &Path,
        size: u64,
        allow_unsafe: bool,
    ) -> Result<(), DescribeError> {
        let file = File::open(source).map_err(|source| DescribeError::Io { path: path.clone(), source })?;
        look(path, file, size, allow_unsafe).map(drop)
    }

    /// Inspects and judges a file in the cache, and returns its kind.
    pub fn add(
        &mut self,
        store: &Store,
        path: &SafePath,
        digest: &Digest,
        size: u64,
        allow_unsafe: bool,
    ) -> Result<ContentKind, DescribeError> {
        let read = |source| DescribeError::Read { path: path.clone(), source };
        let looked = look(path, store.open_file(digest).map_err(read)?, size, allow_unsafe);
        let (inspected, malformed) = looked.map_err(|error| match error {
            // The file is the store's own.
            DescribeError::Io { source, .. } => read(ReadError::Io { path: store.root().to_owned(), source }),
            error => error,
        })?;
        if let Some(reason) = malformed {
            self.builder.malformed(path, &reason);
        }
        let kind = inspected.kind;
        self.builder.file(path, size, *digest, &inspected);
        *self.kinds.entry(kind.to_string()).or_default() += 1;
        self.files.push((path.to_string(), kind));
        Ok(kind)
    }

    /// Returns every file with its kind.
    pub fn files(&self) -> &[(String, ContentKind)] {
        &self.files
    }

    /// Returns the metadata of the model, and the number of its files of each kind.
    pub fn finish(self) -> (Metadata, BTreeMap<String, usize>) {
        (self.builder.finish(), self.kinds)
    }
}

/// Returns the kind of a file, and the fault in its header where the file is accepted by consent.
fn look(
    path: &SafePath,
    mut file: File,
    size: u64,
    allow_unsafe: bool,
) -> Result<(Inspected, Option<String>), DescribeError> {
    let mut malformed = None;
    let inspected = match inspect(path, &mut file, size) {
        Ok(inspected) => inspected,
        Err(InspectError::Io { path, source }) => return Err(DescribeError::Io { path, source }),
        Err(source) if !allow_unsafe => return Err(DescribeError::Malformed { path: path.clone(), source }),
        Err(error) => {
            malformed = std::error::Error::source(&error).map(ToString::to_string);
            Inspected { kind: malformed_kind(path, &mut file, size), facts: Facts::NotUnderstood }
        }
    };
    match judge(inspected.kind) {
        Verdict::Deny { reason } if !allow_unsafe => {
            Err(DescribeError::Denied { path: path.clone(), kind: inspected.kind, reason })
        }
        _ => Ok((inspected, malformed)),
    }
}

/// Returns the kind that the first bytes of a file show, where its header is refused.
fn malformed_kind(path: &SafePath, file: &mut File, size: u64) -> ContentKind {
    use std::io::{Read, Seek};
    let mut head = Vec::new();
    let read = file.rewind().and_then(|()| file.take(HEAD_LEN as u64).read_to_end(&mut head));
    if read.is_err() { ContentKind::UnknownBinary } else { sniff(path.as_str(), &head, &head, size) }
}

/// Inspects the files of `all` that are in the store, and judges those of `part`. The others were accepted before.
pub fn describe_part(
    store: &Store,
    manifest: &Manifest,
    all: &Part,
    part: &Part,
    allow_unsafe: bool,
) -> Result<Description, DescribeError> {
    let mut description = Description::default();
    for file in all.files(manifest).filter(|file| store.contains(&file.digest)) {
        let is_taken = allow_unsafe || !part.contains(&file.path);
        description.add(store, &file.path, &file.digest, file.layout.size(), is_taken)?;
    }
    Ok(description)
}

/// Inspects and judges every file. A model in the store may have been accepted with a consent that is not given now.
pub fn describe(
    store: &Store,
    manifest: &Manifest,
    allow_unsafe: bool,
) -> Result<Description, DescribeError> {
    let mut description = Description::default();
    for file in manifest.files() {
        description.add(store, &file.path, &file.digest, file.layout.size(), allow_unsafe)?;
    }
    Ok(description)
}
