//! Tests pulls over a line that loses packets, carries few of them, or is cut: the pull ends by itself, byte-equal.
//! `cargo bench-lines` measures how long it takes.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    let mut pull = pull.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("reg runs");
    let mut said = BufReader::new(pull.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    let begun = said.by_ref().find(|line| line.starts_with("fetching"));
    let rest = std::thread::spawn(move || said.collect::<Vec<_>>().join("\n"));
    if !cut.is_zero() {
        assert!(begun.is_some(), "{what}: {}", rest.join().expect("it is read"));
        std::thread::sleep(Duration::from_secs(2));
        line.cut(true);
        std::thread::sleep(cut);
        line.cut(false);
    }
    let ended = wait_until(&mut pull, Instant::now() + PATIENCE);
    let is_whole = ended.is_some_and(|it| it.success());
    assert!(is_whole, "{what}: {ended:?}\n{}\n{}", rest.join().expect("it is read"), seed.log());
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

/// A first connection that loses packets may take longer than a second one.
#[test]
fn an_address_that_does_not_answer_the_first_dial_is_dialled_again() {
    let (publisher, puller) = (Home::new("seed"), Home::new("puller"));
    let model = publisher.path().join("model");
    model::generate(&model, MIB, 29);
    publisher.key("me");
    let seed = Daemon::start(&publisher, ["--dht", "off"]);
    let reference = publisher.publish(&model, "m", "me");
    let real: Vec<String> = seed.address().split('/').map(str::to_owned).collect();
    let target: SocketAddr = format!("{}:{}", real[2], real[4]).parse().expect("an address over TCP");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let dialled_again = Arc::<AtomicUsize>::default();
    let again = dialled_again.clone();
    std::thread::spawn(move || {
        let mut came = listener.incoming().map_while(Result::ok);
        let silent = came.next();
        for from in came {
            again.fetch_add(1, Ordering::Relaxed);
            let to = TcpStream::connect(target).expect("the seed listens");
            for (mut one, mut other) in [(&from, &to), (&to, &from)]
                .map(|(one, other)| (one.try_clone().expect("cloned"), other.try_clone().expect("cloned")))
            {
                std::thread::spawn(move || {
                    drop(std::io::copy(&mut one, &mut other));
                    drop(other.shutdown(Shutdown::Write));
                });
            }
        }
        drop(silent);
    });
    let from = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", seed.peer_id());
    puller.pull(&reference, &[&from], &["--dht", "off"]).ok();
    assert!(dialled_again.load(Ordering::Relaxed) > 0, "the first connection stays silent");
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
