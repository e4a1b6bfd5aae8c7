//! Judges publishers and stored models by the user's trust file.

use std::collections::BTreeMap;

use reg_api::behind::Behind;
use reg_api::check::Check;
use reg_api::consent::{Acceptance, Consent};
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
        self.file.list().is_ok_and(|names| names.values().any(|it| it == publisher))
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
        let claimed = &record.metadata.claimed.licenses;
        let manifest = record::manifest(&self.store, manifest).ok();
        let stated = manifest.and_then(|it| record::claims(&self.store, &it));
        let licenses = stated.map(|stated| match stated.licenses {
            licenses if licenses.is_empty() => claimed.iter().map(ToString::to_string).collect(),
            licenses => licenses,
        });
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
}
