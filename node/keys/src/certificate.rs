//! X.509 certificates that lead a tool which knows only ECDSA from a signature to a publisher's ed25519 key.
//!
//! The publisher's key is a self-signed certificate authority. It certifies a P-256 key for one signature. That key is
//! destroyed after it has signed, so its certificate need not expire: tools can check a model's signature long after
//! its publisher is gone.

use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData,
    RemoteKeyPair, SerialNumber, SignatureAlgorithm,
};
use reg_proto::digest::Digest;
use reg_proto::name::PublisherId;
use thiserror::Error;
use time::OffsetDateTime;

use crate::secret_key::{SecretKey, SecretKeyError};

/// 2000-01-01T00:00:00Z. It is earlier than any model, so a certificate for a model cannot begin before its authority
/// does.
const AUTHORITY_BEGINS: i64 = 946_684_800;
/// 9999-12-31T23:59:59Z: "has no well-defined expiration date" (RFC 5280, 4.1.2.5).
const NEVER_ENDS: i64 = 253_402_300_799;
/// Seconds by which the verifier's clock may be behind the signer's: a day.
const CLOCK_SKEW: u64 = 86_400;
/// Bytes of a serial number: "up to 20 octets" (RFC 5280, 4.1.2.2).
const SERIAL_BYTES: usize = 20;

/// The extension `keyUsage` (RFC 5280, 4.2.1.3) and two of its values: bit 0, and bit 5.
const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
const DIGITAL_SIGNATURE: [u8; 4] = [0x03, 2, 7, 0b1000_0000];
const KEY_CERT_SIGN: [u8; 4] = [0x03, 2, 2, 0b0000_0100];

/// Why a certificate was not made.
#[derive(Debug, Error)]
pub enum CertificateError {
    #[error(transparent)]
    Key(SecretKeyError),
    #[error("certificate cannot be written")]
    Encode(#[source] rcgen::Error),
}

/// Returns the publisher's certificate authority. The same key and publisher give the same bytes each time.
pub(crate) fn authority(key: &SecretKey, publisher: &PublisherId) -> Result<Certificate, CertificateError> {
    let signer = Authority::key_pair(key);
    let mut params = params("reg publisher", publisher, signer.public_key_raw());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.custom_extensions = vec![key_usage(KEY_CERT_SIGN)];
    params.not_before = at(AUTHORITY_BEGINS);
    params.not_after = at(NEVER_ENDS);
    made(params.self_signed(&signer), key)
}

/// Returns the certificate of a P-256 key that signs one model. The publisher's authority issues it.
///
/// `leaf` is the public key as an uncompressed SEC1 point; `issued` is in seconds since 1970.
pub(crate) fn for_signature(
    key: &SecretKey,
    publisher: &PublisherId,
    authority: &Certificate,
    leaf: &[u8],
    issued: u64,
) -> Result<Certificate, CertificateError> {
    let mut params = params("reg model signature", publisher, leaf);
    // Left out on purpose: rcgen's explicit form writes a default, which DER forbids and the stock tool refuses.
    params.is_ca = IsCa::NoCa;
    params.custom_extensions = vec![key_usage(DIGITAL_SIGNATURE)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.use_authority_key_identifier_extension = true;
    let begins = i64::try_from(issued.saturating_sub(CLOCK_SKEW)).unwrap_or(NEVER_ENDS);
    params.not_before = at(begins.clamp(AUTHORITY_BEGINS, NEVER_ENDS));
    params.not_after = at(NEVER_ENDS);
    made(params.signed_by(&LeafKey(leaf), authority, &Authority::key_pair(key)), key)
}

/// Returns the certificate. rcgen loses the reason why a remote key did not sign, so the key is asked once more for it.
fn made(
    certificate: Result<Certificate, rcgen::Error>,
    key: &SecretKey,
) -> Result<Certificate, CertificateError> {
    certificate.map_err(|error| match key.sign_bytes(b"") {
        Err(source) if error == rcgen::Error::RemoteKeyError => CertificateError::Key(source),
        _ => CertificateError::Encode(error),
    })
}

/// Returns the PEM form, the same on every system.
pub(crate) fn to_pem(der: &[u8]) -> String {
    pem::encode_config(&Pem::new("CERTIFICATE", der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

fn params(organization: &str, publisher: &PublisherId, public_key: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    // The id is alone in its field: X.520 allows 64 characters for a common name, and the id has 52.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, publisher.to_string());
    params.serial_number = Some(serial(public_key));
    params
}

/// Writes the extension as DER demands. rcgen keeps trailing zero bits, which DER forbids (X.690, 11.2.2).
fn key_usage(bits: [u8; 4]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&KEY_USAGE, bits.to_vec());
    extension.set_criticality(true);
    extension
}

/// Derives a serial number from a key, so that no part of a certificate is random.
fn serial(public_key: &[u8]) -> SerialNumber {
    let mut bytes = Digest::of(public_key).as_bytes()[..SERIAL_BYTES].to_vec();
    // The number is not negative and has no leading zeroes.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from(bytes)
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).expect("a second up to the year 9999 is a date")
}

/// A publisher's key in the form that rcgen takes. rcgen asks for signatures and never sees the secret.
struct Authority {
    key: SecretKey,
    public_key: [u8; 32],
}

impl Authority {
    fn key_pair(key: &SecretKey) -> KeyPair {
        let remote = Self { key: key.clone(), public_key: *key.public_key().as_bytes() };
        KeyPair::from_remote(Box::new(remote)).expect("rcgen takes any remote key")
    }
}

impl RemoteKeyPair for Authority {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign_bytes(message).map(|it| it.to_vec()).map_err(|_| rcgen::Error::RemoteKeyError)
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

struct LeafKey<'a>(&'a [u8]);

impl PublicKeyData for LeafKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::key::{KeyDocument, publisher_id};
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    fn publisher(key: &SecretKey) -> PublisherId {
        publisher_id(&KeyDocument::first(key.public_key()).to_payload())
    }

    /// A user that exported the file once must never need another one.
    #[test]
    fn the_authority_of_a_key_is_golden() {
        let key = SecretKey::from(SigningKey::from_bytes(&[7; 32]));
        let pem = to_pem(authority(&key, &publisher(&key)).unwrap().der());
        assert_eq!(pem, include_str!("../tests/golden/authority.pem"));
    }

    #[test]
    fn a_signature_certificate_lies_within_its_authority() {
        let key = SecretKey::from(SigningKey::from_bytes(&[7; 32]));
        let publisher = publisher(&key);
        let authority = authority(&key, &publisher).unwrap();
        for issued in [0, 1_700_000_000, u64::MAX] {
            let leaf = for_signature(&key, &publisher, &authority, &[4; 65], issued).unwrap();
            let (_, authority) = X509Certificate::from_der(authority.der()).unwrap();
            let (rest, leaf) = X509Certificate::from_der(leaf.der()).unwrap();
            assert!(rest.is_empty());
            assert_eq!(leaf.issuer(), authority.subject());
            assert_ne!(leaf.subject(), authority.subject());
            assert!(leaf.validity().not_before >= authority.validity().not_before);
            assert_eq!(leaf.validity().not_after.timestamp(), NEVER_ENDS);
            assert!(authority.is_ca() && !leaf.is_ca());
            assert!(leaf.key_usage().unwrap().unwrap().value.digital_signature());
            assert!(authority.key_usage().unwrap().unwrap().value.key_cert_sign());
        }
    }

    #[test]
    fn serial_numbers_are_positive_and_of_full_length() {
        for seed in 0..=255 {
            let bytes = serial(&[seed; 32]).to_bytes();
            assert!(bytes.len() == SERIAL_BYTES && (0x40..0x80).contains(&bytes[0]));
        }
    }
}
