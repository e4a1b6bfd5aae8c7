//! Tests how a daemon starts, or says why it does not: beside another one, and with few open files.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reg_testnet::http;
use reg_testnet::process::{Daemon, Home, Ran, reg_binary, wait_until};

/// How long a daemon may take to refuse, on a busy machine.
const REFUSES: Duration = Duration::from_secs(120);

#[test]
fn a_second_daemon_of_a_home_is_told_that_one_runs() {
    let home = Home::new("A");
    let daemon = Daemon::start(&home, ["--offline"]);
    let ran =
        home.run(["daemon", "--offline", "--http", "127.0.0.1:0"]).failed(6, "a daemon runs already in");
    let said = ran.stderr();
    assert!(
        said.contains("reg status") && said.contains("--home") && !said.contains("no daemon answers"),
        "{said}"
    );
    drop(daemon);
}

/// Runs a command with a limit of open files, as the option of `ulimit` sets it, for as long as a daemon may take to refuse.
fn run_with(home: &Home, limit: &str, args: &[&str]) -> Option<Ran> {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\"")]).arg(reg_binary()).args(args);
    command.env("REG_HOME", home.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("sh runs");
    wait_until(&mut child, Instant::now() + REFUSES)?;
    Some(home.ended(child.wait_with_output().expect("it has ended")))
}

#[test]
fn a_daemon_that_may_open_too_few_files_refuses_to_start_and_says_what_it_needs() {
    for few in ["16", "24", "511"] {
        let home = Home::new("A");
        let ran = run_with(&home, &format!("-n {few}"), &["daemon", "--offline", "--http", "127.0.0.1:0"]);
        let ran =
            ran.expect("it ends").failed(1, &format!("may have {few} files open at once, and needs 512"));
        assert!(ran.stderr().contains("hint: ") && ran.stderr().contains("ulimit"), "{}", ran.stderr());
    }
    let home = Home::new("B");
    let ran = run_with(&home, "-n 24", &["pull", &format!("{}/x", home.key("me")), "--no-mdns"]);
    ran.expect("it ends").failed(1, "needs 128");
}

/// A supervisor has no token, and asks beyond loopback too.
#[test]
fn a_supervisor_is_told_without_a_token_that_a_node_lives_and_is_ready() {
    let home = Home::new("A");
    let daemon = Daemon::start(&home, ["--http", "0.0.0.0:0"]);
    let base = http::base(&daemon).replace("0.0.0.0", "127.0.0.1");
    for (path, status, words) in [
        ("/v1/live", 200, "\"live\":true"),
        ("/v1/ready", 200, "\"ready\":true"),
        ("/v1/status", 401, "token"),
    ] {
        let answer = http::get(&format!("{base}{path}"), &[]);
        let said = answer.text();
        assert!(answer.status == status && said.contains(words), "{path}: {} {said}", answer.status);
    }
    drop(daemon);
}

#[test]
fn a_low_soft_limit_is_raised() {
    let mut home = Home::new("A");
    let limited = home.path().join("limited");
    std::fs::write(&limited, format!("#!/bin/sh\nulimit -Sn 24\nexec '{}' \"$@\"\n", reg_binary().display()))
        .expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&limited, mode).expect("set");
    home.use_binary(Some(&limited));
    let daemon = Daemon::start(&home, ["--offline"]);
    let base = http::base(&daemon);
    let host = base.trim_start_matches("http://");
    let open: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(host).expect("it is accepted")).collect();
    assert_eq!(http::get(&format!("{base}/v1/status"), &[]).status, 200, "beside {} connections", open.len());
}

/// A cache without a size would fill the disk. The default is a share of it, which the log of the start and `status` say.
#[test]
fn a_cache_has_a_size_that_is_said_at_the_start() {
    let home = Home::new("A");
    let daemon = Daemon::start(&home, ["--offline"]);
    let status = home.json(["status"]);
    let size = status["cache_max_bytes"].as_u64().expect("a size");
    let disk = rustix::fs::statvfs(home.path()).expect("a disk");
    assert!(size > 0 && size < disk.f_blocks * disk.f_frsize, "{size} bytes");
    assert_eq!(status["cache_size_is_default"], true, "{status}");
    assert!(daemon.log().contains("the cache has a size"), "{}", daemon.log());
    drop(daemon);
    let daemon = Daemon::start(&home, ["--offline", "--cache-max-size", "3 GiB"]);
    let status = home.json(["status"]);
    assert_eq!(status["cache_max_bytes"].as_u64(), Some(3 << 30), "{status}");
    assert_eq!(status["cache_size_is_default"], false, "{status}");
    drop(daemon);
}
