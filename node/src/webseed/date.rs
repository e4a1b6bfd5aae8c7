//! Asks a web server for the time of day, by the `Date` of its answer. No other header and no byte of a file is read.

use std::time::Duration;

use reqwest::Client;
use reqwest::header::DATE;
use reqwest::redirect::Policy;
use time::PrimitiveDateTime;

use super::WebError;
use super::pause::HTTP_DATE;

/// How long a server may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the time of a web server, in seconds since 1970; `None` where its answer has none. Any status will do.
///
/// # Errors
/// The server is not reached.
pub async fn date(url: &str) -> Result<Option<u64>, WebError> {
    // Another part of the program may have installed a provider already: any will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::builder()
        .redirect(Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("reg/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(WebError::Client)?;
    let sent = client.head(url).send().await;
    let answer = sent.map_err(|source| WebError::Transport { url: url.to_owned(), source })?;
    Ok(answer.headers().get(DATE).and_then(|it| it.to_str().ok()).and_then(seconds))
}

/// Reads the date of a header, as in `Tue, 01 Dec 2026 12:00:00 GMT`.
fn seconds(text: &str) -> Option<u64> {
    let date = PrimitiveDateTime::parse(text.trim(), HTTP_DATE).ok()?.assume_utc();
    u64::try_from(date.unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_a_header_is_read() {
        assert_eq!(seconds("Tue, 01 Dec 2026 06:20:00 GMT"), Some(1_796_106_000));
        for text in ["", "now", "1796106000", "Tue, 01 Dec 1026 06:20:00 GMT"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
