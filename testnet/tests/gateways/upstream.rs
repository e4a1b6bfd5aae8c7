//! Tests a node that asks a Hugging Face endpoint for names that no peer has: its answers are marked and cleaned of Xet, and
//! large files are shared by their digest alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reg_proto::digest::Digest;
use reg_proto::states::StateHasher;
use reg_testnet::clients;
use reg_testnet::endpoint::{Endpoint, Manner};
use reg_testnet::evil::{Liar, Script};
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, PATIENCE, text};
use reg_testnet::tree;
use serde_json::json;

const MIB: u64 = 1 << 20;
const WEIGHTS: &str = "model.safetensors";

/// Starts a daemon with `endpoint` as its upstream.
fn daemon(home: &Home, endpoint: &str, token: Option<&str>, flags: &[&str]) -> Daemon {
    let config = home.path().join("config.toml");
    fs::write(config, "[gateway]\nupstream = \"hf\"\n").expect("written");
    let mut variables = vec![("HF_ENDPOINT", endpoint)];
    variables.extend(token.map(|token| ("HF_TOKEN", token)));
    Daemon::start_in(home, flags, &variables)
}

fn url(daemon: &Daemon, file: &str) -> String {
    format!("{}/org/name/resolve/main/{file}", http::base(daemon))
}

fn stored(home: &Home, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    home.path().join("store/blobs/sha256").join(&hex[..2]).join(hex)
}

fn size(path: &std::path::Path) -> u64 {
    fs::metadata(path).expect("a file").len()
}

fn wait_for_peers(home: &Home, count: u64) {
    let start = Instant::now();
    while home.json(["status"])["peers"].as_u64() != Some(count) {
        assert!(start.elapsed() < PATIENCE, "the peers are not met");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn another_nodes_gateway_is_an_upstream_for_a_real_client_and_the_result_is_marked() {
    let client = clients::python("hf", &clients::HUGGING_FACE);
    if clients::is_left_out(&client) {
        return;
    }
    let python = client.expect("the client is installed");
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("org");
    let model = a.path().join("model");
    model::generate(&model, 3 * MIB, 41);
    let above = Daemon::start(&a, ["--publish-key", "org"]);
    a.publish(&model, "name", "org");
    let node = daemon(&b, &http::base(&above), None, &[]);
    let out = b.path().join("out");
    let mut download = Command::new(python.program("hf"));
    download.args(["download", "org/name", "--local-dir"]).arg(&out).env("HF_ENDPOINT", http::base(&node));
    download.env("HF_HOME", b.path().join("hf")).env_remove("HF_TOKEN").env("HF_HUB_DISABLE_TELEMETRY", "1");
    let output = download.output().expect("hf runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("no publisher that this node knows has signed it"), "the client shows it: {said}");
    let mut found = tree::digests(&out);
    found.retain(|name, _| !name.starts_with(".cache/"));
    assert_eq!(found, tree::digests(&model));
    let info = http::get(&format!("{}/api/models/org/name", http::base(&node)), &[]);
    assert_eq!(info.header("x-reg-signed").as_deref(), Some("false"));
    assert_eq!(info.header("x-reg-upstream"), Some(http::base(&above)));
    assert_eq!(info.json()["reg"], json!({ "signed": false, "endpoint": http::base(&above) }));
    assert!(info.json()["tags"].as_array().is_some_and(|it| it.contains(&json!("unsigned"))));
    assert_eq!(b.json(["ls"]), json!([]), "nothing that is signed has come");

    // What can be known here is never asked for there: an id, and a petname.
    let by_id = http::get(&format!("{}/{publisher}/name/resolve/main/config.json", http::base(&node)), &[]);
    assert!(
        matches!(by_id.status, 404 | 503) && by_id.header("x-reg-upstream").is_none(),
        "{}",
        by_id.status
    );
    b.run(["trust", "add", "org", &publisher]).ok();
    let by_petname = http::get(&url(&node, "config.json"), &[]);
    assert!(matches!(by_petname.status, 404 | 503) && by_petname.header("x-reg-upstream").is_none());
}

#[test]
fn names_without_an_owner_are_passed_on_for_a_real_client() {
    let client = clients::python("hf", &clients::HUGGING_FACE);
    if clients::is_left_out(&client) {
        return;
    }
    let python = client.expect("the client is installed");
    let b = Home::new("B");
    let model = b.path().join("model");
    model::generate(&model, 3 * MIB, 44);
    let endpoint = Endpoint::start("gpt2", &model, Manner::default());
    let node = daemon(&b, endpoint.url(), None, &[]);
    let out = b.path().join("out");
    let mut download = Command::new(python.program("hf"));
    download.args(["download", "gpt2", "--local-dir"]).arg(&out).env("HF_ENDPOINT", http::base(&node));
    download.env("HF_HOME", b.path().join("hf")).env_remove("HF_TOKEN").env("HF_HUB_DISABLE_TELEMETRY", "1");
    let output = download.output().expect("hf runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("gpt2 comes from") && said.contains("has signed it"),
        "the client shows it: {said}"
    );
    let mut found = tree::digests(&out);
    found.retain(|name, _| !name.starts_with(".cache/"));
    assert_eq!(found, tree::digests(&model));

    // Without an upstream no peer has it.
    node.stop();
    fs::remove_file(b.path().join("config.toml")).expect("the upstream is named there");
    let alone = Daemon::start(&b, [""; 0]);
    for path in ["api/models/gpt2", "api/models/gpt2/tree/main", "gpt2/resolve/main/config.json"] {
        let answer = http::get(&format!("{}/{path}", http::base(&alone)), &[]);
        let code = answer.header("x-error-code");
        assert_eq!((answer.status, code.as_deref()), (404, Some("RepoNotFound")), "{path}");
    }
}

#[test]
fn large_files_are_fetched_once_and_shared_with_peers_by_digest() {
    let [b, c] = ["B", "C"].map(Home::new);
    let model = b.path().join("model");
    model::generate(&model, 12 * MIB, 42);
    let (weights, whole) = (model::weights_digest(&model), size(&model.join(WEIGHTS)));
    let endpoint =
        Endpoint::start("org/name", &model, Manner { redirects: true, page: Some(2), ..Manner::default() });
    let node = daemon(&b, endpoint.url(), None, &[]);

    // Nothing leads past this node: no Xet, no other address.
    let head = http::head(&url(&node, WEIGHTS));
    assert_eq!(head.header("content-length"), Some(whole.to_string()));
    assert_eq!(head.header("x-linked-etag"), Some(format!("\"{}\"", weights.hex())));
    assert_eq!(head.header("x-repo-commit").as_deref(), Some(endpoint.commit()));
    for name in ["x-xet-hash", "location", "link"] {
        assert_eq!(head.header(name), None, "{name}");
    }
    let page = http::get(&format!("{}/api/models/org/name/tree/main?recursive=true", http::base(&node)), &[]);
    let next = page.header("link").expect("a second page");
    assert!(next.starts_with(&format!("<{}/api/models/org/name/tree/", http::base(&node))), "{next}");
    let next = next.split(['<', '>']).nth(1).expect("an address").to_owned();
    let listed = format!("{}{}", page.text(), http::get(&next, &[]).text());
    assert!(listed.contains(WEIGHTS) && !listed.contains("xet"), "{listed}");
    let missing = http::get(&url(&node, "nope.bin"), &[]);
    assert_eq!((missing.status, missing.header("x-error-code").as_deref()), (404, Some("EntryNotFound")));
    assert_eq!(missing.header("x-repo-commit").as_deref(), Some(endpoint.commit()));

    // Eight clients at once, and ranges: each byte is asked for once.
    std::thread::scope(|scope| {
        for _client in 0..8 {
            scope.spawn(|| assert_eq!(http::get(&url(&node, WEIGHTS), &[]).digest(), weights));
        }
    });
    let bytes = fs::read(model.join(WEIGHTS)).expect("read");
    for (range, expected) in [("bytes=5-9", &bytes[5..10]), ("bytes=-7", &bytes[bytes.len() - 7..])] {
        let part = http::get(&url(&node, WEIGHTS), &[("range", range)]);
        assert_eq!((part.status, part.bytes.as_slice()), (206, expected), "{range}");
    }
    assert_eq!(
        http::get(&url(&node, "config.json"), &[]).bytes,
        fs::read(model.join("config.json")).expect("read")
    );
    assert_eq!(endpoint.sent(WEIGHTS), whole);

    // Another node has them from this one.
    let other = daemon(&c, endpoint.url(), None, &["--bootstrap", &node.address()]);
    wait_for_peers(&c, 1);
    assert_eq!(http::get(&url(&other, WEIGHTS), &[]).digest(), weights);
    assert_eq!(endpoint.sent(WEIGHTS), whole, "the endpoint was not asked again");
    assert_eq!(c.json(["status"])["bytes_fetched"].as_u64(), Some(whole));
}

#[test]
fn what_needed_a_token_is_for_the_owner_and_is_neither_kept_nor_shared() {
    let b = Home::new("B");
    let model = b.path().join("model");
    model::generate(&model, 3 * MIB, 43);
    let weights = model::weights_digest(&model);
    let gated = Manner { token: Some("hf_of_the_user".to_owned()), redirects: true, ..Manner::default() };
    let endpoint = Endpoint::start("org/name", &model, gated);
    let node = daemon(&b, endpoint.url(), Some("hf_of_the_user"), &[]);
    let refused = http::get(&url(&node, WEIGHTS), &[]);
    assert_eq!((refused.status, refused.header("x-error-code").as_deref()), (401, Some("GatedRepo")));
    let own = format!("Bearer {}", http::token(&b));
    assert!(
        endpoint.take_asked().iter().all(|it| it.authorization.is_none()),
        "the user's token is not used for a client without one"
    );
    for file in [WEIGHTS, "config.json"] {
        let served = http::get(&url(&node, file), &[("authorization", &own)]);
        assert_eq!(served.digest(), tree::digest(&model.join(file)), "{file}");
        assert!(!stored(&b, &tree::digest(&model.join(file))).exists(), "{file} is not kept");
    }
    let ranged = http::get(&url(&node, WEIGHTS), &[("authorization", &own), ("range", "bytes=1000000-")]);
    assert_eq!(ranged.digest(), weights, "it begins anew: only the whole can be proven");
    let shown = endpoint.take_asked();
    assert!(shown.iter().all(|it| it.authorization.as_ref().is_none_or(|it| it == "Bearer hf_of_the_user")));
    let elsewhere: Vec<_> = shown.iter().filter(|it| it.path.starts_with("/cdn/")).collect();
    assert!(!elsewhere.is_empty());
    assert_eq!(fs::read_dir(b.path().join("store/imports")).map_or(0, Iterator::count), 0);
}

#[test]
fn a_wrong_file_never_becomes_whole_and_its_parts_are_not_joined_to_right_ones() {
    let b = Home::new("B");
    let model = b.path().join("model");
    model::generate(&model, 6 * MIB, 44);
    let weights = model::weights_digest(&model);
    let mut wrong = fs::read(model.join(WEIGHTS)).expect("read");
    wrong[1_000_000] ^= 1;
    let lying = Manner { wrong: [(WEIGHTS.to_owned(), wrong)].into(), ..Manner::default() };
    let endpoint = Endpoint::start("org/name", &model, lying.clone());
    let node = daemon(&b, endpoint.url(), None, &[]);
    let broken = http::get_broken(&url(&node, WEIGHTS));
    assert!(
        !broken.is_whole && broken.bytes.len() as u64 <= 5 * MIB + MIB / 2,
        "{} bytes",
        broken.bytes.len()
    );
    assert!(!stored(&b, &weights).exists());
    endpoint.behave(Manner::default());
    let from = format!("bytes={}-", broken.bytes.len());
    let anew = http::get(&url(&node, WEIGHTS), &[("range", &from)]);
    assert_eq!(anew.digest(), weights, "the range is not gone on with");

    let config = Manner { wrong: [("config.json".to_owned(), b"{}".to_vec())].into(), ..lying };
    endpoint.behave(config);
    let refused = http::get(&url(&node, "config.json"), &[]);
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert!(refused.text().contains("another hash"), "{}", refused.text());
}

#[test]
fn peers_that_lie_about_a_file_of_the_endpoint_only_cost_time() {
    let b = Home::new("B");
    let model = b.path().join("model");
    model::generate(&model, 4 * MIB, 45);
    let weights = model::weights_digest(&model);
    let endpoint = Endpoint::start("org/name", &model, Manner::default());
    let mut wrong = fs::read(model.join(WEIGHTS)).expect("read");
    wrong[10] ^= 1;
    let mut hasher = StateHasher::new();
    hasher.update(&wrong);
    let mut script = Script::default();
    script.states.insert(weights, hasher.finish().expect("a blob").states);
    script.blobs.insert(weights, Arc::new(wrong));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (liar, address) = runtime.block_on(async {
        let liar = Liar::start(9, script).await;
        let address = liar.address().await;
        (liar, address)
    });
    let node = daemon(&b, endpoint.url(), None, &["--bootstrap", &address]);
    wait_for_peers(&b, 1);
    let start = Instant::now();
    let served = loop {
        let served = http::get(&url(&node, WEIGHTS), &[]);
        // Clients are told to come back while it is not known whether the peers' bytes are right.
        if served.status != 429 {
            break served;
        }
        assert!(served.header("retry-after").is_some());
        assert!(start.elapsed() < Duration::from_secs(120), "it does not come");
    };
    assert_eq!(served.digest(), weights);
    assert!(node.log().contains("is fetched from peers"), "the liar was asked:\n{}", node.log());
    assert_eq!(endpoint.sent(WEIGHTS), size(&model.join(WEIGHTS)));
    drop((liar, runtime));
}

#[test]
fn code_of_an_upstream_needs_consent_and_an_upstream_that_is_gone_is_told_so() {
    let b = Home::new("B");
    let model = b.path().join("model");
    model::generate(&model, MIB / 2, 46);
    let mut pickle = b"\x80\x04cposix\nsystem\n\x8c\x02id\x85R.".to_vec();
    fs::write(model.join("pytorch_model.bin"), &pickle).expect("written");
    pickle.resize(3 << 20, 0);
    fs::write(model.join("large.bin"), &pickle).expect("written");
    let endpoint = Endpoint::start("org/name", &model, Manner::default());
    let node = daemon(&b, endpoint.url(), None, &[]);
    for file in ["pytorch_model.bin", "large.bin"] {
        let refused = http::get(&url(&node, file), &[]);
        assert_eq!(refused.status, 403, "{file}");
        assert!(refused.text().contains("pickle"), "{}", refused.text());
    }
    assert!(!stored(&b, &Digest::of(&pickle)).exists());
    node.stop();
    let node = daemon(&b, "http://127.0.0.1:1", None, &["--allow-unsafe"]);
    let gone = http::get(&url(&node, "config.json"), &[]);
    assert_eq!(gone.status, 503, "{}", gone.text());
    assert!(gone.header("retry-after").is_some() && gone.text().contains("127.0.0.1:1"), "{}", gone.text());
    let said = text(&b.json(["status"])["version"]);
    assert!(!said.is_empty(), "the node itself goes on");
}
