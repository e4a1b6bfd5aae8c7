//! Gathers the attestations among the referrers of a manifest: verified, and the newest of each kind by each attestor.
//!
//! Anyone can make keys and attest, so their number is bounded. Attestors that the user named come first, then the
//! publisher, then all others. So a crowd of unknown attestors cannot displace those that count.

use std::collections::{BTreeMap, BTreeSet};

use reg_proto::attestation::{ATTESTATION_ARTIFACT_TYPE, AttestationKind, Said};
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::limits::{ATTESTATIONS_BY_ONE_MAX, ATTESTATIONS_MAX, VERIFICATIONS_PER_ANSWER_MAX};
use reg_proto::name::PublisherId;
use reg_proto::referrer::KEYS_ARTIFACT_TYPE;
use reg_proto::verification::Budget;
use tracing::debug;

use super::documents::Referrers;
use crate::registry::publishers::keys;
use crate::store::Store;

/// The attestors to prefer, and the store that remembers their keys.
pub struct Attestors<'a> {
    pub store: &'a Store,
    /// Publishers that have a petname, or that a rule names.
    pub named: BTreeSet<PublisherId>,
}

/// The attestations that were found.
#[derive(Debug, Default)]
pub struct Attested {
    pub said: Vec<Said>,
    /// The referrers that carry the attestations or their attestors' keys, each with its document.
    pub referrers: Vec<(Digest, Digest)>,
}

impl Attestors<'_> {
    /// Gathers the attestations about `manifest`, a model of the publisher with `keys`.
    pub fn gather(&self, candidates: &Referrers, keys: &KeyHistory, manifest: &Digest) -> Attested {
        let mut newest: BTreeMap<(usize, PublisherId, AttestationKind), (Said, Digest, Digest)> =
            BTreeMap::new();
        let mut of: BTreeMap<PublisherId, Option<Keys>> = BTreeMap::new();
        let mut budget = Budget::new(VERIFICATIONS_PER_ANSWER_MAX);
        for (digest, referrer, document) in candidates.iter() {
            if referrer.artifact_type != ATTESTATION_ARTIFACT_TYPE {
                continue;
            }
            let text = String::from_utf8_lossy(document);
            let Ok((claimed, _)) = Said::read(&text, manifest) else { continue };
            let by = claimed.by();
            let known = of.entry(by).or_insert_with(|| self.keys_of(by, candidates, keys, &mut budget));
            let Some(known) = known else { continue };
            match budget.run(|| Said::verify(&text, &known.history, manifest)) {
                Ok(Ok(said)) => {
                    let key = (self.rank(by, keys.publisher()), by, said.kind());
                    let is_newer = newest.get(&key).is_none_or(|(old, ..)| old.issued() < said.issued());
                    if is_newer {
                        newest.insert(key, (said, *digest, referrer.document.digest));
                    }
                }
                Ok(Err(error)) => debug!(%by, %error, "an attestation is left out"),
                Err(error) => debug!(%by, %error, "an attestation is left out: all together cost too much"),
            }
        }
        let mut attested = Attested::default();
        for ((_, by, _), (said, referrer, document)) in newest.into_iter().take(ATTESTATIONS_MAX) {
            attested.said.push(said);
            attested.referrers.push((referrer, document));
            if let Some(Some(Keys { carried: Some(carried), .. })) = of.get(&by)
                && !attested.referrers.contains(carried)
            {
                attested.referrers.push(*carried);
            }
        }
        attested
    }

    /// Returns the order of an attestor: named by the user, the publisher itself, any other.
    fn rank(&self, by: PublisherId, publisher: PublisherId) -> usize {
        match self.named.contains(&by) {
            true => 0,
            false if by == publisher => 1,
            false => 2,
        }
    }

    /// Returns the longest key history of an attestor that does not contradict the one that this node has seen.
    fn keys_of(
        &self,
        by: PublisherId,
        candidates: &Referrers,
        publisher: &KeyHistory,
        budget: &mut Budget,
    ) -> Option<Keys> {
        if by == publisher.publisher() {
            return Some(Keys { history: publisher.clone(), carried: None });
        }
        let carried = candidates.iter().filter(|(_, it, _)| it.artifact_type == KEYS_ARTIFACT_TYPE);
        let mut carried: Vec<(KeyHistory, (Digest, Digest))> = carried
            .filter_map(|(digest, referrer, document)| {
                let text = String::from_utf8_lossy(document);
                let history = budget.run(|| KeyHistory::from_json(by, text.as_bytes())).ok()?.ok()?;
                Some((history, (*digest, referrer.document.digest)))
            })
            .collect();
        carried.sort_by_key(|(history, _)| history.version());
        let longest = carried.pop();
        let pinned = keys::keys(self.store, by).ok().flatten();
        let (history, carried) = match (pinned, longest) {
            (Some(pinned), Some((offered, at))) if pinned.is_prefix_of(&offered) => (offered, Some(at)),
            (Some(pinned), offered) => (pinned, offered.map(|(_, at)| at)),
            (None, Some((offered, at))) => (offered, Some(at)),
            (None, None) => return None,
        };
        if self.named.contains(&by)
            && let Err(error) = keys::pin_keys(self.store, &history)
        {
            debug!(%by, %error, "keys of an attestor are not remembered");
        }
        Some(Keys { history, carried })
    }
}

/// The keys of an attestor, and the referrer that carried them.
struct Keys {
    history: KeyHistory,
    carried: Option<(Digest, Digest)>,
}

const _: () = assert!(AttestationKind::ALL.len() <= ATTESTATIONS_BY_ONE_MAX);

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::attestation::{Attestation, AttestationResult};
    use reg_proto::descriptor::Descriptor;
    use reg_proto::envelope::{Envelope, PublicKey};
    use reg_proto::key::{KeyDocument, publisher_id};
    use reg_proto::manifest::MANIFEST_TYPE;
    use reg_proto::provenance::STATEMENT_PAYLOAD_TYPE;
    use reg_proto::referrer::{ENVELOPE_MEDIA_TYPE, Referrer};

    use super::*;
    use crate::store::CacheLimits;

    fn keys(seed: u16) -> (SigningKey, KeyHistory) {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&seed.to_le_bytes());
        let key = SigningKey::from_bytes(&bytes);
        let document = KeyDocument::first(PublicKey::of(&key));
        let history =
            KeyHistory::verify(publisher_id(&document.to_payload()), &[document.sign(&key).to_json()])
                .unwrap();
        (key, history)
    }

    fn refer(to: &mut Referrers, artifact_type: &str, document: &str) {
        let referrer = Referrer {
            artifact_type: artifact_type.to_owned(),
            subject: Descriptor::of(MANIFEST_TYPE, b"manifest"),
            document: Descriptor::of(ENVELOPE_MEDIA_TYPE, document.as_bytes()),
        };
        to.add(Digest::of(&referrer.to_bytes()), referrer, document.as_bytes().to_vec());
    }

    fn attest(to: &mut Referrers, seed: u16, signer: u16, issued: u64) {
        let (_, history) = keys(seed);
        let attestation = Attestation {
            publisher: history.publisher(),
            key_document: 1,
            issued,
            kind: AttestationKind::Scan,
            result: AttestationResult::Pass,
            tool: None,
            note: None,
        };
        let payload = attestation.to_payload(&Digest::of(b"manifest"));
        let envelope = Envelope::sign(STATEMENT_PAYLOAD_TYPE, payload, &[&keys(signer).0]).to_json();
        refer(to, ATTESTATION_ARTIFACT_TYPE, &envelope);
        refer(to, KEYS_ARTIFACT_TYPE, &history.to_json());
    }

    #[test]
    fn a_crowd_of_strangers_pushes_nobody_out_and_forgeries_count_for_nothing() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), CacheLimits::default()).unwrap();
        let (publisher, friend) = (keys(1).1, keys(500).1.publisher());
        let mut candidates = Referrers::default();
        for stranger in 2..60 {
            attest(&mut candidates, stranger, stranger, 1);
        }
        attest(&mut candidates, 500, 500, 7);
        attest(&mut candidates, 500, 500, 8);
        attest(&mut candidates, 500, 9, 9);
        attest(&mut candidates, 1, 1, 1);
        let attestors = Attestors { store: &store, named: [friend].into() };
        let attested = attestors.gather(&candidates, &publisher, &Digest::of(b"manifest"));
        assert_eq!(attested.said.len(), ATTESTATIONS_MAX);
        assert_eq!(
            (attested.said[0].by(), attested.said[0].issued()),
            (friend, 8),
            "the newest attestation of that attestor"
        );
        assert_eq!(attested.said[1].by(), publisher.publisher());
        assert!(keys::keys(&store, friend).unwrap().is_some(), "keys of a named attestor are remembered");
        assert!(keys::keys(&store, attested.said[2].by()).unwrap().is_none());
        let elsewhere = attestors.gather(&candidates, &publisher, &Digest::of(b"another"));
        assert!(elsewhere.said.is_empty() && elsewhere.referrers.is_empty());
    }
}
