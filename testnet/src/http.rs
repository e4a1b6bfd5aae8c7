//! Sends plain HTTP requests to a node, as an unknown client would.

use std::fs;
use std::io::Read;

use reg_proto::digest::Digest;
use serde_json::Value;

use crate::process::{Daemon, Home, text};

/// The response of a node.
#[derive(Debug)]
pub struct Served {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub bytes: Vec<u8>,
    /// Whether the body is complete.
    pub is_whole: bool,
}

impl Served {
    /// Returns the value of a header, or of the last one with this name.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().rfind(|(it, _)| it == name).map(|(_, value)| value.clone())
    }

    /// Returns the SHA-256 of the body.
    pub fn digest(&self) -> Digest {
        assert_eq!(self.status, 200, "{}", self.text());
        Digest::of(&self.bytes)
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Returns the base URL of a daemon's gateways.
pub fn base(daemon: &Daemon) -> String {
    format!("http://{}", text(&daemon.ready["http"]))
}

/// Returns the gateway token of a home.
///
/// # Panics
/// If no daemon has run in the home.
pub fn token(home: &Home) -> String {
    let mut dirs = vec![home.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                _ if entry.file_name() == "admin.token" => {
                    return fs::read_to_string(entry.path()).expect("a token").trim().to_owned();
                }
                _ => {}
            }
        }
    }
    panic!("no daemon has run in this home");
}

/// Sends a GET request and returns the complete response.
///
/// # Panics
/// If the node does not answer, or its response is incomplete.
pub fn get(url: &str, headers: &[(&str, &str)]) -> Served {
    let served = send("GET", url, headers, &[]);
    assert!(served.is_whole, "the response of {url} is incomplete");
    served
}

/// Sends a GET request and returns the response, complete or not.
///
/// # Panics
/// If the node does not answer.
pub fn get_broken(url: &str) -> Served {
    send("GET", url, &[], &[])
}

/// Sends a HEAD request.
///
/// # Panics
/// If the node does not answer.
pub fn head(url: &str) -> Served {
    send("HEAD", url, &[], &[])
}

/// Sends a request of any method.
///
/// # Panics
/// If the node does not answer.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Served {
    let agent = ureq::AgentBuilder::new().redirects(0).build();
    let mut request = agent.request(method, url);
    for (name, value) in headers {
        request = request.set(name, value);
    }
    let response = if body.is_empty() && !matches!(method, "PUT" | "POST" | "PATCH") {
        request.call()
    } else {
        request.send_bytes(body)
    };
    let response = match response {
        Ok(response) | Err(ureq::Error::Status(_, response)) => response,
        Err(error) => panic!("{method} {url}: {error}"),
    };
    let status = response.status();
    let named = response.headers_names().into_iter();
    let headers = named.map(|name| (name.clone(), response.header(&name).unwrap_or_default().to_owned()));
    let headers = headers.collect();
    let mut bytes = Vec::new();
    let is_whole = response.into_reader().read_to_end(&mut bytes).is_ok();
    Served { status, headers, bytes, is_whole }
}
