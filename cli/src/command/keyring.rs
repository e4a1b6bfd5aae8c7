//! Opens the user's key ring for the commands that sign, and asks for passphrases.
//!
//! Secret keys never leave the process of the command.

use std::io;

use reg_api::fault::Fault;
use reg_keys::key_changes::KeySet;
use reg_keys::key_file::Passphrases;
use reg_keys::keyring::{KeyName, Keyring, KeyringError, read_passphrase};
use reg_node::daemon::Home;
use reg_proto::envelope::PublicKey;
use reg_proto::key::{Next, NextKeys};
use zeroize::Zeroizing;

use crate::args::KeySetArgs;
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

/// Parses a public key (`ed25519:HEX`), or looks up the public key of a key name in the key ring.
pub fn public_key(keyring: &Keyring, text: &str) -> Result<PublicKey, CliError> {
    if text.starts_with("ed25519:") {
        return text.parse().map_err(|error| CliError::from_error("invalid", &error));
    }
    let name: KeyName = text.parse().map_err(|error| CliError::from_error("invalid", &error))?;
    Ok(keyring.info(&name).map_err(keyring_error)?.public_key)
}

impl KeySetArgs {
    /// Returns whether no flag of the key set is given, so that one key alone signs.
    pub fn is_plain(&self) -> bool {
        self.threshold.is_none() && self.next.is_empty() && self.out.is_none()
    }

    /// Returns the key set of `keys`: the threshold (`threshold` if no flag names one), the next keys, and the floor.
    ///
    /// Refuses a threshold of 0, and one above the number of keys, as `invalid`.
    pub fn key_set(
        &self,
        keyring: &Keyring,
        mut keys: Vec<PublicKey>,
        threshold: usize,
        floor: Option<u64>,
    ) -> Result<KeySet, CliError> {
        // Sorted, so that a commitment does not depend on the order in which the keys were typed.
        keys.sort_unstable();
        keys.dedup();
        let mut next: Vec<PublicKey> =
            self.next.iter().map(|text| public_key(keyring, text)).collect::<Result<_, _>>()?;
        next.sort_unstable();
        next.dedup();
        let next = match next.as_slice() {
            [] => Next::Open,
            next => Next::Keys(NextKeys::of(next, self.next_threshold.unwrap_or(1))),
        };
        let threshold = self.threshold.unwrap_or(threshold);
        if !(1..=keys.len()).contains(&threshold) {
            let text = format!("threshold {threshold} is impossible with {} keys", keys.len());
            return Err(CliError::new("invalid", text).hint("name more keys, or choose another --threshold"));
        }
        Ok(KeySet { keys, threshold, next, floor })
    }
}
