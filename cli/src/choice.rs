//! Defines the flags that select parts of a model for a pull.

use clap::Args as ClapArgs;
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
    /// Show what would be fetched, what is in the store, and the disk space needed; fetch nothing
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
