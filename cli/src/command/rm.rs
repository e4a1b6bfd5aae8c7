//! `reg rm`: removes a model, and the blobs that only it uses.

use std::process::ExitCode;

use reg_api::report::Collected;
use reg_node::gateway::admin::Named as Request;

use crate::args::{Global, Named};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

pub async fn run(global: &Global, args: Named) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let reference = args.reference.clone();
    let removed: Collected = client.post("/v1/remove", &Request { reference: args.reference }).await?;
    client.close().await;
    if global.json {
        output::json(&removed)?;
    } else if removed.models.is_empty() {
        output::line(format!("removed {reference}; other tags still point to the same model"))?;
    } else if !global.quiet {
        output::line(format!("removed {reference}, {} in {} blobs", size(removed.bytes), removed.blobs))?;
    }
    Ok(output::ok())
}
