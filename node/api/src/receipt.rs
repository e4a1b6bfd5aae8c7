//! [`Receipt`]: what a pull has verified, against which keys and when, and where its bytes came from.

use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::name::{ModelName, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::peer::PeerId;
use serde::{Deserialize, Serialize};

use crate::behind::Behind;
use crate::check::Check;

/// Percentage of the fetching time. If verifying and writing together take at least this much of it, they bound the
/// speed.
const BUSY_PERCENT: u64 = 80;

/// What a pull has verified, against which keys, and when: `reg pull --receipt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The version of this format: 1.
    pub version: u64,
    /// The software that wrote the receipt, as in `reg 0.1.0`.
    pub software: String,
    /// The time of the verification in seconds since 1970.
    pub verified_at: u64,
    pub reference: Reference,
    pub publisher: PublisherId,
    pub model: ModelName,
    pub manifest: Digest,
    /// The key document with the keys that signed the provenance.
    pub keys: ReceiptKeys,
    pub provenance: ReceiptProvenance,
    /// The tag record; `None` where the user asked for the model by digest.
    pub tag: Option<ReceiptTag>,
    /// How the version stands behind the head of the tag; absent where it is the head, or was asked for by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<Behind>,
    pub files: Vec<ReceiptFile>,
    pub checks: Vec<Check>,
    pub sources: Vec<ByteSource>,
}

/// The keys that speak for a publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptKeys {
    pub document: u64,
    pub threshold: usize,
    pub keys: Vec<PublicKey>,
}

/// The publisher's statement that the manifest is its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptProvenance {
    /// The digest of the envelope.
    pub digest: Option<Digest>,
    pub issued: u64,
}

/// The tag record that the pull followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptTag {
    pub name: Tag,
    pub seq: u64,
    pub issued: u64,
    /// The digest of the signed payload.
    pub digest: Digest,
}

/// A file with a verified SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    pub path: SafePath,
    pub size: u64,
    pub digest: Digest,
}

/// One source of the pull, with the bytes that came from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteSource {
    /// `peer`, `cache` or `web`.
    pub kind: String,
    pub peer: Option<PeerId>,
    /// The web seed, as the user named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    pub bytes: u64,
}

/// The seconds that each part of a pull took, and the part that bounded its speed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Seconds until the pull knew what to fetch, and from which peers.
    pub finding_seconds: f64,
    pub fetching_seconds: f64,
    /// Seconds that all cores together spent on verifying while pieces were fetched.
    pub verifying_seconds: f64,
    /// Seconds that all threads together spent on writing while pieces were fetched.
    pub writing_seconds: f64,
    pub placing_seconds: f64,
    /// `finding`, `peers`, `verification`, `disk`, `placing`, or `nothing` where every blob was in the store already.
    pub bounded_by: String,
}

/// The durations and bytes that were measured during a pull.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    pub finding: Duration,
    pub fetching: Duration,
    pub verifying: Duration,
    pub writing: Duration,
    pub placing: Duration,
    pub bytes_fetched: u64,
}

impl Measured {
    /// Returns the durations in seconds, and the part that bounded the speed: the longest one. For fetching it names
    /// what fetching waited for.
    pub fn pace(self) -> Pace {
        let Self { finding, fetching, verifying, writing, placing, bytes_fetched } = self;
        let busy = (verifying + writing) * 100 >= fetching * u32::try_from(BUSY_PERCENT).unwrap_or(100);
        let bounded_by = if bytes_fetched == 0 {
            "nothing"
        } else if placing > fetching.max(finding) {
            "placing"
        } else if finding > fetching {
            "finding"
        } else if !busy {
            "peers"
        } else if writing > verifying {
            "disk"
        } else {
            "verification"
        };
        Pace {
            finding_seconds: finding.as_secs_f64(),
            fetching_seconds: fetching.as_secs_f64(),
            verifying_seconds: verifying.as_secs_f64(),
            writing_seconds: writing.as_secs_f64(),
            placing_seconds: placing.as_secs_f64(),
            bounded_by: bounded_by.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_the_way_is_the_longest_part() {
        let s = Duration::from_secs;
        let base = Measured { bytes_fetched: 1, ..Measured::default() };
        for (measured, expected) in [
            (Measured { finding: s(9), ..Measured::default() }, "nothing"),
            (Measured { finding: s(9), fetching: s(1), ..base }, "finding"),
            (Measured { finding: s(1), fetching: s(9), ..base }, "peers"),
            (Measured { fetching: s(9), placing: s(10), ..base }, "placing"),
            (Measured { fetching: s(9), verifying: s(6), writing: s(1), ..base }, "peers"),
            (Measured { fetching: s(9), verifying: s(6), writing: s(2), ..base }, "verification"),
            (Measured { fetching: s(9), verifying: s(3), writing: s(7), ..base }, "disk"),
        ] {
            assert_eq!(measured.pace().bounded_by, expected, "{measured:?}");
        }
    }

    /// What tools that keep receipts read: see docs/security.md.
    #[test]
    fn a_receipt_is_golden() {
        let publisher = PublisherId::from_bytes([1; 32]);
        let digest = |text: &str| Digest::of(text.as_bytes());
        let key: PublicKey =
            "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".parse().unwrap();
        let receipt = Receipt {
            version: 1,
            software: "reg 0.1.0".to_owned(),
            verified_at: 1_700_000_100,
            reference: format!("{publisher}/tiny:v1").parse().unwrap(),
            publisher,
            model: "tiny".parse().unwrap(),
            manifest: digest("manifest"),
            keys: ReceiptKeys { document: 1, threshold: 1, keys: vec![key] },
            provenance: ReceiptProvenance { digest: Some(digest("envelope")), issued: 1_700_000_000 },
            tag: Some(ReceiptTag {
                name: "v1".parse().unwrap(),
                seq: 3,
                issued: 1_700_000_000,
                digest: digest("record"),
            }),
            behind: None,
            files: vec![ReceiptFile { path: "a".parse().unwrap(), size: 1, digest: digest("a") }],
            checks: vec![
                Check::pass("manifest", "whole"),
                Check::not_done("denylists", "none is subscribed to"),
            ],
            sources: vec![ByteSource { kind: "cache".to_owned(), peer: None, seed: None, bytes: 1 }],
        };
        let text = serde_json::to_string_pretty(&receipt).unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/receipt.json");
        if std::env::var_os("REG_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap_or_default());
        assert_eq!(serde_json::from_str::<Receipt>(&text).unwrap(), receipt);
    }
}
