//! `reg sign`: signs a file that was prepared on another machine. It needs no node and no network.

use std::process::ExitCode;

use reg_keys::signing_file::SigningFile;
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
        let key = keyring(&home(global)?).secret(&args.key).map_err(keyring_error)?;
        file.sign(&key).map_err(|error| CliError::from_fault(&error))?;
        file.write(&args.file).map_err(|error| CliError::from_fault(&error))?;
    }
    let is_finished = file.finished().is_ok();
    if global.json {
        output::json(
            &json!({ "publisher": file.publisher, "documents": described, "finished": is_finished }),
        )?;
    } else if !global.quiet {
        output::line(format!("{} for {}", if args.dry_run { "to sign" } else { "signed" }, file.publisher))?;
        described.iter().try_for_each(|line| output::line(format!("  {line}")))?;
        output::line(if is_finished { "enough keys have signed" } else { "more keys must sign" })?;
    }
    Ok(output::ok())
}
