//! Defines the arguments of `reg key`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use reg_keys::keyring::KeyName;
use reg_proto::digest::Digest;
use reg_proto::glob::ModelGlob;
use reg_proto::name::PublisherId;
use reg_proto::revocation::Reason;

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key; others refer to you by its publisher id
    New(NewKey),
    /// Import a key from an OpenSSH file or ssh-agent, or a publisher's key documents
    Import(ImportKey),
    /// List the keys on this machine
    #[command(after_help = "Examples:\n  reg key ls\n  reg key ls --json")]
    Ls,
    /// Show a key's publisher id, the keys that sign for it, and its file
    #[command(after_help = "Examples:\n  reg key show me")]
    Show { name: KeyName },
    /// Print the publisher's key documents, which are public, for another machine (`reg key import NAME --documents FILE`)
    #[command(after_help = "Examples:\n  reg key documents board > board.json")]
    Documents { name: KeyName },
    /// Replace the keys that sign now by others
    Rotate(RotateKey),
    /// Revoke for ever: a lost or stolen key, a manifest, a delegation
    Revoke(RevokeKey),
    /// Let another publisher publish some of your models, until a day
    Delegate(DelegateKey),
    /// Put a file that others have signed with `reg sign` into effect: new keys, a revocation, a delegation
    #[command(
        after_help = "Examples:\n  reg key finish board.sign --name board\n  reg key finish revocation.sign"
    )]
    Finish {
        /// Signing file that --out wrote, with all signatures it needs
        file: PathBuf,
        /// Your name for the publisher, if its key documents are new on this machine
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

Each authority proves a key, not the publisher's id. Only key documents prove that a key signs for
a publisher: `reg pull` checks them, other tools do not know them. Revoked keys are left out; an
older copy of the file still has them.";

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
    /// Protect the key file with a passphrase (prompted, or the first line of the file in REG_KEY_PASSPHRASE_FILE)
    #[arg(long)]
    pub passphrase: bool,
    #[command(flatten)]
    pub key_set: KeySetArgs,
    /// Another key that signs for the publisher: the name of a key on this machine, or ed25519:HEX (repeatable)
    #[arg(long = "with", value_name = "KEY")]
    pub with: Vec<String>,
}

/// Holds the flags of a key set: how many keys must sign, and which keys come next.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct KeySetArgs {
    /// How many of the keys must sign
    #[arg(long, value_name = "K")]
    pub threshold: Option<usize>,
    /// Commit to a key that signs next: stolen keys cannot rotate to any other (repeatable)
    #[arg(long, value_name = "KEY")]
    pub next: Vec<String>,
    /// How many of the next keys must sign; defaults to 1
    #[arg(long, value_name = "K", requires = "next")]
    pub next_threshold: Option<usize>,
    /// Write the signing file for the other keys to this path
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
    /// OpenSSH private key file, without a passphrase
    #[arg(long, value_name = "FILE", group = "from")]
    pub ssh: Option<PathBuf>,
    /// OpenSSH public key file of a key that ssh-agent holds; the secret stays in the agent
    #[arg(long, value_name = "FILE.pub", group = "from")]
    pub agent: Option<PathBuf>,
    /// A publisher's key documents, as `reg key documents` prints them
    #[arg(long, value_name = "FILE", group = "from")]
    pub documents: Option<PathBuf>,
    /// Protect the key file with a passphrase
    #[arg(long)]
    pub passphrase: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg key rotate me                             a new key takes over
  reg key rotate me --to release                to a key on this machine
  reg key rotate me --floor 8                   and void the old key's tag records from number 8 on
  reg key rotate board --add carol --remove bob --out board.sign

Models that the old key has signed stay valid. If the key was stolen, revoke it too: reg key revoke me --key KEY")]
pub struct RotateKey {
    /// Publisher
    pub name: KeyName,
    /// Key that takes over: a name, or ed25519:HEX (repeatable); without --to, --add and --remove, a new key is made
    #[arg(long, value_name = "KEY", conflicts_with_all = ["add", "remove"])]
    pub to: Vec<String>,
    /// Key that signs beside the present ones (repeatable)
    #[arg(long, value_name = "KEY")]
    pub add: Vec<String>,
    /// Key that no longer signs (repeatable)
    #[arg(long, value_name = "KEY")]
    pub remove: Vec<String>,
    /// Ask for a passphrase, and protect a new key with it
    #[arg(long)]
    pub passphrase: bool,
    /// Number tag records from N on, and void records of older keys from N on
    #[arg(long, value_name = "N")]
    pub floor: Option<u64>,
    #[command(flatten)]
    pub key_set: KeySetArgs,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg key revoke me --manifest sha256:5f3c… --reason \"trained on a wrong set\"
  reg key revoke me --key ed25519:5f3c… --reason stolen
A revocation cannot be undone.")]
pub struct RevokeKey {
    /// Publisher
    pub name: KeyName,
    /// Manifest that is no longer pulled
    #[arg(long, value_name = "DIGEST", group = "subject")]
    pub manifest: Option<Digest>,
    /// Key with signatures that no longer count: the name of a key on this machine, or ed25519:HEX
    #[arg(long, value_name = "KEY", group = "subject")]
    pub key: Option<String>,
    /// Delegation to end, by the digest that `reg log` shows
    #[arg(long, value_name = "DIGEST", group = "subject")]
    pub delegation: Option<Digest>,
    /// Reason, in one line that every peer sees
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: Reason,
    /// Write the signing file for the other keys to this path
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
    /// Id of the publisher that may publish them
    pub to: PublisherId,
    /// Days until the delegation ends
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub expires: u64,
    /// Write the signing file for the other keys to this path
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
