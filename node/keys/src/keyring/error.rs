//! [`KeyringError`]: why a key is not made, found or used, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8;
use reg_api::fault::{Fault, FaultKind};
use reg_proto::json::JsonError;
use reg_proto::key::KeyError;
use thiserror::Error;

use crate::error::SignError;
use crate::keyring::{KeyName, KeyNameError};
use crate::ssh_key::SshKeyError;

/// Why a key is not made, found or used.
#[derive(Debug, Error)]
pub enum KeyringError {
    #[error("key {name} exists: {path}")]
    Exists { name: KeyName, path: PathBuf },
    #[error("there is no key {name} in {directory}")]
    NotFound { name: KeyName, directory: PathBuf, existing: Vec<KeyName> },
    #[error("key file {path} is open to other users (mode {mode:03o})")]
    FileExposed { path: PathBuf, mode: u32 },
    #[error("other users may change the key directory {path} (mode {mode:03o})")]
    DirectoryExposed { path: PathBuf, mode: u32 },
    #[error("{path} is not an ed25519 private key in PKCS#8 PEM form")]
    NotAKey { path: PathBuf, source: pkcs8::Error },
    #[error("{path} is not text")]
    NotText { path: PathBuf },
    #[error("key file {path} has a name that no key can have")]
    Name { path: PathBuf, source: KeyNameError },
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} cannot be written")]
    Write { path: PathBuf, source: io::Error },
    #[error("key {name} is protected by a passphrase, and there is no terminal to ask for it")]
    NoPassphrase { name: KeyName },
    #[error("passphrase of key {name} is wrong")]
    WrongPassphrase { name: KeyName },
    #[error("passphrase of key {name} cannot be read")]
    Passphrase { name: KeyName, source: io::Error },
    #[error("key {name} is in ssh-agent, and SSH_AUTH_SOCK is not set")]
    NoAgent { name: KeyName },
    #[error("{path} is not a public key")]
    NotPublic { path: PathBuf },
    #[error("key file cannot be imported")]
    Ssh(#[from] SshKeyError),
    #[error("key documents in {path} are refused")]
    Documents { path: PathBuf, source: Box<KeyError> },
    #[error(
        "key documents of {name} are missing: there is no {path}, and there are next keys beside the key"
    )]
    DocumentsMissing { name: KeyName, path: PathBuf },
    #[error("{name} is the name of another publisher by now")]
    OtherPublisher { name: KeyName },
    #[error("key document in {path}, which is not yet in effect, cannot be read")]
    Pending { path: PathBuf, source: JsonError },
    #[error(
        "key document {version} of {name} is begun and not in effect: the command that makes it was interrupted"
    )]
    Unfinished { name: KeyName, version: u64 },
    #[error("key cannot be used")]
    Sign(#[source] Box<SignError>),
    #[error("operating system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

impl Fault for KeyringError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Name { .. } | Self::NotPublic { .. } | Self::Ssh(_) => FaultKind::Invalid,
            Self::NotAKey { .. } | Self::NotText { .. } => FaultKind::Verification,
            Self::Exists { .. } => FaultKind::Denied,
            Self::NotFound { .. } => FaultKind::NotFound,
            Self::FileExposed { .. }
            | Self::DirectoryExposed { .. }
            | Self::NoPassphrase { .. }
            | Self::WrongPassphrase { .. } => FaultKind::Denied,
            Self::NoAgent { .. } => FaultKind::Unreachable,
            Self::Unfinished { .. } | Self::OtherPublisher { .. } => FaultKind::Denied,
            Self::DocumentsMissing { .. } => FaultKind::NotFound,
            Self::Pending { .. } => FaultKind::Verification,
            Self::Documents { .. } => FaultKind::Verification,
            Self::Sign(source) => source.kind(),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => FaultKind::DiskFull,
            Self::Read { .. } | Self::Write { .. } | Self::Passphrase { .. } | Self::Random(_) => {
                FaultKind::Internal
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { name, .. } => {
                Some(format!("it is never replaced; publish with `--key {name}`, or choose another name"))
            }
            Self::NotFound { name, existing, .. } if existing.is_empty() => {
                Some(format!("make it: reg key new {name}"))
            }
            Self::NotFound { name, existing, .. } => {
                let existing: Vec<&str> = existing.iter().map(KeyName::as_str).collect();
                Some(format!("there are: {}; or make it: reg key new {name}", existing.join(", ")))
            }
            Self::NotAKey { .. } | Self::NotText { .. } => Some(
                "put your copy of that file in its place; without a copy, `reg key rotate NAME` lets a next key take over"
                    .to_owned(),
            ),
            Self::Documents { .. } | Self::Pending { .. } => Some(
                "put your copy of that file in its place: `reg key documents NAME` prints it on a machine that has the publisher"
                    .to_owned(),
            ),
            Self::FileExposed { path, .. } => Some(format!("chmod 600 {}", quoted(path))),
            Self::DirectoryExposed { path, .. } => Some(format!("chmod 700 {}", quoted(path))),
            Self::DocumentsMissing { name, .. } => Some(format!(
                "without them the key would pass for another publisher: bring them back with \
                 `reg key import {name} --documents FILE`; FILE is a copy of {name}.json, or what `reg key documents` prints \
                 on another machine"
            )),
            Self::NoPassphrase { .. } => {
                Some("run the command in a terminal, or name a file that holds the passphrase: REG_KEY_PASSPHRASE_FILE".to_owned())
            }
            Self::Unfinished { name, version: 1 } => {
                Some(format!("run the same command again, which finishes it: reg key new {name}"))
            }
            Self::Unfinished { name, .. } => {
                Some(format!("run the same command again, which finishes it: reg key rotate {name}"))
            }
            Self::NoAgent { .. } => Some("eval \"$(ssh-agent)\" && ssh-add".to_owned()),
            Self::Ssh(SshKeyError::Encrypted) => Some(
                "leave it where it is and sign through the agent: ssh-add FILE, then reg key import NAME --agent FILE.pub"
                    .to_owned(),
            ),
            Self::Ssh(SshKeyError::Algorithm) => Some("make one: ssh-keygen -t ed25519".to_owned()),
            Self::Sign(source) => source.hint(),
            _ => None,
        }
    }
}

/// Returns the path quoted for a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
