//! Tests the disk that is cut: what was synced is there afterwards, on each file system, and what was not synced may be.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use reg_testnet::chance::Chance;
use reg_testnet::power::{self, Disk, FileSystem, Image};

/// A file is written; returns whether it was synced, its folder included.
fn write(disk: &Disk, name: &str, sync: bool) -> std::io::Result<()> {
    let mut file = File::create(disk.path().join(name))?;
    file.write_all(name.repeat(5000).as_bytes())?;
    if sync {
        file.sync_all()?;
        File::open(disk.path())?.sync_all()?;
    }
    Ok(())
}

#[test]
fn what_was_synced_survives_a_cut_and_what_was_not_may_be_lost() {
    if power::is_left_out("power cuts") {
        return;
    }
    let mut chance = Chance::of_this_run("cuts of a bare disk");
    for kind in FileSystem::all() {
        let dir = tempfile::Builder::new().prefix("reg-").tempdir().expect("a folder");
        let mut image = Image::new(dir.path(), kind).unwrap_or_else(|error| panic!("{error:?}"));
        let (mut lost, mut synced) = (0, Vec::<String>::new());
        for round in 0..6 {
            let disk = image.power_on().expect("power");
            for name in &synced {
                let text = fs::read_to_string(disk.path().join(name)).expect("it was synced");
                assert!(text == name.repeat(5000), "{name} on {kind:?}");
            }
            let unsynced = format!("unsynced{}", round - 1);
            lost += u32::from(
                round > 0 && fs::metadata(disk.path().join(unsynced)).map_or(0, |it| it.len()) == 0,
            );
            write(&disk, &format!("synced{round}"), true).expect("synced");
            synced.push(format!("synced{round}"));
            write(&disk, &format!("unsynced{round}"), false).expect("written");
            disk.cut();
            write(&disk, "late", true).expect_err("there is no power");
            let (cut, fate) = disk.off(&mut chance).expect("off");
            println!("{}, round {round}: {fate}", kind.name());
            image = cut;
        }
        assert!(lost > 0, "{kind:?} kept every file that was not synced");
    }
}

/// Bytes at an address that direct writes accept.
fn aligned(byte: u8, memory: &mut Vec<u8>) -> &[u8] {
    const LENGTH: usize = 64 << 10;
    *memory = vec![byte; LENGTH + 4096];
    let start = memory.as_ptr().align_offset(4096);
    &memory[start..start + LENGTH]
}

#[test]
fn a_write_that_was_not_flushed_reaches_the_disk_in_part_at_most() {
    if power::is_left_out("unflushed writes") {
        return;
    }
    let mut chance = Chance::of_this_run("unflushed writes");
    let dir = tempfile::Builder::new().prefix("reg-").tempdir().expect("a folder");
    let mut image = Image::new(dir.path(), FileSystem::Ext4).expect("an image");
    let (mut memory, mut old) = (Vec::new(), 0);
    let mut fates = [0, 0, 0];
    for byte in 1..=12 {
        let disk = image.power_on().expect("power");
        let path = disk.path().join("file");
        let open = |flags: i32| File::options().write(true).create(true).custom_flags(flags).open(&path);
        if old == 0 {
            let mut file = open(0).expect("made");
            file.write_all(aligned(0, &mut memory)).expect("written");
            file.sync_all().expect("synced");
        }
        let mut direct = open(rustix::fs::OFlags::DIRECT.bits().cast_signed()).expect("opened");
        direct.write_all(aligned(byte, &mut memory)).expect("past the page cache");
        disk.cut();
        drop(direct);
        let (cut, fate) = disk.off(&mut chance).expect("off");
        println!("{fate}");
        let disk = cut.power_on().expect("power");
        let now = fs::read(disk.path().join("file")).expect("it was synced");
        assert_eq!(now.len(), 64 << 10);
        let new = now.iter().filter(|now| **now == byte).count();
        fates[if new == 0 { 0 } else { 1 + usize::from(new == now.len()) }] += 1;
        fs::write(disk.path().join("file"), vec![byte; now.len()]).expect("written");
        File::open(disk.path().join("file")).expect("opened").sync_all().expect("synced");
        old = byte;
        image = disk.off(&mut chance).expect("off").0;
    }
    println!("of 12 writes {} were lost, {} torn, {} whole", fates[0], fates[1], fates[2]);
    assert!(fates[0] > 0 && fates[2] > 0, "{fates:?}");
}

#[test]
fn a_disk_that_refuses_writes_makes_fsync_fail_once_and_loses_the_bytes() {
    if power::is_left_out("write-back that fails") {
        return;
    }
    let dir = tempfile::Builder::new().prefix("reg-").tempdir().expect("a folder");
    let image = Image::new(dir.path(), FileSystem::Ext4).expect("an image");
    let mut disk = image.power_on().expect("power");
    write(&disk, "file", true).expect("synced");
    let path = disk.path().join("file");
    let mut file = File::options().read(true).write(true).open(&path).expect("opened");
    file.write_all(&[b'x'; 8192]).expect("into the page cache");
    disk.refuse_after(Some(0));
    file.sync_data().expect_err("the disk refuses");
    disk.refuse_after(None);
    assert!(disk.refused() > 0);
    // The kernel calls the pages clean: the second sync has nothing to do, and a reader sees bytes that are nowhere.
    file.sync_data().expect("nothing is left to write");
    drop(file);
    assert_eq!(fs::read(&path).expect("read")[..8192], [b'x'; 8192]);
    disk.remount().expect("mounted again");
    assert_ne!(fs::read(&path).expect("read")[..8192], [b'x'; 8192]);
}
