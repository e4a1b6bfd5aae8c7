//! Gathers the facts for [`policy`] before the files of a model are fetched, and refuses what the user does not want.
//!
//! [`policy`]: crate::registry::policy

use std::collections::BTreeSet;

use reg_api::check::{Check, CheckResult};
use reg_api::fault::{Fault, FaultKind};
use reg_proto::content::card;
use reg_proto::content::kind::ContentKind;
use reg_proto::digest::Digest;
use reg_proto::limits::CONFIG_BYTES_MAX;
use reg_proto::manifest::{Manifest, ModelConfig};
use reg_proto::name::{ModelName, PublisherId};
use thiserror::Error;

use super::Resolver;
use super::attestations::Attestors;
use super::documents::Documents;
use super::resolved::Resolved;
use super::sent::AllSent;
use crate::registry::policy::{Facts, judge_formats, judge_trust};
use crate::registry::trust::{TrustEntries, TrustError};

/// Bytes of a model card that is fetched to read the claimed licence.
const CARD_BYTES_MAX: u64 = 1 << 20;

/// Why a model is not pulled, or not served.
#[derive(Debug, Error)]
pub enum PolicyError {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("{publisher}/{model} is refused by a policy of yours: {check}: {detail}")]
    Denied { publisher: PublisherId, model: ModelName, check: String, detail: String },
}

impl Fault for PolicyError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Trust(source) => source.kind(),
            Self::Denied { .. } => FaultKind::Denied,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Trust(source) => source.hint(),
            Self::Denied { check, .. } if check == "denylists" => Some(
                "`reg trust allow WHAT` makes an exception, `reg trust unsubscribe LIST` ends the list"
                    .into(),
            ),
            Self::Denied { check, .. } if check == "newest version" => Some(
                "pull the older version by its digest (`reg log REF` shows the digests), or take the rule back with \
                 `reg trust waive MODELS`"
                    .into(),
            ),
            Self::Denied { check, .. } if check == "known publisher" => {
                Some("if you know the publisher with this id, name it: `reg trust add NAME ID`".into())
            }
            Self::Denied { .. } => {
                Some("`reg trust show` shows your rules, `reg trust waive MODELS` takes one back".into())
            }
        }
    }
}

impl Resolver {
    /// Returns the attestors to prefer. Where the trust file cannot be read, none is preferred.
    pub fn attestors(&self) -> Attestors<'_> {
        let trust = self.trust.file.load().unwrap_or_default();
        let by_rules = trust.rules.iter().flat_map(|rule| &rule.attestations).flat_map(|it| &it.by);
        let named: BTreeSet<PublisherId> = by_rules.chain(trust.names.petnames.values()).copied().collect();
        Attestors { store: &self.store, named }
    }

    /// Judges a resolved model by the user's lists and rules, before any file of it is fetched. [`refuse`] decides.
    ///
    /// # Errors
    /// The trust file cannot be read: then nothing is pulled.
    pub async fn consent(&self, resolved: &Resolved) -> Result<Vec<Check>, PolicyError> {
        let trust = self.trust.file.load()?;
        let (publisher, model) = (resolved.keys.publisher(), &resolved.model);
        if trust.denylists.iter().any(|it| it.publisher == publisher && it.model.folded() == model.folded()) {
            return Ok(vec![Check::pass("rules", "it is a denylist that you have subscribed to")]);
        }
        let blobs = resolved.manifest.blobs();
        let mut checks = self.trust.denials(&trust).judge(publisher, &resolved.digest, blobs.keys());
        let is_for = |it: &&reg_api::rule::Rule| it.is_for(publisher, model);
        let wants_licence = trust.rules.iter().filter(is_for).any(|it| !it.licenses.is_empty());
        let licenses = if wants_licence { self.licences(resolved).await } else { None };
        let said = resolved.said.iter().map(|it| (it.by(), it.kind(), it.result()));
        let facts = Facts {
            publisher,
            model: model.clone(),
            petnames: trust.names.petnames,
            attestations: said.collect(),
            licenses,
            behind: resolved.behind.clone(),
        };
        checks.extend(judge_trust(&trust.rules, &facts));
        Ok(checks)
    }

    /// Judges the files of a model in the store by their bytes and the user's rules.
    ///
    /// # Errors
    /// A rule refuses the model, or the trust file cannot be read.
    pub fn consent_to_formats(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        files: &[(String, ContentKind)],
    ) -> Result<Vec<Check>, PolicyError> {
        let TrustEntries { rules, denylists, .. } = self.trust.file.load()?;
        if denylists.iter().any(|it| it.publisher == publisher && it.model.folded() == model.folded()) {
            return Ok(Vec::new());
        }
        let files = files.iter().map(|(path, kind)| (path.as_str(), *kind));
        let checks = judge_formats(&rules, publisher, model, files);
        refuse(&checks, publisher, model)?;
        Ok(checks)
    }

    /// Returns the claimed licences: those of the ModelPack's config, else those of the model card.
    async fn licences(&self, resolved: &Resolved) -> Option<Vec<String>> {
        let manifest: &Manifest = &resolved.manifest;
        let mut documents =
            Documents::new(self, resolved.holders.clone(), BTreeSet::new(), AllSent::default(), None);
        let config = documents.get(manifest.config().digest).await.ok()?;
        let config = ModelConfig::from_bytes(&config).ok().filter(|_| config.len() <= CONFIG_BYTES_MAX)?;
        let mut licenses = config.descriptor.licenses;
        let card = manifest.files().iter().find(|it| it.path.as_str() == "README.md");
        let card = card.filter(|it| licenses.is_empty() && it.layout.size() <= CARD_BYTES_MAX);
        if let Some(file) = card {
            let digest: Digest = file.digest;
            let text = documents.get(digest).await.ok()?;
            let claimed = card::parse(&text).unwrap_or_default().licenses;
            licenses.extend(claimed.iter().map(|it| it.as_str().to_owned()));
        }
        Some(licenses)
    }
}

/// Returns an error if a check refuses the model.
///
/// # Errors
/// The first check that refuses it.
pub fn refuse(checks: &[Check], publisher: PublisherId, model: &ModelName) -> Result<(), PolicyError> {
    match checks.iter().find(|it| it.result == CheckResult::Deny) {
        Some(Check { check, detail, .. }) => Err(PolicyError::Denied {
            publisher,
            model: model.clone(),
            check: check.clone(),
            detail: detail.clone(),
        }),
        None => Ok(()),
    }
}
