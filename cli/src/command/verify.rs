//! `reg verify`: hashes stored files again and compares them with the signed digests.

use std::path::Path;
use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::report::Verified;
use reg_api::request::{VerifyRequest, VerifyTarget};

use crate::agree;
use crate::args::{Global, Verify};
use crate::client::Client;
use crate::command::verify_bundle;
use crate::error::CliError;
use crate::output::{self, size};

/// Exit code if damage is found and not repaired.
const DAMAGED: u8 = 4;

pub async fn run(global: &Global, args: Verify) -> Result<ExitCode, CliError> {
    if let Some(bundle) = &args.bundle {
        return verify_bundle::run(global, &args, bundle);
    }
    let target = target(args.target.as_deref())?;
    // The store keeps a blob once, whatever number of files has its bytes.
    let what = if matches!(target, VerifyTarget::Directory(_)) { "file" } else { "blob" };
    let net = args.repair.then_some(&args.net);
    let client = Client::open_with(global, net, agree::VERIFY).await?;
    // A node in this process connects to them anyway.
    let more = args.net.peers().filter(|_| client.is_daemon());
    let from = args.from.iter().cloned().chain(more).collect();
    let request = VerifyRequest { target, repair: args.repair, overwrite: args.overwrite, from };
    let verified: Verified = client.stream("/v1/verify", &request).await?;
    client.close().await;
    let left = verified.damaged.iter().filter(|damage| !damage.repaired).count();
    if global.json {
        output::json(&verified)?;
    } else {
        for damage in &verified.damaged {
            let what = damage
                .path
                .as_ref()
                .map_or_else(|| damage.digest.to_string(), |path| path.display().to_string());
            let end = match (damage.repaired, damage.edited) {
                (true, _) => "repaired",
                (false, true) if args.repair => "kept",
                (false, true) => "edited",
                (false, false) => "damaged",
            };
            output::sentence(format!("{end}: {what}: {}", damage.problem))?;
        }
        for path in &verified.mended {
            output::sentence(format!("mended: {}: it was a link to a damaged blob", path.display()))?;
        }
        for path in &verified.links {
            output::sentence(format!("linked: {}: it shares the bytes of a damaged blob", path.display()))?;
        }
        for it in &verified.withdrawn {
            output::sentence(format!("withdrawn: {}: by its publisher: {}", it.reference, it.why))?;
        }
        for path in &verified.unlisted {
            output::sentence(format!("unlisted: {path}: not a file of the model"))?;
        }
        if !global.quiet {
            conclude(&args, what, &verified, left);
        }
    }
    Ok(if left == 0 { output::ok() } else { ExitCode::from(DAMAGED) })
}

/// Says how many files are damaged, and what can be done about it.
fn conclude(args: &Verify, what: &str, verified: &Verified, left: usize) {
    let edited = verified.damaged.iter().filter(|it| it.edited && !it.repaired).count();
    let mut said =
        format!("{} checked, {}, {left} damaged", counted(verified.checked, what), size(verified.bytes));
    if edited > 0 {
        said.push_str(&format!(", {edited} of them edited here"));
    }
    match verified.mended.len() {
        0 => {}
        1 => said.push_str("; 1 link in a folder mended"),
        more => said.push_str(&format!("; {more} links in folders mended")),
    }
    output::say(said);
    let again = args.target.as_deref().map_or_else(String::new, |it| format!("{it} "));
    if left > edited && !args.repair {
        let links = match verified.links.len() {
            0 => String::new(),
            1 => ", and put back the file that is linked to one".to_owned(),
            more => format!(", and put back the {more} files that are linked to them"),
        };
        output::say(format_args!("hint: fetch damaged files again{links} with `reg verify {again}--repair`"));
    }
    if edited > 0 && !args.overwrite {
        output::say(format_args!(
            "hint: what was edited is kept: `reg verify {again}--repair --overwrite` replaces it"
        ));
    }
}

/// Parses the target: text that begins with `.` or `/`, or names a directory, is a path; all else must be a reference.
fn target(text: Option<&str>) -> Result<VerifyTarget, CliError> {
    let Some(text) = text else { return Ok(VerifyTarget::Everything) };
    let is_path = text.starts_with(['.', '/']) || Path::new(text).is_dir();
    if is_path {
        let path = Path::new(text).canonicalize().map_err(|error| {
            CliError::new("not_found", format_args!("folder {text} cannot be read: {error}"))
                .hint("name a folder that `reg pull` has filled")
        })?;
        return Ok(VerifyTarget::Directory(path));
    }
    text.parse().map(VerifyTarget::Model).map_err(|_| {
        let said = format!("{text} is neither a folder here nor the name of a model, publisher/model[:tag]");
        CliError::new("not_found", said)
            .hint("`reg ls` shows the models in the store; `reg verify` alone verifies all of them")
    })
}
