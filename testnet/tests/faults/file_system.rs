//! Tests the file system with the standard library's own calls.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::io::Errno;

use reg_testnet::faulty_fs::{Fault, FaultyFs, Op, is_left_out};

/// Mounts a new folder; the first folder holds both.
fn mounted(what: &str) -> Option<(tempfile::TempDir, FaultyFs)> {
    if is_left_out(what) {
        return None;
    }
    let dir = tempfile::Builder::new().prefix("reg-").tempdir().expect("a folder");
    let [backing, at] = ["backing", "at"].map(|name| dir.path().join(name));
    fs::create_dir(&backing).expect("a folder");
    fs::create_dir(&at).expect("a folder");
    let faulty = FaultyFs::mount(&backing, &at).expect("mounted");
    Some((dir, faulty))
}

#[test]
fn it_does_what_a_file_system_does() {
    let Some((dir, faulty)) = mounted("the file system that fails") else { return };
    let at = faulty.path();
    fs::create_dir_all(at.join("a/b")).expect("made");
    fs::write(at.join("a/one"), "first").expect("written");
    let mut file = File::options().append(true).open(at.join("a/one")).expect("opened");
    file.write_all(b" second").expect("appended");
    file.sync_all().expect("synced");
    File::open(at.join("a")).expect("a folder").sync_all().expect("a folder is synced");
    assert_eq!(fs::read_to_string(dir.path().join("backing/a/one")).expect("read"), "first second");
    file.set_len(5).expect("cut");
    drop(file);
    // Moved, linked and removed, it stays one file.
    fs::rename(at.join("a/one"), at.join("a/b/two")).expect("renamed");
    fs::hard_link(at.join("a/b/two"), at.join("three")).expect("linked");
    let [two, three] = ["a/b/two", "three"].map(|path| fs::metadata(at.join(path)).expect("there"));
    assert_eq!((two.ino(), two.nlink(), two.len()), (three.ino(), 2, 5));
    let open = File::open(at.join("three")).expect("opened");
    fs::remove_file(at.join("a/b/two")).expect("removed");
    fs::remove_file(at.join("three")).expect("removed");
    let mut bytes = [0; 5];
    open.read_exact_at(&mut bytes, 0).expect("still there");
    assert_eq!(&bytes, b"first");
    assert_eq!(fs::read(at.join("three")).expect_err("gone").kind(), ErrorKind::NotFound);
    fs::remove_dir(at.join("a/b")).expect("removed");
    symlink("somewhere", at.join("link")).expect("linked");
    assert_eq!(fs::read_link(at.join("link")).expect("a link"), Path::new("somewhere"));
    let listener = UnixListener::bind(at.join("socket")).expect("bound");
    let mut client = UnixStream::connect(at.join("socket")).expect("connected");
    client.write_all(b"x").expect("sent");
    listener.accept().expect("accepted").0.read_exact(&mut bytes[..1]).expect("received");
    let mut names: Vec<_> =
        fs::read_dir(at).expect("listed").map(|it| it.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "link", "socket"]);
    let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    fs::write(at.join("old"), "").expect("written");
    File::options().write(true).open(at.join("old")).expect("opened").set_times(times).expect("set");
    assert_eq!(fs::metadata(at.join("old")).expect("there").mtime(), 0);
    assert!(faulty.struck().is_empty());
}

#[test]
fn the_chosen_operation_fails_and_no_other() {
    let Some((_dir, faulty)) = mounted("failing operations") else { return };
    let path = |name: &str| faulty.path().join(name);
    faulty.fail(Fault::nth(Op::Write, 2, Errno::IO).at("seen"));
    let mut file = File::create(path("seen")).expect("made");
    file.write_all(b"1").expect("the first one works");
    fs::write(path("other"), "1").expect("another path");
    let failed = file.write_all(b"2").expect_err("the second one fails");
    assert_eq!(failed.raw_os_error(), Some(Errno::IO.raw_os_error()));
    file.write_all(b"2").expect("once only");
    assert_eq!(faulty.heal(), ["Write /seen failed: Input/output error (os error 5)"]);

    faulty.fail(Fault::nth(Op::Rename, 1, Errno::NOSPC).from_then_on());
    for _try in 0..2 {
        let failed = fs::rename(path("seen"), path("new")).expect_err("it fails");
        assert_eq!(failed.kind(), ErrorKind::StorageFull);
    }
    assert_eq!(faulty.struck().len(), 2);
    faulty.heal();
    fs::rename(path("seen"), path("new")).expect("healed");
    assert_eq!(faulty.count(Op::Rename), 3);

    faulty.fail(Fault::nth(Op::Fsync, 1, Errno::IO));
    faulty.fail(Fault::nth(Op::FsyncDir, 1, Errno::IO));
    faulty.fail(Fault::nth(Op::Read, 2, Errno::IO));
    faulty.fail(Fault::nth(Op::Create, 1, Errno::NOSPC));
    faulty.fail(Fault::nth(Op::Unlink, 1, Errno::IO));
    let file = File::options().read(true).write(true).open(path("new")).expect("opened");
    assert!(file.sync_data().is_err() && file.sync_data().is_ok());
    let dir = File::open(faulty.path()).expect("a folder");
    assert!(dir.sync_all().is_err() && dir.sync_all().is_ok());
    let mut byte = [0];
    assert!(file.read_exact_at(&mut byte, 0).is_ok() && file.read_exact_at(&mut byte, 0).is_err());
    assert!(File::create(path("x")).is_err() && File::create(path("x")).is_ok());
    assert!(fs::remove_file(path("x")).is_err() && fs::remove_file(path("x")).is_ok());
    assert_eq!(faulty.heal().len(), 5);
}
