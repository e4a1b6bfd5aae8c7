//! `reg publish`: has the node prepare a model, signs it in this process, and has the node commit it.
//!
//! The secret key never leaves this process.

use std::process::ExitCode;
use std::time::Duration;

use reg_api::prepared::Prepared;
use reg_api::report::{Abandoned, Published};
use reg_api::request::{Claims, PublishRequest, PublishSource};
use reg_keys::publisher_key::PublisherKey;
use reg_keys::signing_file::SigningFile;
use reg_node::gateway::admin::{CommitRequest, Named, SignedRequest};
use reg_proto::name::Reference;
use serde_json::Value;

use crate::args::{Global, Publish};
use crate::client::{Client, home};
use crate::command::keyring::{keyring, publisher};
use crate::command::published;
use crate::error::CliError;
use crate::output;

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
    let (Some(path), Some((model, tag)), Some(name)) = (&args.path, args.model.clone(), &args.key) else {
        return Err(CliError::new(
            "invalid",
            "path, model or key is missing: reg publish PATH MODEL --key NAME",
        ));
    };
    let key = publisher(&keyring(&home), name, args.prepare.is_some())?;
    let path = path.canonicalize().map_err(|error| {
        CliError::new("not_found", format_args!("{}: {error}", path.display()))
            .hint("name a directory or a file")
    })?;
    let client = Client::open_to_publish(global, &args.net).await?;
    let request = PublishRequest {
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
        allow_unsafe: args.allow_unsafe,
        fresh_for: args.fresh_for.map(|days| days.saturating_mul(DAY)),
        expires_in: args.expires_in.map(|days| days.saturating_mul(DAY)),
        settle: args.settle,
        origin: None,
        min_usable: args.min_usable,
        hold: args.prepare.is_some(),
    };
    if let Some(out) = &args.prepare {
        let prepared = prepare(&client, &request).await?;
        client.close().await;
        let file = SigningFile::of_publication(request, prepared);
        file.write(out).map_err(|error| CliError::from_fault(&error))?;
        output::line(out.display().to_string())?;
        if !global.quiet {
            output::say(format_args!(
                "sign it: reg sign {0} --key NAME; then: reg publish --signed {0}",
                out.display()
            ));
        }
        return Ok(output::ok());
    }
    let published = sign_and_commit(&client, &key, request).await?;
    conclude(global, client, published, &args).await
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
        output::line(format!(
            "abandoned record {seq} of {publisher}/{model}:{tag}: {}",
            output::short(manifest)
        ))?;
        output::line("its number is not used again; destroy the prepared file and its signatures")?;
    }
    Ok(output::ok())
}

/// Publishes a file that was prepared earlier and has been signed since.
async fn publish_signed(global: &Global, file: SigningFile, args: &Publish) -> Result<ExitCode, CliError> {
    let (request, prepared, signed) = file.publication().map_err(|error| CliError::from_fault(&error))?;
    let client = Client::open_to_publish(global, &args.net).await?;
    let request = SignedRequest { request, prepared, signed };
    let published: Published = client.stream("/v1/publish/signed", &request).await?;
    conclude(global, client, published, args).await
}

async fn conclude(
    global: &Global,
    client: Client,
    mut published: Published,
    args: &Publish,
) -> Result<ExitCode, CliError> {
    if let Some(wanted) = args.seed_until {
        published.holders = seed_until(global, &client, &published, wanted).await?;
    }
    let holders = published.holders;
    let held = format!("held by {holders} other peer{}", if holders == 1 { "" } else { "s" });
    let is_served = client.is_daemon() || args.seed_until.is_some();
    published::report(global, &published, Value::Null, [held], is_served)?;
    client.close().await;
    Ok(output::ok())
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
) -> Result<Published, CliError> {
    let prepared = prepare(client, &request).await?;
    sign_and_commit_prepared(client, key, prepared).await
}

/// Signs a prepared model, and has the node publish it.
pub async fn sign_and_commit_prepared(
    client: &Client,
    key: &PublisherKey,
    prepared: Prepared,
) -> Result<Published, CliError> {
    let signed = key.sign(&prepared).map_err(|error| CliError::from_fault(&error))?;
    client.stream("/v1/publish/commit", &CommitRequest { id: prepared.id, signed }).await
}

/// Waits until `wanted` other peers hold the model; returns how many do.
async fn seed_until(
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
