//! Key files: PKCS#8 in PEM form, plain or protected by a passphrase, as OpenSSL reads and writes them.

use std::path::PathBuf;
use std::{fmt, io};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::KeypairBytes;
use pkcs8::der::pem::LineEnding;
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{DecodePrivateKey, EncodePrivateKey, PrivateKeyInfoRef, SecretDocument};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::keyring::KeyName;

/// The cost of scrypt, which derives a key from a passphrase: log2 N, r, p. OpenSSL refuses to use more than 32 MiB for
/// it. So this takes 16 MiB five times, which OWASP rates equal to 128 MiB once.
const SCRYPT_WORK: (u8, u32, u32) = (14, 8, 5);
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// Most bytes of a passphrase: a long sentence.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;

/// What protects a key from other users that can read its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// Only the mode of the file.
    Mode,
    Passphrase,
    /// The key is not in the file: ssh-agent holds it.
    Agent,
    /// The directory has the key documents of the publisher alone, and no key of its name.
    Elsewhere,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mode => "mode",
            Self::Passphrase => "passphrase",
            Self::Agent => "agent",
            Self::Elsewhere => "elsewhere",
        })
    }
}

/// The source of passphrases.
#[derive(Debug, Clone, Default)]
pub enum Passphrases {
    /// There is no source.
    #[default]
    Nowhere,
    /// The first line of a file that only its owner can read.
    File(PathBuf),
    /// The user that runs the command.
    Asked(fn(&KeyName) -> io::Result<Zeroizing<String>>),
}

/// Tells whether the file needs a passphrase.
pub fn is_encrypted(pem: &str) -> bool {
    pem.contains(ENCRYPTED_LABEL)
}

/// Returns the contents of a key's file.
pub fn encode(seed: &[u8; 32], passphrase: Option<&str>) -> Result<Zeroizing<String>, pkcs8::Error> {
    // Without the public half (PKCS#8 version 1): OpenSSL reads no other form.
    let pair = KeypairBytes { secret_key: *seed, public_key: None };
    let Some(passphrase) = passphrase else { return pair.to_pkcs8_pem(LineEnding::LF) };
    let der = pair.to_pkcs8_der()?;
    // scrypt and AES-256-CBC: PKCS#5 recommends them, and OpenSSL reads them.
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    let filled = getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut iv));
    filled.map_err(|_| pkcs8::pkcs5::Error::Rng)?;
    let (log_n, r, p) = SCRYPT_WORK;
    let work = scrypt::Params::new(log_n, r, p).expect("three numbers within scrypt's bounds");
    let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(work, &salt, iv)?;
    let encrypted: SecretDocument =
        PrivateKeyInfoRef::try_from(der.as_bytes())?.encrypt_with_params(parameters, passphrase)?;
    encrypted.to_pem(ENCRYPTED_LABEL, LineEnding::LF).map_err(pkcs8::Error::Asn1)
}

/// Returns the key in a file.
pub fn decode(pem: &str, passphrase: Option<&str>) -> Result<SigningKey, pkcs8::Error> {
    match passphrase {
        Some(passphrase) => SigningKey::from_pkcs8_encrypted_pem(pem, passphrase),
        None => SigningKey::from_pkcs8_pem(pem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_opens_what_it_has_closed() {
        let file = encode(&[7; 32], Some("correct horse")).unwrap();
        assert!(is_encrypted(&file) && !is_encrypted(&encode(&[7; 32], None).unwrap()));
        assert_eq!(decode(&file, Some("correct horse")).unwrap().to_bytes(), [7; 32]);
        assert!(decode(&file, Some("correct house")).is_err());
        assert!(decode(&file, None).is_err());
        assert_ne!(*file, *encode(&[7; 32], Some("correct horse")).unwrap(), "salted");
    }
}
