//! `reg export`: writes models of the store into an archive, for a machine without a network.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use reg_api::archive::{ArchiveForm, ExportRequest, Exported, ExportedModel};
use reg_api::counted::counted;
use reg_api::selection::Selection;

use crate::args::{Export, Global};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

pub async fn run(global: &Global, args: Export) -> Result<ExitCode, CliError> {
    let (dest, form) = destination(&args.output)?;
    let Export { references, include, exclude, quant, .. } = args;
    let request = ExportRequest { references, dest, form, selection: Selection { include, exclude, quant } };
    let client = Client::open(global, None).await?;
    let exported: Result<Exported, CliError> = tokio::select! {
        exported = client.stream("/v1/archive/export", &request) => exported,
        _ = tokio::signal::ctrl_c() => Err(CliError::interrupted(match form {
            ArchiveForm::Tar => "nothing of the archive was left",
            ArchiveForm::Directory => "run the same command again: what is whole is kept",
        })),
    };
    client.close().await;
    report(global, &exported?)?;
    Ok(output::ok())
}

/// Returns the path of the archive, as the node sees it, and its form.
fn destination(output: &Path) -> Result<(PathBuf, ArchiveForm), CliError> {
    let name = output.to_string_lossy();
    if output == Path::new("-") {
        return Err(CliError::new("invalid", "an archive is written to a file or a directory")
            .hint("name a file that ends with .tar, or a directory"));
    }
    if [".gz", ".tgz", ".zst", ".xz", ".bz2"].iter().any(|end| name.ends_with(end)) {
        return Err(CliError::new("invalid", format_args!("{name} names a compressed archive"))
            .hint("name a file that ends with .tar: weights hardly shrink, and a compressed archive is not imported"));
    }
    let form = if name.ends_with(".tar") { ArchiveForm::Tar } else { ArchiveForm::Directory };
    let path = std::path::absolute(output).map_err(|error| {
        CliError::new("invalid", format_args!("the path of the archive cannot be made absolute: {error}"))
    })?;
    Ok((path, form))
}

fn report(global: &Global, exported: &Exported) -> Result<(), CliError> {
    if global.json {
        return output::json(exported);
    }
    output::line(exported.path.display().to_string())?;
    if global.quiet {
        return Ok(());
    }
    for ExportedModel { reference, files, bytes, is_part, manifest, .. } in &exported.models {
        let part = if *is_part { ", a part of the model" } else { "" };
        output::say(format_args!(
            "{reference}: {}, {}{part}, {manifest}",
            counted(*files, "file"),
            size(*bytes)
        ));
    }
    for note in &exported.notes {
        output::say(format_args!("note: {note}"));
    }
    let kept = match exported.bytes_kept {
        0 => String::new(),
        kept => format!(", of which {} were there", size(kept)),
    };
    let Exported { blobs, bytes, seconds, .. } = exported;
    output::say(format_args!("{} in {}{kept}, in {seconds:.1} s", size(*bytes), counted(*blobs, "blob")));
    let (path, scheme) = match exported.form {
        ArchiveForm::Tar => (exported.path.display(), "oci-archive"),
        ArchiveForm::Directory => (exported.path.display(), "oci"),
    };
    output::say(format_args!("on the other machine: reg import {path}"));
    if let [ExportedModel { ref_name, .. }, ..] = exported.models.as_slice() {
        output::say(format_args!("OCI tools read it too: skopeo inspect --raw {scheme}:{path}:{ref_name}"));
    }
    Ok(())
}
