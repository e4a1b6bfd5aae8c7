//! Arguments of `reg status`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg status
  reg status --watch                  the same every 2 s, until Ctrl-C
  reg status ./my-model               of which version the folder is, and what differs
  reg status ./my-model --exit-code   the same for scripts: 4 where a file is changed or missing")]
pub struct Status {
    /// A folder that `reg pull` has filled; without one, the node
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Show the state of the daemon again every 2 s; without a terminal, as one line each time
    #[arg(short, long, conflicts_with = "dir")]
    pub watch: bool,
    /// Hash every file, instead of only those with another size or time than before
    #[arg(long, requires = "dir")]
    pub hash: bool,
    /// End with 4 where a file is changed or missing
    #[arg(long, requires = "dir")]
    pub exit_code: bool,
}
