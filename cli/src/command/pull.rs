//! `reg pull`: fetches and verifies a model, and puts it into a directory or into the cache of Hugging Face's clients.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::receipt::{Pace, Receipt};
use reg_api::report::Pulled;
use reg_api::repository_name::RepositoryNameError;
use reg_api::request::{HubCache, PullRequest};
use reg_node::registry::pull::commit;
use reg_proto::name::{Reference, Tag};
use reg_proto::path::SafePath;

use crate::agree;
use crate::args::{Global, Pull};
use crate::client::Client;
use crate::command::confirm::agrees;
use crate::command::dry_run;
use crate::error::CliError;
use crate::hugging_face;
use crate::output::{self, size};

pub async fn run(global: &Global, args: Pull) -> Result<ExitCode, CliError> {
    let what = args.what.clone().model(global)?;
    let dest = destination(&args, &what.reference)?;
    let hub_cache = hub_cache(&args, &what.reference)?;
    let client = Client::open_with(global, Some(&args.net), agree::PULL).await?.explaining(args.explain);
    let dry_run = args.choice.dry_run;
    // A node in this process connects to them anyway.
    let more = args.net.peers().filter(|_| client.is_daemon());
    let from = args.from.iter().cloned().chain(more).collect();
    let request = PullRequest {
        reference: what.reference,
        dest,
        from,
        web_seeds: args.net.web_seeds,
        allow_unsafe: args.allow_unsafe,
        allow: args.allow.iter().copied().collect(),
        offline: args.net.offline,
        public: args.public,
        copy: args.copy,
        overwrite: args.overwrite,
        keep: args.keep,
        no_delete: args.no_delete,
        allow_expired: args.allow_expired,
        newest: args.newest,
        selection: args.choice.selection(),
        tensors: args.choice.tensors,
        hub_cache,
        priority: args.priority,
        // The configuration checks the flag and limits the node; this limits the pull alone.
        limit_down: args.net.limit_down.as_deref().and_then(reg_node::daemon::parse_rate),
        timeout: args.timeout,
        limit_local: args.net.limit_local,
        receipt: args.receipt.is_some(),
        allow_unsigned_dns: args.allow_unsigned_dns,
        ticket: what.ticket,
        for_others: false,
    };
    if dry_run {
        return dry_run::run(global, client, &request).await;
    }
    let mut pulled = pull(&client, &request).await;
    if let Err(error) = &pulled
        && error.offers("--public")
        && !global.json
        && !global.quiet
        && agrees(PUBLIC)?
    {
        pulled = pull(&client, &PullRequest { public: true, ..request }).await;
    }
    let closing = client.close();
    let pulled = match pulled {
        Ok(pulled) => pulled,
        Err(error) => {
            closing.await;
            return Err(error);
        }
    };
    if let (Some(path), Some(receipt)) = (&args.receipt, &pulled.receipt) {
        write_receipt(path, receipt)?;
    }
    report(global, &pulled)?;
    if args.explain && !global.json && !global.quiet {
        explain(&pulled);
    }
    closing.await;
    Ok(output::ok())
}

/// What a search for strangers costs, which the user must know before allowing it.
const PUBLIC: &str = "No peer could be reached. Look for strangers in BitTorrent's DHT? That tells the world this machine's IP \
                      address, and which publisher it looks for.";

async fn pull(client: &Client, request: &PullRequest) -> Result<Pulled, CliError> {
    tokio::select! {
        pulled = client.stream("/v1/pull", request) => pulled,
        _ = tokio::signal::ctrl_c() => {
            Err(CliError::interrupted_transfer())
        }
    }
}

fn write_receipt(path: &Path, receipt: &Receipt) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(receipt).map_err(|error| CliError::new("other", error))?;
    std::fs::write(path, text + "\n").map_err(|error| {
        CliError::of_file(path, &error)
            .hint("the model is pulled: run the same command again with another file for the receipt")
    })
}

/// Prints where the bytes came from, and what limited the speed.
fn explain(pulled: &Pulled) {
    for source in &pulled.sources {
        let from = match (&source.peer, &source.seed) {
            (Some(peer), _) => format!("{} {peer}", source.kind),
            (None, Some(seed)) => format!("{} {seed}", source.kind),
            (None, None) => source.kind.clone(),
        };
        output::say(format_args!("{} from {from}", size(source.bytes)));
    }
    let Pace { finding_seconds, fetching_seconds, placing_seconds, bounded_by, .. } = &pulled.pace;
    output::say(format_args!(
        "found in {finding_seconds:.1} s, fetched in {fetching_seconds:.1} s, placed in {placing_seconds:.1} s"
    ));
    output::say(format_args!(
        "{}",
        match bounded_by.as_str() {
            "nothing" => "nothing was fetched",
            "finding" => "finding the model took longest",
            "placing" => "putting the files into the directory took longest",
            "verification" => "hashing limited the speed: the processor was busy",
            "disk" => "writing limited the speed: the disk was busy",
            _ => "the peers' rate limited the speed",
        }
    ));
}

/// Returns the directory for the files: the named one, else one with the model's name; none if no directory is wanted.
fn destination(args: &Pull, reference: &Reference) -> Result<Option<PathBuf>, CliError> {
    if args.cache_only || args.to_hf_cache.is_some() {
        return Ok(None);
    }
    let dest = args.dest.clone().unwrap_or_else(|| PathBuf::from(reference.model.as_str()));
    let dest = std::path::absolute(&dest);
    dest.map(Some).map_err(|error| {
        CliError::new("invalid", format_args!("the path of the directory cannot be made absolute: {error}"))
    })
}

/// Returns the place in the cache of Hugging Face's clients, if `--to-hf-cache` is given.
///
/// The tag `latest` becomes the revision `main`, and a digest becomes a commit.
fn hub_cache(args: &Pull, reference: &Reference) -> Result<Option<HubCache>, CliError> {
    let Some(named) = &args.to_hf_cache else { return Ok(None) };
    let Reference { publisher, model, tag, digest } = reference;
    let dir = hugging_face::cache_dir().ok_or_else(|| {
        CliError::new("invalid", "no home directory is known").hint("set HF_HOME to a folder")
    })?;
    let own = || {
        format!("{publisher}/{model}").parse().map_err(|error| {
            CliError::from_error("invalid", &error as &RepositoryNameError)
                .hint("name the repository, as in --to-hf-cache=org/name")
        })
    };
    let repository = named.clone().map_or_else(own, Ok)?;
    let revision = match (tag, digest) {
        (Some(tag), _) if *tag != Tag::latest() => tag.to_string(),
        (None, Some(digest)) => commit(digest),
        _ => hugging_face::MAIN.to_owned(),
    };
    Ok(Some(HubCache { dir, repository, revision }))
}

fn report(global: &Global, pulled: &Pulled) -> Result<(), CliError> {
    if global.json {
        return output::json(pulled);
    }
    match &pulled.dest {
        Some(dest) => output::line(dest.display().to_string())?,
        None => output::line(pulled.manifest.to_string())?,
    }
    if global.quiet {
        return Ok(());
    }
    tell_found(pulled);
    if pulled.is_part {
        output::say(format_args!(
            "pulled a part of the model: run the command without a selection to pull the rest"
        ));
    }
    let Pulled { files, bytes, bytes_fetched, peers, web, seconds, publisher, manifest, .. } = pulled;
    output::say(format_args!("{}, {}, {manifest}", counted(*files, "file"), size(*bytes)));
    output::say(format_args!("signed by {publisher}"));
    if let Some(age) = &pulled.tag_age {
        output::say(format_args!("{age}"));
    }
    if pulled.bytes_reused > 0 {
        output::say(format_args!("{} reused from other models in the store", size(pulled.bytes_reused)));
    }
    if *bytes_fetched > 0 {
        let rate = *bytes_fetched as f64 / seconds.max(0.001);
        output::say(format_args!(
            "{} fetched in {seconds:.1} s, {}/s, from:",
            size(*bytes_fetched),
            size(rate as u64)
        ));
        for (peer, bytes) in peers {
            output::say(format_args!("  {peer}  {}", size(*bytes)));
        }
        for (seed, bytes) in web {
            output::say(format_args!("  {seed}  {}", size(*bytes)));
        }
    } else {
        output::say(format_args!("all bytes were in the store"));
    }
    Ok(())
}

/// Files that are named one by one; of more, their number is said.
const NAMED_MAX: usize = 10;

/// Says what was found in the directory and is not as the model has it.
fn tell_found(pulled: &Pulled) {
    let named = |what: &str, files: &[SafePath]| {
        for path in files.iter().take(NAMED_MAX) {
            output::say(format_args!("{what} {path}"));
        }
        if let Some(more) = files.len().checked_sub(NAMED_MAX).filter(|it| *it > 0) {
            output::say(format_args!("{what} {more} more files"));
        }
    };
    named("removed, as this version has it no more:", &pulled.removed);
    named("kept, although this version has it no more:", &pulled.left);
    named("kept as you have changed it:", &pulled.kept);
    if !pulled.kept.is_empty() {
        output::say(format_args!("hint: `reg pull` with --overwrite replaces what was changed"));
    }
}
