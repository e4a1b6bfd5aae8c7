//! Tests that a flipped byte is found, is not served, and is repaired from a peer.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home};
use reg_testnet::tree;

const MIB: u64 = 1 << 20;

/// Writes a few bytes into a file in place, as an editor or a bad disk does.
fn flip(path: &Path, at: u64) {
    let mut permissions = fs::metadata(path).expect("a file").permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "the file is made writable as a user would")]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).expect("writable");
    let mut file = File::options().read(true).write(true).open(path).expect("opened");
    file.seek(SeekFrom::Start(at)).expect("sought");
    file.write_all(b"\x00\xff\x00\xff").expect("written");
}

fn blob(home: &Home, model: &Path) -> PathBuf {
    let hex = model::weights_digest(model).hex();
    home.path().join("store/blobs/sha256").join(&hex[..2]).join(hex)
}

fn world() -> (Home, Home, PathBuf, String, Daemon) {
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 8 * MIB, 11);
    a.key("me");
    let daemon = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "whole:v1", "me");
    b.run([
        "pull".as_ref(),
        reference.as_ref(),
        b.path().join("out").as_os_str(),
        "--from".as_ref(),
        daemon.address().as_ref(),
        "--no-mdns".as_ref(),
    ])
    .ok();
    (a, b, model, reference, daemon)
}

#[test]
fn a_flipped_byte_is_found_and_repaired_and_only_its_piece_is_fetched() {
    let (_a, b, model, reference, daemon) = world();
    flip(&blob(&b, &model), 5 * MIB + 7);
    b.run(["verify", &reference]).failed(4, "1 damaged");
    let from = daemon.address();
    let repaired = b.json(["verify", &reference, "--repair", "--from", &from, "--no-mdns"]);
    assert_eq!(repaired["damaged"].as_array().map(Vec::len), Some(1), "{repaired}");
    assert_eq!(repaired["damaged"][0]["repaired"], true, "{repaired}");
    b.run(["verify"]).ok();
    b.run(["pull".as_ref(), reference.as_ref(), b.path().join("again").as_os_str(), "--offline".as_ref()])
        .ok();
    tree::assert_equal(&model, &b.path().join("again"));
}

#[test]
fn a_linked_copy_that_is_edited_is_not_served_and_is_repaired() {
    let (_a, b, model, reference, daemon_a) = world();
    let copy = b.path().join("out/model.safetensors");
    flip(&copy, 3 * MIB + 1);
    let daemon_b = Daemon::start(&b, [""; 0]);
    let c = Home::new("C");
    let dest = c.path().join("out");
    let (from_a, from_b) = (daemon_a.address(), daemon_b.address());
    // B alone cannot give the damaged piece; with A beside it the pull completes, and is right.
    let args =
        ["pull", &reference, &dest.to_string_lossy(), "--from", &from_b, "--from", &from_a, "--no-mdns"]
            .map(str::to_owned);
    c.run(args).ok();
    tree::assert_equal(&model, &dest);
    daemon_b.stop();
    b.run(["verify".as_ref(), b.path().join("out").as_os_str()]).failed(4, "damaged");
    let repair =
        ["verify", &b.path().join("out").to_string_lossy(), "--repair", "--from", &from_a, "--no-mdns"]
            .map(str::to_owned);
    b.run(repair).ok();
    tree::assert_equal(&model, &b.path().join("out"));
    b.run(["verify"]).ok();
}
