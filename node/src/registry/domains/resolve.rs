//! [`Domains::resolve`]: what a domain says → the publisher's profile → the pin.

use std::sync::Arc;
use std::time::Duration;

use reg_api::domain::{AskDomain, DomainFound, DomainSays, DomainSource};
use reg_api::reporter::Reporter;
use reg_proto::domain::Domain;
use reg_proto::domain_record::DomainRecord;
use reg_proto::name::{Publisher, PublisherId};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{DomainError, Domains};
use crate::registry::limits::PINNED_DOMAIN_PATIENCE;
use crate::registry::resolve::ProfileSearch;
use crate::registry::trust::Names;
use crate::well_known::LookupError;

impl Domains {
    /// Resolves the publisher of a reference if it is a domain, so that the pin is there and first peers are connected. Returns
    /// notes for the user.
    ///
    /// # Errors
    /// See [`DomainError`].
    pub async fn prepare(
        self: &Arc<Self>,
        publisher: &Publisher,
        ask: impl FnOnce() -> AskDomain,
        reporter: &Reporter,
    ) -> Result<Vec<String>, DomainError> {
        match publisher {
            Publisher::Domain(domain) => Ok(self.resolve(domain, &ask(), reporter).await?.notes),
            Publisher::Id(_) | Publisher::Petname(_) => Ok(Vec::new()),
        }
    }

    /// Returns the publisher of a domain, and pins it if it is new. A domain that is pinned is asked again, and refused where it
    /// names another publisher; where it does not answer, the pin counts.
    ///
    /// # Errors
    /// See [`DomainError`].
    pub async fn resolve(
        self: &Arc<Self>,
        domain: &Domain,
        ask: &AskDomain,
        reporter: &Reporter,
    ) -> Result<DomainFound, DomainError> {
        let mut notes = warnings(domain);
        let names = self.names().await?;
        let found = self.publisher_of(domain, &names, ask, reporter, &mut notes).await?;
        notes.iter().for_each(|it| reporter.note(it));
        Ok(DomainFound { notes, ..found })
    }

    /// Returns what a domain says now, beside what is pinned. It changes nothing.
    ///
    /// # Errors
    /// The domain does not answer, or with something that is refused.
    pub async fn says(self: &Arc<Self>, domain: &Domain) -> Result<DomainSays, DomainError> {
        let names = self.names().await?;
        if let Some(publisher) = names.named_like(domain) {
            let (domain, source, pinned) = (domain.clone(), DomainSource::Petname, Some(publisher));
            return Ok(DomainSays { domain, publisher, source, pinned });
        }
        if self.network.is_offline() {
            return Err(DomainError::Offline { domain: domain.clone() });
        }
        let (record, source) = self.look_up(domain).await?;
        let pinned = names.domains.get(domain).copied();
        Ok(DomainSays { domain: domain.clone(), publisher: record.publisher, source, pinned })
    }

    async fn publisher_of(
        self: &Arc<Self>,
        domain: &Domain,
        names: &Names,
        ask: &AskDomain,
        reporter: &Reporter,
        notes: &mut Vec<String>,
    ) -> Result<DomainFound, DomainError> {
        let found = |publisher: PublisherId, source: DomainSource, is_new: bool| DomainFound {
            domain: domain.clone(),
            publisher,
            source,
            is_new,
            notes: Vec::new(),
        };
        if let Some(publisher) = names.named_like(domain) {
            notes.push(format!(
                "{domain} is a petname of yours for {publisher}, so the domain {domain} is not asked: `reg trust rm {domain}` \
                 ends that, and petnames have no dots any more"
            ));
            return Ok(found(publisher, DomainSource::Petname, false));
        }
        let pinned = names.domains.get(domain).copied();
        if ask.offline || self.network.is_offline() {
            let publisher = pinned.ok_or_else(|| DomainError::Offline { domain: domain.clone() })?;
            return Ok(found(publisher, DomainSource::Pinned, false));
        }
        reporter.stage("asking", domain);
        let said = match (pinned, ask.accept) {
            (Some(_), None) => self.look_up_within(domain, PINNED_DOMAIN_PATIENCE).await,
            _ => self.look_up(domain).await,
        };
        let (record, source) = match (said, pinned, ask.accept) {
            (Ok(said), ..) => said,
            (Err(DomainError::Lookup { source, .. }), Some(publisher), None) => {
                notes.push(format!("{domain} is pinned to {publisher}, which counts: {source}"));
                return Ok(found(publisher, DomainSource::Pinned, false));
            }
            (Err(error), ..) => return Err(error),
        };
        check(domain, &record, source, pinned, ask)?;
        self.meet(domain, &record.peers).await;
        if pinned == Some(record.publisher) {
            return Ok(found(record.publisher, source, false));
        }
        self.confirm(domain, record.publisher, ask, reporter).await?;
        self.pin(domain, record.publisher, ask.accept.is_some()).await?;
        notes.push(format!(
            "{domain} is publisher {} by {source}, and its profile names {domain} back: pinned from now on",
            record.publisher
        ));
        Ok(found(record.publisher, source, true))
    }

    /// Checks that the publisher's profile names the domain back, and follows the publisher's keys from then on.
    async fn confirm(
        &self,
        domain: &Domain,
        publisher: PublisherId,
        ask: &AskDomain,
        reporter: &Reporter,
    ) -> Result<(), DomainError> {
        reporter.stage("finding", format_args!("the profile of {publisher}"));
        let failed = |source| DomainError::Tags { domain: domain.clone(), source };
        let search = ProfileSearch { publisher, wanted: Some(domain), from: &ask.from, public: ask.public };
        let found = self.resolver.find_profile(search, reporter).await.map_err(failed)?;
        let named = found.profile.as_ref().map(|it| it.profile().domain.clone());
        let domain = domain.clone();
        match named {
            Some(Some(named)) if named == domain => self.resolver.follow_profile(found).await.map_err(failed),
            Some(Some(named)) => Err(DomainError::NotNamedBack { domain, publisher, named }),
            None if found.knew == 0 => {
                let is_asked = ask.public || self.network.meets_strangers();
                let has_strangers = self.network.rendezvous().is_some() && !is_asked;
                Err(DomainError::NoPublisher { domain, publisher, has_strangers })
            }
            None | Some(None) => Err(DomainError::NoProfile { domain, publisher }),
        }
    }

    async fn look_up(&self, domain: &Domain) -> Result<(DomainRecord, DomainSource), DomainError> {
        let failed = |source| DomainError::Lookup { domain: domain.clone(), source };
        self.client.look_up(domain).await.map_err(failed)
    }

    async fn look_up_within(
        &self,
        domain: &Domain,
        within: Duration,
    ) -> Result<(DomainRecord, DomainSource), DomainError> {
        let late = || {
            let source = LookupError::Timeout { domain: domain.clone(), within };
            DomainError::Lookup { domain: domain.clone(), source }
        };
        timeout(within, self.look_up(domain)).await.map_err(|_| late())?
    }

    async fn names(self: &Arc<Self>) -> Result<Names, DomainError> {
        let domains = self.clone();
        Ok(spawn_blocking(move || domains.trust.file.names()).await??)
    }

    async fn pin(
        self: &Arc<Self>,
        domain: &Domain,
        publisher: PublisherId,
        replace: bool,
    ) -> Result<(), DomainError> {
        let (domains, domain) = (self.clone(), domain.clone());
        spawn_blocking(move || domains.trust.file.pin_domain(&domain, publisher, replace)).await??;
        self.resolver.views.forget_all();
        Ok(())
    }
}

/// Judges what a domain says, by what is pinned and what the user consents to.
fn check(
    domain: &Domain,
    record: &DomainRecord,
    source: DomainSource,
    pinned: Option<PublisherId>,
    ask: &AskDomain,
) -> Result<(), DomainError> {
    let (domain, now) = (domain.clone(), record.publisher);
    match (pinned, ask.accept) {
        (_, Some(accepted)) if accepted != now => Err(DomainError::OtherAccepted { domain, now, accepted }),
        (_, Some(_)) => Ok(()),
        (Some(pinned), None) if pinned != now => Err(DomainError::Changed { domain, pinned, now }),
        (Some(_), None) => Ok(()),
        (None, None) if source == DomainSource::Dns && !ask.allow_unsigned_dns => {
            Err(DomainError::UnsignedDns { domain, publisher: now })
        }
        (None, None) => Ok(()),
    }
}

/// Returns what the user should know of a domain's spelling.
fn warnings(domain: &Domain) -> Vec<String> {
    let mut notes = Vec::new();
    if domain.unicode() != domain.as_str() {
        notes.push(format!("{domain} is shown as {}", domain.unicode()));
    }
    if domain.mixes_scripts() {
        notes.push(format!(
            "warning: {} mixes letters of several scripts, which can look like another domain",
            domain.shown()
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use reg_proto::bounded::Bounded;

    use super::*;

    #[test]
    fn a_domain_is_judged_by_the_pin_and_by_consent() {
        let id = |byte| PublisherId::from_bytes([byte; 32]);
        let domain: Domain = "acme.org".parse().unwrap();
        let record = DomainRecord { publisher: id(1), peers: Bounded::empty() };
        let judge = |source, pinned: Option<u8>, allow_unsigned_dns, accept: Option<u8>| {
            let ask = AskDomain { allow_unsigned_dns, accept: accept.map(id), ..AskDomain::default() };
            match check(&domain, &record, source, pinned.map(id), &ask) {
                Ok(()) => "taken",
                Err(DomainError::UnsignedDns { .. }) => "unsigned",
                Err(DomainError::Changed { .. }) => "changed",
                Err(DomainError::OtherAccepted { .. }) => "other accepted",
                Err(error) => panic!("{error}"),
            }
        };
        use DomainSource::{Dns, Https};
        for (source, pinned, allowed, accept, expected) in [
            (Https, None, false, None, "taken"),
            (Dns, None, false, None, "unsigned"),
            (Dns, None, true, None, "taken"),
            (Dns, None, false, Some(1), "taken"),
            (Dns, Some(1), false, None, "taken"),
            (Https, Some(1), false, None, "taken"),
            (Https, Some(2), false, None, "changed"),
            (Dns, Some(2), true, None, "changed"),
            (Https, Some(2), false, Some(1), "taken"),
            (Https, None, false, Some(2), "other accepted"),
            (Https, Some(2), false, Some(2), "other accepted"),
        ] {
            let judged = judge(source, pinned, allowed, accept);
            assert_eq!(judged, expected, "{source:?} {pinned:?} {allowed} {accept:?}");
        }
    }

    #[test]
    fn a_spelling_that_can_mislead_is_told() {
        assert!(warnings(&"acme.org".parse().unwrap()).is_empty());
        let notes = warnings(&"аcme.org".parse().unwrap());
        assert!(notes[0].contains("is shown as") && notes[1].contains("mixes letters"), "{notes:?}");
    }
}
