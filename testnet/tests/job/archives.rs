//! Tests archives with real processes: a model goes by a tar file or a directory to a node without a network, is verified there
//! by the rules of a pull, and is served from there. `REG_FULL=1` carries 1 GiB.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, Ran, is_full, peak_rss, text};
use reg_testnet::tree;
use serde_json::Value;

use crate::disks::Disk;

const MIB: u64 = 1 << 20;
/// What a process may use beside what it has at its start, whatever the size of the model.
const RSS_MAX: u64 = 192 * MIB;

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn export(home: &Home, references: &[&str], to: &Path, flags: &[&str]) -> Ran {
    let to = shown(to);
    let args = [&["export"][..], references, &["-o", &to, "--json"], flags].concat();
    home.run(args)
}

fn import(home: &Home, from: &Path, flags: &[&str]) -> Ran {
    let from = shown(from);
    home.run([&["import", &from, "--json"][..], flags].concat())
}

/// Returns the only model of an import.
fn imported(ran: Ran) -> Value {
    let report = ran.ok().json();
    assert_eq!(report["models"].as_array().map(Vec::len), Some(1), "{report}");
    report["models"][0].clone()
}

fn models(home: &Home) -> Vec<Value> {
    home.json(["ls"]).as_array().expect("a list").clone()
}

/// Writes a small model, which differs with `content`; returns its directory.
fn small(home: &Home, name: &str, content: &str) -> PathBuf {
    let dir = home.path().join(name);
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    std::fs::write(dir.join("README.md"), "---\nlicense: mit\n---\n").expect("written");
    dir
}

#[test]
fn a_model_goes_by_archive_to_a_node_without_network_and_is_served_there() {
    let size = if is_full() { 1024 * MIB } else { 12 * MIB };
    let [a, b, c, d] = ["A", "B", "C", "D"].map(Home::new);
    let dir = a.path().join("model");
    model::generate(&dir, size, 41);
    a.key("me");
    a.run(["publisher", "set", "--key", "me", "--title", "Boxed Works"]).ok();
    let reference = a.publish(&dir, "Boxed:v1", "me");
    a.run(["attest", &reference, "--kind", "scan", "--result", "pass", "--tool", "t 1", "--key", "me"]).ok();
    let (tar, folder) = (a.path().join("boxed.tar"), a.path().join("layout"));
    let exported = export(&a, &[&reference], &tar, &[]).ok().json();
    let manifest = text(&exported["models"][0]["manifest"]);
    assert_eq!(exported["models"][0]["ref_name"], "v1");
    assert!(exported["bytes"].as_u64() >= Some(size));
    // The same content gives the same bytes, and replaces the file.
    let first = tree::digest(&tar);
    export(&a, &[&reference], &tar, &[]).ok();
    assert_eq!(tree::digest(&tar), first);
    export(&a, &[&reference], &folder, &[]).ok();
    let again = export(&a, &[&reference], &folder, &[]).ok().json();
    assert!(again["bytes_kept"].as_u64() >= Some(size), "what is there is kept: {again}");

    // Without a daemon, without a network, by the archive alone.
    let listed = import(&b, &tar, &["--dry-run"]).ok().json();
    assert_eq!(listed["models"][0]["manifest"], manifest.as_str());
    assert!(models(&b).is_empty());
    let taken = imported(import(&b, &tar, &[]));
    assert_eq!((text(&taken["reference"]), text(&taken["manifest"])), (reference.clone(), manifest.clone()));
    assert_eq!((taken["complete"].as_bool(), taken["behind"].is_null()), (Some(true), true));
    assert_eq!(b.json(["search", "boxed"])["found"], 1, "what was imported is found");
    assert!(taken["notes"].to_string().contains("first model of publisher"), "{taken}");
    let info = b.json(["info", &reference]);
    assert_eq!(info["attestations"][0]["kind"], "scan", "{info}");
    assert_eq!(info["profile"]["title"], "Boxed Works", "{info}");
    b.run(["verify", &reference]).ok();
    b.run(["export-signature", &reference]).ok();
    let out = b.path().join("out");
    b.run(["pull", &reference, &shown(&out), "--offline"]).ok();
    tree::assert_equal(&dir, &out);
    assert_eq!(imported(import(&b, &folder, &[]))["manifest"], manifest.as_str(), "again changes nothing");

    // Through a daemon, out of a directory; a peer and a client of a gateway have it from there.
    let daemon = Daemon::start(&c, [""; 0]);
    imported(import(&c, &folder, &[]));
    d.pull(&reference, &[&daemon.address()], &[]).ok();
    tree::assert_equal(&dir, &d.path().join("out"));
    let served = reference.trim_end_matches(":v1");
    let url = format!("{}/{served}/resolve/v1/model.safetensors", http::base(&daemon));
    assert_eq!(http::get(&url, &[]).digest(), tree::digest(&dir.join("model.safetensors")));
    let peak = daemon.peak_rss();
    assert!(peak < RSS_MAX || !is_full(), "{peak} bytes of memory");
}

#[test]
fn an_older_archive_never_takes_the_place_of_a_newer_version() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    a.key("me");
    let one = a.publish(&small(&a, "one", "first"), "tale:v", "me");
    let [old, by_digest, new] = ["old.tar", "digest.tar", "new.tar"].map(|it| a.path().join(it));
    let first = text(&export(&a, &[&one], &old, &[]).ok().json()["models"][0]["manifest"]);
    export(&a, &[&format!("{}@{first}", one.trim_end_matches(":v"))], &by_digest, &[]).ok();
    a.publish(&small(&a, "two", "second"), "tale:v", "me");
    let second = text(&export(&a, &[&one], &new, &[]).ok().json()["models"][0]["manifest"]);
    imported(import(&b, &new, &[]));
    import(&b, &old, &[]).failed(4, "older version");
    assert_eq!(text(&b.json(["info", &one])["summary"]["manifest"]), second);
    assert_eq!(models(&b).len(), 1);
    // By its digest it can be had, and the tag stays.
    assert_eq!(imported(import(&b, &by_digest, &[]))["manifest"], first.as_str());
    assert_eq!(text(&b.json(["info", &one])["summary"]["manifest"]), second);
    // The other way round, the tag moves.
    imported(import(&c, &old, &[]));
    assert_eq!(imported(import(&c, &new, &[]))["manifest"], second.as_str());
    assert_eq!(text(&c.json(["info", &one])["summary"]["manifest"]), second);
}

#[test]
fn keys_that_were_rotated_and_revoked_count_as_in_a_pull() {
    let [a, b, c, d, thief] = ["A", "B", "C", "D", "thief"].map(Home::new);
    a.key("me");
    let stolen = text(&a.json(["key", "show", "me"])["public_key"]);
    let keys = thief.path().join("keys");
    std::fs::create_dir_all(&keys).expect("a folder");
    for name in ["me.pem", "me.json"] {
        std::fs::copy(a.path().join("keys").join(name), keys.join(name)).expect("a key");
    }
    let bad = thief.publish(&small(&thief, "bad", "thief"), "bad:v", "me");
    let one = a.publish(&small(&a, "one", "first"), "one:v", "me");
    let [before, rotated, after, forged] =
        ["before.tar", "rotated.tar", "after.tar", "forged.tar"].map(|it| a.path().join(it));
    export(&a, &[&one], &before, &[]).ok();
    export(&thief, &[&bad], &forged, &[]).ok();
    a.run(["key", "rotate", "me", "--yes"]).ok();
    let two = a.publish(&small(&a, "two", "second"), "two:v", "me");
    // What the old key signed stands by the inheritance list, and both key documents travel.
    export(&a, &[&one, &two], &rotated, &[]).ok();
    let report = import(&b, &rotated, &[]).ok().json();
    assert_eq!(report["models"].as_array().map(Vec::len), Some(2), "{report}");
    assert_eq!(b.json(["log", &two])["key_document"], 2);
    // An archive of before the rotation adds nothing, and takes nothing back.
    imported(import(&b, &before, &[]));
    assert_eq!(b.json(["log", &two])["key_document"], 2);
    a.run(["key", "revoke", "me", "--key", &stolen, "--reason", "stolen", "--yes"]).ok();
    export(&a, &[&two], &after, &[]).ok();
    imported(import(&c, &after, &[]));
    import(&c, &forged, &[]).failed(4, "re");
    assert_eq!(models(&c).len(), 1, "nothing is taken that the revoked key alone has signed");
    imported(import(&c, &before, &[]));
    assert_eq!(models(&c).len(), 2, "what the next key document has taken over counts on");
    // A node that has heard of nothing believes an archive of before, as it would believe a peer.
    imported(import(&d, &forged, &[]));
}

#[test]
fn the_user_s_consent_and_rules_hold_for_archives() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let dir = a.path().join("pickled");
    model::generate(&dir, 3 * MIB, 42);
    std::fs::write(dir.join("weights.pkl"), b"\x80\x04\x95\x03\0\0\0\0\0\0\0]\x94.").expect("written");
    let published = ["publish", &shown(&dir), "pickled", "--key", "me", "--allow", "pickle"];
    let pickled = text(&a.json(published)["reference"]);
    let plain = a.publish(&small(&a, "plain", "q"), "plain", "me");
    let tar = a.path().join("both.tar");
    export(&a, &[&pickled, &plain], &tar, &[]).ok();
    // One that is refused does not keep the other back.
    let refused = import(&b, &tar, &[]);
    assert_eq!(refused.code(), 6, "{}", refused.stderr());
    let said = refused.stderr();
    assert!(said.contains("stay in the store") && said.contains("reg gc"), "{said}");
    let report = refused.json();
    assert_eq!(text(&report["models"][0]["reference"]), plain);
    assert!(report["failed"][0].to_string().contains("pickle"), "{report}");
    assert_eq!(models(&b).len(), 1, "nothing half is recorded");
    // The small files tell what is refused, so the weights are not copied.
    let copied = || {
        let status = b.json(["status"]);
        status["bytes"].as_u64().zip(status["partial_bytes"].as_u64()).map(|(whole, partial)| whole + partial)
    };
    assert!(copied().is_some() && copied() < Some(MIB), "{:?} bytes", copied());
    b.run(["trust", "require", &format!("{publisher}/*"), "--license", "apache-2.0"]).ok();
    let refused = import(&b, &tar, &["--allow", "pickle"]);
    assert_eq!(refused.code(), 6);
    assert!(refused.json()["failed"][0].to_string().contains("licen"), "{}", refused.stdout());
    assert!(copied().is_some() && copied() < Some(MIB), "{:?} bytes", copied());
    // What was verified before the refusal stays, and goes when the user wants it.
    let kept = |home: &Home| tree::digests(&home.path().join("store/blobs")).len();
    let before = kept(&b);
    b.run(["gc"]).ok();
    assert!(kept(&b) < before, "{} of {before} blobs", kept(&b));
    b.run(["trust", "waive", &format!("{publisher}/*")]).ok();
    let report = import(&b, &tar, &["--allow", "pickle"]).ok().json();
    assert_eq!(report["models"].as_array().map(Vec::len), Some(2), "{report}");
}

#[test]
fn a_part_is_carried_as_a_part_and_the_rest_follows() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    std::fs::create_dir_all(&dir).expect("a folder");
    // Of one size they would be of one content.
    for (quant, size) in [("Q4_0", 3 * MIB), ("Q8_0", 4 * MIB)] {
        model::gguf(&dir.join(format!("tiny-{quant}.gguf")), size);
    }
    std::fs::write(dir.join("README.md"), "---\nlicense: mit\n---\n").expect("written");
    let reference = a.publish(&dir, "tiny", "me");
    let [part, whole] = ["part.tar", "whole"].map(|it| a.path().join(it));
    let exported = export(&a, &[&reference], &part, &["--quant", "Q4_0"]).ok().json();
    assert_eq!(
        (exported["models"][0]["is_part"].as_bool(), exported["models"][0]["files"].as_u64()),
        (Some(true), Some(2))
    );
    export(&a, &[&reference], &whole, &[]).ok();
    export(&a, &[&reference], &a.path().join("none.tar"), &["--quant", "Q2_K"]).failed(8, "Q2_K");
    let taken = imported(import(&b, &part, &[]));
    assert_eq!((taken["is_part"].as_bool(), taken["files"].as_u64()), (Some(true), Some(2)));
    // A part of a part, and files that it has not.
    import(&b, &part, &["--include", "*Q8_0*"]).failed(8, "none of the files");
    export(&b, &[&reference], &b.path().join("again.tar"), &[]).ok();
    export(&b, &[&reference], &b.path().join("more.tar"), &["--include", "*.gguf"]).failed(3, "not whole");
    let taken = imported(import(&b, &whole, &[]));
    assert_eq!((taken["is_part"].as_bool(), taken["complete"].as_bool()), (Some(false), Some(true)));
    let out = b.path().join("out");
    b.run(["pull", &reference, &shown(&out), "--offline"]).ok();
    tree::assert_equal(&dir, &out);
}

#[test]
fn what_an_export_cannot_write_is_said_and_nothing_is_left() {
    let a = Home::new("A");
    a.key("me");
    let reference = a.publish(&small(&a, "one", "x"), "one", "me");
    let other = a.publish(&small(&a, "two", "y"), "two", "me");
    let folder = a.path().join("folder");
    let to = |name: &str| a.path().join(name);
    export(&a, &[&reference.replace("one", "none")], &to("x.tar"), &[]).failed(3, "not in the store");
    export(&a, &[&reference], &to("none/x.tar"), &[]).failed(3, "x.tar cannot be written");
    export(&a, &[&reference], &to("x.tar.gz"), &[]).failed(2, "compressed");
    export(&a, &[&reference], Path::new("-"), &[]).failed(2, "file or a directory");
    std::fs::create_dir_all(to("dir.tar")).expect("a folder");
    export(&a, &[&reference], &to("dir.tar"), &[]).failed(6, "is a directory");
    export(&a, &[&reference], &a.path().join("one"), &[]).failed(6, "other content");
    export(&a, &[&reference, &reference], &folder, &[]).ok();
    export(&a, &[&other], &folder, &[]).failed(6, "other models");
    let both = export(&a, &[&other, &reference], &folder, &[]).ok().json();
    assert_eq!(both["models"][0]["ref_name"], "two/latest");
    assert!(!to("x.tar").exists() && !to("x.tar.gz").exists());
    // An import says what it misses.
    let import = |name: &str| import(&a, &to(name), &[]);
    import("none.tar").failed(3, "none.tar");
    std::fs::write(to("text.tar"), "no archive").expect("written");
    import("text.tar").failed(4, "is cut off");
    std::fs::remove_file(folder.join("index.json")).expect("removed");
    import("folder").failed(4, "run `reg export` again");
}

/// The moments of a loop, from a seed that is printed.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = std::env::var("REG_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
        println!("REG_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self, max: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        max.mul_f64((self.0 % 10_000) as f64 / 10_000.0)
    }
}

fn start(home: &Home, args: &[&str]) -> Child {
    home.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("reg runs")
}

/// Kills a process after a while, unless it has ended.
fn run_for(child: &mut Child, time: Duration) {
    std::thread::sleep(time);
    drop(child.kill());
    drop(child.wait());
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder").flatten();
    entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn killed_on_both_sides_nothing_half_is_left_and_both_go_on() {
    let (size, kills) = if is_full() { (1024 * MIB, 12) } else { (160 * MIB, 4) };
    let [a, b] = ["A", "B"].map(Home::new);
    let dir = a.path().join("model");
    model::generate(&dir, size, 43);
    a.key("me");
    let reference = a.publish(&dir, "big", "me");
    let out = a.path().join("out");
    std::fs::create_dir(&out).expect("a folder");
    let (tar, folder) = (shown(&out.join("big.tar")), shown(&a.path().join("layout")));
    let (mut moments, slice) = (Moments::new(), Duration::from_millis(if is_full() { 4000 } else { 700 }));
    let mut named = Vec::new();
    for _kill in 0..kills {
        run_for(&mut start(&a, &["export", &reference, "-o", &tar]), moments.next(slice));
        let left = names(&out);
        assert!(left.iter().all(|it| it == "big.tar" || it == ".big.tar.part"), "{left:?}");
        // A process can be killed after it has named the archive, and before it has ended.
        if left.iter().any(|it| it == "big.tar") {
            named.push(tree::digest(Path::new(&tar)));
            std::fs::remove_file(&tar).expect("removed");
        }
        run_for(&mut start(&a, &["export", &reference, "-o", &folder]), moments.next(slice));
        if Path::new(&folder).join("index.json").exists() {
            // The index comes last.
            let again = export(&a, &[&reference], Path::new(&folder), &[]).ok().json();
            assert!(again["bytes_kept"].as_u64() >= Some(size), "{again}");
            std::fs::remove_dir_all(&folder).expect("removed");
        } else if Path::new(&folder).exists() {
            import(&b, Path::new(&folder), &[]).failed(4, "");
        }
    }
    export(&a, &[&reference], Path::new(&tar), &[]).ok();
    export(&a, &[&reference], Path::new(&folder), &[]).ok();
    assert_eq!(names(&out), ["big.tar"], "nothing else is left");
    let whole = tree::digest(Path::new(&tar));
    assert!(named.iter().all(|it| *it == whole), "an archive has its name when it is whole");
    let parts = names(&Path::new(&folder).join("blobs/sha256"));
    assert!(parts.iter().all(|it| it.len() == 64), "{parts:?}");
    for from in [&tar, &folder] {
        let mut peak = 0;
        for _kill in 0..kills {
            let mut child = start(&b, &["import", from]);
            let time = moments.next(slice);
            std::thread::sleep(time / 2);
            peak = peak.max(peak_rss(child.id()).unwrap_or(0));
            run_for(&mut child, time / 2);
            // A process can be killed after it has recorded the model, and before it has ended.
            if !models(&b).is_empty() {
                b.run(["verify", &reference]).ok();
            }
        }
        assert!(peak < RSS_MAX, "{peak} bytes of memory");
        imported(import(&b, Path::new(from), &[]));
        b.run(["verify", &reference]).ok();
        b.run(["rm", &reference]).ok();
    }
}

#[test]
fn full_disks_on_both_sides_are_clear_errors_and_leave_nothing_half() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 24 * MIB, 44);
    let reference = a.publish(&dir, "large", "me");
    let stick = a.path().join("stick");
    std::fs::create_dir(&stick).expect("a folder");
    let Some(disk) = Disk::mount(&stick, "16m") else { return };
    for to in ["x.tar", "layout"] {
        export(&a, &[&reference], &stick.join(to), &[]).failed(7, "free some space");
    }
    assert!(names(&stick).iter().all(|it| it == "layout"), "{:?}", names(&stick));
    disk.remount("size=80m");
    for to in ["x.tar", "layout"] {
        export(&a, &[&reference], &stick.join(to), &[]).ok();
    }
    // The other side: its store is on a small disk.
    let at = b.path().join("disk");
    std::fs::create_dir(&at).expect("a folder");
    let Some(small) = Disk::mount(&at, "24m") else { return };
    let b = b.kept_at(at.join("home"));
    std::fs::create_dir_all(at.join("home")).expect("a folder");
    std::fs::write(at.join("home/config.toml"), "[cache]\nmin_free = \"0 B\"\nmax_size = \"unlimited\"\n")
        .expect("written");
    import(&b, &stick.join("x.tar"), &[]).failed(7, "");
    assert!(models(&b).is_empty());
    small.remount("size=120m");
    imported(import(&b, &stick.join("x.tar"), &[]));
    b.run(["verify", &reference]).ok();
}
