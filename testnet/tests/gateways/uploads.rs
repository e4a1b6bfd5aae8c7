//! Tests uploads of Hugging Face's clients: what is published by them, and what is refused before anything is signed.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use data_encoding::BASE64;
use reg_proto::digest::Digest;
use reg_testnet::author::Author;
use reg_testnet::clients;
use reg_testnet::http::{self, Served};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};
use reg_testnet::tree;
use serde_json::{Value, json};

use crate::hf::{client, hf, ok};

const MIB: u64 = 1 << 20;

/// A node that signs uploads.
struct Signing {
    home: Home,
    daemon: Daemon,
    token: String,
}

impl Signing {
    fn publisher(&self) -> String {
        text(&self.home.json(["key", "show", "me"])["publisher"])
    }

    fn start() -> Self {
        let home = Home::new("A");
        home.key("me");
        let daemon = Daemon::start(&home, ["--publish-key", "me"]);
        let token = format!("hf_{}", http::token(&home));
        Self { home, daemon, token }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", http::base(&self.daemon))
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Served {
        let bearer = format!("Bearer {}", self.token);
        http::send(method, &self.url(path), &[("authorization", &bearer), ("content-type", kind)], body)
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> Served {
        self.send(method, path, "application/json", body.to_string().as_bytes())
    }

    /// Checks that nothing was published.
    fn has_nothing(&self) {
        assert_eq!(self.home.json(["ls"]).as_array().map(Vec::len), Some(0), "nothing is signed");
    }

    fn tags(&self, model: &str) -> Vec<(String, String)> {
        let refs = http::get(&self.url(&format!("/api/models/me/{model}/refs")), &[]).json();
        let tags = refs["tags"].as_array().cloned().unwrap_or_default();
        tags.iter().map(|it| (text(&it["name"]), text(&it["targetCommit"]))).collect()
    }
}

fn folder(dir: &Path, seed: u64) {
    model::generate(dir, MIB / 2, seed);
    fs::create_dir_all(dir.join("sub")).expect("a folder");
    fs::write(dir.join("sub/vocab.txt"), "a\nb\n").expect("written");
}

#[test]
fn what_must_stay_private_or_be_reviewed_is_refused_before_anything_is_signed() {
    let Some(python) = client() else { return };
    let node = Signing::start();
    let dir = node.home.path().join("model");
    folder(&dir, 31);
    let refused = |args: &[&str], why: &str| {
        let mut command = hf(&python, "hf", &node.daemon, &node.home.path().join("cache"));
        let output = command.env("HF_TOKEN", &node.token).args(args).output().expect("hf runs");
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(why), "{args:?}: {said}");
    };
    let model = dir.to_string_lossy().into_owned();
    refused(&["upload", "me/up", &model, ".", "--private"], "cannot be private");
    refused(&["upload", "me/up", &model, ".", "--create-pr"], "no pull requests");
    refused(&["repos", "create", "me/up", "--private"], "cannot be private");
    let script = r#"
import sys
from huggingface_hub import HfApi, CommitOperationAdd
api = HfApi()
for call, why in [
    (lambda: api.create_commit("me/up", [CommitOperationAdd("a.txt", b"a")], commit_message="m", create_pr=True), "no pull requests"),
    (lambda: api.create_repo("me/up", visibility="private"), "cannot be private"),
    (lambda: api.create_repo("me/up", repo_type="dataset"), "only models"),
    (lambda: api.upload_folder(repo_id="me/up", folder_path=sys.argv[1], create_pr=True), "no pull requests"),
]:
    try:
        call()
        raise SystemExit(why + ": it was taken")
    except Exception as error:
        assert why in str(error), repr(error)
"#;
    let mut command = hf(&python, "python", &node.daemon, &node.home.path().join("cache"));
    ok(&command.env("HF_TOKEN", &node.token).args(["-c", script, &model]).output().expect("python runs"));
    node.has_nothing();

    // A repository that exists is not taken for a yes.
    let mut command = hf(&python, "hf", &node.daemon, &node.home.path().join("cache"));
    ok(&command
        .env("HF_TOKEN", &node.token)
        .args(["upload", "me/up", &model, "."])
        .output()
        .expect("hf runs"));
    let before = node.tags("up");
    fs::write(dir.join("sub/vocab.txt"), "secret\n").expect("written");
    refused(&["upload", "me/up", &model, ".", "--private"], "cannot be private");
    refused(&["upload", "me/up", &model, ".", "--create-pr"], "no pull requests");
    refused(&["repos", "settings", "me/up", "--private"], "cannot be private");
    refused(&["repos", "settings", "me/up", "--gated", "auto"], "cannot be gated");
    refused(&["repos", "delete", "me/up", "-y"], "reg rm");
    refused(&["repos", "move", "me/up", "me/down"], "cannot be moved");
    let script = r#"
from huggingface_hub import HfApi
try:
    HfApi().super_squash_history("me/up")
    raise SystemExit("it was taken")
except Exception as error:
    assert "cannot be rewritten" in str(error), repr(error)
"#;
    let mut command = hf(&python, "python", &node.daemon, &node.home.path().join("cache"));
    ok(&command.env("HF_TOKEN", &node.token).args(["-c", script]).output().expect("python runs"));
    assert_eq!(node.tags("up"), before);
}

#[test]
fn a_branch_is_a_tag_that_clients_create_fill_and_delete() {
    let Some(python) = client() else { return };
    let node = Signing::start();
    let dir = node.home.path().join("model");
    folder(&dir, 32);
    let model = dir.to_string_lossy().into_owned();
    let run = |args: &[&str]| {
        let mut command = hf(&python, "hf", &node.daemon, &node.home.path().join("cache"));
        ok(&command.env("HF_TOKEN", &node.token).args(args).output().expect("hf runs"))
    };
    // Into a repository that has no version yet.
    run(&["upload", "me/up", &model, ".", "--revision", "v2"]);
    assert_eq!(node.tags("up").iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["v2"]);
    let out = node.home.path().join("out");
    run(&["download", "me/up", "--revision", "v2", "--local-dir", &out.to_string_lossy()]);
    assert_eq!(tree::digest(&out.join("model.safetensors")), model::weights_digest(&dir));
    // Main stands apart.
    fs::write(dir.join("sub/vocab.txt"), "c\n").expect("written");
    run(&["upload", "me/up", &model, "."]);
    let commits: std::collections::BTreeMap<String, String> = node.tags("up").into_iter().collect();
    assert_ne!(commits["latest"], commits["v2"]);
    run(&["repos", "tag", "create", "me/up", "v3", "--revision", "v2"]);
    run(&["repos", "tag", "create", "me/up", "v4"]);
    run(&["repos", "branch", "create", "me/up", "dev", "--revision", &commits["v2"]]);
    let now: std::collections::BTreeMap<String, String> = node.tags("up").into_iter().collect();
    assert_eq!((&now["v3"], &now["v4"], &now["dev"]), (&commits["v2"], &commits["latest"], &commits["v2"]));
    let again = node.json("POST", "/api/models/me/up/tag/main", &json!({ "tag": "v4" }));
    assert_eq!(again.status, 409, "{}", again.text());
    let none = node.json("POST", "/api/models/me/up/tag/nope", &json!({ "tag": "v5" }));
    assert_eq!(none.header("x-error-code").as_deref(), Some("RevisionNotFound"), "{}", none.text());
    let odd = node.json("POST", "/api/models/me/up/branch/feature%2Fx", &json!({}));
    assert!(odd.status == 400 && odd.text().contains("no `/`"), "{}", odd.text());
    run(&["repos", "branch", "delete", "me/up", "dev"]);
    run(&["repos", "tag", "delete", "me/up", "v3", "-y"]);
    let left: Vec<String> = node.tags("up").into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["latest", "v2", "v4"]);
    let deleted = node.json("DELETE", "/api/models/me/up/tag/v4", &json!({}));
    assert!(deleted.header("x-hf-warning").is_some_and(|it| it.contains("peers that have it keep it")));
    assert_eq!(node.json("DELETE", "/api/models/me/up/tag/v4", &json!({})).status, 404);
    assert_eq!(node.json("DELETE", "/api/models/me/up/branch/main", &json!({})).status, 400);
    // What is created and empty is found, and has no version.
    run(&["repos", "create", "me/empty"]);
    let info = http::get(&node.url("/api/models/me/empty"), &[]).json();
    assert_eq!(info["siblings"], json!([]), "{info}");
    assert_eq!(http::get(&node.url("/api/models/me/empty/tree/main"), &[]).json(), json!([]));
    assert_eq!(node.json("POST", "/api/repos/create", &json!({ "name": "empty" })).status, 409);
    assert_eq!(
        http::get(&node.url("/api/models/me/none"), &[]).header("x-error-code").as_deref(),
        Some("RepoNotFound")
    );
    assert_eq!(node.home.json(["ls"]).as_array().map(Vec::len), Some(2), "an empty repository is not signed");
}

/// Uploads, branches and refusals by @huggingface/hub, which sends only tokens that begin with `hf_`.
const JAVASCRIPT: &str = r#"
import { countCommits, createBranch, createRepo, deleteBranch, listCommits, listModels, repoExists, uploadFiles, whoAmI } from "@huggingface/hub";
const [hubUrl, accessToken] = process.argv.slice(2);
const common = { repo: "me/js", accessToken, hubUrl };
const refused = async (call, why) => {
  try { await call(); } catch (error) { if (error.message.includes(why)) return; throw error; }
  throw new Error(`${why}: it was taken`);
};
await refused(() => createRepo({ ...common, private: true }), "cannot be private");
await createRepo(common);
if ((await whoAmI({ accessToken, hubUrl })).name !== "me") throw new Error("whoami");
const files = [
  { path: "config.json", content: new Blob(['{"model_type":"bert"}']) },
  { path: "docs/long.txt", content: new Blob(["long ".repeat(400000)]) },
];
await refused(() => uploadFiles({ ...common, files, isPullRequest: true }), "no pull requests");
if (await repoExists({ repo: "me/none", hubUrl })) throw new Error("exists");
await uploadFiles({ ...common, files });
await createBranch({ ...common, branch: "dev" });
await deleteBranch({ ...common, branch: "dev" });
await createBranch({ ...common, branch: "dev" });
await uploadFiles({ ...common, branch: "dev", files: [{ path: "config.json", content: new Blob(["{}"]) }] });
await refused(() => deleteBranch({ ...common, branch: "dev" }), "last name of its version");
if (!(await repoExists({ repo: "me/js", hubUrl }))) throw new Error("missing");
if ((await countCommits(common)) !== 1) throw new Error("count");
for await (const commit of listCommits(common)) console.log("@" + commit.oid);
const names = [];
for await (const model of listModels({ hubUrl, search: { query: "JS" }, limit: 5 })) names.push(model.name);
if (names.length !== 1) throw new Error(names.join());
"#;

#[test]
fn the_javascript_client_uploads_large_files_by_themselves() {
    let javascript = clients::javascript("hub", &clients::JAVASCRIPT);
    if clients::is_left_out(&javascript) {
        return;
    }
    let (modules, program) = javascript.expect("the JavaScript client is installed");
    let node = Signing::start();
    fs::write(modules.join("upload.mjs"), JAVASCRIPT).expect("written");
    let mut script = Command::new(program);
    script.arg(modules.join("upload.mjs")).args([&http::base(&node.daemon), &node.token]);
    let said = ok(&script.output().expect("node runs"));
    let commit = said.lines().find_map(|it| it.strip_prefix('@')).expect("a commit").to_owned();
    assert!(node.tags("js").contains(&("latest".to_owned(), commit)), "{:?}", node.tags("js"));
    let long = http::get(&node.url("/me/js/resolve/main/docs/long.txt"), &[]);
    assert_eq!(long.digest(), Digest::of("long ".repeat(400_000).as_bytes()));
}

/// Runs hf-hub 1.0, which is built outside the workspace; `None` where tests need no registry.
fn hf_hub(node: &Signing, args: [&str; 3], dir: &Path) -> Option<Result<String, String>> {
    let program = clients::own_program("hf-hub");
    if clients::is_left_out(&program) {
        return None;
    }
    let mut command = Command::new(program.expect("hf-hub is built"));
    command.env("HF_ENDPOINT", http::base(&node.daemon)).env("HF_TOKEN", &node.token);
    command.env("HF_HOME", node.home.path().join("home-rust")).args(args).arg(dir);
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() { Ok(said) } else { Err(said + &failed) })
}

/// Returns what it printed after each of these words.
fn after<'a>(said: &'a str, word: &str) -> Vec<&'a str> {
    said.lines().filter_map(|it| it.strip_prefix(word)?.strip_prefix(' ')).collect()
}

#[test]
fn hf_hub_uploads_and_downloads() {
    let node = Signing::start();
    let dir = node.home.path().join("model");
    model::generate(&dir, 12 * MIB, 35);
    fs::create_dir_all(dir.join("sub")).expect("a folder");
    fs::write(dir.join("sub/vocab.txt"), "a\nb\n").expect("written");
    let Some(said) = hf_hub(&node, ["upload", "me", "rust"], &dir) else { return };
    let said = said.unwrap_or_else(|said| panic!("{said}"));
    let commits = after(&said, "commit");
    let tags: std::collections::BTreeMap<String, String> = node.tags("rust").into_iter().collect();
    assert_eq!(commits.len(), 2, "{said}");
    assert_eq!((tags["latest"].as_str(), tags["dev"].as_str()), (commits[1], commits[1]), "{said}");
    assert_eq!(after(&said, "branches"), ["main"], "{said}");
    // What came is what was sent, with the file of the second commit.
    let out = node.home.path().join("out");
    let said = hf_hub(&node, ["download", "me", "rust"], &out).expect("it is built");
    let said = said.unwrap_or_else(|said| panic!("{said}"));
    fs::create_dir_all(dir.join("notes")).expect("a folder");
    fs::write(dir.join("notes/more.txt"), "more\n").expect("written");
    let sent = tree::digests(&dir);
    assert_eq!(after(&said, "siblings"), [sent.len().to_string()], "{said}");
    for fetched in [out.as_path(), Path::new(after(&said, "snapshot")[0])] {
        let mut found = tree::digests(fetched);
        found.retain(|name, _| !name.starts_with(".cache/") && !name.starts_with(".huggingface/"));
        assert_eq!(found, sent, "{}", fetched.display());
    }
    let refused = hf_hub(&node, ["download", "me", "none"], &out).expect("it is built");
    assert!(refused.is_err_and(|it| it.contains("RepoNotFound")), "a model that is not here");
}

/// The client of Hugging Face with Xet. No answer of a node names Xet, so it fetches over HTTP. An upload asks for Xet alone.
#[test]
fn a_client_with_xet_downloads_over_http_and_signs_nothing_by_xet() {
    let Some(python) = client() else { return };
    let node = Signing::start();
    let dir = node.home.path().join("model");
    model::generate(&dir, 12 * MIB, 36);
    let run = |program: &str, args: &[&str], is_xet_on: bool| {
        let mut command = hf(&python, program, &node.daemon, &node.home.path().join("cache"));
        if is_xet_on {
            command.env_remove("HF_HUB_DISABLE_XET").env("HF_XET_HIGH_PERFORMANCE", "1");
        }
        command.env("HF_TOKEN", &node.token).args(args).output().expect("it runs")
    };
    let is_on = "import hf_xet; from huggingface_hub.utils._runtime import is_xet_available; assert is_xet_available()";
    ok(&run("python", &["-c", is_on], true));
    let from = dir.to_string_lossy().into_owned();
    let refused = run("hf", &["upload", "me/xet", &from, "."], true);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("xet-write-token"), "{said}");
    node.has_nothing();
    ok(&run("hf", &["upload", "me/xet", &from, "."], false));
    let out = node.home.path().join("out");
    ok(&run("hf", &["download", "me/xet", "--local-dir", &out.to_string_lossy()], true));
    let mut found = tree::digests(&out);
    found.retain(|name, _| !name.starts_with(".cache/"));
    let mut sent = tree::digests(&dir);
    sent.remove(".gitattributes");
    assert_eq!(found, sent);
}

/// Some clients, such as hf-hub 1.0 without Xet, send files of any size within the commit.
#[test]
fn a_file_of_any_size_may_come_within_the_commit() {
    let node = Signing::start();
    let dir = node.home.path().join("model");
    model::generate(&dir, 100 * MIB, 33);
    let weights = fs::read(dir.join("model.safetensors")).expect("read");
    let inline = |path: &str, bytes: &[u8]| json!({ "key": "file", "value": { "content": BASE64.encode(bytes), "encoding": "base64", "path": path } });
    let header = json!({ "key": "header", "value": { "summary": "m", "description": "" } });
    let lines =
        [header, inline("config.json", b"{\"model_type\":\"bert\"}"), inline("model.safetensors", &weights)];
    let body = lines.map(|line| format!("{line}\n")).concat();
    assert!(body.len() > 128 << 20, "more than any bound of a request");
    let commit = |body: &str| {
        node.send("POST", "/api/models/me/inline/commit/main", "application/x-ndjson", body.as_bytes())
    };
    let refused = commit(&body.replace("\"base64\",\"path\":\"model", "\"utf-8\",\"path\":\"model"));
    assert_eq!(refused.status, 400, "{}", refused.text());
    // Base64 with line breaks: not one byte of it is guessed.
    let digits = BASE64.encode(&weights[..4 << 20]);
    let (one, other) = digits.split_at(2 << 20);
    let broken = format!(
        "{{\"key\":\"file\",\"value\":{{\"content\":\"{one}\\n{other}\",\"encoding\":\"base64\",\"path\":\"a.bin\"}}}}\n"
    );
    let refused = commit(&broken);
    assert!(refused.status == 400 && refused.text().contains("line breaks"), "{}", refused.text());
    let header =
        format!("{{\"key\":\"header\",\"value\":{{\"content\":\"{digits}\",\"summary\":\"m\"}}}}\n{body}");
    assert_eq!(commit(&header).status, 400);
    node.has_nothing();
    let published = commit(&body);
    assert_eq!(published.status, 200, "{}", published.text());
    let served = http::get(&node.url("/me/inline/resolve/main/model.safetensors"), &[]);
    assert_eq!(served.digest(), model::weights_digest(&dir));
    assert_eq!(
        http::get(&node.url("/me/inline/resolve/main/config.json"), &[]).text(),
        "{\"model_type\":\"bert\"}"
    );
}

/// A node remembers a tag that it has removed. While another tag keeps the version, that tag would still lead to it.
#[test]
fn a_branch_that_was_deleted_begins_anew() {
    let node = Signing::start();
    let commit = |branch: &str, path: &str| {
        let line =
            json!({ "key": "file", "value": { "content": "YQ==", "encoding": "base64", "path": path } });
        let url = format!("/api/models/me/up/commit/{branch}");
        let taken = node.send("POST", &url, "application/x-ndjson", format!("{line}\n").as_bytes());
        assert_eq!(taken.status, 200, "{}", taken.text());
    };
    let names = || node.tags("up").into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let asked = |url: &str| {
        let served = http::get(&node.url(url), &[]);
        (served.status, served.header("x-error-code"))
    };
    commit("main", "first.txt");
    let tagged = node.json("POST", "/api/models/me/up/tag/main", &json!({ "tag": "v2" }));
    assert_eq!(tagged.status, 201, "{}", tagged.text());
    assert_eq!(node.json("DELETE", "/api/models/me/up/tag/v2", &json!({})).status, 200);
    let gone = (404, Some("RevisionNotFound".to_owned()));
    assert_eq!(asked("/api/models/me/up/revision/v2"), gone, "clients look before they create it");
    assert_eq!(asked("/me/up/resolve/v2/first.txt"), gone);
    assert_eq!(names(), ["latest"], "a question does not bring it back");
    commit("v2", "second.txt");
    let tree = http::get(&node.url("/api/models/me/up/tree/v2"), &[]).json();
    let files: Vec<String> = tree.as_array().expect("files").iter().map(|it| text(&it["path"])).collect();
    assert_eq!(files, ["second.txt"]);
    // A repository is there while any of its tags is.
    node.home.run(["rm", &format!("{}/up:latest", node.publisher())]).ok();
    assert_eq!(asked("/api/models/me/up/revision/main").0, 404);
    assert_eq!(node.json("POST", "/api/repos/create", &json!({ "name": "up" })).status, 409);
    node.home.run(["rm", &format!("{}/up:v2", node.publisher())]).ok();
    assert_eq!(node.json("POST", "/api/repos/create", &json!({ "name": "up" })).status, 200);
}

/// A commit of which the node has read the head, and waits for the body.
struct Waiting {
    stream: TcpStream,
    body: String,
}

impl Waiting {
    fn begin(node: &Signing, lines: &[Value]) -> Self {
        let body = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let address = text(&node.daemon.ready["http"]);
        let mut stream = TcpStream::connect(&address).expect("connected");
        let (token, length) = (&node.token, body.len());
        write!(
            stream,
            "POST /api/models/me/up/commit/main HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/x-ndjson\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\
             connection: close\r\n\r\n"
        )
        .expect("sent");
        let mut head = [0; 25];
        stream.read_exact(&mut head).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&head), "HTTP/1.1 100 Continue\r\n\r\n");
        Self { stream, body }
    }

    /// Sends the body, and returns the status of the answer and the answer.
    fn end(mut self) -> (u16, String) {
        self.stream.write_all(self.body.as_bytes()).expect("sent");
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
        (status.unwrap_or_else(|| panic!("{answer}")), answer)
    }
}

fn inline(path: &str) -> Value {
    json!({ "key": "file", "value": { "content": "YQ==", "encoding": "base64", "path": path } })
}

#[test]
fn two_commits_at_once_keep_the_files_of_both() {
    let node = Signing::start();
    let files = || {
        let tree = http::get(&node.url("/api/models/me/up/tree/main"), &[]).json();
        tree.as_array().expect("files").iter().map(|it| text(&it["path"])).collect::<Vec<_>>()
    };
    let commit = |path: &str| {
        let url = "/api/models/me/up/commit/main";
        let taken = node.send("POST", url, "application/x-ndjson", format!("{}\n", inline(path)).as_bytes());
        assert_eq!(taken.status, 200, "{}", taken.text());
        text(&taken.json()["commitOid"])
    };
    let first = commit("first.txt");
    let deleted = json!({ "key": "deletedFile", "value": { "path": "first.txt" } });
    let slow = Waiting::begin(&node, &[inline("slow.txt"), deleted]);
    let parent = json!({ "key": "header", "value": { "summary": "m", "parentCommit": first } });
    let outrun = Waiting::begin(&node, &[parent, inline("outrun.txt")]);
    commit("quick.txt");
    let (status, answer) = slow.end();
    assert_eq!(status, 200, "{answer}");
    assert_eq!(files(), ["quick.txt", "slow.txt"]);
    let (status, answer) = outrun.end();
    assert_eq!(status, 409, "it began from another version: {answer}");
    assert_eq!(files(), ["quick.txt", "slow.txt"]);
}

/// Many clients read no answer before they have sent all: their users would see a broken connection.
#[test]
fn an_upload_that_is_refused_at_once_is_read_so_that_its_client_reads_why() {
    let node = Signing::start();
    let body = vec![b' '; 12 << 20];
    let commit = "/api/models/me/up/commit/main";
    let refused = node.send("POST", &format!("{commit}?create_pr=1"), "application/x-ndjson", &body);
    assert!(refused.status == 400 && refused.text().contains("no pull requests"), "{}", refused.text());
    for (method, path) in [
        ("POST", commit),
        ("POST", "/v2/me/up/blobs/uploads/"),
        ("PATCH", "/v2/me/up/blobs/uploads/any"),
        ("PUT", "/v2/me/up/blobs/uploads/any"),
    ] {
        let refused = http::send(method, &node.url(path), &[("content-type", "text/plain")], &body);
        assert_eq!(refused.status, 401, "{method} {path}: {}", refused.text());
    }
    node.has_nothing();
}

#[test]
fn a_folder_is_deleted_under_its_name_in_any_normal_form() {
    let node = Signing::start();
    let commit = |lines: &[Value]| {
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        node.send("POST", "/api/models/me/up/commit/main", "application/x-ndjson", body.as_bytes())
    };
    let deleted = |path: &str| json!({ "key": "deletedFolder", "value": { "path": path } });
    let taken = commit(&[inline("a.txt"), inline("caf\u{e9}/b.txt"), inline("caf\u{e9}/sub/c.txt")]);
    assert_eq!(taken.status, 200, "{}", taken.text());
    // macOS spells the letter as two characters.
    let taken = commit(&[deleted("cafe\u{301}/")]);
    assert_eq!(taken.status, 200, "{}", taken.text());
    let tree = http::get(&node.url("/api/models/me/up/tree/main?recursive=true"), &[]).json();
    let files: Vec<String> = tree.as_array().expect("files").iter().map(|it| text(&it["path"])).collect();
    assert_eq!(files, ["a.txt"]);
    assert_eq!(commit(&[deleted("../caf")]).status, 400);
}

/// The same directory makes the same model, whichever door it comes through.
#[test]
fn what_is_never_part_of_a_model_is_left_out_of_an_upload() {
    let node = Signing::start();
    let commit = |paths: &[&str]| {
        let body: String = paths.iter().map(|path| format!("{}\n", inline(path))).collect();
        let url = "/api/models/me/up/commit/main";
        let taken = node.send("POST", url, "application/x-ndjson", body.as_bytes());
        assert_eq!(taken.status, 200, "{}", taken.text());
        text(&taken.json()["commitOid"])
    };
    let noise = [".gitattributes", ".DS_Store", "sub/.notes", "__pycache__/a.pyc"];
    let first = commit(&[&noise[..], &["a.txt"]].concat());
    let tree = http::get(&node.url("/api/models/me/up/tree/main?recursive=true"), &[]).json();
    let files: Vec<String> = tree.as_array().expect("files").iter().map(|it| text(&it["path"])).collect();
    assert_eq!(files, ["a.txt"]);
    assert_eq!(commit(&noise), first, "a commit of nothing else signs nothing");
    let sample = |path: &str| json!({ "path": path, "size": 1, "sample": "" });
    let asked = json!({ "files": [sample("sub/.notes"), sample("a.txt")] });
    let modes = node.json("POST", "/api/models/me/up/preupload/main", &asked).json();
    let ignored = |at: usize| modes["files"][at]["shouldIgnore"].as_bool();
    assert_eq!((ignored(0), ignored(1)), (Some(true), Some(false)), "{modes}");
}

/// A version that cannot be read is not the same as none: the files that a commit does not name would be lost.
#[test]
fn a_commit_to_a_branch_whose_version_is_refused_says_why() {
    let node = Signing::start();
    let commit = |path: &str| {
        let url = "/api/models/me/up/commit/main";
        node.send("POST", url, "application/x-ndjson", format!("{}\n", inline(path)).as_bytes())
    };
    assert_eq!(commit("first.txt").status, 200);
    let manifest = text(&node.home.json(["ls"])[0]["manifest"]);
    node.home.run(["key", "revoke", "me", "--manifest", &manifest, "--reason", "wrong", "--yes"]).ok();
    let refused = commit("second.txt");
    assert!(
        ![200, 503].contains(&refused.status) && refused.text().contains("withdrawn"),
        "{}: {}",
        refused.status,
        refused.text()
    );
}

/// A commit keeps the files that it does not name, so a node that lacks the branch takes none, whether peers have it or had it.
#[test]
fn a_commit_to_a_branch_that_is_not_here_is_refused() {
    let author = Author::new(41);
    let [x, y, z] = ["X", "Y", "Z"].map(Home::new);
    for home in [&x, &y, &z] {
        author.give_key(home.path(), "me");
    }
    let dir = x.path().join("model");
    folder(&dir, 34);
    let first = Daemon::start(&x, [""; 0]);
    let nodes = [y, z].map(|home| {
        let daemon = Daemon::start(&home, ["--publish-key", "me", "--bootstrap", &first.address()]);
        let token = format!("hf_{}", http::token(&home));
        Signing { home, daemon, token }
    });
    x.publish(&dir, "up", "me");
    let reference = format!("{}/up", author.id);
    let log = |node: &Signing| node.home.run(["log", &reference, "--json"]);
    for node in &nodes {
        until("the other machine has heard of the model", || log(node).code() == 0);
    }
    let commit = |node: &Signing| {
        let line =
            json!({ "key": "file", "value": { "content": "YQ==", "encoding": "base64", "path": "a.txt" } });
        let url = "/api/models/me/up/commit/main";
        let refused = node.send("POST", url, "application/x-ndjson", format!("{line}\n").as_bytes());
        (refused.status, refused.text())
    };
    let [asked, heard] = &nodes;
    let (status, why) = commit(asked);
    assert!(status == 409 && why.contains("reg pull me/up"), "{status}: {why}");
    first.kill();
    let (status, why) = commit(asked);
    assert!(status == 409 && why.contains("reg pull me/up"), "{status}: {why}");
    // It may have the documents of the version, which came with the answer for its name.
    let (status, why) = commit(heard);
    assert!([409, 503].contains(&status) && why.contains("reg pull me/up"), "{status}: {why}");
    for node in &nodes {
        let records = log(node).ok().json()["records"].as_array().map(Vec::len);
        assert_eq!(records, Some(1), "nothing is signed");
    }
}

#[test]
fn a_card_that_cannot_be_read_ends_an_upload_early() {
    let node = Signing::start();
    let good = node.json(
        "POST",
        "/api/validate-yaml",
        &json!({ "content": "---\nlicense: mit\n---\n", "repoType": "model" }),
    );
    assert_eq!((good.status, good.json()["errors"].as_array().map(Vec::len)), (200, Some(0)));
    let bad = node.json(
        "POST",
        "/api/validate-yaml",
        &json!({ "content": "---\nlicense: [\n---\n", "repoType": "model" }),
    );
    assert_eq!((bad.status, bad.json()["errors"].as_array().map(Vec::len)), (400, Some(1)), "{}", bad.text());
}
