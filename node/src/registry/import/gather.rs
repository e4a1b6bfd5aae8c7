//! [`gather`]: writes a file as an endpoint sends it, and goes on where a connection broke.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use thiserror::Error;

use crate::endpoint::HubError;
use crate::store::{Upload, WriteError};

/// Bytes that are hashed and written at once.
const WRITTEN_AT_ONCE: usize = 1 << 20;
/// The pause after a connection broke.
const BREAK_WAIT: Duration = Duration::from_secs(1);

/// Why no more of a file is gathered.
#[derive(Debug, Error)]
pub enum GatherError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("store cannot write the fetched bytes")]
    Write(#[from] WriteError),
    #[error("a task ended early")]
    Interrupted,
}

/// The bytes of a file at an endpoint.
pub type FileStream = BoxStream<'static, Result<Bytes, HubError>>;

/// A file at an endpoint, and what follows its progress.
pub trait Gathered: Send {
    type Error: From<GatherError>;

    /// How often in a row a connection may break without one byte.
    const BREAKS_MAX: u32;

    /// Returns the file's size in bytes, as the endpoint says it.
    fn size(&self) -> u64;

    /// Opens the file at byte `from`.
    ///
    /// # Errors
    /// No error of this function is followed by another try; the errors of the stream are.
    fn open(&self, from: u64) -> impl Future<Output = Result<FileStream, HubError>> + Send;

    /// Counts bytes that have come and may not be written yet.
    fn on_bytes(&mut self, _count: u64) {}

    /// Takes note that the first `size` bytes are written, no more than the file has.
    ///
    /// # Errors
    /// The file is refused.
    fn on_written(&mut self, _size: u64) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Writes a file from where `upload` is to its end, or as far as the endpoint sends it. Returns more bytes than the file
/// has, at most one write, if the endpoint sends more: the digest shows it.
///
/// # Errors
/// The endpoint refuses, breaks off too often, or the store cannot write the bytes.
pub async fn gather<G: Gathered>(mut upload: Upload, file: &mut G) -> Result<Upload, G::Error> {
    let mut breaks = 0;
    while upload.size() < file.size() {
        let before = upload.size();
        let broke;
        (upload, broke) = gather_once(upload, file).await?;
        breaks = if upload.size() > before { 0 } else { breaks + 1 };
        match broke {
            Some(error) if breaks > G::BREAKS_MAX => return Err(GatherError::Hub(error).into()),
            Some(_) => tokio::time::sleep(BREAK_WAIT).await,
            None => break,
        }
    }
    Ok(upload)
}

/// Writes what one connection sends, and returns why it broke, if it did.
async fn gather_once<G: Gathered>(
    mut upload: Upload,
    file: &mut G,
) -> Result<(Upload, Option<HubError>), G::Error> {
    let mut stream = file.open(upload.size()).await.map_err(GatherError::Hub)?;
    let mut gathered = BytesMut::new();
    loop {
        let chunk = stream.next().await;
        let is_last = !matches!(chunk, Some(Ok(_)));
        if let Some(Ok(chunk)) = &chunk {
            gathered.extend_from_slice(chunk);
            file.on_bytes(chunk.len() as u64);
        }
        if gathered.len() >= WRITTEN_AT_ONCE || (is_last && !gathered.is_empty()) {
            upload = write(upload, gathered.split().freeze()).await?;
            if upload.size() > file.size() {
                return Ok((upload, None));
            }
            file.on_written(upload.size())?;
        }
        match chunk {
            Some(Err(error)) => return Ok((upload, Some(error))),
            None => return Ok((upload, None)),
            Some(Ok(_)) => {}
        }
    }
}

async fn write(mut upload: Upload, bytes: Bytes) -> Result<Upload, GatherError> {
    let write = tokio::task::spawn_blocking(move || upload.write(&bytes).map(|()| upload));
    Ok(write.await.map_err(|_| GatherError::Interrupted)??)
}
