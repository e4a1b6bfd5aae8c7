//! Defines the arguments of `reg publisher`.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use reg_keys::keyring::KeyName;
use reg_proto::content::label::Label;
use reg_proto::domain::Domain;
use reg_proto::name::Publisher;
use reg_proto::peer::Address;
use reg_proto::profile::Homepage;

use super::Net;

pub(super) const PUBLISHER_EXAMPLES: &str = "\
Examples:
  reg publisher set --key me --domain acme.org --title 'Acme Research'
  reg publisher dns --key me       what acme.org must say
  reg publisher show acme";

#[derive(Debug, Subcommand)]
pub enum PublisherCommand {
    /// Sign what you say of yourself: the domain that stands for you, a title, and the address of a page
    Set(Box<SetProfile>),
    /// Show what a publisher says of itself
    #[command(after_help = "Examples:\n  reg publisher show acme\n  reg publisher show ID --json")]
    Show {
        /// Publisher: an id, a petname, or a domain that is pinned
        publisher: Publisher,
    },
    /// Print what a domain must say so that it stands for you: a file of its web server, or a TXT record
    #[command(
        after_help = "Examples:\n  reg publisher dns --key me\n  reg publisher dns --key me --peer /ip4/192.0.2.7/tcp/4600/p2p/12D3KooW…"
    )]
    Dns {
        /// Key of the publisher
        #[arg(long, value_name = "NAME")]
        key: KeyName,
        /// Peer to name beside this node's public addresses (repeatable)
        #[arg(long, value_name = "MULTIADDR")]
        peer: Vec<Address>,
    },
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg publisher set --key me --domain acme.org --title 'Acme Research' --url https://acme.org/models
  reg publisher set --key me --title 'Acme Labs'        the rest stays as it is
  reg publisher set --key me --clear domain

A domain stands for you once it names you (`reg publisher dns`) and your profile names it. Every node that has a model of
yours keeps your profile too, and sends it to others.")]
pub struct SetProfile {
    /// Key to sign with (`reg key new NAME` makes one)
    #[arg(long, value_name = "NAME")]
    pub key: KeyName,
    /// Domain that stands for you
    #[arg(long)]
    pub domain: Option<Domain>,
    /// Your name for people, in one line
    #[arg(long)]
    pub title: Option<Label>,
    /// Address of a page about you: https://…
    #[arg(long)]
    pub url: Option<Homepage>,
    /// Say no longer (repeatable)
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub clear: Vec<ProfilePart>,
    /// Write the signing file for the other keys to this path
    #[arg(long, value_name = "FILE")]
    pub out: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub net: Net,
}

/// A part of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfilePart {
    Domain,
    Title,
    Url,
}
