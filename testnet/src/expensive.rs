//! The most expensive messages that a stranger can make: valid keys of 16, each of which signs all that it may sign.

use std::fs;
use std::io;
use std::path::Path;

use ed25519_dalek::SigningKey;
use reg_proto::announcement::{Announcement, Holder};
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KEY_DOCUMENT_TYPE, KeyDocument, publisher_id};
use reg_proto::limits::{ANNOUNCEMENT_BYTES_MAX, HEADS_PER_PAGE_MAX, KEYS_MAX, RESPONSE_HEADER_BYTES_MAX};
use reg_proto::name::{PublisherId, Tag};
use reg_proto::peer::PeerId;
use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};
use reg_proto::wire::{Message, Records, Response};

use crate::author::ISSUED;

/// A publisher with 16 keys, all of which must sign, and that replaces all of them in each document.
#[derive(Debug, Clone)]
pub struct ManyKeys {
    pub id: PublisherId,
    documents: Vec<String>,
    /// The newest keys.
    keys: Vec<SigningKey>,
    /// Whether the signatures name their keys.
    named: bool,
}

/// Returns the keys of one document.
fn keys(seed: u64, version: u64) -> Vec<SigningKey> {
    let key = |index: usize| {
        SigningKey::from_bytes(Digest::of(format!("{seed} {version} {index}").as_bytes()).as_bytes())
    };
    (0..KEYS_MAX).map(key).collect()
}

/// Signs by all keys. Without names, 16 signatures that do not hold come first, so that each of the others costs most.
fn sign(kind: &str, payload: Vec<u8>, keys: &[&SigningKey], named: bool) -> String {
    let text = Envelope::sign(kind, payload, keys).to_json();
    if named {
        return text;
    }
    let mut envelope: serde_json::Value = serde_json::from_str(&text).expect("an envelope is JSON");
    let signatures = envelope["signatures"].as_array_mut().expect("it is signed");
    signatures.reverse();
    for signature in signatures.iter_mut() {
        signature["keyid"] = "".into();
    }
    let more = 2 * KEYS_MAX - signatures.len().min(2 * KEYS_MAX);
    let wrong = data_encoding::BASE64.encode(&[7; 64]);
    signatures.splice(0..0, vec![serde_json::json!({ "keyid": "", "sig": wrong }); more]);
    envelope.to_string()
}

impl ManyKeys {
    /// Returns a publisher with so many key documents.
    pub fn new(seed: u64, documents: u64, named: bool) -> Self {
        let (mut texts, mut before, mut id) = (Vec::new(), None::<(KeyDocument, Vec<SigningKey>)>, None);
        for version in 1..=documents.max(1) {
            let now = keys(seed, version);
            let document = KeyDocument {
                version,
                keys: now.iter().map(PublicKey::of).collect(),
                threshold: KEYS_MAX,
                previous: before.as_ref().map(|(document, _)| Digest::of(&document.to_payload())),
                ..KeyDocument::first(PublicKey::of(&now[0]))
            };
            let payload = document.to_payload();
            id.get_or_insert_with(|| publisher_id(&payload));
            let old = before.iter().flat_map(|(_, keys)| keys);
            let signers: Vec<&SigningKey> = now.iter().chain(old).collect();
            texts.push(sign(KEY_DOCUMENT_TYPE, payload, &signers, named));
            before = Some((document, now));
        }
        let (_, keys) = before.expect("there is one document at least");
        Self { id: id.expect("there is one document at least"), documents: texts, keys, named }
    }

    /// Returns a record of a tag, signed by all keys.
    pub fn record(&self, model: &str, seq: u64) -> String {
        let record = TagRecord {
            publisher: self.id,
            model: model.parse().expect("a name"),
            tag: Tag::latest(),
            seq,
            prev: None,
            manifest: ManifestPointer { digest: Digest::of(model.as_bytes()), size: 1000 },
            key_document: self.documents.len() as u64,
            issued: ISSUED,
            fresh_until: None,
            expires: None,
            settles: Bounded::empty(),
            min_usable: None,
        };
        let keys: Vec<&SigningKey> = self.keys.iter().collect();
        sign(TAG_RECORD_TYPE, record.to_payload(), &keys, self.named)
    }

    /// Returns an announcement of a tag with all key documents.
    pub fn announcement(&self, model: &str) -> Announcement {
        Announcement {
            tag: Some(self.record(model, 1)),
            key_documents: Bounded::first_of(self.documents.iter().cloned()),
            holder: Holder { peer: PeerId::from_public_key([9; 32]), addresses: Bounded::empty() },
            card: None,
            contradicted_by: None,
            revocations: Bounded::empty(),
        }
    }

    /// Returns an answer for the publisher's name.
    pub fn records(&self, models: usize) -> Response {
        Response::Records(Records {
            key_documents: Bounded::first_of(self.documents.iter().cloned()),
            tags: Bounded::first_of((0..models).map(|number| self.record(&format!("m{number}"), 1))),
            ..Records::default()
        })
    }
}

/// Bytes that are left beside an announcement in a frame: js-libp2p adds control messages of its own.
const BESIDE: usize = 8 << 10;

/// Returns announcements of different publishers, each almost as large as an announcement may be.
pub fn announcements(seed: u64, count: u64, named: bool) -> Vec<Announcement> {
    let fits = |documents: &u64| {
        let announcement = ManyKeys::new(seed, *documents, named).announcement("m");
        announcement.to_bytes().len() <= ANNOUNCEMENT_BYTES_MAX - BESIDE
    };
    let documents = (1..=32).take_while(fits).last().unwrap_or(1);
    (0..count).map(|number| ManyKeys::new(seed + number, documents, named).announcement("m")).collect()
}

/// How many messages a peer has.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    pub announcements: u64,
    /// Announcements in its page of heads.
    pub heads: u64,
    /// Key documents of the publisher that it answers for.
    pub documents: u64,
}

/// The largest amount that a node accepts of one peer in two minutes.
pub const MOST: Amount = Amount { announcements: 240, heads: HEADS_PER_PAGE_MAX as u64, documents: 128 };

/// Writes a peer's messages into a folder: what it gossips, and what it answers.
///
/// # Errors
/// The folder cannot be written.
pub fn write(dir: &Path, seed: u64, amount: Amount, named: bool) -> io::Result<PublisherId> {
    fs::create_dir_all(dir)?;
    let all = announcements(seed, amount.announcements, named);
    for (number, announcement) in all.iter().enumerate() {
        fs::write(dir.join(format!("gossip-{number:05}.bin")), announcement.to_bytes())?;
    }
    let heads = announcements(seed + 1_000_000, amount.heads, named);
    let heads = (1..=heads.len())
        .map(|count| {
            Response::Heads { announcements: Bounded::first_of(heads[..count].iter().cloned()) }.head()
        })
        .take_while(|bytes| bytes.len() <= RESPONSE_HEADER_BYTES_MAX)
        .last();
    fs::write(dir.join("heads.bin"), heads.unwrap_or_default())?;
    fs::write(dir.join("vows.bin"), Response::Vows { publishers: Bounded::empty() }.head())?;
    let publisher = ManyKeys::new(seed + 2_000_000, amount.documents, named);
    fs::write(dir.join("records.bin"), publisher.records(16).head())?;
    Ok(publisher.id)
}
