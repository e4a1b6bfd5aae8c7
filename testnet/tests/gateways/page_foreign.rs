//! A page of a stranger, in a real browser, beside a node: it reads, frames and changes nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use reg_testnet::browser::{Browser, browser};
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text};
use serde_json::{Value, json};

/// A web server of a stranger on another port of loopback. It notes what is asked of it.
fn stranger(node: &str) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (noted, node) = (asked.clone(), node.to_owned());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                head.extend_from_slice(&buffer[..length]);
                if head.windows(4).any(|it| it == b"\r\n\r\n") {
                    break;
                }
            }
            noted.lock().expect("no panic").push(String::from_utf8_lossy(&head).into_owned());
            let body = page(&node);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    (port, asked)
}

/// What a stranger's page tries without a script.
fn page(node: &str) -> String {
    format!(
        "<!doctype html><title>A stranger</title><body>\
         <iframe id=frame src='{node}/' width=600 height=300></iframe>\
         <iframe id=api src='{node}/v1/status'></iframe>\
         <img id=image src='{node}/page/mark.svg'>\
         <object data='{node}/' width=10 height=10></object>\
         <link rel=stylesheet href='{node}/page/page.css'>\
         <script src='{node}/page/words.js' type=module></script>\
         <form id=form method=post enctype=text/plain action='{node}/v1/pause' target=gone><input name='{{\"a\":\"' value='\"}}'></form>\
         <iframe name=gone></iframe></body>"
    )
}

/// Tries a request of a script, and returns its status or why there is none.
fn fetched(browser: &Browser, url: &str, options: &Value) -> Value {
    browser.run(
        "return fetch(arguments[0], arguments[1]).then(async (it) => [it.type, it.status, await it.text()], (it) => [String(it)]);",
        &[json!(url), options.clone()],
    )
}

fn tries(browser: &Browser, from: &str, node: &str, reference: &str, token: &str) {
    browser.open(from);
    browser.until(
        "the stranger's page is loaded",
        "document.title === 'A stranger' && document.readyState === 'complete'",
    );
    let said = |what: Value| {
        let text = what.to_string();
        assert!(
            !text.contains("peer_id") && !text.contains("tiny") && !text.contains("manifest"),
            "{from}: {text}"
        );
        text
    };
    for path in [
        "/",
        "/v1/status",
        "/v1/models",
        "/v1/page/events",
        "/v1/page/rights",
        "/api/models?search=tiny",
        "/page/api.js",
    ] {
        let url = format!("{node}{path}");
        for options in [
            json!({}),
            json!({ "mode": "no-cors" }),
            json!({ "credentials": "include" }),
            json!({ "headers": { "authorization": format!("Bearer {token}") } }),
        ] {
            let found = fetched(browser, &url, &options);
            // An opaque answer has no status and no text.
            let nothing =
                found.as_array().is_some_and(|it| it.len() == 1) || (found[1] == 0 && found[2] == "");
            assert!(nothing, "{from} reads {url} with {options}: {found}");
            said(found);
        }
    }
    let body = json!({ "reference": reference }).to_string();
    for path in ["/v1/pause", "/v1/remove", "/v1/page/code", "/v1/page/pull", "/v1/page/token"] {
        for options in [
            json!({ "method": "POST", "mode": "no-cors", "body": body }),
            json!({ "method": "POST", "headers": { "content-type": "application/json" }, "body": body }),
            json!({ "method": "POST", "headers": { "content-type": "application/json", "authorization": format!("Bearer {token}") }, "body": body }),
        ] {
            let found = fetched(browser, &format!("{node}{path}"), &options);
            assert!(
                found.as_array().is_some_and(|it| it.len() == 1) || found[1] == 0,
                "{from} posts {path}: {found}"
            );
        }
    }
    browser.run(
        "document.getElementById('form').submit(); navigator.sendBeacon(arguments[0], '{}');",
        &[json!(format!("{node}/v1/pause"))],
    );
    let source = "return new Promise((done) => { const it = new EventSource(arguments[0]); it.onmessage = () => done('read'); it.onerror = () => { it.close(); done('refused'); }; });";
    assert_eq!(browser.run(source, &[json!(format!("{node}/v1/page/events"))]), "refused", "{from}");
    let seen = browser.value(
        "[[...document.querySelectorAll('iframe')].map((it) => { try { return it.contentDocument?.body?.innerText ?? ''; } catch { return ''; } }).join(''), \
          document.getElementById('image').naturalWidth, [...document.styleSheets].map((it) => { try { return it.cssRules.length; } catch { return 0; } }).reduce((one, other) => one + other, 0)]",
    );
    assert_eq!(seen, json!(["", 0, 0]), "{from} frames or shows what the node has");
}

#[test]
fn a_page_of_a_stranger_reads_frames_and_changes_nothing() {
    let what = "the page of a stranger in a browser";
    // The second name is the stranger's, and leads to this machine, as a name does that was rebound.
    let rules = "--host-resolver-rules=MAP evil.example 127.0.0.1";
    let Some(browser) = browser(what, &[rules]) else { return };
    let home = Home::new("A");
    home.key("me");
    let dir = home.path().join("model");
    model::generate(&dir, 100_000, 9);
    let daemon = Daemon::start(&home, ["--offline"]);
    let reference = home.publish(&dir, "tiny:v1", "me");
    let node = http::base(&daemon);
    let token = http::token(&home);
    let (port, asked) = stranger(&node);
    let node_port = node.rsplit(':').next().expect("a port").to_owned();
    tries(&browser, &format!("http://127.0.0.1:{port}/"), &node, &reference, &token);
    tries(&browser, &format!("http://localhost:{port}/"), &node, &reference, &token);
    tries(&browser, &format!("http://evil.example:{port}/"), &node, &reference, &token);
    // A name that was rebound: the page of the stranger and the node have one origin for the browser.
    let rebound = format!("http://evil.example:{node_port}");
    browser.may_open(&format!("{rebound}/"));
    assert!(!browser.text().contains("Models"), "{}", browser.text());
    for path in ["/", "/v1/status", "/v1/models"] {
        let found = fetched(
            &browser,
            &format!("{rebound}{path}"),
            &json!({ "headers": { "authorization": format!("Bearer {token}") } }),
        );
        assert!(found[1] == 403, "{path}: {found}");
    }
    // A link of the stranger does not lead into the node either.
    browser.open(&format!("http://evil.example:{port}/"));
    browser.run(
        "const a = document.createElement('a'); a.href = arguments[0]; document.body.append(a); a.click();",
        &[json!(format!("{node}/"))],
    );
    browser.until("the node refuses to be led to", "document.body.innerText.includes('another site')");
    // Nothing has changed, and no page of the node has asked the stranger for anything.
    let status = home.json(["status"]);
    assert_eq!(status["paused"], false);
    assert_eq!(home.json(["ls"]).as_array().map(Vec::len), Some(1));
    let asked = asked.lock().expect("no panic");
    assert!(asked.iter().all(|it| !it.contains(&token)), "the token has left the browser");
    println!("{} requests at the stranger", asked.len());
    // The owner's own browser is served.
    browser.open("about:blank");
    browser.open(&text(&home.json(["page"])["url"]));
    browser.sees("tiny");
}
