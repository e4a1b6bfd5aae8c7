//! Models on a disk that is to fail: they are pulled, published and collected, and every byte is judged afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::rc::Rc;
use std::time::{Duration, Instant};

use reg_testnet::process::{Home, Ran};
use reg_testnet::tree;

use crate::node::{FLAGS, Node};
use crate::source::{Published, Source, make};
use crate::tally::{Found, Harm};

/// Exit codes of a command that met a failing disk: other, verification failed, unreachable, disk full, retry later. That
/// it was used wrongly, or that a model does not exist, would be false.
const EXCUSED: [i32; 5] = [1, 4, 5, 7, 75];
/// Longest time until a pull has begun to write.
const BEGUN: Duration = Duration::from_secs(90);

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

    pub(super) const fn needs_daemon(self) -> bool {
        !matches!(self, Self::Pull | Self::PublishAlone)
    }
}

/// A node on a disk that fails, and the models that it must keep.
pub(super) struct Content {
    pub(super) node: Node,
    /// The folder of the store as the disk has it, past what fails.
    pub(super) store: PathBuf,
    source: Rc<Source>,
    own_id: String,
    /// Models of the source that this node has pulled, or tried to.
    pulled: usize,
    /// Models that this node has published, or tried to.
    made: u64,
    kept: Vec<Published>,
}

/// An act that is ready to begin.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) act: Act,
    command: Vec<String>,
    /// The model that the node must have afterwards.
    gains: Option<Published>,
}

impl Content {
    pub(super) fn new(home: Home, store: PathBuf, source: &Rc<Source>) -> Self {
        let own_id = home.key("me");
        let node = Node::new(home);
        Self { node, store, source: Rc::clone(source), own_id, pulled: 0, made: 0, kept: Vec::new() }
    }

    /// Starts or ends the daemon, as an act needs it.
    fn set_daemon(&mut self, act: Act) -> Result<(), Found> {
        if act.needs_daemon() {
            return self.node.start();
        }
        self.node.kill();
        Ok(())
    }

    /// Prepares an act, before the fault.
    pub(super) fn prepare(&mut self, act: Act) -> Result<Ready, Found> {
        let (command, gains) = match act {
            Act::Pull | Act::PullByDaemon => self.pull_of_next(act),
            Act::Publish | Act::PublishAlone => self.publication(act),
            Act::Remove => (vec!["rm".to_owned(), self.give_up()?.reference], None),
            Act::Collect => {
                self.leave_a_part()?;
                (vec!["gc".to_owned()], None)
            }
        };
        self.set_daemon(act)?;
        Ok(Ready { act, command, gains })
    }

    fn pull_of_next(&mut self, act: Act) -> (Vec<String>, Option<Published>) {
        let model = self.source.model(self.pulled);
        self.pulled += 1;
        let out = text(&self.node.home.path().join("out").join(self.pulled.to_string()));
        let from = self.source.address();
        let alone = if act == Act::Pull { &FLAGS[..] } else { &[] };
        let args = ["pull", &model.reference, &out, "--from", &from, "--no-mdns", "--copy"];
        (args.iter().chain(alone).map(|it| (*it).to_owned()).collect(), Some(model))
    }

    fn publication(&mut self, act: Act) -> (Vec<String>, Option<Published>) {
        let (dir, name) = make(&self.node.home, self.made, self.made * 2 + 1);
        self.made += 1;
        let alone = (act == Act::PublishAlone).then_some("--offline");
        let path = text(&dir);
        let args = ["publish", &path, &name, "--key", "me"].into_iter().chain(alone);
        let command = args.map(str::to_owned).collect();
        (command, Some(Published { reference: format!("{}/{name}", self.own_id), dir }))
    }

    /// Returns a pulled model that need not be kept any more.
    fn give_up(&mut self) -> Result<Published, Found> {
        if let Some(place) = self.kept.iter().position(|it| self.source.has(it)) {
            return Ok(self.kept.remove(place));
        }
        let ready = self.prepare(Act::PullByDaemon)?;
        self.succeeds("a pull before the fault", &self.begin(&ready))?;
        Ok(ready.gains.expect("a pull gains a model"))
    }

    /// Kills a client that pulls, so that a part of a model is left.
    fn leave_a_part(&mut self) -> Result<(), Found> {
        let mut slow = self.prepare(Act::PullByDaemon)?;
        slow.command.extend(["--limit-down", "1MB", "--limit-local"].map(str::to_owned));
        let mut pull = self.spawn(&slow);
        let deadline = Instant::now() + BEGUN;
        let is_begun = || fs::read_dir(self.store.join("partial")).is_ok_and(|mut it| it.next().is_some());
        while !is_begun() && matches!(pull.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        pull.kill().and_then(|()| pull.wait()).expect("it is killed");
        // What no model waits for is collected.
        let _may_not_be_known = slow.gains.map(|it| self.node.run(["rm", &it.reference]));
        Ok(())
    }

    /// Does an act to its end.
    pub(super) fn begin(&self, ready: &Ready) -> Ran {
        self.node.run(&ready.command)
    }

    /// Returns the act as a process.
    pub(super) fn spawn(&self, ready: &Ready) -> Child {
        self.node.begin(&ready.command)
    }

    /// Judges an act that met a fault, if `has_struck`.
    pub(super) fn judge(&mut self, ready: &Ready, ran: &Ran, has_struck: bool) -> Result<(), Found> {
        let code = ran.code();
        if code == 0 {
            self.note(ready);
            return Ok(());
        }
        if has_struck && EXCUSED.contains(&code) {
            return Ok(());
        }
        let harm = if code < 0 { Harm::Hangs } else { Harm::WrongExit };
        Err(Found { harm, evidence: format!("{ready:?} ended with {code}: {}", ran.stderr()) })
    }

    /// Returns the model that was acknowledged last.
    pub(super) fn newest(&self) -> String {
        self.kept.last().map(|it| it.reference.clone()).unwrap_or_default()
    }

    /// Notes the model that the node has acknowledged.
    pub(super) fn note(&mut self, ready: &Ready) {
        let is_noted = |gained: &&Published| self.kept.iter().any(|it| it.reference == gained.reference);
        let gained = ready.gains.as_ref().filter(|gained| !is_noted(gained)).cloned();
        self.kept.extend(gained);
    }

    /// The fault is gone: the same command succeeds, without a new start of the daemon unless it has ended.
    pub(super) fn goes_on(&mut self, ready: &Ready) -> Result<(), Found> {
        self.set_daemon(ready.act)?;
        let again = self.begin(ready);
        // What was removed is not found again.
        let is_gone = ready.act == Act::Remove && again.code() == 3;
        if !is_gone {
            self.succeeds("the same command again", &again)?;
        }
        self.note(ready);
        Ok(())
    }

    fn succeeds(&self, what: &str, ran: &Ran) -> Result<(), Found> {
        let log = || format!("{what}; log: {:#?}", self.node.last_lines());
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

    /// Says which MiB of a blob are not those of the model that was acknowledged last, and what they begin with.
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

    /// Checks the model that was acknowledged last.
    pub(super) fn has_newest(&self) -> Result<(), Found> {
        self.kept.last().map_or(Ok(()), |newest| self.has(newest))
    }

    /// Checks every model that was acknowledged, in a daemon.
    pub(super) fn has_what_it_acknowledged(&mut self) -> Result<(), Found> {
        self.node.start()?;
        self.kept.iter().try_for_each(|model| self.has(model))
    }

    /// Pulls a model without a network, and compares it with what was published.
    fn has(&self, model: &Published) -> Result<(), Found> {
        let out = tempfile::tempdir().expect("a folder");
        let dest = out.path().join("model");
        let ran = self.node.run(["pull", &model.reference, &text(&dest), "--offline", "--copy"]);
        if ran.code() != 0 {
            let mut found = Found::in_failure("a pull of what was acknowledged", &ran);
            found.harm = Harm::LostVersion;
            return Err(found.after(&format!("{model:?}; log: {:#?}", self.node.last_lines())));
        }
        if tree::digests(&dest) != tree::digests(&model.dir) {
            let evidence = format!("{} differs in {}", model.reference, dest.display());
            return Err(Found { harm: Harm::WrongBytes, evidence });
        }
        Ok(())
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
