//! [`Opening`]: opens the catalogue when it is first needed, and again some time after it has failed.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use reg_catalogue::{OpenError, ReadError};
use thiserror::Error;

use super::opened::Opened;

/// How long the catalogue stays closed after it has failed. The disk may have room again by then, and opening reads every entry.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Why the catalogue is closed.
#[derive(Debug, Error)]
pub enum CatalogueFailure {
    #[error("it could not be opened")]
    Open(#[from] OpenError),
    #[error("it could not be read, and is made anew where it is damaged")]
    Read(#[source] ReadError),
}

/// The catalogue, or why there is none.
#[derive(Debug, Default)]
pub(super) struct Opening(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    opened: Option<Arc<Opened>>,
    failed: Option<(Instant, Arc<CatalogueFailure>)>,
}

impl Opening {
    /// Returns the catalogue if it is open.
    pub(super) fn opened(&self) -> Option<Arc<Opened>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).opened.clone()
    }

    /// Returns why the catalogue is closed, after it has failed.
    pub(super) fn failure(&self) -> Option<Arc<CatalogueFailure>> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.failed.as_ref().filter(|_| state.opened.is_none()).map(|(_, why)| why.clone())
    }

    /// Returns the catalogue. Opens it with `open` where it is not open and has not failed shortly before `now`. Blocks.
    pub(super) fn get(
        &self,
        now: Instant,
        open: impl FnOnce() -> Result<Opened, OpenError>,
    ) -> Result<Arc<Opened>, Arc<CatalogueFailure>> {
        if let Some(opened) = self.opened() {
            return Ok(opened);
        }
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match (&state.opened, &state.failed) {
            (Some(opened), _) => return Ok(opened.clone()),
            (None, Some((at, why))) if now.saturating_duration_since(*at) < AGAIN_AFTER => {
                return Err(why.clone());
            }
            (None, _) => {}
        }
        match open() {
            Ok(opened) => {
                let opened = Arc::new(opened);
                *state = State { opened: Some(opened.clone()), failed: None };
                Ok(opened)
            }
            Err(error) => {
                if state.failed.is_none() {
                    tracing::warn!(%error, "the catalogue cannot be opened: nothing is listed or found until it can");
                }
                let why = Arc::new(CatalogueFailure::Open(error));
                state.failed = Some((now, why.clone()));
                Err(why)
            }
        }
    }

    /// Closes a catalogue that could not be read. It is opened again later, and what is damaged is made anew then. Returns
    /// why it was closed.
    pub(super) fn close(
        &self,
        unreadable: &Arc<Opened>,
        error: ReadError,
        now: Instant,
    ) -> Arc<CatalogueFailure> {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_open = state.opened.as_ref().is_some_and(|it| Arc::ptr_eq(it, unreadable));
        if is_open {
            tracing::warn!(%error, "the catalogue cannot be read: it is opened again soon");
        }
        let why = Arc::new(CatalogueFailure::Read(error));
        if is_open {
            *state = State { opened: None, failed: Some((now, why.clone())) };
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalogue_that_failed_is_opened_again_and_not_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (opening, start) = (Opening::default(), Instant::now());
        let open = || Opened::open(&dir.path().join("catalogue"), |_, _| true);
        let fails = || Err(OpenError::InUse { path: "x".into() });
        assert!(opening.get(start, fails).is_err() && opening.failure().is_some());
        let soon = start + AGAIN_AFTER / 2;
        assert!(opening.get(soon, || panic!("opened too soon")).is_err());
        let opened = opening.get(start + AGAIN_AFTER, open).unwrap();
        assert!(opening.failure().is_none());
        assert!(Arc::ptr_eq(&opened, &opening.get(start, || panic!("it is open")).unwrap()));

        let now = start + 2 * AGAIN_AFTER;
        opening.close(&opened, ReadError::Damaged, now);
        assert!(opening.get(now, || panic!("opened too soon")).is_err());
        // Only when its last user has let go of it can it be opened.
        assert!(opening.get(now + AGAIN_AFTER, open).is_err());
        let stale = opened.clone();
        drop((opened, stale));
        let again = opening.get(now + 2 * AGAIN_AFTER, open).unwrap();
        let other = Arc::new(Opened::open(&dir.path().join("other"), |_, _| true).unwrap());
        opening.close(&other, ReadError::Damaged, now);
        assert!(Arc::ptr_eq(&again, &opening.opened().unwrap()), "another one has failed");
    }
}
