//! Tests that what each command prints with `--json` is what its schema in `docs/json` says: with a daemon and without one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use jsonschema::{Draft, JSONSchema};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, workspace};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// The schemas, and those of them that a document was checked by.
struct Schemas {
    all: BTreeMap<String, JSONSchema>,
    used: BTreeSet<String>,
}

impl Schemas {
    fn read() -> Self {
        let dir = workspace().join("docs/json");
        let files = fs::read_dir(dir).expect("a folder").map(|it| it.expect("an entry").path());
        let schema = |path: &std::path::PathBuf| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let document: Value = serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON");
            // It checks the schema itself first.
            let validator = JSONSchema::options().with_draft(Draft::Draft202012).compile(&document);
            (name.clone(), validator.unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        let all =
            files.filter(|it| it.extension() == Some(OsStr::new("json"))).map(|it| schema(&it)).collect();
        Self { all, used: BTreeSet::new() }
    }

    /// Checks a document by the schema of a command, such as `key ls`.
    fn check(&mut self, command: &str, document: &Value) {
        let name = command.replace(' ', "-");
        let schema = self.all.get(&name).unwrap_or_else(|| panic!("{command} has no schema"));
        let faults: Vec<String> = match schema.validate(document) {
            Ok(()) => Vec::new(),
            Err(faults) => faults.map(|it| format!("at {}: {it}", it.instance_path)).collect(),
        };
        assert!(faults.is_empty(), "{command}: {faults:#?}\n{document:#}");
        self.used.insert(name);
    }

    /// Runs a command with `--json`, checks what it prints by the schema of its name, and returns that.
    fn run<const N: usize>(&mut self, home: &Home, command: &str, rest: [&str; N]) -> Value {
        let document = home.json(command.split(' ').chain(rest));
        self.check(command, &document);
        document
    }
}

/// One story, because each command needs what those before it have made.
#[test]
fn what_a_command_prints_as_json_is_what_its_schema_says() {
    let mut schemas = Schemas::read();
    let [a, b] = ["A", "B"].map(Home::new);
    keys(&mut schemas, &a, &b);
    let reference = publications(&mut schemas, &a);
    names(&mut schemas, &a, &reference);
    others(&mut schemas, &a, &b, &reference);
    swarm(&mut schemas);
    // A daemon says where it is reached.
    let mut child = b
        .command([
            "daemon",
            "--json",
            "--http",
            "127.0.0.1:0",
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
            "--no-mdns",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("reg runs");
    let mut line = String::new();
    let said = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line);
    child.kill().and_then(|()| child.wait()).expect("it ends");
    said.expect("a line");
    schemas.check("daemon", &serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}")));
    let unused: Vec<&String> = schemas.all.keys().filter(|it| !schemas.used.contains(*it)).collect();
    assert!(unused.is_empty(), "no document was checked by the schemas of {unused:?}");
}

/// A document that lacks what a schema names, or has another type there, is refused: the schemas say something.
#[test]
fn a_schema_refuses_what_a_command_does_not_print() {
    let schemas = Schemas::read();
    for (name, document) in [
        ("ls", serde_json::json!([{ "model": "tiny" }])),
        ("ls", serde_json::json!({})),
        ("gc", serde_json::json!({ "models": ["tiny"], "blobs": 0, "bytes": 0, "dry_run": true })),
        ("config-path", serde_json::json!("/etc/reg")),
        ("info", serde_json::json!({ "summary": {} })),
    ] {
        assert!(!schemas.all[name].is_valid(&document), "{name}: {document}");
    }
}

fn keys(schemas: &mut Schemas, home: &Home, other: &Home) {
    let file = |name: &str| home.path().join(name).to_string_lossy().into_owned();
    let made = schemas.run(home, "key new", ["me"]);
    schemas.run(home, "key ls", []);
    schemas.run(home, "key show", ["me"]);
    let documents = schemas.run(home, "key documents", ["me"]);
    fs::write(file("me.json"), documents.to_string()).expect("written");
    schemas.run(home, "key import", ["copy", "--documents", &file("me.json")]);
    home.run(["key", "new", "bare", "--no-next"]).ok();
    schemas.run(home, "key commit", ["bare", "--yes"]);
    home.run(["key", "new", "old"]).ok();
    schemas.run(home, "key rotate", ["old", "--yes", "--only-stored"]);
    schemas.run(home, "key delegate", ["old", "llama-*", &text(&made["publisher"]), "--expires", "3"]);
    let zeros = format!("sha256:{}", "0".repeat(64));
    schemas.run(home, "key revoke", ["old", "--manifest", &zeros, "--yes"]);
    schemas.run(home, "key export-ca", ["me"]);
    // Two keys sign for one publisher. One of them is on another machine.
    other.run(["key", "new", "second"]).ok();
    let second = text(&other.json(["key", "show", "second"])["public_key"]);
    let out = file("board.sign");
    let two = ["--with", second.as_str(), "--threshold", "2", "--out"];
    let begun = schemas.run(home, "key new", ["board", two[0], two[1], two[2], two[3], two[4], &out]);
    assert_eq!(begun["finished"], false, "{begun}");
    schemas.run(home, "key show", ["board"]);
    schemas.run(other, "sign", [&out, "--key", "second"]);
    schemas.run(home, "key finish", [&out, "--name", "board"]);
    home.run([&["key", "new", "given"][..], &two, &[&file("given.sign")]].concat()).ok();
    schemas.run(home, "key abandon", ["given", "--yes"]);
    schemas.run(home, "config path", []);
    schemas.run(home, "config init", []);
    schemas.run(home, "config show", []);
    schemas.run(home, "config set", ["cache.min_free", "2 GiB"]);
    assert_eq!(schemas.run(home, "config get", ["cache.min_free"])["value"], "2 GiB");
    schemas.run(home, "config unset", ["cache.min_free"]);
    schemas.run(home, "config check", []);
    schemas.run(home, "man", [&file("man")]);
    schemas.run(home, "help", []);
}

/// Publishes models; returns the reference of one.
fn publications(schemas: &mut Schemas, home: &Home) -> String {
    let dir = home.path().join("model");
    model::generate(&dir, 2 * MIB, 91);
    fs::write(dir.join(".env"), "x").expect("written");
    let path = dir.to_string_lossy().into_owned();
    schemas.run(home, "publish", [&path, "tiny:v1", "--key", "me", "--dry-run"]);
    let reference = text(&schemas.run(home, "publish", [&path, "tiny:v1", "--key", "me"])["reference"]);
    let prepared = home.path().join("v9.sign").to_string_lossy().into_owned();
    schemas.run(home, "publish", [&path, "tiny:v9", "--key", "me", "--prepare", &prepared]);
    let held = reference.replace(":v1", ":v9");
    schemas.run(home, "publish", ["--abandon", &held]);
    fs::write(dir.join("README.md"), "---\nlicense: mit\n---\n").expect("written");
    schemas.run(home, "publish", [&format!("tiny:v2={path}"), &format!("other:v1={path}"), "--key", "me"]);
    schemas.run(home, "ls", []);
    schemas.run(home, "ls", ["tiny"]);
    schemas.run(home, "ls", ["--health"]);
    schemas.run(home, "info", [&reference]);
    schemas.run(home, "files", [&reference]);
    schemas.run(home, "log", [&reference]);
    schemas.run(home, "diff", [&reference, &reference.replace(":v1", ":v2")]);
    schemas.run(home, "verify", [&reference]);
    schemas.run(home, "health", []);
    schemas.run(home, "health", [&reference]);
    schemas.run(home, "status", []);
    schemas.run(home, "formats", []);
    schemas.run(
        home,
        "attest",
        [&reference, "--kind", "scan", "--result", "pass", "--key", "me", "--offline"],
    );
    schemas.run(home, "pin", [&reference]);
    schemas.run(home, "unpin", [&reference]);
    schemas.run(home, "export-signature", [&reference]);
    let archive = home.path().join("models.tar").to_string_lossy().into_owned();
    schemas.run(home, "export", [&reference, "-o", &archive]);
    schemas.run(home, "import", [&archive, "--dry-run"]);
    schemas.run(home, "unlist", [&reference, "--key", "me", "--offline"]);
    schemas.run(home, "gc", ["--dry-run"]);
    schemas.run(home, "publisher set", ["--key", "me", "--title", "Acme", "--offline"]);
    schemas.run(home, "publisher show", [reference.split('/').next().expect("an id")]);
    schemas.run(home, "publisher dns", ["--key", "me"]);
    reference
}

fn names(schemas: &mut Schemas, home: &Home, reference: &str) {
    let id = reference.split('/').next().expect("an id");
    let digest = text(&home.json(["info", reference])["summary"]["manifest"]);
    schemas.run(home, "trust add", ["acme", id]);
    schemas.run(home, "trust ls", []);
    schemas.run(home, "trust accept", ["acme", id]);
    schemas.run(home, "trust accept", ["acme"]);
    schemas.run(home, "trust alias", ["acme/short", "acme/tiny"]);
    schemas.run(home, "trust alias", []);
    schemas.run(home, "trust alias", ["--rm", "acme/short"]);
    schemas.run(home, "trust require", ["acme/x", "--license", "mit"]);
    schemas.run(home, "trust allow", [&digest]);
    schemas.run(home, "trust show", []);
    schemas.run(home, "trust disallow", [&digest]);
    schemas.run(home, "trust waive", ["acme/x"]);
    let list = home.path().join("list").to_string_lossy().into_owned();
    schemas.run(home, "collection new", [&list, "--title", "Good ones"]);
    schemas.run(home, "collection add", [&list, "acme/tiny:v1", "--words", "small"]);
    schemas.run(home, "collection show", [&list]);
    home.publish(list.as_ref(), "list", "me");
    schemas.run(home, "collection show", ["acme/list"]);
    schemas.run(home, "follow", ["acme/list", "--offline"]);
    schemas.run(home, "follow", ["acme/*"]);
    schemas.run(home, "follow ls", []);
    schemas.run(home, "follow pause", ["acme/*"]);
    schemas.run(home, "follow resume", ["acme/*"]);
    schemas.run(home, "follow rm", ["acme/*"]);
    schemas.run(home, "follow rm", ["acme/list"]);
    schemas.run(home, "collection rm", [&list, "acme/tiny:v1"]);
    let warnings = home.path().join("warnings");
    fs::create_dir(&warnings).expect("a folder");
    let entries = serde_json::json!([{ "deny": format!("sha256:{}", "0".repeat(64)), "reason": "bad" }]);
    let denied = serde_json::json!({ "version": 1, "expires": 4_000_000_000_u64, "entries": entries });
    fs::write(warnings.join("denylist.json"), denied.to_string()).expect("written");
    home.publish(&warnings, "warnings", "me");
    schemas.run(home, "trust subscribe", ["acme/warnings", "--offline"]);
    schemas.run(home, "trust unsubscribe", ["acme/warnings"]);
    schemas.run(home, "trust rm", ["acme"]);
    schemas.run(home, "peers add", ["/ip4/192.0.2.7/tcp/4600"]);
    schemas.run(home, "peers", ["--known"]);
    schemas.run(home, "peers rm", ["/ip4/192.0.2.7/tcp/4600"]);
    schemas.run(home, "donate", ["100M"]);
    schemas.run(home, "donate ls", []);
    schemas.run(home, "donate why", [reference]);
    schemas.run(home, "donate stop", ["--yes"]);
}

/// Asks a daemon, and pulls from it at another node.
fn others(schemas: &mut Schemas, a: &Home, b: &Home, reference: &str) {
    let daemon = Daemon::start(a, [""; 0]);
    let address = daemon.address();
    for command in ["status", "ls", "peers", "pause", "resume", "search", "donate ls", "gc"] {
        schemas.run(a, command, []);
    }
    schemas.run(a, "reload", []);
    schemas.check("doctor", &a.run(["doctor", "--json"]).json());
    schemas.run(a, "log", [reference]);
    schemas.run(a, "info", [reference]);
    schemas.run(a, "share", [reference]);
    schemas.run(a, "share", ["--lan"]);
    schemas.run(a, "env", ["hf"]);
    schemas.run(a, "page", ["--print"]);
    schemas.run(b, "info", [reference, "--from", &address, "--no-mdns"]);
    let out = b.path().join("out").to_string_lossy().into_owned();
    schemas.run(b, "pull", [reference, &out, "--from", &address, "--no-mdns", "--dry-run"]);
    schemas.run(b, "pull", [reference, &out, "--from", &address, "--no-mdns"]);
    schemas.run(b, "status", [&out]);
    let archive = a.path().join("models.tar").to_string_lossy().into_owned();
    schemas.run(b, "import", [&archive]);
    schemas.run(b, "ls", []);
    schemas.run(b, "rm", [reference]);
}

fn swarm(schemas: &mut Schemas) {
    let home = Home::new("S");
    let config = "[swarm]\nkey = 'our lab'\nreplicas = 2\nzone = 'rack'\n";
    fs::write(home.path().join("config.toml"), config).expect("written");
    let _daemon = Daemon::start(&home, ["--dht", "off"]);
    schemas.run(&home, "swarm status", []);
    schemas.run(&home, "drain", ["--status"]);
}
