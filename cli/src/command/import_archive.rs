//! `reg import FILE.tar|DIR`: takes the models of an archive into the store, each verified against its publisher's keys.

use std::path::Path;
use std::process::ExitCode;

use reg_api::archive::{ArchiveReport, ArchivedModel, ListArchiveRequest, TakeRequest};
use reg_api::counted::counted;
use reg_api::report::Pulled;
use reg_api::selection::Selection;
use serde_json::json;

use crate::args::{Global, Import};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

pub async fn run(global: &Global, args: &Import, path: &Path) -> Result<ExitCode, CliError> {
    check_flags(args)?;
    let path = path.canonicalize().map_err(|error| {
        CliError::new("not_found", format_args!("{}: {error}", path.display()))
            .hint("name a file that `reg export` has written, or a directory")
    })?;
    // The import needs no network. A flag about the network is applied or refused, as by any command.
    let net = args.net.is_any_given().then_some(&args.net);
    let client = Client::open(global, net).await?;
    let importing = import(global, &client, args, &path);
    let imported = tokio::select! {
        imported = importing => imported,
        _ = tokio::signal::ctrl_c() => {
            Err(CliError::interrupted("run the same command again: what was verified is kept"))
        }
    };
    let is_daemon = client.is_daemon();
    client.close().await;
    let code = imported?;
    if !is_daemon && !global.quiet && !global.json && !args.files.dry_run {
        output::say(
            "note: no daemon runs, so no peer can fetch the models from this machine: start one with `reg daemon`",
        );
    }
    Ok(code)
}

/// Refuses the flags that say how a model is published: the models of an archive are published already.
fn check_flags(args: &Import) -> Result<(), CliError> {
    let given = [
        (args.model.is_some(), "a name"),
        (args.key.is_some(), "--key"),
        (args.from.is_some(), "--from"),
        (args.bundle.is_some(), "--bundle"),
        (args.incomplete, "--incomplete"),
        (args.files.hidden || !args.files.secret.is_empty(), "--hidden or --secret"),
    ];
    match given.iter().find(|(is_given, _)| *is_given) {
        Some((_, what)) => {
            Err(CliError::new("invalid", format_args!("an archive is imported without {what}"))
                .hint("its models keep their names and the signatures of their publishers"))
        }
        None => Ok(()),
    }
}

async fn import(global: &Global, client: &Client, args: &Import, path: &Path) -> Result<ExitCode, CliError> {
    let request = ListArchiveRequest { path: path.to_owned() };
    let archive: ArchiveReport = client.post("/v1/archive/list", &request).await?;
    if args.files.dry_run {
        return list(global, &archive);
    }
    let (mut models, mut failed, mut code) = (Vec::new(), Vec::new(), None);
    for ArchivedModel { carried, reference, .. } in &archive.models {
        let request = TakeRequest {
            path: path.to_owned(),
            carried: *carried,
            selection: Selection {
                include: args.files.include.clone(),
                exclude: args.files.exclude.clone(),
                quant: None,
            },
            allow_unsafe: args.allow_unsafe,
            allow: args.allow.iter().copied().collect(),
            allow_expired: args.allow_expired,
            newest: args.newest,
        };
        match client.stream::<Pulled>("/v1/archive/take", &request).await {
            Ok(pulled) if global.json => models.push(json!(pulled)),
            Ok(pulled) => show(global, &pulled)?,
            // Of a single model, the error is that of the command.
            Err(error) if archive.models.len() == 1 => return Err(error),
            Err(error) => {
                code.get_or_insert(error.exit_code());
                if global.json {
                    failed.push(json!({ "source": reference, "error": error.document() }));
                } else {
                    output::say(format_args!("{reference}:"));
                    error.report(false);
                }
            }
        }
    }
    if global.json {
        output::json(&json!({ "path": archive.path, "models": models, "failed": failed }))?;
    }
    Ok(code.unwrap_or_else(output::ok))
}

fn show(global: &Global, pulled: &Pulled) -> Result<(), CliError> {
    output::line(pulled.reference.to_string())?;
    if global.quiet {
        return Ok(());
    }
    let Pulled { files, bytes, manifest, publisher, is_part, .. } = pulled;
    let part = if *is_part { ", a part of the model" } else { "" };
    output::say(format_args!("{}, {}{part}, {manifest}", counted(*files, "file"), size(*bytes)));
    output::say(format_args!("signed by {publisher}"));
    if let Some(age) = &pulled.tag_age {
        output::say(format_args!("{age}"));
    }
    Ok(())
}

/// Prints the models that an archive lists. No signature in it was verified.
fn list(global: &Global, archive: &ArchiveReport) -> Result<ExitCode, CliError> {
    if global.json {
        output::json(archive)?;
        return Ok(output::ok());
    }
    let row = |it: &ArchivedModel| {
        let files = it
            .files
            .map_or_else(|| "all files".to_owned(), |count| format!("{} of it", counted(count, "file")));
        vec![it.reference.to_string(), it.manifest.to_string(), files]
    };
    output::table(&archive.models.iter().map(row).collect::<Vec<_>>())?;
    if !global.quiet {
        output::say("nothing of this is verified yet: an import verifies it");
    }
    Ok(output::ok())
}
