//! `reg completion`: prints a completion script for a shell.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::error::CliError;
use crate::grammar::grammar;
use crate::output;

pub fn run(shell: Shell) -> Result<ExitCode, CliError> {
    match shell {
        Shell::Bash => output::write(include_str!("../complete/reg.bash"))?,
        Shell::Zsh => output::write(include_str!("../complete/reg.zsh"))?,
        Shell::Fish => output::write(include_str!("../complete/reg.fish"))?,
        _ => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut grammar(), "reg", &mut script);
            output::write(&String::from_utf8_lossy(&script))?;
        }
    }
    Ok(output::ok())
}
