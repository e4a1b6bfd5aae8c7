//! [`WebSeed`]: the URL under which an HTTP server offers the files of a model, or the blobs of several.

use std::fmt;
use std::str::FromStr;

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::path::SafePath;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use crate::escape::escape;

/// Most bytes of a URL.
const URL_LEN_MAX: usize = 4096;
/// The placeholders of a template. A template contains at least one of the first three.
const WORDS: [&str; 6] = ["path", "digest", "hex", "publisher", "model", "manifest"];

/// A URL as a user writes it. It names a folder with the model's files, as in `https://example.org/my-model/`, or it is
/// a template with `{path}`, `{digest}` or `{hex}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebSeed {
    text: String,
    template: String,
    host: String,
}

/// The blob for which a URL is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub publisher: &'a PublisherId,
    pub model: &'a ModelName,
    pub manifest: &'a Digest,
    pub blob: &'a Digest,
    /// The path of the blob's file; `None` where the blob is not a file.
    pub path: Option<&'a SafePath>,
}

/// Why a text is not a web seed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SeedError {
    #[error("{text:?} is no HTTP address, as in https://example.org/my-model/")]
    Url { text: String },
    #[error("an HTTP address has more than {URL_LEN_MAX} bytes")]
    Length,
    #[error("an HTTP address with a password is refused: it would be shown and stored")]
    Password,
    #[error(
        "{text:?} has {{{word}}}, which is none of {{path}}, {{digest}}, {{hex}}, {{publisher}}, {{model}}, {{manifest}}"
    )]
    Word { text: String, word: String },
    #[error("{text:?} gives every file the same address: {{path}}, {{digest}} or {{hex}} is missing")]
    SaysNothing { text: String },
}

impl FromStr for WebSeed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        if text.len() > URL_LEN_MAX {
            return Err(SeedError::Length);
        }
        let words = words(text);
        if let Some(word) = words.iter().find(|word| !WORDS.contains(word)) {
            return Err(SeedError::Word { text: text.to_owned(), word: (*word).to_owned() });
        }
        let names_files = words.iter().any(|word| WORDS[..3].contains(word));
        let is_folder = !names_files && !text.contains(['?', '#']);
        if !names_files && !is_folder {
            return Err(SeedError::SaysNothing { text: text.to_owned() });
        }
        let template = if is_folder {
            format!("{}/{{path}}", text.strip_suffix('/').unwrap_or(text))
        } else {
            text.to_owned()
        };
        let strange = || SeedError::Url { text: text.to_owned() };
        let sample =
            WORDS.iter().fold(template.clone(), |url, word| url.replace(&format!("{{{word}}}"), "x"));
        let url = Url::parse(&sample).map_err(|_| strange())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SeedError::Password);
        }
        if !matches!(url.scheme(), "http" | "https")
            || url.fragment().is_some()
            || sample.contains(['{', '}'])
        {
            return Err(strange());
        }
        let host = url.host_str().ok_or_else(strange)?.to_owned();
        // The name of a publisher or a model must not choose the server.
        let authority = template.split('/').nth(2).unwrap_or_default();
        if authority.is_empty() || authority.contains('{') {
            return Err(strange());
        }
        Ok(Self { text: text.to_owned(), template, host })
    }
}

/// Returns the words in braces.
fn words(text: &str) -> Vec<&str> {
    text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(word, _)| word).collect()
}

impl WebSeed {
    /// Returns the host that the user named.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the URL of a blob on this server; `None` where the server offers it under none.
    pub fn url_of(&self, subject: Subject<'_>) -> Option<String> {
        let mut url = self.template.clone();
        for word in WORDS {
            let place = format!("{{{word}}}");
            if !url.contains(&place) {
                continue;
            }
            let value = match word {
                "path" => subject.path?.as_str().to_owned(),
                "digest" => subject.blob.to_string(),
                "hex" => subject.blob.hex(),
                "publisher" => subject.publisher.to_string(),
                "model" => subject.model.to_string(),
                _ => subject.manifest.to_string(),
            };
            let escaped = match word {
                // A path may contain a colon.
                "digest" | "manifest" => value,
                _ => escape(&value),
            };
            url = url.replace(&place, &escaped);
        }
        Some(url)
    }
}

impl fmt::Display for WebSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for WebSeed {
    type Error = SeedError;

    fn try_from(text: String) -> Result<Self, SeedError> {
        text.parse()
    }
}

impl From<WebSeed> for String {
    fn from(seed: WebSeed) -> Self {
        seed.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(seed: &str, path: Option<&str>) -> Option<String> {
        let path = path.map(|it| it.parse::<SafePath>().unwrap());
        let subject = Subject {
            publisher: &PublisherId::from_bytes([0; 32]),
            model: &"Tiny-1".parse().unwrap(),
            manifest: &Digest::of(b"m"),
            blob: &Digest::of(b"b"),
            path: path.as_ref(),
        };
        seed.parse::<WebSeed>().unwrap().url_of(subject)
    }

    #[test]
    fn a_folder_holds_the_files_and_a_template_names_them() {
        let hex = Digest::of(b"b").hex();
        for (seed, path, expected) in [
            ("https://h/m", Some("a/b c.txt"), Some("https://h/m/a/b%20c.txt".to_owned())),
            ("https://h/m/", Some("a"), Some("https://h/m/a".to_owned())),
            ("https://h/m/", Some("100%.txt"), Some("https://h/m/100%25.txt".to_owned())),
            ("https://h/m/", None, None),
            (
                "http://127.0.0.1:1/v2/x/blobs/{digest}",
                None,
                Some(format!("http://127.0.0.1:1/v2/x/blobs/sha256:{hex}")),
            ),
            ("https://h/{hex}?k=1", None, Some(format!("https://h/{hex}?k=1"))),
            ("https://h/{model}/{path}", Some("a"), Some("https://h/Tiny-1/a".to_owned())),
        ] {
            assert_eq!(url(seed, path), expected, "{seed}");
        }
    }

    #[test]
    fn what_is_no_web_seed_is_refused() {
        for text in [
            "",
            "h",
            "/x",
            "ftp://h/",
            "https://",
            "https://u:p@h/",
            "https://u@h/",
            "https://h/?a=1",
            "https://h/#a",
            "https://h/{path}#a",
            "https://h/{file}",
            "https://{model}/{path}",
            "https://h:{hex}/",
            "file:///etc/",
            "https://h/{path",
            "https://{path}",
        ] {
            assert!(text.parse::<WebSeed>().is_err(), "{text} was taken");
        }
        assert!(format!("https://h/{}", "x".repeat(5000)).parse::<WebSeed>().is_err());
        let seed: WebSeed = serde_json::from_str("\"https://h/m\"").unwrap();
        assert_eq!((seed.to_string().as_str(), seed.host()), ("https://h/m", "h"));
        assert_eq!(serde_json::to_string(&seed).unwrap(), "\"https://h/m\"");
    }
}
