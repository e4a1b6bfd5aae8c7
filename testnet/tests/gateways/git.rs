//! Tests git and git-lfs: large files are read without a token, and `git clone` is told what to use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reg_testnet::clients::{self, Debian};
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, left_out, text};
use reg_testnet::tree;
use serde_json::json;

const MIB: u64 = 1 << 20;

fn git() -> Option<clients::Tool> {
    let git = clients::tool("git", &["git"]);
    if clients::is_left_out(&git) { None } else { Some(git.expect("git is there")) }
}

fn git_lfs() -> Option<Debian> {
    if Command::new("apt-get").arg("--version").output().is_err() {
        left_out("git-lfs", "it comes out of Debian's packages", "run the tests on Debian");
        return None;
    }
    let client = clients::debian("git-lfs", &clients::GIT_LFS);
    if clients::is_left_out(&client) { None } else { Some(client.expect("git-lfs is unpacked")) }
}

/// Runs git in a folder of its own, with git-lfs beside it, and without the user's settings.
fn run(git: &clients::Tool, dir: &Path, path: &[PathBuf], args: &[&str]) -> Output {
    let mut command = git.command();
    let own = std::env::var_os("PATH").unwrap_or_default();
    let all = path.iter().cloned().chain(std::env::split_paths(&own));
    command
        .env("PATH", std::env::join_paths(all).expect("a path"))
        .env("HOME", dir)
        .env("GIT_TERMINAL_PROMPT", "0");
    for (name, value) in [("user.name", "t"), ("user.email", "t@example.org"), ("init.defaultBranch", "main")]
    {
        command.args(["-c", &format!("{name}={value}")]);
    }
    command.current_dir(dir).args(args).output().expect("git runs")
}

#[test]
fn git_lfs_reads_what_a_pointer_names_without_a_token() {
    let (Some(git), Some(lfs)) = (git(), git_lfs()) else { return };
    let a = Home::new("A");
    let publisher = a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 3 * MIB, 61);
    let daemon = Daemon::start(&a, [""; 0]);
    a.publish(&dir, "lfs", "me");
    let base = format!("{}/{publisher}/lfs", http::base(&daemon));
    let work = a.path().join("work");
    fs::create_dir_all(&work).expect("a folder");
    let program = lfs.command("git-lfs");
    let path = [Path::new(program.get_program()).parent().expect("a folder").to_owned()];
    let ok = |args: &[&str]| {
        let output = run(&git, &work, &path, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
    };
    ok(&["init", "-q"]);
    ok(&["lfs", "install", "--local", "--skip-repo"]);
    fs::write(work.join(".gitattributes"), "*.safetensors filter=lfs -text\n").expect("written");
    fs::write(work.join(".lfsconfig"), format!("[lfs]\n\turl = {base}.git/info/lfs\n")).expect("written");
    // The pointer as the node gives it.
    let pointer = http::get(&format!("{base}/raw/main/model.safetensors"), &[]).bytes;
    fs::write(work.join("model.safetensors"), pointer).expect("written");
    ok(&["add", "."]);
    ok(&["commit", "-q", "-m", "m"]);
    ok(&["lfs", "pull"]);
    assert_eq!(tree::digest(&work.join("model.safetensors")), model::weights_digest(&dir));

    let batch = |operation: &str, oid: &str| {
        let body =
            json!({ "operation": operation, "transfers": ["basic"], "objects": [{ "oid": oid, "size": 5 }] });
        let headers = [("content-type", "application/vnd.git-lfs+json")];
        http::send(
            "POST",
            &format!("{base}.git/info/lfs/objects/batch"),
            &headers,
            body.to_string().as_bytes(),
        )
    };
    let absent = batch("download", &"a".repeat(64)).json();
    assert_eq!(absent["objects"][0]["error"]["code"], 404, "{absent}");
    let known = batch("download", &model::weights_digest(&dir).hex()).json();
    let href = text(&known["objects"][0]["actions"]["download"]["href"]);
    assert_eq!(http::get(&href, &[]).digest(), model::weights_digest(&dir));
    assert_eq!(batch("upload", &"a".repeat(64)).status, 401, "writing needs the token");
    assert_eq!(batch("lock", &"a".repeat(64)).status, 400);
}

#[test]
fn git_clone_is_told_what_to_use_instead() {
    let Some(git) = git() else { return };
    let a = Home::new("A");
    let publisher = a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, MIB / 4, 62);
    let daemon = Daemon::start(&a, [""; 0]);
    a.publish(&dir, "cloned", "me");
    for name in ["cloned", "cloned.git"] {
        let url = format!("{}/{publisher}/{name}", http::base(&daemon));
        let output = run(&git, a.path(), &[], &["clone", &url, "out"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(&format!("hf download {publisher}/cloned\n")),
            "{said}"
        );
        assert!(!said.contains("Username"), "{said}");
    }
}
