//! Verifies the referrers of a manifest, and returns the provenance, the bundle, the keys, the card and the attestations
//! that hold.

use std::collections::BTreeSet;

use reg_keys::oms::bundle;
use reg_proto::attestation::Said;
use reg_proto::catalogue::{CARD_ARTIFACT_TYPE, SignedCard};
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::manifest::Manifest;
use reg_proto::name::ModelName;
use reg_proto::path::SafePath;
use reg_proto::provenance::Provenance;
use reg_proto::referrer::{BUNDLE_ARTIFACT_TYPE, EMPTY_BLOB, KEYS_ARTIFACT_TYPE, PROVENANCE_ARTIFACT_TYPE};

use super::attestations::Attestors;
use super::documents::Referrers;
use super::resolved::ResolveError;

/// The verified part of a manifest's referrers.
pub struct Accepted {
    pub provenance: Provenance,
    pub referrers: Vec<Digest>,
    /// The attestations, those by the publisher included.
    pub said: Vec<Said>,
    /// The digests of the referrers and of the documents that they carry.
    pub documents: BTreeSet<Digest>,
}

/// Verifies the publisher's provenance, its OpenSSF bundle, its key documents, its card, and the attestations. Anything
/// else that a peer offered is dropped.
pub fn accept(
    candidates: &Referrers,
    keys: &KeyHistory,
    model: &ModelName,
    digest: Digest,
    manifest: &Manifest,
    attestors: &Attestors<'_>,
) -> Result<Accepted, ResolveError> {
    let mut refusal = ResolveError::NoProvenance { digest, publisher: keys.publisher() };
    let mut provenance = None;
    let mut accepted: Vec<(Digest, Digest)> = Vec::new();
    for (referrer_digest, referrer, document) in candidates.iter() {
        if provenance.is_some() || referrer.artifact_type != PROVENANCE_ARTIFACT_TYPE {
            continue;
        }
        match Provenance::verify(&String::from_utf8_lossy(document), keys, model, &digest, manifest) {
            Ok(valid) => {
                provenance = Some(valid);
                accepted.push((*referrer_digest, referrer.document.digest));
            }
            Err(source) => refusal = ResolveError::Provenance { digest, source },
        }
    }
    let provenance = provenance.ok_or(refusal)?;
    // A provenance by retired keys was accepted because the newest keys take it over. They take over its bundle with it.
    let inherited = keys
        .document(provenance.key_document)
        .filter(|document| keys.newest().inherits.is_some() && document.version < keys.version());
    let signers = match inherited {
        Some(document) => document.keys.clone(),
        None => keys.signers(provenance.key_document),
    };
    let files: Vec<(SafePath, Digest)> =
        manifest.files().iter().map(|file| (file.path.clone(), file.digest)).collect();
    let bundle = candidates.iter().find(|(_, referrer, document)| {
        let text = String::from_utf8_lossy(document);
        referrer.artifact_type == BUNDLE_ARTIFACT_TYPE && bundle::check(&text, &signers, &files).is_ok()
    });
    accepted
        .extend(bundle.map(|(referrer_digest, referrer, _)| (*referrer_digest, referrer.document.digest)));
    let with_keys = candidates.iter().find(|(_, referrer, document)| {
        let text = String::from_utf8_lossy(document);
        referrer.artifact_type == KEYS_ARTIFACT_TYPE
            && KeyHistory::from_json(keys.publisher(), text.as_bytes()).is_ok()
    });
    accepted
        .extend(with_keys.map(|(referrer_digest, referrer, _)| (*referrer_digest, referrer.document.digest)));
    accepted.extend(card(candidates, keys, model, &digest));
    let attested = attestors.gather(candidates, keys, &digest);
    accepted.extend(attested.referrers);
    let referrers = accepted.iter().map(|(referrer, _)| *referrer).collect();
    let empty = Digest::of(EMPTY_BLOB);
    let documents =
        accepted.into_iter().flat_map(|(referrer, document)| [referrer, document]).chain([empty]).collect();
    Ok(Accepted { provenance, referrers, said: attested.said, documents })
}

/// Returns the newest card that the publisher has signed of this version of a model, by its referrer and its document.
fn card(
    candidates: &Referrers,
    keys: &KeyHistory,
    model: &ModelName,
    digest: &Digest,
) -> Option<(Digest, Digest)> {
    let cards = candidates.iter().filter(|(_, referrer, _)| referrer.artifact_type == CARD_ARTIFACT_TYPE);
    let verified = cards.filter_map(|(referrer_digest, referrer, document)| {
        let signed = SignedCard::verify(std::str::from_utf8(document).ok()?, keys).ok()?;
        let card = signed.card();
        let is_of_model = card.manifest == *digest && card.model.folded() == model.folded();
        is_of_model
            .then_some(((card.key_document, card.issued), (*referrer_digest, referrer.document.digest)))
    });
    verified.max().map(|(_, accepted)| accepted)
}
