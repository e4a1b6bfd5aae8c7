//! Finds names that complete a command line: models, keys, publishers, peers.

use std::time::Duration;

use reg_api::report::{KnownPeer, ModelSummary, PeerReport, TrustReport};
use reg_node::daemon;

use super::Kind;
use crate::args::Global;
use crate::client::{Client, home};
use crate::error::CliError;
use crate::grammar::grammar;
use crate::guide;

/// Longest time that a user waits for a list after a key press.
const PATIENCE: Duration = Duration::from_millis(300);

/// Returns the names of a kind, unsorted. The list is empty where it takes too long or fails.
pub async fn names(global: &Global, kind: Kind) -> Vec<String> {
    let found = async {
        match kind {
            Kind::Model | Kind::ModelOrFile => models(global).await,
            Kind::Key => keys(global),
            Kind::Publisher => publishers(global).await,
            Kind::Peer => peers(global).await.map(|all| all.into_iter().map(|(id, _)| id).collect()),
            Kind::Address => peers(global).await.map(|all| all.into_iter().flat_map(|(_, it)| it).collect()),
            Kind::Setting => Ok(daemon::keys().map(|it| it.name()).collect()),
            Kind::Topic => {
                let all = grammar();
                let commands = all.get_subcommands().filter(|it| !it.is_hide_set()).map(|it| it.get_name());
                Ok(commands
                    .chain(guide::topics().into_iter().map(|(name, _)| name))
                    .map(str::to_owned)
                    .collect())
            }
            Kind::File | Kind::Free => Ok(Vec::new()),
        }
    };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(Ok(names)) => names,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// Opens the daemon, or a store that is there: a key press makes no folder.
async fn open(global: &Global) -> Result<Option<Client>, CliError> {
    match Client::of_daemon(global).await? {
        None if home(global)?.store().is_dir() => Client::open(global, None).await.map(Some),
        found => Ok(found),
    }
}

/// Returns the models in the store, each with its tags, by the name that `reg ls` shows.
async fn models(global: &Global) -> Result<Vec<String>, CliError> {
    let Some(client) = open(global).await? else { return Ok(Vec::new()) };
    let models: Vec<ModelSummary> = client.get_pages("/v1/models").await?;
    let mut names = Vec::new();
    for model in models {
        let publisher =
            model.petname.as_ref().map_or_else(|| model.publisher.to_string(), ToString::to_string);
        let name = format!("{publisher}/{}", model.model);
        names.extend(model.tags.iter().map(|tag| format!("{name}:{tag}")));
        if model.tags.is_empty() {
            names.push(format!("{name}@{}", model.manifest));
        }
    }
    Ok(names)
}

fn keys(global: &Global) -> Result<Vec<String>, CliError> {
    let list = home(global)?.keyring().list();
    let list = list.map_err(|error| CliError::from_error("other", &error))?;
    Ok(list.keys.into_iter().map(|key| key.name.to_string()).collect())
}

async fn publishers(global: &Global) -> Result<Vec<String>, CliError> {
    let Some(client) = open(global).await? else { return Ok(Vec::new()) };
    let report: TrustReport = client.get("/v1/trust/all", &[]).await?;
    let domains = report.domains.into_iter().map(|it| it.domain.to_string());
    Ok(report.petnames.into_iter().map(|it| it.petname.to_string()).chain(domains).collect())
}

/// Returns the peers that the daemon knows, each with its addresses.
async fn peers(global: &Global) -> Result<Vec<(String, Vec<String>)>, CliError> {
    let Some(client) = Client::of_daemon(global).await? else { return Ok(Vec::new()) };
    let connected: Vec<PeerReport> = client.get("/v1/peers", &[]).await?;
    let known: Vec<KnownPeer> = client.get("/v1/peers/known", &[]).await?;
    let connected = connected.into_iter().map(|it| (it.peer.to_string(), it.addresses));
    let known = known.into_iter().filter_map(|it| Some((it.peer?.to_string(), it.addresses)));
    let texts = |(id, all): (String, Vec<_>)| (id, all.iter().map(ToString::to_string).collect());
    Ok(connected.chain(known).map(texts).collect())
}
