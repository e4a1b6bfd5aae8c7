//! `cargo bench-transfer`: how fast a model moves, beside what the machine can do, in one run and in turn.
//!
//! Rounds are interleaved and medians are compared, because these machines are noisy. Every part reads from the page cache
//! and ends with its bytes on the disk, synced, where it writes any.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Parser;
use reg_proto::states::StateHasher;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, cpu_seconds, wait_until};
use rustix::process::{Signal, getpid};

/// Measures pulls from one and two peers beside hashing alone and curl from nginx with openssl.
#[derive(Parser)]
struct Args {
    /// Size of the model
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    mib: u64,
    /// How often each part is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// One measurement: wall-clock and CPU seconds of all processes that took part.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    cpu: f64,
}

/// What is measured, and how it is measured once.
type Part = (&'static str, fn(&mut World) -> Option<Cost>);

struct World {
    scratch: tempfile::TempDir,
    model: PathBuf,
    reference: String,
    servers: Vec<Daemon>,
    _homes: Vec<Home>,
    nginx: Option<Nginx>,
    peak_puller: u64,
}

fn main() {
    let args = Args::parse();
    let mut world = World::new(args.mib);
    println!("{} MiB, {} rounds, medians", args.mib, args.rounds);
    let mut parts: Vec<Part> = vec![
        ("hashing alone: reg, states on the way, 1 thread", |world| Some(world.hash_reg())),
        ("hashing alone: openssl dgst -sha256", |world| Some(world.hash_openssl())),
        ("reg pull, one peer", |world| Some(world.pull(1))),
        ("reg pull, two peers", |world| Some(world.pull(2))),
    ];
    if world.nginx.is_some() {
        parts.push(("curl from nginx, sync, openssl dgst -sha256", |world| Some(world.curl())));
    } else {
        println!("nginx is not installed (apt-get install nginx-light): curl is left out");
    }
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); parts.len()];
    for round in 0..args.rounds {
        for (part, costs) in parts.iter().zip(&mut costs) {
            let cost = (part.1)(&mut world);
            costs.extend(cost);
            println!("  round {} {}: {:.2} s", round + 1, part.0, cost.map_or(0.0, |cost| cost.seconds));
        }
    }
    report(&args, &world, &parts, &costs);
}

fn report(args: &Args, world: &World, parts: &[Part], costs: &[Vec<Cost>]) {
    let gigabytes = args.mib as f64 * 1_048_576.0 / 1e9;
    let medians: Vec<Cost> = costs.iter().map(|costs| median(costs)).collect();
    let reference = medians.last().expect("there are parts").seconds;
    println!("\n{:50} {:>8} {:>8} {:>8} {:>14}", "", "s", "CPU s", "GB/s", "x as fast as");
    for ((name, _), cost) in parts.iter().zip(&medians) {
        let ratio = reference / cost.seconds;
        println!(
            "{name:50} {:8.2} {:8.2} {:8.2} {ratio:14.2}",
            cost.seconds,
            cost.cpu,
            gigabytes / cost.seconds
        );
    }
    println!("the last column compares with: {}", parts.last().expect("there are parts").0);
    let servers: Vec<u64> = world.servers.iter().map(|server| server.peak_rss() >> 20).collect();
    println!("peak memory: puller {} MiB, servers {servers:?} MiB", world.peak_puller >> 20);
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |read: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(read).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Cost { seconds: middle(|cost| cost.seconds), cpu: middle(|cost| cost.cpu) }
}

impl World {
    fn new(mib: u64) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let model = scratch.path().join("model");
        println!("making a model of {mib} MiB");
        model::generate(&model, mib << 20, 1);
        let [a, b] = ["A", "B"].map(Home::new);
        a.key("bench");
        let daemon_a = Daemon::start(&a, [""; 0]);
        let reference = a.publish(&model, "bench", "bench");
        let daemon_b = Daemon::start(&b, ["--bootstrap", &daemon_a.address()]);
        b.run(["pull", &reference, "--cache-only"]).ok();
        let nginx = Nginx::start(scratch.path(), &model);
        Self {
            scratch,
            model,
            reference,
            servers: vec![daemon_a, daemon_b],
            _homes: vec![a, b],
            nginx,
            peak_puller: 0,
        }
    }

    fn weights(&self) -> PathBuf {
        self.model.join("model.safetensors")
    }

    fn hash_reg(&self) -> Cost {
        use std::io::Read;
        let own = u32::try_from(getpid().as_raw_nonzero().get()).expect("a process id");
        let (start, before) = (Instant::now(), cpu_seconds(own).unwrap_or(0.0));
        let mut file = fs::File::open(self.weights()).expect("the weights");
        let mut hasher = StateHasher::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).expect("read") {
                0 => break,
                length => hasher.update(&buffer[..length]),
            }
        }
        hasher.finish().expect("a blob");
        Cost { seconds: start.elapsed().as_secs_f64(), cpu: cpu_seconds(own).unwrap_or(0.0) - before }
    }

    fn hash_openssl(&self) -> Cost {
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha256"]).arg(self.weights());
        timed(&mut command).0
    }

    /// Pulls into a fresh home from the first `peers` servers, into the cache only: synced, verified, whole.
    fn pull(&mut self, peers: usize) -> Cost {
        let home = Home::new("P");
        let servers = &self.servers[..peers];
        let before: f64 = servers.iter().map(Daemon::cpu_seconds).sum();
        let mut args =
            vec!["pull".to_owned(), self.reference.clone(), "--cache-only".into(), "--no-mdns".into()];
        args.extend(["--dht", "off", "--no-gossip", "-q"].map(str::to_owned));
        servers.iter().for_each(|server| args.extend(["--from".to_owned(), server.address()]));
        let (mut cost, peak) = timed(&mut home.command(args));
        cost.cpu += servers.iter().map(Daemon::cpu_seconds).sum::<f64>() - before;
        self.peak_puller = self.peak_puller.max(peak);
        cost
    }

    fn curl(&self) -> Cost {
        let nginx = self.nginx.as_ref().expect("nginx runs");
        let out = self.scratch.path().join("curl.out");
        let before = nginx.cpu();
        let (mut cost, _) = timed(Command::new("curl").args(["-sS", "-o"]).arg(&out).arg(&nginx.url));
        let start = Instant::now();
        fs::File::open(&out).and_then(|file| file.sync_all()).expect("synced");
        cost.seconds += start.elapsed().as_secs_f64();
        let (hash, _) = timed(Command::new("openssl").args(["dgst", "-sha256"]).arg(&out));
        drop(fs::remove_file(&out));
        Cost { seconds: cost.seconds + hash.seconds, cpu: cost.cpu + hash.cpu + nginx.cpu() - before }
    }
}

/// Runs a command to its end and returns what it cost, and the most memory it had.
fn timed(command: &mut Command) -> (Cost, u64) {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    let (mut cpu, mut peak) = (0.0, 0);
    loop {
        // A process that has ended but was not waited for still tells its CPU seconds.
        cpu = cpu_seconds(child.id()).unwrap_or(cpu);
        peak = peak.max(reg_testnet::process::peak_rss(child.id()).unwrap_or(0));
        if is_zombie(child.id()) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let seconds = start.elapsed().as_secs_f64();
    cpu = cpu_seconds(child.id()).unwrap_or(cpu);
    let status = wait_until(&mut child, Instant::now() + std::time::Duration::from_secs(5));
    assert!(status.is_some_and(|status| status.success()), "{command:?} failed");
    (Cost { seconds, cpu }, peak)
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// nginx serving the model's folder on a port of its own on loopback.
struct Nginx {
    master: std::process::Child,
    url: String,
}

impl Nginx {
    fn start(scratch: &Path, model: &Path) -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .find(|it| Path::new(it).exists())?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let dir = scratch.join("nginx");
        fs::create_dir_all(dir.join("logs")).ok()?;
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;\n\
             events {{}}\nhttp {{ access_log off; sendfile on; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;\n\
             fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
             server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n",
            dir = dir.display(),
            root = model.display()
        );
        fs::write(dir.join("nginx.conf"), config).ok()?;
        fs::set_permissions(scratch, std::os::unix::fs::PermissionsExt::from_mode(0o755)).ok()?;
        let mut master =
            Command::new(program).arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf")).spawn().ok()?;
        std::thread::sleep(std::time::Duration::from_millis(500));
        if !matches!(master.try_wait(), Ok(None)) {
            return None;
        }
        Some(Self { master, url: format!("http://127.0.0.1:{port}/model.safetensors") })
    }

    fn cpu(&self) -> f64 {
        cpu_seconds(self.master.id()).unwrap_or(0.0)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        reg_testnet::process::signal(self.master.id(), Signal::TERM);
        drop(self.master.wait());
    }
}
