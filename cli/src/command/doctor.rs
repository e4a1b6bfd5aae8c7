//! `reg doctor`: examines a node, with a daemon and without one, and says what to do about what it finds.

use std::process::ExitCode;
use std::time::Duration;

use reg_api::doctor::{Diagnosis, Finding, Subject, Verdict};
use reg_api::fault::FaultKind;
use reg_node::daemon::{Beside, Home, HubAccount, Overrides, examine};
use serde_json::json;

use crate::args::Global;
use crate::client::{Client, home};
use crate::error::CliError;
use crate::hugging_face;
use crate::logging;
use crate::output;

/// How long a daemon may take to examine itself: it asks the DNS and a few servers side by side.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn run(global: &Global) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    logging::start(global, logging::OF_COMMAND)?;
    let diagnosis = diagnosis(global, &home).await?;
    if global.json {
        output::json(&diagnosis)?;
    } else {
        show(global, &diagnosis)?;
    }
    Ok(ExitCode::from(diagnosis.exit_code()))
}

/// Lets the daemon examine itself; where none runs or none answers, examines what it would need.
async fn diagnosis(global: &Global, home: &Home) -> Result<Diagnosis, CliError> {
    let overrides = Overrides {
        hub: HubAccount { endpoint: hugging_face::endpoint(), token: None },
        ..Overrides::default()
    };
    let Some(client) = Client::of_daemon(global).await? else {
        let stopped = Finding::warning(
            Subject::Daemon,
            "no daemon runs: peers fetch nothing from this node, and no gateway answers",
            "start one; a command that needs a node starts one of its own",
        );
        return Ok(examine(home, overrides, Beside::Nothing).await.with(stopped.try_with("reg daemon")));
    };
    let asked = tokio::time::timeout(PATIENCE, client.post::<Diagnosis>("/v1/doctor", &json!({}))).await;
    let why = match asked {
        Ok(Ok(diagnosis)) => return Ok(with_version(diagnosis)),
        Ok(Err(error)) => error.document().message.to_string(),
        Err(_) => format!("it gives no answer within {} s", PATIENCE.as_secs()),
    };
    let silent = Finding::fault(
        Subject::Daemon,
        FaultKind::RetryLater,
        format!("a daemon runs, and cannot be examined: {why}"),
        "stop it, and start it again with this version",
    );
    Ok(examine(home, overrides, Beside::Silent).await.with(silent.try_with("reg daemon")))
}

/// Adds what is to be said of the daemon itself.
fn with_version(diagnosis: Diagnosis) -> Diagnosis {
    let (own, of_daemon) = (env!("CARGO_PKG_VERSION"), diagnosis.version.clone());
    if own == of_daemon {
        return diagnosis.with(Finding::ok(Subject::Daemon, format!("it runs, and has version {of_daemon}")));
    }
    let what = format!("the daemon has version {of_daemon}, and this command {own}");
    let old = Finding::warning(Subject::Daemon, what, "stop it, and start it again with this version");
    diagnosis.with(old.try_with("reg daemon"))
}

fn show(global: &Global, diagnosis: &Diagnosis) -> Result<(), CliError> {
    let shown = diagnosis.findings.iter().filter(|it| !global.quiet || it.verdict != Verdict::Ok);
    let rows: Vec<Vec<String>> = shown.flat_map(rows).collect();
    output::table(&rows)?;
    if !global.quiet {
        let count = |verdict| diagnosis.findings.iter().filter(|it| it.verdict == verdict).count();
        let said = match (count(Verdict::Fault), count(Verdict::Warning)) {
            (0, 0) => "all is well".to_owned(),
            (faults, warnings) => format!("faults: {faults}, warnings: {warnings}"),
        };
        output::line(said)?;
    }
    Ok(())
}

/// Returns the lines of a finding: what was found, what to do about it, and a command to try.
fn rows(finding: &Finding) -> Vec<Vec<String>> {
    let verdict = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Fault => "FAULT",
    };
    let subject = finding.subject.name().replace('_', " ");
    let below = |text: String| vec![String::new(), String::new(), text];
    let remedy = finding.remedy.iter().map(|it| below(it.clone()));
    let command = finding.command.iter().map(|it| below(format!("try: {it}")));
    std::iter::once(vec![verdict.to_owned(), subject, finding.what.clone()])
        .chain(remedy)
        .chain(command)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_of_another_version_is_named() {
        let of =
            |version: &str| Diagnosis { version: version.to_owned(), ..Diagnosis::new(true, Vec::new()) };
        assert_eq!(with_version(of(env!("CARGO_PKG_VERSION"))).verdict, Verdict::Ok);
        let old = with_version(of("0.0.1"));
        assert!(old.verdict == Verdict::Warning && old.findings[0].what.contains("0.0.1"), "{old:?}");
    }

    #[test]
    fn a_finding_says_what_to_do_below_what_it_is() {
        let fault = Finding::fault(Subject::OpenFiles, FaultKind::Internal, "24 files", "raise it");
        let shown = rows(&fault.try_with("ulimit -Hn 65536"));
        assert_eq!(shown[0], ["FAULT", "open files", "24 files"]);
        assert_eq!((shown[1][2].as_str(), shown[2][2].as_str()), ("raise it", "try: ulimit -Hn 65536"));
    }
}
