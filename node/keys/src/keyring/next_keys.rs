//! Next keys: keys that a publisher commits to before it needs them.
//!
//! The secret of a next key lies beside the publisher's key, or in a folder that the user names. `NAME.next-N.pub` stays in
//! the key directory. Its first line is the public key, and its second line is the path at which the secret was written.

use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::key::NextKeys;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::pending::MadeKey;
use super::{
    AGENT_EXTENSION, EXTENSION, KEY_FILE_BYTES_MAX, KeyName, Keyring, KeyringError, PUBLIC_EXTENSION,
};
use crate::{durable, key_file};

/// A next key of a publisher, as far as this machine knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextKey {
    /// The digest by which the key document names it.
    pub digest: Digest,
    /// `None` where this machine has never seen the key.
    pub public_key: Option<PublicKey>,
    /// The path at which the secret was written; `None` where another machine has it.
    pub path: Option<PathBuf>,
    /// Whether this machine can sign with it now.
    pub is_available: bool,
}

/// A new key in memory, and the place where it will be written.
pub struct UnwrittenKey {
    name: KeyName,
    seed: Zeroizing<[u8; 32]>,
    path: PathBuf,
}

impl UnwrittenKey {
    /// Returns the public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(&SigningKey::from_bytes(&self.seed))
    }

    pub(super) fn made(&self) -> MadeKey {
        MadeKey { name: self.name.clone(), key: self.public_key(), path: self.path.clone() }
    }
}

impl std::fmt::Debug for UnwrittenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnwrittenKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Generates a key for the file of this name, and writes nothing yet.
    ///
    /// # Errors
    /// A key of this name exists: it is never replaced.
    pub fn generate(&self, name: &KeyName) -> Result<UnwrittenKey, KeyringError> {
        super::forbid_core_dumps();
        for extension in [EXTENSION, AGENT_EXTENSION] {
            let path = self.path(name, extension);
            if path.exists() {
                return Err(KeyringError::Exists { name: name.clone(), path });
            }
        }
        self.generated(name.clone(), self.path(name, EXTENSION))
    }

    /// Generates the key that takes over with key document `version` where no next key was committed to. Takes the first
    /// name that is free: a document that was abandoned may have left a key of its number.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn generate_successor(
        &self,
        publisher: &KeyName,
        version: u64,
    ) -> Result<UnwrittenKey, KeyringError> {
        let is_taken = |name: &KeyName| {
            [EXTENSION, AGENT_EXTENSION, PUBLIC_EXTENSION].iter().any(|it| self.path(name, it).exists())
        };
        let mut version = version;
        while is_taken(&publisher.successor(version)) {
            version += 1;
        }
        self.generate(&publisher.successor(version))
    }

    /// Generates `count` next keys of a publisher for the key directory, or for the folder `to`. Writes nothing yet.
    ///
    /// # Errors
    /// `to` is not a folder.
    pub fn generate_next(
        &self,
        publisher: &KeyName,
        count: usize,
        to: Option<&Path>,
    ) -> Result<Vec<UnwrittenKey>, KeyringError> {
        super::forbid_core_dumps();
        let to = match to {
            Some(to) => {
                fs::canonicalize(to).map_err(|source| KeyringError::Read { path: to.to_owned(), source })?
            }
            None => self.directory.clone(),
        };
        let mut used = self.next_numbers(publisher, &self.directory);
        used.extend(self.next_numbers(publisher, &to));
        let first = used.into_iter().max().unwrap_or(0) + 1;
        (first..)
            .take(count)
            .map(|number| {
                let name = publisher.next(number);
                let path = to.join(format!("{name}.{EXTENSION}"));
                self.generated(name, path)
            })
            .collect()
    }

    fn generated(&self, name: KeyName, path: PathBuf) -> Result<UnwrittenKey, KeyringError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        Ok(UnwrittenKey { name, seed, path })
    }

    /// Returns the numbers of the next keys of a publisher with files in this folder.
    fn next_numbers(&self, publisher: &KeyName, folder: &Path) -> Vec<u32> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|it| it.path().file_stem()?.to_str()?.parse::<KeyName>().ok());
        names.filter_map(|name| name.next_number(publisher)).collect()
    }

    /// Writes a generated key, the secret before its public half.
    pub(super) fn write_made(
        &self,
        key: &UnwrittenKey,
        passphrase: Option<&str>,
    ) -> Result<(), KeyringError> {
        self.make_directory()?;
        let UnwrittenKey { name, seed, path } = key;
        let pem = key_file::encode(seed, passphrase)
            .map_err(|source| KeyringError::NotAKey { path: path.clone(), source })?;
        durable::create(path, pem.as_bytes()).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                KeyringError::Exists { name: name.clone(), path: path.clone() }
            }
            _ => KeyringError::Write { path: path.clone(), source: error },
        })?;
        if passphrase.is_none() && name.publisher().is_none() {
            return Ok(());
        }
        let public = self.path(name, PUBLIC_EXTENSION);
        let text = format!("{}\n{}\n", key.public_key(), path.display());
        durable::replace(&public, text.as_bytes())
            .map_err(|source| KeyringError::Write { path: public, source })
    }

    /// Returns the public half of the key of this name, even where its secret is not on this machine.
    ///
    /// # Errors
    /// There is no such key, or its file cannot be read.
    pub fn public_key(&self, name: &KeyName) -> Result<PublicKey, KeyringError> {
        let has_secret = [EXTENSION, AGENT_EXTENSION].iter().any(|it| self.path(name, it).exists());
        if !has_secret && self.path(name, PUBLIC_EXTENSION).exists() {
            return self.read_public(name, PUBLIC_EXTENSION);
        }
        Ok(self.info(name)?.public_key)
    }

    /// Returns what this machine knows of the next keys that a document of the publisher commits to, in its order.
    pub fn next_keys(&self, publisher: &KeyName, next: &NextKeys) -> Vec<NextKey> {
        let mut known: Vec<(PublicKey, PathBuf, bool)> = Vec::new();
        for info in self.files().map(|list| list.keys).unwrap_or_default() {
            known.push((info.public_key, info.path, true));
        }
        for number in self.next_numbers(publisher, &self.directory) {
            let name = publisher.next(number);
            let public = self.path(&name, PUBLIC_EXTENSION);
            let Ok(key) = self.read_public(&name, PUBLIC_EXTENSION) else { continue };
            let text = fs::read_to_string(&public).unwrap_or_default();
            if let Some(path) = text.lines().nth(1) {
                let path = PathBuf::from(path);
                let is_there = path.exists();
                known.push((key, path, is_there));
            }
        }
        let of = |digest: &Digest| {
            let known = known.iter().find(|(key, ..)| NextKeys::digest(key) == *digest);
            NextKey {
                digest: *digest,
                public_key: known.map(|(key, ..)| *key),
                path: known.map(|(_, path, _)| path.clone()),
                is_available: known.is_some_and(|(.., is_there)| *is_there),
            }
        };
        next.keys.iter().map(of).collect()
    }

    /// Copies into the key directory those key files of the folder `from` that `next` names. Returns how many there are.
    ///
    /// # Errors
    /// The folder cannot be read, or a file cannot be written.
    pub fn fetch_next(
        &self,
        publisher: &KeyName,
        next: &NextKeys,
        from: &Path,
    ) -> Result<usize, KeyringError> {
        let failed = |source| KeyringError::Read { path: from.to_owned(), source };
        let mut count = 0;
        let mut paths: Vec<PathBuf> = fs::read_dir(from)
            .map_err(failed)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|it| it == EXTENSION))
            .collect();
        paths.sort();
        for path in paths {
            if self.fetch_one(publisher, next, &path)? {
                count += 1;
            }
        }
        Ok(count)
    }

    fn fetch_one(&self, publisher: &KeyName, next: &NextKeys, path: &Path) -> Result<bool, KeyringError> {
        let failed = |source| KeyringError::Read { path: path.to_owned(), source };
        let file = fs::File::open(path).map_err(failed)?;
        let Ok(bytes) = durable::read(&file, KEY_FILE_BYTES_MAX) else { return Ok(false) };
        let Ok(pem) = std::str::from_utf8(&bytes) else { return Ok(false) };
        let name: Option<KeyName> = path.file_stem().and_then(|it| it.to_str()?.parse().ok());
        let public = if key_file::is_encrypted(pem) {
            name.as_ref().and_then(|name| self.read_public(name, PUBLIC_EXTENSION).ok())
        } else {
            key_file::decode(pem, None).ok().map(|key| PublicKey::of(&key))
        };
        let Some(public) = public.filter(|key| next.names(key)) else { return Ok(false) };
        if self.files()?.keys.iter().any(|it| it.public_key == public) {
            return Ok(true);
        }
        let fresh = || {
            let used = self.next_numbers(publisher, &self.directory).into_iter().max().unwrap_or(0);
            publisher.next(used + 1)
        };
        let is_ours =
            |it: &KeyName| it.next_number(publisher).is_some() && !self.path(it, EXTENSION).exists();
        let name = name.filter(is_ours).unwrap_or_else(fresh);
        self.make_directory()?;
        self.write_new(&name, EXTENSION, pem.as_bytes())?;
        let target = self.path(&name, PUBLIC_EXTENSION);
        durable::replace(&target, format!("{public}\n{}\n", path.display()).as_bytes())
            .map_err(|source| KeyringError::Write { path: target, source })?;
        Ok(true)
    }
}
