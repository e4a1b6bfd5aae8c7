//! `reg page`: opens the page of the daemon in the browser, with a one-time code.

use std::ffi::OsStr;
use std::process::{Command, ExitCode, Stdio};

use reg_api::page::PageCode;
use reg_node::daemon::Gateway;
use serde_json::json;

use crate::args::{Global, Page};
use crate::client::{Client, home};
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, args: &Page) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    if !client.is_daemon() {
        client.close().await;
        return Err(CliError::new("unreachable", "no daemon runs, so there is no page")
            .hint("start one with `reg daemon`"));
    }
    let PageCode { code, seconds } = client.post("/v1/page/code", &json!({})).await?;
    client.close().await;
    let gateway = Gateway::of(&home(global)?).map_err(|error| {
        CliError::from_error("other", &error)
            .hint("the daemon may be of another version: stop it and start it again")
    })?;
    let url = format!("http://{}/#code={code}", gateway.address);
    let is_opened = !args.print && !global.json && opens(&url);
    if global.json {
        output::json(&json!({ "url": url, "seconds": seconds }))?;
    } else if !is_opened {
        output::line(&url)?;
        output::say(format_args!("open it within {seconds} s: it works once"));
    } else if !global.quiet {
        output::sentence(format!("opened http://{} in the browser", gateway.address))?;
    }
    Ok(output::ok())
}

/// Opens a URL in the browser of the desktop, if there is one.
fn opens(url: &str) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|it| !it.is_empty());
    let (program, before): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
        ("xdg-open", &[])
    } else {
        return false;
    };
    let args = before.iter().copied().chain([url]).map(OsStr::new);
    let mut opening = Command::new(program);
    opening.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The command waits neither for an opener, which ends at once, nor for the browser itself.
    opening.spawn().is_ok()
}
