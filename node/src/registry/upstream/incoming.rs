//! Fetches a large file from peers, else from an endpoint, while clients read it ([`Fetch`]).
//!
//! No publisher has signed the piece states of such a file, so pieces from peers are proven only once the whole file matches
//! its digest: nothing of them is served before. Bytes from the endpoint are passed on as they come, as a client would get
//! them without this node. The last bytes are held back until the digest was checked, so that no client takes a wrong file
//! for a complete one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use reg_api::consent::Consent;
use reg_api::reporter::Reporter;
use reg_proto::content::kind::{HEAD_LEN, TAIL_LEN};
use reg_proto::content::recognise::is_settled_inside;
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::{BlobLayout, PIECE_LEN};
use reg_proto::states::{PieceStates, StateHasher};
use reg_proto::wire::Frame;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::error::UpstreamError;
use super::files::{RemoteFile, Upstream};
use super::transit::{Fetch, State};
use crate::endpoint::{Hub, HubError};
use crate::metrics::Source;
use crate::registry::fetch::{Begin, BeginError, Caller, WebSeeds};
use crate::registry::import::{FileStream, Gathered, gather};
use crate::registry::limits::{
    CLIENT_STALL, PEERS_ASKED_FOR_BLOB, QUESTIONS_AT_ONCE, READ_PATIENCE, REMOTE_FETCHES_MAX, REMOTE_LINGER,
    REMOTE_PEERS_PATIENCE, REMOTE_PEERS_STALL,
};
use crate::registry::model::ranged::Ranged;
use crate::registry::read::{BlobReader, ReaderError, Reading, Sender, send_from_store};
use crate::store::{UploadError, UploadReader};

/// Bytes that are held back until the digest was checked, and bytes that are read in one step.
const HELD_BACK: usize = 1 << 20;
/// Bytes of a file that is held back whole, because only a look inside tells its kind. A client waits meanwhile.
const HELD_WHOLE_MAX: u64 = 256 << 20;

impl Upstream {
    /// Reads `range` (in bytes) of a file that is not in the store: joins the fetch of the file, or begins one.
    ///
    /// # Errors
    /// Too many files are being fetched, or too many readers read at once.
    pub(super) async fn read_coming(
        &self,
        file: &RemoteFile,
        digest: Digest,
        layout: BlobLayout,
        range: Range<u64>,
    ) -> Result<BlobReader, UpstreamError> {
        let state = self.join(file, digest, layout)?;
        let reading = self.0.reading.clone();
        let turn = reading.turn().await?;
        Ok(BlobReader::new(turn, |sender| {
            tokio::spawn(async move {
                let sent = send_coming(&reading, digest, layout, range, state, sender.clone()).await;
                if let Err(error) = sent {
                    drop(sender.send(Err(error)).await);
                }
            })
        }))
    }

    fn join(
        &self,
        file: &RemoteFile,
        digest: Digest,
        layout: BlobLayout,
    ) -> Result<watch::Receiver<State>, UpstreamError> {
        let mut fetches = self.0.fetches.lock().expect("no holder of this lock panics");
        if let Some(fetch) = fetches.get(&digest) {
            return Ok(fetch.state.subscribe());
        }
        if fetches.len() >= REMOTE_FETCHES_MAX {
            return Err(UpstreamError::Busy);
        }
        let fetch = Arc::new(Fetch { state: watch::Sender::new(State::Begun) });
        let receiver = fetch.state.subscribe();
        fetches.insert(digest, fetch.clone());
        tokio::spawn(self.clone().run(fetch, file.clone(), digest, layout));
        Ok(receiver)
    }

    /// Fetches the file until it is complete, or until no reader has been there for [`REMOTE_LINGER`].
    async fn run(self, fetch: Arc<Fetch>, file: RemoteFile, digest: Digest, layout: BlobLayout) {
        let result = tokio::select! {
            result = self.bring(&fetch, &file, digest, layout) => Some(result),
            () = deserted(&fetch) => None,
        };
        self.0.fetches.lock().expect("no holder of this lock panics").remove(&digest);
        match result {
            Some(Ok(())) => {
                if let Some(key) = DhtKey::blob(&digest, layout.size()) {
                    self.0.reading.network.provide(key).await;
                }
                fetch.state.send_replace(State::Done);
            }
            Some(Err(error)) => {
                warn!(path = file.path, %error, "a file of the endpoint cannot be fetched");
                fetch.state.send_replace(State::Failed(Arc::new(error)));
            }
            // A reader that joined at the last moment is asked to retry.
            None => drop(fetch.state.send_replace(State::Failed(Arc::new(UpstreamError::Busy)))),
        }
    }

    async fn bring(
        &self,
        fetch: &Fetch,
        file: &RemoteFile,
        digest: Digest,
        layout: BlobLayout,
    ) -> Result<(), UpstreamError> {
        let (store, size) = (self.0.reading.store.clone(), layout.size());
        let reserved = spawn_blocking(move || store.reserve(size, &BTreeSet::from([digest])));
        let _lease = reserved.await.map_err(|_| UpstreamError::Interrupted)??;
        let is_here = self.bring_from_peers(digest, layout).await?;
        if is_here {
            if !self.0.reading.consent().is_to_everything() {
                self.judge_whole(file, digest, size).await?;
            }
        } else {
            self.bring_from_endpoint(fetch, file, digest, size).await?;
        }
        self.0.importing.keep_uploaded(digest).await?;
        Ok(())
    }

    /// Fetches the file from peers that say they hold it. Returns whether it is complete and proven.
    ///
    /// # Errors
    /// The store cannot write the file. What peers do or fail to do is no error.
    async fn bring_from_peers(&self, digest: Digest, layout: BlobLayout) -> Result<bool, UpstreamError> {
        let reading = &self.0.reading;
        if layout.piece_count() == 1 || reading.network.is_offline() {
            return Ok(false);
        }
        let Some((states, holders)) = self.holders(digest, layout).await else { return Ok(false) };
        info!(blob = %digest, peers = holders.len(), "a file of the endpoint is fetched from peers");
        let begin = Begin {
            model: digest,
            protect: BTreeSet::from([digest]),
            holders,
            strangers: BTreeSet::new(),
            searches: false,
            search: None,
            web: WebSeeds::default(),
            states_max: PieceStates::byte_len(layout),
            has_room: true,
        };
        let silent = Reporter::silent();
        let mut share = reading.fetching.share(begin, Caller::Import, &silent);
        share.open(BTreeMap::from([(digest, states)])).await.map_err(|error| match error {
            BeginError::Partial { source, .. } => source.into(),
            BeginError::Reserve(source) => source.into(),
            _ => UpstreamError::Interrupted,
        })?;
        let partial = share.partial(&digest);
        let stalled = async {
            let count = || partial.as_ref().map(|it| it.have().count());
            let mut have = count();
            loop {
                tokio::time::sleep(REMOTE_PEERS_STALL).await;
                // What is left then is to write it out, which a busy disk takes its time for.
                if partial.as_ref().is_some_and(|it| it.have().is_full()) {
                    return std::future::pending().await;
                }
                if count() == std::mem::replace(&mut have, count()) {
                    return;
                }
            }
        };
        let mut no_finder = None;
        let result = tokio::select! {
            result = share.whole(&mut no_finder, &silent) => result,
            () = stalled => return Ok(false),
        };
        if let Err(error) = result {
            info!(blob = %digest, %error, "what peers sent cannot be used: the endpoint is asked");
            share.settle(&error).await;
            return Ok(false);
        }
        Ok(true)
    }

    /// Asks connected peers and the DHT's providers for the piece states of a blob. A peer that has the states has the whole
    /// blob. Returns the list that most peers sent, with these peers.
    async fn holders(&self, digest: Digest, layout: BlobLayout) -> Option<(PieceStates, Vec<PeerId>)> {
        let reading = &self.0.reading;
        let mut peers = reading.network.connected().await;
        let end = tokio::time::Instant::now() + REMOTE_PEERS_PATIENCE;
        if let Some(key) = DhtKey::blob(&digest, layout.size()) {
            let mut providers = reading.network.providers(key).await;
            while let Ok(Some(peer)) = tokio::time::timeout_at(end, providers.recv()).await {
                peers.push(peer);
            }
        }
        peers.sort_unstable();
        peers.dedup();
        peers.retain(|peer| !reading.is_banned(peer));
        peers.truncate(PEERS_ASKED_FOR_BLOB);
        let mut waiting = peers.into_iter();
        let mut asked: JoinSet<(PeerId, Option<Vec<u8>>)> = JoinSet::new();
        let mut answers: BTreeMap<Digest, (Vec<u8>, Vec<PeerId>)> = BTreeMap::new();
        loop {
            while asked.len() < QUESTIONS_AT_ONCE {
                let Some(peer) = waiting.next() else { break };
                let network = reading.network.clone();
                asked.spawn(async move {
                    let question = ask_for_states(&network, peer, digest, layout);
                    (peer, timeout(REMOTE_PEERS_PATIENCE, question).await.ok().flatten())
                });
            }
            match tokio::time::timeout_at(end + REMOTE_PEERS_PATIENCE, asked.join_next()).await {
                Ok(Some(Ok((peer, Some(bytes))))) => {
                    answers.entry(Digest::of(&bytes)).or_insert((bytes, Vec::new())).1.push(peer);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        let (bytes, peers) = answers.into_values().max_by_key(|(_, peers)| peers.len())?;
        Some((PieceStates::parse(layout, &bytes).ok()?, peers))
    }

    async fn bring_from_endpoint(
        &self,
        fetch: &Fetch,
        file: &RemoteFile,
        digest: Digest,
        size: u64,
    ) -> Result<(), UpstreamError> {
        let store = self.0.reading.store.clone();
        let begun = spawn_blocking(move || store.resume_upload(&digest)).await;
        let upload = begun.map_err(|_| UpstreamError::Interrupted)??;
        let reader = upload.reader()?;
        let mut flow = Flow {
            hub: &self.0.hub,
            fetch,
            file,
            reader: Arc::new(reader),
            size,
            consent: self.0.reading.consent(),
            judged: self.0.reading.consent().is_to_everything(),
        };
        let before = upload.size();
        flow.tell(before)?;
        let upload = gather(upload, &mut flow).await?;
        if upload.size() < size {
            return Err(UpstreamError::Short {
                path: file.path.clone(),
                expected: size,
                found: upload.size(),
            });
        }
        if !flow.consent.is_to_everything() {
            flow.judge()?;
        }
        match spawn_blocking(move || upload.finish(digest)).await.map_err(|_| UpstreamError::Interrupted)? {
            Ok(_) => {
                self.count(size, size - before);
                Ok(())
            }
            Err(UploadError::Digest { .. }) => {
                self.distrust(digest);
                Err(UpstreamError::Other { path: file.path.clone() })
            }
            Err(UploadError::Write(error)) => Err(error.into()),
        }
    }

    /// Counts a file of the endpoint that is verified; `bytes` of it came now.
    pub(super) fn count(&self, size: u64, bytes: u64) {
        let metrics = &self.0.reading.fetching.metrics;
        metrics.pieces_verified(Source::Upstream, size.div_ceil(PIECE_LEN), bytes);
    }

    /// Judges a file that is whole in the store.
    ///
    /// # Errors
    /// The kind of the file is refused, or the file cannot be read.
    pub(super) async fn judge_whole(
        &self,
        file: &RemoteFile,
        digest: Digest,
        size: u64,
    ) -> Result<(), UpstreamError> {
        let (store, file, consent) =
            (self.0.reading.store.clone(), file.clone(), self.0.reading.consent().clone());
        let judged = spawn_blocking(move || match store.open_file(&digest) {
            Ok(mut opened) => file.judge_whole(&mut opened, size, &consent),
            Err(source) => Err(ReaderError::Read { blob: digest, source: Arc::new(source) }.into()),
        });
        judged.await.map_err(|_| UpstreamError::Interrupted)?
    }

    /// Passes on a file that needed the user's token. Writes nothing of it to the disk.
    ///
    /// # Errors
    /// Too many readers read at once. A later error is sent to the reader.
    pub(super) async fn pass_through(
        &self,
        file: &RemoteFile,
        digest: Digest,
        size: u64,
        range: Range<u64>,
    ) -> Result<BlobReader, UpstreamError> {
        let (upstream, file) = (self.clone(), file.clone());
        let turn = self.0.reading.turn().await?;
        Ok(BlobReader::new(turn, |sender| {
            tokio::spawn(async move {
                if let Err(error) = upstream.pass(&file, digest, size, range, &sender).await {
                    drop(sender.send(Err(ReaderError::Source(Arc::new(error)))).await);
                }
            })
        }))
    }

    async fn pass(
        &self,
        file: &RemoteFile,
        digest: Digest,
        size: u64,
        range: Range<u64>,
        sender: &Sender,
    ) -> Result<(), UpstreamError> {
        let mut stream = self.0.hub.fetch(&file.question, 0).await?.bytes_stream();
        let mut hasher = StateHasher::new();
        let mut held = BytesMut::new();
        let consent = self.0.reading.consent();
        let (mut passed, mut judged) = (0_u64, consent.is_to_everything());
        loop {
            let chunk = stream.next().await.transpose();
            let url = || file.question.path_and_query.clone();
            let chunk = chunk.map_err(|source| HubError::Transport { url: url(), source })?;
            let is_last = chunk.is_none();
            if let Some(chunk) = chunk {
                hasher.update(&chunk);
                held.extend_from_slice(&chunk);
            }
            let found = passed + held.len() as u64;
            if is_last {
                let is_right = std::mem::take(&mut hasher).finish().is_ok_and(|it| it.digest == digest);
                if found < size {
                    return Err(UpstreamError::Short { path: file.path.clone(), expected: size, found });
                }
                if !is_right {
                    return Err(UpstreamError::Other { path: file.path.clone() });
                }
                self.count(size, found);
            }
            let most = if is_last { held.len() } else { held.len().saturating_sub(HELD_BACK) };
            if (is_last || most > 0) && !judged {
                // Judges before the first bytes are sent. The tail is known only if the whole file is held back.
                let tail = &held[held.len().saturating_sub(TAIL_LEN)..];
                let tail = if is_last { tail } else { &[] };
                file.judge_ends(&held[..held.len().min(HEAD_LEN)], tail, size, consent)?;
                judged = true;
            }
            if most > 0 {
                let bytes = held.split_to(most).freeze();
                let part = within(&range, passed, bytes);
                passed += most as u64;
                if !part.is_empty() && sender.send_timeout(Ok(part), CLIENT_STALL).await.is_err() {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// Returns the part of `bytes` that lies in `range`; `at` is the offset of `bytes` in the file.
fn within(range: &Range<u64>, at: u64, bytes: Bytes) -> Bytes {
    let index = |it: u64| usize::try_from(it.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
    let (from, to) = (index(range.start), index(range.end));
    bytes.slice(from..to.max(from))
}

async fn ask_for_states(
    network: &crate::net::Network,
    peer: PeerId,
    blob: Digest,
    layout: BlobLayout,
) -> Option<Vec<u8>> {
    let (mut reader, mut writer) = network.open_stream(peer).await.ok()?;
    reader.set_states_max(PieceStates::byte_len(layout));
    writer.send(&Frame::GetStates { blob }).await.ok()?;
    match reader.next().await {
        Ok(Some(Frame::States { blob: of, bytes })) if of == blob => Some(bytes),
        answer => {
            debug!(%peer, %blob, ?answer, "a peer does not have a file of the endpoint");
            None
        }
    }
}

/// A file that is being written while the endpoint sends it.
struct Flow<'a> {
    hub: &'a Hub,
    fetch: &'a Fetch,
    file: &'a RemoteFile,
    reader: Arc<UploadReader>,
    size: u64,
    consent: &'a Consent,
    /// Whether the first bytes were judged and may be served.
    judged: bool,
}

impl Flow<'_> {
    /// Tells readers how many bytes are written, once the file was judged by its first bytes.
    ///
    /// # Errors
    /// The kind of the file is refused, or what was written cannot be read.
    fn tell(&mut self, written: u64) -> Result<(), UpstreamError> {
        if !self.judged && written >= self.size.min(HEAD_LEN as u64) && written < self.size {
            let head = self.reader.read(0, HEAD_LEN)?;
            // Such a file is not passed on before it is whole.
            if self.size <= HELD_WHOLE_MAX && is_settled_inside(&self.file.path, &head, self.size) {
                return Ok(());
            }
            self.file.judge_ends(&head, &[], self.size, self.consent)?;
            self.judged = true;
        }
        if self.judged {
            self.fetch.state.send_replace(State::Flowing { file: self.reader.clone(), written });
        }
        Ok(())
    }

    /// Judges the complete file.
    ///
    /// # Errors
    /// The kind of the file is refused, or its bytes cannot be read.
    fn judge(&self) -> Result<(), UpstreamError> {
        let read = |at, length| self.reader.read(at, length).map_err(std::io::Error::other);
        self.file.judge_whole(&mut Ranged::new(self.size, read), self.size, self.consent)
    }
}

impl Gathered for Flow<'_> {
    type Error = UpstreamError;

    const BREAKS_MAX: u32 = 3;

    fn size(&self) -> u64 {
        self.size
    }

    /// Opens the file; an endpoint that cannot be reached counts as one that broke off.
    async fn open(&self, from: u64) -> Result<FileStream, HubError> {
        match self.hub.fetch(&self.file.question, from).await {
            Ok(response) => {
                let url = self.file.question.path_and_query.clone();
                let named = move |source| HubError::Transport { url: url.clone(), source };
                Ok(response.bytes_stream().map_err(named).boxed())
            }
            Err(error @ HubError::Transport { .. }) => Ok(stream::iter([Err(error)]).boxed()),
            Err(error) => Err(error),
        }
    }

    fn on_written(&mut self, size: u64) -> Result<(), UpstreamError> {
        self.tell(size)
    }
}

/// Returns once no reader has been there for [`REMOTE_LINGER`].
async fn deserted(fetch: &Fetch) {
    let mut last_read = Instant::now();
    while last_read.elapsed() < REMOTE_LINGER {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if fetch.state.receiver_count() > 0 {
            last_read = Instant::now();
        }
    }
}

/// Sends the bytes of `range` to a reader as soon as they may be served.
///
/// # Errors
/// The fetch fails, no byte comes for a while, or the file cannot be read.
async fn send_coming(
    reading: &Reading,
    digest: Digest,
    layout: BlobLayout,
    range: Range<u64>,
    mut state: watch::Receiver<State>,
    sender: Sender,
) -> Result<(), ReaderError> {
    let mut at = range.start;
    let mut last_news = Instant::now();
    loop {
        let now = state.borrow_and_update().clone();
        match now {
            State::Flowing { file, written } => {
                let limit = written.min(layout.size().saturating_sub(HELD_BACK as u64)).min(range.end);
                if at < limit {
                    let length = usize::try_from(limit - at).map_or(HELD_BACK, |it| it.min(HELD_BACK));
                    let read = spawn_blocking(move || file.read(at, length)).await;
                    let bytes = read.map_err(|_| ReaderError::Interrupted)?;
                    let bytes =
                        bytes.map_err(|error| ReaderError::Source(Arc::new(UpstreamError::from(error))))?;
                    at += bytes.len() as u64;
                    last_news = Instant::now();
                    if sender.send_timeout(Ok(bytes.into()), CLIENT_STALL).await.is_err() || at >= range.end {
                        return Ok(());
                    }
                    continue;
                }
            }
            State::Done => {
                return send_from_store(reading, digest, layout, at..range.end, sender).await;
            }
            State::Failed(error) => return Err(ReaderError::Source(error)),
            State::Begun => last_news = Instant::now(),
        }
        if timeout(Duration::from_secs(1), state.changed()).await.is_err()
            && last_news.elapsed() >= READ_PATIENCE
        {
            return Err(ReaderError::Starved { seconds: READ_PATIENCE.as_secs() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_what_is_passed_on_is_cut_exactly() {
        let bytes = Bytes::from_static(b"0123456789");
        assert_eq!(within(&(0..100), 0, bytes.clone()), "0123456789");
        assert_eq!(within(&(12..15), 10, bytes.clone()), "234");
        assert_eq!(within(&(0..5), 10, bytes.clone()), "");
        assert_eq!(within(&(50..60), 10, bytes), "");
    }
}
