//! Tests imports from a Hugging Face endpoint and from its clients' cache: each file is proven by the name it has there, and
//! pulls fill that cache without a second copy.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use reg_testnet::clients;
use reg_testnet::endpoint::{Endpoint, Manner};
use reg_testnet::http;
use reg_testnet::model::{self, MINILM};
use reg_testnet::process::{Daemon, Home, Ran, text};
use reg_testnet::tree;
use serde_json::json;

const MIB: u64 = 1 << 20;
const WEIGHTS: &str = "model.safetensors";

/// Runs an import from an endpoint, with no peer to ask.
fn import(home: &Home, endpoint: &str, token: Option<&str>, args: &[&str]) -> Ran {
    let mut command = home.command(["import"]);
    command.args(args).args(["--key", "me", "--offline"]).env("HF_ENDPOINT", endpoint).env_remove("HF_TOKEN");
    command.envs(token.map(|token| ("HF_TOKEN", token)));
    home.ran(&mut command)
}

fn inode(path: &Path) -> (u64, u64) {
    let metadata = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (metadata.dev(), metadata.ino())
}

/// The file of a blob in a home's store.
fn stored(home: &Home, hex: &str) -> PathBuf {
    home.path().join("store/blobs/sha256").join(&hex[..2]).join(hex)
}

#[test]
fn a_repository_is_imported_from_another_nodes_gateway_and_its_origin_travels() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 5 * MIB, 31);
    for home in [&a, &b] {
        home.key("me");
    }
    let gateway = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "Original:latest", "me");
    let manifest = text(&a.json(["info", &reference])["summary"]["manifest"]);
    let repository = reference.trim_end_matches(":latest");
    let base = http::base(&gateway);

    let imported = import(&b, &base, None, &[&format!("hf:{repository}"), "copy:v1", "--json"]).ok().json();
    assert_eq!(text(&imported["manifest"]), manifest, "the same files give the same manifest");
    assert_eq!(text(&imported["commit"]), manifest.trim_start_matches("sha256:")[..40]);
    let whole = imported["bytes"].as_u64().expect("a number");
    assert_eq!(imported["bytes_fetched"].as_u64(), Some(whole));
    let copy = text(&imported["reference"]);
    let mirror = b.json(["info", &copy])["mirror"].clone();
    assert_eq!(text(&mirror["endpoint"]), base);
    assert_eq!(text(&mirror["repository"]), repository);
    assert_eq!(mirror["commit"], imported["commit"]);

    // With a daemon, what is in the store is not fetched again; and pullers are told the origin.
    let daemon = Daemon::start(&b, [""; 0]);
    let mut again = b.command(["import", &format!("hf:{repository}@main"), "--key", "me", "--json"]);
    let again = b.ran(again.env("HF_ENDPOINT", &base).env_remove("HF_TOKEN")).ok().json();
    assert_eq!(again["bytes_fetched"].as_u64(), Some(0));
    assert_eq!(text(&again["model"]), "Original", "the repository's own name");
    let other = Daemon::start(&c, ["--bootstrap", &daemon.address()]);
    c.run(["pull", &copy, "--cache-only"]).ok();
    let shown = c.run(["info", &copy, "--full"]).ok().stdout();
    assert!(shown.contains(&format!("attested origin  {base}/{repository} at ")), "{shown}");
    c.run(["verify", &copy]).ok();
    drop(other);
}

#[test]
fn an_import_that_is_killed_goes_on_without_fetching_again_what_has_come() {
    let a = Home::new("A");
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 24 * MIB, 32);
    let stall = 16 * MIB as usize;
    let endpoint = Endpoint::start("org/name", &model, Manner { stall_at: Some(stall), ..Manner::default() });
    let hex = model::weights_digest(&model).hex();
    let mut command = a.command(["import", "hf:org/name", "--key", "me", "--offline", "-q"]);
    let mut child = command.env("HF_ENDPOINT", endpoint.url()).spawn().expect("reg runs");
    let begun = a.path().join("store/imports").join(&hex);
    let start = Instant::now();
    while fs::metadata(&begun).map_or(0, |it| it.len()) < stall as u64 - MIB {
        assert!(start.elapsed() < Duration::from_secs(120), "nothing comes");
        std::thread::sleep(Duration::from_millis(10));
    }
    // The signal that no process can catch.
    child.kill().expect("killed");
    child.wait().expect("ended");
    let kept = fs::metadata(&begun).expect("it stays").len();
    assert!(!stored(&a, &hex).exists(), "a part has no blob's name");
    endpoint.take_asked();
    endpoint.behave(Manner::default());

    let imported = import(&a, endpoint.url(), None, &["hf:org/name", "--json"]).ok().json();
    let asked = endpoint.take_asked();
    let files: Vec<_> = asked.iter().filter(|it| it.path.contains("/resolve/")).collect();
    assert_eq!(files.len(), 1, "the small ones were here: {files:?}");
    assert_eq!(files[0].range.as_deref(), Some(format!("bytes={kept}-").as_str()));
    let size = fs::metadata(model.join(WEIGHTS)).expect("a file").len();
    assert_eq!(imported["bytes_fetched"].as_u64(), Some(size - kept));
    assert!(stored(&a, &hex).exists() && !begun.exists());
    let out = a.path().join("out");
    a.run(["pull", &text(&imported["reference"]), &out.to_string_lossy(), "--offline"]).ok();
    tree::assert_equal(&model, &out);
}

#[test]
fn an_endpoint_that_breaks_off_is_gone_on_with_and_pages_are_followed() {
    let a = Home::new("A");
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 10 * MIB, 33);
    let manner =
        Manner { break_after: Some(4 * MIB as usize), page: Some(1), redirects: true, ..Manner::default() };
    let endpoint = Endpoint::start("org/name", &model, manner);
    let imported = import(&a, endpoint.url(), None, &["hf:org/name", "--json"]).ok().json();
    assert_eq!(imported["files"].as_u64(), Some(3));
    assert_eq!(endpoint.sent(WEIGHTS), fs::metadata(model.join(WEIGHTS)).expect("a file").len());
}

#[test]
fn an_endpoint_that_lies_is_refused_and_nothing_of_it_stays() {
    let a = Home::new("A");
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 3 * MIB, 34);
    let right = fs::read(model.join(WEIGHTS)).expect("read");
    let mut wrong = right.clone();
    wrong[2_000_000] ^= 1;
    let manner = |path: &str, bytes: &[u8]| Manner {
        wrong: [(path.to_owned(), bytes.to_vec())].into(),
        ..Manner::default()
    };
    let endpoint = Endpoint::start("org/name", &model, manner("config.json", b"{\"model_type\":\"other\"}"));
    let refused = |code, what: &str| import(&a, endpoint.url(), None, &["hf:org/name"]).failed(code, what);
    refused(4, "config.json");
    endpoint.behave(manner(WEIGHTS, &wrong));
    refused(4, WEIGHTS);
    endpoint.behave(manner(WEIGHTS, &[right.as_slice(), b"more"].concat()));
    refused(4, WEIGHTS);
    endpoint.behave(manner(WEIGHTS, &right[..MIB as usize + 17]));
    refused(5, "bytes of");
    let listed = |entry| Manner { listed: Some(entry), ..Manner::default() };
    endpoint
        .behave(listed(json!({ "type": "file", "path": "../../escaped", "oid": "0".repeat(40), "size": 1 })));
    refused(2, "../../escaped");
    endpoint.behave(listed(json!({ "type": "file", "path": "x", "oid": "../../escaped", "size": 1 })));
    refused(4, "neither a SHA-1 nor a SHA-256");
    let hex = model::weights_digest(&model).hex();
    assert!(!stored(&a, &hex).exists());
    assert_eq!(a.json(["ls"]), json!([]));

    endpoint.behave(Manner { token: Some("hf_secret_of_the_user".to_owned()), ..Manner::default() });
    refused(6, "HF_TOKEN");
    import(&a, endpoint.url(), None, &["hf:org/other"]).failed(6, "HF_TOKEN");
    let token = Some("hf_secret_of_the_user");
    import(&a, endpoint.url(), token, &["hf:org/other"]).failed(3, "org/other");
    import(&a, endpoint.url(), token, &["hf:org/name@v9"]).failed(3, "v9");
    import(&a, "http://127.0.0.1:1", None, &["hf:org/name"]).failed(5, "127.0.0.1:1");
    import(&a, endpoint.url(), token, &["hf:org/name"]).ok();
    let holds_token = |bytes: &[u8]| bytes.windows(14).any(|it| it == b"hf_secret_of_t");
    let mut dirs = vec![a.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                dirs.push(entry.path());
            } else if let Ok(bytes) = fs::read(entry.path()) {
                assert!(!holds_token(&bytes), "the token stands in {}", entry.path().display());
            }
        }
    }
}

/// What Hugging Face's own client finds with no network.
const OFFLINE: &str = r#"
import sys
from huggingface_hub import snapshot_download
from transformers import AutoConfig, AutoTokenizer
repo = sys.argv[1]
assert AutoConfig.from_pretrained(repo).model_type == "bert"
assert AutoTokenizer.from_pretrained(repo)("hello world")["input_ids"] == [101, 7592, 2088, 102]
print(snapshot_download(repo))
"#;

#[test]
fn the_clients_cache_is_filled_and_taken_over_without_a_second_copy() {
    let client = clients::python("hf", &clients::HUGGING_FACE);
    if clients::is_left_out(&client) {
        return;
    }
    let python = client.expect("the client is installed");
    let minilm = MINILM.get().expect("the model");
    let [a, b] = ["A", "B"].map(Home::new);
    for home in [&a, &b] {
        home.key("me");
    }
    let daemon = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&minilm, "minilm", "me");
    let manifest = text(&a.json(["info", &reference])["summary"]["manifest"]);
    let repository = reference.trim_end_matches(":latest").to_owned();
    let hex = tree::digest(&minilm.join(WEIGHTS)).hex();
    let blob_of = |home: &Path, repository: &str| {
        home.join("hub").join(format!("models--{}", repository.replace('/', "--"))).join("blobs").join(&hex)
    };
    let mut expected = tree::digests(&minilm);
    expected.remove(".gitattributes");

    // Into the cache: under its own name, and under one that programs have written down.
    let filled = a.path().join("hf");
    for (flag, name) in
        [("--to-hf-cache", repository.as_str()), ("--to-hf-cache=org/all-MiniLM", "org/all-MiniLM")]
    {
        let mut pull = a.command(["pull", &reference, flag, "--json"]);
        let pulled = a.ran(pull.env("HF_HOME", &filled).env_remove("HF_HUB_CACHE")).ok().json();
        let mut offline = Command::new(python.program("python"));
        offline.args(["-c", OFFLINE, name]).env("HF_HOME", &filled).env("HF_HUB_OFFLINE", "1");
        let output = offline.env_remove("HF_ENDPOINT").output().expect("python runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let snapshot = said.lines().last().expect("a snapshot").trim();
        assert_eq!(snapshot, text(&pulled["dest"]));
        assert_eq!(tree::digests(Path::new(snapshot)), expected);
        assert_eq!(inode(&blob_of(&filled, name)), inode(&stored(&a, &hex)), "no second copy");
    }
    let wrong = blob_of(&filled, &repository);
    fs::remove_file(&wrong).expect("removed");
    fs::write(&wrong, b"what a client took for it").expect("written");
    let mut pull = a.command(["pull", &reference, "--to-hf-cache", "-q"]);
    a.ran(pull.env("HF_HOME", &filled)).ok();
    assert_eq!(tree::digest(&wrong).hex(), hex, "what was wrong is mended");

    // Out of a cache that the client itself has filled.
    let own = b.path().join("hf");
    let mut download = Command::new(python.program("hf"));
    download.args(["download", &repository]).env("HF_ENDPOINT", http::base(&daemon)).env("HF_HOME", &own);
    download.env("HF_HUB_DISABLE_XET", "1").env("HF_HUB_DISABLE_TELEMETRY", "1");
    let output = download.output().expect("hf runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let take = |args: &[&str]| {
        let mut import = b.command(["import", "--from", "hf-cache", "--key", "me", "--offline"]);
        b.ran(import.args(args).env("HF_HUB_CACHE", own.join("hub")).env_remove("HF_HOME"))
    };
    let before = inode(&blob_of(&own, &repository));
    let imported = take(&[&repository, "mine:v1", "--json"]).ok().json();
    assert_eq!(text(&imported["manifest"]), manifest);
    assert_eq!(imported["endpoint"], json!(null), "a cache does not tell where it came from");
    assert_eq!(inode(&stored(&b, &hex)), before, "no second copy");
    assert_eq!(inode(&blob_of(&own, &repository)), before, "the client's file is untouched");
    take(&["org/nothing", "x"]).failed(3, "org/nothing");
    let commit = text(&imported["commit"]);
    let plain = own
        .join("hub")
        .join(format!("models--{}/snapshots/{commit}/config.json", repository.replace('/', "--")));
    fs::write(&plain, b"{\"model_type\":\"changed\"}").expect("written through the link");
    take(&[&repository, "mine:v2"]).failed(4, "not what its name says");
}

/// The endpoint is named `localhost`; it leads to a server in a private network that the user has not named.
#[test]
fn an_endpoint_does_not_lead_into_the_users_own_network() {
    let home = Home::new("A");
    home.key("me");
    let model = home.path().join("model");
    model::generate(&model, 4 * MIB, 71);
    let manner = Manner { redirects: true, ..Manner::default() };
    let endpoint = Endpoint::start("org/name", &model, manner);
    let by_name = endpoint.url().replace("127.0.0.1", "localhost");
    let ran = import(&home, &by_name, None, &["hf:org/name"]).failed(6, "the user has not named it");
    assert!(ran.stderr().contains("hint: "), "{}", ran.stderr());
    let asked = endpoint.take_asked();
    assert!(asked.len() < 50, "it is not tried again and again: {asked:?}");
    assert!(asked.len() > 1 && asked.iter().all(|it| !it.path.contains("/cdn/")), "{asked:?}");
    // The host that the user has named may lead to itself.
    import(&home, endpoint.url(), None, &["hf:org/name"]).ok();
    // A daemon asks the endpoint for its clients.
    let other = Home::new("B");
    fs::write(other.path().join("config.toml"), "[gateway]\nupstream = \"hf\"\n").expect("written");
    let daemon = Daemon::start_in(&other, &[], &[("HF_ENDPOINT", &by_name)]);
    endpoint.take_asked();
    let url = format!("{}/org/name/resolve/main/{WEIGHTS}", http::base(&daemon));
    let served = http::send("GET", &url, &[], &[]);
    assert!(served.status >= 400, "{}", served.status);
    let asked = endpoint.take_asked();
    assert!(!asked.is_empty() && asked.iter().all(|it| !it.path.contains("/cdn/")), "{asked:?}");
}

/// A store as Ollama makes one.
struct OllamaStore(PathBuf);

impl OllamaStore {
    fn keep(&self, bytes: &[u8]) -> (String, u64) {
        let digest = reg_proto::digest::Digest::of(bytes);
        let path = self.0.join("blobs").join(format!("sha256-{}", digest.hex()));
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("written");
        (digest.to_string(), bytes.len() as u64)
    }

    /// Adds a model with these layers, each of a kind and its bytes.
    fn add(&self, name: &str, quantisation: &str, layers: &[(&str, &[u8])]) {
        let config = json!({ "model_format": "gguf", "file_type": quantisation }).to_string();
        let (digest, size) = self.keep(config.as_bytes());
        let layer = |(kind, bytes): &(&str, &[u8])| {
            let (digest, size) = self.keep(bytes);
            json!({ "mediaType": format!("application/vnd.ollama.image.{kind}"), "digest": digest, "size": size })
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": { "mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest, "size": size },
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        });
        let path = self.0.join("manifests").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, manifest.to_string()).expect("written");
    }

    fn blob(&self, hex: &str) -> PathBuf {
        self.0.join("blobs").join(format!("sha256-{hex}"))
    }
}

#[test]
fn models_of_ollama_are_adopted_in_place_one_or_all() {
    let home = Home::new("A");
    let id = home.key("me");
    let store = OllamaStore(home.path().join("ollama"));
    let file = home.path().join("tiny.gguf");
    let hex = model::gguf(&file, 3 * MIB).hex();
    let weights = fs::read(&file).expect("read");
    let params = br#"{"stop":["<|im_end|>"]}"#;
    let template = b"{{ .Prompt }}";
    store.add(
        "registry.ollama.ai/library/tiny/1b",
        "Q4_0",
        &[("model", &weights), ("template", template), ("params", params), ("license", b"MIT")],
    );
    store.add("hf.co/org/tiny-GGUF/F16", "F16", &[("model", &weights)]);
    store.add("registry.ollama.ai/library/cloud/latest", "", &[("license", b"MIT")]);
    let take = |args: &[&str]| {
        let mut import = home.command(["import", "--from", "ollama", "--key", "me", "--offline"]);
        home.ran(import.args(args).env("OLLAMA_MODELS", &store.0))
    };
    let planned = take(&["tiny:1b", "--dry-run", "--json"]).ok().json();
    assert_eq!(planned["files"].as_u64(), Some(4), "{planned}");
    let before = inode(&store.blob(&hex));
    let imported = take(&["tiny:1b", "--json"]).ok().json();
    assert_eq!(text(&imported["reference"]), format!("{id}/tiny:1b"));
    assert_eq!(inode(&stored(&home, &hex)), before, "no second copy");
    assert_eq!(inode(&store.blob(&hex)), before, "Ollama's file is untouched");
    let files = home.json(["files", &format!("{id}/tiny:1b")]);
    let paths: Vec<String> = files.as_array().expect("a list").iter().map(|it| text(&it["path"])).collect();
    assert_eq!(paths, ["LICENSE", "params", "template", "tiny-1b-Q4_0.gguf"]);
    // Ollama gets back what it had: without its template a model that chats answers nonsense.
    let daemon = Daemon::start(&home, ["--offline"]);
    let accept = [("accept", "application/vnd.docker.distribution.manifest.v2+json")];
    let repo = format!("{}/v2/{id}/tiny", http::base(&daemon));
    let manifest = http::get(&format!("{repo}/manifests/1b"), &accept).json();
    let layers = manifest["layers"].as_array().expect("layers");
    let kinds: Vec<String> = layers.iter().map(|it| text(&it["mediaType"])).collect();
    let of = |kind: &str| format!("application/vnd.ollama.image.{kind}");
    assert_eq!(kinds, ["model", "template", "params", "license"].map(of));
    let served = http::get(&format!("{repo}/blobs/{}", text(&layers[1]["digest"])), &[]);
    assert_eq!(served.bytes, template);
    daemon.stop();
    take(&["none:1b"]).failed(3, "none:1b");
    take(&["cloud"]).failed(2, "no weights");

    let all = take(&["--all", "--json"]);
    assert_eq!(all.code(), 2, "one of them has no weights: {}", all.stderr());
    let all = all.json();
    let mut found: Vec<String> =
        all["models"].as_array().expect("a list").iter().map(|it| text(&it["reference"])).collect();
    found.sort();
    assert_eq!(found, ["tiny-GGUF:F16", "tiny:1b"].map(|it| format!("{id}/{it}")));
    assert_eq!(all["failed"][0]["source"], json!("cloud:latest"));

    // A blob that is not what its name says is refused, and not kept.
    fs::remove_file(store.blob(&hex)).expect("removed");
    let other = home.path().join("other.gguf");
    model::gguf(&other, 4 * MIB);
    fs::rename(&other, store.blob(&hex)).expect("moved");
    take(&["tiny:1b"]).failed(4, "not what its name says");
}

#[test]
fn a_whole_cache_of_hugging_faces_clients_is_adopted() {
    let home = Home::new("A");
    let id = home.key("me");
    let hub = home.path().join("hub");
    for (seed, name) in [(51, "one--alpha"), (52, "one--beta"), (53, "two--beta")] {
        let root = hub.join(format!("models--{name}"));
        let snapshot = root.join("snapshots").join(format!("{seed}").repeat(20));
        model::generate(&snapshot, 2 * MIB, seed);
        let blob = root.join("blobs").join(model::weights_digest(&snapshot).hex());
        fs::create_dir_all(root.join("blobs")).expect("made");
        fs::rename(snapshot.join(WEIGHTS), &blob).expect("moved");
        let target = Path::new("../../blobs").join(blob.file_name().expect("a name"));
        std::os::unix::fs::symlink(target, snapshot.join(WEIGHTS)).expect("linked");
        fs::create_dir_all(root.join("refs")).expect("made");
        fs::write(root.join("refs/main"), format!("{seed}").repeat(20)).expect("written");
    }
    fs::create_dir_all(hub.join("models--not--there")).expect("made");
    let mut import =
        home.command(["import", "--from", "hf-cache", "--all", "--key", "me", "--offline", "--json"]);
    let ran = home.ran(import.env("HF_HUB_CACHE", &hub).env_remove("HF_HOME")).ok();
    assert!(ran.stderr().contains("not--there is skipped"), "{}", ran.stderr());
    let report = ran.json();
    assert!(text(&report["skipped"][0]).contains("not--there"), "{report}");
    let mut found: Vec<String> =
        report["models"].as_array().expect("a list").iter().map(|it| text(&it["reference"])).collect();
    found.sort();
    assert_eq!(found, ["alpha", "one-beta", "two-beta"].map(|it| format!("{id}/{it}:latest")));
    let digests = tree::digests(&home.path().join("store/blobs"));
    let linked = digests.values().filter(|it| {
        fs::metadata(stored(&home, &it.hex())).is_ok_and(|it| it.nlink() == 2 && it.len() > MIB)
    });
    assert_eq!(linked.count(), 3, "no second copy of the weights");
}

/// A rule names the publisher under which the files are published, so it holds before they are fetched and hashed.
#[test]
fn a_rule_allows_a_kind_of_what_its_publisher_imports_and_plans() {
    let a = Home::new("A");
    let me = a.key("me");
    a.key("other");
    let model = a.path().join("model");
    model::generate(&model, MIB, 36);
    fs::write(model.join("old.bin"), b"cos\nsystem\n(S'true'\ntR.").expect("written");
    let endpoint = Endpoint::start("org/name", &model, Manner::default());
    let hub = a.path().join("hub");
    let root = hub.join("models--org--name");
    let snapshot = root.join("snapshots").join("5".repeat(40));
    fs::create_dir_all(&snapshot).expect("made");
    tree::digests(&model).keys().for_each(|file| drop(fs::copy(model.join(file), snapshot.join(file))));
    fs::create_dir_all(root.join("refs")).expect("made");
    fs::write(root.join("refs/main"), "5".repeat(40)).expect("written");
    let run = |key: &str, args: &[&str]| {
        let mut command = a.command(args.iter().copied().chain(["--key", key, "--json"]));
        command.env("HF_ENDPOINT", endpoint.url()).env_remove("HF_TOKEN");
        a.ran(command.env("HF_HUB_CACHE", &hub).env_remove("HF_HOME"))
    };
    let path = model.to_string_lossy().into_owned();
    let all = [
        &["publish", &path, "m", "--offline", "--dry-run"][..],
        &["import", "hf:org/name", "--offline", "--dry-run"],
        &["import", "hf:org/name", "--offline"],
        &["import", "--from", "hf-cache", "org/name", "adopted", "--offline", "--dry-run"],
        &["import", "--from", "hf-cache", "org/name", "adopted", "--offline"],
    ];
    all.iter().for_each(|args| drop(run("me", args).failed(6, "old.bin is of kind pickle")));
    a.run(["trust", "require", &format!("{me}/*"), "--allow", "pickle"]).ok();
    for args in all {
        run("other", args).failed(6, "old.bin is of kind pickle");
        run("me", args).ok();
    }
}

#[test]
fn what_an_endpoint_lists_is_judged_before_anything_is_fetched() {
    let a = Home::new("A");
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 3 * MIB, 35);
    fs::write(model.join(".env"), b"KEY=1").expect("written");
    let token: String = ('A'..='Z').chain('a'..='h').collect();
    fs::write(model.join("notes.txt"), format!("hf_{token}\n")).expect("written");
    let endpoint = Endpoint::start("org/name", &model, Manner::default());
    let planned = import(&a, endpoint.url(), None, &["hf:org/name", "--dry-run", "--json"]).ok().json();
    assert_eq!(
        planned["files"].as_u64(),
        Some(3),
        "a plan reads the small files, and finds the secret in one: {planned}"
    );
    assert_eq!(planned["left_out"][0]["reason"], json!("secret"));
    let some = ["hf:org/name", "--exclude", "*.md", "--json"];
    let imported = import(&a, endpoint.url(), None, &some).ok().json();
    assert_eq!(imported["files"].as_u64(), Some(2));
    let found: Vec<&serde_json::Value> = imported["left_out"].as_array().expect("a list").iter().collect();
    assert!(found.iter().any(|it| it["path"] == "notes.txt" && it["reason"] == "secret"), "{imported}");
    endpoint.take_asked();
    let entry = json!({ "type": "file", "path": "huge.gguf", "oid": "0".repeat(40), "size": (1_u64 << 40) + 1,
        "lfs": { "oid": "0".repeat(64), "size": (1_u64 << 40) + 1, "pointerSize": 1 } });
    endpoint.behave(Manner { listed: Some(entry), ..Manner::default() });
    import(&a, endpoint.url(), None, &["hf:org/name"]).failed(2, "1 TiB");
    assert!(endpoint.take_asked().iter().all(|it| !it.path.contains("/resolve/")), "nothing is fetched");
    import(&a, endpoint.url(), None, &["hf:org/name", "--exclude", "huge.gguf"]).ok();
}

/// What a client sends to commit one file.
fn commit(daemon: &Daemon, home: &Home, path: &str, content: &str) -> http::Served {
    use data_encoding::BASE64;
    let token = format!("Bearer {}", http::token(home));
    let lines = [
        json!({ "key": "header", "value": { "summary": "x" } }),
        json!({ "key": "file", "value": { "path": path, "content": BASE64.encode(content.as_bytes()), "encoding": "base64" } }),
    ];
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let owned = [("authorization", token.as_str()), ("content-type", "application/x-ndjson")];
    http::send(
        "POST",
        &format!("{}/api/models/me/m/commit/main", http::base(daemon)),
        &owned,
        body.as_bytes(),
    )
}

#[test]
fn an_upload_of_a_secret_is_refused_with_the_reason() {
    let home = Home::new("A");
    home.key("me");
    let daemon = Daemon::start(&home, ["--offline", "--publish-key", "me"]);
    let token: String = ('A'..='Z').chain('a'..='h').collect();
    for (path, content) in [("a/.env", "KEY=1".to_owned()), ("notes.md", format!("token: hf_{token}\n"))] {
        let served = commit(&daemon, &home, path, &content);
        assert_eq!(served.status, 400, "{}", served.text());
        assert!(served.text().contains("looks like a secret"), "{}", served.text());
    }
    assert_eq!(home.json(["ls"]), json!([]));
    assert_eq!(commit(&daemon, &home, "README.md", "hello").status, 200);
}
