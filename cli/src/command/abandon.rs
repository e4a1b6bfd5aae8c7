//! `reg key abandon`: gives up a key document that is begun and can no longer get its signatures.
//!
//! Refuses one that has all signatures: it may have left this machine, and another one of its number would fork the keys.

use std::process::ExitCode;

use reg_keys::keyring::{KeyName, Keyring, MadeKey, Pending, Stage};
use serde_json::json;

use crate::args::{AbandonKey, Global};
use crate::command::confirm::confirm;
use crate::command::keyring::keyring_error;
use crate::error::CliError;
use crate::output;

/// Gives up the key document of the publisher that is begun and not in effect.
pub fn run(global: &Global, keyring: &Keyring, args: &AbandonKey) -> Result<ExitCode, CliError> {
    let name = &args.name;
    let Some((pending, stage)) = keyring.begun(name).map_err(keyring_error)? else {
        return Err(CliError::new("not_found", format_args!("no key document of {name} is begun"))
            .hint(format_args!("`reg key show {name}` shows the keys that sign for it now")));
    };
    let document = pending.file.key_document().map_err(|error| CliError::from_fault(&error))?;
    let version = document.map_or(0, |it| it.version);
    match stage {
        Stage::Signed | Stage::Kept => return Err(finish(name, version, stage)),
        Stage::Waiting if !(global.quiet || global.json) => warn(name, version),
        Stage::Waiting | Stage::Unsigned | Stage::Superseded => {}
    }
    confirm(args.yes, &format!("Abandon key document {version} of {name}?"))?;
    let (removed, kept) = abandon(keyring, name, &pending)?;
    if global.json {
        output::json(&json!({
            "publisher": pending.file.publisher,
            "abandoned": version,
            "signed": pending.file.is_signed(),
            "removed": removed,
            "kept": kept,
        }))?;
        return Ok(output::ok());
    }
    output::sentence(format!("abandoned  key document {version} of {name}"))?;
    if !global.quiet {
        removed.iter().try_for_each(|path| output::sentence(format!("removed    {path}")))?;
        kept.iter().try_for_each(|path| output::sentence(format!("kept       {path}")))?;
    }
    Ok(output::ok())
}

/// Forgets the document. Removes the keys that were made for it where nothing is signed; returns their paths, and those of
/// the keys that stay.
fn abandon(
    keyring: &Keyring,
    name: &KeyName,
    pending: &Pending,
) -> Result<(Vec<String>, Vec<String>), CliError> {
    let path = |made: &MadeKey| made.path.display().to_string();
    let made: Vec<String> = pending.made.iter().filter(|it| it.path.exists()).map(path).collect();
    if pending.file.is_signed() {
        keyring.forget_pending(name).map_err(keyring_error)?;
        return Ok((Vec::new(), made));
    }
    keyring.give_up(name, pending).map_err(keyring_error)?;
    Ok((made, Vec::new()))
}

/// Prints what an abandoned document with some signatures can still do.
fn warn(name: &KeyName, version: u64) {
    output::say(format_args!(
        "Key document {version} of {name} has signatures of this machine, and not yet all that it needs."
    ));
    output::say(format_args!(
        "Delete the file that --out wrote, on every machine: other keys can still sign it there, and it takes"
    ));
    output::say(format_args!(
        "effect then. Two finished key documents {version} would fork the keys of {name}."
    ));
    output::say(format_args!("The keys that were made for it stay on this machine."));
}

/// Returns the refusal of a document that is finished and not given up.
fn finish(name: &KeyName, version: u64, stage: Stage) -> CliError {
    let why = if stage == Stage::Kept { "is in effect on this machine" } else { "has all signatures" };
    let command = if version == 1 { "new" } else { "rotate" };
    let text =
        format!("key document {version} of {name} {why}, so peers may know it: it cannot be abandoned");
    CliError::new("denied", text).hint(format_args!("finish it: reg key {command} {name}"))
}
