//! Following a publisher: which new versions a node pulls by itself, after which delay, and how many it keeps.

use std::collections::BTreeSet;

use reg_proto::content::kind::ContentKind;
use reg_proto::digest::Digest;
use reg_proto::glob::ModelGlob;
use reg_proto::name::{ModelName, Petname, Publisher, PublisherId, Tag};
use serde::{Deserialize, Serialize};

use crate::request::TicketRequest;
use crate::selection::Selection;

/// The usual delay in seconds: time in which a publisher can withdraw what a thief has signed.
pub const DELAY: u64 = 24 * 3600;
/// The longest delay in seconds: a year.
pub const DELAY_MAX: u64 = 365 * 24 * 3600;
/// The versions of a model that are kept where the user does not say: the newest one, and the one to go back to.
pub const KEEP: u32 = 2;
/// The most versions of a model that one follow keeps: half of what it remembers, so that others have room.
pub const KEEP_MAX: u32 = 256;

/// What the user wants of a publisher's new versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowSettings {
    /// How many versions of each model are kept, the newest first.
    pub keep: u32,
    /// Seconds from the moment at which this node has first heard of a version until it pulls it.
    pub delay: u64,
    /// The files of each model that are pulled: all of them where the selection is empty.
    #[serde(default)]
    pub selection: Selection,
    /// The kinds of files beyond data that are accepted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allow: BTreeSet<ContentKind>,
}

impl Default for FollowSettings {
    fn default() -> Self {
        Self { keep: KEEP, delay: DELAY, selection: Selection::default(), allow: BTreeSet::new() }
    }
}

/// Names a follow: the models of a publisher that a pattern selects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    pub publisher: Publisher,
    pub models: ModelGlob,
}

/// Asks to follow models of a publisher, or to change the settings of a follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowRequest {
    pub followed: Followed,
    pub settings: FollowSettings,
    /// What the ticket says that was given instead of a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRequest>,
}

/// Asks to pause a follow, or to go on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseFollow {
    pub followed: Followed,
    pub paused: bool,
}

/// A follow and its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowReport {
    pub publisher: PublisherId,
    pub petname: Option<Petname>,
    pub models: ModelGlob,
    pub settings: FollowSettings,
    pub paused: bool,
    /// Since when the user follows, in seconds since 1970.
    pub since: u64,
    /// The versions that this node has heard of since then, the newest of each tag first.
    pub versions: Vec<FollowedVersion>,
    /// How many tags of the publisher are left out, because a follow remembers no more versions.
    #[serde(default)]
    pub left_out: usize,
    /// Why the follow cannot be read, and what to do. The other fields are defaults then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What the user has to know of what was asked: the peers of a ticket were not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A version that a publisher brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedVersion {
    pub model: ModelName,
    pub tag: Tag,
    /// The number of the tag record.
    pub seq: u64,
    pub manifest: Digest,
    /// When this node first heard of it, in seconds since 1970.
    pub heard: u64,
    pub state: VersionState,
    /// Whether the store keeps it from eviction.
    pub kept: bool,
    /// Whether it was pulled, and is not in the store any more: the user has removed it, or it was evicted.
    #[serde(default)]
    pub gone: bool,
}

/// How far a version has come. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum VersionState {
    /// It is pulled at that time, unless it is withdrawn before.
    Waiting { until: u64 },
    /// It was pulled.
    Here { since: u64 },
    /// It was not pulled, for this reason; the pull is repeated.
    Failed { why: String, times: u32, next: u64 },
    /// It is not pulled: a newer version was due too, as many newer ones as the follow keeps were there when it began, or its
    /// publisher has withdrawn it.
    Passed,
}

/// A text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a time such as 24h, 30m, 90s or 7d, up to 365d")]
pub struct DelayError {
    text: String,
}

/// Parses a delay: a number with `s`, `m`, `h` or `d`, or `0`. Returns seconds.
///
/// # Errors
/// The text has another form, or is longer than [`DELAY_MAX`].
pub fn parse_delay(text: &str) -> Result<u64, DelayError> {
    let error = || DelayError { text: text.chars().take(40).collect() };
    if text == "0" {
        return Ok(0);
    }
    let unit = text.chars().last().filter(char::is_ascii).ok_or_else(error)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(error()),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    let delay = digits.parse::<u64>().ok().and_then(|it| it.checked_mul(seconds));
    delay.filter(|it| *it <= DELAY_MAX).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_have_a_unit() {
        for (text, seconds) in
            [("0", 0), ("90s", 90), ("30m", 1800), ("24h", DELAY), ("7d", 604_800), ("365d", DELAY_MAX)]
        {
            assert_eq!(parse_delay(text), Ok(seconds), "{text}");
        }
        for text in ["", "h", "24", "-1h", "+1h", "1.5h", "366d", "99999999999999999999d", "1 h", "1ü", "1w"]
        {
            assert!(parse_delay(text).is_err(), "{text}");
        }
    }
}
