//! `reg gc`: removes the blobs that no model uses, and evicts models until the cache fits its size.

use std::process::ExitCode;

use reg_api::report::Collected;
use reg_node::gateway::admin::GcRequest;

use crate::args::Global;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

pub async fn run(global: &Global, dry_run: bool) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let collected: Collected = client.post("/v1/gc", &GcRequest { dry_run }).await?;
    client.close().await;
    if global.json {
        output::json(&collected)?;
    } else if !global.quiet {
        let verb = if dry_run { "would remove" } else { "removed" };
        let Collected { models, blobs, bytes, .. } = &collected;
        output::line(format!("{verb} {} models, {blobs} blobs, {}", models.len(), size(*bytes)))?;
    }
    Ok(output::ok())
}
