//! The documents of a donor in the store: what the user donates, and what is known of models. Strict, versioned JSON.
//!
//! The second one may be lost: which models are donations, the store says itself.

use std::collections::BTreeMap;

use reg_api::clock;
use reg_api::donate::DonateSettings;
use reg_commons::Moment;
use reg_proto::digest::Digest;
use reg_proto::json;
use reg_proto::name::{ModelName, PublisherId};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::known::{Known, Part, State};
use crate::store::{DocumentKind, Store, WriteError};

/// The key of what the user donates. Keys of models have a space.
const SETTINGS: &str = "settings";
/// The key of what is known of models.
const STATE: &str = "state";
/// The version of both documents.
const VERSION: u32 = 1;
/// Bytes of a document: as many models as are known take some 700 bytes each.
const BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSettings {
    version: u32,
    settings: DonateSettings,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenState {
    version: u32,
    /// How many times as fast the clock of audits runs, which the moments in it were read from.
    pace: u32,
    decided: Option<Moment>,
    decided_at: Option<u64>,
    models: BTreeMap<Digest, Known>,
}

/// Reads what was written. What cannot be read is told in the log, and begins anew. Blocks.
pub(super) fn read(store: &Store, pace: u32) -> State {
    let mut state = State::default();
    if let Some(WrittenState { decided, decided_at, models, .. }) =
        document(store, STATE, |it: &WrittenState| it.version == VERSION && it.pace == pace)
    {
        (state.decided, state.decided_at, state.models) = (decided, decided_at, models);
    }
    let settings: Option<WrittenSettings> =
        document(store, SETTINGS, |it: &WrittenSettings| it.version == VERSION);
    state.settings = settings.map(|it| it.settings);
    state
}

fn document<T: for<'de> Deserialize<'de>>(
    store: &Store,
    key: &str,
    is_usable: impl Fn(&T) -> bool,
) -> Option<T> {
    match store.get_document(DocumentKind::Donation, key) {
        Ok(bytes) => match json::from_slice::<T>(&bytes?, BYTES_MAX) {
            Ok(read) => Some(read).filter(is_usable),
            Err(error) => {
                warn!(key, %error, "a document of `reg donate` cannot be read: it begins anew");
                None
            }
        },
        Err(error) => {
            warn!(key, %error, "a document of `reg donate` cannot be read");
            None
        }
    }
}

/// Writes what the user donates. Blocks.
pub(super) fn write_settings(store: &Store, settings: Option<&DonateSettings>) -> Result<(), WriteError> {
    match settings.cloned() {
        Some(settings) => {
            let written = WrittenSettings { version: VERSION, settings };
            store.put_document(DocumentKind::Donation, SETTINGS, &json::to_vec(&written))
        }
        None => store.remove_document(DocumentKind::Donation, SETTINGS),
    }
}

/// Writes what is known of models. Blocks.
pub(super) fn write_state(store: &Store, state: &State, pace: u32) -> Result<(), WriteError> {
    let State { models, decided, decided_at, .. } = state;
    let (version, models) = (VERSION, models.clone());
    let written = WrittenState { version, pace, decided: *decided, decided_at: *decided_at, models };
    store.put_document(DocumentKind::Donation, STATE, &json::to_vec(&written))
}

/// Makes what is known agree with the donations in the store: after a kill, or where the state was lost. Returns the donations that
/// are no longer there.
pub(super) fn reconcile(state: &mut State, donated: &BTreeMap<String, u32>, now: Moment) -> Vec<Digest> {
    for key in donated.keys() {
        let Some((manifest, publisher, model)) = parsed(key) else { continue };
        let new = Known::new(publisher, model, None, 0, Part::Donation);
        let known = state.models.entry(manifest).or_insert(new);
        if known.part != Part::Donation || known.held_since.is_none() {
            known.part = Part::Donation;
            (known.held_since, known.kept_since) = (Some(now), clock::now());
        }
    }
    let is_gone = |(manifest, it): &(&Digest, &Known)| !donated.contains_key(&it.key(manifest));
    state.of(Part::Donation).filter(is_gone).map(|(manifest, _)| *manifest).collect()
}

fn parsed(key: &str) -> Option<(Digest, PublisherId, ModelName)> {
    let (manifest, name) = key.split_once(' ')?;
    let (publisher, model) = name.split_once('/')?;
    Some((manifest.parse().ok()?, publisher.parse().ok()?, model.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CacheLimits;

    fn settings() -> DonateSettings {
        DonateSettings {
            size: 1 << 30,
            scope: "*".parse().unwrap(),
            limit: Some(2 << 20),
            since: 1_800_000_000,
        }
    }

    #[test]
    fn what_is_written_is_read_and_other_paces_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), CacheLimits::default()).unwrap();
        assert!(read(&store, 1).settings.is_none());
        write_settings(&store, Some(&settings())).unwrap();
        let manifest = Digest::of(b"manifest");
        let (publisher, model) = (PublisherId::from_bytes([1; 32]), "tiny".parse().unwrap());
        let mut known = Known::new(publisher, model, Some("v1".parse().unwrap()), 7, Part::Donation);
        known.held_since = Some(Moment::from_seconds(5));
        let state = State { models: [(manifest, known)].into(), ..State::default() };
        write_state(&store, &state, 60).unwrap();
        let again = read(&store, 60);
        assert_eq!((again.settings, again.models.len()), (Some(settings()), 1));
        assert_eq!(again.models[&manifest].held_since, Some(Moment::from_seconds(5)));
        let other = read(&store, 1);
        assert!(other.models.is_empty() && other.settings.is_some());
        write_settings(&store, None).unwrap();
        assert!(read(&store, 60).settings.is_none());
        store.put_document(DocumentKind::Donation, STATE, b"rubbish").unwrap();
        assert!(read(&store, 60).models.is_empty());
        assert!(store.donated().unwrap().is_empty(), "these documents are no models");
    }

    #[test]
    fn the_store_says_which_models_are_donations() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let (publisher, model): (_, ModelName) = (PublisherId::from_bytes([1; 32]), "tiny".parse().unwrap());
        let known = Known::new(publisher, model.clone(), None, 7, Part::Donation);
        let mut state = State { models: [(one, known.clone())].into(), ..State::default() };
        let donated = BTreeMap::from([(known.key(&two), 3)]);
        let now = Moment::from_seconds(9);
        assert_eq!(reconcile(&mut state, &donated, now), [one]);
        assert_eq!((state.models[&two].held_since, &state.models[&two].model), (Some(now), &model));
    }
}
