//! Fills the lines of a terminal with text. What a user copies is never broken: a word without a blank, such as a ticket, a
//! digest or a path, and a command: between backticks, or behind a colon up to where the sentence goes on. A line that such a
//! word overfills is broken by the terminal alone, which copies it whole.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns by which a line goes on that has a label, and by which text stands that has no room beside one.
pub const BELOW: usize = 4;
/// Labels and columns end here at the latest; what is further right is no label.
const LABEL_MAX: usize = 24;

/// Breaks a text into lines of at most `max` columns, and keeps what is copied whole. A longer word of another script than
/// ASCII, which may have no blanks, is broken where a line ends.
pub fn wrapped(text: &str, max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces(text) {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + piece.width() <= max => {
                line.push(' ');
                line.push_str(piece);
            }
            _ => lines.extend(broken(piece, max.max(1))),
        }
    }
    lines
}

/// Fills lines of at most `max` columns with a text that may have several lines. Each goes on as far to the right as what it
/// says stands: below the value of a label, or four columns in.
pub fn filled(text: &str, max: usize) -> String {
    text.split('\n').map(|line| filled_line(line, max)).collect::<Vec<_>>().join("\n")
}

fn filled_line(line: &str, max: usize) -> String {
    if line.width() <= max {
        return line.to_owned();
    }
    let blanks = line.len() - line.trim_start_matches(' ').len();
    let at = hang(line, blanks);
    // A word that has no room there has more further left.
    let at = if longest_word(&line[blanks..]) > max.saturating_sub(at) { at.min(BELOW) } else { at };
    let mut rest = wrapped(&line[blanks..], max.saturating_sub(blanks)).into_iter();
    let first = rest.next().unwrap_or_default();
    // What does not fit the first line is laid out anew, in the room that further lines have.
    let further = rest.collect::<Vec<_>>().join(" ");
    let mut shown = format!("{}{}", " ".repeat(blanks), first.trim_end());
    if !further.is_empty() {
        for line in wrapped(&further, max.saturating_sub(at)) {
            shown.push('\n');
            shown.push_str(format!("{}{line}", " ".repeat(at)).trim_end());
        }
    }
    shown
}

/// Returns the column at which a line goes on.
fn hang(line: &str, blanks: usize) -> usize {
    let text = &line[blanks..];
    if let Some(gap) = text.find("  ") {
        let value = blanks + gap + (text[gap..].len() - text[gap..].trim_start_matches(' ').len());
        if value <= LABEL_MAX && value < line.len() {
            return value;
        }
    }
    let is_label = |label: &str| label.bytes().all(|it| it.is_ascii_lowercase() || it == b' ');
    match text.split_once(": ") {
        Some((label, _)) if label.len() <= LABEL_MAX && is_label(label) => blanks + BELOW,
        _ if text.starts_with(|it: char| it.is_ascii_digit()) && text[1..].starts_with(". ") => blanks + 3,
        _ if blanks > 0 => blanks + 2,
        _ => 0,
    }
}

/// Returns the columns of the longest piece that is not broken.
pub fn longest_word(text: &str) -> usize {
    pieces(text).into_iter().filter(|it| is_kept(it)).map(UnicodeWidthStr::width).max().unwrap_or(0)
}

fn is_kept(piece: &str) -> bool {
    piece.is_ascii()
}

/// What ends a command that stands behind a colon.
const BEHIND_COMMANDS: [&str; 4] = [";", ", ", " (", " or "];

/// Returns the byte at which a command ends that begins at `at`; `None` where none begins there.
fn end_of_command(text: &str, at: usize) -> Option<usize> {
    let rest = text[at..].strip_prefix("reg ").filter(|_| text[..at].ends_with(": "))?;
    let end = BEHIND_COMMANDS.iter().filter_map(|it| rest.find(it)).min().unwrap_or(rest.len());
    Some(text.len() - rest.len() + end)
}

/// Returns the words of a text, in which a command is one.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut is_command, mut command_until) = (0, false, 0);
    for (at, it) in text.char_indices() {
        if at == start
            && let Some(end) = end_of_command(text, at)
        {
            command_until = end;
        }
        match it {
            _ if at < command_until => {}
            // A backtick without its end begins no command.
            '`' => is_command = !is_command && text[at + 1..].contains('`'),
            ' ' if !is_command => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

fn broken(piece: &str, max: usize) -> Vec<String> {
    let (mut lines, mut rest) = (Vec::new(), piece);
    while rest.width() > max && !is_kept(piece) {
        let at = end_within(rest, max).max(rest.chars().next().map_or(0, char::len_utf8));
        lines.push(rest[..at].to_owned());
        rest = &rest[at..];
    }
    lines.push(rest.to_owned());
    lines
}

/// Returns the byte at which the longest beginning ends that has at most `max` columns.
pub fn end_within(text: &str, max: usize) -> usize {
    let mut width = 0;
    let is_over = |(_, it): &(usize, char)| {
        width += it.width().unwrap_or(0);
        width > max
    };
    text.char_indices().find(is_over).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_never_broken() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij k", 4), ["abcdefghij", "k"]);
        assert_eq!(wrapped("", 7), [""]);
        assert_eq!(wrapped("日本語日本語 a", 6), ["日本語", "日本語", "a"]);
        assert_eq!(wrapped("run `reg pull x` now", 14), ["run", "`reg pull x`", "now"]);
        assert_eq!(wrapped("a ` b c", 3), ["a `", "b c"]);
        assert_eq!(longest_word("`a b c` dd"), 7);
        assert_eq!(wrapped("make it: reg key new x; or not", 10), ["make it:", "reg key new x;", "or not"]);
        assert_eq!(
            wrapped("others type: reg pull a (`b c` d)", 14),
            ["others type:", "reg pull a", "(`b c` d)"]
        );
        assert_eq!(wrapped("it is reg key new", 10), ["it is reg", "key new"]);
    }

    #[test]
    fn a_line_goes_on_below_what_it_says() {
        for (line, expected) in [
            ("short", "short"),
            ("note: one two three four", "note: one two\n    three four"),
            ("label  one two three", "label  one two\n       three"),
            ("  1. one two three", "  1. one two\n     three"),
            ("  because one two", "  because one\n    two"),
            ("One two three four five", "One two three\nfour five"),
            ("signed  one abcdefghij two", "signed  one\n    abcdefghij\n    two"),
        ] {
            assert_eq!(filled(line, 14), expected, "{line}");
        }
        assert_eq!(filled("one two\nthree four", 7), "one two\nthree\nfour");
    }
}
