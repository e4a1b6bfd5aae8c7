//! Tests keys with other tools: OpenSSL reads and writes our key files, and ssh-agent signs without giving its key away.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use data_encoding::HEXLOWER;
use reg_testnet::clients::{self, Tool};
use reg_testnet::process::{Daemon, Home, Ran, text, until};

fn owner_only(path: &Path, bytes: &str) {
    fs::write(path, bytes).expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("ours");
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn model(home: &Home) -> String {
    let dir = home.path().join("model");
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("config.json"), "{\"model_type\":\"tiny\"}").expect("written");
    dir.to_string_lossy().into_owned()
}

/// The public half as OpenSSL reads it out of a private key: the last 32 bytes of the DER form.
fn public_by_openssl(openssl: &Tool, key: &Path, passphrase: &Path) -> Option<String> {
    let mut command = openssl.command();
    command.args(["pkey", "-pubout", "-outform", "DER", "-passin"]);
    command.arg(format!("file:{}", passphrase.display())).arg("-in").arg(key);
    let output = command.output().expect("openssl runs");
    let bytes = output.stdout.last_chunk::<32>().filter(|_| output.status.success())?;
    Some(format!("ed25519:{}", HEXLOWER.encode(bytes)))
}

#[test]
fn openssl_reads_our_key_files_and_we_read_those_of_openssl() {
    let openssl = clients::tool("openssl", &clients::OPENSSL);
    if clients::is_left_out(&openssl) {
        return;
    }
    let openssl = openssl.expect("openssl is there");
    let home = Home::new("A");
    let [right, wrong] = ["right", "wrong"].map(|name| home.path().join(name));
    owner_only(&right, "correct horse\n");
    owner_only(&wrong, "correct house\n");
    let reg = |args: &[&str], passphrase: &Path| -> Ran {
        home.ran(home.command(args).arg("--json").env("REG_KEY_PASSPHRASE_FILE", passphrase))
    };
    for (name, flag) in [("plain", None), ("closed", Some("--passphrase"))] {
        let args: Vec<&str> = ["key", "new", name].into_iter().chain(flag).collect();
        let made = reg(&args, &right).ok().json();
        let path = PathBuf::from(text(&made["path"]));
        let public = Some(text(&made["public_key"]));
        assert_eq!(public_by_openssl(&openssl, &path, &right), public, "{name}");
        let opened = public_by_openssl(&openssl, &path, &wrong);
        assert_eq!(opened.is_some(), flag.is_none(), "openssl opens {name} with a wrong passphrase");
    }
    let keys = home.path().join("keys");
    let pass = |which: &str| [which.to_owned(), format!("file:{}", right.display())];
    let plain = home.path().join("theirs.pem");
    done(openssl.command().args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&plain));
    let public = public_by_openssl(&openssl, &plain, &right).expect("a key");
    // Every way in which OpenSSL protects a key file today: PBKDF2 with some ciphers, and scrypt.
    let forms: [(&str, &[&str]); 4] = [
        ("bare", &["-nocrypt"]),
        ("pbkdf2", &["-v2", "aes-256-cbc"]),
        ("sha512", &["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"]),
        ("scrypt", &["-scrypt"]),
    ];
    for (name, form) in forms {
        let path = keys.join(format!("{name}.pem"));
        let mut command = openssl.command();
        command.args(["pkcs8", "-topk8", "-in"]).arg(&plain).arg("-out").arg(&path).args(form);
        done(command.args(pass("-passout")));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
        assert_eq!(text(&reg(&["key", "show", name], &right).ok().json()["public_key"]), public, "{name}");
        if name != "bare" {
            reg(&["key", "show", name], &wrong).failed(6, &format!("passphrase of key {name} is wrong"));
        }
    }
    let published =
        reg(&["publish", &model(&home), "tiny", "--key", "scrypt", "--offline"], &right).ok().json();
    assert_eq!(published["publisher"], reg(&["key", "show", "bare"], &right).ok().json()["publisher"]);
}

/// An ssh-agent with a folder of its own; ended when it is dropped.
struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(dir: &Path) -> Option<Self> {
        let program = clients::tool("ssh-agent", &clients::OPENSSH);
        if clients::is_left_out(&program) {
            return None;
        }
        let socket = dir.join("agent");
        let process = program.expect("ssh-agent is there").command().arg("-D").arg("-a").arg(&socket).spawn();
        let process = process.expect("ssh-agent runs");
        until("the agent listens", || UnixStream::connect(&socket).is_ok());
        Some(Self { process, socket })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = clients::tool(program, &clients::OPENSSH).expect("it is there").command();
        command.env("SSH_AUTH_SOCK", &self.socket);
        command
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn ssh_agent_signs_what_is_published_and_keeps_its_key() {
    let [a, b] = ["A", "B"].map(Home::new);
    let Some(agent) = Agent::start(a.path()) else { return };
    let file = a.path().join("id");
    done(agent.command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file));
    done(agent.command("ssh-add").arg("-q").arg(&file));
    fs::remove_file(&file).expect("the agent alone has the key from now on");
    let public = file.with_extension("pub").to_string_lossy().into_owned();
    let reg = |args: &[&str]| -> Ran {
        a.ran(a.command(args).arg("--json").env("SSH_AUTH_SOCK", &agent.socket).env_remove("DISPLAY"))
    };
    reg(&["key", "import", "me", "--agent", &public]).ok();
    let daemon = Daemon::start(&a, ["--dht", "off"]);
    let path = model(&a);
    let published = reg(&["publish", &path, "tiny:v1", "--key", "me"]).ok().json();
    let reference = text(&published["reference"]);
    let flags = ["--dht", "off", "--no-gossip"];
    let pulled = b.pull(&reference, &[&daemon.address()], &flags).ok().json();
    assert_eq!(pulled["publisher"], published["publisher"]);
    // Everything that a key signs: what others are told of a model, the authority, a rotation, a revocation.
    reg(&["attest", &reference, "--kind", "review", "--result", "pass", "--key", "me"]).ok();
    let made = reg(&["key", "export-ca", "me"]).ok().json();
    assert!(text(&made["authorities"][0]["pem"]).contains("BEGIN CERTIFICATE"), "{made}");
    reg(&["key", "rotate", "me", "--yes"]).ok();
    let again = reg(&["publish", &path, "tiny:v2", "--key", "me"]).ok().json();
    assert_eq!(again["publisher"], published["publisher"]);
    b.pull(&text(&again["reference"]), &[&daemon.address()], &flags).ok();
    // Nothing is left of it once the agent has forgotten it.
    done(agent.command("ssh-add").args(["-q", "-D"]));
    reg(&["key", "import", "same", "--agent", &public]).ok();
    reg(&["publish", &path, "tiny:v3", "--key", "same"]).failed(5, "ssh-agent does not sign with ed25519:");
    let no_agent =
        a.ran(a.command(["publish", &path, "tiny:v3", "--key", "same"]).env_remove("SSH_AUTH_SOCK"));
    no_agent.failed(5, "SSH_AUTH_SOCK is not set");
}
