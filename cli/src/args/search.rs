//! Defines the arguments of `reg search`.

use clap::Args as ClapArgs;
use reg_api::search::{RESULTS, SearchOrder};
use reg_proto::name::Publisher;

use super::donate::size;

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg search ocr                           models with this word in their name, title, task or summary
  reg search llama --quant Q4_K_M --max-size 8G
  reg search --task text-generation --license apache-2.0 --sort newest
  reg search --publisher acme              everything of one publisher
  reg search --base Qwen/Qwen2.5-0.5B      what is derived from a model
  reg pull 1                               fetch the first result

The search asks nobody: it reads the catalogue of this node, which it compares with peers while `reg daemon` runs. Publishers that
you have named, follow or have collected come first.")]
pub struct Search {
    /// Words of the name, title, task, summary, licence or base model
    #[arg(value_name = "WORDS")]
    pub words: Vec<String>,
    /// Only models for this task, as in text-generation
    #[arg(long)]
    pub task: Option<String>,
    /// Only models under this licence, as in apache-2.0
    #[arg(long, alias = "licence")]
    pub license: Option<String>,
    /// Only models in this format, as in gguf
    #[arg(long)]
    pub format: Option<String>,
    /// Only models with this quantisation, as in Q4_K_M
    #[arg(long, value_name = "TAG")]
    pub quant: Option<String>,
    /// Only models of at most this size, as in 8G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_size: Option<u64>,
    /// Only models that say they are derived from this one
    #[arg(long, value_name = "MODEL")]
    pub base: Option<String>,
    /// Only models of this publisher: an id, a petname, or a domain
    #[arg(long)]
    pub publisher: Option<Publisher>,
    /// Order of the results: best, newest, size, name or replicas
    #[arg(long, value_name = "ORDER", default_value = "best")]
    pub sort: SearchOrder,
    /// Only publishers that you have named, follow or have collected
    #[arg(long)]
    pub known: bool,
    /// Show at most this many results
    #[arg(long, value_name = "N", default_value_t = RESULTS)]
    pub limit: usize,
    /// Leave out the first results, to see the next ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: usize,
}
