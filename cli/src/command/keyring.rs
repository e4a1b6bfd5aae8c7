//! Opens the user's key ring for the commands that sign, and asks for passphrases.
//!
//! Secret keys never leave the process of the command.

use std::io;

use reg_api::fault::Fault;
use reg_keys::key_changes::KeySet;
use reg_keys::key_file::{Passphrases, Protection};
use reg_keys::keyring::{KeyInfo, KeyName, Keyring, KeyringError, UnwrittenKey, read_passphrase};
use reg_keys::publisher_key::PublisherKey;
use reg_node::daemon::Home;
use reg_proto::envelope::PublicKey;
use reg_proto::key::{Next, NextKeys};
use reg_proto::name::PublisherId;
use zeroize::Zeroizing;

use crate::args::{KeySetArgs, NextArgs};
use crate::error::CliError;

/// Returns the user's key ring. It prompts for passphrases unless `REG_KEY_PASSPHRASE_FILE` names a file that holds them.
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

/// Returns the passphrase for a new key, if one `is_wanted`: from `REG_KEY_PASSPHRASE_FILE`, else typed twice.
///
/// Refuses an empty passphrase, and two that differ, as `invalid`.
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
                return Err(
                    CliError::new("invalid", "the two passphrases differ").hint("run the same command again")
                );
            }
            one
        }
    };
    if passphrase.is_empty() {
        return Err(CliError::new("invalid", "the passphrase is empty")
            .hint("an empty passphrase protects nothing: leave out --passphrase, or type one"));
    }
    Ok(Some(passphrase))
}

/// Turns an error of the key ring into one of the command line, with its hint.
pub fn keyring_error(error: KeyringError) -> CliError {
    CliError::from_fault(&error as &dyn Fault)
}

/// Loads the publisher that a model is published for. A machine that only prepares (`--prepare`) needs its key documents and
/// none of its keys.
pub fn publisher(keyring: &Keyring, name: &KeyName, prepares: bool) -> Result<PublisherKey, CliError> {
    refuse_next(keyring, name)?;
    keyring.load(name).map_err(|error| match error {
        KeyringError::NotFound { .. } if prepares => CliError::from_fault(&error).hint(format_args!(
            "to prepare, this machine needs the key documents of the publisher, which are public: run \
             `reg key documents {name} > {name}.json` on a machine that has them, copy the file, and run \
             `reg key import {name} --documents {name}.json`"
        )),
        error => keyring_error(error),
    })
}

/// Refuses a next key of a publisher, because its signature alone would be that of another publisher.
fn refuse_next(keyring: &Keyring, name: &KeyName) -> Result<(), CliError> {
    if keyring.documents(name).map_err(keyring_error)?.is_some() {
        return Ok(());
    }
    let of = match name.publisher() {
        Some(of) => Some(of),
        None => {
            let Ok(key) = keyring.public_key(name) else { return Ok(()) };
            let others = keyring.list().map_err(keyring_error)?.keys;
            let is_next = |it: &KeyInfo| {
                let info = keyring.info_with_next(&it.name);
                info.is_ok_and(|it| it.next.iter().any(|next| next.public_key == Some(key)))
            };
            others.into_iter().find(|it| it.name != *name && is_next(it)).map(|it| it.name)
        }
    };
    let Some(of) = of else { return Ok(()) };
    let text = format!("{name} is a further key of the publisher {of}, and signs nothing by itself");
    Err(CliError::new("denied", text).hint(format_args!(
        "sign with --key {of}, or let it take over: reg key rotate {of}; where this machine does not know {of}, first \
         `reg key import {of} --documents {of}.json`"
    )))
}

/// Returns the id of the publisher that a key signs for. Asks for no passphrase.
pub fn publisher_of(keyring: &Keyring, name: &KeyName) -> Result<PublisherId, CliError> {
    Ok(keyring.info(name).map_err(keyring_error)?.publisher)
}

/// Parses a public key (`ed25519:HEX`), or looks up the public key of a key name in the key ring.
pub fn public_key(keyring: &Keyring, text: &str) -> Result<PublicKey, CliError> {
    if text.starts_with("ed25519:") {
        return text.parse().map_err(|error| CliError::from_error("invalid", &error));
    }
    let name: KeyName = text.parse().map_err(|error| {
        CliError::from_error("invalid", &error)
            .hint("a KEY is the name of a key on this machine (`reg key ls`), or ed25519:HEX as `reg key show` prints it")
    })?;
    if keyring.info(&name).is_ok_and(|it| it.protection == Protection::Elsewhere) {
        let text = format!("{name} is a publisher on this machine, and there is no key file of its name");
        return Err(CliError::new("not_found", text).hint(format_args!(
            "name the public key: `reg key show {name}` prints the keys that sign for it"
        )));
    }
    keyring.public_key(&name).map_err(keyring_error)
}

impl KeySetArgs {
    /// Returns whether no flag says that several keys sign.
    pub fn is_plain(&self) -> bool {
        self.threshold.is_none() && self.out.is_none()
    }

    /// Returns the key set of `keys`, and the next keys to make for it. `made` are keys of the set that are not written
    /// yet; `own_next` is the number of next keys to make beside those that --next names. Where several keys must sign and
    /// some are on other machines, it commits only to next keys that --next names.
    ///
    /// Refuses a threshold of 0, and one above the number of keys, as `invalid`.
    pub fn key_set(
        &self,
        keyring: &Keyring,
        name: &KeyName,
        mut keys: Vec<PublicKey>,
        floor: Option<u64>,
        made: &[UnwrittenKey],
        own_next: usize,
    ) -> Result<(KeySet, Vec<UnwrittenKey>), CliError> {
        // Sorted, so that a commitment does not depend on the order in which the keys were typed.
        keys.sort_unstable();
        keys.dedup();
        let threshold = self.threshold.unwrap_or(1);
        if !(1..=keys.len()).contains(&threshold) {
            let text = format!("threshold {threshold} is impossible with {} keys", keys.len());
            return Err(CliError::new("invalid", text).hint("name more keys, or choose another --threshold"));
        }
        let NextArgs { next, next_threshold, next_to, no_next } = &self.next;
        let may_make = || may_make_next(keyring, &keys, threshold, made);
        if *no_next || (next.is_empty() && !may_make()?) {
            return Ok((KeySet { keys, threshold, next: Next::Open, floor }, Vec::new()));
        }
        let mut named: Vec<PublicKey> =
            next.iter().map(|text| public_key(keyring, text)).collect::<Result<_, _>>()?;
        let count = match named.as_slice() {
            [] => {
                // One more than must sign: a lost next key does no harm.
                next_threshold.unwrap_or(threshold) + 1
            }
            _ => own_next,
        };
        let made = keyring.generate_next(name, count, next_to.as_deref()).map_err(keyring_error)?;
        named.extend(made.iter().map(UnwrittenKey::public_key));
        named.sort_unstable();
        named.dedup();
        let next_threshold = next_threshold.unwrap_or(threshold.min(named.len()));
        if !(1..=named.len()).contains(&next_threshold) {
            let text = format!("threshold {next_threshold} is impossible with {} next keys", named.len());
            return Err(CliError::new("invalid", text)
                .hint("name more with --next, or choose another --next-threshold"));
        }
        let next = Next::Keys(NextKeys::of(&named, next_threshold));
        Ok((KeySet { keys, threshold, next, floor }, made))
    }
}

/// Returns whether this machine may make the next keys of `keys`. Where several must sign and some are on other machines,
/// it may not: it alone could then take the publisher over.
fn may_make_next(
    keyring: &Keyring,
    keys: &[PublicKey],
    threshold: usize,
    made: &[UnwrittenKey],
) -> Result<bool, CliError> {
    let mut own: Vec<PublicKey> = made.iter().map(UnwrittenKey::public_key).collect();
    own.extend(keyring.files().map_err(keyring_error)?.keys.into_iter().map(|it| it.public_key));
    Ok(threshold == 1 || keys.iter().all(|key| own.contains(key)))
}
