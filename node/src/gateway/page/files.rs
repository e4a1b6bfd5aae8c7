//! The static files of the page, each with its type, its digest as `ETag`, and the rules that a browser obeys.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use reg_proto::digest::Digest;

/// What the page may load, and from where: its own files, and no script or style in the HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const EMBEDDER_POLICY: HeaderName = HeaderName::from_static("cross-origin-embedder-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// A static file.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! file {
    ($path:literal, $name:literal, $kind:expr) => {
        File { path: $path, kind: $kind, text: include_str!(concat!("static/", $name)) }
    };
}

/// The files, and where they are served.
static FILES: [File; FILES_COUNT] = [
    file!("/", "index.html", HTML),
    file!("/page/page.css", "page.css", CSS),
    file!("/page/mark.svg", "mark.svg", SVG),
    file!("/page/app.js", "app.js", SCRIPT),
    file!("/page/api.js", "api.js", SCRIPT),
    file!("/page/dom.js", "dom.js", SCRIPT),
    file!("/page/words.js", "words.js", SCRIPT),
    file!("/page/parts.js", "parts.js", SCRIPT),
    file!("/page/change.js", "change.js", SCRIPT),
    file!("/page/offers.js", "offers.js", SCRIPT),
    file!("/page/pieces.js", "pieces.js", SCRIPT),
    file!("/page/proof.js", "proof.js", SCRIPT),
    file!("/page/models.js", "models.js", SCRIPT),
    file!("/page/model.js", "model.js", SCRIPT),
    file!("/page/transfers.js", "transfers.js", SCRIPT),
    file!("/page/peers.js", "peers.js", SCRIPT),
    file!("/page/find.js", "find.js", SCRIPT),
    file!("/page/trust.js", "trust.js", SCRIPT),
    file!("/page/health.js", "health.js", SCRIPT),
    file!("/page/node.js", "node.js", SCRIPT),
];
const FILES_COUNT: usize = 20;

/// The digests of the files, in their order.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|it| format!("\"{}\"", Digest::of(it.text.as_bytes()).to_string().replace(':', "-")))
        .collect()
});

/// Returns a route for each file.
pub(super) fn router() -> Router {
    FILES.iter().enumerate().fold(Router::new(), |router, (place, file)| {
        router.route(file.path, get(move |request: Request| async move { answer(place, file, &request) }))
    })
}

fn answer(place: usize, file: &'static File, request: &Request) -> Response {
    let tag = TAGS.get(place).map_or("", String::as_str);
    let shown = request.headers().get_all(IF_NONE_MATCH).iter().filter_map(|it| it.to_str().ok());
    let is_known = shown.flat_map(|it| it.split(',')).any(|it| it.trim().trim_start_matches("W/") == tag);
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.text.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, file.kind),
        // The browser asks each time, and gets 304 while its copy is current.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (OPENER_POLICY, "same-origin"),
        (EMBEDDER_POLICY, "require-corp"),
        (PERMISSIONS_POLICY, "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(ETAG, HeaderValue::from_str(tag).unwrap_or(HeaderValue::from_static("\"none\"")));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of all scripts together: a page that a node of a small machine sends at once.
    const SCRIPT_BYTES_MAX: usize = 150_000;

    fn in_the_folder() -> Vec<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/gateway/page/static");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .flatten()
            .map(|it| it.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_its_type_is_that_of_its_name() {
        let mut served: Vec<String> = FILES
            .iter()
            .map(|it| it.path.trim_start_matches("/page/").trim_start_matches('/'))
            .map(|it| if it.is_empty() { "index.html".to_owned() } else { it.to_owned() })
            .collect();
        served.sort();
        assert_eq!(served, in_the_folder());
        for file in &FILES {
            let kind = match file.path.rsplit('.').next() {
                Some("css") => CSS,
                Some("js") => SCRIPT,
                Some("svg") => SVG,
                _ => HTML,
            };
            assert_eq!(file.kind, kind, "{}", file.path);
        }
        let scripts: usize = FILES.iter().filter(|it| it.kind == SCRIPT).map(|it| it.text.len()).sum();
        assert!(scripts < SCRIPT_BYTES_MAX, "{scripts} bytes of scripts");
        println!("{scripts} bytes of scripts");
    }

    /// Text of models and peers is inserted as text: no file names a function that makes markup of it.
    #[test]
    fn no_file_makes_markup_or_code_of_text() {
        let banned = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "createContextualFragment",
            "DOMParser",
            "parseFromString",
            "setHTML",
            "eval(",
            "new Function",
            "import(",
            "srcdoc",
            "javascript:",
            "setTimeout(\"",
            "localStorage",
            "document.cookie",
        ];
        for file in &FILES {
            for word in banned {
                assert!(!file.text.contains(word), "{} names {word}", file.path);
            }
            // No file names another host. A namespace is not an address.
            let text = file.text.replace("http://www.w3.org/2000/svg", "");
            for scheme in ["http://", "https://", "ws://", "wss://"] {
                assert!(!text.contains(scheme), "{} names a host: {scheme}", file.path);
            }
        }
        let html = FILES[0].text;
        for inline in ["<style", "style=", " onclick", " onload", " onerror", "<script>"] {
            assert!(!html.contains(inline), "index.html has {inline}, which the policy refuses");
        }
    }
}
