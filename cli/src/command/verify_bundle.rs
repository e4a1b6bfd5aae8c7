//! `reg verify DIR --bundle FILE`: verifies a directory against an OpenSSF bundle of any signer. It needs no node.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use reg_api::counted::counted;
use reg_api::fault::{Fault, FaultKind};
use reg_keys::oms::directory::{Authority, SignedDirectory, SignedDirectoryError, verify_directory};

use crate::args::{Global, Verify};
use crate::error::CliError;
use crate::output::{self, size};

/// Holds what a directory is verified against.
#[derive(Debug)]
pub struct Evidence<'a> {
    pub bundle: &'a Path,
    /// The signer's public key.
    pub key: Option<&'a Path>,
    /// Certificates, one of which must certify the signer's.
    pub ca: Option<&'a Path>,
    /// Entries at the top of the directory that may be unsigned.
    pub unsigned: &'a [String],
}

pub fn run(global: &Global, args: &Verify, bundle: &Path) -> Result<ExitCode, CliError> {
    let Some(dir) = &args.target else {
        return Err(CliError::new("invalid", "no directory is named").hint("reg verify DIR --bundle FILE"));
    };
    let evidence =
        Evidence { bundle, key: args.key.as_deref(), ca: args.ca.as_deref(), unsigned: &args.unsigned };
    if evidence.key.is_none() && evidence.ca.is_none() {
        return Err(CliError::new("invalid", "no trusted signer is named")
            .hint("name a public key with --key, or an authority with --ca"));
    }
    let found = verify(Path::new(dir), &evidence)?;
    if global.json {
        output::json(&found)?;
    } else if !global.quiet {
        output::sentence(format!(
            "{dir} matches the signature: {}, {}",
            counted(found.files, "file"),
            size(found.bytes)
        ))?;
        if let Some(subject) = &found.certificate {
            output::sentence(format!("signed by {subject}"))?;
        }
        for path in &found.unsigned {
            output::sentence(format!("not signed: {path}"))?;
        }
    }
    Ok(output::ok())
}

/// Verifies a directory against `evidence`. Judges certificates' dates by the clock of this machine.
pub fn verify(dir: &Path, evidence: &Evidence<'_>) -> Result<SignedDirectory, CliError> {
    let Evidence { bundle, key, ca, unsigned } = evidence;
    let authority = match (key, ca) {
        (Some(key), _) => Authority::key(key),
        (_, Some(ca)) => Authority::certificates(ca),
        _ => {
            return Err(CliError::new("invalid", "no trusted signer is named")
                .hint("name a public key with --signer, or an authority with --ca"));
        }
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
    verify_directory(dir, bundle, &authority.map_err(refusal)?, now, unsigned).map_err(refusal)
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
