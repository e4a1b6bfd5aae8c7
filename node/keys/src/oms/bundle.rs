//! The OpenSSF Model Signing bundle: a model's signature for tools that know nothing of this project.
//!
//! It is a Sigstore bundle v0.3 with an in-toto statement (<https://github.com/ossf/model-signing-spec>, spec v1.0,
//! method `certificate`, serialization `files`). A throw-away P-256 key signs it, and the publisher's ed25519 key
//! certifies that key. Only the publisher can make a bundle, so it is made when a model is signed. Nodes grant nothing
//! by a bundle: they trust the provenance.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use ed25519_dalek::{Signature, VerifyingKey};
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{self, DerSignature};
use p256::pkcs8::DecodePublicKey;
use reg_api::prepared::Prepared;
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::envelope::{PublicKey, pae};
use reg_proto::json::{self, JsonError};
use reg_proto::limits::BUNDLE_BYTES_MAX;
use reg_proto::path::SafePath;
use reg_proto::provenance::STATEMENT_PAYLOAD_TYPE;
use reg_proto::referrer::BUNDLE_ARTIFACT_TYPE;
use thiserror::Error;
use x509_parser::error::X509Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::format::{
    ALGORITHM, BundleJson, CertificateJson, Chain, EnvelopeJson, METHOD, Material, PREDICATE_TYPE, Predicate,
    Resource, STATEMENT_TYPE, Serialization, SignatureJson, Statement, Subject,
};
use crate::certificate::{self, CertificateError};
use crate::secret_key::SecretKey;

/// Names at the top of a model that every implementation ignores (spec 6.2), so a bundle must not list them.
const IGNORED_ALWAYS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];
/// The file in which the stock tool writes the signature. It is ignored, unless the model has a file of its own with
/// that name.
const SIGNATURE_FILE: &str = "model.sig";

/// Bytes before the signed part of a certificate: the header of a DER sequence of 256 to 65,535 bytes has four.
const CERTIFICATE_HEADER_BYTES: usize = 4;
/// The bytes between the signed part and the signature: the algorithm ed25519 (RFC 8410), a bit string of 64 bytes.
const SIGNATURE_HEADER: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x41, 0x00];

/// Why a bundle cannot be made, or is not one by this publisher for these files.
#[derive(Debug, Error)]
pub enum BundleError {
    #[error("model has no file that an OpenSSF signature covers")]
    NoFiles,
    #[error("model has the file {path} twice")]
    Twice { path: SafePath },
    #[error("bundle has {size} bytes, at most {BUNDLE_BYTES_MAX} are taken")]
    TooLarge { size: usize },
    #[error("bundle cannot be parsed")]
    Json(#[from] JsonError),
    #[error("bundle is of type {found:?}, not {BUNDLE_ARTIFACT_TYPE:?}")]
    MediaType { found: String },
    #[error("bundle has {certificates} certificates and {signatures} signatures, not two and one")]
    Count { certificates: usize, signatures: usize },
    #[error("bundle has a field that is not base64")]
    Base64,
    #[error("bundle has a certificate that cannot be parsed")]
    Certificate(#[from] X509Error),
    #[error("bundle is certified by another key than the publisher's")]
    OtherAuthority,
    #[error("bundle's certificate cannot be made")]
    Make(#[from] CertificateError),
    #[error("bundle's certificate is not one for signing by ECDSA with P-256")]
    Unsuitable,
    #[error("bundle's signature is wrong")]
    Signature,
    #[error("bundle is about something else than the files of this model")]
    OtherFiles,
}

/// Makes the bundle of a prepared model. The caller uses the 32 random bytes of `leaf_seed` for nothing else.
pub(crate) fn make(
    key: &SecretKey,
    prepared: &Prepared,
    leaf_seed: &[u8; 32],
) -> Result<String, BundleError> {
    let files = covered(&prepared.resources)?;
    let statement = json::to_vec(&Statement {
        kind: STATEMENT_TYPE.to_owned(),
        subject: Bounded::first_of([Subject {
            name: prepared.model.to_string(),
            digest: BTreeMap::from([(ALGORITHM.to_owned(), root(&files).hex())]),
        }]),
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: predicate(&files),
    });
    let leaf = leaf_key(leaf_seed);
    let authority = certificate::authority(key, &prepared.publisher)?;
    let point = leaf.verifying_key().to_sec1_point(false);
    let certificate =
        certificate::for_signature(key, &prepared.publisher, &authority, point.as_bytes(), prepared.issued)?;
    let signature: DerSignature = leaf.sign(&pae(STATEMENT_PAYLOAD_TYPE, &statement));
    let chain = [certificate.der(), authority.der()];
    let text = json::to_vec(&BundleJson {
        media_type: BUNDLE_ARTIFACT_TYPE.to_owned(),
        verification_material: Material {
            chain: Chain {
                certificates: Bounded::first_of(
                    chain.map(|der| CertificateJson { raw_bytes: BASE64.encode(der) }),
                ),
            },
            tlog_entries: [],
        },
        dsse_envelope: EnvelopeJson {
            payload: BASE64.encode(&statement),
            payload_type: STATEMENT_PAYLOAD_TYPE.to_owned(),
            signatures: vec![SignatureJson {
                sig: BASE64.encode(signature.as_bytes()),
                keyid: String::new(),
            }],
        },
    });
    if text.len() > BUNDLE_BYTES_MAX {
        return Err(BundleError::TooLarge { size: text.len() });
    }
    Ok(String::from_utf8(text).expect("JSON is UTF-8"))
}

/// Checks that `text` is a bundle in which one of a publisher's keys signs exactly these files.
///
/// Dates are not judged: a tool that verifies the exported files has a clock and rules of its own.
///
/// # Errors
/// Any of this does not hold. The stock tool would then refuse the bundle, or accept something else than this model.
pub fn check(text: &str, keys: &[PublicKey], files: &[(SafePath, Digest)]) -> Result<(), BundleError> {
    let bundle: BundleJson<Material, SignatureJson> = json::from_slice(text.as_bytes(), BUNDLE_BYTES_MAX)?;
    if bundle.media_type != BUNDLE_ARTIFACT_TYPE {
        return Err(BundleError::MediaType { found: bundle.media_type });
    }
    let EnvelopeJson { payload, payload_type, signatures } = bundle.dsse_envelope;
    let certificates = bundle.verification_material.chain.certificates;
    let ([leaf, authority], [signature]) = (&certificates[..], &signatures[..]) else {
        return Err(BundleError::Count { certificates: certificates.len(), signatures: signatures.len() });
    };
    let leaf = check_chain(&base64(&leaf.raw_bytes)?, &base64(&authority.raw_bytes)?, keys)?;
    let payload = base64(&payload)?;
    let signature =
        DerSignature::try_from(&base64(&signature.sig)?[..]).map_err(|_| BundleError::Signature)?;
    if payload_type != STATEMENT_PAYLOAD_TYPE
        || leaf.verify(&pae(&payload_type, &payload), &signature).is_err()
    {
        return Err(BundleError::Signature);
    }
    check_statement(&payload, files)
}

/// Returns the key that signed, if it is one of `keys` and has signed the leaf's and the authority's certificate.
fn check_chain(
    leaf_der: &[u8],
    authority_der: &[u8],
    keys: &[PublicKey],
) -> Result<ecdsa::VerifyingKey, BundleError> {
    let (leaf, authority) = (certificate(leaf_der)?, certificate(authority_der)?);
    let by = keys.iter().find(|key| key.as_bytes()[..] == *authority.public_key().subject_public_key.data);
    let by = by.ok_or(BundleError::OtherAuthority)?;
    let signed = is_signed_by(authority_der, &authority, by) && is_signed_by(leaf_der, &leaf, by);
    if !signed || leaf.issuer() != authority.subject() {
        return Err(BundleError::OtherAuthority);
    }
    let usage = leaf.key_usage().map_err(|_| BundleError::Unsuitable)?;
    if !usage.is_some_and(|usage| usage.value.digital_signature()) {
        return Err(BundleError::Unsuitable);
    }
    ecdsa::VerifyingKey::from_public_key_der(leaf.public_key().raw).map_err(|_| BundleError::Unsuitable)
}

fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, X509Error> {
    match X509Certificate::from_der(der) {
        Ok((&[], certificate)) => Ok(certificate),
        Ok(_) | Err(x509_parser::nom::Err::Incomplete(_)) => Err(X509Error::InvalidCertificate),
        Err(x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error)) => Err(error),
    }
}

/// Tells whether `key` signed the certificate. The bytes around the signed part are not signed, so only one form of
/// them is accepted.
fn is_signed_by(der: &[u8], certificate: &X509Certificate<'_>, key: &PublicKey) -> bool {
    let signed = certificate.tbs_certificate.as_ref();
    let Some((rest, signature)) = der.split_last_chunk() else { return false };
    let Some(rest) = rest.strip_suffix(&SIGNATURE_HEADER) else { return false };
    let Ok(key) = VerifyingKey::from_bytes(key.as_bytes()) else { return false };
    rest.len() == CERTIFICATE_HEADER_BYTES + signed.len()
        && key.verify_strict(signed, &Signature::from_bytes(signature)).is_ok()
}

fn check_statement(payload: &[u8], files: &[(SafePath, Digest)]) -> Result<(), BundleError> {
    let statement: Statement<Subject, Predicate> = json::from_slice(payload, BUNDLE_BYTES_MAX)?;
    let Statement { kind, subject, predicate_type, predicate: found } = statement;
    let files = covered(files)?;
    let root = root(&files).hex();
    let same = kind == STATEMENT_TYPE
        && predicate_type == PREDICATE_TYPE
        && subject.len() == 1
        && subject.iter().all(|it| it.digest.get(ALGORITHM) == Some(&root))
        && found == predicate(&files);
    if same { Ok(()) } else { Err(BundleError::OtherFiles) }
}

/// The listed files in the order of their names' code points, which is that of their UTF-8 bytes.
type Covered<'a> = BTreeMap<&'a str, &'a Digest>;

fn covered(files: &[(SafePath, Digest)]) -> Result<Covered<'_>, BundleError> {
    let is_ignored = |path: &SafePath| path.segments().next().is_some_and(|it| IGNORED_ALWAYS.contains(&it));
    let mut covered = Covered::new();
    for (path, digest) in files.iter().filter(|(path, _)| !is_ignored(path)) {
        if covered.insert(path.as_str(), digest).is_some() {
            return Err(BundleError::Twice { path: path.clone() });
        }
    }
    if covered.is_empty() { Err(BundleError::NoFiles) } else { Ok(covered) }
}

/// Returns the digest over the raw digests of the files, in their order. It does not cover names (spec 6.5.1).
fn root(files: &Covered<'_>) -> Digest {
    let digests: Vec<[u8; 32]> = files.values().map(|digest| *digest.as_bytes()).collect();
    Digest::of(digests.as_flattened())
}

fn predicate(files: &Covered<'_>) -> Predicate {
    let is_signature = |path: &&str| path.split('/').next() == Some(SIGNATURE_FILE);
    let signature = if files.keys().any(is_signature) { None } else { Some(SIGNATURE_FILE) };
    let serialization = Serialization {
        method: METHOD.to_owned(),
        hash_type: ALGORITHM.to_owned(),
        allow_symlinks: false,
        ignore_paths: IGNORED_ALWAYS.into_iter().chain(signature).map(str::to_owned).collect(),
    };
    let resources = files.iter().map(|(path, digest)| Resource {
        name: (*path).to_owned(),
        algorithm: ALGORITHM.to_owned(),
        digest: digest.hex(),
    });
    Predicate { serialization, resources: Bounded::first_of(resources) }
}

/// Returns the key of a seed. One bit of the seed is cleared so that every seed gives a valid key: below 2^255, and so
/// below the order of P-256.
fn leaf_key(seed: &[u8; 32]) -> ecdsa::SigningKey {
    let mut scalar = zeroize::Zeroizing::new(*seed);
    scalar[0] &= 0x7f;
    ecdsa::SigningKey::from_slice(&scalar[..]).expect("32 random bytes are not all zero")
}

fn base64(text: &str) -> Result<Vec<u8>, BundleError> {
    BASE64.decode(text.as_bytes()).map_err(|_| BundleError::Base64)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::publisher_key::PublisherKey;
    use crate::publisher_key::tests::{key, prepared};

    const FILES: [(&str, &[u8]); 8] = [
        ("config.json", b"{}"),
        ("a/b", b"below a"),
        ("a-b", b"beside a"),
        ("empty", b""),
        ("modèle/été.md", b"# \xc3\xa9t\xc3\xa9\n"),
        ("日本語.txt", b"text"),
        (".gitattributes", b"*.bin filter=lfs\n"),
        ("sub/.gitignore", b"*\n"),
    ];

    fn sample(signer: &PublisherKey) -> (Prepared, String) {
        let prepared = prepared(signer, &FILES);
        let bundle = make(&SigningKey::from_bytes(&[1; 32]).into(), &prepared, &[9; 32]).unwrap();
        (prepared, bundle)
    }

    fn statement(bundle: &str) -> Value {
        let bundle: Value = serde_json::from_str(bundle).unwrap();
        let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
        serde_json::from_slice(&BASE64.decode(payload.as_bytes()).unwrap()).unwrap()
    }

    /// The stock tool (model-signing 1.1.1) accepts exactly this bundle for a directory with these files.
    #[test]
    fn its_bytes_are_golden() {
        let (prepared, bundle) = sample(&key(1));
        assert_eq!(bundle, include_str!("../../tests/golden/bundle.json").trim_end());
        check(&bundle, &[key(1).public_key()], &prepared.resources).unwrap();
    }

    #[test]
    fn lists_what_the_stock_tool_reads_in_the_order_of_code_points() {
        let predicate = &statement(&sample(&key(1)).1)["predicate"];
        let names: Vec<&str> = predicate["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        let expected =
            ["a-b", "a/b", "config.json", "empty", "modèle/été.md", "sub/.gitignore", "日本語.txt"];
        assert_eq!(names, expected);
        assert_eq!(
            predicate["serialization"]["ignore_paths"],
            serde_json::json!([".git", ".gitattributes", ".github", ".gitignore", "model.sig"])
        );
    }

    #[test]
    fn a_signature_that_is_part_of_the_model_is_listed() {
        for name in ["model.sig", "model.sig/part"] {
            let prepared = prepared(&key(1), &[("a", b"a"), (name, b"another's")]);
            let bundle = make(&SigningKey::from_bytes(&[1; 32]).into(), &prepared, &[9; 32]).unwrap();
            let predicate = &statement(&bundle)["predicate"];
            assert_eq!(predicate["resources"][1]["name"], name);
            let ignored = predicate["serialization"]["ignore_paths"].as_array().unwrap();
            assert!(!ignored.contains(&"model.sig".into()));
        }
    }

    /// The stock tool computed these figures for a model `m` of four files.
    #[test]
    fn the_root_digest_is_that_of_the_stock_tool() {
        let files: &[(&str, &[u8])] =
            &[("a.bin", b"hello"), ("sub/b.bin", b"world"), ("empty", b""), ("a-config.json", b"{}")];
        let prepared = prepared(&key(1), files);
        let expected = "b1228d5cd1bf67fd6d16caef8e5bf890b24bcd8da98061494f0c9b964c8f14c2";
        assert_eq!(root(&covered(&prepared.resources).unwrap()).hex(), expected);
    }

    #[test]
    fn there_must_be_files_and_each_once() {
        let make = |files| {
            make(&SigningKey::from_bytes(&[1; 32]).into(), &prepared(&key(1), files), &[9; 32]).unwrap_err()
        };
        assert!(matches!(make(&[]), BundleError::NoFiles));
        assert!(matches!(make(&[(".gitignore", b"x"), (".github/x", b"y")]), BundleError::NoFiles));
        assert!(matches!(make(&[("a", b"x"), ("a", b"y")]), BundleError::Twice { .. }));
    }

    #[test]
    fn another_publisher_cannot_vouch_and_other_files_are_not_vouched_for() {
        let (prepared, bundle) = sample(&key(1));
        let files = &prepared.resources;
        let mine = [key(2).public_key(), key(1).public_key()];
        check(&bundle, &mine, files).unwrap();
        assert!(matches!(check(&bundle, &mine[..1], files), Err(BundleError::OtherAuthority)));
        assert!(matches!(check(&bundle, &[], files), Err(BundleError::OtherAuthority)));
        assert!(matches!(check(&bundle, &mine, &files[1..]), Err(BundleError::OtherFiles)));
        let mut changed = files.clone();
        changed[0].1 = Digest::of(b"x");
        assert!(matches!(check(&bundle, &mine, &changed), Err(BundleError::OtherFiles)));
        let mut swapped = files.clone();
        (swapped[0].1, swapped[1].1) = (swapped[1].1, swapped[0].1);
        assert!(matches!(check(&bundle, &mine, &swapped), Err(BundleError::OtherFiles)));
    }

    #[test]
    fn an_authority_of_one_key_gives_another_no_leaf() {
        let (prepared, mine) = sample(&key(1));
        let theirs = make(&SigningKey::from_bytes(&[2; 32]).into(), &prepared, &[9; 32]).unwrap();
        let [mine, theirs] = [mine, theirs].map(|it| serde_json::from_str::<Value>(&it).unwrap());
        let refused = |leaf: &Value, authority: &Value| {
            let mut mixed = mine.clone();
            let pick = |from: &Value, it: usize| {
                from["verificationMaterial"]["x509CertificateChain"]["certificates"][it].clone()
            };
            mixed["verificationMaterial"]["x509CertificateChain"]["certificates"] =
                vec![pick(leaf, 0), pick(authority, 1)].into();
            check(&mixed.to_string(), &[key(1).public_key()], &prepared.resources)
        };
        assert!(refused(&mine, &mine).is_ok());
        assert!(matches!(refused(&theirs, &mine), Err(BundleError::OtherAuthority)));
        assert!(matches!(refused(&mine, &theirs), Err(BundleError::OtherAuthority)));
    }

    /// If these bytes were not checked, this node would accept a bundle that the stock tool refuses.
    #[test]
    fn what_is_around_the_signed_part_of_a_certificate_is_seen_too() {
        let (prepared, bundle) = sample(&key(1));
        let bundle: Value = serde_json::from_str(&bundle).unwrap();
        let ed25519 = [0x2b, 0x65, 0x70];
        for certificate in 0..2 {
            let mut changed = bundle.clone();
            let text = &mut changed["verificationMaterial"]["x509CertificateChain"]["certificates"]
                [certificate]["rawBytes"];
            let mut der = BASE64.decode(text.as_str().unwrap().as_bytes()).unwrap();
            let at = der.windows(3).rposition(|it| it == ed25519).unwrap();
            der[at] ^= 0x80;
            *text = BASE64.encode(&der).into();
            let found = check(&changed.to_string(), &[key(1).public_key()], &prepared.resources);
            assert!(matches!(found, Err(BundleError::OtherAuthority)));
        }
    }

    /// A peer sends bundles, so none may cost more memory than its bytes: what has no type here is not kept.
    #[test]
    fn a_hostile_bundle_is_refused_at_its_first_foreign_field() {
        let (prepared, bundle) = sample(&key(1));
        let refused_at = |text: &str| {
            let found = check(text, &[key(1).public_key()], &prepared.resources);
            let Err(BundleError::Json(JsonError::Invalid(error))) = found else { panic!("{found:?}") };
            error.column()
        };
        let zeros = format!("[0{}]", ",0".repeat((BUNDLE_BYTES_MAX - bundle.len()) / 2 - 100));
        let objects = format!("[{{}}{}]", r#",{"a":{}}"#.repeat((BUNDLE_BYTES_MAX - bundle.len()) / 9 - 100));
        for hostile in [&zeros, &objects] {
            assert!(refused_at(hostile) < 10);
            assert!(refused_at(&format!(r#"{{"more":{hostile},{}"#, &bundle[1..])) < 10);
            let at = bundle.find(r#""tlogEntries":[]"#).unwrap() + r#""tlogEntries":"#.len();
            let logged = format!("{}{hostile}{}", &bundle[..at], &bundle[at + 2..]);
            assert!(refused_at(&logged) < at + 10);
            let keyid = bundle.replace(r#""keyid":"""#, &format!(r#""keyid":{hostile}"#));
            assert!(refused_at(&keyid) < bundle.len());
        }
        let mut statement = statement(&bundle).to_string();
        check_statement(statement.as_bytes(), &prepared.resources).unwrap();
        statement = statement.replacen(r#""predicate":{"#, &format!(r#""predicate":{{"more":{zeros},"#), 1);
        let found = check_statement(statement.as_bytes(), &prepared.resources);
        assert!(matches!(found, Err(BundleError::Json(JsonError::Invalid(_)))), "{found:?}");
    }

    proptest! {
        /// Every change is noticed, and none causes a panic.
        #[test]
        fn a_changed_bundle_is_refused(at in any::<prop::sample::Index>(), byte: u8) {
            let (prepared, bundle) = sample(&key(1));
            let mut changed = bundle.clone().into_bytes();
            let at = at.index(changed.len());
            changed[at] = byte;
            let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
            let text = String::from_utf8_lossy(&changed);
            let found = check(&text, &[key(1).public_key()], &prepared.resources);
            prop_assert_eq!(found.is_ok(), read(&changed) == read(bundle.as_bytes()));
        }
    }
}
