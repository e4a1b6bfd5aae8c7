//! What can be typed of trust: `reg trust`, `reg attest`.

use clap::{Args as ClapArgs, Subcommand};
use reg_keys::keyring::KeyName;
use reg_proto::attestation::{AttestationKind, AttestationResult};
use reg_proto::content::label::Label;
use reg_proto::name::{Petname, Publisher, PublisherId, Reference};

use super::Net;

#[derive(Debug, Subcommand)]
pub enum Trust {
    /// Call a publisher by a name of yours
    #[command(after_help = "Examples:\n  reg trust add acme ID")]
    Add { petname: Petname, publisher: PublisherId },
    /// Let a name of yours mean another publisher than before
    #[command(after_help = "Examples:\n  reg trust accept acme NEW-ID")]
    Accept { petname: Petname, publisher: PublisherId },
    /// List the publishers you have named
    #[command(after_help = "Examples:\n  reg trust ls")]
    Ls,
    /// Show what you have said of a publisher, or all of it: names, rules, lists
    #[command(after_help = "Examples:\n  reg trust show\n  reg trust show acme --json")]
    Show { publisher: Option<Publisher> },
    /// Take a name back
    #[command(after_help = "Examples:\n  reg trust rm acme")]
    Rm { petname: Petname },
    /// Require something of models before they are fetched or served
    Require(Require),
    /// Take back what was required of these models
    #[command(after_help = "Examples:\n  reg trust waive 'acme/*'")]
    Waive {
        #[arg(value_name = "PUBLISHER/MODELS")]
        models: String,
    },
    /// Fetch a list of models to refuse, and follow it from now on
    #[command(after_help = "Examples:\n  reg trust subscribe acme/denylist")]
    Subscribe {
        #[arg(value_name = "PUBLISHER/LIST")]
        list: String,
        #[command(flatten)]
        net: Net,
    },
    /// Follow a list no longer
    #[command(after_help = "Examples:\n  reg trust unsubscribe acme/denylist")]
    Unsubscribe {
        #[arg(value_name = "PUBLISHER/LIST")]
        list: String,
    },
    /// Take and serve something although a list warns of it
    #[command(after_help = "Examples:\n  reg trust allow sha256:…\n  reg trust allow PUBLISHER-ID")]
    Allow {
        #[arg(value_name = "DIGEST|ID")]
        what: String,
    },
    /// End such an exception
    #[command(after_help = "Examples:\n  reg trust disallow sha256:…")]
    Disallow {
        #[arg(value_name = "DIGEST|ID")]
        what: String,
    },
}

/// What models must show.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg trust require '*/*' --known-publisher
  reg trust require 'acme/llama-*' --attested scan=2:alice,bob,carol
  reg trust require '*/*' --license apache-2.0 --license mit
  reg trust require '*/*' --format safetensors --format json --format text --format tokenizer_model")]
pub struct Require {
    /// Which models: a publisher (id, name of yours, or *), a slash, and a pattern with *
    #[arg(value_name = "PUBLISHER/MODELS")]
    pub models: String,
    /// Their publisher has a name of yours
    #[arg(long)]
    pub known_publisher: bool,
    /// So many attestations of a kind say pass, by these, or by whomever you have named (repeatable)
    #[arg(long, value_name = "KIND[=COUNT[:NAME,…]]")]
    pub attested: Vec<String>,
    /// Their publisher claims one of these licences (repeatable)
    #[arg(long, value_name = "SPDX")]
    pub license: Vec<String>,
    /// Their files are of these kinds, by their bytes (repeatable)
    #[arg(long, value_name = "KIND")]
    pub format: Vec<String>,
}

pub(super) const TRUST_EXAMPLES: &str = "\
Examples:
  reg trust add acme ID                             call a publisher acme
  reg trust require 'acme/*' --attested scan=1      at least one scan by somebody you have named
  reg trust subscribe acme/denylist                 refuse what acme warns of
  reg trust allow sha256:…                          but not this
  reg trust show";

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg attest acme/my-model --kind scan --result pass --tool 'picklescan 0.0.32' --key me
  reg attest acme/my-model --kind licence --result pass --note apache-2.0 --key me
  reg attest acme/my-model:v1 --kind review --result fail --note 'answers with adverts' --key me")]
pub struct Attest {
    /// publisher/model[:tag][@sha256:…], which must be here
    pub reference: Reference,
    /// What you have looked at: scan, mirror, licence, review
    #[arg(long)]
    pub kind: AttestationKind,
    /// How it came out: pass, fail, not_done
    #[arg(long)]
    pub result: AttestationResult,
    /// What you have looked with, and its version
    #[arg(long)]
    pub tool: Option<Label>,
    /// What else there is to say, in a line
    #[arg(long)]
    pub note: Option<Label>,
    /// Key to sign with (`reg key new NAME` makes one)
    #[arg(long, value_name = "NAME")]
    pub key: KeyName,
    #[command(flatten)]
    pub net: Net,
}
