//! `reg key rotate|commit`: replaces the keys that sign for a publisher, or commits it to next keys.
//!
//! Shows what the new key document takes over, asks, and goes on where an interrupted run stopped.

use std::path::Path;
use std::process::ExitCode;

use reg_keys::key_changes::{self, KeySet};
use reg_keys::keyring::{KeyName, Keyring, MadeKey, Stage, UnwrittenKey};
use reg_proto::envelope::PublicKey;
use reg_proto::key::{KeyDocument, KeyHistory, Next, NextKeys};
use serde_json::json;

use crate::args::{CommitKey, Global, KeySetArgs, RotateKey};
use crate::command::confirm::confirm;
use crate::command::inheritance::{Takeover, gather};
use crate::command::keyring::{keyring_error, new_passphrase, public_key};
use crate::command::settle::{After, complete, finish_begun};
use crate::error::CliError;
use crate::output;

/// What to do where this machine may not make the next keys of a publisher with keys on several machines.
pub const NAME_NEXT: &str =
    "name a next key of each machine with --next KEY: `reg key show NAME` prints them on that machine";

/// The keys of a new document, with those that were made for it.
struct Plan {
    keys: Vec<PublicKey>,
    made: Vec<UnwrittenKey>,
}

/// Makes and signs the key document that replaces a publisher's keys.
pub async fn rotate(global: &Global, keyring: &Keyring, args: RotateKey) -> Result<ExitCode, CliError> {
    let out = args.key_set.out.as_deref();
    if let Some(done) = resume(global, keyring, &args.name, out).await? {
        return Ok(done);
    }
    let publisher = keyring.load(&args.name).map_err(keyring_error)?;
    let history = publisher.history().clone();
    let old = history.newest();
    let passphrase = new_passphrase(&args.name, args.passphrase)?;
    let Plan { keys, mut made } = plan(keyring, &args, &history)?;
    let threshold = old.threshold.min(keys.len());
    let key_set =
        KeySetArgs { threshold: args.key_set.threshold.or(Some(threshold)), ..args.key_set.clone() };
    let (key_set, next) = key_set.key_set(keyring, &args.name, keys, args.floor, &made, 0)?;
    if key_set.next == Next::Open && old.next.keys().is_some() {
        let text =
            format!("{} is committed to next keys, so its next key document must commit too", args.name);
        return Err(CliError::new("invalid", text).hint(NAME_NEXT));
    }
    made.extend(next);
    let found = gather(global, &history).await?;
    let takeover = Takeover::of(found, &args.leave_out, args.only_stored)?;
    let change = Change { name: &args.name, history: &history, key_set, made, takeover };
    change.make(global, keyring, passphrase.as_ref().map(|it| it.as_str()), args.yes, out).await
}

/// Commits a publisher without next keys to some. The same keys go on signing.
pub async fn commit(global: &Global, keyring: &Keyring, args: CommitKey) -> Result<ExitCode, CliError> {
    let out = args.out.as_deref();
    if let Some(done) = resume(global, keyring, &args.name, out).await? {
        return Ok(done);
    }
    let publisher = keyring.load(&args.name).map_err(keyring_error)?;
    let history = publisher.history().clone();
    let old = history.newest();
    if old.next != Next::Open {
        return Err(CliError::new(
            "invalid",
            format_args!("{} is committed to next keys already", args.name),
        )
        .hint(format_args!(
            "`reg key show {0}` shows them; `reg key rotate {0}` lets them take over",
            args.name
        )));
    }
    let passphrase = new_passphrase(&args.name, args.passphrase)?;
    let key_set = KeySetArgs { threshold: Some(old.threshold), next: args.next.clone(), out: None };
    let (key_set, made) = key_set.key_set(keyring, &args.name, old.keys.clone(), None, &[], 0)?;
    if key_set.next == Next::Open {
        return Err(CliError::new("invalid", "a commitment names next keys").hint(NAME_NEXT));
    }
    let takeover = Takeover::of(gather(global, &history).await?, &[], false)?;
    let change = Change { name: &args.name, history: &history, key_set, made, takeover };
    change.make(global, keyring, passphrase.as_ref().map(|it| it.as_str()), args.yes, out).await
}

/// A key document that is ready to be shown, agreed to and signed.
struct Change<'a> {
    name: &'a KeyName,
    history: &'a KeyHistory,
    key_set: KeySet,
    made: Vec<UnwrittenKey>,
    takeover: Takeover,
}

impl Change<'_> {
    async fn make(
        self,
        global: &Global,
        keyring: &Keyring,
        passphrase: Option<&str>,
        yes: bool,
        out: Option<&Path>,
    ) -> Result<ExitCode, CliError> {
        let Self { name, history, key_set, made, takeover } = self;
        let version = history.version() + 1;
        if !(global.quiet || global.json) {
            if key_set.next == Next::Open {
                output::say(format_args!(
                    "Everything that older keys have signed stays valid: this key document commits to no next keys. So a \
                     thief of an older key can sign on, until `reg key commit {name}` makes a commitment."
                ));
            } else {
                takeover.show(name, version);
            }
        }
        warn_of_fewer(history.newest().next.keys(), key_set.next.keys());
        confirm(yes, &format!("Sign key document {version} of {name}?"))?;
        let is_open = key_set.next == Next::Open;
        // The user may have thought for long, and a publication may have ended since.
        let takeover = if is_open { takeover } else { takeover.with_new(gather(global, history).await?)? };
        let fields = if is_open { Vec::new() } else { takeover.fields() };
        let left_out = takeover.left_out();
        let mut file = key_changes::rotate(history, key_set, takeover.list);
        file.left_out = left_out;
        let pending = keyring.begin(name, file, &made, passphrase).map_err(keyring_error)?;
        let mut after =
            after(keyring, name, &pending.made, pending.file.key_document().ok().flatten().as_ref());
        after.out = out;
        after.fields.extend(fields);
        complete(global, keyring, name, pending, after).await
    }
}

/// Warns if the new document commits to fewer next keys, or lets fewer of them decide.
fn warn_of_fewer(before: Option<&NextKeys>, now: Option<&NextKeys>) {
    let (Some(before), Some(now)) = (before, now) else { return };
    if now.keys.len() < before.keys.len() || now.threshold < before.threshold {
        output::say(format_args!(
            "warning: {} of {} next keys can replace the new document, and it was {} of {} before: name more with --next KEY \
             and --next-threshold K",
            now.threshold,
            now.keys.len(),
            before.threshold,
            before.keys.len()
        ));
    }
}

/// Goes on with a key document that an interrupted run has begun and signed. Forgets one that was not signed, or that can
/// never take effect.
async fn resume(
    global: &Global,
    keyring: &Keyring,
    name: &KeyName,
    out: Option<&Path>,
) -> Result<Option<ExitCode>, CliError> {
    let Some((pending, stage)) = keyring.begun(name).map_err(keyring_error)? else { return Ok(None) };
    let document = pending.file.key_document().map_err(|error| CliError::from_fault(&error))?;
    let version = document.as_ref().map_or(0, |it| it.version);
    if version == 1 {
        // `key new` begun it, and `load` says so.
        return Ok(None);
    }
    match stage {
        Stage::Unsigned => {
            keyring.give_up(name, &pending).map_err(keyring_error)?;
            return Ok(None);
        }
        Stage::Superseded => {
            if !global.quiet {
                output::say(format_args!(
                    "note: key document {version} of {name} that was begun on this machine is forgotten: {name} has another \
                     key document {version} by now"
                ));
            }
            keyring.forget_pending(name).map_err(keyring_error)?;
            return Ok(None);
        }
        // Another machine has finished it.
        Stage::Kept if pending.file.finished().is_err() => {
            finish_begun(global, keyring, name).await?;
            return Ok(None);
        }
        Stage::Kept | Stage::Signed | Stage::Waiting => {}
    }
    if !global.quiet {
        output::say(format_args!(
            "note: goes on with key document {version} of {name}, which an earlier run has begun"
        ));
    }
    let mut after = after(keyring, name, &pending.made, document.as_ref());
    after.out = out;
    complete(global, keyring, name, pending, after).await.map(Some)
}

/// Returns what the result shows beside the signed document: the keys that sign, and the next keys.
fn after<'a>(
    keyring: &Keyring,
    name: &KeyName,
    made: &[MadeKey],
    document: Option<&KeyDocument>,
) -> After<'a> {
    let mut after = After::default();
    let Some(document) = document else { return after };
    let files = keyring.files().map(|it| it.keys).unwrap_or_default();
    let signing = files.iter().filter(|it| document.keys.contains(&it.public_key));
    let signing: Vec<String> = signing.map(|it| it.path.display().to_string()).collect();
    after.lines.extend(paths("signs now", &signing));
    if let (false, Ok(known)) = (signing.is_empty(), keyring.info(name)) {
        let documents = known.path.with_file_name(format!("{name}.json")).display().to_string();
        let files: Vec<String> = signing.into_iter().chain([documents]).collect();
        after.advice.push(keep_a_copy(&files));
    }
    let next = document.next.keys();
    let made: Vec<&MadeKey> = made.iter().filter(|it| next.is_some_and(|next| next.names(&it.key))).collect();
    let (lines, advice) = next_keys_advice(name, &made, next);
    after.lines.extend(lines);
    after.advice.push(format!(
        "A follower takes up key document {} as soon as it hears of it. Your id and what is taken over stay as they are.",
        document.version
    ));
    after.advice.extend(advice);
    let made: Vec<_> =
        made.iter().map(|it| json!({ "name": it.name, "public_key": it.key, "path": it.path })).collect();
    after.fields.push(("next", json!(made)));
    after.fields.push(("next_threshold", json!(next.map_or(0, |it| it.threshold))));
    after
}

/// Returns the sentence that says which files a user keeps a copy of.
pub fn keep_a_copy(files: &[String]) -> String {
    let shown = match files {
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}, together", first.join(", ")),
        [] => String::new(),
    };
    format!(
        "Keep a copy of {shown}, where only you can read it: without it you cannot publish under this id."
    )
}

/// Returns lines with a label before the first path.
pub fn paths(label: &str, paths: &[String]) -> Vec<String> {
    let label = |index: usize| if index == 0 { label } else { "" };
    paths.iter().enumerate().map(|(index, path)| format!("{:<9}  {path}", label(index))).collect()
}

/// Returns the lines that say where the next keys are, and the sentences that say what they are for.
pub fn next_keys_advice(
    name: &KeyName,
    made: &[&MadeKey],
    next: Option<&NextKeys>,
) -> (Vec<String>, Vec<String>) {
    let shown: Vec<String> = made.iter().map(|it| it.path.display().to_string()).collect();
    (paths("next keys", &shown), purpose(name, made, next.map_or(0, |it| it.threshold)))
}

/// Returns what the next keys are for and what to do with their files; nothing where none was made.
pub fn purpose(name: &KeyName, made: &[&MadeKey], threshold: usize) -> Vec<String> {
    if made.is_empty() {
        return Vec::new();
    }
    let enough = match threshold {
        1 => "one of them is enough".to_owned(),
        count => format!("{count} of them are needed"),
    };
    vec![
        format!("The next keys take over if the key is lost or stolen (`reg key rotate {name}`): {enough}."),
        "Move them to two other places, such as a USB stick and another machine, so that neither a thief of this folder \
         nor a broken disk takes them along. Nothing else needs them until then."
            .to_owned(),
    ]
}

/// Returns the keys of the next document: those that are named, the next keys on this machine, or a new key.
fn plan(keyring: &Keyring, args: &RotateKey, history: &KeyHistory) -> Result<Plan, CliError> {
    let old = history.newest();
    let all = |texts: &[String]| -> Result<Vec<PublicKey>, CliError> {
        texts.iter().map(|text| public_key(keyring, text)).collect()
    };
    if let (Some(from), Some(next)) = (&args.next_from, old.next.keys()) {
        keyring.fetch_next(&args.name, next, from).map_err(keyring_error)?;
    }
    if !args.to.is_empty() {
        let keys = all(&args.to)?;
        check_committed(args, old, &keys)?;
        return Ok(Plan { keys, made: Vec::new() });
    }
    let gone = all(&args.remove)?;
    if let Some(stranger) = gone.iter().find(|key| !old.keys.contains(key)) {
        return Err(CliError::new("invalid", format_args!("{stranger} does not sign for {}", args.name)));
    }
    let is_change = !(args.add.is_empty() && args.remove.is_empty());
    let stay: Vec<PublicKey> = old.keys.iter().filter(|key| !gone.contains(key)).copied().collect();
    let mut keys = if is_change { stay.into_iter().chain(all(&args.add)?).collect() } else { Vec::new() };
    if let Some(next) = old.next.keys() {
        let revealed = keys.iter().filter(|key| next.names(key)).count();
        // As many keys as before, or as many of them as are on this machine.
        let wanted = if is_change { next.threshold.saturating_sub(revealed) } else { old.keys.len() };
        let found = available(keyring, next, &keys)?;
        let needed = next.threshold.saturating_sub(revealed);
        if found.len() < needed {
            return Err(missing(keyring, args, next, found.len()));
        }
        keys.extend(found.into_iter().take(wanted.max(needed)));
        return Ok(Plan { keys, made: Vec::new() });
    }
    if is_change {
        return Ok(Plan { keys, made: Vec::new() });
    }
    if old.keys.len() > 1 {
        let text = format!("{} has {} keys, and none to add or remove is named", args.name, old.keys.len());
        return Err(CliError::new("invalid", text)
            .hint("name the keys with --add KEY and --remove KEY, or all new ones with --to KEY"));
    }
    let made = keyring.generate_successor(&args.name, history.version() + 1).map_err(keyring_error)?;
    Ok(Plan { keys: vec![made.public_key()], made: vec![made] })
}

/// Returns the keys on this machine to which a document commits, without those in `but`.
fn available(keyring: &Keyring, next: &NextKeys, but: &[PublicKey]) -> Result<Vec<PublicKey>, CliError> {
    let mut files = keyring.files().map_err(keyring_error)?.keys;
    files.sort_by(|one, two| one.name.cmp(&two.name));
    let mut found: Vec<PublicKey> = Vec::new();
    for key in files.into_iter().map(|it| it.public_key) {
        if next.names(&key) && !but.contains(&key) && !found.contains(&key) {
            found.push(key);
        }
    }
    Ok(found)
}

fn check_committed(args: &RotateKey, old: &KeyDocument, keys: &[PublicKey]) -> Result<(), CliError> {
    let Some(next) = old.next.keys() else { return Ok(()) };
    let found = keys.iter().filter(|key| next.names(key)).count();
    if found >= next.threshold {
        return Ok(());
    }
    let text = format!(
        "{} is committed to {} next keys, {} of which must take over; --to names {found} of them",
        args.name,
        next.keys.len(),
        next.threshold
    );
    Err(CliError::new("invalid", text)
        .hint(format_args!("`reg key show {}` shows the next keys that this machine knows", args.name)))
}

/// Returns the error for next keys that are not on this machine: where they were written, and how to name them.
fn missing(keyring: &Keyring, args: &RotateKey, next: &NextKeys, found: usize) -> CliError {
    let name = &args.name;
    let text = format!(
        "{name} needs {} of its {} next keys to rotate, and this machine has {found} of them",
        next.threshold,
        next.keys.len()
    );
    let written: Vec<String> = keyring
        .next_keys(name, next)
        .into_iter()
        .filter_map(|it| Some(it.path?.display().to_string()))
        .collect();
    let written = match written.as_slice() {
        [] => "they were made on another machine".to_owned(),
        paths => format!("they were written to {}", paths.join(" and ")),
    };
    CliError::new("not_found", text).hint(format_args!(
        "{written}; name the folder that has them now: reg key rotate {name} --next-from DIR; or, if another machine has them, \
         name their public keys: reg key rotate {name} --to ed25519:HEX --out FILE"
    ))
}
