//! What a user says of trust, as use cases: names, rules, lists; and what it means for a model that is here.

use reg_proto::attestation::Said;
use reg_proto::denylist::Denied;
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::{Petname, PublisherId};

use super::catalogue::CatalogueError;
use super::model::{self, ModelRecord};
use super::policy::{Check, Facts, judge_trust};
use super::report::{PublisherReport, RuleReport, TrustEntry, TrustReport};
use super::trust::{EntryError, RawRule, TrustError};
use super::{Inner, Registry, tags, vows};

impl Registry {
    /// Gives a publisher a petname; with `replace` one that has meant somebody else.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_add(
        &self,
        petname: Petname,
        publisher: PublisherId,
        replace: bool,
    ) -> Result<TrustEntry, CatalogueError> {
        self.here(move |inner| {
            match replace {
                true => inner.trust.accept(&petname, publisher)?,
                false => inner.trust.add(&petname, publisher)?,
            };
            inner.entry(petname, publisher)
        })
        .await
    }

    /// Lists the publishers that have petnames.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_list(&self) -> Result<Vec<TrustEntry>, CatalogueError> {
        self.here(|inner| {
            inner.trust.list()?.into_iter().map(|(petname, id)| inner.entry(petname, id)).collect()
        })
        .await
    }

    /// Returns all that the trust file says.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_show(&self) -> Result<TrustReport, CatalogueError> {
        self.here(|inner| {
            let trust = inner.trust.load()?;
            let denials = inner.denials(&trust);
            let petnames = trust.petnames.clone().into_iter().map(|(petname, id)| inner.entry(petname, id));
            Ok(TrustReport {
                petnames: petnames.collect::<Result<_, CatalogueError>>()?,
                rules: trust.rules.iter().map(RuleReport::of).collect(),
                denylists: trust.denylists.into_iter().map(|it| it.name).collect(),
                allowed: trust.allowed.iter().map(ToString::to_string).collect(),
                denied: denials.denied.len(),
                notes: denials.notes,
            })
        })
        .await
    }

    /// Returns what is remembered of a publisher.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn seen_of(&self, publisher: PublisherId) -> Result<PublisherReport, CatalogueError> {
        self.here(move |inner| {
            let keys = tags::keys(&inner.store, publisher)?;
            let newest = keys.as_ref().map(KeyHistory::newest);
            Ok(PublisherReport {
                publisher,
                key_document: newest.map(|it| it.version),
                threshold: newest.map_or(0, |it| it.threshold),
                keys: newest.map(|it| it.keys.clone()).unwrap_or_default(),
                revocations: vows::revocations(&inner.store, publisher)?,
            })
        })
        .await
    }

    /// Takes a petname away.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_remove(&self, petname: Petname) -> Result<(), CatalogueError> {
        self.here(move |inner| Ok(inner.trust.remove(&petname)?)).await
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_require(&self, rule: RawRule) -> Result<(), CatalogueError> {
        self.inner.views.forget_all();
        self.here(move |inner| Ok(inner.trust.require(&rule)?)).await
    }

    /// Takes away the rules for a scope, and returns how many there were.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_waive(&self, models: String) -> Result<usize, CatalogueError> {
        self.here(move |inner| {
            let scope = models.parse().map_err(|source| inner.trust.refused(EntryError::Scope(source)))?;
            Ok(inner.trust.waive(&scope)?)
        })
        .await
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_unsubscribe(&self, list: String) -> Result<(), CatalogueError> {
        self.here(move |inner| Ok(inner.trust.subscribe(&list, false).map(drop)?)).await?;
        self.reload_denials().await;
        Ok(())
    }

    /// Allows what a list denies, or ends that; returns whether that is new.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_allow(&self, what: String, on: bool) -> Result<bool, CatalogueError> {
        let is_new = self
            .here(move |inner| {
                let denied: Denied =
                    what.parse().map_err(|source| inner.trust.refused(EntryError::Denied(source)))?;
                Ok(inner.trust.allow(&denied, on)?)
            })
            .await?;
        self.inner.views.forget_all();
        self.reload_denials().await;
        Ok(is_new)
    }
}

impl Inner {
    fn entry(&self, petname: Petname, publisher: PublisherId) -> Result<TrustEntry, CatalogueError> {
        let keys = tags::keys(&self.store, publisher)?;
        Ok(TrustEntry {
            petname,
            publisher,
            key_document_version: keys.map(|keys| keys.version()),
            revocations: vows::revocations(&self.store, publisher)?,
        })
    }

    /// Judges a model that is here by what the user wants now.
    pub(super) fn judge_here(
        &self,
        manifest: &Digest,
        record: &ModelRecord,
        said: &[Said],
    ) -> Result<Vec<Check>, TrustError> {
        let trust = self.trust.load()?;
        let mut checks = self.denials(&trust).judge(record.publisher, manifest, &record.blobs);
        let claimed = &record.metadata.claimed.licenses;
        let config = model::manifest(&self.store, manifest).ok();
        let config = config.and_then(|it| model::document(&self.store, &it.config().digest));
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
        };
        checks.extend(judge_trust(&trust.rules, &facts));
        Ok(checks)
    }
}
