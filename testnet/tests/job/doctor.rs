//! Tests that `reg doctor` names the fault of broken set-ups, with a remedy and the exit code of its kind: without a daemon, and
//! with one that runs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use reg_testnet::domains::DomainWorld;
use reg_testnet::process::{Daemon, Home, Ran, reg_binary, until};
use serde_json::Value;

use super::disks::Disk;

const DAY: u64 = 86_400;
/// A port at which nothing answers.
const DEAD: &str = "127.0.0.1:9";

/// A node that nothing is wrong with: it listens on free ports, and a DNS server answers.
struct Sound {
    dns: DomainWorld,
}

impl Sound {
    /// Writes the configuration of a node: these sections, and what makes it sound.
    fn configure(&self, home: &Path, listen: &str, http: &str, sections: &str) {
        let text = format!(
            "[node]\nlisten = [{listen:?}]\nmdns = false\ndht = \"off\"\n[http]\nlisten = {http:?}\n{sections}\n{}",
            self.dns.settings(&[])
        );
        fs::create_dir_all(home).expect("a folder");
        fs::write(home.join("config.toml"), text).expect("written");
    }

    /// Returns the home of a node with these sections in its configuration.
    fn home(&self, sections: &str) -> Home {
        let home = Home::new("sick");
        self.configure(home.path(), "/ip4/127.0.0.1/tcp/0", "127.0.0.1:0", sections);
        home
    }
}

/// Checks that a fault of `subject` is found, that it says these words and what to do, and that the exit code is that of its kind.
fn fault(ran: &Ran, code: i32, subject: &str, words: &str) {
    let found = finding(ran, subject, "fault", words);
    assert!(found["kind"].is_string(), "{found}");
    assert_eq!(ran.code(), code, "{subject}: {}", ran.stdout());
}

/// Returns the finding of a subject with this verdict, which says these words and what to do.
fn finding(ran: &Ran, subject: &str, verdict: &str, words: &str) -> Value {
    let diagnosis = ran.json();
    let all = diagnosis["findings"].as_array().expect("a list");
    let is_it = |it: &&Value| {
        it["subject"] == subject
            && it["verdict"] == verdict
            && it["what"].as_str().is_some_and(|it| it.contains(words))
    };
    let found = all
        .iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("no {verdict} of {subject} with {words:?}: {diagnosis:#}"));
    assert!(found["remedy"].as_str().is_some_and(|it| it.len() > 10), "{found}");
    found.clone()
}

fn doctor(home: &Home) -> Ran {
    home.run(["doctor", "--json"])
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Starts a web server that tells this time, in seconds since 1970. It runs until the test program ends.
fn server_with_time(seconds: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let mut command = Command::new("date");
    command.args(["-u", "-d", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S GMT"]).env("LC_ALL", "C");
    let said = command.output().expect("date runs").stdout;
    let date = String::from_utf8(said).expect("a date").trim().to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = [0; 4096];
            drop(stream.read(&mut head));
            let answer = format!(
                "HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    url
}

#[test]
fn each_broken_set_up_without_a_daemon_is_named() {
    let sound = Sound { dns: DomainWorld::new(&[]) };
    // A sound node has no fault.
    let home = sound.home("");
    let ran = doctor(&home);
    assert_eq!((ran.code(), ran.json()["daemon"].as_bool()), (0, Some(false)), "{}", ran.stdout());
    finding(&ran, "daemon", "warning", "no daemon runs");
    let text = home.run(["doctor"]).ok().stdout();
    assert!(text.contains("try: reg daemon") && text.contains("faults: 0"), "{text}");

    // 1 and 2: the ports are taken.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let held = TcpListener::bind(taken).expect("the same port");
    sound.configure(home.path(), &format!("/ip4/127.0.0.1/tcp/{}", taken.port()), "127.0.0.1:0", "");
    fault(&doctor(&home), 6, "ports", "(node.listen) cannot be listened on");
    sound.configure(home.path(), "/ip4/127.0.0.1/tcp/0", &taken.to_string(), "");
    fault(&doctor(&home), 6, "ports", "(http.listen) cannot be listened on");
    drop(held);
    // 3: a port of QUIC is taken.
    let held = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = held.local_addr().expect("an address").port();
    sound.configure(home.path(), &format!("/ip4/127.0.0.1/udp/{port}/quic-v1"), "127.0.0.1:0", "");
    fault(&doctor(&home), 6, "ports", "quic-v1");
    drop(held);
    // 4 and 5: the clock is off by a day, either way.
    for (seconds, words) in [(now() - DAY, "ahead of"), (now() + DAY, "behind")] {
        let home = sound.home(&format!("[transfer]\nweb_seeds = [{:?}]", server_with_time(seconds)));
        fault(&doctor(&home), 1, "clock", words);
    }
    // 6: a web seed is not reached.
    let home = sound.home(&format!("[transfer]\nweb_seeds = [\"http://{DEAD}/\"]"));
    finding(&doctor(&home), "servers", "warning", "is not reached");
    // 7: the DNS is dead.
    let home = sound.home("");
    let text = fs::read_to_string(home.path().join("config.toml")).expect("the configuration");
    let dead: Vec<String> = text
        .lines()
        .map(|it| if it.starts_with("resolver") { format!("resolver = \"{DEAD}\"") } else { it.to_owned() })
        .collect();
    fs::write(home.path().join("config.toml"), dead.join("\n")).expect("written");
    fault(&doctor(&home), 5, "dns", "does not answer");
    // 8: the configuration is refused.
    let home = sound.home("[cache]\nmax_size = \"a lot\"");
    fault(&doctor(&home), 2, "configuration", "cache.max_size");
    // 9: the rules are refused.
    let home = sound.home("");
    fs::write(home.path().join("trust.toml"), "names = what").expect("written");
    fault(&doctor(&home), 2, "configuration", "trust.toml");
    // 10: uploads are signed by a key that is not there.
    let home = sound.home("[gateway]\npublish_key = \"absent\"");
    fault(&doctor(&home), 3, "gateways", "absent");
}

#[test]
fn each_broken_store_secret_and_machine_is_named() {
    let sound = Sound { dns: DomainWorld::new(&[]) };
    let home = sound.home("");
    home.key("me");
    drop(Daemon::start(&home, ["--offline"]));
    assert_eq!(doctor(&home).code(), 0, "{}", doctor(&home).stdout());
    // 11: every user may read the token.
    let [token, own_key, version] =
        ["admin.token", "node.key", "store/VERSION"].map(|it| home.path().join(it));
    let set = |mode| fs::set_permissions(&token, fs::Permissions::from_mode(mode)).expect("set");
    set(0o644);
    fault(&doctor(&home), 6, "secrets", "admin.token is open to every user of this machine (mode 0644)");
    set(0o640);
    finding(&doctor(&home), "secrets", "warning", "its group");
    set(0o600);
    // 12: the node's key is damaged.
    let key = fs::read(&own_key).expect("a key");
    fs::write(&own_key, "junk").expect("written");
    fault(&doctor(&home), 1, "secrets", "node.key cannot be used");
    fs::write(&own_key, key).expect("written");
    // 13: a newer `reg` has written the store.
    let before = fs::read(&version).expect("a version");
    fs::write(&version, "99").expect("written");
    fault(&doctor(&home), 1, "store", "version \"99\"");
    fs::write(&version, before).expect("written");
    // 14: a process holds the store, and answers nothing.
    let lock = File::options().write(true).open(home.path().join("store/lock")).expect("a lock");
    lock.lock().expect("locked");
    fault(&doctor(&home), 75, "store", "in use");
    drop(lock);
    // 15: too few files may be open at once.
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 24; exec \"$0\" doctor --json"])
        .arg(reg_binary())
        .env("REG_HOME", home.path());
    fault(&home.ran(&mut command), 1, "open_files", "24 files");
    // 16 and 17: the disk is full, or read-only.
    let at = home.path().join("disk");
    fs::create_dir(&at).expect("a folder");
    let Some(disk) = Disk::mount(&at, "8m") else { return };
    let full = Home::new("full").kept_at(at.clone());
    sound.configure(&at, "/ip4/127.0.0.1/tcp/0", "127.0.0.1:0", "[cache]\nmin_free = \"1 MiB\"");
    assert_eq!(doctor(&full).code(), 0, "{}", doctor(&full).stdout());
    let filler = disk.fill(64 << 10);
    fault(&doctor(&full), 7, "disk", "are free on the disk");
    fs::remove_file(filler).expect("removed");
    disk.remount("ro");
    fault(&doctor(&full), 1, "folder", "cannot be written to");
}

#[test]
fn each_broken_daemon_is_named() {
    let sound = Sound { dns: DomainWorld::new(&[]) };
    let [a, b, c, d] = [(); 4].map(|()| sound.home(""));
    let daemon_a = Daemon::start(&a, ["--dht", "off"]);
    let _b = Daemon::start(&b, ["--dht", "off", "--bootstrap", &daemon_a.address()]);
    let _c =
        Daemon::start(&c, ["--dht", "off", "--bootstrap", &daemon_a.address(), "--swarm-key", "another"]);
    // A node with a peer is well.
    until("B is connected", || doctor(&b).stdout().contains("1 are connected"));
    let ran = doctor(&b);
    assert_eq!((ran.code(), ran.json()["daemon"].as_bool()), (0, Some(true)), "{}", ran.stdout());
    // 18: no peer from outside has connected.
    finding(&ran, "reachability", "warning", "from outside");
    // 19: the key of the swarm is another one.
    until("C has met A", || doctor(&c).stdout().contains("swarm.key"));
    fault(&doctor(&c), 5, "swarm", "another swarm");
    // 20: no peer is reached. 21: an index was damaged, and is rebuilt at the start.
    fs::create_dir_all(d.path().join("store/index.bad-1")).expect("a folder");
    let address = "/ip4/127.0.0.1/tcp/9";
    let daemon = Daemon::start(&d, ["--dht", "off", "--bootstrap", address]);
    let ran = doctor(&d);
    fault(&ran, 5, "peers", address);
    finding(&ran, "store", "warning", "index.bad-1");
    // 22: the file is damaged while the daemon runs, which goes on with the values before.
    fs::write(d.path().join("config.toml"), "what").expect("written");
    fault(&doctor(&d), 2, "configuration", "is refused");
    drop(daemon);
}
