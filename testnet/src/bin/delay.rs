//! `delay LISTEN TARGET MILLISECONDS`: runs the delaying proxy as a process, so that it can run on a machine of its own.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use reg_testnet::delay::Delay;

/// Forwards TCP and UDP between LISTEN and TARGET, with a delay in each direction.
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
