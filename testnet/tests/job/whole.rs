//! Tests that a model which is not whole is refused at publish and import, told at a pull before its weights are fetched, and
//! shown afterwards.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use reg_proto::digest::Digest;
use reg_testnet::endpoint::{Endpoint, Manner};
use reg_testnet::gaps::{self, Lacking};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text};

const MIB: u64 = 1 << 20;
/// What accepts a model that is not whole. A web page is code, in the place of weights too, and one part of two is not known.
const ACCEPTING: [&str; 3] = ["--incomplete", "--allow", KINDS];
/// The kinds that the files of these models have.
const KINDS: &str = "code,unknown_binary";

#[test]
fn what_is_not_whole_is_refused_and_shown() {
    let a = Home::new("A");
    a.key("me");
    let _daemon = Daemon::start(&a, [""; 0]);
    for lacking in gaps::all() {
        let Lacking { name, said, .. } = lacking;
        let dir = a.path().join(name);
        lacking.write(&dir);
        let path = dir.to_string_lossy().into_owned();
        let publish = ["publish", &path, name, "--key", "me"];
        let refused = a.run(publish).failed(6, "--incomplete");
        assert!(refused.stderr().contains(said), "{name}: {}", refused.stderr());
        let planned = a.run(["publish", &path, name, "--dry-run"]).failed(6, "--incomplete");
        assert!(planned.stderr().contains(said), "{name}: {}", planned.stderr());
        assert!(!a.run(["ls", "--json"]).stdout().contains(&format!("\"{name}\"")), "{name} is not there");
        let published = a.json(publish.into_iter().chain(ACCEPTING));
        let reference = text(&published["reference"]);
        let info = a.json(["info", &reference]);
        assert_eq!(info["summary"]["complete"], false, "{name}");
        let computed = &info["metadata"]["computed"];
        let lacks = computed["missing"].as_array().map_or(0, Vec::len)
            + computed["hollow"].as_object().map_or(0, serde_json::Map::len);
        assert!(lacks > 0, "{name}: {computed}");
    }
}

/// What the daemon of a home has sent to peers.
fn served(home: &Home) -> u64 {
    home.json(["status"])["bytes_served"].as_u64().expect("a number")
}

#[test]
fn a_pull_tells_what_is_missing_and_refuses_a_program_before_the_weights() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 24 * MIB, 5);
    fs::rename(dir.join("model.safetensors"), dir.join("model-00001-of-00002.safetensors")).expect("renamed");
    fs::write(dir.join("run.py"), "import os\n").expect("written");
    let path = dir.to_string_lossy().into_owned();
    let daemon = Daemon::start(&a, [""; 0]);
    let publish = ["publish", &path, "m", "--key", "me", "--incomplete", "--allow", "code"];
    let reference = text(&a.json(publish)["reference"]);
    let address = daemon.address();
    let before = served(&a);
    let pull = ["pull", &reference, "--cache-only", "--from", &address, "--no-mdns"];
    let refused = b.run(pull).failed(6, "--allow code");
    assert!(refused.stderr().contains("run.py is of kind code"), "{}", refused.stderr());
    b.run(pull.iter().chain(&["--dry-run"])).failed(6, "run.py is of kind code");
    // A limited pull fetches the small files by another way.
    b.run(pull.iter().chain(&["--limit-down", "1MB"])).failed(6, "run.py is of kind code");
    let sent = served(&a) - before;
    assert!(sent < MIB, "{sent} bytes were sent of a model that is refused");

    let planned = b.json(pull.iter().chain(&["--dry-run", "--allow", "code"]));
    let missing = "the model is not whole: model-00002-of-00002.safetensors is missing";
    assert!(planned["notes"].to_string().contains(missing), "{}", planned["notes"]);
    // In an empty store, it says what it has fetched although nothing was to be.
    let first = Home::new("C").json(pull.iter().chain(&["--dry-run", "--allow", "code"]));
    let fetched = "were fetched into the cache to judge the model";
    assert!(first["notes"].to_string().contains(fetched), "{}", first["notes"]);
    assert!(served(&a) - before < MIB, "a plan fetches no weights");
    let pulled = b.run(pull.iter().chain(&["--allow", "code", "--json"])).ok();
    assert!(pulled.stderr().contains(missing), "{}", pulled.stderr());
    let pulled = pulled.json();
    assert_eq!((&pulled["complete"], &pulled["is_part"]), (&false.into(), &false.into()));
    assert!(pulled["gaps"].to_string().contains("model-00002-of-00002.safetensors"), "{}", pulled["gaps"]);
    assert_eq!(b.json(["info", &reference])["summary"]["complete"], false);
}

#[test]
fn a_pull_tells_each_gap_before_the_weights() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let daemon = Daemon::start(&a, [""; 0]);
    let address = daemon.address();
    for (seed, lacking) in (0..).zip(gaps::all()) {
        let Lacking { name, said, .. } = lacking;
        let dir = a.path().join(name);
        lacking.write(&dir);
        model::generate(&dir.join("other"), 3 * MIB, seed);
        let path = dir.to_string_lossy().into_owned();
        let publish = ["publish", &path, name, "--key", "me"];
        let published = a.json(publish.into_iter().chain(ACCEPTING));
        let reference = text(&published["reference"]);
        let before = served(&a);
        let pull = ["pull", &reference, "--cache-only", "--from", &address, "--no-mdns", "--allow", KINDS];
        let planned = b.json(pull.iter().chain(&["--dry-run"]));
        assert!(planned["notes"].to_string().contains(said), "{name}: {}", planned["notes"]);
        let sent = served(&a) - before;
        assert!(sent < MIB, "{name}: {sent} bytes were sent for a plan");
        let pulled = b.json(pull);
        assert!(pulled["notes"].to_string().contains(said), "{name}: {}", pulled["notes"]);
        assert_eq!(pulled["complete"], false, "{name}");
    }
}

#[test]
fn an_import_is_refused_before_its_weights_are_fetched() {
    let a = Home::new("A");
    a.key("me");
    let code = Lacking {
        name: "code",
        files: vec![("modeling.py", b"import os\n".to_vec())],
        said: "modeling.py is of kind code",
    };
    for lacking in gaps::all().into_iter().chain([code]) {
        let Lacking { name, said, .. } = lacking;
        let dir = a.path().join(name);
        lacking.write(&dir);
        model::generate(&dir.join("other"), 3 * MIB, 9);
        let repository = format!("org/{name}");
        let endpoint = Endpoint::start(&repository, &dir, Manner::default());
        let import = |flags: &[&str]| {
            let mut command = a.command(["import", &format!("hf:{repository}"), "--key", "me", "--offline"]);
            a.ran(command.args(flags).env("HF_ENDPOINT", endpoint.url()).env_remove("HF_TOKEN"))
        };
        for flags in [&["--dry-run"][..], &[]] {
            let refused = import(flags);
            assert_eq!(refused.code(), 6, "{name} {flags:?}: {}", refused.stderr());
            assert!(refused.stderr().contains(said), "{name} {flags:?}: {}", refused.stderr());
        }
        let asked = endpoint.take_asked();
        assert!(asked.iter().any(|it| it.path.contains("/tree/")), "{asked:?}");
        assert!(
            !asked.iter().any(|it| it.path.ends_with("/other/model.safetensors") && it.method == "GET"),
            "{asked:?}"
        );
        import(&ACCEPTING).ok();
    }
}

/// Writes a repository into the cache of Hugging Face's clients, and returns the cache's folder.
fn cache(home: &Home, repository: &str, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let hub = home.path().join("hub");
    let root = hub.join(format!("models--{}", repository.replace('/', "--")));
    for dir in ["refs", "blobs", "trees"] {
        fs::create_dir_all(root.join(dir)).expect("a folder");
    }
    fs::write(root.join("refs/main"), COMMIT).expect("written");
    for (path, bytes) in files {
        let blob = root.join("blobs").join(Digest::of(bytes).hex());
        fs::write(&blob, bytes).expect("written");
        let link = root.join("snapshots").join(COMMIT).join(path);
        fs::create_dir_all(link.parent().expect("a folder")).expect("a folder");
        symlink(blob, link).expect("linked");
    }
    hub
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn a_cache_that_is_partial_or_holds_a_gap_is_refused() {
    let a = Home::new("A");
    a.key("me");
    let config = ("config.json", b"{\"model_type\":\"bert\"}".to_vec());
    let weights = ("model.safetensors", b"\x02\0\0\0\0\0\0\0{}".to_vec());
    let import = |hub: &Path, repository: &str, flags: &[&str]| {
        let mut command = a.command(["import", "--from", "hf-cache", repository, "--key", "me", "--offline"]);
        a.ran(command.args(flags).env("HF_HUB_CACHE", hub).env_remove("HF_HOME"))
    };
    let refused = |hub: &Path, repository: &str, said: &str| {
        for flags in [&["--dry-run"][..], &[]] {
            let ran = import(hub, repository, flags).failed(6, "--incomplete");
            assert!(ran.stderr().contains(said), "{repository} {flags:?}: {}", ran.stderr());
        }
        import(hub, repository, &ACCEPTING).ok();
    };
    let hub = cache(&a, "org/small", std::slice::from_ref(&config));
    refused(&hub, "org/small", "the weights that config.json describes");
    cache(&a, "org/listed", &[config.clone(), weights.clone()]);
    let listed = hub.join("models--org--listed");
    let list = r#"{"files":{"config.json":{},"model.safetensors":{},"vocab/tokenizer.json":{}}}"#;
    fs::write(listed.join("trees").join(format!("{COMMIT}.json")), list).expect("written");
    refused(&hub, "org/listed", "vocab/tokenizer.json");
    // What the user leaves out is not lacking.
    import(&hub, "org/listed", &["--exclude", "vocab/"]).ok();
    import(&hub, "org/small", &["--exclude", "*.json"]).failed(8, "is left out");
    cache(&a, "org/broken", &[config.clone(), weights.clone()]);
    fs::write(hub.join("models--org--broken/blobs/5f3c.1a2b.incomplete"), b"x").expect("written");
    refused(&hub, "org/broken", "its download was interrupted");
    cache(&a, "org/whole", &[config.clone(), weights.clone()]);
    import(&hub, "org/whole", &[]).ok();
    for Lacking { name, files, said } in gaps::all() {
        let repository = format!("gaps/{name}");
        let mut files: Vec<_> = files.into_iter().chain([config.clone()]).collect();
        if !files.iter().any(|(path, _)| *path == weights.0) {
            files.push(weights.clone());
        }
        cache(&a, &repository, &files);
        refused(&hub, &repository, said);
    }
}
