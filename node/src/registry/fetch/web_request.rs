//! Runs one request to a web seed: waits for a slot, asks for a byte range, and cuts the answer into pieces.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reg_transfer::HEARD_BYTES;
use tokio::time::sleep;
use tracing::debug;

use super::event::{SourceEvent, WebId, WebNews};
use super::web_server::{Order, Sink, WebServer, lock};
use crate::net::PieceBytes;
use crate::registry::limits::{WEB_PAUSE_DEFAULT, WEB_PAUSE_MAX};
use crate::webseed::{Body, WebClient, WebError};

/// Sends the pieces of an order to its sink. If the request fails, sends [`WebNews`] with the reason instead of the rest.
pub(super) async fn run(
    id: WebId,
    client: WebClient,
    url: String,
    server: Arc<WebServer>,
    order: Order,
    sink: Sink,
) {
    let news = match pieces(id, &client, &url, &server, &order, &sink).await {
        Ok(()) => return,
        Err(Refused::Pause(wait)) => WebNews::Later { request: order.request, wait, error: None },
        Err(Refused::Error(error)) => judge(&server, &order, error),
        Err(Refused::DownloadEnded) => return,
    };
    drop(sink.events.send(SourceEvent::Web { id, news }).await);
}

/// Why the rest of an order does not come.
enum Refused {
    /// The server has asked for a pause of this length.
    Pause(Duration),
    Error(WebError),
    DownloadEnded,
}

impl From<WebError> for Refused {
    fn from(error: WebError) -> Self {
        Self::Error(error)
    }
}

async fn pieces(
    id: WebId,
    client: &WebClient,
    url: &str,
    server: &WebServer,
    order: &Order,
    sink: &Sink,
) -> Result<(), Refused> {
    let _slot = server.slots.acquire().await.map_err(|_| Refused::DownloadEnded)?;
    if let Some(pause) = server.pause() {
        return Err(Refused::Pause(pause));
    }
    let mut body = open(client, url, server, order).await?;
    for index in (order.first.get()..).take(order.count as usize) {
        let Some(piece) = order.layout.piece(index) else { break };
        let length = order.layout.piece_len(piece);
        let mut bytes: PieceBytes = sink.pool.take().await;
        let wait = sink.throttles.iter().map(|it| it.pace(length)).max().unwrap_or_default();
        if !wait.is_zero() {
            sleep(wait).await;
        }
        for run in bytes.buffer_mut()[..length].chunks_mut(HEARD_BYTES as usize) {
            body.fill(run).await?;
            server.heard.fetch_add(run.len() as u64, Ordering::Relaxed);
        }
        bytes.set_len(length);
        server.failures.store(0, Ordering::Relaxed);
        let event = SourceEvent::WebPiece { id, request: order.request, piece: index, bytes };
        sink.events.send(event).await.map_err(|_| Refused::DownloadEnded)?;
    }
    body.end().await;
    Ok(())
}

/// Opens the range at the URL that a redirect led to last time, if it still works: a hub limits how often it redirects.
async fn open(client: &WebClient, url: &str, server: &WebServer, order: &Order) -> Result<Body, WebError> {
    let Order { layout, first, count, blob, .. } = order;
    let begin = layout.offset(*first);
    let pieces = (first.get()..).take(*count as usize).filter_map(|index| layout.piece(index));
    let range = begin..begin + pieces.map(|piece| layout.piece_len(piece) as u64).sum::<u64>();
    let known = lock(&server.locations).get(blob).cloned();
    let (body, pause) = match known {
        Some(location) => match client.open(&location, range.clone(), layout.size()).await {
            Err(error) if error.is_lasting() => {
                debug!(%error, "an address that a redirect led to has expired");
                lock(&server.locations).remove(blob);
                client.open(url, range, layout.size()).await?
            }
            opened => opened?,
        },
        None => client.open(url, range, layout.size()).await?,
    };
    let location = body.location();
    if location != url {
        lock(&server.locations).insert(*blob, location);
    }
    if let Some(pause) = pause {
        server.leave_alone(pause.min(WEB_PAUSE_MAX));
    }
    Ok(body)
}

fn judge(server: &WebServer, order: &Order, error: WebError) -> WebNews {
    let (request, blob) = (order.request, order.blob);
    debug!(%error, "a web seed does not answer");
    if error.is_lasting() {
        return WebNews::Never { request, blob, error };
    }
    let pause = match &error {
        // A busy server that names a pause has not failed.
        WebError::Busy { pause: Some(pause), .. } => *pause,
        _ => WEB_PAUSE_DEFAULT * (1 + server.failures.fetch_add(1, Ordering::Relaxed) as u32),
    };
    let pause = pause.min(WEB_PAUSE_MAX);
    server.leave_alone(pause);
    WebNews::Later { request, wait: pause, error: Some(error) }
}
