//! Tests crowds on the gateways: slow connections, slow readers and slow bodies take their own share only, and the owner
//! goes first.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reg_testnet::alone::alone;
use reg_testnet::clients;
use reg_testnet::http;
use reg_testnet::process::{Daemon, Home, PATIENCE, is_full, text};
use reg_testnet::{model, tree};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const MIB: u64 = 1 << 20;
/// What a busy machine may add to the time of a command. A client that waits for a place which a silent connection has waits
/// for 30 s.
const BUSY: Duration = Duration::from_secs(20);

/// How often what takes milliseconds is measured.
const QUICK: usize = 5;

/// Lets this process open as many files as the system allows.
fn open_many() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit may rise");
}

/// Connections that do as little as they can and come back when they are closed, until this value is dropped.
struct Crowd {
    over: Arc<AtomicBool>,
    /// Connections that were made.
    made: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Starts a crowd of `count` members. Each sends `head`; then it sends `drip` and reads `sip` bytes every half second.
    fn start(address: &str, count: usize, head: String, drip: &'static str, sip: usize) -> Self {
        let (over, made) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (address, is_over, makes) = (address.to_owned(), over.clone(), made.clone());
        let connect = move || {
            let mut stream = TcpStream::connect(&address).ok()?;
            stream.write_all(head.as_bytes()).ok()?;
            stream.set_nonblocking(true).ok()?;
            makes.fetch_add(1, Ordering::Relaxed);
            Some(stream)
        };
        let thread = std::thread::spawn(move || {
            let mut members: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
            while !is_over.load(Ordering::Relaxed) {
                for member in &mut members {
                    let goes_on = member.as_mut().is_some_and(|it| goes_on(it, drip, sip));
                    if !goes_on {
                        *member = connect();
                    }
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        Self { over, made, thread: Some(thread) }
    }

    fn has_come(&self, count: usize) {
        let start = Instant::now();
        while self.made.load(Ordering::Relaxed) < count {
            assert!(start.elapsed() < PATIENCE, "the crowd does not come");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Sends and reads the little that a member does; tells whether its connection is still open.
fn goes_on(stream: &mut TcpStream, drip: &str, sip: usize) -> bool {
    let mut buffer = vec![0; sip.max(1)];
    let waits = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
    let sent = stream.write(drip.as_bytes());
    let read = if sip == 0 { Err(ErrorKind::WouldBlock.into()) } else { stream.read(&mut buffer) };
    !matches!(sent, Err(ref error) if !waits(error)) && read.map_or_else(|error| waits(&error), |it| it > 0)
}

/// A node with a model, and its address.
struct World {
    home: Home,
    model: std::path::PathBuf,
    daemon: Daemon,
    host: String,
    publisher: String,
}

impl World {
    fn new(bytes: u64) -> Self {
        let home = Home::new("A");
        let publisher = home.key("me");
        let model = home.path().join("model");
        model::generate(&model, bytes, 61);
        let daemon = Daemon::start(&home, ["--publish-key", "me"]);
        home.publish(&model, "tiny", "me");
        let host = text(&daemon.ready["http"]);
        Self { home, model, daemon, host, publisher }
    }

    /// Returns the path of the largest file.
    fn large(&self) -> String {
        let files = tree::digests(&self.model).into_keys();
        let size = |name: &String| std::fs::metadata(self.model.join(name)).expect("a file").len();
        let name = files.max_by_key(size).expect("a model has files");
        format!("/{}/tiny/resolve/main/{name}", self.publisher)
    }

    fn head(&self, method: &str, path: &str, more: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{more}\r\n", self.host)
    }

    /// Returns how long a command of the owner takes: over the socket.
    fn command(&self) -> Duration {
        let start = Instant::now();
        self.home.run(["status"]).ok();
        start.elapsed()
    }

    /// Returns how long a request of the owner takes: with the token, over the port.
    fn request(&self) -> Duration {
        let own = format!("Bearer {}", http::token(&self.home));
        let start = Instant::now();
        let answer =
            http::get(&format!("{}/v1/status", http::base(&self.daemon)), &[("authorization", &own)]);
        assert_eq!(answer.status, 200);
        start.elapsed()
    }

    /// Returns how long Hugging Face's client takes to download the model into a folder of this name. It shows a token or
    /// none.
    fn download(&self, program: &Path, name: &str, token: Option<&str>) -> Duration {
        let out = self.home.path().join(name);
        let start = Instant::now();
        let mut command = Command::new(program);
        command.env("HF_ENDPOINT", http::base(&self.daemon)).env("HF_HOME", self.home.path().join("hf"));
        command.env("HF_HUB_DISABLE_XET", "1").env("HF_HUB_DISABLE_PROGRESS_BARS", "1");
        command.env("HF_HUB_DISABLE_TELEMETRY", "1").env_remove("HF_TOKEN");
        token.map(|it| command.env("HF_TOKEN", it));
        let ran = command.args(["download", &format!("{}/tiny", self.publisher), "--local-dir"]).arg(&out);
        let output = ran.output().expect("hf runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let took = start.elapsed();
        let (mut expected, mut found) = (tree::digests(&self.model), tree::digests(&out));
        expected.remove(".gitattributes");
        found.retain(|name, _| !name.starts_with(".cache/"));
        assert_eq!(expected, found);
        took
    }
}

#[test]
fn a_thousand_slow_connections_and_two_hundred_slow_readers_delay_neither_the_owner_nor_an_honest_client() {
    let hf = clients::python("hf", &clients::HUGGING_FACE);
    if clients::is_left_out(&hf) {
        return;
    }
    let hf = hf.expect("the client is installed").program("hf");
    let _alone = alone();
    open_many();
    let world = World::new(48 * MIB);
    let token = http::token(&world.home);
    let rounds = if is_full() { 5 } else { 1 };
    let measure = |when: &str| {
        let times = |rounds: usize, take: &dyn Fn(usize) -> Duration| {
            let mut seconds: Vec<f64> = (0..rounds).map(|it| take(it).as_secs_f64()).collect();
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        };
        [
            ("reg status", times(QUICK, &|_| world.command())),
            ("GET /v1/status with the token", times(QUICK, &|_| world.request())),
            ("hf download", times(rounds, &|it| world.download(&hf, &format!("{when}-{it}"), None))),
            (
                "hf download with the token",
                times(rounds, &|it| world.download(&hf, &format!("{when}-own-{it}"), Some(&token))),
            ),
        ]
    };
    world.download(&hf, "first", None);
    let usual = measure("usual");
    let slow_heads = Crowd::start(&world.host, 1000, "GET / HTTP/1.1\r\nx: ".to_owned(), "x", 0);
    let reads = world.head("GET", &world.large(), "");
    let slow_readers = Crowd::start(&world.host, 200, reads, "", 1 << 10);
    slow_heads.has_come(1000);
    slow_readers.has_come(200);
    std::thread::sleep(Duration::from_secs(2));
    let crowded = measure("crowded");
    drop((slow_heads, slow_readers));
    for ((what, usual), (_, crowded)) in usual.into_iter().zip(crowded) {
        println!("{what}: {usual:.3} s alone, {crowded:.3} s in the crowd, {:.2} x", crowded / usual);
        // Without places of its own, a client would wait for as long as the crowd stays.
        assert!(crowded <= 3.0 * usual + BUSY.as_secs_f64(), "{what}: {usual:.3} s alone, {crowded:.3} s");
    }
}

#[test]
fn the_socket_has_places_of_its_own_and_silent_connections_do_not_keep_them() {
    open_many();
    let world = World::new(MIB);
    let silent: Vec<TcpStream> =
        (0..400).map(|_| TcpStream::connect(&world.host).expect("the system takes it")).collect();
    assert!(world.command() < BUSY, "the socket is not the crowd's");
    assert!(world.request() < BUSY, "the oldest silent connection makes room");
    let socket = world.home.path().join("reg.sock");
    let more: Vec<UnixStream> =
        (0..300).map(|_| UnixStream::connect(&socket).expect("the system takes it")).collect();
    assert!(world.command() < BUSY, "the same on the socket");
    drop((silent, more));
}

/// How long a client that does enough is watched: longer than one that does too little may stay, which is 30 s, some looks
/// of the server, and what a busy machine adds.
const STAYS: Duration = Duration::from_secs(60);

/// Sends `head`, and then does `act` every second; returns how long the connection stayed open, or `most`.
fn stays(
    world: &World,
    most: Duration,
    head: &str,
    mut act: impl FnMut(&mut TcpStream) -> std::io::Result<bool>,
) -> Duration {
    let mut stream = TcpStream::connect(&world.host).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("set");
    stream.write_all(head.as_bytes()).expect("sent");
    let start = Instant::now();
    while start.elapsed() < most {
        match act(&mut stream) {
            Ok(true) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(false) | Err(_) => return start.elapsed(),
        }
        std::thread::sleep(Duration::from_millis(900));
    }
    most
}

#[test]
fn a_body_and_a_reader_below_a_kibibyte_a_second_are_ended_and_slow_ones_above_it_are_not() {
    let world = World::new(48 * MIB);
    let own = format!("authorization: Bearer {}\r\n", http::token(&world.home));
    let json = "content-type: application/json\r\ncontent-length: 1000000\r\n";
    let reads = world.head("GET", &world.large(), "");
    let (world, own, reads) = (&world, &own, &reads);
    std::thread::scope(|scope| {
        let trickles = |path: &'static str, more: String| {
            let head = world.head("POST", path, &format!("{json}{more}"));
            // The answer, or the end, is seen by reading.
            let act = |it: &mut TcpStream| it.write_all(b" ").and_then(|()| Ok(it.read(&mut [0; 64])? > 0));
            move || stays(world, PATIENCE, &head, act)
        };
        let strangers = scope.spawn(trickles("/api/validate-yaml", String::new()));
        let owners = scope.spawn(trickles("/v1/gc", own.clone()));
        let silent = scope.spawn(|| {
            // Nothing is read until it must have been ended: then less than the whole comes.
            let mut stream = TcpStream::connect(&world.host).expect("connected");
            stream.write_all(reads.as_bytes()).expect("sent");
            std::thread::sleep(STAYS);
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
            let mut all = Vec::new();
            drop(stream.read_to_end(&mut all));
            all.len() as u64
        });
        let steady = scope.spawn(|| {
            let mut buffer = vec![0; 8 << 10];
            stays(world, STAYS, reads, |it| Ok(it.read(&mut buffer)? > 0))
        });
        for (which, took) in [("a stranger's body", strangers), ("the owner's body", owners)] {
            let took = took.join().expect("it ends");
            assert!(took >= Duration::from_secs(20) && took < PATIENCE, "{which} stayed for {took:?}");
        }
        let got = silent.join().expect("it ends");
        assert!(got < 32 * MIB, "a reader that read nothing got {got} bytes");
        assert_eq!(steady.join().expect("it ends"), STAYS, "8 KiB a second are enough");
    });
}
