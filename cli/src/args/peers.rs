//! Defines the arguments of `reg peers` and `reg share`.

use crate::ticketed::{ModelArg, PeerSource};
use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, ClapArgs)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  reg peers                                  the peers that the daemon is connected to
  reg peers --known                          the peers that are remembered from one start to the next
  reg peers add /ip4/192.0.2.7/tcp/4600      a peer to connect to now, and at every start
  reg peers add reg:qp…                      the same by a ticket (`reg share` prints one)
  reg peers rm 12D3KooW…"
)]
pub struct Peers {
    /// List the remembered peers
    #[arg(long)]
    pub known: bool,
    #[command(subcommand)]
    pub change: Option<ChangePeers>,
    /// Key of a private swarm, which has a list of its own
    #[arg(long, value_name = "KEY", env = "REG_SWARM_KEY", hide_env_values = true, global = true)]
    pub swarm_key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ChangePeers {
    /// Keep peers of your choice: they are dialled now, and at every start
    #[command(
        after_help = "Examples:\n  reg peers add /ip4/192.0.2.7/tcp/4600/p2p/12D3KooW…\n  reg peers add reg:qp…"
    )]
    Add {
        /// Address of a peer, or a ticket (repeatable)
        #[arg(required = true, value_name = "ADDR|TICKET")]
        peers: Vec<PeerSource>,
    },
    /// Forget peers, whether you have added them or the node has met them, and disconnect them
    #[command(aliases = ["remove", "delete"], after_help = "Examples:\n  reg peers rm 12D3KooW…\n  reg peers rm /ip4/192.0.2.7/tcp/4600")]
    Rm {
        /// Id or address of a peer (repeatable)
        #[arg(required = true, value_name = "PEER|ADDR")]
        peers: Vec<String>,
    },
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg share acme/my-model:v1        a ticket for a friend, to be given to `reg pull`
  reg share acme/my-model --qr      the same as a picture for a camera
  reg share acme/my-model --lan     for your own network: with private addresses
  reg share                         this node alone, for `reg peers add reg:…`

A ticket has the publisher's id, the model with its tag and digest, and public addresses of this node and of connected peers that
hold the model too. It has no petname, no key of a private swarm, and without --lan no private address. It proves nothing: what
it leads to is verified as always.")]
pub struct Share {
    /// publisher/model[:tag][@sha256:…] in the store, or the number of a result of `reg search`; without one, this node
    #[arg(value_name = "REF|NUMBER")]
    pub what: Option<ModelArg>,
    /// Name private addresses too
    #[arg(long)]
    pub lan: bool,
    /// Show the ticket as a QR code
    #[arg(long, conflicts_with_all = ["json", "quiet"])]
    pub qr: bool,
}
