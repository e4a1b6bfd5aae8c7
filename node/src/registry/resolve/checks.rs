//! Reports what a pull has checked, against which keys, where the bytes came from, and what bounded the speed.

use std::collections::BTreeMap;

use reg_api::check::Check;
use reg_api::clock::{self, age};
use reg_api::counted::counted;
use reg_api::receipt::{ByteSource, Receipt, ReceiptFile, ReceiptKeys, ReceiptProvenance, ReceiptTag};
use reg_api::size::Size;
use reg_proto::content::kind::ContentKind;
use reg_proto::content::parts::Gap;
use reg_proto::digest::Digest;
use reg_proto::name::{Petname, PublisherId, Reference};
use reg_proto::peer::PeerId;
use reg_proto::referrer::{BUNDLE_ARTIFACT_TYPE, PROVENANCE_ARTIFACT_TYPE, Referrer};

use super::resolved::Resolved;

/// Returns the checks that resolving has made.
pub fn proof_checks(resolved: &Resolved, petnames: &BTreeMap<PublisherId, Petname>) -> Vec<Check> {
    let Resolved { keys, model, tag, digest, manifest, provenance, said, notes, .. } = resolved;
    let (publisher, now) = (keys.publisher(), clock::now());
    let called = petnames.get(&publisher).map_or_else(String::new, |it| format!(", which you call {it}"));
    let mut checks = vec![Check::pass("publisher", format_args!("{publisher}{called}"))];
    if let Some(document) = keys.document(keys.version()) {
        let shown: Vec<String> = document.keys.iter().map(ToString::to_string).collect();
        let (version, of, needed) = (keys.version(), document.keys.len(), document.threshold);
        let detail = format!("key document {version}, {needed} of {of} must sign: {}", shown.join(", "));
        checks.push(Check::pass("keys", detail));
    }
    checks.push(match tag.as_ref().map(|it| it.record()) {
        Some(record) if let Some(behind) = &resolved.behind => Check::note(
            "tag record",
            format_args!(
                "{} number {}, signed by key document {}; {behind}",
                record.tag, record.seq, record.key_document
            ),
        ),
        Some(record) => Check::pass(
            "tag record",
            format_args!(
                "{} number {}, signed by key document {} {} ago, and no newer one is known",
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
        let attestor = petnames.get(&it.by()).map_or_else(|| it.by().to_string(), ToString::to_string);
        checks.push(Check::pass(
            "attestation",
            format_args!("{} {} by {attestor}, signed", it.kind(), it.result()),
        ));
    }
    checks
}

/// Returns the checks of the bytes once they are in the store.
pub fn content_checks(files: &[(String, ContentKind)], blobs: usize, fetched: u64) -> Vec<Check> {
    let bytes = format!(
        "{} {} the SHA-256 that was signed; {} fetched, each piece verified before it was written",
        counted(blobs, "blob"),
        if blobs == 1 { "has" } else { "have" },
        Size(fetched)
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

/// Returns the check whether the model has every file that its other files need.
pub fn whole_checks(gaps: &[Gap]) -> Vec<Check> {
    let lacks = |gap: &Gap| Check::note("whole", gap);
    if gaps.is_empty() {
        return vec![Check::pass("whole", "no file that another one needs is missing")];
    }
    gaps.iter().map(lacks).collect()
}

/// Returns the sources of the bytes, the largest one first and the cache last.
pub fn byte_sources(
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

/// Returns the receipt: what was verified, against which keys, and when.
pub fn receipt_of(
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
        behind: resolved.behind.clone(),
        files,
        checks,
        sources,
    }
}

/// Returns the document of the first referrer of this type.
fn document_of(resolved: &Resolved, artifact_type: &str) -> Option<Digest> {
    let read = |digest: &Digest| Referrer::from_bytes(resolved.documents.get(digest)?).ok();
    let mut referrers = resolved.referrers.iter().filter_map(read);
    referrers.find(|it| it.artifact_type == artifact_type).map(|it| it.document.digest)
}
