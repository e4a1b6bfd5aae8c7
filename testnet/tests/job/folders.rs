//! Tests what a node says of the folders that its pulls have filled, and what a repair and a removal make of them.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use reg_proto::digest::Digest;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, left_out};
use reg_testnet::tree;
use serde_json::{Value, json};

use crate::damage::{blob, flip};

const MIB: u64 = 1 << 20;

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::remove_file(&path).ok();
        fs::write(path, text).expect("written");
    }
}

fn version(home: &Home, number: u64, files: &[(&str, &str)]) -> String {
    let dir = home.path().join(format!("v{number}"));
    model::generate(&dir, 3 * MIB, number);
    write(&dir, files);
    home.publish(&dir, "story", "me")
}

fn pull(home: &Home, reference: &str, dest: &Path) {
    home.run(["pull", reference, &dest.to_string_lossy(), "--offline", "-q"]).ok();
}

fn status(home: &Home, dir: &Path) -> Value {
    home.json(["status", &dir.to_string_lossy()])
}

/// The files of a store but its index, by their digests.
fn files_of(home: &Home) -> std::collections::BTreeMap<String, Digest> {
    let mut files = tree::digests(&home.path().join("store"));
    files.retain(|path, _| !path.starts_with("index"));
    files
}

#[test]
fn a_folder_says_of_which_version_it_is_and_what_differs() {
    let home = Home::new("A");
    home.key("me");
    let reference = version(&home, 1, &[("README.md", "one"), ("notes.txt", "1"), ("gone.json", "{}")]);
    let out = home.path().join("out");
    pull(&home, &reference, &out);
    let clean = status(&home, &out);
    assert_eq!((&clean["changed"], &clean["missing"], &clean["own"]), (&json!([]), &json!([]), &json!([])));
    assert_eq!((&clean["hashed"], &clean["tag"], &clean["seq"]), (&json!(0), &json!("latest"), &json!(1)));
    assert_eq!((&clean["newer"], &clean["in_store"]), (&Value::Null, &json!(true)));
    // The same size, and the time of before: only the time of change tells.
    let notes = out.join("notes.txt");
    let time = fs::metadata(&notes).expect("there").modified().expect("a time");
    fs::write(&notes, "2").expect("written");
    File::options().write(true).open(&notes).expect("opened").set_modified(time).expect("set back");
    write(&out, &[("todo.txt", "mine"), ("gone.json", "[1]")]);
    fs::remove_file(out.join("README.md")).expect("removed");
    let before = (files_of(&home), tree::digests(&out));
    let differs = status(&home, &out);
    assert_eq!(differs["changed"], json!(["gone.json", "notes.txt"]), "{differs}");
    assert_eq!((&differs["missing"], &differs["own"]), (&json!(["README.md"]), &json!(["todo.txt"])));
    assert_eq!((files_of(&home), tree::digests(&out)), before, "a look writes nothing");
    home.run(["status", &out.to_string_lossy()]).ok();
    home.run(["status", &out.to_string_lossy(), "--exit-code"]).failed(4, "");
    // A newer version is known, and the folder says so until it is pulled there.
    version(&home, 2, &[("README.md", "two"), ("notes.txt", "3")]);
    let newer = status(&home, &out);
    assert_eq!((&newer["newer"]["seq"], &newer["newer"]["in_store"]), (&json!(2), &json!(true)), "{newer}");
    pull(&home, &reference, &out);
    let updated = status(&home, &out);
    assert_eq!((&updated["seq"], &updated["newer"]), (&json!(2), &Value::Null), "{updated}");
    assert_eq!((&updated["changed"], &updated["left"]), (&json!(["notes.txt"]), &json!(["gone.json"])));
    assert_eq!(updated["own"], json!(["todo.txt"]));
    // Of a model that was removed, the folder is still known.
    home.run(["rm", &reference]).ok();
    let removed = status(&home, &out);
    assert_eq!(
        (&removed["in_store"], &removed["changed"]),
        (&json!(false), &json!(["notes.txt"])),
        "{removed}"
    );
    home.run(["status", &home.path().to_string_lossy()]).failed(3, "was not pulled by this node");
    home.run(["status", "nowhere"]).failed(3, "nowhere");
}

#[test]
fn a_repair_mends_the_links_in_every_folder_and_keeps_what_was_edited() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let daemon = Daemon::start(&a, [""; 0]);
    let reference = version(&a, 1, &[("notes.txt", "1"), ("README.md", "r")]);
    let model = a.path().join("v1");
    let from = daemon.address();
    let [one, two] = ["one", "two"].map(|name| b.path().join(name));
    for dir in [&one, &two] {
        b.run(["pull", &reference, &dir.to_string_lossy(), "--from", &from, "--no-mdns"]).ok();
    }
    if fs::metadata(one.join("model.safetensors")).expect("a file").nlink() < 3 {
        return left_out("links in folders", "this file system makes no hard links", "run the tests on ext4");
    }
    flip(&blob(&b, &model), 2 * MIB + 7);
    write(&one, &[("notes.txt", "mine")]);
    // Without a repair nothing is changed, and what would be mended is named.
    let before = (files_of(&b), tree::digests(&one), tree::digests(&two));
    let found = b.run(["verify", &reference, "--json"]).json();
    assert_eq!(found["links"].as_array().map(Vec::len), Some(2), "{found}");
    b.run(["verify", &reference]).failed(4, "put back the 2 files that are linked to them");
    b.run(["verify", &one.to_string_lossy()]).failed(4, "2 damaged, 1 of them edited here");
    assert_eq!((files_of(&b), tree::digests(&one), tree::digests(&two)), before);
    let repair = ["--repair", "--from", &from, "--no-mdns"];
    let repaired = b.run(["verify", &reference, "--json"].iter().chain(&repair)).ok().json();
    assert_eq!(repaired["mended"].as_array().map(Vec::len), Some(2), "{repaired}");
    assert_eq!(repaired["links"], Value::Null);
    for dir in [&one, &two] {
        assert_eq!(tree::digest(&dir.join("model.safetensors")), model::weights_digest(&model));
    }
    tree::assert_equal(&model, &two);
    // A repair of the folder keeps the edit and puts back what is missing, unless the user wants more.
    fs::remove_file(one.join("README.md")).expect("removed");
    let dir = one.to_string_lossy().into_owned();
    let kept = b.run(["verify", &dir].iter().chain(&repair)).failed(4, "1 of them edited here");
    assert!(kept.stdout().contains("kept: ") && kept.stderr().contains("--overwrite"), "{}", kept.stderr());
    assert_eq!(fs::read_to_string(one.join("notes.txt")).expect("there"), "mine");
    assert_eq!(fs::read_to_string(one.join("README.md")).expect("there"), "r");
    b.run(["verify", &dir, "--overwrite"].iter().chain(&repair)).ok();
    tree::assert_equal(&model, &one);
}

#[test]
fn a_removal_says_what_it_frees_and_what_keeps_the_rest() {
    let home = Home::new("A");
    home.key("me");
    let reference = version(&home, 1, &[("notes.txt", "1")]);
    let out = home.path().join("out");
    pull(&home, &reference, &out);
    let is_linked = fs::metadata(out.join("model.safetensors")).expect("a file").nlink() > 1;
    // Another model has the same weights.
    let other = home.path().join("other");
    fs::create_dir(&other).expect("made");
    fs::copy(home.path().join("v1/model.safetensors"), other.join("model.safetensors")).expect("copied");
    let of_other = home.publish(&other, "tale", "me");
    let first = home.run(["rm", &reference]).ok();
    assert!(
        first.stderr().contains("stay, because other models need them") && first.stderr().contains("/tale@")
    );
    let second = home.run(["rm", &of_other]).ok();
    let said = second.stderr();
    assert_eq!(said.contains("stay on the disk, because links in"), is_linked, "{said}");
    assert_eq!(home.json(["ls"]), json!([]));
}
