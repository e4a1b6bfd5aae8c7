//! `cargo bench-page`: measures the page of a node with many models and peers in a real browser: when it is painted, when its list is
//! there, and what a tab that stays open costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use reg_testnet::browser::{Browser, browser};
use reg_testnet::evil::{Liars, Script};
use reg_testnet::http;
use reg_testnet::process::{Daemon, Home, text, until};
use serde_json::json;

/// Measures the page of a node with many models and peers
#[derive(Parser)]
struct Args {
    /// Number of models
    #[arg(long, default_value_t = 5000)]
    models: usize,
    /// Number of peers
    #[arg(long, default_value_t = 40)]
    peers: usize,
    /// Number of times that the page is opened
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds for which a tab stays open
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Keep the store in this directory, or use the one that it has
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn main() {
    let args = Args::parse();
    let Some(browser) = browser("the page in a browser", &["--enable-precise-memory-info"]) else { return };
    let shared = Path::new("/dev/shm");
    let scratch = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    let scratch = scratch.expect("a folder");
    let dir = args.keep.clone().unwrap_or_else(|| scratch.path().join("home"));
    let home = Home::remembering("page").kept_at(dir);
    if home.run(["key", "show", "me"]).code() != 0 {
        home.key("me");
    }
    let daemon = Daemon::start(&home, ["--dht", "off"]);
    let base = http::base(&daemon);
    fill(&home, args.models, scratch.path());
    let manifest = text(&home.json(["ls"])[0]["manifest"]).parse().expect("a digest");
    let mut liars = Liars::default();
    for number in 0..args.peers {
        let address = liars.claim(
            &format!("127.0.{}.{}", 1 + number / 200, 1 + number % 200),
            manifest,
            Script::default(),
        );
        home.run(["peers", "add", &address]).ok();
    }
    let peers = || http::get(&format!("{base}/v1/peers"), &[]).json().as_array().map_or(0, Vec::len);
    until("the peers are connected", || peers() >= args.peers);
    println!("{} models, {} peers, {} rounds", args.models, peers(), args.rounds);
    for view in ["models", "peers", "health"] {
        let mut times: Vec<(f64, f64)> = (0..args.rounds).map(|_| opened(&browser, &base, view)).collect();
        times.sort_by(|one, other| one.1.total_cmp(&other.1));
        let (painted, listed) = times[times.len() / 2];
        println!("{view:8} first paint {painted:6.0} ms, list {listed:6.0} ms (median)");
    }
    stays(&browser, &daemon, &base, args.seconds);
}

/// Publishes as many models as are missing.
fn fill(home: &Home, models: usize, scratch: &Path) {
    let listed = home.json(["ls"]).as_array().map_or(0, Vec::len);
    let model = scratch.join("model");
    fs::create_dir_all(&model).expect("a folder");
    for number in listed..models {
        let config = format!("{{\"model_type\":\"bench\",\"n\":{number}}}");
        fs::write(model.join("config.json"), config).expect("written");
        home.publish(&model, &format!("m{number}"), "me");
        if number % 500 == 0 {
            println!("  {number} of {models} models");
        }
    }
}

/// Opens a view in a new document, and returns when it was painted and when its list was there, in milliseconds.
fn opened(browser: &Browser, base: &str, view: &str) -> (f64, f64) {
    browser.open("about:blank");
    browser.open(&format!("{base}/#/{view}"));
    browser.until("the list is there", "document.querySelector('main tbody tr') !== null && performance.getEntriesByType('paint').length > 0");
    let paint = browser.value("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0");
    let listed = browser.value("performance.getEntriesByName('listed')[0]?.startTime ?? performance.now()");
    (paint.as_f64().unwrap_or_default(), listed.as_f64().unwrap_or_default())
}

/// Leaves a tab open, and prints what that costs the node and the browser.
fn stays(browser: &Browser, daemon: &Daemon, base: &str, seconds: u64) {
    browser.open(&format!("{base}/#/models"));
    browser.until("the list is there", "document.querySelector('main tbody tr') !== null");
    let heap = || {
        browser.chrome("HeapProfiler.collectGarbage", &json!({}));
        browser.value("performance.memory.usedJSHeapSize").as_f64().unwrap_or_default() / 1e6
    };
    std::thread::sleep(Duration::from_secs(5));
    let (start, cpu, first) = (Instant::now(), daemon.cpu_seconds(), heap());
    std::thread::sleep(Duration::from_secs(seconds));
    let (took, last) = (start.elapsed().as_secs_f64(), heap());
    let with = daemon.cpu_seconds() - cpu;
    browser.open("about:blank");
    std::thread::sleep(Duration::from_secs(5));
    let (start, cpu) = (Instant::now(), daemon.cpu_seconds());
    std::thread::sleep(Duration::from_secs(seconds.min(60)));
    let without = (daemon.cpu_seconds() - cpu) / start.elapsed().as_secs_f64();
    println!(
        "a tab that stays open for {took:.0} s: {:.2} % of a core, of which {:.2} % without the tab; \
         {first:.1} MB and {last:.1} MB of the browser's heap",
        with / took * 100.0,
        without * 100.0
    );
}
