//! [`Authorities`]: certificates by which tools that know X.509 trust a publisher's keys, one for each key.
//!
//! A certificate proves one key. It proves nothing about the publisher's id: only key documents say that a key speaks
//! for a publisher. A publisher that has rotated its keys needs all certificates, because signatures of an older key
//! stay valid.

use reg_proto::envelope::PublicKey;
use reg_proto::key::KeyHistory;
use reg_proto::name::PublisherId;
use serde::{Deserialize, Serialize};

use crate::certificate;
use crate::error::SignError;
use crate::secret_key::SecretKey;

/// The certificate authorities of one publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorities {
    pub publisher: PublisherId,
    /// In the order of the key documents that first name them.
    pub authorities: Vec<KeyAuthority>,
}

/// The certificate authority of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAuthority {
    pub key: PublicKey,
    /// The first and the last key document that name the key.
    pub documents: (u64, u64),
    /// The certificate; `None` where the key is revoked, or is not available to sign it.
    pub pem: Option<String>,
    pub revoked: bool,
    /// Whether newer keys have replaced it: then nothing counts that it signs from now on.
    #[serde(default)]
    pub retired: bool,
}

impl Authorities {
    /// Returns an authority for every key that the documents name. The certificate is missing where the key is not in
    /// `keys`, or is in `revoked`.
    pub(crate) fn of(
        history: &KeyHistory,
        keys: &[SecretKey],
        revoked: &[PublicKey],
    ) -> Result<Self, SignError> {
        let publisher = history.publisher();
        let mut authorities: Vec<KeyAuthority> = Vec::new();
        for document in history.documents() {
            for key in &document.keys {
                match authorities.iter_mut().find(|it| it.key == *key) {
                    Some(known) => known.documents.1 = document.version,
                    None => authorities.push(KeyAuthority {
                        key: *key,
                        documents: (document.version, document.version),
                        pem: None,
                        revoked: revoked.contains(key),
                        retired: !history.newest().keys.contains(key),
                    }),
                }
            }
        }
        for authority in authorities.iter_mut().filter(|it| !it.revoked) {
            let secret = keys.iter().find(|it| it.public_key() == authority.key);
            let made = secret.map(|secret| certificate::authority(secret, &publisher)).transpose()?;
            authority.pem = made.map(|it| certificate::to_pem(it.der()));
        }
        if authorities.iter().all(|it| it.pem.is_none()) {
            return Err(SignError::NoneHere { publisher });
        }
        Ok(Self { publisher, authorities })
    }

    /// Returns all certificates as one PEM file. A line before each says what it proves, as RFC 7468 allows.
    pub fn to_pem(&self) -> String {
        let mut text = String::new();
        for KeyAuthority { key, documents: (first, last), pem, retired, .. } in &self.authorities {
            let Some(pem) = pem else { continue };
            let documents = if first == last { format!("{first}") } else { format!("{first} to {last}") };
            text.push_str(&format!(
                "# {key}, key document {documents} of {}\n# It proves this key, not the publisher's id: that is proven by key documents alone.\n",
                self.publisher
            ));
            if *retired {
                text.push_str(
                    "# The key is retired. A bundle by it counts only for a model that the newest key document takes over.\n",
                );
            }
            text.push_str(pem);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::envelope::Envelope;
    use reg_proto::key::{KEY_DOCUMENT_TYPE, KeyDocument, publisher_id};

    use super::*;

    #[test]
    fn one_for_each_key_that_is_here_and_not_revoked() {
        let secrets: Vec<SigningKey> = (1..=3).map(|seed| SigningKey::from_bytes(&[seed; 32])).collect();
        let keys: Vec<PublicKey> = secrets.iter().map(PublicKey::of).collect();
        let first = KeyDocument::first(keys[0]);
        let publisher = publisher_id(&first.to_payload());
        let second = KeyDocument {
            version: 2,
            keys: vec![keys[0], keys[1], keys[2]],
            threshold: 2,
            previous: Some(reg_proto::digest::Digest::of(&first.to_payload())),
            ..first.clone()
        };
        let signers: Vec<&SigningKey> = secrets.iter().collect();
        let envelopes = [
            first.sign(&secrets[0]).to_json(),
            Envelope::sign(KEY_DOCUMENT_TYPE, second.to_payload(), &signers).to_json(),
        ];
        let history = KeyHistory::verify(publisher, &envelopes).unwrap();
        let held: Vec<SecretKey> = secrets[..2].iter().cloned().map(SecretKey::from).collect();
        let made = Authorities::of(&history, &held, &[]).unwrap();
        let shown: Vec<(bool, (u64, u64))> =
            made.authorities.iter().map(|it| (it.pem.is_some(), it.documents)).collect();
        assert_eq!(shown, [(true, (1, 2)), (true, (2, 2)), (false, (2, 2))]);
        let text = made.to_pem();
        assert_eq!(pem::parse_many(&text).unwrap().len(), 2);
        assert!(text.contains("key document 1 to 2") && text.contains("not the publisher's id"), "{text}");
        let made = Authorities::of(&history, &held, &keys[..1]).unwrap();
        assert_eq!(pem::parse_many(made.to_pem()).unwrap().len(), 1, "a revoked key is left out");
        assert!(made.authorities[0].revoked);
        assert!(matches!(Authorities::of(&history, &[], &[]), Err(SignError::NoneHere { .. })));
    }
}
