//! Measures other tools with the same file on the same machine: curl with openssl, aria2, libtorrent, sendme.
//!
//! Each tool has a pinned version. If one cannot be installed, the benchmark names it and runs the others.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reg_proto::digest::Digest;
use reg_testnet::clients::{self, Debian};
use reg_testnet::process::cpu_seconds;

use super::cost::{Cost, run, synced};

/// nginx, and aria2 with the libraries that a small system may lack.
const NGINX: [&str; 2] = ["nginx", "libpcre2-8-0"];
const ARIA2: [&str; 7] =
    ["aria2", "libaria2-0", "libc-ares2", "libssh2-1", "libsqlite3-0", "libxml2", "libicu72"];
const LIBTORRENT: [&str; 1] = ["libtorrent==2.0.11"];
const SENDME: &str = "sendme@0.37.1";

/// A server that runs beside the measurements, and the commands that fetch and check its file.
pub(crate) struct Contender {
    server: Child,
    fetch: Fetch,
    out: PathBuf,
}

enum Fetch {
    Curl { url: String },
    Aria2 { aria2: Debian, url: String, digest: Digest },
    Libtorrent { python: PathBuf, script: PathBuf, torrent: PathBuf, port: String },
    Sendme { program: PathBuf, ticket: String },
}

/// Why a contender cannot take part.
type Absent = String;

/// Starts nginx. curl fetches from it, and openssl checks the file afterwards.
pub(crate) fn curl(file: &Path, scratch: &Path) -> Result<Contender, Absent> {
    let (server, url) = nginx(file, &scratch.join("nginx-for-curl"))?;
    Ok(Contender { server, fetch: Fetch::Curl { url }, out: scratch.join("curl.out") })
}

/// Starts nginx. aria2 fetches from it over four connections, and checks the SHA-256 itself.
pub(crate) fn aria2(file: &Path, digest: Digest, scratch: &Path) -> Result<Contender, Absent> {
    let aria2 = clients::debian("aria2", &ARIA2).map_err(|error| error.to_string())?;
    let (server, url) = nginx(file, &scratch.join("nginx-for-aria2"))?;
    Ok(Contender { server, fetch: Fetch::Aria2 { aria2, url, digest }, out: scratch.join("aria2.out") })
}

/// Starts a libtorrent seed.
pub(crate) fn libtorrent(file: &Path, scratch: &Path) -> Result<Contender, Absent> {
    let python = clients::python("libtorrent", &LIBTORRENT).map_err(|error| error.to_string())?;
    let python = python.program("python");
    let (script, torrent) = (scratch.join("torrent.py"), scratch.join("it.torrent"));
    fs::write(&script, include_str!("torrent.py")).map_err(|error| error.to_string())?;
    let mut seed = Command::new(&python);
    seed.arg(&script).arg("seed").arg(file).arg(&torrent);
    let (server, port) = told_line(&mut seed, |line| line.parse::<u16>().ok().map(|port| port.to_string()))?;
    let fetch = Fetch::Libtorrent { python, script, torrent, port };
    Ok(Contender { server, fetch, out: scratch.join("torrent.out") })
}

/// Starts sendme, which is iroh: QUIC and BLAKE3.
pub(crate) fn sendme(file: &Path, scratch: &Path) -> Result<Contender, Absent> {
    let program = clients::cargo("sendme", SENDME).map_err(|error| error.to_string())?.join("bin/sendme");
    let dir = scratch.join("sendme-from");
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let mut send = Command::new(&program);
    send.args([
        "send",
        "--relay",
        "disabled",
        "--ticket-type",
        "addresses",
        "--magic-ipv4-addr",
        "127.0.0.1:0",
    ]);
    let (server, ticket) = told_line(send.arg(file).current_dir(&dir), |line| {
        let ticket = line.split_whitespace().find(|word| word.starts_with("blob"));
        ticket.filter(|word| word.len() > 60).map(str::to_owned)
    })?;
    Ok(Contender { server, fetch: Fetch::Sendme { program, ticket }, out: scratch.join("sendme.out") })
}

impl Contender {
    /// Fetches, checks and syncs the file once.
    pub(crate) fn measure(&self) -> Option<Cost> {
        let out = &self.out;
        let before = cpu_seconds(self.server.id()).unwrap_or(0.0);
        let cost = match &self.fetch {
            Fetch::Curl { url } => run(Command::new("curl").args(["-sS", "-o"]).arg(out).arg(url))?
                .then(synced(out))
                .then(run(Command::new("openssl").args(["dgst", "-sha256"]).arg(out))?),
            Fetch::Aria2 { aria2, url, digest } => {
                let mut command = aria2.command("aria2c");
                command.args([
                    "-x",
                    "4",
                    "-s",
                    "4",
                    "-k",
                    "1M",
                    "--file-allocation=none",
                    "--disk-cache=64M",
                ]);
                command
                    .args(["--no-conf", "--quiet", "--allow-overwrite"])
                    .arg("-d")
                    .arg(out)
                    .args(["-o", "it"]);
                run(command.arg(format!("--checksum=sha-256={}", digest.hex())).arg(url))?
                    .then(synced(&out.join("it")))
            }
            Fetch::Libtorrent { python, script, torrent, port } => {
                run(Command::new(python).arg(script).arg("fetch").arg(torrent).arg(out).arg(port))?
            }
            Fetch::Sendme { program, ticket } => {
                fs::create_dir_all(out).ok()?;
                let mut command = Command::new(program);
                command.args(["receive", "--relay", "disabled", ticket]).current_dir(out);
                let cost = run(&mut command)?;
                fs::read_dir(out).ok()?.flatten().fold(cost, |cost, entry| cost.then(synced(&entry.path())))
            }
        };
        drop(fs::remove_file(out).or_else(|_| fs::remove_dir_all(out)));
        Some(cost.with_server(before, cpu_seconds(self.server.id()).unwrap_or(0.0)))
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// Starts a server, and waits for the line that names its address.
fn told_line(
    command: &mut Command,
    read: impl Fn(&str) -> Option<String>,
) -> Result<(Child, String), Absent> {
    let name = command.get_program().display().to_string();
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut server = started.map_err(|error| format!("{name}: {error}"))?;
    let mut lines = BufReader::new(server.stdout.take().ok_or("no pipe")?).lines();
    let told = lines.by_ref().map_while(Result::ok).find_map(|line| read(&line));
    // Later output is read and dropped, so that the server does not block.
    std::thread::spawn(move || lines.for_each(drop));
    match told {
        Some(told) => Ok((server, told)),
        None => {
            drop(server.kill());
            drop(server.wait());
            Err(format!("{name} ended before it printed its address"))
        }
    }
}

/// Starts nginx on a free port of loopback, from the system or from Debian's package.
fn nginx(file: &Path, dir: &Path) -> Result<(Child, String), Absent> {
    let io = |error: std::io::Error| format!("nginx: {error}");
    let installed =
        ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].into_iter().find(|it| Path::new(it).exists());
    let mut command = match installed {
        Some(program) => Command::new(program),
        None => clients::debian("nginx", &NGINX).map_err(|error| error.to_string())?.command("nginx"),
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).map_err(io)?.port();
    fs::create_dir_all(dir).map_err(io)?;
    let root = file.parent().unwrap_or(file);
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;\n\
         events {{}}\nhttp {{ access_log off; sendfile on; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;\n\
         fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
         server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n",
        dir = dir.display(),
        root = root.display()
    );
    fs::write(dir.join("nginx.conf"), config).map_err(io)?;
    command.arg("-e").arg(dir.join("error.log")).arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
    let mut server = command.stderr(Stdio::null()).spawn().map_err(io)?;
    let name = file.file_name().unwrap_or_default().display().to_string();
    for _ in 0..100 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok((server, format!("http://127.0.0.1:{port}/{name}")));
        }
    }
    drop(server.kill());
    drop(server.wait());
    Err("nginx does not answer".to_owned())
}
