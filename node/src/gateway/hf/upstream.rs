//! Passes requests for repositories of unknown owners on to the upstream, where the user has named one.
//!
//! Marks the answers as unsigned. Removes from them what leads clients past this node: Xet, and the upstream's own
//! URLs.

use std::fmt;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LINK, RETRY_AFTER, VIA, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use percent_encoding::percent_decode_str;
use reg_api::fault::Fault;
use serde_json::{Value, json};

use reg_proto::name::Publisher;

use super::error::{HfError, X_HF_WARNING, X_REPO_COMMIT};
use super::file::{label_as_file, label_as_large};
use super::state::{BODY_BYTES_MAX, HfGateway};
use crate::gateway::blob::{Wanted, respond, respond_with};
use crate::gateway::guard::Caller;
use crate::gateway::owner::publisher;
use crate::gateway::server::{Client, Turn};
use crate::registry::upstream::{Answer, Kept, Question, RemoteFile, Upstream, UpstreamError};

/// Most nodes that a request passes on its way to an endpoint: so a circle of nodes ends it.
const NODES_PASSED_MAX: usize = 3;
/// Seconds after which a client may ask again for a file that is being fetched.
const COMING_SECONDS: u32 = 2;

const X_REG_SIGNED: HeaderName = HeaderName::from_static("x-reg-signed");
const X_REG_UPSTREAM: HeaderName = HeaderName::from_static("x-reg-upstream");

/// Headers of an answer that are passed on.
const PASSED_ON: [&str; 6] =
    ["x-error-code", "x-error-message", "x-repo-commit", "retry-after", "ratelimit", "ratelimit-policy"];

/// A repository in a URL; the oldest ones have no owner, as gpt2.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    owner: Option<String>,
    model: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.iter().try_for_each(|owner| write!(f, "{owner}/"))?;
        f.write_str(&self.model)
    }
}

/// The part of a repository that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Its description, its branches, or a listing, as JSON.
    Json,
    /// A file, by its path.
    File(String),
    /// A file as git stores it.
    Raw,
}

/// Answers requests for repositories of unknown owners from the upstream; passes all others to the routes.
pub(super) async fn pass_on(State(hub): State<HfGateway>, request: Request, next: Next) -> Response {
    let Some(upstream) = hub.upstream().cloned() else { return next.run(request).await };
    let Some((name, part)) = asked(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    let is_known = match &name.owner {
        Some(owner) => hub.is_known(owner).await,
        None => false,
    };
    if is_known || is_round(request.headers()) {
        return next.run(request).await;
    }
    let mut response = match answer(&upstream, request, part).await {
        Ok(response) => response,
        Err(error) => error,
    };
    let headers = response.headers_mut();
    let warning = format!(
        "unsigned; {name} comes from {}: no publisher that this node knows has signed it",
        upstream.endpoint()
    );
    let marks = [
        (X_REG_SIGNED, "false".to_owned()),
        (X_REG_UPSTREAM, upstream.endpoint().to_owned()),
        (X_HF_WARNING, warning),
    ];
    headers
        .extend(marks.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))));
    response
}

impl HfGateway {
    /// Tells whether a namespace is a publisher id, a petname, a domain, or the name of the key that signs uploads. A domain is
    /// never looked up elsewhere, pinned or not: its owner would be taken for the signer of what comes from there.
    async fn is_known(&self, owner: &str) -> bool {
        match publisher(owner, self.signer()) {
            Ok(Publisher::Domain(_)) => true,
            Ok(publisher) => self.registry().publisher(&publisher).await.is_ok(),
            Err(_) => false,
        }
    }
}

fn is_round(headers: &HeaderMap) -> bool {
    let passed = headers.get_all(VIA).iter().filter_map(|it| it.to_str().ok());
    passed.flat_map(|it| it.split(',')).filter(|it| it.trim().ends_with(" reg")).count() >= NODES_PASSED_MAX
}

/// Reads the repository and its part from a URL; returns `None` where the URL is not that of a repository's part, or
/// its path has `..`.
fn asked(method: &Method, path: &str) -> Option<(Name, Part)> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    if decoded.split('/').any(|it| matches!(it, "." | "..")) || decoded.chars().any(char::is_control) {
        return None;
    }
    if let Some(rest) = path.strip_prefix("/api/models/") {
        let parts: Vec<&str> = rest.split('/').collect();
        return match parts.as_slice() {
            [owner, model, rest @ ..] if asks_for_json(method, rest) => {
                Some((named(Some(owner), model), Part::Json))
            }
            [model, rest @ ..] if asks_for_json(method, rest) => Some((named(None, model), Part::Json)),
            _ => None,
        };
    }
    let path = path.strip_prefix('/')?;
    let of_file = |owner: Option<&str>, rest: &str| {
        let mut parts = rest.splitn(4, '/');
        let (model, kind) = (parts.next()?, parts.next()?);
        let (_revision, file) = (parts.next()?, parts.next()?);
        Some((named(owner, model), part(method, kind, file)?))
    };
    let owned = path.split_once('/').and_then(|(owner, rest)| of_file(Some(owner), rest));
    owned.or_else(|| of_file(None, path))
}

fn named(owner: Option<&str>, model: &str) -> Name {
    Name { owner: owner.map(str::to_owned), model: model.to_owned() }
}

/// Tells whether the path behind a repository's name asks for JSON.
fn asks_for_json(method: &Method, rest: &[&str]) -> bool {
    match rest {
        [] | ["revision", _] | ["refs"] | ["tree", _, ..] => reads(method),
        ["paths-info", _] => *method == Method::POST,
        _ => false,
    }
}

/// Returns the part that a request for a file asks for.
fn part(method: &Method, kind: &str, file: &str) -> Option<Part> {
    let file = percent_decode_str(file).decode_utf8().ok()?.into_owned();
    match kind {
        "resolve" if reads(method) => Some(Part::File(file)),
        "raw" if reads(method) => Some(Part::Raw),
        _ => None,
    }
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

async fn answer(upstream: &Upstream, request: Request, part: Part) -> Result<Response, Response> {
    let (head, body) = request.into_parts();
    let is_owner = head.extensions.get() == Some(&Caller::Owner);
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await;
    let body = body.map_err(|error| HfError::Invalid(error.to_string()).into_response())?;
    let kind = head.headers.get(CONTENT_TYPE).cloned();
    let question = Question {
        method: head.method.clone(),
        path_and_query: head.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned(),
        body: kind.filter(|_| head.method == Method::POST).map(|kind| (kind, body)),
        via: head.headers.get_all(VIA).iter().cloned().collect(),
        shows_token: false,
    };
    match part {
        Part::Json => {
            let (answer, _) = upstream.ask(question, is_owner).await.map_err(failed)?;
            Ok(pass_json(upstream, answer, &head.method, &head.headers))
        }
        Part::Raw => {
            let (answer, _) = upstream.ask(question, is_owner).await.map_err(failed)?;
            let mut response = passed(&answer);
            if answer.status.is_success() {
                response.headers_mut().insert(CONTENT_LENGTH, answer.body.len().into());
                label_as_file(response.headers_mut(), "raw");
                if head.method != Method::HEAD {
                    *response.body_mut() = Body::from(answer.body);
                }
            }
            Ok(response)
        }
        Part::File(path) => {
            let question = Question { method: Method::HEAD, ..question };
            match upstream.describe(question, &path, is_owner).await.map_err(failed)? {
                Ok(file) => {
                    let client = head.extensions.get::<Client>();
                    serve(upstream, &file, &path, &head.method, client, &head.headers).await
                }
                Err(answer) => Ok(passed(&answer)),
            }
        }
    }
}

async fn serve(
    upstream: &Upstream,
    file: &RemoteFile,
    path: &str,
    method: &Method,
    client: Option<&Client>,
    headers: &HeaderMap,
) -> Result<Response, Response> {
    let mut turn = None;
    let mut response = match file.kept().map_err(failed)? {
        Kept::Plain(oid) => {
            let etag = HEXLOWER.encode(&oid);
            match (method == Method::HEAD, file.size()) {
                (true, Some(size)) => respond(&Wanted::Whole, size, &etag, None),
                _ => {
                    let bytes = upstream.plain(file, oid).await.map_err(failed)?;
                    let wanted = Wanted::of(headers, bytes.len() as u64, &etag);
                    respond_with(&wanted, &etag, &bytes, method == Method::HEAD)
                }
            }
        }
        Kept::Large(digest, layout) => {
            let (size, etag) = (layout.size(), digest.hex());
            let wanted = match Wanted::of(headers, size, &etag) {
                // The bytes are not proven yet, and a client must not join them to a part that it has from before.
                Wanted::Part(_) if file.is_private() || upstream.must_begin_anew(&digest) => Wanted::Whole,
                wanted => wanted,
            };
            let range = wanted.range(size);
            let reader = if method == Method::HEAD || range.is_empty() {
                None
            } else {
                turn = Client::turn(client).await.map_err(|busy| HfError::from(busy).into_response())?;
                Some(upstream.read(file, digest, layout, range).await.map_err(failed)?)
            };
            let mut response = respond(&wanted, size, &etag, reader);
            label_as_large(response.headers_mut(), &digest, size, method);
            response
        }
    };
    label_as_file(response.headers_mut(), path.rsplit('/').next().unwrap_or_default());
    response.headers_mut().extend(HeaderValue::try_from(file.commit()).ok().map(|it| (X_REPO_COMMIT, it)));
    Ok(Turn::carried(turn, response))
}

/// Passes on the status and headers of an answer, without its body, which a browser might show.
fn passed(answer: &Answer) -> Response {
    let status = if answer.status.is_redirection() { StatusCode::BAD_GATEWAY } else { answer.status };
    let mut response = status.into_response();
    let known = PASSED_ON
        .iter()
        .filter_map(|name| Some((HeaderName::from_static(name), answer.headers.get(*name)?.clone())))
        // Clients show them on a terminal.
        .filter(|(_, value)| value.to_str().is_ok());
    response.headers_mut().extend(known);
    response
}

/// Passes on JSON about a repository: without Xet, marked as unsigned, and with the URL of the next page at this node.
fn pass_json(upstream: &Upstream, answer: Answer, method: &Method, asked: &HeaderMap) -> Response {
    let mut response = passed(&answer);
    if !answer.status.is_success() {
        return response;
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(&answer.body) else {
        return HfError::of(&UpstreamError::NoName { path: "its answer".to_owned() }).into_response();
    };
    strip_xet(&mut value);
    if let Some(info) = value.as_object_mut().filter(|it| it.contains_key("sha")) {
        info.insert("reg".to_owned(), json!({ "signed": false, "endpoint": upstream.endpoint() }));
        if let Some(tags) = info.get_mut("tags").and_then(Value::as_array_mut) {
            tags.push("unsigned".into());
        }
    }
    let host = asked.get(HOST).and_then(|it| it.to_str().ok()).unwrap_or("localhost");
    let next = answer.headers.get(LINK).and_then(|it| it.to_str().ok());
    let next = next.and_then(|link| next_here(link, upstream.endpoint(), host));
    let headers = response.headers_mut();
    headers.extend(next.and_then(|it| Some((LINK, HeaderValue::try_from(it).ok()?))));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let bytes = Bytes::from(value.to_string());
    headers.insert(CONTENT_LENGTH, bytes.len().into());
    headers.remove(CONTENT_DISPOSITION);
    if method != Method::HEAD {
        *response.body_mut() = Body::from(bytes);
    }
    response
}

/// Removes all fields that send a client to Xet: its protocol goes past this node.
fn strip_xet(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|name, _| !name.starts_with("xet"));
            entries.values_mut().for_each(strip_xet);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_xet),
        _ => {}
    }
}

/// Returns a `Link` to the next page at this node.
fn next_here(link: &str, endpoint: &str, host: &str) -> Option<String> {
    let next = link.split(',').find(|it| it.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    let rest = address.strip_prefix(endpoint).unwrap_or(address);
    rest.starts_with('/').then(|| format!("<http://{host}{rest}>; rel=\"next\""))
}

fn failed(error: UpstreamError) -> Response {
    let is_coming = matches!(error, UpstreamError::Coming { .. });
    let mut response = HfError::of(&error as &dyn Fault).into_response();
    if is_coming {
        // Clients give a file up after a 503, and try again after a 429.
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response.headers_mut().insert(RETRY_AFTER, COMING_SECONDS.into());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(method: Method, path: &str) -> Option<Part> {
        asked(&method, path).map(|(_, part)| part)
    }

    #[test]
    fn the_oldest_repositories_have_no_owner() {
        for (path, name) in [
            ("/api/models/gpt2", "gpt2"),
            ("/api/models/gpt2/revision/main", "gpt2"),
            ("/api/models/gpt2/tree/main", "gpt2"),
            ("/api/models/gpt2/tree/main/onnx", "gpt2"),
            ("/gpt2/resolve/main/onnx/a.json", "gpt2"),
            ("/gpt2/raw/main/a", "gpt2"),
            ("/api/models/org/name", "org/name"),
            ("/api/models/org/name/revision/main", "org/name"),
            ("/org/name/resolve/main/resolve/a", "org/name"),
            ("/org/resolve/resolve/main/a", "org/resolve"),
        ] {
            let asked = asked(&Method::GET, path).map(|(name, _)| name.to_string());
            assert_eq!(asked.as_deref(), Some(name), "{path}");
        }
    }

    #[test]
    fn only_what_is_a_repositorys_is_passed_on() {
        for path in [
            "/api/models/org/name",
            "/api/models/org/name/revision/main",
            "/api/models/org/name/refs",
            "/api/models/org/name/tree/main",
            "/api/models/org/name/tree/refs%2Fpr%2F1/a/b",
        ] {
            assert_eq!(part(Method::GET, path), Some(Part::Json), "{path}");
        }
        let file = Part::File("a b/c".to_owned());
        assert_eq!(part(Method::HEAD, "/org/name/resolve/main/a%20b/c"), Some(file));
        assert_eq!(part(Method::GET, "/org/name/raw/main/a"), Some(Part::Raw));
        assert_eq!(part(Method::POST, "/api/models/org/name/paths-info/main"), Some(Part::Json));
        for path in [
            "/api/models",
            "/api/models/org/name/xet-read-token/main",
            "/api/models/org/name/revision/../../../../whoami-v2",
            "/api/models/org/name/tree/%2e%2e/x",
            "/org/name/resolve/main/../../x",
            "/org/name/resolve/main/%2e%2e%2fx",
            "/org/name/resolve/main",
            "/api/whoami-v2",
            "/v2/org/name/manifests/latest",
        ] {
            assert_eq!(part(Method::GET, path), None, "{path}");
        }
        assert_eq!(part(Method::POST, "/org/name/resolve/main/a"), None);
    }

    #[test]
    fn nothing_leads_past_this_node() {
        let mut listing = json!([{ "path": "a", "xetHash": "e", "lfs": { "oid": "o", "xet_hash": "e" } }]);
        strip_xet(&mut listing);
        assert_eq!(listing, json!([{ "path": "a", "lfs": { "oid": "o" } }]));
        let here = |link| next_here(link, "https://hub.example", "127.0.0.1:4610");
        let next = "<http://127.0.0.1:4610/api/x?cursor=1>; rel=\"next\"";
        assert_eq!(here("<https://hub.example/api/x?cursor=1>; rel=\"next\"").as_deref(), Some(next));
        assert_eq!(here("<https://elsewhere.example/api/x>; rel=\"next\""), None);
        assert_eq!(here("<https://hub.example/api/xet>; rel=\"xet-auth\""), None);
        let round =
            |via: &'static str| is_round(&HeaderMap::from_iter([(VIA, HeaderValue::from_static(via))]));
        assert!(!round("1.1 reg, 1.1 varnish, 1.1 reg") && round("1.1 reg, 1.1 reg,1.1 reg"));
    }
}
