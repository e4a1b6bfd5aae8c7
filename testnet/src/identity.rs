//! [`Identity`]: a publisher with any key documents, valid or not, and [`Offer`]: what one peer says of it.
//!
//! Keys are named by one byte. The owner and the thief of a key use the same methods, because both can sign.

use ed25519_dalek::SigningKey;
use reg_proto::bounded::Bounded;
use reg_proto::delegation::{DELEGATION_TYPE, Delegation};
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{Inheritance, KeyDocument, Next, NextKeys, publisher_id};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::profile::{PROFILE_TYPE, Profile};
use reg_proto::provenance::{Provenance, STATEMENT_PAYLOAD_TYPE};
use reg_proto::revocation::{REVOCATION_TYPE, Reason, Revocation, Revoked};
use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};
use reg_proto::wire::{ProfileText, Records, Request, Response};

use crate::author::{ISSUED, Version};
use crate::evil::Script;

/// An envelope, and the digest of its payload.
#[derive(Debug, Clone)]
pub struct Signed {
    pub envelope: String,
    pub payload: Digest,
}

/// The key documents of a publisher, up to one of them.
#[derive(Debug, Clone)]
pub struct Identity {
    pub id: PublisherId,
    newest: KeyDocument,
    envelopes: Vec<String>,
    list: Option<Inheritance>,
}

/// One version of a model: a small file, its manifest and its provenance.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: ModelName,
    pub digest: Digest,
    pub provenance: Signed,
    version: Version,
}

/// What one peer says of a publisher.
#[derive(Debug, Clone)]
pub struct Offer {
    identity: Identity,
    with_list: bool,
    tags: Vec<(ModelName, Tag, Signed)>,
    models: Vec<Model>,
    revocations: Vec<Signed>,
    delegations: Vec<(ModelName, Signed)>,
    profile: Option<Signed>,
}

fn key(name: u8) -> SigningKey {
    SigningKey::from_bytes(&[name; 32])
}

/// Returns the public half of a key.
pub fn public(name: u8) -> PublicKey {
    PublicKey::of(&key(name))
}

fn publics(names: &[u8]) -> Vec<PublicKey> {
    names.iter().map(|name| public(*name)).collect()
}

fn sign(payload_type: &str, payload: Vec<u8>, by: &[u8]) -> Signed {
    let keys: Vec<SigningKey> = by.iter().map(|name| key(*name)).collect();
    let keys: Vec<&SigningKey> = keys.iter().collect();
    let digest = Digest::of(&payload);
    Signed { envelope: Envelope::sign(payload_type, payload, &keys).to_json(), payload: digest }
}

impl Identity {
    /// Returns a publisher of `keys`, `threshold` of which must sign. It commits to the keys `next`, with a threshold, if
    /// there are any.
    pub fn new(keys: &[u8], threshold: usize, next: &[u8], next_threshold: usize) -> Self {
        let first = KeyDocument {
            keys: publics(keys),
            threshold,
            next: committed(next, next_threshold),
            ..KeyDocument::first(public(keys[0]))
        };
        let signed = sign(first.payload_type(), first.to_payload(), keys);
        let id = publisher_id(&first.to_payload());
        Self { id, newest: first, envelopes: vec![signed.envelope], list: None }
    }

    /// Returns the publisher after a next document of `keys`, which the keys `by` have signed and which takes over the
    /// statements `inherited`. The document need not be valid.
    pub fn rotated(
        &self,
        keys: &[u8],
        threshold: usize,
        next: &[u8],
        by: &[u8],
        inherited: &[&Signed],
    ) -> Self {
        let list = Inheritance::of(inherited.iter().map(|it| it.payload)).expect("a short list");
        let document = KeyDocument {
            version: self.newest.version + 1,
            keys: publics(keys),
            threshold,
            previous: Some(Digest::of(&self.newest.to_payload())),
            next: committed(next, threshold),
            floor: None,
            inherits: Some(list.digest()),
        };
        let signed = sign(document.payload_type(), document.to_payload(), by);
        let envelopes = [&self.envelopes[..], &[signed.envelope]].concat();
        Self { id: self.id, newest: document, envelopes, list: Some(list) }
    }

    /// Returns the digest of the newest document, by which a user accepts it.
    pub fn head(&self) -> Digest {
        Digest::of(&self.newest.to_payload())
    }

    /// Returns a version of `model` with one file of this content, and a provenance under key document `document`.
    ///
    /// # Panics
    /// If `model` is not a model name.
    pub fn model(&self, model: &str, content: &str, document: u64, by: &[u8]) -> Model {
        let version = Version::new(model, content);
        let (name, digest) = (version.model.clone(), version.digest);
        let provenance = Provenance {
            publisher: self.id,
            model: name.clone(),
            key_document: document,
            issued: ISSUED,
            states: [].into(),
        };
        let provenance = sign(STATEMENT_PAYLOAD_TYPE, provenance.to_payload(&digest), by);
        Model { name, digest, provenance, version }
    }

    /// Returns the record that `tag` of the model's name means this version, under key document `document`.
    ///
    /// # Panics
    /// If `tag` is not a tag.
    pub fn record(
        &self,
        model: &Model,
        tag: &str,
        seq: u64,
        prev: Option<&Signed>,
        document: u64,
        by: &[u8],
    ) -> Signed {
        let record = TagRecord {
            publisher: self.id,
            model: model.name.clone(),
            tag: tag.parse().expect("a tag"),
            seq,
            prev: prev.map(|it| it.payload),
            manifest: ManifestPointer { digest: model.digest, size: model.version.manifest().len() as u64 },
            key_document: document,
            issued: ISSUED,
            fresh_until: None,
            expires: None,
            settles: Bounded::empty(),
            min_usable: None,
        };
        sign(TAG_RECORD_TYPE, record.to_payload(), by)
    }

    /// Returns a revocation under key document `document`.
    pub fn revoke(&self, subject: Revoked, document: u64, by: &[u8]) -> Signed {
        let revocation = Revocation {
            publisher: self.id,
            subject,
            key_document: document,
            issued: ISSUED,
            reason: Reason::default(),
        };
        sign(REVOCATION_TYPE, revocation.to_payload(), by)
    }

    /// Returns a delegation of `models` to another publisher that does not end soon.
    ///
    /// # Panics
    /// If `models` is not a pattern of model names.
    pub fn delegate(&self, models: &str, to: PublisherId, document: u64, by: &[u8]) -> Signed {
        let delegation = Delegation {
            publisher: self.id,
            models: models.parse().expect("a pattern"),
            to,
            key_document: document,
            issued: ISSUED,
            expires: 4_000_000_000,
        };
        sign(DELEGATION_TYPE, delegation.to_payload(), by)
    }

    /// Returns the publisher's first profile, under key document `document`. It names a domain.
    ///
    /// # Panics
    /// If `domain` is no domain.
    pub fn profile(&self, domain: &str, document: u64, by: &[u8]) -> Signed {
        let profile = Profile {
            publisher: self.id,
            seq: 1,
            prev: None,
            domain: Some(domain.parse().expect("a domain")),
            title: None,
            url: None,
            key_document: document,
            issued: ISSUED,
        };
        sign(PROFILE_TYPE, profile.to_payload(), by)
    }

    /// Returns an offer of this publisher's keys and nothing else.
    pub fn offer(&self) -> Offer {
        Offer {
            identity: self.clone(),
            with_list: true,
            tags: Vec::new(),
            models: Vec::new(),
            revocations: Vec::new(),
            delegations: Vec::new(),
            profile: None,
        }
    }
}

fn committed(next: &[u8], threshold: usize) -> Next {
    if next.is_empty() { Next::Open } else { Next::Keys(NextKeys::of(&publics(next), threshold)) }
}

impl Offer {
    /// Adds a record of `tag`, and the model that it means.
    ///
    /// # Panics
    /// If `tag` is not a tag.
    #[must_use]
    pub fn tag(mut self, tag: &str, record: &Signed, model: &Model) -> Self {
        self.tags.push((model.name.clone(), tag.parse().expect("a tag"), record.clone()));
        self.model(model)
    }

    /// Adds a model without a tag.
    #[must_use]
    pub fn model(mut self, model: &Model) -> Self {
        self.models.push(model.clone());
        self
    }

    /// Adds revocations.
    #[must_use]
    pub fn revoked(mut self, revocations: &[&Signed]) -> Self {
        self.revocations.extend(revocations.iter().map(|it| (*it).clone()));
        self
    }

    /// Adds a delegation, which is sent to those that ask for this model.
    ///
    /// # Panics
    /// If `model` is not a model name.
    #[must_use]
    pub fn delegated(mut self, model: &str, delegation: &Signed) -> Self {
        self.delegations.push((model.parse().expect("a name"), delegation.clone()));
        self
    }

    /// Adds a profile, which is sent to those that ask for the publisher.
    #[must_use]
    pub fn says(self, profile: &Signed) -> Self {
        Self { profile: Some(profile.clone()), ..self }
    }

    /// Holds back the inheritance list.
    #[must_use]
    pub fn without_list(self) -> Self {
        Self { with_list: false, ..self }
    }

    /// Returns the script of a peer that makes this offer.
    pub fn script(&self) -> Script {
        self.script_with(&[])
    }

    /// Returns the script of a peer that makes this offer and others beside it.
    pub fn script_with(&self, others: &[&Self]) -> Script {
        let mut script = Script::default();
        for offer in [&[self][..], others].concat() {
            offer.add_to(&mut script);
        }
        script
    }

    fn add_to(&self, script: &mut Script) {
        let list = self.identity.list.iter().filter(|_| self.with_list).map(Inheritance::to_text);
        let records = Records {
            key_documents: Bounded::first_of(self.identity.envelopes.iter().cloned().chain(list)),
            revocations: Bounded::first_of(self.revocations.iter().map(|it| it.envelope.clone())),
            ..Records::default()
        };
        if let Some(profile) = &self.profile {
            let (publisher, profile) = (self.identity.id, ProfileText::new(profile.envelope.clone()));
            let ask = Request::GetRecords { publisher, model: None, tag: None, documents: None };
            script.answer(&ask, Response::Records(Records { profile, ..records.clone() }));
        }
        let named = self.tags.iter().map(|(model, tag, _)| (model, tag.clone()));
        let lent = self.delegations.iter().map(|(model, _)| (model, Tag::latest()));
        for (model, tag) in named.chain(lent) {
            let delegations = self.delegations.iter().filter(|(of, _)| of == model);
            let of = |wanted: Option<&Tag>| Records {
                tags: Bounded::first_of(
                    self.tags
                        .iter()
                        .filter(|(name, tag, _)| name == model && wanted.is_none_or(|wanted| wanted == tag))
                        .map(|(_, _, record)| record.envelope.clone()),
                ),
                delegations: Bounded::first_of(delegations.clone().map(|(_, it)| it.envelope.clone())),
                ..records.clone()
            };
            for wanted in [Some(&tag), None] {
                let ask = Request::GetRecords {
                    publisher: self.identity.id,
                    model: Some(model.clone()),
                    tag: wanted.cloned(),
                    documents: None,
                };
                script.answer(&ask, Response::Records(of(wanted)));
            }
        }
        for model in &self.models {
            model.version.tell(&model.provenance.envelope, script);
            let digest_alone = Request::GetRecords {
                publisher: self.identity.id,
                model: Some(model.name.clone()),
                tag: None,
                documents: None,
            };
            let key = serde_json::to_string(&digest_alone).expect("a request is JSON");
            script.answers.entry(key).or_insert_with(|| Response::Records(records.clone()));
        }
    }
}
