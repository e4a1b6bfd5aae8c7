//! Tests the bounds of the cache and of the disk: the cache stays below its size, and a full disk is an error after which
//! the pull goes on.

use std::process::Command;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, left_out};
use reg_testnet::tree;

const MIB: u64 = 1 << 20;

#[test]
fn twenty_pulls_stay_below_the_size_and_what_is_pinned_stays() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let references: Vec<String> = (0..20)
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
    assert!(names.contains(&"m19") && !names.contains(&"m5"), "the least recently used go: {names:?}");
    b.run(["rm", &references[0]]).failed(6, "reg unpin");
    let large = a.path().join("large");
    model::generate(&large, 12 * MIB, 9);
    let reference = a.publish(&large, "large", "me");
    b.run(["pull", &reference, "--cache-only"]).failed(7, "cache");
}

#[test]
fn a_full_disk_is_exit_code_7_and_the_pull_goes_on_after_room_is_made() {
    let [a, mount] = ["A", "mount"].map(Home::new);
    let tmpfs = |size: &str, how: &str| {
        let options = format!("{how}size={size}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(mount.path());
        command.stderr(std::process::Stdio::null()).status()
    };
    if !tmpfs("24m", "").is_ok_and(|status| status.success()) {
        left_out("a full disk", "a tmpfs cannot be mounted here", "run the tests as root");
        return;
    }
    let unmount = Unmount(mount.path().to_owned());
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 40 * MIB, 2);
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "large", "me");
    let home = mount.path().join("home");
    let pull = |free: &str| {
        let config = format!("[cache]\nmin_free = \"{free}\"\n");
        std::fs::create_dir_all(&home).expect("a folder");
        std::fs::write(home.join("config.toml"), config).expect("written");
        a.command(["pull", &reference, "--cache-only", "--from", &server.address(), "--no-mdns", "--json"])
            .env("REG_HOME", &home)
            .output()
            .expect("reg runs")
    };
    // Asked beforehand, there is no room.
    let refused = pull("0 B");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(7), "{said}");
    assert!(tmpfs("80m", "remount,").is_ok_and(|status| status.success()), "remounted");
    // Now there is, but another program takes it meanwhile.
    let thief = mount.path().join("thief");
    std::fs::write(&thief, vec![1; (80 - 44 - 10) << 20]).expect("written");
    std::thread::spawn(move || {
        for n in 0..40 {
            std::thread::sleep(std::time::Duration::from_millis(25));
            let more = thief.with_file_name(format!("thief{n}"));
            drop(std::fs::write(&more, vec![1; 1 << 20]));
        }
    });
    let refused = pull("0 B");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(7) || refused.status.success(), "{said}");
    std::thread::sleep(std::time::Duration::from_secs(1));
    for entry in std::fs::read_dir(mount.path()).expect("the mount").flatten() {
        if entry.file_name().to_string_lossy().starts_with("thief") {
            std::fs::remove_file(entry.path()).expect("removed");
        }
    }
    let pulled = pull("0 B");
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    let dest = a.path().join("out");
    let args = ["pull", &reference, &dest.to_string_lossy(), "--offline", "--copy"].map(str::to_owned);
    let placed = a.command(args).env("REG_HOME", &home).status().expect("reg runs");
    assert!(placed.success());
    tree::assert_equal(&model, &dest);
    drop(unmount);
}

/// Unmounts at the end, whatever happens.
struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
