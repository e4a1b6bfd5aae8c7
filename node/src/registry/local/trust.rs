//! Reads and changes what the user's trust file says: petnames, rules and subscriptions to denylists.

use std::sync::Arc;

use reg_api::domain::{DomainEntry, ProfileReport};
use reg_api::report::{PublisherReport, RuleReport, TrustEntry, TrustReport};
use reg_proto::denylist::Denied;
use reg_proto::domain::Domain;
use reg_proto::key::KeyHistory;
use reg_proto::name::{Petname, PublisherId};

use super::Local;
use super::inventory::CatalogueError;
use crate::registry::publishers::{declarations, keys, profiles};
use crate::registry::trust::{EntryError, Names, RawRule, TrustFile};

impl Local {
    /// Gives a publisher a petname. With `replace` the petname may have named another publisher before.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_add(
        self: &Arc<Self>,
        petname: Petname,
        publisher: PublisherId,
        replace: bool,
    ) -> Result<TrustEntry, CatalogueError> {
        let added = self.on_blocking_thread(move |local| {
            match replace {
                true => local.trust.file.accept(&petname, publisher)?,
                false => local.trust.file.add(&petname, publisher)?,
            };
            local.entry(petname, publisher)
        });
        let added = added.await;
        self.resolver.views.forget_all();
        added
    }

    /// Lists the publishers that have petnames.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_list(self: &Arc<Self>) -> Result<Vec<TrustEntry>, CatalogueError> {
        self.on_blocking_thread(|local| {
            local.trust.file.list()?.into_iter().map(|(petname, id)| local.entry(petname, id)).collect()
        })
        .await
    }

    /// Returns the contents of the trust file.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_show(self: &Arc<Self>) -> Result<TrustReport, CatalogueError> {
        self.on_blocking_thread(|local| {
            let trust = local.trust.file.load()?;
            let denials = local.trust.denials(&trust);
            let Names { petnames, domains } = trust.names.clone();
            let petnames = petnames.into_iter().map(|(petname, id)| local.entry(petname, id));
            let domains = domains.into_iter().map(|(domain, publisher)| {
                let profile = local.profile(publisher)?;
                Ok(DomainEntry { domain, publisher, profile })
            });
            Ok(TrustReport {
                petnames: petnames.collect::<Result<_, CatalogueError>>()?,
                domains: domains.collect::<Result<_, CatalogueError>>()?,
                rules: trust.rules.iter().map(RuleReport::of).collect(),
                denylists: trust.denylists.into_iter().map(|it| it.name).collect(),
                collections: trust.collections.into_iter().map(|it| it.name).collect(),
                aliases: trust.aliases.iter().map(|it| it.entry.clone()).collect(),
                allowed: trust.allowed.iter().map(ToString::to_string).collect(),
                denied: denials.denied.len(),
                notes: denials.notes,
            })
        })
        .await
    }

    /// Returns the keys and revocations that this node remembers of a publisher.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn seen_of(
        self: &Arc<Self>,
        publisher: PublisherId,
    ) -> Result<PublisherReport, CatalogueError> {
        self.on_blocking_thread(move |local| {
            let keys = keys::keys(&local.store, publisher)?;
            let newest = keys.as_ref().map(KeyHistory::newest);
            Ok(PublisherReport {
                publisher,
                key_document: newest.map(|it| it.version),
                threshold: newest.map_or(0, |it| it.threshold),
                keys: newest.map(|it| it.keys.clone()).unwrap_or_default(),
                revocations: declarations::revocations(&local.store, publisher)?,
                profile: local.profile(publisher)?,
            })
        })
        .await
    }

    /// Unpins a domain.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn domain_remove(self: &Arc<Self>, domain: Domain) -> Result<(), CatalogueError> {
        let removed = self.on_blocking_thread(move |local| Ok(local.trust.file.unpin_domain(&domain)?)).await;
        self.resolver.views.forget_all();
        removed
    }

    /// Removes a petname.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_remove(self: &Arc<Self>, petname: Petname) -> Result<(), CatalogueError> {
        let removed = self.on_blocking_thread(move |local| Ok(local.trust.file.remove(&petname)?)).await;
        self.resolver.views.forget_all();
        removed
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_require(self: &Arc<Self>, rule: RawRule) -> Result<(), CatalogueError> {
        let added = self.on_blocking_thread(move |local| Ok(local.trust.file.require(&rule)?)).await;
        self.resolver.views.forget_all();
        added
    }

    /// Removes the rules for a scope of models. Returns how many there were.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_waive(self: &Arc<Self>, models: String) -> Result<usize, CatalogueError> {
        let waived = self.on_blocking_thread(move |local| {
            let scope = models.parse().map_err(|source| TrustFile::refused(EntryError::Scope(source)))?;
            Ok(local.trust.file.waive(&scope)?)
        });
        let waived = waived.await;
        self.resolver.views.forget_all();
        waived
    }

    /// Points a name to another one, or ends that where `to` is `None`.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_alias(
        self: &Arc<Self>,
        from: String,
        to: Option<String>,
    ) -> Result<(), CatalogueError> {
        let pointed = self.on_blocking_thread(move |local| match to {
            Some(to) => Ok(local.trust.file.alias(&from, &to).map(drop)?),
            None => Ok(local.trust.file.unalias(&from)?),
        });
        let pointed = pointed.await;
        self.resolver.views.forget_all();
        pointed
    }

    /// Ends the subscription to a list.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_unsubscribe(self: &Arc<Self>, list: String) -> Result<(), CatalogueError> {
        self.on_blocking_thread(move |local| Ok(local.trust.file.subscribe(&list, false).map(drop)?)).await?;
        self.reload_denials().await;
        self.resolver.views.forget_all();
        Ok(())
    }

    /// Allows what a list denies, or, with `on` false, ends that. Returns whether that changed anything.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn trust_allow(self: &Arc<Self>, what: String, on: bool) -> Result<bool, CatalogueError> {
        let is_new = self
            .on_blocking_thread(move |local| {
                let denied: Denied =
                    what.parse().map_err(|source| TrustFile::refused(EntryError::Denied(source)))?;
                Ok(local.trust.file.allow(&denied, on)?)
            })
            .await?;
        self.resolver.views.forget_all();
        self.reload_denials().await;
        Ok(is_new)
    }

    fn entry(&self, petname: Petname, publisher: PublisherId) -> Result<TrustEntry, CatalogueError> {
        let keys = keys::keys(&self.store, publisher)?;
        Ok(TrustEntry {
            petname,
            publisher,
            key_document_version: keys.map(|keys| keys.version()),
            revocations: declarations::revocations(&self.store, publisher)?,
            profile: self.profile(publisher)?,
        })
    }

    /// Returns what a publisher says of itself, as far as this node knows.
    pub(super) fn profile(&self, publisher: PublisherId) -> Result<Option<ProfileReport>, CatalogueError> {
        let Some(keys) = keys::keys(&self.store, publisher)? else { return Ok(None) };
        Ok(profiles::profile(&self.store, &keys)?.as_ref().map(ProfileReport::of))
    }
}
