//! Tests that a flipped byte is found, is not served, and is repaired from a peer.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use reg_proto::piece::{BlobLayout, PieceSet};
use reg_proto::wire::{Held, Rejection};
use reg_testnet::asker::Asker;
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, left_out, until};
use reg_testnet::tree;
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

const MIB: u64 = 1 << 20;

/// Writes a few bytes into a file in place, as an editor or a bad disk does.
pub(crate) fn flip(path: &Path, at: u64) {
    let mut permissions = fs::metadata(path).expect("a file").permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "the file is made writable as a user would")]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).expect("writable");
    let mut file = File::options().read(true).write(true).open(path).expect("opened");
    file.seek(SeekFrom::Start(at)).expect("sought");
    file.write_all(b"\x00\xff\x00\xff").expect("written");
}

/// Returns the path of the weights of a model in the store.
pub(crate) fn blob(home: &Home, model: &Path) -> PathBuf {
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

/// The files of a store but its index, by their digests.
fn files_of(home: &Home) -> std::collections::BTreeMap<String, reg_proto::digest::Digest> {
    let mut files = tree::digests(&home.path().join("store"));
    files.retain(|path, _| !path.starts_with("index"));
    files
}

#[test]
fn a_verification_changes_no_file_and_says_soon_that_no_peer_can_repair() {
    let (_a, b, model, reference, daemon) = world();
    daemon.stop();
    flip(&blob(&b, &model), 5 * MIB + 7);
    let out = b.path().join("out").to_string_lossy().into_owned();
    let (before, placed) = (files_of(&b), tree::digests(&b.path().join("out")));
    for target in [&["verify"][..], &["verify", &reference], &["verify", &out]] {
        b.run(target).failed(4, "1 damaged");
        assert_eq!(files_of(&b), before, "{target:?}");
        assert_eq!(tree::digests(&b.path().join("out")), placed, "{target:?}");
    }
    let repair = ["verify", &reference, "--repair", "--no-mdns", "--dht", "off"];
    b.run(repair).failed(4, "could not be repaired");
    b.run(["verify", &reference]).failed(4, "1 damaged");
}

#[test]
fn a_directory_is_repaired_with_the_files_of_its_own_version() {
    let (a, b, model, v1, daemon) = world();
    let second = a.path().join("second");
    fs::create_dir(&second).expect("a folder");
    fs::copy(model.join("model.safetensors"), second.join("model.safetensors")).expect("copied");
    fs::write(second.join("README.md"), "Another version.\n").expect("written");
    fs::write(second.join("generation_config.json"), "{}").expect("written");
    let v2 = a.publish(&second, "whole:v2", "me");
    let from = daemon.address();
    let pull = |reference: &str, out: &str, flags: &[&str]| {
        let out = b.path().join(out).to_string_lossy().into_owned();
        let args = ["pull", reference, &out, "--from", &from, "--no-mdns"];
        b.run(args.iter().chain(flags)).ok();
        out
    };
    let out = b.path().join("out").to_string_lossy().into_owned();
    pull(&v2, "out-2", &["--copy"]);
    let part = pull(&v1, "part", &["--include", "model.safetensors"]);
    let dirs = [&out, &part].map(|dir| (dir, tree::digests(Path::new(dir))));
    for (dir, before) in dirs {
        // The files are links to the blob, which both versions have.
        flip(&blob(&b, &model), 5 * MIB + 7);
        b.run(["verify", dir, "--repair", "--from", &from, "--no-mdns"]).ok();
        assert_eq!(tree::digests(Path::new(dir)), before, "{dir}");
    }
    tree::assert_equal(&second, &b.path().join("out-2"));
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

/// Writes into a linked file in place, sets its time of modification back, and makes one more link, as some tools do.
fn edit_secretly(path: &Path, at: u64) {
    let before = fs::metadata(path).expect("a file");
    flip(path, at);
    let file = File::options().write(true).open(path).expect("opened");
    let times = fs::FileTimes::new().set_modified(before.modified().expect("a time"));
    file.set_times(times).expect("set back");
    fs::set_permissions(path, before.permissions()).expect("set back");
    fs::hard_link(path, path.with_extension("one-more")).expect("linked");
}

/// A new link excuses no change: a changed ctime is doubt, and a node rehashes before it serves, also after a restart.
#[test]
fn an_edit_behind_a_new_link_is_not_served_neither_to_peers_nor_by_a_gateway() {
    for is_restarted in [false, true] {
        let (_a, b, model, reference, daemon_a) = world();
        // No other node has it.
        daemon_a.stop();
        let copy = b.path().join("out/model.safetensors");
        if fs::metadata(&copy).expect("a file").nlink() < 2 {
            return left_out("an edit of a linked copy", "this file system copies", "run the tests on ext4");
        }
        let running = Daemon::start(&b, [""; 0]);
        // The node has served it already, and has it open.
        let (name, tag) = reference.split_once(':').expect("a tag");
        let url = |daemon: &Daemon| format!("{}/{name}/resolve/{tag}/model.safetensors", http::base(daemon));
        let right = http::get(&url(&running), &[]);
        assert_eq!(right.digest(), model::weights_digest(&model));
        edit_secretly(&copy, 3 * MIB + 1);
        let daemon = if is_restarted {
            running.stop();
            Daemon::start(&b, [""; 0])
        } else {
            running
        };
        let served = http::get_broken(&url(&daemon));
        assert!(right.bytes.starts_with(&served.bytes) || served.status != 200, "altered bytes are served");
        assert!(served.bytes.len() < right.bytes.len() || served.status != 200, "no node has the piece");
        assert_only_whole_pieces_are_served(&daemon, &model, 3);
    }
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
