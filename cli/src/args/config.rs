//! Defines the arguments of `reg config`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the path of the configuration file
    #[command(after_help = "Examples:\n  reg config path")]
    Path,
    /// Print the configuration in effect, and where each value comes from: a flag, a variable, a line of the file, or the default
    #[command(aliases = ["ls", "list"], after_help = "Examples:\n  reg config show\n  reg config show --json")]
    Show,
    /// Print the value of one key
    #[command(after_help = "Examples:\n  reg config get transfer.limit_up")]
    Get {
        /// SECTION.KEY, as in transfer.limit_up
        key: String,
    },
    /// Write the value of one key into the file, and keep its comments
    #[command(
        after_help = "Examples:\n  reg config set transfer.limit_up '2 MB/s'\n  reg config set node.bootstrap /ip4/192.0.2.7/tcp/4600 /ip4/192.0.2.8/tcp/4600\n  reg reload                      a running daemon takes it"
    )]
    Set {
        /// SECTION.KEY, as in transfer.limit_up
        key: String,
        /// A text, number, true or false; several for a list
        #[arg(required = true)]
        value: Vec<String>,
    },
    /// Remove one key from the file, so that its default counts
    #[command(aliases = ["rm", "remove", "delete"], after_help = "Examples:\n  reg config unset transfer.limit_up")]
    Unset {
        /// SECTION.KEY, as in transfer.limit_up
        key: String,
    },
    /// Check the file, and print what is wrong with its line
    #[command(aliases = ["validate", "test"], after_help = "Examples:\n  reg config check && reg reload")]
    Check,
    /// Write a file with every key and its default, as comments
    #[command(after_help = "Examples:\n  reg config init")]
    Init,
}
