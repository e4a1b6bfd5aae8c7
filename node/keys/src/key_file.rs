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

/// Work of scrypt, which turns a passphrase into a key: log2 N, r, p. OpenSSL refuses to take more than 32 MiB for it, so this takes
/// 16 MiB five times instead of 128 MiB once, which OWASP counts as the same.
const SCRYPT_WORK: (u8, u32, u32) = (14, 8, 5);
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// Bytes of a passphrase: a long sentence.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;

/// What keeps a key from whoever can read its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// The mode of the file alone.
    Mode,
    Passphrase,
    /// The key is not here: ssh-agent holds it.
    Agent,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mode => "mode",
            Self::Passphrase => "passphrase",
            Self::Agent => "agent",
        })
    }
}

/// Where the passphrases of keys come from.
#[derive(Debug, Clone, Default)]
pub enum Passphrases {
    /// Nobody can be asked.
    #[default]
    Nowhere,
    /// The first line of a file that only its owner can read.
    File(PathBuf),
    /// Whoever runs the command.
    Asked(fn(&KeyName) -> io::Result<Zeroizing<String>>),
}

/// Tells whether a passphrase is needed to read this file.
pub fn is_encrypted(pem: &str) -> bool {
    pem.contains(ENCRYPTED_LABEL)
}

/// Returns the file of a key.
pub fn encode(seed: &[u8; 32], passphrase: Option<&str>) -> Result<Zeroizing<String>, pkcs8::Error> {
    // Without the public half (PKCS#8 version 1): OpenSSL reads no other.
    let pair = KeypairBytes { secret_key: *seed, public_key: None };
    let Some(passphrase) = passphrase else { return pair.to_pkcs8_pem(LineEnding::LF) };
    let der = pair.to_pkcs8_der()?;
    // scrypt and AES-256-CBC: of what PKCS#5 recommends, what OpenSSL reads.
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

/// Reads a key out of its file.
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
