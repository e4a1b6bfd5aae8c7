//! Errors of this dialect: a status, and a document with what failed, why, and what to do next.

use std::error::Error;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use reg_api::fault::{self, Fault, FaultKind};
use reg_api::printable::Printable;
use reg_proto::envelope::PublicKey;
use reg_proto::name::{ModelName, PublisherId, Tag};
use serde::{Deserialize, Serialize};

use crate::registry::publishers::TagsError;

/// An error as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// The name of a [`FaultKind`].
    pub kind: String,
    pub message: Printable,
    /// The causes, from the outermost to the innermost.
    pub causes: Vec<Printable>,
    /// What to do next, where the node knows.
    pub hint: Option<Printable>,
    /// The tag that is frozen, where that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<FrozenTag>,
}

/// A tag of which two records contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenTag {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
    /// The number of the later record.
    pub seq: u64,
    /// The keys that have signed both records.
    pub signers: Vec<PublicKey>,
}

impl FrozenTag {
    /// Returns the tag that `error` is about, if it says that a tag is frozen.
    fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        match error.downcast_ref()? {
            TagsError::Frozen { publisher, model, tag, seq, signers, .. } => Some(Self {
                publisher: *publisher,
                model: model.clone(),
                tag: tag.clone(),
                seq: *seq,
                signers: signers.clone(),
            }),
            _ => None,
        }
    }
}

impl ErrorDocument {
    /// Describes an error of a use case.
    pub fn of(error: &dyn Fault) -> Self {
        let (mut causes, mut frozen) = (Vec::new(), None);
        let mut source = Error::source(error);
        while let Some(cause) = source {
            causes.push(Printable::lines(&cause.to_string()));
            frozen = frozen.or_else(|| FrozenTag::of(cause));
            source = cause.source();
        }
        let failed = fault::system_call(Error::source(error));
        let kind = kind_of(error.kind(), failed);
        let advice = failed.filter(|_| matches!(kind, FaultKind::Internal | FaultKind::DiskFull));
        let hint = error.hint().or_else(|| advice.and_then(fault::disk_hint).map(str::to_owned));
        let (kind, message) = (kind.name().to_owned(), Printable::lines(&error.to_string()));
        Self { kind, message, causes, hint: hint.map(|it| Printable::lines(&it)), frozen }
    }
}

/// Returns the kind of an error: a full disk is one, wherever it has stopped the node.
fn kind_of(kind: FaultKind, failed: Option<&std::io::Error>) -> FaultKind {
    match kind {
        FaultKind::Internal if failed.is_some_and(fault::is_disk_full) => FaultKind::DiskFull,
        kind => kind,
    }
}

/// Returns a document without causes.
pub(in crate::gateway) fn document(kind: &str, message: &str) -> ErrorDocument {
    let (kind, message) = (kind.to_owned(), Printable::lines(message));
    ErrorDocument { kind, message, causes: Vec::new(), hint: None, frozen: None }
}

/// An error as a response.
pub(in crate::gateway) struct Failed(StatusCode, ErrorDocument);

impl Failed {
    /// Returns an error with a document that is known already.
    pub(super) const fn of(kind: FaultKind, document: ErrorDocument) -> Self {
        Self(status(kind), document)
    }
}

impl<E: Fault> From<E> for Failed {
    fn from(error: E) -> Self {
        let kind = kind_of(error.kind(), fault::system_call(error.source()));
        Self(status(kind), ErrorDocument::of(&error))
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// Returns the status of an error of this kind.
pub const fn status(kind: FaultKind) -> StatusCode {
    match kind {
        FaultKind::Invalid => StatusCode::BAD_REQUEST,
        FaultKind::NotFound | FaultKind::NoMatch => StatusCode::NOT_FOUND,
        FaultKind::Verification => StatusCode::BAD_GATEWAY,
        FaultKind::Unreachable => StatusCode::GATEWAY_TIMEOUT,
        FaultKind::Denied => StatusCode::FORBIDDEN,
        FaultKind::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        FaultKind::RetryLater => StatusCode::SERVICE_UNAVAILABLE,
        FaultKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
