//! Tests rotation, thresholds, delegation and revocation with tables: the signing keys of a document, and whether it counts.

use ed25519_dalek::SigningKey;
use reg_proto::bounded::Bounded;
use reg_proto::delegation::{DELEGATION_TYPE, Delegation, SignedDelegation};
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::equivocation::Equivocation;
use reg_proto::key::{KEY_DOCUMENT_TYPE, KeyDocument, KeyHistory, Next, publisher_id};
use reg_proto::limits::SEQ_MAX;
use reg_proto::name::{PublisherId, Tag};
use reg_proto::revocation::{REVOCATION_TYPE, Revocation, Revoked};
use reg_proto::tag::{ManifestPointer, SignedTag, TAG_RECORD_TYPE, TagRecord};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> PublicKey {
    PublicKey::of(&key(seed))
}

fn sign(kind: &str, payload: Vec<u8>, by: &[u8]) -> String {
    let keys: Vec<SigningKey> = by.iter().map(|seed| key(*seed)).collect();
    Envelope::sign(kind, payload, &keys.iter().collect::<Vec<_>>()).to_json()
}

/// A key document: its keys, threshold, commitment and floor, and the keys that sign it.
#[derive(Clone)]
struct Step {
    keys: &'static [u8],
    threshold: usize,
    next: Option<(&'static [u8], usize)>,
    floor: Option<u64>,
    by: &'static [u8],
}

const fn step(keys: &'static [u8], threshold: usize, by: &'static [u8]) -> Step {
    Step { keys, threshold, next: None, floor: None, by }
}

fn commitment(keys: &[u8], threshold: usize) -> Digest {
    let keys = keys.iter().map(|seed| public(*seed)).collect();
    KeyDocument { keys, threshold, ..KeyDocument::first(public(1)) }.commitment()
}

/// Returns the publisher's id and its documents, whether they verify or not.
fn documents(steps: &[Step]) -> (PublisherId, Vec<String>) {
    let mut before: Option<Vec<u8>> = None;
    let mut publisher = None;
    let mut envelopes = Vec::new();
    for (version, it) in (1..).zip(steps) {
        let document = KeyDocument {
            version,
            keys: it.keys.iter().map(|seed| public(*seed)).collect(),
            threshold: it.threshold,
            previous: before.as_deref().map(Digest::of),
            next: it.next.map_or(Next::Open, |(keys, threshold)| Next::KeySet(commitment(keys, threshold))),
            floor: it.floor,
            inherits: None,
        };
        let payload = document.to_payload();
        publisher.get_or_insert_with(|| publisher_id(&payload));
        envelopes.push(sign(KEY_DOCUMENT_TYPE, payload.clone(), it.by));
        before = Some(payload);
    }
    (publisher.expect("a first document"), envelopes)
}

fn history(steps: &[Step]) -> KeyHistory {
    let (publisher, envelopes) = documents(steps);
    KeyHistory::verify(publisher, &envelopes).expect("a history")
}

#[test]
fn rotations_and_thresholds() {
    let committed = Step { next: Some((&[2], 1)), ..step(&[1], 1, &[1]) };
    let set = step(&[1, 2, 3], 2, &[1, 2]);
    let cases: Vec<(&str, Vec<Step>, bool)> = vec![
        ("one key", vec![step(&[1], 1, &[1])], true),
        ("one key, signed by another", vec![step(&[1], 1, &[2])], false),
        ("rotation signed by both", vec![step(&[1], 1, &[1]), step(&[2], 1, &[1, 2])], true),
        ("rotation signed by the old key alone", vec![step(&[1], 1, &[1]), step(&[2], 1, &[1])], false),
        ("rotation signed by the new key alone", vec![step(&[1], 1, &[1]), step(&[2], 1, &[2])], false),
        ("rotation signed by a stranger too", vec![step(&[1], 1, &[1]), step(&[2], 1, &[1, 2, 9])], true),
        ("rotation by a stranger", vec![step(&[1], 1, &[1]), step(&[2], 1, &[2, 9])], false),
        ("two rotations", vec![step(&[1], 1, &[1]), step(&[2], 1, &[1, 2]), step(&[3], 1, &[2, 3])], true),
        (
            "second rotation by the first key",
            vec![step(&[1], 1, &[1]), step(&[2], 1, &[1, 2]), step(&[3], 1, &[1, 3])],
            false,
        ),
        ("two of three", vec![set.clone()], true),
        ("one of three where two are needed", vec![step(&[1, 2, 3], 2, &[1])], false),
        ("one key twice where two are needed", vec![step(&[1, 1], 2, &[1, 1])], false),
        ("one key listed twice and a second", vec![step(&[1, 1, 2], 2, &[1, 2])], true),
        ("threshold of none", vec![step(&[1], 0, &[1])], false),
        ("threshold above the keys", vec![step(&[1], 2, &[1])], false),
        ("no keys", vec![step(&[], 1, &[1])], false),
        (
            "sixteen keys",
            vec![step(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], 1, &[16])],
            true,
        ),
        (
            "seventeen keys",
            vec![step(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], 1, &[1])],
            false,
        ),
        ("a key leaves the set", vec![set.clone(), step(&[1, 2], 2, &[1, 2])], true),
        ("a key joins, signed by the set", vec![set.clone(), step(&[1, 2, 3, 4], 2, &[2, 3])], true),
        (
            "a key joins by its own signature and one",
            vec![set.clone(), step(&[1, 2, 3, 4], 2, &[1, 4])],
            false,
        ),
        ("a whole new set", vec![set.clone(), step(&[4, 5, 6], 2, &[1, 3, 4, 6])], true),
        (
            "a whole new set, one new signature short",
            vec![set.clone(), step(&[4, 5, 6], 2, &[1, 3, 4])],
            false,
        ),
        (
            "a whole new set, one old signature short",
            vec![set.clone(), step(&[4, 5, 6], 2, &[1, 4, 6])],
            false,
        ),
        ("threshold lowered by the old threshold", vec![set.clone(), step(&[1, 2, 3], 1, &[1, 2])], true),
        ("threshold lowered by one alone", vec![set.clone(), step(&[1, 2, 3], 1, &[1])], false),
        ("threshold raised above the number of signers", vec![set, step(&[1, 2, 3], 3, &[1, 2])], false),
        ("the keys that were committed to", vec![committed.clone(), step(&[2], 1, &[1, 2])], true),
        ("other keys than were committed to", vec![committed.clone(), step(&[3], 1, &[1, 3])], false),
        ("the committed keys with another threshold", vec![committed, step(&[2, 2], 2, &[1, 2])], false),
        ("a floor", vec![Step { floor: Some(9), ..step(&[1], 1, &[1]) }], true),
        ("a floor of none", vec![Step { floor: Some(0), ..step(&[1], 1, &[1]) }], false),
        ("a floor beyond all numbers", vec![Step { floor: Some(SEQ_MAX + 1), ..step(&[1], 1, &[1]) }], false),
    ];
    for (name, steps, valid) in &cases {
        let (publisher, envelopes) = documents(steps);
        let verified = KeyHistory::verify(publisher, &envelopes);
        assert_eq!(verified.is_ok(), *valid, "{name}: {verified:?}");
    }
    assert!(cases.len() >= 30, "{}", cases.len());
}

fn record(publisher: PublisherId, version: u64, seq: u64) -> TagRecord {
    TagRecord {
        publisher,
        model: "tiny".parse().expect("a name"),
        tag: Tag::latest(),
        seq,
        prev: None,
        manifest: ManifestPointer { digest: Digest::of(b"m"), size: 1 },
        key_document: version,
        issued: 1_700_000_000,
        fresh_until: None,
        expires: None,
        settles: Bounded::empty(),
        min_usable: None,
    }
}

#[test]
fn who_signs_which_number() {
    let floor = |it| Some(it);
    let rotated = history(&[step(&[1], 1, &[1]), step(&[2], 1, &[1, 2])]);
    let recovered = history(&[step(&[1], 1, &[1]), Step { floor: floor(8), ..step(&[2], 1, &[1, 2]) }]);
    let twice = history(&[
        step(&[1], 1, &[1]),
        Step { floor: floor(8), ..step(&[2], 1, &[1, 2]) },
        Step { floor: floor(5), ..step(&[3], 1, &[2, 3]) },
    ]);
    let set = history(&[step(&[1, 2, 3], 2, &[1, 2])]);
    type Case<'a> = (&'a str, &'a KeyHistory, u64, u64, &'a [u8], bool);
    let cases: [Case<'_>; 24] = [
        ("the old key under its own document", &rotated, 1, 3, &[1], true),
        ("the new key under its own document", &rotated, 2, 3, &[2], true),
        ("the old key under the new document", &rotated, 2, 3, &[1], false),
        ("the new key under the old document", &rotated, 1, 3, &[2], false),
        ("a document that is not there", &rotated, 3, 3, &[2], false),
        ("no document", &rotated, 0, 3, &[2], false),
        ("number 0", &rotated, 1, 0, &[1], false),
        ("the highest number", &rotated, 1, SEQ_MAX, &[1], true),
        ("a number beyond the highest", &rotated, 1, SEQ_MAX + 1, &[1], false),
        ("the highest u64", &rotated, 2, u64::MAX, &[2], false),
        ("old, below the floor", &recovered, 1, 7, &[1], true),
        ("old, at the floor", &recovered, 1, 8, &[1], false),
        ("old, far above the floor", &recovered, 1, SEQ_MAX, &[1], false),
        ("new, at the floor", &recovered, 2, 8, &[2], true),
        ("new, below the floor", &recovered, 2, 7, &[2], false),
        ("two floors: first, below both", &twice, 1, 4, &[1], true),
        ("two floors: first, between them", &twice, 1, 6, &[1], false),
        ("two floors: second, voided by the third", &twice, 2, 8, &[2], false),
        ("two floors: third", &twice, 3, 5, &[3], true),
        ("two of a set of three", &set, 1, 1, &[1, 3], true),
        ("one of a set of three", &set, 1, 1, &[1], false),
        ("one of a set and a stranger", &set, 1, 1, &[1, 9], false),
        ("one of a set, twice", &set, 1, 1, &[1, 1], false),
        ("a whole set", &set, 1, 1, &[1, 2, 3], true),
    ];
    for (name, keys, version, seq, by, valid) in cases {
        let text = sign(TAG_RECORD_TYPE, record(keys.publisher(), version, seq).to_payload(), by);
        let verified = SignedTag::verify(&text, keys);
        assert_eq!(verified.is_ok(), valid, "{name}: {verified:?}");
    }
}

fn revocation(publisher: PublisherId, subject: Revoked, version: u64) -> Revocation {
    let reason = "lost".parse().expect("a line");
    Revocation { publisher, subject, key_document: version, issued: 1_700_000_000, reason }
}

#[test]
fn what_is_revoked_and_by_whom() {
    let alone = history(&[step(&[1], 1, &[1])]);
    let rotated = history(&[step(&[1], 1, &[1]), step(&[2], 1, &[1, 2])]);
    let set = history(&[step(&[1, 2, 3], 2, &[1, 2])]);
    let (manifest, other) = (Revoked::Manifest(Digest::of(b"m")), publisher_id(b"other"));
    let by_key = |seed| Revoked::Key(public(seed));
    // Name, history, subject, version of the key document, signing keys, and whether the revocation counts.
    type Case<'a> = (&'a str, &'a KeyHistory, Revoked, u64, &'a [u8], bool);
    let cases: [Case<'_>; 19] = [
        ("a manifest by its publisher", &alone, manifest, 1, &[1], true),
        ("a manifest by a stranger", &alone, manifest, 1, &[9], false),
        ("a manifest under no document", &alone, manifest, 0, &[1], false),
        ("a manifest under a future document", &alone, manifest, 2, &[1], false),
        ("a key by itself", &alone, by_key(1), 1, &[1], true),
        ("a key by a stranger", &alone, by_key(1), 1, &[9], false),
        ("a stranger's key", &alone, by_key(9), 1, &[9, 1], false),
        ("the old key by the new one", &rotated, by_key(1), 2, &[2], true),
        ("the old key by itself, when it is old", &rotated, by_key(1), 1, &[1], true),
        ("the new key by the old one", &rotated, by_key(2), 1, &[1], false),
        ("the new key by the old one, under the new document", &rotated, by_key(2), 2, &[1], false),
        ("a manifest by the old key", &rotated, manifest, 1, &[1], true),
        ("a set's key by two others", &set, by_key(3), 1, &[1, 2], true),
        ("a set's key by one other", &set, by_key(3), 1, &[1], false),
        ("a set's key by itself", &set, by_key(3), 1, &[3], true),
        ("a manifest by two of a set", &set, manifest, 1, &[1, 3], true),
        ("a manifest by one of a set", &set, manifest, 1, &[3], false),
        ("a delegation", &alone, Revoked::Delegation(Digest::of(b"d")), 1, &[1], true),
        ("a delegation by a stranger", &alone, Revoked::Delegation(Digest::of(b"d")), 1, &[8], false),
    ];
    for (name, keys, subject, version, by, counts) in cases {
        let text = sign(REVOCATION_TYPE, revocation(keys.publisher(), subject, version).to_payload(), by);
        let mut with = keys.clone();
        with.take_revocations([text.as_str()]);
        assert_eq!(with.revocation(&subject).is_some(), counts, "{name}");
        with.take_revocations([]);
        assert_eq!(with.revocation(&subject).is_some(), counts, "{name}: a revocation stays");
        let foreign = sign(REVOCATION_TYPE, revocation(other, subject, version).to_payload(), by);
        let mut with = keys.clone();
        with.take_revocations([foreign.as_str()]);
        assert!(with.revocation(&subject).is_none(), "{name}: another publisher's");
        let as_tag = sign(TAG_RECORD_TYPE, revocation(keys.publisher(), subject, version).to_payload(), by);
        let mut with = keys.clone();
        with.take_revocations([as_tag.as_str(), "", "{}"]);
        assert!(with.revocation(&subject).is_none(), "{name}: signed as another payload type");
    }
}

#[test]
fn what_a_revoked_key_has_signed_does_not_count() {
    let rotated = history(&[step(&[1], 1, &[1]), step(&[2], 1, &[1, 2])]);
    let id = rotated.publisher();
    let of_key = sign(REVOCATION_TYPE, revocation(id, Revoked::Key(public(1)), 2).to_payload(), &[2]);
    let vandal = Revoked::Manifest(Digest::of(b"vandal"));
    let by_thief = sign(REVOCATION_TYPE, revocation(id, vandal, 1).to_payload(), &[1]);
    let tag = |version, by: &[u8]| sign(TAG_RECORD_TYPE, record(id, version, 3).to_payload(), by);
    // In every order of arrival.
    for texts in [[&of_key, &by_thief], [&by_thief, &of_key]] {
        let mut keys = rotated.clone();
        for text in texts {
            keys.take_revocations([text.as_str()]);
        }
        assert!(keys.revocation(&vandal).is_none(), "a thief's revocations end with the key");
        assert!(SignedTag::verify(&tag(1, &[1]), &keys).is_err());
        assert!(SignedTag::verify(&tag(2, &[2]), &keys).is_ok());
        assert!(!keys.is_dead());
        assert_eq!(keys.revocations().count(), 1);
    }
    let mut set = history(&[step(&[1, 2, 3], 2, &[1, 2])]);
    let id = set.publisher();
    let tag = |by: &[u8]| sign(TAG_RECORD_TYPE, record(id, 1, 3).to_payload(), by);
    for (lost, left) in [(1, true), (2, false)] {
        let text = sign(REVOCATION_TYPE, revocation(id, Revoked::Key(public(lost)), 1).to_payload(), &[lost]);
        set.take_revocations([text.as_str()]);
        assert_eq!(SignedTag::verify(&tag(&[1, 2, 3]), &set).is_ok(), left, "{lost} lost");
        assert_eq!(set.is_dead(), !left);
    }
}

#[test]
fn what_is_delegated_and_until_when() {
    let keys = history(&[step(&[1], 1, &[1]), step(&[2], 1, &[1, 2])]);
    let (id, friend) = (keys.publisher(), publisher_id(b"friend"));
    let delegation = Delegation {
        publisher: id,
        models: "llama-*".parse().expect("a pattern"),
        to: friend,
        key_document: 2,
        issued: 1_700_000_000,
        expires: 1_800_000_000,
    };
    let cases: [(&str, Delegation, &[u8], bool); 6] = [
        ("by the publisher", delegation.clone(), &[2], true),
        ("by a stranger", delegation.clone(), &[9], false),
        ("by the key that was rotated away", delegation.clone(), &[1], false),
        ("to itself", Delegation { to: id, ..delegation.clone() }, &[2], false),
        ("of another publisher", Delegation { publisher: friend, to: id, ..delegation.clone() }, &[2], false),
        ("under a future document", Delegation { key_document: 3, ..delegation.clone() }, &[2], false),
    ];
    for (name, it, by, valid) in cases {
        let verified = SignedDelegation::verify(&sign(DELEGATION_TYPE, it.to_payload(), by), &keys);
        assert_eq!(verified.is_ok(), valid, "{name}: {verified:?}");
    }
    for (model, now, covers) in [
        ("llama-3", 1_700_000_000, true),
        ("Llama-3", 1_800_000_000, true),
        ("llama-3", 1_800_000_001, false),
        ("mistral", 1_700_000_000, false),
    ] {
        assert_eq!(delegation.covers(&model.parse().expect("a name"), now), covers, "{model} {now}");
    }
    let text = sign(DELEGATION_TYPE, delegation.to_payload(), &[2]);
    let mut without = keys.clone();
    let subject = Revoked::Delegation(Digest::of(&delegation.to_payload()));
    let revoked = sign(REVOCATION_TYPE, revocation(id, subject, 2).to_payload(), &[2]);
    without.take_revocations([revoked.as_str()]);
    assert!(SignedDelegation::verify(&text, &without).is_err());
}

/// A thief of a key that was rotated away can neither freeze a tag nor settle one.
#[test]
fn old_keys_prove_nothing_against_new_ones() {
    let keys = history(&[step(&[1], 1, &[1]), step(&[2], 1, &[1, 2])]);
    let id = keys.publisher();
    let verify = |record: TagRecord, by: &[u8]| {
        SignedTag::verify(&sign(TAG_RECORD_TYPE, record.to_payload(), by), &keys).expect("signed")
    };
    let with = |version, seq, content: &[u8]| TagRecord {
        manifest: ManifestPointer { digest: Digest::of(content), size: 1 },
        ..record(id, version, seq)
    };
    let (old, thief, new) =
        (verify(with(1, 3, b"a"), &[1]), verify(with(1, 3, b"b"), &[1]), verify(with(2, 3, b"c"), &[2]));
    let proof = Equivocation::of(&old, &thief).expect("the old key contradicts itself");
    assert!(Equivocation::of(&thief, &new).is_none());
    assert!(proof.is_settled_by(new.record()), "newer keys settle it");
    let (one, two) = (verify(with(2, 5, b"a"), &[2]), verify(with(2, 5, b"b"), &[2]));
    let proof = Equivocation::of(&one, &two).expect("the new key contradicts itself");
    let settles = Bounded::first_of(proof.heads());
    let by_old = verify(TagRecord { settles: settles.clone(), ..with(1, 9, b"a") }, &[1]);
    assert!(!proof.is_settled_by(by_old.record()));
    for (seq, names, settled) in [(6, true, true), (6, false, false), (5, true, false), (4, true, false)] {
        let settles = if names { settles.clone() } else { Bounded::first_of([proof.heads()[0]]) };
        let record = TagRecord { settles, ..with(2, seq, b"a") };
        assert_eq!(proof.is_settled_by(&record), settled, "{seq} {names}");
    }
}
