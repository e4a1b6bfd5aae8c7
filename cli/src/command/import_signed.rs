//! `reg import DIR --bundle FILE`: publishes a directory that another party signed with OpenSSF Model Signing.
//!
//! The command verifies the directory first, and publishes the signed files and no others.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use reg_api::ingest::Ingest;
use reg_api::prepared::Prepared;
use reg_api::request::{PublishRequest, PublishSource};
use reg_keys::oms::directory::SignedDirectory;
use reg_proto::digest::Digest;
use reg_proto::path::SafePath;
use serde_json::json;

use crate::args::{Global, Import};
use crate::client::{Client, home};
use crate::command::keyring::{keyring, keyring_error};
use crate::command::publish::{prepare, sign_and_commit_prepared};
use crate::command::published;
use crate::command::verify_bundle::{self, Evidence};
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, args: &Import, dir: &Path) -> Result<ExitCode, CliError> {
    let Some(bundle) = &args.bundle else {
        return Err(CliError::new("invalid", format_args!("no signer of {} is named", dir.display())).hint(
            "add --bundle FILE and --signer or --ca to import a directory that another party signed; publish your own \
             with `reg publish DIR MODEL --key NAME`",
        ));
    };
    let Some((model, tag)) = args.model.clone() else {
        return Err(CliError::new("invalid", format_args!("no model name is given for {}", dir.display()))
            .hint("name the model: reg import DIR MODEL[:TAG] --key NAME --bundle FILE"));
    };
    let home = home(global)?;
    home.make().map_err(|error| CliError::from_error("other", &error))?;
    let Some(key) = args.key.as_ref().filter(|_| !args.files.dry_run) else {
        return Err(CliError::new(
            "invalid",
            "--dry-run does not show a directory that another party signed",
        )
        .hint("verify it: reg verify DIR --bundle FILE"));
    };
    let key = keyring(&home).load(key).map_err(keyring_error)?;
    let evidence =
        Evidence { bundle, key: args.signer.as_deref(), ca: args.ca.as_deref(), unsigned: &args.unsigned };
    let found = verify_bundle::verify(dir, &evidence)?;
    let path = dir.canonicalize().map_err(|error| {
        CliError::new("not_found", format_args!("{}: {error}", dir.display())).hint("name a directory")
    })?;
    let client = Client::open_to_publish(global, &args.net).await?;
    let (signed, documents) = (PublishSource::Path(path.clone()), key.key_documents().to_vec());
    let request = PublishRequest {
        // All files that another party has signed are published.
        ingest: Ingest::of_before(),
        allow_unsafe: args.allow_unsafe,
        allow: args.allow.iter().copied().collect(),
        incomplete: args.incomplete,
        ..PublishRequest::new(signed, documents, model, tag)
    };
    let work = async {
        let prepared = prepare(&client, &request).await?;
        let left_out = compare(&path, bundle, &found, &prepared)?;
        Ok::<_, CliError>((left_out, sign_and_commit_prepared(&client, &key, prepared).await?))
    };
    let done = work.await;
    let is_daemon = client.is_daemon();
    client.close().await;
    let (left_out, done) = done?;
    let mut lines = vec![match &found.certificate {
        Some(subject) => format!("published under your key what {subject} has signed"),
        None => "published under your key what the key in --signer has signed".to_owned(),
    }];
    lines.extend(left_out.iter().map(|path| format!("left out, as in every model: {path}")));
    if !bundle.canonicalize().is_ok_and(|it| it.starts_with(&path)) {
        lines.push(
            "note: the bundle is outside of the directory, so it is not published with the model".to_owned(),
        );
    }
    let more = json!({ "certificate": found.certificate, "root": found.root, "left_out": left_out });
    published::report(global, &done, more, lines, is_daemon)?;
    Ok(output::ok())
}

/// Checks that the files the node prepared are those that the bundle's signer signed; returns the files that it left out.
///
/// The node has read the files again after they were verified, so they may have changed.
fn compare(
    dir: &Path,
    bundle: &Path,
    found: &SignedDirectory,
    prepared: &Prepared,
) -> Result<Vec<SafePath>, CliError> {
    let mut left: BTreeMap<&SafePath, &Digest> = found.signed.iter().collect();
    let own = bundle.canonicalize().ok();
    for (path, digest) in &prepared.resources {
        match left.remove(path) {
            Some(signed) if signed == digest => {}
            Some(_) => {
                let text = format!("{path} has changed since it was verified");
                return Err(CliError::new("verification", text).hint("run the same command again"));
            }
            None if own.as_ref().is_some_and(|own| *own == dir.join(path.as_str()))
                && *digest == found.bundle => {}
            None => {
                let text = format!("{path} is not signed, and would be published with the signed files");
                return Err(CliError::new("verification", text).hint("move it out of the directory"));
            }
        }
    }
    Ok(left.into_keys().cloned().collect())
}
