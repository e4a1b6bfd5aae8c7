//! [`Keyring`]: the publisher keys of one user, in a directory with one PKCS#8 PEM file for each key.
//!
//! The files are those that `openssl genpkey -algorithm ed25519` writes, so a user can copy keys in and out. More files
//! may lie beside a key, and none of them is secret. `NAME.pub` is the public half of a key that needs a passphrase or
//! lies elsewhere. `NAME.agent` replaces `NAME.pem` for a key that ssh-agent holds. `NAME.json` holds the key documents of
//! the publisher of this name; it is missing where the publisher has one key and no commitment. `NAME.pending` holds a
//! key document that is not yet in effect. `NAME.next-N.pem` and `NAME.key-N.pem` are keys of the publisher NAME.

mod error;
mod name;
mod next_keys;
mod pending;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ed25519_dalek::{SigningKey, pkcs8};
use reg_proto::envelope::PublicKey;
use reg_proto::key::{KeyDocument, KeyHistory, publisher_id};
use reg_proto::limits::KEY_HISTORY_BYTES_MAX;
use reg_proto::name::{Petname, PublisherId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::authorities::Authorities;
use crate::key_file::{self, PASSPHRASE_BYTES_MAX, Passphrases, Protection};
use crate::publisher_key::PublisherKey;
use crate::secret_key::SecretKey;
use crate::ssh_agent::AgentKey;
use crate::{durable, ssh_key};

pub use self::error::KeyringError;
pub use self::name::{KeyName, KeyNameError};
pub use self::next_keys::{NextKey, UnwrittenKey};
pub use self::pending::{MadeKey, Pending, Stage};

/// Most bytes of a key file. An ed25519 key takes 119 bytes, or 190 with its public half; comments may precede it.
const KEY_FILE_BYTES_MAX: usize = 4 << 10;
const EXTENSION: &str = "pem";
const AGENT_EXTENSION: &str = "agent";
const PUBLIC_EXTENSION: &str = "pub";
const DOCUMENTS_EXTENSION: &str = "json";

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    pub name: KeyName,
    pub publisher: PublisherId,
    pub public_key: PublicKey,
    pub path: PathBuf,
    /// The time in seconds since 1970 at which the file was written; `None` where the file system does not record it.
    pub created: Option<u64>,
    pub protection: Protection,
    /// The number of the publisher's key documents in the directory.
    pub documents: u64,
    /// The number of keys that must sign for the publisher.
    pub threshold: usize,
    /// The keys that sign for the publisher now.
    pub keys: Vec<PublicKey>,
    /// The next keys that the newest key document commits to; empty where it commits to none.
    #[serde(default)]
    pub next: Vec<NextKey>,
    /// How many of the next keys must sign; 0 where there are none.
    #[serde(default)]
    pub next_threshold: usize,
}

/// The contents of a key directory.
#[derive(Debug, Default)]
pub struct KeyList {
    /// The keys, or the publishers, in the order of their names.
    pub keys: Vec<KeyInfo>,
    /// Why other `.pem` files of the directory are not usable keys.
    pub refused: Vec<KeyringError>,
}

/// A directory of publisher keys.
#[derive(Debug, Clone)]
pub struct Keyring {
    directory: PathBuf,
    passphrases: Passphrases,
    /// The socket of ssh-agent.
    agent: Option<PathBuf>,
}

impl Keyring {
    /// Returns the key ring of a directory, which need not exist yet.
    pub const fn open(directory: PathBuf) -> Self {
        Self { directory, passphrases: Passphrases::Nowhere, agent: None }
    }

    /// Sets the source of passphrases.
    #[must_use]
    pub fn with_passphrases(self, passphrases: Passphrases) -> Self {
        Self { passphrases, ..self }
    }

    /// Sets the socket of the ssh-agent that signs with the keys it holds.
    #[must_use]
    pub fn with_agent(self, agent: Option<PathBuf>) -> Self {
        Self { agent, ..self }
    }

    /// Generates a key and writes it to a new file of mode 0600. When this returns, the key survives a power cut.
    ///
    /// # Errors
    /// A key of this name exists (it is never replaced), or the file cannot be written.
    pub fn create(&self, name: &KeyName) -> Result<KeyInfo, KeyringError> {
        self.create_protected(name, None)
    }

    /// Generates a key as [`Keyring::create`] does, and encrypts it with a passphrase.
    ///
    /// # Errors
    /// As [`Keyring::create`].
    pub fn create_protected(
        &self,
        name: &KeyName,
        passphrase: Option<&str>,
    ) -> Result<KeyInfo, KeyringError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        self.create_from_seed(name, &seed, passphrase)
    }

    /// Imports a private key in OpenSSH's form.
    ///
    /// # Errors
    /// The key is not ed25519 or has a passphrase, or as [`Keyring::create`].
    pub fn import_ssh(
        &self,
        name: &KeyName,
        path: &Path,
        passphrase: Option<&str>,
    ) -> Result<KeyInfo, KeyringError> {
        forbid_core_dumps();
        let failed = |source| KeyringError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        check_exposed(&metadata, 0o077)
            .map_err(|mode| KeyringError::FileExposed { path: path.to_owned(), mode })?;
        let bytes = durable::read(&file, KEY_FILE_BYTES_MAX).map_err(failed)?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| KeyringError::NotText { path: path.to_owned() })?;
        let seed = Zeroizing::new(ssh_key::read(text)?.to_bytes());
        self.create_from_seed(name, &seed, passphrase)
    }

    /// Records a key that ssh-agent holds, by its public half.
    ///
    /// # Errors
    /// As [`Keyring::create`].
    pub fn import_agent(&self, name: &KeyName, key: PublicKey) -> Result<KeyInfo, KeyringError> {
        self.make_directory()?;
        if self.path(name, EXTENSION).exists() {
            return Err(KeyringError::Exists { name: name.clone(), path: self.path(name, EXTENSION) });
        }
        self.write_new(name, AGENT_EXTENSION, format!("{key}\n").as_bytes())?;
        self.info(name)
    }

    fn create_from_seed(
        &self,
        name: &KeyName,
        seed: &[u8; 32],
        passphrase: Option<&str>,
    ) -> Result<KeyInfo, KeyringError> {
        forbid_core_dumps();
        self.make_directory()?;
        if self.path(name, AGENT_EXTENSION).exists() {
            return Err(KeyringError::Exists { name: name.clone(), path: self.path(name, AGENT_EXTENSION) });
        }
        let pem = key_file::encode(seed, passphrase)
            .map_err(|source| KeyringError::NotAKey { path: self.path(name, EXTENSION), source })?;
        self.write_new(name, EXTENSION, pem.as_bytes())?;
        if passphrase.is_some() {
            let public = PublicKey::of(&SigningKey::from_bytes(seed));
            let path = self.path(name, PUBLIC_EXTENSION);
            durable::replace(&path, format!("{public}\n").as_bytes())
                .map_err(|source| KeyringError::Write { path, source })?;
        }
        self.info(name)
    }

    fn make_directory(&self) -> Result<(), KeyringError> {
        let path = &self.directory;
        durable::create_directory(path)
            .map_err(|source| KeyringError::Write { path: path.clone(), source })?;
        self.check_directory()
    }

    fn write_new(&self, name: &KeyName, extension: &str, bytes: &[u8]) -> Result<(), KeyringError> {
        let path = self.path(name, extension);
        match durable::create(&path, bytes) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KeyringError::Exists { name: name.clone(), path })
            }
            Err(source) => Err(KeyringError::Write { path, source }),
        }
    }

    /// Returns the publishers of the directory: each key that is not a next key or a key of another publisher here, and
    /// each publisher with key documents and no key of its name.
    ///
    /// # Errors
    /// The directory cannot be read. A missing directory holds no keys.
    pub fn list(&self) -> Result<KeyList, KeyringError> {
        let mut list = self.files()?;
        for name in self.documented()? {
            if list.keys.iter().all(|it| it.name != name) && self.info(&name).is_ok() {
                list.keys.push(self.info(&name)?);
            }
        }
        let has_documents: Vec<KeyName> = self.documented()?;
        list.keys.retain(|it| has_documents.contains(&it.name) || !self.belongs_to_another(it));
        list.keys.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(list)
    }

    /// Returns whether a key is one of another publisher in the directory, by its name.
    fn belongs_to_another(&self, key: &KeyInfo) -> bool {
        if key.name.publisher().is_some() {
            return true;
        }
        let Some(publisher) = key.name.old_style_publisher() else { return false };
        let Ok(Some(history)) = self.documents(&publisher) else { return false };
        history.documents().any(|document| {
            let is_next = document.next.keys().is_some_and(|next| next.names(&key.public_key));
            is_next || document.keys.contains(&key.public_key)
        })
    }

    /// Returns the names of the publishers with key documents in the directory.
    fn documented(&self) -> Result<Vec<KeyName>, KeyringError> {
        let failed = |source| KeyringError::Read { path: self.directory.clone(), source };
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed(source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let is_documents = path.extension().is_some_and(|it| it == DOCUMENTS_EXTENSION);
            let name = path.file_stem().and_then(|it| it.to_str()).and_then(|it| it.parse().ok());
            names.extend(name.filter(|_| is_documents));
        }
        Ok(names)
    }

    /// Returns the keys of the directory without their secrets, next keys and earlier keys too.
    ///
    /// # Errors
    /// The directory cannot be read. A missing directory holds no keys.
    pub fn files(&self) -> Result<KeyList, KeyringError> {
        let failed = |source| KeyringError::Read { path: self.directory.clone(), source };
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeyList::default()),
            Err(source) => return Err(failed(source)),
        };
        self.check_directory()?;
        let mut list = KeyList::default();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            match name_of(&path).map(|name| name.and_then(|name| self.info(&name))) {
                Some(Ok(info)) => list.keys.push(info),
                Some(Err(refused)) => list.refused.push(refused),
                None => {}
            }
        }
        list.keys.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(list)
    }

    /// Refuses a publisher that lacks keys, if one of the files of its name holds no key.
    fn refuse_damaged(&self, name: &KeyName) -> Result<(), KeyringError> {
        let is_own = |path: &Path| {
            let named = name_of(path).and_then(Result::ok);
            named.is_some_and(|it| it == *name || it.publisher().as_ref() == Some(name))
        };
        let damaged = self.files()?.refused.into_iter().find(|error| match error {
            KeyringError::NotAKey { path, .. } | KeyringError::NotText { path } => is_own(path),
            _ => false,
        });
        damaged.map_or(Ok(()), Err)
    }

    /// Returns the publisher of this name, with those of its keys that are in the directory, for signing. On Linux the
    /// process writes no core dump from then on.
    ///
    /// # Errors
    /// There is no such key (the error names those that exist), other users may read a key, or it is not an ed25519
    /// key.
    pub fn load(&self, name: &KeyName) -> Result<PublisherKey, KeyringError> {
        forbid_core_dumps();
        self.check_directory()?;
        let documents = self.documents(name)?;
        self.check_finished(name, documents.as_ref())?;
        match documents {
            Some(history) => {
                let wanted = history.newest().keys.clone();
                let keys = self.secrets(&wanted, history.newest().threshold)?;
                if keys.len() < history.newest().threshold {
                    self.refuse_damaged(name)?;
                }
                Ok(PublisherKey::new(keys, history))
            }
            None => {
                self.check_documents(name)?;
                self.found(name)
            }
        }
    }

    /// Refuses a key without documents that has next keys: its documents are lost, and it would pass for another publisher.
    fn check_documents(&self, name: &KeyName) -> Result<(), KeyringError> {
        if self.pending(name)?.is_none() && self.has_next_files(name) {
            let path = self.path(name, DOCUMENTS_EXTENSION);
            return Err(KeyringError::DocumentsMissing { name: name.clone(), path });
        }
        Ok(())
    }

    fn has_next_files(&self, name: &KeyName) -> bool {
        let is_next = |path: &Path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let of = stem.parse::<KeyName>().ok().and_then(|it| it.publisher());
            stem.contains(".next-") && of.is_some_and(|it| it.as_str() == name.as_str())
        };
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.into_iter().any(|it| is_next(&it.path()))
    }

    /// Checks that no publisher of this name is in the directory, nor any part of one.
    ///
    /// # Errors
    /// There are key documents or next keys of this name. They are never replaced.
    pub fn check_free(&self, name: &KeyName) -> Result<(), KeyringError> {
        let path = self.path(name, DOCUMENTS_EXTENSION);
        if path.is_file() || self.has_next_files(name) {
            return Err(KeyringError::Exists { name: name.clone(), path });
        }
        Ok(())
    }

    /// Refuses a publisher with a key document that is signed and not yet in effect: what its keys sign now would not be on
    /// the list of the new document. Refuses a publisher without its first key document, which has no id yet. A document
    /// that waits for the keys of other machines hinders nothing.
    fn check_finished(&self, name: &KeyName, documents: Option<&KeyHistory>) -> Result<(), KeyringError> {
        let Some(pending) = self.pending(name)? else { return Ok(()) };
        let document = pending.file.key_document().ok().flatten();
        let version = document.map_or(1, |it| it.version);
        let is_first = version == 1 && documents.is_none();
        let is_unfinished = match pending.stage(documents) {
            Stage::Signed => true,
            Stage::Kept => pending.file.finished().is_ok(),
            Stage::Unsigned | Stage::Waiting | Stage::Superseded => false,
        };
        if is_first || is_unfinished {
            return Err(KeyringError::Unfinished { name: name.clone(), version });
        }
        Ok(())
    }

    fn found(&self, name: &KeyName) -> Result<PublisherKey, KeyringError> {
        PublisherKey::found(self.secret(name)?).map_err(|error| KeyringError::Sign(Box::new(error)))
    }

    /// Returns the secret of one key. It signs in the name of any publisher.
    ///
    /// # Errors
    /// As [`Keyring::load`].
    pub fn secret(&self, name: &KeyName) -> Result<SecretKey, KeyringError> {
        forbid_core_dumps();
        self.check_directory()?;
        if self.path(name, AGENT_EXTENSION).exists() && !self.path(name, EXTENSION).exists() {
            let key = self.read_public(name, AGENT_EXTENSION)?;
            let Some(agent) = self.agent.clone() else {
                return Err(KeyringError::NoAgent { name: name.clone() });
            };
            return Ok(AgentKey::new(key, agent).into());
        }
        let (path, pem, _) = self.read_pem(name)?;
        if !key_file::is_encrypted(&pem) {
            let key = key_file::decode(&pem, None);
            return Ok(key.map_err(|source| KeyringError::NotAKey { path, source })?.into());
        }
        let passphrase = self.passphrase(name)?;
        match key_file::decode(&pem, Some(&passphrase)) {
            Ok(key) => Ok(key.into()),
            Err(pkcs8::Error::EncryptedPrivateKey(_)) => {
                Err(KeyringError::WrongPassphrase { name: name.clone() })
            }
            Err(source) => Err(KeyringError::NotAKey { path, source }),
        }
    }

    /// Returns the certificate authorities of the publisher of this name: one for every key that it has or had. The
    /// certificate is missing where the key is not in the directory, or is among those that are `revoked`.
    ///
    /// # Errors
    /// None of the keys is available, or as [`Keyring::load`].
    pub fn authorities(&self, name: &KeyName, revoked: &[PublicKey]) -> Result<Authorities, KeyringError> {
        let publisher = match self.documents(name)? {
            Some(history) => {
                let ever = history.documents().flat_map(|it| it.keys.iter().copied());
                let wanted: Vec<PublicKey> = ever.filter(|it| !revoked.contains(it)).collect();
                PublisherKey::new(self.secrets(&wanted, wanted.len())?, history)
            }
            None => self.load(name)?,
        };
        publisher.authorities(revoked).map_err(|error| KeyringError::Sign(Box::new(error)))
    }

    /// Returns up to `enough` of the keys with these public halves, of those that the directory has.
    ///
    /// # Errors
    /// As [`Keyring::load`].
    pub fn secrets(&self, wanted: &[PublicKey], enough: usize) -> Result<Vec<SecretKey>, KeyringError> {
        let KeyList { keys: held, refused } = self.files()?;
        let mut keys: Vec<SecretKey> = Vec::new();
        for info in held.into_iter().filter(|it| wanted.contains(&it.public_key)) {
            let known = keys.iter().any(|key| key.public_key() == info.public_key);
            if keys.len() < enough && !known {
                keys.push(self.secret(&info.name)?);
            }
        }
        // A key that the disk cannot read now may be the one that is lacking: it is not missing.
        let is_unread = |error: &KeyringError| matches!(error, KeyringError::Read { .. });
        match refused.into_iter().find(is_unread) {
            Some(unread) if keys.len() < enough => Err(unread),
            _ => Ok(keys),
        }
    }

    /// Returns the secrets of those keys of the publisher of this name that are among `wanted`: the key of the name, next
    /// keys, and the keys that its documents name.
    ///
    /// # Errors
    /// There is no such key, or as [`Keyring::load`].
    pub fn secrets_of(&self, name: &KeyName, wanted: &[PublicKey]) -> Result<Vec<SecretKey>, KeyringError> {
        let history = self.documents(name)?;
        let named = |key: &PublicKey| {
            history.iter().flat_map(KeyHistory::documents).any(|document| {
                document.keys.contains(key) || document.next.keys().is_some_and(|next| next.names(key))
            })
        };
        let own = |info: &KeyInfo| {
            info.name == *name || info.name.publisher().as_ref() == Some(name) || named(&info.public_key)
        };
        let mut keys: Vec<SecretKey> = Vec::new();
        let mut has_any = false;
        for info in self.files()?.keys.into_iter().filter(own) {
            has_any = true;
            let known = keys.iter().any(|key| key.public_key() == info.public_key);
            if wanted.contains(&info.public_key) && !known {
                keys.push(self.secret(&info.name)?);
            }
        }
        if !has_any {
            return Err(self.not_found(name));
        }
        Ok(keys)
    }

    /// Returns the key documents of the publisher of this name; `None` where it has one key and no commitment.
    ///
    /// # Errors
    /// They cannot be read, or do not verify.
    pub fn documents(&self, name: &KeyName) -> Result<Option<KeyHistory>, KeyringError> {
        let path = self.path(name, DOCUMENTS_EXTENSION);
        let failed = |source| KeyringError::Read { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let bytes = durable::read(&file, KEY_HISTORY_BYTES_MAX).map_err(failed)?;
        let refused = |source| KeyringError::Documents { path: path.clone(), source: Box::new(source) };
        KeyHistory::read_json(&bytes).map(Some).map_err(refused)
    }

    /// Writes the key documents of the publisher of this name. They replace those in the directory. When this returns, they
    /// survive a power cut.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn keep_documents(&self, name: &KeyName, history: &KeyHistory) -> Result<(), KeyringError> {
        self.make_directory()?;
        let path = self.path(name, DOCUMENTS_EXTENSION);
        durable::replace(&path, history.to_json().as_bytes())
            .map_err(|source| KeyringError::Write { path, source })
    }

    /// Returns the public facts of a key.
    ///
    /// # Errors
    /// There is no such key, other users may read it, it is not an ed25519 key, or it has a passphrase and no public
    /// half beside it.
    pub fn info(&self, name: &KeyName) -> Result<KeyInfo, KeyringError> {
        let (path, public_key, protection, metadata) = self.key_of(name)?;
        let history = self.documents(name)?;
        if history.is_none() {
            self.check_documents(name)?;
        }
        let first = KeyDocument::first(public_key);
        let newest = history.as_ref().map_or(&first, KeyHistory::newest);
        let next = newest.next.keys();
        let created = metadata.and_then(|it| it.modified().ok()?.duration_since(UNIX_EPOCH).ok());
        Ok(KeyInfo {
            name: name.clone(),
            publisher: history
                .as_ref()
                .map_or_else(|| publisher_id(&first.to_payload()), KeyHistory::publisher),
            public_key,
            created: created.map(|since| since.as_secs()),
            protection,
            documents: newest.version,
            threshold: newest.threshold,
            keys: newest.keys.clone(),
            next: Vec::new(),
            next_threshold: next.map_or(0, |next| next.threshold),
            path,
        })
    }

    /// Returns the publisher of the key that the user means by this name, where there is one.
    pub fn publisher_of(&self, petname: &Petname) -> Option<PublisherId> {
        Some(self.info(&petname.as_str().parse().ok()?).ok()?.publisher)
    }

    /// Returns the public facts of a key, with its next keys.
    ///
    /// # Errors
    /// As [`Keyring::info`].
    pub fn info_with_next(&self, name: &KeyName) -> Result<KeyInfo, KeyringError> {
        let info = self.info(name)?;
        let history = self.documents(name)?;
        let next = history.as_ref().and_then(|it| it.newest().next.keys());
        Ok(KeyInfo { next: next.map_or_else(Vec::new, |next| self.next_keys(name, next)), ..info })
    }

    /// Returns the file of a key, its public half, what protects it, and the facts of the file.
    fn key_of(
        &self,
        name: &KeyName,
    ) -> Result<(PathBuf, PublicKey, Protection, Option<fs::Metadata>), KeyringError> {
        let (agent, pem) = (self.path(name, AGENT_EXTENSION), self.path(name, EXTENSION));
        if pem.exists() {
            let (path, pem, metadata) = self.read_pem(name)?;
            if !key_file::is_encrypted(&pem) {
                let key = key_file::decode(&pem, None)
                    .map_err(|source| KeyringError::NotAKey { path: path.clone(), source })?;
                return Ok((path, PublicKey::of(&key), Protection::Mode, Some(metadata)));
            }
            let key = match self.read_public(name, PUBLIC_EXTENSION) {
                Ok(key) => key,
                Err(_) => self.secret(name)?.public_key(),
            };
            return Ok((path, key, Protection::Passphrase, Some(metadata)));
        }
        if agent.exists() {
            let key = self.read_public(name, AGENT_EXTENSION)?;
            let metadata = fs::metadata(&agent).ok();
            return Ok((agent, key, Protection::Agent, metadata));
        }
        let Some(history) = self.documents(name)? else { return Err(self.not_found(name)) };
        let path = self.path(name, DOCUMENTS_EXTENSION);
        let key = history.newest().keys.first().copied().expect("a key document has keys");
        let metadata = fs::metadata(&path).ok();
        Ok((path, key, Protection::Elsewhere, metadata))
    }

    fn read_pem(&self, name: &KeyName) -> Result<(PathBuf, Zeroizing<String>, fs::Metadata), KeyringError> {
        let path = self.path(name, EXTENSION);
        let failed = |source| KeyringError::Read { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.not_found(name)),
            Err(source) => return Err(failed(source)),
        };
        let metadata = file.metadata().map_err(failed)?;
        check_exposed(&metadata, 0o077)
            .map_err(|mode| KeyringError::FileExposed { path: path.clone(), mode })?;
        let bytes = durable::read(&file, KEY_FILE_BYTES_MAX).map_err(failed)?;
        let pem = std::str::from_utf8(&bytes).map_err(|_| KeyringError::NotText { path: path.clone() })?;
        let pem = Zeroizing::new(pem.to_owned());
        Ok((path, pem, metadata))
    }

    fn read_public(&self, name: &KeyName, extension: &str) -> Result<PublicKey, KeyringError> {
        let path = self.path(name, extension);
        let text =
            fs::read_to_string(&path).map_err(|source| KeyringError::Read { path: path.clone(), source })?;
        let first = text.lines().next().unwrap_or_default();
        first.trim().parse().map_err(|_| KeyringError::NotPublic { path })
    }

    fn passphrase(&self, name: &KeyName) -> Result<Zeroizing<String>, KeyringError> {
        let failed = |source| KeyringError::Passphrase { name: name.clone(), source };
        match &self.passphrases {
            Passphrases::Nowhere => Err(KeyringError::NoPassphrase { name: name.clone() }),
            Passphrases::Asked(ask) => ask(name).map_err(failed),
            Passphrases::File(path) => read_passphrase(path),
        }
    }

    fn not_found(&self, name: &KeyName) -> KeyringError {
        let existing = self.list().map(|list| list.keys.into_iter().map(|key| key.name).collect());
        KeyringError::NotFound {
            name: name.clone(),
            directory: self.directory.clone(),
            existing: existing.unwrap_or_default(),
        }
    }

    fn path(&self, name: &KeyName, extension: &str) -> PathBuf {
        self.directory.join(format!("{name}.{extension}"))
    }

    /// Refuses a directory that other users may write: they could replace the key.
    fn check_directory(&self) -> Result<(), KeyringError> {
        let Ok(metadata) = fs::metadata(&self.directory) else { return Ok(()) };
        check_exposed(&metadata, 0o022)
            .map_err(|mode| KeyringError::DirectoryExposed { path: self.directory.clone(), mode })
    }
}

/// Returns the first line of a file that only its owner can read.
///
/// # Errors
/// It cannot be read, other users may read it, or it is not a line of text.
pub fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, KeyringError> {
    let failed = |source| KeyringError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    check_exposed(&file.metadata().map_err(failed)?, 0o077)
        .map_err(|mode| KeyringError::FileExposed { path: path.to_owned(), mode })?;
    let bytes = durable::read(&file, PASSPHRASE_BYTES_MAX).map_err(failed)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyringError::NotText { path: path.to_owned() })?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// Returns the name of the key in a file; `None` for a file that is not a key file.
fn name_of(path: &Path) -> Option<Result<KeyName, KeyringError>> {
    let extension = path.extension()?;
    if extension != EXTENSION && extension != AGENT_EXTENSION {
        return None;
    }
    let name = path.file_stem()?.to_string_lossy();
    Some(name.parse().map_err(|source| KeyringError::Name { path: path.to_owned(), source }))
}

/// Refuses a file on which other users have any of these rights; the error is its mode. Windows separates the files of
/// users itself.
#[cfg_attr(not(unix), expect(unused_variables, reason = "only Unix has modes"))]
fn check_exposed(metadata: &fs::Metadata, rights: u32) -> Result<(), u32> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        if mode & rights != 0 {
            return Err(mode);
        }
    }
    Ok(())
}

/// Forbids core dumps, because the process holds keys from now on. Other systems, and a kernel that refuses, keep their
/// setting.
pub fn forbid_core_dumps() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(%error, "a crash of this process may leave keys in a core dump");
        }
    }
}

#[cfg(test)]
mod tests;
