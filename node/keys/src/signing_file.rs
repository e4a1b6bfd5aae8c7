//! [`SigningFile`]: documents that wait for signatures, in one file that travels between machines.
//!
//! The machine that prepares the file needs no key. A machine that signs it needs no network. Several signers may sign
//! it one after the other. Each machine checks the documents and shows what they say; people decide whether that is
//! what they agreed on.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use reg_api::counted::counted;
use reg_api::declarations::Declarations;
use reg_api::fault::{Fault, FaultKind};
use reg_api::prepared::{Prepared, Signed};
use reg_api::request::PublishRequest;
use reg_api::size::Size;
use reg_proto::catalogue::{CARD_TYPE, Card, TOMBSTONE_TYPE, Tombstone};
use reg_proto::delegation::{DELEGATION_TYPE, Delegation};
use reg_proto::digest::Digest;
use reg_proto::domain::Domain;
use reg_proto::envelope::{Envelope, EnvelopeError, PublicKey};
use reg_proto::json::{self, JsonError};
use reg_proto::key::{Inheritance, KeyDocument, KeyError, KeyHistory, Next, is_key_document};
use reg_proto::limits::KEY_ENVELOPE_BYTES_MAX;
use reg_proto::name::PublisherId;
use reg_proto::profile::{PROFILE_TYPE, Profile};
use reg_proto::provenance::STATEMENT_PAYLOAD_TYPE;
use reg_proto::revocation::{REVOCATION_TYPE, Revocation, Revoked};
use reg_proto::tag::TAG_RECORD_TYPE;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::durable;
use crate::error::SignError;
use crate::oms::bundle;
use crate::publisher_key::check_prepared;
use crate::secret_key::SecretKey;

/// Most bytes of a signing file: a model of 20,000 files, with its bundle.
const SIGNING_FILE_BYTES_MAX: usize = 32 << 20;

/// The form of a signing file.
const FORM: u32 = 1;
/// The form of a signing file with the card of a model.
const FORM_WITH_CARD: u32 = 2;

/// Documents that wait for signatures.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningFile {
    /// The version of the format: [`FORM`], or [`FORM_WITH_CARD`].
    pub signing_file: u32,
    pub publisher: PublisherId,
    /// The publisher's key documents; empty where the first one is to be signed.
    pub key_documents: Vec<String>,
    pub documents: Vec<ToSign>,
    /// The model that the documents publish; `None` where they publish none.
    pub publication: Option<Publication>,
    /// The inheritance list of a new key document, as text; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherits: Option<String>,
    /// The payloads of statements that the list leaves out on purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Digest>,
}

/// One payload, with the signatures that it has so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToSign {
    pub payload_type: String,
    pub payload: String,
    /// The envelope with the signatures so far; `None` before the first.
    pub signed: Option<String>,
}

/// A model that waits for its signatures outside the node that will publish it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    pub request: PublishRequest,
    pub prepared: Prepared,
    /// The OpenSSF bundle, which the first signer makes.
    pub bundle: Option<String>,
}

/// Why a file cannot be signed or used.
#[derive(Debug, Error)]
pub enum SigningError {
    #[error("signing file {path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("signing file {path} cannot be written")]
    Write { path: PathBuf, source: io::Error },
    #[error("signing file cannot be parsed")]
    Json(#[from] JsonError),
    #[error("signing file is of form {found}, and this version knows forms {FORM} and {FORM_WITH_CARD}")]
    Form { found: u32 },
    #[error("key {key} is not one of those that may sign this file")]
    NotAsked { key: PublicKey },
    #[error("signing file has a document of type {payload_type:?}, which is not signed by signing files")]
    Type { payload_type: String },
    #[error("signing file is about publisher {expected}, and has a document of publisher {found}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("signing file has documents that are not those of its model")]
    OtherModel,
    #[error("key document in the signing file is refused")]
    Key(#[from] KeyError),
    #[error("key documents in the signing file are refused")]
    Keys(#[source] KeyError),
    #[error("envelope in the signing file is refused")]
    Envelope(#[from] EnvelopeError),
    #[error("signing file has an envelope with a payload that differs from the document beside it")]
    OtherPayload,
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("signing file has {have} of the {threshold} signatures that are needed")]
    Unfinished { have: usize, threshold: usize },
    #[error("signing file does not publish a model")]
    NoModel,
}

impl Fault for SigningError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => FaultKind::NotFound,
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => FaultKind::DiskFull,
            Self::Read { .. } | Self::Write { .. } => FaultKind::Internal,
            Self::Json(_) | Self::Form { .. } | Self::Type { .. } | Self::NoModel => FaultKind::Invalid,
            Self::NotAsked { .. } | Self::Unfinished { .. } => FaultKind::Denied,
            Self::Sign(source) => source.kind(),
            _ => FaultKind::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unfinished { .. } => Some("let others sign it: reg sign FILE --key NAME".to_owned()),
            Self::Sign(source) => source.hint(),
            _ => None,
        }
    }
}

impl SigningFile {
    /// Returns a file without documents.
    pub const fn new(publisher: PublisherId, key_documents: Vec<String>) -> Self {
        Self {
            signing_file: FORM,
            publisher,
            key_documents,
            documents: Vec::new(),
            publication: None,
            inherits: None,
            left_out: Vec::new(),
        }
    }

    /// Returns the file of a prepared model.
    pub fn of_publication(request: PublishRequest, prepared: Prepared) -> Self {
        let mut file = Self::new(prepared.publisher, request.key_documents.clone());
        file.add(STATEMENT_PAYLOAD_TYPE, prepared.provenance.clone());
        file.add(TAG_RECORD_TYPE, prepared.tag_record.clone());
        if let Some(attestation) = &prepared.attestation {
            file.add(STATEMENT_PAYLOAD_TYPE, attestation.clone());
        }
        if let Some(card) = &prepared.card {
            // A version before cards would take it for a document of another model.
            file.signing_file = FORM_WITH_CARD;
            file.add(CARD_TYPE, card.clone());
        }
        file.publication = Some(Publication { request, prepared, bundle: None });
        file
    }

    /// Adds a payload that must be signed.
    pub fn add(&mut self, payload_type: &str, payload: String) {
        self.documents.push(ToSign { payload_type: payload_type.to_owned(), payload, signed: None });
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is not a signing file.
    pub fn read(path: &Path) -> Result<Self, SigningError> {
        let failed = |source| SigningError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let bytes = durable::read(&file, SIGNING_FILE_BYTES_MAX).map_err(failed)?;
        let file: Self = json::from_slice(&bytes, SIGNING_FILE_BYTES_MAX)?;
        if !(FORM..=FORM_WITH_CARD).contains(&file.signing_file) {
            return Err(SigningError::Form { found: file.signing_file });
        }
        Ok(file)
    }

    /// Writes the file, and replaces an existing file of that name.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), SigningError> {
        durable::replace(path, &json::to_vec(self))
            .map_err(|source| SigningError::Write { path: path.to_owned(), source })
    }

    /// Checks that all documents belong together and to one publisher. Returns what they say, one line for each.
    ///
    /// # Errors
    /// A document cannot be parsed or is another publisher's, or the documents contradict each other.
    pub fn describe(&self) -> Result<Vec<String>, SigningError> {
        if let Some(Publication { request, prepared, .. }) = &self.publication {
            let history = self.history()?;
            let history = history.as_ref().ok_or(KeyError::Empty)?;
            check_prepared(prepared, self.publisher, history.version())?;
            let expected = [&prepared.provenance, &prepared.tag_record]
                .into_iter()
                .chain(&prepared.attestation)
                .chain(&prepared.card);
            let same = self.documents.iter().map(|it| &it.payload).eq(expected)
                && (&request.model, &request.tag) == (&prepared.model, &prepared.tag)
                && request.key_documents == self.key_documents;
            if !same {
                return Err(SigningError::OtherModel);
            }
            let Prepared { model, tag, files, bytes, manifest, .. } = prepared;
            let (files, bytes) = (counted(*files, "file"), Size(*bytes));
            let mut lines = vec![format!("publish {model}:{tag}: {files}, {bytes}, {manifest}")];
            if let Some(card) = &prepared.card {
                lines.extend(describe_card(&Card::from_payload(card.as_bytes())?));
            }
            return Ok(lines);
        }
        self.documents.iter().map(|document| self.describe_one(document)).collect()
    }

    fn describe_one(&self, document: &ToSign) -> Result<String, SigningError> {
        let bytes = document.payload.as_bytes();
        let own = |found: PublisherId| {
            if found == self.publisher {
                Ok(())
            } else {
                Err(SigningError::OtherPublisher { found, expected: self.publisher })
            }
        };
        match document.payload_type.as_str() {
            payload_type if is_key_document(payload_type) => self.describe_key_document(payload_type, bytes),
            REVOCATION_TYPE => {
                let Revocation { publisher, subject, reason, .. } = Revocation::from_payload(bytes)?;
                own(publisher)?;
                let what = match subject {
                    Revoked::Key(key) => format!("key {key}"),
                    Revoked::Manifest(digest) => format!("manifest {digest}"),
                    Revoked::Delegation(digest) => format!("delegation {digest}"),
                };
                Ok(format!("revoke {what} for ever: {:?}", reason.as_str()))
            }
            DELEGATION_TYPE => {
                let Delegation { publisher, models, to, expires, .. } = Delegation::from_payload(bytes)?;
                own(publisher)?;
                Ok(format!("let {to} speak for {models} until {expires} (seconds since 1970)"))
            }
            PROFILE_TYPE => {
                let Profile { publisher, seq, domain, title, url, .. } = Profile::from_payload(bytes)?;
                own(publisher)?;
                let said = |what: &str, text: Option<String>| text.map(|it| format!(", {what} {it}"));
                let parts = [
                    said("domain", domain.as_ref().map(Domain::shown)),
                    said("title", title.map(|it| it.to_string())),
                    said("page", url.map(|it| it.to_string())),
                ];
                Ok(format!("profile {seq}{}", parts.into_iter().flatten().collect::<String>()))
            }
            TOMBSTONE_TYPE => {
                let Tombstone { publisher, model, tag, seq, .. } = Tombstone::from_payload(bytes)?;
                own(publisher)?;
                Ok(format!("take {model}:{tag}, up to number {seq}, out of catalogues"))
            }
            _ => Err(SigningError::Type { payload_type: document.payload_type.clone() }),
        }
    }

    fn describe_key_document(&self, payload_type: &str, bytes: &[u8]) -> Result<String, SigningError> {
        let document = KeyDocument::from_payload(payload_type, bytes)?;
        let KeyDocument { version, keys, threshold, floor, next, inherits, .. } = document;
        let list =
            self.inherits.as_deref().map(Inheritance::from_text).transpose().map_err(KeyError::from)?;
        if list.as_ref().map(Inheritance::digest) != inherits {
            return Err(KeyError::OtherInheritance { version }.into());
        }
        let keys: Vec<String> = keys.iter().map(PublicKey::to_string).collect();
        let floor = floor.map_or_else(String::new, |floor| format!(", numbers from {floor} on"));
        let next = match next {
            Next::Open => String::new(),
            Next::KeySet(_) => ", committed to the next keys".to_owned(),
            Next::Keys(next) => format!(", next {} of {} committed keys", next.threshold, next.keys.len()),
        };
        let list = list.map_or_else(String::new, |list| {
            format!(", takes over {} statements of older keys", list.payloads().len())
        });
        Ok(format!("key document {version}: {threshold} of {}{floor}{next}{list}", keys.join(", ")))
    }

    /// Returns the keys that may sign any of the documents.
    ///
    /// # Errors
    /// A document cannot be parsed.
    pub fn wanted(&self) -> Result<Vec<PublicKey>, SigningError> {
        let history = self.history()?;
        let mut wanted: Vec<PublicKey> = Vec::new();
        for document in &self.documents {
            let bytes = document.payload.as_bytes();
            if is_key_document(&document.payload_type) {
                wanted.extend(self.key_sets_of(document, history.as_ref())?.into_iter().flat_map(|it| it.0));
                continue;
            }
            wanted.extend(history.iter().flat_map(|it| it.newest().keys.iter().copied()));
            if document.payload_type == REVOCATION_TYPE {
                wanted.extend(Revocation::from_payload(bytes)?.subject.key());
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        Ok(wanted)
    }

    /// Returns the signed declarations for the registry, and the publisher's key documents with the new one where there
    /// is one.
    ///
    /// # Errors
    /// Signatures are missing, or a new key document does not continue the last one.
    pub fn declarations(&self) -> Result<(KeyHistory, Declarations), SigningError> {
        let mut declarations =
            Declarations { key_documents: self.key_documents.clone(), ..Declarations::default() };
        for (document, envelope) in self.documents.iter().zip(self.finished()?) {
            match document.payload_type.as_str() {
                payload_type if is_key_document(payload_type) => {
                    declarations.key_documents.retain(|text| !Inheritance::is_text(text));
                    declarations.key_documents.push(envelope);
                    declarations.key_documents.extend(self.inherits.clone());
                }
                REVOCATION_TYPE => declarations.revocations.push(envelope),
                DELEGATION_TYPE => declarations.delegations.push(envelope),
                PROFILE_TYPE => declarations.profiles.push(envelope),
                TOMBSTONE_TYPE => declarations.tombstones.push(envelope),
                _ => return Err(SigningError::Type { payload_type: document.payload_type.clone() }),
            }
        }
        let history = KeyHistory::read(&declarations.key_documents).map_err(SigningError::Keys)?;
        Ok((history, declarations))
    }

    /// Adds the signatures of one key to every document, after [`SigningFile::describe`] has accepted them.
    ///
    /// # Errors
    /// As [`SigningFile::describe`], or the key may sign none of the documents.
    pub fn sign(&mut self, key: &SecretKey) -> Result<(), SigningError> {
        self.describe()?;
        let public = key.public_key();
        let history = self.history()?;
        for index in 0..self.documents.len() {
            let document = &self.documents[index];
            let asked = match (document.payload_type.as_str(), &history) {
                (payload_type, _) if is_key_document(payload_type) => {
                    let sets = self.key_sets_of(document, history.as_ref())?;
                    sets.iter().any(|(keys, _)| keys.contains(&public))
                }
                // A key may revoke itself even after it was rotated away.
                (REVOCATION_TYPE, Some(history)) => {
                    let revocation = Revocation::from_payload(document.payload.as_bytes())?;
                    revocation.subject == Revoked::Key(public) || history.newest().keys.contains(&public)
                }
                (_, Some(history)) => history.newest().keys.contains(&public),
                (_, None) => false,
            };
            if !asked {
                return Err(SigningError::NotAsked { key: public });
            }
            let document = &mut self.documents[index];
            let mut envelope = document.envelope()?;
            let signature = key.sign(&envelope.payload_type, &envelope.payload).map_err(SignError::from)?;
            envelope.add(&public, signature);
            document.signed = Some(envelope.to_json());
        }
        if let Some(publication) = &mut self.publication
            && publication.bundle.is_none()
        {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *seed).map_err(SignError::from)?;
            let bundle = bundle::make(key, &publication.prepared, &seed).map_err(SignError::from)?;
            publication.bundle = Some(bundle);
        }
        Ok(())
    }

    /// Returns whether any document has a signature.
    pub fn is_signed(&self) -> bool {
        self.documents.iter().any(|it| it.signed.is_some())
    }

    /// Returns the key document that waits for signatures; `None` where the file has none.
    ///
    /// # Errors
    /// It cannot be parsed.
    pub fn key_document(&self) -> Result<Option<KeyDocument>, SigningError> {
        let document = self.documents.iter().find(|it| is_key_document(&it.payload_type));
        let read = document.map(|it| KeyDocument::from_payload(&it.payload_type, it.payload.as_bytes()));
        Ok(read.transpose()?)
    }

    /// Returns the publisher's key documents; `None` where the first one is to be signed.
    ///
    /// # Errors
    /// They do not verify, or are another publisher's.
    pub fn history(&self) -> Result<Option<KeyHistory>, SigningError> {
        if self.key_documents.is_empty() {
            return Ok(None);
        }
        let keys = KeyHistory::read(&self.key_documents).map_err(SigningError::Keys)?;
        if keys.publisher() != self.publisher {
            let (found, expected) = (keys.publisher(), self.publisher);
            return Err(SigningError::OtherPublisher { found, expected });
        }
        Ok(Some(keys))
    }

    /// Returns the key sets that must sign a document, each with its threshold.
    fn key_sets_of(
        &self,
        document: &ToSign,
        history: Option<&KeyHistory>,
    ) -> Result<Vec<(Vec<PublicKey>, usize)>, SigningError> {
        let newest = history.map(KeyHistory::newest);
        let old = newest.map(|it| (it.keys.clone(), it.threshold));
        if !is_key_document(&document.payload_type) {
            return Ok(old.into_iter().collect());
        }
        let new = KeyDocument::from_payload(&document.payload_type, document.payload.as_bytes())?;
        let before = match newest.and_then(|it| it.next.keys()) {
            // The keys that were committed to sign in place of the old ones.
            Some(next) => {
                let revealed = new.keys.iter().filter(|key| next.names(key)).copied().collect();
                Some((revealed, next.threshold))
            }
            None => old,
        };
        Ok(before.into_iter().chain([(new.keys, new.threshold)]).collect())
    }

    /// Returns the envelopes of the documents, once enough keys have signed.
    ///
    /// # Errors
    /// Signatures are missing.
    pub fn finished(&self) -> Result<Vec<String>, SigningError> {
        let history = self.history()?;
        let mut envelopes = Vec::new();
        for document in &self.documents {
            let envelope = document.envelope()?;
            let key_sets = self.key_sets_of(document, history.as_ref())?;
            let alone = Revocation::from_payload(document.payload.as_bytes());
            let itself = alone.is_ok_and(
                |it| matches!(it.subject, Revoked::Key(key) if !envelope.signers(&[key]).is_empty()),
            );
            for (keys, threshold) in key_sets.iter().filter(|_| !itself) {
                let (have, threshold) = (envelope.signers(keys).len(), *threshold);
                if have < threshold {
                    return Err(SigningError::Unfinished { have, threshold });
                }
            }
            envelopes.push(envelope.to_json());
        }
        Ok(envelopes)
    }

    /// Returns everything that is needed to publish the model, once it is signed.
    ///
    /// # Errors
    /// Signatures are missing, or the file does not publish a model.
    pub fn publication(self) -> Result<(PublishRequest, Prepared, Signed), SigningError> {
        let mut envelopes = self.finished()?.into_iter();
        let Some(Publication { request, prepared, bundle }) = self.publication else {
            return Err(SigningError::NoModel);
        };
        let missing = SigningError::Unfinished { have: 0, threshold: 1 };
        let (Some(provenance), Some(tag_record), Some(bundle)) = (envelopes.next(), envelopes.next(), bundle)
        else {
            return Err(missing);
        };
        let signed = Signed {
            provenance,
            tag_record,
            key_documents: self.key_documents,
            bundle,
            attestation: prepared.attestation.as_ref().and_then(|_| envelopes.next()),
            card: prepared.card.as_ref().and_then(|_| envelopes.next()),
        };
        Ok((request, prepared, signed))
    }
}

/// Returns what a card claims; `None` where it claims nothing.
fn describe_card(card: &Card) -> Option<String> {
    let claimed = &card.claimed;
    let said = [
        ("title", &claimed.title),
        ("task", &claimed.task),
        ("licence", &claimed.licence),
        ("derived from", &claimed.base),
        ("summary", &claimed.summary),
    ];
    let said =
        said.into_iter().filter_map(|(what, text)| Some(format!("{what} {:?}", text.as_ref()?.as_str())));
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| format!("claim in lists and searches: {}", said.join(", ")))
}

impl ToSign {
    fn envelope(&self) -> Result<Envelope, SigningError> {
        let Some(signed) = &self.signed else {
            return Ok(Envelope::unsigned(&self.payload_type, self.payload.clone().into_bytes()));
        };
        let envelope = Envelope::from_bytes(signed.as_bytes(), signed.len().max(KEY_ENVELOPE_BYTES_MAX))?;
        if envelope.payload_type != self.payload_type || envelope.payload != self.payload.as_bytes() {
            return Err(SigningError::OtherPayload);
        }
        Ok(envelope)
    }
}
