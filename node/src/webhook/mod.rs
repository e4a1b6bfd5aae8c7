//! Sends events to a URL that the user has named in the configuration.
//!
//! In: a [`WebhookUrl`] and JSON documents. Out: POST requests. Their time and number are bounded, no redirect is followed, and no
//! proxy is asked. The user names the URL, so it may be at a private address. It may hold a secret, so no error shows it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use thiserror::Error;

/// How long one request may take in all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long is waited after a request that failed, before each next one: three requests in all, so that a receiver may restart.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// An HTTP or HTTPS URL that takes events.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// A text is not the URL of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("it is no URL of a web server, as in https://hooks.example/reg")]
pub struct WebhookUrlError;

/// Why an event was not taken.
#[derive(Debug, Error)]
pub enum WebhookError {
    #[error("HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    #[error("server cannot be reached, or does not answer in time: {0}")]
    Request(#[source] reqwest::Error),
    #[error("server answers {status}")]
    Status { status: u16 },
}

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        let url = Url::parse(text).map_err(|_| WebhookUrlError)?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        if is_web { Ok(Self(url)) } else { Err(WebhookUrlError) }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebhookUrl").field(&self.0.host_str()).finish()
    }
}

/// Sends events to one URL.
#[derive(Debug)]
pub struct Webhook(WebhookUrl);

impl Webhook {
    /// Returns a sender. It opens nothing before it is used.
    pub const fn new(url: WebhookUrl) -> Self {
        Self(url)
    }

    /// Sends a JSON document; tries again where the server is not reached or fails.
    ///
    /// # Errors
    /// The last try has failed, or the server refuses the document. See [`WebhookError`].
    pub async fn send(&self, document: Vec<u8>) -> Result<(), WebhookError> {
        let client = client().map_err(WebhookError::Client)?;
        for pause in PAUSES {
            match self.post(&client, document.clone()).await {
                Err(error) if error.may_pass() => tokio::time::sleep(pause).await,
                result => return result,
            }
        }
        self.post(&client, document).await
    }

    async fn post(&self, client: &Client, document: Vec<u8>) -> Result<(), WebhookError> {
        let request = client.post(self.0.0.clone()).header(CONTENT_TYPE, "application/json").body(document);
        let answer = request.send().await.map_err(|error| WebhookError::Request(error.without_url()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(WebhookError::Status { status: status.as_u16() }),
        }
    }
}

impl WebhookError {
    /// Tells whether the same request may succeed later.
    const fn may_pass(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Status { status } => *status >= 500 || *status == StatusCode::TOO_MANY_REQUESTS.as_u16(),
            Self::Client(_) => false,
        }
    }
}

fn client() -> Result<Client, reqwest::Error> {
    // Another part of the program may have installed a provider already: any will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("reg/", env!("CARGO_PKG_VERSION")))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_at_a_web_server_and_keeps_its_secret() {
        for text in ["http://127.0.0.1:9/x", "https://hooks.example/reg?token=1", "http://[::1]:8080/"] {
            assert_eq!(text.parse::<WebhookUrl>().unwrap().to_string(), text);
        }
        for text in ["", "hooks.example", "ftp://hooks.example/", "file:///etc/passwd", "data:,x", "http://"]
        {
            assert_eq!(text.parse::<WebhookUrl>(), Err(WebhookUrlError), "{text}");
        }
        let shown = format!("{:?}", "https://hooks.example/secret".parse::<WebhookUrl>().unwrap());
        assert!(shown.contains("hooks.example") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, may_pass) in
            [(500, true), (503, true), (429, true), (404, false), (301, false), (400, false)]
        {
            assert_eq!(WebhookError::Status { status }.may_pass(), may_pass, "{status}");
        }
    }
}
