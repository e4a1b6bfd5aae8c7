//! `reg pin` and `reg unpin`: protect a model from eviction, or allow it again.

use std::process::ExitCode;

use reg_node::gateway::admin::Named as Request;
use reg_proto::digest::Digest;
use serde_json::json;

use crate::args::{Global, Named};
use crate::client::Client;
use crate::error::CliError;
use crate::output;

/// Protects a model from eviction.
pub async fn pin(global: &Global, args: Named) -> Result<ExitCode, CliError> {
    set(global, args, "/v1/pin", "pinned").await
}

/// Allows a model's eviction again.
pub async fn unpin(global: &Global, args: Named) -> Result<ExitCode, CliError> {
    set(global, args, "/v1/unpin", "unpinned").await
}

async fn set(global: &Global, args: Named, path: &str, done: &str) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let reference = args.reference.clone();
    let manifest: Digest = client.post(path, &Request { reference: args.reference }).await?;
    client.close().await;
    if global.json {
        output::json(&json!({ "reference": reference, "manifest": manifest, "pinned": done == "pinned" }))?;
    } else if !global.quiet {
        output::sentence(format!("{done} {reference} ({manifest})"))?;
    }
    Ok(output::ok())
}
