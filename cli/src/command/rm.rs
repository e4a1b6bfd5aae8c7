//! `reg rm`: removes a model, and the blobs that only it uses.

use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::report::{BroughtBackBy, Collected, Unfreed};
use reg_node::gateway::admin::Named as Request;

use crate::args::{Global, Named};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

pub async fn run(global: &Global, args: Named) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let reference = args.reference.clone();
    let removed: Collected = client.post("/v1/remove", &Request { reference: args.reference }).await?;
    client.close().await;
    if global.json {
        output::json(&removed)?;
    } else if removed.models.is_empty() {
        output::sentence(format!("removed {reference}; other tags still point to the same model"))?;
    } else if !global.quiet {
        let freed = match removed.bytes {
            0 => "nothing is freed".to_owned(),
            bytes => format!("{} in {}", size(bytes), counted(removed.blobs, "blob")),
        };
        output::sentence(format!("removed {reference}, {freed}"))?;
        if let Some(unfreed) = &removed.unfreed {
            explain(unfreed);
        }
    }
    Ok(output::ok())
}

/// Bytes from which on blobs of other models get a line. All versions of a model share some small documents.
const SAID_FROM: u64 = 1 << 20;

/// Says why no more was freed, and what may bring the model back.
fn explain(unfreed: &Unfreed) {
    if unfreed.shared_bytes >= SAID_FROM {
        let with = unfreed.shared_with.join(", ");
        output::say(format_args!(
            "{} stay, because other models need them: {with}",
            size(unfreed.shared_bytes)
        ));
    }
    if unfreed.linked_bytes > 0 {
        let dirs: Vec<String> = unfreed.linked_in.iter().map(|it| it.display().to_string()).collect();
        output::say(format_args!(
            "{} stay on the disk, because links in {} keep them: remove what you need no more there",
            size(unfreed.linked_bytes),
            dirs.join(", ")
        ));
    }
    match unfreed.returns {
        Some(BroughtBackBy::Follow) => output::say(
            "note: it was kept by a follow, which may pull it again: `reg follow ls` shows it, `reg follow rm` ends it",
        ),
        Some(BroughtBackBy::Donation) => output::say(
            "note: it was kept for others, and a donation may take it again: `reg donate off` ends that",
        ),
        Some(BroughtBackBy::Swarm) => {
            output::say(
                "note: it was a copy of the private swarm, which may be made again: see `reg swarm status`",
            );
        }
        None => {}
    }
}
