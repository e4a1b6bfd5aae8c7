//! [`Pending`]: a key document that has been begun. It is on disk before anything is signed with it, and stays until the
//! document is in effect. So a command that was killed finishes the same document when it runs again.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use reg_proto::envelope::PublicKey;
use reg_proto::json;
use reg_proto::key::KeyHistory;
use serde::{Deserialize, Serialize};

use super::next_keys::UnwrittenKey;
use super::{EXTENSION, KeyName, Keyring, KeyringError, PUBLIC_EXTENSION};
use crate::durable;
use crate::signing_file::SigningFile;

const PENDING_EXTENSION: &str = "pending";
/// Most bytes of a pending key document: the key documents of a publisher, and the largest inheritance list.
const PENDING_BYTES_MAX: usize = 8 << 20;

/// A key document that is not yet in effect.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    pub file: SigningFile,
    /// The keys that were made for the document.
    pub made: Vec<MadeKey>,
    /// Whether the file was written for other machines. They may sign it, also where no key of this machine does.
    #[serde(default)]
    pub handed_out: bool,
}

/// A key that was made for a key document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeKey {
    pub name: KeyName,
    pub key: PublicKey,
    pub path: PathBuf,
}

/// How far a key document that was begun has come. It says which command goes on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing is signed with it, and no other machine has it: it can be given up without a trace.
    Unsigned,
    /// It waits for the signatures of other machines, which may or may not give them.
    Waiting,
    /// It has all signatures, so it may have left this machine: it is finished and never given up.
    Signed,
    /// It is among the publisher's key documents on this machine. The node may not know it yet.
    Kept,
    /// The publisher has another key document of its number by now: it can never take effect.
    Superseded,
}

impl Pending {
    /// Returns how far the document has come, where `documents` are the key documents of the publisher on this machine.
    pub fn stage(&self, documents: Option<&KeyHistory>) -> Stage {
        let begun = self.file.key_document().ok().flatten();
        if let (Some(documents), Some(begun)) = (documents, &begun) {
            let is_own = documents.publisher() == self.file.publisher;
            let before = self.file.history().ok().flatten();
            match documents.document(begun.version) {
                Some(known) if is_own && known == begun => return Stage::Kept,
                Some(_) => return Stage::Superseded,
                None if before.is_some_and(|it| !documents.is_prefix_of(&it)) => return Stage::Superseded,
                None => {}
            }
        }
        match (self.file.is_signed() || self.handed_out, self.file.finished()) {
            (false, _) => Stage::Unsigned,
            (true, Err(_)) => Stage::Waiting,
            (true, Ok(_)) => Stage::Signed,
        }
    }
}

impl Keyring {
    /// Returns the key document of the publisher of this name that was begun and is not yet in effect.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn pending(&self, name: &KeyName) -> Result<Option<Pending>, KeyringError> {
        let path = self.path(name, PENDING_EXTENSION);
        let failed = |source| KeyringError::Read { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let bytes = durable::read(&file, PENDING_BYTES_MAX).map_err(failed)?;
        let read = json::from_slice(&bytes, PENDING_BYTES_MAX);
        read.map(Some).map_err(|source| KeyringError::Pending { path: path.clone(), source })
    }

    /// Returns the key document that was begun, and how far it has come.
    ///
    /// # Errors
    /// It cannot be read, or the publisher's key documents cannot.
    pub fn begun(&self, name: &KeyName) -> Result<Option<(Pending, Stage)>, KeyringError> {
        let Some(pending) = self.pending(name)? else { return Ok(None) };
        let stage = pending.stage(self.documents(name)?.as_ref());
        Ok(Some((pending, stage)))
    }

    /// Writes a key document that has been begun, or the signatures that it has by now.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_pending(&self, name: &KeyName, pending: &Pending) -> Result<(), KeyringError> {
        self.make_directory()?;
        let path = self.path(name, PENDING_EXTENSION);
        durable::replace(&path, &json::to_vec(pending)).map_err(|source| KeyringError::Write { path, source })
    }

    /// Forgets the key document that was begun: it is in effect, or it never will be. When this returns, a power cut does
    /// not bring it back.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget_pending(&self, name: &KeyName) -> Result<(), KeyringError> {
        self.remove(self.path(name, PENDING_EXTENSION))
    }

    /// Writes the key document in `file` as begun, and then the keys that were made for it. When this returns, all of
    /// them survive a power cut, and the document may be signed.
    ///
    /// # Errors
    /// A file cannot be written, or a key file of that name exists.
    pub fn begin(
        &self,
        name: &KeyName,
        file: SigningFile,
        made: &[UnwrittenKey],
        passphrase: Option<&str>,
    ) -> Result<Pending, KeyringError> {
        let pending =
            Pending { file, made: made.iter().map(UnwrittenKey::made).collect(), handed_out: false };
        self.keep_pending(name, &pending)?;
        for key in made {
            self.write_made(key, passphrase)?;
        }
        Ok(pending)
    }

    /// Forgets a document that nothing was signed with, and removes the keys that were made for it: they were never used.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn give_up(&self, name: &KeyName, pending: &Pending) -> Result<(), KeyringError> {
        for made in &pending.made {
            // A file of this name with another key is not the one that was made.
            if self.public_key(&made.name).is_ok_and(|key| key == made.key) {
                self.remove(made.path.clone())?;
                self.remove(self.path(&made.name, EXTENSION))?;
                self.remove(self.path(&made.name, PUBLIC_EXTENSION))?;
            }
        }
        self.forget_pending(name)
    }

    fn remove(&self, path: PathBuf) -> Result<(), KeyringError> {
        durable::remove(&path).map_err(|source| KeyringError::Write { path, source })
    }
}
