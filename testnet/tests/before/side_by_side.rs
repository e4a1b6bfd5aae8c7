//! Connects nodes of both binaries: the present one says that its peer must upgrade, and neither hangs.

use std::time::{Duration, Instant};

use reg_testnet::before::reg_before;
use reg_testnet::process::{Daemon, Home, until};

use crate::old_home::publish;

/// Longest time until a pull that cannot succeed has ended, on a busy machine.
const PULL_MAX: Duration = Duration::from_secs(200);

/// Runs a pull that cannot succeed, and checks that it ends.
fn fails_in_time(home: &Home, reference: &str, from: &str) {
    let start = Instant::now();
    let ran = home.pull(reference, &[from], &["--dht", "off", "--no-gossip"]);
    let why = ran.stderr();
    assert_ne!(ran.code(), 0, "{why}");
    assert!(start.elapsed() < PULL_MAX, "{:?}: {why}", start.elapsed());
    assert!(!why.contains("panicked"), "{why}");
}

#[test]
fn a_peer_of_before_is_named_and_must_upgrade() {
    let Some(before) = reg_before() else { return };
    let old = Home::with_binary(before, "old");
    let new = Home::new("new");
    let ids = [&old, &new].map(|home| home.key("me"));
    let old_daemon = Daemon::start(&old, ["--dht", "off"]);
    let new_daemon = Daemon::start(&new, ["--dht", "off", "--bootstrap", &old_daemon.address()]);
    for (home, content) in [(&old, "theirs"), (&new, "ours")] {
        publish(home, content, "tale", &[]).ok();
    }
    // A name that only the present one takes hurts no peer of before.
    publish(&new, "ours", &"n".repeat(96), &[]).ok();
    // Which of the two it is said in, and in which words else, is not what this test is about.
    until("the present node says that the peer must upgrade", || {
        let said = [new_daemon.log(), new.run(["status"]).stdout(), new.run(["peers"]).stdout()].concat();
        said.lines().any(|line| line.contains(&old_daemon.peer_id()) && line.contains("upgrade"))
    });
    fails_in_time(&Home::new("new puller"), &format!("{}/tale", ids[0]), &old_daemon.address());
    fails_in_time(
        &Home::with_binary(before, "old puller"),
        &format!("{}/tale", ids[1]),
        &new_daemon.address(),
    );
    // Asked for such a name, the binary of before says why it takes none.
    let asked = format!("{}/{}", ids[1], "n".repeat(96));
    let refused = Home::with_binary(before, "old asker").pull(&asked, &[&new_daemon.address()], &[]);
    assert_ne!(refused.code(), 0);
    let why = refused.stderr();
    assert!(why.contains("at most 43") && !why.contains("panicked"), "{why}");
    for (home, mut daemon) in [(&old, old_daemon), (&new, new_daemon)] {
        assert!(daemon.is_running());
        home.run(["status"]).ok();
        assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
        daemon.stop();
    }
}
