//! [`KeyHistory`]: the verified key documents of a publisher, and its revocations.

use std::collections::BTreeSet;

use super::document::{KeyDocument, KeyError};
use super::inheritance::Inheritance;
use crate::digest::Digest;
use crate::envelope::{Envelope, PublicKey, SignatureError};
use crate::json;
use crate::limits::{
    INHERITANCE_GOSSIPED_BYTES_MAX, KEY_DOCUMENTS_MAX, KEY_ENVELOPE_BYTES_MAX, KEY_HISTORY_BYTES_MAX,
};
use crate::name::PublisherId;
use crate::naming::chain::{self, Chain, SeqError, Standing};
use crate::revocation::{Revocation, Revocations, Revoked};

/// The key documents of one publisher, and its revocations. A value of this type proves that every step is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHistory {
    publisher: PublisherId,
    chain: Chain,
    envelopes: Vec<String>,
    /// The text of the inheritance list, where it is known.
    list: Option<String>,
    revocations: Revocations,
}

impl KeyHistory {
    /// Verifies `texts`: the key documents of `publisher` from the first on, and after them the inheritance list that the
    /// newest one names. The list may be missing; then nothing counts that older documents have signed.
    ///
    /// # Errors
    /// If the first document is another publisher's, a version is missing, a signature is wrong, keys differ from a
    /// commitment, or the list is another one.
    pub fn verify(publisher: PublisherId, texts: &[String]) -> Result<Self, KeyError> {
        let (envelopes, list) = match texts.split_last() {
            Some((last, envelopes)) if Inheritance::is_text(last) => (envelopes, Some(last)),
            _ => (texts, None),
        };
        if envelopes.len() > KEY_DOCUMENTS_MAX {
            return Err(KeyError::TooMany { count: envelopes.len() });
        }
        let mut chain: Option<Chain> = None;
        for text in envelopes {
            let envelope = Envelope::from_bytes(text.as_bytes(), KEY_ENVELOPE_BYTES_MAX)?;
            let document = KeyDocument::from_payload(&envelope.payload_type, &envelope.payload)?;
            let digest = Digest::of(&envelope.payload);
            let before = chain.as_ref().map(Chain::newest);
            if before.is_none() {
                check_publisher(publisher, digest)?;
            }
            let candidates = chain::signers_that_matter(before, &document);
            let signers: BTreeSet<PublicKey> = envelope.signers(&candidates).into_iter().collect();
            match &mut chain {
                None => chain = Some(Chain::begin(document, digest, &signers)?),
                Some(chain) => chain.extend(document, digest, &signers)?,
            }
        }
        let mut chain = chain.ok_or(KeyError::Empty)?;
        if let Some(list) = list {
            chain.inherit(Inheritance::from_text(list)?)?;
        }
        let (envelopes, list) = (envelopes.to_vec(), list.cloned());
        Ok(Self { publisher, chain, envelopes, list, revocations: Revocations::default() })
    }

    /// Verifies `texts` as the documents of the publisher that the first of them names: its id is the digest of the first
    /// payload.
    ///
    /// # Errors
    /// No document, or documents that do not follow each other.
    pub fn read(texts: &[String]) -> Result<Self, KeyError> {
        let first = texts.first().ok_or(KeyError::Empty)?;
        let envelope = Envelope::from_bytes(first.as_bytes(), KEY_ENVELOPE_BYTES_MAX)?;
        Self::verify(publisher_id(&envelope.payload), texts)
    }

    /// Verifies `texts` as the documents of `publisher`, and adds those of `revocations` that are its own.
    ///
    /// # Errors
    /// As [`Self::verify`]. Revocations that do not verify are skipped.
    pub fn verify_with<'a>(
        publisher: PublisherId,
        texts: &[String],
        revocations: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, KeyError> {
        let mut keys = Self::verify(publisher, texts)?;
        keys.take_revocations(revocations);
        Ok(keys)
    }

    /// Verifies the documents of `publisher` in a JSON array, as they travel beside a manifest and are stored.
    ///
    /// # Errors
    /// If `text` is not such an array or is too long, and for everything that [`Self::verify`] refuses.
    pub fn from_json(publisher: PublisherId, text: &[u8]) -> Result<Self, KeyError> {
        Self::verify(publisher, &texts_in(text)?)
    }

    /// Verifies a JSON array as the documents of the publisher that the first of them names.
    ///
    /// # Errors
    /// If `text` is not such an array or is too long, and for everything that [`Self::read`] refuses.
    pub fn read_json(text: &[u8]) -> Result<Self, KeyError> {
        Self::read(&texts_in(text)?)
    }

    /// Returns the texts as a JSON array, which [`Self::from_json`] and [`Self::read_json`] read.
    pub fn to_json(&self) -> String {
        String::from_utf8(json::to_vec(&self.texts())).expect("JSON is UTF-8")
    }

    /// Returns the envelopes of the documents, the first document's first, and then the inheritance list, where it is
    /// known: what [`Self::verify`] takes.
    pub fn texts(&self) -> Vec<String> {
        self.envelopes.iter().chain(&self.list).cloned().collect()
    }

    /// Returns the texts as [`Self::texts`] does, without an inheritance list that is too long for gossip. A peer that misses
    /// the list asks for the publisher's records.
    pub fn short_texts(&self) -> Vec<String> {
        let list = self.list.iter().filter(|text| text.len() <= INHERITANCE_GOSSIPED_BYTES_MAX);
        self.envelopes.iter().chain(list).cloned().collect()
    }

    /// Returns the publisher's id.
    pub const fn publisher(&self) -> PublisherId {
        self.publisher
    }

    /// Returns the documents with the rules between them.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Returns the newest document's version.
    pub fn version(&self) -> u64 {
        self.chain.version()
    }

    /// Returns the digest of the newest document's payload.
    pub fn head(&self) -> Digest {
        self.chain.head()
    }

    /// Returns the documents, the first one first.
    pub fn documents(&self) -> impl DoubleEndedIterator<Item = &KeyDocument> + Clone {
        self.chain.documents()
    }

    /// Returns the document of this version, or `None` if there is none.
    pub fn document(&self, version: u64) -> Option<&KeyDocument> {
        self.chain.document(version)
    }

    /// Returns the envelopes of the documents, byte for byte, with the first document's first.
    pub fn envelopes(&self) -> &[String] {
        &self.envelopes
    }

    /// Returns whether `other` equals this history or continues it.
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        self.publisher == other.publisher && self.chain.is_prefix_of(&other.chain)
    }

    /// Returns the newest document.
    pub fn newest(&self) -> &KeyDocument {
        self.chain.newest()
    }

    /// Returns the history as it was when `version` was the newest document, with every revocation that counts today;
    /// `None` if there is no such document.
    ///
    /// A model that was taken under an older document stays readable by its digest: the keys of that time prove it, unless
    /// they have been revoked since.
    pub fn as_of(&self, version: u64) -> Option<Self> {
        let chain = self.chain.as_of(version)?;
        let envelopes = self.envelopes[..chain.documents().count()].to_vec();
        let list = self.list.clone().filter(|_| version == self.version());
        let revocations = self.revocations.clone();
        Some(Self { publisher: self.publisher, chain, envelopes, list, revocations })
    }

    /// Returns this history with the inheritance list of `other`, where they have the same documents and only `other` has
    /// the list.
    #[must_use]
    pub fn with_list_of(mut self, other: &Self) -> Self {
        if self.list.is_none() && self.is_prefix_of(other) && other.is_prefix_of(&self) {
            self.chain = other.chain.clone();
            self.list.clone_from(&other.list);
        }
        self
    }

    /// Adds those of `envelopes` that are revocations by this publisher, skips the others, and judges all of them anew.
    pub fn take_revocations<'a>(&mut self, envelopes: impl IntoIterator<Item = &'a str>) {
        self.revocations.take(self.publisher, &self.chain, envelopes);
    }

    /// Returns the revocations that count, each with its envelope.
    pub fn revocations(&self) -> impl Iterator<Item = (&Revocation, &str)> {
        self.revocations.iter()
    }

    /// Returns the revocation of `subject`, or `None` if it is not revoked.
    pub fn revocation(&self, subject: &Revoked) -> Option<&Revocation> {
        self.revocations.get(subject)
    }

    /// Returns the keys of document `version` that are not revoked.
    pub fn signers(&self, version: u64) -> Vec<PublicKey> {
        let keys = self.document(version).map(|document| document.keys.iter()).into_iter().flatten();
        keys.filter(|key| !self.revocations.is_revoked(key)).copied().collect()
    }

    /// Returns whether the newest keys can no longer sign, because too many of them are revoked.
    pub fn is_dead(&self) -> bool {
        self.signers(self.version()).len() < self.newest().threshold
    }

    /// Verifies that `envelope` is of this type and counts as signed by key document `version`: by the signatures of its
    /// threshold, or because the newest document inherits it. Signatures of revoked keys do not count.
    ///
    /// # Errors
    /// If there is no such document, the payload type is another one, valid signatures are too few, or the keys have been
    /// retired and the newest document does not inherit the statement.
    pub fn check(
        &self,
        envelope: &Envelope,
        payload_type: &'static str,
        version: u64,
    ) -> Result<(), SignatureError> {
        if envelope.payload_type != payload_type {
            let found = envelope.payload_type.clone();
            return Err(SignatureError::PayloadType { found, expected: payload_type });
        }
        let Some(document) = self.document(version) else {
            return Err(SignatureError::TooFew { valid: 0, threshold: 1 });
        };
        match self.chain.standing(version, &Digest::of(&envelope.payload)) {
            Standing::Inherited => return Ok(()),
            Standing::Retired => {
                return Err(SignatureError::Retired { version, newest: self.version() });
            }
            Standing::ListMissing => {
                return Err(SignatureError::ListMissing { version, newest: self.version() });
            }
            Standing::BySignature | Standing::NoDocument => {}
        }
        let signers = self.signers(version);
        let revoked = document.keys.len() - signers.len();
        match envelope.verify(payload_type, &signers, document.threshold) {
            Err(SignatureError::TooFew { valid, threshold }) if revoked > 0 => {
                Err(SignatureError::Revoked { valid, threshold, revoked })
            }
            checked => checked,
        }
    }

    /// Checks that a record signed under key document `version` may have the number `seq`.
    ///
    /// # Errors
    /// As [`Chain::check_seq`].
    pub fn check_seq(&self, version: u64, seq: u64) -> Result<(), SeqError> {
        self.chain.check_seq(version, seq)
    }
}

/// Returns the id of the publisher with this payload of its first key document.
pub fn publisher_id(first_payload: &[u8]) -> PublisherId {
    PublisherId::from_bytes(*Digest::of(first_payload).as_bytes())
}

fn texts_in(text: &[u8]) -> Result<Vec<String>, KeyError> {
    json::from_slice(text, KEY_HISTORY_BYTES_MAX).map_err(KeyError::List)
}

fn check_publisher(publisher: PublisherId, digest: Digest) -> Result<(), KeyError> {
    let found = PublisherId::from_bytes(*digest.as_bytes());
    if found == publisher { Ok(()) } else { Err(KeyError::OtherPublisher { found, expected: publisher }) }
}

#[cfg(test)]
mod tests;
