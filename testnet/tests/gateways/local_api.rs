//! Tests that a web page, a neighbour or a rebound name gets nothing from the local API and the gateways.

use std::io::{Read, Write};
use std::net::TcpStream;

use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, PATIENCE, text};

/// Addresses and names that are not this machine on this port; `PORT` stands for the port.
const ADDRESSES: [&str; 34] = [
    "evil.example",
    "evil.example:PORT",
    "localhost.evil.example:PORT",
    "127.0.0.1.evil.example:PORT",
    "127.0.0.1:0",
    "127.0.0.1:PORT0",
    "127.0.0.1:+PORT",
    "localhost:",
    "localhost:x",
    "localhost.:PORT",
    "LOCALHOST.EVIL:PORT",
    "0.0.0.0:PORT",
    "[::]:PORT",
    "10.0.0.1:PORT",
    "172.16.0.1:PORT",
    "192.168.0.1:PORT",
    "100.64.0.1:PORT",
    "169.254.169.254:PORT",
    "224.0.0.1:PORT",
    "255.255.255.255:PORT",
    "[fe80::1]:PORT",
    "[fc00::1]:PORT",
    "[::ffff:10.0.0.1]:PORT",
    "[64:ff9b::7f00:1]:PORT",
    "2130706433:PORT",
    "0x7f000001:PORT",
    "0x7f.1:PORT",
    "0177.0.0.1:PORT",
    "127.1:PORT",
    "user@127.0.0.1:PORT",
    "127.0.0.1:PORT@evil.example",
    "127.0.0.1:PORT,evil.example",
    "[127.0.0.1]:PORT",
    "::1:PORT",
];

/// Headers that the owner never sends: those that a browser adds for pages of other origins.
const HEADERS: [&str; 32] = [
    "origin: null",
    "origin: http://evil.example",
    "origin: https://evil.example",
    "origin: http://127.0.0.1",
    "origin: http://127.0.0.1:1",
    "origin: https://127.0.0.1:PORT",
    "origin: http://localhost",
    "origin: http://localhost.evil.example:PORT",
    "origin: http://evil.example:PORT",
    "origin: http://127.0.0.1:PORT.evil.example",
    "origin: http://[::]:PORT",
    "origin: file://",
    "origin: chrome-extension://abcdef",
    "origin: moz-extension://abcdef",
    "origin: http://0.0.0.0:PORT",
    "origin: http://2130706433:PORT",
    "origin: http://user@127.0.0.1:PORT",
    "origin: http://127.0.0.1:PORT http://evil.example",
    "origin: http://127.0.0.1:PORT\r\norigin: http://evil.example",
    "host: evil.example",
    "origin: ws://127.0.0.1:PORT",
    "origin: data:text/html,x",
    "origin: blob:http://127.0.0.1:PORT/x",
    "origin: http://10.0.0.1:PORT",
    "sec-fetch-site: cross-site",
    "sec-fetch-site: same-site",
    "sec-fetch-site: Cross-Site",
    "sec-fetch-site: none, cross-site",
    "sec-fetch-site: none\r\nsec-fetch-site: cross-site",
    "sec-fetch-site: cross-site\r\norigin: http://127.0.0.1:PORT",
    "sec-fetch-site:",
    "sec-fetch-site: anything",
];

/// What a client on this machine sends: without a browser, from the address bar, and through a port that `ssh -L` forwards.
const FINE: [(&str, &str); 9] = [
    ("127.0.0.1:PORT", ""),
    ("localhost:PORT", "sec-fetch-site: none\r\n"),
    ("localhost:PORT", "sec-fetch-site: same-origin\r\n"),
    ("127.0.0.1:PORT", "origin: http://127.0.0.1:PORT\r\nsec-fetch-site: same-origin\r\n"),
    ("localhost:8080", ""),
    ("127.0.0.1:1", ""),
    ("[::1]:8080", ""),
    ("localhost", ""),
    ("localhost:8080", "origin: http://localhost:8080\r\nsec-fetch-site: same-origin\r\n"),
];

/// One route of each dialect, which answers every client on this machine.
const ROUTES: [&str; 7] = [
    "/v1/models",
    "/v1/status",
    "/metrics",
    "/api/models?search=x",
    "/v2/",
    "/api/whoami-v2",
    "/v2/x/y/tags/list",
];

/// Sends these very bytes, and returns the status and the answer.
fn raw(daemon: &Daemon, request: &str) -> (u16, String) {
    let address = text(&daemon.ready["http"]);
    let mut stream = TcpStream::connect(&address).expect("the daemon listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
    (status, answer)
}

fn get(daemon: &Daemon, route: &str, host: &str, more: &str) -> (u16, String) {
    raw(daemon, &format!("GET {route} HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n"))
}

#[test]
fn no_address_and_no_header_of_somebody_else_gets_through() {
    let home = Home::new("A");
    home.key("me");
    let daemon = Daemon::start(&home, ["--offline", "--publish-key", "me"]);
    let address = text(&daemon.ready["http"]);
    let port = address.rsplit(':').next().expect("a port").to_owned();
    let own = format!("127.0.0.1:{port}");
    let (mut through, mut tried) = (Vec::new(), 0);
    for route in ROUTES {
        let (status, answer) = get(&daemon, route, &own, "");
        assert!(![0, 400, 403].contains(&status), "{route} answers a client on this machine: {answer}");
        for (host, more) in
            FINE.map(|(host, more)| (host.replace("PORT", &port), more.replace("PORT", &port)))
        {
            let (status, answer) = get(&daemon, route, &host, &more);
            assert!(![0, 400, 403].contains(&status), "{route} as {host} {more:?}: {answer}");
        }
        let hosts = ADDRESSES.map(|it| (it.replace("PORT", &port), String::new()));
        let headers = HEADERS.map(|it| (own.clone(), format!("{}\r\n", it.replace("PORT", &port))));
        for (host, more) in hosts.into_iter().chain(headers) {
            tried += 1;
            let (status, answer) = get(&daemon, route, &host, &more);
            let answer = answer.to_lowercase();
            if !matches!(status, 400 | 403) {
                through.push(format!("{route} as {host} {more:?}: {answer}"));
            }
            assert!(!answer.contains("access-control-allow"), "{answer}");
            // What is malformed is refused before it is a request.
            let is_labelled = answer.contains("\r\nx-content-type-options: nosniff\r\n")
                && answer.contains("\r\ncross-origin-resource-policy: same-origin\r\n");
            assert!(is_labelled || status == 400, "{answer}");
        }
    }
    assert!(through.is_empty(), "{} of {tried} got through: {through:#?}", through.len());
    println!(
        "{} addresses and {} headers on {} routes: {tried} refused",
        ADDRESSES.len(),
        HEADERS.len(),
        ROUTES.len()
    );
}

#[test]
fn what_changes_anything_needs_the_token_and_json() {
    let home = Home::new("A");
    home.key("me");
    let daemon = Daemon::start(&home, ["--offline", "--publish-key", "me"]);
    let token = http::token(&home);
    let port = text(&daemon.ready["http"]).rsplit(':').next().expect("a port").to_owned();
    let post = |method: &str, route: &str, more: &str| {
        let body = "{\"dry_run\":true,\"name\":\"x\",\"organization\":\"me\",\"type\":\"model\"}";
        let head = format!(
            "{method} {route} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {}\r\n",
            body.len()
        );
        raw(&daemon, &format!("{head}{more}connection: close\r\n\r\n{body}"))
    };
    let json = "content-type: application/json\r\n";
    let good = format!("authorization: Bearer {token}\r\n");
    assert_eq!(post("POST", "/v1/gc", &format!("{json}{good}")).0, 200);
    for wrong in [
        "",
        "authorization: Bearer\r\n",
        "authorization: Bearer x\r\n",
        &format!("authorization: Bearer {token}x\r\n"),
        &format!("authorization: bearer {token}\r\n"),
        &format!("authorization: Token {token}\r\n"),
        &format!("authorization: Basic {token}\r\n"),
        &format!("cookie: token={token}\r\n"),
        &format!("x-token: {token}\r\n"),
        &format!("authorization: Bearer {}\r\n", token.to_uppercase()),
    ] {
        for (method, route) in [
            ("POST", "/v1/gc"),
            ("POST", "/v1/trust/waive"),
            ("POST", "/v1/pull"),
            ("POST", "/v2/me/x/blobs/uploads/"),
            ("PUT", "/v2/me/x/manifests/v1"),
            ("POST", "/api/repos/create"),
            ("POST", "/api/models/me/x/commit/main"),
        ] {
            let (status, answer) = post(method, route, &format!("{json}{wrong}"));
            // A dialect may look at the body first; what it does not do is act on it.
            let is_refused =
                matches!(status, 401 | 403) || (route.starts_with("/api/") && (400..500).contains(&status));
            assert!(is_refused, "{method} {route} with {wrong:?}: {answer}");
        }
    }
    // A form of a page can send these types without asking first.
    for form in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let (status, answer) = post("POST", "/v1/gc", &format!("content-type: {form}\r\n{good}"));
        assert!(matches!(status, 403 | 415), "{form}: {answer}");
    }
}

/// A page of a stranger names a model, and the browser asks this node for it: `<img src=http://127.0.0.1:4610/…>`.
#[test]
fn a_page_of_a_stranger_fetches_and_keeps_nothing_and_configured_origins_may() {
    let [a, b] = ["A", "B"].map(Home::new);
    let publisher = a.key("me");
    let model = a.path().join("model");
    model::generate(&model, 1 << 20, 62);
    let seed = Daemon::start(&a, [""; 0]);
    a.publish(&model, "tiny", "me");
    let config = "[http]\norigins = [\"https://page.example\", \"http://localhost:3000\"]\n";
    std::fs::write(b.path().join("config.toml"), config).expect("written");
    let daemon = Daemon::start(&b, ["--bootstrap", &seed.address()]);
    let port = text(&daemon.ready["http"]).rsplit(':').next().expect("a port").to_owned();
    let (host, route) = (format!("127.0.0.1:{port}"), format!("/{publisher}/tiny/resolve/main/config.json"));
    for page in [
        "sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\nsec-fetch-dest: image\r\n",
        "sec-fetch-site: same-site\r\nsec-fetch-mode: no-cors\r\nsec-fetch-dest: script\r\n",
        "sec-fetch-site: cross-site\r\norigin: https://other.example\r\n",
        "sec-fetch-site: cross-site\r\norigin: https://page.example.evil\r\n",
        "sec-fetch-site: cross-site\r\norigin: https://page.example\r\norigin: https://other.example\r\n",
    ] {
        assert_eq!(get(&daemon, &route, &host, page).0, 403, "{page}");
    }
    assert_eq!(b.json(["ls"]).as_array().map(Vec::len), Some(0), "nothing was fetched");
    for origin in ["https://page.example", "http://localhost:3000"] {
        let page = format!("sec-fetch-site: cross-site\r\norigin: {origin}\r\n");
        let (status, answer) = get(&daemon, &route, &host, &page);
        assert_eq!(status, 200, "{answer}");
        let answer = answer.to_lowercase();
        for header in [
            &format!("access-control-allow-origin: {origin}"),
            "cross-origin-resource-policy: cross-origin",
            "x-content-type-options: nosniff",
            "vary: origin",
        ] {
            assert!(answer.contains(&format!("\r\n{header}\r\n")), "{header}: {answer}");
        }
        let asks =
            format!("{page}access-control-request-method: GET\r\naccess-control-request-headers: range\r\n");
        let asked = format!("OPTIONS {route} HTTP/1.1\r\nhost: {host}\r\n{asks}connection: close\r\n\r\n");
        let (status, answer) = raw(&daemon, &asked);
        assert!(status == 204 && answer.contains("access-control-allow-headers: "), "{answer}");
        // An origin is no token.
        let posts =
            format!("POST /v1/gc HTTP/1.1\r\nhost: {host}\r\n{page}content-type: application/json\r\n");
        assert_eq!(
            raw(&daemon, &format!("{posts}content-length: 2\r\nconnection: close\r\n\r\n{{}}")).0,
            401
        );
    }
    assert_eq!(b.json(["ls"]).as_array().map(Vec::len), Some(1), "it was fetched for a page that may");
}
