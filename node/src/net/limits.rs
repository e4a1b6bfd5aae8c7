//! Every bound of the network, with its reason.

use std::time::Duration;

use reg_proto::dht::DhtKind;

/// Peers for which this node remembers why no lane goes to them; each takes a hundred bytes.
pub(super) const LANE_NOTES_MAX: usize = 1024;

/// How long a name in an address of this node may take to be looked up before strangers are told the address.
pub(super) const NAME_PATIENCE: Duration = Duration::from_secs(3);

/// Commands that wait for the event loop; the sender of one more waits.
pub(super) const COMMANDS_MAX: usize = 256;
/// Questions, streams and announcements, each kind, that wait for the registry. One more question is answered "busy";
/// one more stream is closed; one more announcement is ignored.
pub(super) const INBOUND_MAX: usize = 64;
/// Verdicts that the event loop waits for: one for each announcement that the registry is judging.
pub(super) const VERDICTS_MAX: usize = 128;
/// Providers of one key that wait for the caller of a look-up.
pub(super) const PROVIDERS_TOLD_MAX: usize = 64;
/// Providers of one key that a look-up dials: a name has three keys, and together they stay below [`CONNECTIONS_PENDING_MAX`].
/// A popular key has more providers. Each look-up brings others, and each provider names further holders.
pub const PROVIDERS_DIALLED_MAX: usize = 20;

/// Connections in all. Each costs a task, its TLS state and its yamux windows: some 100 KiB when idle.
pub(super) const CONNECTIONS_MAX: u32 = 512;
/// Inbound connections; the rest of [`CONNECTIONS_MAX`] is kept for outbound ones.
pub(super) const CONNECTIONS_INCOMING_MAX: u32 = 384;
/// Inbound peers above which each new one displaces the one that has been idle longest: so peers that only hold
/// connections open do not keep others out.
pub(super) const CONNECTIONS_INCOMING_CROWDED: usize = 352;
/// Peers that stay connected where more come and go. Gossip, introductions and the DHT need fewer, and each costs a ping
/// every five seconds.
pub(super) const PEERS_TARGET: usize = 40;
/// Peers that this node has dialled and keeps, the oldest first: half of [`PEERS_TARGET`], so that a crowd that dials this
/// node displaces none of them.
pub(super) const OUTGOING_KEPT: usize = PEERS_TARGET / 2;
/// Peers of this swarm that this node must have dialled before it dials no neighbour any more: strangers that dial this node
/// must not be all that it is connected to.
pub(super) const OUTGOING_ENOUGH: usize = PEERS_TARGET / 4;
/// Peers that stay though nothing depends on them, where more than [`PEERS_TARGET`] are needed: streams of strangers must not
/// take all the places.
pub(super) const FREE_KEPT: usize = PEERS_TARGET / 4;
/// How long a blob stream without a frame keeps its peer connected in a crowd: 1 MiB at 16 KiB/s takes a minute.
pub(super) const STREAM_IDLE: Duration = Duration::from_secs(300);
/// How long a peer is of use after either end has asked the other for something: a user types the next command.
pub(super) const PEER_OF_USE: Duration = Duration::from_secs(120);
/// How long a new peer stays at least: its first questions come within that time.
pub(super) const PEER_SETTLES: Duration = Duration::from_secs(5);
/// Addresses of one peer that this node names to another.
pub(super) const ADDRESSES_TOLD_MAX: usize = 4;
/// Addresses at which a peer is dialled that another peer has named: as many as an honest one names. A message has room for 16, and
/// each of them may be a machine that is no node. It costs up to two connections, with TLS and then with noise, so the 256 peers
/// to which a search is introduced cost at most 2,048.
pub(super) const ADDRESSES_DIALLED_MAX: usize = ADDRESSES_TOLD_MAX;
/// Connections to one peer: one for each transport and direction, and some that are being replaced.
pub(super) const CONNECTIONS_PER_PEER_MAX: u32 = 8;
/// Connections that are being set up, in each direction.
pub(super) const CONNECTIONS_PENDING_MAX: u32 = 64;
/// How long a peer that has cost this node too much is refused. A peer that did so by accident is back soon.
pub(super) const REFUSAL: Duration = Duration::from_secs(600);
/// Refused peers that this node remembers.
pub(super) const REFUSED_PEERS_MAX: usize = 1024;
/// Peers of version 1 that are named to the user: more say nothing more.
pub(super) const OUTDATED_PEERS_MAX: usize = 64;
/// How long such a peer stays connected, so that its first question is answered: it is told to upgrade.
pub(super) const OUTDATED_PATIENCE: Duration = Duration::from_secs(3);
/// How long such a peer is named after it was met: it dials again every two minutes.
pub(super) const OUTDATED_REMEMBERED: Duration = Duration::from_secs(3600);
/// Memory of the process above which no connection is taken.
pub(super) const MEMORY_MAX: usize = 1 << 30;
/// Streams of one connection: the protocols use fewer than twenty, and a swarm a few more.
pub(super) const STREAMS_PER_CONNECTION_MAX: usize = 128;

/// An idle connection is closed after this: long enough for a user to type the next command.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How often this node measures a peer's round trip. It shows a queue on the uplink within seconds, for some 40 bytes a
/// second.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long after the last bytes of a piece on a TCP connection its round trips say nothing of the line: the next answers still
/// waited behind them.
pub(super) const ROUND_TRIP_FREE: Duration = PING_INTERVAL.saturating_mul(2);
/// Streams that are opened before it is known that they are needed: the first peers of a few searches.
pub(super) const AHEAD_MAX: usize = 8;
/// How long such a stream waits for a download: an answer for a name is verified by then, and its version proven.
pub(super) const AHEAD_FOR: Duration = Duration::from_secs(10);
/// How long the peer of such a stream may take to offer a lane.
pub(super) const AHEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a download waits for such a stream before it opens one itself. The peer has answered for the name already, and another
/// stream of the same connection waits for the same lost packets.
pub(super) const AHEAD_WAIT: Duration = Duration::from_secs(2);
/// Lanes that a far peer is asked for ahead: at 20 % loss, one of three connections is mostly a quick one.
pub(super) const LANES_AHEAD: usize = 3;
/// How long a connection is new: its first round trips, around the world too.
pub(super) const GATHER_WHILE: Duration = Duration::from_secs(1);
/// How long small writes of a new connection wait for others: a hundredth of a long round trip.
pub(super) const GATHER_FOR: Duration = Duration::from_millis(1);
/// Bytes that wait for others: a few packets. A write that has no room beside them is sent after them at once.
pub(super) const GATHER_BYTES_MAX: usize = 4 << 10;
/// How long a dial may take, a slow DNS server included.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a question may take: a manifest of 4 MiB over 3 Mbit/s.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(15);
/// Questions of one connection under way at once, in each direction.
pub(super) const QUESTIONS_MAX: usize = 32;

/// Streams that wait for a connection to their peer.
pub(super) const OPENS_WAITING_MAX: usize = 256;

/// Peers for which this node counts announcements.
pub(super) const PEERS_MAX: usize = 1024;
/// Addresses remembered of one peer.
pub(super) const ADDRESSES_PER_PEER_MAX: usize = 16;

/// Peers that have gone, and of which this node remembers the addresses: a pull dials its sources again. libp2p forgets an address at
/// the first dial that fails.
pub(super) const GONE_MAX: usize = 256;

/// Neighbours found by mDNS that this node remembers: an office, not a conference.
pub(super) const NEIGHBOURS_MAX: usize = 256;

/// A bootstrap peer or a neighbour that is not connected is dialled again after this, then after twice as long, and so
/// on.
pub(super) const BOOTSTRAP_RETRY: Duration = Duration::from_secs(2);
/// How long a peer was connected before its next loss begins with the first wait again: a crowded peer disconnects sooner.
pub(super) const BOOTSTRAP_SETTLES: Duration = Duration::from_secs(120);
/// ... up to this.
pub(super) const BOOTSTRAP_RETRY_MAX: Duration = Duration::from_secs(120);
/// Peers that this node remembers from one start to the next: some hundred kilobytes, and many times what is dialled.
pub(super) const REMEMBERED_MAX: usize = 256;
/// Of these, peers of which only the peer itself has said where it listens: a quarter, so that claims never crowd out peers
/// that were reached.
pub(super) const REMEMBERED_CLAIMS_MAX: usize = REMEMBERED_MAX / 4;
/// Remembered peers with addresses in one /24 (IPv4), /48 (IPv6) or domain: one party can have all of these.
pub(super) const REMEMBERED_PER_GROUP_MAX: usize = 4;
/// Addresses that are remembered of one peer: TCP and QUIC, for two IP versions.
pub(super) const ADDRESSES_REMEMBERED_MAX: usize = 4;
/// Addresses that the user may add: a person types them.
pub(super) const NAMED_PEERS_MAX: usize = 64;
/// Bytes of the file of remembered peers, with the longest addresses: some 1.2 KiB for each peer.
pub(super) const REMEMBERED_FILE_BYTES_MAX: usize = 512 << 10;
/// How old a time must be, in seconds, until a later one is news: the file need not be written for every message.
pub(super) const REMEMBERED_STEP: u64 = 3600;
/// How long it counts that a peer was of use, in seconds: 90 days.
pub(super) const REMEMBERED_USE: u64 = 90 * 86_400;
/// Failed dials in a row after which a remembered peer may be forgotten ...
pub(super) const FORGET_FAILURES: u32 = 3;
/// ... where its last success is older than this, in seconds: machines are off over a weekend.
pub(super) const FORGET_USELESS_AFTER: u64 = 3 * 86_400;
/// The same for a peer that was of use, in seconds: its owner may be on holiday.
pub(super) const FORGET_USEFUL_AFTER: u64 = 30 * 86_400;
/// Remembered peers that are dialled at once: a quarter of [`CONNECTIONS_PENDING_MAX`].
pub(super) const REDIALS_AT_ONCE: usize = 16;
/// Peers that this node has dialled from which on no remembered peer is dialled: enough to ask and to be introduced by.
pub(super) const REDIAL_BELOW: usize = 8;
/// A remembered peer that was not reached is dialled again after this, then after twice as long, and so on ...
pub(super) const REDIAL_AGAIN: Duration = Duration::from_secs(60);
/// ... up to this.
pub(super) const REDIAL_AGAIN_MAX: Duration = Duration::from_secs(3600);
/// How soon the first news is written: a node that is killed soon after its first meeting has learnt something.
pub(super) const REMEMBER_FIRST: Duration = Duration::from_secs(3);
/// How long later news waits, so that the file is written rarely.
pub(super) const REMEMBER_LATER: Duration = Duration::from_secs(180);
/// How often the peers that stay connected are recorded again.
pub(super) const REMEMBER_CONNECTED: Duration = Duration::from_secs(3600);

/// How often the event loop does what is due.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Keys of other peers that the DHT's store keeps: at some 300 bytes each, 5 MiB.
pub(super) const DHT_RECORDS_MAX: usize = 16_384;
/// Providers of one key that are kept: of more, a random sample.
pub(super) const DHT_PROVIDERS_PER_KEY_MAX: usize = 64;
/// Keys that one peer may provide in this node's store.
pub(super) const DHT_KEYS_PER_PEER_MAX: usize = 1024;
/// Keys of one kind that this node provides: the manifests of a mirror, for example. Each costs a look-up and twenty messages in ten
/// hours.
pub(super) const DHT_OWN_KEYS_PER_KIND_MAX: usize = 4096;
/// Keys of all kinds that this node provides.
pub(super) const DHT_OWN_KEYS_MAX: usize = DhtKind::ALL.len() * DHT_OWN_KEYS_PER_KIND_MAX;
/// How long a publisher stays provided while a model of it may be on its way: most pulls take less than a day.
pub(super) const DHT_PUBLISHER_STAYS: Duration = Duration::from_secs(24 * 3600);
/// Keys that this node could provide and remembers: at some 150 bytes each, 10 MiB. What is beyond is only counted.
pub(super) const DHT_KEYS_KNOWN_MAX: usize = 65_536;
/// Other providers of a model, a manifest or a blob that are enough: a look-up brings more peers than a download needs to begin.
pub(super) const DHT_PROVIDERS_ENOUGH: usize = 20;
/// Queries of the DHT under way at once.
pub(super) const DHT_QUERIES_MAX: usize = 64;
/// How long a query of the DHT may take.
pub(super) const DHT_QUERY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long after the start a look-up waits for the first peer of the DHT: a bootstrap peer on another continent. A command's node
/// looks up a name before it is connected to any peer.
pub(super) const DHT_FIRST_PEER: Duration = Duration::from_secs(2);
/// How long other nodes keep a provider record of this node.
pub(super) const DHT_RECORD_TTL: Duration = Duration::from_secs(24 * 3600);
/// How often this node provides each of its keys again.
pub(super) const DHT_PROVIDE_AGAIN: Duration = Duration::from_secs(10 * 3600);
/// Own keys that this node provides again in one tick, so that a mirror's many keys spread over time.
pub(super) const DHT_PROVIDE_PER_TICK: usize = 8;
/// While the DHT knows fewer peers than this, this node provides its keys again for every new one.
pub(super) const DHT_SMALL: usize = 40;
/// ... but not more often than this.
pub(super) const DHT_PROVIDE_SMALL: Duration = Duration::from_secs(3);

/// Publishers with a key under which this node is announced in BitTorrent's DHT: its own, and those that the user has named.
pub(super) const RENDEZVOUS_PUBLISHERS_MAX: usize = 64;
/// Connected peers above which no strangers are looked for.
pub(super) const RENDEZVOUS_PEERS_ENOUGH: usize = 8;
/// How long a node without enough peers waits before it looks for strangers again; then twice as long, and so on.
pub(super) const RENDEZVOUS_SEEK_FIRST: Duration = Duration::from_secs(1);
/// ... up to this.
pub(super) const RENDEZVOUS_SEEK_LATER: Duration = Duration::from_secs(300);
/// How long a search waits for strangers: a cold client needs some seconds, and each dial up to ten.
pub(super) const RENDEZVOUS_SEEK_PATIENCE: Duration = Duration::from_secs(20);
/// How often this node looks whether it has enough peers, and whether it is reached.
pub(super) const RENDEZVOUS_LOOK: Duration = Duration::from_secs(15);
/// How often this node announces each of its keys again. Nodes of BitTorrent's DHT forget an announcement after half an hour.
pub(super) const RENDEZVOUS_ANNOUNCE_AGAIN: Duration = Duration::from_secs(15 * 60);
/// ... and after an announcement that no node has stored.
pub(super) const RENDEZVOUS_ANNOUNCE_RETRY: Duration = Duration::from_secs(5);
/// How long an announcement may take: a look-up, and one more round trip.
pub(super) const RENDEZVOUS_ANNOUNCE_MAX: Duration = Duration::from_secs(30);
/// How long a look-up may take. It asks nodes in turn, and waits two seconds for those that have gone.
pub(super) const RENDEZVOUS_LOOK_UP_MAX: Duration = Duration::from_secs(20);
/// Addresses that are taken of one answer. Twenty nodes answer, and none of them may crowd out the others.
pub(super) const RENDEZVOUS_TAKEN_OF_ANSWER: usize = 8;
/// Addresses that are taken of one look-up.
pub(super) const RENDEZVOUS_TAKEN_OF_LOOK_UP: usize = 160;
/// Strangers that are dialled at once: an eighth of [`CONNECTIONS_PENDING_MAX`].
pub(super) const RENDEZVOUS_DIALS_AT_ONCE: usize = 8;
/// Strangers that are dialled without a pause: a few look-ups of a node that has just started.
pub(super) const RENDEZVOUS_DIALS_BURST: u32 = 64;
/// After these, one more is dialled in this time: 360 in an hour.
pub(super) const RENDEZVOUS_DIAL_EVERY: Duration = Duration::from_secs(10);
/// How long an address is not dialled again.
pub(super) const RENDEZVOUS_DIAL_AGAIN: Duration = Duration::from_secs(60);
/// Ports of one machine that are dialled within [`RENDEZVOUS_DIAL_AGAIN`]: nodes behind one NAT.
pub(super) const RENDEZVOUS_DIALS_OF_HOST: usize = 8;
/// Keys of others that this node stores where it serves BitTorrent's DHT, and ...
pub(super) const RENDEZVOUS_STORED_KEYS: usize = 256;
/// ... peers of each: some MiB in all.
pub(super) const RENDEZVOUS_STORED_PEERS: usize = 64;
/// Requests of BitTorrent's DHT that this node answers in a second, each with some 600 bytes.
pub(super) const RENDEZVOUS_ANSWERS_PER_SECOND: u64 = 20;

/// Announcements that one peer may pass on in a minute; more are ignored.
pub(super) const ANNOUNCEMENTS_PER_MINUTE: u32 = 120;
/// Own announcements that wait for the first peer that subscribes to gossip.
pub(super) const ANNOUNCEMENTS_WAITING_MAX: usize = 256;

/// Relays that this node holds reservations with: one may disappear.
pub(super) const RELAYS_MAX: usize = 2;
/// Relays that this node remembers.
pub(super) const RELAYS_OFFERED_MAX: usize = 16;
/// How long this node waits before it asks a relay again that has refused a reservation, or lost it.
pub(super) const RELAY_RETRY: Duration = Duration::from_secs(30);
/// Peers that hold a reservation with this node: each costs an idle connection, which exists anyway.
pub(super) const RESERVATIONS_MAX: usize = 256;
/// Reservations of one peer: one for each of its connections.
pub(super) const RESERVATIONS_PER_PEER_MAX: usize = 2;
/// How long a reservation is valid; the peer renews it before it ends.
pub(super) const RESERVATION_DURATION: Duration = Duration::from_secs(3600);
/// Circuits through this node at once.
pub(super) const CIRCUITS_MAX: usize = 64;
/// Circuits of one peer at once.
pub(super) const CIRCUITS_PER_PEER_MAX: usize = 8;
/// How long a circuit lives: longer than three attempts at hole punching.
pub(super) const CIRCUIT_DURATION_MAX: Duration = Duration::from_secs(60);
/// Bytes through a circuit: names, records and most manifests, never a piece.
pub(super) const CIRCUIT_BYTES_MAX: u64 = 256 << 10;

/// How long a blob stream waits for a direct connection to a peer that is connected through a relay. Where hole
/// punching works, the first attempt mostly succeeds, within a few round trips; where it fails, each dial takes its
/// whole time-out.
pub(super) const PUNCH_PATIENCE: Duration = Duration::from_secs(12);
/// Lanes that this node serves at once: each costs a thread and 2 MiB of buffers.
pub(super) const LANES_SERVED_MAX: usize = 64;
/// Lanes that this node serves before each peer has one only: those that many pullers need come before those that make one
/// puller faster.
pub(super) const LANES_SERVED_MANY: usize = LANES_SERVED_MAX / 2;
/// Lanes from all peers together above which a slow peer gets no further ones: many peers bring enough, and each lane has a thread.
pub(super) const LANES_FETCHING_MANY: usize = 8;
/// Lanes to one peer: each uses one core, which encrypts some GB/s, and few disks write more than 40 Gbit/s.
pub const LANES_PER_PEER_MAX: usize = 4;
/// Tokens that wait for their connection.
pub(super) const LANE_TOKENS_MAX: usize = 256;
/// Tokens of one peer that wait: its lanes, and as many tries.
pub(super) const LANE_TOKENS_PER_PEER_MAX: usize = 2 * LANES_PER_PEER_MAX;
/// How long a token waits: a connection and a handshake over a satellite.
pub(super) const LANE_TOKEN_TTL: Duration = Duration::from_secs(20);
/// Handshakes of lanes under way at once, each with some 40 KiB; further connections are closed.
pub(super) const LANE_HANDSHAKES_MAX: usize = 32;
/// Handshakes of one address under way at once, so that no peer takes all of them: as many as one peer has lanes.
pub(super) const LANE_HANDSHAKES_PER_ADDRESS_MAX: usize = LANES_PER_PEER_MAX;
/// How long a handshake may take, the token included.
pub(super) const LANE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connecting to a lane may take: many firewalls drop packets without an answer.
pub(super) const LANE_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the first connection to a lane may take before a second one is begun: a round trip around the world, and less than the
/// second after which TCP sends its first packet again.
pub(super) const LANE_CONNECT_AGAIN: Duration = Duration::from_millis(500);
/// How long a puller may read nothing from a lane before this node closes it.
pub(super) const LANE_STALL: Duration = Duration::from_secs(30);
/// Records that one key seals: 64 GiB in records of 16 KiB, far below AES-GCM's 2^24.5 (RFC 8446, section 5.5). Then
/// the lane ends, and the puller opens another.
pub(super) const LANE_RECORDS_MAX: u64 = 1 << 22;
/// Bytes that are read from a lane's socket at once: few enough to stay in a core's cache until they are decrypted.
pub(super) const LANE_RECEIVE_BYTES: usize = 256 << 10;
/// Bytes of a piece that are encrypted and written to a lane's socket at once: as above.
pub(super) const LANE_SEND_BYTES: usize = 256 << 10;

/// Buffers for pieces, for all pulls together: 64 MiB. A task that receives from a peer waits while all are in use.
pub(super) const PIECES_IN_MEMORY_MAX: usize = 64;
