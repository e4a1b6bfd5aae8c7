//! `reg help`: explains a command or a topic, or lists both.

use std::process::ExitCode;

use crate::args::{Global, Help};
use crate::error::CliError;
use crate::grammar::{find, grammar};
use crate::guide::{topic, topics};
use crate::markdown::plain;
use crate::output;

/// Columns of a topic: a usual terminal, and lines that an eye can follow.
const COLUMNS: usize = 80;

/// What tells a topic from a command of the same name.
const PAGE: &str = ".md";

/// Returns what is typed behind `reg help` for a topic.
fn typed(all: &clap::Command, topic: &str) -> String {
    match all.find_subcommand(topic) {
        Some(_) => format!("{topic}{PAGE}"),
        None => topic.to_owned(),
    }
}

pub fn run(global: &Global, args: &Help) -> Result<ExitCode, CliError> {
    let all = grammar();
    if args.about.is_empty() {
        let list: Vec<_> = topics();
        if global.json {
            let named = |(name, title): &(&str, &str)| serde_json::json!({ "topic": typed(&all, name), "title": title });
            output::json(&list.iter().map(named).collect::<Vec<_>>())?;
            return Ok(output::ok());
        }
        let width = list.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let width = width + PAGE.len();
        let lines: String =
            list.iter().map(|(name, title)| format!("  {:width$}  {title}\n", typed(&all, name))).collect();
        let help = all.clone().render_help().to_string();
        output::help(&format!("{help}\nTopics (reg help TOPIC):\n{lines}"))?;
        return Ok(output::ok());
    }
    let (command, name, rest) = find(&all, &args.about);
    if rest.is_empty() {
        let mut help = command.clone().render_help().to_string();
        if let Some((topic, _)) = topic(&args.about.join("-")).filter(|_| args.about.len() == 1) {
            help = format!("{}\n\nThe guide: reg help {}\n", help.trim_end(), typed(&all, topic));
        }
        output::help(&help)?;
        return Ok(output::ok());
    }
    if name == "reg"
        && let Some((_, text)) = topic(&args.about.join("-"))
    {
        output::write(&plain(text, COLUMNS))?;
        return Ok(output::ok());
    }
    let error = format!("neither a command nor a topic: {}", args.about.join(" "));
    Err(CliError::new("invalid", error).hint("`reg help` lists both"))
}
