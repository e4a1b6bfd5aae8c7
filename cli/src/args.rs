//! Defines the commands, arguments and flags of `reg`. Their doc comments are the help text.

mod aids;
mod collection;
mod config;
mod donate;
mod follow;
mod global;
mod health;
mod key;
mod ls;
mod page;
mod peers;
mod publisher;
mod search;
mod status;
mod swarm;
mod trust;
mod unlist;
mod view;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use reg_api::consent::kind_to_allow;
use reg_api::repository_name::RepositoryName;
use reg_api::request::{MinUsable, Priority};
use reg_api::selection::{Pattern, Quant};
use reg_api::web_seed::WebSeed;
use reg_keys::keyring::KeyName;
use reg_proto::content::kind::ContentKind;
use reg_proto::content::label::Label;
use reg_proto::name::{ModelName, Reference, Tag};
use reg_proto::peer::Address;

use crate::choice::{Choice, FileChoice};
use crate::hugging_face::ImportWhat;
use crate::short_names::model_or_path;
use crate::ticketed::{ModelArg, TagArg};

pub use self::aids::{CompleteWords, Completion, Help, Man};
use self::collection::COLLECTION_EXAMPLES;
pub use self::collection::{AddEntry, CollectionCommand, NewCollection, RemoveEntry, ShowCollection};
pub use self::config::Config;
pub use self::donate::{Donate, DonateCommand};
pub use self::follow::{Follow, FollowCommand};
pub use self::global::Global;
pub use self::health::Health;
pub use self::key::{
    AbandonKey, CommitKey, DelegateKey, ImportKey, Key, KeySetArgs, NewKey, NextArgs, RevokeKey, RotateKey,
};
pub use self::ls::Ls;
pub use self::page::Page;
pub use self::peers::{ChangePeers, Peers, Share};
use self::publisher::PUBLISHER_EXAMPLES;
pub use self::publisher::{ProfilePart, PublisherCommand, SetProfile};
pub use self::search::Search;
pub use self::status::Status;
pub use self::swarm::{Drain, SwarmCommand};
use self::trust::TRUST_EXAMPLES;
pub use self::trust::{Accept, AddName, Alias, Attest, Require, Trust};
pub use self::unlist::Unlist;

/// A decentralised registry for open model weights.
///
/// Publishers sign models, every node verifies them, and every node that holds a model shares it.
#[derive(Debug, Parser)]
#[command(
    name = "reg",
    version,
    long_version = LONG_VERSION,
    after_help = EXAMPLES,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const LONG_VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), "\ncommit  ", env!("REG_COMMIT"), "\ntarget  ", env!("REG_TARGET"));

const EXAMPLES: &str = "\
Examples:
  reg daemon                                   run a node
  reg key new me                               make a key to sign with
  reg publish ./my-model my-model:v1 --key me  sign and publish a directory
  reg pull acme/my-model:v1                    fetch it, verified, into ./my-model
  reg search ocr                               find models; `reg pull 1` fetches the first one
  reg import hf:org/name --key me              copy a repository from a Hugging Face endpoint, and sign it
  reg export acme/my-model -o my-model.tar     for a machine without a network; there: reg import my-model.tar
  reg pull ID/my-model --from /ip4/192.0.2.7/tcp/4600

Exit codes: 0 ok, 1 other, 2 usage, 3 not found, 4 verification failed, 5 unreachable, 6 denied, 7 disk full, 8 a pattern matches \
nothing, 75 retry later, 130 interrupted. `reg help exit-codes` says more; `reg help` lists the topics.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node: find peers, share the models in the store, serve the local API
    #[command(aliases = ["serve", "start"])]
    Daemon(Daemon),
    /// Make, import, show and change the keys that sign models
    #[command(
        subcommand,
        alias = "keys",
        after_help = "Examples:\n  reg key new me                  make a key; others refer to you by its publisher id\n  reg key ls\n  reg key rotate me               a next key takes over\n\nA KEY in the commands below is the name of a key on this machine, or a public key: ed25519:HEX, as\n`reg key show` prints it."
    )]
    Key(Key),
    /// Sign documents that were prepared on another machine
    Sign(Sign),
    /// Show the records of a tag that this node has seen, and what its publisher has revoked
    #[command(
        alias = "history",
        after_help = "Examples:\n  reg log acme/my-model:v1\n  reg log acme/my-model --json"
    )]
    Log(Log),
    /// Sign a directory or file and publish it as MODEL[:TAG]
    #[command(aliases = ["push", "upload"])]
    Publish(Publish),
    /// Publish a model from a Hugging Face endpoint, its clients' cache, or a directory that another party signed; or take models
    /// out of an archive that `reg export` has written
    Import(Import),
    /// Fetch a model, verified, and share it
    #[command(aliases = ["download", "get", "clone", "fetch"])]
    Pull(Pull),
    /// Find models in the catalogue, by words, task, licence, format, size or publisher
    #[command(alias = "find")]
    Search(Search),
    /// Take a tag of yours out of catalogues, so that searches and lists of other nodes no longer show it
    Unlist(Box<Unlist>),
    /// Pull new versions of a publisher's models by itself, and keep the last ones; or follow a collection
    Follow(Follow),
    /// Keep a list of models and publishers that you recommend, and show those of others
    #[command(subcommand, after_help = COLLECTION_EXAMPLES)]
    Collection(CollectionCommand),
    /// Keep the scarcest models for others, on disk space that you donate
    Donate(Donate),
    /// Write models of the store into an archive, for a machine without a network
    Export(Export),
    /// List the models in the store
    #[command(aliases = ["list", "images", "models"])]
    Ls(Ls),
    /// Show how many replicas of your models are proven at other nodes, and since when
    Health(Health),
    /// Show a model: its publisher, the facts computed from its files, and the publisher's claims; of one that is not in the
    /// store, what is proven of it and what a pull would fetch
    #[command(aliases = ["show", "inspect"])]
    Info(Info),
    /// Compare two models or versions in the store: files, computed facts, chat template
    #[command(after_help = "Examples:\n  reg diff acme/my-model:v1 acme/my-model:v2")]
    Diff {
        /// publisher/model[:tag][@sha256:…]
        one: Reference,
        two: Reference,
    },
    /// List the files of a model
    #[command(after_help = "Examples:\n  reg files acme/my-model:v1")]
    Files(Named),
    /// Hash the stored files again and compare them with the signed digests
    Verify(Verify),
    /// List the peers that the daemon is connected to or remembers, and keep peers of your choice
    Peers(Peers),
    /// Print a ticket: one word that names a model, or this node, and where to find it
    Share(Share),
    /// Show the node's state: addresses, peers, cache, traffic; or what a folder holds, and how it differs
    Status(Status),
    /// Examine the node, and say what is wrong and what to do about it
    #[command(
        after_help = "Examples:\n  reg doctor\n  reg doctor --quiet        only what is wrong\n  reg doctor --json\n\nIt ends with 0 where nothing is at fault, else with the exit code of the first fault's kind."
    )]
    Doctor,
    /// Open the page in the browser: models, transfers, peers, trust
    Page(Page),
    /// Show the members of a private swarm, and how many copies each model has
    #[command(subcommand, after_help = "Examples:\n  reg swarm status")]
    Swarm(SwarmCommand),
    /// Take this node out of its private swarm: other nodes take its models over first
    Drain(Drain),
    /// Name publishers, set rules for models, and subscribe to denylists
    #[command(subcommand, after_help = TRUST_EXAMPLES)]
    Trust(Trust),
    /// Sign and show what a publisher says of itself: a domain, a title, a page
    #[command(subcommand, after_help = PUBLISHER_EXAMPLES)]
    Publisher(PublisherCommand),
    /// Pause the daemon's transfers: the pulls of one model, or everything, uploads included
    Pause(Meant),
    /// Resume the daemon's transfers
    Resume(Meant),
    /// Sign a statement about a model in the store: a scan, a review, a licence, its origin
    Attest(Attest),
    /// Protect a model from eviction
    #[command(after_help = "Examples:\n  reg pin acme/my-model:v1")]
    Pin(Named),
    /// Allow the eviction of a model that was pinned or published here
    #[command(after_help = "Examples:\n  reg unpin acme/my-model:v1")]
    Unpin(Named),
    /// Remove a model, and the files that no other model uses
    #[command(
        aliases = ["remove", "delete", "rmi"],
        after_help = "Examples:\n  reg rm acme/my-model:v1         this tag, and the model if no other tag points to it"
    )]
    Rm(Named),
    /// Remove the blobs that no model uses, and evict models until the cache fits its size
    #[command(alias = "prune", after_help = "Examples:\n  reg gc --dry-run\n  reg gc")]
    Gc {
        /// Show what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the OpenSSF Model Signing bundle of a model, for `model_signing verify certificate`
    #[command(after_help = "Examples:\n  reg export-signature acme/my-model:v1 > model.sig")]
    ExportSignature(Named),
    /// List the formats that this version recognises: which are data, which run code, and why
    #[command(after_help = "Examples:\n  reg formats\n  reg formats --json")]
    Formats,
    /// Print the variables that point other tools to this node, or run a command with them
    Env(Env),
    /// Print a completion script for a shell
    #[command(alias = "completions")]
    Completion(Completion),
    /// Print the words that may stand at the end of a command line; the scripts of `reg completion` ask for them
    #[command(hide = true)]
    CompleteWords(CompleteWords),
    /// Write the man pages of all commands into a folder
    Man(Man),
    /// Explain a command or a topic; list both
    Help(Help),
    /// Let the running daemon read its configuration file again
    #[command(after_help = "Examples:\n  reg reload\n  reg config check && reg reload")]
    Reload,
    /// Show, check and change the configuration, or write a file to start from
    #[command(
        subcommand,
        after_help = "Examples:\n  reg config init                 a file with every key and its default\n  reg config show\n  reg config set transfer.limit_up '2 MB/s'\n  reg config check"
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
    /// Relay connection set-up between nodes behind NATs, never pieces: auto, on, off
    #[arg(long, value_name = "MODE", env = "REG_RELAY")]
    pub relay: Option<String>,
    /// Do not ask the router to open a port (UPnP)
    #[arg(long, env = "REG_NO_UPNP", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_upnp: bool,
    /// Address at which peers reach this node, if it cannot find out itself (repeatable)
    #[arg(long, value_name = "MULTIADDR", env = "REG_EXTERNAL", value_delimiter = ',')]
    pub external: Vec<String>,
    /// Meet strangers in BitTorrent's DHT: tells the world this machine's address, and which publishers it shares and looks for
    #[arg(long, env = "REG_PUBLIC", value_parser = clap::builder::BoolishValueParser::new())]
    pub public: bool,
    /// Size limit of the cache, as in "200 GiB", "auto" (80 % of the disk) or "unlimited"
    #[arg(long, value_name = "SIZE", env = "REG_CACHE_MAX_SIZE")]
    pub cache_max_size: Option<String>,
    /// Key that signs uploads through the gateways (`hf upload`, `skopeo copy`); without one, uploads are refused
    #[arg(long, value_name = "NAME", env = "REG_PUBLISH_KEY")]
    pub publish_key: Option<String>,
    /// Let the gateways take and serve files that run code when loaded, archives, and unrecognised files
    #[arg(long, env = "REG_ALLOW_UNSAFE", value_parser = clap::builder::BoolishValueParser::new())]
    pub allow_unsafe: bool,
    /// Let the gateways take and serve files of these kinds, as in pickle,code (`reg formats` lists them)
    #[arg(long, value_name = "KIND", env = "REG_ALLOW", value_delimiter = ',', value_parser = kind_to_allow)]
    pub allow: Vec<ContentKind>,
    /// Look up names that are neither a publisher id nor a petname at a Hugging Face endpoint (HF_ENDPOINT)
    #[arg(long, value_name = "hf", env = "REG_UPSTREAM")]
    pub upstream: Option<String>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg pause                    all pulls, the gateways' downloads from peers, and uploads to peers
  reg pause acme/my-model      the pulls of one model
  reg resume                   everything, single models included")]
pub struct Meant {
    /// publisher/model[:tag][@sha256:…] of a running pull; without one, everything
    pub reference: Option<Reference>,
}

/// Holds the flags for how a node finds peers and exchanges data with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, ClapArgs)]
pub struct Net {
    /// Peer to connect to (repeatable)
    #[arg(long, value_name = "MULTIADDR", env = "REG_BOOTSTRAP", value_delimiter = ',')]
    pub bootstrap: Vec<String>,
    /// Do not look for peers on the local network
    #[arg(long, env = "REG_NO_MDNS", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_mdns: bool,
    /// Role in the DHT: auto, server, client, off
    #[arg(long, value_name = "MODE", env = "REG_DHT")]
    pub dht: Option<String>,
    /// Do not take part in gossip
    #[arg(long, env = "REG_NO_GOSSIP", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_gossip: bool,
    /// Neither dial the peers that were met before, nor remember any
    #[arg(long, env = "REG_NO_REMEMBER", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_remember: bool,
    /// Key of a private swarm: nodes with another key, or none, cannot communicate with this one
    #[arg(long, value_name = "KEY", env = "REG_SWARM_KEY", hide_env_values = true)]
    pub swarm_key: Option<String>,
    /// Make and accept no connections to peers
    #[arg(long, env = "REG_OFFLINE", value_parser = clap::builder::BoolishValueParser::new())]
    pub offline: bool,
    /// Send and fetch pieces over the swarm's streams only, not over lanes
    #[arg(long, env = "REG_NO_LANES", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_lanes: bool,
    /// Upload limit to peers: a rate as in "2 MB/s", "none", or "auto" (as fast as possible without a queue in the uplink)
    #[arg(long, value_name = "RATE", env = "REG_LIMIT_UP")]
    pub limit_up: Option<String>,
    /// Download limit from peers: a rate of at least 64 kB/s, or "none"
    #[arg(long, value_name = "RATE", env = "REG_LIMIT_DOWN")]
    pub limit_down: Option<String>,
    /// Apply the limits to peers on this machine and in private networks too
    #[arg(long, env = "REG_LIMIT_LOCAL", value_parser = clap::builder::BoolishValueParser::new())]
    pub limit_local: bool,
    /// HTTP server to fetch from as well: a folder URL with the model's files, or a URL with {path} or {digest} (repeatable)
    #[arg(long = "web-seed", value_name = "URL", env = "REG_WEB_SEEDS", value_delimiter = ',')]
    pub web_seeds: Vec<WebSeed>,
}

impl Net {
    /// Tells whether any of these flags is given.
    pub fn is_any_given(&self) -> bool {
        *self != Self::default()
    }

    /// Returns the addresses of the peers to connect to.
    pub fn peers(&self) -> impl Iterator<Item = Address> + '_ {
        // The configuration has been checked: each is an address.
        self.bootstrap.iter().filter_map(|text| text.parse().ok())
    }
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg publish ./my-model my-model:v1 --key board --prepare v1.sign     on the machine with the model
  reg sign v1.sign --key alice                                         on alice's
  reg sign v1.sign --key bob                                           on bob's
  reg publish --signed v1.sign                                         on the first machine
Read what the command reports as signed: the file shows nothing else about the model.")]
pub struct Sign {
    /// Signing file; the signature is added to it
    pub file: PathBuf,
    /// Key to sign with: all keys of this name on this machine are tried, next keys too
    #[arg(long, value_name = "NAME")]
    pub key: KeyName,
    /// Show what would be signed, and sign nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg publish ./my-model my-model --key me
  reg publish ./my-model my-model:v1 --key me --license apache-2.0
  reg publish model.gguf my-model:q4 --key me --wait 2
  reg publish ./my-model my-model --dry-run                     what would be published, and what not
  reg publish ./my-model my-model --key me --exclude 'checkpoints/' --link
  reg publish ./one ./two tiny:v1=./three --key me              several models, named after their folders
  reg publish ./my-model my-model --key me --allow pickle,code
  reg publish ./my-model my-model --key board --prepare FILE    the keys are on other machines: see reg sign --help
  reg publish --signed FILE")]
pub struct Publish {
    /// A directory or file, and MODEL[:TAG] (the tag defaults to `latest`); or several, each PATH or MODEL[:TAG]=PATH
    #[arg(value_name = "PATH|MODEL", required_unless_present_any = ["signed", "abandon"])]
    pub what: Vec<String>,
    /// Key to sign with (`reg key new NAME` makes one)
    #[arg(long, value_name = "NAME", required_unless_present_any = ["signed", "abandon", "dry_run"])]
    pub key: Option<KeyName>,
    /// Sign nothing, and write the documents to sign to this file; the tag is held until they are published or abandoned
    #[arg(long, value_name = "FILE")]
    pub prepare: Option<PathBuf>,
    /// Publish a prepared file that `reg sign` has signed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["what", "key", "prepare", "dry_run"])]
    pub signed: Option<PathBuf>,
    /// Give up what `--prepare` has prepared for this tag: publisher/model[:tag]
    #[arg(long, value_name = "REF", conflicts_with_all = ["what", "key", "prepare", "signed", "dry_run"])]
    pub abandon: Option<Reference>,
    /// Lowest record that others may use where this one's files cannot be had: a number, or `this` for none before it
    #[arg(long, value_name = "N|this", conflicts_with_all = ["signed", "abandon"])]
    pub min_usable: Option<MinUsable>,
    /// Settle a frozen tag, if both contradicting records are yours
    #[arg(long)]
    pub settle: bool,
    /// Let the tag expire after this many days: pulls by it are refused from then on
    #[arg(long, value_name = "DAYS")]
    pub expires_in: Option<u64>,
    /// Licence that you publish under (repeatable)
    #[arg(long, value_name = "SPDX")]
    pub license: Vec<String>,
    /// Title, which `reg info` shows as your claim
    #[arg(long)]
    pub title: Option<String>,
    /// Description, which `reg info` shows as your claim
    #[arg(long)]
    pub description: Option<String>,
    /// What the model is for, as in text-generation, for searches
    #[arg(long)]
    pub task: Option<Label>,
    /// A sentence about the model, for searches; without it, the description
    #[arg(long)]
    pub summary: Option<Label>,
    /// Version, in your own numbering
    #[arg(long)]
    pub version: Option<String>,
    /// Where the model comes from
    #[arg(long, value_name = "URL")]
    pub source_url: Option<String>,
    /// Publish files that run code when loaded, archives, and unrecognised files
    #[arg(long)]
    pub allow_unsafe: bool,
    /// Publish files of these kinds, as in pickle,code (`reg formats` lists them)
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind_to_allow)]
    pub allow: Vec<ContentKind>,
    /// Publish although weights are missing, or are git-lfs pointers, empty, or error pages
    #[arg(long)]
    pub incomplete: bool,
    /// Warn each puller of the tag after this many days that a newer record may exist
    #[arg(long, value_name = "DAYS")]
    pub fresh_for: Option<u64>,
    /// Keep no second copy of large files: link them into the store, which makes them read-only
    #[arg(long, help_heading = "Which files")]
    pub link: bool,
    #[command(flatten)]
    pub files: FileChoice,
    /// Wait until this many other peers hold the whole model
    #[arg(long, value_name = "N", alias = "seed-until")]
    pub wait: Option<usize>,
    #[command(flatten)]
    pub net: Net,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg import hf:org/name --key me                  as name:latest
  reg import hf:org/name@v1.0 my-name:v1 --key me  a branch, tag or commit, under another name
  reg import hf:org/name --key me --exclude '*.bin'
  reg import --from hf-cache org/name --key me     the files that `hf download org/name` fetched, without a second copy
  reg import --from hf-cache --all --key me        every repository of the cache
  reg import --from ollama llama3.2:3b --key me    as llama3.2:3b, without a second copy
  HF_ENDPOINT=http://192.0.2.7:4610 reg import hf:acme/my-model --key me
  reg import ./my-model my-model:v1 --key me --bundle my-model/model.sig --ca authority.pem
  reg import models.tar                            every model of an archive, verified against its publisher's keys
  reg import /media/stick/models --dry-run         the models that an archive says it has

HF_ENDPOINT names the endpoint, HF_TOKEN a token for private repositories. HF_HUB_CACHE or HF_HOME names the cache's folder,
OLLAMA_MODELS that of Ollama's store. What is linked into the store becomes read-only.
Your key signs an attestation of the files' origin (endpoint and commit); `reg info` shows it.")]
pub struct Import {
    /// hf:ORG/NAME[@REVISION]; with --from hf-cache, the same without `hf:`; with --from ollama, MODEL[:TAG] as Ollama names
    /// it; with --bundle, a directory as in ./my-model; an archive as in FILE.tar or DIR, which needs no --key
    #[arg(value_name = "SOURCE", required_unless_present = "all")]
    pub source: Option<ImportWhat>,
    /// MODEL[:TAG]; defaults to NAME:latest
    #[arg(value_parser = model_and_tag)]
    pub model: Option<(ModelName, Tag)>,
    /// Key to sign with (`reg key new NAME` makes one); the models of an archive are signed already
    #[arg(long, value_name = "NAME")]
    pub key: Option<KeyName>,
    /// Take the files from the store of another tool on this machine, without a second copy of large ones
    #[arg(long, value_name = "WHERE")]
    pub from: Option<ImportFrom>,
    /// Import every model of that store
    #[arg(long, requires = "from", conflicts_with_all = ["source", "model"])]
    pub all: bool,
    /// Take a directory that another party signed with OpenSSF Model Signing, verified by this bundle
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "include", "exclude", "hidden", "secret", "dry_run"])]
    pub bundle: Option<PathBuf>,
    /// Public key (PEM) of the bundle's signer
    #[arg(long, value_name = "FILE", requires = "bundle", conflicts_with = "ca")]
    pub signer: Option<PathBuf>,
    /// Certificates (PEM), one of which must certify the key that signed the bundle
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub ca: Option<PathBuf>,
    /// Entry at the top of the directory that may be unsigned and is not published, such as .gitattributes (repeatable)
    #[arg(long, value_name = "NAME", requires = "bundle")]
    pub unsigned: Vec<String>,
    #[command(flatten)]
    pub files: FileChoice,
    /// Publish files that run code when loaded, archives, and unrecognised files
    #[arg(long)]
    pub allow_unsafe: bool,
    /// Publish files of these kinds, as in pickle,code (`reg formats` lists them)
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind_to_allow)]
    pub allow: Vec<ContentKind>,
    /// Publish although weights are missing, or are git-lfs pointers, empty, or error pages
    #[arg(long)]
    pub incomplete: bool,
    /// Take an expired tag out of an archive
    #[arg(long, help_heading = ARCHIVES)]
    pub allow_expired: bool,
    /// Refuse a version of an archive that is older than the newest one that this node has heard of
    #[arg(long, help_heading = ARCHIVES)]
    pub newest: bool,
    #[command(flatten)]
    pub net: Net,
}

const ARCHIVES: &str = "Of archives";

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg export acme/my-model:v1 -o my-model.tar
  reg export acme/my-model acme/other -o /media/stick/models    a directory: run it again after an interruption
  reg export acme/my-model --quant Q4_K_M -o small.tar
  reg import my-model.tar                                       on the other machine

An archive is an OCI image layout with the keys and records of the publishers: `skopeo inspect --raw
oci-archive:my-model.tar:v1` and other OCI tools read it. docs/export.md describes it.")]
pub struct Export {
    /// publisher/model[:tag][@sha256:…]; several go into one archive
    #[arg(required = true, value_name = "REF")]
    pub references: Vec<Reference>,
    /// The archive: a file that ends with .tar, or a directory
    #[arg(short, long, value_name = "FILE.tar|DIR")]
    pub output: PathBuf,
    /// Only files with a matching path, as in .gitignore: `*.gguf`, `onnx/`, `/config.json` (repeatable)
    #[arg(long, help_heading = PART, value_name = "GLOB")]
    pub include: Vec<Pattern>,
    /// Leave out files with a matching path (repeatable)
    #[arg(long, help_heading = PART, value_name = "GLOB")]
    pub exclude: Vec<Pattern>,
    /// Only the GGUF files of one quantisation, as in Q4_K_M, with their projector and the model's documents
    #[arg(long, help_heading = PART, value_name = "TAG")]
    pub quant: Option<Quant>,
}

const PART: &str = "What of the models";

/// Names a cache that a model is imported from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ImportFrom {
    /// The cache of Hugging Face's clients (HF_HUB_CACHE, HF_HOME)
    HfCache,
    /// Ollama's store (OLLAMA_MODELS)
    Ollama,
}

/// Longest wait of a pull without a byte, in seconds: a week.
const MAX_TIMEOUT: u64 = 7 * 24 * 3600;

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg pull acme/my-model               latest, into ./my-model
  reg pull acme/my-model:v1 /models/x  a tag, into a directory
  reg pull ID/my-model@sha256:…        exactly this
  reg pull acme/my-model --limit-down '2 MB/s' --priority low
  reg pull acme/my-model --allow pickle                        pickles, and no other kind that runs code
  reg pull acme/my-model --quant Q4_K_M                        one quantisation and its documents
  reg pull acme/my-model --include '*.json' --exclude 'onnx/'  some files
  reg pull acme/my-model ./part --tensors 'model.layers.0.*'   some tensors
  reg pull acme/my-model --to-hf-cache           for from_pretrained(\"acme/my-model\"), offline too
  reg pull acme/my-model --to-hf-cache=org/name  the same under another name
  reg pull acme/my-model --web-seed https://huggingface.co/acme/my-model/resolve/main/
  reg pull acme/my-model --from /ip4/192.0.2.7/tcp/4600/p2p/12D3KooW…
  reg pull reg:qp…                     what a ticket names (`reg share` prints one)
  reg pull 3                           the third result of the last `reg search`")]
pub struct Pull {
    /// publisher/model[:tag][@sha256:…], a ticket, or the number of a result of `reg search`; the publisher is an id, a petname
    /// (`reg trust add`), or a domain such as acme.org
    #[arg(value_name = "REF|TICKET|NUMBER")]
    pub what: ModelArg,
    /// Directory to put the files into; defaults to ./MODEL
    pub dest: Option<PathBuf>,
    /// Peer to ask (repeatable)
    #[arg(long, value_name = "MULTIADDR")]
    pub from: Vec<Address>,
    #[command(flatten)]
    pub choice: Choice,
    /// Ask peers that you do not know too, found in BitTorrent's DHT: tells the world this machine's address, and which publisher
    /// it looks for
    #[arg(long)]
    pub public: bool,
    /// Fetch into the cache only, and share from there
    #[arg(long, conflicts_with = "dest")]
    pub cache_only: bool,
    /// Put the model into the cache of Hugging Face's clients (HF_HUB_CACHE, HF_HOME) without a second copy of large files,
    /// under the pulled name or ORG/NAME
    #[arg(long, value_name = "ORG/NAME", num_args = 0..=1, require_equals = true, conflicts_with_all = ["dest", "cache_only"])]
    pub to_hf_cache: Option<Option<RepositoryName>>,
    /// Copy the files, instead of linking them to the cache by reflink or hard link
    #[arg(long)]
    pub copy: bool,
    /// Replace files in the directory that differ, also what you have changed or put there
    #[arg(long)]
    pub overwrite: bool,
    /// Keep files in the directory that differ, also those that no pull has put there
    #[arg(long, conflicts_with = "overwrite")]
    pub keep: bool,
    /// Keep files that the version before had and this one has not
    #[arg(long)]
    pub no_delete: bool,
    /// Take files that run code when loaded, archives, and unrecognised files
    #[arg(long)]
    pub allow_unsafe: bool,
    /// Take files of these kinds, as in pickle,code (`reg formats` lists them)
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind_to_allow)]
    pub allow: Vec<ContentKind>,
    /// Take an expired tag
    #[arg(long)]
    pub allow_expired: bool,
    /// Refuse an older version where the newest one of the tag cannot be had
    #[arg(long)]
    pub newest: bool,
    /// Take a TXT record of the publisher's domain, which nothing has signed
    #[arg(long)]
    pub allow_unsigned_dns: bool,
    /// Priority among the daemon's pulls: low, normal, high
    #[arg(long, value_name = "PRIORITY", default_value = "normal")]
    pub priority: Priority,
    /// Give up after this long without a byte; without it, after 5 minutes once bytes have come, and after 20 to 60 s before
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT))]
    pub timeout: Option<u64>,
    /// Show every check and its result, the source of the bytes, and what limited the speed
    #[arg(long)]
    pub explain: bool,
    /// Write a JSON receipt: what was verified, against which keys, and when
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    #[command(flatten)]
    pub net: Net,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg info acme/my-model:v1
  reg info acme/my-model --json
  reg info acme/my-model --local          what the store has; asks no peer
  reg info acme/my-model --lineage        counts the tensors that it shares with its base, where both are in the store
  reg info ID/my-model --from /ip4/192.0.2.7/tcp/4600
  reg info reg:qp…                        what a ticket names, before it is pulled")]
pub struct Info {
    /// publisher/model[:tag][@sha256:…], a ticket, or the number of a result of `reg search`
    #[arg(value_name = "REF|TICKET|NUMBER")]
    pub what: ModelArg,
    /// Show a model of the store only, and ask no peer
    #[arg(long)]
    pub local: bool,
    /// Compare its tensors with those of the models in the store that it is derived from, or that are derived from it
    #[arg(long)]
    pub lineage: bool,
    /// Peer to ask if the model is not in the store (repeatable)
    #[arg(long, value_name = "MULTIADDR")]
    pub from: Vec<Address>,
    #[command(flatten)]
    pub net: Net,
}

#[derive(Debug, ClapArgs)]
pub struct Log {
    /// publisher/model[:tag][@sha256:…], or the number of a result of `reg search`
    #[arg(value_name = "REF|NUMBER")]
    pub what: TagArg,
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
    /// A model, or a directory that was pulled; without one, everything in the cache
    #[arg(value_name = "REF|PATH", value_parser = model_or_path)]
    pub target: Option<String>,
    /// Fetch damaged files again from peers, and put them back into folders; what you have edited is kept
    #[arg(long)]
    pub repair: bool,
    /// Replace what you have edited in the directory, too
    #[arg(long, requires = "repair")]
    pub overwrite: bool,
    /// Verify a directory against an OpenSSF Model Signing bundle of any signer, without a node
    #[arg(long, value_name = "FILE", conflicts_with = "repair")]
    pub bundle: Option<PathBuf>,
    /// Public key (PEM) of the bundle's signer
    #[arg(long, value_name = "FILE", requires = "bundle", conflicts_with = "ca")]
    pub key: Option<PathBuf>,
    /// Certificates (PEM), one of which must certify the key that signed the bundle
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub ca: Option<PathBuf>,
    /// Entry at the top of the directory that may be unsigned, such as .gitattributes (repeatable)
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
    /// Tools that are to use this node
    pub dialect: Dialect,
    /// Command to run; without one, the variables are printed
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<std::ffi::OsString>,
}

/// Names a protocol that a gateway speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// Hugging Face's clients: hf, transformers, vLLM, llama.cpp
    Hf,
    /// Container tools: skopeo, podman, oras
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

/// Parses `MODEL[:TAG]`; the tag defaults to `latest`.
pub fn model_and_tag(text: &str) -> Result<(ModelName, Tag), String> {
    let (model, tag) = match text.split_once(':') {
        Some((model, tag)) => (model, tag.parse().map_err(|error| format!("{error}"))?),
        None => (text, Tag::latest()),
    };
    if model.contains('/') {
        return Err(format!("{model:?} names a publisher: --key names it, so give the model's name alone"));
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
