//! Signs what changes a publisher with the keys on this machine, and puts it into effect once enough keys have signed.
//!
//! A key document is on disk before it is signed ([`Keyring::begin`]), and it is kept as pending until the node has taken
//! it. So a command that was interrupted goes on where it was.

use std::path::Path;
use std::process::ExitCode;

use reg_api::declarations::{Declarations, DeclarationsTaken, Statement};
use reg_keys::keyring::{KeyName, Keyring, Pending, Stage};
use reg_keys::signing_file::{SigningError, SigningFile};
use reg_proto::envelope::PublicKey;
use reg_proto::key::{Inheritance, KeyDocument, KeyHistory, publisher_id};
use reg_proto::limits::SIGNATURES_MAX;
use serde_json::{Value, json};

use crate::args::Global;
use crate::client::Client;
use crate::command::inheritance;
use crate::command::keyring::keyring_error;
use crate::error::CliError;
use crate::output;

fn fault(error: SigningError) -> CliError {
    CliError::from_fault(&error)
}

/// What a finished document needs, and what the result of the command shows beside it.
#[derive(Debug, Default)]
pub struct After<'a> {
    pub out: Option<&'a Path>,
    /// Lines of the result.
    pub lines: Vec<String>,
    /// Sentences for the user, on standard error.
    pub advice: Vec<String>,
    /// Fields of the JSON result.
    pub fields: Vec<(&'static str, Value)>,
}

/// Goes on with a key document that is begun: signs it, and puts it into effect or writes it to `out` for the others.
pub async fn complete(
    global: &Global,
    keyring: &Keyring,
    name: &KeyName,
    mut pending: Pending,
    after: After<'_>,
) -> Result<ExitCode, CliError> {
    sign_here(keyring, &mut pending.file)?;
    pending.handed_out |= after.out.is_some();
    // A signature leaves this machine only after it is on disk.
    keyring.keep_pending(name, &pending).map_err(keyring_error)?;
    conclude_or_wait(global, keyring, Some(name), &pending.file, after).await
}

/// Signs a revocation, a delegation or a profile, and puts it into effect or writes it to `out` for the others.
pub async fn settle(
    global: &Global,
    keyring: &Keyring,
    name: &KeyName,
    mut file: SigningFile,
    after: After<'_>,
) -> Result<ExitCode, CliError> {
    sign_here(keyring, &mut file)?;
    conclude_or_wait(global, keyring, Some(name), &file, after).await
}

/// Puts a key document into effect that an interrupted run has begun and signed. Does nothing where there is none.
///
/// Commands that sign something else call it first: they then sign with the keys that the document names.
pub async fn finish_begun(global: &Global, keyring: &Keyring, name: &KeyName) -> Result<(), CliError> {
    let Some((pending, stage)) = keyring.begun(name).map_err(keyring_error)? else { return Ok(()) };
    let declarations = match (stage, keyring.documents(name).map_err(keyring_error)?) {
        (Stage::Kept, Some(history)) => {
            Declarations { key_documents: history.texts(), ..Declarations::default() }
        }
        (Stage::Signed, _) => {
            let (history, declarations) = pending.file.declarations().map_err(fault)?;
            keep(keyring, Some(name), &history)?;
            declarations
        }
        _ => return Ok(()),
    };
    announce(global, &declarations).await?;
    keyring.forget_pending(name).map_err(keyring_error)?;
    if !global.quiet {
        let version = pending.file.key_document().map_err(fault)?.map_or(0, |it| it.version);
        output::say(format_args!(
            "note: key document {version} of {name}, which an earlier run has begun, is in effect now"
        ));
    }
    Ok(())
}

/// Puts a signing file into effect that the other keys have signed.
pub async fn finish(
    global: &Global,
    keyring: &Keyring,
    path: &Path,
    name: Option<&KeyName>,
) -> Result<ExitCode, CliError> {
    let file = SigningFile::read(path).map_err(fault)?;
    file.describe().map_err(fault)?;
    conclude(global, keyring, name, &file, After::default()).await
}

fn sign_here(keyring: &Keyring, file: &mut SigningFile) -> Result<(), CliError> {
    let wanted = file.wanted().map_err(fault)?;
    for key in keyring.secrets(&wanted, SIGNATURES_MAX).map_err(keyring_error)? {
        file.sign(&key).map_err(fault)?;
    }
    Ok(())
}

async fn conclude_or_wait(
    global: &Global,
    keyring: &Keyring,
    name: Option<&KeyName>,
    file: &SigningFile,
    mut after: After<'_>,
) -> Result<ExitCode, CliError> {
    let unfinished = match file.finished() {
        Ok(_) => {
            if let Some(out) = after.out {
                file.write(out).map_err(fault)?;
                after.fields.push(("file", json!(out)));
                after.advice.push(format!(
                    "{0} has all signatures: the other keys need not sign it. On the other machines of the publisher, run: \
                     reg key finish {0}",
                    out.display()
                ));
            }
            return conclude(global, keyring, name, file, after).await;
        }
        Err(error @ SigningError::Unfinished { .. }) => error,
        Err(error) => return Err(fault(error)),
    };
    let Some(out) = after.out else {
        return Err(fault(unfinished).hint(
            "run the same command again with --out FILE, let the other keys sign it (reg sign FILE --key NAME), then run: \
             reg key finish FILE",
        ));
    };
    file.write(out).map_err(fault)?;
    if global.json {
        let mut value = json!({ "publisher": file.publisher, "finished": false, "file": out });
        add(&mut value, after.fields);
        output::json(&value)?;
        return Ok(output::ok());
    }
    output::line(out.display().to_string())?;
    if !global.quiet {
        after.lines.iter().try_for_each(output::sentence)?;
        steps(keyring, name, file, out, &unfinished)?;
        after.advice.iter().for_each(|line| output::say(format_args!("{line}")));
    }
    Ok(output::ok())
}

/// Prints what to do on which machine until the file is in effect.
fn steps(
    keyring: &Keyring,
    name: Option<&KeyName>,
    file: &SigningFile,
    out: &Path,
    unfinished: &SigningError,
) -> Result<(), CliError> {
    let shown = out.display();
    let own: Vec<PublicKey> =
        keyring.files().map_err(keyring_error)?.keys.into_iter().map(|it| it.public_key).collect();
    let wanted = file.wanted().map_err(fault)?;
    let missing: Vec<String> =
        wanted.iter().filter(|it| !own.contains(it)).map(ToString::to_string).collect();
    let is_key_document = file.key_document().map_err(fault)?.is_some();
    output::say(format_args!("{unfinished}. Next:"));
    output::say(format_args!(
        "  1. take {shown} to a machine with another of the keys: {}",
        missing.join(", ")
    ));
    output::say(format_args!("  2. on that machine: reg sign {shown} --key NAME"));
    match name.filter(|_| is_key_document) {
        Some(name) => output::say(format_args!(
            "  3. when enough keys have signed, on every machine of the publisher: reg key finish {shown} --name {name}"
        )),
        None => output::say(format_args!("  3. when enough keys have signed: reg key finish {shown}")),
    }
    Ok(())
}

async fn conclude(
    global: &Global,
    keyring: &Keyring,
    name: Option<&KeyName>,
    file: &SigningFile,
    after: After<'_>,
) -> Result<ExitCode, CliError> {
    let (history, declarations) = file.declarations().map_err(fault)?;
    let is_key_document = file.key_document().map_err(fault)?.is_some();
    let missed = missed_by(global, file).await?;
    let name = if is_key_document { Some(keep(keyring, name, &history)?) } else { None };
    let (taken, is_daemon) = announce(global, &declarations).await?;
    if !missed.is_empty() {
        output::say(format_args!(
            "warning: these were signed after the list of this key document was made, so they are void now:"
        ));
        inheritance::rows(&missed);
        output::say(format_args!(
            "Publish them again with the new key: nodes that hold the files fetch nothing anew."
        ));
    }
    if let Some(name) = &name {
        forget(keyring, name, &history)?;
    }
    if global.json {
        let mut value = json!({
            "publisher": taken.publisher,
            "finished": true,
            "version": taken.version,
            "revocations": taken.revocations,
            "delegations": taken.delegations,
            "announced": taken.announced,
        });
        add(&mut value, after.fields);
        output::json(&value)?;
        return Ok(output::ok());
    }
    output::sentence(format!("publisher  {}", taken.publisher))?;
    if !global.quiet {
        file.describe()
            .map_err(fault)?
            .iter()
            .try_for_each(|line| output::sentence(format!("signed     {line}")))?;
        after.lines.iter().try_for_each(output::sentence)?;
        after.advice.iter().for_each(|line| output::say(format_args!("{line}")));
        if !is_daemon {
            output::say(format_args!(
                "note: no daemon runs: the next one (`reg daemon`) announces it to peers"
            ));
        }
    }
    Ok(output::ok())
}

/// Returns what the publisher has signed after the list of a new key document was made.
async fn missed_by(global: &Global, file: &SigningFile) -> Result<Vec<Statement>, CliError> {
    let (Some(list), Some(history)) = (&file.inherits, file.history().map_err(fault)?) else {
        return Ok(Vec::new());
    };
    let list = Inheritance::from_text(list).map_err(|error| CliError::from_error("invalid", &error))?;
    let found = inheritance::standing(global, history.publisher()).await?;
    Ok(inheritance::missed(found, &list, &file.left_out, history.version() + 1))
}

fn add(value: &mut Value, fields: Vec<(&'static str, Value)>) {
    for (name, field) in fields {
        value[name] = field;
    }
}

/// Hands declarations to the node. Returns its answer, and whether a daemon gave it.
async fn announce(
    global: &Global,
    declarations: &Declarations,
) -> Result<(DeclarationsTaken, bool), CliError> {
    let client = Client::open(global, None).await?;
    let taken = client.post("/v1/vows", declarations).await;
    let is_daemon = client.is_daemon();
    client.close().await;
    Ok((taken?, is_daemon))
}

/// Keeps the new key documents under the user's name for the publisher, and returns the name.
fn keep(keyring: &Keyring, name: Option<&KeyName>, history: &KeyHistory) -> Result<KeyName, CliError> {
    let publisher = history.publisher();
    let known = keyring.list().map_err(keyring_error)?.keys.into_iter();
    let known = known.filter(|it| it.publisher == publisher).map(|it| it.name).next();
    let Some(name) = name.cloned().or(known) else {
        let text = format!("publisher {publisher} has no name on this machine yet");
        return Err(CliError::new("invalid", text).hint("give it one: reg key finish FILE --name NAME"));
    };
    let taken = || {
        let text = format!("{name} is the name of another publisher on this machine");
        Err(CliError::new("invalid", text).hint("choose another: reg key finish FILE --name NAME"))
    };
    match keyring.documents(&name).map_err(keyring_error)? {
        Some(known) if history.is_prefix_of(&known) => return Ok(name),
        Some(known) if !known.is_prefix_of(history) => return taken(),
        Some(_) => {}
        None => {
            let pending = keyring.pending(&name).map_err(keyring_error)?;
            let is_pending = pending.is_some_and(|it| it.file.publisher == publisher);
            let own = keyring.public_key(&name).ok();
            let own = own.map(|key| publisher_id(&KeyDocument::first(key).to_payload()));
            if !is_pending && own.is_some_and(|it| it != publisher) {
                return taken();
            }
        }
    }
    keyring.keep_documents(&name, history).map_err(keyring_error)?;
    Ok(name)
}

/// Forgets the pending key document of a publisher once it is in effect.
pub fn forget(keyring: &Keyring, name: &KeyName, history: &KeyHistory) -> Result<(), CliError> {
    let Some(pending) = keyring.pending(name).map_err(keyring_error)? else { return Ok(()) };
    let document = pending.file.key_document().map_err(fault)?;
    let is_in_effect = pending.file.publisher == history.publisher()
        && document.is_none_or(|it| it.version <= history.version());
    if is_in_effect { keyring.forget_pending(name).map_err(keyring_error) } else { Ok(()) }
}
