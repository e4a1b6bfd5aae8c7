//! Defines the arguments of `reg ls`.

use clap::Args as ClapArgs;

use crate::model_pattern::ModelPattern;

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg ls
  reg ls acme                      the models of a publisher that you call acme, and those with this name
  reg ls 'acme/llama-*:v*'         with * for any text and ? for one character, in quotes
  reg ls sha256:ab12cd34           the model with a manifest that begins so
  reg ls --health
  reg ls --full                    whole ids, however wide the terminal is
  reg ls --json

The digits of a manifest that are shown name it in other commands too: reg info sha256:ab12cd34, reg pin acme/tiny@sha256:ab12cd34.")]
pub struct Ls {
    /// Only these: publisher/model[:tag], a publisher, a model, or the first digits of a manifest; * and ? stand for others
    pub pattern: Option<ModelPattern>,
    /// Show how many replicas of each model are proven at other nodes
    #[arg(long)]
    pub health: bool,
}
