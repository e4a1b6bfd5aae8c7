//! The machines on which a guide is run: a home each on loopback, with a daemon where the guide starts one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reg_testnet::clients::{self, ClientError};
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, reg_binary, text, until};

use super::is_renewed;
use super::output::{Words, in_the_form_of, trimmed};
use super::page::{Block, Page, Shown, Step};

/// The machine of a page that names none.
const YOURS: &str = "you";
/// Bytes of a generated model: less than a piece, so that a page is run in seconds.
const MODEL_BYTES: u64 = 256 * 1024;
/// The address of a daemon's gateways in the guides. In a test each daemon has another port.
const GATEWAY: &str = "127.0.0.1:4610";
/// A stick that is carried from one machine to another.
const STICK: &str = "/media/usb";
/// When a page is renewed, the output after so many attempts is taken for the one that is waited for: about 20 s.
const ATTEMPTS_TO_RENEW: usize = 80;

struct Machine {
    home: Home,
    daemon: Option<Daemon>,
}

/// What a page is run in.
pub(super) struct World {
    /// Programs that the commands find, and the stick.
    shared: tempfile::TempDir,
    machines: BTreeMap<String, Machine>,
    now_on: String,
    words: Words,
}

/// What a command has printed, in the form of the page, and its exit code.
struct Seen {
    output: String,
    code: i32,
}

impl World {
    pub(super) fn new() -> Self {
        let shared = tempfile::Builder::new().prefix("reg-guide-").tempdir().expect("a folder");
        for folder in ["bin", "usb"] {
            fs::create_dir(shared.path().join(folder)).expect("a folder");
        }
        symlink(reg_binary(), shared.path().join("bin/reg")).expect("a link");
        Self { shared, machines: BTreeMap::new(), now_on: YOURS.to_owned(), words: Words::default() }
    }

    /// Runs a block. Returns each output that differs from the one that is shown, in the form of the page.
    pub(super) fn run(&mut self, page: &Page, block: &Block) -> Vec<(Shown, String)> {
        let at = page.at(block.body.start);
        let content = format!("{}\n", page.lines[block.body.clone()].join("\n"));
        let mut is_ready = true;
        for step in &block.steps {
            // What a program of others is needed for is left out without it.
            if is_ready || matches!(step, Step::On(_)) {
                is_ready &= self.take(step, &at, &content);
            }
        }
        if !is_ready || !block.is_run() {
            return Vec::new();
        }
        let all = page.shown(block);
        let count = all.len();
        let runs = all.into_iter().enumerate().filter_map(|(number, shown)| {
            let expected = page.lines[shown.output.clone()].join("\n");
            let code = if number + 1 == count { block.exit_code() } else { 0 };
            let output = self.run_shown(block, &at, &shown, &expected, code);
            (!shown.output.is_empty() && output != expected).then_some((shown, output))
        });
        runs.collect()
    }

    fn run_shown(&mut self, block: &Block, at: &str, shown: &Shown, expected: &str, code: i32) -> String {
        let yes = if block.steps.contains(&Step::Yes) { " --yes" } else { "" };
        let command = format!("{}{yes}", shown.command);
        let mut seen = self.command(&command, expected);
        let is_right =
            |seen: &Seen| seen.code == code && (shown.output.is_empty() || seen.output == expected);
        if block.steps.contains(&Step::Again) && !is_right(&seen) {
            let mut attempts = 0;
            until(&format!("{at}: {command}"), || {
                seen = self.command(&command, expected);
                attempts += 1;
                is_right(&seen) || is_renewed() && attempts > ATTEMPTS_TO_RENEW
            });
        }
        assert_eq!(seen.code, code, "{at}: exit code of: {command}\n{}", seen.output);
        seen.output
    }

    /// Does one step; returns whether the block can be run here.
    fn take(&mut self, step: &Step, at: &str, content: &str) -> bool {
        match step {
            Step::On(machine) => machine.clone_into(&mut self.now_on),
            Step::Quietly(command) => {
                let seen = self.command(command, "");
                assert_eq!(seen.code, 0, "{at}: {command}\n{}", seen.output);
            }
            Step::Model { dir, seed } => model::generate(&self.place(dir), MODEL_BYTES, *seed),
            Step::Gguf { dir, names } => {
                let dir = self.place(dir);
                fs::create_dir_all(&dir).expect("a folder");
                for (number, name) in (1..).zip(names) {
                    model::gguf(&dir.join(name), number * MODEL_BYTES);
                }
            }
            Step::Let { word, command, pointer } => {
                let mut shell = self.shell(command);
                let printed = self.machine().home.ran(&mut shell).ok().json();
                let value = printed.pointer(pointer);
                let value = value.unwrap_or_else(|| panic!("{at}: no {pointer} in {printed}"));
                self.words.set(word, text(value));
            }
            Step::Bring { file, from } => {
                let source = self.machines[from].home.path().join(file);
                let to = self.place(file);
                fs::copy(&source, to).unwrap_or_else(|error| panic!("{at}: {}: {error}", source.display()));
            }
            Step::Write(file) => {
                let file = if file == "config.toml" { ".reg/config.toml" } else { file };
                let to = self.place(file);
                fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
                fs::write(to, self.words.fill(content)).expect("written");
            }
            Step::Stop => {
                let daemon = self.machine().daemon.take();
                daemon.unwrap_or_else(|| panic!("{at}: no daemon runs")).stop();
            }
            Step::Needs(programs) => return programs.iter().all(|program| self.install(program, at)),
            Step::Again | Step::Exit(_) | Step::Yes | Step::Not(_) | Step::By(_) => {}
        }
        true
    }

    /// Returns a path on the present machine.
    fn place(&mut self, path: &str) -> PathBuf {
        match path.strip_prefix(STICK) {
            Some(below) => self.shared.path().join("usb").join(below.trim_start_matches('/')),
            None => self.machine().home.path().join(path),
        }
    }

    fn machine(&mut self) -> &mut Machine {
        self.machines.entry(self.now_on.clone()).or_insert_with_key(|name| {
            let home = Home::remembering(name);
            let kept_at = home.path().join(".reg");
            Machine { home: home.kept_at(kept_at), daemon: None }
        })
    }

    fn command(&mut self, command: &str, expected: &str) -> Seen {
        println!("[{}] $ {command}", self.now_on);
        if let Some(flags) = command.strip_prefix("reg daemon").and_then(|it| it.strip_suffix('&')) {
            self.start(flags);
            return Seen { output: expected.to_owned(), code: 0 };
        }
        let mut shell = self.shell(command);
        let ran = self.machine().home.ran(&mut shell);
        let printed = self.hide_places(&ran.stdout());
        let printed = self.words.hide(&printed);
        println!("{printed}");
        Seen { output: trimmed(&in_the_form_of(expected, &printed)), code: ran.code() }
    }

    /// Starts the daemon of the present machine, or starts it anew. It knows the daemons that run already.
    fn start(&mut self, flags: &str) {
        let flags = self.words.fill(flags);
        let known: Vec<String> = self.others().map(Daemon::address).collect();
        let machine = self.machine();
        if let Some(daemon) = machine.daemon.take() {
            daemon.stop();
        }
        let mut all: Vec<&str> = flags.split_whitespace().collect();
        all.extend(["--dht", "off"]);
        all.extend(known.iter().flat_map(|address| ["--bootstrap", address]));
        machine.daemon = Some(Daemon::start_in(&machine.home, &all, &[]));
    }

    fn others(&self) -> impl Iterator<Item = &Daemon> {
        self.machines
            .iter()
            .filter(|(name, _)| **name != self.now_on)
            .filter_map(|(_, it)| it.daemon.as_ref())
    }

    /// Returns a command of the shell on the present machine. Its standard error goes where its output goes.
    fn shell(&mut self, command: &str) -> Command {
        let stick = self.shared.path().join("usb");
        let known: Vec<String> = self.others().map(Daemon::address).collect();
        let mut path = self.shared.path().join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = self.words.fill(command).replace(STICK, &stick.to_string_lossy());
        let machine = self.machine();
        if let Some(daemon) = &machine.daemon {
            let gateway = http::base(daemon);
            command = command.replace(GATEWAY, gateway.trim_start_matches("http://"));
        }
        let home = machine.home.path();
        let mut shell = Command::new("sh");
        shell.arg("-ec").arg(format!("exec 2>&1\n{command}")).current_dir(home).stdin(Stdio::null());
        shell.env("HOME", home).env("REG_HOME", home.join(".reg")).env("PATH", path);
        shell.envs([("COLUMNS", "80"), ("NO_COLOR", "1"), ("HF_HUB_DISABLE_PROGRESS_BARS", "1")]);
        shell.envs([("HF_HUB_DISABLE_TELEMETRY", "1"), ("PYTHONWARNINGS", "ignore")]);
        for other in ["RUST_LOG", "HF_TOKEN", "HF_HOME", "HF_ENDPOINT", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
            shell.env_remove(other);
        }
        if machine.daemon.is_none() {
            // The node of a command meets nodes of this page only. A daemon has been told at its start.
            shell.envs([("REG_NO_MDNS", "true"), ("REG_DHT", "off")]);
            shell.envs((!known.is_empty()).then(|| ("REG_BOOTSTRAP", known.join(","))));
        }
        shell
    }

    /// Puts what a reader sees in place of the folders and the port of this run.
    fn hide_places(&mut self, printed: &str) -> String {
        let stick = self.shared.path().join("usb");
        let machine = self.machine();
        let printed = printed.replace(&*stick.to_string_lossy(), STICK);
        let printed = printed.replace(&*machine.home.path().to_string_lossy(), "~");
        match &machine.daemon {
            Some(daemon) => printed.replace(http::base(daemon).trim_start_matches("http://"), GATEWAY),
            None => printed,
        }
    }

    /// Puts a program of others where the commands find it; returns whether it is there.
    fn install(&self, program: &str, at: &str) -> bool {
        let to = self.shared.path().join("bin").join(program);
        if to.exists() {
            return true;
        }
        let found = match program {
            "hf" => wrapped(
                clients::python("hf", &clients::HUGGING_FACE).map(|it| Command::new(it.program("hf"))),
            ),
            "model_signing" => wrapped(
                clients::python("model-signing", &clients::MODEL_SIGNING)
                    .map(|it| Command::new(it.program("model_signing"))),
            ),
            "skopeo" => wrapped(clients::tool("skopeo", &clients::SKOPEO).map(|it| {
                // A machine on which it is installed has a file with its policy.
                let mut skopeo = it.command();
                skopeo.arg("--insecure-policy");
                skopeo
            })),
            _ => panic!("{at}: no test installs {program}"),
        };
        let Some(script) = found else { return false };
        fs::write(&to, script).expect("written");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).expect("ours");
        true
    }
}

/// Returns a script that runs a program with its own variables, or says that it is left out.
///
/// # Panics
/// If the program cannot be installed, and tests with programs of others are wanted.
fn wrapped(program: Result<Command, ClientError>) -> Option<String> {
    if clients::is_left_out(&program) {
        return None;
    }
    let program = program.unwrap_or_else(|error| panic!("{error}"));
    let quoted = |path: &Path| format!("'{}'", path.display());
    let variables = program.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let variables =
        variables.map(|(name, value)| format!("{}={} ", name.display(), quoted(Path::new(value))));
    let words = std::iter::once(program.get_program()).chain(program.get_args());
    let words: Vec<String> = words.map(|it| quoted(Path::new(it))).collect();
    Some(format!("#!/bin/sh\n{}exec {} \"$@\"\n", variables.collect::<String>(), words.join(" ")))
}
