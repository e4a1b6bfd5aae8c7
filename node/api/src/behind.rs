//! [`Behind`]: how the version of a model that is used stands behind the head of its tag, and why.

use std::fmt;

use reg_proto::digest::Digest;
use serde::{Deserialize, Serialize};

/// The version of a tag that is used in place of the head, which is the newest valid record of the tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The number of the head.
    pub head: u64,
    /// The manifest of the head.
    pub manifest: Digest,
    /// The number of the version that is used.
    pub used: u64,
    pub reason: BehindReason,
    /// What was tried, in a sentence.
    pub why: String,
}

/// Why an older version is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BehindReason {
    /// The head is not in the store, and no peer was asked because the node is offline.
    Offline,
    /// No peer that was reached has the head.
    Unreached,
    /// Two records contradict each other. The newest common ancestor of both is used.
    Frozen,
    /// The store has the version that is used, and not the head.
    NotPulled,
    /// Peers have announced a newer record, which no pull has looked at yet.
    Heard,
}

impl BehindReason {
    /// Returns the reason in one word, as headers and JSON carry it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unreached => "unreached",
            Self::Frozen => "frozen",
            Self::NotPulled => "not_pulled",
            Self::Heard => "heard",
        }
    }
}

impl Behind {
    /// Returns the value of the header `X-Reg-Behind`: ASCII, without the sentence.
    pub fn header(&self) -> String {
        let Self { head, manifest, used, reason, .. } = self;
        format!("head={head}; manifest={manifest}; used={used}; reason={}", reason.name())
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, manifest, used, why, .. } = self;
        write!(f, "version {used} is used, not the newest, {head} ({manifest}): {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_ascii_and_names_the_head() {
        let behind = Behind {
            head: 2,
            manifest: Digest::of(b"two"),
            used: 1,
            reason: BehindReason::Unreached,
            why: "é".to_owned(),
        };
        let header = behind.header();
        assert!(header.is_ascii() && header.starts_with("head=2; manifest=sha256:"), "{header}");
        assert!(header.ends_with("; used=1; reason=unreached"), "{header}");
        let json = serde_json::to_value(&behind).unwrap();
        assert_eq!(json["reason"], behind.reason.name());
    }
}
