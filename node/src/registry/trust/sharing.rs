//! [`Sharing`]: the publishers of which this node accepts models, and the models that it shares.
//!
//! A model that is not shared does not exist for peers: they get neither its tags, its documents nor its pieces, and
//! the node announces it neither in the DHT nor by gossip. Bytes that belong to a shared model as well are shared.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, NameError, Publisher, PublisherId};
use thiserror::Error;

use super::Trust;
use super::file::{TrustError, TrustFile};
use crate::registry::limits::GIVEN_FRESH;
use crate::registry::model::record::ModelRecord;

/// The names in the configuration. A missing list allows every name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharingRules {
    /// The publishers of which this node accepts models.
    pub publishers: Option<Vec<Publisher>>,
    /// The models that this node shares with peers.
    pub share: Option<Vec<ModelPattern>>,
}

/// `PUBLISHER/MODEL`, either with `*` for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPattern {
    /// The publisher; `None` for all publishers.
    publisher: Option<Publisher>,
    /// The pattern of model names, in lower case.
    model: String,
}

/// Why a text is not a pattern of models.
#[derive(Debug, Error)]
pub enum PatternError {
    #[error("{text:?} is not PUBLISHER/MODEL, as in acme/llama-* or */*")]
    Shape { text: String },
    #[error("{text:?} does not begin with a publisher or *")]
    Publisher { text: String, source: NameError },
}

impl fmt::Display for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.publisher {
            Some(publisher) => write!(f, "{publisher}/{}", self.model),
            None => write!(f, "*/{}", self.model),
        }
    }
}

impl FromStr for ModelPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (publisher, model) =
            text.split_once('/').ok_or_else(|| PatternError::Shape { text: text.to_owned() })?;
        let is_fit = |it: char| it.is_ascii_alphanumeric() || "*._-".contains(it);
        if model.is_empty() || !model.chars().all(is_fit) {
            return Err(PatternError::Shape { text: text.to_owned() });
        }
        let publisher = match publisher {
            "*" => None,
            name => Some(
                name.parse().map_err(|source| PatternError::Publisher { text: text.to_owned(), source })?,
            ),
        };
        Ok(Self { publisher, model: model.to_ascii_lowercase() })
    }
}

/// The rules of sharing, with petnames replaced by ids.
#[derive(Debug, Clone, Default)]
pub struct Sharing {
    publishers: Option<BTreeSet<PublisherId>>,
    share: Option<Vec<(Option<PublisherId>, String)>>,
}

impl Sharing {
    /// Returns the rules, with each petname replaced by the id that it means now.
    pub fn new(rules: &SharingRules, trust: &TrustFile) -> Result<Self, TrustError> {
        let publishers = rules.publishers.as_ref();
        let publishers =
            publishers.map(|all| all.iter().map(|it| trust.resolve(it)).collect()).transpose()?;
        let resolve = |pattern: &ModelPattern| {
            let publisher = pattern.publisher.as_ref().map(|it| trust.resolve(it)).transpose()?;
            Ok((publisher, pattern.model.clone()))
        };
        let share = rules.share.as_ref().map(|all| all.iter().map(resolve).collect()).transpose()?;
        Ok(Self { publishers, share })
    }

    /// Tells whether this node accepts models of a publisher.
    pub fn takes(&self, publisher: &PublisherId) -> bool {
        self.publishers.as_ref().is_none_or(|all| all.contains(publisher))
    }

    /// Tells whether this node may share and announce a model.
    pub fn gives(&self, publisher: &PublisherId, model: &ModelName) -> bool {
        let matches = |(of, pattern): &(Option<PublisherId>, String)| {
            of.as_ref().is_none_or(|of| of == publisher)
                && is_match(pattern.as_bytes(), model.folded().as_bytes())
        };
        self.takes(publisher) && self.share.as_ref().is_none_or(|all| all.iter().any(matches))
    }

    /// Tells whether this node shares every model, so that no blob needs to be checked.
    pub fn gives_all(&self) -> bool {
        self.publishers.is_none() && self.share.is_none()
    }
}

/// The digests of all shared blobs, and the time at which they were gathered.
pub(super) type Given = Option<(Instant, BTreeSet<Digest>)>;

impl Trust {
    /// Tells whether some bytes belong to a shared model.
    pub fn gives_blob(&self, blob: &Digest) -> bool {
        if self.sharing.gives_all() {
            return true;
        }
        let mut given = self.given.lock().expect("no holder of this lock panics");
        match given.as_ref() {
            Some((since, blobs)) if since.elapsed() < GIVEN_FRESH => blobs.contains(blob),
            _ => {
                let records = ModelRecord::all(&self.store).unwrap_or_default();
                let records = records.iter().filter(|(_, it)| self.sharing.gives(&it.publisher, &it.model));
                let blobs: BTreeSet<Digest> =
                    records.flat_map(|(manifest, it)| it.blobs.iter().chain([manifest])).copied().collect();
                let gives = blobs.contains(blob);
                *given = Some((Instant::now(), blobs));
                gives
            }
        }
    }
}

/// Matches a text against a pattern in which `*` stands for any run of characters. It backtracks only to the last `*`,
/// so no pattern takes long.
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut of, mut star) = (0, 0, None);
    while of < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(byte) if *byte == text[of] => {
                at += 1;
                of += 1;
            }
            _ => match star {
                Some((back, matched)) => {
                    star = Some((back, matched + 1));
                    at = back + 1;
                    of = matched + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at.min(pattern.len())..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher(byte: u8) -> PublisherId {
        PublisherId::from_bytes([byte; 32])
    }

    #[test]
    fn the_table_of_what_is_taken_and_given() {
        let trust = TrustFile::open("nowhere".into());
        let (acme, other) = (publisher(1), publisher(2));
        let model = |name: &str| name.parse::<ModelName>().unwrap();
        let all = Sharing::default();
        assert!(all.takes(&acme) && all.gives(&acme, &model("x")) && all.gives_all());
        let rules = SharingRules {
            publishers: Some(vec![Publisher::Id(acme)]),
            share: Some(vec![format!("{acme}/llama-*").parse().unwrap(), "*/tiny".parse().unwrap()]),
        };
        let sharing = Sharing::new(&rules, &trust).unwrap();
        for (of, name, takes, gives) in [
            (acme, "llama-3", true, true),
            (acme, "Llama-3-8B", true, true),
            (acme, "my-llama-3", true, false),
            (acme, "tiny", true, true),
            (acme, "tiny2", true, false),
            (other, "tiny", false, false),
            (other, "llama-3", false, false),
        ] {
            assert_eq!((sharing.takes(&of), sharing.gives(&of, &model(name))), (takes, gives), "{name}");
        }
        let nothing =
            Sharing::new(&SharingRules { publishers: None, share: Some(Vec::new()) }, &trust).unwrap();
        assert!(nothing.takes(&acme) && !nothing.gives(&acme, &model("x")) && !nothing.gives_all());
    }

    #[test]
    fn patterns_match_as_people_mean_them() {
        for (pattern, text, expected) in [
            ("*", "anything", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a*b*c", "a1b2b3c", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("**", "", true),
            ("*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        for text in ["acme", "acme/", "acme/a b", "/x", "Acme!/x"] {
            assert!(text.parse::<ModelPattern>().is_err(), "{text}");
        }
    }
}
