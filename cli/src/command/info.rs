//! `reg info`: shows a model, with computed and claimed facts in separate sections.

use std::process::ExitCode;

use reg_api::check::Check;
use reg_api::report::ModelInfo;
use reg_proto::attestation::Mirror;
use serde_json::Value;

use crate::agree;
use crate::args::{Global, Info};
use crate::client::{Client, home, is_alive};
use crate::command::look;
use crate::error::CliError;
use crate::output::{self, size};

pub async fn run(global: &Global, args: Info) -> Result<ExitCode, CliError> {
    // Without a daemon the store is read first, by a node without a network.
    let has_daemon = is_alive(&home(global)?.socket()).await;
    let net = (has_daemon && args.net.is_any_given()).then_some(&args.net);
    let client = Client::open_with(global, net, agree::PULL).await?;
    let asked: Result<ModelInfo, CliError> =
        client.get("/v1/info", &[("reference", args.reference.to_string())]).await;
    let is_elsewhere = asked.as_ref().is_err_and(|error| error.document().kind == "not_found");
    if is_elsewhere && !args.local && !args.net.offline {
        look::run(global, client, &args).await?;
        return Ok(output::ok());
    }
    client.close().await;
    let info = asked?;
    if global.json {
        output::json(&info)?;
        return Ok(output::ok());
    }
    let summary = &info.summary;
    let tags: Vec<&str> = summary.tags.iter().map(|tag| tag.as_str()).collect();
    let mut rows = vec![
        vec!["publisher".into(), summary.publisher.to_string()],
        vec!["model".into(), summary.model.to_string()],
        vec!["tags".into(), tags.join(", ")],
        vec!["manifest".into(), summary.manifest.to_string()],
        vec!["size".into(), format!("{} in {} files", size(summary.bytes), summary.files)],
        vec!["complete".into(), summary.complete.to_string()],
        vec!["pinned".into(), summary.pinned.to_string()],
        vec!["key document".into(), info.key_document_version.to_string()],
    ];
    if summary.published && !summary.pinned {
        rows.push(vec!["kept".into(), "published here: until `reg unpin` or `reg rm`".into()]);
    }
    if summary.followed {
        rows.push(vec!["kept".into(), "its publisher is followed: see `reg follow ls`".into()]);
    }
    if let (false, Some(part)) = (summary.complete, &summary.part) {
        let of = if part.complete { "all of them in the store" } else { "not all of them in the store" };
        rows.push(vec!["chosen".into(), format!("{} in {} files, {of}", size(part.bytes), part.files)]);
    }
    if let Some(profile) = &info.profile {
        rows.push(vec!["publisher says".into(), profile.line()]);
    }
    rows.extend(info.seq.map(|seq| vec!["tag record".into(), format!("number {seq}")]));
    rows.extend(info.behind.as_ref().map(|it| {
        let newer = format!("number {} ({}), which is not used: {}", it.head, it.manifest, it.why);
        vec!["newest record".into(), newer]
    }));
    rows.extend(info.mirror.as_ref().map(|mirror| {
        let Mirror { endpoint, repository, commit, .. } = mirror;
        vec!["attested origin".into(), format!("{endpoint}/{repository} at {commit}")]
    }));
    output::table(&rows)?;
    let metadata = serde_json::to_value(&info.metadata).map_err(|error| CliError::new("other", error))?;
    section("computed from the files", &metadata["computed"])?;
    let claims = serde_json::to_value(&info.claims).map_err(|error| CliError::new("other", error))?;
    section("claimed by the publisher", &claims)?;
    section("claimed in the files", &metadata["claimed"])?;
    if !info.attestations.is_empty() {
        output::line("")?;
        output::line("attestations")?;
        for said in &info.attestations {
            output::line(format!("  {}", crate::command::attest::line(said)))?;
        }
    }
    output::line("")?;
    output::line("checked by your denylists and rules")?;
    let row = |it: &Check| vec![format!("  {}", it.check), it.result.to_string(), it.detail.clone()];
    output::table(&info.checks.iter().map(row).collect::<Vec<_>>())?;
    Ok(output::ok())
}

fn section(title: &str, facts: &Value) -> Result<(), CliError> {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    };
    let facts: Vec<(&String, &Value)> =
        facts.as_object().into_iter().flatten().filter(|(_, it)| !empty(it)).collect();
    output::line("")?;
    output::line(format!("{title}{}", if facts.is_empty() { ": nothing" } else { "" }))?;
    let text = |name: &str, value: &Value| match (name, value["sha256"].as_str()) {
        ("chat_template", Some(sha256)) if value["reaches_out"] == true => {
            format!("{sha256}, uses names that can lead out of its sandbox")
        }
        ("chat_template", Some(sha256)) => sha256.to_owned(),
        _ => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    };
    let rows: Vec<Vec<String>> = facts
        .iter()
        .map(|(name, value)| vec![format!("  {}", name.replace('_', " ")), text(name, value)])
        .collect();
    output::table(&rows)
}
