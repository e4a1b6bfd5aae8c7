//! Answers long use cases with a stream of JSON lines: progress, and at the end the result or the error.
//!
//! The work runs in the response's body. A client that disconnects ends it; verified pieces stay.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream;
use reg_api::fault::Fault;
use reg_api::reporter::Reporter;
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::error::ErrorDocument;

/// Events of progress that wait for a slow client; more are left out.
const EVENTS_MAX: usize = 64;

/// Answers with the progress of `work`, and then with its result or error.
pub(super) fn streamed<T, E, F>(work: impl FnOnce(Reporter) -> F) -> Response
where
    T: Serialize + Send + 'static,
    E: Fault + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let (listener, events) = mpsc::channel(EVENTS_MAX);
    let work = Box::pin(work(Reporter::new(listener)));
    let lines = stream::unfold((events, Some(work)), |(mut events, work)| async move {
        let mut work = work?;
        let event = tokio::select! {
            biased;
            Some(event) = events.recv() => json!(event),
            result = &mut work => {
                let end = match result {
                    Ok(result) => json!({ "event": "done", "result": result }),
                    Err(error) => json!({ "event": "failed", "error": ErrorDocument::of(&error) }),
                };
                // The events that came before the end and were not sent yet.
                let earlier = std::iter::from_fn(|| events.try_recv().ok()).map(|event| json!(event));
                let last: String = earlier.chain([end]).map(|value| format!("{value}\n")).collect();
                return Some((Ok(Bytes::from(last)), (events, None)));
            }
        };
        Some((Ok::<_, Infallible>(Bytes::from(format!("{event}\n"))), (events, Some(work))))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}
