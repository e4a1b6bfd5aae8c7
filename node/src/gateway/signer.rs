//! [`Signer`]: the key with which the user lets this daemon sign uploads (`--publish-key`).

use std::sync::Arc;

use reg_proto::name::PublisherId;

use crate::registry::keyring::KeyName;
use crate::registry::publisher_key::PublisherKey;

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

    /// Returns the key.
    pub(super) fn key(&self) -> &PublisherKey {
        &self.0.key
    }
}
