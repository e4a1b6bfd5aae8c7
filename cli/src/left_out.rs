//! Prints what is taken of a directory, and what is left out and why.

use std::collections::BTreeMap;

use reg_api::counted::counted;
use reg_api::ingest::{IngestPlan, LeftOut, LeftOutList, LeftOutReason};
use serde_json::{Value, json};

use crate::args::Global;
use crate::error::CliError;
use crate::output::{self, size};
use crate::table::{Column, Table};

/// Fewest characters of a path, and of a line of the reason.
const PATH_MIN: usize = 20;
const WHY_MIN: usize = 20;

/// Names in one line.
const NAMES_MAX: usize = 8;
/// Secrets that are named, each in a line of its own.
const SECRETS_MAX: usize = 20;

/// Returns the lines that a user should read: each secret on its own line, and the other names by reason.
pub fn lines(list: &LeftOutList) -> Vec<String> {
    let mut lines = Vec::new();
    let mut others: BTreeMap<LeftOutReason, Vec<&str>> = BTreeMap::new();
    for entry in &list.entries {
        match entry.reason {
            LeftOutReason::Never => {}
            LeftOutReason::Secret if lines.len() < SECRETS_MAX => lines.push(secret(entry)),
            reason => others.entry(reason).or_default().push(&entry.path),
        }
    }
    for (reason, names) in others {
        let shown = names[..names.len().min(NAMES_MAX)].join(", ");
        let rest = names.len().saturating_sub(NAMES_MAX);
        let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
        lines.push(format!("left out: {shown}{rest} ({})", why(reason)));
    }
    if list.more > 0 {
        lines.push(format!("left out: {} more, which are not listed", list.more));
    }
    for path in list.unsearched.iter().take(NAMES_MAX) {
        lines.push(format!("note: {path} is too long to be searched for secrets to its end"));
    }
    lines
}

fn secret(entry: &LeftOut) -> String {
    let found = entry.found.as_deref().map_or_else(String::new, |found| format!(": {found}"));
    format!("left out: {} looks like a secret{found}", entry.path)
}

const fn why(reason: LeftOutReason) -> &'static str {
    match reason {
        LeftOutReason::Hidden => "hidden; --hidden takes them",
        LeftOutReason::Secret => "look like secrets",
        LeftOutReason::Loop => "links to a directory around them",
        other => other.words(),
    }
}

/// Returns the fields of a JSON document about what was left out.
pub fn fields(list: &LeftOutList) -> Value {
    json!({ "left_out": list.entries, "left_out_more": list.more, "unsearched": list.unsearched })
}

/// Returns the JSON document of a plan.
pub fn document(plan: &IngestPlan, named: Value) -> Value {
    let mut document = named;
    document["files"] = json!(plan.files.len());
    document["bytes"] = json!(plan.bytes);
    document["entries"] = json!(plan.files);
    document["left_out"] = json!(plan.left_out.entries);
    document["left_out_more"] = json!(plan.left_out.more);
    document["unsearched"] = json!(plan.left_out.unsearched);
    document
}

/// Prints a plan as text: the files on standard output, and then what is left out.
pub fn print(global: &Global, plan: &IngestPlan) -> Result<(), CliError> {
    if global.quiet {
        return plan.files.iter().try_for_each(|file| output::line(file.path.as_str()));
    }
    let mut table = Table::new([Column::whole(""), Column::named("", PATH_MIN)]);
    plan.files.iter().for_each(|file| table.row([size(file.size), file.path.to_string()]));
    output::draw(global, &table)?;
    let mut table = Table::new([Column::whole(""), Column::named("", PATH_MIN), Column::text("", WHY_MIN)]);
    for entry in &plan.left_out.entries {
        let found = entry.found.as_deref().map_or_else(String::new, |found| format!(": {found}"));
        table.row(["left out".to_owned(), entry.path.clone(), format!("{}{found}", reason(entry.reason))]);
    }
    output::draw(global, &table)?;
    let more = match plan.left_out.more {
        0 => String::new(),
        more => format!("; {more} more are left out and not listed"),
    };
    output::line(format!("{}, {}{more}", counted(plan.files.len(), "file"), size(plan.bytes)))
}

const fn reason(reason: LeftOutReason) -> &'static str {
    match reason {
        LeftOutReason::Hidden => "hidden",
        LeftOutReason::Secret => "looks like a secret",
        _ => why(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_named_and_the_rest_is_grouped() {
        let mut list = LeftOutList::default();
        list.push(".git/".to_owned(), LeftOutReason::Never, None);
        list.push(".env".to_owned(), LeftOutReason::Secret, None);
        list.push("notes.md".to_owned(), LeftOutReason::Secret, Some("a GitHub token in line 3".to_owned()));
        for number in 0..10 {
            list.push(format!(".h{number}"), LeftOutReason::Hidden, None);
        }
        assert_eq!(
            lines(&list),
            [
                "left out: .env looks like a secret",
                "left out: notes.md looks like a secret: a GitHub token in line 3",
                "left out: .h0, .h1, .h2, .h3, .h4, .h5, .h6, .h7 and 2 more (hidden; --hidden takes them)",
            ]
        );
    }
}
