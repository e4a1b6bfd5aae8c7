//! Tests what is quick to test of `packaging` and `deploy`: scripts, units, manifests and configurations that nothing
//! misunderstands, and packages with the same bytes twice. `packaging/try` installs and runs each package.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use reg_testnet::process::{Home, left_out, workspace};

/// A program in place of `reg`, which writes one man page and completions: the packages of a real one are large.
const STAND_IN: &str = "#!/bin/sh
case $1 in
man) mkdir -p \"$2\" && echo .TH REG 1 >\"$2/reg.1\" ;;
completion) echo \"# $2\" ;;
esac
";

/// Returns the files of a folder of the workspace, also those of folders in it.
fn files(dir: &str) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![workspace().join(dir)]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a folder").map(|it| it.expect("an entry").path()) {
            if entry.is_dir() { dirs.push(entry) } else { found.push(entry) }
        }
    }
    found.sort();
    found
}

/// Runs a command, and returns what it prints. It must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success(), "{command:?}\n{}", said.concat());
    let [printed, _] = said;
    printed
}

/// Tells whether a program is installed; prints that the test is skipped where it is not.
fn has(program: &str, what: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let is_there = found.is_ok_and(|it| it.status.success());
    if !is_there {
        left_out(what, &format!("{program} is not installed"), "install it");
    }
    is_there
}

#[test]
fn every_script_of_the_packages_is_understood_by_its_shell() {
    let mut count = 0;
    for path in files("packaging") {
        let script = fs::read_to_string(&path).expect("text");
        let is_sourced = path.parent().is_some_and(|it| it.ends_with("try.d")) || path.ends_with("version");
        let shell = match script.lines().next() {
            Some("#!/bin/sh") => "sh",
            Some("#!/usr/bin/env bash") => "bash",
            _ if is_sourced => "bash",
            _ => continue,
        };
        run(Command::new(shell).arg("-n").arg(&path));
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o111 == 0, is_sourced, "{}: mode {mode:o}", path.display());
        count += 1;
    }
    assert!(count >= 12, "{count} scripts are too few: the test looks in the wrong place");
}

/// Packs the stand-in, with a file of another age each time, and returns the list of checksums.
fn release(dir: &Path, side: &str) -> String {
    let (binary, out) = (dir.join(format!("reg-{side}")), dir.join(side));
    fs::write(&binary, STAND_IN).expect("written");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("changed");
    run(Command::new("touch").arg(format!("--date=@{}", side.len() * 1_000_000)).arg(&binary));
    let authorities = dir.join("authorities");
    fs::write(&authorities, "none").expect("written");
    let mut release = Command::new(workspace().join("packaging/release"));
    release.arg(&out).env("REG_BINARY", &binary).env("REG_PACKAGE_AUTHORITIES", &authorities);
    release.env("REG_COMMIT", "0123456789ab").env("SOURCE_DATE_EPOCH", "1700000000");
    run(&mut release)
}

#[test]
fn packages_have_the_same_bytes_twice_and_hold_what_they_install() {
    if !has("dpkg-deb", "packages are made twice") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sums = release(dir.path(), "one");
    assert_eq!(sums, release(dir.path(), "another"));
    let names: Vec<&str> = sums.lines().filter_map(|it| it.split_whitespace().nth(1)).collect();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(names.len(), 4, "{sums}");
    let out = dir.path().join("one");
    let named = |end: &str| out.join(names.iter().find(|it| it.ends_with(end)).expect("a package"));

    let listed = run(Command::new("dpkg-deb").arg("--contents").arg(named(".deb")));
    for path in [
        "./usr/bin/reg",
        "./etc/reg/config.toml",
        "./lib/systemd/system/reg.service",
        "./usr/share/man/man1/reg.1.gz",
        "./usr/share/bash-completion/completions/reg",
        "./usr/share/zsh/vendor-completions/_reg",
        "./usr/share/fish/vendor_completions.d/reg.fish",
    ] {
        assert!(listed.lines().any(|it| it.ends_with(&format!(" {path}"))), "{path} is not in\n{listed}");
    }
    assert!(listed.lines().all(|it| it.contains(" root/root ")), "{listed}");

    let archive = names.iter().find(|it| it.contains("-linux-")).expect("an archive");
    let listed = run(Command::new("tar").arg("tf").arg(out.join(archive)));
    let top = archive.trim_end_matches(".tar.gz");
    for path in
        ["bin/reg", "lib/systemd/system/reg.service", "share/doc/reg/LICENSE-MIT", "share/doc/reg/files"]
    {
        assert!(listed.lines().any(|it| it == format!("{top}/{path}")), "{path} is not in\n{listed}");
    }
    let image = names.iter().find(|it| it.contains("-oci-")).expect("an image");
    let listed = run(Command::new("tar").arg("tf").arg(out.join(image)));
    assert!(listed.lines().any(|it| it == "index.json") && image.contains(version), "{listed}");
}

#[test]
fn the_unit_is_understood_and_grants_little() {
    if has("systemd-analyze", "the unit is checked") {
        run(Command::new("bash")
            .arg(workspace().join("packaging/try.d/unit"))
            .env("REG_COMMIT", "0123456789ab")
            .env("SOURCE_DATE_EPOCH", "1700000000"));
    }
}

#[test]
fn the_configurations_of_the_packages_are_valid() {
    for path in ["packaging/debian/config.toml", "deploy/kubernetes/base/config.toml"] {
        let home = Home::new("package");
        let mut check = home.command(["config", "check"]);
        let config = PathBuf::from(home.run(["config", "path"]).ok().stdout().trim());
        fs::create_dir_all(config.parent().expect("a folder")).expect("made");
        fs::copy(workspace().join(path), &config).expect("copied");
        let said = home.ran(&mut check).ok().stdout();
        assert!(said.contains("is valid"), "{path}: {said}");
    }
}

#[test]
fn the_manifests_are_built_and_name_this_version() {
    let base =
        fs::read_to_string(workspace().join("deploy/kubernetes/base/kustomization.yaml")).expect("text");
    assert!(base.contains(concat!("newTag: ", env!("CARGO_PKG_VERSION"))), "{base}");
    if !has("kubectl", "manifests are built") {
        return;
    }
    let example =
        run(Command::new("kubectl").arg("kustomize").arg(workspace().join("deploy/kubernetes/example")));
    let kinds: BTreeSet<&str> = example.lines().filter_map(|it| it.strip_prefix("kind: ")).collect();
    assert_eq!(kinds, BTreeSet::from(["ConfigMap", "DaemonSet", "Namespace", "PodMonitor", "Service"]));
    // The components change what they are for.
    for line in [
        "      - hostPath:",
        "  internalTrafficPolicy: Local",
        "    pod-security.kubernetes.io/enforce: privileged",
    ] {
        assert!(example.lines().any(|it| it == line), "{line} is not in\n{example}");
    }
    assert!(
        !example.contains("sizeLimit: 250Gi"),
        "host-path takes the place of the volume that ends with its pod"
    );
}
