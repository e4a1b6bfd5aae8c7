//! Logs clients in (distribution, "Token Authentication"): a 401 names the URL that gives tokens. A client sends the
//! node's token to it as the password, or, to read only, sends no password.

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::{Extension, Json};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::error::OciError;
use crate::gateway::base_url::base_url;
use crate::gateway::guard::Caller;

/// The token of clients that only read: the guard treats it as no token.
const ANONYMOUS: &str = "anonymous";

/// Adds the URL that gives tokens to every 401.
pub(super) async fn challenge(request: Request, next: Next) -> Response {
    let realm = format!("Bearer realm=\"{}/v2/token\",service=\"reg\"", base_url(request.headers()));
    let mut response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED
        && let Ok(value) = HeaderValue::try_from(realm)
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

/// `GET /v2/token`: returns the token that the client sends as a password, or, without a password, one that only reads.
pub(super) async fn token(
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
) -> Result<Json<Value>, OciError> {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = match (caller.map(|it| it.0), shown) {
        (Some(Caller::Owner), Some(shown)) => password(shown).ok_or_else(OciError::unauthorized)?,
        (_, Some(_)) => return Err(OciError::unauthorized()),
        (_, None) => ANONYMOUS.to_owned(),
    };
    Ok(Json(json!({ "token": token, "access_token": token, "expires_in": 3600 })))
}

fn password(shown: &str) -> Option<String> {
    let basic = BASE64.decode(shown.strip_prefix("Basic ")?.as_bytes()).ok()?;
    let text = String::from_utf8(basic).ok()?;
    Some(text.split_once(':')?.1.to_owned())
}
