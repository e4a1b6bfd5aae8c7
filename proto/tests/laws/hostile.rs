//! Runs every parser of this crate on 10,000 hostile inputs. None may panic, or exceed its limits.

use std::io::Cursor;

use proptest::prelude::*;
use reg_proto::announcement::Announcement;
use reg_proto::attestation::{Attestation, AttestationKind, AttestationResult, Mirror, Said};
use reg_proto::bounded::Bounded;
use reg_proto::catalogue::{
    Card, Collected, Collection, Differing, Listing, ListingsPage, Questions, RootsPage, SampleQuestion,
    ShortName, SignedListing, Tombstone, take_sample,
};
use reg_proto::content::inspect;
use reg_proto::content::kind::{ContentKind, sniff};
use reg_proto::content::label::Label;
use reg_proto::content::{
    card, gguf, model_config, onnx, safetensors, shards, tokenizer_config, weight_index,
};
use reg_proto::delegation::{Delegation, SignedDelegation};
use reg_proto::denylist::{Denied, Denylist};
use reg_proto::digest::Digest;
use reg_proto::domain::Domain;
use reg_proto::domain_record::DomainRecord;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::equivocation::{Equivocation, EquivocationClaim};
use reg_proto::glob::ModelGlob;
use reg_proto::json;
use reg_proto::key::{
    Inheritance, KEY_DOCUMENT_TYPE, KEY_DOCUMENT_V2_TYPE, KeyDocument, KeyHistory, publisher_id,
};
use reg_proto::layout::{self, CarriedModel, LayoutIndex};
use reg_proto::limits::DOMAIN_TXT_BYTES_MAX;
use reg_proto::manifest::{Manifest, ModelConfig};
use reg_proto::name::{ModelName, Petname, Publisher, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::peer::{Address, PeerId};
use reg_proto::piece::{BlobLayout, PieceSet};
use reg_proto::profile::{Homepage, Profile, SignedProfile};
use reg_proto::provenance::Provenance;
use reg_proto::referrer::Referrer;
use reg_proto::revocation::{Reason, Revocation};
use reg_proto::states::PieceStates;
use reg_proto::tag::{SignedTag, TagRecord};
use reg_proto::ticket::Ticket;
use reg_proto::wire::{Frame, Message, Records, Request, Response};

const CASES: u32 = 10_000;

/// A parser, which returns whether it accepted the bytes.
type Parser = fn(&[u8]) -> bool;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The keys that signed the golden records.
fn keys() -> KeyHistory {
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let document = KeyDocument::first(PublicKey::of(&key));
    KeyHistory::verify(publisher_id(&document.to_payload()), &[document.sign(&key).to_json()]).expect("keys")
}

fn takes_revocation(text: &str) -> bool {
    let mut keys = keys();
    keys.take_revocations([text]);
    keys.revocations().count() > 0
}

/// Every parser by name. The fuzz targets run the same list.
const PARSERS: [(&str, Parser); 50] = [
    ("digest", |bytes| text(bytes).parse::<Digest>().is_ok() | Digest::from_hex(&text(bytes)).is_ok()),
    ("reference", |bytes| text(bytes).parse::<Reference>().is_ok() | text(bytes).parse::<Ticket>().is_ok()),
    ("publisher", |bytes| text(bytes).parse::<Publisher>().is_ok()),
    ("model name", |bytes| text(bytes).parse::<ModelName>().is_ok()),
    ("tag", |bytes| text(bytes).parse::<Tag>().is_ok()),
    ("path", |bytes| {
        let (parsed, any) = (text(bytes).parse::<SafePath>(), SafePath::in_any_form(&text(bytes)));
        assert!(parsed.is_err() || any == parsed, "a path in our form is read as it is");
        any.is_ok_and(|path| !path.portable().is_empty())
    }),
    ("peer id", |bytes| text(bytes).parse::<PeerId>().is_ok() | PeerId::from_multihash_bytes(bytes).is_ok()),
    ("address", |bytes| text(bytes).parse::<Address>().is_ok()),
    ("public key", |bytes| text(bytes).parse::<PublicKey>().is_ok()),
    ("envelope", |bytes| Envelope::from_bytes(bytes, 1 << 20).is_ok()),
    ("word", |bytes| {
        let text = text(bytes);
        let shown =
            text.parse::<Label>().is_ok() | text.parse::<Reason>().is_ok() | Label::cut(&text).is_some();
        let named = text.parse::<Petname>().is_ok() | text.parse::<PublisherId>().is_ok();
        let kind = text.parse::<AttestationKind>().is_ok() | text.parse::<AttestationResult>().is_ok();
        shown | named | kind | text.parse::<Denied>().is_ok()
    }),
    ("key document", |bytes| {
        [KEY_DOCUMENT_TYPE, KEY_DOCUMENT_V2_TYPE]
            .iter()
            .any(|payload_type| KeyDocument::from_payload(payload_type, bytes).is_ok())
    }),
    ("key history", |bytes| {
        let verified = KeyHistory::verify(publisher_id(b""), &[text(bytes)]).is_ok();
        let listed = KeyHistory::from_json(publisher_id(b""), bytes).is_ok();
        verified | listed | KeyHistory::read_json(bytes).is_ok()
    }),
    ("tag record", |bytes| {
        let verified = SignedTag::verify(&text(bytes), &keys()).is_ok();
        TagRecord::from_payload(bytes).is_ok() | verified | SignedTag::of_verified(&text(bytes)).is_ok()
    }),
    ("inheritance list", |bytes| {
        Inheritance::from_bytes(bytes).is_ok() | Inheritance::from_text(&text(bytes)).is_ok()
    }),
    ("revocation", |bytes| {
        let is_read =
            Revocation::from_payload(bytes).is_ok() | Revocation::read_subject(&text(bytes)).is_ok();
        is_read | takes_revocation(&text(bytes))
    }),
    ("delegation", |bytes| {
        Delegation::from_payload(bytes).is_ok() | SignedDelegation::verify(&text(bytes), &keys()).is_ok()
    }),
    ("domain", |bytes| {
        text(bytes).parse::<Domain>().is_ok_and(|domain| {
            assert_eq!(domain.as_str().parse(), Ok(domain.clone()), "A-labels stay what they are");
            assert!(domain.as_str().len() <= 253 && domain.as_str().is_ascii());
            let _shown = (domain.shown(), domain.mixes_scripts());
            true
        })
    }),
    ("domain record", |bytes| {
        let (file, txt) = (DomainRecord::from_file(bytes), text(bytes));
        let txt = DomainRecord::from_txt([txt.as_str()]).ok().flatten();
        let read: Vec<DomainRecord> = file.into_iter().chain(txt).collect();
        read.iter().for_each(|it| {
            assert_eq!(DomainRecord::from_file(it.to_file().as_bytes()).ok().as_ref(), Some(it));
            assert!(it.to_txt().len() <= DOMAIN_TXT_BYTES_MAX);
        });
        !read.is_empty()
    }),
    ("profile", |bytes| {
        Profile::from_payload(bytes).is_ok()
            | text(bytes).parse::<Homepage>().is_ok()
            | SignedProfile::verify(&text(bytes), &keys()).is_ok()
    }),
    ("pattern", |bytes| {
        let model: ModelName = "a-model.b".parse().expect("a name");
        text(bytes).parse::<ModelGlob>().map(|glob| glob.covers(&model)).is_ok()
    }),
    ("equivocation", |bytes| {
        json::from_slice::<EquivocationClaim>(bytes, 1 << 20)
            .is_ok_and(|claim| Equivocation::verify(&claim, &keys()).is_ok())
    }),
    ("provenance", |bytes| Provenance::from_payload(bytes, &Digest::of(b"manifest")).is_ok()),
    ("attestation", |bytes| {
        let manifest = Digest::of(b"manifest");
        Attestation::from_payload(bytes, &manifest).is_ok()
            | Mirror::from_payload(bytes, &manifest).is_ok()
            | Said::read(&text(bytes), &manifest).is_ok()
    }),
    ("denylist", |bytes| Denylist::from_bytes(bytes).is_ok()),
    ("signed card", |bytes| {
        let short = text(bytes).parse::<ShortName>().is_ok();
        Card::from_payload(bytes).is_ok_and(|card| {
            let payload = card.fitted().to_payload();
            Card::from_payload(&payload).is_ok()
        }) | short
    }),
    ("tombstone", |bytes| Tombstone::from_payload(bytes).is_ok()),
    ("collection", |bytes| {
        let collected = text(bytes).parse::<Collected>();
        assert!(
            collected.as_ref().is_ok_and(|it| it.to_string().parse().as_ref() == Ok(it))
                || collected.is_err()
        );
        Collection::from_bytes(bytes).is_ok() | collected.is_ok()
    }),
    ("listing", |bytes| {
        let (text, card) = (text(bytes), Some(text(bytes)));
        let tombstone = Listing::Tombstone { tombstone: text.clone() };
        let listings = [
            tombstone,
            Listing::Record { record: text.clone(), card: None },
            Listing::Record { record: text, card },
        ];
        listings.iter().any(|it| it.read().is_ok() | SignedListing::verify(it, &keys()).is_ok())
    }),
    ("pages of roots and of listings", |bytes| {
        let page = RootsPage { bytes: bytes.to_vec() };
        assert!(page.roots().is_err() || page.roots().is_ok_and(|it| it.len() * 32 == bytes.len()));
        let bits = Differing { bytes: bytes.to_vec() }.bits(bytes.len() * 8);
        let page = ListingsPage { more: false, bytes: bytes.to_vec() };
        let sample = take_sample(&page, SampleQuestion { count: u8::MAX, seed: 0 });
        page.blocks().is_ok() | sample.is_ok() | bits.is_err()
    }),
    ("questions for listings", |bytes| Questions { bytes: bytes.to_vec() }.questions().is_ok()),
    ("manifest", |bytes| Manifest::from_bytes(bytes).is_ok()),
    ("model config", |bytes| ModelConfig::from_bytes(bytes).is_ok()),
    ("referrer", |bytes| Referrer::from_bytes(bytes).is_ok()),
    ("layout", |bytes| {
        let listed = LayoutIndex::from_bytes(bytes).is_ok() | CarriedModel::from_bytes(bytes).is_ok();
        listed | layout::check_marker(bytes).is_ok()
    }),
    ("announcement", |bytes| Announcement::from_bytes(bytes).is_ok()),
    ("request", |bytes| Request::from_bytes(bytes).is_ok()),
    ("response", |bytes| Response::from_bytes(bytes).is_ok()),
    ("frame", |bytes| Frame::from_bytes(bytes).is_ok()),
    ("piece set", |bytes| PieceSet::from_bytes(bytes.len() as u32 * 8, bytes).is_ok()),
    ("states", |bytes| {
        BlobLayout::new(1 + ((bytes.len() as u64) << 15))
            .is_ok_and(|layout| PieceStates::parse(layout, bytes).is_ok())
    }),
    ("safetensors", |bytes| {
        let header = bytes.len() as u64;
        [0, 8, 1 << 20, u64::MAX - 8 - header].iter().any(|data| {
            assert_eq!(
                safetensors::read(&mut { bytes }, header, 8 + header + data).is_ok(),
                safetensors::parse(bytes, 8 + header + data).is_ok()
            );
            safetensors::parse(bytes, 8 + header + data).is_ok_and(|file| {
                file.places(header)
                    .iter()
                    .for_each(|it| assert!(it.begin <= it.end && it.end <= 8 + header + data));
                file.subset(&file.tensors.iter().collect::<Vec<_>>()).len() > 8
            })
        })
    }),
    ("gguf", |bytes| {
        let size = bytes.len() as u64;
        [size, size + (1 << 20), u64::MAX].iter().any(|size| {
            gguf::read_chat_template(&mut { bytes }, *size).is_ok()
                & gguf::read(&mut { bytes }, *size)
                    .is_ok_and(|file| file.places().iter().all(|it| it.end <= *size))
        })
    }),
    ("tokenizer's configuration", |bytes| {
        tokenizer_config::parse(bytes).is_ok() | tokenizer_config::template_text(bytes).is_some()
    }),
    ("index of weights", |bytes| weight_index::parse(bytes).is_ok()),
    ("shards of TensorFlow.js", |bytes| shards::tfjs(bytes).is_some()),
    ("shards of MLC", |bytes| shards::mlc(bytes).is_some()),
    ("graph of ONNX", |bytes| {
        let size = bytes.len() as u64;
        onnx::read(&mut Cursor::new(bytes), size).is_ok()
            & onnx::read(&mut Cursor::new(bytes), size + 1).is_err()
    }),
    ("kind", |bytes| {
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        [sniff("README.md", bytes, bytes, bytes.len() as u64), sniff("weights.dat", head, tail, u64::MAX)]
            .iter()
            .any(|kind| *kind != ContentKind::UnknownBinary)
    }),
    ("card, config.json and files of any kind", |bytes| {
        let mut any = card::parse(bytes).is_ok() | model_config::parse(bytes).is_ok();
        for name in [
            "README.md",
            "config.json",
            "tokenizer_config.json",
            "m.safetensors",
            "m.gguf",
            "a.index.json",
            "x.bin",
            "x.npz",
            "x.h5",
            "x.keras",
            "x.onnx",
            "x.xml",
            "model.json",
            "tensor-cache.json",
            "saved_model.pb",
            "x.gguf.part1of2",
        ] {
            let path: SafePath = name.parse().expect("a path");
            let size = bytes.len() as u64;
            let looked = inspect::look(&path, &mut Cursor::new(bytes), size).map(|it| it.format);
            let inspected = inspect::inspect(&path, &mut Cursor::new(bytes), size);
            if let Ok(inspected) = &inspected {
                assert_eq!(looked.ok(), Some(inspected.format), "{name}");
            }
            any |= inspected.is_ok();
        }
        any
    }),
];

/// Returns valid samples. Their mutations get further into a parser than random bytes.
fn seeds() -> Vec<Vec<u8>> {
    let golden = [
        include_str!("../golden/formats.txt"),
        include_str!("../golden/trust.txt"),
        include_str!("../golden/domains.txt"),
        include_str!("../golden/catalogue.txt"),
        include_str!("../golden/manifest.json"),
    ];
    let mut seeds: Vec<Vec<u8>> =
        golden.iter().flat_map(|it| it.lines()).map(|line| line.as_bytes().to_vec()).collect();
    let from_hex: Vec<Vec<u8>> =
        seeds.iter().filter_map(|line| data_encoding::HEXLOWER.decode(line).ok()).collect();
    // The payloads of messages alone, too.
    seeds.extend(from_hex.iter().filter_map(|message| {
        let (prefix, rest) = message.split_first_chunk()?;
        let (header, _) = Frame::lengths(*prefix).ok()?;
        rest.get(header..).map(<[u8]>::to_vec)
    }));
    seeds.extend(from_hex);
    seeds
        .push(br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"a":"b"}}"#.to_vec());
    let mut gguf = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0name\x08\0\0\0\x01\0\0\0\0\0\0\0x".to_vec();
    gguf.extend(b"\x01\0\0\0\0\0\0\0w\x01\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    gguf.resize(160, 0);
    seeds.push(gguf);
    seeds.push(
        b"\x08\x08\x12\x04test\x3a\x1b\x2a\x19\x42\x01w\x6a\x14\x0a\x08location\x12\x08data.bin".to_vec(),
    );
    seeds.push(b"\x89HDF\r\n\x1a\n\0\0 {\"class_name\": \"Lambda\"}".to_vec());
    seeds.push(b"\xff\xfea\0b\0\x3d\xd8\x00\xde".to_vec());
    seeds.push(b"---\nlicense: mit\nbase_model: [a/b, &x c/d, *x]\ntags: {a: [1, 2]}\n---\n# x".to_vec());
    seeds.push(
        b"publisher/model:tag@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            .to_vec(),
    );
    seeds.push(keys().to_json().into_bytes());
    seeds.push(layout::marker());
    let carried = CarriedModel {
        version: layout::CARRIED_VERSION,
        publisher: keys().publisher(),
        model: "model".parse().expect("a name"),
        tag: "tag".parse().ok(),
        manifest: Digest::of(b"manifest"),
        files: None,
        referrers: Bounded::empty(),
        records: Records { key_documents: Bounded::first_of(keys().texts()), ..Records::default() },
    };
    seeds.push(carried.to_bytes());
    seeds.push(LayoutIndex { manifests: vec![carried.descriptor(9, "tag")] }.to_bytes());
    seeds
}

/// Returns random bytes, or a sample that is cut, altered, repeated or spliced.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let seeds = seeds();
    let bent = (
        prop::sample::select(seeds.clone()),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        any::<prop::sample::Index>(),
        prop::sample::select(seeds),
        0u8..4,
    )
        .prop_map(|(mut seed, edits, at, other, how)| {
            for (place, byte) in edits {
                if !seed.is_empty() {
                    let place = place.index(seed.len());
                    seed[place] = byte;
                }
            }
            let cut = if seed.is_empty() { 0 } else { at.index(seed.len()) };
            match how {
                0 => seed.truncate(cut),
                1 => {
                    seed.truncate(cut);
                    seed.extend(other);
                }
                2 => seed.extend_from_within(cut..),
                _ => {}
            }
            seed
        });
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..300), 4 => bent]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_input_makes_a_parser_panic(bytes in hostile()) {
        for (_, parse) in PARSERS {
            parse(&bytes);
        }
    }
}

#[test]
fn every_parser_takes_some_sample() {
    let mut seeds = seeds();
    seeds.extend([
        "acme".into(),
        "acme.org".into(),
        "/ip4/1.2.3.4".into(),
        Digest::of(b"").to_string().into_bytes(),
        vec![0; 64],
        Vec::new(),
    ]);
    seeds.push(PeerId::from_public_key([3; 32]).to_string().into_bytes());
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    seeds.push(PublicKey::of(&key).to_string().into_bytes());
    seeds.push(br#"{"descriptor":{},"modelfs":{"type":"layers","diffIds":[]}}"#.to_vec());
    seeds.push(KeyDocument::first(PublicKey::of(&key)).to_payload());
    seeds.push(br#"{"weight_map":{"w":"model-00001-of-00002.safetensors"}}"#.to_vec());
    seeds.push(br#"{"weightsManifest":[{"paths":["group1-shard1of1.bin"]}]}"#.to_vec());
    seeds.push(br#"{"records":[{"dataPath":"params_shard_0.bin"}]}"#.to_vec());
    // These parsers accept only input for one publisher and one manifest, so no fixed sample passes them.
    let other = ["equivocation", "states"];
    for (name, parse) in PARSERS {
        assert!(other.contains(&name) || seeds.iter().any(|seed| parse(seed)), "{name} takes no sample");
    }
}

#[test]
fn our_own_records_take_no_unknown_missing_or_double_field() {
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let document = String::from_utf8(KeyDocument::first(PublicKey::of(&key)).to_payload()).expect("text");
    let golden: Vec<&str> = include_str!("../golden/formats.txt").lines().collect();
    let trust: Vec<&str> = include_str!("../golden/trust.txt").lines().collect();
    let (record, statement) = (golden[2], golden[4]);
    let manifest = Digest::of(b"manifest");
    let takes_document = |text: &str| {
        let envelope = Envelope::sign(KEY_DOCUMENT_TYPE, text.as_bytes().to_vec(), &[&key]).to_json();
        KeyHistory::verify(publisher_id(text.as_bytes()), &[envelope]).is_ok()
    };
    let takes_record = |text: &str| TagRecord::from_payload(text.as_bytes()).is_ok();
    let takes_statement = |text: &str| Provenance::from_payload(text.as_bytes(), &manifest).is_ok();
    let takes_attestation = |text: &str| Attestation::from_payload(text.as_bytes(), &manifest).is_ok();
    let takes_list = |text: &str| Denylist::from_bytes(text.as_bytes()).is_ok();
    let (attestation, list) = (trust[0], trust[4]);
    let said = ["publisher", "key_document", "issued", "kind", "result", "tool", "note"];
    bend(attestation, &said, &takes_attestation);
    bend(list, &["version", "expires", "entries", "deny", "reason"], &takes_list);
    bend(&document, &["version", "keys", "threshold", "previous", "next"], &takes_document);
    let fields = [
        "publisher",
        "model",
        "tag",
        "seq",
        "prev",
        "manifest",
        "key_document",
        "issued",
        "fresh_until",
        "expires",
    ];
    bend(record, &fields, &takes_record);
    let line = |begins: &str| {
        *golden
            .iter()
            .find(|line| line.starts_with("{\"publisher\"") && line.contains(begins))
            .expect("a line")
    };
    let takes_revoked = |text: &str| Revocation::from_payload(text.as_bytes()).is_ok();
    let fields = ["publisher", "subject", "key_document", "issued", "reason"];
    bend(line("\"subject\""), &fields, &takes_revoked);
    let takes_delegation = |text: &str| Delegation::from_payload(text.as_bytes()).is_ok();
    let fields = ["publisher", "models", "to", "key_document", "issued", "expires"];
    bend(line("\"models\""), &fields, &takes_delegation);
    let takes_profile = |text: &str| Profile::from_payload(text.as_bytes()).is_ok();
    let fields = ["publisher", "seq", "prev", "domain", "title", "url", "key_document", "issued"];
    let domains: Vec<&str> = include_str!("../golden/domains.txt").lines().collect();
    bend(domains[0], &fields, &takes_profile);
    let listed: Vec<&str> = include_str!("../golden/catalogue.txt").lines().collect();
    let takes_card = |text: &str| Card::from_payload(text.as_bytes()).is_ok();
    let fields =
        ["publisher", "model", "manifest", "claimed", "languages", "computed", "formats", "bytes", "content"];
    bend(listed[1], &fields, &takes_card);
    let takes_tombstone = |text: &str| Tombstone::from_payload(text.as_bytes()).is_ok();
    bend(listed[2], &["publisher", "model", "tag", "seq", "key_document", "issued"], &takes_tombstone);
    let takes_collection = |text: &str| Collection::from_bytes(text.as_bytes()).is_ok();
    bend(listed[3], &["version", "name", "title", "entries", "collect"], &takes_collection);
    let with_null = |text: &str, field: &str| text.replace('}', &format!(",\"{field}\":null}}"));
    assert!(!takes_document(&with_null(&document, "floor")), "absence has one spelling");
    bend(statement, &["publisher", "model", "key_document", "issued", "states"], &takes_statement);
}

/// Renames, repeats and adds fields of a valid record.
fn bend(text: &str, fields: &[&str], takes: &dyn Fn(&str) -> bool) {
    assert!(takes(text), "{text}");
    for field in fields {
        let named = format!("\"{field}\":");
        let at = text.rfind(&named).expect("the field is there");
        let with = |insert: &str| format!("{}{insert}{}", &text[..at], &text[at..]);
        assert!(!takes(&text.replace(&named, &format!("\"{field}x\":"))), "{field} is missing");
        assert!(!takes(&with("\"unknown\":1,")), "a field before {field} is unknown");
        assert!(!takes(&with(&format!("{named}null,"))), "{field} is there twice");
    }
}
