//! Judges publishers and stored models by the user's trust file.

use std::collections::BTreeMap;

use reg_api::behind::Behind;
use reg_api::check::Check;
use reg_proto::attestation::Said;
use reg_proto::digest::Digest;
use reg_proto::name::{Petname, PublisherId};

use super::{Trust, TrustError};
use crate::registry::model::record::{self, ModelRecord};
use crate::registry::policy::{Facts, judge_trust};

impl Trust {
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
        let config = record::manifest(&self.store, manifest).ok();
        let config = config.and_then(|it| record::document(&self.store, &it.config().digest));
        let config = config.and_then(|it| reg_proto::manifest::ModelConfig::from_bytes(&it).ok());
        let licenses = config.map(|config| match config.descriptor.licenses {
            licenses if licenses.is_empty() => claimed.iter().map(ToString::to_string).collect(),
            licenses => licenses,
        });
        let facts = Facts {
            publisher: record.publisher,
            model: record.model.clone(),
            petnames: trust.petnames,
            attestations: said.iter().map(|it| (it.by(), it.kind(), it.result())).collect(),
            licenses,
            behind: behind.cloned(),
        };
        checks.extend(judge_trust(&trust.rules, &facts));
        Ok(checks)
    }
}
