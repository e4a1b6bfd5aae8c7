//! `reg verify`: hashes stored files again and compares them with the signed digests.

use std::path::Path;
use std::process::ExitCode;

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
    let net = args.repair.then_some(&args.net);
    let client = Client::open_with(global, net, agree::VERIFY).await?;
    // A node in this process connects to them anyway.
    let more = args.net.peers().filter(|_| client.is_daemon());
    let from = args.from.iter().cloned().chain(more).collect();
    let request = VerifyRequest { target, repair: args.repair, from };
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
            let end = if damage.repaired { "repaired" } else { "damaged" };
            output::line(format!("{end}: {what}: {}", damage.problem))?;
        }
        for path in &verified.unlisted {
            output::line(format!("unlisted: {path}: not a file of the model"))?;
        }
        if !global.quiet {
            output::say(format_args!(
                "{} checked, {}, {left} damaged",
                verified.checked,
                size(verified.bytes)
            ));
            if left > 0 && !args.repair {
                let again = args.target.as_deref().map_or_else(String::new, |it| format!("{it} "));
                output::say(format_args!(
                    "hint: fetch damaged files again with `reg verify {again}--repair`"
                ));
            }
        }
    }
    Ok(if left == 0 { output::ok() } else { ExitCode::from(DAMAGED) })
}

/// Parses the target: text that begins with `.` or `/`, or names a directory, is a path; all else must be a reference.
fn target(text: Option<&str>) -> Result<VerifyTarget, CliError> {
    let Some(text) = text else { return Ok(VerifyTarget::Everything) };
    let is_path = text.starts_with(['.', '/']) || Path::new(text).is_dir();
    if is_path {
        let path = Path::new(text)
            .canonicalize()
            .map_err(|error| CliError::new("not_found", format_args!("{text}: {error}")))?;
        return Ok(VerifyTarget::Directory(path));
    }
    text.parse().map(VerifyTarget::Model).map_err(|error| {
        CliError::from_error("invalid", &error)
            .hint("name publisher/model[:tag], or a directory that was pulled")
    })
}
