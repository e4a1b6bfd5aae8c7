//! Tests what goes into a model: which files of a directory are taken, under which names, within which bounds, and without a
//! second copy of their bytes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use reg_testnet::clients;
use reg_testnet::faulty_fs::{self, Fault, FaultyFs, Op};
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, Ran, left_out, signal, text, until};
use reg_testnet::tree;
use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::Value;

const MIB: u64 = 1 << 20;
const WEIGHTS: &str = "model.safetensors";

fn publish(home: &Home, args: &[&str]) -> Ran {
    home.run(["publish"].iter().chain(args).chain(&["--key", "me", "--offline"]))
}

fn write(dir: &Path, name: &str, content: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, content).expect("written");
}

/// The paths of the files of a model in the store.
fn files(home: &Home, reference: &str) -> BTreeSet<String> {
    let files = home.json(["files", reference]);
    files.as_array().expect("a list").iter().map(|it| text(&it["path"])).collect()
}

/// The pairs of path and reason in a report.
fn reasons(report: &Value) -> BTreeSet<(String, String)> {
    let list = report["left_out"].as_array().expect("a list");
    list.iter().map(|it| (text(&it["path"]), text(&it["reason"]))).collect()
}

/// The file of a blob in a home's store.
fn stored(home: &Path, hex: &str) -> PathBuf {
    home.join("store/blobs/sha256").join(&hex[..2]).join(hex)
}

#[test]
fn what_is_hidden_or_looks_like_a_secret_is_left_out_and_listed() {
    let home = Home::new("A");
    home.key("me");
    let dir = home.path().join("model");
    model::generate(&dir, MIB / 4, 1);
    let token: String = ('A'..='Z').chain('a'..='h').collect();
    write(&dir, "push.sh", &format!("hf upload --token hf_{token}\n"));
    write(&dir, ".env", "KEY=1\n");
    write(&dir, ".notes", "x\n");
    write(&dir, "run.log", "x\n");
    write(&dir, "sub/id_ed25519", "x\n");
    write(&dir, ".regignore", "*.log\n");
    fs::create_dir_all(dir.join(".venv/bin")).expect("made");
    symlink("/usr/bin/env", dir.join(".venv/bin/python")).expect("linked");
    let path = dir.to_string_lossy().into_owned();
    let plain: BTreeSet<String> = ["README.md", "config.json", WEIGHTS].map(str::to_owned).into();

    let shown = home.run(["publish", &path, "m", "--dry-run", "--offline", "--json"]).ok().json();
    let published = publish(&home, &[&path, "m", "--json"]).ok().json();
    let expected = [
        (".env", "secret"),
        (".notes", "hidden"),
        (".regignore", "never"),
        (".venv/", "hidden"),
        ("push.sh", "secret"),
        ("run.log", "ignored"),
        ("sub/id_ed25519", "secret"),
    ];
    let expected: BTreeSet<_> = expected.iter().map(|(path, why)| ((*path).into(), (*why).into())).collect();
    assert_eq!(reasons(&published), expected);
    assert_eq!(reasons(&shown), expected, "a plan says the same");
    let planned = shown["entries"].as_array().expect("a list").iter().map(|it| text(&it["path"]));
    assert_eq!(planned.collect::<BTreeSet<_>>(), plain);
    let reference = text(&published["reference"]);
    assert_eq!(files(&home, &reference), plain);

    let said = publish(&home, &[&path, "m"]).ok().stderr();
    for what in
        [".env looks like a secret", "push.sh looks like a secret: a Hugging Face token in line 1", ".venv/"]
    {
        assert!(said.contains(what), "{what}: {said}");
    }
    // The link of the virtual environment leads outside.
    let refused = publish(&home, &[&path, "m", "--hidden"]).failed(6, "outside of what is published");
    assert!(refused.stderr().contains("--exclude"), "{}", refused.stderr());
    let more =
        ["--hidden", "--exclude", ".venv/", "--secret", "push.sh", "--exclude", "*.md", "--allow-unsafe"];
    let published = publish(&home, &[&[path.as_str(), "more", "--json"][..], &more].concat()).ok().json();
    let taken: BTreeSet<String> = [".notes", "config.json", WEIGHTS, "push.sh"].map(str::to_owned).into();
    assert_eq!(files(&home, &text(&published["reference"])), taken);
    let some = publish(&home, &[&path, "some", "--include", "*.json", "--json"]).ok().json();
    assert_eq!(some["files"].as_u64(), Some(1));
    publish(&home, &[&path, "none", "--include", "*.gguf"]).failed(8, "*.gguf");
}

#[test]
fn names_that_hugging_face_takes_arrive_as_they_are() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, MIB / 4, 2);
    let names = [
        "what?.md",
        "step:1000/loss=0.3*.json",
        "say \"hi\" <now> | later.txt",
        "\u{1f917} \u{2764}\u{fe0f}.md",
        "\u{1f469}\u{200d}\u{1f4bb}.md",
        "aux.json",
    ];
    for name in names {
        write(&dir, name, &format!("{{\"name\":{name:?}}}"));
    }
    // As an old macOS volume spells it.
    write(&dir, "mode\u{300}le/re\u{301}sume\u{301}.md", "x");
    fs::create_dir(dir.join("fp16")).expect("made");
    write(&dir, "fp16/a.json", "{}");
    symlink("fp16", dir.join("default")).expect("linked");
    let daemon = Daemon::start(&a, ["--dht", "off"]);
    let reference = a.publish(&dir, "names", "me");
    let out = b.path().join("out");
    b.run(["pull", &reference, &out.to_string_lossy(), "--no-mdns", "--from", &daemon.address()]).ok();
    let mut found: BTreeSet<String> = tree::digests(&out).into_keys().collect();
    for name in ["README.md", "config.json", WEIGHTS, "fp16/a.json", "default/a.json"].iter().chain(&names) {
        assert!(found.remove(*name), "{name} is missing");
    }
    assert_eq!(found, BTreeSet::from(["mod\u{e8}le/r\u{e9}sum\u{e9}.md".to_owned()]));
    b.run(["verify", &out.to_string_lossy()]).ok();
    let repository = reference.trim_end_matches(":latest");
    for (escaped, size) in [("what%3F.md", None), ("mode%CC%80le/re%CC%81sume%CC%81.md", Some(1))] {
        let got = http::get(&format!("{}/{repository}/resolve/main/{escaped}", http::base(&daemon)), &[]);
        assert_eq!(got.status, 200, "{escaped}");
        assert!(size.is_none_or(|size: usize| got.bytes.len() == size));
    }
    // Two names that fall together are told apart for the user.
    write(&dir, "readme.md", "x");
    let refused = publish_online(&a, &dir, "names").failed(6, "readme.md");
    assert!(
        refused.stderr().contains("README.md") && refused.stderr().contains("hint: rename"),
        "{}",
        refused.stderr()
    );
}

fn publish_online(home: &Home, dir: &Path, model: &str) -> Ran {
    home.run(["publish", &dir.to_string_lossy(), model, "--key", "me"])
}

/// A folder on a file system in an image of its own.
struct Mounted {
    dir: PathBuf,
}

impl Mounted {
    /// Makes a file system and mounts it; `None`, with a line, where this machine cannot.
    fn new(home: &Home, make: (&str, &[&str], &[&str]), kind: &str, bytes: u64) -> Option<Self> {
        let (program, packages, args) = make;
        let what = format!("a {kind} file system");
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            left_out(
                &what,
                "it needs root and loop devices",
                "run the tests as root, with /dev/loop-control",
            );
            return None;
        }
        let tool = clients::tool(program, packages);
        if clients::is_left_out(&tool) {
            return None;
        }
        let (image, dir) = (home.path().join(format!("{kind}.image")), home.path().join(kind));
        File::create(&image).and_then(|it| it.set_len(bytes)).expect("an image");
        fs::create_dir_all(&dir).expect("made");
        let made =
            tool.expect("the tool is there").command().args(args).arg(&image).output().expect("it runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut mount = Command::new("mount");
        let mounted =
            mount.args(["-t", kind, "-o", "loop"]).arg(&image).arg(&dir).output().expect("mount runs");
        if !mounted.status.success() {
            left_out(&what, "the kernel does not mount it", "run the tests on a kernel that knows it");
            return None;
        }
        Some(Self { dir })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.dir).output());
    }
}

/// The file system refuses what FAT, exFAT and NTFS refuse.
#[test]
fn names_that_a_file_system_cannot_hold_are_mapped_there() {
    if faulty_fs::is_left_out("names that a file system cannot hold") {
        return;
    }
    let home = Home::new("A");
    home.key("me");
    let dir = home.path().join("model");
    model::generate(&dir, 2 * MIB, 3);
    write(&dir, "what?/step:1 c.md", "x");
    let reference =
        text(&publish(&home, &[&dir.to_string_lossy(), "names", "--json"]).ok().json()["reference"]);
    let [backing, at] = ["backing", "at"].map(|it| home.path().join(it));
    [&backing, &at].iter().for_each(|dir| fs::create_dir(dir).expect("made"));
    let disk = FaultyFs::mount(&backing, &at).expect("mounted");
    for op in [Op::Create, Op::MakeDir, Op::Rename, Op::Link] {
        for character in ["?", ":"] {
            disk.fail(Fault::nth(op, 1, Errno::INVAL).from_then_on().at(character));
        }
    }
    let out = at.join("out");
    let path = out.to_string_lossy().into_owned();
    home.run(["pull", &reference, &path, "--offline"]).ok();
    assert_eq!(fs::read(out.join("what%3F/step%3A1 c.md")).expect("mapped"), b"x");
    let verified = home.run(["verify", &path, "--json"]).ok().json();
    assert_eq!(verified["unlisted"], serde_json::json!([]));
    // What is there is right, so the same pull ends well.
    home.run(["pull", &reference, &path, "--offline"]).ok();
}

#[test]
fn what_is_over_a_bound_is_refused_before_anything_is_hashed() {
    let home = Home::new("A");
    home.key("me");
    let dir = home.path().join("model");
    model::generate(&dir, MIB / 4, 4);
    let huge = dir.join("huge.gguf");
    // Hashing so much takes minutes, and copying it fills the disk.
    File::create(&huge).and_then(|it| it.set_len((1 << 40) + (1 << 37))).expect("sparse");
    let path = dir.to_string_lossy().into_owned();
    for args in [&[path.as_str(), "m"][..], &[&path, "m", "--dry-run"], &[&huge.to_string_lossy(), "m"]] {
        let refused = publish(&home, args).failed(6, "1 TiB");
        assert!(refused.stderr().contains("hint: split"), "{}", refused.stderr());
    }
    let without = publish(&home, &[&path, "m", "--exclude", "huge.gguf", "--json"]).ok().json();
    assert_eq!(without["files"].as_u64(), Some(3));
    // More files than a manifest of 4 MiB can name, with less than 20,000 of them.
    let many = home.path().join("many");
    let long = "x".repeat(230);
    for number in 0..12_000 {
        write(&many, &format!("{}/{long}-{number}.json", number / 1000), "{}");
    }
    let before = tree::digests(&home.path().join("store/blobs")).len();
    let refused = publish(&home, &[&many.to_string_lossy(), "many"]).failed(2, "at most 4194304 are allowed");
    assert!(refused.stderr().contains("--exclude"), "{}", refused.stderr());
    assert_eq!(
        tree::digests(&home.path().join("store/blobs")).len(),
        before,
        "nothing was taken into the store"
    );
}

#[test]
fn a_daemon_hashes_nothing_for_a_command_that_was_killed() {
    let home = Home::new("A");
    home.key("me");
    let daemon = Daemon::start(&home, ["--offline", "--cache-max-size", "unlimited"]);
    let huge = home.path().join("huge.dat");
    // As large as a file may be. Hashing it takes many minutes.
    File::create(&huge).and_then(|it| it.set_len(1 << 40)).expect("sparse");
    let mut command = home.command([
        "publish",
        &huge.to_string_lossy(),
        "m",
        "--key",
        "me",
        "--link",
        "--allow-unsafe",
        "-q",
    ]);
    let mut child = command.spawn().expect("reg runs");
    let being_read = || fs::read_dir(home.path().join("store/tmp")).expect("a folder").count();
    until("the file is being read", || being_read() > 0);
    signal(child.id(), Signal::KILL);
    child.wait().expect("ended");
    until("the daemon has let go of the file", || being_read() == 0);
    drop(daemon);
}

#[test]
fn a_linked_file_has_no_second_copy_and_is_never_served_changed() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 6 * MIB, 5);
    let (weights, hex) = (dir.join(WEIGHTS), model::weights_digest(&dir).hex());
    let right = fs::read(&weights).expect("read");
    let published = publish(&a, &[&dir.to_string_lossy(), "m", "--link", "--json"]).ok().json();
    let inode = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino())).expect("a file");
    assert_eq!(inode(&weights), inode(&stored(a.path(), &hex)), "no second copy");
    assert_eq!(fs::metadata(&weights).expect("a file").permissions().mode() & 0o222, 0, "it is read-only");
    let config = dir.join("config.json");
    assert_ne!(
        fs::metadata(&config).expect("a file").permissions().mode() & 0o200,
        0,
        "small files are copied"
    );
    let reference = text(&published["reference"]);

    let daemon = Daemon::start(&a, ["--dht", "off"]);
    let from = daemon.address();
    let pull = |dest: &str| {
        let out = b.path().join(dest);
        b.run(["pull", &reference, &out.to_string_lossy(), "--no-mdns", "--from", &from, "--timeout", "5"])
    };
    pull("out").ok();
    tree::assert_equal(&dir, &b.path().join("out"));
    b.run(["rm", &reference]).ok();

    // The user makes it writable, writes into it, and sets its times back.
    let modified = fs::metadata(&weights).expect("a file").modified().expect("a time");
    fs::set_permissions(&weights, fs::Permissions::from_mode(0o644)).expect("changed");
    let mut changed = right.clone();
    changed[3 << 20] ^= 1;
    fs::write(&weights, &changed).expect("written");
    File::options().write(true).open(&weights).and_then(|it| it.set_modified(modified)).expect("set back");
    let refused = pull("again");
    assert_ne!(refused.code(), 0, "{}", refused.stderr());
    assert!(!b.path().join("again").join(WEIGHTS).exists());
    assert_eq!(fs::read(&weights).expect("read"), changed, "the user's file is the user's");
    // What was changed is another model. The old one comes back with its bytes.
    fs::write(&weights, &right).expect("written");
    publish_online(&a, &dir, "m").ok();
    pull("again").ok();
    tree::assert_equal(&dir, &b.path().join("again"));
}

/// Neither the disk nor the cache has room for a second copy.
#[test]
fn a_file_system_that_shares_extents_holds_one_copy() {
    let home = Home::new("A");
    for (program, packages, args, kind, size) in [
        ("mkfs.xfs", &["xfsprogs", "libinih1", "liburcu8"][..], &["-q", "-f"][..], "xfs", 320 * MIB),
        ("mkfs.btrfs", &["btrfs-progs", "liblzo2-2"][..], &["-q", "-f"][..], "btrfs", 320 * MIB),
    ] {
        let Some(disk) = Mounted::new(&home, (program, packages, args), kind, size) else { continue };
        let own = Home::new(kind).kept_at(disk.dir.join("home"));
        let config = disk.dir.join("home/config.toml");
        fs::create_dir_all(disk.dir.join("home")).expect("made");
        fs::write(config, "[cache]\nmax_size = \"100 MiB\"\nmin_free = \"0\"\n").expect("written");
        own.key("me");
        let dir = disk.dir.join("model");
        model::generate(&dir, 150 * MIB, 6);
        let published = publish(&own, &[&dir.to_string_lossy(), "m", "--json"]).ok().json();
        // The user's file stays writable, and a change of it is not one of the model.
        let weights = dir.join(WEIGHTS);
        assert_ne!(fs::metadata(&weights).expect("a file").permissions().mode() & 0o200, 0);
        let hex = model::weights_digest(&dir).hex();
        fs::write(&weights, b"other").expect("written");
        own.run(["verify", &text(&published["reference"])]).ok();
        assert_eq!(tree::digest(&stored(&disk.dir.join("home"), &hex)).hex(), hex, "{kind}");
    }
}

#[test]
fn several_models_are_published_at_once_and_one_that_fails_keeps_none_back() {
    let home = Home::new("A");
    let id = home.key("me");
    let at = |name: &str| home.path().join(name).to_string_lossy().into_owned();
    for (seed, name) in (7..).zip(["one", "two", "three"]) {
        model::generate(Path::new(&at(name)), MIB / 4, seed);
    }
    fs::create_dir(at("empty")).expect("made");
    let args = [at("one"), format!("deux:v2={}", at("two")), at("empty"), at("three")];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = publish(&home, &[&args[..], &["--json"]].concat());
    assert_eq!(ran.code(), 3, "{}", ran.stderr());
    let report = ran.json();
    let published: Vec<String> =
        report["models"].as_array().expect("a list").iter().map(|it| text(&it["reference"])).collect();
    assert_eq!(published, ["one:latest", "deux:v2", "three:latest"].map(|it| format!("{id}/{it}")));
    assert!(text(&report["failed"][0]["source"]).ends_with("/empty"), "{report}");
    let plan = publish(&home, &[&args[..], &["--dry-run", "--json"]].concat());
    let planned = plan.failed(3, "").json();
    assert_eq!(planned["models"].as_array().map(Vec::len), Some(3), "{planned}");
    assert_eq!(planned["failed"].as_array().map(Vec::len), Some(1), "{planned}");
    let alone = publish(&home, &[&at("one")]).ok();
    assert!(alone.stdout().contains(&format!("{id}/one:latest")), "{}", alone.stdout());
    publish(&home, &[&at("one"), &at("none")]).failed(3, "none");
}

/// Names of as many characters as Hugging Face takes, beside an id of 52.
#[test]
fn long_names_work_everywhere() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 3 * MIB, 8);
    let name = format!("Qwen3.8-27B-TURBO-Fable-{}", "x".repeat(72));
    assert_eq!(name.len(), 96);
    let daemon = Daemon::start(&a, ["--dht", "server"]);
    let reference = a.publish(&dir, &name, "me");
    let other = Daemon::start(&b, ["--bootstrap", &daemon.address(), "--dht", "server"]);
    let out = b.path().join("out");
    b.run(["pull", &reference, &out.to_string_lossy()]).ok();
    tree::assert_equal(&dir, &out);
    let repository = reference.trim_end_matches(":latest");
    let (base, digest) = (http::base(&other), text(&b.json(["info", &reference])["summary"]["manifest"]));
    assert_eq!(http::get(&format!("{base}/{repository}/resolve/main/config.json"), &[]).status, 200);
    assert_eq!(http::get(&format!("{base}/api/models/{repository}"), &[]).status, 200);
    let accept = [("accept", "application/vnd.oci.image.manifest.v1+json")];
    let folded = repository.to_ascii_lowercase();
    let manifest = http::send("GET", &format!("{base}/v2/{folded}/manifests/latest"), &accept, &[]);
    assert_eq!(manifest.status, 200, "{}", manifest.text());
    assert_eq!(manifest.digest().to_string(), digest);
    let hub = b.path().join("hub");
    let mut cached = b.command(["pull", &reference, "--to-hf-cache", "--offline"]);
    b.ran(cached.env("HF_HUB_CACHE", &hub)).ok();
    assert!(hub.join(format!("models--{}", repository.replace('/', "--"))).is_dir());
    a.run(["publish", &dir.to_string_lossy(), &format!("{name}x"), "--key", "me"]).failed(2, "at most 96");
}
