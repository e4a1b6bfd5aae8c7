//! [`Keyring`]: the keys of the publisher and of the thief, and the key documents that they make.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::key::{Inheritance, KeyDocument, Next, NextKeys};
use reg_proto::naming::chain::Chain;

use crate::config::Config;
use crate::rules::Rules;

/// The key at place 0 is the thief's own; the one at place n is that of the publisher's document n.
pub(crate) struct Keyring {
    keys: [PublicKey; 6],
}

/// The form of a key document that a thief tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fork {
    /// It names the thief's key.
    Alone,
    /// It names the thief's key and the publisher's next one, which the thief has read in the publisher's document.
    BesideNext,
}

impl Keyring {
    pub(crate) fn new() -> Self {
        Self { keys: [0, 1, 2, 3, 4, 5].map(|it| PublicKey::of(&Self::signing(it))) }
    }

    /// Returns the secret half of the key at this place.
    pub(crate) fn signing(place: u8) -> SigningKey {
        SigningKey::from_bytes(&[place; 32])
    }

    /// Returns the key of the publisher's document of this version.
    pub(crate) fn of(&self, version: u64) -> PublicKey {
        self.keys[usize::try_from(version).expect("few documents")]
    }

    fn next_of(&self, config: &Config, key: PublicKey) -> Next {
        if config.is_committed { Next::Keys(NextKeys::of(&[key], 1)) } else { Next::Open }
    }

    /// Returns the chain with the publisher's first document.
    pub(crate) fn first(&self, config: &Config, rules: &Rules) -> Chain {
        let key = self.of(1);
        let document = KeyDocument { next: self.next_of(config, self.of(2)), ..KeyDocument::first(key) };
        let digest = Digest::of(&document.to_payload());
        Chain::begin((rules.read)(document), digest, &BTreeSet::from([key])).expect("a first document")
    }

    /// Returns the chain with the publisher's next document, with its list and without it.
    pub(crate) fn rotated(
        &self,
        config: &Config,
        rules: &Rules,
        chain: &Chain,
        inherited: Vec<Digest>,
    ) -> [Chain; 2] {
        let version = chain.version() + 1;
        let list = Inheritance::of(inherited).expect("a short list");
        let document = KeyDocument {
            version,
            keys: vec![self.of(version)],
            threshold: 1,
            previous: Some(chain.head()),
            next: self.next_of(config, self.of(version + 1)),
            floor: config.floor,
            inherits: config.is_committed.then(|| list.digest()),
        };
        // Old keys sign only where nothing was committed to.
        let old = chain.newest().next.keys().is_none().then(|| self.of(chain.version()));
        let signers = old.into_iter().chain([self.of(version)]).collect();
        let digest = Digest::of(&document.to_payload());
        let mut bare = chain.clone();
        (rules.extend)(&mut bare, (rules.read)(document), digest, &signers)
            .expect("the publisher has the keys");
        let mut whole = bare.clone();
        if config.is_committed {
            whole.inherit(list).expect("the list that it names");
        }
        [whole, bare]
    }

    /// Returns the chain that a thief with the key of document `stolen` makes by following document `base`; `None` if the
    /// rules refuse it.
    pub(crate) fn forked(
        &self,
        rules: &Rules,
        config: &Config,
        owner: &Chain,
        (base, stolen): (u64, u64),
        form: Fork,
    ) -> Option<Chain> {
        let mut chain = owner.as_of(base)?;
        let version = base + 1;
        let own = self.keys[0];
        let next = (form == Fork::BesideNext && owner.version() > base).then(|| self.of(version));
        let list = Inheritance::default();
        let document = KeyDocument {
            version,
            keys: [own].into_iter().chain(next).collect(),
            threshold: 1,
            previous: Some(chain.head()),
            next: self.next_of(config, own),
            floor: None,
            inherits: config.is_committed.then(|| list.digest()),
        };
        let digest = Digest::of(&document.to_payload());
        let signers = BTreeSet::from([own, self.of(stolen)]);
        (rules.extend)(&mut chain, (rules.read)(document), digest, &signers).ok()?;
        if config.is_committed {
            chain.inherit(list).expect("the list that it names");
        }
        Some(chain)
    }
}
