//! Tests what keeps a daemon running for months: what its log says, in which form and how much of it, and what it tells the
//! supervisor that has started it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, reg_binary, signal, until};
use rustix::process::Signal;
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// How long a supervisor waits for a message, on a busy machine.
const TOLD: Duration = Duration::from_secs(120);

#[test]
fn the_log_says_what_a_daemon_did() {
    let [a, b] = ["A", "B"].map(Home::new);
    let log = b.path().join("reg.log");
    let settings = format!("[log]\nformat = \"json\"\nfile = {log:?}\n");
    fs::write(b.path().join("config.toml"), settings).expect("written");
    let dir = a.path().join("model");
    model::generate(&dir, 2 * MIB, 1);
    let key = a.key("me");
    let holder = Daemon::start(&a, ["--dht", "off"]);
    let reference = a.publish(&dir, "my-model", "me");
    assert!(holder.log().contains("a model is published") && holder.log().contains(&key), "{}", holder.log());
    let puller = Daemon::start(&b, ["--dht", "off", "--bootstrap", &holder.address()]);
    b.pull(&reference, &[&holder.address()], &[]).ok();
    let base = http::base(&puller);
    for _ in 0..20 {
        assert_eq!(http::get(&format!("{base}/v1/status"), &[("Origin", "http://evil.example")]).status, 403);
    }
    drop(holder);
    puller.stop();
    let text = fs::read_to_string(&log).expect("a log");
    let lines: Vec<Value> = text.lines().map(|it| serde_json::from_str(it).expect("JSON")).collect();
    let of = |message: &str| lines.iter().filter(|it| it["message"] == message).collect::<Vec<_>>();
    for message in ["the node has started", "a pull begins", "stopping", "stopped"] {
        assert_eq!(of(message).len(), 1, "{message}: {text}");
    }
    let ended = of("a pull has ended");
    let fields = &ended.first().expect("a pull")["fields"];
    assert!(fields["bytes"].as_u64() >= Some(2 * MIB) && fields["peers"] == 1, "{fields}");
    assert!(fields["reference"].as_str().is_some_and(|it| it.contains("my-model")), "{fields}");
    let refused = of("a request was refused");
    assert!((1..=10).contains(&refused.len()), "{text}");
    assert_eq!(refused[0]["fields"]["path"], "/v1/status");
}

#[test]
fn a_supervisor_is_told_and_its_socket_is_taken_over() {
    let home = Home::new("A");
    let told = home.path().join("notify");
    let supervisor = UnixDatagram::bind(&told).expect("bound");
    supervisor.set_read_timeout(Some(TOLD)).expect("set");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // systemd passes sockets as descriptors from 3 on, to the process with this id.
    let passing = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\" 3<&0 </dev/null";
    let mut child = std::process::Command::new("sh")
        .args(["-c", passing])
        .arg(reg_binary())
        .args(["daemon", "--json", "--offline", "--http", "127.0.0.1:1"])
        .env("REG_HOME", home.path())
        .env("NOTIFY_SOCKET", &told)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID")
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::piped())
        .stderr(File::create(home.path().join("log")).expect("a file"))
        .spawn()
        .expect("it starts");
    let message = || {
        let mut buffer = [0; 1000];
        let length = supervisor.recv(&mut buffer).expect("a message in time");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(message(), format!("READY=1\nSTATUS=serving http://{address}\n"));
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let ready: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(ready["http"], address.to_string());
    until("the local API answers", || http::get(&format!("http://{address}/v1/ready"), &[]).status == 200);
    assert_eq!(message(), "WATCHDOG=1\n");
    signal(child.id(), Signal::TERM);
    let last = std::iter::repeat_with(message).find(|it| it != "WATCHDOG=1\n").expect("a message");
    assert_eq!(last, "STOPPING=1\nSTATUS=stopping\n");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_node_is_watched_line_by_line_until_ctrl_c() {
    let home = Home::new("A");
    home.run(["status", "--watch"]).failed(5, "no daemon runs");
    let daemon = Daemon::start(&home, ["--offline"]);
    let mut child = home.command(["status", "--watch"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines =
        BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|it| it.expect("a line"));
    for line in lines.by_ref().take(2) {
        assert!(line.contains("peers 0  models 0") && line.contains("served 0 B (+0 B)"), "{line}");
    }
    signal(child.id(), Signal::INT);
    assert!(child.wait().expect("it ends").success());
    // As in `reg status --watch | head -1`.
    let mut child = home.command(["status", "--watch"]).stdout(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    until("it ends with its reader", || child.try_wait().expect("it is asked").is_some());
    drop(daemon);
}
