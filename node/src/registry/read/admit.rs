//! Judges a file by its bytes before a gateway serves it to a client that did not pull the model.
//!
//! Reads the file's ends and, where they do not settle its kind, what is inside: pieces that are not in the store are fetched.
//! The whole model is judged again, more strictly, once every file is in the store.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reg_api::fault::{Fault, FaultKind};
use reg_proto::content::format::Format;
use reg_proto::content::inspect::{InspectError, Inspected, inspect, look};
use reg_proto::content::kind::ContentKind;
use reg_proto::content::parts::{Parts, is_settled_by_others, may_name};
use reg_proto::manifest::ModelFile;
use reg_proto::path::SafePath;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Reading;
use super::error::ReaderError;
use crate::registry::limits::{ADMISSIONS_MAX, REMOTE_LINGER};
use crate::registry::model::ranged::Ranged;
use crate::registry::model::whole;
use crate::registry::policy::{Verdict, judge};
use crate::registry::resolve::{Judged, ModelView, PolicyError};
use crate::store::{Cancel, CancelOnDrop};

/// Files that may say what a file without a header is, and that are read for it.
const NAMERS_MAX: usize = 16;
/// Bytes of all of them. A graph that keeps its tensors apart has some MB.
const NAMERS_BYTES_MAX: u64 = 128 << 20;
/// How long a request waits for the verdict: clients of Hugging Face wait 10 s for the first bytes.
const ADMIT_PATIENCE: Duration = Duration::from_secs(8);

/// Why a gateway may not serve a file.
#[derive(Debug, Error)]
pub enum AdmitError {
    #[error("{path} is of kind {kind}, which is refused: {reason}")]
    Denied { path: SafePath, kind: ContentKind, reason: &'static str },
    #[error("{path} is still being judged: all of it must be fetched for that")]
    Judging { path: SafePath },
    #[error(transparent)]
    Reader(#[from] ReaderError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Fault for AdmitError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Denied { .. } => FaultKind::Denied,
            Self::Judging { .. } => FaultKind::RetryLater,
            Self::Reader(source) => source.kind(),
            Self::Policy(source) => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { kind, .. } => Some(format!(
                "leave the file out, pull the model with `reg pull --allow {kind}`, or start the daemon with --allow {kind}"
            )),
            Self::Judging { .. } => Some("ask again: what was fetched is kept".to_owned()),
            Self::Reader(source) => source.hint(),
            Self::Policy(source) => source.hint(),
        }
    }
}

impl Reading {
    /// Decides whether a gateway may serve a file of a model. Reads what its kind follows from, and fetches those pieces if
    /// the store does not have them. A model that was pulled or published completely was judged then.
    ///
    /// # Errors
    /// The kind of the file is refused, or its bytes cannot be read: see [`AdmitError`].
    pub async fn admit(self: &Arc<Self>, view: &Arc<ModelView>, file: &ModelFile) -> Result<(), AdmitError> {
        let given = &self.resolver.consent;
        if given.is_to_everything() || whole::is_complete(&self.store, &view.digest()) {
            return Ok(());
        }
        let kind = self.judged(view, file).await?;
        if kind.risk().is_none() {
            return Ok(());
        }
        let (trust, view, given) = (self.puller.trust.clone(), view.clone(), given.clone());
        let consent =
            move || trust.consent_to(view.publisher(), view.model(), &given).map_err(PolicyError::from);
        let consent = tokio::task::spawn_blocking(consent).await.map_err(|_| ReaderError::Interrupted)??;
        match judge(kind, &consent) {
            Verdict::Allow => Ok(()),
            Verdict::Deny { reason } => Err(AdmitError::Denied { path: file.path.clone(), kind, reason }),
        }
    }

    /// Returns the kind of a file. One task reads it for all callers, and goes on while a caller asks again.
    ///
    /// # Errors
    /// It takes longer than [`ADMIT_PATIENCE`], or the bytes cannot be read.
    async fn judged(
        self: &Arc<Self>,
        view: &Arc<ModelView>,
        file: &ModelFile,
    ) -> Result<ContentKind, AdmitError> {
        let mut verdict = {
            let mut admitted = view.admitted.lock().expect("no holder of this lock panics");
            let key = (file.path.clone(), file.digest);
            let known = admitted.get(&key).filter(|it| it.has_changed().is_ok() || it.borrow().is_some());
            match known.cloned() {
                Some(verdict) => verdict,
                None if admitted.len() >= ADMISSIONS_MAX => return Err(ReaderError::Busy.into()),
                None => {
                    let (sender, verdict) = watch::channel(None);
                    admitted.insert(key, verdict.clone());
                    tokio::spawn(self.clone().judge_in_background(view.clone(), file.clone(), sender));
                    verdict
                }
            }
        };
        let judged = timeout(ADMIT_PATIENCE, verdict.wait_for(Option::is_some)).await;
        match judged.map(|it| it.map(|verdict| (*verdict).clone())) {
            Ok(Ok(Some(Ok(kind)))) => Ok(kind),
            Ok(Ok(Some(Err(error)))) => Err(ReaderError::Source(error).into()),
            Err(_) => Err(AdmitError::Judging { path: file.path.clone() }),
            Ok(_) => Err(ReaderError::Interrupted.into()),
        }
    }

    /// Judges a file, unless no caller has waited for [`REMOTE_LINGER`]. A failure is told, and the next caller begins anew.
    async fn judge_in_background(
        self: Arc<Self>,
        view: Arc<ModelView>,
        file: ModelFile,
        verdict: watch::Sender<Option<Judged>>,
    ) {
        let caller = CancelOnDrop::default();
        let cancel = caller.cancel();
        let judged = tokio::select! {
            judged = self.kind_of(&view, &file, &cancel) => judged,
            () = deserted(&verdict) => Err(ReaderError::Interrupted),
        };
        drop(caller);
        let failed = judged.is_err();
        let told: Judged = judged.map_err(|error| Arc::new(error) as Arc<dyn Fault + Send + Sync>);
        verdict.send_replace(Some(told));
        if failed {
            let key = (file.path, file.digest);
            view.admitted.lock().expect("no holder of this lock panics").remove(&key);
        }
    }

    /// Reads the kind of a file. Where it has no header, reads the files that may say what it is.
    async fn kind_of(
        self: &Arc<Self>,
        view: &Arc<ModelView>,
        file: &ModelFile,
        cancel: &Cancel,
    ) -> Result<ContentKind, ReaderError> {
        let Some(inspected) = self.inspected(view, file, false, cancel).await? else {
            return Ok(ContentKind::UnknownBinary);
        };
        if !is_settled_by_others(inspected.format) {
            return Ok(inspected.kind);
        }
        let mut parts = Parts::default();
        view.manifest().files().iter().for_each(|it| parts.listed(&it.path));
        parts.file(&file.path, &inspected);
        let mut bytes_left = NAMERS_BYTES_MAX;
        let namers = view.manifest().files().iter().filter(|it| may_name(&it.path, &file.path));
        for namer in namers.take(NAMERS_MAX) {
            // A piece of a GGUF file is known by its first bytes.
            let is_piece = inspected.format == Format::GgufPart || namer.layout.size() > NAMERS_BYTES_MAX;
            if !is_piece {
                let Some(left) = bytes_left.checked_sub(namer.layout.size()) else { continue };
                bytes_left = left;
            }
            if let Some(inspected) = self.inspected(view, namer, !is_piece, cancel).await? {
                parts.file(&namer.path, &inspected);
            }
        }
        Ok(parts.format(&file.path).map_or(ContentKind::UnknownBinary, |it| it.kind()))
    }

    /// Inspects a file of which pieces may have to be fetched; with `facts`, all of it that is known. Returns `None` for a file
    /// with an invalid header.
    async fn inspected(
        self: &Arc<Self>,
        view: &Arc<ModelView>,
        file: &ModelFile,
        facts: bool,
        cancel: &Cancel,
    ) -> Result<Option<Inspected>, ReaderError> {
        let (reading, view, file, runtime) = (self.clone(), view.clone(), file.clone(), Handle::current());
        let cancel = cancel.clone();
        let work = move || {
            let mut failed = None;
            let read = |at: u64, length: usize| {
                let range = at..at + length as u64;
                let read = async {
                    reading.begin(&view, file.digest, file.layout, range).await?.0.to_end(length).await
                };
                runtime.block_on(read).map_err(|error| {
                    failed = Some(error);
                    io::ErrorKind::Other.into()
                })
            };
            let inspected = inspect_pieces(&file.path, file.layout.size(), facts, &cancel, read);
            match (inspected, failed) {
                (_, Some(error)) => Err(error),
                (Ok(inspected), None) => Ok(Some(inspected)),
                (Err(InspectError::Io { .. }), None) => Err(ReaderError::Interrupted),
                (Err(_), None) => Ok(None),
            }
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ReaderError::Interrupted)?
    }
}

/// Inspects a file of which `read` returns the bytes from an offset on, of a length. With `facts`, all of it that is known.
///
/// # Errors
/// The header is invalid, a piece cannot be read, or the caller has gone.
fn inspect_pieces(
    path: &SafePath,
    size: u64,
    facts: bool,
    cancel: &Cancel,
    read: impl FnMut(u64, usize) -> io::Result<Vec<u8>>,
) -> Result<Inspected, InspectError> {
    let mut file = cancel.over(Ranged::new(size, read));
    if facts { inspect(path, &mut file, size) } else { look(path, &mut file, size) }
}

/// Returns once no caller has waited for a verdict for [`REMOTE_LINGER`]. The view itself holds one receiver.
async fn deserted(verdict: &watch::Sender<Option<Judged>>) {
    let mut last_asked = Instant::now();
    while last_asked.elapsed() < REMOTE_LINGER {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if verdict.receiver_count() > 1 {
            last_asked = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::piece::PIECE_LEN;

    use super::*;

    #[test]
    fn a_file_is_inspected_no_further_once_its_caller_has_gone() {
        let size = 64 * PIECE_LEN;
        for (path, head) in
            [("m.h5", b"\x89HDF\r\n\x1a\n".as_slice()), ("m.gguf", b"GGUF\x03\0\0\0".as_slice())]
        {
            for facts in [false, true] {
                let (mut caller, mut count) = (Some(CancelOnDrop::default()), 0);
                let cancel = caller.as_ref().expect("just made").cancel();
                let read = |at: u64, length: usize| {
                    count += 1;
                    if count == 2 {
                        drop(caller.take());
                    }
                    let mut bytes = vec![1; length];
                    if at == 0 {
                        bytes[..head.len()].copy_from_slice(head);
                    }
                    Ok(bytes)
                };
                let inspected = inspect_pieces(&path.parse().expect("a path"), size, facts, &cancel, read);
                assert!(matches!(inspected, Err(InspectError::Io { .. })), "{path}: {inspected:?}");
                assert_eq!(count, 2, "{path} is read no further");
            }
        }
    }
}
