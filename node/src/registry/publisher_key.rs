//! [`PublisherKey`]: what signs in a publisher's name, after it has read what it signs.

use std::fmt;

use ed25519_dalek::SigningKey;
use reg_proto::attestation::Mirror;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::json::JsonError;
use reg_proto::key::{KeyDocument, publisher_id};
use reg_proto::name::PublisherId;
use reg_proto::provenance::{Provenance, ProvenanceError, STATEMENT_PAYLOAD_TYPE};
use reg_proto::tag::{TAG_RECORD_TYPE, TagRecord};
use thiserror::Error;
use zeroize::Zeroizing;

use super::bundle::{self, BundleError};
use super::certificate;
use super::fault::{Fault, FaultKind};
use super::report::{Prepared, Signed};

/// Version of the key document by which a single key speaks for its publisher.
const KEY_DOCUMENT_VERSION: u64 = 1;

/// A publisher's ed25519 key; its secret is wiped from memory when it is dropped, and no text shows it.
pub struct PublisherKey {
    key: SigningKey,
    document: KeyDocument,
    publisher: PublisherId,
}

/// Why a key does not sign what it is given.
#[derive(Debug, Error)]
pub enum SignError {
    #[error("model that is to be signed is one of publisher {found}, the key is that of {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("provenance that is to be signed is not understood")]
    Provenance(#[from] ProvenanceError),
    #[error("tag record that is to be signed is not understood")]
    TagRecord(#[from] JsonError),
    #[error("{document} that is to be signed says something else than what was prepared: {field}")]
    Differs { document: &'static str, field: &'static str },
    #[error("OpenSSF bundle cannot be made")]
    Bundle(#[from] BundleError),
    #[error("operating system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

impl Fault for SignError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::OtherPublisher { .. } | Self::Provenance(_) | Self::TagRecord(_) | Self::Differs { .. } => {
                FaultKind::Verification
            }
            Self::Bundle(_) => FaultKind::Invalid,
            Self::Random(_) => FaultKind::Internal,
        }
    }
}

impl PublisherKey {
    pub(super) fn new(key: SigningKey) -> Self {
        let document = KeyDocument::first(PublicKey::of(&key));
        let publisher = publisher_id(&document.to_payload());
        Self { key, document, publisher }
    }

    /// Returns the id of the publisher that this key founds.
    pub const fn publisher_id(&self) -> PublisherId {
        self.publisher
    }

    /// Returns the public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(&self.key)
    }

    /// Returns the publisher's first key document as the text that every request and answer carries: its envelope, signed.
    ///
    /// The publisher's id is the digest of the payload in it, [`PublisherKey::key_document_payload`]. The text is the same
    /// each time.
    pub fn key_document(&self) -> String {
        self.document.sign(&self.key).to_json()
    }

    /// Returns the bytes of the first key document itself, whose digest is the publisher's id.
    pub fn key_document_payload(&self) -> Vec<u8> {
        self.document.to_payload()
    }

    /// Returns the certificate by which tools that know X.509 trust this key: a PEM file, the same each time.
    pub fn ca_pem(&self) -> String {
        certificate::to_pem(certificate::authority(&self.key, &self.publisher).der())
    }

    /// Signs a prepared model: its provenance, its tag record and its OpenSSF bundle.
    ///
    /// What is signed is read first. Each statement must be exactly what this program would have written, and about the
    /// publisher, model, tag and manifest that the preparation names; whether that is what the user asked for, the caller
    /// compares.
    ///
    /// # Errors
    /// The preparation is of another publisher, or says different things in different places.
    pub fn sign(&self, prepared: &Prepared) -> Result<Signed, SignError> {
        let mut leaf_seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *leaf_seed)?;
        self.sign_with_leaf(prepared, &leaf_seed)
    }

    fn sign_with_leaf(&self, prepared: &Prepared, leaf_seed: &[u8; 32]) -> Result<Signed, SignError> {
        if prepared.publisher != self.publisher {
            return Err(SignError::OtherPublisher { found: prepared.publisher, expected: self.publisher });
        }
        if prepared.resources.len() != prepared.files {
            return Err(SignError::Differs { document: "list of files", field: "files" });
        }
        self.check_provenance(prepared)?;
        self.check_tag_record(prepared)?;
        let sign = |payload_type: &str, payload: &str| {
            Envelope::sign(payload_type, payload.as_bytes().to_vec(), &[&self.key]).to_json()
        };
        let attestation = match &prepared.attestation {
            Some(payload) => {
                self.check_attestation(prepared, payload)?;
                Some(sign(STATEMENT_PAYLOAD_TYPE, payload))
            }
            None => None,
        };
        Ok(Signed {
            attestation,
            provenance: sign(STATEMENT_PAYLOAD_TYPE, &prepared.provenance),
            tag_record: sign(TAG_RECORD_TYPE, &prepared.tag_record),
            key_document: self.key_document(),
            bundle: bundle::make(&self.key, prepared, leaf_seed)?,
        })
    }

    fn check_provenance(&self, prepared: &Prepared) -> Result<(), SignError> {
        let payload = prepared.provenance.as_bytes();
        let found = Provenance::from_payload(payload, &prepared.manifest)?;
        check_fields(
            "provenance",
            [
                ("publisher", found.publisher == self.publisher),
                ("model", found.model == prepared.model),
                ("key document", found.key_document == KEY_DOCUMENT_VERSION),
                ("time", found.issued == prepared.issued),
                ("form", found.to_payload(&prepared.manifest) == payload),
            ],
        )
    }

    fn check_attestation(&self, prepared: &Prepared, payload: &str) -> Result<(), SignError> {
        let found = Mirror::from_payload(payload.as_bytes(), &prepared.manifest)?;
        check_fields(
            "attestation",
            [
                ("publisher", found.publisher == self.publisher),
                ("key document", found.key_document == KEY_DOCUMENT_VERSION),
                ("time", found.issued == prepared.issued),
                ("form", found.to_payload(&prepared.manifest) == payload.as_bytes()),
            ],
        )
    }

    fn check_tag_record(&self, prepared: &Prepared) -> Result<(), SignError> {
        let payload = prepared.tag_record.as_bytes();
        let found = TagRecord::from_payload(payload)?;
        check_fields(
            "tag record",
            [
                ("publisher", found.publisher == self.publisher),
                ("model", found.model == prepared.model),
                ("tag", found.tag == prepared.tag),
                ("manifest", found.manifest.digest == prepared.manifest),
                ("key document", found.key_document == KEY_DOCUMENT_VERSION),
                ("time", found.issued == prepared.issued),
                ("number", found.seq >= 1 && (found.seq == 1) == found.prev.is_none()),
                ("form", found.to_payload() == payload),
            ],
        )
    }
}

fn check_fields<const N: usize>(
    document: &'static str,
    fields: [(&'static str, bool); N],
) -> Result<(), SignError> {
    match fields.into_iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(SignError::Differs { document, field }),
        None => Ok(()),
    }
}

impl fmt::Debug for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublisherKey").field("publisher", &self.publisher).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use reg_proto::digest::Digest;
    use reg_proto::key::KeyHistory;
    use reg_proto::name::Tag;
    use reg_proto::path::SafePath;
    use reg_proto::tag::{ManifestPointer, SignedTag};

    use super::*;

    pub(in crate::registry) fn key(seed: u8) -> PublisherKey {
        PublisherKey::new(SigningKey::from_bytes(&[seed; 32]))
    }

    /// A model with a file of these bytes under each name, prepared for `key` to sign.
    pub(in crate::registry) fn prepared(key: &PublisherKey, files: &[(&str, &[u8])]) -> Prepared {
        let (publisher, issued, manifest) = (key.publisher_id(), 1_700_000_000, Digest::of(b"manifest"));
        let (model, tag) = ("Tiny".parse().unwrap(), Tag::latest());
        let resources: Vec<(SafePath, Digest)> =
            files.iter().map(|(path, bytes)| (path.parse().unwrap(), Digest::of(bytes))).collect();
        let provenance = provenance(publisher);
        let record = TagRecord {
            publisher,
            model: provenance.model.clone(),
            tag: tag.clone(),
            seq: 1,
            prev: None,
            manifest: ManifestPointer { digest: manifest, size: 8 },
            key_document: 1,
            issued,
            fresh_until: None,
            expires: None,
            settles: reg_proto::bounded::Bounded::empty(),
        };
        Prepared {
            id: 1,
            publisher,
            model,
            tag,
            manifest,
            files: resources.len(),
            bytes: files.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
            provenance: text(provenance.to_payload(&manifest)),
            tag_record: text(record.to_payload()),
            attestation: None,
            resources,
            issued,
        }
    }

    fn provenance(publisher: PublisherId) -> Provenance {
        Provenance {
            publisher,
            model: "Tiny".parse().unwrap(),
            key_document: 1,
            issued: 1_700_000_000,
            states: BTreeMap::new(),
        }
    }

    fn text(payload: Vec<u8>) -> String {
        String::from_utf8(payload).unwrap()
    }

    fn refusal(change: impl FnOnce(&mut Prepared)) -> String {
        let key = key(1);
        let mut prepared = prepared(&key, &[("a", b"a")]);
        change(&mut prepared);
        match key.sign(&prepared).unwrap_err() {
            SignError::Differs { document, field } => format!("{document}: {field}"),
            error => error.to_string(),
        }
    }

    #[test]
    fn what_it_signs_verifies_by_its_key_document() {
        let key = key(1);
        let prepared = prepared(&key, &[("a", b"a")]);
        let signed = key.sign(&prepared).unwrap();
        assert_eq!(publisher_id(&key.key_document_payload()), key.publisher_id());
        let history = KeyHistory::verify(key.publisher_id(), &[signed.key_document]).unwrap();
        assert_eq!(history.head(), Digest::of(&key.key_document_payload()));
        let tag = SignedTag::verify(&signed.tag_record, &history).unwrap();
        assert_eq!(tag.record().to_payload(), prepared.tag_record.as_bytes());
        let envelope = Envelope::from_bytes(signed.provenance.as_bytes(), 1 << 20).unwrap();
        assert_eq!(envelope.payload, prepared.provenance.as_bytes());
        assert_eq!(history.check(&envelope, STATEMENT_PAYLOAD_TYPE, 1), Ok(()));
        bundle::check(&signed.bundle, &[key.public_key()], &prepared.resources).unwrap();
        assert_eq!(key.key_document(), history.envelopes()[0]);
    }

    #[test]
    fn never_signs_what_was_not_prepared() {
        let other = key(2).publisher_id();
        assert!(refusal(|it| it.publisher = other).contains("is one of publisher"));
        assert_eq!(refusal(|it| it.files = 2), "list of files: files");
        assert_eq!(refusal(|it| it.model = "Other".parse().unwrap()), "provenance: model");
        assert_eq!(refusal(|it| it.issued += 1), "provenance: time");
        assert_eq!(refusal(|it| it.tag = "v2".parse().unwrap()), "tag record: tag");
        assert_eq!(
            refusal(|it| it.manifest = Digest::of(b"x")),
            "provenance that is to be signed is not understood"
        );
        assert_eq!(refusal(|it| it.tag_record.clear()), "tag record that is to be signed is not understood");
    }

    #[test]
    fn never_signs_a_statement_that_says_something_else() {
        let other = key(2).publisher_id();
        let manifest = Digest::of(b"manifest");
        assert_eq!(
            refusal(|it| it.provenance = text(provenance(other).to_payload(&manifest))),
            "provenance: publisher"
        );
        // The subject's name is for people; a field that nobody knows may mean anything to somebody.
        assert_eq!(
            refusal(|it| it.provenance = it.provenance.replace("/Tiny", "/Other")),
            "provenance: form"
        );
        assert_eq!(refusal(|it| it.provenance.insert_str(1, "\"x\":1,")), "provenance: form");
        assert_eq!(refusal(|it| it.tag_record.push(' ')), "tag record: form");
        let change = |from: &str, to: &str| refusal(|it| it.tag_record = it.tag_record.replace(from, to));
        assert_eq!(change("Tiny", "tiny"), "tag record: model");
        assert_eq!(change("latest", "v2"), "tag record: tag");
        assert_eq!(change("\"key_document\":1", "\"key_document\":2"), "tag record: key document");
        assert_eq!(change("1700000000", "1700000001"), "tag record: time");
        assert_eq!(change("\"seq\":1", "\"seq\":0"), "tag record: number");
        assert_eq!(change("\"seq\":1", "\"seq\":2"), "tag record: number");
        let (this, other) = (manifest.to_string(), Digest::of(b"x").to_string());
        assert_eq!(change(&this, &other), "tag record: manifest");
    }

    #[test]
    fn no_text_shows_the_secret() {
        let key = key(0x5a);
        let shown = format!("{key:?} {key:#?}");
        assert!(shown.contains(&key.publisher_id().to_string()));
        for secret in ["5a5a", "5A5A", "90, 90", "WlpaWlpa"] {
            assert!(!shown.contains(secret));
        }
    }
}
