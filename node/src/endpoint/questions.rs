//! Questions that the gateway passes on to the endpoint: the unchanged answer, and the description of a file.

use bytes::Bytes;
use futures::StreamExt;
use reg_proto::digest::Digest;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, VIA,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use crate::endpoint::{Hub, HubError, RemoteName, is_commit};

/// Bytes of an answer that is passed on: the listing of a hundred thousand files.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The name of this program in `Via` (RFC 9110, section 7.6.3).
const VIA_NAME: &str = "1.1 reg";

const X_REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
const X_LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const X_LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");

/// A client's request, as it goes to the endpoint.
#[derive(Debug, Clone)]
pub struct Question {
    pub method: Method,
    /// The URL from the first slash of its path on, escaped.
    pub path_and_query: String,
    /// The type of the body, and the body.
    pub body: Option<(HeaderValue, Bytes)>,
    /// The `Via` headers that it has already.
    pub via: Vec<HeaderValue>,
    /// Whether to send the user's token.
    pub shows_token: bool,
}

/// The answer of an endpoint.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What the head of an answer says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub commit: String,
    pub name: RemoteName,
    /// Bytes; some endpoints do not give it for plain files.
    pub size: Option<u64>,
}

impl Question {
    /// Returns the same question with the method `GET`.
    #[must_use]
    pub fn getting(self) -> Self {
        Self { method: Method::GET, ..self }
    }
}

impl Answer {
    /// Tells whether the endpoint might answer otherwise with a token. Endpoints answer 404 for what they do not show.
    pub fn is_withheld(&self) -> bool {
        matches!(self.status.as_u16(), 401 | 403 | 404)
    }
}

impl Hub {
    /// Tells whether the user has a token.
    pub const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Asks a question. Follows redirects within the endpoint only, and returns any other redirect, as of a large file,
    /// as the answer.
    ///
    /// # Errors
    /// Fails where the endpoint cannot be reached, or its answer is too large. An error status is an answer.
    pub async fn ask(&self, question: &Question) -> Result<Answer, HubError> {
        let url = format!("{}{}", self.endpoint, question.path_and_query);
        let response = self.sent(&url, question, &self.near).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(
                &chunk.map_err(|source| HubError::Transport { url: url.clone(), source })?,
            );
            if body.len() > ANSWER_BYTES_MAX {
                return Err(HubError::TooLarge { url, max: ANSWER_BYTES_MAX });
            }
        }
        Ok(Answer { status, headers, body: body.into() })
    }

    /// Asks for a file from byte `from` on. Follows redirects to any host.
    ///
    /// # Errors
    /// See [`HubError`].
    pub async fn fetch(&self, question: &Question, from: u64) -> Result<Response, HubError> {
        let url = format!("{}{}", self.endpoint, question.path_and_query);
        self.get_from(&url, from, question.shows_token).await
    }

    async fn sent(
        &self,
        url: &str,
        question: &Question,
        client: &reqwest::Client,
    ) -> Result<Response, HubError> {
        let mut request: RequestBuilder = client.request(question.method.clone(), url);
        for via in &question.via {
            request = request.header(VIA, via);
        }
        request = request.header(VIA, VIA_NAME);
        if let (Some(token), true) = (&self.token, question.shows_token) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some((kind, body)) = &question.body {
            request = request.header(CONTENT_TYPE, kind).body(body.clone());
        }
        request.send().await.map_err(|source| HubError::Transport { url: url.to_owned(), source })
    }
}

impl Described {
    /// Reads the headers of an answer about a file; returns `None` where they name no commit or no hash.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
        let commit = text(&X_REPO_COMMIT).filter(|it| is_commit(it))?.to_owned();
        let etag = |name| Some(text(name)?.trim_start_matches("W/").trim_matches('"'));
        let name = etag(&X_LINKED_ETAG).or_else(|| etag(&ETAG))?;
        let size = |name| text(name)?.parse::<u64>().ok();
        if let Ok(digest) = Digest::from_hex(name) {
            let size = size(&X_LINKED_SIZE).or_else(|| size(&CONTENT_LENGTH));
            return Some(Self { commit, name: RemoteName::Lfs(digest), size });
        }
        let git = data_encoding::HEXLOWER.decode(name.as_bytes()).ok()?.try_into().ok()?;
        Some(Self { commit, name: RemoteName::Git(git), size: size(&CONTENT_LENGTH) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(headers: &[(&'static str, &str)]) -> Option<Described> {
        let pairs =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        Described::of(&pairs.collect())
    }

    #[test]
    fn a_file_is_known_by_its_linked_name_before_its_own() {
        let commit = "c".repeat(40);
        let (git, lfs) = ("0a".repeat(20), "0b".repeat(32));
        let plain = described(&[
            ("x-repo-commit", &commit),
            ("etag", &format!("W/\"{git}\"")),
            ("content-length", "7"),
        ]);
        assert_eq!(
            plain,
            Some(Described { commit: commit.clone(), name: RemoteName::Git([10; 20]), size: Some(7) })
        );
        let large = described(&[
            ("x-repo-commit", &commit),
            ("etag", "\"something of the store behind\""),
            ("x-linked-etag", &format!("\"{lfs}\"")),
            ("x-linked-size", "9"),
            ("content-length", "1500"),
        ]);
        assert_eq!(large.map(|it| it.size), Some(Some(9)));
        assert_eq!(described(&[("etag", &git)]), None, "no commit");
        assert_eq!(described(&[("x-repo-commit", "main"), ("etag", &git)]), None, "no commit but a branch");
        assert_eq!(described(&[("x-repo-commit", &commit), ("etag", "\"x\"")]), None, "no hash");
    }
}
