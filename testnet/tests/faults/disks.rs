//! Disks for a node: one that fails chosen operations, and one that can be cut and can refuse writes.

use std::fs::{self, File};
use std::path::PathBuf;

use reg_testnet::chance::Chance;
use reg_testnet::faulty_fs::FaultyFs;
use reg_testnet::power::{Disk, FileSystem, Image};
use reg_testnet::process::Home;
use tempfile::TempDir;

/// A disk that fails chosen operations. It is taken away after the processes that use it, and before its folder.
pub(super) struct FailingDisk {
    pub(super) files: FaultyFs,
    dir: TempDir,
}

impl FailingDisk {
    pub(super) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("reg-disk-").tempdir().expect("a folder");
        let [backing, at] = ["backing", "at"].map(|name| dir.path().join(name));
        fs::create_dir(&backing).expect("a folder");
        fs::create_dir(&at).expect("a folder");
        let files = FaultyFs::mount(&backing, &at).expect("mounted");
        Self { files, dir }
    }

    /// Returns a home on this disk.
    pub(super) fn home(&self, name: &str) -> Home {
        Home::new(name).kept_at(self.files.path().join("home"))
    }

    /// Returns where the home lies, past what fails.
    pub(super) fn backing(&self) -> PathBuf {
        self.dir.path().join("backing/home")
    }
}

/// A disk that can be cut. It is taken away after the processes that use it, and before its folder.
pub(super) struct CutDisk {
    disk: Option<Disk>,
    pub(super) kind: FileSystem,
    _dir: TempDir,
}

impl CutDisk {
    /// Makes a disk, with a place for a home that is there after each cut.
    pub(super) fn new(kind: FileSystem) -> Self {
        let dir = tempfile::Builder::new().prefix("reg-disk-").tempdir().expect("a folder");
        let disk = Image::new(dir.path(), kind).and_then(Image::power_on);
        let disk = disk.unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        let made = Self { disk: Some(disk), kind, _dir: dir };
        let at = made.at();
        // The disk is smaller than what a node leaves free by default.
        let config = at.join("config.toml");
        fs::create_dir(&at).expect("a folder");
        fs::write(&config, "[cache]\nmin_free = \"0 B\"\n").expect("written");
        for path in [&config, &at, &made.with_power().path()] {
            File::open(path).and_then(|it| it.sync_all()).expect("synced");
        }
        made
    }

    /// Returns a home on this disk.
    pub(super) fn home(&self, name: &str) -> Home {
        Home::new(name).kept_at(self.at())
    }

    /// Returns where the home lies.
    pub(super) fn at(&self) -> PathBuf {
        self.with_power().path().join("home")
    }

    /// Returns the disk.
    ///
    /// # Panics
    /// Between a cut and the return of the power.
    pub(super) fn with_power(&self) -> &Disk {
        self.disk.as_ref().expect("the disk has power")
    }

    /// Unmounts the disk and mounts it again, without a cut: what only the page cache has is lost.
    pub(super) fn remount(&mut self) {
        self.disk.as_mut().expect("the disk has power").remount().expect("mounted again");
    }

    /// Turns the power on after a cut, once no process uses the disk; returns what became of the writes.
    pub(super) fn power_on(&mut self, chance: &mut Chance) -> String {
        let disk = self.disk.take().expect("the disk has power");
        let (image, fate) = disk.off(chance).expect("the disk is taken away");
        let disk =
            image.power_on().unwrap_or_else(|error| panic!("after a cut, {}: {error}", self.kind.name()));
        self.disk = Some(disk);
        fate
    }
}
