//! `reg share`: prints a ticket of a model, or of this node.

use std::process::ExitCode;

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use reg_api::report::Shared;
use reg_api::settings::Settings;
use reg_proto::name::Reference;
use serde_json::json;

use crate::args::{Global, Share};
use crate::client::Client;
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, args: Share) -> Result<ExitCode, CliError> {
    let what = args.what.map(|it| it.model(global)).transpose()?;
    let client = Client::open(global, None).await?;
    let shared = ticket(&client, what.as_ref().map(|it| &it.reference), args.lan).await;
    // A daemon of an earlier version does not report its swarm.
    let settings: Result<Settings, CliError> = client.post("/v1/settings", &json!({})).await;
    client.close().await;
    let mut shared = shared?;
    if settings.is_ok_and(|it| it.swarm.is_some()) {
        shared.notes.push(
            "this node is in a private swarm: the receiver needs its key too, which no ticket has".into(),
        );
    }
    if global.json {
        output::json(&shared)?;
        return Ok(output::ok());
    }
    output::line(&shared.ticket)?;
    if args.qr {
        output::write(&picture(&shared.ticket)?)?;
    }
    if !global.quiet {
        let command = if shared.reference.is_some() { "pull" } else { "peers add" };
        output::say(format_args!("the receiver types: reg {command} TICKET"));
        shared.notes.iter().for_each(|note| output::say(format_args!("note: {note}")));
    }
    Ok(output::ok())
}

/// Has the node make a ticket.
pub async fn ticket(client: &Client, reference: Option<&Reference>, lan: bool) -> Result<Shared, CliError> {
    let mut query: Vec<(&str, String)> =
        reference.map(|it| ("reference", it.to_string())).into_iter().collect();
    query.push(("lan", lan.to_string()));
    client.get("/v1/share", &query).await
}

/// Returns the QR code of a ticket, as text for a terminal with a dark background.
fn picture(ticket: &str) -> Result<String, CliError> {
    // In upper case, a code needs eleven bits for two characters.
    let code =
        QrCode::with_error_correction_level(ticket.to_ascii_uppercase(), EcLevel::L).map_err(|error| {
            CliError::new("other", format_args!("the ticket cannot be shown as a QR code: {error}"))
        })?;
    // A drawn character is light on a dark background, so only the light modules are drawn.
    let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Ok(drawn + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the modules back from the text: an upper and a lower one in each character.
    #[test]
    fn the_picture_has_every_module_of_the_code_and_a_quiet_zone() {
        let ticket = format!("reg:{}", "qpzry9x8".repeat(30));
        let code = QrCode::with_error_correction_level(ticket.to_uppercase(), EcLevel::L).unwrap();
        let drawn = picture(&ticket).unwrap();
        let mut rows: Vec<Vec<bool>> = Vec::new();
        for line in drawn.lines() {
            rows.push(line.chars().map(|it| !"█▀".contains(it)).collect());
            rows.push(line.chars().map(|it| !"█▄".contains(it)).collect());
        }
        let (width, quiet) = (code.width(), 4);
        assert_eq!(rows[0].len(), width + 2 * quiet);
        for (y, row) in rows.iter().take(width + 2 * quiet).enumerate() {
            for (x, is_dark) in row.iter().enumerate() {
                let inside = (quiet..quiet + width).contains(&x) && (quiet..quiet + width).contains(&y);
                let expected = inside && code[(x - quiet, y - quiet)] == qrcode::Color::Dark;
                assert_eq!(*is_dark, expected, "{x} {y}");
            }
        }
        let small = QrCode::with_error_correction_level(&ticket, EcLevel::L).unwrap();
        assert!(code.width() < small.width(), "upper case makes it smaller");
    }
}
