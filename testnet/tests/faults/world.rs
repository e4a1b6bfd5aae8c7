//! A publisher on a disk that is to fail, and a follower on a sound one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use reg_testnet::process::{Daemon, Home, Ran, text};
use serde_json::Value;

use crate::acts::Act;
use crate::node::{FLAGS, Node};
use crate::tally::{Found, Harm};

/// Pulls in a row that may find the newest version out of reach on a busy machine.
const BEHIND_MAX: u32 = 5;
const NAME: &str = "tiny:v1";

/// The node that pulls.
enum Pulls {
    Follower,
    Other(Home),
}

/// The world. Versions of the one tag are numbers, which stand in the model itself.
pub(super) struct World {
    /// The publisher.
    pub(super) node: Node,
    follower_daemon: Daemon,
    follower: Home,
    pub(super) reference: String,
    /// The version that was tried last.
    tried: u64,
    /// The newest version that was acknowledged.
    pub(super) acknowledged: u64,
    pulls: u64,
    /// How long each act took last.
    pub(super) paces: BTreeMap<Act, Duration>,
}

impl World {
    /// Makes a publisher in `home`, which has published version 1, and a follower that has pulled it.
    pub(super) fn new(home: Home) -> Self {
        let publisher = home.key("me");
        let follower = Home::new("follower");
        let mut world = Self {
            node: Node { daemon: Some(Daemon::start(&home, FLAGS)), home },
            follower_daemon: Daemon::start(&follower, FLAGS),
            follower,
            reference: format!("{publisher}/{NAME}"),
            tried: 0,
            acknowledged: 0,
            pulls: 0,
            paces: BTreeMap::new(),
        };
        let first = world.next_version();
        world.publish(first, true).ok();
        if let Err(found) = world.follower_has(first) {
            panic!("nothing has failed yet: {found}");
        }
        world
    }

    /// Makes the model of the next version; returns its number.
    pub(super) fn next_version(&mut self) -> u64 {
        self.tried += 1;
        let dir = self.model(self.tried);
        fs::create_dir_all(&dir).expect("a folder");
        let config = format!("{{\"model_type\":\"tiny\",\"version\":{}}}", self.tried);
        fs::write(dir.join("config.json"), config).expect("written");
        fs::write(dir.join("README.md"), format!("Version {}.\n", self.tried).repeat(200)).expect("written");
        self.tried
    }

    fn model(&self, version: u64) -> PathBuf {
        self.node.home.path().join("models").join(version.to_string())
    }

    /// Starts the publication of a version, through the daemon if one runs.
    pub(super) fn start_publish(&self, version: u64) -> Child {
        let model = self.model(version).to_string_lossy().into_owned();
        let alone = self.node.daemon.is_none().then_some("--offline");
        self.node.begin(["publish", &model, NAME, "--key", "me", "--json"].into_iter().chain(alone))
    }

    /// Publishes a version, and notes it if that is acknowledged.
    pub(super) fn publish(&mut self, version: u64, with_daemon: bool) -> Ran {
        assert_eq!(self.node.daemon.is_some(), with_daemon, "the daemon");
        let ran = self.node.end(self.start_publish(version));
        self.note(version, &ran);
        ran
    }

    /// Notes a version as acknowledged if its publication ended well.
    pub(super) fn note(&mut self, version: u64, ran: &Ran) {
        if ran.code() == 0 {
            self.acknowledged = self.acknowledged.max(version);
        }
    }

    /// Begins a command of `reg key` about the publisher, and confirms what it asks.
    pub(super) fn start_key(&self, args: &[&str]) -> Child {
        self.node.begin(["key"].iter().chain(args).chain(&["--yes", "--json"]))
    }

    /// Runs a command of `reg key` to its end.
    pub(super) fn key(&self, args: &[&str]) -> Ran {
        self.node.end(self.start_key(args))
    }

    /// Returns the public key that signs now.
    pub(super) fn signing_key(&self) -> String {
        text(&self.node.home.json(["key", "show", "me"])["keys"][0])
    }

    /// Checks that the publisher itself finds its newest version by name, without asking anybody.
    pub(super) fn publisher_has_acknowledged(&mut self) -> Result<(), Found> {
        let dest = self.next_dest();
        let out = dest.to_string_lossy().into_owned();
        let ran = self.node.home.run(["pull", &self.reference, &out, "--offline", "--copy", "--json"]);
        self.judge("the publisher's own pull by name", &ran, &dest, self.acknowledged).map(|_| ())
    }

    /// Checks that the follower gets this version, or a newer one, by name.
    pub(super) fn follower_has(&mut self, at_least: u64) -> Result<(), Found> {
        self.gets_by_name("the follower's pull by name", &Pulls::Follower, at_least).map(|_| ())
    }

    /// Checks that the follower gets this version by name, and no newer one.
    pub(super) fn follower_has_exactly(&mut self, version: u64) -> Result<(), Found> {
        let got = self.gets_by_name("the follower's pull by name", &Pulls::Follower, 0)?;
        if got == version {
            return Ok(());
        }
        let evidence = format!("the follower got {got} where {version} is the newest");
        Err(Found { harm: Harm::LostVersion, evidence })
    }

    /// Checks that a node that has never heard of the publisher gets the newest version by name.
    pub(super) fn newcomer_has_acknowledged(&mut self) -> Result<(), Found> {
        let newcomer = Home::new("newcomer");
        let at_least = self.acknowledged;
        self.gets_by_name("a newcomer's pull by name", &Pulls::Other(newcomer), at_least).map(|_| ())
    }

    /// Pulls by name; returns the version. Pulls again while the report says that a newer one exists and was not reached:
    /// that is allowed for as long as the machine is too busy to answer.
    fn gets_by_name(&mut self, shown: &str, puller: &Pulls, at_least: u64) -> Result<u64, Found> {
        for _behind in 0..BEHIND_MAX {
            let dest = self.next_dest();
            let ran = match puller {
                Pulls::Follower => self.pull(&self.follower, &dest),
                Pulls::Other(home) => self.pull(home, &dest),
            };
            let is_behind = ran.code() == 0 && !ran.json()["behind"].is_null();
            if !is_behind {
                return self.judge(shown, &ran, &dest, at_least);
            }
            println!("{shown} is behind: {}", ran.json()["behind"]);
        }
        let evidence = format!("{shown} stays behind {at_least}, {BEHIND_MAX} times");
        Err(Found { harm: Harm::LostVersion, evidence })
    }

    fn next_dest(&mut self) -> PathBuf {
        self.pulls += 1;
        self.node.home.path().join(format!("out-{}", self.pulls))
    }

    fn pull(&self, home: &Home, dest: &Path) -> Ran {
        let from = self.node.daemon.as_ref().map(Daemon::address).unwrap_or_default();
        let dest = dest.to_string_lossy();
        let flags = ["--no-mdns", "--dht", "off", "--copy", "--json"];
        let args = ["pull", &self.reference, &dest, "--from", &from];
        home.run(args.iter().chain(&flags))
    }

    /// Returns the version that a pull by name brought, unless it is older than `at_least`.
    fn judge(&self, shown: &str, ran: &Ran, dest: &Path, at_least: u64) -> Result<u64, Found> {
        let acknowledged = self.acknowledged;
        if ran.code() != 0 {
            let mut found = Found::in_failure(shown, ran);
            // It was there.
            if found.harm == Harm::StillFails {
                found.harm = Harm::LostVersion;
            }
            let log = self.follower_daemon.log();
            let last: Vec<&str> = log.lines().rev().take(8).collect();
            return Err(found.after(&format!("version {acknowledged} was acknowledged; follower: {last:#?}")));
        }
        let config = fs::read_to_string(dest.join("config.json")).unwrap_or_default();
        let config: Value = serde_json::from_str(&config).unwrap_or_default();
        let _made_anew = fs::remove_dir_all(dest);
        match config["version"].as_u64() {
            Some(version) if version >= at_least => Ok(version),
            got => Err(Found {
                harm: Harm::LostVersion,
                evidence: format!(
                    "{shown} gave {got:?} where {at_least} was published ({acknowledged} acknowledged): {}",
                    ran.stdout()
                ),
            }),
        }
    }
}
