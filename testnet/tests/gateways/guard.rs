//! Tests the guard of the gateways: against web pages, neighbours, and clients that send too much or hold a connection too
//! long.

use std::io::{Read, Write};
use std::net::TcpStream;

use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, PATIENCE, text, workspace};

const MIB: u64 = 1 << 20;

/// Sends a head as it is, and returns the status of the answer; 0 where there is none.
fn status_of(daemon: &Daemon, head: &str) -> u16 {
    let mut stream = TcpStream::connect(text(&daemon.ready["http"])).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    // A server that refuses may hang up before all of it was sent.
    drop(stream.write_all(head.as_bytes()));
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).unwrap_or(0);
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    text.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0)
}

#[test]
fn no_page_of_a_browser_gets_anything_by_any_dialect() {
    let a = Home::new("A");
    let publisher = a.key("me");
    let model = a.path().join("model");
    model::generate(&model, MIB / 2, 51);
    let daemon = Daemon::start(&a, ["--publish-key", "me"]);
    a.publish(&model, "tiny", "me");
    let token = http::token(&a);
    let host = text(&daemon.ready["http"]);
    let port = host.rsplit_once(':').expect("a port").1.to_owned();
    for path in [
        format!("/api/models/{publisher}/tiny"),
        format!("/{publisher}/tiny/resolve/main/config.json"),
        format!("/v2/{publisher}/tiny/manifests/latest"),
        "/v1/models".to_owned(),
    ] {
        let get = |host: &str, more: &str| {
            status_of(
                &daemon,
                &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n"),
            )
        };
        assert_eq!(get(&host, ""), 200, "{path}");
        assert_eq!(
            get(&format!("localhost:{port}"), &format!("origin: http://localhost:{port}\r\n")),
            200,
            "{path}"
        );
        // DNS rebinding: a page's own name, that points here.
        for name in [
            format!("evil.example:{port}"),
            "evil.example".to_owned(),
            format!("0.0.0.0:{port}"),
            String::new(),
        ] {
            assert_eq!(get(&name, ""), 403, "{path} of {name:?}");
            let owned = format!("authorization: Bearer {token}\r\n");
            assert_eq!(get(&name, &owned), 403, "{path} of {name:?} with the token");
        }
        for origin in ["https://evil.example", "null", "http://127.0.0.1"] {
            assert_eq!(get(&host, &format!("origin: {origin}\r\n")), 403, "{path} from {origin}");
        }
    }
    let url = format!("{}/api/whoami-v2", http::base(&daemon));
    assert_eq!(http::get(&url, &[]).status, 401);
    let answer = http::get(&url, &[("authorization", &format!("Bearer {token}"))]);
    assert_eq!((answer.json()["name"].as_str(), answer.json()["type"].as_str()), (Some("me"), Some("user")));
}

/// Routes with a changing method that change nothing: questions sent as a body, and requests that are always refused.
const WITHOUT_CHANGE: [(&str, &str); 13] = [
    ("DELETE", "/api/repos/delete"),
    ("DELETE", "/v2/{owner}/{model}/blobs/{reference}"),
    ("POST", "/api/models/{owner}/{model}/discussions"),
    ("POST", "/api/models/{owner}/{model}/duplicate"),
    ("POST", "/api/models/{owner}/{model}/lfs-files/batch"),
    ("POST", "/api/models/{owner}/{model}/lfs-files/duplicate"),
    ("POST", "/api/models/{owner}/{model}/super-squash/{revision}"),
    ("POST", "/api/repos/move"),
    ("POST", "/{owner}/{model}/git-receive-pack"),
    ("POST", "/{owner}/{model}/git-upload-pack"),
    ("POST", "/api/models/{owner}/{model}/paths-info/{revision}"),
    ("POST", "/api/models/{owner}/paths-info/{revision}"),
    ("POST", "/api/validate-yaml"),
];

/// Returns every route of a dialect that may change something, as its source declares it: a method, and a path.
fn changing_routes(source: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for declared in source.split(".route(").skip(1) {
        let path = declared.split('"').nth(1).expect("a route begins with its path");
        let rest = &declared[declared.find(path).expect("it is there") + path.len() + 1..];
        // Up to the next route, or what stands behind the name that they have.
        let handlers = rest.split(".layer(").next().and_then(|it| it.split("\n}").next()).unwrap_or_default();
        let name = handlers.trim_matches(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        let meant = source.split(&format!("let {name} = ")).nth(1).and_then(|it| it.split(';').next());
        let handlers = meant.unwrap_or(handlers);
        for (method, call) in [("POST", "post("), ("PUT", "put("), ("PATCH", "patch("), ("DELETE", "delete(")]
        {
            if handlers.contains(call) {
                found.push((method, path.to_owned()));
            }
        }
    }
    found
}

/// The routes are read from the sources of the dialects, so that one that is added is tried too.
#[test]
fn what_changes_anything_needs_the_token_by_every_route_of_every_dialect() {
    let a = Home::new("A");
    a.key("me");
    let model = a.path().join("model");
    model::generate(&model, MIB / 2, 53);
    let daemon = Daemon::start(&a, ["--publish-key", "me"]);
    a.publish(&model, "tiny", "me");
    let mut routes = Vec::new();
    for (file, least) in [("hf/mod.rs", 7), ("oci/mod.rs", 8), ("admin/mod.rs", 15), ("admin/trust.rs", 8)] {
        let path = workspace().join("node/src/gateway").join(file);
        let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let of_file = changing_routes(&source);
        assert!(of_file.len() >= least, "{file}: {of_file:?}");
        routes.extend(of_file);
    }
    for method in ["PATCH", "PUT", "DELETE"] {
        let uploads = (method, "/v2/{owner}/{model}/blobs/uploads/{reference}".to_owned());
        assert!(routes.contains(&uploads), "{uploads:?} is not among {routes:?}");
    }
    for (method, path) in routes {
        if WITHOUT_CHANGE.contains(&(method, path.as_str())) {
            continue;
        }
        let filled = [
            ("{model}/info/lfs", "tiny.git/info/lfs"),
            ("{owner}", "me"),
            ("{model}", "tiny"),
            ("{revision}", "main"),
            ("{reference}", "v9"),
        ];
        let place = filled.iter().fold(path.clone(), |path, (name, value)| path.replace(name, value));
        assert!(!place.contains('{'), "{path} has a part that is not filled in");
        let url = format!("{}{place}", http::base(&daemon));
        let body: &[u8] = match path.as_str() {
            "/api/repos/create" => br#"{"name":"tiny","organization":"me"}"#,
            "/{owner}/{model}/info/lfs/objects/batch" => br#"{"operation":"upload","objects":[]}"#,
            _ => br#"{"files":[]}"#,
        };
        for shown in ["", "Bearer wrong", "Bearer anonymous"] {
            let headers = [("content-type", "application/json"), ("authorization", shown)];
            let headers = if shown.is_empty() { &headers[..1] } else { &headers[..] };
            let status = http::send(method, &url, headers, body).status;
            assert_eq!(status, 401, "{method} {path} with {shown:?}");
        }
    }
}

#[test]
fn beyond_loopback_everything_needs_the_token() {
    let a = Home::new("A");
    let publisher = a.key("me");
    let model = a.path().join("model");
    model::generate(&model, MIB / 2, 52);
    let daemon = Daemon::start(&a, ["--http", "0.0.0.0:0"]);
    a.publish(&model, "tiny", "me");
    let own = format!("Bearer {}", http::token(&a));
    let base = http::base(&daemon).replace("0.0.0.0", "127.0.0.1");
    for path in [
        format!("/api/models/{publisher}/tiny"),
        format!("/{publisher}/tiny/resolve/main/config.json"),
        format!("/v2/{publisher}/tiny/manifests/latest"),
        "/v1/status".to_owned(),
    ] {
        let url = format!("{base}{path}");
        assert_eq!(http::get(&url, &[]).status, 401, "{path}");
        assert_eq!(http::get(&url, &[("authorization", "Bearer wrong")]).status, 401, "{path}");
        assert_eq!(http::get(&url, &[("authorization", &own)]).status, 200, "{path}");
    }
    let set = a.json(["env", "hf"]);
    assert_eq!(text(&set["HF_ENDPOINT"]), base, "`reg env` tells where it is reached from here");
}

#[test]
fn heads_bodies_and_connections_have_bounds() {
    let a = Home::new("A");
    a.key("me");
    let daemon = Daemon::start(&a, ["--publish-key", "me"]);
    let host = text(&daemon.ready["http"]);
    let get = |more: &str| {
        status_of(
            &daemon,
            &format!("GET /api/models HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n"),
        )
    };
    assert_eq!(get(""), 200);
    let long = get(&format!("x-long: {}\r\n", "x".repeat(1 << 20)));
    assert!(matches!(long, 431 | 0), "a head of 1 MiB: {long}");
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    assert_eq!(get(&many), 431, "150 fields");

    let token = http::token(&a);
    let own = format!("Bearer {token}");
    let large = vec![b' '; 10 << 20];
    let headers = [("content-type", "application/json"), ("authorization", own.as_str())];
    for (method, path) in [("POST", "/api/validate-yaml"), ("PUT", "/v2/me/tiny/manifests/v1")] {
        let mut stream = TcpStream::connect(&host).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nauthorization: {own}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            large.len()
        );
        drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&large)));
        let mut answer = [0; 16];
        let length = stream.read(&mut answer).unwrap_or(0);
        let said = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(said.contains(" 413") || length == 0, "{method} {path}: {said}");
        assert_ne!(http::send(method, &format!("http://{host}{path}"), &headers, b"{}").status, 413);
    }

    // It keeps 256 connections; a new one takes the place of the one that has sent nothing for longest.
    let mut idle: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(&host).expect("the system takes it")).collect();
    let request = format!("GET /api/models HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let mut late = idle.pop().expect("there are 300");
    late.write_all(request.as_bytes()).expect("sent");
    late.set_read_timeout(Some(PATIENCE)).expect("set");
    assert!(late.read(&mut [0; 16]).is_ok_and(|length| length > 0), "the last is served");
    let first = &mut idle[0];
    first.set_read_timeout(Some(PATIENCE)).expect("set");
    let is_closed = first.read(&mut [0; 16]).is_ok_and(|length| length == 0);
    assert!(is_closed, "the first, which has sent nothing, has made room");
}

#[test]
fn reg_env_sets_up_a_shell_or_one_command() {
    let a = Home::new("A");
    a.run(["env", "hf"]).failed(5, "no daemon runs");
    let daemon = Daemon::start(&a, [""; 0]);
    let base = http::base(&daemon);
    let printed = a.run(["env", "hf"]).ok().stdout();
    assert!(printed.contains(&format!("export HF_ENDPOINT={base}\n")), "{printed}");
    assert!(printed.contains(&format!("export HF_TOKEN=hf_{}\n", http::token(&a))), "{printed}");
    let ran = a.run(["env", "hf", "--", "sh", "-c", "echo $HF_ENDPOINT $HF_HUB_DISABLE_XET; exit 7"]);
    assert_eq!((ran.code(), ran.stdout()), (7, format!("{base} 1\n")), "its exit code is the command's");
    let host = text(&daemon.ready["http"]);
    let ran =
        a.run(["env", "oci", "--", "sh", "-c", "cat $REGISTRY_AUTH_FILE; echo; echo $REG_REGISTRY"]).ok();
    assert!(ran.stdout().contains(&host) && ran.stdout().contains("auths"), "{}", ran.stdout());
    assert_eq!(text(&a.json(["env", "ollama"])["REG_REGISTRY"]), host);
    a.run(["env", "hf", "--", "no-such-program-anywhere"]).failed(3, "no-such-program-anywhere");
    // What it sets must not make the node import from itself.
    a.key("me");
    let ran = a.run(["env", "hf", "--", "true"]);
    assert_eq!(ran.code(), 0);
    let mut import = a.command(["import", "hf:org/name", "--key", "me"]);
    a.ran(import.env("HF_ENDPOINT", &base)).failed(2, "HF_ENDPOINT is this node");
}
