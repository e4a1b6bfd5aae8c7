//! `reg key rotate|revoke|delegate|finish`: changes the keys, revocations and delegations of a publisher.
//!
//! Signs with the keys on this machine. Once enough keys have signed, hands the documents to the node, which announces them.

use std::path::Path;
use std::process::ExitCode;

use reg_api::declarations::DeclarationsTaken;
use reg_keys::key_changes;
use reg_keys::keyring::{KeyName, Keyring};
use reg_keys::signing_file::{SigningError, SigningFile};
use reg_proto::envelope::PublicKey;
use reg_proto::key::{Inheritance, is_key_document};
use reg_proto::limits::SIGNATURES_MAX;
use reg_proto::revocation::Revoked;
use serde_json::json;

use crate::args::{DelegateKey, Global, RevokeKey, RotateKey};
use crate::client::Client;
use crate::command::keyring::{keyring_error, new_passphrase, public_key};
use crate::error::CliError;
use crate::output;

const DAY: u64 = 86_400;

/// Makes and signs the key document that replaces a publisher's keys.
pub async fn rotate(global: &Global, keyring: &Keyring, args: RotateKey) -> Result<ExitCode, CliError> {
    let publisher = keyring.load(&args.name).map_err(keyring_error)?;
    let history = publisher.history();
    let old = history.newest();
    let all = |texts: &[String]| -> Result<Vec<PublicKey>, CliError> {
        texts.iter().map(|text| public_key(keyring, text)).collect()
    };
    let keys = if !args.to.is_empty() {
        all(&args.to)?
    } else if args.add.is_empty() && args.remove.is_empty() {
        if old.keys.len() > 1 {
            let text =
                format!("{} has {} keys, and none to add or remove is named", args.name, old.keys.len());
            return Err(CliError::new("invalid", text)
                .hint("name the keys with --add KEY and --remove KEY, or all new ones with --to KEY"));
        }
        vec![successor(keyring, &args, history.version() + 1)?]
    } else {
        let gone = all(&args.remove)?;
        if let Some(stranger) = gone.iter().find(|key| !old.keys.contains(key)) {
            return Err(CliError::new("invalid", format_args!("{stranger} does not sign for {}", args.name)));
        }
        let stay = old.keys.iter().filter(|key| !gone.contains(key)).copied();
        stay.chain(all(&args.add)?).collect()
    };
    let threshold = old.threshold.min(keys.len());
    let key_set = args.key_set.key_set(keyring, keys, threshold, args.floor)?;
    let file = key_changes::rotate(history, key_set, Inheritance::default());
    settle(global, keyring, Some(&args.name), file, args.key_set.out.as_deref()).await
}

/// Makes the key that takes over if none is named: `NAME.VERSION`.
fn successor(keyring: &Keyring, args: &RotateKey, version: u64) -> Result<PublicKey, CliError> {
    let name: KeyName = format!("{}.{version}", args.name).parse().map_err(|error| {
        CliError::from_error("invalid", &error).hint("make a key first, then rotate --to it")
    })?;
    let passphrase = new_passphrase(&name, args.passphrase)?;
    let made = keyring.create_protected(&name, passphrase.as_ref().map(|it| it.as_str()));
    Ok(made.map_err(keyring_error)?.public_key)
}

/// Makes and signs the revocation of a key, a manifest or a delegation.
pub async fn revoke(global: &Global, keyring: &Keyring, args: RevokeKey) -> Result<ExitCode, CliError> {
    let subject = match (&args.manifest, &args.key, &args.delegation) {
        (Some(digest), _, _) => Revoked::Manifest(*digest),
        (_, Some(key), _) => Revoked::Key(public_key(keyring, key)?),
        (_, _, Some(digest)) => Revoked::Delegation(*digest),
        _ => {
            return Err(CliError::new(
                "invalid",
                "nothing to revoke is named: add --manifest, --key or --delegation",
            ));
        }
    };
    let publisher = keyring.load(&args.name).map_err(keyring_error)?;
    let file = key_changes::revoke(publisher.history(), subject, args.reason);
    settle(global, keyring, Some(&args.name), file, args.out.as_deref()).await
}

/// Makes and signs a delegation of some models to another publisher.
pub async fn delegate(global: &Global, keyring: &Keyring, args: DelegateKey) -> Result<ExitCode, CliError> {
    let publisher = keyring.load(&args.name).map_err(keyring_error)?;
    let file =
        key_changes::delegate(publisher.history(), args.models, args.to, args.expires.saturating_mul(DAY));
    settle(global, keyring, Some(&args.name), file, args.out.as_deref()).await
}

/// Puts a signing file into effect that the other keys have signed.
pub async fn finish(
    global: &Global,
    keyring: &Keyring,
    path: &Path,
    name: Option<&KeyName>,
) -> Result<ExitCode, CliError> {
    let file = SigningFile::read(path).map_err(|error| CliError::from_fault(&error))?;
    file.describe().map_err(|error| CliError::from_fault(&error))?;
    conclude(global, keyring, name, &file).await
}

/// Signs with the keys on this machine. Puts the file into effect if that is enough, else writes it to `out` for the others.
pub async fn settle(
    global: &Global,
    keyring: &Keyring,
    name: Option<&KeyName>,
    mut file: SigningFile,
    out: Option<&Path>,
) -> Result<ExitCode, CliError> {
    let fault = |error: SigningError| CliError::from_fault(&error);
    let wanted = file.wanted().map_err(fault)?;
    for key in keyring.secrets(&wanted, SIGNATURES_MAX).map_err(keyring_error)? {
        file.sign(&key).map_err(fault)?;
    }
    let unfinished = match file.finished() {
        Ok(_) => return conclude(global, keyring, name, &file).await,
        Err(error @ SigningError::Unfinished { .. }) => error,
        Err(error) => return Err(fault(error)),
    };
    let Some(out) = out else {
        return Err(fault(unfinished).hint(
            "add --out FILE, let the other keys sign it (reg sign FILE --key NAME), then run: reg key finish FILE",
        ));
    };
    file.write(out).map_err(fault)?;
    if global.json {
        output::json(&json!({ "publisher": file.publisher, "finished": false, "file": out }))?;
    } else {
        output::line(out.display().to_string())?;
        if !global.quiet {
            eprintln!(
                "{unfinished}: sign with the other keys (`reg sign {0} --key NAME`), then run `reg key finish {0}`",
                out.display()
            );
        }
    }
    Ok(output::ok())
}

async fn conclude(
    global: &Global,
    keyring: &Keyring,
    name: Option<&KeyName>,
    file: &SigningFile,
) -> Result<ExitCode, CliError> {
    let (history, declarations) = file.declarations().map_err(|error| CliError::from_fault(&error))?;
    if file.documents.iter().any(|it| is_key_document(&it.payload_type)) {
        let known = keyring.list().map_err(keyring_error)?.keys.into_iter();
        let known = known.filter(|it| it.publisher == history.publisher()).map(|it| it.name).next();
        let Some(name) = name.cloned().or(known) else {
            let text = format!("publisher {} has no name on this machine yet", history.publisher());
            return Err(CliError::new("invalid", text).hint("give it one: reg key finish FILE --name NAME"));
        };
        keyring.keep_documents(&name, &history).map_err(keyring_error)?;
    }
    let client = Client::open(global, None).await?;
    let taken: Result<DeclarationsTaken, CliError> = client.post("/v1/vows", &declarations).await;
    let is_daemon = client.is_daemon();
    client.close().await;
    let taken = taken?;
    if global.json {
        output::json(&json!({
            "publisher": taken.publisher,
            "finished": true,
            "version": taken.version,
            "revocations": taken.revocations,
            "delegations": taken.delegations,
            "announced": taken.announced,
        }))?;
        return Ok(output::ok());
    }
    output::line(format!("publisher  {}", taken.publisher))?;
    if !global.quiet {
        file.describe()
            .map_err(|error| CliError::from_fault(&error))?
            .iter()
            .try_for_each(|line| output::line(format!("signed     {line}")))?;
        if !is_daemon {
            eprintln!("note: no daemon runs: the next one (`reg daemon`) announces it to peers");
        }
    }
    Ok(output::ok())
}
