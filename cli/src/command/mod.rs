//! Runs the commands. Each command has a file of its own.

mod abandon;
mod accept_domain;
mod accept_keys;
mod attest;
mod collection;
mod complete_words;
mod completion;
mod config;
mod confirm;
pub mod daemon;
mod diff;
mod doctor;
mod donate;
mod drain;
mod dropped;
mod dry_run;
mod env;
mod export;
mod export_ca;
mod export_signature;
mod facts;
mod files;
mod folder;
mod follow;
mod formats;
mod gc;
mod health;
mod help;
mod import;
mod import_archive;
mod import_signed;
mod info;
mod inheritance;
mod key;
mod keyring;
mod lineage;
mod log;
mod look;
mod ls;
mod man;
mod page;
mod pause;
mod peers;
mod pin;
mod publish;
mod published;
mod publisher;
mod pull;
mod reload;
mod revoke;
mod rm;
mod rotate;
mod search;
mod settle;
mod share;
mod sign;
mod status;
mod swarm;
mod trust;
mod unlist;
mod verify;
mod verify_bundle;
mod watch_status;

use std::process::ExitCode;

use crate::args::{Args, Command};
use crate::error::CliError;
use crate::origin::Origins;

/// Runs the command that `args` name; returns its exit code.
pub async fn run(args: Args, origins: Origins) -> Result<ExitCode, CliError> {
    let Args { global, command } = args;
    match command {
        Command::Daemon(args) => daemon::run(&global, args, origins).await,
        Command::Key(command) => key::run(&global, command).await,
        Command::Sign(args) => sign::run(&global, &args),
        Command::Log(args) => log::run(&global, args).await,
        Command::Publish(args) => publish::run(&global, args).await,
        Command::Import(args) => import::run(&global, args).await,
        Command::Pull(args) => pull::run(&global, args).await,
        Command::Export(args) => export::run(&global, args).await,
        Command::Search(args) => search::run(&global, args).await,
        Command::Collection(command) => collection::run(&global, command).await,
        Command::Unlist(args) => unlist::run(&global, *args).await,
        Command::Follow(args) => follow::run(&global, args).await,
        Command::Donate(args) => donate::run(&global, args).await,
        Command::Ls(args) => ls::run(&global, &args).await,
        Command::Health(args) => health::run(&global, args).await,
        Command::Info(args) => info::run(&global, args).await,
        Command::Files(args) => files::run(&global, args).await,
        Command::Verify(args) => verify::run(&global, args).await,
        Command::Peers(args) => peers::run(&global, args).await,
        Command::Share(args) => share::run(&global, args).await,
        Command::Status(args) => status::run(&global, args).await,
        Command::Doctor => doctor::run(&global).await,
        Command::Page(args) => page::run(&global, &args).await,
        Command::Swarm(command) => swarm::run(&global, command).await,
        Command::Drain(args) => drain::run(&global, args).await,
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
        Command::Completion(args) => completion::run(args.shell),
        Command::CompleteWords(args) => complete_words::run(&global, &args).await,
        Command::Man(args) => man::run(&global, &args),
        Command::Help(args) => help::run(&global, &args),
        Command::Reload => reload::run(&global).await,
        Command::Config(command) => config::run(&global, &command).await,
    }
}
