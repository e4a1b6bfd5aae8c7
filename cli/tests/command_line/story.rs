//! Runs one user's commands without a network: a key, a publication, and every query about it.

use std::path::Path;
use std::process::{Command, Output};

fn reg(home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reg")).args(args).env("REG_HOME", home).output().expect("reg runs")
}

fn ok(home: &Path, args: &[&str]) -> String {
    let output = reg(home, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(home: &Path, args: &[&str]) -> serde_json::Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&ok(home, &args)).expect("JSON")
}

#[test]
fn publish_offline_and_ask_about_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let (home, model) = (dir.path().join("home"), dir.path().join("model"));
    std::fs::create_dir_all(&model).expect("a folder");
    std::fs::write(model.join("config.json"), r#"{"model_type":"tiny","architectures":["Tiny"]}"#)
        .expect("written");
    std::fs::write(model.join("README.md"), "---\nlicense: mit\nbase_model: a/b\n---\n").expect("written");
    let key = json(&home, &["key", "new", "me"]);
    assert_eq!(json(&home, &["key", "ls"])[0]["publisher"], key["publisher"]);
    assert_eq!(json(&home, &["key", "show", "me"])["name"], "me");
    let path = model.to_string_lossy().into_owned();
    let published =
        json(&home, &["publish", &path, "tiny:v1", "--key", "me", "--license", "mit", "--offline"]);
    for field in ["reference", "publisher", "model", "tag", "manifest", "bytes", "files"] {
        assert!(!published[field].is_null(), "{field} is missing in {published}");
    }
    let reference = published["reference"].as_str().expect("a reference");
    let again = json(&home, &["publish", &path, "tiny:v2", "--key", "me", "--license", "mit", "--offline"]);
    assert_eq!(published["manifest"], again["manifest"], "the same directory gives the same digest");
    assert_eq!(json(&home, &["ls"])[0]["tags"].as_array().map(Vec::len), Some(2));
    // The name of the key is a name of its publisher here.
    assert_eq!(json(&home, &["info", "me/tiny:v1"])["summary"]["manifest"], published["manifest"]);
    let info = json(&home, &["info", reference]);
    assert_eq!(info["metadata"]["computed"]["architecture"], "Tiny");
    assert_eq!(info["metadata"]["claimed"]["base_models"][0], "a/b");
    assert_eq!(info["claims"]["licenses"][0], "mit");
    assert_eq!(json(&home, &["files", reference]).as_array().map(Vec::len), Some(2));
    ok(&home, &["verify", reference]);
    let dest = dir.path().join("out").to_string_lossy().into_owned();
    let pulled = json(&home, &["pull", reference, &dest, "--offline"]);
    for field in [
        "reference",
        "publisher",
        "model",
        "tag",
        "manifest",
        "dest",
        "bytes_fetched",
        "bytes_local",
        "peers",
        "seconds",
        "tag_age",
    ] {
        assert!(!pulled[field].is_null(), "{field} is missing in {pulled}");
    }
    std::fs::write(dir.path().join("out/config.json"), "{}").expect("written");
    assert_eq!(reg(&home, &["verify", &dest]).status.code(), Some(4));
    let kept = json(&home, &["pull", reference, &dest, "--offline"]);
    assert_eq!(kept["kept"][0], "config.json", "what was changed is not replaced");
    ok(&home, &["pull", reference, &dest, "--offline", "--overwrite"]);
    ok(&home, &["verify", &dest]);
    ok(&home, &["pin", reference]);
    let second = again["reference"].as_str().expect("a reference");
    ok(&home, &["rm", second]);
    assert_eq!(reg(&home, &["rm", reference]).status.code(), Some(6), "what is pinned is not removed");
    ok(&home, &["unpin", reference]);
    ok(&home, &["rm", reference]);
    assert_eq!(json(&home, &["ls"]).as_array().map(Vec::len), Some(0));
    let authority = ok(&home, &["key", "export-ca", "me"]);
    assert!(authority.starts_with("# ed25519:") && authority.ends_with("-----END CERTIFICATE-----\n"));
}

#[test]
fn info_and_diff_show_what_the_publisher_claims_apart_from_what_the_files_claim() {
    let dir = tempfile::tempdir().expect("a folder");
    let (home, model) = (dir.path().join("home"), dir.path().join("model"));
    std::fs::create_dir_all(&model).expect("a folder");
    std::fs::write(model.join("config.json"), r#"{"model_type":"tiny"}"#).expect("written");
    std::fs::write(model.join("README.md"), "---\nlicense: mit\n---\n").expect("written");
    ok(&home, &["key", "new", "me"]);
    let path = model.to_string_lossy().into_owned();
    let publish = |tag: &str, claims: &[&str]| {
        let args: Vec<&str> = ["publish", &path, tag, "--key", "me", "--offline"]
            .into_iter()
            .chain(claims.iter().copied())
            .collect();
        json(&home, &args)["reference"].as_str().expect("a reference").to_owned()
    };
    let one = publish("tiny:v1", &["--title", "Tiny One", "--license", "apache-2.0", "--version", "1.5"]);
    let two = publish("tiny:v2", &[]);
    let info = ok(&home, &["info", &one]);
    let (_, claimed) = info.split_once("claimed by the publisher").expect("a section");
    let (publisher, files) = claimed.split_once("claimed in the files").expect("another section");
    for claim in ["Tiny One", "apache-2.0", "1.5"] {
        assert!(publisher.contains(claim), "{claim}: {info}");
    }
    assert!(files.contains("mit") && !publisher.contains("mit"), "{info}");
    assert!(ok(&home, &["info", &two]).contains("claimed by the publisher: nothing"));
    let diff = ok(&home, &["diff", &one, &two]);
    assert!(diff.contains("claimed title: \"Tiny One\" -> null"), "{diff}");
}

#[test]
fn a_store_of_another_version_says_what_to_do_and_that_works() {
    let home = tempfile::tempdir().expect("a folder");
    ok(home.path(), &["key", "new", "me"]);
    ok(home.path(), &["ls"]);
    let version = home.path().join("store/VERSION");
    for (found, advice) in
        [("7\n", "a newer `reg`"), ("junk", "empty the file"), ("\u{0}\u{1b}[2J", "empty the file")]
    {
        std::fs::write(&version, found).expect("written");
        let output = reg(home.path(), &["ls"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(advice) && said.contains("VERSION"), "{said}");
    }
    std::fs::write(&version, "").expect("emptied, as it says");
    ok(home.path(), &["ls"]);
    assert_eq!(std::fs::read_to_string(&version).expect("a version"), "2\n");
}

#[test]
fn a_configuration_with_a_wrong_key_is_refused_with_its_line() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("config.toml"), "[node]\nmdsn = true\n").expect("written");
    let output = reg(home.path(), &["ls"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("mdsn") && said.contains("line 2"), "{said}");
}

#[test]
fn every_shell_gets_a_completion_and_every_command_helps() {
    let home = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish"] {
        assert!(ok(home.path(), &["completion", shell]).contains("complete-words"), "{shell}");
    }
    for command in [
        "daemon",
        "key",
        "publish",
        "import",
        "pull",
        "ls",
        "info",
        "files",
        "verify",
        "peers",
        "status",
        "trust",
        "pin",
        "unpin",
        "rm",
        "gc",
        "completion",
        "config",
    ] {
        assert!(ok(home.path(), &[command, "--help"]).contains("Usage: reg"), "{command}");
    }
}
