//! Tests what a node does on a disk that is full or read-only: it serves what it has, or says what to do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, Ran, left_out, text, until, wait_until};
use reg_testnet::tree;

use super::cache::blocks;

const MIB: u64 = 1 << 20;

/// A small disk of its own, in memory. Dropping it unmounts it, whatever happens.
pub(super) struct Disk(PathBuf);

impl Disk {
    /// Mounts a disk of this size, such as `24m`. Returns `None`, and says so, where that is not allowed.
    pub(super) fn mount(at: &Path, size: &str) -> Option<Self> {
        let is_mounted = mount(at, &format!("size={size}"));
        if !is_mounted {
            left_out("a full disk", "a tmpfs cannot be mounted here", "run the tests as root");
        }
        is_mounted.then(|| Self(at.to_owned()))
    }

    /// Changes its options, such as `size=80m` or `ro`.
    pub(super) fn remount(&self, options: &str) {
        assert!(mount(&self.0, &format!("remount,{options}")), "remounted with {options}");
    }

    /// Returns its free bytes.
    pub(super) fn free(&self) -> u64 {
        rustix::fs::statvfs(&self.0).map(|it| it.f_bavail * it.f_frsize).expect("a file system")
    }

    /// Fills all but `left` bytes with a file; returns the file.
    pub(super) fn fill(&self, left: u64) -> PathBuf {
        let file = self.0.join("filler");
        std::fs::write(&file, vec![1; (self.free() - left) as usize]).expect("written");
        file
    }
}

fn mount(at: &Path, options: &str) -> bool {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// A node with its files on a disk of their own.
fn on_disk(size: &str) -> Option<(Home, Disk)> {
    let home = Home::new("on a disk");
    let at = home.path().join("disk");
    std::fs::create_dir(&at).expect("a folder");
    let disk = Disk::mount(&at, size)?;
    Some((home.kept_at(at.join("home")), disk))
}

#[test]
fn a_node_begins_on_a_full_disk_with_a_clear_error_and_serves_from_one() {
    let Some((b, disk)) = on_disk("48m") else { return };
    let kept = b.path().join("disk/home");
    // Nothing of the node is there yet, and nothing fits.
    let filler = disk.fill(0);
    for args in
        [&["ls"][..], &["config", "init"], &["key", "new", "me"], &["daemon", "--http", "127.0.0.1:0"]]
    {
        b.run(args).failed(7, "free some space");
    }
    assert!(!kept.join("config.toml").exists(), "half a file would stand in the way of the next try");
    std::fs::remove_file(&filler).expect("removed");
    b.run(["config", "init"]).ok();
    b.run(["config", "init"]).failed(6, "move it away first");
    std::fs::write(kept.join("config.toml"), "[cache]\nmin_free = \"0 B\"\n").expect("written");
    let a = Home::new("A");
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 8 * MIB, 3);
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "large", "me");
    b.run(["pull", &reference, "--cache-only", "--no-mdns", "--from", &server.address()]).ok();
    server.stop();
    // The disk is full now. What needs no room there goes on: a pull to another disk, and a first start of the daemon.
    disk.fill(0);
    let dest = a.path().join("out");
    b.run(["pull", &reference, &dest.to_string_lossy(), "--offline"]).ok();
    tree::assert_equal(&model, &dest);
    assert!(!kept.join("admin.token").exists(), "no daemon has run there");
    let daemon = Daemon::start(&b, [""; 0]);
    assert!(daemon.log().contains("the disk is full and takes no token"), "{}", daemon.log());
    let c = Home::new("C");
    c.pull(&reference, &[&daemon.address()], &[]).ok();
    tree::assert_equal(&model, &c.path().join("out"));
    assert_eq!(b.json(["status"])["models"], 1);
    // A token that is damaged cannot be made anew there either.
    daemon.stop();
    std::fs::remove_file(&filler).expect("removed");
    std::fs::write(kept.join("admin.token"), "damaged").expect("written");
    disk.fill(0);
    let daemon = Daemon::start(&b, [""; 0]);
    assert_eq!(daemon.log().matches("the disk is full and takes no token").count(), 2, "{}", daemon.log());
}

#[test]
fn a_pull_of_what_is_here_asks_for_no_free_space() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 2 * MIB, 4);
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "small", "me");
    b.run(["pull", &reference, "--cache-only", "--no-mdns", "--from", &server.address()]).ok();
    // More than any disk has.
    std::fs::write(b.path().join("config.toml"), "[cache]\nmin_free = \"1000000 TB\"\n").expect("written");
    let dest = b.path().join("out");
    b.run(["pull", &reference, &dest.to_string_lossy(), "--offline"]).ok();
    tree::assert_equal(&model, &dest);
    let other = a.path().join("other");
    model::generate(&other, 2 * MIB, 5);
    let other = a.publish(&other, "other", "me");
    b.run(["pull", &other, "--cache-only", "--no-mdns", "--from", &server.address()])
        .failed(7, "cache.min_free");
    assert_eq!(b.json(["ls"]).as_array().map(Vec::len), Some(1), "nothing was evicted in vain");
}

#[test]
fn a_read_only_disk_says_what_it_is() {
    let Some((b, disk)) = on_disk("48m") else { return };
    b.run(["ls"]).ok();
    disk.remount("ro");
    for args in
        [&["ls"][..], &["daemon", "--http", "127.0.0.1:0"], &["config", "init"], &["key", "new", "me"]]
    {
        b.run(args).failed(1, "read-only");
    }
    disk.remount("rw");
    b.run(["ls"]).ok();
}

const NO_FREE_SPACE: &str = "[cache]\nmin_free = \"0 B\"\nmax_size = \"unlimited\"\n";

/// Publishes a directory anew.
fn publish_again(home: &Home, model: &Path) -> Ran {
    home.run(["publish", &model.to_string_lossy(), "model", "--key", "me"])
}

/// A node with a key on a small disk, which may be filled to its end, and a folder for models on another disk.
fn publisher_on_disk(size: &str) -> Option<(Home, Disk, Home)> {
    let (home, disk) = on_disk(size)?;
    let kept = home.path().join("disk/home");
    std::fs::create_dir_all(&kept).expect("a folder");
    std::fs::write(kept.join("config.toml"), NO_FREE_SPACE).expect("written");
    home.key("me");
    Some((home, disk, Home::new("models")))
}

#[test]
fn a_model_is_removed_from_a_full_disk_also_by_a_command_that_is_killed() {
    let Some((b, disk, models)) = publisher_on_disk("48m") else { return };
    let model = models.path().join("model");
    model::generate(&model, 8 * MIB, 5);
    let reference = b.publish(&model, "model", "me");
    let other = models.path().join("other");
    model::generate(&other, 2 * MIB, 6);
    let mut filler = disk.fill(0);
    let refused = b.run(["publish", &other.to_string_lossy(), "other", "--key", "me"]).failed(7, "reg rm");
    assert!(!refused.stderr().contains("min_free"), "it is 0: {}", refused.stderr());
    let began = Instant::now();
    b.run(["rm", &reference]).ok();
    let took = began.elapsed();
    // The index may have gone to the disk.
    assert!(disk.free() > 6 * MIB, "{}", disk.free());
    b.run(["rm", &reference]).failed(3, "reg ls");
    b.run(["publish", &other.to_string_lossy(), "other", "--key", "me"]).ok();
    // The same through a daemon that has its index on the disk or in memory.
    std::fs::remove_file(&filler).expect("removed");
    b.publish(&model, "model", "me");
    disk.fill(0);
    let daemon = Daemon::start(&b, [""; 0]);
    b.run(["rm", &reference]).ok();
    b.run(["rm", &reference]).failed(3, "reg ls");
    daemon.stop();
    // Wherever it is killed, the same command ends what it began.
    const ROUNDS: u32 = 8;
    for round in 1..=ROUNDS {
        std::fs::remove_file(&filler).expect("removed");
        b.publish(&model, "model", "me");
        filler = disk.fill(0);
        let mut removing = b.command(["rm", &reference]).stderr(Stdio::null()).spawn().expect("reg runs");
        let _killed = wait_until(&mut removing, Instant::now() + took * round / ROUNDS);
        let again = b.run(["rm", &reference]);
        assert!([0, 3].contains(&again.code()), "round {round}: {again:?}");
        b.run(["rm", &reference]).failed(3, "reg ls");
        assert!(disk.free() > 6 * MIB, "round {round}: {}", disk.free());
    }
    assert_eq!(b.json(["ls"]).as_array().map(Vec::len), Some(1), "the other one stays");
    b.run(["verify"]).ok();
}

#[test]
fn a_pull_that_met_a_full_disk_needs_what_is_missing() {
    let Some((b, disk, a)) = publisher_on_disk("44m") else { return };
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 24 * MIB, 7);
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "large", "me");
    let address = server.address();
    let pull = ["pull", &reference, "--cache-only", "--no-mdns", "--from", &address];
    let slowly = ["--limit-down", "3 MB/s", "--limit-local"];
    let pulling = b.command(pull).args(slowly).stderr(Stdio::piped()).spawn().expect("reg runs");
    let partial = b.path().join("disk/home/store/partial");
    until("room is set aside", || blocks(&partial) >= 24 * MIB);
    // So much that some of it is recorded, and not all of it is here. Then nothing more can be written.
    until("half of it is sent", || a.json(["status"])["bytes_served"].as_u64() >= Some(12 * MIB));
    let filler = disk.fill(0);
    let ended = pulling.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(7), "{said}");
    std::fs::remove_file(&filler).expect("removed");
    let taken = blocks(&partial);
    assert!(taken > 8 * MIB, "{taken} bytes were kept");
    let missing = (24 * MIB + 4096).saturating_sub(taken);
    disk.fill(missing + 3 * MIB);
    b.run([&pull[..], &["--dry-run"]].concat()).ok();
    b.run(pull).ok();
    let dest = a.path().join("out");
    b.run(["pull", &reference, &dest.to_string_lossy(), "--offline"]).ok();
    tree::assert_equal(&model, &dest);
}

#[test]
fn a_publication_needs_room_for_what_the_store_lacks() {
    let Some((b, disk, models)) = publisher_on_disk("32m") else { return };
    let model = models.path().join("model");
    model::generate(&model, 12 * MIB, 8);
    let reference = b.publish(&model, "model", "me");
    let manifest = || text(&b.json(["info", &reference])["summary"]["manifest"]);
    let before = manifest();
    disk.fill(4 * MIB);
    publish_again(&b, &model).ok();
    assert_eq!(manifest(), before);
    std::fs::write(model.join("README.md"), "---\nlicense: mit\n---\n\nMended.\n").expect("written");
    publish_again(&b, &model).ok();
    assert_ne!(manifest(), before);
    let dest = models.path().join("out");
    b.run(["pull", &reference, &dest.to_string_lossy(), "--offline"]).ok();
    tree::assert_equal(&model, &dest);
    // Other weights of the same size do not fit, and neither do larger ones.
    for size in [12 * MIB, 13 * MIB] {
        model::generate(&model, size, 9);
        let refused = publish_again(&b, &model).failed(7, "--link");
        assert!(!refused.stderr().contains("min_free"), "{}", refused.stderr());
    }
}
