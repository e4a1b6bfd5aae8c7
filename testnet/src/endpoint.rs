//! [`Endpoint`]: a Hugging Face endpoint that behaves as a test sets it, and records the requests.
//!
//! It can respond slowly, with wrong bytes or in pages, and require a token.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use reg_node::registry::model::git_blob;
use reg_proto::digest::Digest;
use serde_json::{Value, json};

/// Files of more than this many bytes are in LFS.
const LFS_FROM: usize = 1 << 20;
/// Bytes that are sent at once, before the endpoint reads its behaviour again.
const SENT_AT_ONCE: usize = 64 << 10;

/// How the endpoint behaves. The default is honest.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Bytes to send in place of a file's.
    pub wrong: BTreeMap<String, Vec<u8>>,
    /// Sends files in LFS up to this byte, and the rest once this field changes.
    pub stall_at: Option<usize>,
    /// Closes the connection after this many bytes of one response with a file in LFS.
    pub break_after: Option<usize>,
    /// Token that a request must have.
    pub token: Option<String>,
    /// Entries of one page of a listing.
    pub page: Option<usize>,
    /// Path or oid that the listing adds.
    pub listed: Option<Value>,
    /// Redirects files in LFS to another address, and announces Xet for them.
    pub redirects: bool,
    /// Ignores the range of a request, and sends whole files.
    pub ignores_ranges: bool,
    /// Refuses file requests with 429, to be repeated after this many seconds.
    pub busy: Option<u64>,
}

/// A request that the endpoint has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    /// Time of the request.
    pub at: Instant,
}

/// A running endpoint with one repository.
#[derive(Debug)]
pub struct Endpoint {
    url: String,
    inner: Arc<EndpointState>,
}

#[derive(Debug)]
struct EndpointState {
    repository: String,
    commit: String,
    files: BTreeMap<String, Vec<u8>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    manner: Manner,
    asked: Vec<Asked>,
    sent: BTreeMap<String, u64>,
}

impl Endpoint {
    /// Serves the files of a directory as `repository`, on a free port of loopback.
    ///
    /// # Panics
    /// If the directory cannot be read, or no port is free.
    pub fn start(repository: &str, dir: &Path, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let files: BTreeMap<String, Vec<u8>> = crate::tree::digests(dir)
            .into_keys()
            .map(|path| {
                let bytes = fs::read(dir.join(&path)).expect("a file");
                (path, bytes)
            })
            .collect();
        let names: String =
            files.iter().map(|(path, bytes)| format!("{path} {}\n", Digest::of(bytes))).collect();
        let commit = Digest::of(names.as_bytes()).hex()[..40].to_owned();
        let state = Mutex::new(State { manner, ..State::default() });
        let inner = Arc::new(EndpointState { repository: repository.to_owned(), commit, files, state });
        let own = inner.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = own.clone();
                std::thread::spawn(move || drop(inner.converse(stream)));
            }
        });
        Self { url, inner }
    }

    /// Returns its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the commit of `main`.
    pub fn commit(&self) -> &str {
        &self.inner.commit
    }

    /// Changes its behaviour.
    pub fn behave(&self, manner: Manner) {
        self.inner.state().manner = manner;
    }

    /// Returns the recorded requests, and clears the record.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.inner.state().asked)
    }

    /// Returns whether it has received a request since the last [`Self::take_asked`].
    pub fn has_been_asked(&self) -> bool {
        !self.inner.state().asked.is_empty()
    }

    /// Returns the number of bytes of a file that it has sent.
    pub fn sent(&self, path: &str) -> u64 {
        self.inner.state().sent.get(path).copied().unwrap_or(0)
    }
}

/// A response: status, additional headers, and body.
struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Path of the file in the body, for the byte count and the behaviour.
    file: Option<String>,
}

impl Answer {
    fn json(value: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status: "200 OK", headers, body: value.to_string().into_bytes(), file: None }
    }

    fn error(status: &'static str, code: &str) -> Self {
        let headers = vec![("x-error-code", code.to_owned())];
        Self { status, headers, body: Vec::new(), file: None }
    }
}

impl EndpointState {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && head.len() < 64 << 10 {
            if stream.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().split(' ');
        let header = |name: &str| {
            let found = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
            Some(found.split_once(':')?.1.trim().to_owned())
        };
        let asked = Asked {
            method: first.next().unwrap_or_default().to_owned(),
            path: first.next().unwrap_or_default().to_owned(),
            range: header("range"),
            authorization: header("authorization"),
            at: Instant::now(),
        };
        let length = header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        io::copy(&mut (&stream).take(length), &mut io::sink())?;
        self.state().asked.push(asked.clone());
        let answer = self.answer(&asked);
        self.send(&mut stream, &asked, answer)?;
        stream.shutdown(Shutdown::Both)
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let manner = self.state().manner.clone();
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let known = manner.token.as_ref().is_none_or(|token| {
            asked.authorization.as_deref() == Some(&format!("Bearer {token}")) || path.starts_with("/cdn/")
        });
        if !known {
            return Answer::error("401 Unauthorized", "GatedRepo");
        }
        let api = format!("/api/models/{}", self.repository);
        let resolve = format!("/{}/resolve/", self.repository);
        if let Some(rest) = path.strip_prefix(&resolve) {
            let (revision, file) = rest.split_once('/').unwrap_or((rest, ""));
            return if self.is_known(revision) { self.file(file, &manner) } else { revision_missing() };
        }
        if let Some(file) = path.strip_prefix("/cdn/") {
            let direct = Manner { redirects: false, ..manner };
            return self.file(file, &direct);
        }
        let Some(rest) = path.strip_prefix(&api) else {
            return Answer::error("404 Not Found", "RepoNotFound");
        };
        match rest.trim_start_matches('/').split_once('/') {
            None if rest.is_empty() => self.info(),
            Some(("revision", revision)) if self.is_known(revision) => self.info(),
            Some(("tree", rest)) if self.is_known(rest.split('/').next().unwrap_or_default()) => {
                self.tree(query, &manner, &format!("{api}/tree/{rest}"))
            }
            None if rest == "/refs" => Answer::json(&json!({
                "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": self.commit }],
                "converts": [], "tags": [],
            })),
            _ => revision_missing(),
        }
    }

    fn is_known(&self, revision: &str) -> bool {
        revision == "main" || revision == self.commit
    }

    fn info(&self) -> Answer {
        let siblings: Vec<Value> = self.files.keys().map(|path| json!({ "rfilename": path })).collect();
        Answer::json(
            &json!({ "id": self.repository, "sha": self.commit, "siblings": siblings, "tags": ["real"] }),
        )
    }

    fn tree(&self, query: &str, manner: &Manner, own: &str) -> Answer {
        let entry = |(path, bytes): (&String, &Vec<u8>)| {
            let (oid, size) = (HEXLOWER.encode(&git_blob(bytes)), bytes.len());
            let mut entry = json!({ "type": "file", "path": path, "oid": oid, "size": size });
            if size > LFS_FROM {
                entry["lfs"] = json!({ "oid": Digest::of(bytes).hex(), "size": size, "pointerSize": 134 });
                if manner.redirects {
                    entry["xetHash"] = json!("e".repeat(64));
                }
            }
            entry
        };
        let entries: Vec<Value> = self.files.iter().map(entry).chain(manner.listed.clone()).collect();
        let Some(page) = manner.page else { return Answer::json(&json!(entries)) };
        let cursor = query.split('&').find_map(|it| it.strip_prefix("cursor="));
        let from: usize = cursor.and_then(|it| it.parse().ok()).unwrap_or(0);
        let mut answer = Answer::json(&json!(entries.iter().skip(from).take(page).collect::<Vec<_>>()));
        if from + page < entries.len() {
            let next = format!("<@BASE@{own}?recursive=true&cursor={}>; rel=\"next\"", from + page);
            answer.headers.push(("link", next));
        }
        answer
    }

    fn file(&self, path: &str, manner: &Manner) -> Answer {
        let commit = ("x-repo-commit", self.commit.clone());
        if let Some(seconds) = manner.busy {
            let headers = vec![("retry-after", seconds.to_string())];
            return Answer { status: "429 Too Many Requests", headers, body: Vec::new(), file: None };
        }
        let Some(bytes) = self.files.get(path) else {
            let mut missing = Answer::error("404 Not Found", "EntryNotFound");
            missing.headers.push(commit);
            return missing;
        };
        let mut headers = vec![commit, ("accept-ranges", "bytes".to_owned())];
        if bytes.len() <= LFS_FROM {
            headers.push(("etag", format!("\"{}\"", HEXLOWER.encode(&git_blob(bytes)))));
        } else {
            let etag = format!("\"{}\"", Digest::of(bytes).hex());
            headers.extend([("etag", etag.clone()), ("x-linked-etag", etag)]);
            headers.push(("x-linked-size", bytes.len().to_string()));
            if manner.redirects {
                headers.extend([("x-xet-hash", "e".repeat(64)), ("location", format!("@BASE@/cdn/{path}"))]);
                headers.push(("link", "<@BASE@/api/xet>; rel=\"xet-auth\"".to_owned()));
                return Answer { status: "302 Found", headers, body: Vec::new(), file: None };
            }
        }
        let body = manner.wrong.get(path).unwrap_or(bytes).clone();
        Answer { status: "200 OK", headers, body, file: Some(path.to_owned()) }
    }

    fn send(&self, stream: &mut TcpStream, asked: &Asked, answer: Answer) -> io::Result<()> {
        let Answer { mut status, headers, body, file } = answer;
        let whole = body.len();
        let mut from = 0;
        let has_ranges = file.is_some() && !self.state().manner.ignores_ranges;
        let range = asked.range.as_deref().filter(|_| has_ranges);
        let mut head = String::new();
        let mut to = whole;
        if let Some((first, last)) = range.and_then(|it| it.strip_prefix("bytes=")?.split_once('-')) {
            from = first.parse().unwrap_or(0).min(whole);
            to = last.parse::<usize>().map_or(whole, |last| last.saturating_add(1).min(whole));
            status = "206 Partial Content";
            head.push_str(&format!("content-range: bytes {from}-{}/{whole}\r\n", to.saturating_sub(1)));
        }
        let base = format!("http://{}", stream.local_addr()?);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {}\r\n", value.replace("@BASE@", &base)));
        }
        let length = to - from;
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{head}\r\n")?;
        if asked.method == "HEAD" {
            return stream.flush();
        }
        let is_large = whole > LFS_FROM;
        let mut at = from;
        while at < to {
            let manner = self.state().manner.clone();
            let stall = manner.stall_at.filter(|_| is_large).unwrap_or(to);
            if manner.break_after.is_some_and(|most| is_large && at - from >= most) {
                return Ok(());
            }
            let end = (at + SENT_AT_ONCE).min(to).min(stall.max(at));
            if end == at {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            stream.write_all(&body[at..end])?;
            if let Some(file) = &file {
                *self.state().sent.entry(file.clone()).or_default() += (end - at) as u64;
            }
            at = end;
        }
        stream.flush()
    }
}

fn revision_missing() -> Answer {
    Answer::error("404 Not Found", "RevisionNotFound")
}
