//! containerd, which Kubernetes uses, fetches a model from the OCI gateway into its own store.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reg_proto::digest::Digest;
use reg_testnet::clients::{self, Debian};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, left_out, text, until};

/// A containerd with a store of its own; killed when it is dropped.
struct Containerd(Child);

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn containerd() -> Option<Debian> {
    if !rustix::process::geteuid().is_root() {
        left_out("containerd", "it runs as root", "run the tests as root");
        return None;
    }
    if Command::new("apt-get").arg("--version").output().is_err() {
        left_out("containerd", "it comes out of Debian's packages", "run the tests on Debian");
        return None;
    }
    let client = clients::debian("containerd", &clients::CONTAINERD);
    if clients::is_left_out(&client) { None } else { Some(client.expect("containerd is unpacked")) }
}

/// Starts it without plugins that need devices or a network.
fn start(client: &Debian, dir: &Path) -> Containerd {
    let at = dir.display();
    let plugins = ["grpc.v1.cri", "snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.devmapper"];
    let plugins: Vec<String> = plugins.iter().map(|it| format!("\"io.containerd.{it}\"")).collect();
    let config = format!(
        "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\ndisabled_plugins = [{}, \"io.containerd.internal.v1.opt\"]\n\
         [grpc]\n  address = \"{at}/sock\"\n",
        plugins.join(", ")
    );
    fs::write(dir.join("config.toml"), config).expect("written");
    let mut command = client.command("containerd");
    command.arg("-c").arg(dir.join("config.toml")).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Containerd(command.spawn().expect("containerd starts"));
    until("containerd answers", || ctr(client, dir, &["version"]).0);
    running
}

/// Runs its client; returns whether it succeeds, and what it prints.
fn ctr(client: &Debian, dir: &Path, args: &[&str]) -> (bool, Vec<u8>) {
    let mut command = client.command("ctr");
    let output = command.arg("-a").arg(dir.join("sock")).args(args).output().expect("ctr runs");
    (output.status.success(), [output.stdout, output.stderr].concat())
}

#[test]
fn containerd_fetches_a_model() {
    let Some(client) = containerd() else { return };
    let [a, b] = ["A", "B"].map(Home::new);
    let files = a.path().join("model");
    model::generate(&files, 3 << 20, 91);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&files, "boxed:v1", "me");
    let daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    // The path of a Unix socket is short.
    let scratch = tempfile::tempdir_in("/tmp").expect("a folder");
    let dir = scratch.path();
    let _running = start(&client, dir);
    let image = format!("{}/{reference}", text(&daemon.ready["http"]));
    let (fetched, said) = ctr(&client, dir, &["content", "fetch", "--plain-http", &image]);
    assert!(fetched, "{}", String::from_utf8_lossy(&said));
    for name in ["model.safetensors", "config.json", "README.md"] {
        let bytes = fs::read(files.join(name)).expect("read");
        let (is_there, content) = ctr(&client, dir, &["content", "get", &Digest::of(&bytes).to_string()]);
        assert!(is_there && content == bytes, "{name}");
    }
}
