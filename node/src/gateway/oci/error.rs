//! Errors of this dialect (distribution-spec, "Error Codes").

use std::error::Error;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use reg_api::fault::{Fault, FaultKind};
use reg_api::printable::Printable;
use reg_proto::digest::Digest;
use serde_json::json;

use super::header::API_VERSION;
use crate::gateway::server::{BUSY, Busy};

/// Seconds after which a client may try again, in `Retry-After`.
const RETRY_SECONDS: u32 = 5;

/// The codes of the specification that this gateway uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    /// `UNSUPPORTED` for a digest: only sha256 is used.
    AlgorithmUnsupported,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    /// What is meant is known, and this dialect cannot carry it.
    NotServed,
    /// Not in the specification, which has no code for a registry that cannot answer at present.
    Unavailable,
    Unknown,
}

impl Code {
    const fn parts(self) -> (&'static str, StatusCode) {
        match self {
            Self::BlobUnknown => ("BLOB_UNKNOWN", StatusCode::NOT_FOUND),
            Self::BlobUploadInvalid => ("BLOB_UPLOAD_INVALID", StatusCode::RANGE_NOT_SATISFIABLE),
            Self::BlobUploadUnknown => ("BLOB_UPLOAD_UNKNOWN", StatusCode::NOT_FOUND),
            Self::DigestInvalid => ("DIGEST_INVALID", StatusCode::BAD_REQUEST),
            Self::AlgorithmUnsupported => ("UNSUPPORTED", StatusCode::BAD_REQUEST),
            Self::ManifestBlobUnknown => ("MANIFEST_BLOB_UNKNOWN", StatusCode::BAD_REQUEST),
            Self::ManifestInvalid => ("MANIFEST_INVALID", StatusCode::BAD_REQUEST),
            Self::ManifestUnknown => ("MANIFEST_UNKNOWN", StatusCode::NOT_FOUND),
            Self::NameInvalid => ("NAME_INVALID", StatusCode::BAD_REQUEST),
            Self::NameUnknown => ("NAME_UNKNOWN", StatusCode::NOT_FOUND),
            Self::SizeInvalid => ("SIZE_INVALID", StatusCode::BAD_REQUEST),
            Self::Unauthorized => ("UNAUTHORIZED", StatusCode::UNAUTHORIZED),
            Self::Denied => ("DENIED", StatusCode::FORBIDDEN),
            Self::Unsupported => ("UNSUPPORTED", StatusCode::METHOD_NOT_ALLOWED),
            Self::NotServed => ("UNSUPPORTED", StatusCode::BAD_REQUEST),
            Self::Unavailable => ("UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE),
            Self::Unknown => ("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// Why a request of this dialect fails.
#[derive(Debug)]
pub(super) struct OciError {
    code: Code,
    message: String,
}

impl OciError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn is(&self, code: Code) -> bool {
        self.code == code
    }

    /// Returns the error for a missing or wrong token.
    pub(super) fn unauthorized() -> Self {
        Self::new(
            Code::Unauthorized,
            "pushing needs the token as the password: `reg env oci` prints how to log in",
        )
    }

    /// Returns the error for a document of a version that is here, which the store cannot read.
    pub(super) fn lacking(digest: &Digest) -> Self {
        Self::new(
            Code::Unavailable,
            format!(
                "{digest} is damaged or missing in the store (`reg verify --repair` fetches it, if a peer has it)"
            ),
        )
    }

    /// Converts an error of a use case, with its causes. The code is `missing` where something is not found or
    /// malformed.
    pub(super) fn of(error: &dyn Fault, missing: Code) -> Self {
        let mut message = error.to_string();
        let mut source = Error::source(error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        if let Some(hint) = error.client_hint() {
            message = format!("{message} ({hint})");
        }
        let code = match error.kind() {
            FaultKind::NotFound | FaultKind::NoMatch | FaultKind::Invalid => missing,
            FaultKind::Denied | FaultKind::Verification => Code::Denied,
            FaultKind::Unreachable | FaultKind::RetryLater => Code::Unavailable,
            FaultKind::DiskFull | FaultKind::Internal => Code::Unknown,
        };
        Self { code, message }
    }
}

impl From<Busy> for OciError {
    fn from(Busy: Busy) -> Self {
        Self::new(Code::Unavailable, BUSY)
    }
}

impl IntoResponse for OciError {
    fn into_response(self) -> Response {
        let (code, status) = self.code.parts();
        // Clients show it on a terminal.
        let message = Printable::line(&self.message);
        let document = json!({ "errors": [{ "code": code, "message": message, "detail": null }] });
        let mut response = (status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.extend([API_VERSION]);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_SECONDS.into());
        }
        response
    }
}
