//! `reg publish`: has the node prepare a model, signs it in this process, and has the node commit it.
//!
//! The secret key never leaves this process.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use reg_api::consent::{Acceptance, Consent};
use reg_api::ingest::{IngestPlan, LeftOutList};
use reg_api::prepared::Prepared;
use reg_api::report::{Abandoned, Published, Shared, Status};
use reg_api::request::{CardClaims, Claims, IngestRequest, PublishRequest, PublishSource};
use reg_keys::publisher_key::PublisherKey;
use reg_keys::signing_file::SigningFile;
use reg_node::gateway::admin::{CommitRequest, Named, SignedRequest};
use reg_proto::name::{PublisherId, Reference};
use serde_json::json;

use crate::args::{Global, Publish};
use crate::client::{Client, home};
use crate::command::dropped::SaidBefore;
use crate::command::keyring::{keyring, publisher, publisher_of};
use crate::command::published::{self, Several};
use crate::command::share;
use crate::error::CliError;
use crate::left_out;
use crate::output;
use crate::sources::{self, Source};

/// Time between two queries for the number of holders.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const DAY: u64 = 86_400;

pub async fn run(global: &Global, args: Publish) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    home.make().map_err(|error| CliError::from_error("other", &error))?;
    if let Some(reference) = args.abandon {
        return abandon(global, reference).await;
    }
    if let Some(file) = &args.signed {
        let file = SigningFile::read(file).map_err(|error| CliError::from_fault(&error))?;
        file.describe().map_err(|error| CliError::from_fault(&error))?;
        return publish_signed(global, file, &args).await;
    }
    let sources = sources::read(&args.what)?;
    if args.files.dry_run {
        let own = args.key.as_ref().map(|name| publisher_of(&keyring(&home), name)).transpose()?;
        return plan(global, &sources, own, &args).await;
    }
    let Some(name) = &args.key else {
        return Err(CliError::new("invalid", "key is missing: reg publish PATH MODEL --key NAME"));
    };
    let key = publisher(&keyring(&home), name, args.prepare.is_some())?;
    let client = Client::open_to_publish(global, &args.net).await?;
    match (&sources[..], &args.prepare) {
        ([source], None) => {
            let done = sign_and_commit(&client, &key, request(source, &key, &args)).await?;
            conclude(global, client, done, &args).await
        }
        ([source], Some(out)) => prepare_file(global, client, request(source, &key, &args), out).await,
        (_, Some(_)) => Err(CliError::new("invalid", "--prepare takes one model at a time")),
        (several, None) => publish_all(global, client, &key, several, &args).await,
    }
}

fn request(source: &Source, key: &PublisherKey, args: &Publish) -> PublishRequest {
    let Source { path, model, tag } = source.clone();
    PublishRequest {
        source: PublishSource::Path(path),
        key_documents: key.key_documents().to_vec(),
        model,
        tag,
        claims: Claims {
            licenses: args.license.clone(),
            title: args.title.clone(),
            description: args.description.clone(),
            version: args.version.clone(),
            source_url: args.source_url.clone(),
        },
        card: CardClaims { task: args.task.clone(), summary: args.summary.clone() },
        ingest: args.files.ingest(args.link),
        allow_unsafe: args.allow_unsafe,
        allow: args.allow.iter().copied().collect(),
        incomplete: args.incomplete,
        fresh_for: args.fresh_for.map(|days| days.saturating_mul(DAY)),
        expires_in: args.expires_in.map(|days| days.saturating_mul(DAY)),
        settle: args.settle,
        origin: None,
        min_usable: args.min_usable,
        hold: args.prepare.is_some(),
    }
}

/// Shows what would be published. A refused model does not stop the others.
async fn plan(
    global: &Global,
    sources: &[Source],
    own: Option<PublisherId>,
    args: &Publish,
) -> Result<ExitCode, CliError> {
    let client = Client::open_to_publish(global, &args.net).await?;
    let mut plans = Vec::new();
    for source in sources {
        plans.push((source, plan_of(&client, source, own, args).await));
    }
    client.close().await;
    let document = |Source { path, model, tag }: &Source, plan: &IngestPlan| {
        left_out::document(plan, json!({ "model": model, "tag": tag, "path": path }))
    };
    if let ([source], true) = (sources, global.json) {
        let plan = plans.into_iter().map(|(_, plan)| plan).collect::<Result<Vec<_>, _>>()?;
        plan.iter().try_for_each(|plan| output::json(&document(source, plan)))?;
        return Ok(output::ok());
    }
    let mut several = Several::new(global);
    for (source, plan) in plans {
        let Source { path, model, tag } = source;
        match plan {
            Ok(plan) => {
                let shown = format!("{model}:{tag} of {}", path.display());
                several.plan(&shown, &plan, document(source, &plan))?;
            }
            Err(error) if sources.len() == 1 => return Err(error),
            Err(error) => several.failed(&path.display().to_string(), error)?,
        }
    }
    several.end(true)
}

async fn plan_of(
    client: &Client,
    Source { path, model, .. }: &Source,
    own: Option<PublisherId>,
    args: &Publish,
) -> Result<IngestPlan, CliError> {
    let ingest = args.files.ingest(args.link);
    let consent = Consent::new(args.allow_unsafe, args.allow.iter().copied().collect());
    let of = own.map(|publisher| (publisher, model.clone()));
    let accepted = Acceptance { consent, incomplete: args.incomplete, model: of };
    client.post("/v1/publish/plan", &IngestRequest { path: path.clone(), ingest, accepted }).await
}

/// Publishes several models, one after the other. A failed one does not stop the others.
async fn publish_all(
    global: &Global,
    client: Client,
    key: &PublisherKey,
    sources: &[Source],
    args: &Publish,
) -> Result<ExitCode, CliError> {
    let mut several = Several::new(global);
    for source in sources {
        let done = match sign_and_commit(&client, key, request(source, key, args)).await {
            Ok(done) => with_holders(global, &client, done, args).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(done) => {
                let shared = shared(&client, &done).await;
                let more =
                    shared.as_ref().map_or(serde_json::Value::Null, |it| json!({ "ticket": it.ticket }));
                let lines = held(&done, args).into_iter().chain([pull_line(&done, shared.as_ref())]);
                several.add(&done, more, lines)?;
            }
            Err(error) => several.failed(&source.path.display().to_string(), error)?,
        }
    }
    let is_served = client.is_daemon() || args.wait.is_some();
    client.close().await;
    several.end(is_served)
}

/// Has the node prepare a model, and writes the file that others sign.
async fn prepare_file(
    global: &Global,
    client: Client,
    request: PublishRequest,
    out: &Path,
) -> Result<ExitCode, CliError> {
    let prepared = prepare(&client, &request).await?;
    client.close().await;
    if !global.quiet {
        left_out::lines(&prepared.left_out).into_iter().for_each(output::say);
    }
    let file = SigningFile::of_publication(request, prepared);
    file.write(out).map_err(|error| CliError::from_fault(&error))?;
    if global.json {
        output::json(&json!({ "publisher": file.publisher, "file": out }))?;
        return Ok(output::ok());
    }
    output::line(out.display().to_string())?;
    if !global.quiet {
        output::say(format_args!(
            "sign it: reg sign {0} --key NAME; then: reg publish --signed {0}",
            out.display()
        ));
    }
    Ok(output::ok())
}

/// Gives up what was prepared for a tag.
async fn abandon(global: &Global, reference: Reference) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let abandoned: Result<Abandoned, CliError> =
        client.post("/v1/publish/abandon", &Named { reference }).await;
    client.close().await;
    let abandoned = abandoned?;
    let Abandoned { publisher, model, tag, seq, manifest, .. } = &abandoned;
    if global.json {
        output::json(&abandoned)?;
    } else if global.quiet {
        output::line(manifest.to_string())?;
    } else {
        output::sentence(format!(
            "abandoned record {seq} of {publisher}/{model}:{tag}: {}",
            output::short(manifest)
        ))?;
        output::sentence("its number is not used again; destroy the prepared file and its signatures")?;
    }
    Ok(output::ok())
}

/// Publishes a file that was prepared earlier and has been signed since.
async fn publish_signed(global: &Global, file: SigningFile, args: &Publish) -> Result<ExitCode, CliError> {
    let (request, prepared, signed) = file.publication().map_err(|error| CliError::from_fault(&error))?;
    let client = Client::open_to_publish(global, &args.net).await?;
    let request = SignedRequest { request, prepared, signed };
    let left_out = request.prepared.left_out.clone();
    let Prepared { publisher, model, tag, .. } = &request.prepared;
    let before = SaidBefore::ask(&client, *publisher, model, tag).await;
    let published: Published = client.stream("/v1/publish/signed", &request).await?;
    let dropped = before.lines(&client, &published.reference).await;
    conclude(global, client, Done { published, left_out, copied: false, stored: None, dropped }, args).await
}

/// Holds a model that was published, and what was left out of it.
#[derive(Debug)]
pub struct Done {
    pub published: Published,
    pub left_out: LeftOutList,
    /// Whether large files were to be linked and had to be copied.
    pub copied: bool,
    /// How many bytes the store has grown by; `None` where that is not known.
    pub stored: Option<u64>,
    /// What was said of the version before and is not said of this one, in lines.
    pub dropped: Vec<String>,
}

async fn conclude(global: &Global, client: Client, done: Done, args: &Publish) -> Result<ExitCode, CliError> {
    let done = with_holders(global, &client, done, args).await?;
    let is_served = client.is_daemon() || args.wait.is_some();
    let shared = shared(&client, &done).await;
    let more = shared.as_ref().map_or(serde_json::Value::Null, |it| json!({ "ticket": it.ticket }));
    let lines = held(&done, args).into_iter().chain([pull_line(&done, shared.as_ref())]);
    published::report(global, &done, more, lines, is_served)?;
    client.close().await;
    Ok(output::ok())
}

/// Returns the ticket of a model that a daemon serves; `None` from a daemon of an earlier version.
async fn shared(client: &Client, done: &Done) -> Option<Shared> {
    if !client.is_daemon() {
        return None;
    }
    share::ticket(client, Some(&done.published.reference), false).await.ok()
}

/// Returns the line by which others pull the model: with the ticket if it has an address, else with the name.
/// Only a daemon makes a ticket.
fn pull_line(done: &Done, shared: Option<&Shared>) -> String {
    match shared.map(|it| (it, &it.reference, it.addresses.is_empty())) {
        Some((_, Some(reference), true)) => {
            format!(
                "others type: reg pull {reference} (`reg share {reference} --lan` makes a ticket for your network)"
            )
        }
        Some((shared, ..)) => format!("others type: reg pull {}", shared.ticket),
        None => format!("others type: reg pull {}", done.published.reference),
    }
}

/// Waits for as many holders as the user asked for.
async fn with_holders(
    global: &Global,
    client: &Client,
    mut done: Done,
    args: &Publish,
) -> Result<Done, CliError> {
    if let Some(wanted) = args.wait {
        done.published.holders = wait_for_holders(global, client, &done.published, wanted).await?;
    }
    Ok(done)
}

/// Returns a line with the number of peers that hold the model, if the user has waited for them.
fn held(done: &Done, args: &Publish) -> Option<String> {
    let holders = done.published.holders;
    args.wait.map(|_| format!("held by {holders} other peer{}", if holders == 1 { "" } else { "s" }))
}

/// Has the node prepare a model; refuses the result if it is not the model of `request`.
pub async fn prepare(client: &Client, request: &PublishRequest) -> Result<Prepared, CliError> {
    let prepared: Prepared = client.stream("/v1/publish/prepare", request).await?;
    let PublishRequest { model, tag, origin, .. } = request;
    if (&prepared.model, &prepared.tag) != (model, tag) || prepared.attestation.is_some() != origin.is_some()
    {
        return Err(CliError::new("verification", "the node has prepared another model than the named one"));
    }
    Ok(prepared)
}

/// Has the node prepare a model, checks that it is the model of `request`, signs it, and has the node publish it.
pub async fn sign_and_commit(
    client: &Client,
    key: &PublisherKey,
    request: PublishRequest,
) -> Result<Done, CliError> {
    let before = stored(client).await;
    let prepared = prepare(client, &request).await?;
    let done = sign_and_commit_prepared(client, key, prepared).await?;
    let stored = stored(client).await.zip(before).map(|(now, before)| now.saturating_sub(before));
    Ok(Done { stored, ..done })
}

/// Returns how many bytes the store has.
async fn stored(client: &Client) -> Option<u64> {
    let status: Status = client.get("/v1/status", &[]).await.ok()?;
    Some(status.bytes)
}

/// Signs a prepared model, and has the node publish it.
pub async fn sign_and_commit_prepared(
    client: &Client,
    key: &PublisherKey,
    prepared: Prepared,
) -> Result<Done, CliError> {
    let signed = key.sign(&prepared).map_err(|error| CliError::from_fault(&error))?;
    let Prepared { id, left_out, copied, publisher, model, tag, .. } = prepared;
    let before = SaidBefore::ask(client, publisher, &model, &tag).await;
    let published: Published = client.stream("/v1/publish/commit", &CommitRequest { id, signed }).await?;
    let dropped = before.lines(client, &published.reference).await;
    Ok(Done { published, left_out, copied, stored: None, dropped })
}

/// Waits until `wanted` other peers hold the model; returns how many do.
async fn wait_for_holders(
    global: &Global,
    client: &Client,
    published: &Published,
    wanted: usize,
) -> Result<usize, CliError> {
    let query = [("manifest", published.manifest.to_string())];
    if !global.quiet {
        output::say(format_args!("published {}", published.reference));
    }
    let mut shown = None;
    loop {
        let holders: usize = client.get("/v1/holders", &query).await?;
        if shown != Some(holders) && !global.quiet {
            output::say(format_args!("held by {holders} of {wanted} peers"));
            shown = Some(holders);
        }
        if holders >= wanted {
            return Ok(holders);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = tokio::signal::ctrl_c() => {
                return Err(CliError::interrupted("the model is published; a daemon continues to seed it"));
            }
        }
    }
}
