//! Pieces of files on servers of HTTP: which address a blob has there, and ranges of its bytes.
//!
//! Nothing of it is believed: who calls verifies each piece as if a peer had sent it. A server counts what it is asked
//! for and may ask for a pause, which is kept to.

mod guard;
mod pause;
mod seed;

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};
use thiserror::Error;

pub use self::seed::{SeedError, Subject, WebSeed};

use self::guard::Guard;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may send nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a file that are taken from a server without ranges, which sends it from its beginning each time: as many as
/// one request asks for elsewhere, so that little is thrown away.
const WHOLE_MAX: u64 = 16 << 20;

/// Asks servers of HTTP. It goes to private addresses only where the user's own words lead there.
#[derive(Debug, Clone)]
pub struct WebClient {
    client: Client,
}

/// The bytes of a range, as they come.
#[derive(Debug)]
pub struct Body {
    url: String,
    response: Response,
    rest: Bytes,
    /// Bytes that come before what was asked for.
    skip: u64,
}

/// Why a server does not give what it was asked for.
#[derive(Debug, Error)]
pub enum WebError {
    #[error("{url} cannot be reached")]
    Transport { url: String, source: reqwest::Error },
    #[error("{url} leads to where it is not followed")]
    Redirect { url: String, source: reqwest::Error },
    #[error("{url} answers {status}")]
    Status { url: String, status: u16 },
    #[error("{url} answers {status} and asks to be left alone")]
    Busy { url: String, status: u16, pause: Option<Duration> },
    #[error("{url} has {found} bytes, and {size} were signed")]
    Size { url: String, found: u64, size: u64 },
    #[error("{url} is sent as a whole only (no ranges), which is taken up to {WHOLE_MAX} bytes")]
    NoRanges { url: String },
    #[error("{url} answers with another range than it was asked for")]
    Range { url: String },
    #[error("{url} ends early")]
    Short { url: String },
    #[error("client for HTTP cannot be made")]
    Client(#[source] reqwest::Error),
}

impl WebError {
    /// Tells whether the file is not to be had there, and will not be.
    pub const fn is_lasting(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status < 500 && *status != 408,
            Self::Redirect { .. } | Self::Size { .. } | Self::NoRanges { .. } | Self::Range { .. } => true,
            Self::Transport { .. } | Self::Busy { .. } | Self::Short { .. } | Self::Client(_) => false,
        }
    }
}

impl WebClient {
    /// Returns a client for these seeds.
    ///
    /// # Errors
    /// The system's certificates cannot be read.
    pub fn new<'a>(seeds: impl Iterator<Item = &'a WebSeed>) -> Result<Self, WebError> {
        // Another part of the program may have chosen one already: any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let guard = Guard::new(seeds.map(WebSeed::host));
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(guard.policy())
            .dns_resolver(guard)
            .user_agent(concat!("reg/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { client: client.map_err(WebError::Client)? })
    }

    /// Asks for these bytes of a file of `size` bytes. Also returns how long the server wants to be left alone after
    /// this, where it says so.
    ///
    /// # Errors
    /// See [`WebError`].
    pub async fn open(
        &self,
        url: &str,
        range: Range<u64>,
        size: u64,
    ) -> Result<(Body, Option<Duration>), WebError> {
        let (url, last) = (url.to_owned(), range.end.saturating_sub(1));
        let request = self.client.get(&url).header(ACCEPT_ENCODING, "identity");
        let request = request.header(RANGE, format!("bytes={}-{last}", range.start));
        let sent = request.send().await;
        let response = match sent {
            Ok(response) => response,
            Err(source) if source.is_redirect() => return Err(WebError::Redirect { url, source }),
            Err(source) => return Err(WebError::Transport { url, source }),
        };
        let pause = pause::asked_for(response.headers(), SystemTime::now());
        let status = response.status();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return Err(WebError::Busy { url, status: status.as_u16(), pause });
        }
        let skip = match status {
            StatusCode::PARTIAL_CONTENT => {
                check_range(&url, &response, &range, size)?;
                0
            }
            StatusCode::OK => {
                let found = response.content_length().unwrap_or(size);
                if found != size {
                    return Err(WebError::Size { url, found, size });
                }
                if size > WHOLE_MAX {
                    return Err(WebError::NoRanges { url });
                }
                range.start
            }
            status => return Err(WebError::Status { url, status: status.as_u16() }),
        };
        Ok((Body { url, response, rest: Bytes::new(), skip }, pause))
    }
}

/// A file of another length is another file: what it says of the whole is looked at before a byte is.
fn check_range(url: &str, response: &Response, range: &Range<u64>, size: u64) -> Result<(), WebError> {
    let strange = || WebError::Range { url: url.to_owned() };
    let value = response.headers().get(CONTENT_RANGE).and_then(|it| it.to_str().ok()).ok_or_else(strange)?;
    let (given, whole) =
        value.strip_prefix("bytes ").and_then(|it| it.split_once('/')).ok_or_else(strange)?;
    if let Ok(found) = whole.parse::<u64>()
        && found != size
    {
        return Err(WebError::Size { url: url.to_owned(), found, size });
    }
    let is_it = given == format!("{}-{}", range.start, range.end.saturating_sub(1));
    if is_it { Ok(()) } else { Err(strange()) }
}

impl Body {
    /// Fills `buffer` with the next bytes.
    ///
    /// # Errors
    /// They do not come.
    pub async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), WebError> {
        let mut filled = 0;
        while filled < buffer.len() {
            while self.rest.is_empty() {
                self.rest = self.next().await?;
                let skipped = self.rest.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                drop(self.rest.split_to(skipped));
                self.skip -= skipped as u64;
            }
            let count = self.rest.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&self.rest.split_to(count));
            filled += count;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Bytes, WebError> {
        let url = || self.url.clone();
        match self.response.chunk().await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(WebError::Short { url: url() }),
            Err(source) => Err(WebError::Transport { url: url(), source }),
        }
    }

    /// Returns where the bytes are: where the last redirect led to.
    pub fn location(&self) -> String {
        self.response.url().to_string()
    }

    /// Ends it so that the connection can be used again, where nothing more comes.
    pub async fn end(mut self) {
        if self.rest.is_empty() {
            let _nothing_more = self.response.chunk().await;
        }
    }
}
