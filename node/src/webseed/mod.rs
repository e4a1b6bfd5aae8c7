//! Web seeds: HTTP servers that pieces are fetched from.
//!
//! In: the user's [`WebSeed`]s, the URL of a blob, and a range. Out: the bytes of that range, unverified: the caller
//! verifies each piece as if a peer had sent it. Where a server asks for a pause, the caller learns its length.

mod date;
mod guard;
mod pause;

use std::io;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reg_api::clock;
use reg_api::fault;
use reg_api::size::Size;
use reg_api::web_seed::WebSeed;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};
use thiserror::Error;

pub use self::date::date;
pub use self::guard::Guard;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may send nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a file that are taken from a server without ranges, which sends it from its beginning each time: as many as
/// one request asks for elsewhere, so that little is thrown away.
const WHOLE_MAX: u64 = 16 << 20;

/// Tells whether a web seed is on this machine or in a private network, as far as its URL itself says.
pub fn is_near(seed: &WebSeed) -> bool {
    let ip = seed.host().trim_start_matches('[').trim_end_matches(']').parse();
    seed.host() == "localhost" || ip.is_ok_and(crate::net::is_near)
}

/// An HTTP client for web seeds. It connects to a private address only where the user has named that host.
#[derive(Debug, Clone)]
pub struct WebClient {
    client: Client,
}

/// The bytes of a range, as they arrive.
#[derive(Debug)]
pub struct Body {
    url: String,
    response: Response,
    rest: Bytes,
    /// Bytes to skip: the server sends them before the range.
    skip: u64,
}

/// Why a server does not give what the caller asked for.
#[derive(Debug, Error)]
pub enum WebError {
    #[error("{url} cannot be reached")]
    Transport { url: String, source: reqwest::Error },
    #[error("{url} has a redirect that is not followed")]
    Redirect { url: String, source: reqwest::Error },
    #[error("{url} answers {status}")]
    Status { url: String, status: u16 },
    #[error("{url} answers {status} and asks for a pause")]
    Busy { url: String, status: u16, pause: Option<Duration> },
    #[error("{url} has {found} bytes, and the publisher signed {size}")]
    Size { url: String, found: u64, size: u64 },
    #[error("{url} supports no ranges, and only a file of up to {} is fetched whole", Size(WHOLE_MAX))]
    NoRanges { url: String },
    #[error("{url} answers with another range than was asked for")]
    Range { url: String },
    #[error("{url} ends early")]
    Short { url: String },
    #[error("HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

impl WebError {
    /// Returns the error with its causes and what the user can do about it, in one line: a note of a pull has no further lines.
    pub fn in_full(&self) -> String {
        let text = fault::chain(self);
        match self.hint() {
            Some(hint) => format!("{text}: {hint}"),
            None => text,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoRanges { .. } => Some(
                "a server that answers `Range` serves it; `--from MULTIADDR` names a peer that has the file"
                    .to_owned(),
            ),
            Self::Transport { source, .. } => dates_hint(source),
            _ => None,
        }
    }

    /// Tells whether asking this server again for this file is useless.
    pub const fn is_lasting(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status < 500 && *status != 408,
            Self::Redirect { .. } | Self::Size { .. } | Self::NoRanges { .. } | Self::Range { .. } => true,
            Self::Transport { .. } | Self::Busy { .. } | Self::Short { .. } | Self::Client(_) => false,
        }
    }
}

/// Returns what to do about a certificate that was refused because of its dates; `None` about another error.
pub fn dates_hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    is_of_dates(error).then(|| {
        format!(
            "the clock of this machine says {}: if it is wrong, set it (`timedatectl` shows it)",
            clock::date(clock::now())
        )
    })
}

/// Tells whether a certificate was refused because of its dates, which a clock that is off makes wrong.
fn is_of_dates(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
            return matches!(why, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. });
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    false
}

impl WebClient {
    /// Returns a client for these seeds.
    ///
    /// # Errors
    /// Fails where the system's certificates cannot be read.
    pub fn new<'a>(seeds: impl Iterator<Item = &'a WebSeed>) -> Result<Self, WebError> {
        // Another part of the program may have installed a provider already: any will do.
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

    /// Asks for a range of a file of `size` bytes. Also returns how long the server asks the client to pause
    /// afterwards; `None` where it does not ask.
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

/// Checks the range of an answer and the size of the whole file before any byte is read: a file of another size is
/// another file.
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
    /// Fails where the connection breaks or the answer ends early.
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

    /// Returns the URL that the bytes come from, after all redirects.
    pub fn location(&self) -> String {
        self.response.url().to_string()
    }

    /// Reads the end of the answer, so that the connection can be used again.
    pub async fn end(mut self) {
        if self.rest.is_empty() {
            let _nothing_more = self.response.chunk().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn a_server_without_ranges_is_named_with_why_and_what_to_do() {
        let said = WebError::NoRanges { url: "https://example.org/m.gguf".to_owned() }.in_full();
        for what in ["https://example.org/m.gguf", "no ranges", "16.0 MiB", "--from MULTIADDR"] {
            assert!(said.contains(what), "{what}: {said}");
        }
    }

    #[test]
    fn a_certificate_that_is_refused_for_its_dates_is_told_from_others() {
        let of = |why| io::Error::other(io::Error::other(rustls::Error::InvalidCertificate(why)));
        assert!(
            is_of_dates(&of(CertificateError::NotValidYet)) && is_of_dates(&of(CertificateError::Expired))
        );
        assert!(!is_of_dates(&of(CertificateError::UnknownIssuer)));
        assert!(!is_of_dates(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }
}
