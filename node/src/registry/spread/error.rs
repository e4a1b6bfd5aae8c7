//! [`SpreadError`]: why copies for a swarm are not reported or changed.

use reg_api::fault::{Fault, FaultKind};
use thiserror::Error;

use crate::registry::model::record::ModelError;
use crate::registry::publishers::TagsError;
use crate::store::{ReadError, WriteError};

/// Why copies for a swarm are not reported or changed.
#[derive(Debug, Error)]
pub enum SpreadError {
    #[error("this node keeps no copies for a swarm")]
    Off,
    #[error("no daemon runs, and only a daemon keeps copies for a swarm")]
    NoDaemon,
    #[error("store cannot be read")]
    Read(#[from] ReadError),
    #[error("model in the store cannot be read")]
    Model(#[from] ModelError),
    #[error("tags in the store cannot be read")]
    Tags(#[from] TagsError),
    #[error("store cannot be written")]
    Write(#[from] WriteError),
    #[error("a task ended early")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Fault for SpreadError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Off | Self::NoDaemon => FaultKind::Invalid,
            Self::Write(source) if source.is_disk_full() => FaultKind::DiskFull,
            Self::Tags(source) => source.kind(),
            Self::Read(_) | Self::Model(_) | Self::Write(_) | Self::Interrupted(_) => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Off => Some(
                "set replicas = 3 and the key of your swarm in section [swarm], and restart the daemon"
                    .into(),
            ),
            Self::NoDaemon => Some("start it with `reg daemon`".into()),
            Self::Tags(source) => source.hint(),
            _ => None,
        }
    }
}
