//! [`Browser`]: Debian's chromium, driven over WebDriver's plain HTTP.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;
use thiserror::Error;

use crate::process::left_out;

/// How long a browser may take to start, and a page to show what is waited for, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// How an element is named in WebDriver's answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Why a browser does not do what it is told.
#[derive(Debug, Error)]
pub enum BrowserError {
    #[error("there is no {program}")]
    Missing { program: &'static str },
    #[error("{program} cannot be started")]
    Start { program: &'static str, source: std::io::Error },
    #[error("chromedriver names no port")]
    NoPort,
    #[error("{command}: {said}")]
    Refused { command: String, said: String },
}

/// A browser with one window. Dropping it ends its processes.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    session: String,
    _profile: TempDir,
}

/// A colour scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

impl Theme {
    /// Returns the name that a browser gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// Returns a browser, or `None` where the machine has none: then it says so.
///
/// # Panics
/// If there is one and it does not start.
pub fn browser(what: &str, flags: &[&str]) -> Option<Browser> {
    match Browser::start(flags) {
        Ok(browser) => Some(browser),
        Err(error @ BrowserError::Missing { .. }) => {
            left_out(what, &error.to_string(), "apt-get install chromium chromium-driver");
            None
        }
        Err(error) => panic!("{what}: {error}: {:?}", std::error::Error::source(&error)),
    }
}

fn program(name: &'static str) -> Result<PathBuf, BrowserError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|it| it.is_file());
    found.ok_or(BrowserError::Missing { program: name })
}

impl Browser {
    /// Starts a browser without a screen, with additional flags.
    ///
    /// # Errors
    /// See [`BrowserError`].
    pub fn start(flags: &[&str]) -> Result<Self, BrowserError> {
        let (chromium, driver) = (program("chromium")?, program("chromedriver")?);
        let start = |source| BrowserError::Start { program: "chromedriver", source };
        let profile = tempfile::tempdir().map_err(start)?;
        let mut child = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(start)?;
        let said = BufReader::new(child.stdout.take().ok_or(BrowserError::NoPort)?);
        let port = port_of(said);
        let mut browser = Self { driver: child, session: String::new(), _profile: profile };
        let address = SocketAddr::from(([127, 0, 0, 1], port.ok_or(BrowserError::NoPort)?));
        let data = format!("--user-data-dir={}", browser._profile.path().display());
        let own = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-default-apps",
            "--disable-features=Translate,OptimizationHints,MediaRouter",
            "--force-device-scale-factor=1",
            &data,
        ];
        let args: Vec<&str> = own.into_iter().chain(flags.iter().copied()).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": chromium, "args": args },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        browser.session = format!("http://{address}/session");
        let made = browser.ask("POST", "", &wanted)?;
        let id = made["sessionId"].as_str().unwrap_or_default().to_owned();
        browser.session = format!("http://{address}/session/{id}");
        Ok(browser)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, BrowserError> {
        let url = format!("{}{path}", self.session);
        let agent = ureq::AgentBuilder::new().timeout(PATIENCE * 2).build();
        let request = agent.request(method, &url).set("content-type", "application/json");
        let answer = match method {
            "GET" | "DELETE" => request.call(),
            _ => request.send_string(&body.to_string()),
        };
        let refused = |said: String| BrowserError::Refused { command: format!("{method} {path}"), said };
        let (status, text) = match answer {
            Ok(answer) => (200, answer.into_string()),
            Err(ureq::Error::Status(status, answer)) => (status, answer.into_string()),
            Err(error) => return Err(refused(error.to_string())),
        };
        let text = text.map_err(|error| refused(error.to_string()))?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
        let value = answer["value"].take();
        if status == 200 { Ok(value) } else { Err(refused(value["message"].to_string())) }
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, body).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Sends a command of Chrome's own protocol.
    pub fn chrome(&self, command: &str, params: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    /// Opens a URL, and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Opens a URL, and returns whether the browser shows it.
    pub fn may_open(&self, url: &str) -> bool {
        self.ask("POST", "/url", &json!({ "url": url })).is_ok()
    }

    /// Runs a script as the body of a function, and returns its result. A promise is waited for.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// Returns the value of an expression.
    pub fn value(&self, expression: &str) -> Value {
        self.run(&format!("return ({expression});"), &[])
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// If it is not in time: it shows the text of the page.
    pub fn until(&self, what: &str, expression: &str) -> Duration {
        let start = Instant::now();
        while self.value(expression) != Value::Bool(true) {
            if start.elapsed() >= PATIENCE {
                panic!("{what}: not after {PATIENCE:?}: {expression}\n{}", self.text());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        start.elapsed()
    }

    /// Waits until the main part of the page shows a text.
    pub fn sees(&self, text: &str) -> Duration {
        self.until(text, &format!("document.body.innerText.includes({})", json!(text)))
    }

    /// Returns the text of the page.
    pub fn text(&self) -> String {
        self.value("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    fn element(&self, css: &str) -> Result<String, BrowserError> {
        let found = self.ask("POST", "/element", &json!({ "using": "css selector", "value": css }))?;
        Ok(found[ELEMENT].as_str().unwrap_or_default().to_owned())
    }

    /// Clicks an element, as a user does: it must be seen.
    ///
    /// # Panics
    /// If it cannot be clicked in time.
    pub fn click(&self, css: &str) {
        self.retry(css, |element| self.ask("POST", &format!("/element/{element}/click"), &json!({})));
    }

    /// Clicks the first button or link with this text that is seen, in the open dialog if there is one.
    ///
    /// # Panics
    /// If there is none in time.
    pub fn press(&self, text: &str) {
        let find = "const all = [...(document.querySelector('dialog[open]') ?? document).querySelectorAll('button, a, summary')]; \
                    const it = all.find((it) => it.textContent.trim() === arguments[0] && it.checkVisibility() && !it.disabled); \
                    document.querySelectorAll('[data-pressed]').forEach((it) => it.removeAttribute('data-pressed')); \
                    it?.setAttribute('data-pressed', ''); return Boolean(it);";
        let start = Instant::now();
        while self.run(find, &[json!(text)]) != Value::Bool(true) {
            assert!(start.elapsed() < PATIENCE, "nothing says {text:?}\n{}", self.text());
            std::thread::sleep(Duration::from_millis(100));
        }
        self.click("[data-pressed]");
    }

    /// Types text into a field, in place of what it holds.
    ///
    /// # Panics
    /// If there is none in time.
    pub fn type_into(&self, css: &str, text: &str) {
        self.retry(css, |element| self.ask("POST", &format!("/element/{element}/clear"), &json!({})));
        self.retry(css, |element| {
            self.ask("POST", &format!("/element/{element}/value"), &json!({ "text": text }))
        });
    }

    /// Presses a key, such as `\u{e004}` for Tab, where the focus is.
    pub fn key(&self, key: &str) {
        let actions = [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        self.post("/actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }));
    }

    fn retry(&self, css: &str, act: impl Fn(&str) -> Result<Value, BrowserError>) {
        let start = Instant::now();
        loop {
            match self.element(css).and_then(|it| act(&it)) {
                Ok(_) => return,
                Err(error) => {
                    assert!(start.elapsed() < PATIENCE, "{css}: {error}\n{}", self.text());
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    /// Sets the size of the window's content.
    pub fn resize(&self, width: u32, height: u32) {
        let params =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.chrome("Emulation.setDeviceMetricsOverride", &params);
    }

    /// Sets the colour scheme that pages are asked for.
    pub fn theme(&self, theme: Theme) {
        let features = json!([{ "name": "prefers-color-scheme", "value": theme.name() },
                              { "name": "prefers-reduced-motion", "value": "reduce" }]);
        self.chrome("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Writes a picture of the whole page as PNG.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn picture(&self, path: &Path) {
        let shot = self
            .chrome("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": false }));
        let bytes = BASE64.decode(shot["data"].as_str().unwrap_or_default().as_bytes());
        std::fs::write(path, bytes.expect("a picture in Base64")).expect("written");
    }

    /// Returns what was logged since the last call: `browser` for the console, `performance` for the network.
    pub fn log(&self, kind: &str) -> Vec<Value> {
        match self.post("/se/log", &json!({ "type": kind })) {
            Value::Array(entries) => entries,
            _ => Vec::new(),
        }
    }

    /// Returns the URLs that pages have asked for since the last call of this or [`Browser::log`].
    pub fn asked(&self) -> Vec<String> {
        let entries = self.log("performance").into_iter();
        let events = entries.filter_map(|it| serde_json::from_str::<Value>(it["message"].as_str()?).ok());
        let urls = events.filter_map(|it| {
            let message = &it["message"];
            let is_request = message["method"] == "Network.requestWillBeSent";
            is_request.then(|| message["params"]["request"]["url"].as_str().map(ToOwned::to_owned)).flatten()
        });
        urls.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser with the session.
        drop(self.ask("DELETE", "", &Value::Null));
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

/// Reads the port that the driver says it listens at. What it says later is read and dropped, so that it never waits.
fn port_of(mut said: impl BufRead + Send + 'static) -> Option<u16> {
    let mut line = String::new();
    let port = loop {
        line.clear();
        if said.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some((_, port)) = line.split_once("successfully on port ") {
            break port.trim().trim_end_matches('.').parse().ok()?;
        }
    };
    std::thread::spawn(move || drop(std::io::copy(&mut said, &mut std::io::sink())));
    Some(port)
}
