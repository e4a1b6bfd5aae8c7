//! Tests of single faults: one operation of a seeder, a full disk at the start, and small files that a crash has damaged.

use std::fs;
use std::rc::Rc;

use reg_testnet::faulty_fs::{self, Fault, Op};
use reg_testnet::process::{Daemon, Home};
use rustix::io::Errno;

use crate::bytes::FaultyContent;
use crate::content::Act;
use crate::source::Source;

/// The disk of a seeder fails once: the puller asks again, and does not take the model for missing.
#[test]
fn a_seeder_with_a_disk_that_fails_once_is_asked_again() {
    if faulty_fs::is_left_out("a seeder with a disk that fails") {
        return;
    }
    let mut faulty = FaultyContent::new(&Rc::new(Source::new()));
    let puller = Home::new("puller");
    for (number, op) in [Op::Open, Op::Read].into_iter().enumerate() {
        let ready = faulty.content.prepare(Act::Publish).expect("no fault yet");
        faulty.content.begin(&ready).ok();
        faulty.content.note(&ready);
        let from = faulty.content.node.daemon.as_ref().expect("it runs").address();
        faulty.disk.files.fail(Fault::nth(op, 1, Errno::IO).at("blobs/sha256"));
        let out = puller.path().join(number.to_string());
        let reference = faulty.content.newest();
        let flags = ["--no-mdns", "--dht", "off", "--copy"];
        let args = ["pull", &reference, &out.to_string_lossy(), "--from", &from];
        puller.run(args.iter().chain(&flags)).ok();
        assert_eq!(faulty.disk.files.heal().len(), 1, "{op:?}");
    }
}

/// A blob that cannot be opened once is not a blob that the user has to upload.
#[test]
fn a_publication_that_can_not_open_a_blob_blames_the_disk() {
    if faulty_fs::is_left_out("a publication with a blob that cannot be opened") {
        return;
    }
    let mut faulty = FaultyContent::new(&Rc::new(Source::new()));
    let mut struck = 0;
    for act in [Act::Publish, Act::PublishAlone] {
        for nth in 1..=4 {
            let ready = faulty.content.prepare(act).expect("no fault yet");
            faulty.disk.files.fail(Fault::nth(Op::Open, nth, Errno::IO).at("blobs/sha256"));
            let ran = faulty.content.begin(&ready);
            let failed = faulty.disk.files.heal();
            struck += failed.len();
            let judged = faulty.content.judge(&ready, &ran, !failed.is_empty());
            judged.unwrap_or_else(|found| panic!("{nth}, {failed:?}: {found}"));
        }
    }
    assert!(struck > 0, "no open of a blob has failed");
}

/// A full disk: the daemon starts, serves what it has, says what is wrong, and goes on by itself once there is room.
#[test]
fn a_daemon_starts_and_serves_on_a_full_disk() {
    if faulty_fs::is_left_out("a start on a full disk") {
        return;
    }
    let mut faulty = FaultyContent::new(&Rc::new(Source::new()));
    let ready = faulty.content.prepare(Act::PullByDaemon).expect("no fault yet");
    faulty.content.begin(&ready).ok();
    faulty.content.note(&ready);
    for has_index in [true, false] {
        let next = faulty.content.prepare(Act::PullByDaemon).expect("no fault now");
        faulty.content.node.kill();
        if !has_index {
            fs::remove_dir_all(faulty.content.store.join("index")).expect("removed");
        }
        for op in [Op::Write, Op::Resize, Op::MakeDir] {
            faulty.disk.files.fail(Fault::nth(op, 1, Errno::NOSPC).from_then_on());
        }
        faulty.disk.files.fail(Fault::nth(Op::Create, 1, Errno::NOSPC).at("store/").from_then_on());
        faulty.content.node.start().unwrap_or_else(|found| panic!("{found}"));
        let status = faulty.content.node.home.json(["status"]);
        assert!(status["index_trouble"].as_str().is_some_and(|it| it.contains("No space left")), "{status}");
        faulty.content.node.home.run(["ls"]).ok();
        faulty.content.begin(&next).failed(7, "No space left");
        faulty.content.node.home.run(["gc"]).ok();
        assert!(!faulty.disk.files.heal().is_empty());
        faulty.content.goes_on(&next).unwrap_or_else(|found| panic!("{found}"));
    }
}

/// sled panics where the sync at its end fails, after the publication has succeeded. The panic is caught, and sled's words about it
/// remain on standard error.
#[test]
fn no_failed_sync_of_the_index_ends_a_command_that_has_succeeded() {
    if faulty_fs::is_left_out("syncs of the index that fail") {
        return;
    }
    let mut faulty = FaultyContent::new(&Rc::new(Source::new()));
    let (mut struck, mut nth) = (true, 0);
    // Until a publication has no more syncs of it than succeed.
    while struck {
        nth += 1;
        let ready = faulty.content.prepare(Act::PublishAlone).expect("no fault yet");
        faulty.disk.files.fail(Fault::nth(Op::Fsync, nth, Errno::ROFS).at("index/db"));
        let ran = faulty.content.begin(&ready);
        struck = !faulty.disk.files.heal().is_empty();
        let judged = faulty.content.judge(&ready, &ran, struck);
        judged.unwrap_or_else(|found| panic!("sync {nth}: {found}"));
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
    }
    assert!(nth > 2, "{nth} syncs");
    faulty.content.has_what_it_acknowledged().unwrap_or_else(|found| panic!("{found}"));
}

/// An I/O error says nothing of the content of an index: a sound one stays where it is, and holds what it held.
#[test]
fn an_operation_that_fails_at_the_start_sets_no_sound_index_aside() {
    if faulty_fs::is_left_out("a start with an operation that fails") {
        return;
    }
    let mut faulty = FaultyContent::new(&Rc::new(Source::new()));
    let ready = faulty.content.prepare(Act::Publish).expect("no fault yet");
    faulty.content.begin(&ready).ok();
    faulty.content.note(&ready);
    let mut struck = 0;
    for op in [Op::Open, Op::Read, Op::List] {
        for fault in [1, 2, 4].map(|nth| Fault::nth(op, nth, Errno::IO).at("store/index")) {
            for fault in [fault.clone(), fault.from_then_on()] {
                faulty.content.node.kill();
                faulty.disk.files.fail(fault.clone());
                // It may refuse to start.
                faulty.content.node.try_start();
                let failed = faulty.disk.files.heal();
                struck += usize::from(!failed.is_empty());
                let judged =
                    faulty.content.node.start().and_then(|()| faulty.content.has_what_it_acknowledged());
                judged.unwrap_or_else(|found| panic!("{fault:?}, {failed:?}: {found}"));
                let entries = fs::read_dir(&faulty.content.store).expect("a store");
                let mut names = entries.map(|it| it.expect("an entry").file_name());
                let aside = names.find(|it| it.to_string_lossy().contains(".bad"));
                assert!(aside.is_none(), "{fault:?}, {failed:?}: {aside:?}");
            }
        }
    }
    assert!(struck >= 9, "operations failed in {struck} of 18 starts");
}

#[test]
fn a_damaged_token_and_an_empty_version_are_mended_at_the_start() {
    let home = Home::new("node");
    Daemon::start(&home, ["--dht", "off"]).stop();
    for (path, damage) in
        [("admin.token", "zz"), ("admin.token", ""), ("store/VERSION", ""), ("node.key", "")]
    {
        fs::write(home.path().join(path), damage).expect("written");
        Daemon::start(&home, ["--dht", "off"]).stop();
        assert!(!fs::read_to_string(home.path().join(path)).expect("read").trim().is_empty(), "{path}");
    }
    assert_eq!(fs::read_to_string(home.path().join("store/VERSION")).expect("read").trim(), "2");
}
