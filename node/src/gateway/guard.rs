//! [`Guard`]: keeps web pages and other machines from using the gateways, and tells the dialects what a caller may do.
//!
//! A page in a browser can send requests to loopback, and, by DNS rebinding, under a host name of its own. So `Host`
//! must be loopback with this port, and `Origin` must be the same. A request that changes anything needs the token,
//! which only the user's files hold. Beyond loopback, every request does.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use serde_json::json;

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
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Host,
    Origin,
    Token,
}

impl Guard {
    /// Returns a guard for a server at `address` with this token.
    pub fn new(address: SocketAddr, token: String) -> Self {
        Self(Arc::new(Required { address, token }))
    }

    /// Puts this guard before every route of a router.
    pub fn protect(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self, check))
    }

    fn judge(&self, path: &str, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let caller = if self.knows_token(headers) { Caller::Owner } else { Caller::Reader };
        if headers.get_all(ORIGIN).iter().any(|origin| !self.is_own_origin(origin.to_str().unwrap_or("\0"))) {
            return Err(Refusal::Origin);
        }
        if !self.0.address.ip().is_loopback() {
            // Clients may use any host name, so only the token counts; an upload's URL is a token itself.
            let may = caller == Caller::Owner || path.starts_with(UPLOADS);
            return if may { Ok(caller) } else { Err(Refusal::Token) };
        }
        let host = headers.get(HOST).map(|value| value.to_str().unwrap_or("\0"));
        if headers.get_all(HOST).iter().count() != 1 || !host.is_some_and(|host| self.is_own(host)) {
            return Err(Refusal::Host);
        }
        Ok(caller)
    }

    /// Tells whether a request shows the token: as `Bearer`, or as the password of `Basic`.
    fn knows_token(&self, headers: &HeaderMap) -> bool {
        let Some(shown) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        if let Some(token) = shown.strip_prefix("Bearer ") {
            return equal(token.as_bytes(), self.0.token.as_bytes());
        }
        let basic = shown.strip_prefix("Basic ").and_then(|it| BASE64.decode(it.as_bytes()).ok());
        let password = basic.as_deref().and_then(|it| it.splitn(2, |byte| *byte == b':').nth(1));
        password.is_some_and(|password| equal(password, self.0.token.as_bytes()))
    }

    /// Tells whether `host` is `localhost` or a loopback address, with this port.
    fn is_own(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else { return false };
        if port != self.0.address.port().to_string() {
            return false;
        }
        let ip = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
        let is_bracketed = ip.len() != name.len();
        match ip.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback() && ip.is_ipv6() == is_bracketed,
            Err(_) => name == "localhost",
        }
    }

    fn is_own_origin(&self, origin: &str) -> bool {
        origin.strip_prefix("http://").is_some_and(|host| self.is_own(host))
    }
}

/// The start of the paths of uploads: each is handed out for one blob.
pub const UPLOADS: &str = "/uploads/";

async fn check(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.judge(request.uri().path(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(Refusal::Host) => refused(StatusCode::FORBIDDEN, "host is not this machine"),
        Err(Refusal::Origin) => refused(StatusCode::FORBIDDEN, "origin is not this API"),
        Err(Refusal::Token) => unauthorized(),
    }
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
    let document = json!({
        "kind": "denied", "message": message, "causes": [], "hint": null,
        "error": message,
        "errors": [{ "code": if status == StatusCode::UNAUTHORIZED { "UNAUTHORIZED" } else { "DENIED" }, "message": message }],
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
        Guard::new("127.0.0.1:4610".parse().unwrap(), "secret".to_owned())
    }

    fn judge(headers: &[(&str, &str)]) -> Result<Caller, Refusal> {
        judge_at(&guard(), headers)
    }

    fn judge_at(guard: &Guard, headers: &[(&str, &str)]) -> Result<Caller, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(axum::http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        guard.judge("/v1/models", &map)
    }

    #[test]
    fn only_loopback_names_with_this_port_are_hosts() {
        for host in ["127.0.0.1:4610", "localhost:4610", "[::1]:4610", "127.0.0.2:4610"] {
            assert_eq!(judge(&[("host", host)]), Ok(Caller::Reader), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:4610",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost",
            "localhost:4611",
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
        ] {
            assert_eq!(judge(&[host, ("origin", origin)]), Err(Refusal::Origin), "{origin}");
        }
        assert_eq!(judge(&[host, ("origin", "http://localhost:4610")]), Ok(Caller::Reader));
        for token in [
            "",
            "secret",
            "Bearer",
            "Bearer ",
            "Bearer Secret",
            "bearer secret",
            "Bearer secret2",
            "Basic secret",
            "Basic c2VjcmV0",
            "Basic eDpTZWNyZXQ=",
        ] {
            assert_eq!(judge(&[host, ("authorization", token)]), Ok(Caller::Reader), "{token}");
        }
        for token in ["Bearer secret", "Basic eDpzZWNyZXQ=", "Basic OnNlY3JldA=="] {
            assert_eq!(judge(&[host, ("authorization", token)]), Ok(Caller::Owner), "{token}");
        }
    }

    #[test]
    fn beyond_loopback_everything_needs_the_token() {
        let guard = Guard::new("0.0.0.0:4610".parse().unwrap(), "secret".to_owned());
        let host = ("host", "192.168.0.1:4610");
        assert_eq!(judge_at(&guard, &[host]), Err(Refusal::Token));
        assert_eq!(judge_at(&guard, &[host, ("authorization", "Bearer x")]), Err(Refusal::Token));
        let token = ("authorization", "Bearer secret");
        assert_eq!(judge_at(&guard, &[host, token]), Ok(Caller::Owner));
        assert_eq!(judge_at(&guard, &[host, token, ("origin", "http://evil.example")]), Err(Refusal::Origin));
    }
}
