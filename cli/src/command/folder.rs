//! `reg status DIR`: shows of which version a folder is that `reg pull` has filled, and what differs.

use std::path::Path;
use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::folder::{FolderReport, FolderRequest};
use reg_proto::name::{Publisher, Reference};

use crate::args::{Global, Status};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, short};

/// Exit code of `--exit-code` where a file is changed or missing: that of `reg verify`.
const DIFFERS: u8 = 4;

/// Files that are named of each kind; of more, their number is said.
const NAMED_MAX: usize = 20;

pub async fn run(global: &Global, dir: &Path, args: &Status) -> Result<ExitCode, CliError> {
    let shown = dir.display();
    let dir = dir.canonicalize().map_err(|error| {
        CliError::new("not_found", format_args!("{shown}: {error}"))
            .hint("name a folder that `reg pull` has filled")
    })?;
    let client = Client::open(global, None).await?;
    let report: Result<FolderReport, CliError> =
        client.stream("/v1/folder", &FolderRequest { dir, hash: args.hash }).await;
    client.close().await;
    let report = report?;
    if global.json {
        output::json(&report)?;
    } else if global.quiet {
        output::line(report.reference.to_string())?;
    } else {
        show(&report)?;
    }
    let differs = args.exit_code && !report.is_as_signed();
    Ok(if differs { ExitCode::from(DIFFERS) } else { output::ok() })
}

/// Returns the model as the user would name it: by the tag, where one was pulled.
fn name(report: &FolderReport) -> Reference {
    let publisher = report.petname.clone().map_or(Publisher::Id(report.publisher), Publisher::Petname);
    let digest = report.tag.is_none().then_some(report.manifest);
    Reference { publisher, model: report.model.clone(), tag: report.tag.clone(), digest }
}

fn show(report: &FolderReport) -> Result<(), CliError> {
    let name = name(report);
    let version = report.seq.map_or_else(String::new, |seq| format!(", version {seq}"));
    output::sentence(format!("{name}{version}"))?;
    let mut rows = vec![
        vec!["manifest".to_owned(), report.manifest.to_string()],
        vec!["publisher".into(), report.publisher.to_string()],
    ];
    if !report.in_store {
        rows.push(vec!["store".into(), "does not have it whole: `reg pull` fetches what is missing".into()]);
    }
    if let Some(newer) = &report.newer {
        let place = if newer.in_store { ", in the store" } else { ", at peers" };
        let dir = report.dir.display();
        rows.push(vec![
            "newer".into(),
            format!("version {} ({}){place}: `reg pull {name} {dir}`", newer.seq, short(&newer.manifest)),
        ]);
    }
    if let Some(why) = &report.withdrawn {
        rows.push(vec!["withdrawn".into(), format!("by its publisher: {why}")]);
    }
    output::table(&rows)?;
    let texts =
        |paths: &[reg_proto::path::SafePath]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (dir, count) = (report.dir.display(), report.files);
    if report.is_as_signed() {
        let are = if count == 1 { "as it was signed" } else { "all as they were signed" };
        output::sentence(format!("{}, {are}", counted(count, "file")))?;
    }
    let way = format!("`reg verify {dir} --repair --overwrite` puts them back");
    list("changed", &texts(&report.changed), &format!("not as they were signed; {way}"))?;
    list("missing", &texts(&report.missing), &format!("`reg verify {dir} --repair` puts them back"))?;
    list("left", &texts(&report.left), "of an earlier version, and not of this one")?;
    let more = if report.own_more { "yours, and more that are not listed" } else { "yours" };
    list("own", &report.own, more)
}

/// Prints the files of one kind below a line that says what they are.
fn list(kind: &str, files: &[String], what: &str) -> Result<(), CliError> {
    if files.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::sentence(format!("{kind} ({what}):"))?;
    for file in files.iter().take(NAMED_MAX) {
        output::sentence(format!("  {file}"))?;
    }
    match files.len().saturating_sub(NAMED_MAX) {
        0 => Ok(()),
        more => output::sentence(format!("  and {more} more; --json lists them")),
    }
}
