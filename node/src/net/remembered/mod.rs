//! [`Remembered`]: the peers that a node remembers from one start to the next, in a file of their own.
//!
//! The event loop records which peers it has reached, and dials the best of them at the start (`redialler`).
//! Rules without I/O decide which peers are kept, and for how long (`known_peers`, `rank`, `dial_schedule`).
//! The file is written whole, and rarely, so a node that is killed loses the last changes. A file that cannot
//! be read never stops a node.

mod dial_schedule;
mod known_peers;
mod naming;
mod rank;
mod redialler;
mod written;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use reg_api::clock;
use reg_api::report::KnownPeer;
use reg_keys::durable;
use reg_proto::peer::{Address, PeerId};
use tokio::sync::Mutex as AsyncMutex;

use self::known_peers::{KnownPeers, NoRoom};
use self::written::WrittenError;
use super::limits::{REMEMBER_FIRST, REMEMBER_LATER, REMEMBERED_FILE_BYTES_MAX};

pub use self::naming::{NamePeerError, NamedPeer};
pub(super) use self::redialler::Redialler;

/// The remembered peers of a node. Cheap to clone: the event loop and the handle of the network share them.
#[derive(Debug, Clone)]
pub struct Remembered(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` where nothing is remembered.
    path: Option<PathBuf>,
    state: Mutex<State>,
    /// Held while the file is written.
    writing: AsyncMutex<()>,
    /// Whether a remembered peer may still turn up after the start.
    is_pending: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    known: KnownPeers,
    /// Since when there is news that is not written.
    news: Option<Instant>,
    /// When the file was last written, or was to be.
    saved: Option<Instant>,
    /// Whether the last write has failed. Each failure is told once.
    has_failed: bool,
}

impl Remembered {
    /// Returns a memory that remembers nothing.
    pub fn nothing() -> Self {
        Self::new(None, KnownPeers::default())
    }

    /// Reads the file at `path`. One that is damaged is set aside, and one that cannot be read is left alone: both are told in
    /// the log, and the node starts without remembered peers. Blocks.
    pub fn open(path: &Path) -> Self {
        let read = match read(path) {
            Ok(bytes) => bytes.map(|bytes| written::read(&bytes, clock::now())),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the file of remembered peers cannot be read: none is remembered");
                return Self::nothing();
            }
        };
        match read {
            None => Self::new(Some(path), KnownPeers::default()),
            Some(Ok(known)) => Self::new(Some(path), known),
            Some(Err(error @ WrittenError::Later { .. })) => {
                tracing::error!(path = %path.display(), "the file of remembered peers is left alone, because {error}");
                Self::nothing()
            }
            Some(Err(WrittenError::Damaged(error))) => {
                let aside = path.with_extension("json.damaged");
                let moved = fs::rename(path, &aside);
                tracing::error!(
                    path = %path.display(), %error, ?moved,
                    "the file of remembered peers is damaged: it is set aside as {}, and peers are remembered anew",
                    aside.display()
                );
                Self::new(Some(path), KnownPeers::default())
            }
        }
    }

    fn new(path: Option<&Path>, known: KnownPeers) -> Self {
        let is_pending = AtomicBool::new(!known.best().is_empty());
        let state = Mutex::new(State { known, ..State::default() });
        let path = path.map(Path::to_owned);
        Self(Arc::new(Shared { path, state, writing: AsyncMutex::default(), is_pending }))
    }

    /// Tells whether anything is remembered.
    fn is_on(&self) -> bool {
        self.0.path.is_some()
    }

    /// Returns how many peers are remembered, and how many addresses the user has added.
    pub fn count(&self) -> (usize, usize) {
        let state = self.state();
        (state.known.peers().len(), state.known.named().len())
    }

    /// Lists what is remembered: the addresses of the user's, then the peers in the order in which they are dialled.
    pub fn list(&self) -> Vec<KnownPeer> {
        let state = self.state();
        let named = state.known.named().iter().map(|address| KnownPeer {
            peer: address.parts().1,
            addresses: vec![address.clone()],
            added: true,
            claimed: false,
            success: None,
            used: None,
            failures: 0,
        });
        let best = state.known.best();
        let met = best.iter().filter_map(|peer| state.known.peers().get_key_value(peer));
        let met = met.map(|(peer, met)| KnownPeer {
            peer: Some(*peer),
            addresses: met.addresses.clone(),
            added: false,
            claimed: met.is_claimed,
            success: Some(met.success).filter(|_| !met.is_claimed),
            used: met.used,
            failures: met.failures,
        });
        named.chain(met).collect()
    }

    /// Returns the addresses that the user has added.
    pub(super) fn named(&self) -> Vec<Address> {
        self.state().known.named().to_vec()
    }

    /// Tells whether a remembered peer may still turn up after the start.
    pub(super) fn are_pending(&self) -> bool {
        self.0.is_pending.load(Ordering::Relaxed)
    }

    /// Records that a peer was of use. Returns whether the peer is remembered already.
    fn was_of_use(&self, peer: PeerId) -> bool {
        let is_known = self.state().known.peers().contains_key(&peer);
        if is_known {
            self.change(|known, now| known.was_of_use(peer, &[], now));
        }
        is_known
    }

    /// Forgets a peer that has cost this node too much, or has sent what was wrong. An address that the user has added stays.
    pub fn distrust(&self, peer: &PeerId) {
        self.change(|known, _| known.drop_met(peer));
    }

    /// Adds an address of the user's. It is written with the next [`Self::save`].
    fn name(&self, address: Address) -> Result<bool, NoRoom> {
        let mut named = Ok(false);
        self.change(|known, _| {
            named = known.name(address);
            named == Ok(true)
        });
        named
    }

    /// Takes back what [`Self::name`] has added, and nothing else.
    fn unname(&self, address: &Address) {
        self.change(|known, _| known.unname(address));
    }

    /// Forgets a peer or an address. Returns which peers had it, and which of the user's addresses are gone.
    fn forget(&self, what: &Forget) -> (Vec<PeerId>, Vec<Address>) {
        let mut gone = (Vec::new(), Vec::new());
        self.change(|known, _| {
            gone = match what {
                Forget::Peer(peer) => {
                    let (is_known, unnamed) = known.forget_peer(peer);
                    (Vec::from_iter(is_known.then_some(*peer)), unnamed)
                }
                Forget::Address(address) => known.forget_address(address),
            };
            !gone.0.is_empty() || !gone.1.is_empty()
        });
        gone
    }

    /// Changes the known peers at the present time. `act` returns whether there is news to write.
    fn change(&self, act: impl FnOnce(&mut KnownPeers, u64) -> bool) {
        if self.is_on() {
            let mut state = self.state();
            if act(&mut state.known, clock::now()) {
                state.news.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Writes the file in the background, where there is news that has waited for long enough.
    fn save_if_due(&self, now: Instant) {
        let is_due = {
            let mut state = self.state();
            let waited = |since: Instant, wait| now.saturating_duration_since(since) >= wait;
            let is_due = state.news.is_some_and(|since| waited(since, REMEMBER_FIRST))
                && state.saved.is_none_or(|saved| waited(saved, REMEMBER_LATER));
            if is_due {
                state.saved = Some(now);
            }
            is_due
        };
        if is_due {
            let remembered = self.clone();
            tokio::spawn(async move { drop(remembered.save().await) });
        }
    }

    /// Writes the file, if there is news. When this returns, what was remembered before survives a power cut.
    ///
    /// # Errors
    /// An error of the file system. It is told in the log too, and the news is written the next time.
    pub async fn save(&self) -> io::Result<()> {
        // A task of its own: a caller that leaves does not let a second write begin beside this one.
        let writing = tokio::spawn(self.clone().write());
        writing.await.unwrap_or_else(|error| Err(error.into()))
    }

    async fn write(self) -> io::Result<()> {
        let Some(path) = self.0.path.clone() else { return Ok(()) };
        let _turn = self.0.writing.lock().await;
        let bytes = {
            let mut state = self.state();
            if state.news.take().is_none() {
                return Ok(());
            }
            written::to_bytes(&state.known)
        };
        let write = move || durable::replace(&path, &bytes);
        let written = tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(error.into()));
        let mut state = self.state();
        if let Err(error) = &written {
            state.news.get_or_insert_with(Instant::now);
            if !std::mem::replace(&mut state.has_failed, true) {
                tracing::warn!(%error, "the remembered peers cannot be written: they are forgotten when this node ends");
            }
        } else {
            state.has_failed = false;
        }
        written
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the user wants to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forget {
    Peer(PeerId),
    /// With or without the peer's id.
    Address(Address),
}

/// Reads a file of at most [`REMEMBERED_FILE_BYTES_MAX`] bytes, and of a longer one a little more; `None` where there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, REMEMBERED_FILE_BYTES_MAX as u64 + 1), &mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(byte: u8) -> PeerId {
        PeerId::from_public_key([byte; 32])
    }

    #[tokio::test]
    async fn what_was_remembered_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.json");
        let first = Remembered::open(&path);
        assert!(!first.are_pending());
        first.save().await.unwrap();
        assert!(!path.exists(), "there is no news to write");
        first.change(|known, now| known.reached(peer(1), "/ip4/10.0.0.1/tcp/1".parse().unwrap(), None, now));
        first.name("/ip4/10.0.0.2/tcp/1".parse().unwrap()).unwrap();
        first.save().await.unwrap();
        let again = Remembered::open(&path);
        assert!(again.are_pending());
        assert_eq!(again.list(), first.list());
        assert_eq!(again.count(), (1, 1));
        assert!(again.was_of_use(peer(1)) && !again.was_of_use(peer(2)));
        assert_eq!(again.forget(&Forget::Peer(peer(1))), (vec![peer(1)], Vec::new()));
        again.save().await.unwrap();
        assert_eq!(Remembered::open(&path).count(), (0, 1));
    }

    #[tokio::test]
    async fn news_is_written_soon_at_first_and_rarely_then() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.json");
        let (memory, start) = (Remembered::open(&path), Instant::now());
        let meet = |byte: u8| {
            memory.change(|known, now| {
                known.reached(peer(byte), "/ip4/10.0.0.1/tcp/1".parse().unwrap(), None, now)
            });
        };
        let saves = |later: std::time::Duration| {
            let before = memory.state().saved;
            memory.save_if_due(start + later);
            memory.state().saved != before
        };
        assert!(!saves(REMEMBER_LATER), "there is no news");
        meet(1);
        assert!(!saves(REMEMBER_FIRST / 2) && saves(2 * REMEMBER_FIRST));
        memory.save().await.unwrap();
        meet(2);
        assert!(!saves(REMEMBER_LATER) && saves(REMEMBER_LATER + 2 * REMEMBER_FIRST));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_stops_no_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.json");
        for damaged in [&b"{\"version\":1"[..], b"", &[0xff; REMEMBERED_FILE_BYTES_MAX + 1]] {
            fs::write(&path, damaged).unwrap();
            let memory = Remembered::open(&path);
            assert_eq!(memory.count(), (0, 0));
            assert!(!path.exists() && dir.path().join("peers.json.damaged").exists());
            memory.name("/ip4/10.0.0.2/tcp/1".parse().unwrap()).unwrap();
            memory.save().await.unwrap();
            assert_eq!(Remembered::open(&path).count(), (0, 1));
        }
        fs::write(&path, br#"{"version":7,"new":true}"#).unwrap();
        let memory = Remembered::open(&path);
        memory.name("/ip4/10.0.0.2/tcp/1".parse().unwrap()).unwrap();
        memory.save().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), br#"{"version":7,"new":true}"#, "a later version's file stays");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(Remembered::open(&path).count(), (0, 0));
    }
}
