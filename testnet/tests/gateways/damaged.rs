//! Tests what a gateway answers where a blob of the node's own copy is damaged or missing: what is here is served, and the rest
//! is 503 with the reason, because a client takes 404 to mean that there is no such model.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use reg_testnet::http::{self, Served};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text};

const OCI_MANIFEST: [(&str, &str); 1] = [("accept", "application/vnd.oci.image.manifest.v1+json")];

/// What is wrong with a blob.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Missing,
    Flipped,
}

impl Damage {
    fn at(self, home: &Home, digest: &str) {
        let hex = digest.trim_start_matches("sha256:");
        let path: PathBuf = home.path().join("store/blobs/sha256").join(&hex[..2]).join(hex);
        match self {
            Self::Missing => fs::remove_file(path).expect("removed"),
            Self::Flipped => {
                let mut permissions = fs::metadata(&path).expect("a file").permissions();
                #[expect(
                    clippy::permissions_set_readonly_false,
                    reason = "the file is made writable as a user would"
                )]
                permissions.set_readonly(false);
                fs::set_permissions(&path, permissions).expect("writable");
                let file = File::options().write(true).open(path).expect("opened");
                file.write_all_at(b"\x00\xff\x00\xff", 5).expect("written");
            }
        }
    }
}

/// What a publisher has published under one tag.
#[derive(Debug, Clone, Copy)]
enum Records {
    One,
    TwoOfOneManifest,
    /// Two versions with the same weights.
    TwoVersions,
}

/// A publisher without peers. Returns its repository and the digest of the newest manifest.
fn publisher(dir: &Path, records: Records) -> (Home, String, String) {
    let home = Home::new("A");
    home.key("me");
    let publish = || {
        let args = ["publish", &dir.to_string_lossy(), "own", "--key", "me"];
        home.json(args)
    };
    let mut published = publish();
    match records {
        Records::One => {}
        Records::TwoOfOneManifest => published = publish(),
        Records::TwoVersions => {
            fs::write(dir.join("README.md"), "Another text.\n").expect("written");
            published = publish();
        }
    }
    let repo = text(&published["reference"]).trim_end_matches(":latest").to_owned();
    (home, repo, text(&published["manifest"]))
}

fn start(home: &Home, is_signing: bool) -> Daemon {
    let flags: &[&str] = if is_signing { &["--publish-key", "me"] } else { &[] };
    Daemon::start(home, [flags, &["--dht", "off"]].concat())
}

/// Tries all cases at the same time: each answer that is unavailable takes seconds.
fn at_once<const N: usize>(
    cases: [(Records, bool, Damage); N],
    try_it: impl Fn(Records, bool, Damage) + Sync,
) {
    std::thread::scope(|scope| {
        for (records, is_signing, damage) in cases {
            let try_it = &try_it;
            scope.spawn(move || try_it(records, is_signing, damage));
        }
    });
}

fn assert_unavailable(served: &Served, why: &str, case: &str) {
    assert_eq!(served.status, 503, "{case}: {}", served.text());
    assert!(served.text().contains(why), "{case}: {}", served.text());
    assert!(served.header("retry-after").is_some(), "{case}");
    assert_eq!(served.header("x-error-code"), None, "{case}");
}

#[test]
fn what_is_left_of_a_damaged_copy_is_served_and_the_rest_is_unavailable() {
    at_once(
        [
            (Records::One, false, Damage::Flipped),
            (Records::TwoOfOneManifest, true, Damage::Missing),
            (Records::TwoOfOneManifest, false, Damage::Missing),
            (Records::TwoVersions, true, Damage::Flipped),
        ],
        |records, is_signing, damage| {
            let case = format!("{records:?}, signing: {is_signing}, {damage:?}");
            let dir = tempfile::tempdir().expect("a folder");
            model::generate(dir.path(), 1 << 12, 91);
            let weights = model::weights_digest(dir.path()).to_string();
            let (home, repo, manifest) = publisher(dir.path(), records);
            damage.at(&home, &weights);
            let daemon = start(&home, is_signing);
            let base = http::base(&daemon);
            let commit = &manifest["sha256:".len()..][..40];
            let here = [
                format!("{repo}/resolve/main/config.json"),
                format!("{repo}/resolve/{commit}/README.md"),
                format!("api/models/{repo}"),
                format!("api/models/{repo}/tree/main"),
                format!("v2/{repo}/manifests/latest"),
                format!("v2/{repo}/manifests/{manifest}"),
            ];
            for path in here {
                let served = http::get(&format!("{base}/{path}"), &OCI_MANIFEST);
                assert_eq!(served.status, 200, "{case}: {path}: {}", served.text());
                assert_eq!(served.header("x-reg-behind"), None, "{case}: {path}");
            }
            for path in
                [format!("{repo}/resolve/main/model.safetensors"), format!("v2/{repo}/blobs/{weights}")]
            {
                assert_unavailable(
                    &http::get(&format!("{base}/{path}"), &[]),
                    &weights,
                    &format!("{case}: {path}"),
                );
            }
            let absent = http::get(&format!("{base}/{repo}/resolve/main/no.json"), &[]);
            assert_eq!(absent.header("x-error-code").as_deref(), Some("EntryNotFound"), "{case}");
        },
    );
}

#[test]
fn a_version_without_a_document_is_unavailable_and_not_unknown() {
    at_once(
        [
            (Records::One, false, Damage::Missing),
            (Records::TwoOfOneManifest, true, Damage::Flipped),
            (Records::TwoVersions, false, Damage::Flipped),
        ],
        |records, is_signing, damage| {
            let dir = tempfile::tempdir().expect("a folder");
            model::generate(dir.path(), 1 << 12, 92);
            let (home, repo, manifest) = publisher(dir.path(), records);
            let daemon = start(&home, is_signing);
            let referrers =
                http::get(&format!("{}/v2/{repo}/referrers/{manifest}", http::base(&daemon)), &[]);
            let referrers = referrers.json()["manifests"].as_array().cloned().unwrap_or_default();
            let provenance = referrers.iter().find(|it| text(&it["artifactType"]).contains("in-toto"));
            let provenance = text(&provenance.expect("a provenance")["digest"]);
            daemon.stop();
            // The version before the newest one is whole, and stands in for it.
            let is_alone = !matches!(records, Records::TwoVersions);
            for lacking in [&provenance, &manifest] {
                damage.at(&home, lacking);
                let daemon = start(&home, is_signing);
                let base = http::base(&daemon);
                let commit = &manifest["sha256:".len()..][..40];
                let by_tag = [
                    format!("{repo}/resolve/main/config.json"),
                    format!("api/models/{repo}"),
                    format!("v2/{repo}/manifests/latest"),
                ];
                let by_digest = [
                    format!("{repo}/resolve/{commit}/config.json"),
                    format!("v2/{repo}/manifests/{manifest}"),
                    format!("v2/{repo}/manifests/{lacking}"),
                    format!("v2/{repo}/blobs/{lacking}"),
                ];
                let case = format!("{records:?}, signing: {is_signing}, {damage:?}");
                for path in by_tag.iter().filter(|_| is_alone).chain(&by_digest) {
                    let served = http::get(&format!("{base}/{path}"), &OCI_MANIFEST);
                    assert_unavailable(&served, lacking, &format!("{case}: {path}"));
                }
                for path in by_tag.iter().filter(|_| !is_alone) {
                    let served = http::get(&format!("{base}/{path}"), &OCI_MANIFEST);
                    assert_eq!(served.status, 200, "{case}: {path}: {}", served.text());
                    assert!(served.header("x-reg-behind").is_some(), "{case}: {path}");
                }
                daemon.stop();
            }
        },
    );
}
