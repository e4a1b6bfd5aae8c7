//! [`Steering`]: what the local API asks of the daemon itself: its settings, to read its configuration again, to examine itself, and
//! whether it is ready.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use reg_api::doctor::Diagnosis;
use reg_api::page::LogLine;
use reg_api::settings::{ConfigReport, Reloaded, Settings};

use super::error::ErrorDocument;

type TellSettings = dyn Fn() -> Settings + Send + Sync;
type TellReport = dyn Fn() -> ConfigReport + Send + Sync;
type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Examine = dyn Fn() -> Later<Diagnosis> + Send + Sync;
type Lines = dyn Fn(u64) -> Vec<LogLine> + Send + Sync;
type Unready = dyn Fn() -> Later<Option<String>> + Send + Sync;
type Reload = dyn Fn() -> Result<Reloaded, ErrorDocument> + Send + Sync;

/// Asks the daemon for what only it knows. Cheap to clone.
#[derive(Clone)]
pub struct Steering {
    settings: Arc<TellSettings>,
    report: Arc<TellReport>,
    reload: Arc<Reload>,
    examine: Arc<Examine>,
    unready: Arc<Unready>,
    lines: Arc<Lines>,
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steering").finish_non_exhaustive()
    }
}

impl Steering {
    /// Returns one that asks with these functions. `report` and `reload` may read files.
    pub fn new<F, G>(
        settings: impl Fn() -> Settings + Send + Sync + 'static,
        report: impl Fn() -> ConfigReport + Send + Sync + 'static,
        reload: impl Fn() -> Result<Reloaded, ErrorDocument> + Send + Sync + 'static,
        examine: impl Fn() -> F + Send + Sync + 'static,
        unready: impl Fn() -> G + Send + Sync + 'static,
        lines: impl Fn(u64) -> Vec<LogLine> + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Diagnosis> + Send + 'static,
        G: Future<Output = Option<String>> + Send + 'static,
    {
        Self {
            settings: Arc::new(settings),
            report: Arc::new(report),
            reload: Arc::new(reload),
            examine: Arc::new(move || Box::pin(examine())),
            unready: Arc::new(move || Box::pin(unready())),
            lines: Arc::new(lines),
        }
    }

    /// Returns the last lines of the log after the one with this number.
    pub(super) fn lines(&self, after: u64) -> Vec<LogLine> {
        (self.lines)(after)
    }

    /// Returns why the node cannot do its work yet; `None` where it can.
    pub(super) async fn unready(&self) -> Option<String> {
        (self.unready)().await
    }

    /// Examines the node.
    pub(super) async fn examine(&self) -> Diagnosis {
        (self.examine)().await
    }

    /// Returns the settings in effect.
    pub(super) fn settings(&self) -> Settings {
        (self.settings)()
    }

    /// Returns the configuration in effect.
    pub(super) fn report(&self) -> ConfigReport {
        (self.report)()
    }

    /// Reads the configuration again, and takes what can be taken.
    pub(super) fn reload(&self) -> Result<Reloaded, ErrorDocument> {
        (self.reload)()
    }
}
