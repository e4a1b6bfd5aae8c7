//! Defines the arguments of `reg drain` and `reg swarm`.

use clap::{Args as ClapArgs, Subcommand};

/// Takes this node out of its private swarm: other nodes take its models over first.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg drain                 ends once each model of this node has enough copies elsewhere; then switch the node off
  reg drain --status        how far it is
  reg drain --cancel        this node stays, and takes models again

The daemon goes on with it after Ctrl-C and after a restart. Nothing is removed here.")]
pub struct Drain {
    /// Show how far it is, and change nothing
    #[arg(long, conflicts_with = "cancel")]
    pub status: bool,
    /// Stay in the swarm
    #[arg(long)]
    pub cancel: bool,
}

#[derive(Debug, Subcommand)]
pub enum SwarmCommand {
    /// Show the members, and how many copies each model has
    #[command(after_help = "Examples:\n  reg swarm status\n  reg swarm status --json")]
    Status,
}
