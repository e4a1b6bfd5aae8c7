//! Freezes the formats. A change of any of these bytes would break existing nodes and files, so it fails this test.

use ed25519_dalek::SigningKey;
use reg_proto::announcement::{Announcement, Holder};
use reg_proto::bounded::Bounded;
use reg_proto::delegation::{DELEGATION_TYPE, Delegation};
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::equivocation::EquivocationClaim;
use reg_proto::key::{KeyDocument, publisher_id};
use reg_proto::manifest::MANIFEST_TYPE;
use reg_proto::name::Tag;
use reg_proto::peer::PeerId;
use reg_proto::piece::PieceSet;
use reg_proto::provenance::{Provenance, STATEMENT_PAYLOAD_TYPE};
use reg_proto::referrer::{ENVELOPE_MEDIA_TYPE, PROVENANCE_ARTIFACT_TYPE, Referrer};
use reg_proto::revocation::{REVOCATION_TYPE, Revocation, Revoked};
use reg_proto::states::StateHasher;
use reg_proto::swarm_state::{
    SWARM_STATE_VERSION, Standing, SwarmModel, SwarmQuestion, SwarmState, ZoneText, list_digest,
};
use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};
use reg_proto::wire::{
    DocumentsOf, Frame, Held, Message, ModelDocuments, PublisherVows, Records, Rejection, Request, Response,
};

/// Size, digest, digest of the states, and states of a blob.
///
/// A SHA-256 in pure Python, written from FIPS 180-4 without code of this crate, computed them. Byte `i` of the blob is
/// `(7 i + (i >> 8)) mod 256`.
const STATES: &str = include_str!("../golden/states.txt");

#[test]
fn piece_states_are_those_of_an_independent_sha256() {
    for line in STATES.lines() {
        let [size, digest, states_digest, states] =
            line.split(' ').collect::<Vec<_>>().try_into().expect("four columns");
        let size: usize = size.parse().expect("a size");
        let mut hasher = StateHasher::new();
        hasher.update(&(0..size).map(|i| (i * 7 + (i >> 8)) as u8).collect::<Vec<u8>>());
        let hashed = hasher.finish().expect("a blob");
        assert_eq!(hashed.digest.hex(), digest, "{size}");
        assert_eq!(hashed.states.digest().hex(), states_digest, "{size}");
        let shown = data_encoding::HEXLOWER.encode(&hashed.states.to_bytes());
        assert_eq!(if shown.is_empty() { "-" } else { &shown }, states, "{size}");
    }
}

/// Returns one line for each format, with fixed contents.
fn samples() -> String {
    let key = SigningKey::from_bytes(&[7; 32]);
    let document = KeyDocument::first(PublicKey::of(&key));
    let publisher = publisher_id(&document.to_payload());
    let manifest = Digest::of(b"manifest");
    let record = TagRecord {
        publisher,
        model: "Tiny-1".parse().expect("a name"),
        tag: Tag::latest(),
        seq: 2,
        prev: Some(Digest::of(b"prev")),
        manifest: ManifestPointer { digest: manifest, size: 8 },
        key_document: 1,
        issued: 1_700_000_000,
        fresh_until: Some(1_800_000_000),
        expires: None,
        settles: Bounded::empty(),
        min_usable: None,
    };
    let provenance = Provenance {
        publisher,
        model: "Tiny-1".parse().expect("a name"),
        key_document: 1,
        issued: 1_700_000_000,
        states: [(Digest::of(b"blob"), Digest::of(b"states"))].into(),
    };
    let sign = |kind: &str, payload| Envelope::sign(kind, payload, &[&key]).to_json();
    let tag = sign(TAG_RECORD_TYPE, record.to_payload());
    let statement = sign(STATEMENT_PAYLOAD_TYPE, provenance.to_payload(&manifest));
    let referrer = Referrer {
        artifact_type: PROVENANCE_ARTIFACT_TYPE.to_owned(),
        subject: Descriptor::new(MANIFEST_TYPE, manifest, 8),
        document: Descriptor::of(ENVELOPE_MEDIA_TYPE, statement.as_bytes()),
    };
    let holder = Holder {
        peer: PeerId::from_public_key([3; 32]),
        addresses: Bounded::first_of(["/ip4/192.0.2.1/tcp/4600".parse().expect("an address")]),
    };
    let documents = || Bounded::first_of([document.sign(&key).to_json()]);
    let announcement = Announcement {
        tag: Some(tag.clone()),
        key_documents: documents(),
        holder: holder.clone(),
        card: None,
        contradicted_by: None,
        revocations: Bounded::empty(),
    };
    let mut pieces = PieceSet::new(9);
    pieces.insert(pieces.piece(8).expect("a piece"));
    let (blob, subject) = (Digest::of(b"blob"), manifest);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let mut lines = vec![
        text(document.to_payload()),
        document.sign(&key).to_json(),
        text(record.to_payload()),
        tag.clone(),
        text(provenance.to_payload(&manifest)),
        statement,
        text(referrer.to_bytes()),
        text(announcement.to_bytes()),
    ];
    let requests = [
        Request::GetRecords { publisher, model: Some(record.model.clone()), tag: None, documents: None },
        Request::GetDocument { digest: manifest },
        Request::Referrers { subject, artifact_type: None },
        Request::GetHolders { manifest },
        Request::GetHeads { after: Some(blob) },
    ];
    let records =
        Records { key_documents: documents(), tags: Bounded::first_of([tag.clone()]), ..Records::default() };
    let responses = [
        Response::Records(records),
        Response::Document { bytes: b"{}".to_vec() },
        Response::Referrers { manifests: Bounded::empty() },
        Response::Holders { holders: Bounded::first_of([holder.clone()]) },
        Response::Heads { announcements: Bounded::empty() },
        Response::NotFound,
        Response::Busy { retry_ms: 5 },
    ];
    let frames = [
        Frame::Follow { blob },
        Frame::Unfollow { blob },
        Frame::GetStates { blob },
        Frame::Request { id: 1, blob, first: 2, count: 3 },
        Frame::Cancel { id: 1 },
        Frame::Complain { blob, piece: 2 },
        Frame::Holds { blob, pieces: Held::from_set(&pieces) },
        Frame::Holds { blob, pieces: Held::All },
        Frame::States { blob, bytes: vec![1; 32] },
        Frame::Piece { id: 1, piece: 2, bytes: b"piece".to_vec() },
        Frame::Reject { id: 1, reason: Rejection::Busy { retry_ms: 5 } },
        Frame::NoStates { blob },
    ];
    let hex = |bytes: Vec<u8>| data_encoding::HEXLOWER.encode(&bytes);
    lines.extend(requests.iter().map(|it| hex(it.to_bytes())));
    lines.extend(responses.iter().map(|it| hex(it.to_bytes())));
    lines.extend(frames.iter().map(|it| hex(it.to_bytes())));
    // Later formats come last, so that the lines above keep their places.
    let floored = KeyDocument { floor: Some(9), ..document.clone() };
    let settling = TagRecord { settles: Bounded::first_of([manifest, blob]), ..record.clone() };
    let revocation = |subject| Revocation {
        publisher,
        subject,
        key_document: 1,
        issued: 1_700_000_000,
        reason: "withdrawn".parse().expect("a line"),
    };
    let revoked = [Revoked::Key(PublicKey::of(&key)), Revoked::Manifest(manifest), Revoked::Delegation(blob)];
    let delegation = Delegation {
        publisher,
        models: "tiny-*".parse().expect("a pattern"),
        to: publisher_id(b"friend"),
        key_document: 1,
        issued: 1_700_000_000,
        expires: 1_800_000_000,
    };
    lines.push(text(floored.to_payload()));
    lines.push(text(settling.to_payload()));
    lines.extend(revoked.map(|subject| text(revocation(subject).to_payload())));
    lines.push(text(delegation.to_payload()));
    let revocation = sign(REVOCATION_TYPE, revocation(revoked[0]).to_payload());
    let delegation = sign(DELEGATION_TYPE, delegation.to_payload());
    let settling = sign(TAG_RECORD_TYPE, settling.to_payload());
    let proof = EquivocationClaim { one: tag, two: settling.clone() };
    let announcement = Announcement {
        card: None,
        contradicted_by: Some(settling),
        revocations: Bounded::first_of([revocation.clone()]),
        ..announcement
    };
    lines.push(text(announcement.to_bytes()));
    let vows =
        PublisherVows { key_documents: documents(), revocations: Bounded::first_of([revocation.clone()]) };
    let without_tag = Announcement { tag: None, contradicted_by: None, ..announcement };
    let records = Records {
        key_documents: documents(),
        revocations: Bounded::first_of([revocation]),
        delegations: Bounded::first_of([delegation]),
        proofs: Bounded::first_of([proof]),
        ..Records::default()
    };
    lines.push(hex(Response::Records(records).to_bytes()));
    lines.push(hex(Request::GetPeers.to_bytes()));
    lines.push(hex(Response::Peers { peers: Bounded::first_of([holder]) }.to_bytes()));
    lines.push(hex(Frame::Has { blob, runs: Bounded::first_of([(3, 2), (9, 1)]) }.to_bytes()));
    lines.push(text(without_tag.to_bytes()));
    lines.push(hex(Request::GetVows { after: None }.to_bytes()));
    lines.push(hex(Response::Vows { publishers: Bounded::first_of([vows]) }.to_bytes()));
    let wanted = DocumentsOf { manifest: Some(manifest), unless: Some(blob), brief: true };
    let (model, documents) = (Some(record.model.clone()), Some(wanted));
    lines.push(hex(Request::GetRecords { publisher, model, tag: None, documents }.to_bytes()));
    let mut documents = ModelDocuments::of(manifest, true, [blob]);
    documents.add([b"{}".to_vec(), b"[]".to_vec()]);
    let records = Records { documents: Some(documents), ..Records::default() };
    lines.push(hex(Response::Records(records).to_bytes()));
    let models = [SwarmModel {
        manifest,
        publisher,
        model: record.model.clone(),
        tag: Some(record.tag.clone()),
        bytes: 5,
        standing: Standing::Spread,
    }];
    let version = SWARM_STATE_VERSION;
    let state = SwarmState {
        version,
        zone: ZoneText::new("rack-1".to_owned()),
        replicas: 3,
        draining: false,
        room: 7,
        list: list_digest(&models),
        total: 1,
        models: Bounded::empty(),
    };
    let question = SwarmQuestion { version, from: 0, unless: Some(blob) };
    lines.push(hex(Request::GetSwarmState(question).to_bytes()));
    lines.push(hex(Response::SwarmState(state.answer(&question, &models)).to_bytes()));
    lines.join("\n") + "\n"
}

#[test]
fn records_and_messages_are_golden() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/formats.txt");
    let samples = samples();
    if std::env::var_os("REG_BLESS").is_some() {
        // For a new format only: a changed line breaks existing nodes and files.
        std::fs::write(path, &samples).expect("written");
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    for (number, (found, expected)) in samples.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    assert_eq!(samples.lines().count(), golden.lines().count(), "a format was added: add its line");
}
