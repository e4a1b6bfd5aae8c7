//! `cargo demo [MODEL]`: shows the main job step by step, with three real nodes on loopback.
//!
//! 1. A publishes a model.
//! 2. B, which knows only A, pulls it by name.
//! 3. A stops.
//! 4. C, which knows only B, pulls it from B.
//!
//! The demo exits with 0 only if every SHA-256 is equal.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use reg_testnet::http;
use reg_testnet::model::{self, SILERO_VAD};
use reg_testnet::process::{Daemon, Home, text};
use reg_testnet::tree;
use serde_json::Value;

/// Publish a model on one node, pull it on a second, stop the first, pull it from the second on a third.
#[derive(Parser)]
struct Args {
    /// A model: a directory or a file; defaults to Silero VAD from its PyPI package
    model: Option<PathBuf>,
    /// Keep the nodes' folders, and let the last node run until Enter is pressed, with its page
    #[arg(long)]
    keep: bool,
}

struct Demo {
    start: Instant,
    step: u32,
}

impl Demo {
    fn step(&mut self, what: &str) {
        self.step += 1;
        println!("\n{:6.2} s  {}. {what}", self.start.elapsed().as_secs_f64(), self.step);
    }

    fn say(&self, what: impl AsRef<str>) {
        println!("          {}", what.as_ref());
    }
}

fn main() {
    let args = Args::parse();
    println!("building the node");
    reg_testnet::process::reg_binary();
    let mut demo = Demo { start: Instant::now(), step: 0 };
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let model = choose_model(&args, scratch.path());
    println!("model: {}", model.display());
    let homes = ["A", "B", "C"].map(Home::new);
    let last = run(&mut demo, &homes, &model, scratch.path());
    println!("\nEvery SHA-256 is equal. Done in {:.1} s.", demo.start.elapsed().as_secs_f64());
    show_page(&args, &homes[2], &last);
    last.stop();
    if args.keep {
        for home in homes {
            println!("kept: {}", home.keep().display());
        }
    }
}

/// Prints the address of the last node's page, and with `--keep` lets the node run until the user has seen it.
fn show_page(args: &Args, home: &Home, last: &Daemon) {
    if !args.keep {
        println!("`cargo demo --keep` lets the last node run, with a page for your browser.");
        return;
    }
    println!("\nThe last node's page: {}", text(&home.json(["page"])["url"]));
    println!("Open it within a minute; after that it only shows: {}", http::base(last));
    println!("The node runs until you press Enter.");
    // Where there is no input, there is nothing to wait for.
    drop(std::io::stdin().read_line(&mut String::new()));
}

/// Returns the named model, else a real one, else a generated one if neither network nor cache has it.
fn choose_model(args: &Args, scratch: &Path) -> PathBuf {
    if let Some(model) = &args.model {
        return model.clone();
    }
    match SILERO_VAD.get() {
        Ok(model) => model,
        Err(error) => {
            println!("{error}");
            println!("no real model can be fetched: generating a small one");
            let dir = scratch.join("generated");
            model::generate(&dir, 5 << 20, 1);
            dir
        }
    }
}

/// Runs the steps, and returns the node that has the model at the end.
fn run(demo: &mut Demo, [a, b, c]: &[Home; 3], model: &Path, scratch: &Path) -> Daemon {
    demo.step("A makes a key and starts");
    let publisher = a.key("demo");
    let daemon_a = Daemon::start(a, [""; 0]);
    demo.say(format!("publisher {publisher}"));
    demo.say(format!("A listens on {}", daemon_a.address()));

    demo.step("A signs and publishes the model");
    let reference = a.publish(model, "demo-model:v1", "demo");
    demo.say(&reference);

    demo.step("B starts; it knows A's address and nothing else, and pulls by name");
    let daemon_b = Daemon::start(b, ["--bootstrap", &daemon_a.address()]);
    pull(demo, b, &reference, &scratch.join("b"), &[]);

    demo.step("A is stopped");
    daemon_a.stop();

    demo.step("C starts; it knows B's address and nothing else, and pulls by name");
    let daemon_c = Daemon::start(c, ["--bootstrap", &daemon_b.address()]);
    pull(demo, c, &reference, &scratch.join("c"), &[]);

    demo.step("every SHA-256 is compared");
    tree::assert_equal(&scratch.join("b"), &scratch.join("c"));
    for (path, digest) in tree::digests(&scratch.join("c")) {
        let original = if model.is_dir() { model.join(&path) } else { model.to_owned() };
        assert_eq!(tree::digest(&original), digest, "{path} differs from the published file");
        demo.say(format!("{digest}  {path}"));
    }
    daemon_b.stop();
    daemon_c
}

fn pull(demo: &Demo, home: &Home, reference: &str, dest: &Path, flags: &[&str]) {
    let dest = dest.to_string_lossy().into_owned();
    let args: Vec<&str> = ["pull", reference, &dest].into_iter().chain(flags.iter().copied()).collect();
    let pulled = home.json(args);
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let (bytes, seconds) = (number(&pulled["bytes_fetched"]), number(&pulled["seconds"]));
    demo.say(format!(
        "{:.1} MB in {seconds:.2} s, {:.1} MB/s, files: {}",
        bytes / 1e6,
        bytes / 1e6 / seconds,
        pulled["files"]
    ));
    for (peer, bytes) in pulled["peers"].as_object().into_iter().flatten() {
        demo.say(format!("{:.1} MB from {peer}", number(bytes) / 1e6));
    }
    demo.say(format!("signed by {}", text(&pulled["publisher"])));
}
