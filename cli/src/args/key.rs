//! What can be typed of keys: `reg key`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use reg_keys::keyring::KeyName;
use reg_proto::digest::Digest;
use reg_proto::glob::ModelGlob;
use reg_proto::name::PublisherId;
use reg_proto::revocation::Reason;

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key; its publisher id is what others know you by
    New(NewKey),
    /// Bring a key along: from OpenSSH's file, or one that ssh-agent holds; or a publisher's key documents
    Import(ImportKey),
    /// List the keys that are here
    #[command(after_help = "Examples:\n  reg key ls\n  reg key ls --json")]
    Ls,
    /// Show a key's publisher id, who signs for it, and where the key is
    #[command(after_help = "Examples:\n  reg key show me")]
    Show { name: KeyName },
    /// Print the publisher's key documents, which are no secret, for another machine (`reg key import NAME --documents FILE`)
    #[command(after_help = "Examples:\n  reg key documents board > board.json")]
    Documents { name: KeyName },
    /// Put other keys in the place of those that sign now
    Rotate(RotateKey),
    /// Take something back for ever: a key that was lost or stolen, a manifest, a delegation
    Revoke(RevokeKey),
    /// Let another publisher speak for some of your models, until a day
    Delegate(DelegateKey),
    /// Put to use what others have signed with `reg sign`: new keys, a revocation, a delegation
    #[command(
        after_help = "Examples:\n  reg key finish board.sign --name board\n  reg key finish revocation.sign"
    )]
    Finish {
        /// What was written by --out and signed by those who must
        file: PathBuf,
        /// What you call the publisher, where its key documents are new
        #[arg(long, value_name = "NAME")]
        name: Option<KeyName>,
    },
    /// Print a certificate authority (PEM) for each key that the publisher has or had, for `model_signing verify certificate`
    #[command(after_help = EXPORT_CA_EXAMPLES)]
    ExportCa {
        /// Publisher
        name: KeyName,
    },
}

const EXPORT_CA_EXAMPLES: &str = "\
Examples:
  reg key export-ca me > ca.pem
  model_signing verify certificate DIR --signature model.sig --certificate_chain ca.pem

Each authority proves a key, not the publisher's id: that a key speaks for a publisher is proven
by key documents, which `reg pull` checks and other tools do not know. Keys that are revoked are
left out; an older copy of the file still has them.";

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg key new me
  reg key new me --passphrase
  reg key new board --threshold 2 --with alice --with ed25519:5f3c… --out board.sign
  reg sign board.sign --key bob                on the other machine
  reg key finish board.sign --name board")]
pub struct NewKey {
    pub name: KeyName,
    /// Protect the key file by a passphrase (asked for, or the first line of the file in REG_KEY_PASSPHRASE_FILE)
    #[arg(long)]
    pub passphrase: bool,
    #[command(flatten)]
    pub board: BoardArgs,
    /// Another key that signs for the publisher: the name of a key here, or ed25519:HEX (repeatable)
    #[arg(long = "with", value_name = "KEY")]
    pub with: Vec<String>,
}

/// How many keys must sign, and which come next.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct BoardArgs {
    /// How many of the keys must sign
    #[arg(long, value_name = "K")]
    pub threshold: Option<usize>,
    /// Commit to a key that will sign next: nobody can rotate to another, also with stolen keys (repeatable)
    #[arg(long, value_name = "KEY")]
    pub next: Vec<String>,
    /// How many of the next keys must sign; 1 where it is not said
    #[arg(long, value_name = "K", requires = "next")]
    pub next_threshold: Option<usize>,
    /// Write what others must sign to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  ssh-keygen -t ed25519 -f release && reg key import release --ssh release
  ssh-add && reg key import me --agent ~/.ssh/id_ed25519.pub
  reg key import board --documents board.json")]
pub struct ImportKey {
    pub name: KeyName,
    /// OpenSSH's private key file, without a passphrase
    #[arg(long, value_name = "FILE", group = "from")]
    pub ssh: Option<PathBuf>,
    /// OpenSSH's public key file of a key that ssh-agent holds: the secret stays there
    #[arg(long, value_name = "FILE.pub", group = "from")]
    pub agent: Option<PathBuf>,
    /// A publisher's key documents, as `reg key documents` prints them
    #[arg(long, value_name = "FILE", group = "from")]
    pub documents: Option<PathBuf>,
    /// Protect the key file by a passphrase
    #[arg(long)]
    pub passphrase: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg key rotate me                             a new key takes over
  reg key rotate me --to release                to a key that is here
  reg key rotate me --floor 8                   and every number from 8 on that the old key has signed is void
  reg key rotate board --add carol --remove bob --out board.sign

Models that the old key has signed stay valid. If it was stolen, revoke it too: reg key revoke me --key KEY")]
pub struct RotateKey {
    /// Publisher
    pub name: KeyName,
    /// Key that takes over: the name of a key here, or ed25519:HEX (repeatable); without --to, --add and --remove a new one is made
    #[arg(long, value_name = "KEY", conflicts_with_all = ["add", "remove"])]
    pub to: Vec<String>,
    /// Key that signs beside those there are (repeatable)
    #[arg(long, value_name = "KEY")]
    pub add: Vec<String>,
    /// Key that signs no more (repeatable)
    #[arg(long, value_name = "KEY")]
    pub remove: Vec<String>,
    /// Protect a key that is made here by a passphrase
    #[arg(long)]
    pub passphrase: bool,
    /// Number tags from here on, and void what older keys have signed from there on
    #[arg(long, value_name = "N")]
    pub floor: Option<u64>,
    #[command(flatten)]
    pub board: BoardArgs,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg key revoke me --manifest sha256:5f3c… --reason \"trained on a wrong set\"
  reg key revoke me --key ed25519:5f3c… --reason stolen
Nothing takes a revocation back.")]
pub struct RevokeKey {
    /// Publisher
    pub name: KeyName,
    /// Manifest that is not pulled any more
    #[arg(long, value_name = "DIGEST", group = "subject")]
    pub manifest: Option<Digest>,
    /// Key whose signatures do not count any more: the name of a key here, or ed25519:HEX
    #[arg(long, value_name = "KEY", group = "subject")]
    pub key: Option<String>,
    /// Delegation that ends, by the digest that `reg log` shows
    #[arg(long, value_name = "DIGEST", group = "subject")]
    pub delegation: Option<Digest>,
    /// Why, in a line that everybody sees
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: Reason,
    /// Write what others must sign to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg key delegate me 'llama-*' PUBLISHER-ID --expires 365")]
pub struct DelegateKey {
    /// Publisher
    pub name: KeyName,
    /// Models: a name, or a pattern with * in it
    pub models: ModelGlob,
    /// Who speaks for them
    pub to: PublisherId,
    /// After this many days it ends
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub expires: u64,
    /// Write what others must sign to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
