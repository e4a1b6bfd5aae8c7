//! `reg files`: lists the files of a model.

use std::process::ExitCode;

use reg_api::report::FileInfo;

use crate::args::{Global, Named};
use crate::client::Client;
use crate::error::CliError;
use crate::ids::Ids;
use crate::output::{self, size};
use crate::table::{Column, Table};

/// Fewest characters of a path.
const PATH_MIN: usize = 20;

pub async fn run(global: &Global, args: Named) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let files: Vec<FileInfo> = client.get("/v1/files", &[("reference", args.reference.to_string())]).await?;
    client.close().await;
    if global.json {
        output::json(&files)?;
    } else if global.quiet {
        files.iter().try_for_each(|file| output::line(file.path.as_str()))?;
    } else {
        let ids = Ids::of(global, files.iter().map(|it| it.digest));
        // Without titles, as `ls` of a shell, so that a program that reads the lines finds only files.
        let mut table = Table::new([
            Column::whole(""),
            Column::whole(""),
            Column::named("", PATH_MIN),
            Column::whole(""),
        ]);
        for file in &files {
            let here = if file.here { "" } else { "(not in the store)" };
            table.row([size(file.size), ids.short(&file.digest), file.path.to_string(), here.to_owned()]);
        }
        output::draw(global, &table)?;
    }
    Ok(output::ok())
}
