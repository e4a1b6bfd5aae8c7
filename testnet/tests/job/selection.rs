//! Tests parts of a model between real processes: chosen, planned, pulled, served, verified, and completed later.

use std::path::Path;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, Ran};
use reg_testnet::tree;
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn pull(home: &Home, reference: &str, name: &str, flags: &[&str]) -> Ran {
    let dest = home.path().join(name).to_string_lossy().into_owned();
    let args: Vec<&str> = ["pull", reference, &dest].into_iter().chain(flags.iter().copied()).collect();
    home.run(args.into_iter().chain(["--json"]))
}

/// Two quantisations with a projector and documents.
fn quantised(dir: &Path) {
    std::fs::create_dir_all(dir.join("extra")).expect("a folder");
    model::gguf(&dir.join("x-Q4_K_M.gguf"), 2 * MIB);
    model::gguf(&dir.join("x-Q8_0.gguf"), 4 * MIB);
    model::gguf(&dir.join("mmproj-F16.gguf"), MIB / 2);
    std::fs::write(dir.join("README.md"), "---\nlicense: mit\n---\n# x\n").expect("written");
    std::fs::write(dir.join("extra/notes.txt"), "notes").expect("written");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_part_is_planned_pulled_served_verified_and_made_whole() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let source = a.path().join("model");
    quantised(&source);
    a.key("me");
    let daemon_a = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&source, "x", "me");
    let daemon_b = Daemon::start(&b, ["--bootstrap", &daemon_a.address()]);

    let quant = ["--quant", "q4_k_m", "--exclude", "extra/"];
    let planned = pull(&b, &reference, "out", &[&quant[..], &["--dry-run"]].concat()).ok().json();
    let chosen: Vec<&str> =
        planned["entries"].as_array().into_iter().flatten().filter_map(|it| it["path"].as_str()).collect();
    assert_eq!(chosen, ["README.md", "mmproj-F16.gguf", "x-Q4_K_M.gguf"], "{planned}");
    let to_fetch = number(&planned["bytes_to_fetch"]);
    assert!((5 * MIB / 2..3 * MIB).contains(&to_fetch), "{planned}");
    assert_eq!((number(&planned["files"]), number(&planned["model_files"])), (3, 5));
    assert!(number(&planned["disks"][0]["needed"]) >= to_fetch, "{planned}");
    assert!(number(&b.json(["status"])["bytes_fetched"]) < MIB, "a plan reads the small files only");
    assert_eq!(b.json(["ls"]).as_array().map(Vec::len), Some(0));
    assert!(!b.path().join("out").exists());

    let pulled = pull(&b, &reference, "out", &quant).ok().json();
    // The plan has left the small files in the cache.
    assert!((2 * MIB..=to_fetch).contains(&number(&pulled["bytes_fetched"])), "{pulled}");
    assert_eq!(pulled["complete"], Value::Bool(false));
    assert_eq!(names(&b.path().join("out")), ["README.md", "mmproj-F16.gguf", "x-Q4_K_M.gguf"]);
    let listed = &b.json(["ls"])[0];
    assert_eq!((number(&listed["part"]["files"]), &listed["part"]["complete"]), (3, &Value::Bool(true)));
    assert!(b.run(["ls"]).ok().stdout().contains("part: 3 files"));
    assert!(b.run(["info", &reference]).ok().stdout().contains("all of them in the store"));
    let out = b.path().join("out").to_string_lossy().into_owned();
    b.run(["verify", &reference]).ok();
    b.run(["verify", &out]).ok();
    b.run(["gc"]).ok();
    b.run(["pin", &reference]).ok();
    let again = |wanted: &str| {
        let args = ["publish", &source.to_string_lossy(), "x", "--key", "me", "--wait", wanted];
        number(&a.json(args)["holders"])
    };
    assert_eq!(again("0"), 0, "a part is not the model");

    // A peer that holds a part serves it alone, and goes on with a part of its own after a restart.
    daemon_b.stop();
    daemon_a.stop();
    let daemon_b = Daemon::start(&b, [""; 0]);
    let from_b = ["--include", "x-Q4_K_M.gguf", "--from", &daemon_b.address(), "--no-mdns"];
    let by_c = pull(&c, &reference, "out", &from_b).ok().json();
    assert!(by_c["peers"].as_object().is_some_and(|peers| peers.contains_key(&daemon_b.peer_id())), "{by_c}");
    assert_eq!(
        tree::digest(&c.path().join("out/x-Q4_K_M.gguf")),
        tree::digest(&source.join("x-Q4_K_M.gguf"))
    );

    // More of it into the same directory, then all.
    let _daemon_a = Daemon::start(&a, ["--bootstrap", &daemon_b.address()]);
    pull(&b, &reference, "out", &["--include", "/extra/**"]).ok();
    assert_eq!(number(&b.json(["ls"])[0]["part"]["files"]), 4);
    b.run(["verify", &out]).ok();
    std::fs::remove_file(b.path().join("out/README.md")).expect("removed");
    b.run(["verify", &out]).failed(4, "1 damaged");
    let whole = pull(&b, &reference, "out", &[]).ok().json();
    assert_eq!(whole["complete"], true);
    assert!(number(&whole["bytes_fetched"]) < 5 * MIB, "only the rest is fetched: {whole}");
    tree::assert_equal(&source, &b.path().join("out"));
    assert_eq!(b.json(["ls"])[0]["part"], Value::Null);
    assert_eq!(again("1"), 1);
    // A choice of files of a model that is whole takes nothing from it, nor from a directory that is.
    pull(&b, &reference, "out", &quant).ok();
    std::fs::remove_file(b.path().join("out/extra/notes.txt")).expect("removed");
    b.run(["verify", &out]).failed(4, "1 damaged");
    pull(&b, &reference, "some", &quant).ok();
    assert_eq!(b.json(["ls"])[0]["complete"], true);
}

#[test]
fn what_matches_nothing_is_an_error_of_its_own() {
    let a = Home::new("A");
    let source = a.path().join("model");
    quantised(&source);
    a.key("me");
    let reference = a.publish(&source, "x", "me");
    let offline = |flags: &[&str]| pull(&a, &reference, "out", &[flags, &["--offline"]].concat());
    offline(&["--include", "*.onnx"]).failed(8, "no file of the model matches *.onnx");
    offline(&["--exclude", "nowhere/"]).failed(8, "nowhere/");
    let none = offline(&["--quant", "Q2_K"]).failed(8, "no GGUF file of quantisation Q2_K");
    assert!(none.stderr().contains("x-Q8_0.gguf"), "{}", none.stderr());
    offline(&["--include", "*.gguf", "--exclude", "x*", "--exclude", "mm*"]).failed(8, "nothing is left");
    offline(&["--include", "!x"]).failed(2, "--exclude");
    assert!(!a.path().join("out").exists());
}

/// A choice that no file fits is the user's mistake, however many versions there are, with a daemon and without one.
#[test]
fn what_matches_nothing_in_the_newest_version_is_looked_for_in_no_older_one() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let source = a.path().join("model");
    quantised(&source);
    a.key("me");
    let daemon_a = Daemon::start(&a, ["--dht", "off"]);
    std::fs::write(source.join("old.onnx.txt"), "only in the first version").expect("written");
    a.publish(&source, "x", "me");
    std::fs::remove_file(source.join("old.onnx.txt")).expect("removed");
    a.publish(&source, "x", "me");
    let reference = a.publish(&source, "x", "me");
    let from = daemon_a.address();
    let daemon_c = Daemon::start(&c, ["--bootstrap", &from, "--dht", "off"]);
    let alone = ["--from", &from, "--no-mdns", "--dht", "off"];
    for (home, how) in [(&b, &alone[..]), (&c, &[][..]), (&a, &["--offline"][..])] {
        for newest in [&[][..], &["--newest"]] {
            let pulled = |flags: &[&str]| pull(home, &reference, "out", &[flags, how, newest].concat());
            let none = pulled(&["--include", "*.txt", "--include", "old.onnx.txt"]);
            let none = none.failed(8, "no file of the model matches old.onnx.txt");
            assert!(none.stderr().contains("it has README.md"), "{}", none.stderr());
            let none = pulled(&["--quant", "Q2_K"]).failed(8, "no GGUF file of quantisation Q2_K");
            assert!(none.stderr().contains("x-Q8_0.gguf"), "{}", none.stderr());
            pulled(&["--include", "x-*", "--tensors", "t", "--exclude", "*.gguf"])
                .failed(8, "nothing is left");
        }
        assert!(!home.path().join("out").exists());
    }
    drop(daemon_c);
}
