//! [`Table`]: rows of cells in columns that fit a terminal.
//!
//! A table that is too wide gives room up in a fixed order: the text in its last column goes on in further lines, long names
//! lose their middle, and columns that matter least are left out. `--full` draws it whole. Cells are made printable first.

use reg_api::printable::Printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::wrap::{BELOW, end_within, longest_word, wrapped};

/// Columns of the terminal between two cells.
const GAP: usize = 2;
/// Fewest columns of a line of text, on a terminal that is too narrow for anything.
const TEXT_MIN: usize = 20;

/// What a column does where its table is too wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// Its cells stay whole.
    Whole,
    /// Long cells lose their middle, down to this width.
    Middle(usize),
    /// Long cells lose their end, down to this width.
    End(usize),
    /// Long cells go on in further lines of at least this width. Where there is less room, they stand below their row.
    Wrapped(usize),
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    fit: Fit,
    /// Columns with a higher rank are left out first. One of rank 0 always stays.
    rank: u8,
}

impl Column {
    /// Returns a column of short cells, such as sizes, which stay whole.
    pub const fn whole(title: &'static str) -> Self {
        Self { title, fit: Fit::Whole, rank: 0 }
    }

    /// Returns a column of names, paths or addresses. They keep their two ends, and at least `min` characters.
    pub const fn named(title: &'static str, min: usize) -> Self {
        Self { title, fit: Fit::Middle(min), rank: 0 }
    }

    /// Returns a column of sentences of which the beginning, at least `min` characters, is enough.
    pub const fn cut(title: &'static str, min: usize) -> Self {
        Self { title, fit: Fit::End(min), rank: 0 }
    }

    /// Returns a column of sentences that are shown whole, in lines of at least `min` characters. It is the last one.
    pub const fn text(title: &'static str, min: usize) -> Self {
        Self { title, fit: Fit::Wrapped(min), rank: 0 }
    }

    /// Allows the column to be left out. Those of a higher rank go first.
    pub const fn optional(self, rank: u8) -> Self {
        Self { rank, ..self }
    }
}

/// Rows of printable cells below the titles of their columns.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Printable>>,
    indent: usize,
}

/// A table as it is drawn.
#[derive(Debug)]
pub struct Drawn {
    /// Lines, each with its end.
    pub text: String,
    /// The titles of the columns that are left out.
    pub left_out: Vec<&'static str>,
}

impl Table {
    /// Returns a table without rows.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new(), indent: 0 }
    }

    /// Returns a table of names with values, without titles.
    pub fn of_facts() -> Self {
        Self::new([Column::whole(""), Column::text("", TEXT_MIN)])
    }

    /// Indents every line by two columns, below a heading.
    pub fn indented(self) -> Self {
        Self { indent: GAP, ..self }
    }

    /// Adds a row. A cell that is missing is empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|it| Printable::line(&it)).collect());
    }

    /// Adds a name with its value.
    pub fn fact(&mut self, name: &str, value: impl ToString) {
        self.row([name.to_owned(), value.to_string()]);
    }

    /// Returns whether the table has no rows.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Draws the table in lines of at most `room` columns of the terminal, or whole where there is no bound.
    pub fn draw(&self, room: Option<usize>) -> Drawn {
        let is_used = |column: &usize| self.rows.iter().any(|row| !cell(row, *column).is_empty());
        let mut shown: Vec<usize> = (0..self.columns.len()).filter(is_used).collect();
        let mut left_out = Vec::new();
        let widths = loop {
            let room = room.map(|it| it.saturating_sub(self.indent));
            match self.widths(&shown, room) {
                Ok(widths) => break widths,
                Err(widths) => match self.least(&shown) {
                    Some(place) => left_out.push(self.columns[shown.remove(place)].title),
                    None => break widths,
                },
            }
        };
        let mut text = String::new();
        if self.columns.iter().any(|it| !it.title.is_empty()) {
            // Text that stands below its rows needs no title.
            let title = |(it, width): (&usize, &usize)| if *width > 0 { self.columns[*it].title } else { "" };
            let titles: Vec<&str> = shown.iter().zip(&widths).map(title).collect();
            self.put(&mut text, &titles, &shown, &widths, room);
        }
        for row in &self.rows {
            let cells: Vec<&str> = shown.iter().map(|it| cell(row, *it)).collect();
            self.put(&mut text, &cells, &shown, &widths, room);
        }
        Drawn { text, left_out }
    }

    /// Returns the place of the column that is left out next.
    fn least(&self, shown: &[usize]) -> Option<usize> {
        let ranked = shown.iter().enumerate().filter(|(_, it)| self.columns[**it].rank > 0);
        ranked.max_by_key(|(_, it)| self.columns[**it].rank).map(|(place, _)| place)
    }

    /// Returns the width of each column that is shown, or as an error the least widths where they do not fit. Text that stands
    /// below its row has no width.
    fn widths(&self, shown: &[usize], room: Option<usize>) -> Result<Vec<usize>, Vec<usize>> {
        let natural = |column: &usize| {
            let cells = self.rows.iter().map(|row| cell(row, *column).width());
            cells.chain([self.columns[*column].title.width()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = shown.iter().map(natural).collect();
        let Some(room) = room else { return Ok(widths) };
        let used = |widths: &[usize]| {
            widths.iter().sum::<usize>() + GAP * widths.iter().filter(|it| **it > 0).count().saturating_sub(1)
        };
        for (place, column) in shown.iter().enumerate() {
            let Fit::Wrapped(min) = self.columns[*column].fit else { continue };
            let rest = room.saturating_sub(used(&widths) - widths[place]);
            if rest < widths[place] {
                widths[place] = if rest >= min { rest } else { 0 };
            }
        }
        // Sentences give room up before names do, and the widest name first.
        for is_given_up in [
            |fit: Fit| match fit {
                Fit::End(min) => Some(min),
                _ => None,
            },
            |fit: Fit| match fit {
                Fit::Middle(min) => Some(min),
                _ => None,
            },
        ] {
            while used(&widths) > room {
                let wide = shown.iter().enumerate().filter(|(place, column)| {
                    is_given_up(self.columns[**column].fit).is_some_and(|min| widths[*place] > min)
                });
                let Some((place, _)) = wide.max_by_key(|(place, _)| widths[*place]) else { break };
                widths[place] -= 1;
            }
        }
        if used(&widths) <= room { Ok(widths) } else { Err(widths) }
    }

    /// Adds the lines of one row.
    fn put(&self, text: &mut String, cells: &[&str], shown: &[usize], widths: &[usize], room: Option<usize>) {
        let mut line = " ".repeat(self.indent);
        let mut further: Vec<String> = Vec::new();
        for ((cell, column), width) in cells.iter().zip(shown).zip(widths) {
            let fit = self.columns[*column].fit;
            let is_too_narrow = || room.is_some() && longest_word(cell) > *width;
            let drawn = match fit {
                // Without room beside the row, or for a word that is never broken, the text stands below.
                Fit::Wrapped(_) if *width == 0 || is_too_narrow() => {
                    let lead = self.indent + BELOW;
                    let room = room.map_or(usize::MAX, |it| it.saturating_sub(lead).max(TEXT_MIN));
                    if !cell.is_empty() {
                        further = wrapped(cell, room).into_iter().map(|it| " ".repeat(lead) + &it).collect();
                    }
                    continue;
                }
                Fit::Wrapped(_) => {
                    let mut lines = wrapped(cell, *width).into_iter();
                    let first = lines.next().unwrap_or_default();
                    let lead = line.width();
                    further = lines.map(|it| " ".repeat(lead) + &it).collect();
                    first
                }
                Fit::Middle(_) => without_middle(cell, *width),
                Fit::End(_) => cut(cell, *width),
                Fit::Whole => (*cell).to_owned(),
            };
            line.push_str(&drawn);
            line.push_str(&" ".repeat(width.saturating_sub(drawn.width()) + GAP));
        }
        // A row without a name needs no line of its own above the text that stands below it.
        let first = (further.is_empty() || !line.trim().is_empty()).then_some(line);
        for line in first.into_iter().chain(further) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
}

fn cell(row: &[Printable], column: usize) -> &str {
    row.get(column).map_or("", Printable::as_str)
}

/// Returns a text of at most `max` columns: a longer one ends with an ellipsis.
pub fn cut(text: &str, max: usize) -> String {
    if text.width() <= max {
        return text.to_owned();
    }
    text[..end_within(text, max.saturating_sub(1))].trim_end().to_owned() + "…"
}

/// How digests and keys begin, of which the beginning alone is what users compare and type.
const KNOWN_BY_THEIR_BEGINNING: [&str; 2] = ["sha256:", "ed25519:"];

/// Returns a text of at most `max` columns: a longer one has an ellipsis in its middle; a digest has it at its end.
fn without_middle(text: &str, max: usize) -> String {
    if text.width() <= max {
        return text.to_owned();
    }
    if KNOWN_BY_THEIR_BEGINNING.iter().any(|it| text.starts_with(it)) {
        return cut(text, max);
    }
    let room = max.saturating_sub(1);
    let head = &text[..end_within(text, room.div_ceil(2))];
    let mut rest = room - head.width();
    let tail = text.char_indices().rev().take_while(|(_, it)| {
        let width = it.width().unwrap_or(0);
        let fits = width <= rest;
        rest = rest.saturating_sub(width);
        fits
    });
    let from = tail.last().map_or(text.len(), |(at, _)| at);
    format!("{head}…{}", &text[from..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::{assert_tame, hostile};

    fn table(rows: &[[&str; 4]]) -> Table {
        let mut table = Table::new([
            Column::named("NAME", 10),
            Column::whole("SIZE"),
            Column::whole("AGE").optional(1),
            Column::text("", 12),
        ]);
        rows.iter().for_each(|row| table.row(row.map(str::to_owned)));
        table
    }

    #[test]
    fn a_table_that_fits_is_left_alone_and_columns_without_cells_are_not_shown() {
        let one = table(&[["a", "1 B", "", "in use"], ["bcd", "22 B", "", ""]]).draw(Some(80));
        assert_eq!(one.text, "NAME  SIZE\na     1 B   in use\nbcd   22 B\n");
        assert!(one.left_out.is_empty());
    }

    #[test]
    fn text_goes_on_in_the_next_line_or_stands_below() {
        let rows = [["name", "1 B", "2 h", "one two three four"]];
        assert_eq!(
            table(&rows).draw(Some(32)).text,
            "NAME  SIZE  AGE\nname  1 B   2 h  one two three\n                 four\n"
        );
        assert_eq!(
            table(&rows).draw(Some(26)).text,
            "NAME  SIZE  AGE\nname  1 B   2 h\n    one two three four\n"
        );
    }

    #[test]
    fn long_names_lose_their_middle_and_then_columns_are_left_out() {
        let rows = [["abcdefghijklmnopqrstuvwxyz", "1 B", "2 h", ""]];
        assert_eq!(
            table(&rows).draw(Some(25)).text,
            "NAME            SIZE  AGE\nabcdefg…uvwxyz  1 B   2 h\n"
        );
        let narrow = table(&rows).draw(Some(18));
        assert_eq!(narrow.text, "NAME          SIZE\nabcdef…vwxyz  1 B\n");
        assert_eq!(narrow.left_out, ["AGE"]);
        let whole = table(&rows).draw(None);
        assert!(whole.text.contains(rows[0][0]) && whole.text.contains("2 h"), "{}", whole.text);
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(cut("日本語日本語", 5), "日本…");
        assert_eq!(without_middle("日本語日本語", 7), "日…本語");
        assert_eq!(without_middle("sha256:0123456789", 12), "sha256:0123…");
    }

    #[test]
    fn a_word_that_is_never_broken_stands_below_its_row() {
        let mut facts = Table::of_facts();
        facts.fact("public key", "0123456789abcdefghij");
        facts.fact("path", "short");
        assert_eq!(
            facts.draw(Some(26)).text,
            "public key\n    0123456789abcdefghij\npath\n    short\n",
            "all of it below, where the column is too narrow for any"
        );
        let mut facts = Table::of_facts();
        facts.fact("public key", "0123456789abcdefghij0123456789abcdefghij");
        facts.fact("path", "a short one");
        facts.fact("", "0123456789abcdefghij0123456789abcdefghij");
        assert_eq!(
            facts.draw(Some(44)).text,
            "public key\n    0123456789abcdefghij0123456789abcdefghij\npath        a short one\n    \
             0123456789abcdefghij0123456789abcdefghij\n"
        );
    }

    #[test]
    fn no_cell_steers_the_terminal_or_leaves_its_lines() {
        for text in hostile().take(2000) {
            let mut table = table(&[["x", "y", "z", "a"]]);
            table.row([text.clone(), "1".to_owned(), text.clone(), text]);
            for room in [20, 40, 80, 120] {
                let drawn = table.draw(Some(room));
                assert_tame(&drawn.text);
                assert!(
                    room < 80
                        || drawn.text.lines().all(|it| it.width() <= room || !it.trim_start().contains(' ')),
                    "{room}: {}",
                    drawn.text
                );
            }
        }
    }
}
