//! `reg follow`: pulls new versions of a publisher's models by itself.

use std::process::ExitCode;

use reg_api::clock::{self, age};
use reg_api::domain::{AskDomain, DomainFound};
use reg_api::follow::{
    FollowReport, FollowRequest, FollowSettings, FollowedVersion, PauseFollow, VersionState,
};
use reg_api::printable::Printable;
use reg_api::selection::Selection;
use reg_node::gateway::admin::trust::DomainRequest;
use reg_node::registry::local::shown;
use reg_proto::name::Publisher;

use crate::args::{Follow, FollowCommand, Global};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, short};
use crate::ticketed::FollowSource;

/// Versions of one follow that are listed. `--json` has all of them.
const LISTED_MAX: usize = 20;

pub async fn run(global: &Global, args: Follow) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let done = act(global, &client, args).await;
    client.close().await;
    done.map(|()| output::ok())
}

async fn act(global: &Global, client: &Client, args: Follow) -> Result<(), CliError> {
    let Follow { command, what, keep, delay, include, exclude, quant, allow } = args;
    match (command, what) {
        (Some(FollowCommand::Ls), _) | (None, None) => list(global, client).await,
        (Some(FollowCommand::Rm(meant)), _) => {
            let ended: FollowReport = client.post("/v1/follow/remove", &meant.what).await?;
            say(global, &ended, format!("{} is not followed any more", name(&ended)))
        }
        (Some(FollowCommand::Pause(meant)), _) => pause(global, client, meant.what, true).await,
        (Some(FollowCommand::Resume(meant)), _) => pause(global, client, meant.what, false).await,
        (None, Some(FollowSource { followed, ticket })) => {
            let selection = Selection { include, exclude, quant };
            let settings = FollowSettings { keep, delay, selection, allow: allow.into_iter().collect() };
            if let Publisher::Domain(domain) = &followed.publisher {
                // A domain that is pinned is asked again, as a pull does.
                let request = DomainRequest { domain: domain.clone(), ask: AskDomain::default() };
                client.stream::<DomainFound>("/v1/trust/domain", &request).await?;
            }
            let request = FollowRequest { followed, settings, ticket };
            let made: FollowReport = client.post("/v1/follow", &request).await?;
            let wait = if delay == 0 { "at once".to_owned() } else { format!("after {}", age(delay)) };
            let text = format!("{} is followed: a new version comes {wait}, {keep} are kept", name(&made));
            say(global, &made, text)?;
            if !client.is_daemon() && !global.quiet && !global.json {
                output::say(format_args!("note: versions come while `reg daemon` runs, and none runs now"));
            }
            Ok(())
        }
    }
}

async fn pause(
    global: &Global,
    client: &Client,
    followed: reg_api::follow::Followed,
    paused: bool,
) -> Result<(), CliError> {
    let report: FollowReport = client.post("/v1/follow/pause", &PauseFollow { followed, paused }).await?;
    let text = format!("{} is {}", name(&report), if paused { "paused" } else { "followed again" });
    say(global, &report, text)
}

async fn list(global: &Global, client: &Client) -> Result<(), CliError> {
    let follows: Vec<FollowReport> = client.get("/v1/follow", &[]).await?;
    if global.json {
        return output::json(&follows);
    }
    if follows.is_empty() && !global.quiet {
        output::say(format_args!("nothing is followed; `reg follow PUBLISHER` begins"));
    }
    for follow in &follows {
        let paused = if follow.paused { "  (paused)" } else { "" };
        if global.quiet {
            output::line(name(follow))?;
            continue;
        }
        if let Some(fault) = &follow.fault {
            output::line(format!("{}  does not work: {}", name(follow), Printable::lines(fault)))?;
            continue;
        }
        let (delay, keep) = (age(follow.settings.delay), follow.settings.keep);
        output::line(format!("{}  delay {delay}, keeps {keep}{paused}", name(follow)))?;
        let rows: Vec<Vec<String>> = follow.versions.iter().take(LISTED_MAX).map(row).collect();
        output::table(&rows)?;
        if follow.versions.len() > LISTED_MAX {
            output::line(format!("  and {} more (--json lists all)", follow.versions.len() - LISTED_MAX))?;
        }
    }
    Ok(())
}

fn row(version: &FollowedVersion) -> Vec<String> {
    let now = clock::now();
    let state = match &version.state {
        VersionState::Waiting { until } if *until > now => format!("comes in {}", age(until - now)),
        VersionState::Waiting { .. } => "comes now".to_owned(),
        VersionState::Here { .. } if version.kept => "here, kept".to_owned(),
        VersionState::Here { .. } => "here, may be evicted".to_owned(),
        VersionState::Failed { why, next, .. } => {
            let why = Printable::lines(why);
            format!("not pulled: {why}; again in {}", age(next.saturating_sub(now)))
        }
        VersionState::Passed => "not pulled: a newer version came, or it was withdrawn".to_owned(),
    };
    vec![
        format!("  {}:{}", version.model, version.tag),
        version.seq.to_string(),
        short(&version.manifest),
        state,
    ]
}

/// Returns the name of a follow, as the user types it.
fn name(follow: &FollowReport) -> String {
    format!("{}/{}", shown(follow.publisher, follow.petname.as_ref()), follow.models)
}

fn say(global: &Global, report: &FollowReport, text: String) -> Result<(), CliError> {
    match (global.json, global.quiet) {
        (true, _) => output::json(report),
        (_, true) => Ok(()),
        _ => output::line(text),
    }
}
