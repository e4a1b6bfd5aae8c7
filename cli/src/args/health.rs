//! Defines the arguments of `reg health`.

use clap::Args as ClapArgs;
use reg_proto::name::Reference;

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg health                       every model, those with the fewest replicas first
  reg health acme/my-model:v1      its holders, what they have proven, and where they are
  reg health --json

The daemon asks holders for random pieces and verifies them. A copy counts
after eight pieces, about 21 hours after it was found, and copies in one
network count as one. This node's own copy is not counted.")]
pub struct Health {
    /// publisher/model[:tag][@sha256:…]
    pub reference: Option<Reference>,
}
