//! [`TagsError`]: why this node does not follow a tag record or a publisher's keys.

use reg_api::clock;
use reg_api::fault::{Fault, FaultKind};
use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::json::JsonError;
use reg_proto::key::KeyError;
use reg_proto::limits::{SEQ_JUMP_MAX, SEQ_MAX};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::TagError;
use thiserror::Error;

use super::key_pin::KeyPinError;
use crate::store::{ReadError, WriteError};

/// Why this node does not follow a tag record or a publisher's keys.
#[derive(Debug, Error)]
pub enum TagsError {
    #[error(
        "tag {tag} of {model} goes back: record {offered} is older than {seen}, which this node has seen"
    )]
    Rollback { model: ModelName, tag: Tag, offered: u64, seen: u64 },
    #[error(
        "tag {tag} of {model} jumps from record {seen} to {offered}: at most {SEQ_JUMP_MAX} numbers at once are followed"
    )]
    Jump { model: ModelName, tag: Tag, offered: u64, seen: u64 },
    #[error(
        "tag {tag} of {model} is frozen: two records that its publisher's keys have signed contradict each other at number {seq}"
    )]
    Frozen {
        publisher: PublisherId,
        model: ModelName,
        tag: Tag,
        seq: u64,
        heads: [Digest; 2],
        /// The keys that have signed both records.
        signers: Vec<PublicKey>,
    },
    #[error(
        "tag {tag} of {model} has been held for a signature for {}: record {seq}, {manifest}, was prepared and is neither published nor abandoned",
        clock::age(clock::now().saturating_sub(*since))
    )]
    Held {
        publisher: PublisherId,
        model: ModelName,
        tag: Tag,
        seq: u64,
        manifest: Digest,
        /// Seconds since 1970.
        since: u64,
    },
    #[error("record {seq} of tag {tag} of {model} waits for its signature")]
    Waits { model: ModelName, tag: Tag, seq: u64 },
    #[error(
        "record {seq} of tag {tag} of {model} was abandoned: a later record may have been published in its place"
    )]
    Abandoned { model: ModelName, tag: Tag, seq: u64 },
    #[error("no record of tag {tag} of {model} waits for its signature")]
    NothingWaits { model: ModelName, tag: Tag },
    #[error("tag {tag} of {model} has no number left below {SEQ_MAX}")]
    UsedUp { model: ModelName, tag: Tag },
    #[error("publisher's keys are not followed")]
    KeyPin(#[from] KeyPinError),
    #[error(
        "no branch of the keys of {publisher} that this node knows has the document {head}: it is accepted, and followed once a \
         peer brings it"
    )]
    NoBranch { publisher: PublisherId, head: Digest },
    #[error("documents of {publisher} in the store cannot be read")]
    Read { publisher: PublisherId, source: ReadError },
    #[error("documents of {publisher} cannot be written to the store")]
    Write { publisher: PublisherId, source: WriteError },
    #[error("documents of {publisher} in the store cannot be parsed")]
    Json { publisher: PublisherId, source: JsonError },
    #[error("key documents of {publisher} in the store do not verify")]
    Keys { publisher: PublisherId, source: KeyError },
    #[error("tag record of {publisher} in the store does not verify")]
    Tag { publisher: PublisherId, source: TagError },
}

impl Fault for TagsError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Write { source, .. } if source.is_disk_full() => FaultKind::DiskFull,
            Self::Read { .. } | Self::Write { .. } | Self::Json { .. } => FaultKind::Internal,
            Self::NoBranch { .. } => FaultKind::NotFound,
            Self::Held { .. } => FaultKind::Denied,
            Self::Waits { .. } => FaultKind::RetryLater,
            Self::Abandoned { .. } => FaultKind::Denied,
            Self::NothingWaits { .. } => FaultKind::NotFound,
            _ => FaultKind::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Frozen { .. } => Some(
                "`reg log REF` shows both records; a version that you know is pulled by its digest; the tag moves again \
                 when its publisher settles it (`reg publish --settle`) or rotates the key"
                    .to_owned(),
            ),
            Self::Held { publisher, model, tag, .. } => Some(format!(
                "finish it: reg sign FILE --key NAME, then reg publish --signed FILE; or give it up: reg publish --abandon \
                 {publisher}/{model}:{tag}"
            )),
            Self::Waits { .. } => Some("run the same command again".to_owned()),
            Self::Abandoned { .. } => Some("prepare it again: reg publish … --prepare FILE".to_owned()),
            Self::Rollback { .. } => {
                Some("the peers that were asked are behind, or hide what is newer: ask others with --from".to_owned())
            }
            Self::KeyPin(KeyPinError::Older { .. }) => Some(
                "these key documents are old, and so may be the key: on the machine with the newest, \
                 `reg key documents NAME > NAME.json`; here, `reg key import NAME --documents NAME.json`"
                    .to_owned(),
            ),
            Self::KeyPin(KeyPinError::ListMissing { .. }) => {
                Some("the peers that were asked hold it back: ask others with --from".to_owned())
            }
            Self::Jump { .. } | Self::UsedUp { .. } => Some(
                "a stolen key may have used up the numbers: its publisher gets out of it with \
                 `reg key rotate NAME --floor N`"
                    .to_owned(),
            ),
            Self::KeyPin(
                KeyPinError::Forked { publisher, .. } | KeyPinError::Dead { publisher, .. },
            )
            | Self::NoBranch { publisher, .. } => Some(format!(
                "ask the publisher which key document is theirs; `reg trust accept {publisher}` shows the branches and \
                 follows the one that you choose; a version that you know is pulled by its digest"
            )),
            _ => None,
        }
    }
}
