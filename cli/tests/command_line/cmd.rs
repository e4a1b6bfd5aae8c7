//! Runs every transcript under `tests/cmd` and compares the output with the one that it records. All are as a terminal of 80
//! columns shows them.
//!
//! Homes lie in `/tmp`, at paths of one length: where a line breaks depends on it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Returns an empty folder at a path that is as long on every machine.
fn folder() -> TempDir {
    let mut named = tempfile::Builder::new();
    let named = named.prefix("reg-").rand_bytes(6);
    let made = if cfg!(unix) { named.tempdir_in("/tmp") } else { named.tempdir() };
    made.expect("a temporary folder")
}

/// Returns the cases of one home, `[HOME]` in transcripts.
fn cases(home: &Path) -> trycmd::TestCases {
    let cases = trycmd::TestCases::new();
    cases.env("REG_HOME", home.to_string_lossy()).env("COLUMNS", "80").env("NO_COLOR", "1");
    cases.insert_var("[HOME]", home.to_string_lossy().into_owned()).expect("a name of a variable");
    cases
}

#[test]
fn transcripts() {
    let dir = folder();
    let cases = cases(&dir.path().join("home"));
    cases.env("MODELS", dir.path().join("models").to_string_lossy());
    std::fs::create_dir_all(dir.path().join("models/tiny")).expect("a folder");
    std::fs::write(dir.path().join("models/tiny/config.json"), "{\"model_type\":\"tiny\"}").expect("written");
    cases.case("tests/cmd/*.md");
    cases.run();
}

/// Fixed keys, so that transcripts can record their ids and signatures. Their seeds repeat one byte: 7, 8 and 9.
#[cfg(unix)]
const KEYS: [(&str, &str); 3] = [
    ("me", "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"),
    ("alice", "MC4CAQAwBQYDK2VwBCIEIAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"),
    ("bob", "MC4CAQAwBQYDK2VwBCIEIAkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ"),
];

/// Makes a home with the fixed keys.
#[cfg(unix)]
fn home_with_keys(dir: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let home = dir.join("home");
    let keys = home.join("keys");
    std::fs::create_dir_all(&keys).expect("a folder");
    for (name, base64) in KEYS {
        let path = keys.join(format!("{name}.pem"));
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
        std::fs::write(&path, pem).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
    }
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o700)).expect("ours");
    home
}

#[cfg(unix)]
fn without_network(cases: trycmd::TestCases) -> trycmd::TestCases {
    cases.env("REG_NO_MDNS", "true").env("REG_DHT", "off");
    cases
}

/// Each transcript has one home, so that each command sees the effects of those before it.
#[test]
#[cfg(unix)]
fn stories_of_trust() {
    for story in ["keys", "trust"] {
        let dir = folder();
        let cases = without_network(cases(&home_with_keys(dir.path())));
        cases.case(format!("tests/cmd/trust/{story}.md"));
        cases.run();
    }
}

/// All commands: without a daemon, and those that differ with one.
#[test]
#[cfg(unix)]
fn every_command() {
    let dir = folder();
    let alone = without_network(cases(&home_with_keys(dir.path())));
    alone.case("tests/cmd/every/alone.md");
    alone.run();
    let dir = folder();
    let home = home_with_keys(dir.path());
    let daemon = crate::configuration::Daemon::start(&home, &["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let with_one = without_network(cases(&home));
    with_one.case("tests/cmd/every/daemon.md");
    with_one.run();
    drop(daemon);
}
