//! Tests of key histories: rotations, commitments, inheritance and revocations.

use ed25519_dalek::SigningKey;

use super::*;
use crate::key::{KEY_DOCUMENT_TYPE, Next, NextKeys};
use crate::revocation::{REVOCATION_TYPE, Reason};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> PublicKey {
    PublicKey::of(&key(seed))
}

fn signed(document: &KeyDocument, keys: &[u8]) -> String {
    let keys: Vec<SigningKey> = keys.iter().map(|seed| key(*seed)).collect();
    let keys: Vec<&SigningKey> = keys.iter().collect();
    Envelope::sign(document.payload_type(), document.to_payload(), &keys).to_json()
}

fn after(before: &KeyDocument, seed: u8) -> KeyDocument {
    KeyDocument {
        version: before.version + 1,
        previous: Some(Digest::of(&before.to_payload())),
        ..KeyDocument::first(public(seed))
    }
}

fn committed(document: KeyDocument, next: &[u8], threshold: usize) -> KeyDocument {
    let keys: Vec<PublicKey> = next.iter().map(|seed| public(*seed)).collect();
    let inherits = (document.version > 1).then(|| Inheritance::default().digest());
    KeyDocument { next: Next::Keys(NextKeys::of(&keys, threshold)), inherits, ..document }
}

fn statement(seed: u8, text: &str) -> Envelope {
    Envelope::sign("t", text.as_bytes().to_vec(), &[&key(seed)])
}

/// The id is part of every reference that users have written down, so these bytes must not change.
#[test]
fn the_id_of_a_publisher_is_golden() {
    let first = KeyDocument::first(public(7));
    assert_eq!(
        String::from_utf8(first.to_payload()).unwrap(),
        "{\"version\":1,\"keys\":[\"ed25519:ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c\"],\
         \"threshold\":1,\"previous\":null,\"next\":null}"
    );
    assert_eq!(
        publisher_id(&first.to_payload()).to_string(),
        "olaj5gtfzpohiq4tvx2dri5u5qa3y2cbutpcu4lqpwgjerc7blyq"
    );
}

#[test]
fn the_form_of_a_committed_document_is_golden() {
    let first = committed(KeyDocument::first(public(7)), &[8, 9], 1);
    assert_eq!(
        String::from_utf8(first.to_payload()).unwrap(),
        "{\"version\":1,\"keys\":[\"ed25519:ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c\"],\
         \"threshold\":1,\"previous\":null,\"next\":{\"keys\":[\
         \"sha256:5c29b78f10a35a49a6231d08ee840a04bcc3a37a4f9d46df327dec56b8a9b7c9\",\
         \"sha256:dbc298251c51321b7266e78d1c151c2b62aff8cb95b293096d3463018544face\"],\"threshold\":1},\
         \"inherits\":null}"
    );
    let read = KeyDocument::from_payload(first.payload_type(), &first.to_payload()).unwrap();
    assert_eq!(read, first);
    assert!(KeyDocument::from_payload(KEY_DOCUMENT_TYPE, &first.to_payload()).is_err());
}

#[test]
fn follows_a_rotation_that_both_have_signed() {
    let first = KeyDocument::first(public(1));
    let id = publisher_id(&first.to_payload());
    let second = after(&first, 2);
    let history = KeyHistory::verify(id, &[signed(&first, &[1]), signed(&second, &[1, 2])]).unwrap();
    assert_eq!(history.version(), 2);
    assert!(KeyHistory::verify(id, &[signed(&first, &[1])]).unwrap().is_prefix_of(&history));
    for signers in [&[1][..], &[2], &[3], &[2, 3]] {
        assert!(
            KeyHistory::verify(id, &[signed(&first, &[1]), signed(&second, signers)]).is_err(),
            "{signers:?}"
        );
    }
}

#[test]
fn refuses_every_other_history() {
    let first = KeyDocument::first(public(1));
    let id = publisher_id(&first.to_payload());
    let other = KeyDocument::first(public(2));
    let broken = |documents: &[String]| KeyHistory::verify(id, documents).unwrap_err();
    assert!(matches!(broken(&[]), KeyError::Empty));
    assert!(matches!(broken(&[signed(&other, &[2])]), KeyError::OtherPublisher { .. }));
    assert!(matches!(broken(&[signed(&first, &[2])]), KeyError::Signature { version: 1, .. }));
    let gap = KeyDocument { version: 3, ..after(&first, 2) };
    assert!(matches!(broken(&[signed(&first, &[1]), signed(&gap, &[1, 2])]), KeyError::Version { .. }));
    let fork = KeyDocument { previous: Some(Digest::of(b"")), ..after(&first, 2) };
    let fork = broken(&[signed(&first, &[1]), signed(&fork, &[1, 2])]);
    assert!(matches!(fork, KeyError::NotAfterPrevious { .. }));
    let committed = KeyDocument { next: Next::KeySet(after(&first, 9).commitment()), ..first };
    let id = publisher_id(&committed.to_payload());
    let documents = [signed(&committed, &[1]), signed(&after(&committed, 2), &[1, 2])];
    assert!(matches!(KeyHistory::verify(id, &documents), Err(KeyError::NotCommitted { version: 2 })));
}

#[test]
fn only_committed_keys_take_over_and_the_old_ones_need_not_sign() {
    let first = committed(KeyDocument::first(public(1)), &[2, 3], 1);
    let id = publisher_id(&first.to_payload());
    let read =
        |second: &KeyDocument, by: &[u8]| KeyHistory::verify(id, &[signed(&first, &[1]), signed(second, by)]);
    let second = committed(after(&first, 2), &[4], 1);
    assert_eq!(read(&second, &[2]).unwrap().version(), 2, "the lost key 1 did not sign");
    let spare = committed(after(&first, 3), &[4], 1);
    assert!(read(&spare, &[3]).is_ok(), "either next key will do");
    assert!(matches!(read(&second, &[1]), Err(KeyError::Signature { version: 2, .. })));
    for thief in [1, 9] {
        let stolen = committed(after(&first, thief), &[4], 1);
        assert!(matches!(read(&stolen, &[1, 9]), Err(KeyError::TooFewCommitted { found: 0, .. })));
    }
    let both = KeyDocument { keys: vec![public(2), public(9)], threshold: 1, ..second.clone() };
    assert!(read(&both, &[2]).is_ok(), "a document may add keys");
    assert!(matches!(read(&both, &[9]), Err(KeyError::Signature { .. })), "a committed key must sign");
    assert!(matches!(read(&after(&first, 2), &[2]), Err(KeyError::OlderForm { version: 2 })));
    let two = committed(KeyDocument::first(public(1)), &[2, 3], 2);
    let id = publisher_id(&two.to_payload());
    let half = committed(after(&two, 2), &[4], 1);
    let half = KeyHistory::verify(id, &[signed(&two, &[1]), signed(&half, &[2])]);
    assert!(matches!(half, Err(KeyError::TooFewCommitted { found: 1, threshold: 2, .. })));
}

#[test]
fn a_retired_key_signs_nothing_but_what_is_inherited() {
    let (old, stolen) = (statement(1, "old"), statement(1, "stolen"));
    let list = Inheritance::of([Digest::of(b"old")]).unwrap();
    let first = committed(KeyDocument::first(public(1)), &[2], 1);
    let id = publisher_id(&first.to_payload());
    let second = KeyDocument { inherits: Some(list.digest()), ..committed(after(&first, 2), &[3], 1) };
    let documents = [signed(&first, &[1]), signed(&second, &[2])];
    let with = |text: &str| KeyHistory::verify(id, &[&documents[..], &[text.to_owned()]].concat());
    let history = with(&list.to_text()).unwrap();
    assert_eq!(history.check(&old, "t", 1), Ok(()));
    assert_eq!(history.check(&stolen, "t", 1), Err(SignatureError::Retired { version: 1, newest: 2 }));
    assert_eq!(history.check(&statement(2, "new"), "t", 2), Ok(()));
    assert!(history.check(&old, "other", 1).is_err());
    let before = history.as_of(1).unwrap();
    assert_eq!(before.check(&stolen, "t", 1), Ok(()), "what was taken under document 1 stays provable");
    // The old key is revoked: what the new keys took over stays.
    let mut revoked = history.clone();
    let revocation = Revocation {
        publisher: id,
        subject: Revoked::Key(public(1)),
        key_document: 2,
        issued: 1,
        reason: Reason::default(),
    };
    let text = Envelope::sign(REVOCATION_TYPE, revocation.to_payload(), &[&key(2)]).to_json();
    revoked.take_revocations([text.as_str()]);
    assert!(revoked.revocation(&Revoked::Key(public(1))).is_some() && !revoked.is_dead());
    assert_eq!(revoked.check(&old, "t", 1), Ok(()));
    // A history without its list proves the new statements only.
    let bare = KeyHistory::verify(id, &documents).unwrap();
    assert_eq!(bare.check(&old, "t", 1), Err(SignatureError::ListMissing { version: 1, newest: 2 }));
    assert_eq!(bare.check(&statement(2, "new"), "t", 2), Ok(()));
    assert_eq!(bare.with_list_of(&history), history);
    let other = Inheritance::of([Digest::of(b"stolen")]).unwrap();
    assert!(matches!(with(&other.to_text()), Err(KeyError::OtherInheritance { version: 2 })));
    assert_eq!(KeyHistory::read_json(history.to_json().as_bytes()).unwrap(), history);
}

#[test]
fn a_retired_key_revokes_only_itself() {
    let first = committed(KeyDocument::first(public(1)), &[2], 1);
    let id = publisher_id(&first.to_payload());
    let second = committed(after(&first, 2), &[3], 1);
    let list = Inheritance::default().to_text();
    let mut history = KeyHistory::verify(id, &[signed(&first, &[1]), signed(&second, &[2]), list]).unwrap();
    let revoke = |subject, key_document, seed: u8| {
        let reason = Reason::default();
        let revocation = Revocation { publisher: id, subject, key_document, issued: 1, reason };
        Envelope::sign(REVOCATION_TYPE, revocation.to_payload(), &[&key(seed)]).to_json()
    };
    let manifest = Revoked::Manifest(Digest::of(b"m"));
    for (subject, document) in [(manifest, 1), (Revoked::Key(public(2)), 1), (manifest, 2)] {
        history.take_revocations([revoke(subject, document, 1).as_str()]);
        assert!(history.revocation(&subject).is_none(), "{subject:?} {document}");
    }
    history.take_revocations([revoke(Revoked::Key(public(1)), 1, 1).as_str()]);
    assert!(history.revocation(&Revoked::Key(public(1))).is_some());
    history.take_revocations([revoke(manifest, 2, 2).as_str()]);
    history.take_revocations([revoke(Revoked::Key(public(2)), 2, 2).as_str()]);
    assert!(history.is_dead(), "a manifest's revocation does not stand in the way of the key's");
}

/// A thief of today's key can sign any number of withdrawals. They hide neither the revocation of that key nor what newer
/// keys withdraw.
#[test]
fn a_crowd_of_withdrawals_hides_no_other_revocation() {
    let first = committed(KeyDocument::first(public(1)), &[2], 1);
    let id = publisher_id(&first.to_payload());
    let second = committed(after(&first, 2), &[3], 1);
    let revoke = |subject, key_document, seed: u8| {
        let reason = Reason::default();
        let revocation = Revocation { publisher: id, subject, key_document, issued: 0, reason };
        Envelope::sign(REVOCATION_TYPE, revocation.to_payload(), &[&key(seed)]).to_json()
    };
    let crowd = (0..300_u32).map(|it| revoke(Revoked::Manifest(Digest::of(&it.to_be_bytes())), 1, 1));
    let (lost, withdrawn) = (Revoked::Key(public(1)), Revoked::Manifest(Digest::of(b"m")));
    let texts: Vec<String> = crowd.chain([revoke(lost, 1, 1), revoke(withdrawn, 2, 2)]).collect();
    let mut history = KeyHistory::verify(id, &[signed(&first, &[1])]).unwrap();
    history.take_revocations(texts.iter().map(String::as_str));
    assert!(history.revocation(&lost).is_some() && history.is_dead());
    let list = Inheritance::default().to_text();
    let mut history = KeyHistory::verify(id, &[signed(&first, &[1]), signed(&second, &[2]), list]).unwrap();
    history.take_revocations(texts.iter().map(String::as_str));
    assert!(history.revocation(&lost).is_some() && history.revocation(&withdrawn).is_some());
}
