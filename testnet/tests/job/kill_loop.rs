//! Tests kill -9 at random moments: no verified piece is fetched again, and no acknowledged publication is lost.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, PATIENCE, is_full, peak_rss, text};
use reg_testnet::tree;
use reg_transfer::PIECES_IN_FLIGHT_PER_PEER;

const MIB: u64 = 1 << 20;
/// What one kill may waste: the pieces that are asked of the one peer and not yet stored.
const WASTE_PER_KILL: u64 = PIECES_IN_FLIGHT_PER_PEER as u64 * MIB;
const RSS_MAX: u64 = 256 * MIB;

/// The moments of a loop, from a seed that is printed.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = std::env::var("REG_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
        println!("REG_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self, max: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        max.mul_f64((self.0 % 10_000) as f64 / 10_000.0)
    }
}

fn start_pull(home: &Home, reference: &str, from: &str, dest: &Path) -> Child {
    let args = ["pull".as_ref(), reference.as_ref(), dest.as_os_str(), "--from".as_ref(), from.as_ref()];
    home.command(args)
        .args(["--no-mdns", "--json", "-q"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("reg runs")
}

/// Lets a process run for a while, notes its memory, and kills it unless it has ended.
fn run_for(child: &mut Child, time: Duration, rss: &mut u64) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        *rss = (*rss).max(peak_rss(child.id()).unwrap_or(0));
        if matches!(child.try_wait(), Ok(Some(_))) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(child.kill());
    drop(child.wait());
    false
}

#[test]
fn a_puller_that_is_killed_goes_on_where_it_was() {
    let (size, kills) = if is_full() { (2048 * MIB, 20) } else { (192 * MIB, 4) };
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, size, 1);
    a.key("me");
    // Without a limit, a fast machine fetches the small model before the first kill.
    let server =
        Daemon::start(&a, if is_full() { &[][..] } else { &["--limit-up", "75 MB/s", "--limit-local"] });
    let reference = a.publish(&model, "big", "me");
    let total: u64 = 4096 + size;
    let dest = b.path().join("out");
    let (mut moments, mut rss, mut killed) = (Moments::new(), 0, 0);
    let slice = Duration::from_millis(if is_full() { 700 } else { 500 });
    while killed < kills {
        let mut child = start_pull(&b, &reference, &server.address(), &dest);
        // The first while goes to finding; the rest is random.
        if run_for(&mut child, Duration::from_millis(300) + moments.next(slice), &mut rss) {
            break;
        }
        killed += 1;
    }
    let mut last = start_pull(&b, &reference, &server.address(), &dest);
    assert!(run_for(&mut last, 2 * PATIENCE, &mut rss), "the last pull does not end");
    let output = last.wait_with_output().expect("it has ended");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let served = a.json(["status"])["bytes_served"].as_u64().expect("a number");
    let wasted = served.saturating_sub(total);
    println!(
        "{killed} kills, {size} bytes, {wasted} wasted, puller {} MiB, server {} MiB",
        rss / MIB,
        server.peak_rss() / MIB
    );
    assert!(killed > 0, "no pull was slow enough to be killed");
    assert!(wasted <= killed * WASTE_PER_KILL + MIB, "{wasted} bytes were sent again in {killed} kills");
    assert!(rss < RSS_MAX && server.peak_rss() < RSS_MAX, "puller {rss}, server {}", server.peak_rss());
    tree::assert_equal(&model, &dest);
}

#[test]
fn a_publishing_node_that_is_killed_keeps_what_it_has_acknowledged() {
    let kills = if is_full() { 50 } else { 5 };
    let home = Home::new("A");
    home.key("me");
    let mut moments = Moments::new();
    let mut acknowledged: Vec<(String, std::path::PathBuf)> = Vec::new();
    for round in 0..kills {
        let daemon = Daemon::start(&home, [""; 0]);
        let mut killer = Some(daemon);
        // The first publication of each round is acknowledged. One of the next is under way when the node is killed: the moment is
        // within so many times as long as the first one took.
        let mut end = None;
        let has_come = |end: Option<Instant>| end.is_some_and(|end| Instant::now() >= end);
        for n in 0.. {
            let begun = Instant::now();
            let dir = home.path().join(format!("model-{round}-{n}"));
            model::generate(&dir, 2 * MIB + n * 4096, round * 1000 + n);
            let name = format!("m{round}-{n}");
            let mut publish = home
                .command([
                    "publish".as_ref(),
                    dir.as_os_str(),
                    name.as_ref(),
                    "--key".as_ref(),
                    "me".as_ref(),
                    "--json".as_ref(),
                ])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("reg runs");
            while !has_come(end) && matches!(publish.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(1));
            }
            if has_come(end) {
                killer.take().expect("killed once").kill();
            }
            let output = publish.wait_with_output().expect("it ends");
            if output.status.success() && killer.is_some() {
                let published: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
                acknowledged.push((text(&published["reference"]), dir));
            }
            end.get_or_insert_with(|| Instant::now() + moments.next(begun.elapsed() * 2));
            if killer.is_none() {
                break;
            }
        }
    }
    assert!(acknowledged.len() as u64 >= kills, "{} were acknowledged", acknowledged.len());
    println!("{kills} kills, {} models acknowledged", acknowledged.len());
    for (reference, model) in acknowledged {
        let dest = home.path().join("check");
        home.run([
            "pull".as_ref(),
            reference.as_ref(),
            dest.as_os_str(),
            "--offline".as_ref(),
            "--copy".as_ref(),
        ])
        .ok();
        tree::assert_equal(&model, &dest);
        std::fs::remove_dir_all(&dest).expect("removed");
    }
}

#[test]
fn a_lost_or_damaged_index_changes_nothing_for_anyone() {
    let runs = if is_full() { 50 } else { 5 };
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 6 * MIB, 5);
    a.key("me");
    let reference = a.publish(&model, "steady:v1", "me");
    let before = a.json(["ls"]);
    let mut moments = Moments::new();
    for run in 0..runs {
        harm(&a.path().join("store/index"), run, &mut moments);
        let after = a.json(["ls"]);
        assert_eq!(names(&before), names(&after), "run {run}");
        let dest = a.path().join("out");
        a.run(["pull".as_ref(), reference.as_ref(), dest.as_os_str(), "--offline".as_ref()]).ok();
        tree::assert_equal(&model, &dest);
        std::fs::remove_dir_all(&dest).expect("removed");
        harm(&a.path().join("store/index"), run + 1, &mut moments);
        let daemon = Daemon::start(&a, [""; 0]);
        let dest = b.path().join(format!("out{run}"));
        let from = daemon.address();
        b.run([
            "pull".as_ref(),
            reference.as_ref(),
            dest.as_os_str(),
            "--from".as_ref(),
            from.as_ref(),
            "--no-mdns".as_ref(),
        ])
        .ok();
        tree::assert_equal(&model, &dest);
        daemon.stop();
        drop(std::fs::remove_dir_all(b.path().join("store")));
    }
    println!("{runs} runs");
}

fn names(list: &serde_json::Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|it| format!("{} {} {}", it["manifest"], it["tags"], it["complete"]))
        .collect()
}

/// Removes the index, or writes rubbish into its files.
fn harm(index: &Path, run: u64, moments: &mut Moments) {
    if run.is_multiple_of(3) {
        std::fs::remove_dir_all(index).expect("removed");
        return;
    }
    for entry in std::fs::read_dir(index).expect("an index").flatten() {
        let path = entry.path();
        if !path.is_file() {
            continue;
        }
        let mut bytes = std::fs::read(&path).expect("read");
        if run % 3 == 1 {
            let keep = moments.next(Duration::from_secs(bytes.len() as u64)).as_secs();
            bytes.truncate(keep as usize);
        } else {
            for _flip in 0..16 {
                let at = moments.next(Duration::from_secs(bytes.len() as u64)).as_secs() as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 0x55;
                }
            }
        }
        std::fs::write(&path, bytes).expect("written");
    }
}
