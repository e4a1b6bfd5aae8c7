//! `reg config path|show|init`: prints the configuration's path, prints the configuration in effect, or writes a sample.

use std::io::ErrorKind;
use std::process::ExitCode;

use reg_keys::durable;
use reg_node::daemon::{Overrides, SAMPLE};

use crate::args::{Config, Global};
use crate::client::{config, home};
use crate::error::CliError;
use crate::output;

pub fn run(global: &Global, command: &Config) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    match command {
        Config::Path => output::line(home.config().display().to_string())?,
        Config::Show => {
            let written = config(&home, Overrides::default())?.written();
            if global.json {
                output::json(&written)?;
            } else {
                output::write(&written.to_toml())?;
            }
        }
        Config::Init => {
            home.make().map_err(|error| CliError::from_error("other", &error))?;
            let path = home.config();
            // Whole or not at all: a full disk must not leave half a file, which would stand in the way of the next try.
            durable::create(&path, SAMPLE.as_bytes()).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => {
                    CliError::new("invalid", format_args!("{} exists", path.display()))
                        .hint("an existing file is not replaced: move it away first")
                }
                _ => CliError::of_file(&path, &error),
            })?;
            output::line(path.display().to_string())?;
        }
    }
    Ok(output::ok())
}
