//! Drains this node: the user's wish is a document, so that it survives a restart.

use std::sync::Arc;

use reg_api::clock;
use reg_api::swarm::DrainReport;
use reg_proto::json;
use serde::{Deserialize, Serialize};

use super::{SpreadError, Spreading};
use crate::registry::limits::DRAIN_BYTES_MAX;
use crate::store::DocumentKind;

/// The key of the only document.
const KEY: &str = "drain";
/// The version that is written.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    version: u32,
    since: u64,
}

impl Spreading {
    /// Drains this node, or ends that. When this returns, it survives a power cut.
    ///
    /// # Errors
    /// This node keeps no copies, or the disk refuses.
    pub async fn drain(self: &Arc<Self>, is_cancelled: bool) -> Result<DrainReport, SpreadError> {
        self.require()?;
        self.on_blocking_thread(move |spreading| {
            let store = &spreading.puller.store;
            if is_cancelled {
                store.remove_document(DocumentKind::Drain, KEY)?;
            } else if spreading.drained_since()?.is_none() {
                let drain = Drain { version: VERSION, since: clock::now() };
                store.put_document(DocumentKind::Drain, KEY, &json::to_vec(&drain))?;
            }
            Ok(())
        })
        .await?;
        self.changed.notify_one();
        self.drain_report().await
    }

    /// Returns since when this node is drained. A document that cannot be parsed is a wish too.
    pub(super) fn drained_since(&self) -> Result<Option<u64>, SpreadError> {
        let document = self.puller.store.get_document(DocumentKind::Drain, KEY)?;
        let since =
            |bytes: Vec<u8>| json::from_slice::<Drain>(&bytes, DRAIN_BYTES_MAX).map_or(0, |it| it.since);
        Ok(document.map(since))
    }
}
