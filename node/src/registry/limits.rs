//! Every bound of the registry, with its reason.

use std::time::Duration;

use reg_proto::limits::RESPONSE_HEADER_BYTES_MAX;

/// How long a name is looked for before the answer is "nobody has it". A DHT look-up may take 20 s.
pub(super) const FIND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a name is looked for where a copy is here already: long enough for peers that are connected.
pub(super) const REFRESH_TIMEOUT: Duration = Duration::from_secs(4);
/// After the first valid answer, how long others may still tell of a newer record.
pub(super) const SETTLE: Duration = Duration::from_millis(700);
/// Once everybody who turned up has answered and the DHT has too, how long somebody else may still turn up: two looks at
/// who is connected.
pub(super) const QUIET: Duration = Duration::from_millis(1200);
/// The same where the user named peers and they have answered: a look at who is connected.
pub(super) const QUIET_NAMED: Duration = Duration::from_millis(250);
/// After an answer that was refused, how long an honest one is waited for.
pub(super) const REFUSED_PATIENCE: Duration = Duration::from_secs(3);
/// How long a pull goes on without a byte from anybody before it gives up; what is here stays here.
pub(super) const STARVED_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a pull goes on where nobody at all is left to ask.
pub(super) const NOBODY_TIMEOUT: Duration = Duration::from_secs(20);
/// How often connected peers and the DHT are looked through anew while something is missing.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often the DHT is asked anew while something is missing.
pub(super) const ASK_DHT_AGAIN: Duration = Duration::from_secs(10);

/// A name that nobody has told of by then is looked for at those whom the connected peers know.
pub(super) const ASK_AROUND_AFTER: Duration = Duration::from_millis(700);
/// Connected peers that are asked whom they know.
pub(super) const ASKED_AROUND_MAX: usize = 8;
/// While something is missing, those who are connected are asked this often who else is pulling it: at first,
pub(super) const EXCHANGE_FIRST: Duration = Duration::from_millis(500);
/// ... and after a while.
pub(super) const EXCHANGE_LATER: Duration = Duration::from_secs(15);
/// Dials to peers that others have named, at once: a quarter of what may be pending.
pub(super) const DIALS_AT_ONCE: usize = 16;
/// A dial that has not come to anything by then leaves its place to the next, and goes on beside, up to
pub(super) const DIAL_SLOW: Duration = Duration::from_secs(1);
/// ... so many: half of what may be pending, as the DHT dials too.
pub(super) const DIALS_MAX: usize = 32;

/// Questions under way at once: a swarm is not asked all at once.
pub(super) const QUESTIONS_AT_ONCE: usize = 8;
/// A question that has not been answered by then leaves its place to the next, and goes on beside: whoever lets questions
/// wait, or cannot be dialled, holds nobody up. A round trip around the world takes less.
pub(super) const QUESTION_SLOW: Duration = Duration::from_millis(500);
/// Peers asked at once for what is said of a manifest: some know attestations that others do not.
pub(super) const REFERRER_PEERS_AT_ONCE: usize = 8;
/// Referrers of one manifest that are read in one search: two peers' full answers.
pub(super) const REFERRERS_READ_MAX: usize = 128;
/// How often the lists that the user has subscribed to are fetched anew.
pub(super) const DENYLISTS_REFRESH: Duration = Duration::from_secs(3600);
/// How often the trust file is looked at for what is not to be served, where nobody has said that it has changed.
pub(super) const DENIALS_RELOAD: Duration = Duration::from_secs(60);
/// How often a peer that is busy is asked again, and how long is waited for that at most, whatever it says.
pub(super) const BUSY_TRIES: u32 = 3;
pub(super) const BUSY_WAIT_MAX: Duration = Duration::from_secs(2);
/// Peers that one source of a search turns up at most: each has a share of its own, so that none crowds out the others.
pub(super) const CANDIDATES_MAX: usize = 256;
/// Peers that a search turns up at most: of those who are connected, of hints, of introductions, and of the DHT.
pub(super) const CANDIDATES_IN_ALL_MAX: usize = 4 * CANDIDATES_MAX;
/// Peers that one pull fetches from at once. In simulation a degree of 40 is near the bound; each costs a stream and two
/// tasks. What is under way from all together is bounded by the scheduler.
pub(super) const SOURCES_MAX: usize = 32;
/// Peers that wait for a place among the sources.
pub(super) const SOURCES_WAITING_MAX: usize = 64;
/// A source that holds nothing of what is wanted gives its place to a waiting peer after this long.
pub(super) const SAY_SOMETHING: Duration = Duration::from_secs(3);
/// Frames waiting between a peer's reader and the downloader: one piece each at most, for all sources together.
pub(super) const FRAMES_WAITING_MAX: usize = 16;
/// Pieces of one download being verified and written at once: two for each of eight threads that do it, and a quarter of
/// those that may wait for them, so that handing one over does not wait.
pub(super) const WRITES_AT_ONCE: usize = 16;
/// How long a pull of higher priority may bring nothing before one of lower priority goes on.
pub(super) const PULL_GETS_ON: Duration = Duration::from_secs(5);
/// Bytes per second of a limit on fetching for each source: fewer are asked at once, so that a piece comes in seconds.
pub(super) const LIMIT_PER_SOURCE: u64 = 256 << 10;
/// What a puller is told to wait while everything is paused.
pub(super) const PAUSED_RETRY_MS: u32 = 5000;
/// How often it is looked whether what is sent makes a queue.
pub(super) const COURTESY_LOOK: Duration = Duration::from_secs(5);
/// Answers to the wish for a lane that wait, and lanes offered on one stream that have not come.
pub(super) const LANE_ANSWERS_MAX: usize = 8;
/// How long a peer may take to offer a lane, and a lane that was offered to come.
pub(super) const LANE_ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How often it is looked whether another lane is worth it: a pull of 2 GiB may be over in 2 s.
pub(super) const LANE_LOOK: Duration = Duration::from_millis(50);
/// After a lane that did not come to be, how long until it is tried again.
pub(super) const LANE_TRY_AGAIN: Duration = Duration::from_secs(10);
/// Tries that failed one after the other, after which a stream does without lanes.
pub(super) const LANE_TRIES_MAX: u32 = 3;
/// Small frames waiting to be sent to one peer.
pub(super) const FRAMES_TO_SEND_MAX: usize = 1024;
/// How long a peer may take to say which states it goes by once a piece of it did not match.
pub(super) const DISPUTE_TIMEOUT: Duration = Duration::from_secs(20);
/// Web seeds of one pull: each costs connections of its own.
pub(super) const WEB_SEEDS_MAX: usize = 8;
/// Requests to one web seed at once: what browsers allow themselves is 6, and a mirror counts.
pub(super) const WEB_CONNECTIONS_PER_SEED: usize = 4;
/// Failures of a web seed, one after the other, after which it is not asked again.
pub(super) const WEB_FAILURES_MAX: usize = 5;
/// How long peers may bring something before web seeds are asked as well: a peer costs nobody money.
pub(super) const WEB_HEAD_START: Duration = Duration::from_secs(1);
/// How long a web seed is left alone that does not answer, or is busy and does not say for how long; each time longer.
pub(super) const WEB_PAUSE_DEFAULT: Duration = Duration::from_secs(1);
/// How long a web seed is left alone at most: who asks for more is asked again all the same.
pub(super) const WEB_PAUSE_MAX: Duration = Duration::from_secs(3600);
/// How long a pull waits for a web seed that is all that is left to ask: Hugging Face counts in five minutes.
pub(super) const WEB_WAIT_MAX: Duration = Duration::from_secs(300);
/// How long a pull goes on without a byte while web seeds ask for one pause after the other.
pub(super) const WEB_PATIENCE: Duration = Duration::from_secs(600);
/// How long a peer that has sent wrong bytes is not pulled from. Kept in memory only, and never told to others.
pub(super) const BAN: Duration = Duration::from_secs(3600);
/// Banned peers remembered; beyond it the oldest ban is forgotten.
pub(super) const BANS_MAX: usize = 4096;

/// Streams served at once: each may hold one piece in memory.
pub(super) const STREAMS_SERVED_MAX: usize = 64;
/// Streams of one peer served at once.
pub(super) const STREAMS_PER_PEER_MAX: usize = 8;
/// Questions answered at once: each may hold a document in memory.
pub(super) const ANSWERS_AT_ONCE: usize = 16;
/// What a peer that finds no place is told to wait.
pub(super) const BUSY_RETRY: Duration = Duration::from_secs(1);
/// The same as messages have it.
pub(super) const BUSY_RETRY_MS: u32 = BUSY_RETRY.as_millis() as u32;
/// How often a peer that follows a blob is told of pieces that have come meanwhile.
pub(super) const NEWS_INTERVAL: Duration = Duration::from_millis(200);

/// Tags remembered from gossip and from other peers' pages; a tag takes about 3 KiB.
pub(super) const HEADS_MAX: usize = 4096;
/// Bytes of all remembered tags together.
pub(super) const HEADS_BYTES_MAX: usize = 16 << 20;
/// Holders remembered of one tag: the newest ones.
pub(super) const HOLDERS_PER_HEAD_MAX: usize = 16;
/// Pages of heads taken from one peer when it connects: 256 heads.
pub(super) const HEAD_PAGES_MAX: usize = 8;
/// Pages of what publishers have revoked taken from one peer when it connects: 256 publishers.
pub(super) const DECLARATION_PAGES_MAX: usize = 8;
/// Bytes of the envelopes in one page of what publishers have revoked: half of what an answer's header may have, because
/// quotes in JSON within JSON take a second byte.
pub(super) const DECLARATION_PAGE_BYTES_MAX: usize = RESPONSE_HEADER_BYTES_MAX / 2;
/// Key histories of one publisher that are not followed and kept for what they revoke: the publisher's, and a few that a thief
/// of an old key may have made before.
pub(super) const WITNESSES_MAX: usize = 4;
/// What publishers without a tag have said that was passed on: so much is remembered, lest it go round again.
pub(super) const DECLARATIONS_PASSED_MAX: usize = 4096;

/// How long a preparation waits for its signatures before it is forgotten.
pub(super) const PREPARATION_TIMEOUT: Duration = Duration::from_secs(3600);
/// Preparations that wait for their signatures.
pub(super) const PREPARATIONS_MAX: usize = 64;

/// How often a daemon says anew to the DHT what it holds is the network's business; how often it looks at its cache:
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// How long a gateway's client waits for a model to be resolved: Hugging Face's clients give up after 10 s without a byte.
pub(super) const VIEW_TIMEOUT: Duration = Duration::from_secs(8);
/// How long peers are asked for a model that is not here, for a gateway's client.
pub(super) const VIEW_PATIENCE: Duration = Duration::from_secs(6);
/// How long peers are asked whether a tag of a model that is here has moved, for a gateway's client.
pub(super) const REFRESH_QUICK: Duration = Duration::from_millis(1500);
/// How long a gateway takes a tag to mean what it meant.
pub(super) const TAG_FRESH: Duration = Duration::from_secs(20);
/// How long a gateway goes on to answer by what a tag meant while it looks anew, unless something newer has been heard of: a
/// look takes a second, which every client would wait for.
pub(super) const TAG_STALE: Duration = Duration::from_secs(120);
/// Models that gateways have resolved lately; a manifest may have 4 MiB, most have some kilobytes.
pub(super) const VIEWS_MAX: usize = 128;
/// How long peers are asked for all tags of a model.
pub(super) const TAGS_TIMEOUT: Duration = Duration::from_secs(4);
/// Peers that are asked for all tags of a model.
pub(super) const PEERS_ASKED_FOR_TAGS: usize = 8;
/// How long a relay that nobody reads from stays, with its peers: a client that reads file after file comes back soon.
pub(super) const ON_DEMAND_LINGER: Duration = Duration::from_secs(5);
/// How long a relay without any source waits before it looks for peers anew.
pub(super) const LOOK_ANEW: Duration = Duration::from_secs(1);
/// How long a reader waits for any piece to come: Hugging Face's clients give up after 10 s without a byte.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(8);
/// Pieces that are read before the client has taken those before: 2 MiB for each client.
pub(super) const READ_AHEAD: usize = 2;
/// Files that gateways serve at once: 3 MiB each in memory at most.
pub(super) const READERS_MAX: usize = 48;
/// How long a client waits for its turn before it is told to come back.
pub(super) const READER_TURN: Duration = Duration::from_secs(8);
/// Files of one model of which it is remembered whether they may be served: as many as a model may have.
pub(super) const ADMISSIONS_MAX: usize = reg_proto::limits::FILES_MAX;
/// How long a client may take nothing of what it asked for before it loses its place.
pub(super) const CLIENT_STALL: Duration = Duration::from_secs(60);

/// Uploads through gateways that are under way at once.
pub(super) const UPLOADS_MAX: usize = 256;
/// How long an upload may lie without a byte, and how long what was uploaded waits to become part of a model.
pub(super) const UPLOAD_IDLE: Duration = Duration::from_secs(3600);
/// Blobs that were uploaded and wait to become part of a model: as many as a model may have.
pub(super) const UPLOADED_MAX: usize = reg_proto::limits::FILES_MAX;
/// Manifests that were pushed and wait for their provenance, of 4 MiB each at most; most have some kilobytes.
pub(super) const HELD_MAX: usize = 256;
/// How long a reader waits where there is nobody at all to fetch from: a peer that comes back does so in seconds.
pub(super) const DESERTED_PATIENCE: Duration = Duration::from_secs(4);

/// Records that are remembered of one tag: a release a week for five years; each takes 2 KiB.
pub(super) const HISTORY_MAX: usize = 256;
/// Proofs of equivocation that are kept of one tag: the first one freezes it.
pub(super) const PROOFS_PER_TAG_MAX: usize = 16;
/// Proofs of equivocation that are kept while those of publishers nobody here has pulled from are among them: 4 MiB.
pub(super) const PROOFS_OF_STRANGERS_MAX: usize = 1024;
/// Proofs that are told with one head, in gossip and in pages.
pub(super) const PROOFS_PER_HEAD_MAX: usize = 4;
/// Different records of one tag that are weighed in one search: a few stale ones, and those that contradict each other.
pub(super) const TAGS_TOLD_MAX: usize = 64;

/// How long a client waits for the first bytes of an endpoint's file: Hugging Face's clients give up after 10 s.
pub(super) const REMOTE_PATIENCE: Duration = Duration::from_secs(8);
/// Files of the endpoint that are fetched at once: as many as a client asks for, twice over.
pub(super) const REMOTE_FETCHES_MAX: usize = 16;
/// How long a file of the endpoint is fetched on that nobody reads: a client that was told to come back does.
pub(super) const REMOTE_LINGER: Duration = Duration::from_secs(30);
/// How long peers may take to say that they hold a file of the endpoint, which could send it meanwhile.
pub(super) const REMOTE_PEERS_PATIENCE: Duration = Duration::from_secs(2);
/// How long peers may send nothing of it before the endpoint is asked.
pub(super) const REMOTE_PEERS_STALL: Duration = Duration::from_secs(5);
/// Peers that are asked whether they hold a file of the endpoint.
pub(super) const PEERS_ASKED_FOR_BLOB: usize = 32;

/// How long it is remembered which blobs are given to others: a model that has just come waits that long at most.
pub(super) const GIVEN_FRESH: Duration = Duration::from_secs(1);
