//! Tests that Hugging Face's clients, real and unmodified, pull through one node what another node has published.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reg_testnet::clients::{self, Python};
use reg_testnet::evil::{Liar, Script};
use reg_testnet::http::{self, Served};
use reg_testnet::model::{self, MINILM};
use reg_testnet::process::{Daemon, Home, PATIENCE, text};
use reg_testnet::tree;
use serde_json::json;

const MIB: u64 = 1 << 20;

/// Returns a command of Hugging Face's client that uses this node, with a cache of its own.
pub(super) fn hf(python: &Python, program: &str, daemon: &Daemon, home: &Path) -> Command {
    let mut command = Command::new(python.program(program));
    command
        .env("HF_ENDPOINT", http::base(daemon))
        .env("HF_HOME", home)
        .env("HF_HUB_DISABLE_XET", "1")
        .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .env_remove("HF_TOKEN");
    command
}

pub(super) fn ok(output: &Output) -> String {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

/// Compares what a client has fetched with the model, its own notes and what a model does not hold apart.
fn assert_same(model: &Path, fetched: &Path) {
    let mut expected = tree::digests(model);
    expected.remove(".gitattributes");
    let mut found = tree::digests(fetched);
    found.retain(|name, _| !name.starts_with(".cache/"));
    assert_eq!(expected, found, "{}", fetched.display());
}

pub(super) fn client() -> Option<Python> {
    let client = clients::python("hf", &clients::HUGGING_FACE);
    if clients::is_left_out(&client) { None } else { Some(client.expect("the client is installed")) }
}

/// BERT with mean pooling, in numpy: the embedding of a sentence, from files alone.
const EMBED: &str = r#"
import json, sys
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer
d = sys.argv[1]
c = json.load(open(d + "/config.json")); w = {k.removeprefix("bert."): v for k, v in load_file(d + "/model.safetensors").items()}
ids = np.array(Tokenizer.from_file(d + "/tokenizer.json").encode("open weights for everyone").ids)
ids = ids[: int((ids != 0).sum())]
def norm(x, p): return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + c["layer_norm_eps"]) * w[p + ".weight"] + w[p + ".bias"]
def lin(x, p): return x @ w[p + ".weight"].T + w[p + ".bias"]
def erf(x):
    t = 1 / (1 + 0.3275911 * np.abs(x))
    return np.sign(x) * (1 - (((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * np.exp(-x * x))
e = "embeddings."
x = norm(w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][: len(ids)] + w[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
h = c["num_attention_heads"]
for i in range(c["num_hidden_layers"]):
    p = f"encoder.layer.{i}."
    q, k, v = (lin(x, p + "attention.self." + n).reshape(len(ids), h, -1).transpose(1, 0, 2) for n in ("query", "key", "value"))
    a = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]); a = np.exp(a - a.max(-1, keepdims=True)); a /= a.sum(-1, keepdims=True)
    x = norm(lin((a @ v).transpose(1, 0, 2).reshape(len(ids), -1), p + "attention.output.dense") + x, p + "attention.output.LayerNorm")
    y = lin(x, p + "intermediate.dense"); y = y * (1 + erf(y / np.sqrt(2))) / 2
    x = norm(lin(y, p + "output.dense") + x, p + "output.LayerNorm")
m = x.mean(0); m /= np.linalg.norm(m)
assert m.shape == (384,) and np.isfinite(m).all()
print(m.tobytes().hex())
"#;

const TRANSFORMERS: &str = r#"
import sys
from huggingface_hub import HfApi, snapshot_download
from transformers import AutoConfig, AutoTokenizer
repo = sys.argv[1]
assert AutoConfig.from_pretrained(repo).model_type == "bert"
assert AutoTokenizer.from_pretrained(repo)("hello world")["input_ids"] == [101, 7592, 2088, 102]
api = HfApi()
info = api.model_info(repo, files_metadata=True)
weights = [s for s in info.siblings if s.rfilename == "model.safetensors"][0]
assert weights.lfs.sha256 == weights.blob_id and weights.size == 90868376
assert api.get_safetensors_metadata(repo).parameter_count["F32"] > 22_000_000
assert [p.path for p in api.get_paths_info(repo, ["config.json", "1_Pooling", "nope"])] == ["config.json", "1_Pooling"]
assert [b.name for b in api.list_repo_refs(repo).branches] == ["main"]
assert [m.id for m in api.list_models(search="MINI")] == [repo]
for call, name in [
    (lambda: api.model_info(repo + "x"), "RepositoryNotFoundError"),
    (lambda: api.model_info(repo, revision="v9"), "RevisionNotFoundError"),
    (lambda: api.hf_hub_download(repo, "nope.bin"), "EntryNotFoundError"),
]:
    try:
        call()
        raise SystemExit(name + " is missing")
    except Exception as error:
        assert type(error).__name__.endswith(name), repr(error)
print(snapshot_download(repo))
"#;

const JAVASCRIPT: &str = r#"
import { downloadFile, listFiles, modelInfo, parseSafetensorsMetadata, snapshotDownload } from "@huggingface/hub";
const [hubUrl, repo, cacheDir] = process.argv.slice(2);
if ((await modelInfo({ name: repo, hubUrl })).name !== repo) throw new Error("info");
let files = 0;
for await (const file of listFiles({ repo, hubUrl, recursive: true })) files += file.type === "file" ? 1 : 0;
if (files !== 12) throw new Error(`${files} files`);
const config = await downloadFile({ repo, path: "config.json", hubUrl });
if (JSON.parse(await config.text()).model_type !== "bert") throw new Error("config");
const { header } = await parseSafetensorsMetadata({ repo, hubUrl });
if (Object.keys(header).length < 100) throw new Error("header");
console.log("@" + await snapshotDownload({ repo, hubUrl, cacheDir }));
"#;

#[test]
fn every_client_pulls_the_same_bytes_through_a_node_that_had_nothing() {
    let Some(python) = client() else { return };
    let javascript = clients::javascript("hub", &clients::JAVASCRIPT);
    let (modules, node) = javascript.expect("the JavaScript client is installed");
    let model = MINILM.get().expect("the model");
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "minilm", "me");
    let repo = reference.trim_end_matches(":latest").to_owned();
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let dir = |name: &str| b.path().join(name);

    let out = dir("cli");
    let mut download = hf(&python, "hf", &daemon, &dir("home-cli"));
    ok(&download.args(["download", &repo, "--local-dir"]).arg(&out).output().expect("hf runs"));
    assert_same(&model, &out);
    let served = server_bytes(&a);
    let whole: u64 = tree::digests(&out)
        .keys()
        .filter(|it| !it.starts_with(".cache/"))
        .map(|it| size(&out.join(it)))
        .sum();
    assert!(served >= whole && served < whole + 4096, "{served} bytes were served of a model of {whole}");

    let mut transformers = hf(&python, "python", &daemon, &dir("home-transformers"));
    let said = ok(&transformers.args(["-c", TRANSFORMERS, &repo]).output().expect("python runs"));
    let snapshot = said.lines().find(|it| it.contains("snapshots")).expect("a snapshot");
    assert_same(&model, Path::new(snapshot.trim()));
    // What is here is served by itself from now on.
    server.stop();

    fs::write(modules.join("pull.mjs"), JAVASCRIPT).expect("written");
    let mut script = Command::new(node);
    script.arg(modules.join("pull.mjs")).args([&http::base(&daemon), &repo]).arg(dir("home-js"));
    let said = ok(&script.output().expect("node runs"));
    let snapshot = said.lines().find_map(|it| it.strip_prefix('@')).expect("a snapshot");
    assert_same(&model, Path::new(snapshot));

    let api = hf_hub::api::sync::ApiBuilder::new()
        .with_endpoint(http::base(&daemon))
        .with_cache_dir(dir("home-rust"))
        .with_progress(false)
        .build()
        .expect("the crate's client");
    let files = api.model(repo.clone());
    let info = files.info().expect("info");
    assert_eq!(info.siblings.len(), 12);
    let mut root = PathBuf::new();
    for sibling in &info.siblings {
        let path = files.get(&sibling.rfilename).expect("a file");
        root = path.ancestors().nth(sibling.rfilename.split('/').count()).expect("a root").to_owned();
    }
    assert_same(&model, &root);

    let embed = |dir: &Path| {
        let output = Command::new(python.program("python")).args(["-c", EMBED]).arg(dir).output();
        ok(&output.expect("python runs")).trim().to_owned()
    };
    assert_eq!(embed(&model), embed(&out), "the embedding of a sentence");
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).expect("a file").len()
}

fn server_bytes(home: &Home) -> u64 {
    home.json(["status"])["bytes_served"].as_u64().expect("a number")
}

fn fetched(home: &Home) -> u64 {
    home.json(["status"])["bytes_fetched"].as_u64().expect("a number")
}

#[test]
fn eight_clients_of_the_same_cold_model_fetch_each_byte_once() {
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 40 * MIB, 11);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "cold", "me");
    let repo = reference.trim_end_matches(":latest");
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let url = format!("{}/{repo}/resolve/main/model.safetensors", http::base(&daemon));
    let expected = model::weights_digest(&model);
    std::thread::scope(|scope| {
        for _client in 0..8 {
            scope.spawn(|| assert_eq!(http::get(&url, &[]).digest(), expected));
        }
    });
    let whole = size(&model.join("model.safetensors"));
    let extra = size(&model.join("config.json")) + size(&model.join("README.md")) + 1024;
    let served = server_bytes(&a);
    assert!(served >= whole && served <= whole + extra, "{served} bytes were served of {whole}");
}

#[test]
fn clients_read_more_models_than_the_cache_holds_round_after_round() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let daemon = Daemon::start(&b, ["--cache-max-size", "10 MiB", "--bootstrap", &server.address()]);
    // Three of them fit.
    let models: Vec<(String, PathBuf)> = (0..4)
        .map(|n| {
            let dir = a.path().join(format!("m{n}"));
            model::generate(&dir, 3 * MIB, 300 + n);
            let reference = a.publish(&dir, &format!("m{n}"), "me");
            let repo = reference.trim_end_matches(":latest");
            (format!("{}/{repo}/resolve/main/model.safetensors", http::base(&daemon)), dir)
        })
        .collect();
    for round in 0..2 {
        for (url, dir) in &models {
            // What was read a moment ago lingers, and gives way.
            let got = http::get(url, &[]);
            assert_eq!(got.status, 200, "round {round}, {url}: {}", got.text());
            assert_eq!(got.digest(), model::weights_digest(dir), "round {round}, {url}");
        }
        let bytes = b.json(["status"])["bytes"].as_u64().expect("a number");
        assert!(bytes <= 10 * MIB, "{bytes} bytes after round {round}");
    }
    let report = b.json(["gc", "--dry-run"]);
    assert_eq!(report["blobs"], 0, "every blob has a model: {report}");
}

#[test]
fn only_what_is_asked_for_is_fetched_and_ranges_are_exact() {
    let Some(python) = client() else { return };
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 64 * MIB, 12);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "part", "me");
    let repo = reference.trim_end_matches(":latest");
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let out = b.path().join("out");
    let mut download = hf(&python, "hf", &daemon, &b.path().join("home"));
    ok(&download
        .args(["download", repo, "--include", "*.json", "--local-dir"])
        .arg(&out)
        .output()
        .expect("hf runs"));
    let mut names: Vec<String> =
        tree::digests(&out).into_keys().filter(|it| !it.starts_with(".cache/")).collect();
    names.sort();
    assert_eq!(names, ["config.json"]);
    assert!(fetched(&b) < MIB, "{} bytes for a config", fetched(&b));

    let url = format!("{}/{repo}/resolve/main/model.safetensors", http::base(&daemon));
    let bytes = fs::read(model.join("model.safetensors")).expect("read");
    let length = bytes.len();
    for (range, expected) in [
        ("bytes=0-0".to_owned(), &bytes[..1]),
        ("bytes=1048575-1048576".to_owned(), &bytes[1_048_575..1_048_577]),
        (format!("bytes={}-", length - 5), &bytes[length - 5..]),
        ("bytes=-7".to_owned(), &bytes[length - 7..]),
        ("bytes=30000000-30100000".to_owned(), &bytes[30_000_000..30_100_001]),
    ] {
        let part = http::get(&url, &[("range", &range)]);
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.bytes, expected, "{range}");
        let shown = part.header("content-range").expect("a range");
        assert!(shown.ends_with(&format!("/{length}")), "{shown}");
    }
    assert!(fetched(&b) < 8 * MIB, "{} bytes for five ranges", fetched(&b));
    let beyond = http::get(&url, &[("range", &format!("bytes={length}-"))]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(format!("bytes */{length}"))));
    let head = http::head(&url);
    assert_eq!(head.header("content-length"), Some(length.to_string()));
    assert_eq!(head.header("etag"), Some(format!("\"{}\"", model::weights_digest(&model).hex())));
    assert!(fetched(&b) < 8 * MIB, "a HEAD fetches nothing");
    let whole = http::get(&url, &[]);
    assert_eq!(whole.digest(), model::weights_digest(&model));
    let pointer = http::get(&url.replace("/resolve/", "/raw/"), &[]);
    assert!(pointer.text().starts_with("version https://git-lfs.github.com/spec/v1\noid sha256:"));
}

/// Waits until a node has fetched this many bytes.
fn wait_for(home: &Home, bytes: u64) {
    let start = Instant::now();
    while fetched(home) < bytes {
        assert!(start.elapsed() < PATIENCE, "nothing is fetched");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn when_all_peers_go_the_client_is_told_and_goes_on_once_they_are_back() {
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 512 * MIB, 13);
    let expected = model::weights_digest(&model);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let listen = server.address().rsplit_once("/p2p/").expect("a peer id").0.to_owned();
    let reference = a.publish(&model, "gone", "me");
    let repo = reference.trim_end_matches(":latest");
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let url = format!("{}/{repo}/resolve/main/model.safetensors", http::base(&daemon));
    let whole = size(&model.join("model.safetensors"));

    // The client is killed, as by -9: its connection ends, and what has come stays.
    let mut client = Command::new("curl").args(["-sS", "-o", "/dev/null", &url]).spawn().expect("curl runs");
    wait_for(&b, 32 * MIB);
    client.kill().expect("killed");
    client.wait().expect("ended");

    // All peers go while another client reads.
    let reading = std::thread::spawn({
        let url = url.clone();
        move || http::get_broken(&url)
    });
    wait_for(&b, 96 * MIB);
    server.kill();
    let Served { bytes, is_whole, .. } = reading.join().expect("the client ends");
    assert!(!is_whole && (bytes.len() as u64) < whole, "the connection is broken off");
    let kept = fetched(&b);
    let late = whole - 50 * MIB;
    let refused = http::get(&url, &[("range", &format!("bytes={late}-{}", late + 1))]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert!(refused.text().contains("no peer"), "{}", refused.text());

    let back = Daemon::start(&a, ["--listen", &listen]);
    let start = Instant::now();
    while b.json(["status"])["peers"].as_u64() == Some(0) {
        assert!(start.elapsed() < PATIENCE, "the peer is not dialled again");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(http::get(&url, &[]).digest(), expected);
    let served = server_bytes(&a);
    assert!(
        served <= whole - kept + 16 * MIB,
        "{served} bytes were served anew, {kept} of {whole} were here"
    );
    drop(back);
}

#[test]
fn what_is_paused_is_not_fetched_for_a_reader_either() {
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 6 * MIB, 22);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "paused", "me");
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let repo = reference.trim_end_matches(":latest");
    let url = format!("{}/{repo}/resolve/main/model.safetensors", http::base(&daemon));
    b.run(["pause"]).ok();
    let refused = http::get(&url, &[]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert!(refused.text().contains("paused"), "{}", refused.text());
    b.run(["resume"]).ok();
    assert_eq!(http::get(&url, &[]).digest(), model::weights_digest(&model));
}

#[test]
fn a_client_that_was_killed_goes_on_without_fetching_verified_pieces_again() {
    let Some(python) = client() else { return };
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 96 * MIB, 21);
    a.key("me");
    // Slow enough that the client is killed before the end.
    for (key, value) in [("transfer.limit_up", "8MB/s"), ("transfer.limit_local", "true")] {
        a.run(["config", "set", key, value]).ok();
    }
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "killed", "me");
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let out = b.path().join("out");
    let mut download = hf(&python, "hf", &daemon, &b.path().join("home"));
    download.args(["download", reference.trim_end_matches(":latest"), "--local-dir"]).arg(&out);
    let mut killed = download.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("hf runs");
    wait_for(&b, 24 * MIB);
    killed.kill().expect("killed, by -9");
    let status = killed.wait().expect("ended");
    assert_eq!(status.signal(), Some(9), "it was under way");
    let whole: u64 = tree::digests(&model).into_keys().map(|path| size(&model.join(path))).sum();
    assert!(fetched(&b) < whole, "killed too late to show anything");
    a.run(["config", "set", "transfer.limit_up", "none"]).ok();
    a.run(["reload"]).ok();
    ok(&download.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("hf runs"));
    assert_same(&model, &out);
    // Each piece counts once it is verified: the description of the model is all there is beside its files.
    assert!((whole..whole + 4096).contains(&fetched(&b)), "{} of {whole} bytes", fetched(&b));
    let served = server_bytes(&a);
    assert!(served < whole + 16 * MIB, "{served} bytes were served for {whole}");
}

#[test]
fn listings_and_heads_are_answered_as_each_client_needs_them() {
    let a = Home::new("A");
    let publisher = a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 2 * MIB, 17);
    fs::create_dir_all(model.join("onnx/deep")).expect("a folder");
    fs::write(model.join("onnx/deep/notes.txt"), "a note\n").expect("written");
    let daemon = Daemon::start(&a, [""; 0]);
    let first = a.publish(&model, "listed", "me");
    a.publish(&model, "listed:v1", "me");
    let commit = text(&a.json(["info", &first])["summary"]["manifest"])["sha256:".len()..][..40].to_owned();
    let api = format!("{}/api/models/{publisher}/listed", http::base(&daemon));
    for revision in ["", "/revision/main", "/revision/HEAD", "/revision/v1", &format!("/revision/{commit}")] {
        let url = format!("{api}{revision}");
        assert_eq!(text(&http::get(&url, &[]).json()["sha"]), commit, "{revision}");
        assert_eq!(http::head(&url).status, 200, "HEAD of {revision}");
    }
    let paths = |query: &str| {
        let listed = http::get(&format!("{api}/tree/{query}"), &[]);
        assert_eq!(listed.header("link"), None, "one page");
        let entries = listed.json().as_array().cloned().expect("a list");
        entries.iter().map(|it| format!("{} {}", text(&it["type"]), text(&it["path"]))).collect::<Vec<_>>()
    };
    let top = ["directory onnx", "file README.md", "file config.json", "file model.safetensors"];
    assert_eq!(paths("main"), top);
    assert_eq!(paths("main/onnx"), ["directory onnx/deep"]);
    assert_eq!(paths("v1/onnx?recursive=true"), ["directory onnx/deep", "file onnx/deep/notes.txt"]);
    assert_eq!(paths("main?recursive=True&expand=True").len(), 6);
    let expanded = http::get(&format!("{api}/tree/main?expand=true"), &[]).json();
    assert_eq!(text(&expanded[1]["lastCommit"]["id"]), commit);
    let weights = model::weights_digest(&model).hex();
    assert_eq!(text(&expanded[3]["lfs"]["oid"]), weights);
    assert_eq!(expanded[1].get("lfs"), None, "a small file is plain");
    assert_eq!(
        http::get(&format!("{api}/tree/main/nope"), &[]).header("x-error-code").as_deref(),
        Some("EntryNotFound")
    );
    let refs = http::get(&format!("{api}/refs?include_prs=1"), &[]).json();
    assert_eq!(text(&refs["branches"][0]["targetCommit"]), commit);
    assert_eq!(refs["tags"].as_array().map(Vec::len), Some(2));
    let asked = http::send(
        "POST",
        &format!("{api}/paths-info/main"),
        &[("content-type", "application/x-www-form-urlencoded")],
        b"paths=config.json&paths=onnx&paths=nope&expand=True",
    );
    let found: Vec<String> =
        asked.json().as_array().expect("a list").iter().map(|it| text(&it["path"])).collect();
    assert_eq!(found, ["config.json", "onnx"]);
    let file = format!("{}/{publisher}/listed/resolve/{commit}/model.safetensors", http::base(&daemon));
    let head = http::head(&file);
    assert_eq!(head.header("x-repo-commit"), Some(commit.clone()));
    assert_eq!(head.header("x-linked-etag"), Some(format!("\"{weights}\"")));
    assert!(!head.headers.iter().any(|(name, _)| name.contains("xet")), "nothing leads to Xet");
    let plain = http::head(&file.replace("model.safetensors", "config.json"));
    assert_eq!(plain.header("etag").map(|it| it.len()), Some(42), "git's name of a plain file");
    assert_eq!(plain.header("x-linked-etag"), None);
    assert_eq!(http::get(&file, &[("if-none-match", &format!("\"{weights}\""))]).status, 304);
    let unknown =
        format!("{}/api/models/{publisher}/listed/revision/{}", http::base(&daemon), "0".repeat(40));
    let unknown = http::get(&unknown, &[]);
    assert_eq!((unknown.status, unknown.header("x-error-code").as_deref()), (404, Some("RevisionNotFound")));
    let found = |query: &str| http::get(&format!("{}/api/models?{query}", http::base(&daemon)), &[]).json();
    assert_eq!(found("search=LIST&full=true").as_array().map(Vec::len), Some(1));
    assert_eq!(found("filter=safetensors,license:mit").as_array().map(Vec::len), Some(1));
    assert_eq!(found(&format!("author={publisher}&limit=1")).as_array().map(Vec::len), Some(1));
    for nothing in ["search=absent", "filter=gguf", "author=somebody"] {
        assert_eq!(found(nothing).as_array().map(Vec::len), Some(0), "{nothing}");
    }
}

#[test]
fn an_upload_is_signed_published_and_fetched_from_another_node() {
    let Some(python) = client() else { return };
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 5 * MIB, 14);
    fs::create_dir_all(model.join("sub")).expect("a folder");
    fs::write(model.join("sub/vocab.txt"), "a\nb\n").expect("written");
    let silent = Daemon::start(&a, [""; 0]);
    let upload = |daemon: &Daemon, repo: &str, token: Option<&str>| {
        let mut upload = hf(&python, "hf", daemon, &a.path().join("home"));
        upload.args(["upload", repo]).arg(&model).arg(".");
        if let Some(token) = token {
            upload.env("HF_TOKEN", token);
        }
        let output = upload.output().expect("hf runs");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    };
    let token = http::token(&a);
    let (done, said) = upload(&silent, "me/up", Some(&token));
    assert!(
        !done && said.contains("--publish-key") | said.contains("not found"),
        "no key was allowed: {said}"
    );
    silent.stop();
    let daemon = Daemon::start(&a, ["--publish-key", "me"]);
    let (done, said) = upload(&daemon, "me/up", None);
    assert!(!done && said.to_lowercase().contains("token"), "the token is missing: {said}");
    let (done, said) = upload(&daemon, "me/up", Some(&token));
    assert!(done, "{said}");
    let stranger = "a".repeat(52);
    let (done, said) = upload(&daemon, &format!("{stranger}/up"), Some(&token));
    assert!(!done && said.contains("is not the publisher"), "another publisher's name: {said}");

    let other = Daemon::start(&b, ["--bootstrap", &daemon.address()]);
    let out = b.path().join("out");
    let mut download = hf(&python, "hf", &other, &b.path().join("home"));
    let repo = format!("{publisher}/up");
    ok(&download.args(["download", &repo, "--local-dir"]).arg(&out).output().expect("hf runs"));
    assert_same(&model, &out);

    // A second commit keeps what it does not name, and takes away what it deletes.
    fs::write(model.join("config.json"), r#"{"model_type":"changed"}"#).expect("written");
    let mut again = hf(&python, "hf", &daemon, &a.path().join("home"));
    fs::remove_dir_all(model.join("sub")).expect("removed");
    again.env("HF_TOKEN", &token).args(["upload", "me/up"]).arg(&model).arg(".");
    ok(&again.args(["--delete", "sub/*"]).output().expect("hf runs"));
    let moved = a.json(["info", &repo]);
    assert_eq!(moved["seq"], 2, "{moved}");
    let pulled = b.path().join("pulled");
    b.run(["pull", &repo, &pulled.to_string_lossy()]).ok();
    tree::assert_equal(&model, &pulled);
    assert_eq!(text(&moved["reference"]), repo);
}

/// Rules that the user has set hold for what clients are served as for what is pulled.
#[test]
fn a_model_that_a_rule_refuses_is_not_served() {
    let a = Home::new("A");
    let publisher = a.key("me");
    let model = a.path().join("model");
    model::generate(&model, MIB / 2, 23);
    let daemon = Daemon::start(&a, [""; 0]);
    a.publish(&model, "ruled", "me");
    let urls = ["api/models/{}", "{}/resolve/main/config.json", "{}/resolve/main/model.safetensors"]
        .map(|path| format!("{}/{}", http::base(&daemon), path.replace("{}", &format!("{publisher}/ruled"))));
    let answered = |status: u16, what: &str| {
        for url in &urls {
            let served = http::get(url, &[]);
            assert_eq!(served.status, status, "{url}: {}", served.text());
            let said = served.header("x-error-message").unwrap_or_default();
            assert!(said.contains(what), "{url}: {said}");
        }
    };
    answered(200, "");
    a.run(["trust", "require", "*/ruled", "--attested", "review"]).ok();
    answered(403, "review");
    a.run(["trust", "waive", "*/ruled"]).ok();
    answered(200, "");
}

/// Of two writers that began from the same commit the second is told, and changes nothing.
#[test]
fn a_commit_whose_parent_is_not_the_newest_is_refused() {
    let a = Home::new("A");
    a.key("me");
    let daemon = Daemon::start(&a, ["--publish-key", "me"]);
    let token = format!("Bearer {}", http::token(&a));
    let headers = [("authorization", token.as_str()), ("content-type", "application/x-ndjson")];
    let api = format!("{}/api/models/me/two", http::base(&daemon));
    let commit = |parent: Option<&str>, content: &str| {
        let content = json!({ "model_type": content }).to_string();
        let lines = [
            json!({ "key": "header", "value": { "summary": "a commit", "parentCommit": parent } }),
            json!({ "key": "file", "value": { "path": "config.json", "content": content } }),
        ];
        let body = lines.map(|line| format!("{line}\n")).concat();
        http::send("POST", &format!("{api}/commit/main"), &headers, body.as_bytes())
    };
    let newest = || text(&http::get(&api, &[]).json()["sha"]);
    let first = commit(None, "first");
    assert_eq!(first.status, 200, "{}", first.text());
    let first = text(&first.json()["commitOid"]);
    let second = commit(Some(&first), "second");
    assert_eq!(second.status, 200, "{}", second.text());
    let second = text(&second.json()["commitOid"]);
    assert_eq!(newest(), second);
    let late = commit(Some(&first), "third");
    assert_eq!(late.status, 409, "{}", late.text());
    assert!(late.text().contains(&second), "it says where the branch is: {}", late.text());
    assert_eq!(newest(), second);
}

#[test]
fn code_is_not_served_to_who_has_not_consented() {
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, MIB, 15);
    // The first bytes of a pickle that calls something when it is loaded.
    fs::write(model.join("pytorch_model.bin"), b"\x80\x04cposix\nsystem\n\x8c\x02id\x85R.").expect("written");
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    a.run([
        "publish".as_ref(),
        model.as_os_str(),
        "risky".as_ref(),
        "--key".as_ref(),
        "me".as_ref(),
        "--allow-unsafe".as_ref(),
    ])
    .ok();
    let publisher = text(&a.json(["key", "show", "me"])["publisher"]);
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let url = |file: &str| format!("{}/{publisher}/risky/resolve/main/{file}", http::base(&daemon));
    assert_eq!(http::get(&url("model.safetensors"), &[]).digest(), model::weights_digest(&model));
    let refused = http::get(&url("pytorch_model.bin"), &[]);
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("pickle"), "{}", refused.text());
    let pickle = tree::digest(&model.join("pytorch_model.bin"));
    // A blob that a model needs is unknown under the names of others.
    for (name, status) in [("risky", 403), ("another", 404)] {
        let blob = http::get(&format!("{}/v2/{publisher}/{name}/blobs/{pickle}", http::base(&daemon)), &[]);
        assert_eq!(blob.status, status, "as a blob of {name}");
    }
    daemon.stop();
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address(), "--allow-unsafe"]);
    let url = format!("{}/{publisher}/risky/resolve/main/pytorch_model.bin", http::base(&daemon));
    assert_eq!(http::get(&url, &[]).status, 200);
}

#[test]
fn beside_a_peer_that_sends_wrong_bytes_the_clients_file_is_right() {
    let Some(python) = client() else { return };
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 48 * MIB, 16);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "beside", "me");
    let repo = reference.trim_end_matches(":latest");
    let mut wrong = fs::read(model.join("model.safetensors")).expect("read");
    let last = wrong.len() - 1;
    for at in (0..last).step_by(100_000) {
        wrong[at] ^= 1;
    }
    let mut script = Script::default();
    script.blobs.insert(model::weights_digest(&model), Arc::new(wrong));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (liar, address) = runtime.block_on(async {
        let liar = Liar::start(7, script).await;
        let address = liar.address().await;
        (liar, address)
    });
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address(), "--bootstrap", &address]);
    let start = Instant::now();
    while b.json(["status"])["peers"].as_u64() != Some(2) {
        assert!(start.elapsed() < PATIENCE, "both peers are met");
        std::thread::sleep(Duration::from_millis(50));
    }
    let out = b.path().join("out");
    let mut download = hf(&python, "hf", &daemon, &b.path().join("home"));
    ok(&download.args(["download", repo, "--local-dir"]).arg(&out).output().expect("hf runs"));
    assert_same(&model, &out);
    assert!(
        daemon.log().contains("sent wrong bytes"),
        "the liar was asked, and found out:\n{}",
        daemon.log()
    );
    drop((liar, runtime));
}
