//! Signs with keys that ssh-agent holds. The agent, or a token behind it, never reveals the secret.
//!
//! The protocol is that of draft-miller-ssh-agent: a length, a type, and strings, each after its length. An envelope
//! needs an ed25519 signature over raw bytes, which is what the agent makes.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use reg_proto::envelope::PublicKey;
use thiserror::Error;

const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const ALGORITHM: &[u8] = b"ssh-ed25519";
/// Most bytes of a message: OpenSSH's own bound.
const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// How long the agent may take to sign. A token may wait for its user's finger.
const PATIENCE: Duration = Duration::from_secs(120);

/// A key of the agent that listens on `socket`.
#[derive(Debug, Clone)]
pub struct AgentKey {
    key: PublicKey,
    socket: PathBuf,
}

/// Why an agent did not sign.
#[derive(Debug, Error)]
pub enum AgentError {
    #[error("ssh-agent at {socket} does not answer")]
    Io { socket: PathBuf, source: io::Error },
    #[error("ssh-agent gave an answer that cannot be parsed")]
    Answer,
    #[error("ssh-agent refuses: it does not hold the key, or its user did not confirm")]
    Refused,
}

impl AgentKey {
    /// Returns a key of the agent on `socket`. The agent is asked for it only when it must sign.
    pub const fn new(key: PublicKey, socket: PathBuf) -> Self {
        Self { key, socket }
    }

    /// Returns the public half.
    pub const fn public_key(&self) -> PublicKey {
        self.key
    }

    /// Asks the agent to sign `message`, and returns the signature.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], AgentError> {
        let mut request = vec![SIGN_REQUEST];
        put(&mut request, &blob(&self.key));
        put(&mut request, message);
        request.extend([0; 4]);
        let answer = ask(&self.socket, &request)?;
        let mut rest = answer.as_slice();
        if take_byte(&mut rest)? != SIGN_RESPONSE {
            return Err(AgentError::Refused);
        }
        let mut signature = take(&mut rest)?;
        if take(&mut signature)? != ALGORITHM {
            return Err(AgentError::Answer);
        }
        take(&mut signature)?.try_into().map_err(|_| AgentError::Answer)
    }
}

/// Parses a public key as OpenSSH writes it: `ssh-ed25519 BASE64 [comment]`.
pub fn parse_public_key(line: &str) -> Option<PublicKey> {
    let mut words = line.split_whitespace();
    if words.next()?.as_bytes() != ALGORITHM {
        return None;
    }
    public_key(&data_encoding::BASE64.decode(words.next()?.as_bytes()).ok()?)
}

/// Parses a key in its wire form. Returns `None` for other kinds, such as those of FIDO tokens, which sign other bytes.
fn public_key(mut blob: &[u8]) -> Option<PublicKey> {
    if take(&mut blob).ok()? != ALGORITHM {
        return None;
    }
    let bytes = take(&mut blob).ok()?;
    let text = format!("ed25519:{}", data_encoding::HEXLOWER.encode(bytes));
    text.parse().ok().filter(|_| blob.is_empty())
}

fn blob(key: &PublicKey) -> Vec<u8> {
    let mut blob = Vec::new();
    put(&mut blob, ALGORITHM);
    put(&mut blob, key.as_bytes());
    blob
}

#[cfg(unix)]
fn ask(socket: &std::path::Path, request: &[u8]) -> Result<Vec<u8>, AgentError> {
    let talk = || {
        let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut message = Vec::new();
        put(&mut message, request);
        stream.write_all(&message)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    talk().map_err(|source| AgentError::Io { socket: socket.to_owned(), source })
}

#[cfg(not(unix))]
fn ask(socket: &std::path::Path, _: &[u8]) -> Result<Vec<u8>, AgentError> {
    Err(AgentError::Io { socket: socket.to_owned(), source: io::ErrorKind::Unsupported.into() })
}

fn put(bytes: &mut Vec<u8>, string: &[u8]) {
    bytes.extend(u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(string);
}

/// Removes a string from the front of `bytes` and returns it.
pub fn take<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], AgentError> {
    let length = take_length(bytes)?;
    let (string, rest) = bytes.split_at_checked(length).ok_or(AgentError::Answer)?;
    *bytes = rest;
    Ok(string)
}

/// Removes a length, 4 bytes in big-endian order, from the front of `bytes` and returns it.
pub fn take_length(bytes: &mut &[u8]) -> Result<usize, AgentError> {
    let (length, rest) = bytes.split_first_chunk().ok_or(AgentError::Answer)?;
    *bytes = rest;
    Ok(u32::from_be_bytes(*length) as usize)
}

fn take_byte(bytes: &mut &[u8]) -> Result<u8, AgentError> {
    let (byte, rest) = bytes.split_first().ok_or(AgentError::Answer)?;
    *bytes = rest;
    Ok(*byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_plain_ed25519_keys_are_taken() {
        let key = PublicKey::of(&ed25519_dalek::SigningKey::from_bytes(&[7; 32]));
        assert_eq!(public_key(&blob(&key)), Some(key));
        let mut token = Vec::new();
        put(&mut token, b"sk-ssh-ed25519@openssh.com");
        put(&mut token, key.as_bytes());
        put(&mut token, b"ssh:");
        assert_eq!(public_key(&token), None);
        let longer = [blob(&key), vec![0]].concat();
        assert_eq!(public_key(&longer), None);
    }

    proptest! {
        #[test]
        fn what_an_agent_says_is_hostile(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = public_key(&bytes);
            let _ = take(&mut bytes.as_slice());
            let _ = parse_public_key(&String::from_utf8_lossy(&bytes));
        }
    }
}
