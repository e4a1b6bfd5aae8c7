//! Defines the flags that select parts of a model for a pull, and the files of a new model.

use clap::Args as ClapArgs;
use reg_api::ingest::Ingest;
use reg_api::selection::Pattern;
use reg_api::selection::Quant;
use reg_api::selection::Selection;

const HEADING: &str = "What of the model";

/// Holds the selection flags: which files or tensors of a model are wanted.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Choice {
    /// Only files with a matching path, as in .gitignore: `*.gguf`, `onnx/`, `/config.json` (repeatable)
    #[arg(long, help_heading = HEADING, value_name = "GLOB")]
    pub include: Vec<Pattern>,
    /// Leave out files with a matching path (repeatable)
    #[arg(long, help_heading = HEADING, value_name = "GLOB")]
    pub exclude: Vec<Pattern>,
    /// Only the GGUF files of one quantisation, as in Q4_K_M, with their projector and the model's documents
    #[arg(long, help_heading = HEADING, value_name = "TAG")]
    pub quant: Option<Quant>,
    /// Only tensors with a matching name, as in `model.layers.0.*`, in safetensors files without the others (repeatable)
    #[arg(long, help_heading = HEADING, value_name = "GLOB", conflicts_with_all = ["quant", "dry_run", "to_hf_cache"])]
    pub tensors: Vec<Pattern>,
    /// Show what would be fetched, what is in the store, and the disk space needed; fetch 64 MiB at most, to judge the small files
    #[arg(long, help_heading = HEADING)]
    pub dry_run: bool,
}

impl Choice {
    /// Returns the selection of files. Tensor patterns are not part of it.
    pub fn selection(&self) -> Selection {
        let Self { include, exclude, quant, .. } = self.clone();
        Selection { include, exclude, quant }
    }
}

/// Holds the flags that choose the files of a new model.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct FileChoice {
    /// Only files with a matching path, as in .gitignore: `*.gguf`, `onnx/`, `/config.json` (repeatable)
    #[arg(long, help_heading = FILES, value_name = "GLOB")]
    pub include: Vec<Pattern>,
    /// Leave out files and directories with a matching path (repeatable); a `.regignore` in a directory does so too
    #[arg(long, help_heading = FILES, value_name = "GLOB")]
    pub exclude: Vec<Pattern>,
    /// Take files and directories with a name that begins with a dot; what looks like a secret stays out
    #[arg(long, help_heading = FILES)]
    pub hidden: bool,
    /// Take matching files although they look like secrets, as in `.env` or `tests/key.pem` (repeatable)
    #[arg(long, help_heading = FILES, value_name = "GLOB")]
    pub secret: Vec<Pattern>,
    /// Show which files would be taken and which not, and why; refuse what would be refused, and sign nothing
    #[arg(long, help_heading = FILES)]
    pub dry_run: bool,
}

const FILES: &str = "Which files";

impl FileChoice {
    /// Returns the choice, with large files linked or copied.
    pub fn ingest(&self, link: bool) -> Ingest {
        let Self { include, exclude, hidden, secret, .. } = self.clone();
        Ingest { include, exclude, hidden, secrets: secret, link, no_ignore_files: false }
    }
}
