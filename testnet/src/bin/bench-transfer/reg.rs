//! Measures `reg` itself: pulls over lanes and over streams, `reg publish`, `reg verify`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::Command;
use std::thread;

use reg_testnet::process::{Daemon, Home};

use super::cost::{Cost, own, run};
use super::world::World;

/// Pulls from one peer, over lanes if the node has them.
pub(crate) fn pull(world: &mut World) -> Option<Cost> {
    pull_from(world, 1, false)
}

/// Pulls from one peer over a libp2p stream.
pub(crate) fn pull_over_streams(world: &mut World) -> Option<Cost> {
    pull_from(world, 1, true)
}

/// Pulls from two peers, over lanes if the nodes have them.
pub(crate) fn pull_from_two(world: &mut World) -> Option<Cost> {
    pull_from(world, 2, false)
}

/// Pulls the model into the cache of a fresh home, from the first `peers` servers. It ends verified and synced.
fn pull_from(world: &mut World, peers: usize, over_streams: bool) -> Option<Cost> {
    let home = Home::new("P");
    let servers = &world.servers[..peers];
    let before: f64 = servers.iter().map(Daemon::cpu_seconds).sum();
    let mut args =
        vec!["pull".to_owned(), world.reference.clone(), "--cache-only".into(), "--no-mdns".into()];
    args.extend(["--dht", "off", "--no-gossip", "-q"].map(str::to_owned));
    servers.iter().for_each(|server| args.extend(["--from".to_owned(), server.address()]));
    let mut command = home.command(args);
    if over_streams {
        command.env("REG_NO_LANES", "true");
    }
    let cost = run(&mut command)?;
    Some(cost.with_server(before, servers.iter().map(Daemon::cpu_seconds).sum()))
}

/// Publishes the sharded model on one core: reads, hashes, copies into the store, syncs and signs.
pub(crate) fn publish_on_one_core(world: &mut World) -> Option<Cost> {
    publish(world, &["taskset", "-c", "0"])
}

/// Publishes the sharded model on all cores.
pub(crate) fn publish_on_all_cores(world: &mut World) -> Option<Cost> {
    publish(world, &[])
}

fn publish(world: &mut World, before: &[&str]) -> Option<Cost> {
    // Remove the previous home first: it takes as much space as the model.
    world.published = None;
    let home = Home::new("publisher");
    home.key("bench");
    let mut command = home.command(["publish"]);
    command.arg(&world.sharded).args(["sharded", "--key", "bench", "--offline", "-q"]);
    let cost = run(&mut prefixed(before, &command));
    world.published = Some(home);
    cost
}

/// Copies and syncs the sharded model as a publication does, without hashing.
pub(crate) fn copy(world: &mut World) -> Option<Cost> {
    let (files, dir) = (world.shards(), world.scratch.path().join("copy"));
    fs::create_dir_all(&dir).ok()?;
    let into = &dir;
    let cost = own(|| {
        thread::scope(|scope| {
            for two in files.chunks(2) {
                scope.spawn(move || {
                    for path in two {
                        copy_file(path, &into.join(path.file_name().unwrap_or_default()));
                    }
                });
            }
        });
    });
    drop(fs::remove_dir_all(&dir));
    Some(cost)
}

fn copy_file(from: &std::path::Path, to: &std::path::Path) {
    let (mut from, mut to) = (File::open(from).expect("a shard"), File::create(to).expect("a copy"));
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer).expect("read") {
            0 => break to.sync_all().expect("synced"),
            length => to.write_all(&buffer[..length]).expect("written"),
        }
    }
}

/// Verifies the published model on one core.
pub(crate) fn verify_on_one_core(world: &mut World) -> Option<Cost> {
    verify(world, &["taskset", "-c", "0"])
}

/// Verifies the published model on all cores.
pub(crate) fn verify_on_all_cores(world: &mut World) -> Option<Cost> {
    verify(world, &[])
}

fn verify(world: &mut World, before: &[&str]) -> Option<Cost> {
    let home = world.published.as_ref()?;
    run(&mut prefixed(before, &home.command(["verify", "--offline", "-q"])))
}

/// Returns `command` as arguments of another command, with the same environment.
fn prefixed(before: &[&str], command: &Command) -> Command {
    let mut words = before.iter().map(AsRef::as_ref).chain([command.get_program()]).chain(command.get_args());
    let mut prefixed = Command::new(words.next().unwrap_or(command.get_program()));
    prefixed.args(words);
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => prefixed.env(key, value),
            None => prefixed.env_remove(key),
        };
    }
    prefixed
}
