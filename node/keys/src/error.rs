//! [`SignError`]: why a key does not sign.

use reg_api::fault::{Fault, FaultKind};
use reg_proto::json::JsonError;
use reg_proto::key::KeyError;
use reg_proto::name::PublisherId;
use reg_proto::provenance::ProvenanceError;
use thiserror::Error;

use crate::certificate::CertificateError;
use crate::oms::bundle::BundleError;
use crate::secret_key::SecretKeyError;

/// Why a key does not sign what it is given.
#[derive(Debug, Error)]
pub enum SignError {
    #[error("model that is to be signed is one of publisher {found}, the key is that of {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("provenance that is to be signed is not understood")]
    Provenance(#[from] ProvenanceError),
    #[error("tag record that is to be signed is not understood")]
    TagRecord(#[from] JsonError),
    #[error("{document} that is to be signed says something else than what was prepared: {field}")]
    Differs { document: &'static str, field: &'static str },
    #[error("{have} of the {threshold} keys that must sign for {publisher} are here")]
    TooFew { publisher: PublisherId, have: usize, threshold: usize },
    #[error("none of the keys here is one of {publisher}'s: they were rotated away")]
    NotOne { publisher: PublisherId },
    #[error("no key that {publisher} has or had is here and not revoked")]
    NoneHere { publisher: PublisherId },
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
            Self::OtherPublisher { .. } | Self::Provenance(_) | Self::TagRecord(_) | Self::Differs { .. } => {
                FaultKind::Verification
            }
            Self::TooFew { .. } | Self::NotOne { .. } | Self::NoneHere { .. } => FaultKind::Denied,
            Self::Key(_) => FaultKind::Unreachable,
            Self::History(_) => FaultKind::Verification,
            Self::Bundle(_) | Self::Certificate(_) => FaultKind::Invalid,
            Self::Random(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooFew { .. } => Some(
                "write what is to be signed to a file (--prepare FILE), let the others sign it (reg sign FILE --key NAME), \
                 then go on with it (reg publish --signed FILE)"
                    .to_owned(),
            ),
            Self::Key(_) => Some("ssh-add -l shows what the agent holds".to_owned()),
            _ => None,
        }
    }
}
