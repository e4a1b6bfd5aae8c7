//! [`DomainRecord`]: what a domain says: a publisher, and peers to ask first. As a file of a web server, or as a TXT record.
//!
//! Nothing in it is signed. It is a hint that the publisher's signed [profile](crate::profile) confirms.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounded::Bounded;
use crate::json::{self, JsonError};
use crate::limits::{DOMAIN_FILE_BYTES_MAX, DOMAIN_PEERS_MAX, DOMAIN_TXT_BYTES_MAX};
use crate::name::PublisherId;
use crate::peer::Address;

/// The version of both forms.
const VERSION: u32 = 1;
/// Begins the TXT record of this version.
const TXT_PREFIX: &str = "reg=";

/// What a domain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRecord {
    pub publisher: PublisherId,
    pub peers: Bounded<Address, DOMAIN_PEERS_MAX>,
}

/// Why a text is not a domain's record.
#[derive(Debug, Error)]
pub enum DomainRecordError {
    #[error("document is refused")]
    Json(#[from] JsonError),
    #[error("version {found} of the form is not known, only {VERSION}")]
    Version { found: String },
    #[error("TXT record has {length} bytes, at most {DOMAIN_TXT_BYTES_MAX} are allowed")]
    TooLong { length: usize },
    #[error("{count} TXT records begin with {TXT_PREFIX}, and none counts where there are several")]
    Several { count: usize },
    #[error("TXT record names no publisher, or more than one")]
    Publisher,
    #[error("TXT record has the word {word:?}, which is not of the form id=PUBLISHER or peer=ADDRESS")]
    Word { word: String },
    #[error("TXT record names more than {DOMAIN_PEERS_MAX} peers")]
    Peers,
}

/// The version of a document, whatever else it has.
#[derive(Deserialize)]
struct Versioned {
    reg: u32,
}

/// The form of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    reg: u32,
    publisher: PublisherId,
    peers: Bounded<Address, DOMAIN_PEERS_MAX>,
}

impl DomainRecord {
    /// Parses the file `reg.json` of a web server.
    ///
    /// # Errors
    /// If it is not JSON of this form and version.
    pub fn from_file(bytes: &[u8]) -> Result<Self, DomainRecordError> {
        let Versioned { reg } = json::from_slice(bytes, DOMAIN_FILE_BYTES_MAX)?;
        if reg != VERSION {
            return Err(DomainRecordError::Version { found: reg.to_string() });
        }
        let File { reg: _, publisher, peers } = json::from_slice(bytes, DOMAIN_FILE_BYTES_MAX)?;
        Ok(Self { publisher, peers })
    }

    /// Returns the file.
    pub fn to_file(&self) -> String {
        let file = File { reg: VERSION, publisher: self.publisher, peers: self.peers.clone() };
        String::from_utf8(json::to_vec(&file)).expect("JSON is UTF-8")
    }

    /// Returns what the TXT records of one name say; `None` where none of them is meant for this project.
    ///
    /// # Errors
    /// If one that is meant for it is not of this form and version, or if there are several.
    pub fn from_txt<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Option<Self>, DomainRecordError> {
        let meant: Vec<&str> = texts.into_iter().filter(|it| it.starts_with(TXT_PREFIX)).collect();
        match meant.as_slice() {
            [] => Ok(None),
            [text] => Self::of_text(text).map(Some),
            several => Err(DomainRecordError::Several { count: several.len() }),
        }
    }

    fn of_text(text: &str) -> Result<Self, DomainRecordError> {
        if text.len() > DOMAIN_TXT_BYTES_MAX {
            return Err(DomainRecordError::TooLong { length: text.len() });
        }
        let mut words = text.split_ascii_whitespace();
        let version = words.next().and_then(|it| it.strip_prefix(TXT_PREFIX)).unwrap_or_default();
        if version != VERSION.to_string() {
            return Err(DomainRecordError::Version { found: version.chars().take(20).collect() });
        }
        let (mut publisher, mut peers): (Option<PublisherId>, Vec<Address>) = (None, Vec::new());
        for word in words {
            let unknown = || DomainRecordError::Word { word: word.chars().take(80).collect() };
            match word.split_once('=').ok_or_else(unknown)? {
                ("id", id) if publisher.is_none() => publisher = Some(id.parse().map_err(|_| unknown())?),
                ("id", _) => return Err(DomainRecordError::Publisher),
                ("peer", address) => peers.push(address.parse().map_err(|_| unknown())?),
                _ => return Err(unknown()),
            }
        }
        Ok(Self {
            publisher: publisher.ok_or(DomainRecordError::Publisher)?,
            peers: Bounded::try_from(peers).map_err(|_| DomainRecordError::Peers)?,
        })
    }

    /// Returns the text of the TXT record, with as many of the peers as there is room for.
    pub fn to_txt(&self) -> String {
        let mut text = format!("{TXT_PREFIX}{VERSION} id={}", self.publisher);
        for peer in self.peers.iter() {
            let word = format!(" peer={peer}");
            if text.len() + word.len() <= DOMAIN_TXT_BYTES_MAX {
                text.push_str(&word);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "/ip4/198.51.100.7/tcp/4600/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

    fn record(peers: usize) -> DomainRecord {
        let peers = vec![PEER.parse().unwrap(); peers];
        DomainRecord { publisher: PublisherId::from_bytes([7; 32]), peers: Bounded::first_of(peers) }
    }

    #[test]
    fn both_forms_read_back_what_they_write() {
        for peers in [0, 1, 3] {
            let record = record(peers);
            assert_eq!(DomainRecord::from_file(record.to_file().as_bytes()).unwrap(), record);
            let text = record.to_txt();
            assert_eq!(DomainRecord::from_txt(["v=spf1 -all", &text]).unwrap(), Some(record));
        }
        assert!(record(DOMAIN_PEERS_MAX).to_txt().len() <= DOMAIN_TXT_BYTES_MAX);
        assert_eq!(DomainRecord::from_txt(["v=spf1 -all"]).unwrap(), None);
    }

    #[test]
    fn a_file_of_another_form_is_refused_with_its_reason() {
        let text = record(1).to_file();
        let read = |text: &str| DomainRecord::from_file(text.as_bytes());
        let later = text.replace(r#""reg":1"#, r#""reg":2,"more":[]"#);
        assert!(matches!(read(&later), Err(DomainRecordError::Version { .. })), "{later}");
        for (from, to) in [
            (r#""reg":1"#, r#""reg":1,"more":[]"#),
            (r#""reg":1,"#, ""),
            (r#""reg":1"#, r#""reg":1,"reg":1"#),
            (&format!(r#","peers":["{PEER}"]"#), ""),
            (&format!(r#"["{PEER}"]"#), &format!("[{}]", vec![format!("\"{PEER}\""); 17].join(","))),
            (PEER, "198.51.100.7"),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text, "{from}");
            assert!(matches!(read(&other), Err(DomainRecordError::Json(_))), "{other}");
        }
        let long = format!("{text}{}", " ".repeat(DOMAIN_FILE_BYTES_MAX));
        assert!(matches!(read(&long), Err(DomainRecordError::Json(JsonError::TooLarge { .. }))));
    }

    #[test]
    fn a_txt_record_of_another_form_is_refused_with_its_reason() {
        let text = record(1).to_txt();
        let read = |text: &str| DomainRecord::from_txt([text]);
        assert!(matches!(read(&text.replace("reg=1", "reg=2")), Err(DomainRecordError::Version { .. })));
        assert!(matches!(read("reg=1"), Err(DomainRecordError::Publisher)));
        let twice = format!("{text} id={}", PublisherId::from_bytes([8; 32]));
        assert!(matches!(read(&twice), Err(DomainRecordError::Publisher)));
        for word in ["x", "x=1", "id=x", "peer=x", "id", "peer"] {
            assert!(read(&format!("{text} {word}")).is_err(), "{word}");
        }
        let many = format!("{text}{}", " peer=/x".repeat(DOMAIN_PEERS_MAX));
        assert!(matches!(read(&many), Err(DomainRecordError::Peers)));
        let long = format!("{text} peer=/{}", "x".repeat(DOMAIN_TXT_BYTES_MAX));
        assert!(matches!(read(&long), Err(DomainRecordError::TooLong { .. })));
        let several = DomainRecord::from_txt([text.as_str(), text.as_str()]);
        assert!(matches!(several, Err(DomainRecordError::Several { count: 2 })));
    }
}
