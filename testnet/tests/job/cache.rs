//! Tests the bounds of the cache and of the disk: the cache stays below its size, and a full disk is an error after which
//! the pull goes on.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};
use reg_testnet::tree;

use crate::disks::Disk;

const MIB: u64 = 1 << 20;
/// Slow enough that somebody else takes the rest of the disk before the end.
const SLOWLY: [&str; 3] = ["--limit-down", "10 MB/s", "--limit-local"];
/// What the thief leaves: the index and the small files of a model are not set aside.
const LEFT: u64 = 6 * MIB;

#[test]
fn pulls_stay_below_the_size_and_what_is_pinned_stays() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    // Three of them fit.
    let references: Vec<String> = (0..6)
        .map(|n| {
            let dir = a.path().join(format!("m{n}"));
            model::generate(&dir, 3 * MIB, 100 + n);
            a.publish(&dir, &format!("m{n}"), "me")
        })
        .collect();
    let size = 10 * MIB;
    let _daemon = Daemon::start(&b, ["--cache-max-size", "10 MiB", "--bootstrap", &server.address()]);
    for (n, reference) in references.iter().enumerate() {
        b.run(["pull", reference, "--cache-only"]).ok();
        if n == 0 {
            b.run(["pin", reference]).ok();
        }
        let status = b.json(["status"]);
        let bytes = status["bytes"].as_u64().expect("a number");
        assert!(bytes <= size, "{bytes} bytes after pull {n}");
    }
    let here = b.json(["ls"]);
    let names: Vec<&str> =
        here.as_array().into_iter().flatten().filter_map(|it| it["model"].as_str()).collect();
    assert!(names.contains(&"m0"), "what is pinned stays: {names:?}");
    assert_eq!(names.len(), 3, "as many as fit: {names:?}");
    assert!(names.contains(&"m4") && names.contains(&"m5"), "the least recently used go: {names:?}");
    b.run(["rm", &references[0]]).failed(6, "reg unpin");
    let large = a.path().join("large");
    model::generate(&large, 12 * MIB, 9);
    let reference = a.publish(&large, "large", "me");
    let planned = b.json(["pull", &reference, "--cache-only", "--dry-run"]);
    assert_eq!(planned["cache_max_bytes"], size, "{planned}");
    b.run(["pull", &reference, "--cache-only"]).failed(7, "cache");
    // A plan shows what is needed, and evicts nothing for that. Its lists do not fit.
    let listed = a.path().join("listed");
    model::generate(&listed, 2 * MIB, 10);
    std::fs::write(listed.join("tokenizer.json"), json(3 * MIB)).expect("written");
    let reference = a.publish(&listed, "listed", "me");
    let before = b.json(["ls"]);
    let planned = b.json(["pull", &reference, "--cache-only", "--dry-run"]);
    assert!(planned["notes"].to_string().contains("no free room"), "{planned}");
    assert_eq!(b.json(["ls"]).as_array().map(Vec::len), before.as_array().map(Vec::len), "{before}");
    b.run(["pull", &reference, "--cache-only"]).ok();
}

#[test]
fn small_files_that_a_download_fetches_need_their_room_once() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let dir = a.path().join("model");
    model::generate(&dir, 2 * MIB, 11);
    std::fs::write(dir.join("tokenizer.json"), json(7 * MIB / 2)).expect("written");
    let reference = a.publish(&dir, "m", "me");
    let _daemon = Daemon::start(&b, ["--cache-max-size", "6 MiB", "--bootstrap", &server.address()]);
    b.run(["pull", &reference, "--cache-only"]).ok();
    assert_eq!(b.json(["ls"]).as_array().map(Vec::len), Some(1));
}

/// A list of so many bytes, as of a tokenizer.
fn json(bytes: u64) -> String {
    format!("{{\"x\":\"{}\"}}", "a".repeat(bytes as usize - 8))
}

#[test]
fn what_was_published_here_is_not_evicted_until_its_publisher_lets_go() {
    let home = Home::new("publisher");
    home.key("me");
    std::fs::write(home.path().join("config.toml"), "[cache]\nmax_size = \"10 MiB\"\n").expect("written");
    let publish = |n: u64| {
        let dir = home.path().join(format!("m{n}"));
        model::generate(&dir, 3 * MIB, 200 + n);
        home.run(["publish", &dir.to_string_lossy(), &format!("m{n}"), "--key", "me", "--offline", "--json"])
    };
    let names = || -> Vec<String> {
        home.json(["ls"]).as_array().into_iter().flatten().map(|it| text(&it["model"])).collect()
    };
    let references: Vec<String> = (0..3).map(|n| text(&publish(n).ok().json()["reference"])).collect();
    assert_eq!(names().len(), 3);
    let full = publish(3).failed(7, "reg rm");
    assert!(full.stderr().contains("published here") && full.stderr().contains("MiB"), "{}", full.stderr());
    home.run(["gc"]).ok();
    assert_eq!(names().len(), 3, "nothing was evicted");
    assert!(home.run(["ls"]).ok().stdout().contains("published here"));
    // Both ways to let go of one.
    home.run(["rm", &references[0]]).ok();
    publish(4).ok();
    home.run(["unpin", &references[1]]).ok();
    publish(5).ok();
    let left = names();
    assert!(!left.contains(&"m1".to_owned()) && left.contains(&"m2".to_owned()), "{left:?}");
}

#[test]
fn a_version_that_no_tag_means_any_more_makes_room_for_the_next() {
    let home = Home::new("publisher");
    home.key("me");
    std::fs::write(home.path().join("config.toml"), "[cache]\nmax_size = \"10 MiB\"\n").expect("written");
    let dir = home.path().join("model");
    // Three of them fit.
    let publish = |n: u64, tag: &str| {
        let _made_anew = std::fs::remove_dir_all(&dir);
        model::generate(&dir, 3 * MIB, 300 + n);
        home.run(["publish", &dir.to_string_lossy(), tag, "--key", "me", "--offline", "--json"]).ok().json()
    };
    let first = publish(0, "nightly:first");
    let nightly: Vec<_> = (1..6).map(|n| publish(n, "nightly")).collect();
    let marks = home.run(["ls"]).ok().stdout();
    assert_eq!(marks.matches("published here").count(), 2, "{marks}");
    for kept in [&first, &nightly[4]] {
        assert!(marks.contains(&text(&kept["manifest"])[..15]), "{marks}");
    }
    home.run(["verify"]).ok();
}

#[test]
fn a_full_disk_is_exit_code_7_and_the_pull_goes_on_after_room_is_made() {
    let [a, mount] = ["A", "mount"].map(Home::new);
    let Some(disk) = Disk::mount(mount.path(), "24m") else { return };
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 40 * MIB, 2);
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "large", "me");
    let home = mount.path().join("home");
    let pull_command = |free: &str| {
        let config = format!("[cache]\nmin_free = \"{free}\"\n");
        std::fs::create_dir_all(&home).expect("a folder");
        std::fs::write(home.join("config.toml"), config).expect("written");
        let args = ["pull", &reference, "--cache-only", "--from", &server.address(), "--no-mdns", "--json"];
        let mut command = a.command(args);
        command.env("REG_HOME", &home);
        command
    };
    // Asked beforehand, there is no room.
    let refused = pull_command("0 B").output().expect("reg runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(7), "{said}");
    disk.remount("size=80m");
    // Now there is, and what is set aside for a pull nobody else can take meanwhile.
    let pulling = pull_command("0 B").args(SLOWLY).stderr(Stdio::piped()).spawn().expect("reg runs");
    let partial = home.join("store/partial");
    until("room is set aside", || blocks(&partial) >= 40 * MIB);
    let thief = disk.fill(LEFT);
    let pulled = pulling.wait_with_output().expect("it ends");
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    assert!(thief.metadata().is_ok_and(|it| it.len() > 20 * MIB), "the disk was as good as full");
    let dest = a.path().join("out");
    let args = ["pull", &reference, &dest.to_string_lossy(), "--offline", "--copy"].map(str::to_owned);
    let placed = a.command(args).env("REG_HOME", &home).status().expect("reg runs");
    assert!(placed.success());
    tree::assert_equal(&model, &dest);
}

/// Bytes of the disk that the partial blobs below a folder take.
pub(super) fn blocks(dir: &Path) -> u64 {
    let partials = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let data = partials.filter_map(|it| it.path().join("data").metadata().ok());
    data.map(|it| it.blocks() * 512).sum()
}
