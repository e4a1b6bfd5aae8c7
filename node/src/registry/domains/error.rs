//! [`DomainError`]: why a domain is not taken for a publisher, and what to do about it.

use reg_api::fault::{Fault, FaultKind};
use reg_proto::domain::Domain;
use reg_proto::name::PublisherId;
use thiserror::Error;
use tokio::task::JoinError;

use crate::registry::publishers::TagsError;
use crate::registry::trust::TrustError;
use crate::webseed::dates_hint;
use crate::well_known::LookupError;

/// Why a domain is not taken for a publisher.
#[derive(Debug, Error)]
pub enum DomainError {
    #[error("domain {domain} cannot be resolved")]
    Lookup { domain: Domain, source: LookupError },
    #[error("domain {domain} is not pinned, and it is not asked because the node is offline")]
    Offline { domain: Domain },
    #[error("domain {domain} names publisher {publisher} in a TXT record, which nothing has signed")]
    UnsignedDns { domain: Domain, publisher: PublisherId },
    #[error("domain {domain} names publisher {now} now, and is pinned to {pinned}")]
    Changed { domain: Domain, pinned: PublisherId, now: PublisherId },
    #[error("domain {domain} names publisher {now}, and not {accepted}, which was accepted for it")]
    OtherAccepted { domain: Domain, now: PublisherId, accepted: PublisherId },
    #[error("domain {domain} names publisher {publisher}, which no peer in reach knows")]
    NoPublisher {
        domain: Domain,
        publisher: PublisherId,
        /// Whether strangers could be looked for, and were not.
        has_strangers: bool,
    },
    #[error("domain {domain} names publisher {publisher}, which has signed no profile that names a domain")]
    NoProfile { domain: Domain, publisher: PublisherId },
    #[error("domain {domain} names publisher {publisher}, and its profile names {named} instead")]
    NotNamedBack { domain: Domain, publisher: PublisherId, named: Domain },
    #[error("publisher of domain {domain} cannot be followed")]
    Tags { domain: Domain, source: TagsError },
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("a task ended early")]
    Interrupted(#[from] JoinError),
}

impl Fault for DomainError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Lookup { source, .. } if source.is_unreached() => FaultKind::Unreachable,
            Self::Lookup { source: LookupError::Nothing { .. }, .. } => FaultKind::NotFound,
            Self::Lookup { source: LookupError::Private { .. }, .. } => FaultKind::Denied,
            Self::Lookup {
                source:
                    LookupError::Authorities { .. }
                    | LookupError::NoCertificate { .. }
                    | LookupError::Client(_)
                    | LookupError::Resolver(_),
                ..
            } => FaultKind::Internal,
            Self::Offline { .. } | Self::NoPublisher { .. } => FaultKind::Unreachable,
            Self::UnsignedDns { .. } => FaultKind::Denied,
            Self::Lookup { .. }
            | Self::Changed { .. }
            | Self::OtherAccepted { .. }
            | Self::NoProfile { .. }
            | Self::NotNamedBack { .. } => FaultKind::Verification,
            Self::Tags { source, .. } => source.kind(),
            Self::Trust(source) => source.kind(),
            Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup { domain, source: LookupError::Nothing { .. } } => Some(format!(
                "ask the publisher for its id, and give it a name: reg trust add NAME ID; the owner of {domain} sets it up with \
                 `reg publisher dns`"
            )),
            Self::Lookup { source: LookupError::Private { .. }, .. } => Some(
                "in a private network of your own, name the domain in the configuration: domains.private"
                    .to_owned(),
            ),
            Self::Lookup { source, .. } if source.is_unreached() => {
                let of_dates = match source {
                    LookupError::Https { source, .. } => dates_hint(source),
                    _ => None,
                };
                let again =
                    "run the same command again; the publisher's id works without its domain, if you know it";
                Some(of_dates.unwrap_or_else(|| again.to_owned()))
            }
            Self::Lookup { domain, .. } => {
                Some(format!("tell the owner of {domain}: `reg publisher dns` prints what belongs where"))
            }
            Self::Offline { domain } => Some(format!("online, `reg trust add {domain}` asks it")),
            Self::UnsignedDns { domain, publisher } => Some(format!(
                "compare the id another way; then `reg trust accept {domain}`, or --allow-unsigned-dns, or `reg trust add NAME \
                 {publisher}`"
            )),
            Self::Changed { domain, .. } | Self::OtherAccepted { domain, .. } => Some(format!(
                "a domain may change hands: ask the publisher another way whether the new id is theirs; then `reg trust accept \
                 {domain}`"
            )),
            Self::NoPublisher { domain, has_strangers, .. } => {
                let known = "name a peer that has models of it with --bootstrap, and with --from in a pull";
                let strangers = format!(
                    "; `reg pull {domain}/MODEL --public` looks for strangers in BitTorrent's DHT, and tells the world this \
                     machine's IP address and which publisher it looks for"
                );
                Some([known, if *has_strangers { strangers.as_str() } else { "" }].concat())
            }
            Self::NoProfile { domain, publisher } | Self::NotNamedBack { domain, publisher, .. } => {
                Some(format!(
                    "the publisher must name the domain back: reg publisher set --domain {domain} --key NAME; or name the publisher \
                 by its id: reg trust add NAME {publisher}"
                ))
            }
            Self::Tags { source, .. } => source.hint(),
            Self::Trust(source) => source.hint(),
            Self::Interrupted(_) => None,
        }
    }
}
