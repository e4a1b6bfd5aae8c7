//! The cases of the OCI conformance suite, each under its name there (opencontainers/distribution-spec, folder `conformance`,
//! at commit 967efdc of 2026). docs/oci.md lists the same cases, and says why some of them are refused.

use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_testnet::http::{self, Served};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A daemon that signs, with one model of several tags.
struct Registry {
    daemon: Daemon,
    token: String,
    /// The repository of the model.
    repo: String,
    /// A repository that nothing was pushed to yet.
    other: String,
    manifest: Served,
    _home: Home,
}

impl Registry {
    fn new() -> Self {
        let home = Home::new("A");
        let publisher = home.key("me");
        let files = home.path().join("model");
        model::generate(&files, 3 << 20, 71);
        let daemon = Daemon::start(&home, ["--publish-key", "me"]);
        let token = http::token(&home);
        for tag in ["latest", "v1", "v2", "v3"] {
            home.publish(&files, &format!("case:{tag}"), "me");
        }
        let base = http::base(&daemon);
        let (repo, other) = (format!("{base}/v2/{publisher}/case"), format!("{base}/v2/me/pushed"));
        let manifest = http::get(&format!("{repo}/manifests/v1"), &[("accept", MANIFEST)]);
        Self { daemon, token, repo, other, manifest, _home: home }
    }

    fn send(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Served {
        let bearer = format!("Bearer {}", self.token);
        let all: Vec<(&str, &str)> = headers.iter().copied().chain([("authorization", &*bearer)]).collect();
        http::send(method, url, &all, body)
    }

    fn begin(&self) -> String {
        let begun = self.send("POST", &format!("{}/blobs/uploads/", self.other), &[], &[]);
        assert_eq!(begun.status, 202, "{}", begun.text());
        begun.header("location").expect("a location")
    }

    fn finish(&self, upload: &str, digest: &str, body: &[u8]) -> Served {
        self.send("PUT", &format!("{upload}?digest={digest}"), &[], body)
    }

    fn chunk(&self, upload: &str, bytes: &[u8], from: usize, to: usize) -> Served {
        let range = format!("{from}-{}", to - 1);
        self.send("PATCH", upload, &[("content-range", &range)], &bytes[from..to])
    }

    /// The owner reads what was pushed, whole and in part, before any manifest needs it.
    fn assert_readable(&self, bytes: &[u8], case: &str) {
        let url = format!("{}/blobs/{}", self.other, Digest::of(bytes));
        let head = self.send("HEAD", &url, &[], &[]);
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some(bytes.len().to_string())),
            "{case}"
        );
        let got = self.send("GET", &url, &[], &[]);
        assert_eq!((got.status, got.bytes.as_slice()), (200, bytes), "{case}");
    }

    fn push(&self, reference: &str, kind: &str, manifest: &Value) -> Served {
        let url = format!("{}/manifests/{reference}", self.other);
        self.send("PUT", &url, &[("content-type", kind)], manifest.to_string().as_bytes())
    }

    fn blob(&self, bytes: &[u8], kind: &str) -> Value {
        let digest = Digest::of(bytes);
        let put = self.send("POST", &format!("{}/blobs/uploads/?digest={digest}", self.other), &[], bytes);
        let put = if bytes.is_empty() { self.finish(&self.begin(), &digest.to_string(), bytes) } else { put };
        assert_eq!(put.status, 201, "{}", put.text());
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    }
}

fn code(served: &Served) -> String {
    text(&served.json()["errors"][0]["code"])
}

#[test]
fn what_only_reads_passes_whole() {
    let registry = Registry::new();
    let Registry { repo, manifest, .. } = &registry;
    let digest = Digest::of(&manifest.bytes).to_string();
    let base = http::base(&registry.daemon);
    let ping = registry.send("GET", &format!("{base}/v2/"), &[], &[]);
    assert_eq!(ping.status, 200, "ping");
    let none = registry.send("GET", &format!("{}/tags/list", registry.other), &[], &[]);
    assert!(matches!(none.status, 200 | 404), "empty/tag list: {}", none.text());

    for reference in ["v1", digest.as_str()] {
        let url = format!("{repo}/manifests/{reference}");
        let head = http::head(&url);
        let told = (head.status, head.header("content-length"), head.header("docker-content-digest"));
        let length = Some(manifest.bytes.len().to_string());
        assert_eq!(told, (200, length, Some(digest.clone())), "head/manifest-head: {reference}");
        let got = http::get(&url, &[("accept", MANIFEST)]);
        assert_eq!(
            (got.status, got.header("content-type")),
            (200, Some(MANIFEST.to_owned())),
            "pull/manifest"
        );
        assert_eq!(got.bytes, manifest.bytes, "pull/manifest: {reference}");
    }
    let layers = manifest.json()["layers"].as_array().cloned().unwrap_or_default();
    for blob in layers.iter().chain([&manifest.json()["config"]]) {
        let (digest, size) = (text(&blob["digest"]), blob["size"].to_string());
        let url = format!("{repo}/blobs/{digest}");
        let head = http::head(&url);
        assert_eq!((head.status, head.header("content-length")), (200, Some(size)), "head/blob-head");
        assert_eq!(http::get(&url, &[]).digest().to_string(), digest, "pull/blob");
    }

    let list = |query: &str| http::get(&format!("{repo}/tags/list{query}"), &[]).json()["tags"].clone();
    assert_eq!(list(""), json!(["latest", "v1", "v2", "v3"]), "tag-list");
    assert_eq!(list("?last=v1"), json!(["v2", "v3"]), "tag-list, last");
    assert_eq!(list("?n=2&last=latest"), json!(["v1", "v2"]), "tag-list, n and last");

    let referrers = |subject: &str, query: &str| {
        let served = http::get(&format!("{repo}/referrers/{subject}{query}"), &[]);
        assert_eq!(
            (served.status, served.header("content-type")),
            (200, Some(INDEX.to_owned())),
            "{subject}"
        );
        served.json()["manifests"].as_array().cloned().unwrap_or_default()
    };
    let all = referrers(&digest, "");
    assert!(all.len() >= 3, "referrers: {all:?}");
    let kind = text(&all[0]["artifactType"]);
    let query = format!("?artifactType={}", kind.replace('+', "%2B").replace('/', "%2F"));
    assert!(referrers(&digest, &query).iter().all(|it| text(&it["artifactType"]) == kind), "filtered");
    for unknown in [Digest::of(b"nothing").to_string(), format!("sha512:{}", "0".repeat(128))] {
        assert!(referrers(&unknown, "").is_empty(), "empty/referrers: {unknown}");
    }
}

/// A client waits for what is nowhere, so the answer comes soon and is no error of the server.
#[test]
fn what_no_node_has_is_not_found_soon() {
    let registry = Registry::new();
    let repo = &registry.repo;
    let (nowhere, sha512) = (Digest::of(b"nowhere"), format!("sha512:{}", "0".repeat(128)));
    for (url, expected) in [
        (format!("{repo}/manifests/{nowhere}"), "MANIFEST_UNKNOWN"),
        (format!("{repo}/manifests/missing-tag"), "MANIFEST_UNKNOWN"),
        (format!("{repo}/manifests/{sha512}"), "MANIFEST_UNKNOWN"),
        (format!("{repo}/blobs/{nowhere}"), "BLOB_UNKNOWN"),
        (format!("{repo}/blobs/{sha512}"), "BLOB_UNKNOWN"),
        (format!("{repo}-not/manifests/v1"), "MANIFEST_UNKNOWN"),
        (format!("{repo}-not/tags/list"), "NAME_UNKNOWN"),
    ] {
        let served = registry.send("GET", &url, &[], &[]);
        assert_eq!(
            (served.status, code(&served).as_str()),
            (404, expected),
            "missing-manifest, get-missing: {url}"
        );
        assert_eq!(registry.send("HEAD", &url, &[], &[]).status, 404, "{url}");
    }
    for bad in ["manifests/sha256:baddigeststring", "blobs/sha256:baddigeststring", "referrers/sha256:bad"] {
        let served = registry.send("GET", &format!("{repo}/{bad}"), &[], &[]);
        assert_eq!(
            (served.status, code(&served).as_str()),
            (400, "DIGEST_INVALID"),
            "invalid-digest-format: {bad}"
        );
    }
}

#[test]
fn ranges_of_blobs_are_served() {
    let registry = Registry::new();
    let layers = registry.manifest.json()["layers"].as_array().cloned().unwrap_or_default();
    let large = layers.iter().max_by_key(|it| it["size"].as_u64()).expect("a layer");
    let url = format!("{}/blobs/{}", registry.repo, text(&large["digest"]));
    let all = http::get(&url, &[]).bytes;
    let size = all.len();
    for (range, expected) in [
        ("bytes=500-1499".to_owned(), Some(500..1500)),
        ("bytes=500-".to_owned(), Some(500..size)),
        ("bytes=-500".to_owned(), Some(size - 500..size)),
        (format!("bytes={}-{}", size - 48, size + 3000), Some(size - 48..size)),
        ("bytes=500-0".to_owned(), None),
        (format!("bytes={}-{}", size + 1, size + 9), None),
    ] {
        let served = http::get(&url, &[("range", &range)]);
        match expected {
            Some(part) => {
                let told = format!("bytes {}-{}/{size}", part.start, part.end - 1);
                assert_eq!((served.status, served.header("content-range")), (206, Some(told)), "{range}");
                assert_eq!(served.bytes, all[part], "{range}");
            }
            None => assert_eq!(served.status, 416, "{range}"),
        }
    }
}

#[test]
fn blobs_are_pushed_in_every_way() {
    let registry = Registry::new();
    let uploads = format!("{}/blobs/uploads/", registry.other);
    let made = |seed: u8, length: usize| {
        (0..length).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect::<Vec<u8>>()
    };

    let bytes = made(1, 512);
    let only = registry.send("POST", &format!("{uploads}?digest={}", Digest::of(&bytes)), &[], &bytes);
    assert_eq!(only.status, 201, "post only: {}", only.text());
    registry.assert_readable(&bytes, "post only");

    for (case, bytes) in [("post+put", made(2, 512)), ("empty", Vec::new()), ("emptyJSON", b"{}".to_vec())] {
        let put = registry.finish(&registry.begin(), &Digest::of(&bytes).to_string(), &bytes);
        assert_eq!(put.status, 201, "{case}: {}", put.text());
        registry.assert_readable(&bytes, case);
    }

    // Chunks of which the last comes with the PUT, or before it; and one that comes too early, which is refused and sent again.
    for (case, chunks, with_put, is_early) in [
        ("chunked single", 1, false, false),
        ("chunked multi", 3, false, false),
        ("chunked multi and put chunk", 3, true, false),
        ("chunked out-of-order", 3, false, true),
        ("chunked out-of-order and put chunk", 3, true, true),
    ] {
        let bytes = made(case.len() as u8, 3 * 65_536 - 5);
        let step = bytes.len().div_ceil(chunks);
        let bounds: Vec<(usize, usize)> =
            (0..chunks).map(|n| (n * step, ((n + 1) * step).min(bytes.len()))).collect();
        let upload = registry.begin();
        if is_early {
            let (from, to) = bounds[1];
            assert_eq!(registry.chunk(&upload, &bytes, from, to).status, 416, "{case}");
        }
        let (last, first) = bounds.split_last().expect("a chunk");
        let before = if with_put { first } else { &bounds[..] };
        for (from, to) in before.iter().copied() {
            let served = registry.chunk(&upload, &bytes, from, to);
            assert_eq!(
                (served.status, served.header("range")),
                (202, Some(format!("0-{}", to - 1))),
                "{case}"
            );
        }
        let rest = if with_put { &bytes[last.0..last.1] } else { &[][..] };
        let put = registry.finish(&upload, &Digest::of(&bytes).to_string(), rest);
        assert_eq!(put.status, 201, "{case}: {}", put.text());
        registry.assert_readable(&bytes, case);
    }

    let bytes = made(9, 70_000);
    let upload = registry.begin();
    let kind = [("content-type", "application/octet-stream")];
    assert_eq!(registry.send("PATCH", &upload, &kind, &bytes).status, 202, "stream");
    assert_eq!(registry.finish(&upload, &Digest::of(&bytes).to_string(), &[]).status, 201, "stream");
    registry.assert_readable(&bytes, "stream");
}

#[test]
fn blobs_are_mounted_given_up_and_kept() {
    let registry = Registry::new();
    let uploads = format!("{}/blobs/uploads/", registry.other);
    let bytes = [0, 1, 0xf9, 0xfe].repeat(17_500);
    assert_eq!(registry.finish(&registry.begin(), &Digest::of(&bytes).to_string(), &bytes).status, 201);
    let mount = |query: String| registry.send("POST", &format!("{uploads}?{query}"), &[], &[]).status;
    assert_eq!(mount(format!("mount={}&from=me/other", Digest::of(&bytes))), 201, "mount");
    assert_eq!(mount(format!("mount={}", Digest::of(&bytes))), 201, "mount anonymous");
    assert_eq!(mount(format!("mount={}&from=me/other", Digest::of(b"absent"))), 202, "mount missing");

    let upload = registry.begin();
    assert_eq!(registry.send("DELETE", &upload, &[], &[]).status, 204, "post cancel");
    assert_eq!(registry.send("GET", &upload, &[], &[]).status, 404, "post cancel");

    let url = format!("{}/blobs/{}", registry.other, Digest::of(&bytes));
    let deleted = registry.send("DELETE", &url, &[], &[]);
    assert_eq!((deleted.status, code(&deleted).as_str()), (405, "UNSUPPORTED"), "blob-delete");
    let stranger = http::get(&url, &[]);
    assert_eq!(
        (stranger.status, code(&stranger).as_str()),
        (403, "DENIED"),
        "bytes of no model, of no known kind"
    );
}

#[test]
fn blobs_with_wrong_or_unsupported_digests_are_refused() {
    let registry = Registry::new();
    let uploads = format!("{}/blobs/uploads/", registry.other);
    let (bytes, wrong) = (vec![7; 9000], Digest::of(b"else"));
    let refused = |case: &str, served: &Served, expected: &str| {
        assert_eq!((served.status, code(served).as_str()), (400, expected), "{case}: {}", served.text());
    };
    refused(
        "bad digest post only",
        &registry.send("POST", &format!("{uploads}?digest={wrong}"), &[], &bytes),
        "DIGEST_INVALID",
    );
    refused(
        "bad digest post+put",
        &registry.finish(&registry.begin(), &wrong.to_string(), &bytes),
        "DIGEST_INVALID",
    );
    for case in ["bad digest chunked", "bad digest chunked and put chunk", "bad digest stream"] {
        let (upload, cut) = (registry.begin(), if case.ends_with("put chunk") { 4000 } else { bytes.len() });
        assert_eq!(registry.chunk(&upload, &bytes, 0, cut).status, 202, "{case}");
        refused(case, &registry.finish(&upload, &wrong.to_string(), &bytes[cut..]), "DIGEST_INVALID");
    }
    let sha512 = format!("sha512:{}", "a".repeat(128));
    for query in [format!("digest={sha512}"), format!("mount={sha512}"), "digest-algorithm=sha512".to_owned()]
    {
        let served = registry.send("POST", &format!("{uploads}?{query}"), &[], &bytes);
        refused(&format!("sha512 blobs: {query}"), &served, "UNSUPPORTED");
        assert!(served.text().contains("digest algorithm sha512 is unsupported"), "{}", served.text());
    }
    let put = registry.finish(&registry.begin(), &sha512, &bytes);
    refused("sha512 blobs: put", &put, "UNSUPPORTED");
    let manifest = registry.manifest.json();
    refused("sha512: manifest", &registry.push(&sha512, MANIFEST, &manifest), "UNSUPPORTED");
    refused("bad-digest-image", &registry.push(&wrong.to_string(), MANIFEST, &manifest), "DIGEST_INVALID");
    refused(
        "invalid-digest-format/manifest-put",
        &registry.push("sha256:bad", MANIFEST, &manifest),
        "DIGEST_INVALID",
    );
}

fn artifact(blob: &Value) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.note",
        "config": blob, "layers": [blob],
    })
}

/// A registry of models takes models and what refers to them. Everything else is refused by the reason, and nothing is
/// accepted that could not be pulled again.
#[test]
fn manifests_of_other_things_are_refused() {
    let registry = Registry::new();
    let config = registry.blob(b"{\"os\":\"linux\"}", "application/vnd.oci.image.config.v1+json");
    let layer = registry.blob(b"layer", "application/vnd.oci.image.layer.v1.tar+gzip");
    let empty = registry.blob(b"{}", EMPTY);
    let image = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let with = |name: &str, value: Value| {
        let mut image = image.clone();
        image[name] = value;
        image
    };
    let artifact = artifact(&empty);
    let foreign = json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": Digest::of(b"afar"), "size": 4,
        "urls": ["https://store.example/afar"],
    });
    let platform =
        json!({ "mediaType": MANIFEST, "digest": Digest::of(image.to_string().as_bytes()), "size": 9 });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [platform] });
    for (case, kind, manifest) in [
        ("image", MANIFEST, image.clone()),
        ("large-manifest", MANIFEST, with("annotations", json!({ "large": "A".repeat(3 << 20) }))),
        ("artifact", MANIFEST, artifact.clone()),
        (
            "data-field",
            MANIFEST,
            with(
                "layers",
                json!([{ "mediaType": "x/y", "digest": Digest::of(b"d"), "size": 1, "data": "ZA==" }]),
            ),
        ),
        ("non-distributable-layers", MANIFEST, with("layers", json!([foreign]))),
        ("custom-fields", MANIFEST, with("org.example.field", json!("custom"))),
        ("no-layers", MANIFEST, with("layers", json!([]))),
        ("index", INDEX, index.clone()),
        (
            "nested-index",
            INDEX,
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [{ "mediaType": INDEX, "digest": Digest::of(b"i"), "size": 1 }] }),
        ),
        (
            "artifact-index",
            INDEX,
            json!({ "schemaVersion": 2, "mediaType": INDEX, "artifactType": "x/y", "manifests": [] }),
        ),
        (
            "index-with-subject",
            INDEX,
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": platform }),
        ),
    ] {
        let put = registry.push("v1", kind, &manifest);
        assert_eq!((put.status, code(&put).as_str()), (400, "MANIFEST_INVALID"), "{case}: {}", put.text());
    }
    let sparse = registry
        .manifest
        .json()
        .to_string()
        .replace(&text(&registry.manifest.json()["layers"][0]["digest"]), &Digest::of(b"sparse").to_string());
    let sparse: Value = serde_json::from_str(&sparse).expect("JSON");
    assert_eq!(code(&registry.push("v1", MANIFEST, &sparse)), "MANIFEST_BLOB_UNKNOWN", "sparse");
}

/// Whatever refers to a manifest is taken, whether that one is here or not.
#[test]
fn referrers_are_taken_and_listed() {
    let registry = Registry::new();
    let empty = registry.blob(b"{}", EMPTY);
    let artifact = artifact(&empty);
    let subject = json!({ "mediaType": MANIFEST, "digest": Digest::of(&registry.manifest.bytes), "size": 9 });
    let missing = json!({ "mediaType": MANIFEST, "digest": Digest::of(b"missing content"), "size": 123 });
    for (case, subject) in [("artifacts-with-subject", subject), ("missing-subject", missing)] {
        let mut manifest = artifact.clone();
        manifest["subject"] = subject.clone();
        let (bytes, about) = (manifest.to_string(), text(&subject["digest"]));
        let digest = Digest::of(bytes.as_bytes()).to_string();
        let put = registry.push(&digest, MANIFEST, &manifest);
        assert_eq!(
            (put.status, put.header("oci-subject")),
            (201, Some(about.clone())),
            "{case}: {}",
            put.text()
        );
        let got = registry.send("GET", &format!("{}/manifests/{digest}", registry.other), &[], &[]);
        assert_eq!((got.status, got.text()), (200, bytes), "{case}");
        let listed = http::get(&format!("{}/referrers/{about}", registry.other), &[]).json();
        let is_listed =
            listed["manifests"].as_array().into_iter().flatten().any(|it| text(&it["digest"]) == digest);
        assert!(is_listed, "{case}: {listed}");
    }
}

/// A model that another tool packed keeps its digest, with titles or without.
#[test]
fn a_model_pack_keeps_its_bytes_and_one_of_ours_has_titles() {
    let registry = Registry::new();
    let ours = registry.manifest.json();
    for layer in ours["layers"].as_array().into_iter().flatten() {
        let annotations = &layer["annotations"];
        assert_eq!(annotations["org.opencontainers.image.title"], annotations["org.cncf.model.filepath"]);
    }
    let untitled = Manifest::from_bytes(&registry.manifest.bytes).expect("a model").untitled().to_bytes();
    let put = registry.push("v1", MANIFEST, &serde_json::from_slice(&untitled).expect("JSON"));
    assert_eq!(put.status, 201, "{}", put.text());
    // The order of fields is that of the pushed bytes, which serde_json sorts here.
    let pushed: Value = serde_json::from_slice(&untitled).expect("JSON");
    let got = http::get(&format!("{}/manifests/v1", registry.other), &[]);
    assert_eq!(got.text(), pushed.to_string());
}

/// A peer that names another peer is enough to search on, and what all of them lack is not found.
#[test]
fn what_a_peer_of_a_peer_has_is_found_and_what_all_lack_is_not() {
    let [holder, between, asker] = ["A", "K", "B"].map(Home::new);
    let publisher = holder.key("me");
    let files = holder.path().join("model");
    model::generate(&files, 100_000, 72);
    let known = Daemon::start(&between, [""; 0]);
    let daemon = Daemon::start(&asker, ["--bootstrap", &known.address()]);
    let _holder = Daemon::start(&holder, ["--bootstrap", &known.address()]);
    holder.publish(&files, "far:v1", "me");
    let repo = format!("{}/v2/{publisher}/far", http::base(&daemon));
    let got = http::get(&format!("{repo}/manifests/v1"), &[("accept", MANIFEST)]);
    assert_eq!(got.status, 200, "{}", got.text());
    for missing in ["v9", &Digest::of(b"nowhere").to_string()] {
        let served = http::get(&format!("{repo}/manifests/{missing}"), &[]);
        assert_eq!((served.status, code(&served).as_str()), (404, "MANIFEST_UNKNOWN"), "{missing}");
    }
    assert_eq!(http::get(&format!("{repo}/tags/list"), &[]).json()["tags"], json!(["v1"]));
    let unknown = http::get(&format!("{repo}-not/tags/list"), &[]);
    assert_eq!((unknown.status, code(&unknown).as_str()), (404, "NAME_UNKNOWN"));
}
