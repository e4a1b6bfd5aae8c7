//! `reg formats`: prints the table of formats, which a user reads before consenting to a kind.

use std::process::ExitCode;

use reg_proto::content::format::{FORMATS, Row};
use reg_proto::content::kind::ContentKind;
use serde_json::{Value, json};

use crate::args::Global;
use crate::error::CliError;
use crate::output;
use crate::table::{Column, Table};

/// Fewest characters of the names of files, and of a line of the reason.
const FILES_MIN: usize = 16;
const WHY_MIN: usize = 24;

pub fn run(global: &Global) -> Result<ExitCode, CliError> {
    if global.json {
        output::json(&FORMATS.iter().map(document).collect::<Vec<_>>())?;
    } else if global.quiet {
        FORMATS.iter().try_for_each(|row| output::line(row.name))?;
    } else {
        let mut table = Table::new([
            Column::whole("FORMAT"),
            Column::whole("LOADING IT"),
            Column::whole("KIND"),
            Column::named("FILES", FILES_MIN),
            Column::text("WHY", WHY_MIN),
        ]);
        for row in FORMATS {
            table.row(
                [row.name, row.on_load().name(), row.kind.name(), row.files, row.why].map(str::to_owned),
            );
        }
        output::draw(global, &table)?;
        let needs_consent = ContentKind::ALL.into_iter().filter(|kind| kind.risk().is_some());
        let kinds: Vec<&str> = needs_consent.map(ContentKind::name).collect();
        output::line("")?;
        output::text(global, format!("kinds that need consent, for --allow: {}", kinds.join(", ")))?;
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
