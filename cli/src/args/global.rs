//! Defines the flags that every command takes.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::view::View;

/// The heading of these flags in the help of a command.
pub(super) const EVERYWHERE: &str = "Of every command";

/// Holds the flags that every command takes.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Print ids only, and no progress
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub quiet: bool,
    /// Log what is done; -vv: in detail, with the lines of libraries
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Append the log to this file instead of standard error
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Keep all state under this folder, instead of the XDG directories
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "REG_HOME", value_name = "DIR", hide_env_values = true)]
    pub home: Option<PathBuf>,
    #[command(flatten)]
    pub view: View,
}
