//! `reg diff A B`: what differs between two models, or two versions of one. A chat template is a program: its lines are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use reg_node::registry::report::{FileInfo, ModelInfo};
use reg_proto::name::Reference;
use serde_json::{Value, json};

use crate::args::Global;
use crate::client::Client;
use crate::error::CliError;
use crate::output;

/// Lines of a template that are compared one by one: the longest known ones have some hundreds.
const LINES_MAX: usize = 2000;

/// What is known of one side.
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
    for (name, one, two) in &facts {
        output::line(format!("{name}: {one} -> {two}"))?;
    }
    for line in &template {
        output::line(line)?;
    }
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

/// `-` is only in the first, `+` only in the second, `~` is in both and differs.
fn files(one: &BTreeMap<String, String>, two: &BTreeMap<String, String>) -> Vec<(char, String)> {
    let all: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let sign = |path: &String| match (one.get(path), two.get(path)) {
        (Some(_), None) => Some('-'),
        (None, Some(_)) => Some('+'),
        (one, two) => (one != two).then_some('~'),
    };
    all.into_iter().filter_map(|path| Some((sign(path)?, path.clone()))).collect()
}

/// Facts that are not the same: what is computed, what is claimed, the key document.
fn facts(one: &ModelInfo, two: &ModelInfo) -> Result<Vec<(String, Value, Value)>, CliError> {
    let mut differing = Vec::new();
    let metadata = |info: &ModelInfo| {
        serde_json::to_value(&info.metadata).map_err(|error| CliError::new("other", error))
    };
    let (first, second) = (metadata(one)?, metadata(two)?);
    for part in ["computed", "claimed"] {
        let names = |side: &Value| {
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

/// The lines that only one of two templates has, in their order.
fn lines(one: Option<&str>, two: Option<&str>) -> Vec<String> {
    let [one, two] = [one, two].map(|it| it.unwrap_or_default().lines().collect::<Vec<&str>>());
    if one == two || one.len().max(two.len()) > LINES_MAX {
        return Vec::new();
    }
    // Lengths of the longest common rest, from each pair of lines on.
    let mut rest = vec![vec![0usize; two.len() + 1]; one.len() + 1];
    for i in (0..one.len()).rev() {
        for j in (0..two.len()).rev() {
            rest[i][j] =
                if one[i] == two[j] { rest[i + 1][j + 1] + 1 } else { rest[i + 1][j].max(rest[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut shown) = (0, 0, Vec::new());
    while i < one.len() || j < two.len() {
        if i < one.len() && j < two.len() && one[i] == two[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == two.len() || (i < one.len() && rest[i + 1][j] >= rest[i][j + 1]) {
            shown.push(format!("-{}", one[i].escape_debug()));
            i += 1;
        } else {
            shown.push(format!("+{}", two[j].escape_debug()));
            j += 1;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_only_one_has_are_shown_in_order() {
        assert!(lines(Some("a\nb"), Some("a\nb")).is_empty());
        assert_eq!(lines(Some("a\nb\nc"), Some("a\nx\nc\nd")), ["-b", "+x", "+d"]);
        assert_eq!(lines(None, Some("a")), ["+a"]);
        assert_eq!(lines(Some("\u{1b}[2J"), None), ["-\\u{1b}[2J"], "nothing moves the cursor");
        assert!(lines(Some(&"x\n".repeat(LINES_MAX + 1)), None).is_empty());
    }
}
