//! Tests pulls into a directory that a pull has filled before: what was not touched follows the model, and what the user has
//! changed or put there stays, and is named.

use std::fs;
use std::path::Path;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home};
use reg_testnet::tree;
use serde_json::{Value, json};

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
}

/// Publishes the files of a folder, with some weights, as a model's next version.
fn version(home: &Home, number: u64, files: &[(&str, &str)]) -> (String, std::path::PathBuf) {
    let dir = home.path().join(format!("v{number}"));
    model::generate(&dir, 3 << 20, number);
    write(&dir, files);
    let reference = home.publish(&dir, "story", "me");
    (reference, dir)
}

fn pull(home: &Home, reference: &str, dest: &Path, flags: &[&str]) -> Value {
    let dest = dest.to_string_lossy();
    let args = ["pull", reference, &dest, "--offline", "--json"];
    home.run(args.iter().chain(flags)).ok().json()
}

#[test]
fn a_pull_replaces_what_was_not_touched_and_keeps_what_was() {
    let home = Home::new("A");
    home.key("me");
    let (reference, v1) = version(
        &home,
        1,
        &[("README.md", "one"), ("extra/gone.json", "{}"), ("extra/mine.json", "{}"), ("notes.txt", "1")],
    );
    let (dest, kept) = (home.path().join("out"), home.path().join("kept"));
    pull(&home, &reference, &dest, &[]);
    pull(&home, &reference, &kept, &[]);
    tree::assert_equal(&v1, &dest);
    // One file of the version is edited, and one that the next version has no more. A file of the user's is added.
    for (path, text) in [("notes.txt", "my own"), ("extra/mine.json", "[1]"), ("todo.txt", "buy milk")] {
        fs::remove_file(dest.join(path)).ok();
        write(&dest, &[(path, text)]);
    }
    let (_, v2) = version(&home, 2, &[("README.md", "two"), ("notes.txt", "2"), ("more.json", "{\"a\":1}")]);
    let updated = pull(&home, &reference, &dest, &[]);
    assert_eq!(updated["kept"], json!(["notes.txt"]), "{updated}");
    assert_eq!(updated["removed"], json!(["extra/gone.json"]));
    assert_eq!(updated["left"], json!(["extra/mine.json"]));
    for (path, text) in
        [("README.md", "two"), ("notes.txt", "my own"), ("extra/mine.json", "[1]"), ("todo.txt", "buy milk")]
    {
        assert_eq!(fs::read_to_string(dest.join(path)).expect("there"), text, "{path}");
    }
    assert_eq!(model::weights_digest(&dest), model::weights_digest(&v2));
    // What was changed stays changed with the next pull too, and is replaced where the user says so.
    assert_eq!(pull(&home, &reference, &dest, &[])["kept"], json!(["notes.txt"]));
    pull(&home, &reference, &dest, &["--overwrite"]);
    assert_eq!(fs::read_to_string(dest.join("notes.txt")).expect("there"), "2");
    assert_eq!(fs::read_to_string(dest.join("todo.txt")).expect("there"), "buy milk");
    // Files that are gone stay where the user wants it.
    let updated = pull(&home, &reference, &kept, &["--no-delete"]);
    assert_eq!(updated["left"], json!(["extra/gone.json", "extra/mine.json"]));
    assert!(kept.join("extra/gone.json").exists());
    home.run(["verify", &dest.to_string_lossy()]).ok();
}

#[test]
fn a_part_is_replaced_by_a_part() {
    let home = Home::new("A");
    home.key("me");
    let (reference, _) = version(&home, 1, &[("a.json", "1"), ("b.json", "1")]);
    let dest = home.path().join("out");
    pull(&home, &reference, &dest, &["--include", "*.json"]);
    version(&home, 2, &[("a.json", "2"), ("c.json", "2")]);
    let updated = pull(&home, &reference, &dest, &["--include", "a.json"]);
    assert_eq!((&updated["removed"], &updated["kept"]), (&json!(["b.json"]), &Value::Null));
    assert_eq!(fs::read_to_string(dest.join("a.json")).expect("there"), "2");
    assert!(!dest.join("c.json").exists());
    home.run(["verify", &dest.to_string_lossy()]).ok();
}

#[test]
fn a_folder_of_another_model_is_left_alone() {
    let home = Home::new("A");
    home.key("me");
    let (reference, v1) = version(&home, 1, &[("README.md", "one")]);
    let other = home.path().join("other");
    model::generate(&other, 1 << 20, 7);
    write(&other, &[("other.txt", "other")]);
    let of_other = home.publish(&other, "tale", "me");
    let dest = home.path().join("out");
    let out = dest.to_string_lossy();
    pull(&home, &reference, &dest, &[]);
    home.run(["pull", &of_other, &out, "--offline"]).failed(6, "which is another model");
    tree::assert_equal(&v1, &dest);
    let both = pull(&home, &of_other, &dest, &["--overwrite"]);
    assert_eq!((&both["removed"], &both["left"]), (&Value::Null, &Value::Null));
    assert!(dest.join("README.md").exists() && dest.join("other.txt").exists());
    // A folder that was emptied holds no model.
    fs::remove_dir_all(&dest).expect("removed");
    pull(&home, &reference, &dest, &[]);
    tree::assert_equal(&v1, &dest);
}

#[test]
fn what_no_pull_has_put_there_is_refused_before_anything_is_fetched() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let daemon = Daemon::start(&a, [""; 0]);
    let (reference, v1) = version(&a, 1, &[("README.md", "of the model")]);
    let dest = b.path().join("mine");
    write(&dest, &[("README.md", "of the user"), ("other.txt", "x")]);
    let out = dest.to_string_lossy();
    let from = ["--from", &daemon.address(), "--no-mdns"];
    let refused = b.run(["pull", &reference, &out].iter().chain(&from)).failed(6, "README.md");
    assert!(
        refused.stderr().contains("--keep") && refused.stderr().contains("--overwrite"),
        "{}",
        refused.stderr()
    );
    assert_eq!(
        b.json(["status"])["bytes"].as_u64().map(|it| it < 1 << 20),
        Some(true),
        "no weights are fetched"
    );
    assert_eq!(fs::read_to_string(dest.join("README.md")).expect("there"), "of the user");
    b.run(["pull", &reference, &out, "--keep"].iter().chain(&from)).ok();
    assert_eq!(fs::read_to_string(dest.join("README.md")).expect("there"), "of the user");
    assert_eq!(model::weights_digest(&dest), model::weights_digest(&v1));
    b.run(["pull", &reference, &out, "--overwrite"].iter().chain(&from)).ok();
    assert_eq!(fs::read_to_string(dest.join("README.md")).expect("there"), "of the model");
    assert_eq!(fs::read_to_string(dest.join("other.txt")).expect("there"), "x");
    // A folder in the way of a file is never removed.
    let blocked = b.path().join("blocked");
    fs::create_dir_all(blocked.join("README.md")).expect("made");
    b.run(["pull", &reference, &blocked.to_string_lossy(), "--overwrite"].iter().chain(&from))
        .failed(6, "in the way");
    // A place that cannot be written to is said before anything is fetched.
    let file = b.path().join("file");
    fs::write(&file, "").expect("written");
    b.run(["pull", &reference, &file.join("below").to_string_lossy()].iter().chain(&from))
        .failed(6, "cannot be created");
    drop(daemon);
}
