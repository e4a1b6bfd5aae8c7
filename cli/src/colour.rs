//! Decides whether output is coloured, and colours the few words that are.
//!
//! Uses only those of the 16 palette colours that can be read on black and on white: red, magenta, and bold.
//! Callers pass printable text, so every escape sequence of the output comes from this module.

use std::borrow::Cow;

use reg_api::printable::Printable;

const RED: &str = "\u{1b}[1;31m";
const MAGENTA: &str = "\u{1b}[35m";
const BOLD: &str = "\u{1b}[1m";
const END: &str = "\u{1b}[0m";

/// Tells whether output may be coloured, by the variables that users set: `NO_COLOR` wins, then `CLICOLOR_FORCE`, `CLICOLOR`.
pub fn is_wanted(is_terminal: bool) -> bool {
    decide_by(|name| std::env::var(name).ok(), is_terminal)
}

fn decide_by(variable: impl Fn(&str) -> Option<String>, is_terminal: bool) -> bool {
    let is_set = |name| variable(name).is_some_and(|it| !it.is_empty());
    if is_set("NO_COLOR") {
        return false;
    }
    if variable("CLICOLOR_FORCE").is_some_and(|it| !it.is_empty() && it != "0") {
        return true;
    }
    is_terminal
        && variable("CLICOLOR").is_none_or(|it| it != "0")
        && variable("TERM").is_none_or(|it| it != "dumb")
}

/// Colours the first word of the lines that begin with `error:`, `warning:`, `note:` or `hint:`.
pub fn messages(text: &Printable) -> String {
    lines(text.as_str(), |line| {
        [("error:", RED), ("warning:", MAGENTA), ("note:", MAGENTA), ("hint:", BOLD)]
            .iter()
            .find_map(|(word, colour)| line.strip_prefix(word).map(|rest| (*word, *colour, rest)))
    })
}

/// Shows the headings of a help text in bold: lines that begin at the margin and end with a colon.
pub fn headings(text: &Printable) -> String {
    lines(text.as_str(), |line| {
        let is_heading = line.ends_with(':') && !line.starts_with(' ');
        let usage = line.strip_prefix("Usage:").map(|rest| ("Usage:", BOLD, rest));
        if is_heading { Some((line, BOLD, "")) } else { usage }
    })
}

fn lines<'a>(text: &'a str, part: impl Fn(&'a str) -> Option<(&'a str, &'static str, &'a str)>) -> String {
    let shown = |line: &'a str| match part(line) {
        Some((word, colour, rest)) => Cow::Owned(format!("{colour}{word}{END}{rest}")),
        None => Cow::Borrowed(line),
    };
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::{assert_tame, hostile};

    #[test]
    fn variables_and_the_terminal_decide() {
        let decide = |set: &[(&str, &str)], is_terminal| {
            let find =
                |name: &str| set.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
            decide_by(find, is_terminal)
        };
        assert!(decide(&[], true) && !decide(&[], false));
        assert!(!decide(&[("NO_COLOR", "1")], true));
        assert!(decide(&[("NO_COLOR", "")], true), "an empty variable is none");
        assert!(decide(&[("CLICOLOR_FORCE", "1")], false) && !decide(&[("CLICOLOR_FORCE", "0")], false));
        assert!(!decide(&[("CLICOLOR", "0")], true) && !decide(&[("CLICOLOR", "1")], false));
        assert!(!decide(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true));
        assert!(!decide(&[("TERM", "dumb")], true));
    }

    #[test]
    fn no_string_steers_the_terminal_by_a_colour() {
        for text in hostile() {
            for shown in [messages(&Printable::lines(&text)), headings(&Printable::lines(&text))] {
                let mut bare = shown;
                for own in [RED, MAGENTA, BOLD, END] {
                    bare = bare.replace(own, "");
                }
                assert_tame(&bare);
            }
        }
        assert_eq!(
            messages(&Printable::lines("error: a\n  b\nhint: c")),
            format!("{RED}error:{END} a\n  b\n{BOLD}hint:{END} c")
        );
    }
}
