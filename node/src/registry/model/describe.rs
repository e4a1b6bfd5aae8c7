//! [`Description`]: what is computed from a model's files, and the verdict on each file and on the whole.
//!
//! Every file is inspected before one is refused: a file without a header is what another one says of it, and what a user must
//! know first is that the model is not whole.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek};

use reg_api::consent::{Acceptance, Consent};
use reg_api::fault::FaultKind;
use reg_api::selection::Part;
use reg_proto::content::class::ModelPackClass;
use reg_proto::content::format::Format;
use reg_proto::content::inspect::{self, Facts, InspectError, Inspected, inspect};
use reg_proto::content::kind::ContentKind;
use reg_proto::content::metadata::{Metadata, MetadataBuilder};
use reg_proto::content::parts::{Gap, Parts, is_settled_by_others, may_name};
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::path::SafePath;
use reg_proto::piece::PIECE_LEN;
use thiserror::Error;

use super::tree::SourceFile;
use crate::registry::limits::LIST_BYTES_MAX;
use crate::registry::policy::{Verdict, judge};
use crate::store::{Cancel, ReadError, Store};

/// Gaps that a message names.
const GAPS_SHOWN: usize = 5;

/// Further refused files that a message names.
const REFUSED_SHOWN: usize = 20;

/// Why a file is not accepted into a model.
#[derive(Debug, Error)]
pub enum DescribeError {
    #[error("{path} is of kind {kind} ({format}), which is refused: {reason}{}", and(more))]
    Denied {
        path: SafePath,
        kind: ContentKind,
        format: Format,
        reason: &'static str,
        /// The other files to which consent is missing.
        more: Vec<(SafePath, ContentKind)>,
    },
    #[error("{path} is refused{}", and(more))]
    Malformed { path: SafePath, source: InspectError, more: Vec<(SafePath, ContentKind)> },
    #[error("model is not whole: {}", shown(gaps))]
    NotWhole { gaps: Vec<Gap> },
    #[error("{path} cannot be read from the cache")]
    Read { path: SafePath, source: ReadError },
    #[error("{path} cannot be read")]
    Io { path: SafePath, source: std::io::Error },
}

impl DescribeError {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Denied { .. } | Self::Malformed { .. } | Self::NotWhole { .. } => FaultKind::Denied,
            Self::Read { .. } => FaultKind::Internal,
            Self::Io { source, .. } => FaultKind::of_path(source),
        }
    }

    /// Returns the kind of file to which the user's consent is missing.
    pub const fn consent_missing(&self) -> Option<ContentKind> {
        match self {
            Self::Denied { kind, .. } => Some(*kind),
            Self::Malformed { .. } => Some(ContentKind::Malformed),
            _ => None,
        }
    }

    /// Returns the kinds to which the user's consent is missing, as `--allow` takes them; `None` where it is not about consent.
    pub fn kinds_missing(&self) -> Option<String> {
        let more = match self {
            Self::Denied { more, .. } | Self::Malformed { more, .. } => more.as_slice(),
            _ => &[],
        };
        let kinds = self.consent_missing().into_iter().chain(more.iter().map(|(_, kind)| *kind));
        let kinds: BTreeSet<String> = kinds.map(|kind| kind.to_string()).collect();
        (!kinds.is_empty()).then(|| kinds.into_iter().collect::<Vec<_>>().join(","))
    }

    /// Returns the first of several refusals, which names the files of the others.
    fn of_all(mut refused: Vec<Self>) -> Option<Self> {
        let others: Vec<(SafePath, ContentKind)> = refused
            .iter()
            .skip(1)
            .filter_map(|it| match it {
                Self::Denied { path, kind, .. } => Some((path.clone(), *kind)),
                Self::Malformed { path, .. } => Some((path.clone(), ContentKind::Malformed)),
                _ => None,
            })
            .collect();
        let mut first = (!refused.is_empty()).then(|| refused.swap_remove(0))?;
        if let Self::Denied { more, .. } | Self::Malformed { more, .. } = &mut first {
            *more = others;
        }
        Some(first)
    }

    /// Tells whether a file ends too early, so that to fetch it again comes before any consent.
    const fn is_cut_off(&self) -> bool {
        matches!(self, Self::Malformed { source, .. } if source.is_cut_off())
    }

    /// Returns what the client of a gateway can do: it has none of the flags.
    pub fn client_hint(&self) -> Option<String> {
        if self.is_cut_off() {
            return Some("download the file again: it ends before its tensors do".to_owned());
        }
        if let Self::NotWhole { gaps } = self {
            let what = gaps.first().map_or("add the files", Gap::hint);
            return Some(format!("{what}; or publish it as it is with `reg publish --incomplete`"));
        }
        self.kinds_missing().map(|kind| {
            format!(
                "publish it with `reg publish --allow {kind}`, or start the node with `reg daemon --allow {kind}` to take \
                 such uploads"
            )
        })
    }

    /// Returns what a publisher can do.
    pub fn publish_hint(&self) -> Option<String> {
        if self.is_cut_off() {
            return Some(
                "download the file again: it ends before its tensors do; or publish it as it is with --allow malformed"
                    .to_owned(),
            );
        }
        if let Self::NotWhole { gaps } = self {
            let what = gaps.first().map_or("add the files", Gap::hint);
            return Some(format!("{what}; or publish it as it is with --incomplete"));
        }
        self.kinds_missing().map(|kind| {
            format!("publish it anyway with --allow {kind}, or with --allow-unsafe; a puller then has to say the same")
        })
    }
}

/// Names further files that are refused.
fn and(more: &[(SafePath, ContentKind)]) -> String {
    if more.is_empty() {
        return String::new();
    }
    let named: Vec<String> =
        more.iter().take(REFUSED_SHOWN).map(|(path, kind)| format!("{path} ({kind})")).collect();
    let rest = match more.len().saturating_sub(REFUSED_SHOWN) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!("; and so {} {}{rest}", if more.len() == 1 { "is" } else { "are" }, named.join(", "))
}

fn shown(gaps: &[Gap]) -> String {
    let named: Vec<String> = gaps.iter().take(GAPS_SHOWN).map(ToString::to_string).collect();
    let more = gaps.len().saturating_sub(GAPS_SHOWN);
    if more > 0 { format!("{}; and {more} more", named.join("; ")) } else { named.join("; ") }
}

/// Collects the files of a model, each inspected and judged.
#[derive(Debug, Default)]
pub struct Description {
    builder: MetadataBuilder,
    kinds: BTreeMap<String, usize>,
    files: Vec<(String, ContentKind)>,
    /// Files of no format, and whether each was accepted before. Another file may say what they are.
    unknown: Vec<(SafePath, bool)>,
    refused: Vec<DescribeError>,
    /// Files are read no further once its caller has gone.
    cancel: Cancel,
}

impl Description {
    /// Judges files before they are imported, so that nothing is read whole of a model that is refused. Returns the class of
    /// each one's layer, in the same order.
    ///
    /// # Errors
    /// A file is refused or cannot be read, or the model is not whole, unless `accepted` says otherwise. Fails soon after the
    /// caller has gone.
    pub fn judge_sources<'a>(
        sources: impl IntoIterator<Item = &'a SourceFile>,
        accepted: &Acceptance,
        cancel: &Cancel,
    ) -> Result<Vec<ModelPackClass>, DescribeError> {
        let (mut judging, mut classes) = (Judging::default(), Vec::new());
        for SourceFile { path, source, size, .. } in sources {
            let io = |source| DescribeError::Io { path: path.clone(), source };
            let file = File::open(source).map_err(io)?;
            classes.push(judging.look(path, cancel.over(file), *size, &accepted.consent)?);
        }
        judging.settle(&accepted.consent, accepted.incomplete)?;
        Ok(classes)
    }

    /// Inspects a file in the cache, and returns the class of its layer. [`Self::settle`] says whether it is refused.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn add(
        &mut self,
        store: &Store,
        path: &SafePath,
        digest: &Digest,
        size: u64,
        consent: &Consent,
    ) -> Result<ModelPackClass, DescribeError> {
        let read = |source| DescribeError::Read { path: path.clone(), source };
        let file = self.cancel.over(store.open_file(digest).map_err(read)?);
        let looked = look(path, file, size);
        let Looked { inspected, malformed } = looked.map_err(|error| match error {
            // The file is the store's own.
            DescribeError::Io { source, .. } => read(ReadError::Io { path: store.root().to_owned(), source }),
            error => error,
        })?;
        if let Some(error) = malformed {
            self.builder.malformed(path, &reason(&error));
            self.refuse_malformed(path, error, consent);
        }
        self.builder.file(path, size, *digest, &inspected);
        if is_settled_by_others(inspected.format) {
            self.unknown.push((path.clone(), consent.is_to_everything()));
        } else {
            self.take(path, inspected.kind, inspected.format, consent);
        }
        Ok(inspected.class)
    }

    fn refuse_malformed(&mut self, path: &SafePath, source: InspectError, consent: &Consent) {
        if !consent.covers(ContentKind::Malformed) {
            self.refused.push(DescribeError::Malformed { path: path.clone(), source, more: Vec::new() });
        }
    }

    fn take(&mut self, path: &SafePath, kind: ContentKind, format: Format, consent: &Consent) {
        *self.kinds.entry(kind.to_string()).or_default() += 1;
        self.files.push((path.to_string(), kind));
        self.refused.extend(denied(path, kind, format, consent));
    }

    /// Names a file of the model that is not in the store, so that it does not count as missing of the model.
    pub fn listed(&mut self, path: &SafePath) {
        self.builder.listed(path);
    }

    /// Leaves those files of no format undecided of which a file that is not added yet may say what they are.
    pub fn set_aside(&mut self, may_be_named: impl Fn(&SafePath) -> bool) {
        self.unknown.retain(|(path, _)| !may_be_named(path));
    }

    /// Decides about the files that were added, now that all of them are known. `incomplete` accepts a model that is not whole.
    ///
    /// # Errors
    /// A file is refused, or the model is not whole.
    pub fn settle(&mut self, consent: &Consent, incomplete: bool) -> Result<(), DescribeError> {
        let everything = Consent::to_everything();
        for (path, is_accepted) in std::mem::take(&mut self.unknown) {
            let format = self.builder.parts().format(&path).unwrap_or(Format::Unknown);
            self.take(&path, format.kind(), format, if is_accepted { &everything } else { consent });
        }
        let gaps = if incomplete { Vec::new() } else { self.gaps() };
        if !gaps.is_empty() {
            return Err(DescribeError::NotWhole { gaps });
        }
        DescribeError::of_all(std::mem::take(&mut self.refused)).map_or(Ok(()), Err)
    }

    /// Returns what the model lacks, as far as its files are added.
    pub fn gaps(&self) -> Vec<Gap> {
        self.builder.parts().gaps()
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

/// Judges files that have no digest yet.
#[derive(Debug, Default)]
struct Judging {
    parts: Parts,
    unknown: Vec<SafePath>,
    refused: Vec<DescribeError>,
}

impl Judging {
    fn look(
        &mut self,
        path: &SafePath,
        file: impl Read + Seek,
        size: u64,
        consent: &Consent,
    ) -> Result<ModelPackClass, DescribeError> {
        let Looked { inspected, malformed } = look(path, file, size)?;
        self.parts.file(path, &inspected);
        if let Some(source) = malformed.filter(|_| !consent.covers(ContentKind::Malformed)) {
            self.refused.push(DescribeError::Malformed { path: path.clone(), source, more: Vec::new() });
        }
        if is_settled_by_others(inspected.format) {
            self.unknown.push(path.clone());
        } else {
            self.refused.extend(denied(path, inspected.kind, inspected.format, consent));
        }
        Ok(inspected.class)
    }

    fn settle(mut self, consent: &Consent, incomplete: bool) -> Result<(), DescribeError> {
        let gaps = if incomplete { Vec::new() } else { self.parts.gaps() };
        if !gaps.is_empty() {
            return Err(DescribeError::NotWhole { gaps });
        }
        for path in &self.unknown {
            let format = self.parts.format(path).unwrap_or(Format::Unknown);
            self.refused.extend(denied(path, format.kind(), format, consent));
        }
        DescribeError::of_all(self.refused).map_or(Ok(()), Err)
    }
}

fn denied(path: &SafePath, kind: ContentKind, format: Format, consent: &Consent) -> Option<DescribeError> {
    match judge(kind, consent) {
        Verdict::Allow => None,
        Verdict::Deny { reason } => {
            Some(DescribeError::Denied { path: path.clone(), kind, format, reason, more: Vec::new() })
        }
    }
}

/// Returns the reason why a header is invalid.
fn reason(error: &InspectError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

/// What was read of a file, and the fault in its header.
#[derive(Debug)]
struct Looked {
    inspected: Inspected,
    malformed: Option<InspectError>,
}

fn look(path: &SafePath, mut file: impl Read + Seek, size: u64) -> Result<Looked, DescribeError> {
    let io = |error| match error {
        InspectError::Io { path, source } => Ok(DescribeError::Io { path, source }),
        error => Err(error),
    };
    match inspect(path, &mut file, size).map_err(io) {
        Ok(inspected) => Ok(Looked { inspected, malformed: None }),
        Err(Ok(error)) => Err(error),
        Err(Err(error)) => match inspect::look(path, &mut file, size).map_err(io) {
            Ok(inspected) => Ok(Looked {
                inspected: Inspected { facts: Facts::NotUnderstood, ..inspected },
                malformed: Some(error),
            }),
            Err(Ok(error)) => Err(error),
            Err(Err(source)) => {
                Err(DescribeError::Malformed { path: path.clone(), source, more: Vec::new() })
            }
        },
    }
}

/// What was read of those files of a model that are in the store. It judges nothing.
#[derive(Debug, Default)]
pub struct FilesHere(BTreeMap<SafePath, Looked>);

impl FilesHere {
    /// Tells whether the store has a file of the model that was not read yet.
    pub fn lacks_any(&self, store: &Store, manifest: &Manifest) -> bool {
        let mut files = manifest.files().iter();
        files.any(|file| !self.0.contains_key(&file.path) && store.contains(&file.digest))
    }

    /// Reads the files that have come since, and returns the metadata of all that are in the store; `None` where there are none,
    /// or one cannot be read.
    pub fn metadata(&mut self, store: &Store, manifest: &Manifest) -> Option<Metadata> {
        let mut builder = MetadataBuilder::default();
        manifest.files().iter().for_each(|file| builder.listed(&file.path));
        let mut here = manifest.files().iter().filter(|file| store.contains(&file.digest)).peekable();
        here.peek()?;
        for file in here {
            let (path, size) = (&file.path, file.layout.size());
            let looked = match self.0.entry(path.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(look(path, store.open_file(&file.digest).ok()?, size).ok()?),
            };
            if let Some(error) = &looked.malformed {
                builder.malformed(path, &reason(error));
            }
            builder.file(path, size, file.digest, &looked.inspected);
        }
        Some(builder.finish())
    }
}

/// Inspects the files of `all` that are in the store, and judges those of `part`. The others were accepted before. A model that
/// is not whole is accepted: its publisher has signed it so. Blocks: some formats are searched whole.
///
/// # Errors
/// A file is refused, or cannot be read. Fails soon after the caller has gone.
pub fn describe_part(
    store: &Store,
    manifest: &Manifest,
    all: &Part,
    part: &Part,
    consent: &Consent,
    cancel: &Cancel,
) -> Result<Description, DescribeError> {
    let everything = Consent::to_everything();
    let mut description = Description { cancel: cancel.clone(), ..Description::default() };
    manifest.files().iter().for_each(|file| description.listed(&file.path));
    for file in all.files(manifest).filter(|file| store.contains(&file.digest)) {
        let consent = if part.contains(&file.path) { consent } else { &everything };
        description.add(store, &file.path, &file.digest, file.layout.size(), consent)?;
    }
    description.settle(consent, true)?;
    Ok(description)
}

/// Tells whether a file is fetched before the others: it is small, or says which other files a model needs.
pub fn comes_first(path: &SafePath, size: u64) -> bool {
    let name = path.file_name();
    let is_list = [".json", ".onnx", ".xml"].iter().any(|it| name.ends_with(it));
    size < PIECE_LEN || is_list && size <= LIST_BYTES_MAX
}

/// Inspects and judges the files that are in the store before the others come. A file of no format waits for those that may say
/// what it is. `incomplete` accepts a model that is not whole.
///
/// # Errors
/// A file is refused or cannot be read, or the model is not whole.
pub fn describe_early<'a>(
    store: &Store,
    here: impl IntoIterator<Item = (&'a SafePath, Digest, u64)>,
    to_come: &[&SafePath],
    consent: &Consent,
    incomplete: bool,
) -> Result<Description, DescribeError> {
    let mut description = Description::default();
    to_come.iter().for_each(|path| description.listed(path));
    for (path, digest, size) in here {
        description.add(store, path, &digest, size, consent)?;
    }
    description.set_aside(|path| to_come.iter().any(|other| may_name(other, path)));
    description.settle(consent, incomplete)?;
    Ok(description)
}

/// Inspects and judges every file. A model in the store may have been accepted with a consent that is not given now.
///
/// # Errors
/// A file is refused, or cannot be read.
pub fn describe(store: &Store, manifest: &Manifest, consent: &Consent) -> Result<Description, DescribeError> {
    describe_part(store, manifest, &Part::Whole, &Part::Whole, consent, &Cancel::default())
}

#[cfg(test)]
mod tests {
    use reg_proto::descriptor::Descriptor;
    use reg_proto::manifest::{MODEL_CONFIG_TYPE, ModelFile, RAW_LAYER_TYPES};
    use reg_proto::piece::BlobLayout;

    use super::*;
    use crate::store::{CacheLimits, CancelOnDrop};

    #[test]
    fn a_model_is_described_no_further_once_the_caller_has_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(&dir.path().join("store"), CacheLimits::default()).expect("opened");
        let bytes = [b"\x89HDF\r\n\x1a\n".as_slice(), &[0; 9000]].concat();
        let digest = store.put_blob(&bytes).expect("stored");
        let layout = BlobLayout::new(bytes.len() as u64).expect("small");
        let path: SafePath = "model.h5".parse().expect("a path");
        let file = ModelFile { path, digest, layout, media_type: RAW_LAYER_TYPES[0].to_owned() };
        let config = Descriptor::of(MODEL_CONFIG_TYPE, b"{}");
        let manifest = Manifest::new(config, vec![file]).expect("a manifest");
        let consent = Consent::to_everything();
        let caller = CancelOnDrop::default();
        let cancel = caller.cancel();
        let describe =
            || describe_part(&store, &manifest, &Part::Whole, &Part::Whole, &consent, &cancel).map(drop);
        assert!(describe().is_ok());
        drop(caller);
        assert!(matches!(describe(), Err(DescribeError::Read { .. })));
    }
}
