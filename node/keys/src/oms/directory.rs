//! Checks a directory against an OpenSSF Model Signing bundle of any signer, with the `key` or the `certificate`
//! method.
//!
//! The check is stricter than the stock tool (model-signing 1.1.1). It refuses what the specification refuses and the
//! tool accepts, and every unsigned file whatever its name. It checks the names in a bundle before it opens any file by
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::{BASE64, BASE64URL};
use reg_api::fault::{Fault, FaultKind};
use reg_proto::digest::Digest;
use reg_proto::envelope::pae;
use reg_proto::json::{self, JsonError};
use reg_proto::limits::{BUNDLE_BYTES_MAX, FILES_MAX, PATH_SEGMENTS_MAX};
use reg_proto::path::{PathError, SafePath};
use reg_proto::provenance::STATEMENT_PAYLOAD_TYPE;
use reg_proto::referrer::BUNDLE_ARTIFACT_TYPE;
use reg_proto::states::StateHasher;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity, anchor_from_trusted_cert, ring};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::format::{
    ALGORITHM, BundleJson, EnvelopeJson, ForeignCertificate, ForeignMaterial, ForeignPredicate,
    ForeignResource, ForeignSerialization, ForeignSignature, ForeignSubject, METHOD, PREDICATE_TYPE,
    STATEMENT_TYPE, Statement,
};

/// Most authorities in one file.
const AUTHORITIES_MAX: usize = 64;
/// Extended key usage "code signing" (RFC 5280, 4.2.1.12), as its DER content.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// The authority that a bundle's signature must lead to.
#[derive(Debug, Clone)]
pub enum Authority {
    /// A public key (DER, SubjectPublicKeyInfo).
    Key(Vec<u8>),
    /// Certificates of authorities, one of which must have issued the chain.
    Certificates(Vec<CertificateDer<'static>>),
}

/// A directory that has exactly the files that were signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedDirectory {
    pub files: usize,
    pub bytes: u64,
    /// SHA-256 of the signed list, as the bundle states it.
    pub root: Digest,
    /// The subject of the certificate that signed; `None` for a bare key.
    pub certificate: Option<String>,
    /// Unsigned files of the directory that the user allowed.
    pub unsigned: Vec<String>,
    /// The digest of the bundle.
    pub bundle: Digest,
    /// The signed files.
    #[serde(skip)]
    pub signed: BTreeMap<SafePath, Digest>,
}

/// Why a directory does not match a bundle, or the bundle is refused.
#[derive(Debug, Error)]
pub enum SignedDirectoryError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not a PEM file with {what}")]
    Pem { path: PathBuf, what: &'static str },
    #[error("bundle cannot be parsed")]
    Json(#[from] JsonError),
    #[error("bundle is of type {found:?}, not {BUNDLE_ARTIFACT_TYPE:?}")]
    MediaType { found: String },
    #[error("bundle has {count} signatures, not one")]
    Signatures { count: usize },
    #[error("bundle has a field that is not base64")]
    Base64,
    #[error("bundle is made with {found}, and {wanted} was given to check it by")]
    Method { found: &'static str, wanted: &'static str },
    #[error("signing certificate does not lead to the given authority")]
    Chain(#[source] webpki::Error),
    #[error("signing certificate is not one for code signing")]
    Usage,
    #[error("signature is wrong, or not one of ECDSA with P-256 or P-384")]
    Signature,
    #[error("statement is of kind {found:?}, not {expected:?}")]
    Kind { found: String, expected: &'static str },
    #[error("files were hashed by {method} with {hash}, which is not supported: only files with sha256 are")]
    Serialization { method: String, hash: String },
    #[error("file name {name:?} is refused")]
    Name { name: String, source: PathError },
    #[error("{path} is signed twice")]
    Twice { path: SafePath },
    #[error("bundle states {stated:?} for its list, which is {found}")]
    Root { stated: Vec<String>, found: Digest },
    #[error("bundle signs no file")]
    NoFiles,
    #[error("{path} is signed and missing")]
    Missing { path: SafePath },
    #[error("{path} is not what was signed")]
    Changed { path: SafePath },
    #[error("{path:?} is not signed")]
    Unsigned { path: String },
    #[error("{path} is a link or not a regular file, which no bundle signs")]
    NoFile { path: PathBuf },
    #[error("directory has more than {FILES_MAX} files, or is nested deeper than {PATH_SEGMENTS_MAX}")]
    TooLarge,
}

impl Fault for SignedDirectoryError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => FaultKind::NotFound,
            Self::Read { .. } => FaultKind::Internal,
            Self::Pem { .. } | Self::Method { .. } => FaultKind::Invalid,
            _ => FaultKind::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Method { found: "a key", .. } => Some("name the public key with --key".to_owned()),
            Self::Method { .. } => Some("name the authority with --ca".to_owned()),
            Self::Unsigned { path } => {
                let top = path.split('/').next().unwrap_or_default();
                Some(format!("the stock tool may let it pass; take it away, or add --unsigned {top}"))
            }
            _ => None,
        }
    }
}

impl Authority {
    /// Reads a public key from a PEM file.
    ///
    /// # Errors
    /// It cannot be read, or contains no public key.
    pub fn key(path: &Path) -> Result<Self, SignedDirectoryError> {
        let found = read_pem(path, "PUBLIC KEY")?.into_iter().next();
        found.map(Self::Key).ok_or(SignedDirectoryError::Pem { path: path.to_owned(), what: "a public key" })
    }

    /// Reads certificates from a PEM file.
    ///
    /// # Errors
    /// It cannot be read, or contains no certificate.
    pub fn certificates(path: &Path) -> Result<Self, SignedDirectoryError> {
        let found = read_pem(path, "CERTIFICATE")?;
        if found.is_empty() || found.len() > AUTHORITIES_MAX {
            return Err(SignedDirectoryError::Pem { path: path.to_owned(), what: "certificates" });
        }
        Ok(Self::Certificates(found.into_iter().map(CertificateDer::from).collect()))
    }
}

fn read_pem(path: &Path, tag: &str) -> Result<Vec<Vec<u8>>, SignedDirectoryError> {
    let text = read(path)?;
    let found = pem::parse_many(&text)
        .map_err(|_| SignedDirectoryError::Pem { path: path.to_owned(), what: "anything" })?;
    Ok(found.into_iter().filter(|it| it.tag() == tag).map(|it| it.contents().to_vec()).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, SignedDirectoryError> {
    let failed = |source| SignedDirectoryError::Read { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > BUNDLE_BYTES_MAX as u64 {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(failed)
}

/// Checks that `dir` contains exactly the files that `bundle` signs under `authority`, at `now` in seconds since 1970.
///
/// Names in `unsigned`, at the top of the directory, may be there unsigned. So may the bundle's own file.
///
/// # Errors
/// See [`SignedDirectoryError`].
pub fn verify_directory(
    dir: &Path,
    bundle: &Path,
    authority: &Authority,
    now: u64,
    unsigned: &[String],
) -> Result<SignedDirectory, SignedDirectoryError> {
    let text = read(bundle)?;
    let (signed, root, certificate) = verify_bundle(&text, authority, now)?;
    let there = walk(dir)?;
    let own = bundle.canonicalize().ok();
    let mut left = Vec::new();
    for path in there.keys().filter(|it| !signed.keys().any(|signed| signed.as_str() == it.as_str())) {
        let top = path.split('/').next().unwrap_or_default();
        let is_own = own.as_ref().is_some_and(|own| dir.join(path).canonicalize().is_ok_and(|it| it == *own));
        if unsigned.iter().any(|it| it == top) {
            left.push(path.clone());
        } else if !is_own {
            return Err(SignedDirectoryError::Unsigned { path: path.clone() });
        }
    }
    let mut bytes = 0;
    for (path, digest) in &signed {
        let Some(file) = there.get(path.as_str()) else {
            return Err(SignedDirectoryError::Missing { path: path.clone() });
        };
        let unreadable = |_| SignedDirectoryError::Changed { path: path.clone() };
        if hash_file(file).map_err(unreadable)? != *digest {
            return Err(SignedDirectoryError::Changed { path: path.clone() });
        }
        bytes += fs::metadata(file).map_or(0, |it| it.len());
    }
    let (files, bundle) = (signed.len(), Digest::of(&text));
    Ok(SignedDirectory { files, bytes, root, certificate, unsigned: left, bundle, signed })
}

/// The files that a bundle signs, the digest of that list, and the subject of the certificate that signed.
type Signed = (BTreeMap<SafePath, Digest>, Digest, Option<String>);

/// Parses a bundle and checks its signature. It opens no file.
///
/// # Errors
/// See [`SignedDirectoryError`].
pub fn verify_bundle(text: &[u8], authority: &Authority, now: u64) -> Result<Signed, SignedDirectoryError> {
    let bundle: BundleJson<ForeignMaterial, ForeignSignature> = json::from_slice(text, BUNDLE_BYTES_MAX)?;
    if bundle.media_type != BUNDLE_ARTIFACT_TYPE {
        return Err(SignedDirectoryError::MediaType { found: bundle.media_type });
    }
    let EnvelopeJson { payload, payload_type, signatures } = bundle.dsse_envelope;
    let [signature] = &signatures[..] else {
        return Err(SignedDirectoryError::Signatures { count: signatures.len() });
    };
    if payload_type != STATEMENT_PAYLOAD_TYPE {
        return Err(SignedDirectoryError::Kind { found: payload_type, expected: STATEMENT_PAYLOAD_TYPE });
    }
    let (payload, signature) = (base64(&payload)?, base64(&signature.sig)?);
    let message = pae(&payload_type, &payload);
    let certificate = check_signature(&bundle.verification_material, authority, now, &message, &signature)?;
    let (files, root) = check_statement(&payload)?;
    Ok((files, root, certificate))
}

fn check_signature(
    material: &ForeignMaterial,
    authority: &Authority,
    now: u64,
    message: &[u8],
    signature: &[u8],
) -> Result<Option<String>, SignedDirectoryError> {
    let algorithms: [&dyn SignatureVerificationAlgorithm; 2] =
        [ring::ECDSA_P256_SHA256, ring::ECDSA_P384_SHA384];
    let certificates: Vec<&ForeignCertificate> =
        material.chain.iter().flat_map(|it| it.certificates.iter()).chain(&material.certificate).collect();
    match authority {
        Authority::Key(key) => {
            if !certificates.is_empty() || material.public_key.is_none() {
                return Err(SignedDirectoryError::Method { found: "a certificate", wanted: "a key" });
            }
            let key = SubjectPublicKeyInfoDer::from(key.as_slice());
            let key = RawPublicKeyEntity::try_from(&key).map_err(|_| SignedDirectoryError::Signature)?;
            let is_good = |it: &&dyn SignatureVerificationAlgorithm| {
                key.verify_signature(*it, message, signature).is_ok()
            };
            if algorithms.iter().any(is_good) { Ok(None) } else { Err(SignedDirectoryError::Signature) }
        }
        Authority::Certificates(anchors) => {
            if certificates.is_empty() || material.public_key.is_some() {
                return Err(SignedDirectoryError::Method { found: "a key", wanted: "a certificate" });
            }
            let chain = certificates.iter().map(|it| Ok(CertificateDer::from(base64(&it.raw_bytes)?)));
            let chain: Vec<CertificateDer<'static>> = chain.collect::<Result<_, SignedDirectoryError>>()?;
            let subject = check_chain(&chain, anchors, now)?;
            let leaf = EndEntityCert::try_from(&chain[0]).map_err(SignedDirectoryError::Chain)?;
            let is_good = |it: &&dyn SignatureVerificationAlgorithm| {
                leaf.verify_signature(*it, message, signature).is_ok()
            };
            if algorithms.iter().any(is_good) {
                Ok(Some(subject))
            } else {
                Err(SignedDirectoryError::Signature)
            }
        }
    }
}

/// Checks that the first certificate leads to an authority, is valid at `now`, and is one for code signing.
fn check_chain(
    chain: &[CertificateDer<'static>],
    anchors: &[CertificateDer<'static>],
    now: u64,
) -> Result<String, SignedDirectoryError> {
    let leaf = EndEntityCert::try_from(&chain[0]).map_err(SignedDirectoryError::Chain)?;
    let anchors = anchors.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(SignedDirectoryError::Chain)?;
    let algorithms: Vec<&dyn SignatureVerificationAlgorithm> = webpki::ALL_VERIFICATION_ALGS.to_vec();
    leaf.verify_for_usage(
        &algorithms,
        &anchors,
        &chain[1..],
        UnixTime::since_unix_epoch(Duration::from_secs(now)),
        KeyUsage::required_if_present(CODE_SIGNING),
        None,
        None,
    )
    .map_err(SignedDirectoryError::Chain)?;
    let Ok((&[], parsed)) = X509Certificate::from_der(&chain[0]) else {
        return Err(SignedDirectoryError::Usage);
    };
    let signs = parsed.key_usage().ok().flatten().is_some_and(|it| it.value.digital_signature());
    let codes = parsed.extended_key_usage().ok().flatten().is_some_and(|it| it.value.code_signing);
    if signs || codes { Ok(parsed.subject().to_string()) } else { Err(SignedDirectoryError::Usage) }
}

fn check_statement(payload: &[u8]) -> Result<(BTreeMap<SafePath, Digest>, Digest), SignedDirectoryError> {
    let statement: Statement<ForeignSubject, ForeignPredicate> = json::from_slice(payload, BUNDLE_BYTES_MAX)?;
    let Statement { kind, subject, predicate_type, predicate } = statement;
    for (found, expected) in [(kind, STATEMENT_TYPE), (predicate_type, PREDICATE_TYPE)] {
        if found != expected {
            return Err(SignedDirectoryError::Kind { found, expected });
        }
    }
    let ForeignPredicate { serialization: ForeignSerialization { method, hash_type }, resources } = predicate;
    if method != METHOD || hash_type != ALGORITHM || resources.iter().any(|it| it.algorithm != ALGORITHM) {
        return Err(SignedDirectoryError::Serialization { method, hash: hash_type });
    }
    let (mut files, mut digests) = (BTreeMap::new(), Vec::new());
    for ForeignResource { name, digest, .. } in resources.iter() {
        let short = || name.chars().take(100).collect();
        let path: SafePath =
            name.parse().map_err(|source| SignedDirectoryError::Name { name: short(), source })?;
        let digest: Digest = format!("sha256:{digest}").parse().map_err(|_| SignedDirectoryError::Base64)?;
        digests.push(*digest.as_bytes());
        if files.insert(path.clone(), digest).is_some() {
            return Err(SignedDirectoryError::Twice { path });
        }
    }
    let root = Digest::of(digests.as_flattened());
    let stated: Vec<String> = subject.iter().filter_map(|it| it.digest.get(ALGORITHM).cloned()).collect();
    match (files.is_empty(), stated == [root.hex()]) {
        (true, _) => Err(SignedDirectoryError::NoFiles),
        (_, true) => Ok((files, root)),
        _ => Err(SignedDirectoryError::Root { stated, found: root }),
    }
}

/// Lists every file below `dir`, whatever its name. Anything that is neither a file nor a directory is an error.
fn walk(dir: &Path) -> Result<BTreeMap<String, PathBuf>, SignedDirectoryError> {
    let mut found = BTreeMap::new();
    let mut open = vec![(dir.to_owned(), String::new(), 0)];
    let mut names = BTreeSet::new();
    while let Some((folder, prefix, depth)) = open.pop() {
        let failed = |source| SignedDirectoryError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
            let below = format!("{prefix}{name}");
            let kind = fs::symlink_metadata(&path).map_err(failed)?.file_type();
            if kind.is_dir() && depth < PATH_SEGMENTS_MAX {
                open.push((path, format!("{below}/"), depth + 1));
            } else if !kind.is_file() || !names.insert(below.clone()) {
                return Err(SignedDirectoryError::NoFile { path });
            } else {
                found.insert(below, path);
            }
            if found.len() + open.len() > 2 * FILES_MAX {
                return Err(SignedDirectoryError::TooLarge);
            }
        }
    }
    Ok(found)
}

fn hash_file(path: &Path) -> io::Result<Digest> {
    let mut file = fs::File::open(path)?;
    let (mut hasher, mut buffer) = (StateHasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(hasher.finish().map_err(io::Error::other)?.digest)
}

/// Decodes both alphabets of base64: the specification allows readers to accept both.
fn base64(text: &str) -> Result<Vec<u8>, SignedDirectoryError> {
    let bytes = text.as_bytes();
    BASE64.decode(bytes).or_else(|_| BASE64URL.decode(bytes)).map_err(|_| SignedDirectoryError::Base64)
}

#[cfg(test)]
mod tests;
