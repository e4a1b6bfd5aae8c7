//! [`SecretKey`]: one ed25519 key that can sign. It was read from a file, or ssh-agent holds it and never reveals it.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use reg_proto::envelope::{PublicKey, pae};
use thiserror::Error;

use crate::ssh_agent::{AgentError, AgentKey};

/// A key that can sign. Its secret is wiped from memory when it is dropped, and no text shows it.
#[derive(Clone)]
pub struct SecretKey(Held);

#[derive(Clone)]
enum Held {
    InMemory(SigningKey),
    Agent(AgentKey),
}

/// Why a key did not sign.
#[derive(Debug, Error)]
pub enum SecretKeyError {
    #[error("ssh-agent does not sign with {key}")]
    Agent { key: PublicKey, source: AgentError },
    #[error("ssh-agent has signed with another key than {key}")]
    OtherKey { key: PublicKey },
}

impl SecretKey {
    /// Returns the public half.
    pub fn public_key(&self) -> PublicKey {
        match &self.0 {
            Held::InMemory(key) => PublicKey::of(key),
            Held::Agent(key) => key.public_key(),
        }
    }

    /// Signs bytes as they are, without an envelope.
    pub fn sign_bytes(&self, message: &[u8]) -> Result<[u8; 64], SecretKeyError> {
        match &self.0 {
            Held::InMemory(key) => Ok(key.sign(message).to_bytes()),
            Held::Agent(agent) => {
                let key = agent.public_key();
                let signature =
                    agent.sign(message).map_err(|source| SecretKeyError::Agent { key, source })?;
                // The agent is another program, so its answer is verified like a peer's.
                let valid = VerifyingKey::from_bytes(key.as_bytes()).is_ok_and(|verifying| {
                    verifying.verify_strict(message, &Signature::from_bytes(&signature)).is_ok()
                });
                if valid { Ok(signature) } else { Err(SecretKeyError::OtherKey { key }) }
            }
        }
    }

    /// Signs a payload for a DSSE envelope.
    pub fn sign(&self, payload_type: &str, payload: &[u8]) -> Result<[u8; 64], SecretKeyError> {
        self.sign_bytes(&pae(payload_type, payload))
    }
}

impl From<SigningKey> for SecretKey {
    fn from(key: SigningKey) -> Self {
        Self(Held::InMemory(key))
    }
}

impl From<AgentKey> for SecretKey {
    fn from(key: AgentKey) -> Self {
        Self(Held::Agent(key))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}
