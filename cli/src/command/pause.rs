//! `reg pause` and `reg resume`: pause the daemon's transfers, or resume them.

use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::report::Paused;
use reg_api::request::PauseRequest;

use crate::args::{Global, Meant};
use crate::client::Client;
use crate::error::CliError;
use crate::output;

/// Pauses the pulls of a model, or all transfers.
pub async fn pause(global: &Global, args: Meant) -> Result<ExitCode, CliError> {
    set(global, args, "/v1/pause", "paused").await
}

/// Resumes the pulls of a model, or all transfers.
pub async fn resume(global: &Global, args: Meant) -> Result<ExitCode, CliError> {
    set(global, args, "/v1/resume", "resumed").await
}

async fn set(global: &Global, args: Meant, path: &str, done: &str) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    if !client.is_daemon() {
        client.close().await;
        return Err(CliError::new("unreachable", "no daemon runs, so there is nothing to pause or resume")
            .hint("stop a pull without a daemon with Ctrl-C; the same command resumes it"));
    }
    let reference = args.reference.clone();
    let paused: Paused = client.post(path, &PauseRequest { reference: args.reference }).await?;
    client.close().await;
    if let (Some(reference), 0) = (&reference, paused.pulls) {
        return Err(CliError::new("not_found", format_args!("{reference} is not being pulled"))
            .hint("`reg pause` without a reference pauses everything"));
    }
    if global.json {
        output::json(&paused)?;
    } else if !global.quiet {
        let what = reference.map_or_else(|| "everything".to_owned(), |it| it.to_string());
        output::sentence(format!("{done} {what} ({} under way)", counted(paused.pulls, "pull")))?;
    }
    Ok(output::ok())
}
