//! `reg config path|show|init`: prints the configuration's path, prints the configuration in effect, or writes a sample.

use std::fs;
use std::io::Write;
use std::process::ExitCode;

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
            let written = fs::File::create_new(&path).and_then(|mut file| file.write_all(SAMPLE.as_bytes()));
            written.map_err(|error| {
                CliError::new("invalid", format_args!("{}: {error}", path.display()))
                    .hint("an existing file is not replaced: move it away first")
            })?;
            output::line(path.display().to_string())?;
        }
    }
    Ok(output::ok())
}
