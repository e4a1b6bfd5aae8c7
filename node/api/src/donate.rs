//! Donating disk space: which models a node keeps for others, and why.

use std::fmt;
use std::str::FromStr;

use reg_proto::digest::Digest;
use reg_proto::glob::ModelGlob;
use reg_proto::name::{ModelName, Petname, Publisher, PublisherId, Reference, Tag};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::follow::Followed;

/// The models of which a donor keeps the scarcest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DonateScope {
    /// Those of publishers that the user has named, follows or has collected.
    #[default]
    Named,
    /// Those of one publisher that a pattern selects.
    Models(Followed),
    /// All that this node knows of.
    Everything,
}

/// A text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is none of `named`, `PUBLISHER/MODELS` and `*`")]
pub struct DonateScopeError {
    text: String,
}

impl FromStr for DonateScope {
    type Err = DonateScopeError;

    fn from_str(text: &str) -> Result<Self, DonateScopeError> {
        /// Characters of a refused text that are shown.
        const SHOWN_MAX: usize = 80;
        let refused = || DonateScopeError { text: text.chars().take(SHOWN_MAX).collect() };
        match text {
            "named" => Ok(Self::Named),
            "*" | "*/*" => Ok(Self::Everything),
            _ => {
                let (publisher, models) = text.split_once('/').ok_or_else(refused)?;
                let publisher: Publisher = publisher.parse().map_err(|_| refused())?;
                let models: ModelGlob = models.parse().map_err(|_| refused())?;
                Ok(Self::Models(Followed { publisher, models }))
            }
        }
    }
}

impl fmt::Display for DonateScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named => f.write_str("named"),
            Self::Models(Followed { publisher, models }) => write!(f, "{publisher}/{models}"),
            Self::Everything => f.write_str("*"),
        }
    }
}

impl Serialize for DonateScope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DonateScope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Asks to donate disk space, or to change what is donated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DonateRequest {
    /// Bytes of the disk.
    pub size: u64,
    #[serde(default)]
    pub scope: DonateScope,
    /// Bytes in a second that are sent of donated models; `None` without a limit of their own.
    #[serde(default)]
    pub limit: Option<u64>,
    /// The user has confirmed to keep models of strangers.
    #[serde(default)]
    pub confirmed: bool,
}

/// Asks to donate no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StopDonating {
    /// Keep the models: they are the owner's from now on, and may be evicted.
    #[serde(default)]
    pub keep: bool,
}

/// What the user donates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DonateSettings {
    pub size: u64,
    pub scope: DonateScope,
    pub limit: Option<u64>,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// What a node keeps for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DonateReport {
    /// `None` where nothing is donated.
    pub settings: Option<DonateSettings>,
    /// Bytes that are kept for others.
    pub used: u64,
    pub models: Vec<DonatedModel>,
    /// Models elsewhere of which replicas are counted, so that the scarcest can be taken.
    pub candidates: usize,
    /// Replicas that a model is to have, this node's own one included.
    pub target: u32,
    /// Whether this node counts replicas. A donor that does not takes nothing.
    pub auditing: bool,
    /// When the last decision was made, in seconds since 1970.
    pub decided: Option<u64>,
    /// Bytes that were given back because the owner needed the disk, since the daemon started.
    pub gave_way: u64,
}

/// A model that is kept for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DonatedModel {
    pub publisher: PublisherId,
    pub petname: Option<Petname>,
    pub model: ModelName,
    pub tag: Option<Tag>,
    pub manifest: Digest,
    /// Bytes that are here of it.
    pub bytes: u64,
    /// Whether all of it is here.
    pub whole: bool,
    /// Since when it is kept, in seconds since 1970.
    pub since: u64,
    /// Proven replicas at other nodes.
    pub replicas: u32,
    /// When the oldest and the newest of the pieces have passed that prove them, in seconds since 1970.
    pub oldest_proof: Option<u64>,
    pub newest_proof: Option<u64>,
    pub why: DonateVerdict,
}

/// What a donor did with a model at its last decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DonateAction {
    /// It is fetched.
    Take,
    /// It is kept further.
    Keep,
    /// It was given back.
    GiveBack,
    /// It is left alone.
    Leave,
}

/// The last decision about a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DonateVerdict {
    pub action: DonateAction,
    /// A word for programs, such as `scarce`.
    pub code: String,
    /// The reason in words.
    pub reason: String,
    /// When it was decided, in seconds since 1970; `None` where nothing was decided about it.
    pub at: Option<u64>,
}

/// Why a model is kept for others, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DonateWhy {
    pub reference: Reference,
    /// `None` where this node does not know the model.
    pub manifest: Option<Digest>,
    /// Proven replicas at other nodes; `None` where they are not counted.
    pub replicas: Option<u32>,
    pub verdict: DonateVerdict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_back_what_it_writes() {
        for text in ["named", "acme/*", "acme/llama-*", "*"] {
            assert_eq!(text.parse::<DonateScope>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("*/*".parse(), Ok(DonateScope::Everything));
        for text in ["", "acme", "all", "acme/", "/x", "*/x", "acme/x:v1"] {
            assert!(text.parse::<DonateScope>().is_err(), "{text}");
        }
    }
}
