//! Completes short names that a user types as `reg ls` shows them: `acme/tiny@sha256:ab12cd34`, the digest
//! alone, `olaj5gtf…/tiny`.
//!
//! This step runs before every command. It completes only a value that the grammar refuses, and only to a
//! model in the store. So a whole name never changes its meaning. The whole name replaces the short one, and
//! the arguments are parsed again.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};
use reg_api::report::ModelSummary;
use reg_node::registry::local::shown;
use reg_proto::name::PublisherId;

use crate::args::{Args, Global};
use crate::client::Client;
use crate::error::CliError;
use crate::ids::{DIGEST_DIGITS as DIGITS, DIGITS_MIN};
use crate::origin::{self, Origins};

/// How a digest begins.
const SHA256: &str = "sha256:";
/// Models that an error names, where a short name could mean several.
const CANDIDATES_SHOWN_MAX: usize = 5;

/// Why arguments cannot be used.
#[derive(Debug)]
pub enum Refused {
    /// The grammar refuses them, or they ask for help.
    Usage(clap::Error),
    /// A short name in them does not name exactly one model.
    Unclear { error: Box<CliError>, as_json: bool },
}

/// Parses words by the grammar `all`, with short names made whole. Returns which flag or variable sets which key, too.
///
/// # Errors
/// See [`Refused`].
pub fn parse(all: &mut clap::Command, mut words: Vec<OsString>) -> Result<(Args, Origins), Refused> {
    let mut models = None;
    // A digest alone may take two rounds: the first makes it whole, the second makes it a reference.
    for _ in 0..=2 * words.len() {
        let refused = match read(all, &words) {
            Ok(read) => return Ok(read),
            Err(refused) => refused,
        };
        let Some(value) = refused_value(&refused) else { return Err(Refused::Usage(refused)) };
        let Some(short) = Short::of(&value) else { return Err(Refused::Usage(refused)) };
        let Some((place, before)) = place_of(&words, &value) else { return Err(Refused::Usage(refused)) };
        let global = global(&words);
        let unclear = |error| Refused::Unclear { error: Box::new(error), as_json: global.json };
        if models.is_none() {
            models = Some(models_here(&global).map_err(unclear)?);
        }
        match short.whole(models.as_deref().unwrap_or_default()).map_err(unclear)? {
            Some(whole) => words[place] = format!("{before}{whole}").into(),
            None => return Err(Refused::Usage(refused)),
        }
    }
    read(all, &words).map_err(Refused::Usage)
}

fn read(all: &mut clap::Command, words: &[OsString]) -> Result<(Args, Origins), clap::Error> {
    let mut matches = all.try_get_matches_from_mut(words)?;
    let origins = origin::of(all, &matches);
    Ok((Args::from_arg_matches_mut(&mut matches)?, origins))
}

/// Parses what names a model or a path. A short name is refused, so that [`parse`] makes it whole, unless there is such a path.
pub fn model_or_path(text: &str) -> Result<String, String> {
    match Short::of(text) {
        Some(_) if !Path::new(text).exists() => Err("no version in the store is named so".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Returns the value that the grammar refuses, if that is why it refuses the arguments.
fn refused_value(refused: &clap::Error) -> Option<String> {
    match (refused.kind(), refused.get(ContextKind::InvalidValue)) {
        (ErrorKind::ValueValidation, Some(ContextValue::String(value))) => Some(value.clone()),
        _ => None,
    }
}

/// Returns where a value stands: the number of the word, and what stands before it there, such as `--manifest=`.
fn place_of(words: &[OsString], value: &str) -> Option<(usize, String)> {
    words.iter().enumerate().skip(1).find_map(|(place, word)| {
        let before = word.to_str()?.strip_suffix(value)?;
        (before.is_empty() || (before.starts_with('-') && before.ends_with('=')))
            .then(|| (place, before.to_owned()))
    })
}

/// Returns the flags of every command, from arguments that are refused.
fn global(words: &[OsString]) -> Global {
    let matches = Args::command().ignore_errors(true).try_get_matches_from(words);
    let global = matches.ok().and_then(|it| Global::from_arg_matches(&it).ok());
    global.unwrap_or_default()
}

fn models_here(global: &Global) -> Result<Vec<ModelSummary>, CliError> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| CliError::new("other", format_args!("the runtime cannot be started: {error}")))?;
    let asked = runtime.block_on(async {
        let client = Client::open(global, None).await?;
        let models = client.get_pages("/v1/models").await;
        client.close().await;
        models
    });
    runtime.shutdown_background();
    asked
}

/// A short name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Short {
    /// The first digits of a manifest's digest, of the model that stands before the `@`.
    Digest { of: String, digits: String },
    /// The same, of any model. `is_marked` is whether it was typed with `sha256:`.
    Any { digits: String, is_marked: bool },
    /// The first characters of a publisher's id, and what follows them: `/tiny:v1`.
    Publisher { id: String, rest: String },
}

impl Short {
    /// Reads a short name; `None` where the text has another form.
    fn of(text: &str) -> Option<Self> {
        if let Some((id, rest)) = text.split_once('…') {
            let is_id =
                id.len() >= DIGITS_MIN && id.bytes().all(|it| matches!(it, b'a'..=b'z' | b'2'..=b'7'));
            return (is_id && rest.starts_with('/'))
                .then(|| Self::Publisher { id: id.to_owned(), rest: rest.to_owned() });
        }
        let digits = |text: &str, max: usize| {
            let is_hex = text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
            (is_hex && (DIGITS_MIN..=max).contains(&text.len())).then(|| text.to_owned())
        };
        match text.rsplit_once('@') {
            Some((of, digest)) => {
                let digits = digits(digest.strip_prefix(SHA256).unwrap_or(digest), DIGITS - 1)?;
                Some(Self::Digest { of: of.to_owned(), digits })
            }
            None => {
                let marked = text.strip_prefix(SHA256);
                let digits = digits(marked.unwrap_or(text), DIGITS)?;
                Some(Self::Any { digits, is_marked: marked.is_some() })
            }
        }
    }

    /// Returns the whole name. Returns `None` where no model has it and the text need not be a digest.
    fn whole(&self, models: &[ModelSummary]) -> Result<Option<String>, CliError> {
        match self {
            Self::Digest { of, digits } => {
                let (publisher, model) = of.split_once('/').unwrap_or(("", of));
                let model = model.split(':').next().unwrap_or_default();
                let is_of = |it: &ModelSummary| {
                    publisher == it.publisher.to_string()
                        || it.petname.as_ref().is_some_and(|name| name.as_str() == publisher)
                };
                // A summary has neither domain nor key name of its publisher: the node resolves these.
                let is_known = publisher.len() == PublisherId::CHARS || models.iter().any(is_of);
                let fits = |it: &&ModelSummary| {
                    (!is_known || is_of(it)) && it.model.folded() == model.to_ascii_lowercase()
                };
                let digest = one(digits, models.iter().filter(fits), |it| it.manifest.to_string())?;
                match digest {
                    Some(digest) => Ok(Some(format!("{of}@{digest}"))),
                    None => Err(none(&format!("{SHA256}{digits}"), Some(of))),
                }
            }
            Self::Any { digits, .. } if digits.len() == DIGITS => {
                one(digits, models.iter(), |it| format!("{}/{}@{}", it.publisher, it.model, it.manifest))
            }
            Self::Any { digits, is_marked } => {
                match one(digits, models.iter(), |it| it.manifest.to_string())? {
                    Some(digest) => Ok(Some(digest)),
                    None if *is_marked => Err(none(&format!("{SHA256}{digits}"), None)),
                    None => Ok(None),
                }
            }
            Self::Publisher { id, rest } => {
                let mut found: Vec<PublisherId> = models.iter().map(|it| it.publisher).collect();
                found.sort_unstable();
                found.dedup();
                found.retain(|it| it.to_string().starts_with(id.as_str()));
                match found.as_slice() {
                    [] => Err(none(&format!("{id}…"), None)),
                    [one] => Ok(Some(format!("{one}{rest}"))),
                    many => {
                        Err(several(&format!("{id}…"), many.iter().map(|it| format!("{it}{rest}")).collect()))
                    }
                }
            }
        }
    }
}

/// Returns the name of the one model with a digest that begins with `digits`; `None` where there is none.
fn one<'a>(
    digits: &str,
    models: impl Iterator<Item = &'a ModelSummary>,
    name: impl Fn(&ModelSummary) -> String,
) -> Result<Option<String>, CliError> {
    let found: Vec<&ModelSummary> = models.filter(|it| it.manifest.hex().starts_with(digits)).collect();
    let mut names: Vec<String> = found.iter().map(|it| name(it)).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => {
            let full = |it: &&ModelSummary| {
                format!("{}/{}@{}", shown(it.publisher, it.petname.as_ref()), it.model, it.manifest)
            };
            Err(several(&format!("{SHA256}{digits}"), found.iter().map(full).collect()))
        }
    }
}

fn none(short: &str, of: Option<&str>) -> CliError {
    let of = of.map_or_else(String::new, |it| format!(" of {it}"));
    CliError::new("not_found", format_args!("{short} begins the name of no version{of} in the store"))
        .hint("`reg ls` lists the versions in the store; one that is elsewhere is named by its whole digest")
}

fn several(short: &str, mut names: Vec<String>) -> CliError {
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(CANDIDATES_SHOWN_MAX);
    let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
    let listed = names.iter().take(CANDIDATES_SHOWN_MAX).cloned().collect::<Vec<_>>().join("\n");
    CliError::new("invalid", format_args!("{short} could be each of these:\n{listed}{more}"))
        .hint("type more of it, or the whole name")
}

#[cfg(test)]
mod tests {
    use reg_proto::digest::Digest;

    use super::*;

    fn model(publisher: u8, name: &str, manifest: &str) -> ModelSummary {
        let hex = format!("{manifest:0<64}");
        serde_json::from_value(serde_json::json!({
            "publisher": PublisherId::from_bytes([publisher; 32]).to_string(),
            "petname": (publisher == 1).then_some("acme"), "model": name, "tags": [],
            "manifest": Digest::from_hex(&hex).expect("digits").to_string(),
            "bytes": 1, "files": 1, "pinned": false, "complete": true, "last_used": null,
        }))
        .expect("a summary")
    }

    #[test]
    fn only_what_is_short_is_taken_for_short() {
        let whole = "a".repeat(64);
        for text in [
            "acme/tiny",
            "acme/tiny:v1",
            "ab12",
            "ab12cd3",
            "nothex12",
            "acme/tiny@sha256:ab12",
            "abc…/x",
            "AB12CD34",
        ] {
            assert_eq!(Short::of(text), None, "{text}");
        }
        assert_eq!(Short::of(&format!("acme/tiny@sha256:{whole}")), None);
        assert_eq!(
            Short::of("acme/tiny:v1@sha256:ab12cd34"),
            Some(Short::Digest { of: "acme/tiny:v1".into(), digits: "ab12cd34".into() })
        );
        assert!(matches!(Short::of("sha256:ab12cd34"), Some(Short::Any { is_marked: true, .. })));
        assert!(matches!(Short::of(&format!("sha256:{whole}")), Some(Short::Any { .. })));
        assert!(matches!(Short::of("olaj5gtf…/tiny"), Some(Short::Publisher { .. })));
    }

    #[test]
    fn a_short_name_means_the_one_model_that_begins_so_and_several_are_an_error() {
        let models = [
            model(1, "tiny", "ab12cd340"),
            model(1, "tiny", "ab12cd341"),
            model(2, "tiny", "ab12cd342"),
            model(2, "big", "ffff0000"),
        ];
        let [first, big] = [&models[0], &models[3]].map(|it| it.manifest);
        let id = PublisherId::from_bytes([2; 32]).to_string();
        let whole = |text: &str| Short::of(text).expect("short").whole(&models);
        for (text, expected) in [
            ("acme/Tiny@sha256:ab12cd340", format!("acme/Tiny@{first}")),
            ("acme/tiny:v1@ab12cd340", format!("acme/tiny:v1@{first}")),
            ("sha256:ffff0000", big.to_string()),
            ("ffff0000", big.to_string()),
            (&big.to_string(), format!("{id}/big@{big}")),
            (&format!("{}…/big:v1", &id[..8]), format!("{id}/big:v1")),
        ] {
            assert_eq!(whole(text).expect("one").as_deref(), Some(expected.as_str()), "{text}");
        }
        assert_eq!(whole("deadbeef").expect("no digest"), None);
        for text in ["acme/tiny@sha256:ab12cd34", "sha256:ab12cd34"] {
            let error = whole(text).expect_err("several");
            let message = error.document().message.to_string();
            assert!(message.contains(&format!("acme/tiny@{first}")), "{message}");
        }
        for text in ["acme/big@sha256:ffff0000", "sha256:deadbeef", "zzzzzzzz…/tiny"] {
            assert_eq!(whole(text).expect_err("none").document().kind, "not_found", "{text}");
        }
    }

    #[test]
    fn a_value_is_found_alone_and_behind_its_flag() {
        let words: Vec<OsString> = ["reg", "x", "--manifest=ab", "ab"].map(OsString::from).to_vec();
        assert_eq!(place_of(&words, "ab"), Some((2, "--manifest=".to_owned())));
        assert_eq!(place_of(&words[..2], "ab"), None);
        assert_eq!(place_of(&words[3..], "ab"), None, "the program's own name is none");
    }
}
