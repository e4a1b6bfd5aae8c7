//! [`PublisherKey`]: signs in a publisher's name, after it has checked what it signs.

use std::fmt;

use reg_api::clock;
use reg_api::prepared::{Prepared, Signed};
use reg_proto::attestation::{Attestation, AttestationKind, AttestationResult, Mirror};
use reg_proto::catalogue::{CARD_TYPE, Card};
use reg_proto::content::label::Label;
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KEY_DOCUMENT_TYPE, KeyDocument, KeyHistory, publisher_id};
use reg_proto::name::PublisherId;
use reg_proto::provenance::{Provenance, STATEMENT_PAYLOAD_TYPE};
use reg_proto::tag::{TAG_RECORD_TYPE, TagRecord};
use zeroize::Zeroizing;

use crate::authorities::Authorities;
use crate::error::SignError;
use crate::oms::bundle;
use crate::secret_key::SecretKey;

/// A publisher that can sign: its key documents, and those of its keys that are available.
pub struct PublisherKey {
    keys: Vec<SecretKey>,
    history: KeyHistory,
}

impl PublisherKey {
    /// Returns a new publisher with this one key. The key signs its first key document.
    ///
    /// # Errors
    /// The key does not sign.
    pub(crate) fn found(key: SecretKey) -> Result<Self, SignError> {
        let payload = KeyDocument::first(key.public_key()).to_payload();
        let mut envelope = Envelope::unsigned(KEY_DOCUMENT_TYPE, payload);
        envelope.add(&key.public_key(), key.sign(KEY_DOCUMENT_TYPE, &envelope.payload)?);
        let history = KeyHistory::verify(publisher_id(&envelope.payload), &[envelope.to_json()])?;
        Ok(Self { keys: vec![key], history })
    }

    /// Returns the publisher of `history`, with the keys that are available.
    pub(crate) const fn new(keys: Vec<SecretKey>, history: KeyHistory) -> Self {
        Self { keys, history }
    }

    /// Returns the id of the publisher.
    pub const fn publisher_id(&self) -> PublisherId {
        self.history.publisher()
    }

    /// Returns the publisher's key documents.
    pub const fn history(&self) -> &KeyHistory {
        &self.history
    }

    /// Returns the public half of the first key that signs now.
    pub fn public_key(&self) -> PublicKey {
        let signs = |key: &&PublicKey| self.keys.iter().any(|it| it.public_key() == **key);
        let keys = &self.history.newest().keys;
        keys.iter().find(signs).or(keys.first()).copied().expect("a key document has keys")
    }

    /// Returns the key documents and the inheritance list as every request and answer carries them, the first document first.
    ///
    /// The publisher's id is the digest of the payload of the first.
    pub fn key_documents(&self) -> Vec<String> {
        self.history.texts()
    }

    /// Returns the certificate authorities of the available keys that are not `revoked`.
    pub fn authorities(&self, revoked: &[PublicKey]) -> Result<Authorities, SignError> {
        Authorities::of(&self.history, &self.keys, revoked)
    }

    /// Returns the available keys that the newest document names.
    pub(crate) fn signers(&self) -> impl Iterator<Item = &SecretKey> {
        self.keys.iter().filter(|key| self.history.newest().keys.contains(&key.public_key()))
    }

    fn any_signer(&self) -> Result<&SecretKey, SignError> {
        self.signers().next().ok_or(SignError::NotOne { publisher: self.publisher_id() })
    }

    /// Signs a prepared model: its provenance, its tag record and its OpenSSF bundle.
    ///
    /// Checks the documents before it signs. Each statement must have exactly the bytes that this program would write,
    /// about the publisher, model, tag and manifest of the preparation. The caller compares these with what the user
    /// asked for.
    ///
    /// # Errors
    /// The preparation is another publisher's, its parts contradict each other, or too few keys are available.
    pub fn sign(&self, prepared: &Prepared) -> Result<Signed, SignError> {
        self.check_enough()?;
        let mut leaf_seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *leaf_seed)?;
        self.sign_with_leaf(prepared, &leaf_seed)
    }

    fn sign_with_leaf(&self, prepared: &Prepared, leaf_seed: &[u8; 32]) -> Result<Signed, SignError> {
        self.check(prepared)?;
        let sign =
            |payload_type: &str, payload: &str| self.envelope(payload_type, payload.as_bytes().to_vec());
        let attestation =
            prepared.attestation.as_ref().map(|payload| sign(STATEMENT_PAYLOAD_TYPE, payload)).transpose()?;
        let card = prepared.card.as_ref().map(|payload| sign(CARD_TYPE, payload)).transpose()?;
        Ok(Signed {
            attestation,
            card,
            provenance: sign(STATEMENT_PAYLOAD_TYPE, &prepared.provenance)?,
            tag_record: sign(TAG_RECORD_TYPE, &prepared.tag_record)?,
            key_documents: self.key_documents(),
            bundle: bundle::make(self.any_signer()?, prepared, leaf_seed)?,
        })
    }

    /// Signs an attestation about a manifest, dated now, and returns its envelope.
    ///
    /// # Errors
    /// Too few keys are available, or one does not sign.
    pub fn attest(
        &self,
        manifest: &Digest,
        kind: AttestationKind,
        result: AttestationResult,
        tool: Option<Label>,
        note: Option<Label>,
    ) -> Result<String, SignError> {
        let (publisher, key_document, issued) = (self.publisher_id(), self.history.version(), clock::now());
        self.check_enough()?;
        let said = Attestation { publisher, key_document, issued, kind, result, tool, note };
        self.envelope(STATEMENT_PAYLOAD_TYPE, said.to_payload(manifest))
    }

    fn check_enough(&self) -> Result<(), SignError> {
        let (have, threshold) = (self.signers().count(), self.history.newest().threshold);
        if have < threshold {
            return Err(SignError::TooFew { publisher: self.publisher_id(), have, threshold });
        }
        Ok(())
    }

    fn envelope(&self, payload_type: &str, payload: Vec<u8>) -> Result<String, SignError> {
        let mut envelope = Envelope::unsigned(payload_type, payload);
        for key in self.signers() {
            envelope.add(&key.public_key(), key.sign(payload_type, &envelope.payload)?);
        }
        Ok(envelope.to_json())
    }

    /// Checks that all parts of a preparation agree, and that it is this publisher's.
    pub(crate) fn check(&self, prepared: &Prepared) -> Result<(), SignError> {
        check_prepared(prepared, self.publisher_id(), self.history.version())
    }
}

/// Checks that all parts of a preparation agree, for `publisher` and its key document `version`.
pub(crate) fn check_prepared(
    prepared: &Prepared,
    publisher: PublisherId,
    version: u64,
) -> Result<(), SignError> {
    if prepared.publisher != publisher {
        return Err(SignError::OtherPublisher { found: prepared.publisher, expected: publisher });
    }
    if prepared.resources.len() != prepared.files {
        return Err(SignError::Differs { document: "list of files", field: "files" });
    }
    check_provenance(prepared, version)?;
    check_tag_record(prepared, version)?;
    if let Some(payload) = &prepared.card {
        check_card(prepared, payload, version)?;
    }
    match &prepared.attestation {
        Some(payload) => check_attestation(prepared, payload, version),
        None => Ok(()),
    }
}

fn check_card(prepared: &Prepared, payload: &str, version: u64) -> Result<(), SignError> {
    let found = Card::from_payload(payload.as_bytes()).map_err(SignError::Card)?;
    check_fields(
        "card",
        [
            ("publisher", found.publisher == prepared.publisher),
            ("model", found.model == prepared.model),
            ("manifest", found.manifest == prepared.manifest),
            ("key document", found.key_document == version),
            ("time", found.issued == prepared.issued),
            ("size", found.computed.bytes == prepared.bytes),
            ("form", found.to_payload() == payload.as_bytes()),
        ],
    )
}

fn check_provenance(prepared: &Prepared, version: u64) -> Result<(), SignError> {
    let payload = prepared.provenance.as_bytes();
    let found = Provenance::from_payload(payload, &prepared.manifest)?;
    check_fields(
        "provenance",
        [
            ("publisher", found.publisher == prepared.publisher),
            ("model", found.model == prepared.model),
            ("key document", found.key_document == version),
            ("time", found.issued == prepared.issued),
            ("form", found.to_payload(&prepared.manifest) == payload),
        ],
    )
}

fn check_attestation(prepared: &Prepared, payload: &str, version: u64) -> Result<(), SignError> {
    let found = Mirror::from_payload(payload.as_bytes(), &prepared.manifest)?;
    check_fields(
        "attestation",
        [
            ("publisher", found.publisher == prepared.publisher),
            ("key document", found.key_document == version),
            ("time", found.issued == prepared.issued),
            ("form", found.to_payload(&prepared.manifest) == payload.as_bytes()),
        ],
    )
}

fn check_tag_record(prepared: &Prepared, version: u64) -> Result<(), SignError> {
    let payload = prepared.tag_record.as_bytes();
    let found = TagRecord::from_payload(payload)?;
    check_fields(
        "tag record",
        [
            ("publisher", found.publisher == prepared.publisher),
            ("model", found.model == prepared.model),
            ("tag", found.tag == prepared.tag),
            ("manifest", found.manifest.digest == prepared.manifest),
            ("key document", found.key_document == version),
            ("time", found.issued == prepared.issued),
            ("number", found.seq >= 1 && (found.seq > 1 || found.prev.is_none())),
            ("form", found.to_payload() == payload),
        ],
    )
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
        f.debug_struct("PublisherKey")
            .field("publisher", &self.publisher_id())
            .field("keys", &self.keys)
            .finish()
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use ed25519_dalek::SigningKey;
    use reg_api::ingest::LeftOutList;
    use reg_proto::name::Tag;
    use reg_proto::path::SafePath;
    use reg_proto::tag::{ManifestPointer, SignedTag};

    use super::*;

    pub fn key(seed: u8) -> PublisherKey {
        PublisherKey::found(SigningKey::from_bytes(&[seed; 32]).into()).unwrap()
    }

    /// Returns a model with a file of these bytes under each name, prepared for `key` to sign.
    pub fn prepared(key: &PublisherKey, files: &[(&str, &[u8])]) -> Prepared {
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
            min_usable: None,
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
            card: None,
            resources,
            issued,
            left_out: LeftOutList::default(),
            copied: false,
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
        let history = KeyHistory::verify(key.publisher_id(), &signed.key_documents).unwrap();
        assert_eq!(publisher_id(&history.newest().to_payload()), key.publisher_id());
        let tag = SignedTag::verify(&signed.tag_record, &history).unwrap();
        assert_eq!(tag.record().to_payload(), prepared.tag_record.as_bytes());
        let envelope = Envelope::from_bytes(signed.provenance.as_bytes(), 1 << 20).unwrap();
        assert_eq!(envelope.payload, prepared.provenance.as_bytes());
        assert_eq!(history.check(&envelope, STATEMENT_PAYLOAD_TYPE, 1), Ok(()));
        bundle::check(&signed.bundle, &[key.public_key()], &prepared.resources).unwrap();
        assert_eq!(key.key_documents(), history.envelopes());
    }

    #[test]
    fn never_signs_what_was_not_prepared() {
        let other = key(2).publisher_id();
        assert!(refusal(|it| it.publisher = other).contains("is one of publisher"));
        assert_eq!(refusal(|it| it.files = 2), "list of files: files");
        assert_eq!(refusal(|it| it.model = "Other".parse().unwrap()), "provenance: model");
        assert_eq!(refusal(|it| it.issued += 1), "provenance: time");
        assert_eq!(refusal(|it| it.tag = "v2".parse().unwrap()), "tag record: tag");
        assert_eq!(refusal(|it| it.manifest = Digest::of(b"x")), "provenance to sign cannot be parsed");
        assert_eq!(refusal(|it| it.tag_record.clear()), "tag record to sign cannot be parsed");
    }

    #[test]
    fn never_signs_a_statement_that_says_something_else() {
        let other = key(2).publisher_id();
        let manifest = Digest::of(b"manifest");
        assert_eq!(
            refusal(|it| it.provenance = text(provenance(other).to_payload(&manifest))),
            "provenance: publisher"
        );
        // The subject's name is for people. A field that this program does not know may mean something to another one.
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
        let prev = format!("\"prev\":\"{}\"", Digest::of(b"x"));
        assert_eq!(change("\"prev\":null", &prev), "tag record: number");
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
