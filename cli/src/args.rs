//! What can be typed. Doc comments are the help.

mod key;
mod trust;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use reg_api::repository_name::RepositoryName;
use reg_api::request::Priority;
use reg_api::web_seed::WebSeed;
use reg_keys::keyring::KeyName;
use reg_proto::name::{ModelName, Reference, Tag};
use reg_proto::peer::Address;

use crate::choice::Choice;
use crate::hugging_face::ImportWhat;

pub use self::key::{BoardArgs, DelegateKey, ImportKey, Key, NewKey, RevokeKey, RotateKey};
use self::trust::TRUST_EXAMPLES;
pub use self::trust::{Attest, Require, Trust};

/// A registry without a centre for open model weights.
///
/// Publishers sign, every node verifies, and every node that has a model shares it.
#[derive(Debug, Parser)]
#[command(name = "reg", version, after_help = EXAMPLES, max_term_width = 100, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  reg daemon                                   run a node
  reg key new me                               make a key to sign with
  reg publish ./my-model my-model:v1 --key me  sign and publish a directory
  reg pull acme/my-model:v1                    fetch it, verified, into ./my-model
  reg import hf:org/name --key me              copy and sign what a Hugging Face endpoint has
  reg pull ID/my-model --from /ip4/192.0.2.7/tcp/4600

Exit codes: 0 ok, 1 other, 2 usage, 3 not found, 4 verification failed, 5 unreachable, 6 denied,
7 disk full, 8 a pattern matches nothing, 75 retry later, 130 interrupted";

/// Flags of every command.
#[derive(Debug, Clone, ClapArgs)]
pub struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print ids only, and no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Keep all state under this folder, instead of the XDG directories
    #[arg(long, global = true, env = "REG_HOME", value_name = "DIR", hide_env_values = true)]
    pub home: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node: find peers, share what is here, serve the local API
    Daemon(Daemon),
    /// Make and show the keys that models are signed with
    #[command(
        subcommand,
        after_help = "Examples:\n  reg key new me                  make a key; its id is what others know you by\n  reg key ls\n  reg key export-ca me > ca.pem"
    )]
    Key(Key),
    /// Sign what was prepared elsewhere
    Sign(Sign),
    /// Show what was seen of a tag, record by record, and what its publisher has revoked
    #[command(after_help = "Examples:\n  reg log acme/my-model:v1\n  reg log acme/my-model --json")]
    Log(Named),
    /// Sign a directory or file and publish it as MODEL[:TAG]
    Publish(Publish),
    /// Copy a model from a Hugging Face endpoint, out of the cache of its clients, or one that another has signed, and publish it
    Import(Import),
    /// Fetch a model, verified, and share it
    Pull(Pull),
    /// List the models that are here
    #[command(after_help = "Examples:\n  reg ls\n  reg ls --json")]
    Ls,
    /// Show all that is known of a model: who signed it, what is computed, what is claimed
    #[command(after_help = "Examples:\n  reg info acme/my-model:v1\n  reg info acme/my-model --json")]
    Info(Named),
    /// Show what differs between two models or versions that are here: files, what is computed, the chat template
    #[command(after_help = "Examples:\n  reg diff acme/my-model:v1 acme/my-model:v2")]
    Diff {
        /// publisher/model[:tag][@sha256:…]
        one: Reference,
        two: Reference,
    },
    /// List the files of a model
    #[command(after_help = "Examples:\n  reg files acme/my-model:v1")]
    Files(Named),
    /// Rehash what is here against what was signed
    Verify(Verify),
    /// List the peers the daemon is connected to
    #[command(after_help = "Examples:\n  reg peers")]
    Peers,
    /// Show the node in figures
    #[command(after_help = "Examples:\n  reg status\n  reg status --json")]
    Status,
    /// Name publishers, say what models must show, and whose warnings count
    #[command(subcommand, after_help = TRUST_EXAMPLES)]
    Trust(Trust),
    /// Let the daemon's transfers wait: those of a model, or all, what is served to peers included
    Pause(Meant),
    /// Let the daemon's transfers go on
    Resume(Meant),
    /// Sign what you say of a model that is here: a scan, a review, a licence, where it comes from
    Attest(Attest),
    /// Keep a model from being evicted
    #[command(after_help = "Examples:\n  reg pin acme/my-model:v1")]
    Pin(Named),
    /// Let a model be evicted again
    #[command(after_help = "Examples:\n  reg unpin acme/my-model:v1")]
    Unpin(Named),
    /// Forget a model and remove the files that no other model needs
    #[command(
        after_help = "Examples:\n  reg rm acme/my-model:v1         this tag, and the model if no other tag means it"
    )]
    Rm(Named),
    /// Remove what no model needs, and what is over the cache's size
    #[command(after_help = "Examples:\n  reg gc --dry-run\n  reg gc")]
    Gc {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the OpenSSF Model Signing bundle of a model, for `model_signing verify certificate`
    #[command(after_help = "Examples:\n  reg export-signature acme/my-model:v1 > model.sig")]
    ExportSignature(Named),
    /// Print what other tools need to use this node, or run one of them with it
    Env(Env),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  reg completion bash > /etc/bash_completion.d/reg")]
    Completion { shell: clap_complete::Shell },
    /// Show or begin the configuration
    #[command(
        subcommand,
        after_help = "Examples:\n  reg config init                 a file with every key and its default\n  reg config show"
    )]
    Config(Config),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg daemon
  reg daemon --listen /ip4/0.0.0.0/tcp/4600 --bootstrap /ip4/192.0.2.7/tcp/4600
  reg daemon --offline --http 127.0.0.1:8080
  reg daemon --relay on --external /ip4/198.51.100.7/tcp/4600")]
pub struct Daemon {
    /// Address to listen on for peers (repeatable)
    #[arg(long, value_name = "MULTIADDR", env = "REG_LISTEN", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// Address of the local API and the gateways; port 0 picks one
    #[arg(long, value_name = "ADDR", env = "REG_HTTP")]
    pub http: Option<String>,
    #[command(flatten)]
    pub net: Net,
    /// Carry the first words between nodes that cannot be reached, never their pieces: auto, on, off
    #[arg(long, value_name = "MODE", env = "REG_RELAY")]
    pub relay: Option<String>,
    /// Do not ask the router to open a port (UPnP)
    #[arg(long, env = "REG_NO_UPNP", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_upnp: bool,
    /// Address at which others reach this node, where it cannot know (repeatable)
    #[arg(long, value_name = "MULTIADDR", env = "REG_EXTERNAL", value_delimiter = ',')]
    pub external: Vec<String>,
    /// How large the cache may be, as in "200 GiB"
    #[arg(long, value_name = "SIZE", env = "REG_CACHE_MAX_SIZE")]
    pub cache_max_size: Option<String>,
    /// Key that uploads through the gateways are signed with (`hf upload`, `skopeo copy`); without one they are refused
    #[arg(long, value_name = "NAME", env = "REG_PUBLISH_KEY")]
    pub publish_key: Option<String>,
    /// Let the gateways serve files that run code when they are loaded, archives, and what is not recognised
    #[arg(long, env = "REG_ALLOW_UNSAFE", value_parser = clap::builder::BoolishValueParser::new())]
    pub allow_unsafe: bool,
    /// Look up names that are neither an id nor a name of yours at a Hugging Face endpoint (HF_ENDPOINT)
    #[arg(long, value_name = "hf", env = "REG_UPSTREAM")]
    pub upstream: Option<String>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg pause                    all pulls, what gateways fetch from peers, and what is served to peers
  reg pause acme/my-model      the pulls of one model
  reg resume                   everything, what was paused alone included")]
pub struct Meant {
    /// publisher/model[:tag][@sha256:…] that is being pulled; everything where none is named
    pub reference: Option<Reference>,
}

/// How a node finds peers and talks to them.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Net {
    /// Peer to connect to (repeatable)
    #[arg(long, value_name = "MULTIADDR", env = "REG_BOOTSTRAP", value_delimiter = ',')]
    pub bootstrap: Vec<String>,
    /// Do not look for peers on the local network
    #[arg(long, env = "REG_NO_MDNS", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_mdns: bool,
    /// Part in the DHT: auto, server, client, off
    #[arg(long, value_name = "MODE", env = "REG_DHT")]
    pub dht: Option<String>,
    /// Do not take part in gossip
    #[arg(long, env = "REG_NO_GOSSIP", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_gossip: bool,
    /// Key of a private swarm: nodes with another, or none, have nothing to say to this one
    #[arg(long, value_name = "KEY", env = "REG_SWARM_KEY", hide_env_values = true)]
    pub swarm_key: Option<String>,
    /// Connect to nobody
    #[arg(long, env = "REG_OFFLINE", value_parser = clap::builder::BoolishValueParser::new())]
    pub offline: bool,
    /// Carry pieces over the swarm's own streams only, not over lanes beside it
    #[arg(long, env = "REG_NO_LANES", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_lanes: bool,
    /// How fast to send to peers: a rate as in "2 MB/s", "none", or "auto" (as fast as the line takes it without a queue)
    #[arg(long, value_name = "RATE", env = "REG_LIMIT_UP")]
    pub limit_up: Option<String>,
    /// How fast to fetch from peers: a rate of at least 64 kB/s, or "none"
    #[arg(long, value_name = "RATE", env = "REG_LIMIT_DOWN")]
    pub limit_down: Option<String>,
    /// Let the limits hold for peers on this machine and in private networks as well
    #[arg(long, env = "REG_LIMIT_LOCAL", value_parser = clap::builder::BoolishValueParser::new())]
    pub limit_local: bool,
    /// Server of HTTP to ask beside peers: a folder with the model's files, or an address with {path} or {digest} (repeatable)
    #[arg(long = "web-seed", value_name = "URL", env = "REG_WEB_SEEDS", value_delimiter = ',')]
    pub web_seeds: Vec<WebSeed>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg publish ./my-model my-model:v1 --key board --prepare v1.sign     on the machine with the model
  reg sign v1.sign --key alice                                         on alice's
  reg sign v1.sign --key bob                                           on bob's
  reg publish --signed v1.sign                                         on the first again
Look at what it says it signs: that is all it can tell you.")]
pub struct Sign {
    /// What is to be signed; the signature is added to it
    pub file: PathBuf,
    /// Key to sign with
    #[arg(long, value_name = "NAME")]
    pub key: KeyName,
    /// Only say what would be signed
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg publish ./my-model my-model --key me
  reg publish ./my-model my-model:v1 --key me --license apache-2.0
  reg publish model.gguf my-model:q4 --key me --seed-until 2
  reg publish ./my-model my-model --key board --prepare FILE    the keys are elsewhere: see reg sign --help
  reg publish --signed FILE")]
pub struct Publish {
    /// Directory or file
    #[arg(required_unless_present = "signed")]
    pub path: Option<PathBuf>,
    /// MODEL[:TAG]; the tag is `latest` where none is named
    #[arg(value_parser = model_and_tag, required_unless_present = "signed")]
    pub model: Option<(ModelName, Tag)>,
    /// Key to sign with (`reg key new NAME` makes one)
    #[arg(long, value_name = "NAME", required_unless_present = "signed")]
    pub key: Option<KeyName>,
    /// Sign nothing here: write what is to be signed to this file
    #[arg(long, value_name = "FILE")]
    pub prepare: Option<PathBuf>,
    /// Publish what was prepared and signed by `reg sign`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "model", "key", "prepare"])]
    pub signed: Option<PathBuf>,
    /// Settle a tag that is frozen: both records that contradict each other are yours
    #[arg(long)]
    pub settle: bool,
    /// Refuse the tag to whoever pulls it after this many days
    #[arg(long, value_name = "DAYS")]
    pub expires_in: Option<u64>,
    /// Licence that you publish under (repeatable)
    #[arg(long, value_name = "SPDX")]
    pub license: Vec<String>,
    #[arg(long)]
    pub title: Option<String>,
    #[arg(long)]
    pub description: Option<String>,
    /// Version, as you count them
    #[arg(long)]
    pub version: Option<String>,
    /// Where the model comes from
    #[arg(long, value_name = "URL")]
    pub source_url: Option<String>,
    /// Publish files that run code when they are loaded, archives, and what is not recognised
    #[arg(long)]
    pub allow_unsafe: bool,
    /// Warn who pulls the tag after this many days that there may be a newer one
    #[arg(long, value_name = "DAYS")]
    pub fresh_for: Option<u64>,
    /// Wait until this many other peers hold the whole model
    #[arg(long, value_name = "N")]
    pub seed_until: Option<usize>,
    #[command(flatten)]
    pub net: Net,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg import hf:org/name --key me                  as name:latest
  reg import hf:org/name@v1.0 my-name:v1 --key me  a branch, tag or commit, under another name
  reg import --from hf-cache org/name --key me     what `hf download org/name` has brought, without a second copy
  HF_ENDPOINT=http://192.0.2.7:4610 reg import hf:acme/my-model --key me
  reg import ./my-model my-model:v1 --key me --bundle my-model/model.sig --ca authority.pem

HF_ENDPOINT names the endpoint, HF_TOKEN a token for what is private. HF_HUB_CACHE or HF_HOME tell where the cache is.
Where the files come from, the endpoint and the commit, is attested under your key; `reg info` shows it.")]
pub struct Import {
    /// hf:ORG/NAME[@REVISION]; with --from hf-cache the same without `hf:`; with --bundle a directory, as in ./my-model
    #[arg(value_name = "SOURCE")]
    pub source: ImportWhat,
    /// MODEL[:TAG]; NAME:latest where none is named
    #[arg(value_parser = model_and_tag)]
    pub model: Option<(ModelName, Tag)>,
    /// Key to sign with (`reg key new NAME` makes one)
    #[arg(long, value_name = "NAME")]
    pub key: KeyName,
    /// Take what is on this machine already: the cache of Hugging Face's clients
    #[arg(long, value_name = "WHERE")]
    pub from: Option<ImportFrom>,
    /// Take a directory that somebody else has signed with OpenSSF Model Signing, by this bundle
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub bundle: Option<PathBuf>,
    /// Public key (PEM) that the bundle must be signed with
    #[arg(long, value_name = "FILE", requires = "bundle", conflicts_with = "ca")]
    pub signer: Option<PathBuf>,
    /// Certificates (PEM) of which one must vouch for who signed the bundle
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub ca: Option<PathBuf>,
    /// Entry at the top of the directory that may lie there unsigned and is not published, such as .gitattributes (repeatable)
    #[arg(long, value_name = "NAME", requires = "bundle")]
    pub unsigned: Vec<String>,
    /// Publish files that run code when they are loaded, archives, and what is not recognised
    #[arg(long)]
    pub allow_unsafe: bool,
    #[command(flatten)]
    pub net: Net,
}

/// Where a model is copied from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ImportFrom {
    /// The cache of Hugging Face's clients (HF_HUB_CACHE, HF_HOME)
    HfCache,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg pull acme/my-model               latest, into ./my-model
  reg pull acme/my-model:v1 /models/x  a tag, into a directory
  reg pull ID/my-model@sha256:…        exactly this
  reg pull acme/my-model --limit-down '2 MB/s' --priority low
  reg pull acme/my-model --quant Q4_K_M                        one quantisation and its documents
  reg pull acme/my-model --include '*.json' --exclude 'onnx/'  some files
  reg pull acme/my-model ./part --tensors 'model.layers.0.*'   some tensors
  reg pull acme/my-model --to-hf-cache           for from_pretrained(\"acme/my-model\"), offline too
  reg pull acme/my-model --to-hf-cache=org/name  the same under another name
  reg pull acme/my-model --web-seed https://huggingface.co/acme/my-model/resolve/main/
  reg pull acme/my-model --from /ip4/192.0.2.7/tcp/4600/p2p/12D3KooW…")]
pub struct Pull {
    /// publisher/model[:tag][@sha256:…]; the publisher is an id or a name of yours (`reg trust add`)
    pub reference: Reference,
    /// Directory to put the files into; ./MODEL where none is named
    pub dest: Option<PathBuf>,
    /// Peer to ask (repeatable)
    #[arg(long, value_name = "MULTIADDR")]
    pub from: Vec<Address>,
    #[command(flatten)]
    pub choice: Choice,
    /// Fetch into the cache only, and share from there
    #[arg(long, conflicts_with = "dest")]
    pub cache_only: bool,
    /// Put it into the cache of Hugging Face's clients (HF_HUB_CACHE, HF_HOME) without a second copy of large files, under
    /// the name by which it was pulled or another one
    #[arg(long, value_name = "ORG/NAME", num_args = 0..=1, require_equals = true, conflicts_with_all = ["dest", "cache_only"])]
    pub to_hf_cache: Option<Option<RepositoryName>>,
    /// Copy the files instead of sharing their bytes with the cache by reflink or hard link
    #[arg(long)]
    pub copy: bool,
    /// Replace files in the directory that differ
    #[arg(long)]
    pub overwrite: bool,
    /// Take files that run code when they are loaded, archives, and what is not recognised
    #[arg(long)]
    pub allow_unsafe: bool,
    /// Take a tag that its publisher has let expire
    #[arg(long)]
    pub allow_expired: bool,
    /// Which pull goes first where the daemon has several: low, normal, high
    #[arg(long, value_name = "PRIORITY", default_value = "normal")]
    pub priority: Priority,
    /// Show every check with its result, where the bytes came from, and what bounded the speed
    #[arg(long)]
    pub explain: bool,
    /// Write down, as JSON, what was verified, against which keys, and when
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    #[command(flatten)]
    pub net: Net,
}

#[derive(Debug, ClapArgs)]
pub struct Named {
    /// publisher/model[:tag][@sha256:…]
    pub reference: Reference,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg verify                       everything in the cache
  reg verify acme/my-model         one model
  reg verify ./my-model            a directory that was pulled
  reg verify acme/my-model --repair
  reg verify ./my-model --bundle model.sig --key signer.pub
  reg verify ./my-model --bundle model.sig --ca authority.pem --unsigned .gitattributes")]
pub struct Verify {
    /// A model, or a directory that was pulled; everything in the cache where none is named
    #[arg(value_name = "REF|PATH")]
    pub target: Option<String>,
    /// Fetch what is damaged from peers
    #[arg(long)]
    pub repair: bool,
    /// Verify a directory by an OpenSSF Model Signing bundle that anybody made, without a node
    #[arg(long, value_name = "FILE", conflicts_with = "repair")]
    pub bundle: Option<PathBuf>,
    /// Public key (PEM) that the bundle must be signed with
    #[arg(long, value_name = "FILE", requires = "bundle", conflicts_with = "ca")]
    pub key: Option<PathBuf>,
    /// Certificates (PEM) of which one must vouch for who signed the bundle
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub ca: Option<PathBuf>,
    /// Entry at the top of the directory that may lie there unsigned, such as .gitattributes (repeatable)
    #[arg(long, value_name = "NAME", requires = "bundle")]
    pub unsigned: Vec<String>,
    /// Peer to ask (repeatable)
    #[arg(long, value_name = "MULTIADDR")]
    pub from: Vec<Address>,
    #[command(flatten)]
    pub net: Net,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  eval \"$(reg env hf)\"                        for this shell
  reg env hf -- hf download acme/my-model       for one command
  reg env hf -- hf upload me/my-model . .       signed by the daemon's --publish-key
  reg env oci -- skopeo copy --dest-tls-verify=false oci:my-model docker://127.0.0.1:4610/me/my-model")]
pub struct Env {
    /// The tools that are to use this node
    pub dialect: Dialect,
    /// Command to run; without one the variables are printed
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<std::ffi::OsString>,
}

/// A protocol that a gateway speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// Hugging Face's clients: hf, transformers, vLLM, llama.cpp
    Hf,
    /// Tools of containers: skopeo, podman, oras
    Oci,
    /// Ollama
    Ollama,
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hf => "hf",
            Self::Oci => "oci",
            Self::Ollama => "ollama",
        })
    }
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print where the configuration is
    #[command(after_help = "Examples:\n  reg config path")]
    Path,
    /// Print what it means, defaults included
    #[command(after_help = "Examples:\n  reg config show")]
    Show,
    /// Write a file with every key and its default, as comments
    #[command(after_help = "Examples:\n  reg config init")]
    Init,
}

fn model_and_tag(text: &str) -> Result<(ModelName, Tag), String> {
    let (model, tag) = match text.split_once(':') {
        Some((model, tag)) => (model, tag.parse().map_err(|error| format!("{error}"))?),
        None => (text, Tag::latest()),
    };
    if model.contains('/') {
        return Err(format!("{model:?} names a publisher: that is said by --key, name the model alone"));
    }
    Ok((model.parse().map_err(|error| format!("{error}"))?, tag))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Args::command().debug_assert();
        let mut open: Vec<clap::Command> = Args::command().get_subcommands().cloned().collect();
        while let Some(command) = open.pop() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:"), "{} has no examples", command.get_name());
            open.extend(command.get_subcommands().cloned());
        }
        assert!(model_and_tag("acme/x").is_err());
        assert_eq!(model_and_tag("x").unwrap().1, Tag::latest());
    }
}
