//! [`Signer`]: the key with which the user lets this daemon sign uploads (`--publish-key`).

use std::sync::Arc;

use reg_api::prepared::Prepared;
use reg_keys::keyring::KeyName;
use reg_keys::publisher_key::PublisherKey;
use reg_proto::name::PublisherId;

use crate::registry::publish::Signatory;

/// A key and its name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signer(Arc<NamedKey>);

#[derive(Debug)]
struct NamedKey {
    name: KeyName,
    key: PublisherKey,
}

impl Signer {
    /// Returns a signer with a key and its name in the keyring.
    pub fn new(name: KeyName, key: PublisherKey) -> Self {
        Self(Arc::new(NamedKey { name, key }))
    }

    /// Returns the name of the key.
    pub fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// Returns the publisher of the key.
    pub fn publisher(&self) -> PublisherId {
        self.0.key.publisher_id()
    }

    /// Runs `publish` with a signatory for this key. The key stays in this type.
    pub(super) async fn lend<T>(&self, publish: impl AsyncFnOnce(Signatory<'_>) -> T) -> T {
        let key = &self.0.key;
        let sign = |prepared: &Prepared| key.sign(prepared);
        let (publisher, key_documents) = (key.publisher_id(), key.key_documents());
        publish(Signatory { publisher, key_documents: &key_documents, sign: &sign }).await
    }
}
