//! Tests the bound of the remembered heads.

use ed25519_dalek::SigningKey;
use reg_proto::envelope::PublicKey;
use reg_proto::key::{Inheritance, KeyDocument, Next, NextKeys, publisher_id};
use reg_proto::limits::INHERITANCE_GOSSIPED_BYTES_MAX;
use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE};

use super::*;

/// A stranger with a second key document that inherits as much as gossip takes.
struct Stranger {
    key: SigningKey,
    keys: KeyHistory,
}

impl Stranger {
    fn new(seed: u32) -> Self {
        let key = |place: u8| {
            let mut bytes = [place; 32];
            bytes[..4].copy_from_slice(&seed.to_be_bytes());
            SigningKey::from_bytes(&bytes)
        };
        let [one, two, three] = [key(1), key(2), key(3)];
        let first = KeyDocument {
            next: Next::Keys(NextKeys::of(&[PublicKey::of(&two)], 1)),
            ..KeyDocument::first(PublicKey::of(&one))
        };
        let payloads = (0..370_u32).map(|it| Digest::of(&it.to_be_bytes()));
        let list = Inheritance::of(payloads).unwrap();
        let second = KeyDocument {
            version: 2,
            keys: vec![PublicKey::of(&two)],
            previous: Some(Digest::of(&first.to_payload())),
            next: Next::Keys(NextKeys::of(&[PublicKey::of(&three)], 1)),
            inherits: Some(list.digest()),
            ..first.clone()
        };
        let texts = [first.sign(&one).to_json(), second.sign(&two).to_json(), list.to_text()];
        assert!(texts[2].len() <= INHERITANCE_GOSSIPED_BYTES_MAX);
        let keys = KeyHistory::verify(publisher_id(&first.to_payload()), &texts).unwrap();
        Self { key: two, keys }
    }

    fn head(&self, tag: &str, seq: u64) -> Head {
        let record = TagRecord {
            publisher: self.keys.publisher(),
            model: "tiny".parse().unwrap(),
            tag: tag.parse().unwrap(),
            seq,
            prev: None,
            manifest: ManifestPointer { digest: Digest::of(b"x"), size: 1 },
            key_document: 2,
            issued: 1_700_000_000,
            fresh_until: None,
            expires: None,
            settles: Bounded::empty(),
            min_usable: None,
        };
        let envelope = Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[&self.key]).to_json();
        let tag = SignedTag::verify(&envelope, &self.keys).unwrap();
        Head { tag, keys: Arc::new(self.keys.clone()), holders: Vec::new(), proofs: Vec::new() }
    }
}

/// The bytes that the histories of these heads take, each of them once: its texts, and its list parsed.
fn taken(heads: &Heads) -> usize {
    let mut histories: Vec<&Arc<KeyHistory>> = Vec::new();
    for head in heads.heads.values() {
        if !histories.iter().any(|it| Arc::ptr_eq(it, &head.keys)) {
            histories.push(&head.keys);
        }
    }
    let texts = |keys: &KeyHistory| keys.texts().iter().map(String::len).sum::<usize>();
    histories.iter().map(|it| texts(it) + 32 * it.chain().inheritance().unwrap().payloads().len()).sum()
}

#[test]
fn inheritance_lists_of_strangers_are_within_the_bound() {
    let mut heads = Heads::default();
    for seed in 0..700 {
        heads.hear(Stranger::new(seed).head("latest", 1));
    }
    assert!(taken(&heads) <= HEADS_BYTES_MAX, "{} heads take {}", heads.heads.len(), taken(&heads));
}

#[test]
fn the_tags_of_one_publisher_share_its_keys() {
    let mut heads = Heads::default();
    let stranger = Stranger::new(1);
    for place in 0..1000 {
        heads.hear(stranger.head(&format!("t{place}"), 1));
    }
    assert_eq!(heads.heads.len(), 1000);
    assert!(taken(&heads) < 64 << 10);
    for place in 0..1000 {
        heads.hear(stranger.head(&format!("t{place}"), 2));
        heads.remove(
            stranger.keys.publisher(),
            &"tiny".parse().unwrap(),
            &format!("t{place}").parse().unwrap(),
        );
    }
    assert_eq!(
        (heads.heads.len(), heads.bytes, heads.histories.bytes, heads.histories.shared.len()),
        (0, 0, 0, 0)
    );
}
