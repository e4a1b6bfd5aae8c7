//! Pulls tensors: fetches the headers, then the pieces that hold the wanted tensors, and writes safetensors files with just
//! these tensors.
//!
//! This node writes the files from verified pieces, with headers of their own, so they are not the files that were signed.
//! The pieces stay in the cache as parts of the signed files: they are served, and a later pull continues from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use reg_api::counted::counted;
use reg_api::fault::{Fault, FaultKind};
use reg_api::receipt::Pace;
use reg_api::report::Pulled;
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_api::selection::{Part, Pattern};
use reg_api::size::Size;
use reg_proto::content::safetensors::{PREFIX_LEN, Safetensors, Tensor};
use reg_proto::digest::Digest;
use reg_proto::manifest::ModelFile;
use reg_proto::path::SafePath;
use reg_proto::piece::{BlobLayout, PIECE_LEN, PieceIndex};
use thiserror::Error;

use super::Puller;
use super::early::Step;
use super::error::PullError;
use super::headers::{self, Header};
use super::puller::tag_of;
use crate::registry::fetch::{BeginError, Share, Sources};
use crate::registry::model::checkout::{self, CheckoutError};
use crate::registry::model::record::ModelRecord;
use crate::registry::model::whole;
use crate::registry::publishers::usable;
use crate::registry::resolve::{Resolved, byte_sources};
use crate::store::{BlobFile, Partial, ReadError};

/// Why tensors were not pulled. Verified pieces stay in the store.
#[derive(Debug, Error)]
pub enum TensorsError {
    #[error(
        "no selected file of the model is a safetensors file, and tensors are extracted from no other format"
    )]
    NoFile,
    #[error("no tensor of the model matches {pattern}")]
    NoMatch { pattern: Pattern, tensors: Vec<String> },
    #[error("{path} has no header that can be read")]
    Header { path: SafePath },
    #[error("{path} cannot be read from the cache")]
    Read { path: SafePath, source: ReadError },
    #[error("{path} cannot be placed")]
    Place { path: PathBuf, source: CheckoutError },
    #[error("{path} cannot be written")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} exists and has other contents")]
    Occupied { path: PathBuf },
}

impl Fault for TensorsError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NoFile | Self::NoMatch { .. } => FaultKind::NoMatch,
            Self::Header { .. } => FaultKind::Denied,
            Self::Place { source, .. } => source.kind(),
            Self::Write { source, .. } if source.kind() == ErrorKind::StorageFull => FaultKind::DiskFull,
            Self::Occupied { .. } => FaultKind::Denied,
            Self::Read { .. } | Self::Write { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        /// How many names a hint shows, so that it stays one line.
        const NAMES_MAX: usize = 6;
        match self {
            Self::NoMatch { tensors, .. } => {
                let end = if tensors.len() > NAMES_MAX { ", …" } else { "" };
                let names: Vec<&str> = tensors.iter().take(NAMES_MAX).map(String::as_str).collect();
                Some(format!("it has {}{end}", names.join(", ")))
            }
            Self::Place { source, .. } => source.hint(),
            Self::Occupied { .. } => {
                Some("choose an empty directory, or replace the files with --overwrite".to_owned())
            }
            _ => None,
        }
    }
}

/// A weight file that tensors are taken from.
struct TensorSource {
    file: ModelFile,
    bytes: Bytes,
    header: Safetensors,
    header_len: u64,
    /// The wanted tensors, as indexes into the header.
    wanted: Vec<usize>,
}

/// Where the verified bytes of a file are.
enum Bytes {
    Whole(BlobFile),
    Part(Partial),
}

impl Bytes {
    fn read_piece(&self, piece: PieceIndex, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        match self {
            Self::Whole(file) => file.read_piece(piece, buffer),
            Self::Part(partial) => partial.read_piece(piece, buffer),
        }
    }
}

impl TensorSource {
    fn tensors(&self) -> Vec<&Tensor> {
        self.wanted.iter().map(|place| &self.header.tensors[*place]).collect()
    }

    /// Returns the byte range of a tensor in the file.
    fn range(&self, tensor: &Tensor) -> Range<u64> {
        let data = PREFIX_LEN + self.header_len;
        data + tensor.begin..data + tensor.end
    }

    /// Returns the runs of pieces that hold the wanted tensors.
    fn runs(&self) -> Vec<Range<u32>> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for range in self.tensors().into_iter().map(|tensor| self.range(tensor)).filter(|it| !it.is_empty()) {
            let piece = |at: u64| u32::try_from(at / PIECE_LEN).unwrap_or(u32::MAX);
            let (first, end) = (piece(range.start), piece(range.end - 1) + 1);
            match runs.last_mut() {
                Some(last) if first <= last.end => last.end = last.end.max(end),
                _ => runs.push(first..end),
            }
        }
        runs
    }
}

impl Puller {
    /// Pulls the tensors that `request` names, and places files with just these in its directory.
    pub(super) async fn pull_tensors(
        &self,
        request: PullRequest,
        mut resolved: Resolved,
        part: &Part,
        start: Instant,
        reporter: &Reporter,
    ) -> Result<Pulled, PullError> {
        let blobs: BTreeSet<Digest> =
            resolved.manifest.blobs().into_keys().chain([resolved.digest]).collect();
        let lease = self.reserve(0, blobs.clone()).await?;
        let terms = self.terms_of(&resolved, &request);
        let (resolving, wanted) = (&mut resolved, &blobs);
        let step =
            Step { resolved: resolving, wanted, terms: &terms, lease: &lease, has_room: false, reporter };
        let mut share = self.share(&step);
        let (mut sources, partials) = self.open_sources(&mut share, &mut resolved, part, reporter).await?;
        choose(&mut sources, &request.tensors)?;
        sources.retain(|source| !source.wanted.is_empty());
        let (total, wanted) = count(&sources);
        let runs: BTreeMap<Digest, Vec<Range<u32>>> =
            sources.iter().map(|source| (source.file.digest, source.runs())).collect();
        let needed = lacking(&partials, &runs);
        if needed > 0 {
            if request.offline || self.network.is_offline() {
                return Err(PullError::Offline);
            }
            reporter.stage("fetching", format_args!("{} of {wanted} tensors", Size(needed)));
            share.runs(runs, &mut resolved.finder, reporter).await?;
        }
        let Sources { peers, web } = share.downloaded().sources;
        if let Some(tag) = &resolved.tag {
            usable::keep(&self.store, &resolved.keys, tag)?;
        }
        self.store.touch(&resolved.digest);
        let (dest, overwrite) = (request.dest.clone(), request.overwrite);
        let files = sources.len();
        let bytes = sources.iter().flat_map(TensorSource::tensors).map(|it| it.end - it.begin).sum::<u64>();
        drop(share);
        let placed = tokio::task::spawn_blocking(move || {
            for partial in partials.iter().filter(|it| !it.have().is_full()) {
                partial
                    .checkpoint()
                    .map_err(|source| BeginError::Partial { blob: partial.digest(), source })?;
            }
            let Some(dest) = dest else { return Ok(()) };
            sources.iter().try_for_each(|source| place(source, &dest, overwrite)).map_err(PullError::from)
        });
        placed.await??;
        drop(lease);
        let note = format!(
            "{wanted} of {total} tensors, in files that this node made of verified pieces: they are not the files that were signed"
        );
        reporter.note(&note);
        resolved.notes.push(note);
        let bytes_fetched = peers.values().chain(web.values()).sum();
        let byte_sources = byte_sources(&peers, &web, bytes.saturating_sub(bytes_fetched));
        Ok(Pulled {
            reference: resolved.reference(),
            publisher: resolved.keys.publisher(),
            tag_age: resolved.tag_age(),
            model: resolved.model,
            tag: resolved.tag.map(|it| it.record().tag.clone()),
            behind: resolved.behind,
            manifest: resolved.digest,
            bytes,
            files,
            dest: request.dest,
            kept: Vec::new(),
            removed: Vec::new(),
            left: Vec::new(),
            complete: whole::is_complete(&self.store, &resolved.digest),
            gaps: Vec::new(),
            is_part: !whole::is_complete(&self.store, &resolved.digest),
            bytes_fetched,
            bytes_local: bytes.saturating_sub(bytes_fetched),
            bytes_reused: 0,
            peers,
            web,
            seconds: start.elapsed().as_secs_f64(),
            notes: resolved.notes,
            checks: Vec::new(),
            sources: byte_sources,
            pace: Pace::default(),
            receipt: None,
        })
    }

    /// Opens the safetensors files of a part of a model, and fetches their headers.
    async fn open_sources(
        &self,
        share: &mut Share,
        resolved: &mut Resolved,
        part: &Part,
        reporter: &Reporter,
    ) -> Result<(Vec<TensorSource>, Vec<Partial>), PullError> {
        let is_taken =
            |file: &&ModelFile| file.path.file_name().to_ascii_lowercase().ends_with(".safetensors");
        let files: Vec<ModelFile> = part.files(&resolved.manifest).filter(is_taken).cloned().collect();
        if files.is_empty() {
            return Err(TensorsError::NoFile.into());
        }
        self.resolver.keep_documents_aside(resolved).await?;
        let publisher = resolved.keys.publisher();
        let known = ModelRecord::load(&self.store, &resolved.digest, publisher, &resolved.model);
        if !matches!(known, Ok(Some(_))) {
            let (chosen, pulling) = (Some(BTreeSet::new()), tag_of(resolved));
            ModelRecord { chosen, pulling, ..self.resolver.record(resolved, None) }
                .save(&self.store, &resolved.digest)?;
        }
        let blobs: BTreeMap<Digest, BlobLayout> =
            files.iter().map(|file| (file.digest, file.layout)).collect();
        let missing = whole::missing(&self.store, blobs).await?;
        share.open(self.fetching.states_of(&missing, resolved, reporter).await?).await?;
        for peer in &resolved.holders {
            share.introduce(*peer, !resolved.strangers.contains(peer));
        }
        let partials = share.partials();
        reporter.stage("fetching", format_args!("headers of {}", counted(files.len(), "file")));
        let mut headers = headers::fetch(share, &partials, reporter).await?;
        let mut sources = Vec::new();
        for file in files {
            let header_missing = || TensorsError::Header { path: file.path.clone() };
            let (bytes, header) = match partials.iter().find(|it| it.digest() == file.digest) {
                Some(partial) => (Bytes::Part(partial.clone()), headers.remove(&file.digest)),
                None => {
                    let read = |source| TensorsError::Read { path: file.path.clone(), source };
                    let blob = self.store.open_pieces(&file.digest).map_err(read)?;
                    let header = headers::of_blob(&blob).map_err(read)?;
                    (Bytes::Whole(blob), header)
                }
            };
            let Some(Header::Safetensors(header, header_len)) = header else {
                return Err(header_missing().into());
            };
            sources.push(TensorSource { file, bytes, header, header_len, wanted: Vec::new() });
        }
        Ok((sources, partials))
    }
}

/// Selects the wanted tensors. Every pattern must match at least one.
fn choose(sources: &mut [TensorSource], patterns: &[Pattern]) -> Result<(), TensorsError> {
    for pattern in patterns {
        let mut any = false;
        for TensorSource { header, wanted, .. } in sources.iter_mut() {
            for (place, tensor) in header.tensors.iter().enumerate() {
                if pattern.matches(&tensor.name) {
                    any = true;
                    wanted.push(place);
                }
            }
        }
        if !any {
            let names = sources.iter().flat_map(|source| &source.header.tensors).map(|it| it.name.clone());
            return Err(TensorsError::NoMatch {
                pattern: pattern.clone(),
                tensors: names.take(100).collect(),
            });
        }
    }
    for source in sources {
        source.wanted.sort_unstable();
        source.wanted.dedup();
    }
    Ok(())
}

/// Returns how many tensors the files have, and how many of them are wanted.
fn count(sources: &[TensorSource]) -> (usize, usize) {
    let all = sources.iter().map(|source| source.header.tensors.len()).sum();
    (all, sources.iter().map(|source| source.wanted.len()).sum())
}

/// Returns how many bytes of these runs are missing.
fn lacking(partials: &[Partial], runs: &BTreeMap<Digest, Vec<Range<u32>>>) -> u64 {
    let of = |partial: &Partial| -> u64 {
        let (layout, have) = (partial.states().layout(), partial.have());
        let pieces = runs.get(&partial.digest()).into_iter().flatten().cloned().flatten();
        let lacking = pieces.filter_map(|index| layout.piece(index)).filter(|piece| !have.contains(*piece));
        lacking.map(|piece| layout.piece_len(piece) as u64).sum()
    };
    partials.iter().map(of).sum()
}

/// Places a file with the wanted tensors in `dest`, completely or not at all.
fn place(source: &TensorSource, dest: &Path, overwrite: bool) -> Result<(), TensorsError> {
    let placed = |error| TensorsError::Place { path: dest.to_owned(), source: error };
    fs::create_dir_all(dest).map_err(|error| TensorsError::Write { path: dest.to_owned(), source: error })?;
    let (path, there) = checkout::place_of(dest, &source.file).map_err(placed)?;
    checkout::make_parents(&path).map_err(placed)?;
    let temporary = path.with_file_name(format!(".{}.{}.part", source.file.digest.hex(), std::process::id()));
    let written = write(source, &temporary).and_then(|()| match there {
        Some(found) if !found.is_file() => Err(TensorsError::Occupied { path: path.clone() }),
        Some(_) if !overwrite && !are_equal(&path, &temporary).unwrap_or(false) => {
            Err(TensorsError::Occupied { path: path.clone() })
        }
        _ => fs::rename(&temporary, &path)
            .map_err(|error| TensorsError::Write { path: path.clone(), source: error }),
    });
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    }
    written
}

fn are_equal(one: &Path, two: &Path) -> io::Result<bool> {
    let (one, two) = (File::open(one)?, File::open(two)?);
    if one.metadata()?.len() != two.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut two) = (BufReader::new(one), BufReader::new(two));
    loop {
        let (here, there) = (one.fill_buf()?, two.fill_buf()?);
        let length = here.len().min(there.len());
        if length == 0 || here[..length] != there[..length] {
            return Ok(here.is_empty() && there.is_empty());
        }
        one.consume(length);
        two.consume(length);
    }
}

fn write(source: &TensorSource, path: &Path) -> Result<(), TensorsError> {
    let failed = |error| TensorsError::Write { path: path.to_owned(), source: error };
    let read = |error| TensorsError::Read { path: source.file.path.clone(), source: error };
    drop(fs::remove_file(path));
    let mut out = BufWriter::with_capacity(PIECE_LEN as usize, File::create_new(path).map_err(failed)?);
    let tensors = source.tensors();
    out.write_all(&source.header.subset(&tensors)).map_err(failed)?;
    let layout = source.file.layout;
    let (mut buffer, mut held) = (Vec::new(), None);
    for Range { start, end } in tensors.into_iter().map(|tensor| source.range(tensor)) {
        let mut at = start;
        while at < end {
            let Some(piece) = u32::try_from(at / PIECE_LEN).ok().and_then(|index| layout.piece(index)) else {
                break;
            };
            if held != Some(piece) {
                source.bytes.read_piece(piece, &mut buffer).map_err(read)?;
                held = Some(piece);
            }
            let begin = layout.offset(piece);
            let to = end.min(begin + buffer.len() as u64);
            out.write_all(&buffer[(at - begin) as usize..(to - begin) as usize]).map_err(failed)?;
            at = to;
        }
    }
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}
