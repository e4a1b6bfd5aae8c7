//! [`Signer`]: the key with which the user lets this daemon sign uploads (`--publish-key`).

use std::sync::{Arc, Mutex};

use reg_api::prepared::Prepared;
use reg_keys::error::SignError;
use reg_keys::keyring::{KeyName, Keyring, KeyringError};
use reg_keys::publisher_key::PublisherKey;
use reg_proto::key::KeyHistory;
use reg_proto::name::PublisherId;
use tracing::{info, warn};

use crate::registry::publish::Signatory;

/// A publisher's keys and their name. Cheap to clone. After a rotation it signs with the new keys, if it can read them.
#[derive(Debug, Clone)]
pub struct Signer(Arc<NamedKey>);

#[derive(Debug)]
struct NamedKey {
    name: KeyName,
    publisher: PublisherId,
    keyring: Keyring,
    key: Mutex<Arc<PublisherKey>>,
}

impl Signer {
    /// Returns a signer for the publisher of this name in the keyring.
    ///
    /// # Errors
    /// The key cannot be loaded.
    pub fn new(name: KeyName, keyring: Keyring) -> Result<Self, KeyringError> {
        let key = keyring.load(&name)?;
        let publisher = key.publisher_id();
        Ok(Self(Arc::new(NamedKey { name, publisher, keyring, key: Mutex::new(Arc::new(key)) })))
    }

    /// Returns the name of the key.
    pub fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// Returns the publisher of the key.
    pub fn publisher(&self) -> PublisherId {
        self.0.publisher
    }

    /// Runs `publish` with a signatory for this key. The key stays in this type.
    pub(super) async fn lend<T>(&self, publish: impl AsyncFnOnce(Signatory<'_>) -> T) -> T {
        let named = self.0.clone();
        let current = tokio::task::spawn_blocking(move || named.current());
        let (key, stale) =
            current.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let sign = |prepared: &Prepared| match &stale {
            Some(source) => Err(SignError::Changed { name: self.0.name.clone(), source: source.clone() }),
            None => key.sign(prepared),
        };
        let (publisher, key_documents) = (key.publisher_id(), key.key_documents());
        publish(Signatory { publisher, key_documents: &key_documents, sign: &sign }).await
    }
}

impl NamedKey {
    /// Returns the keys as the keyring has them now, or the last ones and why the new ones cannot be loaded.
    fn current(&self) -> (Arc<PublisherKey>, Option<Arc<KeyringError>>) {
        let mut key = self.key.lock().expect("no holder of this lock panics");
        let known = (key.history().version(), key.history().head());
        let is_same = match self.keyring.documents(&self.name) {
            Ok(documents) => documents.is_none_or(|it: KeyHistory| (it.version(), it.head()) == known),
            Err(_) => false,
        };
        if is_same {
            return (key.clone(), None);
        }
        match self.keyring.load(&self.name) {
            Ok(new) if new.publisher_id() == self.publisher => {
                info!(key = %self.name, version = new.history().version(), "uploads are signed with the new key");
                *key = Arc::new(new);
                (key.clone(), None)
            }
            Ok(_) => {
                let source = KeyringError::OtherPublisher { name: self.name.clone() };
                (key.clone(), Some(Arc::new(source)))
            }
            Err(error) => {
                warn!(key = %self.name, %error, "the keys have changed, and the new ones cannot be loaded");
                (key.clone(), Some(Arc::new(error)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use reg_keys::key_changes::{self, KeySet};
    use reg_proto::key::{Inheritance, Next};

    use super::*;

    /// Returns the number of key documents that the signer hands over, and whether it can sign.
    async fn lent(signer: &Signer) -> (usize, Option<String>) {
        let named = signer.0.clone();
        let stale = named.current().1.map(|it| it.to_string());
        (signer.lend(async |by: Signatory<'_>| by.key_documents.len()).await, stale)
    }

    #[tokio::test]
    async fn a_signer_follows_a_rotation_or_says_why_it_cannot() {
        let home = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(home.path().join("keys"));
        let (name, new): (KeyName, KeyName) = ("me".parse().unwrap(), "new".parse().unwrap());
        keyring.create(&name).unwrap();
        let signer = Signer::new(name.clone(), keyring.clone()).unwrap();
        assert_eq!(lent(&signer).await, (1, None));
        let key = keyring.create(&new).unwrap();
        let old = keyring.load(&name).unwrap();
        let key_set = KeySet { keys: vec![key.public_key], threshold: 1, next: Next::Open, floor: None };
        let mut file = key_changes::rotate(old.history(), key_set, Inheritance::default());
        for name in [&name, &new] {
            file.sign(&keyring.secret(name).unwrap()).unwrap();
        }
        keyring.keep_documents(&name, &file.declarations().unwrap().0).unwrap();
        assert_eq!(lent(&signer).await, (2, None));
        // The documents are another publisher's by now.
        std::fs::remove_file(home.path().join("keys/me.json")).unwrap();
        std::fs::rename(&key.path, home.path().join("keys/me.pem")).unwrap();
        std::fs::write(home.path().join("keys/me.json"), "[]").unwrap();
        let (documents, stale) = lent(&signer).await;
        assert!(documents == 2 && stale.is_some_and(|it| it.contains("are refused")));
    }
}
