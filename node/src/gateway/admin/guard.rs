//! [`Guard`]: lets no web page and no neighbour use the local API.
//!
//! A page in a browser can send requests to loopback, and by DNS rebinding under a name of its own: so the `Host` must be
//! loopback with this very port, an `Origin` must be the same, and what changes anything needs a token that only files of
//! the user hold.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::error::document;

/// What a request must show.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    port: u16,
    token: String,
}

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Host,
    Origin,
    Token,
    ContentType,
}

impl Guard {
    /// Returns a guard for an API at `address` and who knows `token`.
    pub fn new(address: SocketAddr, token: String) -> Self {
        Self(Arc::new(Inner { port: address.port(), token }))
    }

    /// Puts the guard before every route.
    pub fn protect(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self, check))
    }

    fn judge(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let text =
            |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or("\0"));
        if headers.get_all(HOST).iter().count() != 1 || !text(HOST).is_some_and(|host| self.is_own(host)) {
            return Err(Refusal::Host);
        }
        if headers.get_all(ORIGIN).iter().any(|origin| !self.is_own_origin(origin.to_str().unwrap_or("\0"))) {
            return Err(Refusal::Origin);
        }
        if method == Method::GET || method == Method::HEAD {
            return Ok(());
        }
        let token = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
        if !equal(token.as_bytes(), self.0.token.as_bytes()) {
            return Err(Refusal::Token);
        }
        if text(CONTENT_TYPE) != Some("application/json") {
            return Err(Refusal::ContentType);
        }
        Ok(())
    }

    /// `localhost`, or a loopback address, with this port.
    fn is_own(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else { return false };
        if port != self.0.port.to_string() {
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

async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.judge(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let message = match refusal {
                Refusal::Host => "host is not this machine",
                Refusal::Origin => "origin is not this API",
                Refusal::Token => "token is missing or wrong: it stands in the file admin.token",
                Refusal::ContentType => "content type is not application/json",
            };
            let status =
                if refusal == Refusal::Token { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
            (status, axum::Json(document("denied", message))).into_response()
        }
    }
}

/// Compares without telling by its time where the two differ.
fn equal(one: &[u8], two: &[u8]) -> bool {
    one.len() == two.len() && one.iter().zip(two).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new("127.0.0.1:4610".parse().unwrap(), "secret".to_owned())
    }

    fn judge(method: Method, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(axum::http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        guard().judge(&method, &map)
    }

    #[test]
    fn only_loopback_names_with_this_port_are_hosts() {
        for host in ["127.0.0.1:4610", "localhost:4610", "[::1]:4610", "127.0.0.2:4610"] {
            assert_eq!(judge(Method::GET, &[("host", host)]), Ok(()), "{host}");
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
            assert_eq!(judge(Method::GET, &[("host", host)]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(judge(Method::GET, &[]), Err(Refusal::Host));
        let twice = [("host", "127.0.0.1:4610"), ("host", "evil.example")];
        assert_eq!(judge(Method::GET, &twice), Err(Refusal::Host));
    }

    #[test]
    fn only_the_api_itself_is_an_origin_and_changes_need_the_token() {
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
            assert_eq!(judge(Method::GET, &[host, ("origin", origin)]), Err(Refusal::Origin), "{origin}");
        }
        assert_eq!(judge(Method::GET, &[host, ("origin", "http://localhost:4610")]), Ok(()));
        let json = ("content-type", "application/json");
        for token in [
            "",
            "secret",
            "Bearer",
            "Bearer ",
            "Bearer Secret",
            "bearer secret",
            "Bearer secret2",
            "Basic secret",
        ] {
            let headers = [host, json, ("authorization", token)];
            assert_eq!(judge(Method::POST, &headers), Err(Refusal::Token), "{token}");
        }
        let token = ("authorization", "Bearer secret");
        assert_eq!(judge(Method::POST, &[host, json, token]), Ok(()));
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-7"] {
            assert_eq!(
                judge(Method::POST, &[host, token, ("content-type", kind)]),
                Err(Refusal::ContentType),
                "{kind}"
            );
        }
        assert_eq!(judge(Method::DELETE, &[host, json]), Err(Refusal::Token));
    }
}
