//! `reg key new|import|ls|show|documents`: makes, imports and shows the keys that sign models.
//!
//! Secret keys never leave the process of this command.

use std::io;
use std::process::ExitCode;

use reg_keys::keyring::{KeyInfo, KeyName, Keyring};
use reg_keys::{key_changes, ssh_agent};
use reg_proto::envelope::PublicKey;
use reg_proto::key::KeyHistory;

use crate::args::{Global, ImportKey, Key, NewKey};
use crate::client::home;
use crate::command::keyring::{keyring, keyring_error, new_passphrase, public_key};
use crate::command::{export_ca, rotate};
use crate::error::CliError;
use crate::output;

/// Largest file with public keys or key documents, in bytes.
const PUBLIC_FILE_BYTES_MAX: u64 = 4 << 20;

pub async fn run(global: &Global, command: Key) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    home.make().map_err(|error| CliError::from_error("other", &error))?;
    let keyring = keyring(&home);
    match command {
        Key::New(args) if args.with.is_empty() && args.key_set.is_plain() => new(global, &keyring, &args),
        Key::New(args) => new_key_set(global, &keyring, args).await,
        Key::Import(args) => import(global, &keyring, &args),
        Key::Ls => list(global, &keyring),
        Key::Show { name } => show(global, &keyring, &name),
        Key::Documents { name } => {
            let publisher = keyring.load(&name).map_err(keyring_error)?;
            output::json(&publisher.key_documents())?;
            Ok(output::ok())
        }
        Key::Rotate(args) => rotate::rotate(global, &keyring, args).await,
        Key::Revoke(args) => rotate::revoke(global, &keyring, args).await,
        Key::Delegate(args) => rotate::delegate(global, &keyring, args).await,
        Key::Finish { file, name } => rotate::finish(global, &keyring, &file, name.as_ref()).await,
        Key::ExportCa { name } => export_ca::run(global, &keyring, &name).await,
    }
}

fn new(global: &Global, keyring: &Keyring, args: &NewKey) -> Result<ExitCode, CliError> {
    let passphrase = new_passphrase(&args.name, args.passphrase)?;
    let key = keyring.create_protected(&args.name, passphrase.as_ref().map(|it| it.as_str()));
    created(global, &key.map_err(keyring_error)?)
}

async fn new_key_set(global: &Global, keyring: &Keyring, args: NewKey) -> Result<ExitCode, CliError> {
    let others: Vec<PublicKey> =
        args.with.iter().map(|text| public_key(keyring, text)).collect::<Result<_, _>>()?;
    let passphrase = new_passphrase(&args.name, args.passphrase)?;
    let own = keyring.create_protected(&args.name, passphrase.as_ref().map(|it| it.as_str()));
    let own = own.map_err(keyring_error)?.public_key;
    let keys: Vec<PublicKey> = others.into_iter().chain([own]).collect();
    let file = key_changes::found(args.key_set.key_set(keyring, keys, 1, None)?);
    rotate::settle(global, keyring, Some(&args.name), file, args.key_set.out.as_deref()).await
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
            output::line(format!("publisher  {}", history.publisher()))?;
            return Ok(output::ok());
        }
        _ => return Err(CliError::new("invalid", "no key is named: add --ssh, --agent or --documents")),
    };
    created(global, &key)
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

fn created(global: &Global, key: &KeyInfo) -> Result<ExitCode, CliError> {
    if global.json {
        output::json(key)?;
    } else if global.quiet {
        output::line(key.publisher.to_string())?;
    } else {
        output::line(format!("publisher  {}", key.publisher))?;
        output::line(format!("key        {}", key.path.display()))?;
        output::line(
            "Keep a copy of the key file that only you can read: without the file, you cannot publish under this id.",
        )?;
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
        let rows: Vec<Vec<String>> =
            list.keys.iter().map(|key| vec![key.name.to_string(), key.publisher.to_string()]).collect();
        output::table(&rows)?;
        if rows.is_empty() {
            eprintln!("no keys yet: make one with `reg key new NAME`");
        }
    }
    for refused in list.refused {
        eprintln!("warning: {refused}");
    }
    Ok(output::ok())
}

fn show(global: &Global, keyring: &Keyring, name: &KeyName) -> Result<ExitCode, CliError> {
    let key = keyring.info(name).map_err(keyring_error)?;
    if global.json {
        output::json(&key)?;
        return Ok(output::ok());
    }
    output::line(format!("publisher   {}", key.publisher))?;
    output::line(format!("public key  {}", key.public_key))?;
    output::line(format!("key         {}", key.path.display()))?;
    output::line(format!("protected   by {}", key.protection))?;
    if key.documents > 1 || key.keys.len() > 1 {
        output::line(format!("documents   {}", key.documents))?;
        output::line(format!("signed by   {} of:", key.threshold))?;
        key.keys.iter().try_for_each(|it| output::line(format!("            {it}")))?;
    }
    Ok(output::ok())
}
