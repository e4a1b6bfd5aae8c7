//! [`Diagnosis`]: what an examination of a node has found, each finding with what to do about it.

use serde::{Deserialize, Serialize};

use crate::fault::FaultKind;

/// How well something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is to be done.
    Ok,
    /// The node works, and something about it is likely not meant.
    Warning,
    /// Something does not work.
    Fault,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Daemon,
    Configuration,
    /// The folders of the node's files.
    Folder,
    /// Keys and tokens, and which users may read them.
    Secrets,
    Store,
    Disk,
    FileSystem,
    OpenFiles,
    Memory,
    Clock,
    Dns,
    Ports,
    Gateways,
    /// Web seeds, and the endpoint behind the gateways.
    Servers,
    /// Whether nodes outside can connect to this one.
    Reachability,
    Peers,
    Swarm,
}

impl Subject {
    /// Returns the name by which people and programs know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Configuration => "configuration",
            Self::Folder => "folder",
            Self::Secrets => "secrets",
            Self::Store => "store",
            Self::Disk => "disk",
            Self::FileSystem => "file_system",
            Self::OpenFiles => "open_files",
            Self::Memory => "memory",
            Self::Clock => "clock",
            Self::Dns => "dns",
            Self::Ports => "ports",
            Self::Gateways => "gateways",
            Self::Servers => "servers",
            Self::Reachability => "reachability",
            Self::Peers => "peers",
            Self::Swarm => "swarm",
        }
    }
}

/// One thing that was examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub subject: Subject,
    pub verdict: Verdict,
    /// What was found, in a sentence.
    pub what: String,
    /// What to do about it; `None` where nothing is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// A command to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The kind of a fault, as in an error document; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

impl Finding {
    /// Returns a finding that is as it is to be.
    pub fn ok(subject: Subject, what: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Ok, what: what.into(), remedy: None, command: None, kind: None }
    }

    /// Returns a finding that is likely not meant.
    pub fn warning(subject: Subject, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, remedy: Some(remedy.into()), ..Self::ok(subject, what) }
    }

    /// Returns a finding of something that does not work.
    pub fn fault(
        subject: Subject,
        kind: FaultKind,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let kind = Some(kind.name().to_owned());
        Self { verdict: Verdict::Fault, kind, ..Self::warning(subject, what, remedy) }
    }

    /// Adds a command to try.
    #[must_use]
    pub fn try_with(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }
}

/// All that an examination has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The version of the program that has examined.
    pub version: String,
    /// Whether a daemon runs.
    pub daemon: bool,
    /// The worst verdict of all findings.
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Returns the diagnosis of these findings.
    pub fn new(daemon: bool, findings: Vec<Finding>) -> Self {
        let verdict = findings.iter().map(|it| it.verdict).max().unwrap_or(Verdict::Ok);
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), daemon, verdict, findings }
    }

    /// Adds a finding before the others.
    #[must_use]
    pub fn with(self, finding: Finding) -> Self {
        let version = self.version;
        let findings = std::iter::once(finding).chain(self.findings).collect();
        Self { version, ..Self::new(self.daemon, findings) }
    }

    /// Returns the exit code of a command that shows it: 0 without a fault, else that of the first fault's kind.
    pub fn exit_code(&self) -> u8 {
        let fault = self.findings.iter().find(|it| it.verdict == Verdict::Fault);
        let kind = fault.map(|it| it.kind.as_deref().and_then(FaultKind::named));
        kind.map_or(0, |kind| kind.unwrap_or(FaultKind::Internal).exit_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_is_the_verdict_and_the_first_fault_the_exit_code() {
        let warning = Finding::warning(Subject::Dns, "slow", "wait");
        let fault = |kind| Finding::fault(Subject::Disk, kind, "full", "free some").try_with("reg gc");
        assert_eq!(Diagnosis::new(false, Vec::new()).verdict, Verdict::Ok);
        let warned = Diagnosis::new(true, vec![Finding::ok(Subject::Clock, "right"), warning]);
        assert_eq!((warned.verdict, warned.exit_code()), (Verdict::Warning, 0));
        let failed = warned.with(fault(FaultKind::Denied)).with(fault(FaultKind::DiskFull));
        assert_eq!((failed.verdict, failed.exit_code()), (Verdict::Fault, 7));
        let text = serde_json::to_string(&failed).expect("JSON");
        assert_eq!(serde_json::from_str::<Diagnosis>(&text).expect("the same"), failed);
        assert!(text.contains(r#""subject":"disk","verdict":"fault""#), "{text}");
    }
}
