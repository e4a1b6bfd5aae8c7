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
    #[command(alias = "list", after_help = "Examples:\n  reg key ls\n  reg key ls --json")]
    Ls,
    /// Show a key's publisher id, the keys that sign for it, and its file
    #[command(after_help = "Examples:\n  reg key show me")]
    Show {
        /// Name of a key, or of a publisher
        name: KeyName,
    },
    /// Print the publisher's key documents, which are public, for another machine (`reg key import NAME --documents FILE`)
    #[command(after_help = "Examples:\n  reg key documents board > board.json")]
    Documents { name: KeyName },
    /// Replace the keys that sign now by the next keys, or by others
    Rotate(RotateKey),
    /// Commit a publisher that has no next keys to some: then a thief of its key cannot replace it
    Commit(CommitKey),
    /// Give up a key document that was begun and that the other keys do not sign
    Abandon(AbandonKey),
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
  reg key new me                               a key, and two next keys beside it
  reg key new me --passphrase --next-to /media/usb
  reg key new me --next ed25519:5f3c…          commit to a key that another machine or a token has

A publisher with keys on three machines, two of which must sign:
  reg key new bob && reg key show bob          on the second machine: prints its key and its next keys
  reg key new carol && reg key show carol      on the third machine
  reg key new board --threshold 2 --with BOB --with CAROL --next BOB2 --next CAROL2 --out board.sign
  reg sign board.sign --key bob                on the second machine
  reg key finish board.sign --name board       on all three

A KEY is the name of a key on this machine, or a public key, ed25519:HEX: `reg key show` prints it.")]
pub struct NewKey {
    /// Your name for the key, and for the publisher, on this machine
    pub name: KeyName,
    /// Protect the key files with a passphrase (prompted, or the first line of the file in REG_KEY_PASSPHRASE_FILE)
    #[arg(long)]
    pub passphrase: bool,
    #[command(flatten)]
    pub key_set: KeySetArgs,
    /// Another key that signs for the publisher (repeatable)
    #[arg(long = "with", value_name = "KEY")]
    pub with: Vec<String>,
}

/// Holds the flags of a key set: how many keys must sign, and which keys come next.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct KeySetArgs {
    /// How many of the keys must sign
    #[arg(long, value_name = "K")]
    pub threshold: Option<usize>,
    #[command(flatten)]
    pub next: NextArgs,
    /// Write the signing file for the other keys to this path
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Holds the flags of a commitment to next keys.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct NextArgs {
    /// Commit to this next key, and make none (repeatable)
    #[arg(long, value_name = "KEY")]
    pub next: Vec<String>,
    /// How many of the next keys must sign; defaults to the threshold
    #[arg(long, value_name = "K")]
    pub next_threshold: Option<usize>,
    /// Write the next keys to this folder, such as a USB stick, and not beside the key
    #[arg(long, value_name = "DIR", conflicts_with = "no_next")]
    pub next_to: Option<PathBuf>,
    /// Commit to no next keys: a thief of the key can replace it, and a lost key ends the publisher
    #[arg(long, conflicts_with_all = ["next", "next_threshold"])]
    pub no_next: bool,
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
  reg key rotate me                             a next key takes over; two new ones are made
  reg key rotate me --next-from /media/usb      the next keys are in this folder
  reg key rotate me --floor 8                   and void the old key's tag records from number 8 on
  reg key rotate board --to BOB2 --to CAROL2 --next BOB3 --next CAROL3 --out board.sign

The command shows what the new key takes over, and asks. Everything else that the old key has signed
is void then. If the command is interrupted, run it again: it finishes the same key document.
A KEY is the name of a key on this machine, or a public key, ed25519:HEX: `reg key show` prints it.")]
pub struct RotateKey {
    /// Publisher
    pub name: KeyName,
    /// Key that takes over (repeatable); without --to, --add and --remove, a next key on this machine
    #[arg(long, value_name = "KEY", conflicts_with_all = ["add", "remove"])]
    pub to: Vec<String>,
    /// Key that signs beside the present ones (repeatable)
    #[arg(long, value_name = "KEY")]
    pub add: Vec<String>,
    /// Key that no longer signs (repeatable)
    #[arg(long, value_name = "KEY")]
    pub remove: Vec<String>,
    /// Take the next keys from this folder
    #[arg(long, value_name = "DIR")]
    pub next_from: Option<PathBuf>,
    /// Ask for a passphrase, and protect the new keys with it
    #[arg(long)]
    pub passphrase: bool,
    /// Number tag records from N on, and void records of older keys from N on
    #[arg(long, value_name = "N")]
    pub floor: Option<u64>,
    /// Do not take over this statement of the old key: its digest, or that of its manifest (repeatable)
    #[arg(long, value_name = "DIGEST")]
    pub leave_out: Vec<Digest>,
    /// Take over only what this node has in its store, and nothing that only peers have: use it if the key was stolen
    #[arg(long)]
    pub only_stored: bool,
    #[command(flatten)]
    pub key_set: KeySetArgs,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg key commit me                             two next keys beside the key
  reg key commit me --next-to /media/usb

The same key goes on signing. The id stays, and everything that the key has signed stays valid.
A KEY is the name of a key on this machine, or a public key, ed25519:HEX: `reg key show` prints it.")]
pub struct CommitKey {
    /// Publisher
    pub name: KeyName,
    /// Ask for a passphrase, and protect the next keys with it
    #[arg(long)]
    pub passphrase: bool,
    #[command(flatten)]
    pub next: NextArgs,
    /// Write the signing file for the other keys to this path
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg key abandon board                         the other keys do not sign its rotation

A key document that has all signatures cannot be abandoned: peers may know it. `reg key rotate NAME`
finishes it. Otherwise the publisher keeps its keys, and the next `reg key rotate` begins a new one.")]
pub struct AbandonKey {
    /// Publisher
    pub name: KeyName,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg key revoke me --manifest sha256:5f3c… --reason \"trained on a wrong set\"
  reg key rotate me && reg key revoke me --key ed25519:5f3c… --reason stolen
A revocation cannot be undone. The command shows what becomes void, and asks.
A KEY is the name of a key on this machine, or a public key, ed25519:HEX: `reg key show` prints it.")]
pub struct RevokeKey {
    /// Publisher
    pub name: KeyName,
    /// Manifest that is no longer pulled
    #[arg(long, value_name = "DIGEST", group = "subject")]
    pub manifest: Option<Digest>,
    /// Key with signatures that no longer count
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
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
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
