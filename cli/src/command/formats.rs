//! `reg formats`: prints the table of formats, which a user reads before consenting to a kind.

use std::process::ExitCode;

use reg_proto::content::format::{FORMATS, Row};
use reg_proto::content::kind::ContentKind;
use serde_json::{Value, json};

use crate::args::Global;
use crate::error::CliError;
use crate::output;

pub fn run(global: &Global) -> Result<ExitCode, CliError> {
    if global.json {
        output::json(&FORMATS.iter().map(document).collect::<Vec<_>>())?;
    } else if global.quiet {
        FORMATS.iter().try_for_each(|row| output::line(row.name))?;
    } else {
        let rows = FORMATS.iter().map(|row| {
            let texts = [row.name, row.on_load().name(), row.kind.name(), row.files, row.why];
            texts.map(str::to_owned).to_vec()
        });
        let head = ["format", "loading it", "kind", "files", "why"].map(str::to_owned).to_vec();
        output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())?;
        let needs_consent = ContentKind::ALL.into_iter().filter(|kind| kind.risk().is_some());
        let kinds: Vec<&str> = needs_consent.map(ContentKind::name).collect();
        output::line("")?;
        output::line(format!("kinds that need consent, for --allow: {}", kinds.join(", ")))?;
    }
    Ok(output::ok())
}

fn document(row: &Row) -> Value {
    json!({
        "format": row.name,
        "on_load": row.on_load().name(),
        "kind": row.kind.name(),
        "files": row.files,
        "why": row.why,
    })
}
