//! Transfers that run: how far each is, from which sources its pieces come, and why it is not faster.

use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Petname, PublisherId, Reference, Tag};
use reg_proto::peer::PeerId;
use serde::{Deserialize, Serialize};

use crate::request::Priority;
use crate::size::Given;

/// Percentage of a limit from which on the limit counts as reached: a rate is a mean over seconds.
const LIMIT_PERCENT: u64 = 85;
/// Percentage of the time from which on verifying and writing together count as what bounds a transfer.
const BUSY_PERCENT: u64 = 80;
/// How long connected sources may send nothing before that is the reason.
const SILENT: Duration = Duration::from_secs(5);

/// A transfer that runs: a pull, or what a client of a gateway reads. It has 16 fields, because programs read the answer as flat
/// JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferReport {
    pub publisher: PublisherId,
    pub petname: Option<Petname>,
    pub model: ModelName,
    pub tag: Option<Tag>,
    pub manifest: Digest,
    pub priority: Priority,
    /// Whether it is paused, alone or with the whole node.
    pub paused: bool,
    /// Whether clients of a gateway read it. Such a transfer cannot be cancelled here.
    pub read: bool,
    /// Bytes that are verified and stored, of those that are wanted now.
    pub done: u64,
    pub total: u64,
    /// Bytes in a second, as the mean of the last seconds.
    pub rate: u64,
    /// The lowest limit that holds for it, in bytes in a second.
    pub limit: Option<u64>,
    /// Sources that are connected, and those that have sent pieces, the one with most bytes first.
    pub connected: usize,
    pub sources: Vec<SourceBytes>,
    /// How many sources are left out of the list.
    pub more_sources: usize,
    pub reason: Reason,
}

/// A source and the bytes of verified pieces that it has sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceBytes {
    #[serde(flatten)]
    pub source: Source,
    pub bytes: u64,
}

/// What sends pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Peer(PeerId),
    /// A web seed, as the user named it.
    Web(String),
}

/// Why a transfer is not faster, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub code: ReasonCode,
    pub text: String,
}

/// Why a transfer is not faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    Paused,
    NodePaused,
    Priority,
    Preparing,
    Placing,
    BehindNat,
    NoHolder,
    Silent,
    Limit,
    Disk,
    Verification,
    Sources,
}

/// What is known of a transfer while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransferFacts {
    pub paused: bool,
    pub node_paused: bool,
    /// Whether it waits for a transfer of a higher priority.
    pub waits: bool,
    pub done: u64,
    pub total: u64,
    pub rate: u64,
    pub limit: Option<u64>,
    pub connected: usize,
    /// Whether a connected source holds a piece that is missing.
    pub is_held: bool,
    pub behind_nat: usize,
    /// How long no byte has come.
    pub quiet: Duration,
    /// Percentages of the time that threads have spent on verifying and on writing.
    pub verifying: u64,
    pub writing: u64,
}

impl TransferFacts {
    /// Returns why the transfer is not faster: the first reason that holds.
    pub fn reason(&self) -> Reason {
        let code = self.code();
        Reason { code, text: self.words(code) }
    }

    fn code(&self) -> ReasonCode {
        let is_limited =
            self.limit.is_some_and(|limit| self.rate >= limit.saturating_mul(LIMIT_PERCENT) / 100);
        match self {
            Self { node_paused: true, .. } => ReasonCode::NodePaused,
            Self { paused: true, .. } => ReasonCode::Paused,
            Self { waits: true, .. } => ReasonCode::Priority,
            Self { total: 0, .. } => ReasonCode::Preparing,
            Self { done, total, .. } if done >= total => ReasonCode::Placing,
            Self { is_held: false, behind_nat: 1.., .. } => ReasonCode::BehindNat,
            Self { is_held: false, .. } => ReasonCode::NoHolder,
            Self { quiet, .. } if *quiet >= SILENT => ReasonCode::Silent,
            _ if is_limited => ReasonCode::Limit,
            Self { verifying, writing, .. } if verifying + writing < BUSY_PERCENT => ReasonCode::Sources,
            Self { verifying, writing, .. } if writing > verifying => ReasonCode::Disk,
            _ => ReasonCode::Verification,
        }
    }

    fn words(&self, code: ReasonCode) -> String {
        let sources = |one: &str, many: &str| match self.connected {
            0 | 1 => one.to_owned(),
            count => many.replace("{}", &count.to_string()),
        };
        match code {
            ReasonCode::NodePaused => "the whole node is paused".into(),
            ReasonCode::Paused => "it is paused".into(),
            ReasonCode::Priority => "it waits for a transfer of a higher priority".into(),
            ReasonCode::Preparing => "it opens its files and asks peers what they hold".into(),
            ReasonCode::Placing => "every byte is here: the files are being completed".into(),
            ReasonCode::BehindNat => {
                "the peers that have the rest are behind a NAT that cannot be traversed".into()
            }
            ReasonCode::NoHolder => {
                "no connected peer holds what is missing; the node goes on looking".into()
            }
            ReasonCode::Silent => {
                let seconds = self.quiet.as_secs();
                let which = sources("the connected source", "the {} connected sources");
                format!("{which} sent nothing for {seconds} s")
            }
            ReasonCode::Limit => {
                format!("it reaches the limit of {}/s", Given(self.limit.unwrap_or_default()))
            }
            ReasonCode::Disk => "the disk writes no faster".into(),
            ReasonCode::Verification => "the cores verify no faster (SHA-256)".into(),
            ReasonCode::Sources => {
                sources("the one connected source sends no faster", "the {} connected sources send no faster")
            }
        }
    }
}

/// Asks to change the transfers of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriorityRequest {
    pub reference: Reference,
    pub priority: Priority,
}

/// How many transfers a change was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub transfers: usize,
}

/// Which pieces of a model's blobs are in the store while they are fetched, and which source has sent each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PiecesReport {
    /// The pieces of the blobs that were opened.
    pub pieces: u64,
    pub stored: u64,
    /// How many pieces one cell stands for; the last cell of each blob may stand for fewer.
    pub pieces_per_cell: u64,
    /// The cells of all blobs, one blob after the other: [`MISSING`], [`PART`], [`EARLIER`], or one more than the number of the
    /// source in `sources` that has sent most of the cell.
    pub cells: Vec<i16>,
    pub sources: Vec<Source>,
}

/// A cell without a stored piece.
pub const MISSING: i16 = -1;
/// A cell of which some pieces are stored.
pub const PART: i16 = -2;
/// A cell that no source of this transfer has sent.
pub const EARLIER: i16 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_first_one_that_holds() {
        let fine =
            TransferFacts { done: 1, total: 9, rate: 100, connected: 2, is_held: true, ..Default::default() };
        let quiet = SILENT;
        for (facts, expected) in [
            (TransferFacts { node_paused: true, paused: true, ..fine }, ReasonCode::NodePaused),
            (TransferFacts { paused: true, waits: true, ..fine }, ReasonCode::Paused),
            (TransferFacts { waits: true, is_held: false, ..fine }, ReasonCode::Priority),
            (TransferFacts { total: 0, done: 0, ..fine }, ReasonCode::Preparing),
            (TransferFacts { done: 9, is_held: false, ..fine }, ReasonCode::Placing),
            (TransferFacts { is_held: false, behind_nat: 1, ..fine }, ReasonCode::BehindNat),
            (TransferFacts { is_held: false, quiet, ..fine }, ReasonCode::NoHolder),
            (TransferFacts { quiet, limit: Some(1), ..fine }, ReasonCode::Silent),
            (TransferFacts { limit: Some(110), writing: 99, ..fine }, ReasonCode::Limit),
            (TransferFacts { limit: Some(200), ..fine }, ReasonCode::Sources),
            (TransferFacts { verifying: 30, writing: 55, ..fine }, ReasonCode::Disk),
            (TransferFacts { verifying: 60, writing: 20, ..fine }, ReasonCode::Verification),
            (TransferFacts { verifying: 40, writing: 39, ..fine }, ReasonCode::Sources),
            (fine, ReasonCode::Sources),
        ] {
            assert_eq!(facts.reason().code, expected, "{facts:?}");
        }
        assert_eq!(fine.reason().text, "the 2 connected sources send no faster");
        let one = TransferFacts { connected: 1, quiet: Duration::from_secs(7), ..fine };
        assert_eq!(one.reason().text, "the connected source sent nothing for 7 s");
    }

    #[test]
    fn a_source_is_flat_in_json() {
        let source = SourceBytes { source: Source::Web("https://a.example".into()), bytes: 7 };
        let text = serde_json::to_string(&source).unwrap();
        assert_eq!(text, "{\"web\":\"https://a.example\",\"bytes\":7}");
        assert_eq!(serde_json::from_str::<SourceBytes>(&text).unwrap(), source);
    }
}
