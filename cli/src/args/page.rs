//! Defines the arguments of `reg page`.

use clap::Args as ClapArgs;

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  reg page            open it in the browser
  reg page --print    print its address: for a browser on another machine, through `ssh -L 4610:127.0.0.1:4610 HOST`

The address ends with a one-time code, which is valid for a minute. The tab that opens it first may change things until the daemon
ends. Without the code, the page only shows.")]
pub struct Page {
    /// Print the address, and open no browser
    #[arg(long)]
    pub print: bool,
}
