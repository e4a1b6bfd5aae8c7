//! `reg diff A B`: prints what differs between two models, or two versions of one.
//!
//! A chat template is a program, so the command prints its changed lines.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use reg_api::report::{FileInfo, ModelInfo};
use reg_proto::digest::Digest;
use reg_proto::name::Reference;
use serde_json::{Value, json};

use crate::args::Global;
use crate::client::Client;
use crate::error::CliError;
use crate::output;

/// Longest template that is compared line by line, in lines. The longest known templates have some hundreds.
const LINES_MAX: usize = 2000;
/// Unchanged lines printed before and after a change.
const CONTEXT_LINES: usize = 2;

/// One of the two models that are compared.
struct Side {
    info: ModelInfo,
    files: BTreeMap<String, String>,
    template: Option<String>,
}

pub async fn run(global: &Global, one: &Reference, two: &Reference) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let sides = async { Ok::<_, CliError>((side(&client, one).await?, side(&client, two).await?)) }.await;
    client.close().await;
    let (one, two) = sides?;
    let files = files(&one.files, &two.files);
    let facts = facts(&one.info, &two.info)?;
    let template = lines(one.template.as_deref(), two.template.as_deref());
    if global.json {
        let files: Vec<Value> =
            files.iter().map(|(sign, path)| json!({ "change": sign, "path": path })).collect();
        let facts: Vec<Value> =
            facts.iter().map(|(name, a, b)| json!({ "fact": name, "one": a, "two": b })).collect();
        output::json(&json!({ "files": files, "facts": facts, "chat_template": template }))?;
        return Ok(output::ok());
    }
    if files.is_empty() && facts.is_empty() {
        output::line("no difference")?;
    }
    for (sign, path) in &files {
        output::line(format!("{sign} {path}"))?;
    }
    // The digests of two templates are printed above their lines, below.
    for (name, one, two) in facts.iter().filter(|(name, ..)| name != "computed chat template") {
        output::line(format!("{name}: {one} -> {two}"))?;
    }
    if one.template != two.template {
        let digest = |side: &Side| side.template.as_ref().map(|it| Digest::of(it.as_bytes()).to_string());
        for (sign, side) in [("---", &one), ("+++", &two)] {
            output::line(format!("{sign} chat template {}", digest(side).as_deref().unwrap_or("none")))?;
        }
    }
    template.iter().try_for_each(output::line)?;
    Ok(output::ok())
}

async fn side(client: &Client, reference: &Reference) -> Result<Side, CliError> {
    let named = [("reference", reference.to_string())];
    let info = client.get("/v1/info", &named).await?;
    let files: Vec<FileInfo> = client.get("/v1/files", &named).await?;
    let template = client.get("/v1/chat-template", &named).await?;
    let files = files.into_iter().map(|file| (file.path.to_string(), file.digest.to_string())).collect();
    Ok(Side { info, files, template })
}

/// Returns the paths that differ: `-` is only in the first, `+` only in the second, `~` differs between them.
fn files(one: &BTreeMap<String, String>, two: &BTreeMap<String, String>) -> Vec<(char, String)> {
    let all: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let sign = |path: &String| match (one.get(path), two.get(path)) {
        (Some(_), None) => Some('-'),
        (None, Some(_)) => Some('+'),
        (one, two) => (one != two).then_some('~'),
    };
    all.into_iter().filter_map(|path| Some((sign(path)?, path.clone()))).collect()
}

/// Returns what is computed of a model, what its publisher claims, and what its files claim.
fn said(info: &ModelInfo) -> Result<BTreeMap<&'static str, Value>, CliError> {
    let failed = |error| CliError::new("other", error);
    Ok(BTreeMap::from([
        ("computed", serde_json::to_value(&info.metadata.computed).map_err(failed)?),
        ("claimed", serde_json::to_value(&info.claims).map_err(failed)?),
        ("claimed in the files", serde_json::to_value(&info.metadata.claimed).map_err(failed)?),
    ]))
}

/// Returns the facts that differ, as name and both values: computed, claimed, and the key document.
fn facts(one: &ModelInfo, two: &ModelInfo) -> Result<Vec<(String, Value, Value)>, CliError> {
    let mut differing = Vec::new();
    let (first, second) = (said(one)?, said(two)?);
    for part in ["computed", "claimed", "claimed in the files"] {
        let names = |side: &BTreeMap<&str, Value>| {
            side[part].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
        };
        let all: BTreeSet<String> = names(&first);
        for name in all.union(&names(&second)) {
            let (a, b) = (&first[part][name], &second[part][name]);
            if a != b {
                differing.push((format!("{part} {}", name.replace('_', " ")), a.clone(), b.clone()));
            }
        }
    }
    let keys = |info: &ModelInfo| json!([info.summary.publisher, info.key_document_version]);
    if keys(one) != keys(two) {
        differing.push(("publisher and key document".to_owned(), keys(one), keys(two)));
    }
    Ok(differing)
}

/// One line of an edit script, with its index in each of the two texts, counted from 0.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    sign: char,
    text: &'a str,
    one: usize,
    two: usize,
}

/// Returns the differing lines of two templates as hunks with context, in the format of `diff -u`.
fn lines(one: Option<&str>, two: Option<&str>) -> Vec<String> {
    let [one, two] = [one, two].map(|it| it.unwrap_or_default().lines().collect::<Vec<&str>>());
    if one == two {
        return Vec::new();
    }
    if one.len().max(two.len()) > LINES_MAX {
        return vec![format!(
            "templates of {} and {} lines are too long to compare: the limit is {LINES_MAX} lines",
            one.len(),
            two.len()
        )];
    }
    let script = script(&one, &two);
    let is_change = |index: &usize| script[*index].sign != ' ';
    let mut shown = Vec::new();
    let mut next = 0;
    while let Some(first) = (next..script.len()).find(is_change) {
        let begin = first.saturating_sub(CONTEXT_LINES).max(next);
        let mut end = first + 1;
        // A change within the context of the one before belongs to the same hunk.
        while let Some(more) = (end..script.len().min(end + 2 * CONTEXT_LINES + 1)).find(is_change) {
            end = more + 1;
        }
        next = script.len().min(end + CONTEXT_LINES);
        let hunk = &script[begin..next];
        let count = |sign: char| hunk.iter().filter(|it| it.sign != sign).count();
        let range =
            |start: usize, count: usize| format!("{},{count}", if count == 0 { start } else { start + 1 });
        shown.push(format!("@@ -{} +{} @@", range(hunk[0].one, count('+')), range(hunk[0].two, count('-'))));
        shown.extend(hunk.iter().map(|it| format!("{}{}", it.sign, plain(it.text))));
    }
    shown
}

/// Returns `line` with control, zero-width and bidirectional characters escaped, so that it cannot alter a terminal.
fn plain(line: &str) -> String {
    let hides = |it: char| {
        it.is_control()
            || matches!(it, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut text = String::with_capacity(line.len());
    for it in line.chars() {
        if hides(it) {
            text.extend(it.escape_default());
        } else {
            text.push(it);
        }
    }
    text
}

/// Returns the shortest edit script from `one` to `two`: each line kept (` `), removed (`-`) or added (`+`).
fn script<'a>(one: &[&'a str], two: &[&'a str]) -> Vec<Line<'a>> {
    // rest[i][j] is the length of the longest common subsequence of one[i..] and two[j..].
    let mut rest = vec![vec![0usize; two.len() + 1]; one.len() + 1];
    for i in (0..one.len()).rev() {
        for j in (0..two.len()).rev() {
            rest[i][j] =
                if one[i] == two[j] { rest[i + 1][j + 1] + 1 } else { rest[i + 1][j].max(rest[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut script) = (0, 0, Vec::new());
    while i < one.len() || j < two.len() {
        let line = |sign, text| Line { sign, text, one: i, two: j };
        if i < one.len() && j < two.len() && one[i] == two[j] {
            script.push(line(' ', one[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == two.len() || (i < one.len() && rest[i + 1][j] >= rest[i][j + 1]) {
            script.push(line('-', one[i]));
            i += 1;
        } else {
            script.push(line('+', two[j]));
            j += 1;
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_only_one_has_are_shown_in_order() {
        assert!(lines(Some("a\nb"), Some("a\nb")).is_empty());
        assert_eq!(
            lines(Some("a\nb\nc"), Some("a\nx\nc\nd")),
            ["@@ -1,3 +1,4 @@", " a", "-b", "+x", " c", "+d"]
        );
        assert_eq!(lines(None, Some("a")), ["@@ -0,0 +1,1 @@", "+a"]);
        assert_eq!(
            lines(Some("\u{1b}[2J"), None),
            ["@@ -1,1 +0,0 @@", "-\\u{1b}[2J"],
            "nothing moves the cursor"
        );
        assert_eq!(
            lines(Some("'\\n' é\u{202e}"), None)[1],
            "-'\\n' é\\u{202e}",
            "what is seen stays as it is"
        );
        let long = lines(Some(&"x\n".repeat(LINES_MAX + 1)), None);
        assert!(long.len() == 1 && long[0].contains("too long to compare"), "{long:?}");
    }

    #[test]
    fn far_changes_stand_in_hunks_of_their_own() {
        let text = |changed: &[usize]| {
            let line = |it: usize| format!("{it}{}\n", if changed.contains(&it) { "!" } else { "" });
            (1..=20).map(line).collect::<String>()
        };
        let found = lines(Some(&text(&[])), Some(&text(&[3, 5, 15])));
        let hunks: Vec<&String> = found.iter().filter(|it| it.starts_with("@@")).collect();
        assert_eq!(hunks, ["@@ -1,7 +1,7 @@", "@@ -13,5 +13,5 @@"]);
        assert_eq!(found.iter().filter(|it| it.starts_with('+')).count(), 3);
    }

    /// Replaying the script on the first text gives the second, as `patch` needs.
    #[test]
    fn the_script_leads_from_one_to_the_other() {
        let words = ["a", "b", "c"];
        for seed in 0..300usize {
            let text = |mut seed: usize| {
                let mut lines = Vec::new();
                while seed > 0 {
                    lines.push(words[seed % 3]);
                    seed /= 3;
                }
                lines
            };
            let (one, two) = (text(seed), text(seed * 7 % 300));
            let script = script(&one, &two);
            let side =
                |but: char| script.iter().filter(|it| it.sign != but).map(|it| it.text).collect::<Vec<_>>();
            assert_eq!((side('+'), side('-')), (one, two));
        }
    }
}
