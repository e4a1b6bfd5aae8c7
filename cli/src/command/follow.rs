//! `reg follow`: pulls new versions of a publisher's models by itself, and keeps collections up to date.

use std::process::ExitCode;

use reg_api::clock::{self, age};
use reg_api::collection::{CollectionReport, CollectionRequest, CollectionState};
use reg_api::counted::counted;
use reg_api::follow::{
    FollowReport, FollowRequest, FollowSettings, Followed, FollowedVersion, PauseFollow, VersionState,
};
use reg_api::printable::Printable;
use reg_api::request::TicketRequest;
use reg_api::selection::Selection;
use reg_node::registry::local::shown;
use reg_proto::name::{Publisher, Reference};
use serde_json::json;

use crate::args::{Follow, FollowCommand, Global};
use crate::client::Client;
use crate::command::collection;
use crate::error::CliError;
use crate::ids::Ids;
use crate::output;
use crate::table::{Column, Table};
use crate::ticketed::FollowSource;

/// Fewest characters of a version's name, and of a line of its state.
const NAME_MIN: usize = 20;
const STATE_MIN: usize = 24;
/// Versions of one follow that are listed. `--json` has all of them.
const LISTED_MAX: usize = 20;

pub async fn run(global: &Global, args: Follow) -> Result<ExitCode, CliError> {
    let net = (fetches(&args) || args.net.is_any_given()).then_some(&args.net);
    let client = Client::open(global, net).await?;
    let done = act(global, &client, args).await;
    client.close().await;
    done.map(|()| output::ok())
}

/// Tells whether the network is needed now: a name may be that of a collection, which is fetched, and the publisher of a domain is
/// asked of the domain and of peers.
fn fetches(args: &Follow) -> bool {
    let Some(FollowSource { followed, .. }) = &args.what else { return false };
    matches!(followed.publisher, Publisher::Domain(_)) || (one_model(followed).is_some() && !args.models)
}

async fn act(global: &Global, client: &Client, args: Follow) -> Result<(), CliError> {
    let Follow { command, what, models, keep, delay, include, exclude, quant, allow, net: _ } = args;
    match (command, what) {
        (Some(FollowCommand::Ls), _) | (None, None) => list(global, client).await,
        (Some(FollowCommand::Rm(meant)), _) => {
            if end_collection(global, client, &meant.what).await? {
                return Ok(());
            }
            let ended: Result<FollowReport, CliError> = client.post("/v1/follow/remove", &meant.what).await;
            let ended = near(client, &meant.what, ended).await?;
            say(global, &ended, format!("{} is not followed any more", name(&ended)))
        }
        (Some(FollowCommand::Pause(meant)), _) => pause(global, client, meant.what, true).await,
        (Some(FollowCommand::Resume(meant)), _) => pause(global, client, meant.what, false).await,
        (None, Some(FollowSource { followed, ticket })) => {
            let selection = Selection { include, exclude, quant };
            let settings = FollowSettings { keep, delay, selection, allow: allow.into_iter().collect() };
            collection::ask_domain(client, &followed.publisher).await?;
            if !models && follow_collection(global, client, &followed, ticket.as_ref()).await? {
                return Ok(());
            }
            let request = FollowRequest { followed, settings, ticket };
            let made: FollowReport = client.post("/v1/follow", &request).await?;
            let wait = if delay == 0 { "at once".to_owned() } else { format!("after {}", age(delay)) };
            let text = format!("{} is followed: a new version comes {wait}, {keep} are kept", name(&made));
            say(global, &made, text)?;
            if let Some(note) = made.note.as_ref().filter(|_| !global.quiet && !global.json) {
                output::say(format_args!("note: {}", Printable::lines(note)));
            }
            if !client.is_daemon() && !global.quiet && !global.json {
                output::say(format_args!("note: versions come while `reg daemon` runs, and none runs now"));
            }
            Ok(())
        }
    }
}

/// Returns the model that is meant, where one name was typed and no pattern.
fn one_model(followed: &Followed) -> Option<Reference> {
    let model = followed.models.to_string().parse().ok()?;
    Some(Reference { publisher: followed.publisher.clone(), model, tag: None, digest: None })
}

/// Follows a collection, where the name that was typed is that of one; returns whether it is.
async fn follow_collection(
    global: &Global,
    client: &Client,
    followed: &Followed,
    ticket: Option<&TicketRequest>,
) -> Result<bool, CliError> {
    let Some(reference) = one_model(followed) else { return Ok(false) };
    let request = CollectionRequest { reference, ticket: ticket.cloned() };
    let asked: Result<Option<CollectionReport>, CliError> =
        client.stream("/v1/collections/follow", &request).await;
    match asked {
        Ok(None) => Ok(false),
        Ok(Some(report)) if global.json => output::json(&report).map(|()| true),
        Ok(Some(report)) => {
            let is_used = matches!(report.state, CollectionState::Current | CollectionState::Behind);
            output::sentence(match is_used {
                true => {
                    let counts = collection::counts(&report);
                    format!("{} is a collection, and is followed: {counts}", report.collection)
                }
                false => collection::line(&report),
            })?;
            if is_used && !global.quiet {
                output::say(
                    "its publishers come first in `reg search`; it makes no signature valid, and nothing is pulled",
                );
            }
            Ok(true)
        }
        // What is wrong with the name or with its list. Everything else leaves open what it is.
        Err(error) if matches!(error.document().kind.as_str(), "invalid" | "interrupted") => Err(error),
        Err(error) => {
            if !global.quiet {
                output::say(format_args!(
                    "note: it is not known whether {} is a collection: {}; if it is one, run the same command again later",
                    request.reference,
                    error.document().message
                ));
            }
            Ok(false)
        }
    }
}

/// Ends the following of a collection; returns whether the name is that of one.
async fn end_collection(global: &Global, client: &Client, followed: &Followed) -> Result<bool, CliError> {
    let Some(reference) = one_model(followed) else { return Ok(false) };
    let request = CollectionRequest { reference, ticket: None };
    let ended: Option<CollectionReport> = client.post("/v1/collections/remove", &request).await?;
    let Some(ended) = ended else { return Ok(false) };
    match (global.json, global.quiet) {
        (true, _) => output::json(&ended)?,
        (_, true) => {}
        _ => output::sentence(format!("{} is not followed any more", ended.collection))?,
    }
    Ok(true)
}

async fn pause(global: &Global, client: &Client, followed: Followed, paused: bool) -> Result<(), CliError> {
    let request = PauseFollow { followed: followed.clone(), paused };
    let report: Result<FollowReport, CliError> = client.post("/v1/follow/pause", &request).await;
    let report = near(client, &followed, report).await?;
    let text = format!("{} is {}", name(&report), if paused { "paused" } else { "followed again" });
    say(global, &report, text)
}

/// Follows that a hint names.
const NEAR_MAX: usize = 5;

/// Adds to an error about a follow that there is none of those that the user may have meant.
async fn near<T>(client: &Client, meant: &Followed, done: Result<T, CliError>) -> Result<T, CliError> {
    let error = match done {
        Err(error) if error.document().kind == "not_found" => error,
        done => return done,
    };
    let follows: Vec<FollowReport> = client.get("/v1/follow", &[]).await.unwrap_or_default();
    let typed = match meant.models.to_string() {
        all if all == "*" => meant.publisher.to_string(),
        models => models,
    };
    let is_near = |it: &String| it.contains(typed.trim_matches('*'));
    let near: Vec<String> = follows.iter().map(name).filter(is_near).take(NEAR_MAX).collect();
    let all: Vec<String> = follows.iter().map(name).take(NEAR_MAX).collect();
    let (named, more) = match (near.is_empty(), follows.len().saturating_sub(NEAR_MAX)) {
        (false, _) => (near, String::new()),
        (true, 0) => (all, String::new()),
        (true, more) => (all, format!(" and {more} more (`reg follow ls`)")),
    };
    Err(match named.is_empty() {
        true => error.hint("nothing is followed; `reg follow PUBLISHER` begins"),
        false => {
            error.hint(format_args!("these are followed: {}{more}; name one of them whole", named.join(", ")))
        }
    })
}

async fn list(global: &Global, client: &Client) -> Result<(), CliError> {
    let follows: Vec<FollowReport> = client.get("/v1/follow", &[]).await?;
    let collections: Vec<CollectionReport> = client.get("/v1/collections", &[]).await?;
    if global.json {
        let all = follows.iter().map(|it| json!(it)).chain(collections.iter().map(|it| json!(it)));
        return output::json(&all.collect::<Vec<_>>());
    }
    for it in &collections {
        output::line(if global.quiet { it.collection.clone() } else { collection::line(it) })?;
    }
    if follows.is_empty() && collections.is_empty() && !global.quiet {
        output::say(format_args!("nothing is followed; `reg follow PUBLISHER` begins"));
    }
    let versions = follows.iter().flat_map(|it| &it.versions);
    let ids = Ids::of(global, versions.map(|it| it.manifest));
    for follow in &follows {
        let paused = if follow.paused { "  (paused)" } else { "" };
        if global.quiet {
            output::line(name(follow))?;
            continue;
        }
        if let Some(fault) = &follow.fault {
            output::sentence(format!("{}  does not work: {}", name(follow), Printable::lines(fault)))?;
            continue;
        }
        let (delay, keep) = (age(follow.settings.delay), follow.settings.keep);
        output::sentence(format!("{}  delay {delay}, keeps {keep}{paused}", name(follow)))?;
        let mut table = Table::new([
            Column::named("", NAME_MIN),
            Column::whole(""),
            Column::whole("").optional(1),
            Column::text("", STATE_MIN),
        ])
        .indented();
        follow.versions.iter().take(LISTED_MAX).for_each(|it| table.row(row(it, &ids)));
        output::draw(global, &table)?;
        if follow.versions.len() > LISTED_MAX {
            output::sentence(format!(
                "  and {} more (--json lists all)",
                follow.versions.len() - LISTED_MAX
            ))?;
        }
        if follow.left_out > 0 {
            output::sentence(format!(
                "  left out: {}, because a follow remembers no more; follow fewer models at once",
                counted(follow.left_out, "tag")
            ))?;
        }
    }
    Ok(())
}

fn row(version: &FollowedVersion, ids: &Ids) -> [String; 4] {
    let now = clock::now();
    let state = match &version.state {
        VersionState::Waiting { until } if *until > now => format!("comes in {}", age(until - now)),
        VersionState::Waiting { .. } => "comes now".to_owned(),
        VersionState::Here { .. } if version.gone => "was here, and was removed or evicted".to_owned(),
        VersionState::Here { .. } if version.kept => "here, kept".to_owned(),
        VersionState::Here { .. } => "here, may be evicted".to_owned(),
        VersionState::Failed { why, next, .. } => {
            let why = Printable::lines(why);
            format!("not pulled: {why}; again in {}", age(next.saturating_sub(now)))
        }
        VersionState::Passed => "not pulled: there are newer versions, or it was withdrawn".to_owned(),
    };
    [
        format!("{}:{}", version.model, version.tag),
        version.seq.to_string(),
        ids.short(&version.manifest),
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
        _ => output::sentence(text),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    #[test]
    fn the_network_is_needed_for_what_may_be_a_collection_and_for_a_domain() {
        for (line, is_needed) in [
            (vec!["follow", "acme"], false),
            (vec!["follow", "acme/llama-*"], false),
            (vec!["follow", "acme/llama"], true),
            (vec!["follow", "acme/llama", "--models"], false),
            (vec!["follow", "acme.org"], true),
            (vec!["follow", "acme.org/llama-*"], true),
            (vec!["follow", "acme.org/llama", "--models"], true),
        ] {
            let args = Args::try_parse_from(["reg"].iter().chain(&line));
            let args = args.unwrap_or_else(|error| panic!("{line:?}: {error}"));
            let Command::Follow(follow) = args.command else { panic!("{line:?}") };
            assert_eq!(fetches(&follow), is_needed, "{line:?}");
        }
    }
}
