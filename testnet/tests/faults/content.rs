//! Models on a disk that is to fail: they are pulled, published and collected, and every byte is judged afterwards.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, Ran};
use reg_testnet::tree;

use crate::tally::{Found, Harm};

/// Longest time that a command may take on a busy machine, faults included.
const PATIENCE: Duration = Duration::from_secs(90);
const FLAGS: [&str; 2] = ["--dht", "off"];
/// Exit codes of a command that met a failing disk: other, verification failed, unreachable, disk full, retry later. That
/// it was used wrongly, or that a model does not exist, would be false.
const EXCUSED: [i32; 5] = [1, 4, 5, 7, 75];

/// What is done while a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// Pulls a model without a daemon.
    Pull,
    /// Pulls a model through the daemon.
    PullByDaemon,
    /// Publishes a model through the daemon.
    Publish,
    /// Publishes a model without a daemon.
    PublishAlone,
    /// Removes a model, through the daemon.
    Remove,
    /// Collects what a killed pull has left, through the daemon.
    Collect,
}

impl Act {
    pub(super) const ALL: [Self; 6] =
        [Self::Pull, Self::PullByDaemon, Self::Publish, Self::PublishAlone, Self::Remove, Self::Collect];

    const fn needs_daemon(self) -> bool {
        !matches!(self, Self::Pull | Self::PublishAlone)
    }
}

/// A model that the node on the failing disk must keep.
#[derive(Debug, Clone)]
struct Kept {
    reference: String,
    dir: PathBuf,
}

/// A node on a disk that fails, and a publisher on a sound one.
pub(super) struct Content {
    pub(super) daemon: Option<Daemon>,
    pub(super) home: Home,
    /// The folder of the store as the disk has it, past what fails.
    pub(super) store: PathBuf,
    publisher_daemon: Daemon,
    publisher: Home,
    id: String,
    own_id: String,
    made: u64,
    kept: Vec<Kept>,
}

/// An act that is ready to begin.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) act: Act,
    command: Vec<String>,
    /// The model that the node must have afterwards.
    gains: Option<Kept>,
}

impl Content {
    pub(super) fn new(home: Home, store: PathBuf) -> Self {
        let publisher = Home::new("publisher");
        let id = publisher.key("them");
        let own_id = home.key("me");
        Self {
            daemon: None,
            home,
            store,
            publisher_daemon: Daemon::start(&publisher, FLAGS),
            publisher,
            id,
            own_id,
            made: 0,
            kept: Vec::new(),
        }
    }

    /// Makes a model of several pieces, a part of one, and small files.
    fn make(&mut self, at: &Path) -> (PathBuf, String) {
        self.made += 1;
        let dir = at.join("models").join(self.made.to_string());
        model::generate(&dir, (4 << 20) + 4096 * (self.made % 7), self.made);
        (dir, format!("model-{}:v1", self.made))
    }

    /// Prepares an act, before the fault.
    pub(super) fn prepare(&mut self, act: Act) -> Result<Ready, Found> {
        if act.needs_daemon() {
            self.start()?
        } else {
            self.kill()
        }
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (command, gains) = match act {
            Act::Pull | Act::PullByDaemon => {
                let at = self.publisher.path().to_owned();
                let (dir, name) = self.make(&at);
                self.publisher.publish(&dir, &name, "them");
                let reference = format!("{}/{name}", self.id);
                let out = self.home.path().join("out").join(self.made.to_string());
                let from = self.publisher_daemon.address();
                let command = ["pull", &reference, &text(&out), "--from", &from, "--no-mdns", "--copy"];
                let mut command = command.map(str::to_owned).to_vec();
                if act == Act::Pull {
                    command.extend(FLAGS.map(str::to_owned));
                }
                (command, Some(Kept { reference, dir }))
            }
            Act::Publish | Act::PublishAlone => {
                let at = self.home.path().to_owned();
                let (dir, name) = self.make(&at);
                let reference = format!("{}/{name}", self.own_id);
                let mut command = vec!["publish".to_owned(), text(&dir), name];
                command.extend(["--key", "me"].map(str::to_owned));
                if act == Act::PublishAlone {
                    command.push("--offline".to_owned());
                }
                (command, Some(Kept { reference, dir }))
            }
            Act::Remove => {
                let ready = self.prepare(Act::PullByDaemon)?;
                self.succeeds("a pull before the fault", &self.begin(&ready))?;
                let gone = ready.gains.expect("a pull gains a model");
                (vec!["rm".to_owned(), gone.reference], None)
            }
            Act::Collect => {
                self.leave_a_part()?;
                self.start()?;
                (vec!["gc".to_owned()], None)
            }
        };
        Ok(Ready { act, command, gains })
    }

    /// Kills a pull, so that a part of a model is left.
    fn leave_a_part(&mut self) -> Result<(), Found> {
        let mut slow = self.prepare(Act::Pull)?;
        slow.command.extend(["--limit-down", "1MB"].map(str::to_owned));
        let mut pull = self.spawn(&slow);
        let deadline = Instant::now() + PATIENCE;
        let is_begun = || fs::read_dir(self.store.join("partial")).is_ok_and(|mut it| it.next().is_some());
        while !is_begun() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        pull.kill().and_then(|()| pull.wait()).expect("it is killed");
        // What no model waits for is collected.
        let _may_not_be_known = slow.gains.map(|it| self.run(&["rm", &it.reference]));
        Ok(())
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_owned(&args.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
    }

    fn run_owned(&self, args: &[String]) -> Ran {
        let mut command = self.home.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("reg runs");
        let _killed_after_it = reg_testnet::process::wait_until(&mut child, Instant::now() + PATIENCE);
        self.home.ended(child.wait_with_output().expect("it has ended"))
    }

    /// Does an act to its end.
    pub(super) fn begin(&self, ready: &Ready) -> Ran {
        self.run_owned(&ready.command)
    }

    /// Returns the act as a process.
    pub(super) fn spawn(&self, ready: &Ready) -> std::process::Child {
        let mut command = self.home.command(&ready.command);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("reg runs")
    }

    /// Judges an act that met a fault.
    pub(super) fn judge(&mut self, ready: &Ready, ran: &Ran) -> Result<(), Found> {
        let code = ran.code();
        if code == 0 {
            self.note(ready);
        } else if !EXCUSED.contains(&code) {
            let evidence = format!("{ready:?} ended with {code}: {}", ran.stderr());
            return Err(Found { harm: Harm::WrongExit, evidence });
        }
        Ok(())
    }

    /// Returns the model that was acknowledged last.
    pub(super) fn newest(&self) -> String {
        self.kept.last().map(|it| it.reference.clone()).unwrap_or_default()
    }

    /// Notes the model that the node has acknowledged.
    pub(super) fn note(&mut self, ready: &Ready) {
        self.kept.extend(ready.gains.clone());
    }

    /// The fault is gone: the same command succeeds, without a new start of the daemon unless it has ended. Then every
    /// byte is judged.
    pub(super) fn goes_on(&mut self, ready: &Ready) -> Result<(), Found> {
        if ready.act.needs_daemon() {
            self.start()?
        } else {
            self.kill()
        }
        let again = self.begin(ready);
        // What was removed is not found again.
        let is_gone = ready.act == Act::Remove && again.code() == 3;
        if !is_gone {
            self.succeeds("the same command again", &again)?;
        }
        self.note(ready);
        self.every_byte_is_right()?;
        self.has_what_it_acknowledged()
    }

    fn succeeds(&self, what: &str, ran: &Ran) -> Result<(), Found> {
        let log = || {
            let log = self.daemon.as_ref().map(Daemon::log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(6).collect();
            format!("{what}; log: {lines:#?}")
        };
        if ran.code() == 0 { Ok(()) } else { Err(Found::in_failure(what, ran).after(&log())) }
    }

    /// Hashes every file with the name of a blob, as the disk has it.
    pub(super) fn every_byte_is_right(&self) -> Result<(), Found> {
        let dir = self.store.join("blobs/sha256");
        let Ok(parts) = fs::read_dir(&dir) else { return Ok(()) };
        for part in parts {
            for entry in fs::read_dir(part.expect("an entry").path()).expect("a folder") {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                let found = tree::digest(&path).hex();
                if found != name {
                    let evidence = format!("{name} has {found}{}", self.wrong_parts(&path));
                    return Err(Found { harm: Harm::WrongBytes, evidence });
                }
            }
        }
        Ok(())
    }

    /// Says which MiB of a blob are not those of the model that was made last, and what they begin with.
    fn wrong_parts(&self, blob: &Path) -> String {
        let Some(kept) = self.kept.last() else { return String::new() };
        let right = fs::read(kept.dir.join("model.safetensors")).expect("read");
        let found = fs::read(blob).expect("read");
        let parts = found.chunks(1 << 20).zip(right.chunks(1 << 20)).enumerate();
        let wrong = parts.filter(|(_, (found, right))| found != right);
        wrong
            .map(|(part, (found, right))| {
                let bytes = found.iter().zip(right).filter(|(one, two)| one != two).count();
                format!("; MiB {part}: {bytes} bytes differ, it begins with {:?}", &found[..8])
            })
            .collect()
    }

    /// Pulls every model that was acknowledged, without a network, and compares it with what was published.
    pub(super) fn has_what_it_acknowledged(&mut self) -> Result<(), Found> {
        let recent = self.kept.len().saturating_sub(6);
        for kept in &self.kept[recent..] {
            let out = tempfile::tempdir().expect("a folder");
            let dest = out.path().join("model");
            let ran = self.run(&["pull", &kept.reference, &dest.to_string_lossy(), "--offline", "--copy"]);
            if ran.code() != 0 {
                let mut found = Found::in_failure("a pull of what was acknowledged", &ran);
                found.harm = Harm::LostVersion;
                return Err(found.after(&format!("{kept:?}")));
            }
            if tree::digests(&dest) != tree::digests(&kept.dir) {
                let evidence = format!("{} differs in {}", kept.reference, dest.display());
                return Err(Found { harm: Harm::WrongBytes, evidence });
            }
        }
        Ok(())
    }

    pub(super) fn start(&mut self) -> Result<(), Found> {
        if self.daemon.as_mut().is_some_and(Daemon::is_running) {
            return Ok(());
        }
        let started = Daemon::try_start(&self.home, &FLAGS);
        self.daemon = Some(started.map_err(|log| Found { harm: Harm::NoStart, evidence: log })?);
        Ok(())
    }

    pub(super) fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    /// Makes sure that what a test's folder needs is on the disk.
    pub(super) fn sync(paths: &[&Path]) {
        for path in paths {
            File::open(path).and_then(|it| it.sync_all()).expect("synced");
        }
    }
}
