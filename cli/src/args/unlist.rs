//! Defines the arguments of `reg unlist`.

use clap::Args as ClapArgs;
use reg_keys::keyring::KeyName;
use reg_proto::name::Reference;

use super::Net;

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg unlist acme/old-model --key me           the tag latest
  reg unlist acme/old-model:v1 --key me
  reg publish ./old-model old-model --key me   lists it again

The tag disappears from searches and lists of other nodes as they compare their catalogues with yours. The model stays as it is:
a user that knows its name pulls it, and nodes that have it serve it. To take back a model, revoke its manifest: reg key revoke.")]
pub struct Unlist {
    /// publisher/model[:tag] , of the publisher that the key signs for
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// Key to sign with (`reg key ls` lists them)
    #[arg(long, value_name = "NAME")]
    pub key: KeyName,
    /// Write the signing file for the other keys to this path
    #[arg(long, value_name = "FILE")]
    pub out: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub net: Net,
}
