//! A real Prometheus scrapes nodes; every query of the dashboard has data after a pull; and the series stay the same however much a
//! node holds and meets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use data_encoding::BASE64;
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, left_out, until, workspace};
use reg_testnet::prometheus::{Prometheus, promtool};
use reg_testnet::sybil::Sybils;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
const OPENMETRICS: (&str, &str) = ("accept", "application/openmetrics-text; version=1.0.0, text/plain;q=0.5");

fn is_left_out() -> bool {
    let is_there = Prometheus::is_installed();
    if !is_there {
        left_out("metrics with a real Prometheus", "it is not installed", "apt-get install prometheus");
    }
    !is_there
}

fn deploy(path: &str) -> PathBuf {
    workspace().join("deploy").join(path)
}

/// The series that a node shows, with their values.
fn scrape(daemon: &Daemon) -> BTreeMap<String, f64> {
    let text = http::get(&format!("{}/metrics", http::base(daemon)), &[]).text();
    let lines = text.lines().filter(|it| !it.starts_with('#'));
    let series = lines.filter_map(|it| it.rsplit_once(' ')).map(|(name, value)| {
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{name} has the value {value}")))
    });
    series.collect()
}

fn sum(series: &BTreeMap<String, f64>, name: &str) -> f64 {
    let of_it = series.iter().filter(|(it, _)| it.split('{').next() == Some(name));
    of_it.map(|(_, value)| value).sum()
}

/// Every query of the dashboard, as Grafana would send it.
fn queries() -> Vec<String> {
    let text = fs::read_to_string(deploy("grafana/reg.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|it| it["targets"].as_array().cloned().unwrap_or_default());
    let query = |it: &Value| it["expr"].as_str().expect("a query").to_owned();
    let filled = |it: String| {
        it.replace("$__rate_interval", "10m").replace("$instance", ".*").replace("$job", "reg.*")
    };
    targets.map(|it| filled(query(&it))).collect()
}

#[test]
fn a_real_prometheus_has_data_for_every_query_of_the_dashboard_after_a_pull() {
    if is_left_out() {
        return;
    }
    let (a, b) = (Home::new("A"), Home::new("B"));
    let publisher = a.key("me");
    let [one, two] = ["one", "two"].map(|name| a.path().join(name));
    model::generate(&one, 3 * MIB, 181);
    model::generate(&two, 2 * MIB, 182);
    let holder = Daemon::start(&a, [""; 0]);
    a.publish(&one, "one", "me");
    a.publish(&two, "two", "me");
    // Its gateways listen beyond loopback, so Prometheus must send the token.
    let puller = Daemon::start(&b, ["--http", "0.0.0.0:0", "--bootstrap", &holder.address()]);
    let scratch = tempfile::tempdir().expect("a folder");
    let token = scratch.path().join("reg.token");
    fs::write(&token, http::token(&b)).expect("written");
    let target = |daemon: &Daemon| http::base(daemon).trim_start_matches("http://").to_owned();
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
         rule_files: [{:?}]\n\
         scrape_configs:\n\
         - {{ job_name: reg, static_configs: [{{ targets: [{:?}] }}] }}\n\
         - {{ job_name: reg-remote, authorization: {{ credentials_file: {token:?} }}, static_configs: [{{ targets: [{:?}] }}] }}\n",
        deploy("prometheus/alerts.yml"),
        target(&holder),
        target(&puller).replace("0.0.0.0", "127.0.0.1"),
    );
    let prometheus = Prometheus::start(scratch.path(), &config);
    until("both nodes were scraped twice", || {
        let scrapes = prometheus.query("sum_over_time(up{job=~\"reg.*\"}[10m])");
        scrapes.len() == 2 && scrapes.iter().all(|it| *it >= 2.0)
    });
    b.run(["pull", &format!("{publisher}/one"), &b.path().join("one").display().to_string()]).ok();
    let bearer = format!("Bearer {}", http::token(&b));
    let url = format!("{}/{publisher}/two/resolve/main/model.safetensors", http::base(&puller));
    for from in ["the swarm", "the store"] {
        let read = http::get(&url, &[("authorization", &bearer)]);
        assert_eq!(read.digest(), model::weights_digest(&two), "{from}");
    }
    let queries = queries();
    assert!(queries.len() > 20, "{queries:?}");
    for query in &queries {
        until(&format!("`{query}` has data"), || prometheus.query(query).iter().any(|it| !it.is_nan()));
    }
    until("every alert was evaluated", || {
        let rules = prometheus.rules();
        rules.len() > 10 && rules.iter().all(|(_, trouble)| trouble.is_empty())
    });
    for (query, least) in [
        ("reg_pulls_finished_total{outcome=\"done\",job=\"reg-remote\"}", 1.0),
        ("reg_pieces_verified_total{source=\"near\",job=\"reg-remote\"}", 5.0),
        // From the swarm or, where the look at its header has brought the small file whole, from the store.
        ("sum(reg_first_byte_seconds_count{job=\"reg-remote\"})", 2.0),
        ("reg_http_requests_total{dialect=\"hf\",code=\"200\",job=\"reg-remote\"}", 2.0),
        ("reg_peers{near=\"true\",transport=\"tcp\",job=\"reg\"}", 1.0),
        ("sum(reg_models{job=\"reg\"})", 2.0),
    ] {
        until(&format!("`{query}` is {least}"), || prometheus.query(query).iter().any(|it| *it >= least));
    }

    // One count, however it is asked for.
    let (status, series) = (a.json(["status"]), scrape(&holder));
    assert_eq!(status["bytes_served"].as_f64(), Some(sum(&series, "reg_sent_bytes_total")));
    assert_eq!(status["bytes_served_first"].as_f64(), Some(sum(&series, "reg_sent_first_bytes_total")));
    assert!(sum(&series, "reg_sent_bytes_total") >= 5.0 * MIB as f64, "{series:?}");
    assert_eq!(status["bytes"].as_f64(), Some(series["reg_store_bytes{kind=\"kept\"}"]), "both are its own");
}

#[test]
fn promtool_takes_the_metrics_and_the_rules() {
    if is_left_out() {
        return;
    }
    let home = Home::new("A");
    let daemon = Daemon::start(&home, [""; 0]);
    let url = format!("{}/metrics", http::base(&daemon));
    let plain = http::get(&url, &[]);
    assert_eq!(plain.header("content-type").as_deref(), Some("text/plain; version=0.0.4; charset=utf-8"));
    let said = |output: &std::process::Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let checked = promtool(workspace(), &["check", "metrics"], &plain.text());
    assert!(checked.status.success() && said(&checked).is_empty(), "{}\n{}", said(&checked), plain.text());
    let open = http::get(&url, &[OPENMETRICS]);
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type").as_deref(), Some(media_type));
    assert!(open.text().ends_with("# EOF\n") && open.text().contains("# UNIT reg_pull_seconds seconds\n"));
    for args in [
        &["check", "rules", "alerts.yml"][..],
        &["test", "rules", "alerts-test.yml"],
        &["check", "config", "prometheus.yml"],
    ] {
        let checked = promtool(&deploy("prometheus"), args, "");
        assert!(checked.status.success(), "{args:?}: {}", said(&checked));
    }

    // A metric that the files name exists.
    let known: BTreeSet<String> =
        scrape(&daemon).keys().filter_map(|it| Some(it.split('{').next()?.to_owned())).collect();
    for file in ["grafana/reg.json", "prometheus/alerts.yml", "prometheus/alerts-test.yml"] {
        let text = fs::read_to_string(deploy(file)).expect("a file");
        let words = text.split(|it: char| !it.is_alphanumeric() && it != '_');
        for word in words.filter(|it| it.starts_with("reg_")) {
            assert!(known.contains(word), "{file} names {word}, which no node has");
        }
    }
}

#[test]
fn the_series_are_the_same_for_one_model_and_for_fifty_with_as_many_peers() {
    let home = Home::new("A");
    home.key("me");
    // Without a network, no commit waits for what peers know of its name.
    let daemon = Daemon::start(&home, ["--publish-key", "me", "--offline"]);
    let bearer = format!("Bearer {}", http::token(&home));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/x-ndjson")];
    let publish = |n: u32| {
        let file = json!({ "path": "config.json", "encoding": "base64", "content": BASE64.encode(n.to_string().as_bytes()) });
        let body = format!("{}\n", json!({ "key": "file", "value": file }));
        let url = format!("{}/api/models/me/m{n}/commit/main", http::base(&daemon));
        let taken = http::send("POST", &url, &headers, body.as_bytes());
        assert_eq!(taken.status, 200, "{}", taken.text());
    };
    // The status of an answer is the one label that has new values with their first use.
    let names = |series: BTreeMap<String, f64>| -> BTreeSet<String> {
        series.into_keys().filter(|it| !it.starts_with("reg_http_requests_total")).collect()
    };
    publish(1);
    let mut few = scrape(&daemon);
    until("the first model is counted", || {
        few = scrape(&daemon);
        sum(&few, "reg_models") == 1.0
    });
    (2..=50).for_each(publish);
    daemon.stop();
    let daemon = Daemon::start(&home, ["--dht", "server"]);
    let secrets = (1..=50).map(|n| [n; 32]).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _sybils = runtime.block_on(Sybils::start(secrets, 0, daemon.address().parse().expect("an address")));
    let mut many = BTreeMap::new();
    until("many models and peers are counted", || {
        many = scrape(&daemon);
        sum(&many, "reg_models") == 50.0 && sum(&many, "reg_peers") >= 10.0
    });
    assert_eq!(names(few), names(many));
}

#[test]
fn metrics_are_read_as_everything_else_is() {
    let (a, b) = (Home::new("A"), Home::new("B"));
    let near = Daemon::start(&a, [""; 0]);
    let url = format!("{}/metrics", http::base(&near));
    assert_eq!(http::get(&url, &[]).status, 200, "a program of this machine needs no token");
    for foreign in
        [("host", "evil.example"), ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")]
    {
        assert_eq!(http::get(&url, &[foreign]).status, 403, "{foreign:?}");
    }
    let refused = |series: &BTreeMap<String, f64>| {
        series.get("reg_http_requests_total{dialect=\"none\",code=\"403\"}").copied()
    };
    assert_eq!(refused(&scrape(&near)), Some(3.0), "what the guard refuses is counted too");
    let far = Daemon::start(&b, ["--http", "0.0.0.0:0"]);
    let url = format!("{}/metrics", http::base(&far));
    let bearer = format!("Bearer {}", http::token(&b));
    assert_eq!(http::get(&url, &[]).status, 401);
    assert_eq!(http::get(&url, &[("authorization", &bearer)]).status, 200);
}
