//! The header that says that an answer is from an older version than the newest one of its tag.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use reg_api::behind::Behind;

/// Names the head of the tag, the version that is used in its place, and why. It is absent where the head is used.
pub(super) const X_REG_BEHIND: HeaderName = HeaderName::from_static("x-reg-behind");

/// Adds the header to an answer, if its version stands behind the head.
pub(super) fn label(headers: &mut HeaderMap, behind: Option<&Behind>) {
    let value = behind.and_then(|behind| HeaderValue::try_from(behind.header()).ok());
    headers.extend(value.map(|value| (X_REG_BEHIND, value)));
}

/// Returns the header for an answer.
pub(super) fn header(behind: Option<&Behind>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    label(&mut headers, behind);
    headers
}
