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
    let shown = c.run(["info", &copy]).ok().stdout();
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
    let start = Instant::now();
    let ran = import(&home, &by_name, None, &["hf:org/name"]).failed(6, "the user has not named it");
    assert!(ran.stderr().contains("hint: "), "{}", ran.stderr());
    assert!(start.elapsed() < Duration::from_secs(60), "it is not tried again and again");
    let asked = endpoint.take_asked();
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
