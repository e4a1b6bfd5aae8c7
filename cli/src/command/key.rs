//! `reg key new|import|ls|show|documents`: the keys that models are signed with. They never leave this command's
//! process.

use std::io;
use std::process::ExitCode;

use reg_api::fault::Fault;
use reg_keys::key_changes::{self, Board};
use reg_keys::key_file::Passphrases;
use reg_keys::keyring::KeyName;
use reg_keys::keyring::KeyringError;
use reg_keys::keyring::{KeyInfo, Keyring, read_passphrase};
use reg_keys::ssh_agent;
use reg_node::daemon::Home;
use reg_proto::envelope::PublicKey;
use reg_proto::key::{KeyDocument, KeyHistory, publisher_id};
use reg_proto::limits::KEY_ENVELOPE_BYTES_MAX;
use zeroize::Zeroizing;

use crate::args::{BoardArgs, Global, ImportKey, Key, NewKey};
use crate::client::home;
use crate::command::{export_ca, rotate};
use crate::error::CliError;
use crate::output;

/// Bytes of a file with public keys or key documents.
const PUBLIC_FILE_BYTES_MAX: u64 = 4 << 20;

pub async fn run(global: &Global, command: Key) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    home.make().map_err(|error| CliError::from_error("other", &error))?;
    let keyring = keyring(&home);
    match command {
        Key::New(args) if args.with.is_empty() && args.board.is_plain() => new(global, &keyring, &args),
        Key::New(args) => new_board(global, &keyring, args).await,
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

/// Returns the user's keys; where no file holds the passphrases, the user is asked.
pub fn keyring(home: &Home) -> Keyring {
    let keyring = home.keyring();
    if std::env::var_os("REG_KEY_PASSPHRASE_FILE").is_some_and(|it| !it.is_empty()) {
        return keyring;
    }
    keyring.with_passphrases(Passphrases::Asked(ask))
}

fn ask(name: &KeyName) -> io::Result<Zeroizing<String>> {
    rpassword::prompt_password(format!("passphrase of key {name}: ")).map(Zeroizing::new)
}

/// Returns the passphrase that a new key is to have, if any.
pub fn new_passphrase(name: &KeyName, is_wanted: bool) -> Result<Option<Zeroizing<String>>, CliError> {
    if !is_wanted {
        return Ok(None);
    }
    let passphrase = match std::env::var_os("REG_KEY_PASSPHRASE_FILE").filter(|it| !it.is_empty()) {
        Some(file) => read_passphrase(file.as_ref()).map_err(keyring_error)?,
        None => {
            let failed = |error| CliError::from_error("other", &error);
            let one = ask(name).map_err(failed)?;
            let again = rpassword::prompt_password("once more: ").map(Zeroizing::new).map_err(failed)?;
            if one != again {
                return Err(CliError::new("invalid", "the two passphrases differ"));
            }
            one
        }
    };
    if passphrase.is_empty() {
        return Err(CliError::new("invalid", "an empty passphrase protects nothing"));
    }
    Ok(Some(passphrase))
}

/// Tells of an error of the key ring.
pub fn keyring_error(error: KeyringError) -> CliError {
    CliError::from_fault(&error as &dyn Fault)
}

impl BoardArgs {
    fn is_plain(&self) -> bool {
        self.threshold.is_none() && self.next.is_empty() && self.out.is_none()
    }

    /// Returns the keys that are to sign, with what is said of them.
    pub fn board(
        &self,
        keyring: &Keyring,
        mut keys: Vec<PublicKey>,
        threshold: usize,
        floor: Option<u64>,
    ) -> Result<Board, CliError> {
        // In one order, so that a commitment to keys does not depend on how they were typed.
        keys.sort_unstable();
        keys.dedup();
        let mut next: Vec<PublicKey> =
            self.next.iter().map(|text| public_key(keyring, text)).collect::<Result<_, _>>()?;
        next.sort_unstable();
        next.dedup();
        let next = next.first().copied().map(|first| {
            let threshold = self.next_threshold.unwrap_or(1);
            KeyDocument { keys: next.clone(), threshold, ..KeyDocument::first(first) }.commitment()
        });
        let threshold = self.threshold.unwrap_or(threshold);
        if !(1..=keys.len()).contains(&threshold) {
            let text = format!("{threshold} of {} keys cannot sign", keys.len());
            return Err(CliError::new("invalid", text).hint("name others with --with, or choose --threshold"));
        }
        Ok(Board { keys, threshold, next, floor })
    }
}

/// Reads a public key, or the name of a key that is here.
pub fn public_key(keyring: &Keyring, text: &str) -> Result<PublicKey, CliError> {
    if text.starts_with("ed25519:") {
        return text.parse().map_err(|error| CliError::from_error("invalid", &error));
    }
    let name: KeyName = text.parse().map_err(|error| CliError::from_error("invalid", &error))?;
    Ok(keyring.info(&name).map_err(keyring_error)?.public_key)
}

fn new(global: &Global, keyring: &Keyring, args: &NewKey) -> Result<ExitCode, CliError> {
    let passphrase = new_passphrase(&args.name, args.passphrase)?;
    let key = keyring.create_protected(&args.name, passphrase.as_ref().map(|it| it.as_str()));
    created(global, &key.map_err(keyring_error)?)
}

async fn new_board(global: &Global, keyring: &Keyring, args: NewKey) -> Result<ExitCode, CliError> {
    let others: Vec<PublicKey> =
        args.with.iter().map(|text| public_key(keyring, text)).collect::<Result<_, _>>()?;
    let passphrase = new_passphrase(&args.name, args.passphrase)?;
    let own = keyring.create_protected(&args.name, passphrase.as_ref().map(|it| it.as_str()));
    let own = own.map_err(keyring_error)?.public_key;
    let keys: Vec<PublicKey> = others.into_iter().chain([own]).collect();
    let file = key_changes::found(args.board.board(keyring, keys, 1, None)?);
    rotate::settle(global, keyring, Some(&args.name), file, args.board.out.as_deref()).await
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
                CliError::new("invalid", format_args!("{} is no ed25519 key of OpenSSH", path.display()))
                    .hint("ssh-add -L prints what the agent holds; keys of kind sk- sign other bytes and cannot be used")
            })?;
            keyring.import_agent(name, key).map_err(keyring_error)?
        }
        (_, _, Some(path)) => {
            let history = documents(&read(path)?).map_err(|error| {
                CliError::from_error("verification", &*error).hint(format_args!(
                    "`reg key documents NAME` prints such a file; {} is none",
                    path.display()
                ))
            })?;
            // A newer history may come in the place of an older one, and nothing else.
            if let Some(known) = keyring.documents(name).map_err(keyring_error)?
                && !known.is_prefix_of(&history)
            {
                let text = format!("key documents of {name} are here, and these do not continue them");
                return Err(CliError::new("denied", text));
            }
            keyring.keep_documents(name, &history).map_err(keyring_error)?;
            output::line(format!("publisher  {}", history.publisher()))?;
            return Ok(output::ok());
        }
        _ => return Err(CliError::new("invalid", "name what to import: --ssh, --agent or --documents")),
    };
    created(global, &key)
}

fn documents(text: &str) -> Result<KeyHistory, Box<dyn std::error::Error>> {
    let envelopes: Vec<String> = serde_json::from_str(text)?;
    let first = envelopes.first().map(String::as_bytes).unwrap_or_default();
    let first = reg_proto::envelope::Envelope::from_bytes(first, KEY_ENVELOPE_BYTES_MAX)?;
    Ok(KeyHistory::verify(publisher_id(&first.payload), &envelopes)?)
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
