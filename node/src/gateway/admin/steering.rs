//! [`Steering`]: what the local API asks of the daemon itself: its settings, and to read its configuration again.

use std::fmt;
use std::sync::Arc;

use reg_api::settings::{ConfigReport, Reloaded, Settings};

use super::error::ErrorDocument;

type TellSettings = dyn Fn() -> Settings + Send + Sync;
type TellReport = dyn Fn() -> ConfigReport + Send + Sync;
type Reload = dyn Fn() -> Result<Reloaded, ErrorDocument> + Send + Sync;

/// Asks the daemon for what only it knows. Cheap to clone.
#[derive(Clone)]
pub struct Steering {
    settings: Arc<TellSettings>,
    report: Arc<TellReport>,
    reload: Arc<Reload>,
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steering").finish_non_exhaustive()
    }
}

impl Steering {
    /// Returns one that asks with these functions. `report` and `reload` may read files.
    pub fn new(
        settings: impl Fn() -> Settings + Send + Sync + 'static,
        report: impl Fn() -> ConfigReport + Send + Sync + 'static,
        reload: impl Fn() -> Result<Reloaded, ErrorDocument> + Send + Sync + 'static,
    ) -> Self {
        Self { settings: Arc::new(settings), report: Arc::new(report), reload: Arc::new(reload) }
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
