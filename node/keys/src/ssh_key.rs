//! Reads OpenSSH's private key files, as `ssh-keygen -t ed25519` writes them without a passphrase.
//!
//! The format is that of OpenSSH's PROTOCOL.key: a magic, the cipher, the public keys, the private keys. A user adds a
//! key with a passphrase to ssh-agent instead, which can ask for the passphrase.

use ed25519_dalek::SigningKey;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::ssh_agent::{AgentError, take, take_length};

const LABEL: &str = "OPENSSH PRIVATE KEY";
const MAGIC: &[u8] = b"openssh-key-v1\0";
const ALGORITHM: &[u8] = b"ssh-ed25519";

/// Why a file is not a key that can be imported.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SshKeyError {
    #[error("file is not a private key in OpenSSH's form")]
    Form,
    #[error("private key is protected by a passphrase")]
    Encrypted,
    #[error("private key is not an ed25519 key, or is held by a token")]
    Algorithm,
}

impl From<AgentError> for SshKeyError {
    fn from(_: AgentError) -> Self {
        Self::Form
    }
}

/// Parses a private key.
///
/// # Errors
/// The text has another form, the key is of another algorithm, or it has a passphrase.
pub(crate) fn read(text: &str) -> Result<SigningKey, SshKeyError> {
    let parsed = pem::parse(text).map_err(|_| SshKeyError::Form)?;
    if parsed.tag() != LABEL {
        return Err(SshKeyError::Form);
    }
    let bytes = Zeroizing::new(parsed.into_contents());
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(SshKeyError::Form)?;
    let (cipher, kdf, _options) = (take(&mut rest)?, take(&mut rest)?, take(&mut rest)?);
    if cipher != b"none" || kdf != b"none" {
        return Err(SshKeyError::Encrypted);
    }
    if take_length(&mut rest)? != 1 {
        return Err(SshKeyError::Form);
    }
    let mut public = take(&mut rest)?;
    if take(&mut public)? != ALGORITHM {
        return Err(SshKeyError::Algorithm);
    }
    let public = take(&mut public)?;
    let mut private = take(&mut rest)?;
    // Two equal numbers distinguish a right passphrase from a wrong one.
    if take_length(&mut private)? != take_length(&mut private)? || take(&mut private)? != ALGORITHM {
        return Err(SshKeyError::Form);
    }
    let again = take(&mut private)?;
    let pair: &[u8; 64] = take(&mut private)?.try_into().map_err(|_| SshKeyError::Form)?;
    let key = SigningKey::from_keypair_bytes(pair).map_err(|_| SshKeyError::Form)?;
    if again != public || key.verifying_key().as_bytes()[..] != *public {
        return Err(SshKeyError::Form);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The output of `ssh-keygen -t ed25519 -N '' -C test`, a key made for this test.
    const SAMPLE: &str = include_str!("../tests/golden/openssh-ed25519");

    #[test]
    fn reads_what_ssh_keygen_writes() {
        let key = read(SAMPLE).unwrap();
        let public = include_str!("../tests/golden/openssh-ed25519.pub");
        let expected = crate::ssh_agent::parse_public_key(public).unwrap();
        assert_eq!(key.verifying_key().as_bytes(), expected.as_bytes());
        assert_eq!(
            read("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n").unwrap_err(),
            SshKeyError::Form
        );
        let with_passphrase = include_str!("../tests/golden/openssh-ed25519-passphrase");
        assert_eq!(read(with_passphrase).unwrap_err(), SshKeyError::Encrypted);
    }

    proptest! {
        #[test]
        fn a_changed_file_is_an_error_or_the_same_key(at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = SAMPLE.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(key) = read(&String::from_utf8_lossy(&bytes)) {
                prop_assert_eq!(key, read(SAMPLE).unwrap());
            }
        }
    }
}
