//! Runs the commands. Each command has a file of its own.

mod abandon;
mod accept_domain;
mod accept_keys;
mod attest;
mod completion;
mod config;
mod confirm;
mod daemon;
mod diff;
mod dry_run;
mod env;
mod export;
mod export_ca;
mod export_signature;
mod files;
mod follow;
mod formats;
mod gc;
mod import;
mod import_archive;
mod import_signed;
mod info;
mod inheritance;
mod key;
mod keyring;
mod log;
mod look;
mod ls;
mod pause;
mod peers;
mod pin;
mod publish;
mod published;
mod publisher;
mod pull;
mod revoke;
mod rm;
mod rotate;
mod settle;
mod share;
mod sign;
mod status;
mod trust;
mod verify;
mod verify_bundle;

use std::process::ExitCode;

use crate::args::{Args, Command};
use crate::error::CliError;

/// Runs the command that `args` name; returns its exit code.
pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    let Args { global, command } = args;
    match command {
        Command::Daemon(args) => daemon::run(&global, args).await,
        Command::Key(command) => key::run(&global, command).await,
        Command::Sign(args) => sign::run(&global, &args),
        Command::Log(args) => log::run(&global, args).await,
        Command::Publish(args) => publish::run(&global, args).await,
        Command::Import(args) => import::run(&global, args).await,
        Command::Pull(args) => pull::run(&global, args).await,
        Command::Export(args) => export::run(&global, args).await,
        Command::Follow(args) => follow::run(&global, args).await,
        Command::Ls => ls::run(&global).await,
        Command::Info(args) => info::run(&global, args).await,
        Command::Files(args) => files::run(&global, args).await,
        Command::Verify(args) => verify::run(&global, args).await,
        Command::Peers(args) => peers::run(&global, args).await,
        Command::Share(args) => share::run(&global, args).await,
        Command::Status => status::run(&global).await,
        Command::Attest(args) => attest::run(&global, args).await,
        Command::Trust(command) => trust::run(&global, command).await,
        Command::Publisher(command) => publisher::run(&global, command).await,
        Command::Pause(args) => pause::pause(&global, args).await,
        Command::Resume(args) => pause::resume(&global, args).await,
        Command::Pin(args) => pin::pin(&global, args).await,
        Command::Unpin(args) => pin::unpin(&global, args).await,
        Command::Rm(args) => rm::run(&global, args).await,
        Command::Gc { dry_run } => gc::run(&global, dry_run).await,
        Command::ExportSignature(args) => export_signature::run(&global, args).await,
        Command::Diff { one, two } => diff::run(&global, &one, &two).await,
        Command::Formats => formats::run(&global),
        Command::Env(args) => env::run(&global, args).await,
        Command::Completion { shell } => completion::run(shell),
        Command::Config(command) => config::run(&global, &command),
    }
}
