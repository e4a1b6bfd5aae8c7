//! Lays out Markdown as plain text for a terminal: the part of Markdown that the guides use.

/// Returns a text in lines of at most `columns` characters. Code, links and words that are longer stay whole.
pub fn plain(text: &str, columns: usize) -> String {
    let mut out = Out { text: String::new(), columns };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let bare = line.trim_start();
        if bare.starts_with("```") {
            out.gap();
            while let Some(code) = lines.next().filter(|it| !it.trim_start().starts_with("```")) {
                out.line(format!("    {code}").trim_end());
            }
            out.gap();
        } else if bare.starts_with("<!--") {
            // Such a comment says how a test runs the next block. A reader does not need it.
            let mut end = Some(line);
            while end.is_some_and(|it| !it.contains("-->")) {
                end = lines.next();
            }
        } else if bare.is_empty() {
            out.gap();
        } else if line.starts_with('#') {
            out.heading(line);
        } else if bare.starts_with('|') {
            let mut rows = vec![cells(bare)];
            while let Some(row) = lines.next_if(|it| it.trim_start().starts_with('|')) {
                rows.push(cells(row.trim_start()));
            }
            out.table(&rows);
        } else {
            let indent = line.len() - bare.len();
            let marker = marker(bare);
            let mut words = inline(&bare[marker.len()..]);
            // A sentence goes on until an empty line, or until something else begins.
            while let Some(more) = lines.next_if(|it| is_continued(it)) {
                words.push(' ');
                words.push_str(&inline(more.trim_start()));
            }
            out.paragraph(indent, marker, &words);
        }
    }
    out.text.trim_end().to_owned() + "\n"
}

/// Returns the marker that a list's entry begins with, with the space behind it; empty for a paragraph.
fn marker(text: &str) -> &str {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 && text[digits..].starts_with(". ") {
        return &text[..digits + 2];
    }
    if ["- ", "* ", "> "].iter().any(|it| text.starts_with(it)) { &text[..2] } else { "" }
}

fn is_continued(line: &str) -> bool {
    let bare = line.trim_start();
    !bare.is_empty()
        && !line.starts_with('#')
        && !bare.starts_with('|')
        && !bare.starts_with("```")
        && !bare.starts_with("<!--")
        && marker(bare).is_empty()
}

/// Returns the cells of a row of a table.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|');
    let row = row.strip_suffix('|').unwrap_or(row).replace("\\|", "\u{0}");
    row.split('|').map(|it| inline(it.trim()).replace('\u{0}', "|")).collect()
}

/// Returns a text without its marks: bold is plain, a link to a page shows its address, one to another file its text alone.
fn inline(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['*', '[', '`']) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(code) = rest.strip_prefix('`') {
            let end = code.find('`').map_or(rest.len(), |it| it + 2);
            shown.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if let Some(bold) = rest.strip_prefix("**") {
            rest = bold;
        } else if let Some((name, target, left)) = link(rest) {
            shown.push_str(&inline(name));
            if target.contains("://") && name != target {
                shown.push_str(&format!(" ({target})"));
            }
            rest = left;
        } else {
            shown.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    shown + rest
}

/// Splits a text that begins with a link into the link's text, its target and the rest.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (target, left) = rest.split_once(')')?;
    (!name.contains(']')).then_some((name, target, left))
}

struct Out {
    text: String,
    columns: usize,
}

impl Out {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Leaves one empty line, unless there is one.
    fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    fn heading(&mut self, line: &str) {
        let level = line.chars().take_while(|it| *it == '#').count();
        let title = inline(line[level..].trim());
        let rule = if level == 1 { "=" } else { "-" }.repeat(title.chars().count().min(self.columns));
        self.gap();
        self.line(&title);
        self.line(&rule);
        self.gap();
    }

    /// Writes a paragraph: its first line begins with `marker`, the others below the text of the first.
    fn paragraph(&mut self, indent: usize, marker: &str, words: &str) {
        let (first, further) = (" ".repeat(indent) + marker, " ".repeat(indent + marker.chars().count()));
        let mut line = first;
        let mut is_empty = true;
        for word in words.split_whitespace() {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > self.columns {
                self.line(line.trim_end());
                line.clone_from(&further);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.line(line.trim_end());
    }

    /// Writes a table in columns if it fits, else its rows one after the other, each cell below the first.
    fn table(&mut self, rows: &[Vec<String>]) {
        let is_rule = |row: &&Vec<String>| !row.iter().all(|it| it.chars().all(|it| "-: ".contains(it)));
        let rows: Vec<&Vec<String>> = rows.iter().filter(is_rule).collect();
        let columns = rows.iter().map(|it| it.len()).max().unwrap_or(0);
        let wide = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|it| it.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|at| wide(at).unwrap_or(0)).collect();
        self.gap();
        if widths.iter().sum::<usize>() + 2 * columns <= self.columns {
            for row in rows {
                let pad = |(cell, width): (&String, &usize)| {
                    format!("{cell}{}", " ".repeat(width - cell.chars().count() + 2))
                };
                let line: String = row.iter().zip(&widths).map(pad).collect();
                self.line(line.trim_end());
            }
        } else {
            let Some((header, rows)) = rows.split_first() else { return };
            for row in rows {
                self.paragraph(0, "", row.first().map_or("", String::as_str));
                for (name, cell) in header.iter().zip(*row).skip(1).filter(|(_, cell)| !cell.is_empty()) {
                    let said = if name.is_empty() { cell.clone() } else { format!("{name}: {cell}") };
                    self.paragraph(4, "", &said);
                }
            }
        }
        self.gap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_gone_and_lines_are_bounded() {
        let text = "# A title\nOne **bold** word and [a link](other.md) and [a page](https://x.example/y)\nthat go on.\n\n\
                    1. first of `a **b**` and more\n   words\n- second\n\n```sh\nreg ls | x\n```\n";
        let shown = "A title\n=======\n\nOne bold word and a\nlink and a page\n(https://x.example/y)\nthat go on.\n\n1. first of `a **b**`\n   \
                     and more words\n- second\n\n    reg ls | x\n";
        assert_eq!(plain(text, 21), shown);
    }

    #[test]
    fn a_table_is_shown_in_columns_or_row_by_row() {
        let text = "| code | meaning |\n|---|---|\n| 0 | it worked |\n| 2 | `a\\|b` |\n";
        assert_eq!(plain(text, 40), "code  meaning\n0     it worked\n2     `a|b`\n");
        assert_eq!(plain(text, 12), "0\n    meaning:\n    it\n    worked\n2\n    meaning:\n    `a|b`\n");
    }

    #[test]
    fn every_guide_fits_a_terminal() {
        for (name, _) in crate::guide::topics() {
            let (_, text) = crate::guide::topic(name).expect("a topic");
            let shown = plain(text, 80);
            let mut is_code = false;
            for line in text.lines() {
                is_code ^= line.trim_start().starts_with("```");
                assert!(is_code || !shown.contains("**"), "{name}: {line}");
            }
            for line in
                shown.lines().filter(|it| !it.starts_with("    ") && it.split_whitespace().count() > 1)
            {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
        }
    }
}
