//! `reg trust add|ls`: names of your own for publishers.

use std::process::ExitCode;

use reg_node::gateway::admin::TrustRequest;
use reg_node::registry::report::TrustEntry;

use crate::args::{Global, Trust};
use crate::client::Client;
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, command: Trust) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    match command {
        Trust::Add { petname, publisher } => {
            let entry: TrustEntry = client.post("/v1/trust", &TrustRequest { petname, publisher }).await?;
            if global.json {
                output::json(&entry)?;
            } else if !global.quiet {
                output::line(format!("{} is {}", entry.petname, entry.publisher))?;
            }
        }
        Trust::Ls => {
            let entries: Vec<TrustEntry> = client.get("/v1/trust", &[]).await?;
            if global.json {
                output::json(&entries)?;
            } else {
                let row = |entry: &TrustEntry| vec![entry.petname.to_string(), entry.publisher.to_string()];
                output::table(&entries.iter().map(row).collect::<Vec<_>>())?;
            }
        }
    }
    client.close().await;
    Ok(output::ok())
}
