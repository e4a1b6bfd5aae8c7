//! `reg import DIR --bundle FILE`: publish what somebody else has signed with OpenSSF Model Signing, once it verifies: those
//! files and no others.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use reg_api::prepared::Prepared;
use reg_api::report::Published;
use reg_api::request::{Claims, PublishRequest, PublishSource};
use reg_keys::oms::directory::SignedDirectory;
use reg_proto::digest::Digest;
use reg_proto::path::SafePath;
use serde_json::json;

use crate::args::{Global, Import};
use crate::client::{Client, home};
use crate::command::key::{keyring, keyring_error};
use crate::command::publish::{prepare, sign_and_commit_prepared};
use crate::command::published;
use crate::command::verify_bundle::{self, Evidence};
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, args: &Import, dir: &Path) -> Result<ExitCode, CliError> {
    let Some(bundle) = &args.bundle else {
        return Err(CliError::new("invalid", format_args!("it is not said who has signed {}", dir.display())).hint(
            "--bundle FILE with --signer or --ca imports what another has signed; what is yours is signed and published by \
             `reg publish DIR MODEL --key NAME`",
        ));
    };
    let Some((model, tag)) = args.model.clone() else {
        return Err(CliError::new("invalid", "a directory has no name to be published under")
            .hint("name it: reg import DIR MODEL[:TAG] --key NAME --bundle FILE"));
    };
    let home = home(global)?;
    home.make().map_err(|error| CliError::from_error("other", &error))?;
    let key = keyring(&home).load(&args.key).map_err(keyring_error)?;
    let evidence =
        Evidence { bundle, key: args.signer.as_deref(), ca: args.ca.as_deref(), unsigned: &args.unsigned };
    let found = verify_bundle::verify(dir, &evidence)?;
    let path = dir.canonicalize().map_err(|error| {
        CliError::new("not_found", format_args!("{}: {error}", dir.display())).hint("name a directory")
    })?;
    let client = Client::open(global, Some(&args.net)).await?;
    let request = PublishRequest {
        source: PublishSource::Path(path.clone()),
        key_documents: key.key_documents().to_vec(),
        model,
        tag,
        claims: Claims::default(),
        allow_unsafe: args.allow_unsafe,
        fresh_for: None,
        expires_in: None,
        settle: false,
        origin: None,
    };
    let work = async {
        let prepared = prepare(&client, &request).await?;
        let left_out = compare(&path, bundle, &found, &prepared)?;
        Ok::<_, CliError>((left_out, sign_and_commit_prepared(&client, &key, prepared).await?))
    };
    let done = work.await;
    let is_daemon = client.is_daemon();
    client.close().await;
    let (left_out, published) = done?;
    report(global, &found, &published, &left_out)?;
    if global.json || global.quiet {
        return Ok(output::ok());
    }
    if !bundle.canonicalize().is_ok_and(|it| it.starts_with(&path)) {
        eprintln!("note: the bundle lies outside of the directory, so it does not travel with the model");
    }
    if !is_daemon {
        published::note_no_daemon();
    }
    Ok(output::ok())
}

fn report(
    global: &Global,
    found: &SignedDirectory,
    published: &Published,
    left_out: &[SafePath],
) -> Result<(), CliError> {
    let more = json!({ "certificate": found.certificate, "root": found.root, "left_out": left_out });
    if !published::tell(global, published, more)? {
        return Ok(());
    }
    match &found.certificate {
        Some(subject) => eprintln!("what {subject} has signed, signed by you from now on"),
        None => eprintln!("what the key in --signer has signed, signed by you from now on"),
    }
    for path in left_out {
        eprintln!("left out, as of every model: {path}");
    }
    Ok(())
}

/// Checks that what is to be signed is what was signed: the node has read the files anew. Returns what it has left out.
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
                return Err(CliError::new("verification", text).hint("import it again"));
            }
            None if own.as_ref().is_some_and(|own| *own == dir.join(path.as_str()))
                && *digest == found.bundle => {}
            None => {
                let text = format!("{path} is not signed, and would be published along with what is");
                return Err(CliError::new("verification", text).hint("take it out of the directory"));
            }
        }
    }
    Ok(left.into_keys().cloned().collect())
}
