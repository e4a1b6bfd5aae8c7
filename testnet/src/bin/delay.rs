//! A line that delays, as a process, so that it can run on a machine of its own: `delay LISTEN TARGET MILLISECONDS`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use reg_testnet::delay::Delay;

/// Carries TCP and UDP between LISTEN and TARGET, each direction late.
#[derive(Debug, Parser)]
struct Args {
    listen: SocketAddr,
    target: SocketAddr,
    milliseconds: u64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let Args { listen, target, milliseconds } = Args::parse();
    let _running = Delay::start(listen, target, Duration::from_millis(milliseconds)).await?;
    std::future::pending().await
}
