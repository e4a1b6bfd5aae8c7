//! Tests the OCI gateway: skopeo, oras and a stock registry carry models from one node to another unchanged. Also cases of
//! the OCI conformance suite, and the sequence of requests that Ollama makes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reg_proto::digest::Digest;
use reg_testnet::clients::{self, Debian};
use reg_testnet::http::{self, Served};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, PATIENCE, left_out, text};
use reg_testnet::tree;

const MIB: u64 = 1 << 20;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(super) fn skopeo() -> Option<Debian> {
    if Command::new("apt-get").arg("--version").output().is_err() {
        left_out("skopeo", "it comes out of Debian's packages", "run the tests on Debian");
        return None;
    }
    let client = clients::debian("skopeo", &clients::SKOPEO);
    if clients::is_left_out(&client) { None } else { Some(client.expect("skopeo is unpacked")) }
}

pub(super) fn host(daemon: &Daemon) -> String {
    text(&daemon.ready["http"])
}

/// Copies an image, without certificates, and with a node's token where it is pushed to one.
pub(super) fn copy(skopeo: &Debian, from: &str, to: &str, token: Option<&str>) {
    carry(skopeo, from, to, token, &[]);
}

pub(super) fn carry(skopeo: &Debian, from: &str, to: &str, token: Option<&str>, flags: &[&str]) {
    let mut command = skopeo.command("skopeo");
    command
        .args(["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .args(flags);
    if let Some(token) = token {
        command.args(["--dest-creds", &format!("reg:{token}")]);
    }
    let output = command.args([from, to]).output().expect("skopeo runs");
    assert!(output.status.success(), "{from} → {to}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn skopeo_and_oras_carry_a_model_out_and_in_and_its_digest_stays() {
    let Some(skopeo) = skopeo() else { return };
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 5 * MIB, 21);
    for home in [&a, &c] {
        home.key("me");
    }
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "Boxed:v1", "me");
    let manifest = text(&a.json(["info", &reference])["summary"]["manifest"]);
    let repo = reference.trim_end_matches(":v1").to_lowercase();
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);

    // Out of a node that had nothing, into a folder, and into a third node under a key of its own.
    let folder = format!("oci:{}:v1", b.path().join("layout").display());
    copy(&skopeo, &format!("docker://{}/{repo}:v1", host(&daemon)), &folder, None);
    let third = Daemon::start(&c, ["--publish-key", "me"]);
    let token = http::token(&c);
    copy(&skopeo, &folder, &format!("docker://{}/me/again:v2", host(&third)), Some(&token));
    let publisher = text(&c.json(["key", "show", "me"])["publisher"]);
    let info = c.json(["info", &format!("{publisher}/again:v2")]);
    assert_eq!(text(&info["summary"]["manifest"]), manifest);
    let out = c.path().join("out");
    c.run(["pull", &format!("{publisher}/again:v2"), &out.to_string_lossy(), "--no-mdns"]).ok();
    tree::assert_equal(&model, &out);

    // oras: out of the node, file by file, and a model of its own into the other.
    let oras = clients::python("oras", &clients::ORAS);
    if clients::is_left_out(&oras) {
        return;
    }
    let oras = oras.expect("oras is installed");
    let script = ORAS
        .replace("@FROM@", &format!("{}/{repo}:v1", host(&daemon)))
        .replace("@TO@", &format!("{}/me/oras:v1", host(&third)));
    let script = script
        .replace("@TOKEN@", &token)
        .replace("@DIR@", &c.path().join("oras").to_string_lossy())
        .replace("@PULLED@", &c.path().join("pulled").to_string_lossy());
    fs::create_dir_all(c.path().join("oras")).expect("a folder");
    let output = Command::new(oras.program("python")).args(["-c", &script]).output().expect("oras runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let pushed = c.json(["info", &format!("{publisher}/oras:v1")]);
    assert_eq!(text(&pushed["summary"]["manifest"]), manifest, "pulled by oras, pushed by oras: {said}");
    // `oras pull` writes each layer under its title.
    tree::assert_equal(&model, &c.path().join("pulled"));
}

/// Pulls every blob and the manifest with oras, and pushes them to another repository.
const ORAS: &str = r#"
import hashlib, json, os
import oras.client, oras.provider
out = oras.client.OrasClient(insecure=True, tls_verify=False)
source = out.get_container("@FROM@")
manifest = out.get_manifest(source)
raw = out.do_request(f"{out.prefix}://{source.manifest_url()}", "GET", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}).content
print(out.get_tags("@FROM@"))
into = oras.client.OrasClient(insecure=True, tls_verify=False)
into.auth.set_basic_auth("reg", "@TOKEN@")
target = into.get_container("@TO@")
for blob in manifest["layers"] + [manifest["config"]]:
    path = os.path.join("@DIR@", blob["digest"].split(":")[1])
    with open(path, "wb") as file:
        file.write(out.get_blob(source, blob["digest"]).content)
    assert "sha256:" + hashlib.sha256(open(path, "rb").read()).hexdigest() == blob["digest"]
    into._check_200_response(into.upload_blob(path, target, blob))
put = into.do_request(f"{into.prefix}://{target.manifest_url()}", "PUT", headers={"Content-Type": manifest["mediaType"]}, data=raw)
assert put.status_code == 201, put.text
out.pull(target="@FROM@", outdir="@PULLED@")
"#;

/// A stock registry on loopback; killed when it is dropped.
struct StockRegistry(Child, String);

impl Drop for StockRegistry {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn stock_registry(dir: &Path) -> Option<StockRegistry> {
    let registry = clients::debian("docker-registry", &clients::DOCKER_REGISTRY);
    if clients::is_left_out(&registry) {
        return None;
    }
    let registry = registry.expect("the registry is unpacked");
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let address = format!("127.0.0.1:{port}");
    let data = dir.join("registry");
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n",
        data.display()
    );
    fs::write(dir.join("registry.yml"), config).expect("written");
    let mut command = registry.command("docker-registry");
    command.arg("serve").arg(dir.join("registry.yml")).stdout(Stdio::null()).stderr(Stdio::null());
    let running = StockRegistry(command.spawn().expect("the registry starts"), address.clone());
    let start = Instant::now();
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(start.elapsed() < PATIENCE, "the registry does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(running)
}

#[test]
fn through_a_stock_registry_into_a_node_that_knew_nothing() {
    let Some(skopeo) = skopeo() else { return };
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let Some(registry) = stock_registry(a.path()) else { return };
    let model = a.path().join("model");
    model::generate(&model, 3 * MIB, 22);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "carried:v1", "me");
    let repo = reference.trim_end_matches(":v1");
    let manifest = text(&a.json(["info", &reference])["summary"]["manifest"]);
    let stock = &registry.1;
    copy(
        &skopeo,
        &format!("docker://{}/{repo}:v1", host(&server)),
        &format!("docker://{stock}/carried:v1"),
        None,
    );
    let listed = http::get(&format!("{}/v2/{repo}/referrers/{manifest}", http::base(&server)), &[]).json();
    let referrers: Vec<String> =
        listed["manifests"].as_array().into_iter().flatten().map(|it| text(&it["digest"])).collect();
    assert_eq!(referrers.len(), 4, "provenance, bundle, keys and card: {listed}");
    // The registry has no referrers API: there they are a list under a tag, which is carried with all that it names.
    let none = http::get(&format!("http://{stock}/v2/carried/referrers/{manifest}"), &[]);
    assert_eq!(none.status, 404, "{}", none.text());
    let fallback = format!("sha256-{}", manifest.trim_start_matches("sha256:"));
    carry(
        &skopeo,
        &format!("docker://{}/{repo}:{fallback}", host(&server)),
        &format!("docker://{stock}/carried:{fallback}"),
        None,
        &["--all"],
    );
    let index = http::get(
        &format!("http://{stock}/v2/carried/manifests/{fallback}"),
        &[("accept", "application/vnd.oci.image.index.v1+json")],
    );
    let named = index.json()["manifests"].as_array().cloned().unwrap_or_default();
    let named: Vec<String> = named.iter().map(|it| text(&it["digest"])).collect();
    assert_eq!(named, referrers, "{}", index.text());

    // Once from the referrers, copied one by one, with no peer to ask.
    let alone = Daemon::start(&b, [""; 0]);
    let token = http::token(&b);
    copy(
        &skopeo,
        &format!("docker://{stock}/carried:v1"),
        &format!("docker://{}/{repo}:v1", host(&alone)),
        Some(&token),
    );
    assert_eq!(b.json(["ls"]).as_array().map(Vec::len), Some(0), "nothing proves it yet");
    for referrer in &named {
        copy(
            &skopeo,
            &format!("docker://{stock}/carried@{referrer}"),
            &format!("docker://{}/{repo}@{referrer}", host(&alone)),
            Some(&token),
        );
    }
    let by_digest = format!("{repo}@{manifest}");
    let out = b.path().join("out");
    b.run(["pull", &by_digest, &out.to_string_lossy()]).ok();
    tree::assert_equal(&model, &out);
    b.run(["verify", &by_digest]).ok();

    // Once with the provenance from a peer.
    let connected = Daemon::start(&c, ["--bootstrap", &server.address()]);
    let token = http::token(&c);
    copy(
        &skopeo,
        &format!("docker://{stock}/carried:v1"),
        &format!("docker://{}/{repo}:v1", host(&connected)),
        Some(&token),
    );
    let known = c.json(["info", &by_digest]);
    assert_eq!(text(&known["summary"]["manifest"]), manifest);
    assert_eq!(known["summary"]["complete"], true);
    let fetched = c.json(["status"])["bytes_fetched"].as_u64();
    assert_eq!(fetched, Some(0), "the bytes came from the registry");
}

/// Sends a request as the owner.
fn owned(token: &str, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Served {
    let bearer = format!("Bearer {token}");
    let all: Vec<(&str, &str)> =
        headers.iter().copied().chain([("authorization", bearer.as_str())]).collect();
    http::send(method, url, &all, body)
}

fn code(served: &Served) -> String {
    text(&served.json()["errors"][0]["code"])
}

#[test]
fn blobs_are_pushed_as_the_specification_says() {
    let a = Home::new("A");
    a.key("me");
    let daemon = Daemon::start(&a, ["--publish-key", "me"]);
    let token = http::token(&a);
    let repo = format!("{}/v2/me/pushed", http::base(&daemon));
    let uploads = format!("{repo}/blobs/uploads/");
    let location = |served: &Served| served.header("location").expect("a location");

    let ping = http::get(&format!("{}/v2/", http::base(&daemon)), &[]);
    assert_eq!(ping.status, 401);
    assert!(ping.header("www-authenticate").is_some_and(|it| it.starts_with("Bearer realm=")));
    assert_eq!(owned(&token, "GET", &format!("{}/v2/", http::base(&daemon)), &[], &[]).status, 200);
    assert_eq!(http::send("POST", &uploads, &[], &[]).status, 401, "pushing needs the token");

    // At once.
    let bytes = b"at once".as_slice();
    let digest = Digest::of(bytes);
    let put = owned(&token, "POST", &format!("{uploads}?digest={digest}"), &[], bytes);
    assert_eq!(put.status, 201, "{}", put.text());
    // POST, then PUT.
    let bytes = b"post then put".as_slice();
    let digest = Digest::of(bytes);
    let begun = owned(&token, "POST", &uploads, &[], &[]);
    assert_eq!(begun.status, 202);
    assert!(location(&begun).starts_with("http://"), "Ollama needs an absolute address");
    let put = owned(&token, "PUT", &format!("{}?digest={digest}", location(&begun)), &[], bytes);
    assert_eq!((put.status, put.header("docker-content-digest")), (201, Some(digest.to_string())));
    // In chunks, one of them out of order.
    let bytes: Vec<u8> = (0..3_000_000u32).map(|it| it as u8).collect();
    let digest = Digest::of(&bytes);
    let begun = location(&owned(&token, "POST", &uploads, &[], &[]));
    let first = owned(&token, "PATCH", &begun, &[("content-range", "0-999999")], &bytes[..1_000_000]);
    assert_eq!((first.status, first.header("range")), (202, Some("0-999999".to_owned())));
    let wrong = owned(&token, "PATCH", &begun, &[("content-range", "2000000-2999999")], &bytes[2_000_000..]);
    assert_eq!((wrong.status, code(&wrong)), (416, "BLOB_UPLOAD_INVALID".to_owned()));
    let status = owned(&token, "GET", &begun, &[], &[]);
    assert_eq!((status.status, status.header("range")), (204, Some("0-999999".to_owned())));
    let second =
        owned(&token, "PATCH", &begun, &[("content-range", "1000000-1999999")], &bytes[1_000_000..2_000_000]);
    assert_eq!(second.status, 202);
    let put = owned(
        &token,
        "PUT",
        &format!("{begun}?digest={digest}"),
        &[("content-range", "2000000-2999999")],
        &bytes[2_000_000..],
    );
    assert_eq!(put.status, 201, "{}", put.text());
    let head = http::head(&format!("{repo}/blobs/{digest}"));
    assert_eq!((head.status, head.header("content-length")), (200, Some("3000000".to_owned())));
    // What is not what it was said to be.
    let begun = location(&owned(&token, "POST", &uploads, &[], &[]));
    let put = owned(&token, "PUT", &format!("{begun}?digest={digest}"), &[], b"else");
    assert_eq!((put.status, code(&put)), (400, "DIGEST_INVALID".to_owned()));
    // Thrown away; not known; mounted; a hash that is not used here.
    let begun = location(&owned(&token, "POST", &uploads, &[], &[]));
    assert_eq!(owned(&token, "DELETE", &begun, &[], &[]).status, 204);
    assert_eq!(code(&owned(&token, "PATCH", &begun, &[], b"x")), "BLOB_UPLOAD_UNKNOWN");
    let mount = owned(&token, "POST", &format!("{uploads}?mount={digest}&from=me/else"), &[], &[]);
    assert_eq!(mount.status, 201);
    let absent = Digest::of(b"absent");
    assert_eq!(
        owned(&token, "POST", &format!("{uploads}?mount={absent}&from=me/else"), &[], &[]).status,
        202
    );
    assert_eq!(code(&http::get(&format!("{repo}/blobs/{absent}"), &[])), "BLOB_UNKNOWN");
    assert_eq!(code(&http::get(&format!("{repo}/blobs/sha256:..%2f..%2fetc"), &[])), "DIGEST_INVALID");
    let gone = owned(&token, "DELETE", &format!("{repo}/blobs/{digest}"), &[], &[]);
    assert_eq!((gone.status, code(&gone)), (405, "UNSUPPORTED".to_owned()));
}

#[test]
fn manifests_tags_and_referrers_are_answered_as_the_specification_says() {
    let a = Home::new("A");
    let publisher = a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 2 * MIB, 23);
    let daemon = Daemon::start(&a, ["--publish-key", "me"]);
    let token = http::token(&a);
    for tag in ["v1", "v2", "v3", "latest"] {
        a.publish(&model, &format!("tagged:{tag}"), "me");
    }
    let repo = format!("{}/v2/{publisher}/tagged", http::base(&daemon));
    let manifest = http::get(&format!("{repo}/manifests/v1"), &[("accept", MANIFEST)]);
    assert_eq!(manifest.header("content-type"), Some(MANIFEST.to_owned()));
    let digest = text(&manifest.header("docker-content-digest").map(Into::into).expect("a digest"));
    assert_eq!(Digest::of(&manifest.bytes).to_string(), digest);
    let head = http::head(&format!("{repo}/manifests/{digest}"));
    assert_eq!((head.status, head.header("content-length")), (200, Some(manifest.bytes.len().to_string())));
    assert_eq!(http::get(&format!("{repo}/manifests/{digest}"), &[]).bytes, manifest.bytes);
    for missing in ["v9", &Digest::of(b"x").to_string()] {
        let served = http::get(&format!("{repo}/manifests/{missing}"), &[]);
        assert_eq!(served.status, 404, "{missing}: {}", served.text());
    }
    let page = http::get(&format!("{repo}/tags/list?n=2"), &[]);
    assert_eq!(page.json()["tags"], serde_json::json!(["latest", "v1"]));
    let next = page.header("link").expect("a link");
    let next = next.split(['<', '>']).nth(1).expect("an address").to_owned();
    assert_eq!(http::get(&next, &[]).json()["tags"], serde_json::json!(["v2", "v3"]));
    assert_eq!(http::get(&format!("{repo}/tags/list?n=0"), &[]).json()["tags"], serde_json::json!([]));

    let referrers = http::get(&format!("{repo}/referrers/{digest}"), &[]);
    assert_eq!(referrers.header("content-type"), Some("application/vnd.oci.image.index.v1+json".to_owned()));
    // The provenance, the bundle, the keys and the card.
    assert_eq!(referrers.json()["manifests"].as_array().map(Vec::len), Some(4));
    let only =
        http::get(&format!("{repo}/referrers/{digest}?artifactType=application/vnd.in-toto%2Bjson"), &[]);
    assert_eq!(only.header("oci-filters-applied"), Some("artifactType".to_owned()));
    let provenance = &only.json()["manifests"][0];
    let bytes = http::get(&format!("{repo}/manifests/{}", text(&provenance["digest"])), &[]).bytes;
    assert_eq!(Some(bytes.len() as u64), provenance["size"].as_u64());
    let document = serde_json::from_slice::<serde_json::Value>(&bytes).expect("a manifest");
    let envelope = http::get(&format!("{repo}/blobs/{}", text(&document["layers"][0]["digest"])), &[]).json();
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    let nothing = http::get(&format!("{repo}/referrers/{}", Digest::of(b"unknown")), &[]);
    assert_eq!((nothing.status, nothing.json()["manifests"].as_array().map(Vec::len)), (200, Some(0)));

    // A referrer that is pushed names its subject in the answer, and is listed.
    let empty = Digest::of(b"{}");
    let pushed = owned(&token, "POST", &format!("{repo}/blobs/uploads/?digest={empty}"), &[], b"{}");
    assert_eq!(pushed.status, 201, "{}", pushed.text());
    let subject =
        format!(r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{}}}"#, manifest.bytes.len());
    let empty_blob =
        format!(r#"{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{empty}","size":2}}"#);
    let referrer = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","artifactType":"application/vnd.example.note","config":{empty_blob},"layers":[{empty_blob}],"subject":{subject}}}"#
    );
    let named = Digest::of(referrer.as_bytes());
    let put = owned(
        &token,
        "PUT",
        &format!("{repo}/manifests/{named}"),
        &[("content-type", MANIFEST)],
        referrer.as_bytes(),
    );
    assert_eq!((put.status, put.header("oci-subject")), (201, Some(digest.clone())), "{}", put.text());
    let listed =
        http::get(&format!("{repo}/referrers/{digest}?artifactType=application/vnd.example.note"), &[]);
    assert_eq!(listed.json()["manifests"][0]["digest"], serde_json::json!(named), "{}", listed.text());

    // Ranges of blobs, and what is not there.
    let weights = model::weights_digest(&model);
    let part = http::get(&format!("{repo}/blobs/{weights}"), &[("range", "bytes=10-19")]);
    let bytes = fs::read(model.join("model.safetensors")).expect("read");
    assert_eq!((part.status, part.bytes.as_slice()), (206, &bytes[10..20]));
    assert_eq!(part.header("content-range"), Some(format!("bytes 10-19/{}", bytes.len())));
    let beyond =
        http::get(&format!("{repo}/blobs/{weights}"), &[("range", &format!("bytes={}-", bytes.len()))]);
    assert_eq!(beyond.status, 416);
    let head = http::head(&format!("{repo}/manifests/v99"));
    assert!(head.status == 404 && head.bytes.is_empty(), "{}", head.status);
    let odd = format!("{}/v2/UPPER..case/tagged/tags/list", http::base(&daemon));
    assert_eq!(code(&http::get(&odd, &[])), "NAME_INVALID");
    let listed = http::get(&format!("{repo}/tags/list?n=2&last=v2"), &[]).json();
    assert_eq!(listed["tags"], serde_json::json!(["v3"]));
    let catalog = http::get(&format!("{}/v2/_catalog", http::base(&daemon)), &[]).json();
    assert_eq!(catalog["repositories"], serde_json::json!([format!("{publisher}/tagged")]));

    // A manifest that is no model, one with another digest, one with blobs that were not sent.
    let image = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":2}},"layers":[]}}"#
    );
    let put = |reference: &str, body: &[u8]| {
        owned(&token, "PUT", &format!("{repo}/manifests/{reference}"), &[("content-type", MANIFEST)], body)
    };
    assert_eq!(code(&put("v4", image.as_bytes())), "MANIFEST_INVALID");
    assert_eq!(code(&put(&Digest::of(b"x").to_string(), &manifest.bytes)), "DIGEST_INVALID");
    assert_eq!(code(&put("v4", b"{}")), "MANIFEST_INVALID");
    let missing = String::from_utf8_lossy(&manifest.bytes)
        .replace(&model::weights_digest(&model).to_string(), &Digest::of(b"y").to_string());
    assert_eq!(code(&put("v4", missing.as_bytes())), "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(put("v4", &manifest.bytes).status, 201);
    assert_eq!(http::send("PUT", &format!("{repo}/manifests/v5"), &[], &manifest.bytes).status, 401);
    assert_eq!(owned(&token, "DELETE", &format!("{repo}/manifests/v4"), &[], &[]).status, 202);
    // Of the answer only the tags count: a publisher's id may hold any two characters.
    assert_eq!(
        http::get(&format!("{repo}/tags/list"), &[]).json()["tags"],
        serde_json::json!(["latest", "v1", "v2", "v3"])
    );
}

/// Rules that the user has set hold for what clients are served as for what is pulled.
#[test]
fn a_model_that_a_rule_refuses_is_not_served() {
    let a = Home::new("A");
    let publisher = a.key("me");
    let model = a.path().join("model");
    model::generate(&model, MIB / 2, 24);
    let daemon = Daemon::start(&a, [""; 0]);
    a.publish(&model, "ruled", "me");
    let url = format!("{}/v2/{publisher}/ruled/manifests/latest", http::base(&daemon));
    assert_eq!(http::get(&url, &[]).status, 200);
    a.run(["trust", "require", "*/ruled", "--attested", "review"]).ok();
    let refused = http::get(&url, &[]);
    assert_eq!((refused.status, code(&refused)), (403, "DENIED".to_owned()), "{}", refused.text());
    assert!(refused.text().contains("review"), "{}", refused.text());
    // The owner may read what was pushed, and no blob of a model that is refused, under whatever name.
    let (token, weights) = (http::token(&a), model::weights_digest(&model));
    for name in ["ruled", "another"] {
        let url = format!("{}/v2/{publisher}/{name}/blobs/{weights}", http::base(&daemon));
        let served = owned(&token, "GET", &url, &[], &[]);
        assert!(matches!(served.status, 403 | 404), "{name}: {}", served.status);
    }
    a.run(["trust", "waive", "*/ruled"]).ok();
    assert_eq!(http::get(&url, &[]).status, 200);
}

#[test]
fn ollama_finds_what_it_asks_for() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let model = a.path().join("model");
    fs::create_dir_all(&model).expect("a folder");
    let weights = model::gguf(&model.join("tiny.Q4_K_M.gguf"), 20 * MIB);
    model::gguf(&model.join("tiny.F16.gguf"), MIB);
    let server = Daemon::start(&a, [""; 0]);
    a.publish(&model, "tiny", "me");
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let repo = format!("{}/v2/{publisher}/tiny", http::base(&daemon));
    let accept = [("accept", "application/vnd.docker.distribution.manifest.v2+json")];
    for reference in ["latest", "Q4_K_M", "q4_k_m"] {
        let manifest = http::get(&format!("{repo}/manifests/{reference}"), &accept);
        assert_eq!(manifest.header("content-type").as_deref(), Some(accept[0].1));
        let manifest = manifest.json();
        let layer = &manifest["layers"][0];
        assert_eq!(layer["mediaType"], "application/vnd.ollama.image.model");
        assert_eq!(text(&layer["digest"]), weights.to_string());
    }
    let f16 = http::get(&format!("{repo}/manifests/F16"), &accept).json();
    assert_ne!(text(&f16["layers"][0]["digest"]), weights.to_string());
    assert_eq!(http::get(&format!("{repo}/manifests/Q8_0"), &accept).status, 404);

    // HEAD for the size, GET without reading the body for the address, then ranges side by side.
    let manifest = http::get(&format!("{repo}/manifests/latest"), &accept).json();
    let url = format!("{repo}/blobs/{weights}");
    let size: u64 = http::head(&url).header("content-length").and_then(|it| it.parse().ok()).expect("a size");
    assert_eq!(Some(size), manifest["layers"][0]["size"].as_u64());
    let direct = http::get(&url, &[]);
    assert_eq!(direct.status, 200);
    let location = direct.header("location").expect("Ollama needs a location even here");
    let location = format!("{}{location}", http::base(&daemon));
    let part = size.div_ceil(16);
    let parts: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let begun: Vec<_> = (0..16)
            .map(|n| {
                let range = format!("bytes={}-{}", n * part, (n * part + part).min(size) - 1);
                let location = &location;
                scope.spawn(move || {
                    let served = http::get(location, &[("range", &range)]);
                    assert_eq!(served.status, 206, "{range}");
                    served.bytes
                })
            })
            .collect();
        begun.into_iter().map(|it| it.join().expect("a part")).collect()
    });
    assert_eq!(Digest::of(&parts.concat()), weights);
    let config = http::get(&format!("{repo}/blobs/{}", text(&manifest["config"]["digest"])), &[]);
    assert_eq!(config.json()["file_type"], "Q4_K_M");
    assert_eq!(Digest::of(&config.bytes).to_string(), text(&manifest["config"]["digest"]));
}
