//! Lists come from the index. They follow every change of what they show, whichever process makes it and whatever ends in between.

use std::fs;
use std::path::{Path, PathBuf};

use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};
use serde_json::Value;

/// What a list says of a model: its name, its tags, and whether it is whole.
fn listed(home: &Home) -> Vec<(String, Vec<String>, bool)> {
    let listed = home.json(["ls"]);
    let row = |it: &Value| {
        let tags = it["tags"].as_array().into_iter().flatten().map(text).collect();
        (text(&it["model"]), tags, it["complete"] == true)
    };
    listed.as_array().into_iter().flatten().map(row).collect()
}

fn row(model: &str, tags: &[&str], is_whole: bool) -> (String, Vec<String>, bool) {
    (model.to_owned(), tags.iter().map(ToString::to_string).collect(), is_whole)
}

/// Returns the file of a blob in the store of a home.
fn blob(home: &Path, hex: &str) -> PathBuf {
    let mut dirs = vec![home.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                _ if entry.path().ends_with(format!("blobs/sha256/{}/{hex}", &hex[..2])) => {
                    return entry.path();
                }
                _ => {}
            }
        }
    }
    panic!("{hex} is not in the store");
}

fn hub(daemon: &Daemon) -> Vec<String> {
    let found = http::get(&format!("{}/api/models", http::base(daemon)), &[]).json();
    let name = |it: &Value| text(&it["id"]).split_once('/').map(|(_, name)| name.to_owned());
    let mut names: Vec<String> = found.as_array().into_iter().flatten().filter_map(name).collect();
    names.sort();
    names
}

#[test]
fn a_list_follows_every_change_of_what_it_shows() {
    let home = Home::new("A");
    let publisher = home.key("me");
    let [one, two] = ["one", "two"].map(|name| home.path().join(name));
    model::generate(&one, 100_000, 81);
    model::generate(&two, 100_000, 82);
    let daemon = Daemon::start(&home, [""; 0]);
    assert!(listed(&home).is_empty() && hub(&daemon).is_empty());
    home.publish(&one, "Tiny:v1", "me");
    assert_eq!(listed(&home), [row("Tiny", &["v1"], true)]);
    home.publish(&one, "Tiny", "me");
    assert_eq!(listed(&home), [row("Tiny", &["latest", "v1"], true)], "one manifest, two tags");
    assert_eq!(hub(&daemon), ["Tiny"]);
    home.publish(&two, "Tiny", "me");
    let both = [row("Tiny", &["latest"], true), row("Tiny", &["v1"], true)];
    assert_eq!(listed(&home), both, "a tag has moved to another manifest");
    home.publish(&two, "other", "me");
    home.run(["rm", &format!("{publisher}/Tiny:v1")]).ok();
    assert_eq!(listed(&home), [row("Tiny", &["latest"], true), row("other", &["latest"], true)]);

    // What the user says of a model or its publisher is no part of what is kept.
    home.run(["pin", &format!("{publisher}/other")]).ok();
    home.run(["trust", "add", "acme", &publisher]).ok();
    let said = home.json(["ls"]);
    assert_eq!((&said[1]["pinned"], text(&said[1]["petname"])), (&Value::Bool(true), "acme".to_owned()));
    assert_eq!(hub(&daemon), ["Tiny", "other"]);
    home.run(["trust", "require", "*/other", "--attested", "review"]).ok();
    assert_eq!(hub(&daemon), ["Tiny"], "a rule refuses the other");
    home.run(["trust", "waive", "*/other"]).ok();
    assert_eq!(hub(&daemon), ["Tiny", "other"]);

    // The same without a daemon, after a kill, and after the index was lost.
    let all = [row("Tiny", &["latest"], true), row("other", &["latest"], true)];
    daemon.kill();
    assert_eq!(listed(&home), all);
    let weights = model::weights_digest(&two).hex();
    let file = blob(home.path(), &weights);
    let store = file.ancestors().nth(4).expect("the store").to_owned();
    fs::remove_dir_all(store.join("index")).expect("the index is removed");
    assert_eq!(listed(&home), all);

    // A blob that is gone, and one that comes back.
    fs::remove_file(&file).expect("removed");
    assert_eq!(listed(&home), [row("Tiny", &["latest"], false), row("other", &["latest"], false)]);
    let daemon = Daemon::start(&home, [""; 0]);
    assert!(hub(&daemon).is_empty(), "what is not whole is not offered");
    home.publish(&two, "other", "me");
    assert_eq!(listed(&home), all);
    assert_eq!(hub(&daemon), ["Tiny", "other"]);
}

/// Which version a tag means depends on which ones are whole, and another model may bring the bytes that one lacks.
#[test]
fn a_list_follows_a_head_that_another_models_pull_makes_whole() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let [one, two] = ["one", "two"].map(|name| a.path().join(name));
    model::generate(&one, 100_000, 85);
    model::generate(&two, 100_000, 86);
    let server = Daemon::start(&a, [""; 0]);
    let pull = |name: &str, flags: &[&str]| {
        let flags = [flags, &["--overwrite"]].concat();
        b.pull(&format!("{publisher}/{name}"), &[&server.address()], &flags).ok();
    };
    a.publish(&one, "Tiny", "me");
    pull("Tiny", &[]);
    a.publish(&two, "Tiny", "me");
    pull("Tiny", &["--include", "*.safetensors"]);
    let before = [row("Tiny", &[], true), row("Tiny", &["latest"], false)];
    assert_eq!(listed(&b), before, "the tag means the new version, of which every chosen file is here");

    fs::remove_file(blob(b.path(), &model::weights_digest(&two).hex())).expect("removed");
    let lost = [row("Tiny", &[], false), row("Tiny", &["latest"], true)];
    assert_eq!(listed(&b), lost, "the tag means the version that is whole");
    fs::write(two.join("config.json"), "{}").expect("written");
    a.publish(&two, "other", "me");
    pull("other", &[]);
    let after = [&before[..], &[row("other", &["latest"], true)]].concat();
    assert_eq!(listed(&b), after);
    let store = blob(b.path(), &model::weights_digest(&two).hex()).ancestors().nth(4).map(Path::to_owned);
    fs::remove_dir_all(store.expect("the store").join("index")).expect("the index is removed");
    assert_eq!(listed(&b), after, "the same without what was kept");
}

#[test]
fn a_list_comes_in_pages() {
    let home = Home::new("A");
    home.key("me");
    let files = home.path().join("model");
    model::generate(&files, 1000, 83);
    let daemon = Daemon::start(&home, [""; 0]);
    for number in 0..5 {
        home.publish(&files, &format!("m{number}"), "me");
    }
    let url = format!("{}/v1/models", http::base(&daemon));
    let names = |served: &http::Served| -> Vec<String> {
        served.json().as_array().into_iter().flatten().map(|it| text(&it["model"])).collect()
    };
    let all = http::get(&url, &[]);
    assert_eq!((names(&all), all.header("x-reg-next")), ((0..5).map(|n| format!("m{n}")).collect(), None));
    let (mut found, mut after) = (Vec::new(), None::<String>);
    for size in [2, 2, 1] {
        let from = after.as_ref().map_or(String::new(), |it| format!("&after={}", it.replace(' ', "%20")));
        let page = http::get(&format!("{url}?limit=2{from}"), &[]);
        assert_eq!(names(&page).len(), size);
        found.extend(names(&page));
        after = page.header("x-reg-next");
    }
    assert_eq!((found, after), (names(&all), None));
}

fn blobs_with(home: &Path, text: &str) -> Vec<PathBuf> {
    let (mut dirs, mut found) = (vec![home.to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.to_string_lossy().contains("blobs/sha256")
                && fs::read_to_string(&path).is_ok_and(|it| it.contains(text))
            {
                found.push(path);
            }
        }
    }
    found
}

/// The signatures of a model are read when its documents change, and not for every list.
#[test]
fn a_list_verifies_nothing_again_while_a_version_beside_is_not_whole() {
    let home = Home::new("A");
    home.key("me");
    let [one, two] = ["one", "two"].map(|name| home.path().join(name));
    model::generate(&one, 100_000, 87);
    model::generate(&two, 100_000, 88);
    home.publish(&one, "Tiny", "me");
    home.publish(&two, "Tiny:v2", "me");
    fs::remove_file(blob(home.path(), &model::weights_digest(&two).hex())).expect("removed");
    let daemon = Daemon::start(&home, [""; 0]);
    let mut both = listed(&home);
    both.sort();
    assert_eq!(both, [row("Tiny", &["latest"], true), row("Tiny", &["v2"], false)]);
    assert_eq!(hub(&daemon), ["Tiny"]);
    let provenance = blobs_with(home.path(), "application/vnd.in-toto+json");
    assert!(!provenance.is_empty(), "each version has a provenance");
    provenance.iter().for_each(|it| fs::remove_file(it).expect("removed"));
    assert_eq!(hub(&daemon), ["Tiny"], "the signature was verified before");
}

/// A model may be published although it lacks a shard that its index names.
#[test]
fn a_model_that_was_published_incomplete_is_in_every_list() {
    let home = Home::new("A");
    home.key("me");
    let dir = home.path().join("model");
    model::generate(&dir, 100_000, 89);
    let index = r#"{"weight_map":{"a":"model.safetensors","b":"more.safetensors"}}"#;
    fs::write(dir.join("model.safetensors.index.json"), index).expect("written");
    let daemon = Daemon::start(&home, [""; 0]);
    home.run(["publish", &dir.to_string_lossy(), "Tiny", "--key", "me", "--incomplete"]).ok();
    assert_eq!(listed(&home), [row("Tiny", &["latest"], false)]);
    assert_eq!(hub(&daemon), ["Tiny"]);
    let catalog = http::get(&format!("{}/v2/_catalog", http::base(&daemon)), &[]).json();
    assert_eq!(catalog["repositories"].as_array().map(Vec::len), Some(1), "{catalog}");
}

/// Returns the bytes that a process has read so far, of files and of sockets.
fn bytes_read(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("read");
    let line = io.lines().find_map(|it| it.strip_prefix("rchar: ")).expect("a count");
    line.parse().expect("a number")
}

/// Requests without a token must not make a node read weights anew.
#[test]
fn a_model_that_is_partly_here_is_described_from_its_files_once() {
    const WEIGHTS: u64 = 64 << 20;
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 100_000, 90);
    let mut hdf5 = b"\x89HDF\r\n\x1a\n".to_vec();
    hdf5.resize(usize::try_from(WEIGHTS).expect("small"), 1);
    fs::write(dir.join("tf_model.h5"), hdf5).expect("written");
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&dir, "parts", "me");
    b.pull(&reference, &[&server.address()], &["--include", "*.h5"]).ok();
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let repo = reference.trim_end_matches(":latest");
    let info = || http::get(&format!("{}/api/models/{repo}", http::base(&daemon)), &[]).json();
    let said = info();
    assert!(said["tags"].as_array().is_some_and(|tags| tags.contains(&"weights".into())), "{said}");
    let before = bytes_read(daemon.pid());
    for _ in 0..4 {
        assert_eq!(info()["tags"], said["tags"]);
    }
    // Another file that comes is added to what is known.
    http::get(&format!("{}/{repo}/resolve/main/config.json", http::base(&daemon)), &[]);
    info();
    let read = bytes_read(daemon.pid()) - before;
    assert!(read < WEIGHTS, "{read} bytes were read");
}

/// The command ends when the model is durable, and the daemon tells its peers behind it.
#[test]
fn a_publication_is_announced_behind_the_command() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let files = a.path().join("model");
    model::generate(&files, 1000, 84);
    let daemon = Daemon::start(&a, [""; 0]);
    let _peer = Daemon::start(&b, ["--bootstrap", &daemon.address()]);
    until("they are connected", || a.json(["peers"]).as_array().is_some_and(|peers| !peers.is_empty()));
    let said = a.json(["publish", &files.to_string_lossy(), "told", "--key", "me"]);
    assert_eq!(said["holders"], 0, "no peer was waited for: {said}");
    b.run(["pull", &format!("{publisher}/told"), &b.path().join("out").to_string_lossy()]).ok();
    let waited = a.json(["publish", &files.to_string_lossy(), "told:v2", "--key", "me", "--wait", "1"]);
    assert_eq!(waited["holders"], 1, "{waited}");
}
