//! Defines the arguments of `reg follow`.

use clap::{Args as ClapArgs, Subcommand};
use reg_api::consent::kind_to_allow;
use reg_api::follow::{DelayError, Followed, KEEP_MAX, parse_delay};
use reg_api::selection::{Pattern, Quant};
use reg_proto::content::kind::ContentKind;
use reg_proto::glob::ModelGlob;
use reg_proto::ticket::Ticket;

use super::Net;
use crate::ticketed::FollowSource;

/// Follows a publisher or a collection, or shows and changes what is followed.
#[derive(Debug, ClapArgs)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  reg follow acme                           every model of acme, a day after this node has heard of a new version
  reg follow 'acme/llama-*' --keep 3 --delay 7d
  reg follow acme/llama --quant Q4_K_M
  reg follow acme/small-ocr                 a collection, if it is one: what it lists is found first, and not pulled
  reg follow reg:qp…                        the model or the publisher that a ticket names (`reg share` prints one)
  reg follow ls                             what is followed, which versions are here, and which ones wait
  reg follow pause acme
  reg follow rm acme                        what was pulled stays until the cache needs its room

The daemon pulls. Each pull obeys your rules (`reg trust require`); what its publisher withdraws within the delay is not
taken. The newest version that is here for more than seven days is kept, whatever --keep says.

A name without * is looked up first, because it may be that of a collection (`reg collection --help`). A collection makes
its publishers known: they come first in `reg search`, and are listed whole. It makes no signature valid and waives no rule."
)]
pub struct Follow {
    #[command(subcommand)]
    pub command: Option<FollowCommand>,
    /// PUBLISHER, PUBLISHER/MODELS with * for any characters, or a ticket of a model; the publisher is an id, a petname, or a domain
    #[arg(value_name = "PUBLISHER[/MODELS]|TICKET", required = true, value_parser = source)]
    pub what: Option<FollowSource>,
    /// Follow the versions of the model, without looking whether it is a collection
    #[arg(long)]
    pub models: bool,
    /// Keep this many versions of each model
    #[arg(long, value_name = "N", default_value_t = reg_api::follow::KEEP, value_parser = clap::value_parser!(u32).range(1..=i64::from(KEEP_MAX)))]
    pub keep: u32,
    /// Wait this long after this node has heard of a version, as in 24h, 30m, 7d, or 0
    #[arg(long, value_name = "TIME", default_value = DELAY_SHOWN, value_parser = delay)]
    pub delay: u64,
    /// Only files with a matching path, as in .gitignore (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<Pattern>,
    /// Leave out files with a matching path (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<Pattern>,
    /// Only the GGUF files of one quantisation, as in Q4_K_M, with their projector and the model's documents
    #[arg(long, value_name = "TAG")]
    pub quant: Option<Quant>,
    /// Take files of these kinds, as in pickle,code (`reg formats` lists them)
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind_to_allow)]
    pub allow: Vec<ContentKind>,
    #[command(flatten)]
    pub net: Net,
}

#[derive(Debug, Subcommand)]
pub enum FollowCommand {
    /// List what is followed, with its versions
    #[command(alias = "list", after_help = "Examples:\n  reg follow ls\n  reg follow ls --json")]
    Ls,
    /// End a follow; what it has pulled may be evicted from then on
    #[command(aliases = ["remove", "delete"], 
        after_help = "Examples:\n  reg follow rm acme\n  reg follow rm 'acme/llama-*'\n  reg follow rm acme/small-ocr"
    )]
    Rm(Meant),
    /// Pull no more versions until `resume`
    #[command(after_help = "Examples:\n  reg follow pause acme")]
    Pause(Meant),
    /// Go on with a follow that was paused
    #[command(after_help = "Examples:\n  reg follow resume acme")]
    Resume(Meant),
}

/// Names one follow.
#[derive(Debug, ClapArgs)]
pub struct Meant {
    /// The follow, as `reg follow ls` prints it
    #[arg(value_name = "PUBLISHER[/MODELS]", value_parser = followed)]
    pub what: Followed,
}

/// The usual delay, as it is typed.
const DELAY_SHOWN: &str = "24h";

fn delay(text: &str) -> Result<u64, DelayError> {
    parse_delay(text)
}

/// Parses what is to be followed, by its name or by a ticket.
fn source(text: &str) -> Result<FollowSource, String> {
    if Ticket::is_meant(text) {
        text.parse()
    } else {
        Ok(FollowSource { followed: followed(text)?, ticket: None })
    }
}

/// Parses `PUBLISHER` or `PUBLISHER/MODELS`.
fn followed(text: &str) -> Result<Followed, String> {
    let (publisher, models) = text.split_once('/').unwrap_or((text, "*"));
    if models.contains(['@', ':']) {
        return Err("a follow takes new versions of every tag: leave out the tag and the digest".to_owned());
    }
    let publisher = publisher.parse().map_err(|error: reg_proto::name::NameError| error.to_string())?;
    let models: ModelGlob = models.parse().map_err(|error: reg_proto::glob::GlobError| error.to_string())?;
    Ok(Followed { publisher, models })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_delay_is_the_one_of_the_interface() {
        assert_eq!(delay(DELAY_SHOWN), Ok(reg_api::follow::DELAY));
    }
}
