//! What of a model a pull is about, as flags.

use clap::Args as ClapArgs;
use reg_api::selection::Pattern;
use reg_api::selection::Quant;
use reg_api::selection::Selection;

const HEADING: &str = "What of the model";

/// The files that are wanted.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Choice {
    /// Only files whose path matches, as in .gitignore: `*.gguf`, `onnx/`, `/config.json` (repeatable)
    #[arg(long, help_heading = HEADING, value_name = "GLOB")]
    pub include: Vec<Pattern>,
    /// Not these files (repeatable)
    #[arg(long, help_heading = HEADING, value_name = "GLOB")]
    pub exclude: Vec<Pattern>,
    /// Only the GGUF files of one quantisation, as in Q4_K_M, with their projector and the model's documents
    #[arg(long, help_heading = HEADING, value_name = "TAG")]
    pub quant: Option<Quant>,
    /// Only the tensors whose names match, as in `model.layers.0.*`, in safetensors files with no others (repeatable)
    #[arg(long, help_heading = HEADING, value_name = "GLOB", conflicts_with_all = ["quant", "dry_run", "to_hf_cache"])]
    pub tensors: Vec<Pattern>,
    /// Only say what would be fetched, what is here already, and what the disk needs
    #[arg(long, help_heading = HEADING)]
    pub dry_run: bool,
}

impl Choice {
    /// Returns which files are wanted.
    pub fn selection(&self) -> Selection {
        let Self { include, exclude, quant, .. } = self.clone();
        Selection { include, exclude, quant }
    }
}
