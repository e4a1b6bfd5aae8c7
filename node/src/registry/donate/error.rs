//! [`DonateError`]: why nothing is donated, or it is not shown.

use reg_api::fault::{Fault, FaultKind};
use reg_api::size::{Given, Size};
use thiserror::Error;

use crate::registry::trust::TrustError;
use crate::store::{ReadError, WriteError};

/// The least that can be donated: less holds hardly a model.
pub(super) const SIZE_MIN: u64 = 1 << 20;
/// The least rate at which donated models are sent: as for the limits of a node.
pub(super) const LIMIT_MIN: u64 = 64_000;

/// Why nothing is donated, or it is not shown.
#[derive(Debug, Error)]
pub enum DonateError {
    #[error("{} is too little to donate: the least is {}", Size(*.size), Size(SIZE_MIN))]
    Size { size: u64 },
    #[error("{}/s is too slow for donated models: the least is {}/s", Given(*.limit), Given(LIMIT_MIN))]
    Limit { limit: u64 },
    #[error("models of every stranger are kept only if you confirm it")]
    NotConfirmed,
    #[error("models of every stranger are kept only while you are subscribed to a denylist")]
    NoDenylist,
    #[error("nothing is donated")]
    Nothing,
    #[error("publisher is not known")]
    Trust(#[from] TrustError),
    #[error("donations in the store cannot be read")]
    Read(#[from] ReadError),
    #[error("donation cannot be written")]
    Write(#[from] WriteError),
    #[error("task that reads the donations has ended early")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Fault for DonateError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Size { .. } | Self::Limit { .. } => FaultKind::Invalid,
            Self::NotConfirmed | Self::NoDenylist => FaultKind::Denied,
            Self::Nothing => FaultKind::NotFound,
            Self::Trust(source) => source.kind(),
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Read(_) | Self::Write(_) | Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotConfirmed => Some(
                "you would store and send what nobody you know vouches for: say --yes if you want that, or leave --scope out".to_owned(),
            ),
            Self::NoDenylist => Some(
                "`reg trust subscribe PUBLISHER/LIST` subscribes to a list of what must not be kept; then run the same command again"
                    .to_owned(),
            ),
            Self::Size { .. } => {
                Some("say how much of your disk you give, as in `reg donate 200G`".to_owned())
            }
            Self::Limit { .. } => {
                Some("say more, as in `--limit 2M`, or leave --limit out: then they have no limit of their own".to_owned())
            }
            Self::Nothing => Some("`reg donate SIZE` begins".to_owned()),
            Self::Trust(source) => source.hint(),
            _ => None,
        }
    }
}
