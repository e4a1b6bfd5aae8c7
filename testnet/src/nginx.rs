//! Runs nginx on a free port of loopback. It serves a model's folder as files, and to Hugging Face's clients.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::clients::{self, ClientError};
use crate::netns::Machine;
use crate::process::cpu_seconds;
use crate::tree;

/// Longest time until nginx must listen.
const READY: Duration = Duration::from_secs(10);
/// The repository that it serves.
pub const REPOSITORY: &str = "bench/model";
/// The commit that it names for its files.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A running nginx. Dropping it stops it.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    base: String,
}

/// Why nginx does not run.
#[derive(Debug, Error)]
pub enum NginxError {
    #[error("nginx cannot be installed")]
    Client(#[from] ClientError),
    #[error("nginx cannot be started")]
    Start(#[source] io::Error),
    #[error("nginx does not listen: {said}")]
    NotReady { said: String },
}

impl Nginx {
    /// Serves the files of `model`. nginx keeps its own files in `scratch`.
    ///
    /// # Errors
    /// See [`NginxError`].
    pub fn start(scratch: &Path, model: &Path) -> Result<Self, NginxError> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(NginxError::Start)?;
        let address = listener.local_addr().map_err(NginxError::Start)?;
        drop(listener);
        Self::start_at(scratch, model, address, None)
    }

    /// Serves the files of `model` on a machine of its own.
    ///
    /// # Errors
    /// See [`NginxError`].
    pub fn start_on(machine: &Machine, scratch: &Path, model: &Path) -> Result<Self, NginxError> {
        Self::start_at(scratch, model, (machine.ip, 8080).into(), Some(machine))
    }

    fn start_at(
        scratch: &Path,
        model: &Path,
        address: SocketAddr,
        machine: Option<&Machine>,
    ) -> Result<Self, NginxError> {
        let installed = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
        let mut command = match installed.into_iter().find(|it| Path::new(it).exists()) {
            Some(program) => {
                machine.map_or_else(|| Command::new(program), |it| it.command(Path::new(program)))
            }
            None => clients::debian("nginx", &clients::NGINX)?.command("nginx"),
        };
        let dir = scratch.join("nginx");
        fs::create_dir_all(dir.join("logs")).map_err(NginxError::Start)?;
        let config = config(&dir, model, &address.to_string());
        fs::write(dir.join("nginx.conf"), config).map_err(NginxError::Start)?;
        // nginx's worker may run as another user, which needs access to the folder.
        for path in [scratch, model] {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .map_err(NginxError::Start)?;
        }
        let process = command.arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf")).spawn();
        let nginx = Self { process: process.map_err(NginxError::Start)?, base: format!("http://{address}") };
        let start = Instant::now();
        // nginx writes the file once it listens.
        while !dir.join("pid").exists() {
            if start.elapsed() > READY {
                let said = fs::read_to_string(dir.join("error.log")).unwrap_or_default();
                return Err(NginxError::NotReady { said });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }

    /// Returns its base URL, which Hugging Face's clients take as an endpoint.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the CPU seconds it has used.
    pub fn cpu(&self) -> f64 {
        cpu_seconds(self.process.id()).unwrap_or(0.0)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        crate::process::signal(self.process.id(), rustix::process::Signal::TERM);
        drop(self.process.wait());
    }
}

fn config(dir: &Path, model: &Path, address: &str) -> String {
    let weights = tree::digest(&model.join("model.safetensors")).hex();
    let size = fs::metadata(model.join("model.safetensors")).map_or(0, |it| it.len());
    format!(
        "daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;\n\
         events {{}}\n\
         http {{ access_log off; sendfile on; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;\n\
         fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
         server {{ listen {address}; root {root};\n\
         location /{REPOSITORY}/resolve/main/ {{ alias {root}/; etag off; add_header X-Repo-Commit {COMMIT};\n\
         add_header ETag '\"{weights}\"'; add_header X-Linked-Etag '\"{weights}\"'; add_header X-Linked-Size {size}; }}\n\
         }} }}\n",
        dir = dir.display(),
        root = model.display()
    )
}
