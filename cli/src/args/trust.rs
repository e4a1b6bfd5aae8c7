//! Defines the arguments of `reg trust` and `reg attest`.

use clap::{Args as ClapArgs, Subcommand};
use reg_api::consent::kind_to_allow;
use reg_keys::keyring::KeyName;
use reg_proto::attestation::{AttestationKind, AttestationResult};
use reg_proto::content::kind::ContentKind;
use reg_proto::content::label::Label;
use reg_proto::digest::Digest;
use reg_proto::name::{Publisher, PublisherId, Reference};

use super::Net;
use crate::ticketed;

#[derive(Debug, Subcommand)]
pub enum Trust {
    /// Give a publisher a petname, or ask a domain for its publisher and pin it
    Add(AddName),
    /// Follow one of the branches of a publisher's keys, or give a petname to another publisher than before
    Accept(Accept),
    /// Point a model, or all models of a publisher, to those of another publisher
    Alias(Alias),
    /// List your petnames
    #[command(alias = "list", after_help = "Examples:\n  reg trust ls")]
    Ls,
    /// Show the petnames, rules and denylists of one publisher, or all
    #[command(after_help = "Examples:\n  reg trust show\n  reg trust show acme --json")]
    Show { publisher: Option<Publisher> },
    /// Remove a petname, or unpin a domain
    #[command(aliases = ["remove", "delete"], after_help = "Examples:\n  reg trust rm acme\n  reg trust rm acme.org")]
    Rm {
        /// Petname, or domain
        #[arg(value_name = "NAME")]
        name: Publisher,
    },
    /// Set a rule that models must meet before they are fetched or served
    Require(Require),
    /// Remove the rules for these models
    #[command(after_help = "Examples:\n  reg trust waive 'acme/*'")]
    Waive {
        #[arg(value_name = "PUBLISHER/MODELS")]
        models: String,
    },
    /// Subscribe to a denylist: fetch it, and follow its updates
    #[command(after_help = "Examples:\n  reg trust subscribe acme/denylist")]
    Subscribe {
        #[arg(value_name = "PUBLISHER/LIST")]
        list: String,
        #[command(flatten)]
        net: Net,
    },
    /// End the subscription to a denylist
    #[command(after_help = "Examples:\n  reg trust unsubscribe acme/denylist")]
    Unsubscribe {
        #[arg(value_name = "PUBLISHER/LIST")]
        list: String,
    },
    /// Fetch and serve something although a denylist names it
    #[command(after_help = "Examples:\n  reg trust allow sha256:…\n  reg trust allow PUBLISHER-ID")]
    Allow {
        #[arg(value_name = "DIGEST|ID")]
        what: String,
    },
    /// Remove such an exception
    #[command(after_help = "Examples:\n  reg trust disallow sha256:…")]
    Disallow {
        #[arg(value_name = "DIGEST|ID")]
        what: String,
    },
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg trust add acme ID         call the publisher with this id acme
  reg trust add acme reg:qp…    the same with a ticket that names the publisher
  reg trust add acme.org        ask the domain acme.org for its publisher, and pin it

A domain counts only if the publisher's signed profile names it back. It is pinned, and asked again when you pull.")]
pub struct AddName {
    /// Petname, without dots; or a domain
    #[arg(value_name = "NAME", value_parser = ticketed::name)]
    pub name: Publisher,
    /// Id of the publisher that gets the petname, or a ticket that names it
    #[arg(value_name = "ID|TICKET", value_parser = ticketed::publisher)]
    pub publisher: Option<PublisherId>,
    /// Take a TXT record of the domain, which nothing has signed
    #[arg(long)]
    pub allow_unsigned_dns: bool,
    #[command(flatten)]
    pub net: Net,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg trust accept acme                         show the branches of acme's keys, and choose one
  reg trust accept ID --head sha256:5f3c… --yes
  reg trust accept acme NEW-ID                  the petname acme means another publisher from now on
  reg trust accept acme.org                     show what the domain says and what is pinned, and choose

Two branches mean that a thief has signed one of them, or that the publisher made both by mistake. Ask the publisher
another way which key document is theirs: `reg key show NAME` and `reg key documents NAME` print it.")]
pub struct Accept {
    /// Publisher: an id, a petname, or a domain
    pub publisher: Publisher,
    /// Id of the publisher that gets the petname
    #[arg(value_name = "NEW-ID", conflicts_with_all = ["head", "yes"])]
    pub new: Option<PublisherId>,
    /// Digest of a key document of the branch to follow
    #[arg(long, value_name = "DIGEST")]
    pub head: Option<Digest>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub net: Net,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg trust alias acme/llama new-acme/llama     a pull of acme/llama fetches new-acme/llama, with a note
  reg trust alias 'acme/*' 'new-acme/*'
  reg trust alias                               list the aliases
  reg trust alias --rm acme/llama")]
pub struct Alias {
    /// The name that you use: PUBLISHER/MODEL, or PUBLISHER/*
    #[arg(value_name = "NAME", requires = "to")]
    pub from: Option<String>,
    /// The name that it means
    #[arg(value_name = "MEANS")]
    pub to: Option<String>,
    /// End an alias
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    pub rm: Option<String>,
}

/// Holds a rule: the models it is for, and what it requires of them.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg trust require '*/*' --known-publisher
  reg trust require 'acme/llama-*' --attested scan=2:alice,bob,carol
  reg trust require '*/*' --license apache-2.0 --license mit
  reg trust require 'acme/*' --newest
  reg trust require 'acme/*' --allow pickle
  reg trust require '*/*' --format safetensors --format json --format text --format tokenizer_model")]
pub struct Require {
    /// Models: a publisher (id, petname, or *), a slash, and a pattern with *
    #[arg(value_name = "PUBLISHER/MODELS")]
    pub models: String,
    /// The publisher must have a petname
    #[arg(long)]
    pub known_publisher: bool,
    /// At least COUNT attestors, among NAME,… or all your petnames, must say pass (repeatable)
    #[arg(long, value_name = "KIND[=COUNT[:NAME,…]]")]
    pub attested: Vec<String>,
    /// The publisher must claim one of these licences (repeatable)
    #[arg(long, value_name = "SPDX")]
    pub license: Vec<String>,
    /// The files' bytes must be of these kinds (repeatable)
    #[arg(long, value_name = "KIND")]
    pub format: Vec<String>,
    /// Files of these kinds are taken and served without a further consent, as in pickle,code
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind_to_allow)]
    pub allow: Vec<ContentKind>,
    /// An older version must not stand in for the newest one of a tag
    #[arg(long)]
    pub newest: bool,
}

pub(super) const TRUST_EXAMPLES: &str = "\
Examples:
  reg trust add acme ID                             call a publisher acme
  reg trust add acme.org                            ask a domain for its publisher, and pin it
  reg trust require 'acme/*' --attested scan=1      at least one scan by a publisher with a petname
  reg trust subscribe acme/denylist                 refuse what acme's denylist names
  reg trust allow sha256:…                          except this
  reg trust show";

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg attest acme/my-model --kind scan --result pass --tool 'picklescan 0.0.32' --key me
  reg attest acme/my-model --kind licence --result pass --note apache-2.0 --key me
  reg attest acme/my-model:v1 --kind review --result fail --note 'answers with adverts' --key me")]
pub struct Attest {
    /// publisher/model[:tag][@sha256:…], which must be in the store
    pub reference: Reference,
    /// Kind of statement: scan, mirror, licence, review
    #[arg(long)]
    pub kind: AttestationKind,
    /// Result: pass, fail, not_done
    #[arg(long)]
    pub result: AttestationResult,
    /// Tool that made the result, with its version
    #[arg(long)]
    pub tool: Option<Label>,
    /// Remark, in one line
    #[arg(long)]
    pub note: Option<Label>,
    /// Key to sign with (`reg key new NAME` makes one)
    #[arg(long, value_name = "NAME")]
    pub key: KeyName,
    #[command(flatten)]
    pub net: Net,
}
