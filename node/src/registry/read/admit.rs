//! Judges a file by its first and last bytes before a gateway serves it to a client that did not pull the model.
//!
//! The whole model is judged again, more strictly, once every file is in the store.

use std::sync::Arc;

use reg_api::fault::{Fault, FaultKind};
use reg_proto::content::kind::{ContentKind, HEAD_LEN, TAIL_LEN, sniff};
use reg_proto::manifest::ModelFile;
use reg_proto::path::SafePath;
use thiserror::Error;

use super::Reading;
use super::error::ReaderError;
use crate::registry::limits::ADMISSIONS_MAX;
use crate::registry::model::whole;
use crate::registry::policy::{Admission, Verdict, judge};
use crate::registry::resolve::ModelView;

/// Why a gateway may not serve a file.
#[derive(Debug, Error)]
pub enum AdmitError {
    #[error("{path} is of kind {kind}, which is refused: {reason}")]
    Denied { path: SafePath, kind: ContentKind, reason: &'static str },
    #[error(transparent)]
    Reader(#[from] ReaderError),
}

impl Fault for AdmitError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Denied { .. } => FaultKind::Denied,
            Self::Reader(source) => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { .. } => Some(
                "leave the file out, pull the model with `reg pull --allow-unsafe`, or start the daemon with \
                 --allow-unsafe"
                    .to_owned(),
            ),
            Self::Reader(source) => source.hint(),
        }
    }
}

impl Reading {
    /// Decides whether a gateway may serve a file of a model. Reads its first and last bytes, and fetches those pieces if the
    /// store does not have them. A model that was pulled or published completely was judged then.
    ///
    /// # Errors
    /// The kind of the file is refused, or its bytes cannot be read: see [`AdmitError`].
    pub async fn admit(self: &Arc<Self>, view: &Arc<ModelView>, file: &ModelFile) -> Result<(), AdmitError> {
        if self.resolver.allow_unsafe || whole::is_complete(&self.store, &view.digest()) {
            return Ok(());
        }
        let known = view.admitted.lock().expect("no holder of this lock panics").get(&file.digest).copied();
        let admission = match known {
            Some(admission) => admission,
            None => {
                let admission = self.look_at(view, file).await?;
                let mut admitted = view.admitted.lock().expect("no holder of this lock panics");
                if admitted.len() < ADMISSIONS_MAX {
                    admitted.insert(file.digest, admission);
                }
                admission
            }
        };
        admission.map_err(|(kind, reason)| AdmitError::Denied { path: file.path.clone(), kind, reason })
    }

    async fn look_at(
        self: &Arc<Self>,
        view: &Arc<ModelView>,
        file: &ModelFile,
    ) -> Result<Admission, ReaderError> {
        let (size, layout) = (file.layout.size(), file.layout);
        let (head_len, tail_len) = (size.min(HEAD_LEN as u64), size.min(TAIL_LEN as u64));
        let head = self.read(view, file.digest, layout, 0..head_len).await?.to_end(HEAD_LEN).await?;
        let tail =
            self.read(view, file.digest, layout, size - tail_len..size).await?.to_end(TAIL_LEN).await?;
        let kind = sniff(file.path.as_str(), &head, &tail, size);
        Ok(match judge(kind) {
            Verdict::Allow => Ok(()),
            Verdict::Deny { reason } => Err((kind, reason)),
        })
    }
}
