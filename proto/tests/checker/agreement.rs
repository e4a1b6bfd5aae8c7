//! The model judges statements as the node does: signatures are facts in the model, and real ones here.

use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{Inheritance, KeyDocument, KeyHistory, Next, NextKeys, publisher_id};
use reg_proto::name::{PublisherId, Tag};
use reg_proto::naming::RecordFacts;
use reg_proto::revocation::{REVOCATION_TYPE, Reason, Revocation, Revoked};
use reg_proto::tag::{ManifestPointer, SignedTag, TAG_RECORD_TYPE, TagRecord};

use crate::config::{Author, Config, Statement};
use crate::kept::Kept;
use crate::keyring::Keyring;
use crate::model::Naming;
use crate::rules::Rules;
use crate::world::{Document, Node};

const STATEMENTS: [Statement; 3] = [
    Statement::RevokeKey { of: 1, by: 1 },
    Statement::RevokeKey { of: 1, by: 2 },
    Statement::RevokeKey { of: 2, by: 1 },
];
const CONFIG: Config = Config {
    documents: 2,
    statements: &[
        (Author::Thief, STATEMENTS[0]),
        (Author::Owner, STATEMENTS[1]),
        (Author::Thief, STATEMENTS[2]),
    ],
    ..Config::SMALL
};

fn public(place: u8) -> PublicKey {
    PublicKey::of(&Keyring::signing(place))
}

fn next(place: u8) -> Next {
    Next::Keys(NextKeys::of(&[public(place)], 1))
}

fn first() -> KeyDocument {
    KeyDocument { next: next(2), ..KeyDocument::first(public(1)) }
}

/// Returns the publisher's history with one or two documents; the second inherits `listed`.
fn history(documents: u8, listed: &[Digest], floor: Option<u64>) -> KeyHistory {
    let one = first();
    let list = Inheritance::of(listed.iter().copied()).expect("a short list");
    let two = KeyDocument {
        version: 2,
        keys: vec![public(2)],
        threshold: 1,
        previous: Some(Digest::of(&one.to_payload())),
        next: next(3),
        floor,
        inherits: Some(list.digest()),
    };
    let mut texts = vec![one.sign(&Keyring::signing(1)).to_json()];
    if documents == 2 {
        texts.extend([two.sign(&Keyring::signing(2)).to_json(), list.to_text()]);
    }
    KeyHistory::verify(publisher(), &texts).expect("the publisher's documents")
}

fn publisher() -> PublisherId {
    publisher_id(&first().to_payload())
}

fn record(key_document: u8, seq: u64) -> (TagRecord, String) {
    let record = TagRecord {
        publisher: publisher(),
        model: "tiny".parse().expect("a name"),
        tag: Tag::latest(),
        seq,
        prev: None,
        manifest: ManifestPointer { digest: Digest::of(b"m"), size: 1 },
        key_document: key_document.into(),
        issued: 1,
        fresh_until: None,
        expires: None,
        settles: Bounded::empty(),
        min_usable: None,
    };
    let text =
        Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[&Keyring::signing(key_document)]).to_json();
    (record, text)
}

fn revocation(statement: Statement) -> String {
    let Statement::RevokeKey { of, by } = statement else { panic!("a revocation of a key") };
    let place = |version: u64| u8::try_from(version).expect("few documents");
    let revocation = Revocation {
        publisher: publisher(),
        subject: Revoked::Key(public(place(of))),
        key_document: by,
        issued: 1,
        reason: Reason::default(),
    };
    Envelope::sign(REVOCATION_TYPE, revocation.to_payload(), &[&Keyring::signing(place(by))]).to_json()
}

#[test]
fn the_model_judges_records_as_key_histories_do() {
    let naming = Naming::new(CONFIG, Rules::unchanged());
    let (mut cases, mut counting) = (0, 0);
    for (documents, by, floor, revoked) in (1..=2_u8)
        .flat_map(|documents| (1..=2_u8).map(move |by| (documents, by)))
        .flat_map(|(documents, by)| [None, Some(2)].map(|floor| (documents, by, floor)))
        .flat_map(|(documents, by, floor)| (0..8_u16).map(move |revoked| (documents, by, floor, revoked)))
    {
        for (seq, is_listed) in [(1, false), (1, true), (2, false), (2, true)] {
            let (record, text) = record(by, seq);
            let payload = Digest::of(&record.to_payload());
            let listed = if is_listed { vec![payload] } else { Vec::new() };
            let mut keys = history(documents, &listed, floor);
            let heard = (0..STATEMENTS.len()).filter(|place| revoked >> place & 1 == 1);
            let texts: Vec<String> = heard.map(|place| revocation(STATEMENTS[place])).collect();
            keys.take_revocations(texts.iter().map(String::as_str));
            let node = Node {
                chain: Some(Kept::of(keys.chain().clone())),
                before: None,
                statements: revoked,
                book: Kept::of(Document::default()),
                held: 0,
            };
            let judged = naming.judge_known(&node);
            let model = naming.stands(&node, &judged, &RecordFacts::of(&record, payload));
            let real = SignedTag::verify(&text, &keys).is_ok();
            assert_eq!(
                model, real,
                "documents {documents} by {by} seq {seq} listed {is_listed} floor {floor:?} revoked {revoked:b}"
            );
            assert_eq!(naming.is_dead(keys.chain(), &judged), keys.is_dead(), "revoked {revoked:b}");
            cases += 1;
            counting += u32::from(real);
        }
    }
    assert_eq!(cases, 256);
    assert!((32..224).contains(&counting), "{counting} of {cases} count");
}
