//! The names that users type: publishers, models, tags, and references to them.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::digest::{Digest, DigestError};
use crate::domain::Domain;
use crate::limits::{MODEL_NAME_CHARS_MAX, PETNAME_CHARS_MAX, TAG_CHARS_MAX};

/// The id of a publisher: the SHA-256 of the payload of its first key document.
///
/// Written as 52 lower-case base32 digits (RFC 4648 section 6) without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherId([u8; 32]);

/// The name of a model: letters and digits, with single `.`, `_`, `-` (or `__`) between them, at most 96 characters.
///
/// The Hugging Face Hub accepts every such name, and so does OCI after folding to lower case. Case is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

/// A movable name for one manifest of a model, with OCI's grammar: `latest`, `v1.2`, `q4_k_m`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// A user's own name for a publisher: lower-case letters and digits, with `.`, `_`, `-` between them, at most 32 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Petname(String);

/// A publisher as a user names it: by id, by petname, or by domain.
///
/// A text with a dot is read as a domain where it can be one. An earlier version gave petnames with dots: the trust file
/// decides whether the user means one of those.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Publisher {
    Id(PublisherId),
    Petname(Petname),
    Domain(Domain),
}

/// A reference to a model: `publisher/model[:tag][@sha256:…]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Reference {
    pub publisher: Publisher,
    pub model: ModelName,
    pub tag: Option<Tag>,
    pub digest: Option<Digest>,
}

/// Why a text is not a name of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("{text:?} is not a publisher id: 52 characters of a-z and 2-7")]
    PublisherId { text: String },
    #[error(
        "{text:?} is neither a publisher id, nor a petname (lower-case letters, digits, single . _ - between them, at most 32), nor a domain such as acme.org"
    )]
    Publisher { text: String },
    #[error(
        "{text:?} is not a model name: letters, digits and single . _ - between them, at most {MODEL_NAME_CHARS_MAX}"
    )]
    Model { text: String },
    #[error(
        "{text:?} is not a tag: letters, digits, . _ -, at most 128, beginning with a letter, a digit or _"
    )]
    Tag { text: String },
    #[error("{text:?} cannot be a tag, because tools would take it for a digest or a commit")]
    TagLooksLikeDigest { text: String },
    #[error("{text:?} is not a reference of the form publisher/model[:tag][@sha256:…]")]
    Reference { text: String },
    #[error("reference has an invalid digest")]
    Digest(#[from] DigestError),
}

/// Returns `text` for an error message, cut so that a hostile one cannot fill the screen.
fn quoted(text: &str) -> String {
    text.chars().take(80).collect()
}

fn base32() -> Encoding {
    let mut lower = BASE32_NOPAD.specification();
    lower.symbols.make_ascii_lowercase();
    lower.encoding().expect("base32 in lower case is a valid encoding")
}

/// Returns whether `text` is letters and digits with separators between them: a `.`, a `-`, or one or two `_`.
///
/// No separator may be at an end, and no two may be adjacent.
fn is_separated(text: &str, letter: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().copied().is_some_and(letter) && bytes.last().copied().is_some_and(letter);
    let known = bytes.iter().all(|byte| letter(*byte) || b"._-".contains(byte));
    let single = bytes.windows(2).all(|two| letter(two[0]) || letter(two[1]) || two == b"__");
    ends && known && single && !text.contains("___")
}

impl PublisherId {
    /// Length of an id as text, in characters.
    pub const CHARS: usize = 52;

    /// Returns the id with exactly these 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32().encode(&self.0))
    }
}

impl FromStr for PublisherId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError::PublisherId { text: quoted(text) };
        if text.len() != Self::CHARS {
            return Err(refused());
        }
        let bytes = base32().decode(text.as_bytes()).map_err(|_| refused())?;
        bytes.try_into().map(Self).map_err(|_| refused())
    }
}

impl ModelName {
    /// Returns the name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name in lower case. A publisher's model names must differ in this form.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for ModelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = text.len() <= MODEL_NAME_CHARS_MAX
            && is_separated(text, |byte| byte.is_ascii_alphanumeric())
            && !text.to_ascii_lowercase().ends_with(".git");
        if fits { Ok(Self(text.to_owned())) } else { Err(NameError::Model { text: quoted(text) }) }
    }
}

impl Tag {
    /// Returns `latest`, the tag of a reference that names none.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// Returns the tag as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let fits = text.len() <= TAG_CHARS_MAX
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if !fits {
            return Err(NameError::Tag { text: quoted(text) });
        }
        if matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NameError::TagLooksLikeDigest { text: quoted(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

impl Petname {
    /// Returns the petname as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the petname has a dot. Such a name is read as a domain, so no new one is given.
    pub fn has_dot(&self) -> bool {
        self.0.contains('.')
    }
}

impl FromStr for Petname {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if text.len() <= PETNAME_CHARS_MAX && is_separated(text, letter) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Publisher { text: quoted(text) })
        }
    }
}

impl FromStr for Publisher {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) if text.is_ascii() && !text.contains('.') => text.parse().map(Self::Petname),
            Err(_) => match text.parse() {
                Ok(domain) => Ok(Self::Domain(domain)),
                Err(_) => text.parse().map(Self::Petname),
            },
        }
    }
}

impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Petname(petname) => petname.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
        }
    }
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let refused = || NameError::Reference { text: quoted(text) };
        let (publisher, rest) = name.split_once('/').ok_or_else(refused)?;
        let (model, tag) = match rest.split_once(':') {
            Some((model, tag)) => (model, Some(tag.parse()?)),
            None => (rest, None),
        };
        Ok(Self { publisher: publisher.parse()?, model: model.parse()?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.publisher, self.model)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Petname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Implements display, parsing and JSON for a name type, all with the same spelling.
macro_rules! text_form {
    ($($name:ty),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::json::text(deserializer)
            }
        }
    )*};
}

text_form!(PublisherId, ModelName, Tag, Petname, Publisher, Reference);

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";

    #[test]
    fn a_reference_reads_back_what_it_writes() {
        let digest = Digest::of(b"x");
        for text in [
            format!("{ID}/Llama-3-8B"),
            format!("{ID}/Llama-3-8B:latest"),
            format!("acme/tiny@{digest}"),
            format!("acme/tiny:v1.0@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().map(|it| it.to_string()), Ok(text));
        }
        assert_eq!(ID.parse::<PublisherId>().unwrap().as_bytes()[31], 31);
    }

    #[test]
    fn refuses_names_that_another_tool_would_read_differently() {
        for model in
            ["", "-a", "a-", "a..b", "a--b", "a.-b", "a___b", "a/b", "a b", "é", "x.git", &"a".repeat(97)]
        {
            assert!(model.parse::<ModelName>().is_err(), "{model:?}");
        }
        for model in ["a", "a__b", "Llama-3.1-8B_q4", &"a".repeat(96)] {
            assert!(model.parse::<ModelName>().is_ok(), "{model:?}");
        }
        for tag in ["", ".a", "-a", "a/b", &"a".repeat(129), &"a".repeat(40), &"0".repeat(64)] {
            assert!(tag.parse::<Tag>().is_err(), "{tag:?}");
        }
    }

    #[test]
    fn a_petname_never_looks_like_an_id() {
        assert!(ID.parse::<Petname>().is_err());
        assert!(matches!(ID.parse(), Ok(Publisher::Id(_))));
        assert!(matches!("acme".parse(), Ok(Publisher::Petname(_))));
        for (text, shown) in
            [("acme.org", "acme.org"), ("ACME.org", "acme.org"), ("bücher.example", "xn--bcher-kva.example")]
        {
            let read: Publisher = text.parse().unwrap();
            assert!(matches!(read, Publisher::Domain(_)), "{text}");
            assert_eq!(read.to_string(), shown);
        }
        for text in ["v1.5", "a_b.c", "10.0.0.1"] {
            assert!(matches!(text.parse(), Ok(Publisher::Petname(_))), "{text} is no domain");
        }
        let reference: Reference = "Acme.org/Llama:v1".parse().unwrap();
        assert_eq!(reference.to_string(), "acme.org/Llama:v1");
        for text in ["acme.org:443/m", "acme..org/m", "user@acme.org/m"] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        assert!(ID.to_uppercase().parse::<Publisher>().is_err());
        const { assert!(PETNAME_CHARS_MAX < PublisherId::CHARS) };
    }
}
