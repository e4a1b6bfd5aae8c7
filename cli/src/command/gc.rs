//! `reg gc`: removes the blobs that no model uses, and evicts models until the cache fits its size.

use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::report::Collected;
use reg_node::gateway::admin::GcRequest;

use crate::args::Global;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};
use crate::progress::while_waiting;

pub async fn run(global: &Global, dry_run: bool) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let request = GcRequest { dry_run };
    let collecting = client.post("/v1/gc", &request);
    let collected: Collected =
        while_waiting(global.quiet, "looking for what no model uses", collecting).await?;
    client.close().await;
    if global.json {
        output::json(&collected)?;
    } else if !global.quiet {
        let verb = if dry_run { "would remove" } else { "removed" };
        let Collected { models, blobs, bytes, .. } = &collected;
        output::sentence(format!(
            "{verb} {}, {}, {}",
            counted(models.len(), "model"),
            counted(*blobs, "blob"),
            size(*bytes)
        ))?;
    }
    Ok(output::ok())
}
