//! Tests the page over plain HTTP: its files and what they tell a browser, the one-time code, what needs the token, and the stream
//! of changes.

use std::io::{BufRead, BufReader, Read};

use reg_testnet::http::{self, Served};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, PATIENCE, text};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

fn post(base: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Served {
    let headers: Vec<(&str, &str)> = [JSON].iter().chain(headers).copied().collect();
    http::send("POST", &format!("{base}{path}"), &headers, body.to_string().as_bytes())
}

/// Returns a token of a tab, as `reg page` and a browser get one.
fn tab(home: &Home, base: &str) -> String {
    let url = text(&home.json(["page"])["url"]);
    let (at, code) = url.split_once("/#code=").expect("a code in the fragment");
    assert_eq!(at, base);
    let given = post(base, "/v1/page/token", &[], &json!({ "code": code }));
    assert_eq!(given.status, 200, "{}", given.text());
    text(&given.json()["token"])
}

/// The paths of the page's files, as its HTML and its modules name them.
fn files(base: &str) -> Vec<String> {
    let (mut found, mut next) = (vec!["/".to_owned()], 0);
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        let source = http::get(&format!("{base}{path}"), &[]).text();
        let quoted = source.split(['"', '\'']).map(|it| it.replace("./", "/page/"));
        let of_page = quoted.filter(|it| it.starts_with("/page/") && !it.contains(char::is_whitespace));
        for it in of_page {
            if !found.contains(&it) {
                found.push(it);
            }
        }
    }
    found
}

#[test]
fn every_file_has_its_type_its_policy_and_a_digest() {
    let home = Home::new("A");
    let daemon = Daemon::start(&home, ["--offline"]);
    let base = http::base(&daemon);
    let files = files(&base);
    assert!(files.len() > 15, "{files:?}");
    let mut scripts = 0;
    for path in &files {
        let url = format!("{base}{path}");
        let served = http::get(&url, &[]);
        let header = |name: &str| served.header(name).unwrap_or_default();
        let kind = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!((served.status, header("content-type").as_str()), (200, kind), "{path}");
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.split("; ").any(|it| it == part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(header(name), value, "{path}: {name}");
        }
        let tag = header("etag");
        assert_eq!(tag, format!("\"{}\"", served.digest().to_string().replace(':', "-")), "{path}");
        let again = http::send("GET", &url, &[("if-none-match", &tag)], &[]);
        assert_eq!((again.status, again.bytes.len(), again.header("etag")), (304, 0, Some(tag)), "{path}");
        assert_eq!(http::send("GET", &url, &[("if-none-match", "\"x\"")], &[]).status, 200);
        assert_eq!(http::send("POST", &url, &[JSON], b"{}").status, 405, "{path}");
        if kind.starts_with("text/javascript") {
            scripts += served.bytes.len();
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(
                http::send("GET", &url, &[("sec-fetch-site", site)], &[]).status,
                403,
                "{path} {site}"
            );
        }
    }
    println!("{} files, {scripts} bytes of scripts", files.len());
    assert!(scripts < 150_000, "{scripts} bytes of scripts");
}

#[test]
fn a_code_is_exchanged_once_and_its_token_ends_when_the_code_is_shown_again() {
    let home = Home::new("A");
    let daemon = Daemon::start(&home, ["--offline"]);
    let base = http::base(&daemon);
    let gc = |headers: &[(&str, &str)]| post(&base, "/v1/gc", headers, &json!({ "dry_run": true })).status;
    let bearer = |token: &str| format!("Bearer {token}");
    assert_eq!(gc(&[]), 401);
    // Only the owner makes a code.
    assert_eq!(post(&base, "/v1/page/code", &[], &json!({})).status, 401);
    let made = home.json(["page"]);
    let url = text(&made["url"]);
    assert_eq!(made["seconds"], 60);
    let code = url.split_once("#code=").expect("a code").1.to_owned();
    assert_eq!(gc(&[("authorization", &bearer(&code))]), 401, "a code is no token");
    for wrong in ["", "0", &code[1..], &format!("{code}0")] {
        assert_eq!(post(&base, "/v1/page/token", &[], &json!({ "code": wrong })).status, 403, "{wrong}");
    }
    // A page of another site cannot try codes, and no form can.
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "http://evil.example")] {
        assert_eq!(post(&base, "/v1/page/token", &[(name, value)], &json!({ "code": code })).status, 403);
    }
    let body = json!({ "code": code }).to_string();
    let form = [("content-type", "text/plain")];
    let tried = http::send("POST", &format!("{base}/v1/page/token"), &form, body.as_bytes()).status;
    assert!(matches!(tried, 403 | 415), "{tried}");
    let given = post(&base, "/v1/page/token", &[], &json!({ "code": code }));
    let token = text(&given.json()["token"]);
    assert_eq!(gc(&[("authorization", &bearer(&token))]), 200);
    let rights = |token: &str| {
        http::get(&format!("{base}/v1/page/rights"), &[("authorization", &bearer(token))]).json()["owner"]
            .clone()
    };
    assert_eq!((rights(&token), rights("x")), (json!(true), json!(false)));
    assert_eq!(post(&base, "/v1/page/token", &[], &json!({ "code": code })).status, 403, "it was used");
    assert_eq!(gc(&[("authorization", &bearer(&token))]), 401, "one of the two that showed it has stolen it");

    let [one, two] = [tab(&home, &base), tab(&home, &base)];
    let [auth_one, auth_two] = [bearer(&one), bearer(&two)];
    let locked = post(&base, "/v1/page/lock", &[("authorization", &auth_one)], &json!({ "token": one }));
    assert_eq!(locked.json(), true);
    assert_eq!((gc(&[("authorization", &auth_one)]), gc(&[("authorization", &auth_two)])), (401, 200));
    daemon.stop();
    let again = Daemon::start(&home, ["--offline"]);
    let base = http::base(&again);
    let after = post(&base, "/v1/gc", &[("authorization", &auth_two)], &json!({ "dry_run": true }));
    assert_eq!(after.status, 401, "tokens end with the daemon");
}

#[test]
fn a_tab_without_the_token_reads_and_changes_nothing() {
    let home = Home::new("A");
    home.key("me");
    let dir = home.path().join("model");
    model::generate(&dir, 100_000, 5);
    let daemon = Daemon::start(&home, ["--offline"]);
    let reference = home.publish(&dir, "tiny:v1", "me");
    let base = http::base(&daemon);
    for path in [
        "/v1/page/models",
        "/v1/page/health",
        "/v1/page/pulls",
        "/v1/page/search?words=tiny",
        "/v1/page/rights",
        "/v1/transfers",
        "/v1/status",
        "/v1/peers",
    ] {
        assert_eq!(http::get(&format!("{base}{path}"), &[]).status, 200, "{path}");
    }
    let body = json!({ "reference": reference });
    for (path, body) in [
        ("/v1/page/pull", &body),
        ("/v1/transfers/cancel", &body),
        ("/v1/transfers/priority", &json!({ "reference": reference, "priority": "high" })),
        ("/v1/page/dismiss", &json!({ "id": 1 })),
        ("/v1/page/lock", &json!({ "token": "x" })),
        ("/v1/pause", &json!({})),
        ("/v1/remove", &body),
        ("/v1/settings", &json!({})),
    ] {
        assert_eq!(post(&base, path, &[], body).status, 401, "{path}");
    }
    let page = http::get(&format!("{base}/v1/page/models?text=TINY&kind=published"), &[]).json();
    assert_eq!(page["models"].as_array().map(Vec::len), Some(1));
    assert_eq!((&page["models"][0]["model"], &page["next"]), (&json!("tiny"), &Value::Null));
    for nothing in ["text=other", "kind=donated", "kind=partial", "text=tiny&kind=followed"] {
        let page = http::get(&format!("{base}/v1/page/models?{nothing}"), &[]).json();
        assert_eq!(page["models"], json!([]), "{nothing}");
    }
}

/// A reader of the stream of changes.
struct Events(BufReader<Box<dyn Read + Send + Sync>>);

impl Events {
    fn open(base: &str, after: Option<u64>) -> Self {
        let after = after.map(|it| format!("?after={it}")).unwrap_or_default();
        let agent = ureq::AgentBuilder::new().timeout_read(PATIENCE).build();
        let answer = agent.get(&format!("{base}/v1/page/events{after}")).call().expect("a stream");
        assert_eq!(answer.content_type(), "application/x-ndjson");
        Self(BufReader::new(answer.into_reader()))
    }

    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(1..) => Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))),
            _ => None,
        }
    }

    /// Returns the next event of a kind, and the number of each that was read.
    fn of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ends before {kind}"));
            if event["event"] == kind {
                return event;
            }
        }
    }
}

#[test]
fn changes_are_streamed_resumed_by_number_bounded_and_end_with_the_daemon() {
    let home = Home::new("A");
    home.key("me");
    let daemon = Daemon::start(&home, ["--offline"]);
    let base = http::base(&daemon);
    let mut events = Events::open(&base, None);
    let hello = events.next().expect("a first line");
    assert_eq!((&hello["event"], &hello["data"]["resumed"]), (&json!("hello"), &json!(false)));
    home.run(["pause"]).ok();
    let paused = loop {
        let event = events.of("status");
        if event["data"]["paused"] == true {
            break event["id"].as_u64().expect("a number");
        }
    };
    drop(events);
    // What has changed meanwhile is told to a tab that comes back.
    let mut other = Events::open(&base, None);
    home.run(["resume"]).ok();
    while other.of("status")["data"]["paused"] != false {}
    let mut resumed = Events::open(&base, Some(paused));
    let hello = resumed.next().expect("a first line");
    assert_eq!((&hello["data"]["resumed"], &hello["id"]), (&json!(true), &json!(paused)));
    let event = resumed.of("status");
    assert!(event["id"].as_u64() > Some(paused) && event["data"]["paused"] == false, "{event}");
    for unknown in [0, 1, paused + 1_000_000, u64::MAX - 1] {
        let hello = Events::open(&base, Some(unknown)).next().expect("a first line");
        assert_eq!(hello["data"]["resumed"], false, "{unknown}");
    }
    drop((other, resumed));
    let mut open: Vec<Events> = Vec::new();
    let refused =
        (0..40).find_map(|_| match ureq::get(&format!("{base}/v1/page/events")).timeout(PATIENCE).call() {
            Ok(answer) => {
                open.push(Events(BufReader::new(answer.into_reader())));
                None
            }
            Err(ureq::Error::Status(status, _)) => Some(status),
            Err(error) => panic!("{error}"),
        });
    assert_eq!(refused, Some(503), "{} streams at once", open.len());
    assert!(open.len() <= 16);
    // Open streams hold no stop up.
    daemon.stop();
    let ended = open.iter_mut().all(|it| std::iter::from_fn(|| it.next()).take(1000).count() < 1000);
    assert!(ended);
}

/// A pull of a tab goes on without the tab: it is listed, its transfer says why it is not faster, and it is paused, cancelled and
/// begun again.
#[test]
fn a_pull_of_a_tab_says_why_it_is_slow_and_is_paused_cancelled_and_finished() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 16 << 20, 64);
    // Near peers have no limit by default. It takes long enough for a busy machine to pause it in the middle.
    for (key, value) in [("transfer.limit_up", "1MB/s"), ("transfer.limit_local", "true")] {
        a.run(["config", "set", key, value]).ok();
    }
    let seed = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&dir, "slow:v1", "me");
    let daemon = Daemon::start(&b, ["--bootstrap", &seed.address()]);
    let base = http::base(&daemon);
    let token = format!("Bearer {}", tab(&b, &base));
    let auth = [("authorization", token.as_str())];
    let get = |path: &str| http::get(&format!("{base}{path}"), &[]).json();
    let body = json!({ "reference": reference });
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        reg_testnet::process::until(what, is_so);
    };
    assert_eq!(post(&base, "/v1/page/pull", &auth, &body).status, 200);
    wait("the transfer is slow because of its source", &|| {
        let transfer = get("/v1/transfers")[0].clone();
        transfer["reason"]["code"] == "sources"
            && transfer["rate"].as_u64() > Some(0)
            && transfer["total"].as_u64() > Some(5 << 20)
    });
    let transfer = get("/v1/transfers")[0].clone();
    assert_eq!(transfer["reason"]["text"], "the one connected source sends no faster", "{transfer}");
    assert_eq!(transfer["sources"][0]["peer"], json!(seed.peer_id()), "{transfer}");
    let manifest = text(&transfer["manifest"]);
    let pieces = get(&format!("/v1/transfers/pieces?manifest={manifest}"));
    assert_eq!(pieces["sources"], json!([{ "peer": seed.peer_id() }]), "{pieces}");
    let cells = pieces["cells"].as_array().expect("cells");
    assert!(
        cells.contains(&json!(1)) && cells.iter().all(|it| [json!(1), json!(-1), json!(0)].contains(it)),
        "{pieces}"
    );
    assert_eq!(get("/v1/page/pulls")[0]["reference"], json!(reference));
    assert_eq!(post(&base, "/v1/pause", &auth, &body).json()["pulls"], 1);
    wait("it is paused", &|| get("/v1/transfers")[0]["reason"]["code"] == "paused");
    let high =
        post(&base, "/v1/transfers/priority", &auth, &json!({ "reference": reference, "priority": "high" }));
    assert_eq!(high.json()["transfers"], 1);
    assert_eq!(get("/v1/transfers")[0]["priority"], "high");
    assert_eq!(post(&base, "/v1/transfers/cancel", &auth, &body).json()["transfers"], 1);
    wait("it has ended", &|| {
        get("/v1/transfers") == json!([]) && !get("/v1/page/pulls")[0]["ended"].is_null()
    });
    let pull = get("/v1/page/pulls")[0].clone();
    assert!(["cancelled", "failed"].iter().any(|it| pull["stage"] == *it), "{pull}");
    assert_eq!(post(&base, "/v1/page/dismiss", &auth, &json!({ "id": pull["id"] })).json(), true);
    assert_eq!(get("/v1/page/pulls"), json!([]));
    // What was fetched is kept and shown, of no source, and the pull goes on from there.
    let rest = get(&format!("/v1/transfers/pieces?manifest={manifest}"));
    assert!(rest["stored"].as_u64() > Some(0) && rest["stored"].as_u64() < rest["pieces"].as_u64(), "{rest}");
    // At rest, the small files count too.
    assert!(rest["pieces"].as_u64() >= pieces["pieces"].as_u64(), "{rest}");
    assert_eq!(rest["sources"], json!([]), "{rest}");
    let cells = rest["cells"].as_array().expect("cells");
    assert!(cells.contains(&json!(0)) && cells.contains(&json!(-1)), "{rest}");
    a.run(["config", "set", "transfer.limit_up", "none"]).ok();
    a.run(["reload"]).ok();
    assert_eq!(post(&base, "/v1/page/pull", &auth, &body).status, 200);
    wait("it is here", &|| get("/v1/page/models?kind=here")["models"][0]["model"] == "slow");
    wait("the pull says so", &|| get("/v1/page/pulls")[0]["stage"] == "done");
    let whole = get(&format!("/v1/transfers/pieces?manifest={manifest}"));
    assert_eq!(whole["stored"], whole["pieces"], "{whole}");
    assert_eq!(get(&format!("/v1/transfers/pieces?manifest=sha256:{:064}", 0)), json!(null));
}

/// The owner cancels a pull of a command, which says so.
#[test]
fn a_command_learns_that_its_pull_was_cancelled() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 8 << 20, 65);
    let seed = Daemon::start(&a, ["--limit-up", "500k", "--limit-local"]);
    let reference = a.publish(&dir, "slow:v1", "me");
    let daemon = Daemon::start(&b, ["--bootstrap", &seed.address()]);
    let base = http::base(&daemon);
    let token = format!("Bearer {}", tab(&b, &base));
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| b.run(["pull", &reference, "-q"]));
        reg_testnet::process::until("it is cancelled", || {
            let body = json!({ "reference": reference });
            let answer = post(&base, "/v1/transfers/cancel", &[("authorization", &token)], &body);
            answer.json()["transfers"].as_u64() > Some(0)
        });
        pulling.join().expect("it ends").failed(6, "cancelled");
    });
}
