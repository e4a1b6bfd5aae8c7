//! `reg files`: lists the files of a model.

use std::process::ExitCode;

use reg_api::report::FileInfo;

use crate::args::{Global, Named};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

pub async fn run(global: &Global, args: Named) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let files: Vec<FileInfo> = client.get("/v1/files", &[("reference", args.reference.to_string())]).await?;
    client.close().await;
    if global.json {
        output::json(&files)?;
    } else if global.quiet {
        files.iter().try_for_each(|file| output::line(file.path.as_str()))?;
    } else {
        let row = |file: &FileInfo| {
            let here = if file.here { "" } else { "  (not in the store)" };
            vec![size(file.size), file.digest.to_string(), format!("{}{here}", file.path)]
        };
        output::table(&files.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(output::ok())
}
