//! Defines the arguments of `reg donate`.

use clap::{Args as ClapArgs, Subcommand};
use reg_api::donate::{DonateScope, DonateScopeError};
use reg_proto::name::Reference;

/// Donates disk space to models that few others keep.
#[derive(Debug, ClapArgs)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  reg donate 200G                           keep the scarcest models of publishers that you have named or follow
  reg donate 50G --scope 'acme/*'           only those of acme
  reg donate 1T --limit 2M                  send at most 2 MB of them in a second
  reg donate 200G --scope '*'               of strangers too: asks first, and needs a denylist that you are subscribed to
  reg donate ls                             what is kept for others, since when, and how scarce it is
  reg donate why acme/my-model              why a model is kept, or not
  reg donate stop

The daemon decides by replicas that it has proven itself (`reg health`). What your rules or denylists refuse, or what you have not
consented to, is never kept. Donated space comes on top of the cache, and gives way at once when you need the disk."
)]
pub struct Donate {
    #[command(subcommand)]
    pub command: Option<DonateCommand>,
    /// How much of the disk, as in 200G
    #[arg(value_name = "SIZE", required = true, value_parser = size)]
    pub size: Option<u64>,
    /// Which models: `named` (publishers that you have named or follow), PUBLISHER/MODELS with * for any characters, or `*`
    #[arg(long, default_value = "named", value_parser = scope)]
    pub scope: DonateScope,
    /// How fast donated models are sent, all together, as in 2M (bytes in a second); the limits of the node hold beside it
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub limit: Option<u64>,
    /// Keep models of strangers without being asked
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum DonateCommand {
    /// List what is kept for others
    #[command(alias = "list", after_help = "Examples:\n  reg donate ls\n  reg donate ls --json")]
    Ls,
    /// Donate no longer, and remove what was kept for others alone
    #[command(
        after_help = "Examples:\n  reg donate stop\n  reg donate stop --keep             keep the models, in the cache"
    )]
    Stop(StopDonating),
    /// Say why a model is kept for others, or not
    #[command(after_help = "Examples:\n  reg donate why acme/my-model:v1")]
    Why {
        /// publisher/model[:tag][@sha256:…]
        reference: Reference,
    },
}

#[derive(Debug, ClapArgs)]
pub struct StopDonating {
    /// Keep the models: they are part of the cache from then on
    #[arg(long)]
    pub keep: bool,
    /// Remove them without being asked
    #[arg(long)]
    pub yes: bool,
}

/// Parses a number of bytes, as in `8G` or `500M`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    reg_node::daemon::parse_size(text).ok_or_else(|| "not a size: 500M, 8G or 2T".to_owned())
}

fn rate(text: &str) -> Result<u64, String> {
    reg_node::daemon::parse_rate(text).ok_or_else(|| "not a rate of at least 64k: 500k or 2M".to_owned())
}

fn scope(text: &str) -> Result<DonateScope, DonateScopeError> {
    text.parse()
}
