//! `reg pull --dry-run`: prints what a pull would fetch, what the store has, and the disk space that it needs.

use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::report::{DiskNeed, Planned, PlannedFile};
use reg_api::request::PullRequest;

use crate::args::Global;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};
use crate::table::{Column, Table};

/// Fewest characters of a path.
const PATH_MIN: usize = 20;

pub async fn run(global: &Global, client: Client, request: &PullRequest) -> Result<ExitCode, CliError> {
    let planned: Result<Planned, CliError> = client.stream("/v1/plan", request).await;
    client.close().await;
    let planned = planned?;
    if global.json {
        output::json(&planned)?;
    } else if global.quiet {
        planned.entries.iter().try_for_each(|file| output::line(file.path.as_str()))?;
    } else {
        let mut table = Table::new([Column::whole(""), Column::whole(""), Column::named("", PATH_MIN)]);
        planned.entries.iter().for_each(|it| table.row(row(it)));
        output::draw(global, &table)?;
        output::write(&summary(&planned))?;
    }
    Ok(output::ok())
}

fn row(file: &PlannedFile) -> [String; 3] {
    let state = match file.bytes_to_fetch {
        0 => "in store".to_owned(),
        left if left == file.size => "to fetch".to_owned(),
        left => format!("{} to fetch", size(left)),
    };
    [size(file.size), state, file.path.to_string()]
}

fn summary(planned: &Planned) -> String {
    let Planned { files, bytes, model_files, model_bytes, bytes_to_fetch, bytes_local, .. } = planned;
    let of = if files == model_files {
        String::new()
    } else {
        format!(" of {}, {}", counted(*model_files, "file"), size(*model_bytes))
    };
    let mut text = format!("\n{}, {}{of}\n", counted(*files, "file"), size(*bytes));
    text.push_str(&format!("to fetch   {}\nin store   {}\n", size(*bytes_to_fetch), size(*bytes_local)));
    for DiskNeed { path, needed, free } in &planned.disks {
        let free =
            free.map_or_else(|| "free space not known".to_owned(), |free| format!("{} free", size(free)));
        text.push_str(&format!("disk       {}, {free}, at {}\n", size(*needed), path.display()));
    }
    if let Some(max) = planned.cache_max_bytes {
        text.push_str(&format!(
            "cache      {} at most; evicts the least recently used models first\n",
            size(max)
        ));
    }
    text
}
