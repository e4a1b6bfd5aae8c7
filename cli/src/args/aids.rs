//! Defines the arguments of commands that help to use the others: help, completions, man pages.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use clap_complete::Shell;

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg help                         the commands and the topics
  reg help pull                    a command
  reg help key rotate
  reg help names                   a topic")]
pub struct Help {
    /// A command with its subcommand, or a topic
    #[arg(value_name = "COMMAND|TOPIC")]
    pub about: Vec<String>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  source <(reg completion bash)                                    for this shell
  reg completion bash > /etc/bash_completion.d/reg                 for every user
  reg completion zsh > ~/.zfunc/_reg                               a folder of $fpath
  reg completion fish > ~/.config/fish/completions/reg.fish

In bash, zsh and fish, models, tags, keys, publishers and peers are completed too. Nothing is completed that takes longer than 300 ms \
to find.")]
pub struct Completion {
    pub shell: Shell,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg man /usr/local/share/man/man1
  man -l reg-pull.1")]
pub struct Man {
    /// Folder for the pages; it is made if it is not there
    pub dir: PathBuf,
}

/// Holds the words before the cursor, from the shells' scripts.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  reg complete-words -- pull acme/")]
pub struct CompleteWords {
    #[arg(last = true)]
    pub words: Vec<String>,
}
