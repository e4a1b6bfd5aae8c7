//! `reg sign`: signs a file that was prepared on another machine. It needs no node and no network.

use std::process::ExitCode;

use reg_keys::keyring::KeyName;
use reg_keys::signing_file::SigningFile;
use reg_proto::envelope::PublicKey;
use serde_json::json;

use crate::args::{Global, Sign};
use crate::client::home;
use crate::command::keyring::{keyring, keyring_error};
use crate::error::CliError;
use crate::output;

pub fn run(global: &Global, args: &Sign) -> Result<ExitCode, CliError> {
    let mut file = SigningFile::read(&args.file).map_err(|error| CliError::from_fault(&error))?;
    let described = file.describe().map_err(|error| CliError::from_fault(&error))?;
    if !args.dry_run {
        let keyring = keyring(&home(global)?);
        let wanted = file.wanted().map_err(|error| CliError::from_fault(&error))?;
        let keys = keyring.secrets_of(&args.key, &wanted).map_err(keyring_error)?;
        if keys.is_empty() {
            return Err(not_asked(&args.key, &wanted));
        }
        for key in &keys {
            file.sign(key).map_err(|error| CliError::from_fault(&error))?;
        }
        file.write(&args.file).map_err(|error| CliError::from_fault(&error))?;
    }
    let is_finished = file.finished().is_ok();
    if global.json {
        output::json(
            &json!({ "publisher": file.publisher, "documents": described, "finished": is_finished }),
        )?;
    } else if !global.quiet {
        output::sentence(format!(
            "{} for {}",
            if args.dry_run { "to sign" } else { "signed" },
            file.publisher
        ))?;
        described.iter().try_for_each(|line| output::sentence(format!("  {line}")))?;
        output::line(if is_finished { "enough keys have signed" } else { "more keys must sign" })?;
    }
    Ok(output::ok())
}

/// Returns the error for a publisher with none of the keys that may sign a file.
fn not_asked(name: &KeyName, wanted: &[PublicKey]) -> CliError {
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    CliError::new(
        "denied",
        format_args!("no key of {name} on this machine is one of those that may sign this file"),
    )
    .hint(format_args!("it asks for: {}; `reg key show NAME` shows the keys of a name", wanted.join(", ")))
}
