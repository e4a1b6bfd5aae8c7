//! Tests that a flipped byte is found, is not served, and is repaired from a peer.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use reg_proto::piece::{BlobLayout, PieceSet};
use reg_proto::wire::{Held, Rejection};
use reg_testnet::asker::Asker;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, until};
use reg_testnet::tree;
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

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
    assert!(blob(&b, &model).exists(), "without --repair nothing is changed");
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

/// Of a piece that was damaged a node sends nothing; the others it sends as they were signed.
fn assert_only_whole_pieces_are_served(daemon: &Daemon, model: &Path, damaged: u32) {
    let (asker, blob) = (Asker::meet(&daemon.address()), model::weights_digest(model));
    let bytes = fs::read(model.join("model.safetensors")).expect("read");
    // First because it does not match its state; then because the piece is gone.
    assert!(asker.piece(blob, damaged).is_err(), "piece {damaged} is served");
    until("it has looked at all of it", || asker.piece(blob, 0).is_ok());
    let layout = BlobLayout::new(bytes.len() as u64).expect("small");
    let mut whole = PieceSet::full(layout.piece_count());
    whole.remove(layout.piece(damaged).expect("a piece"));
    assert_eq!(asker.held(blob), Held::from_set(&whole));
    for piece in layout.pieces() {
        let start = layout.offset(piece) as usize;
        let expected = &bytes[start..start + layout.piece_len(piece)];
        match asker.piece(blob, piece.get()) {
            Ok(sent) => assert!(piece.get() != damaged && sent == expected, "piece {piece} is another"),
            Err(reason) => assert_eq!(piece.get(), damaged, "{reason:?}"),
        }
    }
}

#[test]
fn a_linked_copy_that_is_edited_is_not_served_and_is_repaired() {
    let (a, b, model, reference, daemon_a) = world();
    // Nobody else has it.
    daemon_a.stop();
    let copy = b.path().join("out/model.safetensors");
    flip(&copy, 3 * MIB + 1);
    let daemon_b = Daemon::start(&b, [""; 0]);
    assert_only_whole_pieces_are_served(&daemon_b, &model, 3);
    // B alone cannot give the damaged piece; with A beside it the pull completes, and is right.
    let daemon_a = Daemon::start(&a, [""; 0]);
    let c = Home::new("C");
    let dest = c.path().join("out");
    let (from_a, from_b) = (daemon_a.address(), daemon_b.address());
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

#[test]
fn a_damaged_blob_is_not_served_where_the_index_was_lost_too() {
    let (a, _b, model, _reference, daemon_a) = world();
    daemon_a.stop();
    flip(&blob(&a, &model), 5 * MIB + 7);
    fs::remove_dir_all(a.path().join("store/index")).expect("removed");
    let daemon_a = Daemon::start(&a, [""; 0]);
    assert_only_whole_pieces_are_served(&daemon_a, &model, 5);
}

/// Opens a pipe for writing, once the node has opened it for reading.
fn open_pipe(path: &Path) -> File {
    let mut opened = None;
    until("the node reads the states", || {
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag");
        opened = File::options().write(true).custom_flags(nonblocking).open(path).ok();
        opened.is_some()
    });
    opened.expect("it is open")
}

/// A peer complains of a piece, and the node's list of states says that it is wrong: so the whole blob is looked at. The
/// list is a pipe here, which makes the node wait in the midst of that.
#[test]
fn a_blob_that_is_being_looked_at_is_not_served_meanwhile() {
    let home = Home::new("A");
    let model = home.path().join("model");
    model::generate(&model, 3 * MIB, 12);
    home.key("me");
    let daemon = Daemon::start(&home, [""; 0]);
    home.publish(&model, "looked-at", "me");
    let (asker, blob) = (Asker::meet(&daemon.address()), model::weights_digest(&model));
    assert!(asker.piece(blob, 0).is_ok());
    let states = home.path().join("store/states").join(&blob.hex()[..2]).join(blob.hex());
    let mut false_states = fs::read(&states).expect("a list");
    false_states[0] ^= 1;
    let lay_pipe = |name: &str| {
        let pipe = home.path().join(name);
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("a pipe");
        fs::rename(&pipe, &states).expect("in the list's place");
    };
    lay_pipe("first");
    asker.complain(blob, 0);
    let mut first = open_pipe(&states);
    lay_pipe("second");
    first.write_all(&false_states).expect("the node reads");
    drop(first);
    let second = open_pipe(&states);
    assert_eq!(asker.piece(blob, 1).map(|bytes| bytes.len()), Err(Rejection::Unverified));
    assert_eq!(asker.held(blob), Held::None);
    // It reads no list, hashes the blob, and finds that nothing is wrong with it.
    drop(second);
    until("it is served again", || asker.piece(blob, 1).is_ok());
}
