//! The client of a Hugging Face endpoint: revisions of repositories, their files, and the bytes of files.
//!
//! In: names of repositories, revisions and files. Out: what the endpoint answers, unverified: the caller checks each
//! file against the hash that the listing gives.

pub mod questions;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reg_api::escape::escape;
use reg_proto::digest::Digest;
use reg_proto::limits::FILES_MAX;
use reqwest::header::{AUTHORIZATION, CONTENT_RANGE, LINK, RANGE, RETRY_AFTER};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use thiserror::Error;

pub use crate::endpoint::questions::{Answer, Described, Question};
use crate::webseed::Guard;

/// Bytes of one JSON answer: a page of a thousand files takes about 300 kB.
const JSON_BYTES_MAX: usize = 64 << 20;
/// Pages of one listing: an endpoint that pages puts a thousand files on each.
const PAGES_MAX: usize = 64;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an endpoint may send nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an endpoint may send nothing while a client of the gateway waits, which gives up after 10 s.
const NEAR_TIMEOUT: Duration = Duration::from_secs(8);
/// Redirects within the endpoint that are followed: a renamed repository is one.
const NEAR_REDIRECTS_MAX: usize = 4;
/// How often a request is tried.
const TRIES: u32 = 5;
/// Longest wait between two tries, even where the endpoint asks for more.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A client of one endpoint, with the user's token where there is one.
#[derive(Clone)]
pub struct Hub {
    client: Client,
    /// A client that follows redirects within the endpoint only.
    near: Client,
    endpoint: String,
    token: Option<String>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    pub path: String,
    /// Bytes.
    pub size: u64,
    pub name: RemoteName,
}

/// The hash by which an endpoint names a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteName {
    /// Git's SHA-1 of a plain file.
    Git([u8; 20]),
    Lfs(Digest),
}

/// Why an endpoint does not give what the caller asked for.
#[derive(Debug, Error)]
pub enum HubError {
    #[error("{url} cannot be reached")]
    Transport { url: String, source: reqwest::Error },
    #[error("{url} leads to an address that is not gone to")]
    Refused { url: String, source: reqwest::Error },
    #[error("{url} does not exist, or is not shown without a token")]
    NotFound { url: String },
    #[error("{url} needs a token that may read it: {status}")]
    Denied { url: String, status: u16 },
    #[error("{url} answers {status}")]
    Status { url: String, status: u16 },
    #[error("{url} answers with malformed JSON")]
    Json { url: String, source: serde_json::Error },
    #[error("{url} answers more than {max} bytes")]
    TooLarge { url: String, max: usize },
    #[error("{url} names a file {path:?} by {oid:?}, which is neither a SHA-1 nor a SHA-256")]
    Oid { url: String, path: String, oid: String },
    #[error("{url} lists more than {FILES_MAX} files")]
    TooManyFiles { url: String },
    #[error("{url} names a commit by {commit:?}, which is no hash")]
    Commit { url: String, commit: String },
    #[error("{url} cannot be continued at byte {from}")]
    NoRange { url: String, from: u64 },
    #[error("HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

#[derive(Deserialize)]
struct Info {
    sha: String,
}

#[derive(Deserialize)]
struct Entry {
    r#type: String,
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Hub {
    /// Returns a client of `endpoint`, as in `https://huggingface.co`. It goes to a private address only where `endpoint` names
    /// that host.
    ///
    /// # Errors
    /// Fails where the system's certificates cannot be read.
    pub fn new(endpoint: &str, token: Option<String>) -> Result<Self, HubError> {
        // Another part of the program may have installed a provider already: any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let host = Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
        let guard = Guard::new(host.as_deref().into_iter());
        let builder = |patience| {
            Client::builder()
                .dns_resolver(guard.clone())
                .connect_timeout(CONNECT_TIMEOUT.min(patience))
                .read_timeout(patience)
                .user_agent(concat!("reg/", env!("CARGO_PKG_VERSION")))
        };
        let client = builder(READ_TIMEOUT).redirect(guard.policy()).build().map_err(HubError::Client)?;
        let near =
            builder(NEAR_TIMEOUT).redirect(Policy::custom(stay_near)).build().map_err(HubError::Client)?;
        Ok(Self { client, near, endpoint: endpoint.trim_end_matches('/').to_owned(), token })
    }

    /// Returns the URL of the endpoint.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the commit of a revision of a repository.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn commit(&self, repository: &str, revision: &str) -> Result<String, HubError> {
        let revision = escape(revision).replace('/', "%2F");
        let url = format!("{}/api/models/{repository}/revision/{revision}", self.endpoint);
        let Info { sha } = self.json(&url).await?.0;
        if is_commit(&sha) {
            return Ok(sha);
        }
        Err(HubError::Commit { url, commit: sha.chars().take(100).collect() })
    }

    /// Lists the files of a repository at a commit.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn files(&self, repository: &str, commit: &str) -> Result<Vec<RemoteFile>, HubError> {
        let mut url = format!("{}/api/models/{repository}/tree/{commit}?recursive=true", self.endpoint);
        let own = format!("{}/", self.endpoint);
        let mut files = Vec::new();
        for _page in 0..PAGES_MAX {
            let (entries, next): (Vec<Entry>, _) = self.json(&url).await?;
            for entry in entries.into_iter().filter(|entry| entry.r#type == "file") {
                files.push(remote_file(&url, entry)?);
            }
            if files.len() > FILES_MAX {
                return Err(HubError::TooManyFiles { url });
            }
            match next.filter(|next| next.starts_with(&own)) {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(files)
    }

    /// Opens a file, and returns its bytes from byte `from` on.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn open(
        &self,
        repository: &str,
        commit: &str,
        path: &str,
        from: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, HubError>> + Send + use<>, HubError> {
        let url = format!("{}/{repository}/resolve/{commit}/{}", self.endpoint, escape(path));
        let response = self.get_from(&url, from, true).await?;
        Ok(response.bytes_stream().map_err(move |source| HubError::Transport { url: url.clone(), source }))
    }

    async fn get_from(&self, url: &str, from: u64, shows_token: bool) -> Result<Response, HubError> {
        let mut request = self.client.get(url);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let response = self.send(url, request, shows_token).await?;
        let goes_on = response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with(&format!("bytes {from}-")));
        if from > 0 && !(response.status() == StatusCode::PARTIAL_CONTENT && goes_on) {
            return Err(HubError::NoRange { url: url.to_owned(), from });
        }
        Ok(response)
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<(T, Option<String>), HubError> {
        let response = self.send(url, self.client.get(url), true).await?;
        let link = response.headers().get(LINK).and_then(|value| value.to_str().ok()).and_then(next_page);
        let mut stream = response.bytes_stream();
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(
                &chunk.map_err(|source| HubError::Transport { url: url.to_owned(), source })?,
            );
            if body.len() > JSON_BYTES_MAX {
                return Err(HubError::TooLarge { url: url.to_owned(), max: JSON_BYTES_MAX });
            }
        }
        let value =
            serde_json::from_slice(&body).map_err(|source| HubError::Json { url: url.to_owned(), source })?;
        Ok((value, link))
    }

    /// Sends a request, up to [`TRIES`] times while the endpoint cannot answer.
    async fn send(
        &self,
        url: &str,
        request: RequestBuilder,
        shows_token: bool,
    ) -> Result<Response, HubError> {
        let request = match &self.token {
            Some(token) if shows_token => request.header(AUTHORIZATION, format!("Bearer {token}")),
            _ => request,
        };
        let mut tried = 0;
        loop {
            tried += 1;
            let sent = request.try_clone().unwrap_or_else(|| self.client.get(url)).send().await;
            let wait = match &sent {
                Ok(response) if is_passing(response.status()) => retry_after(response),
                Err(error) if Guard::has_refused(error) => return judge(url, sent),
                Err(error) if error.is_connect() || error.is_timeout() => None,
                _ => return judge(url, sent),
            };
            if tried >= TRIES {
                return judge(url, sent);
            }
            tokio::time::sleep(wait.unwrap_or(Duration::from_millis(500) * 2u32.pow(tried)).min(WAIT_MAX))
                .await;
        }
    }
}

fn stay_near(attempt: Attempt<'_>) -> Action {
    let is_near = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if is_near && attempt.previous().len() <= NEAR_REDIRECTS_MAX { attempt.follow() } else { attempt.stop() }
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn judge(url: &str, sent: Result<Response, reqwest::Error>) -> Result<Response, HubError> {
    let url = url.to_owned();
    let response = match sent {
        Ok(response) => response,
        Err(source) if Guard::has_refused(&source) => return Err(HubError::Refused { url, source }),
        Err(source) => return Err(HubError::Transport { url, source }),
    };
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::NOT_FOUND => Err(HubError::NotFound { url }),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(HubError::Denied { url, status: status.as_u16() })
        }
        status => Err(HubError::Status { url, status: status.as_u16() }),
    }
}

fn remote_file(url: &str, entry: Entry) -> Result<RemoteFile, HubError> {
    let Entry { path, oid, size, lfs, .. } = entry;
    let strange = |oid: String| HubError::Oid { url: url.to_owned(), path: path.clone(), oid };
    let (name, size) = match lfs {
        Some(lfs) => match Digest::from_hex(&lfs.oid) {
            Ok(digest) => (RemoteName::Lfs(digest), lfs.size),
            Err(_) => return Err(strange(lfs.oid)),
        },
        None => {
            let bytes = data_encoding::HEXLOWER.decode(oid.as_bytes()).ok();
            let git = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| strange(oid))?;
            (RemoteName::Git(git), size)
        }
    };
    Ok(RemoteFile { path, size, name })
}

/// Returns the URL of the next page (RFC 8288).
fn next_page(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    Some(next.split_once('<')?.1.split_once('>')?.0.to_owned())
}

/// Tells whether a text is a hash as git writes it: SHA-1, or SHA-256.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_names_every_file_by_a_hash() {
        let entry = |json: &str| remote_file("u", serde_json::from_str(json).unwrap());
        let plain =
            entry(r#"{"type":"file","path":"a","oid":"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391","size":0}"#);
        assert!(matches!(plain.unwrap().name, RemoteName::Git(_)));
        let large = format!(
            r#"{{"type":"file","path":"a","oid":"x","size":1,"lfs":{{"oid":"{}","size":5}}}}"#,
            "a".repeat(64)
        );
        assert_eq!(entry(&large).unwrap().size, 5);
        assert!(matches!(entry(r#"{"type":"file","path":"a","oid":"../x"}"#), Err(HubError::Oid { .. })));
        assert_eq!(next_page(r#"<https://h/x?c=1>; rel="next""#).as_deref(), Some("https://h/x?c=1"));
        assert_eq!(next_page(r#"<https://h/x>; rel="prev""#), None);
        assert!(is_commit(&"0a".repeat(20)) && !is_commit("main") && !is_commit(&"../".repeat(14)));
    }
}
