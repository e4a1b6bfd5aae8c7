//! Two homes that the binary of before made: packed in the repository, unpacked for each test, and made anew on demand.
//!
//! `REG_MAKE_OLD=1 cargo test --workspace --test before old_home` makes them again, with other keys.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use reg_testnet::before::reg_before;
use reg_testnet::process::{Daemon, Home, Ran, text, until, workspace};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// 2096: later than any run of these tests.
const FAR: u64 = 4_000_000_000;

const PACKED: &str = "old-homes.json.gz";
const SAID: &str = "old-homes.said.json";

/// A packed file.
#[derive(Debug, Serialize, Deserialize)]
struct Packed {
    mode: u32,
    base64: String,
}

/// The files of a home by their paths in it.
type Files = BTreeMap<PathBuf, Packed>;

/// What the binary of before said of the home of `me`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// The publisher of the home's own models. Its first key has been replaced.
    pub(crate) me: String,
    /// The publisher of the second home. The first one follows it, by this petname, and lets it speak for `llama-*`.
    pub(crate) acme: String,
    /// `reg key show me`.
    pub(crate) key: Value,
    /// `reg status`: the node's own id.
    pub(crate) peer_id: String,
    /// `reg trust show`.
    pub(crate) trust: Value,
    /// `reg ls`.
    pub(crate) models: Vec<Value>,
    /// `reg log`, for each tag.
    pub(crate) logs: BTreeMap<String, Value>,
}

fn fixture(name: &str) -> PathBuf {
    workspace().join("testnet/tests/before").join(name)
}

/// Returns what the binary of before said of the home of `me`.
pub(crate) fn expected() -> Expected {
    let bytes = fs::read(fixture(SAID)).expect("the file is part of the repository");
    serde_json::from_slice(&bytes).expect("it has this form")
}

/// Unpacks the home of `me`: a store with all that a tag, a key and a trust file can be, and one more publisher's model.
pub(crate) fn me() -> Home {
    unpack("me")
}

/// Unpacks the home of `acme`: a publisher with its key and its models.
pub(crate) fn acme() -> Home {
    unpack("acme")
}

fn unpack(name: &str) -> Home {
    let home = Home::new(name);
    let packed = fs::read(fixture(PACKED)).expect("the file is part of the repository");
    let mut json = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut json).expect("it is packed");
    let homes: BTreeMap<String, Files> = serde_json::from_slice(&json).expect("it has this form");
    for (path, file) in &homes[name] {
        let path = home.path().join(path);
        let dir = path.parent().expect("it is in the home");
        fs::create_dir_all(dir).expect("a folder");
        fs::write(&path, BASE64.decode(file.base64.as_bytes()).expect("Base64")).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(file.mode)).expect("ours");
    }
    fs::set_permissions(home.path().join("keys"), Permissions::from_mode(0o700)).expect("ours");
    home
}

fn pack(homes: &BTreeMap<String, Files>) -> Vec<u8> {
    let json = serde_json::to_vec(homes).expect("JSON");
    let mut packed = Vec::new();
    GzEncoder::new(&json[..], Compression::best()).read_to_end(&mut packed).expect("packed");
    packed
}

fn files(home: &Home) -> Files {
    let (mut files, mut dirs) = (BTreeMap::new(), vec![home.path().to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a folder").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() {
                dirs.extend((name != "models").then_some(path));
            } else if kind.is_file() && !matches!(&name[..], "daemon.log" | "ready.json") {
                let mode = entry.metadata().expect("a mode").permissions().mode() & 0o777;
                let base64 = BASE64.encode(&fs::read(&path).expect("a file"));
                let inside = path.strip_prefix(home.path()).expect("below the home").to_owned();
                files.insert(inside, Packed { mode, base64 });
            }
        }
    }
    files
}

/// Writes a model of one small file.
pub(crate) fn model(home: &Home, content: &str) -> String {
    let dir = home.path().join("models").join(content);
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    dir.to_string_lossy().into_owned()
}

/// Publishes a model of one small file.
pub(crate) fn publish(home: &Home, content: &str, name: &str, flags: &[&str]) -> Ran {
    let path = model(home, content);
    home.run(["publish", &path, name, "--key", "me", "--json"].iter().chain(flags))
}

fn copy_keys(from: &Home, to: &Home) {
    let keys = to.path().join("keys");
    fs::create_dir_all(&keys).expect("a folder");
    fs::set_permissions(&keys, Permissions::from_mode(0o700)).expect("ours");
    fs::copy(from.path().join("keys/me.pem"), keys.join("me.pem")).expect("a key");
}

/// Makes acme's node: two models, one of them a denylist, and one more model that the list names.
fn make_acme(home: &Home) -> String {
    let id = home.key("me");
    publish(home, "theirs", "tale", &["--offline"]).ok();
    publish(home, "other", "tale", &["--offline"]).ok();
    let bad = publish(home, "bad", "bad", &["--offline"]).ok().json();
    let list = home.path().join("models/list");
    fs::create_dir_all(&list).expect("a folder");
    let entries = json!([{ "deny": bad["manifest"], "reason": "answers with adverts" }]);
    let denylist = json!({ "version": 1, "expires": FAR, "entries": entries }).to_string();
    fs::write(list.join("denylist.json"), denylist).expect("written");
    let list = list.to_string_lossy();
    home.run(["publish", &list, "warnings", "--key", "me", "--offline"]).ok();
    id
}

fn is_frozen(home: &Home, reference: &str) -> bool {
    let ran = home.run(["log", reference, "--json"]);
    ran.code() == 0 && ran.json()["frozen"] == true
}

/// Makes the homes with the binary of before. That of `me` holds two tags of one model, one of them moved three times, over a rotation; a
/// frozen tag and a settled one; a withdrawn model; a delegation; an attestation; a prepared publication; a pinned model;
/// a petname, a rule, a denylist and a model of another publisher.
fn make(before: &Path) -> (BTreeMap<String, Files>, Expected) {
    let [p, twin, f] = ["me", "twin", "acme"].map(|name| Home::with_binary(before, name));
    let acme = make_acme(&f);
    let me = p.key("me");
    copy_keys(&p, &twin);
    for (content, name) in [("v1", "moved"), ("v2", "moved"), ("v1", "moved:stable"), ("w", "withdrawn")] {
        publish(&p, content, name, &["--offline"]).ok();
    }
    for name in ["frozen", "settled"] {
        publish(&p, "one", name, &["--offline"]).ok();
        publish(&twin, "two", name, &["--offline"]).ok();
    }
    p.run(["trust", "add", "acme", &acme]).ok();
    p.run(["trust", "require", "acme/*", "--known-publisher", "--format", "json"]).ok();
    p.run(["config", "init"]).ok();
    let config = p.path().join("config.toml");
    let written = fs::read_to_string(&config).expect("a configuration");
    let changed = written.replace("# max_size = \"200 GiB\"", "max_size = \"7 GiB\"");
    assert_ne!(written, changed);
    fs::write(&config, changed).expect("written");
    let twin_daemon = Daemon::start(&twin, ["--dht", "off"]);
    let f_daemon = Daemon::start(&f, ["--dht", "off"]);
    let known = [twin_daemon.address(), f_daemon.address()];
    let flags = known.iter().flat_map(|address| ["--bootstrap", address]);
    let daemon = Daemon::start(&p, flags.chain(["--dht", "off"]));
    for name in ["frozen", "settled"] {
        until("both heads are seen", || is_frozen(&p, &format!("{me}/{name}")));
    }
    publish(&p, "three", "settled", &["--settle"]).ok();
    p.run(["trust", "subscribe", "acme/warnings"]).ok();
    p.run(["pull", "acme/tale", "--cache-only"]).ok();
    p.run(["attest", "acme/tale", "--kind", "review", "--result", "pass", "--key", "me"]).ok();
    p.run(["key", "rotate", "me"]).ok();
    for content in ["v3", "v4"] {
        publish(&p, content, "moved", &[]).ok();
    }
    let withdrawn = p.json(["log", &format!("{me}/withdrawn")]);
    let manifest = text(&withdrawn["records"][0]["record"]["manifest"]["digest"]);
    p.run(["key", "revoke", "me", "--manifest", &manifest, "--reason", "wrong set"]).ok();
    p.run(["key", "delegate", "me", "llama-*", &acme, "--expires", "3000"]).ok();
    p.run(["pin", &format!("{me}/moved")]).ok();
    let prepared = p.path().join("prepared.sign").to_string_lossy().into_owned();
    publish(&p, "prepared", "prepared", &["--prepare", &prepared]).ok();
    let peer_id = daemon.peer_id();
    for daemon in [daemon, twin_daemon, f_daemon] {
        daemon.stop();
    }
    let names = ["moved", "moved:stable", "frozen", "settled", "withdrawn"].map(|it| format!("{me}/{it}"));
    let references = names.into_iter().chain([format!("{acme}/tale"), format!("{acme}/warnings")]);
    let logs = references.map(|it| (it.clone(), p.json(["log", &it]))).collect();
    let models = p.json(["ls"]).as_array().expect("a list").clone();
    let (mut key, trust) = (p.json(["key", "show", "me"]), p.json(["trust", "show"]));
    key.as_object_mut().expect("an object").remove("path");
    let homes = [("me", &p), ("acme", &f)].map(|(name, home)| (name.to_owned(), files(home)));
    (homes.into(), Expected { me, acme, key, peer_id, trust, models, logs })
}

#[test]
fn the_packed_homes_are_small_and_can_be_made_anew() {
    const PACKED_MAX: u64 = 200_000;
    if std::env::var_os("REG_MAKE_OLD").is_some_and(|value| value != "0") {
        let before = reg_before().expect("the binary of before");
        let (homes, said) = make(before);
        fs::write(fixture(PACKED), pack(&homes)).expect("written");
        let said = serde_json::to_string_pretty(&said).expect("JSON");
        fs::write(fixture(SAID), said + "\n").expect("written");
    }
    let packed = fs::metadata(fixture(PACKED)).expect("the file is part of the repository").len();
    assert!(packed < PACKED_MAX, "{packed} bytes");
    let home = me();
    for file in ["trust.toml", "config.toml", "node.key", "keys/me.pem", "store/VERSION", "store/index/db"] {
        assert!(home.path().join(file).is_file(), "{file}");
    }
    assert!(acme().path().join("keys/me.pem").is_file());
}
