//! [`SignError`]: why a key does not sign.

use std::sync::Arc;

use reg_api::fault::{Fault, FaultKind};
use reg_proto::json::JsonError;
use reg_proto::key::KeyError;
use reg_proto::name::PublisherId;
use reg_proto::provenance::ProvenanceError;
use thiserror::Error;

use crate::certificate::CertificateError;
use crate::keyring::{KeyName, KeyringError};
use crate::oms::bundle::BundleError;
use crate::secret_key::SecretKeyError;

/// Why a key does not sign what it is given.
#[derive(Debug, Error)]
pub enum SignError {
    #[error("model to sign is one of publisher {found}, and the key belongs to {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("provenance to sign cannot be parsed")]
    Provenance(#[from] ProvenanceError),
    #[error("tag record to sign cannot be parsed")]
    TagRecord(#[from] JsonError),
    #[error("card to sign cannot be parsed")]
    Card(#[source] JsonError),
    #[error("{document} to sign differs from what was prepared: {field}")]
    Differs { document: &'static str, field: &'static str },
    #[error("{have} of the {threshold} keys that must sign for {publisher} are available")]
    TooFew { publisher: PublisherId, have: usize, threshold: usize },
    #[error("none of the available keys signs for {publisher} now: they were rotated away")]
    NotOne { publisher: PublisherId },
    #[error("no key of {publisher}, old or new, is available and not revoked")]
    NoneHere { publisher: PublisherId },
    #[error("keys of {name} have changed since the daemon started, and it cannot load the new ones")]
    Changed { name: KeyName, source: Arc<KeyringError> },
    #[error(transparent)]
    Key(#[from] SecretKeyError),
    #[error("certificate authority cannot be made")]
    Certificate(#[from] CertificateError),
    #[error("key documents of the publisher are refused")]
    History(#[from] KeyError),
    #[error("OpenSSF bundle cannot be made")]
    Bundle(#[from] BundleError),
    #[error("operating system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

impl Fault for SignError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::OtherPublisher { .. }
            | Self::Provenance(_)
            | Self::TagRecord(_)
            | Self::Card(_)
            | Self::Differs { .. } => FaultKind::Verification,
            Self::TooFew { .. } | Self::NotOne { .. } | Self::NoneHere { .. } => FaultKind::Denied,
            Self::Changed { .. } => FaultKind::Denied,
            Self::Key(_) => FaultKind::Unreachable,
            Self::History(_) => FaultKind::Verification,
            Self::Bundle(_) | Self::Certificate(_) => FaultKind::Invalid,
            Self::Random(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooFew { .. } => Some(
                "write the documents to a file (--prepare FILE), let the other holders sign it (reg sign FILE --key NAME), \
                 then go on with it (reg publish --signed FILE)"
                    .to_owned(),
            ),
            Self::Changed { name, source } => {
                let why = source.hint().map_or_else(String::new, |it| format!(" ({it})"));
                Some(format!("check `reg key show {name}`, and restart the daemon{why}"))
            }
            Self::Key(_) => Some("ssh-add -l shows what the agent holds".to_owned()),
            _ => None,
        }
    }
}
