//! `reg complete-words`: prints what may stand at the end of a command line, one word a line, each with its help behind a space.
//! No word has a space. The first line is `files` where the shell is to complete names of files too, else `words`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::args::{CompleteWords, Global};
use crate::complete::{Kind, names, offer};
use crate::error::CliError;
use crate::grammar::grammar;
use crate::output;

/// Words that are printed: more than a user reads.
const WORDS_MAX: usize = 1000;

pub async fn run(global: &Global, args: &CompleteWords) -> Result<ExitCode, CliError> {
    let offer = offer(&grammar(), &args.words);
    let global =
        Global { quiet: true, home: home(&args.words).or_else(|| global.home.clone()), ..global.clone() };
    let mut words: BTreeMap<String, String> = offer.words.into_iter().collect();
    for name in names(&global, offer.kind).await {
        words.entry(name).or_default();
    }
    let files = matches!(offer.kind, Kind::File | Kind::ModelOrFile);
    let mut text = String::from(if files { "files\n" } else { "words\n" });
    for (word, help) in words.iter().filter(|(word, _)| word.starts_with(&offer.typed)).take(WORDS_MAX) {
        text.push_str(&format!("{}{word} {help}\n", offer.before));
    }
    output::write(&text)?;
    Ok(output::ok())
}

/// Returns the home that the command line names, so that the names of that home are completed.
fn home(words: &[String]) -> Option<std::path::PathBuf> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--" => return None,
            "--home" => return words.next().map(crate::place::expanded),
            _ => {
                if let Some(path) = word.strip_prefix("--home=") {
                    return Some(crate::place::expanded(path));
                }
            }
        }
    }
    None
}
