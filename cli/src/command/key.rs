//! `reg key new|ls|show|export-ca`: the keys that models are signed with. They never leave this command's process.

use std::process::ExitCode;

use reg_node::registry::fault::{Fault, FaultKind};
use reg_node::registry::keyring::{KeyInfo, KeyName, Keyring, KeyringError};

use crate::args::{Global, Key};
use crate::client::home;
use crate::error::CliError;
use crate::output;

pub fn run(global: &Global, command: Key) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    home.make().map_err(|error| CliError::from_error("other", &error))?;
    let keyring = Keyring::open(home.keys());
    match command {
        Key::New { name } => created(global, &keyring.create(&name).map_err(keyring_error)?),
        Key::Ls => list(global, &keyring),
        Key::Show { name } => show(global, &keyring, &name),
        Key::ExportCa { name } => {
            output::write(&keyring.load(&name).map_err(keyring_error)?.ca_pem())?;
            Ok(output::ok())
        }
    }
}

/// Tells of an error of the key ring.
pub fn keyring_error(error: KeyringError) -> CliError {
    let kind = match error.kind() {
        FaultKind::NotFound => "not_found",
        FaultKind::Denied => "denied",
        FaultKind::DiskFull => "disk_full",
        FaultKind::Invalid => "invalid",
        _ => "other",
    };
    let shown = CliError::from_error(kind, &error);
    match error.hint() {
        Some(hint) => shown.hint(hint),
        None => shown,
    }
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
            "Keep a copy of the key file where nobody else can read it: without it nobody can publish as you.",
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
            eprintln!("no keys yet: `reg key new NAME` makes one");
        }
    }
    for refused in list.refused {
        eprintln!("warning: {refused}");
    }
    Ok(output::ok())
}

fn show(global: &Global, keyring: &Keyring, name: &KeyName) -> Result<ExitCode, CliError> {
    keyring.load(name).map_err(keyring_error)?;
    let list = keyring.list().map_err(keyring_error)?;
    let key = list.keys.into_iter().find(|key| key.name == *name);
    let key = key.ok_or_else(|| CliError::new("not_found", format_args!("key {name} is gone")))?;
    if global.json {
        output::json(&key)?;
    } else {
        output::line(format!("publisher   {}", key.publisher))?;
        output::line(format!("public key  {}", key.public_key))?;
        output::line(format!("key         {}", key.path.display()))?;
    }
    Ok(output::ok())
}
