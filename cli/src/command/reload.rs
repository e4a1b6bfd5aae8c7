//! `reg reload`: lets the running daemon read its configuration again, and prints what that has changed.

use std::process::ExitCode;

use reg_api::settings::{Reloaded, SettingChange};
use serde_json::json;

use crate::args::Global;
use crate::client::Client;
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global) -> Result<ExitCode, CliError> {
    let Some(client) = Client::of_daemon(global).await? else {
        return Err(CliError::new("not_found", "no daemon runs, so none can read its configuration again")
            .hint("`reg daemon` reads it when it starts; --home DIR names the folder of a daemon"));
    };
    let reloaded: Reloaded = client.post("/v1/reload", &json!({})).await?;
    if global.json {
        output::json(&reloaded)?;
    } else if global.quiet {
        reloaded.needs_restart.iter().try_for_each(|it| output::line(&it.key))?;
    } else {
        lines(&reloaded).iter().try_for_each(output::line)?;
    }
    Ok(output::ok())
}

/// Returns in words what a daemon has taken, and what needs a restart.
pub fn lines(reloaded: &Reloaded) -> Vec<String> {
    let Reloaded { path, taken, needs_restart } = reloaded;
    if taken.is_empty() && needs_restart.is_empty() {
        return vec![format!("nothing has changed in {}", path.display())];
    }
    let taken = taken.iter().map(|it| format!("taken          {}", change(it)));
    let waiting = needs_restart.iter().map(|it| format!("needs restart  {}", change(it)));
    taken.chain(waiting).collect()
}

fn change(it: &SettingChange) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
    match (&it.before, &it.after) {
        (None, None) => format!("{} has changed", it.key),
        (before, after) => format!("{} = {} (before: {})", it.key, shown(after), shown(before)),
    }
}
