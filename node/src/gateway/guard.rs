//! [`Guard`]: keeps web pages and other machines from using the gateways, and tells the dialects what a caller may do.
//!
//! A page in a browser can send requests to loopback, and, by DNS rebinding, under a host name of its own. So `Host` must be a
//! name of loopback; its port may be another one, which `ssh -L` forwards. `Origin` must be the same address, or one that the
//! user has configured. Images and scripts of a page have no `Origin`: there `Sec-Fetch-Site` tells. A request that changes
//! anything needs the token, which only the user's files hold. Beyond loopback, every request but
//! [`LIVE`] and [`READY`] does.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, HOST, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use serde_json::json;

use super::page::PageTokens;
use super::refused::Refused;
use super::server::{BUSY, Connection};

/// How a browser says which page a request is from: `same-origin`, `same-site`, `cross-site`, or `none` for the user.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Which pages may use an answer, whatever it is taken for.
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Seconds after which a client may try again, in `Retry-After`.
const RETRY_SECONDS: u32 = 5;

/// What a caller may do. A dialect finds it in a request's extensions; where it is missing, the caller may only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A caller that sends the token, or uses the socket: it may do everything.
    Owner,
    /// A program of this machine: it may only read.
    Reader,
}

/// What a request must show.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Required>);

#[derive(Debug)]
struct Required {
    address: SocketAddr,
    token: String,
    /// The tokens that tabs of the page got.
    tabs: PageTokens,
    origins: Origins,
    refused: Refused,
}

/// Origins of pages that may read, as in `https://page.example`. They may change while the node runs.
#[derive(Debug, Clone, Default)]
pub struct Origins(Arc<Mutex<Vec<String>>>);

impl Origins {
    /// Replaces them.
    pub fn set(&self, origins: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = origins;
    }

    fn has(&self, origin: &HeaderValue) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|it| origin == it.as_str())
    }
}

impl From<Vec<String>> for Origins {
    fn from(origins: Vec<String>) -> Self {
        Self(Arc::new(Mutex::new(origins)))
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Host,
    Origin,
    Site,
    Token,
}

impl Refusal {
    /// Says for the log why a request is refused.
    const fn why(self) -> &'static str {
        match self {
            Self::Host => "host is not this machine",
            Self::Origin => "origin is not this API",
            Self::Site => "it comes from a page of another site",
            Self::Token => "token is missing or wrong",
        }
    }
}

/// A request that is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Admitted {
    caller: Caller,
    /// The configured origin that it is from.
    origin: Option<HeaderValue>,
}

impl Guard {
    /// Returns a guard for a server at `address` with this token and those of `tabs`. Pages of `origins` may read.
    pub fn new(address: SocketAddr, token: String, tabs: PageTokens, origins: impl Into<Origins>) -> Self {
        let (origins, refused) = (origins.into(), Refused::default());
        Self(Arc::new(Required { address, token, tabs, origins, refused }))
    }

    /// Puts this guard before every route of a router.
    pub fn protect(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self, check))
    }

    fn judge(&self, path: &str, headers: &HeaderMap) -> Result<Admitted, Refusal> {
        let caller = if self.knows_token(headers) { Caller::Owner } else { Caller::Reader };
        let origins: Vec<&HeaderValue> = headers.get_all(ORIGIN).iter().collect();
        let origin = match origins.as_slice() {
            [origin] if self.is_configured(origin) => Some((*origin).clone()),
            _ => None,
        };
        let host = headers.get(HOST).and_then(|value| value.to_str().ok());
        if origin.is_none() {
            if !origins.iter().all(|it| it.to_str().is_ok_and(|it| self.is_own_origin(it, host))) {
                return Err(Refusal::Origin);
            }
            if !headers.get_all(SEC_FETCH_SITE).iter().all(|it| it == "same-origin" || it == "none") {
                return Err(Refusal::Site);
            }
        }
        if !self.0.address.ip().is_loopback() {
            // Clients may use any host name, so only the token counts; an upload's URL is a token itself.
            let may = caller == Caller::Owner || path.starts_with(UPLOADS) || [LIVE, READY].contains(&path);
            return if may { Ok(Admitted { caller, origin }) } else { Err(Refusal::Token) };
        }
        if headers.get_all(HOST).iter().count() != 1 || !host.is_some_and(is_loopback) {
            return Err(Refusal::Host);
        }
        Ok(Admitted { caller, origin })
    }

    fn is_configured(&self, origin: &HeaderValue) -> bool {
        self.0.origins.has(origin)
    }

    /// Tells whether a request shows the token: as `Bearer`, or as the password of `Basic`.
    fn knows_token(&self, headers: &HeaderMap) -> bool {
        let Some(shown) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        if let Some(token) = shown.strip_prefix("Bearer ") {
            return self.is_token(token.as_bytes()) || self.0.tabs.knows(token.as_bytes());
        }
        let basic = shown.strip_prefix("Basic ").and_then(|it| BASE64.decode(it.as_bytes()).ok());
        let password = basic.as_deref().and_then(|it| it.splitn(2, |byte| *byte == b':').nth(1));
        password.is_some_and(|password| self.is_token(password))
    }

    /// Tells whether these bytes are the token. Some of Hugging Face's clients send only tokens that begin with `hf_`.
    fn is_token(&self, shown: &[u8]) -> bool {
        equal(shown.strip_prefix(b"hf_").unwrap_or(shown), self.0.token.as_bytes())
    }

    /// Tells whether an origin is that of this server: the address of the request itself, or a name of loopback with the
    /// server's port.
    fn is_own_origin(&self, origin: &str, host: Option<&str>) -> bool {
        let port = self.0.address.port();
        origin.strip_prefix("http://").is_some_and(|it| {
            is_loopback(it)
                && (Some(it) == host || it.rsplit_once(':').is_some_and(|(_, own)| own == port.to_string()))
        })
    }
}

/// Tells whether `host` is `localhost` or a loopback address, with any port or none. No name that a page can choose is one.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_port = |port: &str| {
        port.bytes().all(|it| it.is_ascii_digit()) && !port.starts_with('0') && port.parse::<u16>().is_ok()
    };
    if !port.is_none_or(is_port) {
        return false;
    }
    let ip = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
    let is_bracketed = ip.len() != name.len();
    match ip.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() && ip.is_ipv6() == is_bracketed,
        Err(_) => name == "localhost",
    }
}

/// The start of the paths of uploads: each is handed out for one blob.
pub const UPLOADS: &str = "/uploads/";

/// The paths by which a supervisor asks whether the node lives, and whether it can do its work: they say no more, so that no token
/// is needed.
pub const LIVE: &str = "/v1/live";
/// See [`LIVE`].
pub const READY: &str = "/v1/ready";

async fn check(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let refusal = match guard.judge(request.uri().path(), request.headers()) {
        Ok(Admitted { caller, origin }) => {
            request.extensions_mut().insert(caller);
            if caller == Caller::Owner
                && let Some(connection) = request.extensions().get::<Connection>()
            {
                connection.is_owners();
            }
            let asks = request.method() == Method::OPTIONS
                && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
            let response = match &origin {
                Some(_) if asks => allowed(),
                _ => next.run(request).await,
            };
            return label(response, origin);
        }
        Err(refusal) => refusal,
    };
    // The rest of such a path is a capability.
    let path = request.uri().path();
    let shown = if path.starts_with(UPLOADS) { UPLOADS } else { path };
    guard.0.refused.tell(shown, refusal.why());
    let response = match refusal {
        Refusal::Host => refused(StatusCode::FORBIDDEN, "host is not this machine"),
        Refusal::Origin => refused(StatusCode::FORBIDDEN, "origin is not this API"),
        Refusal::Site => refused(
            StatusCode::FORBIDDEN,
            "a page of another site may not use this API: http.origins in the configuration lists pages that may",
        ),
        Refusal::Token => unauthorized(),
    };
    label(response, None)
}

/// Answers a browser that asks what a page of a configured origin may send.
fn allowed() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    let sent = HeaderValue::from_static("authorization, content-type, range, if-none-match, if-range");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, sent);
    response
}

/// Adds what every answer tells a browser: to take it for nothing else than it says, and which pages may use it.
fn label(mut response: Response, origin: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = if origin.is_some() { "cross-origin" } else { "same-origin" };
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static(policy));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// Returns an answer that asks a client of any dialect to come back.
pub(super) fn busy() -> Response {
    let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, BUSY);
    response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS.into());
    response
}

/// Returns a refusal that clients of every dialect understand: the token is needed.
pub fn unauthorized() -> Response {
    let mut response = refused(
        StatusCode::UNAUTHORIZED,
        "token is missing or wrong: it is in the file admin.token, and `reg env` sets it",
    );
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"reg\""));
    response
}

fn refused(status: StatusCode, message: &str) -> Response {
    let (kind, code) = match status {
        StatusCode::UNAUTHORIZED => ("denied", "UNAUTHORIZED"),
        StatusCode::SERVICE_UNAVAILABLE => ("retry_later", "UNAVAILABLE"),
        _ => ("denied", "DENIED"),
    };
    let document = json!({
        "kind": kind, "message": message, "causes": [], "hint": null,
        "error": message,
        "errors": [{ "code": code, "message": message }],
    });
    (status, axum::Json(document)).into_response()
}

/// Compares in a time that does not depend on where the two differ.
fn equal(one: &[u8], two: &[u8]) -> bool {
    one.len() == two.len() && one.iter().zip(two).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let origins = vec!["https://page.example".to_owned()];
        Guard::new("127.0.0.1:4610".parse().unwrap(), "secret".to_owned(), PageTokens::default(), origins)
    }

    fn judge(headers: &[(&str, &str)]) -> Result<Caller, Refusal> {
        judge_at(&guard(), headers)
    }

    fn judge_at(guard: &Guard, headers: &[(&str, &str)]) -> Result<Caller, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        guard.judge("/v1/models", &map).map(|it| it.caller)
    }

    #[test]
    fn only_loopback_names_are_hosts() {
        for host in [
            "127.0.0.1:4610",
            "localhost:4610",
            "[::1]:4610",
            "127.0.0.2:4610",
            // Another machine's port, which ssh forwards.
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost",
            "localhost:4611",
            "[::1]",
        ] {
            assert_eq!(judge(&[("host", host)]), Ok(Caller::Reader), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:4610",
            "::1",
            "localhost:",
            "localhost:0",
            "localhost:+80",
            "localhost:65536",
            "LOCALHOST.evil:4610",
            "localhost.evil.example:4610",
            "127.0.0.1.evil.example:4610",
            "0.0.0.0:4610",
            "192.168.0.1:4610",
            "10.0.0.1:4610",
            "169.254.169.254:4610",
            "[::]:4610",
            "[fe80::1]:4610",
            "::1:4610",
            "[127.0.0.1]:4610",
            "2130706433:4610",
            "0x7f.1:4610",
            "127.1:4610",
            "0177.0.0.1:4610",
            "localhost.:4610",
            "127.0.0.1:04610",
            "127.0.0.1:4610 ",
            "user@127.0.0.1:4610",
            "127.0.0.1:4610,evil",
            "[::ffff:10.0.0.1]:4610",
            "127.0.0.1:4610/",
            "local host:4610",
        ] {
            assert_eq!(judge(&[("host", host)]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(judge(&[]), Err(Refusal::Host));
        let twice = [("host", "127.0.0.1:4610"), ("host", "evil.example")];
        assert_eq!(judge(&twice), Err(Refusal::Host));
    }

    #[test]
    fn only_the_api_itself_is_an_origin_and_the_token_makes_an_owner() {
        let host = ("host", "127.0.0.1:4610");
        for origin in [
            "null",
            "https://evil.example",
            "http://evil.example",
            "http://127.0.0.1",
            "http://127.0.0.1:80",
            "https://127.0.0.1:4610",
            "http://localhost.evil:4610",
            "file://",
            "chrome-extension://x",
            "",
            "https://page.example.evil",
            "https://page.example:443",
            "http://localhost:8080",
        ] {
            assert_eq!(judge(&[host, ("origin", origin)]), Err(Refusal::Origin), "{origin}");
        }
        let forwarded = [("host", "localhost:8080"), ("origin", "http://localhost:8080")];
        assert_eq!(judge(&forwarded), Ok(Caller::Reader));
        assert_eq!(judge(&[host, ("origin", "http://localhost:4610")]), Ok(Caller::Reader));
        for token in [
            "",
            "secret",
            "Bearer",
            "Bearer ",
            "Bearer Secret",
            "bearer secret",
            "Bearer secret2",
            "Bearer hf_",
            "Bearer hf_hf_secret",
            "Bearer HF_secret",
            "Basic secret",
            "Basic c2VjcmV0",
            "Basic eDpTZWNyZXQ=",
        ] {
            assert_eq!(judge(&[host, ("authorization", token)]), Ok(Caller::Reader), "{token}");
        }
        for token in ["Bearer secret", "Bearer hf_secret", "Basic eDpzZWNyZXQ=", "Basic OnNlY3JldA=="] {
            assert_eq!(judge(&[host, ("authorization", token)]), Ok(Caller::Owner), "{token}");
        }
    }

    #[test]
    fn a_request_of_another_site_is_refused_unless_its_origin_is_configured() {
        let host = ("host", "127.0.0.1:4610");
        let (site, page) = ("sec-fetch-site", ("origin", "https://page.example"));
        for fine in ["none", "same-origin"] {
            assert_eq!(judge(&[host, (site, fine)]), Ok(Caller::Reader), "{fine}");
        }
        for other in ["cross-site", "same-site", "", "None", "none, none", "same-origin "] {
            let judged = judge(&[host, (site, other)]);
            assert!(judged == Err(Refusal::Site) || other.trim() != other, "{other}");
            assert_eq!(judge(&[host, (site, "none"), (site, "cross-site")]), Err(Refusal::Site));
            let own = ("origin", "http://127.0.0.1:4610");
            assert_eq!(judge(&[host, (site, "cross-site"), own]), Err(Refusal::Site));
            assert_eq!(judge(&[host, (site, other), page]), Ok(Caller::Reader), "{other}");
        }
        let two = [host, (site, "cross-site"), page, ("origin", "https://other.example")];
        assert_eq!(judge(&two), Err(Refusal::Origin));
        let token = ("authorization", "Bearer secret");
        assert_eq!(
            judge(&[host, (site, "cross-site"), token]),
            Err(Refusal::Site),
            "a token does not help a page"
        );
    }

    #[test]
    fn beyond_loopback_everything_needs_the_token() {
        let tabs = PageTokens::default();
        let guard = Guard::new("0.0.0.0:4610".parse().unwrap(), "secret".to_owned(), tabs, Vec::new());
        let host = ("host", "192.168.0.1:4610");
        assert_eq!(judge_at(&guard, &[host]), Err(Refusal::Token));
        assert_eq!(judge_at(&guard, &[host, ("authorization", "Bearer x")]), Err(Refusal::Token));
        let asked = |path: &str| {
            guard.judge(path, &HeaderMap::from_iter([(HOST, "192.168.0.1:4610".parse().unwrap())]))
        };
        assert!(asked(LIVE).is_ok_and(|it| it.caller == Caller::Reader) && asked(READY).is_ok());
        assert_eq!(asked("/v1/live/").map(|it| it.caller), Err(Refusal::Token));
        let token = ("authorization", "Bearer secret");
        assert_eq!(judge_at(&guard, &[host, token]), Ok(Caller::Owner));
        assert_eq!(judge_at(&guard, &[host, token, ("origin", "http://evil.example")]), Err(Refusal::Origin));
    }
}
