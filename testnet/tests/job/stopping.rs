//! Tests that a daemon that is told to stop while pulls, uploads, serves and publications run stops within a bounded time, and that
//! nothing of what it had is lost.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;

use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// The size of the model: its pull takes longer than the stop, at the rate below.
const SIZE: u64 = 48 * MIB;
const SLOW: [&str; 5] = ["--dht", "off", "--limit-up", "1MB/s", "--limit-local"];

fn partial(home: &Home) -> u64 {
    home.json(["status"])["partial_bytes"].as_u64().expect("a number")
}

fn models(home: &Home) -> usize {
    home.json(["ls"]).as_array().map_or(0, Vec::len)
}

#[test]
fn a_daemon_that_stops_in_the_middle_of_everything_loses_nothing() {
    let [a, b] = ["A", "B"].map(Home::new);
    let [large, small] = ["large", "small"].map(|name| a.path().join(name));
    model::generate(&large, SIZE, 1);
    model::generate(&small, MIB, 2);
    a.key("me");
    let holder = Daemon::start(&a, SLOW);
    let reference = a.publish(&large, "large", "me");
    let puller = Daemon::start(&b, ["--dht", "off"]);
    let out = b.path().join("out");
    let mut pull = b
        .command(["pull", &reference, &out.to_string_lossy(), "--from", &holder.address()])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    until("some pieces have come", || partial(&b) >= 2 * MIB);
    // A client that uploads, and never ends.
    let base = http::base(&puller);
    let mut upload = TcpStream::connect(base.trim_start_matches("http://")).expect("connected");
    let head = format!(
        "POST /v1/pull HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\n{{",
        http::token(&b)
    );
    upload.write_all(head.as_bytes()).expect("sent");
    let before = partial(&b);
    // It serves and announces while it is told to stop.
    a.publish(&small, "small", "me");
    puller.stop();
    holder.stop();
    assert_ne!(pull.wait().expect("it ends").code(), Some(0));
    drop(upload);
    let (holder, puller) = (Daemon::start(&a, ["--dht", "off"]), Daemon::start(&b, ["--dht", "off"]));
    assert_eq!(models(&a), 2, "both publications are there");
    assert!(partial(&b) >= before, "{} bytes of {before}", partial(&b));
    let pulled: Value = b.pull(&reference, &[&holder.address()], &[]).ok().json();
    assert!(pulled["bytes_local"].as_u64() >= Some(before), "{pulled}");
    assert!(text(&pulled["reference"]).contains("large"));
    b.run(["verify", &reference]).ok();
    drop((holder, puller));
}
