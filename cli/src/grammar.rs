//! Builds the grammar of the command line as its users see it: footers that fit a terminal, and errors that name a command.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory};
use reg_api::printable::Printable;

use crate::args::Args;
use crate::error::CliError;
use crate::output;
use crate::pager;

/// Columns of the narrowest terminal for which footers are laid out.
const COLUMNS: usize = 80;

/// What `reg` alone prints.
pub const FIRST_HELP: &str = "\
reg is a decentralised registry for open model weights.

The commands that a first hour needs:
  reg daemon                      run a node, which finds peers and shares your models
  reg search ocr                  find models
  reg pull acme/my-model          fetch a model, verified, into ./my-model
  reg publish ./my-model my-model --key me
                                  sign a directory and publish it (first: reg key new me)
  reg ls                          list the models in the store

To go on:
  reg help                        all commands, and the topics that are explained
  reg help pull                   one command, with examples
  reg help names                  a topic: names, trust, exit-codes, configuration and more
";

/// Returns the grammar, complete with what its commands inherit.
pub fn grammar() -> Command {
    let mut all = laid_out(in_one_layout(without_empty_lists(Args::command())));
    all.build();
    all
}

/// Takes the variables that hold an empty list out of a command and of those below it: clap would read one empty value.
fn without_empty_lists(command: Command) -> Command {
    let is_empty_list = |arg: &Arg| {
        arg.get_value_delimiter().is_some()
            && arg.get_env().and_then(std::env::var_os).is_some_and(|it| it.is_empty())
    };
    let without = |arg: Arg| if is_empty_list(&arg) { arg.env(Resettable::Reset) } else { arg };
    command.mut_args(without).mut_subcommands(without_empty_lists)
}

/// Gives a command and those below it one help: `-h`, `--help` and `reg help` print the same.
fn in_one_layout(command: Command) -> Command {
    let command = match command.get_long_about().cloned() {
        Some(about) => command.about(about).long_about(Resettable::Reset),
        None => command,
    };
    let one = |arg: Arg| match arg.get_long_help().cloned() {
        Some(help) => arg.help(help).long_help(Resettable::Reset),
        None => arg,
    };
    command.mut_args(one).mut_subcommands(in_one_layout)
}

/// Lays out the footers of a command and of those below it.
fn laid_out(command: Command) -> Command {
    let footer = command.get_after_help().map(|it| footer(&it.to_string()));
    let command = match footer {
        Some(footer) => command.after_help(footer),
        None => command,
    };
    command.mut_subcommands(laid_out)
}

/// Returns a footer without hand-made line breaks in its sentences: the terminal's width decides where they break. The remark
/// of an example that is too wide stands in a line of its own.
fn footer(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut is_sentence = false;
    for line in text.lines() {
        let goes_on = is_sentence && !line.is_empty() && !line.starts_with(' ');
        is_sentence = !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
        match lines.last_mut() {
            Some(last) if goes_on => {
                last.push(' ');
                last.push_str(line);
            }
            _ => lines.extend(example(line)),
        }
    }
    lines.join("\n")
}

/// Returns an example in one line, or with its remark in the next.
fn example(line: &str) -> Vec<String> {
    if line.chars().count() <= COLUMNS || !line.starts_with("  ") {
        return vec![line.to_owned()];
    }
    match line.trim_start().split_once("   ") {
        Some((command, remark)) => {
            vec![format!("  {command}"), format!("      {}", remark.trim_start())]
        }
        None => vec![line.to_owned()],
    }
}

/// Returns the command that words name, its whole name, and the words that are left.
pub fn find<'a>(all: &'a Command, words: &[String]) -> (&'a Command, String, Vec<String>) {
    let (mut found, mut name, mut rest) = (all, all.get_name().to_owned(), words);
    while let Some((word, left)) = rest.split_first() {
        let Some(next) = found.find_subcommand(word) else { break };
        name = format!("{name} {}", next.get_name());
        (found, rest) = (next, left);
    }
    (found, name, rest.to_vec())
}

/// Prints the help that the user asks for, or why the arguments are refused; returns the exit code. A refused argument may be
/// text from elsewhere.
pub fn explain(all: &Command, words: &[OsString], mut refused: clap::Error) -> ExitCode {
    if !refused.use_stderr() {
        pager::want_for_help(&refused);
        let shown = output::help(&refused.render().to_string());
        pager::finish();
        return shown.map_or_else(|error| error.report(false), |()| ExitCode::SUCCESS);
    }
    let typed: Vec<String> = words.iter().skip(1).map(|it| it.to_string_lossy().into_owned()).collect();
    let commands: Vec<String> = typed.iter().filter(|it| !it.starts_with('-')).cloned().collect();
    let (command, name, rest) = find(all, &commands);
    let hint = meant(command, &name, &rest, &mut refused);
    // How to pass a value that looks like a flag is seldom what was meant.
    refused.remove(ContextKind::Suggested);
    if typed.iter().any(|it| it == "--json") {
        let text = refused.render().to_string();
        let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").trim();
        let hint = hint.unwrap_or_else(|| format!("`{}` explains it", help_of(&name)));
        return CliError::new("invalid", message).hint(hint).report(true);
    }
    // The usage of the command alone: clap would repeat what was typed, and what variables say.
    refused.insert(ContextKind::Usage, ContextValue::StyledStr(command.clone().render_usage()));
    let mut text = refused.render().to_string();
    if let Some(hint) = hint {
        let at = text.find("\n\n").unwrap_or(text.len());
        text.insert_str(at, &format!("\nhint: {hint}"));
    }
    // Where a guess stood.
    text = text.replace("\n\n\n", "\n\n");
    text = text.replace("For more information, try '--help'.", &format!("For more: `{}`", help_of(&name)));
    output::message(&Printable::lines(text.trim_end()));
    ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(2))
}

/// Returns the command that explains the command `name`.
fn help_of(name: &str) -> String {
    match name.strip_prefix("reg ") {
        Some(command) => format!("reg help {command}"),
        None => "reg help".to_owned(),
    }
}

/// Takes what clap guesses out of an error, and returns it as words that can be typed.
fn meant(command: &Command, name: &str, rest: &[String], refused: &mut clap::Error) -> Option<String> {
    if rest.first().is_some_and(|it| it == "help") && command.has_subcommands() {
        let further: String = rest.iter().skip(1).map(|it| format!(" {it}")).collect();
        return Some(format!("did you mean `{}{further}`?", help_of(name)));
    }
    // Other programs have a command for it.
    if name == "reg" && rest.first().is_some_and(|it| it == "version") {
        refused.remove(ContextKind::SuggestedSubcommand);
        return Some("did you mean `reg --version`?".to_owned());
    }
    let guesses = |value: ContextValue| match value {
        ContextValue::String(one) => vec![one],
        ContextValue::Strings(many) => many,
        _ => Vec::new(),
    };
    if let Some(value) = refused.remove(ContextKind::SuggestedSubcommand) {
        return likeliest(guesses(value).iter().map(|it| format!("{name} {it}")));
    }
    let value = refused.remove(ContextKind::SuggestedArg)?;
    likeliest(guesses(value).into_iter())
}

/// Returns the likeliest guess, which clap puts last, as a question.
fn likeliest(guesses: impl DoubleEndedIterator<Item = String>) -> Option<String> {
    guesses.last().map(|it| format!("did you mean `{it}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(command: &Command, visit: &mut impl FnMut(&Command)) {
        visit(command);
        command.get_subcommands().for_each(|it| each(it, visit));
    }

    #[test]
    fn no_line_of_a_help_is_broken_twice_or_wider_than_a_terminal() {
        let mut seen = 0;
        each(&grammar(), &mut |command| {
            let footer = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in footer.lines().filter(|it| it.starts_with(' ')) {
                seen += 1;
                // An example without a remark is one command, which a terminal may break anywhere.
                let is_fit = line.chars().count() <= COLUMNS || !line.trim_start().contains("   ");
                assert!(is_fit, "{}: {line}", command.get_name());
            }
            let mut lines = footer.lines().peekable();
            while let Some(line) = lines.next() {
                let is_sentence = !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
                let goes_on = lines.peek().is_some_and(|it| !it.is_empty() && !it.starts_with(' '));
                assert!(!(is_sentence && goes_on), "{}: broken by hand: {line}", command.get_name());
            }
        });
        assert!(seen > 100, "{seen} lines are too few: the test looks in the wrong place");
    }

    #[test]
    fn a_footer_keeps_its_examples_and_joins_its_sentences() {
        let wide = format!("Examples:\n  reg x {}    why\n\nOne\ntwo.\n\nThree.", "y".repeat(80));
        let laid = footer(&wide);
        assert_eq!(laid, format!("Examples:\n  reg x {}\n      why\n\nOne two.\n\nThree.", "y".repeat(80)));
    }

    #[test]
    fn words_find_a_command_by_any_of_its_names() {
        let all = grammar();
        let words = ["keys", "list", "x"].map(str::to_owned);
        let (_, name, rest) = find(&all, &words);
        assert_eq!((name.as_str(), rest.as_slice()), ("reg key ls", ["x".to_owned()].as_slice()));
    }
}
