//! `reg verify DIR --bundle FILE`: a directory against an OpenSSF bundle that anybody made. No node is needed.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use reg_node::registry::fault::{Fault, FaultKind};
use reg_node::registry::signed_directory::{Authority, SignedDirectoryError, verify_directory};

use crate::args::{Global, Verify};
use crate::error::CliError;
use crate::output::{self, size};

pub fn run(global: &Global, args: &Verify, bundle: &Path) -> Result<ExitCode, CliError> {
    let Some(dir) = &args.target else {
        return Err(CliError::new("invalid", "no directory is named").hint("reg verify DIR --bundle FILE"));
    };
    let authority = match (&args.key, &args.ca) {
        (Some(key), _) => Authority::key(key),
        (_, Some(ca)) => Authority::certificates(ca),
        _ => {
            return Err(CliError::new("invalid", "it is not said whose signature counts")
                .hint("name a public key with --key, or an authority with --ca"));
        }
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let authority = authority.map_err(refusal)?;
    let found = verify_directory(Path::new(dir), bundle, &authority, now, &args.unsigned).map_err(refusal)?;
    if global.json {
        output::json(&found)?;
    } else if !global.quiet {
        output::line(format!("{dir} is what was signed: {} files, {}", found.files, size(found.bytes)))?;
        if let Some(subject) = &found.certificate {
            output::line(format!("signed by {subject}"))?;
        }
        for path in &found.unsigned {
            output::line(format!("not signed: {path}"))?;
        }
    }
    Ok(output::ok())
}

fn refusal(error: SignedDirectoryError) -> CliError {
    let kind = match error.kind() {
        FaultKind::NotFound => "not_found",
        FaultKind::Invalid => "invalid",
        FaultKind::Verification => "verification",
        _ => "other",
    };
    let shown = CliError::from_error(kind, &error);
    match error.hint() {
        Some(hint) => shown.hint(hint),
        None => shown,
    }
}
