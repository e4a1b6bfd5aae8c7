//! Builds networks on one machine: namespaces on a bridge that acts as the internet, some of them behind NAT routers.
//!
//! The machines and the bridge are in namespaces of their own, so the host's network does not change. Dropping the
//! [`World`] removes them all. The next world removes what a killed test has left behind. `tbf` limits rates, `nft` drops
//! packets, and a proxy ([`crate::delay`]) adds delay, because not every kernel has `netem`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::chance::Chance;
use crate::line::{Ends, Line, Manner};

/// Prefix of every namespace's name. The process's id and a number follow it.
const PREFIX: &str = "regnet";

/// How a router maps the addresses behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// Keeps an inside port for all destinations. Two peers behind such routers can connect directly.
    Cone,
    /// Gives each connection an unpredictable port of its own.
    Symmetric,
}

/// A network of namespaces on one bridge.
#[derive(Debug)]
pub struct World {
    prefix: String,
    names: Vec<String>,
    links: u32,
}

/// A machine of the network: a namespace with one address.
#[derive(Debug, Clone)]
pub struct Machine {
    namespace: String,
    pub ip: Ipv4Addr,
}

/// Returns why this machine cannot build a world, or `None` if it can. Checks once for each process.
pub fn lacking() -> Option<String> {
    static LACKING: LazyLock<Option<String>> = LazyLock::new(what_lacks);
    LACKING.clone()
}

/// Tells whether no world can be made here, and says that `what` is left out for that.
pub fn is_left_out(what: &str) -> bool {
    let lacking = lacking();
    if let Some(why) = &lacking {
        crate::process::left_out(what, why, "run the tests as root, with iproute2 and nftables");
    }
    lacking.is_some()
}

fn what_lacks() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        // A user's own namespaces will do: there the tests are root, and `/run` is theirs.
        let own =
            "unshare -Urnm sh -c 'mount -t tmpfs none /run && cargo test -p reg-testnet --test network'";
        return Some(format!("namespaces need root, or namespaces of your own (`{own}`)"));
    }
    for tool in [["ip", "-V"], ["tc", "-V"], ["nft", "-v"]] {
        let run = Command::new(tool[0]).arg(tool[1]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !run.is_ok_and(|status| status.success()) {
            return Some(format!("{} is not installed (iproute2, nftables)", tool[0]));
        }
    }
    let probe = format!("{PREFIX}-{}-probe", std::process::id());
    let made = try_run(["ip", "netns", "add", &probe]);
    let _gone = try_run(["ip", "netns", "delete", &probe]);
    made.err().map(|error| format!("this machine does not permit namespaces: {error}"))
}

impl World {
    /// Builds an internet without machines.
    ///
    /// # Panics
    /// If the host does not permit it.
    pub fn new() -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}-{}-{number}", std::process::id());
        let mut world = Self { prefix, names: Vec::new(), links: 0 };
        let internet = world.add("internet");
        within(&internet, ["ip", "link", "add", "br0", "type", "bridge"]);
        within(&internet, ["ip", "link", "set", "br0", "up"]);
        world
    }

    /// Adds a machine on the internet, in its only network, which has 65,534 addresses.
    ///
    /// # Panics
    /// If the host does not permit it.
    pub fn machine(&mut self, name: &str, ip: Ipv4Addr) -> Machine {
        let namespace = self.add(name);
        self.plug(&namespace, "eth0", ip);
        Machine { namespace, ip }
    }

    /// Adds two machines, with nothing but a line between them.
    ///
    /// # Panics
    /// If the host does not permit it.
    pub fn line(
        &mut self,
        ends: [(&str, Ipv4Addr); 2],
        manner: Manner,
        chance: &mut Chance,
    ) -> ([Machine; 2], Line) {
        static LINES: AtomicU32 = AtomicU32::new(0);
        let number = LINES.fetch_add(1, Ordering::Relaxed);
        let names = [0, 1].map(|end| format!("reg{}-{number}-{end}", std::process::id() % 100_000));
        let devices = Ends::new([&names[0], &names[1]]).expect("TUN devices");
        let machines = [0, 1].map(|end| {
            let ((name, ip), (_, other), device) = (ends[end], ends[1 - end], names[end].as_str());
            let namespace = self.add(name);
            run(["ip", "link", "set", device, "netns", &namespace]);
            within(
                &namespace,
                ["ip", "address", "add", &ip.to_string(), "peer", &other.to_string(), "dev", device],
            );
            within(&namespace, ["ip", "link", "set", device, "up"]);
            Machine { namespace, ip }
        });
        (machines, devices.lay(manner, chance))
    }

    /// Adds a router on the internet at `ip`, and one machine behind it at `inside`, in a network of 254 addresses.
    ///
    /// The router silently drops packets from outside that belong to no connection, as home routers do.
    ///
    /// # Panics
    /// If the host does not permit it.
    pub fn behind(&mut self, nat: Nat, name: &str, ip: Ipv4Addr, inside: Ipv4Addr) -> Machine {
        let router = self.add(&format!("{name}-nat"));
        self.plug(&router, "wan", ip);
        within(&router, ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        let flags = match nat {
            Nat::Cone => "",
            Nat::Symmetric => "fully-random",
        };
        rules(
            &router,
            &format!(
                "table ip nat {{
                    chain post {{ type nat hook postrouting priority 100; oifname \"wan\" masquerade {flags}; }}
                }}
                table ip wall {{
                    chain known {{ iifname \"wan\" ct state established,related accept; iifname \"wan\" drop; }}
                    chain input {{ type filter hook input priority 0; jump known; }}
                    chain forward {{ type filter hook forward priority 0; jump known; }}
                }}"
            ),
        );
        let machine = self.add(name);
        let [a, b, c, _] = inside.octets();
        let gateway = Ipv4Addr::new(a, b, c, 1);
        within(
            &router,
            ["ip", "link", "add", "lan", "type", "veth", "peer", "name", "eth0", "netns", &machine],
        );
        within(&router, ["ip", "address", "add", &format!("{gateway}/24"), "dev", "lan"]);
        within(&router, ["ip", "link", "set", "lan", "up"]);
        within(&machine, ["ip", "address", "add", &format!("{inside}/24"), "dev", "eth0"]);
        within(&machine, ["ip", "link", "set", "eth0", "up"]);
        within(&machine, ["ip", "route", "add", "default", "via", &gateway.to_string()]);
        Machine { namespace: machine, ip: inside }
    }

    /// Returns the bytes that each machine has sent so far, in the order in which the machines were added.
    ///
    /// # Panics
    /// If the kernel's counters cannot be read.
    pub fn sent(&self) -> Vec<u64> {
        let internet = format!("{}-internet", self.prefix);
        let counters = (1..=self.links).map(|n| format!("/sys/class/net/port{n}/statistics/rx_bytes"));
        let mut cat = Command::new("ip");
        cat.args(["netns", "exec", &internet, "cat"]).args(counters);
        let said = cat.output().expect("ip runs").stdout;
        String::from_utf8_lossy(&said).lines().map(|line| line.parse().expect("a number")).collect()
    }

    fn add(&mut self, name: &str) -> String {
        let namespace = format!("{}-{name}", self.prefix);
        run(["ip", "netns", "add", &namespace]);
        self.names.push(namespace.clone());
        within(&namespace, ["ip", "link", "set", "lo", "up"]);
        namespace
    }

    /// Connects a namespace to the bridge.
    fn plug(&mut self, namespace: &str, device: &str, ip: Ipv4Addr) {
        let internet = format!("{}-internet", self.prefix);
        self.links += 1;
        let port = format!("port{}", self.links);
        within(
            &internet,
            ["ip", "link", "add", &port, "type", "veth", "peer", "name", device, "netns", namespace],
        );
        within(&internet, ["ip", "link", "set", &port, "master", "br0", "up"]);
        within(namespace, ["ip", "address", "add", &format!("{ip}/16"), "dev", device]);
        within(namespace, ["ip", "link", "set", device, "up"]);
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for name in self.names.iter().rev() {
            remove(name);
        }
    }
}

impl Machine {
    /// Returns a command that runs on this machine.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Limits the rate at which this machine sends.
    ///
    /// # Panics
    /// If `tc` fails.
    pub fn shape_uplink(&self, mbit_per_second: u32) {
        let rate = format!("{mbit_per_second}mbit");
        // A burst of 1/250 s keeps the rate. A good router has a queue of 50 ms.
        let burst = format!("{}b", (mbit_per_second * 1_000_000 / 8 / 250).max(16_384));
        within(
            &self.namespace,
            [
                "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", &rate, "burst", &burst,
                "latency", "50ms",
            ],
        );
    }

    /// Drops a percentage of the incoming packets.
    ///
    /// # Panics
    /// If `nft` fails.
    pub fn lose(&self, percent: u32) {
        rules(
            &self.namespace,
            &format!(
                "table ip loss {{
                    chain in {{ type filter hook prerouting priority -300; iifname \"eth0\" numgen random mod 100 < {percent} drop; }}
                }}"
            ),
        );
    }

    /// Drops all incoming packets but those from one address.
    ///
    /// # Panics
    /// If `nft` fails.
    pub fn hear_only(&self, from: Ipv4Addr) {
        rules(
            &self.namespace,
            &format!(
                "table ip only {{
                    chain in {{ type filter hook prerouting priority -300; iifname \"eth0\" ip saddr != {from} drop; }}
                }}"
            ),
        );
    }
}

fn within<'a>(namespace: &'a str, args: impl IntoIterator<Item = &'a str>) {
    run(["ip", "netns", "exec", namespace].into_iter().chain(args));
}

/// Loads `nft` rules in a namespace.
fn rules(namespace: &str, rules: &str) {
    let mut nft = Command::new("ip");
    nft.args(["netns", "exec", namespace, "nft", "-f", "-"]).stdin(Stdio::piped());
    let mut child = nft.spawn().expect("nft runs");
    child.stdin.take().expect("it was piped").write_all(rules.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success(), "nft refuses these rules:\n{rules}");
}

fn run<'a>(args: impl IntoIterator<Item = &'a str>) {
    if let Err(said) = try_run(args) {
        panic!("{said}");
    }
}

fn try_run<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    let args: Vec<&OsStr> = args.into_iter().map(OsStr::new).collect();
    let ran =
        Command::new(args[0]).args(&args[1..]).output().map_err(|error| format!("{args:?}: {error}"))?;
    let mut said = String::new();
    if !ran.status.success() {
        let _fits = write!(said, "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        return Err(said);
    }
    Ok(())
}

/// Removes a namespace, and ends the processes in it, which this crate has started.
fn remove(name: &str) {
    let pids =
        Command::new("ip").args(["netns", "pids", name]).output().map(|it| it.stdout).unwrap_or_default();
    for pid in String::from_utf8_lossy(&pids).split_whitespace().filter_map(|pid| pid.parse().ok()) {
        crate::process::signal(pid, rustix::process::Signal::KILL);
    }
    let _gone = try_run(["ip", "netns", "delete", name]);
}

/// Removes the namespaces that killed tests have left behind.
fn sweep() {
    let list = Command::new("ip").args(["netns", "list"]).output().map(|it| it.stdout).unwrap_or_default();
    let is_stale = |name: &&str| {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    let list = String::from_utf8_lossy(&list).into_owned();
    list.lines().filter_map(|line| line.split_whitespace().next()).filter(is_stale).for_each(remove);
}
