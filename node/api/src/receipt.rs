//! [`Receipt`]: what a pull has verified, against which keys, and when; and where its bytes came from.

use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::name::{ModelName, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::peer::PeerId;
use serde::{Deserialize, Serialize};

use crate::check::Check;

/// Share of the time of fetching in which pieces were verified or written, from which on that is what bounded the speed.
const BUSY_PERCENT: u64 = 80;

/// What was verified, against which keys, and when: `reg pull --receipt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// 1.
    pub version: u64,
    /// As in `reg 0.1.0`.
    pub software: String,
    /// Seconds since 1970.
    pub verified_at: u64,
    pub reference: Reference,
    pub publisher: PublisherId,
    pub model: ModelName,
    pub manifest: Digest,
    /// The key document that the provenance is signed by.
    pub keys: ReceiptKeys,
    pub provenance: ReceiptProvenance,
    /// `None` where the model was asked for by digest.
    pub tag: Option<ReceiptTag>,
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

/// The statement that the manifest is the publisher's model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptProvenance {
    /// Of the envelope.
    pub digest: Option<Digest>,
    pub issued: u64,
}

/// The tag record that was followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptTag {
    pub name: Tag,
    pub seq: u64,
    pub issued: u64,
    /// Of what was signed.
    pub digest: Digest,
}

/// A file whose SHA-256 was proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    pub path: SafePath,
    pub size: u64,
    pub digest: Digest,
}

/// Where some of the bytes came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteSource {
    /// `peer`, `cache` or `web`.
    pub kind: String,
    pub peer: Option<PeerId>,
    /// Of a web seed, as it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    pub bytes: u64,
}

/// How long each part of a pull took, and which was in the way of the others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Until it was known what to fetch, and from whom.
    pub finding_seconds: f64,
    pub fetching_seconds: f64,
    /// Of all cores together, while fetching.
    pub verifying_seconds: f64,
    /// Of all threads together, while fetching.
    pub writing_seconds: f64,
    pub placing_seconds: f64,
    /// `finding`, `peers`, `verification`, `disk`, `placing`, or `nothing` where it was all here.
    pub bounded_by: String,
}

/// What was measured of a pull.
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
    /// Says which part was in the way: the longest one, and of fetching what it waited for.
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
