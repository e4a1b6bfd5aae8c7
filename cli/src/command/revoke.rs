//! `reg key revoke|delegate`: revokes a key, a manifest or a delegation, and lets another publisher publish.

use std::process::ExitCode;

use reg_api::declarations::{Inheritable, Statement};
use reg_keys::key_changes;
use reg_keys::keyring::{KeyName, Keyring};
use reg_proto::envelope::PublicKey;
use reg_proto::key::KeyHistory;
use reg_proto::naming::chain::Standing;
use reg_proto::revocation::Revoked;

use crate::args::{DelegateKey, Global, RevokeKey};
use crate::command::confirm::confirm;
use crate::command::inheritance::{gather, rows};
use crate::command::keyring::{keyring_error, public_key};
use crate::command::settle::{After, finish_begun, settle};
use crate::error::CliError;
use crate::output;

const DAY: u64 = 86_400;

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
    finish_begun(global, keyring, &args.name).await?;
    let publisher = keyring.load(&args.name).map_err(keyring_error)?;
    let history = publisher.history();
    let found = gather(global, history).await?;
    if !(global.quiet || global.json) {
        match subject {
            Revoked::Key(key) => show_key(&args.name, history, key, &found),
            Revoked::Manifest(digest) => {
                output::say(format_args!(
                    "No node that hears of it pulls or serves the manifest any more, by tag or by digest."
                ));
                show_named(&found, |it| it.manifest == Some(digest) || it.payload == digest);
                output::say(format_args!(
                    "A tag that means it is refused until you publish another version under that tag."
                ));
            }
            Revoked::Delegation(digest) => {
                output::say(format_args!(
                    "The other publisher no longer speaks for your models, for every node that hears of it."
                ));
                show_named(&found, |it| it.payload == digest);
            }
        }
    }
    confirm(args.yes, "Revoke it for ever?")?;
    let file = key_changes::revoke(history, subject, args.reason);
    let after = After { out: args.out.as_deref(), ..After::default() };
    settle(global, keyring, &args.name, file, after).await
}

/// Prints the statements that a revocation names.
fn show_named(found: &Inheritable, is_named: impl Fn(&Statement) -> bool) {
    let named: Vec<Statement> = found.statements.iter().filter(|it| is_named(it)).cloned().collect();
    if named.is_empty() {
        output::say(format_args!("This node knows no statement about it."));
    } else {
        rows(&named);
    }
}

/// Makes and signs a delegation of some models to another publisher.
pub async fn delegate(global: &Global, keyring: &Keyring, args: DelegateKey) -> Result<ExitCode, CliError> {
    finish_begun(global, keyring, &args.name).await?;
    let publisher = keyring.load(&args.name).map_err(keyring_error)?;
    let file =
        key_changes::delegate(publisher.history(), args.models, args.to, args.expires.saturating_mul(DAY));
    let after = After { out: args.out.as_deref(), ..After::default() };
    settle(global, keyring, &args.name, file, after).await
}

/// Prints what becomes void when a key is revoked, for which nodes, and what the user should do first or next.
fn show_key(name: &KeyName, history: &KeyHistory, key: PublicKey, found: &Inheritable) {
    let newest = history.newest();
    let is_current = newest.keys.contains(&key);
    if !history.documents().any(|it| it.keys.contains(&key)) {
        output::say(format_args!("{key} has never signed for {name}: the revocation changes nothing."));
        return;
    }
    let void = void(history, key, found);
    if !is_current && newest.inherits.is_some() {
        output::say(format_args!(
            "{key} is retired: nothing that it has signed since key document {} counts.",
            newest.version
        ));
        output::say(format_args!(
            "What that document takes over stays. The revocation tells it to nodes that know only older documents."
        ));
    }
    if void.is_empty() {
        output::say(format_args!("Nothing that this node knows of {name} becomes void."));
    } else {
        output::say(format_args!("These become void, for every node that hears of it:"));
        rows(&void);
        output::say(format_args!(
            "Publish them again with another key of {name}, or rotate first: `reg key rotate {name}` takes them over."
        ));
    }
    let left = newest.keys.iter().filter(|it| **it != key).count();
    if is_current && left < newest.threshold {
        if newest.next.keys().is_some() {
            output::say(format_args!(
                "No key of {name} can sign after that until a next key takes over: `reg key rotate {name}` comes next."
            ));
        } else {
            output::say(format_args!(
                "WARNING: {name} has no next keys. After that nothing can follow: followers accept no new key of it."
            ));
            output::say(format_args!(
                "Run `reg key rotate {name}` first; `reg key commit {name}` makes next keys."
            ));
        }
    }
}

/// Returns the statements that count by the signature of `key` and by no other.
fn void(history: &KeyHistory, key: PublicKey, found: &Inheritable) -> Vec<Statement> {
    let falls = |it: &&Statement| {
        let standing = history.chain().standing(it.key_document, &it.payload);
        let Some(document) = history.document(it.key_document) else { return false };
        let left = document.keys.iter().filter(|other| **other != key).count();
        standing == Standing::BySignature && document.keys.contains(&key) && left < document.threshold
    };
    found.statements.iter().filter(falls).cloned().collect()
}
