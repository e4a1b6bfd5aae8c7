//! Completes command lines for the scripts of bash, zsh and fish: finds the words that fit at the cursor.
//!
//! The scripts call `reg complete-words`, so they do not change with the grammar. An answer takes a bounded
//! time and starts no daemon. Where it fails, it is empty.

mod names;

use clap::{Arg, ArgAction, Command};

pub use self::names::names;

/// What a word may be, beside the words of the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model in the store, with a tag.
    Model,
    /// A key on this machine.
    Key,
    /// A publisher: a petname, a domain or an id.
    Publisher,
    /// The id of a peer.
    Peer,
    /// The address of a peer.
    Address,
    /// A key of the configuration.
    Setting,
    /// A command or a topic.
    Topic,
    /// The name of a file, which the shell completes.
    File,
    /// A model or the name of a file.
    ModelOrFile,
    /// A new text, such as a title. Nothing is offered for it.
    Free,
}

/// The words that may stand at the cursor.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    /// What the shell puts before each word: the flag of `--flag=value`.
    pub before: String,
    /// The part of the word after `before` that is typed already.
    pub typed: String,
    /// Words of the grammar, each with its help.
    pub words: Vec<(String, String)>,
    /// The kind of value that may stand there instead.
    pub kind: Kind,
}

/// Returns what may stand in the place of the last of `words`, which begin behind `reg`.
pub fn offer(all: &Command, words: &[String]) -> Offer {
    let (typed, before) = words.split_last().map_or(("", [].as_slice()), |(it, rest)| (it.as_str(), rest));
    let mut here = Here { command: all, group: "", positional: 0, open: None, is_raw: false };
    before.iter().for_each(|word| here.pass(word));
    here.offer(typed)
}

/// The position of the cursor in the grammar.
struct Here<'a> {
    command: &'a Command,
    /// The name of the first command, which says what a `NAME` is.
    group: &'a str,
    /// The positional argument that is next.
    positional: usize,
    /// The flag that the next word is the value of.
    open: Option<&'a Arg>,
    /// Whether `--` has ended the flags.
    is_raw: bool,
}

impl<'a> Here<'a> {
    fn pass(&mut self, word: &str) {
        if self.open.take().is_some() {
            return;
        }
        if self.is_raw {
            self.positional += 1;
        } else if word == "--" {
            self.is_raw = true;
        } else if let Some(flag) = word.strip_prefix("--") {
            self.open = self.long(flag).filter(|it| takes_value(it));
        } else if let Some(flags) = word.strip_prefix('-').filter(|it| !it.is_empty()) {
            let last = flags.chars().last();
            self.open = self.command.get_arguments().find(|it| it.get_short() == last && takes_value(it));
        } else if let Some(next) = self.command.find_subcommand(word).filter(|_| self.positional == 0) {
            if self.group.is_empty() {
                self.group = next.get_name();
            }
            self.command = next;
        } else {
            self.positional += 1;
        }
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        let is_named = |it: &&Arg| it.get_long_and_visible_aliases().is_some_and(|all| all.contains(&name));
        self.command.get_arguments().find(is_named)
    }

    fn offer(&self, typed: &str) -> Offer {
        if let Some(arg) = self.open {
            return self.values("", typed, arg);
        }
        if let Some((flag, value)) = typed.split_once('=').filter(|_| !self.is_raw)
            && let Some(arg) = flag.strip_prefix("--").and_then(|it| self.long(it))
        {
            return self.values(&format!("{flag}="), value, arg);
        }
        if typed.starts_with('-') && !self.is_raw {
            return Offer { words: self.flags(), ..nothing("", typed) };
        }
        let arg = self.arg();
        let mut offer = arg.map_or_else(|| nothing("", typed), |arg| self.values("", typed, arg));
        if self.positional == 0 && !self.is_raw {
            let commands = self.command.get_subcommands().filter(|it| !it.is_hide_set());
            offer.words.extend(commands.map(|it| (it.get_name().to_owned(), first_line(it.get_about()))));
        }
        offer
    }

    /// Returns the positional argument that is next; the last one where it takes several values.
    fn arg(&self) -> Option<&'a Arg> {
        let all: Vec<&Arg> = self.command.get_positionals().collect();
        let is_open = |it: &&&Arg| it.get_num_args().is_some_and(|range| range.max_values() > 1);
        all.get(self.positional).or_else(|| all.last().filter(is_open)).copied()
    }

    fn values(&self, before: &str, typed: &str, arg: &Arg) -> Offer {
        let listed = arg.get_possible_values();
        let words = listed.iter().filter(|it| !it.is_hide_set());
        Offer {
            words: words.map(|it| (it.get_name().to_owned(), first_line(it.get_help()))).collect(),
            kind: kind(self.group, arg),
            ..nothing(before, typed)
        }
    }

    fn flags(&self) -> Vec<(String, String)> {
        let shown = self.command.get_arguments().filter(|it| !it.is_hide_set());
        shown.filter_map(|it| Some((format!("--{}", it.get_long()?), first_line(it.get_help())))).collect()
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && !arg.is_require_equals_set()
}

fn nothing(before: &str, typed: &str) -> Offer {
    Offer { before: before.to_owned(), typed: typed.to_owned(), words: Vec::new(), kind: Kind::Free }
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// Returns what the value of an argument is, by the first command, the argument's id, and the name that its help shows.
fn kind(group: &str, arg: &Arg) -> Kind {
    let shown = arg.get_value_names().and_then(|it| it.first()).map_or("", |it| it.as_str());
    match (group, arg.get_id().as_str(), shown) {
        (_, _, "FILE" | "DIR" | "PATH" | "PATH|MODEL" | "FILE.tar|DIR" | "FILE.pub" | "SOURCE") => Kind::File,
        (_, "file" | "dest" | "dir" | "path" | "command", _) => Kind::File,
        ("config", "key", _) => Kind::Setting,
        ("key", "name", _) => Kind::Key,
        (_, "key" | "with" | "next" | "to" | "add" | "remove", "NAME" | "KEY") => Kind::Key,
        ("trust", "name", _) => Kind::Publisher,
        (_, "publisher", _) | (_, _, "PUBLISHER[/MODELS]|TICKET" | "PUBLISHER[/MODELS]") => Kind::Publisher,
        (_, "one" | "two" | "reference" | "references", _) | (_, _, "REF" | "REF|TICKET|NUMBER") => {
            Kind::Model
        }
        (_, _, "REF|PATH") => Kind::ModelOrFile,
        (_, _, "MULTIADDR" | "ADDR|TICKET") => Kind::Address,
        (_, _, "PEER|ADDR") => Kind::Peer,
        (_, _, "COMMAND|TOPIC") => Kind::Topic,
        _ => Kind::Free,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::grammar;

    fn at(line: &str) -> Offer {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        offer(&grammar(), &words)
    }

    fn has(offer: &Offer, word: &str) -> bool {
        offer.words.iter().any(|(it, _)| it == word)
    }

    #[test]
    fn words_of_the_grammar_are_offered_where_they_may_stand() {
        assert!(has(&at(""), "pull") && has(&at("--json pu"), "pull") && !has(&at(""), "complete-words"));
        assert!(has(&at("key "), "rotate") && has(&at("keys "), "rotate"));
        assert!(has(&at("pull --"), "--quant") && has(&at("pull --"), "--json"));
        assert!(has(&at("completion "), "bash") && has(&at("env "), "hf"));
        assert!(!has(&at("pull x -- --"), "--quant"), "flags have ended");
    }

    #[test]
    fn the_kind_of_a_value_follows_from_its_place() {
        for (line, kind) in [
            ("pull ac", Kind::Model),
            ("rm ", Kind::Model),
            ("diff a ", Kind::Model),
            ("export a b", Kind::Model),
            ("verify ", Kind::ModelOrFile),
            ("pull a ", Kind::File),
            ("publish . m --key ", Kind::Key),
            ("publish . m --key=m", Kind::Key),
            ("key show ", Kind::Key),
            ("key rotate ", Kind::Key),
            ("trust show ", Kind::Publisher),
            ("trust rm ", Kind::Publisher),
            ("follow ", Kind::Publisher),
            ("pull a --from ", Kind::Address),
            ("peers rm ", Kind::Peer),
            ("config get ", Kind::Setting),
            ("help ", Kind::Topic),
            ("publish . m --title ", Kind::Free),
        ] {
            assert_eq!(at(line).kind, kind, "{line}");
        }
        let equals = at("publish . m --key=m");
        assert_eq!((equals.before.as_str(), equals.typed.as_str()), ("--key=", "m"));
    }
}
