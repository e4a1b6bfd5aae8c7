//! `reg key new|import|ls|show|documents`: makes, imports and shows the keys that sign models.
//!
//! Secret keys never leave the process of this command.

use std::io;
use std::process::ExitCode;

use reg_keys::key_file::Protection;
use reg_keys::keyring::{KeyInfo, KeyName, Keyring, MadeKey, NextKey, Pending, Stage};
use reg_keys::{key_changes, ssh_agent};
use reg_proto::envelope::PublicKey;
use reg_proto::key::{KeyHistory, Next};
use serde::Serialize;
use serde_json::json;

use crate::args::{Global, ImportKey, Key, NewKey};
use crate::client::home;
use crate::command::keyring::{keyring, keyring_error, new_passphrase, public_key};
use crate::command::settle::After;
use crate::command::{abandon, export_ca, revoke, rotate, settle};
use crate::error::CliError;
use crate::output;
use crate::table::{Column, Table};

/// Fewest characters of a key's name.
const NAME_MIN: usize = 12;
/// Largest file with public keys or key documents, in bytes.
const PUBLIC_FILE_BYTES_MAX: u64 = 4 << 20;

pub async fn run(global: &Global, command: Key) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    home.make().map_err(|error| CliError::from_error("other", &error))?;
    let keyring = keyring(&home);
    match command {
        Key::New(args) => new(global, &keyring, args).await,
        Key::Import(args) => import(global, &keyring, &args),
        Key::Ls => list(global, &keyring),
        Key::Show { name } => show(global, &keyring, &name),
        Key::Documents { name } => {
            let publisher = keyring.load(&name).map_err(keyring_error)?;
            output::json(&publisher.key_documents())?;
            Ok(output::ok())
        }
        Key::Rotate(args) => rotate::rotate(global, &keyring, args).await,
        Key::Commit(args) => rotate::commit(global, &keyring, args).await,
        Key::Abandon(args) => abandon::run(global, &keyring, &args),
        Key::Revoke(args) => revoke::revoke(global, &keyring, args).await,
        Key::Delegate(args) => revoke::delegate(global, &keyring, args).await,
        Key::Finish { file, name } => settle::finish(global, &keyring, &file, name.as_ref()).await,
        Key::ExportCa { name } => export_ca::run(global, &keyring, &name).await,
    }
}

/// Makes a key with its next keys, and the first key document. Goes on where an interrupted run stopped.
async fn new(global: &Global, keyring: &Keyring, args: NewKey) -> Result<ExitCode, CliError> {
    let name = &args.name;
    if let Some(publisher) = name.publisher() {
        let text = format!("{name} is the name of a key of the publisher {publisher}");
        return Err(CliError::new("invalid", text).hint("choose a name without .next-N and .key-N"));
    }
    let is_alone = args.with.is_empty() && args.key_set.is_plain();
    if keyring.pending(name).map_err(keyring_error)?.is_none() {
        keyring.check_free(name).map_err(keyring_error)?;
    }
    if let Some(pending) = keyring.pending(name).map_err(keyring_error)? {
        if let Some(history) = keyring.documents(name).map_err(keyring_error)?
            && history.version() == 1
            && history.publisher() == pending.file.publisher
            && !pending.made.is_empty()
            && is_first(&pending)?
        {
            // Everything is in effect but the last step.
            settle::forget(keyring, name, &history)?;
            return created(
                global,
                &keyring.info_with_next(name).map_err(keyring_error)?,
                &own_next(name, &pending),
            );
        }
        if is_first(&pending)? {
            let is_whole = |made: &MadeKey| keyring.public_key(&made.name).is_ok_and(|key| key == made.key);
            if pending.made.iter().all(is_whole) {
                let is_alone = is_alone && has_one_key(&pending)?;
                return begun(global, keyring, &args, pending, is_alone).await;
            }
            // The key itself is written last, so nothing was signed with it.
            keyring.give_up(name, &pending).map_err(keyring_error)?;
        }
    }
    if is_alone && args.key_set.next.no_next {
        let passphrase = new_passphrase(name, args.passphrase)?;
        let key = keyring.create_protected(name, passphrase.as_ref().map(|it| it.as_str()));
        return created(global, &key.map_err(keyring_error)?, &[]);
    }
    let own = keyring.generate(name).map_err(keyring_error)?;
    let others: Vec<PublicKey> =
        args.with.iter().map(|text| public_key(keyring, text)).collect::<Result<_, _>>()?;
    let passphrase = new_passphrase(name, args.passphrase)?;
    let own_next = usize::from(!args.with.is_empty());
    let keys: Vec<PublicKey> = others.into_iter().chain([own.public_key()]).collect();
    let own = vec![own];
    let (key_set, mut made) = args.key_set.key_set(keyring, name, keys, None, &own, own_next)?;
    made.extend(own);
    let file = key_changes::found(key_set);
    let pending =
        keyring.begin(name, file, &made, passphrase.as_ref().map(|it| it.as_str())).map_err(keyring_error)?;
    begun(global, keyring, &args, pending, is_alone).await
}

/// Signs a first key document. That of a single key is in effect at once; the others go to the other keys.
async fn begun(
    global: &Global,
    keyring: &Keyring,
    args: &NewKey,
    mut pending: Pending,
    is_alone: bool,
) -> Result<ExitCode, CliError> {
    let name = &args.name;
    let made = own_next(name, &pending);
    if !is_alone {
        let document = pending.file.key_document().map_err(|error| CliError::from_fault(&error))?;
        let (lines, advice) = rotate::next_keys_advice(
            name,
            &made.iter().collect::<Vec<_>>(),
            document.as_ref().and_then(|it| it.next.keys()),
        );
        let mut advice = advice;
        if document.as_ref().is_some_and(|it| it.next == Next::Open) {
            advice.push(format!("{name} has no next keys: a thief of enough keys can replace them."));
            advice.push(format!("`reg key commit {name}` makes up for it; {}.", rotate::NAME_NEXT));
        }
        let after = After { out: args.key_set.out.as_deref(), lines, advice, fields: Vec::new() };
        return settle::complete(global, keyring, name, pending, after).await;
    }
    let key = keyring.secret(name).map_err(keyring_error)?;
    pending.file.sign(&key).map_err(|error| CliError::from_fault(&error))?;
    let (history, _) = pending.file.declarations().map_err(|error| CliError::from_fault(&error))?;
    keyring.keep_documents(name, &history).map_err(keyring_error)?;
    settle::forget(keyring, name, &history)?;
    created(global, &keyring.info_with_next(name).map_err(keyring_error)?, &made)
}

/// Returns whether a pending file holds the first key document of a publisher.
fn is_first(pending: &Pending) -> Result<bool, CliError> {
    let document = pending.file.key_document().map_err(|error| CliError::from_fault(&error))?;
    Ok(document.is_some_and(|it| it.version == 1))
}

/// Returns whether one key signs for the publisher of a pending file.
fn has_one_key(pending: &Pending) -> Result<bool, CliError> {
    let document = pending.file.key_document().map_err(|error| CliError::from_fault(&error))?;
    Ok(document.is_some_and(|it| it.keys.len() == 1))
}

/// Returns the next keys that were made for the first key document of `name`.
fn own_next(name: &KeyName, pending: &Pending) -> Vec<MadeKey> {
    pending.made.iter().filter(|it| it.name != *name).cloned().collect()
}

fn import(global: &Global, keyring: &Keyring, args: &ImportKey) -> Result<ExitCode, CliError> {
    let name = &args.name;
    let key = match (&args.ssh, &args.agent, &args.documents) {
        (Some(path), _, _) => {
            let passphrase = new_passphrase(name, args.passphrase)?;
            keyring
                .import_ssh(name, path, passphrase.as_ref().map(|it| it.as_str()))
                .map_err(keyring_error)?
        }
        (_, Some(path), _) => {
            let text = read(path)?;
            let key = ssh_agent::parse_public_key(&text).ok_or_else(|| {
                CliError::new("invalid", format_args!("{} holds no ed25519 public key of OpenSSH", path.display()))
                    .hint("`ssh-add -L` prints the agent's keys; keys of type sk- sign other bytes and cannot be used")
            })?;
            keyring.import_agent(name, key).map_err(keyring_error)?
        }
        (_, _, Some(path)) => {
            let history = KeyHistory::read_json(read(path)?.as_bytes()).map_err(|error| {
                CliError::from_error("verification", &error).hint(format_args!(
                    "{} is not a file that `reg key documents NAME` printed",
                    path.display()
                ))
            })?;
            // A history may only replace one that it continues.
            if let Some(known) = keyring.documents(name).map_err(keyring_error)?
                && !known.is_prefix_of(&history)
            {
                let text = format!(
                    "{} does not continue the key documents of {name} on this machine",
                    path.display()
                );
                return Err(CliError::new("denied", text).hint("import it under another name"));
            }
            keyring.keep_documents(name, &history).map_err(keyring_error)?;
            match global.json {
                true => output::json(&json!({ "publisher": history.publisher() }))?,
                false => output::sentence(format!("publisher  {}", history.publisher()))?,
            }
            return Ok(output::ok());
        }
        _ => return Err(CliError::new("invalid", "no key is named: add --ssh, --agent or --documents")),
    };
    created(global, &key, &[])
}

fn read(path: &std::path::Path) -> Result<String, CliError> {
    let failed = |error: io::Error| {
        let kind = if error.kind() == io::ErrorKind::NotFound { "not_found" } else { "other" };
        CliError::new(kind, format_args!("{}: {error}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, PUBLIC_FILE_BYTES_MAX), &mut text).map_err(failed)?;
    Ok(text)
}

fn created(global: &Global, key: &KeyInfo, made: &[MadeKey]) -> Result<ExitCode, CliError> {
    if global.json {
        output::json(key)?;
    } else if global.quiet {
        output::line(key.publisher.to_string())?;
    } else {
        output::sentence(format!("publisher  {}", key.publisher))?;
        output::sentence(format!("key        {}", key.path.display()))?;
        let made: Vec<&MadeKey> = made.iter().collect();
        let shown: Vec<String> = made.iter().map(|it| it.path.display().to_string()).collect();
        rotate::paths("next keys", &shown).iter().try_for_each(output::sentence)?;
        let documents = key.path.with_file_name(format!("{}.json", key.name));
        let files = [&key.path, &documents].into_iter().filter(|it| *it == &key.path || it.exists());
        let files: Vec<String> = files.map(|it| it.display().to_string()).collect();
        output::sentence(rotate::keep_a_copy(&files))?;
        if made.is_empty() && key.next_threshold == 0 {
            output::sentence(format!(
                "The key has no next keys: a thief of it can replace it. `reg key commit {}` makes some.",
                key.name
            ))?;
        }
        rotate::purpose(&key.name, &made, key.next_threshold).iter().try_for_each(output::sentence)?;
    }
    Ok(output::ok())
}

fn list(global: &Global, keyring: &Keyring) -> Result<ExitCode, CliError> {
    let list = keyring.list().map_err(keyring_error)?;
    if global.json {
        output::json(&list.keys)?;
    } else if global.quiet {
        list.keys.iter().try_for_each(|key| output::line(key.publisher.to_string()))?;
    } else {
        let mut table = Table::new([Column::named("", NAME_MIN), Column::whole("")]);
        list.keys.iter().for_each(|key| table.row([key.name.to_string(), key.publisher.to_string()]));
        output::draw(global, &table)?;
        if table.is_empty() {
            output::say(format_args!("no keys yet: make one with `reg key new NAME`"));
        }
    }
    for refused in list.refused {
        output::say(format_args!("warning: {refused}"));
    }
    Ok(output::ok())
}

fn show(global: &Global, keyring: &Keyring, name: &KeyName) -> Result<ExitCode, CliError> {
    let key = keyring.info_with_next(name).map_err(keyring_error)?;
    let begun = begun_now(keyring, name)?;
    if global.json {
        let begun = begun.map(|(version, stage, _)| Begun { version, stage });
        output::json(&Shown { key, begun })?;
        return Ok(output::ok());
    }
    let files = keyring.files().map_err(keyring_error)?.keys;
    let place = |public: &PublicKey| {
        let file = files.iter().find(|it| it.public_key == *public);
        file.map_or("on another machine".to_owned(), |it| it.path.display().to_string())
    };
    let mut rows = Table::of_facts();
    rows.fact("publisher", key.publisher);
    // The keys that sign now come first: an old one signs nothing, and its file is the one that bears the publisher's name.
    if let [public] = key.keys.as_slice() {
        rows.fact("signs now", public);
        rows.fact("key", place(public));
    } else {
        rows.fact("signs now", format!("{} of {} keys", key.threshold, key.keys.len()));
        for public in &key.keys {
            rows.fact("", public);
            rows.fact("", place(public));
        }
    }
    if key.keys.contains(&key.public_key) {
        rows.fact("protected", format!("by {}", key.protection));
    }
    if key.documents > 1 || key.keys.len() > 1 {
        rows.fact("documents", key.documents);
    }
    if let Some((version, _, commands)) = &begun {
        rows.fact("begun", format!("key document {version}, which is not in effect: {commands}"));
    }
    match key.next.as_slice() {
        [] if name.publisher().is_some() => rows.fact("next keys", "-"),
        [] => rows.fact("next keys", format!("none: `reg key commit {name}` makes some")),
        next => {
            rows.fact(
                "next keys",
                format!("{} of {} are enough to take over", key.next_threshold, next.len()),
            );
            next.iter().for_each(|it| next_key(&mut rows, it));
        }
    }
    if !key.keys.contains(&key.public_key) && key.protection != Protection::Elsewhere {
        rows.fact("retired", format!("{}: it signs nothing any more", key.path.display()));
        rows.fact("", key.public_key);
    }
    output::draw(global, &rows)?;
    Ok(output::ok())
}

/// Adds a next key, and where it is.
fn next_key(rows: &mut Table, next: &NextKey) {
    let (public, place) = match (&next.public_key, &next.path) {
        (Some(public), Some(path)) => (public.to_string(), path.display().to_string()),
        _ => (
            format!("a key with the digest {}", output::short(&next.digest)),
            "on another machine".to_owned(),
        ),
    };
    let moved = if next.is_available || next.path.is_none() { "" } else { " (moved away)" };
    rows.fact("", public);
    rows.fact("", format!("{place}{moved}"));
}

/// What `reg key show --json` prints.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    key: KeyInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    begun: Option<Begun>,
}

/// A key document that is begun and not in effect.
#[derive(Debug, Serialize)]
struct Begun {
    version: u64,
    stage: Stage,
}

/// Returns the version of the key document that is begun, if any, with the commands that go on with it.
fn begun_now(keyring: &Keyring, name: &KeyName) -> Result<Option<(u64, Stage, String)>, CliError> {
    let Some((pending, stage)) = keyring.begun(name).map_err(keyring_error)? else { return Ok(None) };
    let document = pending.file.key_document().map_err(|error| CliError::from_fault(&error))?;
    let version = document.map_or(0, |it| it.version);
    let go_on = format!("`reg key {} {name}`", if version == 1 { "new" } else { "rotate" });
    let commands = match stage {
        Stage::Signed | Stage::Kept => format!("{go_on} finishes it"),
        Stage::Unsigned | Stage::Waiting | Stage::Superseded => {
            format!("{go_on} goes on, `reg key abandon {name}` gives it up")
        }
    };
    Ok(Some((version, stage, commands)))
}
