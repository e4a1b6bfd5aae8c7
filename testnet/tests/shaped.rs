//! Networks with limits, in namespaces: uplinks of 100 Mbit/s, and a line that loses and delays.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use reg_testnet::netns::{self, Machine, World};
use reg_testnet::process::{Daemon, Home, is_full};
use reg_testnet::{model, tree};

const MIB: u64 = 1 << 20;
const UPLINK_MBIT: u32 = 100;

const fn public(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(45, 1, 0, host)
}

fn daemon(home: &Home, flags: &[&str]) -> Daemon {
    let flags = flags.iter().copied().chain(["--no-mdns", "--no-upnp"]);
    Daemon::start_at(home, &["/ip4/0.0.0.0/tcp/4600", "/ip4/0.0.0.0/udp/4600/quic-v1"], flags)
}

/// The seed's uplink is what bounds all: it has to send every byte once, and the last unit it sends has still to travel
/// on to everybody, doubling each time.
fn bound(bytes: u64, pullers: u32) -> f64 {
    let units = bytes.div_ceil(MIB) as f64;
    let once = bytes as f64 * 8.0 / (f64::from(UPLINK_MBIT) * 1e6);
    once * (1.0 + f64::from(pullers).log2() / units)
}

#[test]
fn one_seed_fills_many_in_about_the_time_that_its_uplink_takes() {
    if netns::is_left_out("a swarm over shaped uplinks") {
        return;
    }
    let (pullers, bytes) = if is_full() { (8, 256 * MIB) } else { (4, 32 * MIB) };
    let mut world = World::new();
    let machines: Vec<Machine> =
        (0..=pullers).map(|n| world.machine(&format!("m{n}"), public(10 + n))).collect();
    machines.iter().for_each(|machine| machine.shape_uplink(UPLINK_MBIT));
    let homes: Vec<Home> = machines.iter().map(|machine| Home::on(machine, "shaped")).collect();
    let model = homes[0].path().join("model");
    model::generate(&model, bytes, 8);
    homes[0].key("me");
    let seed = daemon(&homes[0], &[]);
    let reference = homes[0].publish(&model, "wide", "me");
    let address = format!("/ip4/{}/tcp/4600/p2p/{}", machines[0].ip, seed.peer_id());
    let daemons: Vec<Daemon> =
        homes[1..].iter().map(|home| daemon(home, &["--bootstrap", &address])).collect();
    std::thread::sleep(Duration::from_secs(3));
    let (start, before) = (Instant::now(), world.sent());
    let done: Vec<f64> = std::thread::scope(|scope| {
        let pulls: Vec<_> = homes[1..]
            .iter()
            .map(|home| {
                let (reference, dest) = (reference.as_str(), home.path().join("out"));
                scope.spawn(move || {
                    home.run(["pull", reference, &dest.to_string_lossy(), "--json"]).ok();
                    start.elapsed().as_secs_f64()
                })
            })
            .collect();
        pulls.into_iter().map(|pull| pull.join().expect("it is pulled")).collect()
    });
    let (last, bound) = (done.iter().copied().fold(0.0, f64::max), bound(bytes, u32::from(pullers)));
    println!(
        "1 -> {pullers}, {} MiB, {UPLINK_MBIT} Mbit/s up: last node after {last:.2} s, bound \
         size/B (1 + log2(N)/units) = {bound:.2} s, {:.2} of it; all: {done:.1?}",
        bytes / MIB,
        last / bound
    );
    let use_of = |(after, before): (u64, u64)| {
        (after - before) as f64 * 8.0 / (last * f64::from(UPLINK_MBIT) * 1e6) * 100.0
    };
    let used: Vec<f64> = world.sent().into_iter().zip(before).map(use_of).collect();
    println!("used of each uplink meanwhile, the seed's first, %: {used:.0?}");
    for home in &homes[1..] {
        tree::assert_equal(&model, &home.path().join("out"));
    }
    let served = homes[0].json(["status"])["bytes_served"].as_u64().expect("a number");
    let cpu: f64 = daemons.iter().chain([&seed]).map(Daemon::cpu_seconds).sum();
    println!("the seed sent {:.2} copies; all daemons took {cpu:.1} CPU s", served as f64 / bytes as f64);
    assert!(served < bytes * u64::from(pullers), "those who pull serve each other: {served}");
    drop(daemons);
}

fn over_a_bad_line(transport: &str, bytes: u64) {
    let mut world = World::new();
    let [a, b, line] =
        [("a", 10), ("b", 20), ("line", 30)].map(|(name, host)| world.machine(name, public(host)));
    // All of it goes over the line, which delays; both ends lose what comes in.
    a.hear_only(line.ip);
    b.hear_only(line.ip);
    line.lose(5);
    b.lose(5);
    let [home_a, home_b] = [("A", &a), ("B", &b)].map(|(name, machine)| Home::on(machine, name));
    let model = home_a.path().join("model");
    model::generate(&model, bytes, 9);
    home_a.key("me");
    let seed = daemon(&home_a, &[]);
    let reference = home_a.publish(&model, "lossy", "me");
    let mut proxy = line.command(Path::new(env!("CARGO_BIN_EXE_delay")));
    let (near, far) = (format!("{}:4600", line.ip), format!("{}:4600", a.ip));
    let mut proxy = proxy.args([&near, &far, "25"]).spawn().expect("the line is laid");
    let address = format!("/ip4/{}/{transport}/p2p/{}", line.ip, seed.peer_id());
    let _daemon = daemon(&home_b, &["--bootstrap", &address]);
    let start = Instant::now();
    home_b.run(["pull", &reference, &home_b.path().join("out").to_string_lossy(), "--json"]).ok();
    println!("{transport}: {} MiB with 5 % loss and 50 ms: {:.1?}", bytes / MIB, start.elapsed());
    tree::assert_equal(&model, &home_b.path().join("out"));
    proxy.kill().expect("it runs");
    proxy.wait().expect("it ends");
}

#[test]
fn a_line_that_loses_and_delays_only_slows_it_down() {
    if netns::is_left_out("a line that loses and delays") {
        return;
    }
    let bytes = if is_full() { 64 * MIB } else { 4 * MIB };
    over_a_bad_line("tcp/4600", bytes);
    over_a_bad_line("udp/4600/quic-v1", bytes);
}
