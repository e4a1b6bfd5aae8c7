//! Tests foreign peers that send the most expensive valid messages: they cost a node their share, and their connection.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reg_proto::key::KeyHistory;
use reg_proto::limits::{
    RESPONSE_HEADER_BYTES_MAX, VERIFICATIONS_PER_ANNOUNCEMENT_MAX, VERIFICATIONS_PER_ANSWER_MAX,
    VERIFICATIONS_PER_HISTORY_MAX,
};
use reg_proto::name::PublisherId;
use reg_proto::tag::SignedTag;
use reg_proto::verification::Budget;
use reg_proto::wire::{Message, Request, Response};
use reg_testnet::alone::alone;
use reg_testnet::clients::{self, LIBP2P};
use reg_testnet::expensive::{self, Amount, MOST, ManyKeys};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, PATIENCE, is_full, rss, workspace};

const MIB: u64 = 1 << 20;
/// How much memory the foreign peers may cost the daemon.
const GROWTH_MAX: u64 = 64 * MIB;
/// What a foreign peer has in a short run: more than its rate.
const SOME: Amount = Amount { announcements: 60, heads: 4, documents: 32 };
/// The folder for messages, where a person measures by hand.
const FOLDER: &str = "REG_PRICE_FOLDER";

/// Lines that a foreign peer may print: some for each message that it sends.
const LINES_MAX: usize = 1 << 16;

/// A foreign peer, in a process of its own.
struct Foreign {
    process: Process,
    lines: mpsc::Receiver<String>,
}

/// A process that is killed when this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Foreign {
    fn start(modules: &Path, node: &Path, address: &str, messages: &Path, seconds: u64) -> Self {
        let mut command = Command::new(node);
        command.arg(workspace().join("testnet/tests/hostile/price/peer.mjs")).arg(modules);
        command.arg(address).arg(messages).args(["2", &seconds.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("node starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        Self { process: Process(child), lines }
    }

    /// Waits until it is connected, and returns its first peer id.
    fn first(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE).expect("it connects");
        line.strip_prefix("PEER ").unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    /// Ends it, and returns the lines that it has printed.
    fn printed(self) -> Vec<String> {
        drop(self.process);
        self.lines.iter().collect()
    }
}

/// Writes what a foreign peer sends, and returns the publisher that it answers for.
fn messages(dir: &Path, seed: u64, amount: Amount, own: PublisherId) -> PublisherId {
    let publisher = expensive::write(dir, seed, amount, true).expect("written");
    for (number, publisher) in [own, publisher].into_iter().enumerate() {
        let ask = Request::GetRecords { publisher, model: None, tag: None, documents: None };
        std::fs::write(dir.join(format!("ask-{number}.bin")), ask.head()).expect("written");
    }
    publisher
}

#[test]
fn three_foreign_peers_that_cost_the_most_are_disconnected_and_delay_nothing() {
    let client = clients::javascript("libp2p", &LIBP2P);
    if clients::is_left_out(&client) {
        return;
    }
    let (dir, node) = client.expect("libp2p for JavaScript is installed");
    let _alone = alone();
    let (seconds, amount) = if is_full() { (60, MOST) } else { (5, SOME) };
    let home = Home::new("D");
    let content = home.path().join("model");
    model::generate(&content, MIB, 5);
    let own: PublisherId = home.key("me").parse().expect("an id");
    let daemon = Daemon::start(&home, ["--dht", "server"]);
    let reference = home.publish(&content, "wanted", "me");
    let folders: Vec<PathBuf> = (0..3).map(|it| home.path().join(format!("foreign-{it}"))).collect();
    let seeds = [10_000_000, 20_000_000, 30_000_000];
    let answered: Vec<PublisherId> = std::thread::scope(|scope| {
        let written = folders.iter().zip(seeds);
        let written = written.map(|(folder, seed)| scope.spawn(move || messages(folder, seed, amount, own)));
        written.collect::<Vec<_>>().into_iter().map(|it| it.join().expect("written")).collect()
    });
    home.json(["status"]);
    let before = rss(daemon.pid()).expect("the daemon runs");
    let modules = dir.join("node_modules");
    let foreign: Vec<Foreign> = folders
        .iter()
        .map(|folder| {
            Foreign::start(&modules, &node, &daemon.address(), folder, PATIENCE.as_secs() + seconds)
        })
        .collect();
    let first: Vec<String> = foreign.iter().map(Foreign::first).collect();
    let start = Instant::now();
    let (mut worst, mut most, mut asked, mut seen) = (Duration::ZERO, before, 0, 0);
    let mut pulls = Vec::new();
    let is_refused = |first: &String| {
        daemon.log().lines().any(|it| it.contains(first.as_str()) && it.contains("costs too much"))
    };
    // For some seconds, and until each has cost too much: a busy machine takes longer to find out.
    while start.elapsed() < Duration::from_secs(seconds)
        || (start.elapsed() < PATIENCE && !first.iter().all(is_refused))
    {
        let asks = Instant::now();
        let status = home.json(["status"]);
        worst = worst.max(asks.elapsed());
        seen = seen.max(status["peers"].as_u64().expect("a number"));
        most = most.max(rss(daemon.pid()).expect("the daemon runs"));
        asked += 1;
        if asked == 5 {
            // The daemon asks the foreign peers for a name that they answer for.
            let out = home.path().join("never").to_string_lossy().into_owned();
            let mut pull = home.command(["pull", &format!("{}/m0", answered[0]), &out, "--json"]);
            pull.stdout(Stdio::null()).stderr(Stdio::null());
            pulls.push(Process(pull.spawn().expect("reg runs")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(pulls);
    let printed: Vec<Vec<String>> = foreign.into_iter().map(Foreign::printed).collect();
    let grown = most.saturating_sub(before);
    println!(
        "three foreign peers for {seconds} s: status answered {asked} times, at worst after {:.2} s; memory grew by {} MiB; \
         {:.1} CPU s; at most {seen} were connected",
        worst.as_secs_f64(),
        grown / MIB,
        daemon.cpu_seconds()
    );
    let log = daemon.log();
    for (lines, first) in printed.iter().zip(&first) {
        println!("{}", lines.last().map_or("", String::as_str));
        assert!(is_refused(first), "{first} is not disconnected:\n{log}");
    }
    assert!(seen > 0 && asked > 0, "the foreign peers have come");
    assert!(grown < GROWTH_MAX, "{} MiB", grown / MIB);
    assert_eq!(home.json(["ls"]).as_array().map(Vec::len), Some(1), "{reference} is still in the store");
}

/// What an honest publisher may have is within the budgets: the keys of an organisation, and one change a month.
#[test]
fn sixteen_keys_with_a_hundred_rotations_is_within_the_budget_and_free_the_second_time() {
    let publisher = ManyKeys::new(1, 100, true);
    let Response::Records(records) = publisher.records(64) else { panic!("records") };
    let verify = || {
        let keys = KeyHistory::verify(publisher.id, &records.key_documents).expect("valid");
        let tags = records.tags.iter().filter(|it| SignedTag::verify(it, &keys).is_ok()).count();
        assert_eq!(tags, 64);
    };
    let mut budget = Budget::new(VERIFICATIONS_PER_ANSWER_MAX);
    budget.run(verify).expect("within the budget");
    let first = budget.spent();
    println!("100 key documents of 16 keys and 64 records cost {first} verifications");
    assert!(first > 3000 && first <= VERIFICATIONS_PER_HISTORY_MAX + 64 * 16, "{first}");
    budget.run(verify).expect("within the budget");
    assert_eq!(budget.spent(), first, "what was verified before costs nothing");
    assert!(Response::Records(records.clone()).head().len() <= RESPONSE_HEADER_BYTES_MAX);
}

/// An announcement that is as large as it may be costs less than its budget.
#[test]
fn the_most_expensive_announcement_is_within_its_budget_and_one_without_key_ids_costs_nothing() {
    let cost = |named: bool, seed: u64| {
        let announcement = &expensive::announcements(seed, 1, named)[0];
        let mut budget = Budget::new(VERIFICATIONS_PER_ANNOUNCEMENT_MAX);
        let valid = budget.run(|| KeyHistory::read(&announcement.key_documents).is_ok()).expect("within");
        (valid, budget.spent(), announcement.to_bytes().len())
    };
    let (valid, spent, bytes) = cost(true, 40_000_000);
    println!("{spent} verifications in {bytes} bytes");
    assert!(valid && spent > 100);
    let (valid, spent, _) = cost(false, 50_000_000);
    assert_eq!((valid, spent), (false, 0));
}

/// Writes the messages of a foreign peer, with key ids and without, for measuring by hand.
#[test]
#[ignore = "a person runs it, and says where by REG_PRICE_FOLDER"]
fn messages_for_measuring_by_hand() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("a folder"));
    for (name, named) in [("named", true), ("nameless", false)] {
        for peer in 0..3 {
            let folder = folder.join(format!("{name}-{peer}"));
            let seed = 60_000_000 + 1_000_000 * peer;
            let publisher = expensive::write(&folder, seed, MOST, named).expect("written");
            let ask = Request::GetRecords { publisher, model: None, tag: None, documents: None };
            std::fs::write(folder.join("ask-0.bin"), ask.head()).expect("written");
            println!("{}: {publisher}", folder.display());
        }
    }
}
