//! Errors of this dialect: a status, `X-Error-Code`, and `X-Error-Message`, which clients show.

use std::error::Error;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use reg_api::fault::{Fault, FaultKind};
use reg_api::printable::Printable;
use serde_json::json;

use crate::gateway::server::{BUSY, Busy};
use crate::registry::pull::commit;
use crate::registry::resolve::{ModelView, ViewError};

/// Seconds after which a client may try again, in `Retry-After`.
const RETRY_SECONDS: u32 = 5;

pub(super) const X_REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
/// A warning that Hugging Face's client prints: a topic, `;`, and the text.
pub(super) const X_HF_WARNING: HeaderName = HeaderName::from_static("x-hf-warning");
const X_ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const X_ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

/// Why a request of this dialect fails.
#[derive(Debug)]
pub(super) enum HfError {
    RepoNotFound(String),
    RevisionNotFound(String),
    /// A file that this version does not have; clients remember that for the commit.
    EntryNotFound {
        path: String,
        commit: String,
    },
    NoSuchUser(String),
    /// A page or a use case of the Hub that this node does not have.
    NoSuchPage(String),
    NotAllowed(String),
    Invalid(String),
    Unauthorized(String),
    Forbidden(String),
    Conflict(String),
    Failed {
        kind: FaultKind,
        message: String,
    },
}

impl HfError {
    /// Returns the error for a file that `view` does not have.
    pub(super) fn no_entry(view: &ModelView, path: &str) -> Self {
        Self::EntryNotFound { path: path.to_owned(), commit: commit(&view.digest()) }
    }

    /// Converts an error of a use case, with its causes and what to do next.
    pub(super) fn of(error: &dyn Fault) -> Self {
        Self::Failed { kind: error.kind(), message: described(error) }
    }

    /// Converts the error of a model that cannot be found or verified.
    pub(super) fn of_view(error: &ViewError) -> Self {
        match error {
            ViewError::NoSuchPrefix { .. } | ViewError::Ambiguous { .. } => {
                Self::RevisionNotFound(error.to_string())
            }
            error if matches!(error.kind(), FaultKind::NotFound | FaultKind::Invalid) => {
                Self::RepoNotFound(described(error))
            }
            error => Self::of(error),
        }
    }

    fn parts(&self) -> (StatusCode, Option<&'static str>, String) {
        match self {
            Self::RepoNotFound(message) => (StatusCode::NOT_FOUND, Some("RepoNotFound"), message.clone()),
            Self::RevisionNotFound(message) => {
                (StatusCode::NOT_FOUND, Some("RevisionNotFound"), format!("revision not found: {message}"))
            }
            Self::EntryNotFound { path, .. } => (
                StatusCode::NOT_FOUND,
                Some("EntryNotFound"),
                format!("{path} does not exist in this version"),
            ),
            Self::NoSuchUser(message) => {
                (StatusCode::NOT_FOUND, Some("UserNotFound"), format!("user not found: {message}"))
            }
            Self::NoSuchPage(message) => (StatusCode::NOT_FOUND, Some("NotFound"), message.clone()),
            Self::NotAllowed(message) => {
                (StatusCode::METHOD_NOT_ALLOWED, Some("NotAllowed"), message.clone())
            }
            Self::Invalid(message) => (StatusCode::BAD_REQUEST, None, message.clone()),
            Self::Unauthorized(message) => (StatusCode::UNAUTHORIZED, None, message.clone()),
            Self::Forbidden(message) => (StatusCode::FORBIDDEN, None, message.clone()),
            Self::Conflict(message) => (StatusCode::CONFLICT, None, message.clone()),
            Self::Failed { kind, message } => (status(*kind), None, message.clone()),
        }
    }
}

/// Returns an error, its causes and what to do next, in one line.
fn described(error: &dyn Fault) -> String {
    let mut text = error.to_string();
    let mut source = Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    match error.client_hint() {
        Some(hint) => format!("{text} ({hint})"),
        None => text,
    }
}

const fn status(kind: FaultKind) -> StatusCode {
    match kind {
        FaultKind::Invalid => StatusCode::BAD_REQUEST,
        FaultKind::NotFound | FaultKind::NoMatch => StatusCode::NOT_FOUND,
        FaultKind::Verification => StatusCode::BAD_GATEWAY,
        // Clients give up after a 504, and try again after a 503.
        FaultKind::Unreachable | FaultKind::RetryLater => StatusCode::SERVICE_UNAVAILABLE,
        FaultKind::Denied => StatusCode::FORBIDDEN,
        FaultKind::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        FaultKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Busy> for HfError {
    fn from(Busy: Busy) -> Self {
        Self::Failed { kind: FaultKind::RetryLater, message: BUSY.to_owned() }
    }
}

impl IntoResponse for HfError {
    fn into_response(self) -> Response {
        let (status, code, message) = self.parts();
        // Clients show it on a terminal.
        let message = Printable::line(&message);
        let mut response = (status, Json(json!({ "error": message }))).into_response();
        let headers = response.headers_mut();
        // A header's value is one line of printable ASCII.
        let line: String = message
            .as_str()
            .chars()
            .map(|it| if it.is_ascii_graphic() { it } else { ' ' })
            .take(500)
            .collect();
        if let Ok(value) = HeaderValue::try_from(line) {
            headers.insert(X_ERROR_MESSAGE, value);
        }
        if let Some(code) = code {
            headers.insert(X_ERROR_CODE, HeaderValue::from_static(code));
        }
        if let Self::EntryNotFound { commit, .. } = &self
            && let Ok(value) = HeaderValue::try_from(commit)
        {
            headers.insert(X_REPO_COMMIT, value);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_SECONDS.into());
        }
        response
    }
}
