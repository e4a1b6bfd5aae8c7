//! The machines on which the commands of a document are run, and the values that its placeholders stand for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use reg_testnet::author::Author;
use reg_testnet::clients;
use reg_testnet::process::{Daemon, Home, Ran, reg_binary, text, until};
use serde_json::Value;
use tempfile::TempDir;

use super::lines::{Line, PULLER, YOURS};

/// Commands that ask before they go on. The test answers for the person.
const ASKING: [&str; 4] = ["reg key rotate ", "reg key revoke ", "reg key commit ", "reg trust accept "];

/// Exit code of a pull that no peer could be asked for.
const UNREACHABLE: i32 = 5;

/// What a follower must get for a name.
#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Content(String),
    /// An alias of the user's leads to another publisher.
    Anything,
    /// Its publisher has withdrawn the version.
    Refused,
}

struct Machine {
    home: Home,
    daemon: Option<Daemon>,
}

pub(super) struct World {
    /// The current folder of each command: files travel by being in it.
    shared: TempDir,
    follower: Home,
    follower_daemon: Daemon,
    machines: BTreeMap<String, Machine>,
    /// By reference.
    expected: BTreeMap<String, Expected>,
    /// The key and the content of the publication that waits for signatures.
    prepared: Option<(String, String)>,
    /// The publisher id of `me`.
    publisher: String,
    /// The key of `me` that was replaced last.
    replaced: String,
    /// The manifest that the follower has pulled last.
    manifest: String,
    /// Whether the publisher's first machine is lost.
    is_lost: bool,
    /// Each line publishes another content, named by its number.
    count: usize,
}

fn start(home: &Home, known: &str) -> Daemon {
    Daemon::start(home, ["--bootstrap", known, "--dht", "off"])
}

/// Returns the word after `flag` in a command.
fn after<'a>(command: &'a str, flag: &str) -> Option<&'a str> {
    let mut words = command.split_whitespace();
    words.find(|it| *it == flag)?;
    words.next()
}

/// Replaces a placeholder where it stands as a word of its own.
fn replace(command: &mut String, word: &str, value: impl FnOnce() -> String) {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
    let is_whole = |(at, _): &(usize, &str)| {
        let (before, rest) = (&command[..*at], &command[at + word.len()..]);
        !before.ends_with(is_part) && !rest.starts_with(is_part)
    };
    let places: Vec<usize> = command.match_indices(word).filter(is_whole).map(|(at, _)| at).collect();
    if places.is_empty() {
        return;
    }
    let value = value();
    for at in places.into_iter().rev() {
        command.replace_range(at..at + word.len(), &value);
    }
}

impl World {
    pub(super) fn new() -> Self {
        let shared = tempfile::Builder::new().prefix("reg-documents-").tempdir().expect("a folder");
        for folder in ["bin", "usb", "my-model"] {
            fs::create_dir(shared.path().join(folder)).expect("a folder");
        }
        symlink(reg_binary(), shared.path().join("bin/reg")).expect("a link");
        let follower = Home::new("follower");
        let follower_daemon = Daemon::start(&follower, ["--dht", "off"]);
        Self {
            shared,
            follower,
            follower_daemon,
            machines: BTreeMap::new(),
            expected: BTreeMap::new(),
            prepared: None,
            publisher: String::new(),
            replaced: String::new(),
            manifest: String::new(),
            is_lost: false,
            count: 0,
        }
    }

    /// Runs a line of a document, and then has the follower pull each name that it follows.
    pub(super) fn run(&mut self, line: &Line) {
        let is_new = line.machine == "new";
        if is_new && !self.is_lost {
            self.lose();
        }
        let machine = if is_new { YOURS } else { &line.machine };
        if line.heading == "A frozen tag" && line.command.starts_with("reg log") {
            self.freeze();
        }
        if line.command.starts_with("reg key rotate me") {
            self.replaced = text(&self.home(YOURS).json(["key", "show", "me"])["keys"][0]);
        }
        let content = self.write_model();
        let command = self.fill(line);
        let start = Instant::now();
        println!("{} [{machine}] {command}", line.at);
        if let Some((name, file)) = after(&command, "import").zip(after(&command, "--ssh"))
            && !self.make_ssh_key(file)
        {
            let name = name.to_owned();
            Author::new(71).give_key(self.home(machine).path(), &name);
            return;
        }
        let ran = self.shell(machine, &command);
        assert_eq!(ran.code(), 0, "{}: {command}\n{}\n{}", line.at, ran.stdout(), ran.stderr());
        if command.starts_with("reg key new me") {
            self.publisher = text(&self.home(YOURS).json(["key", "show", "me"])["publisher"]);
            // From now on a follower is beside the publisher.
            let ran = self.shell(YOURS, "reg publish ./my-model my-model --key me");
            self.published(YOURS, "reg publish ./my-model my-model --key me", content);
            ran.ok();
        } else {
            self.published(machine, &command, content);
        }
        let ran = start.elapsed();
        self.follow(&line.at);
        println!("{}: {ran:.1?}, and {:.1?} with the pulls", line.at, start.elapsed());
    }

    /// Notes what the follower must get from now on.
    fn published(&mut self, machine: &str, command: &str, content: String) {
        let key = after(command, "--key").unwrap_or_default().to_owned();
        let me = self.reference("me", YOURS);
        if command.contains(" --prepare ") {
            self.prepared = Some((key, content));
        } else if command.contains(" --signed ") {
            let (key, content) = self.prepared.take().expect("it was prepared");
            let reference = self.reference(&key, machine);
            self.expected.insert(reference, Expected::Content(content));
        } else if command.contains(" --abandon ") {
            self.prepared = None;
        } else if command.starts_with("reg publish") {
            let reference = self.reference(&key, machine);
            self.expected.insert(reference, Expected::Content(content));
        } else if command.contains(" --manifest ") {
            self.expected.insert(me, Expected::Refused);
        } else if command.starts_with("reg trust alias") && !command.contains("--rm") {
            self.expected.insert(me, Expected::Anything);
        }
    }

    fn reference(&self, key: &str, machine: &str) -> String {
        if key == "me" {
            return format!("{}/my-model", self.publisher);
        }
        let home = &self.machines[machine].home;
        format!("{}/my-model", text(&home.json(["key", "show", key])["publisher"]))
    }

    /// The follower is never locked out: each name gives what it must give, and no pull fails.
    fn follow(&mut self, at: &str) {
        for (reference, expected) in self.expected.clone() {
            until(&format!("{at}: the follower gets {expected:?} for {reference}"), || {
                let flags = ["--dht", "off", "--no-gossip", "--overwrite"];
                let ran = self.follower.pull(&reference, &[], &flags);
                if expected == Expected::Refused {
                    return ran.code() == 6;
                }
                // On a busy machine the follower may not have met the publisher's node yet.
                if ran.code() == UNREACHABLE {
                    println!("{at}: not met yet: {}", ran.stderr());
                    return false;
                }
                assert_eq!(ran.code(), 0, "{at}: the follower is locked out: {}", ran.stderr());
                let out = self.follower.path().join("out/config.json");
                let got = fs::read_to_string(out).unwrap_or_default();
                let is_right = match &expected {
                    Expected::Content(content) => got.contains(content.as_str()),
                    _ => true,
                };
                if !is_right {
                    println!("{at}: not yet {expected:?}: {got}");
                }
                if is_right && reference.starts_with(&self.publisher) {
                    self.manifest = text(&ran.json()["manifest"]);
                }
                is_right
            });
        }
    }

    /// Gives the model on the publisher's machines a new content. What is prepared must stay until it is published.
    fn write_model(&mut self) -> String {
        if let Some((_, content)) = &self.prepared {
            return content.clone();
        }
        self.count += 1;
        let content = format!("content-{}.", self.count);
        let file = self.shared.path().join("my-model/config.json");
        fs::write(file, format!("{{\"model_type\":\"{content}\"}}")).expect("written");
        content
    }

    fn shell(&mut self, machine: &str, command: &str) -> Ran {
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.shared.path().join("bin");
        let folder = self.folder(machine);
        let home = if machine == PULLER { &self.follower } else { &self.machine(machine).home };
        let mut shell = Command::new("sh");
        shell.args(["-ec", command]).current_dir(folder).stdin(Stdio::null());
        shell.env("REG_HOME", home.path()).env("PATH", format!("{}:{path}", bin.display()));
        home.ran(shell.env_remove("RUST_LOG"))
    }

    /// A machine that pulls has a folder of its own, or it would pull over the publisher's files.
    fn folder(&self, machine: &str) -> PathBuf {
        if machine != PULLER {
            return self.shared.path().to_owned();
        }
        let folder = self.follower.path().join("work");
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn machine(&mut self, name: &str) -> &mut Machine {
        let known = self.follower_daemon.address();
        self.machines.entry(name.to_owned()).or_insert_with(|| {
            let home = Home::new(name);
            let daemon = Some(start(&home, &known));
            Machine { home, daemon }
        })
    }

    fn home(&mut self, name: &str) -> &Home {
        &self.machine(name).home
    }

    /// Puts values in place of the placeholders, and answers `yes`.
    fn fill(&mut self, line: &Line) -> String {
        let mut command = line.command.clone();
        for asking in ASKING {
            command = command.replace(asking, &format!("{asking}--yes "));
        }
        replace(&mut command, "PUBLISHER", || self.publisher.clone());
        replace(&mut command, "KEY", || self.replaced.clone());
        replace(&mut command, "WHY", || "why".to_owned());
        let usb = self.shared.path().join("usb").to_string_lossy().into_owned();
        command = command.replace("/media/usb", &usb).replace("sha256:…", &self.manifest);
        replace(&mut command, "ID", || self.stranger());
        replace(&mut command, "FILE", || format!("key-{}", self.count));
        for name in ["bob", "carol", "board"] {
            let machine = if name == "board" { YOURS } else { name };
            for (number, place) in [("", 0), ("2", 0), ("3", 1)] {
                let word = format!("{}{number}", name.to_uppercase());
                replace(&mut command, &word, || self.key(machine, name, number, place));
            }
        }
        command
    }

    /// Returns the public key of a machine, or one of its next keys.
    fn key(&mut self, machine: &str, name: &str, number: &str, place: usize) -> String {
        let shown: Value = self.home(machine).json(["key", "show", name]);
        if number.is_empty() {
            return text(&shown["public_key"]);
        }
        let next = shown["next"].as_array().expect("a list");
        let own = next.iter().filter(|it| it["is_available"] == true).nth(place);
        text(&own.expect("a next key on this machine")["public_key"])
    }

    /// Another publisher, which has a model of the same name.
    fn stranger(&mut self) -> String {
        let home = self.home("stranger");
        if let Some(id) = home.path().join("keys/me.json").exists().then(|| home.json(["key", "show", "me"]))
        {
            return text(&id["publisher"]);
        }
        let id = home.key("me");
        self.shell("stranger", "reg publish ./my-model my-model --key me").ok();
        id
    }

    fn make_ssh_key(&self, file: &str) -> bool {
        let program = clients::tool("ssh-keygen", &clients::OPENSSH);
        if clients::is_left_out(&program) {
            return false;
        }
        let mut make = program.expect("ssh-keygen is there").command();
        make.args(["-q", "-t", "ed25519", "-N", "", "-f", file]).current_dir(self.shared.path());
        make.status().is_ok_and(|it| it.success())
    }

    /// The publisher's machine is lost with all that is on it. A new one takes its place.
    fn lose(&mut self) {
        let lost = self.machines.remove(YOURS).expect("the publisher's machine");
        lost.daemon.expect("it runs").kill();
        self.is_lost = true;
        let home = self.home(YOURS);
        // As the guide says: the daemon is connected to a node with the models.
        until("the new machine is connected", || home.json(["status"])["peers"] != 0);
    }

    /// A copy of the publisher's machine publishes without seeing the other. The follower hears of both.
    fn freeze(&mut self) {
        let reference = self.reference("me", YOURS);
        let known = self.follower_daemon.address();
        let twin = Home::new("twin");
        copy_keys(self.home(YOURS).path(), twin.path());
        let flags = ["--dht", "off", "--no-gossip"];
        for home in [&twin, self.home(YOURS)] {
            home.pull(&reference, &[&known], &flags).ok();
        }
        let paused = self.machine(YOURS).daemon.take().expect("it runs");
        paused.stop();
        for (home, name) in [(&twin, "twin"), (&self.machines[YOURS].home, YOURS)] {
            let folder = twin.path().join(name);
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("config.json"), format!("{{\"model_type\":\"{name}\"}}")).expect("written");
            let path = folder.to_string_lossy().into_owned();
            home.run(["publish", &path, "my-model", "--key", "me", "--offline"]).ok();
        }
        let daemon = start(&twin, &known);
        let machine = self.machine(YOURS);
        machine.daemon = Some(start(&machine.home, &known));
        for home in [&self.machines[YOURS].home, &self.follower] {
            until("the tag is frozen", || home.json(["log", &reference])["frozen"] == true);
        }
        self.machines.insert("twin".to_owned(), Machine { home: twin, daemon: Some(daemon) });
    }
}

fn copy_keys(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let keys = to.join("keys");
    fs::create_dir_all(&keys).expect("a folder");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).expect("ours");
    for entry in fs::read_dir(from.join("keys")).expect("the keys").flatten() {
        fs::copy(entry.path(), keys.join(entry.file_name())).expect("a key");
    }
}
