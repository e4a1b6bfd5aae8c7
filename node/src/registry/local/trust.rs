//! What a user says of trust, as use cases: names, rules, lists; and what it means for a model that is here.

use std::sync::Arc;

use reg_api::report::{PublisherReport, RuleReport, TrustEntry, TrustReport};
use reg_proto::denylist::Denied;
use reg_proto::key::KeyHistory;
use reg_proto::name::{Petname, PublisherId};

use super::inventory::CatalogueError;
use crate::registry::local::Local;
use crate::registry::publishers::{declarations, keys};
use crate::registry::trust::{EntryError, RawRule};

impl Local {
    /// Gives a publisher a petname; with `replace` one that has meant somebody else.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_add(
        self: &Arc<Self>,
        petname: Petname,
        publisher: PublisherId,
        replace: bool,
    ) -> Result<TrustEntry, CatalogueError> {
        self.here(move |local| {
            match replace {
                true => local.trust.file.accept(&petname, publisher)?,
                false => local.trust.file.add(&petname, publisher)?,
            };
            local.entry(petname, publisher)
        })
        .await
    }

    /// Lists the publishers that have petnames.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_list(self: &Arc<Self>) -> Result<Vec<TrustEntry>, CatalogueError> {
        self.here(|local| {
            local.trust.file.list()?.into_iter().map(|(petname, id)| local.entry(petname, id)).collect()
        })
        .await
    }

    /// Returns all that the trust file says.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_show(self: &Arc<Self>) -> Result<TrustReport, CatalogueError> {
        self.here(|local| {
            let trust = local.trust.file.load()?;
            let denials = local.trust.denials(&trust);
            let petnames = trust.petnames.clone().into_iter().map(|(petname, id)| local.entry(petname, id));
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
    pub async fn seen_of(
        self: &Arc<Self>,
        publisher: PublisherId,
    ) -> Result<PublisherReport, CatalogueError> {
        self.here(move |local| {
            let keys = keys::keys(&local.store, publisher)?;
            let newest = keys.as_ref().map(KeyHistory::newest);
            Ok(PublisherReport {
                publisher,
                key_document: newest.map(|it| it.version),
                threshold: newest.map_or(0, |it| it.threshold),
                keys: newest.map(|it| it.keys.clone()).unwrap_or_default(),
                revocations: declarations::revocations(&local.store, publisher)?,
            })
        })
        .await
    }

    /// Takes a petname away.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_remove(self: &Arc<Self>, petname: Petname) -> Result<(), CatalogueError> {
        self.here(move |local| Ok(local.trust.file.remove(&petname)?)).await
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_require(self: &Arc<Self>, rule: RawRule) -> Result<(), CatalogueError> {
        self.resolver.views.forget_all();
        self.here(move |local| Ok(local.trust.file.require(&rule)?)).await
    }

    /// Takes away the rules for a scope, and returns how many there were.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_waive(self: &Arc<Self>, models: String) -> Result<usize, CatalogueError> {
        self.here(move |local| {
            let scope =
                models.parse().map_err(|source| local.trust.file.refused(EntryError::Scope(source)))?;
            Ok(local.trust.file.waive(&scope)?)
        })
        .await
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_unsubscribe(self: &Arc<Self>, list: String) -> Result<(), CatalogueError> {
        self.here(move |local| Ok(local.trust.file.subscribe(&list, false).map(drop)?)).await?;
        self.reload_denials().await;
        Ok(())
    }

    /// Allows what a list denies, or ends that; returns whether that is new.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_allow(self: &Arc<Self>, what: String, on: bool) -> Result<bool, CatalogueError> {
        let is_new = self
            .here(move |local| {
                let denied: Denied =
                    what.parse().map_err(|source| local.trust.file.refused(EntryError::Denied(source)))?;
                Ok(local.trust.file.allow(&denied, on)?)
            })
            .await?;
        self.resolver.views.forget_all();
        self.reload_denials().await;
        Ok(is_new)
    }
}

impl Local {
    fn entry(&self, petname: Petname, publisher: PublisherId) -> Result<TrustEntry, CatalogueError> {
        let keys = keys::keys(&self.store, publisher)?;
        Ok(TrustEntry {
            petname,
            publisher,
            key_document_version: keys.map(|keys| keys.version()),
            revocations: declarations::revocations(&self.store, publisher)?,
        })
    }
}
