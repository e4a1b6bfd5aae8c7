//! Runs a real Prometheus on a free port of loopback, and its `promtool`.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest time until Prometheus must answer, on a machine that does much else.
const READY: Duration = Duration::from_secs(120);
/// Ports that are tried: between the choice of a free one and its use, another process may take it.
const TRIES: usize = 3;

/// A running Prometheus. Dropping it stops it.
#[derive(Debug)]
pub struct Prometheus {
    process: Child,
    base: String,
}

impl Prometheus {
    /// Tells whether Prometheus is installed on this machine.
    pub fn is_installed() -> bool {
        ["prometheus", "promtool"].iter().all(|name| {
            let asked =
                Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|it| it.success())
        })
    }

    /// Starts Prometheus with this configuration. It keeps its files in `scratch`.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn start(scratch: &Path, config: &str) -> Self {
        let file = scratch.join("prometheus.yml");
        fs::write(&file, config).expect("written");
        for attempt in 1..=TRIES {
            match Self::try_start(scratch, &file) {
                Ok(running) => return running,
                Err(log) => assert!(attempt < TRIES, "Prometheus is not ready:\n{log}"),
            }
        }
        unreachable!("the last attempt returns or fails");
    }

    fn try_start(scratch: &Path, file: &Path) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let log = scratch.join("prometheus.log");
        let with = |flag: &str, path: PathBuf| format!("--{flag}={}", path.display());
        let process = Command::new("prometheus")
            .arg(with("config.file", file.to_owned()))
            .arg(with("storage.tsdb.path", scratch.join("tsdb")))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("Prometheus starts");
        let mut running = Self { process, base: format!("http://{address}") };
        let begun = Instant::now();
        while ureq::get(&format!("{}/-/ready", running.base)).call().is_err() {
            let has_ended = running.process.try_wait().is_ok_and(|it| it.is_some());
            if has_ended || begun.elapsed() >= READY {
                return Err(fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }

    /// Returns what an expression gives now: a value for each series.
    ///
    /// # Panics
    /// If Prometheus does not take the expression.
    pub fn query(&self, expression: &str) -> Vec<f64> {
        let asked = ureq::get(&format!("{}/api/v1/query", self.base)).query("query", expression).call();
        let answer: Value = match asked {
            Ok(answer) => answer.into_json().expect("JSON"),
            Err(error) => panic!("{expression}: {error}"),
        };
        let value = |it: &Value| it["value"][1].as_str().and_then(|it| it.parse().ok());
        answer["data"]["result"].as_array().into_iter().flatten().filter_map(value).collect()
    }

    /// Returns every alerting rule: its name, and what is wrong with it, which is empty for one that was evaluated.
    ///
    /// # Panics
    /// If Prometheus does not answer.
    pub fn rules(&self) -> Vec<(String, String)> {
        let answer = ureq::get(&format!("{}/api/v1/rules", self.base)).call().expect("an answer");
        let answer: Value = answer.into_json().expect("JSON");
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|it| it["rules"].as_array().cloned().unwrap_or_default());
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let trouble = |rule: &Value| match rule["health"].as_str() {
            Some("ok") => String::new(),
            health => format!("{health:?}: {}", rule["lastError"]),
        };
        rules.map(|rule| (text(&rule["name"]), trouble(&rule))).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Runs promtool in a folder, with `input` on its standard input.
///
/// # Panics
/// If it cannot be run.
pub fn promtool(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new("promtool")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("taken");
    child.wait_with_output().expect("it ends")
}
