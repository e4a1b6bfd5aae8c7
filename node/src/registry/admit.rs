//! Judging a file before a byte of it is served to somebody who did not pull the model: by its head and its tail.
//!
//! The whole model is judged again, more strictly, once every file is here.

use std::sync::Arc;

use reg_proto::content::kind::{ContentKind, HEAD_LEN, TAIL_LEN, sniff};
use reg_proto::manifest::{Manifest, ModelFile};
use reg_proto::path::SafePath;
use thiserror::Error;

use super::describe::DescribeError;
use super::fault::{Fault, FaultKind};
use super::limits::ADMISSIONS_MAX;
use super::model::ModelRecord;
use super::policy::{Verdict, judge};
use super::relay::RelayError;
use super::view::ModelView;
use super::{Inner, PullError, Registry};

/// What was found of a file.
pub(super) type Admission = Result<(), (ContentKind, &'static str)>;

/// Why a file is not served.
#[derive(Debug, Error)]
pub enum AdmitError {
    #[error("{path} is of kind {kind}, which is refused: {reason}")]
    Denied { path: SafePath, kind: ContentKind, reason: &'static str },
    #[error(transparent)]
    Relay(#[from] RelayError),
}

impl Fault for AdmitError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Denied { .. } => FaultKind::Denied,
            Self::Relay(source) => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { .. } => Some(
                "leave the file out, pull the model with `reg pull --allow-unsafe`, or start the daemon with \
                 --allow-unsafe"
                    .to_owned(),
            ),
            Self::Relay(source) => source.hint(),
        }
    }
}

impl Registry {
    /// Looks at a file of a model, fetching its first and last pieces where they are not here, and tells whether it may
    /// be served. What was pulled or published whole was judged then.
    ///
    /// # Errors
    /// See [`AdmitError`].
    pub async fn admit(&self, view: &Arc<ModelView>, file: &ModelFile) -> Result<(), AdmitError> {
        let inner = &self.inner;
        if inner.allow_unsafe || inner.is_complete(&view.digest()) {
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

    async fn look_at(&self, view: &Arc<ModelView>, file: &ModelFile) -> Result<Admission, RelayError> {
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

/// Why a model that has come whole is not kept as one.
#[derive(Debug, Error)]
pub enum ConcludeError {
    #[error("model is refused")]
    Describe(#[from] DescribeError),
    #[error("model cannot be remembered")]
    Keep(#[from] Box<PullError>),
}

impl Inner {
    /// Once every blob of a model is here: describes it, remembers it as whole, and tells the network.
    pub(super) fn conclude(self: &Arc<Self>, view: &Arc<ModelView>) -> Result<(), ConcludeError> {
        let manifest: &Manifest = view.manifest();
        let store = &self.store;
        if manifest.blobs().keys().any(|blob| !store.contains(blob)) || self.is_complete(&view.digest()) {
            return Ok(());
        }
        let (metadata, kinds) = self.describe(manifest, self.allow_unsafe)?.finish();
        let record = ModelRecord { complete: true, chosen: None, metadata, kinds, ..view.record.clone() };
        record.save(store, &view.digest()).map_err(|error| Box::new(PullError::from(error)))?;
        store.touch(&view.digest());
        store.commit();
        let (inner, view) = (self.clone(), view.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                inner.seed_model(&view.digest()).await;
                if let Some(tag) = &view.tag {
                    inner.announce(tag, &view.keys).await;
                }
            });
        }
        Ok(())
    }
}
