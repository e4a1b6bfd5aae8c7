//! Tests pulls over a line that loses packets, carries few of them, or is cut: the pull ends by itself, byte-equal.
//! `cargo bench-lines` measures how long it takes.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reg_testnet::chance::Chance;
use reg_testnet::line::{self, Manner};
use reg_testnet::netns::World;
use reg_testnet::process::{Daemon, Home, is_full, wait_until};
use reg_testnet::{model, tree};

const MIB: u64 = 1 << 20;
/// Longest time until a pull must have ended, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Pulls a model over a line, and cuts the line for this long once the pull has begun.
fn pull_over(what: &str, bytes: u64, manner: Manner, cut: Duration) {
    if line::is_left_out(what) {
        return;
    }
    let (mut world, mut chance) = (World::new(), Chance::of_this_run(what));
    let ends = [("seed", Ipv4Addr::new(45, 1, 0, 10)), ("puller", Ipv4Addr::new(45, 1, 0, 20))];
    let ([far, near], line) = world.line(ends, manner, &mut chance);
    let [publisher, puller] =
        [("seed", &far), ("puller", &near)].map(|(name, machine)| Home::on(machine, name));
    let model = publisher.path().join("model");
    model::generate(&model, bytes, 23);
    publisher.key("me");
    let seed = Daemon::start_at(&publisher, &["/ip4/0.0.0.0/tcp/4600"], ["--no-mdns", "--no-upnp"]);
    let reference = publisher.publish(&model, "m", "me");
    let from = format!("/ip4/{}/tcp/4600/p2p/{}", far.ip, seed.peer_id());
    let mut pull = puller.command(["pull", &reference]);
    pull.arg(puller.path().join("out")).args(["--from", &from, "--no-mdns", "--dht", "off"]);
    let start = Instant::now();
    let mut pull = pull.stdout(Stdio::null()).spawn().expect("reg runs");
    if !cut.is_zero() {
        std::thread::sleep(Duration::from_secs(3));
        line.cut(true);
        std::thread::sleep(cut);
        line.cut(false);
    }
    let ended = wait_until(&mut pull, Instant::now() + PATIENCE);
    assert!(ended.is_some_and(|it| it.success()), "{what}: {ended:?}\n{}", seed.log());
    println!("{what}: {} MiB after {:.1?}", bytes / MIB, start.elapsed());
    tree::assert_equal(&model, &puller.path().join("out"));
}

const fn line(ms: u64, loss: u64, rate: Option<u64>) -> Manner {
    Manner { delay: Duration::from_millis(ms), loss, rate }
}

#[test]
fn a_long_line_that_loses_packets() {
    pull_over("100 ms there and back, 5 % lost", 6 * MIB, line(50, 5, None), Duration::ZERO);
    if is_full() {
        pull_over("100 ms there and back, 20 % lost", 6 * MIB, line(50, 20, None), Duration::ZERO);
    }
}

#[test]
fn a_line_of_a_megabit() {
    // A piece takes 8 s: before, it was asked for again and again.
    pull_over("1 Mbit/s", 2 * MIB, line(10, 0, Some(1_000_000)), Duration::ZERO);
}

#[test]
fn a_line_that_is_cut_for_a_while() {
    let cut = Duration::from_secs(if is_full() { 40 } else { 10 });
    pull_over("8 Mbit/s, cut", 6 * MIB, line(10, 0, Some(8_000_000)), cut);
}
