//! What was checked of a model, against which key, where its bytes came from, and what bounded the speed.

use std::collections::BTreeMap;
use std::time::Duration;

use reg_proto::content::kind::ContentKind;
use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::name::{ModelName, Petname, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::peer::PeerId;
use reg_proto::referrer::{BUNDLE_ARTIFACT_TYPE, PROVENANCE_ARTIFACT_TYPE, Referrer};
use serde::{Deserialize, Serialize};

use super::clock;
use super::policy::Check;
use super::resolve::Resolved;

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
pub(super) struct Measured {
    pub(super) finding: Duration,
    pub(super) fetching: Duration,
    pub(super) verifying: Duration,
    pub(super) writing: Duration,
    pub(super) placing: Duration,
    pub(super) bytes_fetched: u64,
}

impl Measured {
    /// Says which part was in the way: the longest one, and of fetching what it waited for.
    pub(super) fn pace(self) -> Pace {
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

/// Returns what resolving has proven, check by check.
pub(super) fn proven(resolved: &Resolved, petnames: &BTreeMap<PublisherId, Petname>) -> Vec<Check> {
    let Resolved { keys, model, tag, digest, manifest, provenance, said, notes, .. } = resolved;
    let (publisher, now) = (keys.publisher(), clock::now());
    let called = petnames.get(&publisher).map_or_else(String::new, |it| format!(", whom you call {it}"));
    let mut checks = vec![Check::pass("publisher", format_args!("{publisher}{called}"))];
    if let Some(document) = keys.document(keys.version()) {
        let shown: Vec<String> = document.keys.iter().map(ToString::to_string).collect();
        let (version, of, needed) = (keys.version(), document.keys.len(), document.threshold);
        let detail = format!("key document {version}, {needed} of {of} must sign: {}", shown.join(", "));
        checks.push(Check::pass("keys", detail));
    }
    checks.push(match tag.as_ref().map(|it| it.record()) {
        Some(record) => Check::pass(
            "tag record",
            format_args!(
                "{} number {}, signed by key document {} {} ago, and none newer was heard of",
                record.tag,
                record.seq,
                record.key_document,
                age(now.saturating_sub(record.issued)),
            ),
        ),
        None => Check::not_done("tag record", "a digest was asked for, which no tag can move"),
    });
    checks.extend(notes.iter().map(|note| Check::note("resolving", note)));
    checks.push(Check::pass("manifest", format_args!("{digest}, {} files", manifest.files().len())));
    let issued = age(now.saturating_sub(provenance.issued));
    let detail =
        format!("says it is {model}, signed by key document {} {issued} ago", provenance.key_document);
    checks.push(Check::pass("provenance", detail));
    checks.push(match document_of(resolved, BUNDLE_ARTIFACT_TYPE) {
        Some(_) => Check::pass("OpenSSF bundle", "signed under the publisher's key, about these files"),
        None => Check::not_done("OpenSSF bundle", "the model came without one"),
    });
    for it in said {
        let who = petnames.get(&it.by()).map_or_else(|| it.by().to_string(), ToString::to_string);
        checks
            .push(Check::pass("attestation", format_args!("{} {} by {who}, signed", it.kind(), it.result())));
    }
    checks
}

/// Returns what was found of the bytes once they are here.
pub(super) fn content(files: &[(String, ContentKind)], blobs: usize, fetched: u64) -> Vec<Check> {
    let bytes = format!(
        "{blobs} blobs have the SHA-256 that was signed; {fetched} bytes were fetched, each piece verified before \
         it was written"
    );
    let mut by_kind: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, kind) in files {
        *by_kind.entry(kind.name()).or_default() += 1;
    }
    let kinds: Vec<String> = by_kind.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let risky = files.iter().find(|(_, kind)| kind.risk().is_some());
    let content = match risky.and_then(|(path, kind)| Some((path, kind, kind.risk()?))) {
        Some((path, kind, risk)) => Check::note(
            "content",
            format_args!("{}; taken by consent: {path} is {kind}, {risk}", kinds.join(", ")),
        ),
        None => Check::pass("content", kinds.join(", ")),
    };
    vec![Check::pass("bytes", bytes), content]
}

/// Returns where the bytes came from, the largest part first.
pub(super) fn sources(
    peers: &BTreeMap<PeerId, u64>,
    web: &BTreeMap<String, u64>,
    local: u64,
) -> Vec<ByteSource> {
    let of_peer = |(peer, bytes): (&PeerId, &u64)| ByteSource {
        kind: "peer".to_owned(),
        peer: Some(*peer),
        seed: None,
        bytes: *bytes,
    };
    let of_web = |(seed, bytes): (&String, &u64)| ByteSource {
        kind: "web".to_owned(),
        peer: None,
        seed: Some(seed.clone()),
        bytes: *bytes,
    };
    let mut sources: Vec<ByteSource> = peers.iter().map(of_peer).chain(web.iter().map(of_web)).collect();
    sources.sort_by_key(|it| std::cmp::Reverse(it.bytes));
    if local > 0 {
        sources.push(ByteSource { kind: "cache".to_owned(), peer: None, seed: None, bytes: local });
    }
    sources
}

/// Writes what was verified, against which keys, and when.
pub(super) fn receipt(
    resolved: &Resolved,
    reference: Reference,
    files: Vec<ReceiptFile>,
    checks: Vec<Check>,
    sources: Vec<ByteSource>,
) -> Receipt {
    let version = resolved.provenance.key_document;
    let document = resolved.keys.document(version);
    Receipt {
        version: 1,
        software: format!("reg {}", env!("CARGO_PKG_VERSION")),
        verified_at: clock::now(),
        reference,
        publisher: resolved.keys.publisher(),
        model: resolved.model.clone(),
        manifest: resolved.digest,
        keys: ReceiptKeys {
            document: version,
            threshold: document.map_or(0, |it| it.threshold),
            keys: document.map(|it| it.keys.clone()).unwrap_or_default(),
        },
        provenance: ReceiptProvenance {
            digest: document_of(resolved, PROVENANCE_ARTIFACT_TYPE),
            issued: resolved.provenance.issued,
        },
        tag: resolved.tag.as_ref().map(|tag| ReceiptTag {
            name: tag.record().tag.clone(),
            seq: tag.record().seq,
            issued: tag.record().issued,
            digest: tag.payload_digest(),
        }),
        files,
        checks,
        sources,
    }
}

/// The document of the first referrer of this type.
fn document_of(resolved: &Resolved, artifact_type: &str) -> Option<Digest> {
    let read = |digest: &Digest| Referrer::from_bytes(resolved.documents.get(digest)?).ok();
    let mut referrers = resolved.referrers.iter().filter_map(read);
    referrers.find(|it| it.artifact_type == artifact_type).map(|it| it.document.digest)
}

/// Returns a length of time as people read it.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
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
