//! Calls the local API: that of the daemon if one runs, else that of a node in this process for one command.
//!
//! [`Client`] sends the same requests to both: over the daemon's socket, or to the router of its own node.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use reg_api::escape::escape;
use reg_api::fault::FaultKind;
use reg_api::progress::Progress;
use reg_node::daemon::{Config, ConfigError, Home, HomeError, Mode, Node, NodeError, Overrides};
use reg_node::gateway::admin::NEXT_PAGE;
use reg_node::gateway::admin::error::ErrorDocument;
use reg_node::store::OpenError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

use crate::agree::{self, Honoured};
use crate::args::{Global, Net};
use crate::error::CliError;
use crate::logging;
use crate::output;
use crate::progress::Shown;
use crate::unstarted::node_error;

/// What the user can do where the node has ended before its answer was complete.
const AGAIN: &str =
    "start `reg daemon` if it has ended, and run the same command again: what was fetched is kept";
/// Largest line of a streamed response, and largest unstreamed response, in bytes. A listing of many models is long.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Entries of one page of a list: about 2 MB.
const PAGE: usize = 5000;

/// Longest time that a command waits while another one uses the store.
const IN_USE_PATIENCE: Duration = Duration::from_secs(5);
/// The same for a command that publishes: as long as a daemon lets a publication wait for others of the tag.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(600);
/// After this time the user is told what the command waits for.
const SAY_WAITING: Duration = Duration::from_secs(1);

/// Sends requests to a daemon, or to a node in this process.
#[derive(Debug)]
pub struct Client {
    target: Target,
    quiet: bool,
    /// Whether to print every check when the node makes it.
    explain: bool,
}

#[derive(Debug)]
enum Target {
    Daemon(std::path::PathBuf),
    Here(Box<Node>),
}

/// Returns the folders of this user, or an `invalid` error if none can be found.
pub fn home(global: &Global) -> Result<Home, CliError> {
    // An empty variable is none.
    let named = global.home.as_deref().filter(|it| !it.as_os_str().is_empty());
    Home::find(named).map_err(|error: HomeError| CliError::from_error("invalid", &error))
}

/// Reads the configuration file and applies `overrides`; refuses it as `invalid` with a hint.
pub fn config(home: &Home, overrides: Overrides) -> Result<Config, CliError> {
    Config::load(home, overrides).map_err(|error: ConfigError| match &error {
        // A disk that fails is no mistake of the user.
        ConfigError::Read { source, .. } if FaultKind::of_path(source) == FaultKind::Internal => {
            CliError::from_error("other", &error)
        }
        ConfigError::Read { source, .. } => CliError::from_error(FaultKind::of_path(source).name(), &error)
            .hint("`reg config path` prints the file's path"),
        // Without flags and variables it is right, so the file is not to blame.
        _ if Config::load(home, Overrides::default()).is_ok() => CliError::from_error("invalid", &error)
            .hint("it is a flag or a variable that says so: `reg help configuration` lists what each takes"),
        _ => CliError::from_error("invalid", &error)
            .hint("`reg config check` names its line, `reg config path` prints the file's path"),
    })
}

/// Returns what the network flags of a command override in the configuration.
pub fn overrides(net: &Net) -> Overrides {
    Overrides {
        bootstrap: net.bootstrap.clone(),
        mdns: net.no_mdns.then_some(false),
        dht: net.dht.clone(),
        swarm_key: net.swarm_key.clone(),
        gossip: net.no_gossip.then_some(false),
        remember: net.no_remember.then_some(false),
        offline: net.offline.then_some(true),
        lanes: net.no_lanes.then_some(false),
        limit_up: net.limit_up.clone(),
        limit_down: net.limit_down.clone(),
        limit_local: net.limit_local.then_some(true),
        web_seeds: net.web_seeds.iter().map(ToString::to_string).collect(),
        ..Overrides::default()
    }
}

impl Client {
    /// Connects to the daemon, or starts a node in this process. That node joins the network only if `net` is given. A daemon
    /// must have been started with what `net` asks for.
    pub async fn open(global: &Global, net: Option<&Net>) -> Result<Self, CliError> {
        Self::open_with(global, net, agree::NONE).await
    }

    /// Connects to the daemon if one runs; it starts no node, and reads no configuration, which may be wrong by now.
    pub async fn of_daemon(global: &Global) -> Result<Option<Self>, CliError> {
        let socket = home(global)?.socket();
        let is_alive = is_alive(&socket).await;
        let client = Self { target: Target::Daemon(socket), quiet: global.quiet, explain: false };
        Ok(is_alive.then_some(client))
    }

    /// Opens as [`Client::open`] does, for a command that sends the flags `honoured` of `net` with its request.
    pub async fn open_with(global: &Global, net: Option<&Net>, honoured: Honoured) -> Result<Self, CliError> {
        Self::open_within(global, net, honoured, IN_USE_PATIENCE).await
    }

    /// Opens as [`Client::open`] does, for a publication: it waits for another one that runs without a daemon.
    pub async fn open_to_publish(global: &Global, net: &Net) -> Result<Self, CliError> {
        Self::open_within(global, Some(net), agree::NONE, PUBLISH_PATIENCE).await
    }

    /// Opens as [`Client::open`] does, with the flags of `net` and without joining the network.
    pub async fn open_locally(global: &Global, net: &Net) -> Result<Self, CliError> {
        Self::open_as(global, Some(net), Mode::Local, agree::NONE, IN_USE_PATIENCE).await
    }

    async fn open_within(
        global: &Global,
        net: Option<&Net>,
        honoured: Honoured,
        patience: Duration,
    ) -> Result<Self, CliError> {
        let mode = if net.is_some() { Mode::Command } else { Mode::Local };
        Self::open_as(global, net, mode, honoured, patience).await
    }

    async fn open_as(
        global: &Global,
        net: Option<&Net>,
        mode: Mode,
        honoured: Honoured,
        patience: Duration,
    ) -> Result<Self, CliError> {
        let home = home(global)?;
        let config = config(&home, net.map(overrides).unwrap_or_default())?;
        // A node in this process logs errors only: standard error is the command's.
        logging::start(global, logging::OF_COMMAND)?;
        let (start, mut said) = (Instant::now(), global.quiet);
        loop {
            let socket = home.socket();
            if is_alive(&socket).await {
                let client = Self { target: Target::Daemon(socket), quiet: global.quiet, explain: false };
                if let Some(net) = net.filter(|net| net.is_any_given()) {
                    client.check_flags(net, honoured, &config).await?;
                }
                return Ok(client);
            }
            match Node::start(&home, &config, mode).await {
                Ok(node) => {
                    return Ok(Self {
                        target: Target::Here(Box::new(node)),
                        quiet: global.quiet,
                        explain: false,
                    });
                }
                // Another command uses the store, or a daemon is starting.
                Err(NodeError::Store(OpenError::InUse { .. })) if start.elapsed() < patience => {
                    if !said && patience > IN_USE_PATIENCE && start.elapsed() > SAY_WAITING {
                        output::say(format_args!("waiting: another reg command uses the store"));
                        said = true;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(node_error(&error)),
            }
        }
    }

    /// Refuses network flags that the daemon cannot honour.
    async fn check_flags(&self, net: &Net, honoured: Honoured, config: &Config) -> Result<(), CliError> {
        let response = self.request(Method::POST, "/v1/settings", encode(&serde_json::json!({}))?).await?;
        if is_of_before(response.status()) {
            output::say(format_args!(
                "note: a daemon of an earlier version answers: it does not obey the options of the network that were given; \
                 stop it and start it again to use this version"
            ));
            return Ok(());
        }
        agree::check(net, honoured, &config.settings(), &self.whole(response).await?)
    }

    /// Sets whether [`Client::stream`] prints every check when the node makes it.
    pub fn explaining(self, explain: bool) -> Self {
        Self { explain, ..self }
    }

    /// Returns whether a daemon answers the requests. A daemon outlives this command.
    pub const fn is_daemon(&self) -> bool {
        matches!(self.target, Target::Daemon(_))
    }

    /// Stops the node of this process, if there is one. Leaves a daemon running.
    pub async fn close(self) {
        if let Target::Here(node) = self.target {
            node.shutdown().await;
        }
    }

    /// Sends a GET request with `query`, and returns the response's JSON document.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, CliError> {
        self.whole(self.request(Method::GET, &with_query(path, query), Bytes::new()).await?).await
    }

    /// Sends a GET request for every page of a list, and returns all of it. An earlier daemon answers with one page.
    pub async fn get_pages<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, CliError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let query: Vec<(&str, String)> =
                [("limit", PAGE.to_string())].into_iter().chain(after.map(|it| ("after", it))).collect();
            let answer = self.request(Method::GET, &with_query(path, &query), Bytes::new()).await?;
            after = answer.headers().get(NEXT_PAGE).and_then(|it| it.to_str().ok()).map(str::to_owned);
            all.extend(self.whole::<Vec<T>>(answer).await?);
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Sends `body` as JSON in a POST request, and returns the response's JSON document.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.whole(self.request(Method::POST, path, encode(body)?).await?).await
    }

    /// Sends `body` as JSON in a POST request, prints the progress that the node streams, and returns the result.
    pub async fn stream<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let mut response = self.request(Method::POST, path, encode(body)?).await?;
        if response.status() != StatusCode::OK {
            return self.whole(response).await;
        }
        let mut shown = Shown::new(self.quiet, self.explain);
        let mut pending = Vec::new();
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|error| {
                CliError::new("unreachable", format_args!("the node closed the connection: {error}"))
                    .hint(AGAIN)
            })?;
            pending.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data.as_ref()));
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                if let Some(result) = take_line(&line, &mut shown)? {
                    return Ok(result);
                }
            }
            if pending.len() > ANSWER_BYTES_MAX {
                break;
            }
        }
        Err(CliError::new("unreachable", "the node closed the connection before it had finished").hint(AGAIN))
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Body>, CliError> {
        let broken = |error: &dyn std::fmt::Display| {
            CliError::new("unreachable", format_args!("the node does not answer: {error}"))
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json");
        match &self.target {
            Target::Here(node) => {
                let request = request.body(Body::from(body)).map_err(|error| broken(&error))?;
                let router: Router = node.router();
                router.oneshot(request).await.map_err(|never| match never {})
            }
            Target::Daemon(socket) => {
                let stream = connect(socket).await.map_err(|error| broken(&error))?;
                let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
                let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
                tokio::spawn(connection);
                let request = request.body(Full::new(body)).map_err(|error| broken(&error))?;
                let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
                Ok(response.map(Body::new))
            }
        }
    }

    async fn whole<T: DeserializeOwned>(&self, response: Response<Body>) -> Result<T, CliError> {
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
        let body = body.map_err(|error| {
            CliError::new("other", format_args!("the node's response is incomplete: {error}"))
        })?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(not_understood);
        }
        match serde_json::from_slice::<ErrorDocument>(&body) {
            Ok(document) => Err(document.into()),
            Err(_) if is_of_before(status) => Err(CliError::new(
                "other",
                "the daemon is of an earlier version, and does not know this request",
            )
            .hint("stop it and start it again to use this version")),
            Err(_) => Err(CliError::new("invalid", String::from_utf8_lossy(&body))),
        }
    }
}

fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// Reads one line of a streamed response. Prints progress; returns the result if the line holds it.
fn take_line<T: DeserializeOwned>(line: &[u8], shown: &mut Shown) -> Result<Option<T>, CliError> {
    let value: Value = serde_json::from_slice(line).map_err(not_understood)?;
    match value.get("event").and_then(Value::as_str) {
        Some("done") => serde_json::from_value(value["result"].clone()).map(Some).map_err(not_understood),
        Some("failed") => {
            let document: ErrorDocument =
                serde_json::from_value(value["error"].clone()).map_err(not_understood)?;
            Err(document.into())
        }
        _ => {
            if let Ok(progress) = serde_json::from_value::<Progress>(value) {
                shown.show(&progress);
            }
            Ok(None)
        }
    }
}

/// Tells whether a daemon answers so that does not know a request: only one of an earlier version. Any other failure is one.
fn is_of_before(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
}

fn not_understood(error: serde_json::Error) -> CliError {
    CliError::new("other", format_args!("the node's response cannot be read: {error}"))
        .hint("the daemon may be of another version: stop it and start it again")
}

fn encode(body: &impl Serialize) -> Result<Bytes, CliError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(not_understood)
}

#[cfg(unix)]
async fn connect(socket: &Path) -> std::io::Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(socket).await
}

#[cfg(not(unix))]
async fn connect(_: &Path) -> std::io::Result<tokio::net::TcpStream> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Returns whether a daemon accepts connections on `socket`.
pub async fn is_alive(socket: &Path) -> bool {
    connect(socket).await.is_ok()
}
