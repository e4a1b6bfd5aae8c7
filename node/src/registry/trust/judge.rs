//! Judges publishers and stored models by the user's trust file.

use std::collections::BTreeMap;

use reg_api::behind::Behind;
use reg_api::check::Check;
use reg_api::consent::{Acceptance, Consent};
use reg_api::report::{Licence, LicenceFrom};
use reg_proto::attestation::Said;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Petname, PublisherId};

use super::{Subscription, Trust, TrustEntries, TrustError};
use crate::registry::model::record::{self, ModelRecord};
use crate::registry::policy::{Denials, Facts, consent_to, judge_trust};

/// The user's rules and denylists, read once for many models.
#[derive(Debug)]
pub struct Rulings {
    entries: TrustEntries,
    denials: Denials,
}

impl Rulings {
    /// Tells whether a rule or a denylist may refuse a model. A denylist itself is never refused.
    pub fn may_refuse(&self, publisher: PublisherId, model: &ModelName) -> bool {
        let Self { entries, denials } = self;
        let is_it = |it: &Subscription| it.publisher == publisher && it.model.folded() == model.folded();
        let has_rule = entries.rules.iter().any(|it| it.is_for(publisher, model));
        (has_rule || !denials.denied.is_empty()) && !entries.denylists.iter().any(is_it)
    }
}

impl Trust {
    /// Reads the user's rules and denylists.
    ///
    /// # Errors
    /// The trust file cannot be read.
    pub fn rulings(&self) -> Result<Rulings, TrustError> {
        let entries = self.file.load()?;
        let denials = self.denials(&entries);
        Ok(Rulings { entries, denials })
    }

    /// Returns `given` together with what the user's rules allow of a model.
    ///
    /// # Errors
    /// The trust file cannot be read.
    pub fn consent_to(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        given: &Consent,
    ) -> Result<Consent, TrustError> {
        Ok(consent_to(&self.file.load()?.rules, publisher, model, given))
    }

    /// Returns what is accepted of files, together with what the user's rules allow of the model that they become.
    ///
    /// # Errors
    /// The trust file cannot be read.
    pub fn accepted(&self, given: &Acceptance) -> Result<Acceptance, TrustError> {
        let mut accepted = given.clone();
        if let Some((publisher, model)) = &given.model {
            accepted.consent = self.consent_to(*publisher, model, &given.consent)?;
        }
        Ok(accepted)
    }

    /// Returns the petname of each publisher that has one. Empty where the trust file cannot be read.
    pub fn petnames(&self) -> BTreeMap<PublisherId, Petname> {
        self.file.list().unwrap_or_default().into_iter().map(|(petname, id)| (id, petname)).collect()
    }

    /// Tells whether the user gave a petname to a publisher.
    pub fn has_named(&self, publisher: &PublisherId) -> bool {
        self.file.has_named(publisher)
    }

    /// Judges a model in the store by the user's rules and denylists of today. `behind` tells how it stands behind the head of
    /// the tag that the user asked for.
    pub fn judge_here(
        &self,
        manifest: &Digest,
        record: &ModelRecord,
        said: &[Said],
        behind: Option<&Behind>,
    ) -> Result<Vec<Check>, TrustError> {
        let trust = self.file.load()?;
        let mut checks = self.denials(&trust).judge(record.publisher, manifest, &record.blobs);
        let licenses = self.licence_here(manifest, record).map(|it| it.licenses);
        let facts = Facts {
            publisher: record.publisher,
            model: record.model.clone(),
            petnames: trust.names.petnames,
            attestations: said.iter().map(|it| (it.by(), it.kind(), it.result())).collect(),
            licenses,
            behind: behind.cloned(),
        };
        checks.extend(judge_trust(&trust.rules, &facts));
        Ok(checks)
    }

    /// Returns the licence of a model in the store, as rules judge it: what the publisher has stated, else what the model card in
    /// the files claims. `None` where the store does not have what the publisher has stated.
    pub fn licence_here(&self, manifest: &Digest, record: &ModelRecord) -> Option<Licence> {
        let manifest = record::manifest(&self.store, manifest).ok()?;
        let stated = record::claims(&self.store, &manifest)?.licenses;
        if !stated.is_empty() {
            return Some(Licence { licenses: stated, from: LicenceFrom::Publisher });
        }
        let claimed = &record.metadata.claimed.licenses;
        if claimed.is_empty() && record.pulling.is_some() {
            // The model card may still come.
            return None;
        }
        let from = if claimed.is_empty() { LicenceFrom::Nowhere } else { LicenceFrom::Files };
        Some(Licence { licenses: claimed.iter().map(ToString::to_string).collect(), from })
    }
}
