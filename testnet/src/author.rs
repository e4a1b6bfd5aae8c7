//! [`Author`]: a publisher that signs any record, true or false, as a key thief or a dishonest publisher can.

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::KeypairBytes;
use ed25519_dalek::pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding};
use reg_proto::announcement::{Announcement, Holder};
use reg_proto::bounded::Bounded;
use reg_proto::delegation::{DELEGATION_TYPE, Delegation};
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, publisher_id};
use reg_proto::manifest::{
    MANIFEST_TYPE, MODEL_CONFIG_TYPE, Manifest, ModelConfig, ModelDescriptor, ModelFile, RAW_LAYER_TYPES,
};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::peer::PeerId;
use reg_proto::piece::BlobLayout;
use reg_proto::provenance::{Provenance, STATEMENT_PAYLOAD_TYPE};
use reg_proto::referrer::{ENVELOPE_MEDIA_TYPE, PROVENANCE_ARTIFACT_TYPE, Referrer};
use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};
use reg_proto::wire::{Records, Request, Response};

use crate::evil::Script;

/// Time at which an author signs everything, in seconds since 1970.
pub const ISSUED: u64 = 1_700_000_000;

/// A publisher with one key.
#[derive(Debug, Clone)]
pub struct Author {
    key: SigningKey,
    document: String,
    pub id: PublisherId,
}

/// A version of a model: one small file, its manifest, its provenance and its bundle.
#[derive(Debug, Clone)]
pub struct Version {
    pub model: ModelName,
    content: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
    pub digest: Digest,
}

impl Version {
    /// Returns a version of `model` with one file of this content.
    ///
    /// # Panics
    /// If `model` is not a model name.
    pub fn new(model: &str, content: &str) -> Self {
        let content = format!("{{\"model_type\":\"{content}\"}}").into_bytes();
        let file = ModelFile {
            path: "config.json".parse().expect("a path"),
            digest: Digest::of(&content),
            layout: BlobLayout::new(content.len() as u64).expect("small"),
            media_type: RAW_LAYER_TYPES[1].to_owned(),
        };
        let config = ModelConfig::new(ModelDescriptor::default(), std::slice::from_ref(&file)).to_bytes();
        let manifest = Manifest::new(Descriptor::of(MODEL_CONFIG_TYPE, &config), vec![file]);
        let manifest = manifest.expect("a manifest").to_bytes();
        let model = model.parse().expect("a name");
        Self { model, content, config, digest: Digest::of(&manifest), manifest }
    }

    /// Makes the script serve the documents and blobs of the version, with the envelope `provenance`.
    pub fn tell(&self, provenance: &str, script: &mut Script) {
        let statement = provenance.as_bytes().to_vec();
        let referrer = Referrer {
            artifact_type: PROVENANCE_ARTIFACT_TYPE.to_owned(),
            subject: Descriptor::of(MANIFEST_TYPE, &self.manifest),
            document: Descriptor::of(ENVELOPE_MEDIA_TYPE, &statement),
        };
        let bytes = referrer.to_bytes();
        let listed = referrer.descriptor(Digest::of(&bytes));
        let ask = Request::Referrers { subject: self.digest, artifact_type: None };
        script.answer(&ask, Response::Referrers { manifests: Bounded::first_of([listed]) });
        for bytes in [self.manifest.clone(), bytes, statement] {
            let ask = Request::GetDocument { digest: Digest::of(&bytes) };
            script.answer(&ask, Response::Document { bytes });
        }
        for bytes in [&self.content, &self.config] {
            script.blobs.insert(Digest::of(bytes), Arc::new(bytes.clone()));
        }
    }

    /// Returns the bytes of its manifest.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }
}

impl Author {
    /// Returns the publisher that is founded by the key with 32 times the byte `seed`.
    pub fn new(seed: u8) -> Self {
        Self::of(SigningKey::from_bytes(&[seed; 32]))
    }

    /// Returns the publisher that is founded by `key`.
    pub fn of(key: SigningKey) -> Self {
        let first = KeyDocument::first(PublicKey::of(&key));
        Self { document: first.sign(&key).to_json(), id: publisher_id(&first.to_payload()), key }
    }

    /// Writes the key into `home`, so that `reg` finds it as `name`.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn give_key(&self, home: &Path, name: &str) {
        let keys = home.join("keys");
        std::fs::create_dir_all(&keys).expect("a folder");
        let pair = KeypairBytes { secret_key: self.key.to_bytes(), public_key: None };
        let path = keys.join(format!("{name}.pem"));
        std::fs::write(&path, pair.to_pkcs8_pem(LineEnding::LF).expect("a key").as_bytes()).expect("written");
        for (path, mode) in [(&keys, 0o700), (&path, 0o600)] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(path, mode).expect("ours");
        }
    }

    /// Returns a version of `model` with one file of this content.
    ///
    /// # Panics
    /// If `model` is not a model name.
    pub fn version(&self, model: &str, content: &str) -> Version {
        Version::new(model, content)
    }

    /// Returns the record that `tag` points to this version.
    pub fn record(&self, version: &Version, tag: &str, seq: u64, prev: Option<Digest>) -> TagRecord {
        TagRecord {
            publisher: self.id,
            model: version.model.clone(),
            tag: tag.parse().unwrap_or_else(|_| Tag::latest()),
            seq,
            prev,
            manifest: ManifestPointer { digest: version.digest, size: version.manifest.len() as u64 },
            key_document: 1,
            issued: ISSUED,
            fresh_until: None,
            expires: None,
            settles: Bounded::empty(),
            min_usable: None,
        }
    }

    /// Returns a record in a signed envelope.
    pub fn sign(&self, record: &TagRecord) -> String {
        Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[&self.key]).to_json()
    }

    /// Returns how a peer that has heard of a record tells of it.
    pub fn announcement(&self, record: &TagRecord) -> Announcement {
        let nobody = PeerId::from_public_key(self.key.verifying_key().to_bytes());
        Announcement {
            tag: Some(self.sign(record)),
            key_documents: Bounded::first_of([self.document.clone()]),
            holder: Holder { peer: nobody, addresses: Bounded::empty() },
            card: None,
            contradicted_by: None,
            revocations: Bounded::empty(),
        }
    }

    /// Returns a script that answers for `model:tag` of this publisher with these records, and serves the documents and
    /// blobs of these versions.
    pub fn script(&self, model: &ModelName, tag: &str, tags: &[String], versions: &[&Version]) -> Script {
        let mut script = Script::default();
        let records = Records {
            key_documents: Bounded::first_of([self.document.clone()]),
            tags: Bounded::first_of(tags.iter().cloned()),
            ..Records::default()
        };
        for tag in [tag.parse().ok(), None] {
            let ask =
                Request::GetRecords { publisher: self.id, model: Some(model.clone()), tag, documents: None };
            script.answer(&ask, Response::Records(records.clone()));
        }
        for version in versions {
            self.tell(version, version, &mut script);
        }
        script
    }

    /// Returns a delegation in a signed envelope.
    ///
    /// # Panics
    /// If `models` is not a pattern of model names.
    pub fn delegate(&self, models: &str, to: PublisherId, expires: u64) -> String {
        let delegation = Delegation {
            publisher: self.id,
            models: models.parse().expect("a pattern"),
            to,
            key_document: 1,
            issued: ISSUED,
            expires,
        };
        Envelope::sign(DELEGATION_TYPE, delegation.to_payload(), &[&self.key]).to_json()
    }

    /// Makes the script answer for `model` of this publisher with these delegations and no tag record.
    pub fn tell_delegations(&self, model: &ModelName, delegations: &[String], script: &mut Script) {
        let records = Records {
            key_documents: Bounded::first_of([self.document.clone()]),
            delegations: Bounded::first_of(delegations.iter().cloned()),
            ..Records::default()
        };
        for tag in [Some(Tag::latest()), None] {
            let ask =
                Request::GetRecords { publisher: self.id, model: Some(model.clone()), tag, documents: None };
            script.answer(&ask, Response::Records(records.clone()));
        }
    }

    /// Makes the script serve the documents of `version`, with the provenance of `vouched`.
    pub fn tell(&self, version: &Version, vouched: &Version, script: &mut Script) {
        let provenance = Provenance {
            publisher: self.id,
            model: vouched.model.clone(),
            key_document: 1,
            issued: ISSUED,
            states: [].into(),
        };
        let statement =
            Envelope::sign(STATEMENT_PAYLOAD_TYPE, provenance.to_payload(&vouched.digest), &[&self.key]);
        version.tell(&statement.to_json(), script);
    }
}
