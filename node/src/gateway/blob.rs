//! Serves the verified bytes of a blob over HTTP: the whole, or one range (RFC 9110, section 14).

use std::ops::Range;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream;

use crate::registry::read::{BlobReader, ReaderError};

/// What a request wants of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    Part(Range<u64>),
    /// The range begins at or behind the end.
    Nothing,
    /// The client has it already.
    NotModified,
}

impl Wanted {
    /// Reads the range and the conditions of a request. Several ranges at once are answered with the whole, as the RFC
    /// allows.
    pub(super) fn of(headers: &HeaderMap, size: u64, etag: &str) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if text(IF_NONE_MATCH).is_some_and(|it| it == "*" || it.split(',').any(|tag| same(tag, etag))) {
            return Self::NotModified;
        }
        if text(IF_RANGE).is_some_and(|it| !same(it, etag)) {
            return Self::Whole;
        }
        let Some(spec) = text(RANGE).and_then(|it| it.trim().strip_prefix("bytes=")) else {
            return Self::Whole;
        };
        let Some((first, last)) = spec.split_once('-').filter(|_| !spec.contains(',')) else {
            return Self::Whole;
        };
        match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
            (Ok(first), _) if first >= size => Self::Nothing,
            // RFC 9110 lets a server ignore an invalid range, or refuse it (15.5.17). OCI's suite wants it refused.
            (Ok(first), Ok(last)) if last < first => Self::Nothing,
            (Ok(first), Ok(last)) => Self::Part(first..last.saturating_add(1).min(size)),
            (Ok(first), Err(_)) if last.trim().is_empty() => Self::Part(first..size),
            (Err(_), Ok(0)) if first.trim().is_empty() => Self::Nothing,
            (Err(_), Ok(_)) if first.trim().is_empty() && size == 0 => Self::Nothing,
            (Err(_), Ok(count)) if first.trim().is_empty() => Self::Part(size.saturating_sub(count)..size),
            _ => Self::Whole,
        }
    }

    /// Returns the range to read, in bytes; an empty one where the answer has no body.
    pub(super) fn range(&self, size: u64) -> Range<u64> {
        match self {
            Self::Whole => 0..size,
            Self::Part(range) => range.clone(),
            Self::Nothing | Self::NotModified => 0..0,
        }
    }
}

fn same(tag: &str, etag: &str) -> bool {
    let bare = |text: &str| text.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    bare(tag) == bare(etag)
}

/// Answers with a blob of `size` bytes, or the wanted range of it. Without a reader, as for `HEAD`, the answer has no
/// body.
pub(super) fn respond(wanted: &Wanted, size: u64, etag: &str, reader: Option<BlobReader>) -> Response {
    let range = wanted.range(size);
    let (status, length) = match wanted {
        Wanted::Whole => (StatusCode::OK, size),
        Wanted::Part(_) => (StatusCode::PARTIAL_CONTENT, range.end - range.start),
        Wanted::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, 0),
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, 0),
    };
    let body = reader.map_or_else(Body::empty, stream_of);
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(etag) = HeaderValue::try_from(format!("\"{etag}\"")) {
        headers.insert(ETAG, etag);
    }
    if *wanted != Wanted::NotModified {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let content_range = match wanted {
        Wanted::Part(range) => Some(format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))),
        Wanted::Nothing => Some(format!("bytes */{size}")),
        Wanted::Whole | Wanted::NotModified => None,
    };
    if let Some(value) = content_range.and_then(|it| HeaderValue::try_from(it).ok()) {
        headers.insert(CONTENT_RANGE, value);
    }
    response
}

/// Answers with bytes in memory, or the wanted range of them; for `HEAD`, without a body.
pub(super) fn respond_with(wanted: &Wanted, etag: &str, bytes: &[u8], is_head: bool) -> Response {
    let size = bytes.len() as u64;
    let mut response = respond(wanted, size, etag, None);
    if !is_head {
        let within = |at: u64| usize::try_from(at).unwrap_or(bytes.len()).min(bytes.len());
        let range = wanted.range(size);
        *response.body_mut() = Body::from(bytes[within(range.start)..within(range.end)].to_vec());
    }
    response
}

/// Returns the bytes as a body. Where reading fails, it breaks the connection off, so that the client sees that bytes
/// are missing.
fn stream_of(reader: BlobReader) -> Body {
    Body::from_stream(stream::unfold(reader, |mut reader| async move {
        let next: Result<_, ReaderError> = reader.next().await?;
        if let Err(error) = &next {
            tracing::warn!(%error, "a file cannot be read on, and the client's connection is broken off");
        }
        Some((next, reader))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(headers: &[(&str, &str)]) -> Wanted {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(axum::http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        Wanted::of(&map, 100, "abc")
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (range, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=10-19", Wanted::Part(10..20)),
            ("bytes=90-", Wanted::Part(90..100)),
            ("bytes=90-900", Wanted::Part(90..100)),
            ("bytes=-10", Wanted::Part(90..100)),
            ("bytes=-1000", Wanted::Part(0..100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=500-0", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=20-10", Wanted::Nothing),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("bytes=", Wanted::Whole),
        ] {
            assert_eq!(wanted(&[("range", range)]), expected, "{range}");
        }
        assert_eq!(wanted(&[("range", "bytes=5-"), ("if-range", "\"abc\"")]), Wanted::Part(5..100));
        assert_eq!(wanted(&[("range", "bytes=5-"), ("if-range", "\"other\"")]), Wanted::Whole);
        assert_eq!(wanted(&[("if-none-match", "W/\"abc\"")]), Wanted::NotModified);
        assert_eq!(wanted(&[("if-none-match", "\"x\", \"abc\"")]), Wanted::NotModified);
        assert_eq!(wanted(&[("if-none-match", "\"x\"")]), Wanted::Whole);
        assert_eq!(Wanted::of(&HeaderMap::new(), 0, "x").range(0), 0..0);
    }
}
