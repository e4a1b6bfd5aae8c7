//! `reg status --watch`: shows the state of the daemon again and again, until Ctrl-C: as a table that is drawn anew on a terminal, else
//! as one line each time.

use std::process::ExitCode;
use std::time::Duration;

use reg_api::clock;
use reg_api::report::Status;

use super::status;
use crate::args::Global;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

/// The time from one look to the next.
const EVERY: Duration = Duration::from_secs(2);

pub async fn run(global: &Global) -> Result<ExitCode, CliError> {
    tokio::select! {
        ended = watch(global) => ended,
        _ = tokio::signal::ctrl_c() => Ok(output::ok()),
    }
}

async fn watch(global: &Global) -> Result<ExitCode, CliError> {
    let mut before: Option<Status> = None;
    loop {
        let Some(client) = Client::of_daemon(global).await? else {
            return Err(CliError::new("unreachable", "no daemon runs, so there is nothing to watch")
                .hint("start one with `reg daemon`"));
        };
        let status: Status = client.get("/v1/status", &[]).await?;
        if global.json {
            output::json(&status)?;
        } else if output::is_result_seen() {
            output::redraw(&status::rows(status.clone(), true))?;
        } else {
            output::line(line(&status, before.as_ref()))?;
        }
        if output::reader_has_gone() {
            return Ok(output::ok());
        }
        before = Some(status);
        tokio::time::sleep(EVERY).await;
    }
}

/// Returns the state in one line, with what was served and fetched since the line before.
fn line(status: &Status, before: Option<&Status>) -> String {
    let since = |figure: fn(&Status) -> u64| before.map_or(0, |it| figure(status).saturating_sub(figure(it)));
    format!(
        "{}  peers {}  models {}  cache {}  served {} (+{})  fetched {} (+{})",
        clock::date(clock::now()),
        status.peers,
        status.models,
        size(status.bytes),
        size(status.bytes_served),
        size(since(|it| it.bytes_served)),
        size(status.bytes_fetched),
        size(since(|it| it.bytes_fetched)),
    )
}
