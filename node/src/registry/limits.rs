//! Every bound of the registry, with its reason.

use std::time::Duration;

use reg_proto::limits::{RESPONSE_HEADER_BYTES_MAX, REVOCATIONS_MAX, TAGS_PER_RESPONSE_MAX};

/// How long a name is searched for before the answer is that no peer has it. A DHT look-up may take 20 s.
pub(super) const FIND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a name is searched for where the store has a copy already. Connected peers answer within that time.
pub(super) const REFRESH_TIMEOUT: Duration = Duration::from_secs(4);
/// How long other peers that were asked for a name may take, after the first valid answer, before the version that it names
/// is begun with. Peers of one continent answer within that time, so it is seldom begun with an older one.
pub(super) const BEGIN_WITH: Duration = Duration::from_millis(50);
/// How long they may take before a file is placed, a publisher is followed for the first time, or a record is signed: two
/// round trips around the world. What they say later counts the next time.
pub(super) const ANSWERS_PATIENCE: Duration = Duration::from_millis(700);
/// The same for a gateway's client, which waits for its first byte meanwhile: one round trip.
pub(super) const VIEW_ANSWERS_PATIENCE: Duration = Duration::from_millis(250);
/// Peers that are asked for the documents of a model together with its records: one may lack some. The others say what they have.
pub(super) const DOCUMENTS_ASKED_MAX: usize = 2;
/// Peers that are asked for one name in all, while the version that it names is fetched.
pub(super) const LATER_ASKED_MAX: usize = 64;
/// How often one pull begins anew because an answer that came later names a newer version. Each needs one more record of the
/// publisher.
pub(super) const CHANGES_MAX: usize = 3;
/// How long a publisher's profile is searched for: a dial and an answer over a slow line, and most DHT look-ups.
pub(super) const PROFILE_PATIENCE: Duration = Duration::from_secs(15);
/// Peers that are asked for one profile: as many as answer for a name at once, twice.
pub(super) const PROFILE_ASKED_MAX: usize = 32;
/// How long the peers that a domain names are dialled before a search begins.
pub(super) const DOMAIN_DIAL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a domain that is pinned is asked whether it still names the same publisher. The pin counts where it is silent.
pub(super) const PINNED_DOMAIN_PATIENCE: Duration = Duration::from_secs(5);
/// Peers that are remembered because they let this node wait: as many as may be connected.
pub(super) const SLOW_PEERS_MAX: usize = 512;
/// An address that the user gave is dialled again where the first dial has not ended by then: on a line that loses packets, a
/// connection that lost two in a row waits for longer than a new one takes.
pub(super) const DIAL_AGAIN: Duration = Duration::from_secs(3);
/// Dials of one address that are under way at once.
pub(super) const DIALS_OF_ADDRESS_MAX: u32 = 3;
/// How long a pull waits for the first peer of its ticket, before it looks elsewhere: as for a bootstrap peer.
pub(super) const TICKET_PATIENCE: Duration = BOOTSTRAP_PATIENCE;
/// How long a peer that was dialled may take to say which swarm it is of: two round trips, around the world too.
pub(super) const TICKET_IDENTIFY: Duration = Duration::from_secs(2);
/// How long a search that knows no peer waits for one to turn up, by mDNS or among the bootstrap peers.
pub(super) const NOBODY_PATIENCE: Duration = Duration::from_millis(2500);
/// The same where the user has named a bootstrap peer, which may be far away.
pub(super) const BOOTSTRAP_PATIENCE: Duration = Duration::from_secs(6);
/// How long a search waits for peers that do not answer, where no other one has the name.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// How long a search waits for new peers after every known peer and the DHT have answered: two looks at the
/// connections.
pub(super) const QUIET: Duration = Duration::from_millis(1200);
/// The same where the user named peers and they have answered: one look at the connections.
pub(super) const QUIET_NAMED: Duration = Duration::from_millis(250);
/// How long the search waits for an honest answer after one that it refused.
pub(super) const REFUSED_PATIENCE: Duration = Duration::from_secs(3);
/// How long the head of a tag is looked for, from the beginning of a search, before an older version is used.
pub(super) const UNREACHED: Duration = Duration::from_secs(3);
/// The same for a gateway's client, which waits for its first byte meanwhile.
pub(super) const UNREACHED_QUICK: Duration = Duration::from_millis(2500);
/// How long the head is looked for at least, once its record is known: a round trip to each known peer.
pub(super) const UNREACHED_MIN: Duration = Duration::from_secs(1);
/// How long a version is waited for after a peer has sent a document of it: a few round trips around the world.
pub(super) const PROGRESS_PATIENCE: Duration = Duration::from_secs(2);
/// How long the peers that are known already are asked for one ancestor of a head.
pub(super) const ANCESTOR_PATIENCE: Duration = Duration::from_secs(1);
/// Ancestors that peers are asked for before an older one is used that is whole in the store: three seconds, if no peer
/// sends anything of them.
pub(super) const NEWER_ASKED_MAX: usize = 3;
/// Peers that are asked at once whether they hold a version.
pub(super) const HOLDERS_ASKED_AT_ONCE: usize = 16;
/// Files of which a web seed is asked whether it has them, before it counts as a source of a version.
pub(super) const WEB_PROBES_MAX: usize = 16;
/// How long a pull goes on without a byte from any peer before it gives up. What it has fetched stays in the store.
pub(super) const STARVED_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a repair goes on without a byte where no peer is known to have the model.
pub(super) const REPAIR_PATIENCE: Duration = Duration::from_secs(3);
/// How long a pull goes on without any peer left to ask.
pub(super) const NOBODY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a pull that has fetched something goes on without a byte, where the user does not say: its source restarts, or
/// a machine sleeps for a moment.
pub(super) const RETURN_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of pieces that are not whole postpone the end of a pull for so many times the patience of its user,
pub(super) const UNVERIFIED_FACTOR: u32 = 10;
/// ... but for at least this long after the last verified piece: a piece from each of seven peers over a line of 1 Mbit/s,
pub(super) const UNVERIFIED_MIN: Duration = Duration::from_secs(60);
/// ... and at most as long as a peer may be heard without a whole piece.
pub(super) const UNVERIFIED_MAX: Duration = reg_transfer::HEARD_MAX;
/// How long no byte comes before a pull says what it waits for.
pub(super) const WAIT_TOLD: Duration = Duration::from_secs(3);
/// How long after its stream has ended a peer that held pieces is dialled again,
pub(super) const RETURN_FIRST: Duration = Duration::from_millis(250);
/// ... and the longest wait between two dials: a service that restarts is missed for a few seconds at most.
pub(super) const RETURN_LATER: Duration = Duration::from_secs(5);
/// Peers that one pull goes back to: as many as may wait to be dialled.
pub(super) const RETURNING_MAX: usize = SOURCES_WAITING_MAX;
/// A pull that did nothing for this long was stopped, or its machine slept: that was not the fault of its sources.
pub(super) const SLEPT: Duration = Duration::from_secs(3);
/// How long after a source has asked for a pause a pull says that it waits for its turn.
pub(super) const REFUSED_LATELY: Duration = Duration::from_secs(12);
/// How often connected peers and the DHT's answers are examined again while blobs are missing.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// ... and at first: a peer that has just connected is found soon. Each later look takes twice as long to come.
pub(super) const LOOK_FIRST: Duration = Duration::from_millis(20);
/// How often the DHT is asked again while blobs are missing.
pub(super) const ASK_DHT_AGAIN: Duration = Duration::from_secs(10);

/// If no peer has answered for a name by then, the connected peers are asked for the peers that they know.
pub(super) const ASK_AROUND_AFTER: Duration = Duration::from_millis(700);
/// Most connected peers that are asked for the peers that they know.
pub(super) const ASKED_AROUND_MAX: usize = 8;
/// While blobs are missing, connected peers are asked at this interval which other peers pull the model: at first,
pub(super) const EXCHANGE_FIRST: Duration = Duration::from_millis(500);
/// ... and later.
pub(super) const EXCHANGE_LATER: Duration = Duration::from_secs(15);
/// Dials at once to peers that other peers named: a quarter of the dials that may be pending.
pub(super) const DIALS_AT_ONCE: usize = 16;
/// A dial that is slower than this gives its slot to the next one and continues, up to
pub(super) const DIAL_SLOW: Duration = Duration::from_secs(1);
/// ... this many dials in all: half of those that may be pending, because the DHT dials too.
pub(super) const DIALS_MAX: usize = 32;

/// Questions under way at once, so that a search does not ask a whole swarm at once.
pub(super) const QUESTIONS_AT_ONCE: usize = 8;
/// A question that is slower than this gives its slot to the next one and continues. So a peer that delays its answers,
/// or cannot be dialled, delays no other question. A round trip around the world takes less.
pub(super) const QUESTION_SLOW: Duration = Duration::from_millis(500);
/// Peers asked at once for the referrers of a manifest. Some know attestations that others do not.
pub(super) const REFERRER_PEERS_AT_ONCE: usize = 8;
/// Most referrers of one manifest that one search reads: two peers' full answers.
pub(super) const REFERRERS_READ_MAX: usize = 128;
/// How often the denylists that the user has subscribed to are fetched again.
pub(super) const DENYLISTS_REFRESH: Duration = Duration::from_secs(3600);
/// How often the trust file is read for what must not be served, where no command reported a change.
pub(super) const DENIALS_RELOAD: Duration = Duration::from_secs(60);
/// How many times a busy peer is asked.
pub(super) const BUSY_TRIES: u32 = 3;
/// The longest wait between two of these times, whatever the peer says.
pub(super) const BUSY_WAIT_MAX: Duration = Duration::from_secs(2);
/// Most peers that one source of a search may find. Each source has its own share, so that none displaces the others.
pub(super) const CANDIDATES_MAX: usize = 256;
/// Most peers that a search may find: among connected peers, hints, introductions, and the DHT's providers.
pub(super) const CANDIDATES_IN_ALL_MAX: usize = 4 * CANDIDATES_MAX;
/// Peers that one pull fetches from at once. In simulation a degree of 40 is near the bound, and each peer costs a
/// stream and two tasks. The scheduler bounds the requests to all of them together.
pub(super) const SOURCES_MAX: usize = 32;
/// Peers that wait until a source is removed.
pub(super) const SOURCES_WAITING_MAX: usize = 64;
/// A source that has no piece that the pull wants makes room for a waiting peer after this long.
pub(super) const SAY_SOMETHING: Duration = Duration::from_secs(3);
/// Frames that wait between the peers' readers and the downloader, for all sources together. Each has one piece at
/// most.
pub(super) const FRAMES_WAITING_MAX: usize = 16;
/// Pieces of one download that are verified and written at once. It is two for each of the eight threads, and a quarter
/// of the pieces that may wait for them, so that handing one over does not wait.
pub(super) const WRITES_AT_ONCE: usize = 16;
/// Peers that callers have named to a download and that it has not looked at: as many as one search finds at once.
pub(super) const INTRODUCED_MAX: usize = 256;
/// News of a download that wait to be passed on to its callers. Progress comes five times a second; more is left out.
pub(super) const DOWNLOAD_EVENTS_MAX: usize = 64;
/// How often a caller is told how far its download is.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// How long a pull of higher priority may make no progress before one of lower priority continues.
pub(super) const PULL_GETS_ON: Duration = Duration::from_secs(5);
/// Bytes of a list of weights, or of a graph, that is fetched before the weights. The largest lists have 15 MB.
pub(super) const LIST_BYTES_MAX: u64 = 32 << 20;
/// Bytes of small files that a plan fetches to judge them: those of nearly every model. A plan is asked for on any line.
pub(super) const PLAN_BYTES_MAX: u64 = 64 << 20;
/// Largest blob that is fetched together with others, without a schedule: most files of a model beside its weights.
pub(super) const SMALL_BLOB_BYTES_MAX: u64 = 128 << 10;
/// Fewer small blobs than this are left to the download: they cost it less than a stream of their own.
pub(super) const SMALL_BLOBS_MIN: usize = 64;
/// Peers that are asked for small blobs, one after the other.
pub(super) const SMALL_PEERS_MAX: usize = 4;
/// Requests for small blobs that are under way at once, so that no round trip is waited for. Servers let 256 wait.
pub(super) const SMALL_REQUESTS_AT_ONCE: usize = 128;
/// How long a peer may send no small blob before the next one is asked.
pub(super) const SMALL_STALL: Duration = Duration::from_secs(3);
/// The time in which a peer must send some small blobs: so many, or so many bytes. A line of 1 Mbit/s carries 1.2 MB in it.
pub(super) const SMALL_WINDOW: Duration = Duration::from_secs(10);
pub(super) const SMALL_WINDOW_BLOBS: usize = 64;
pub(super) const SMALL_WINDOW_BYTES: usize = 64 << 10;
/// How long all peers together may send no small blob before those that are missing are left to the download, which looks for
/// more peers.
pub(super) const SMALL_PATIENCE: Duration = Duration::from_secs(20);
/// The same where they are few, and weights wait for them.
pub(super) const FEW_SMALL_PATIENCE: Duration = Duration::from_secs(1);
/// Time until the peers are asked again, where none has sent a small blob.
pub(super) const SMALL_AGAIN: Duration = Duration::from_millis(500);
/// Small blobs that are stored together. The directories that they share are synced once for all.
pub(super) const SMALL_BATCH_BLOBS: usize = 2048;
/// The same in bytes. One batch is stored while the next one comes, so it is 32 MiB in memory.
pub(super) const SMALL_BATCH_BYTES: usize = 16 << 20;
/// Bytes per second of a download limit for each source. A lower limit means fewer sources, so that a piece arrives in
/// seconds.
pub(super) const LIMIT_PER_SOURCE: u64 = 256 << 10;
/// The retry time that a puller is sent while the node is paused, in milliseconds.
pub(super) const PAUSED_RETRY_MS: u32 = 5000;
/// How often the sender checks whether its traffic builds a queue in the network.
pub(super) const COURTESY_LOOK: Duration = Duration::from_secs(5);
/// Lane answers that wait on one stream, and lanes offered on it that have not arrived.
pub(super) const LANE_ANSWERS_MAX: usize = 8;
/// How long a peer may take to offer a lane, and an offered lane may take to arrive.
pub(super) const LANE_ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a stream checks whether another lane is worth it: a pull of 2 GiB may take only 2 s.
pub(super) const LANE_LOOK: Duration = Duration::from_millis(50);
/// How long after a lane has opened its rate is known, and another one may help: the slow start of TCP over a line around the
/// world.
pub(super) const LANE_SETTLES: Duration = Duration::from_millis(700);
/// Bytes that lanes carry before the stream beside them stops to: some 10 ms on one machine, and the slow start of TCP on
/// a line around the world.
pub(super) const LANE_WARM_BYTES: u64 = 8 << 20;
/// How long after a failed lane the next one is tried.
pub(super) const LANE_TRY_AGAIN: Duration = Duration::from_secs(10);
/// Failures in a row after which a stream does without lanes.
pub(super) const LANE_TRIES_MAX: u32 = 3;
/// Small frames that wait to be sent to one peer.
pub(super) const FRAMES_TO_SEND_MAX: usize = 1024;
/// How long a peer may take to name its piece states after a piece of it did not match.
pub(super) const DISPUTE_TIMEOUT: Duration = Duration::from_secs(20);
/// Web seeds of one pull. Each costs connections of its own.
pub(super) const WEB_SEEDS_MAX: usize = 8;
/// Requests to one web seed at once. Browsers allow themselves 6, and mirrors limit clients.
pub(super) const WEB_CONNECTIONS_PER_SEED: usize = 4;
/// Failures of a web seed in a row after which it is not asked again.
pub(super) const WEB_FAILURES_MAX: usize = 5;
/// How long peers may take to bring bytes before web seeds are asked too. Peers cost no publisher money; web seeds do.
pub(super) const WEB_HEAD_START: Duration = Duration::from_secs(1);
/// The first pause after a web seed does not answer, or is busy and names no time. Each further pause is longer.
pub(super) const WEB_PAUSE_DEFAULT: Duration = Duration::from_secs(1);
/// The longest pause of a web seed, even where it asks for more.
pub(super) const WEB_PAUSE_MAX: Duration = Duration::from_secs(3600);
/// How long a pull waits for a web seed that is its last source. Hugging Face counts requests over five minutes.
pub(super) const WEB_WAIT_MAX: Duration = Duration::from_secs(300);
/// How long a pull goes on without a byte while web seeds ask for one pause after another.
pub(super) const WEB_PATIENCE: Duration = Duration::from_secs(600);
/// How long a node does not fetch from a peer that sent wrong bytes. The ban stays in memory and is reported to no
/// peer.
pub(super) const BAN: Duration = Duration::from_secs(3600);
/// Bans remembered. Beyond this number the oldest is forgotten.
pub(super) const BANS_MAX: usize = 4096;

/// Streams served at once. Each may hold one piece in memory.
pub(super) const STREAMS_SERVED_MAX: usize = 64;
/// Streams of one peer served at once.
pub(super) const STREAMS_PER_PEER_MAX: usize = 8;
/// Questions answered at once. Each may hold a document in memory.
pub(super) const ANSWERS_AT_ONCE: usize = 16;
/// The retry time that a peer is sent where no slot is free.
pub(super) const BUSY_RETRY: Duration = Duration::from_secs(1);
/// The same in milliseconds, as messages carry it.
pub(super) const BUSY_RETRY_MS: u32 = BUSY_RETRY.as_millis() as u32;
/// The time after which a peer asks again that met a failure of this node's disk. A disk that failed once mostly works the
/// next time.
pub(super) const FAILED_RETRY_MS: u32 = 1000;
/// How often a peer that follows a blob is sent the pieces that have arrived since.
pub(super) const NEWS_INTERVAL: Duration = Duration::from_millis(200);

/// Verifications that one peer may cost in a second over time. ed25519 takes some 60 us optimised, so it is less than a
/// hundredth of a core. A peer passes on two announcements a second at most, of two signatures each; a publisher with
/// 16 keys has more, once.
pub(super) const VERIFICATIONS_PER_SECOND: u32 = 100;
/// Verifications that one peer may cost at once: what a neighbour knows at the start, 256 heads of different publishers,
/// and the longest key history beside that.
pub(super) const VERIFICATIONS_BURST: u32 = 4096 + 1024;
/// The same for all peers together, for gossip and for what new neighbours know: a fortieth of a core.
pub(super) const VERIFICATIONS_IN_ALL_PER_SECOND: u32 = 400;
/// ... and at once: three peers at their limit.
pub(super) const VERIFICATIONS_IN_ALL_BURST: u32 = 3 * VERIFICATIONS_BURST;
/// Verifications that the announcements which this node passes on may cost a neighbour in a second. It is less than what
/// a neighbour allows, so that strangers' announcements cannot make the neighbour disconnect this node.
pub(super) const PASSED_ON_PER_SECOND: u32 = VERIFICATIONS_PER_SECOND / 4 * 3;
/// ... and at once.
pub(super) const PASSED_ON_BURST: u32 = VERIFICATIONS_BURST / 4 * 3;
/// Peers for which verifications are counted. One without a debt is forgotten first.
pub(super) const RATES_MAX: usize = 4096;
/// Threads that verify gossip and what new neighbours know.
pub(super) const UNASKED_AT_ONCE: usize = 1;
/// Announcements of one peer that wait to be verified. One more is ignored, and not passed on.
pub(super) const UNASKED_PER_PEER_MAX: usize = 4;
/// Announcements of all peers that wait to be verified: 3 MiB.
pub(super) const UNASKED_WAITING_MAX: usize = 64;
/// Questions of one peer that are answered at once, of [`ANSWERS_AT_ONCE`].
pub(super) const ANSWERS_PER_PEER_MAX: usize = 4;
/// Peers with which declarations and heads are exchanged at once: as many as may be connected.
pub(super) const GREETINGS_MAX: usize = 512;
/// Key histories in the store that are kept verified in memory, in bytes of their texts.
pub(super) const HISTORIES_BYTES_MAX: usize = 8 << 20;
/// ... and in number.
pub(super) const HISTORIES_MAX: usize = 1024;

/// Tags remembered from gossip and from other peers' pages. A tag takes about 3 KiB.
pub(super) const HEADS_MAX: usize = 4096;
/// How often the DHT is told what the store has, beside after `reg rm`: eviction removes models meanwhile. A provider record lives
/// for a day.
pub(super) const HOLD_AGAIN: Duration = Duration::from_secs(600);
/// Tags that are gossiped at the start of a node. A neighbour looks at 120 announcements of a peer in a minute, takes a
/// few pages of heads when it connects, and finds every name by asking for it.
pub(super) const START_ANNOUNCEMENTS_MAX: usize = 100;
/// Bytes of all remembered tags together.
pub(super) const HEADS_BYTES_MAX: usize = 16 << 20;
/// Holders remembered for one tag: the newest ones.
pub(super) const HOLDERS_PER_HEAD_MAX: usize = 16;
/// Pages of heads taken from a peer when it connects: 256 heads.
pub(super) const HEAD_PAGES_MAX: usize = 8;
/// How often the catalogue is compared with peers: what gossip has lost is repaired within that time.
pub(super) const CATALOGUE_COMPARED_EVERY: Duration = Duration::from_secs(600);
/// Peers with which it is compared then: one of them may lie by leaving out.
pub(super) const CATALOGUE_PEERS_COMPARED: usize = 3;
/// How long a turn of one peer takes: a peer that answers each message at the last moment would go on for days, and the others
/// wait. A first comparison of 100,000 listings takes several turns.
pub(super) const CATALOGUE_COMPARISON_TIMEOUT: Duration = Duration::from_secs(60);
/// Syncs with one peer, each of bounded size, before others have their turn: 100,000 listings with cards are four.
pub(super) const SYNCS_IN_A_ROW_MAX: usize = 8;
/// Heads of a publisher that are taken from the catalogue for one answer, and verified: as many as a response has.
pub(super) const LISTED_HEADS_MAX: usize = TAGS_PER_RESPONSE_MAX;
/// Follows of which this node remembers what it has returned of the catalogue. Beyond, that is returned once more.
pub(super) const FOLLOWS_REMEMBERED: usize = 4096;
/// Samples that are taken of what a new neighbour lists: 256 listings.
pub(super) const SAMPLES_OF_NEIGHBOUR: usize = 4;
/// Publishers that all followed collections together make known and keep whole. Each costs a root that is compared with peers.
pub(super) const COLLECTED_PUBLISHERS_MAX: usize = 4096;
/// Entries of the catalogue up to which publishers that are only collected have room for new ones. The last quarter of what is
/// kept is for publishers that the user has named or follows, so that no collection crowds them out.
pub(super) const COLLECTED_KEPT_MAX: usize = reg_catalogue::KEPT_MAX / 4 * 3;
/// How often what was listed is written to the disk, and how soon the catalogue follows what the user keeps.
pub(super) const CATALOGUE_COMMITTED_EVERY: Duration = Duration::from_secs(10);
/// How long nothing must have been listed until the memory of the writer is freed.
pub(super) const CATALOGUE_RESTS_AFTER: Duration = Duration::from_secs(120);

/// Pages of declarations taken from a peer when it connects: 256 publishers.
pub(super) const DECLARATION_PAGES_MAX: usize = 8;
/// Bytes of the envelopes in one page of declarations: half of the bound of an answer's header, because a quote in JSON
/// within JSON takes a second byte.
pub(super) const DECLARATION_PAGE_BYTES_MAX: usize = RESPONSE_HEADER_BYTES_MAX / 2;
/// How long peers are asked for what a publisher has signed before its keys change: as long as a user waits for a rotation.
pub(super) const INHERITANCE_PATIENCE: Duration = Duration::from_secs(30);
/// How long peers are asked for the documents of one model then: reachable peers answer within one.
pub(super) const MODEL_PATIENCE: Duration = Duration::from_secs(3);
/// How long a pull that found nothing waits for the peers that its user named to say in which swarm they are.
pub(super) const FOREIGN_PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks whether one has.
pub(super) const FOREIGN_LOOK: Duration = Duration::from_millis(50);
/// Outdated peers that one failed pull names: enough to see the cause.
pub(super) const OUTDATED_NAMED_MAX: usize = 4;
/// Revocations stored of one publisher: those that count, and as many that may count again under a list to come.
pub(super) const REVOCATIONS_STORED_MAX: usize = 2 * REVOCATIONS_MAX;
/// Publishers with keys that are asked for at once, after gossip without their list.
pub(super) const KEYS_ASKED_MAX: usize = 16;
/// Peers that are asked for the keys of one publisher: one honest one is enough.
pub(super) const PEERS_ASKED_FOR_KEYS: usize = 4;
/// Branches kept for one publisher: with each of them the user can decide, and a thief can make any number.
pub(super) const FORKS_PER_PUBLISHER_MAX: usize = 4;
/// Branches kept of publishers that are not followed: an attacker can make any number of such publishers.
pub(super) const FORKS_OF_STRANGERS_MAX: usize = 256;
/// Witnesses kept for one publisher: its own history, and a few that a thief of an old key may have made before.
pub(super) const WITNESSES_MAX: usize = 4;
/// Declarations of publishers without a tag that are remembered as passed on, so that they are not passed on again.
pub(super) const DECLARATIONS_PASSED_MAX: usize = 4096;

/// How long a preparation waits for its signatures before it is forgotten.
pub(super) const PREPARATION_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long a preparation keeps its tag from another publication that waits. A key file signs in milliseconds, and an agent
/// that asks its user in less than a minute; a command that takes longer has ended without a word.
pub(super) const SIGNING_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a waiting publication checks whether the one before has ended without a word.
pub(super) const TURN_LOOK: Duration = Duration::from_secs(1);
/// How long a publication waits for its turn: some publications that end without a word, one after the other.
pub(super) const TURN_TIMEOUT: Duration = Duration::from_secs(600);
/// Preparations that were taken over, remembered to tell their commands.
pub(super) const TAKEN_OVER_MAX: usize = 64;
/// Preparations that wait for their signatures.
pub(super) const PREPARATIONS_MAX: usize = 64;

/// How often a node commits its index, so that a power cut loses little of it.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// How long a gateway's client waits for a model to be resolved. Hugging Face's clients give up after 10 s without a
/// byte.
pub(super) const VIEW_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a gateway asks peers for a version that is kept here without one of its documents. An older version that stands in for
/// it is found within this time.
pub(super) const DAMAGED_PATIENCE: Duration = Duration::from_secs(5);
/// Tag records that are kept in memory because they were verified last, of about 2 KB each.
pub(super) const KNOWN_TAGS_MAX: usize = 1024;
/// How long a node that ends waits for its last announcements. They need a round trip to each connected peer.
pub(super) const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(3);
/// Publications that are announced at once. Further ones wait for one of these.
pub(super) const ANNOUNCING_MAX: usize = 64;
/// How long one publication is being announced at most: a peer that does not answer must not hold up the next ones.
pub(super) const ANNOUNCE_MAX: Duration = Duration::from_secs(30);
/// How long peers are asked whether none of them has a version, before the search for it just runs on: a gateway's client
/// learns within a second that there is none.
pub(super) const ABSENT_TIMEOUT: Duration = Duration::from_millis(900);
/// Peers of which all must say that they lack a version. Where more are connected, the search runs on: they are a sample of a
/// network in which others may have it.
pub(super) const ABSENT_ASKED_MAX: usize = 64;
/// How long that answer holds, so that a client that tries many names does not make this node ask its peers for each try.
pub(super) const ABSENT_FRESH: Duration = Duration::from_secs(5);
/// How long peers are asked for a model that is not in the store, for a gateway's client.
pub(super) const VIEW_PATIENCE: Duration = Duration::from_secs(6);
/// How long peers are asked whether a tag of a model in the store has moved, for a gateway's client.
pub(super) const REFRESH_QUICK: Duration = Duration::from_millis(1500);
/// How long a gateway answers by a resolved tag without asking again.
pub(super) const TAG_FRESH: Duration = Duration::from_secs(20);
/// How long a gateway answers by an older result while it resolves the tag again behind its clients, unless the node
/// has heard of a newer record. Resolving takes a second, which every client would wait for.
pub(super) const TAG_STALE: Duration = Duration::from_secs(120);
/// How long after the first request answers of slow peers still change what a tag means: as long as a gateway's client waits
/// for the first one.
pub(super) const PIN_BEGINS: Duration = VIEW_TIMEOUT;
/// How long a tag goes on meaning one version for a gateway's clients after they asked for it. A client that reads a file of
/// 5 GB at 10 MB/s asks for the next one within this time.
pub(super) const PIN_IDLE: Duration = Duration::from_secs(600);
/// How long a tag means one version for clients that never stop asking: a program that looks for a new version every few
/// minutes must see one.
pub(super) const PIN_MAX: Duration = Duration::from_secs(3600);
/// Views kept of models that gateways have resolved. A manifest may have 4 MiB; most have some kilobytes.
pub(super) const VIEWS_MAX: usize = 128;
/// Models partly in the store of which is remembered what their files say: some hundred bytes for each file.
pub(super) const DESCRIBED_MAX: usize = 32;
/// How long peers are asked for all tags of a model.
pub(super) const TAGS_TIMEOUT: Duration = Duration::from_secs(4);
/// Peers that are asked for all tags of a model.
pub(super) const PEERS_ASKED_FOR_TAGS: usize = 8;
/// How long a fetch on demand without readers keeps its peers. A client that reads file after file comes back soon.
pub(super) const ON_DEMAND_LINGER: Duration = Duration::from_secs(5);
/// How long a fetch on demand without any source waits before it looks for peers again.
pub(super) const LOOK_ANEW: Duration = Duration::from_secs(1);
/// How long a reader waits for any piece to arrive. Hugging Face's clients give up after 10 s without a byte.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(8);
/// How long the configuration of a model that is read is fetched. It has some kilobytes.
pub(super) const CONFIG_PATIENCE: Duration = Duration::from_secs(30);
/// Pieces read ahead of the client: 2 MiB for each client.
pub(super) const READ_AHEAD: usize = 2;
/// Files that gateways serve at once. Each takes 3 MiB of memory at most.
pub(super) const READERS_MAX: usize = 48;
/// How long a client waits for its turn before it is asked to come back.
pub(super) const READER_TURN: Duration = Duration::from_secs(8);
/// Files of one model with a remembered admission: as many as a model may have.
pub(super) const ADMISSIONS_MAX: usize = reg_proto::limits::FILES_MAX;
/// How long a client may read nothing before it loses its turn.
pub(super) const CLIENT_STALL: Duration = Duration::from_secs(60);

/// Available versions that an error names: as many as a reader looks at.
pub(super) const VERSIONS_NAMED_MAX: usize = 8;

/// Entries of a tar archive: five times as many files as a model may have.
pub(super) const TAR_ENTRIES_MAX: usize = 5 * reg_proto::limits::FILES_MAX;
/// Bytes of an extended header of a tar archive. Names of a layout have 77 bytes, and tools add times and owners.
pub(super) const TAR_EXTENSION_BYTES_MAX: u64 = 64 << 10;
/// Models of one archive that are listed: an index has room for some thousand.
pub(super) const ARCHIVED_MODELS_MAX: usize = 1024;
/// Bytes of the referrers of one model in an archive, with what they carry, which are in memory at once: the largest
/// provenance, the largest bundle, and attestations.
pub(super) const BROUGHT_BYTES_MAX: usize = 32 << 20;
/// Bytes of a blob that are hashed and copied at once, in and out of an archive.
pub(super) const COPIED_AT_ONCE: usize = 1 << 20;
/// Small blobs of an archive that are synced together: 32 MiB of memory at most.
pub(super) const SMALL_COPIED_AT_ONCE: usize = 32;

/// Uploads through gateways that are under way at once.
pub(super) const UPLOADS_MAX: usize = 256;
/// How long an upload may be idle, and how long uploaded bytes wait to become part of a model.
pub(super) const UPLOAD_IDLE: Duration = Duration::from_secs(3600);
/// Uploaded blobs that wait to become part of a model: as many as a model may have.
pub(super) const UPLOADED_MAX: usize = reg_proto::limits::FILES_MAX;
/// Pushed manifests that wait for their provenance. Each has 4 MiB at most; most have some kilobytes.
pub(super) const HELD_MAX: usize = 256;
/// How long a reader waits where no peer has the blob. A peer that reconnects does so in seconds.
pub(super) const DESERTED_PATIENCE: Duration = Duration::from_secs(4);

/// Bytes of the document of one tag: its records, proofs and pending payload. Records take 2 KiB each as a rule; the largest
/// ones take 16 KiB, and then the oldest are left out.
pub(super) const TAG_DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Records in that document beside the head and its ancestors: those of models that the store has, and those that stand no
/// longer.
pub(super) const TAG_OTHERS_MAX: usize = 16;
/// Tags of publishers that this node has never pulled from with a proof of equivocation in the store: 4 MiB.
pub(super) const PROOFS_OF_STRANGERS_MAX: usize = 1024;
/// Proofs that are sent with one head, in gossip and in pages.
pub(super) const PROOFS_PER_HEAD_MAX: usize = 4;
/// Different records of one tag that one search compares: a few stale ones, and those that contradict each other.
pub(super) const TAGS_COMPARED_MAX: usize = 64;

/// How long a client waits for the first bytes of an endpoint's file. Hugging Face's clients give up after 10 s.
pub(super) const REMOTE_PATIENCE: Duration = Duration::from_secs(8);
/// Bytes of a file of an endpoint that git's SHA-1 names. Hubs keep larger ones in LFS.
pub(super) const PLAIN_BYTES_MAX: u64 = 64 << 20;
/// Files of the endpoint that are fetched at once: twice as many as one client asks for.
pub(super) const REMOTE_FETCHES_MAX: usize = 16;
/// How long a file of the endpoint is fetched without a reader. A client that was asked to come back does so.
pub(super) const REMOTE_LINGER: Duration = Duration::from_secs(30);
/// How long peers may take to say that they hold a file of the endpoint. The endpoint could send it meanwhile.
pub(super) const REMOTE_PEERS_PATIENCE: Duration = Duration::from_secs(2);
/// How long peers may send no byte of the file before the endpoint is asked.
pub(super) const REMOTE_PEERS_STALL: Duration = Duration::from_secs(5);
/// Peers that are asked whether they hold a file of the endpoint.
pub(super) const PEERS_ASKED_FOR_BLOB: usize = 32;

/// How long the set of shared blobs is remembered. A new model waits that long at most.
pub(super) const GIVEN_FRESH: Duration = Duration::from_secs(1);

/// Follows of one node. Each is looked at every few seconds.
pub(super) const FOLLOWS_MAX: usize = 256;
/// Versions that a follow remembers. Heads of tags beyond are left out, and counted.
pub(super) const FOLLOW_VERSIONS_MAX: usize = 512;
/// Bytes of the document of a follow: its versions at 400 bytes each, and the reasons of those that failed, of up to 1,200 bytes.
pub(super) const FOLLOW_BYTES_MAX: usize = 1 << 20;
/// Characters of the reason why a version was not pulled.
pub(super) const FOLLOW_WHY_CHARS_MAX: usize = 300;
/// How long after the user has begun to follow a version counts as one that was there before.
pub(super) const FOLLOW_FIRST: Duration = Duration::from_secs(600);
/// How often the follows are looked at for versions that are due. They come within a minute.
pub(super) const FOLLOW_TICK: Duration = Duration::from_secs(5);
/// How often peers are asked for the records of a followed publisher. Gossip brings most of them at once, and may be lost.
pub(super) const FOLLOW_LOOK: Duration = Duration::from_secs(600);
/// The same where no peer has answered; then twice as long, and so on, up to [`FOLLOW_LOOK`].
pub(super) const FOLLOW_LOOK_FIRST: Duration = Duration::from_secs(10);
/// How long one such look lasts.
pub(super) const FOLLOW_LOOK_TIMEOUT: Duration = Duration::from_secs(8);
/// Looks at once: each searches the DHT and dials.
pub(super) const FOLLOW_LOOKS_MAX: usize = 8;
/// Peers that are asked in one look: one may lag behind, or hide what it knows.
pub(super) const FOLLOW_PEERS_ASKED: usize = 8;
/// Models that one of these peers is asked for one by one, where it has more tags than one answer carries. The next look asks for
/// the next ones.
pub(super) const FOLLOW_MODELS_ASKED: usize = 64;
/// Pulls of followed versions at once, each of another publisher: two, so that one that waits for its peers holds up no other.
pub(super) const FOLLOW_PULLS_MAX: usize = 2;
/// How long a pull may take while others wait for their turn. It goes on later with what it has fetched.
pub(super) const FOLLOW_TURN: Duration = Duration::from_secs(30 * 60);
/// How long a version waits after a pull that failed; then twice as long, and so on,
pub(super) const FOLLOW_RETRY: Duration = Duration::from_secs(60);
/// ... up to this.
pub(super) const FOLLOW_RETRY_MAX: Duration = Duration::from_secs(3600);
/// How long a version has to be here until it is the one that is never given up: a fault in it would be known.
pub(super) const FOLLOW_AGED: Duration = Duration::from_secs(7 * 24 * 3600);
/// Models that `reg info` names of those that are derived from one, and bases that it names: a page of a terminal.
pub(super) const RELATIVES_SHOWN_MAX: usize = 20;
/// Models with which one comparison of tensors is made.
pub(super) const COMPARED_MODELS_MAX: usize = 8;
/// Weight files of a model with tensors that are compared: the largest models have a few hundred.
pub(super) const COMPARED_FILES_MAX: usize = 1024;
/// Bytes of a model that one comparison of tensors reads, and as many of the others: about a minute of a fast disk.
pub(super) const COMPARED_BYTES_MAX: u64 = 16 << 30;

/// How often the members of a private swarm are asked for their copies, unless one may be away for a few minutes only.
pub(super) const SPREAD_ASK: Duration = Duration::from_secs(60);
/// The same for the shortest times that can be configured.
pub(super) const SPREAD_ASK_MIN: Duration = Duration::from_secs(1);
/// How often a node looks for members that have just connected.
pub(super) const SPREAD_TICK: Duration = Duration::from_secs(5);
/// How often a member that is away is dialled. It dials the others itself when it comes back.
pub(super) const SPREAD_AWAY_ASK: Duration = Duration::from_secs(300);
/// How long one page of a member's list may take, the dial included.
pub(super) const SPREAD_ASK_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the whole list of a member may take: 6 MB at 50 kB/s. The round waits for it.
pub(super) const SPREAD_LIST_TIMEOUT: Duration = Duration::from_secs(120);
/// Members of a private swarm that a node knows of. Each asks all others every minute.
pub(super) const SPREAD_MEMBERS_MAX: usize = 256;
/// Models that all members together tell of: 60 MB. What a further list has is not known here.
pub(super) const SPREAD_TOLD_MAX: usize = 200_000;
/// Models that each member tells of in any case: with as many members as are known, all tell of twice [`SPREAD_TOLD_MAX`] at most.
pub(super) const SPREAD_TOLD_SHARE: usize = SPREAD_TOLD_MAX / SPREAD_MEMBERS_MAX;
/// Addresses of unknown peers that are dialled in one round, as members name them.
pub(super) const SPREAD_DIALS_MAX: usize = 16;
/// How long a member that was not drained is remembered while it is away.
pub(super) const SPREAD_FORGET: Duration = Duration::from_secs(30 * 24 * 3600);
/// Copies of a newer version, on different nodes, until those of the version before may be evicted: one is lost with its publisher.
pub(super) const SPREAD_NEWER_COPIES: usize = 2;
/// Rounds with the same members until a node that has just started acts.
pub(super) const SPREAD_SETTLES: u32 = 2;
/// Rounds after which it acts in any case.
pub(super) const SPREAD_SETTLES_MAX: u32 = 10;
/// Pieces that are asked for in one round to prove copies: at most as many MiB.
pub(super) const SPREAD_PROBES_MAX: usize = 16;
/// How long a member may take to send such a piece.
pub(super) const SPREAD_PROBE_TIMEOUT: Duration = Duration::from_secs(30);
/// Frames that a peer may send before the one piece that it is asked for, such as news of what it holds.
pub(super) const FRAMES_BEFORE_PIECE_MAX: usize = 16;
/// Pieces in a row that a member may leave unanswered before its copy counts as refused: it may be busy, or restart.
pub(super) const SPREAD_MISSES_MAX: u32 = 3;
/// How old a proof is when the next piece is asked for: half of the time for which it counts.
pub(super) const SPREAD_PROVE_AGAIN: Duration = Duration::from_secs(12 * 3600);
/// How long a copy that was refused counts for nothing before the member is asked again.
pub(super) const SPREAD_REFUTED: Duration = Duration::from_secs(3600);
/// Models that are fetched for the swarm at once: two, so that one that waits for its peers holds up no other.
pub(super) const SPREAD_FETCHES_MAX: usize = 2;
/// How long a model is left to others after this node could not take it; then twice as long, and so on,
pub(super) const SPREAD_RETRY: Duration = Duration::from_secs(600);
/// ... up to this.
pub(super) const SPREAD_RETRY_MAX: Duration = Duration::from_secs(6 * 3600);
/// Models of which is remembered that they could not be taken. With more, the one that is due first is forgotten, and tried at once.
pub(super) const SPREAD_REFUSALS_MAX: usize = 4096;
/// Attempts in a row that find no peer, before a model is left to others: its holders may be on their way back.
pub(super) const SPREAD_UNREACHED_MAX: u32 = 3;
/// Bytes of the file in which a node remembers the members: 20 of them with 20,000 models each.
pub(super) const SPREAD_FILE_BYTES_MAX: usize = 128 << 20;
/// Bytes of the document that says that a node is drained.
pub(super) const DRAIN_BYTES_MAX: usize = 1 << 10;
