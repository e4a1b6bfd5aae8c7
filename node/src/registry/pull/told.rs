//! [`Told`]: the lines of the log about a pull: one when it begins, and one when it ends, whatever ends it.

use std::time::Instant;

use reg_api::fault::chain;
use reg_api::report::Pulled;
use reg_proto::name::Reference;

use super::error::PullError;

/// A pull that the log tells of. Dropping it tells that its caller has gone.
#[derive(Debug)]
pub(super) struct Told {
    reference: Reference,
    start: Instant,
    has_ended: bool,
}

impl Told {
    /// Tells that a pull begins.
    pub(super) fn begin(reference: &Reference, start: Instant) -> Self {
        tracing::info!(%reference, "a pull begins");
        Self { reference: reference.clone(), start, has_ended: false }
    }

    /// Tells how it has ended.
    pub(super) fn end(mut self, result: &Result<Pulled, PullError>) {
        self.has_ended = true;
        let (reference, seconds) = (&self.reference, self.start.elapsed().as_secs());
        match result {
            Ok(pulled) => tracing::info!(
                %reference,
                manifest = %pulled.manifest,
                bytes = pulled.bytes,
                fetched = pulled.bytes_fetched,
                local = pulled.bytes_local,
                peers = pulled.peers.len(),
                web_seeds = pulled.web.len(),
                seconds,
                "a pull has ended"
            ),
            Err(error) => tracing::info!(%reference, error = chain(error), seconds, "a pull has failed"),
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.has_ended {
            let seconds = self.start.elapsed().as_secs();
            tracing::info!(reference = %self.reference, seconds, "a pull is given up before its end");
        }
    }
}
