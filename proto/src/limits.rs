//! Lists the limits on what nodes read, store and send, each with its reason.
//!
//! This module has the limits that two nodes must agree on. A limit of one module of the node is defined in that module.

/// Bytes of a blob: 1 TiB. The largest single weight files are below 1/10 of this. The states of such a blob take 32 MiB.
pub const BLOB_BYTES_MAX: u64 = 1 << 40;
/// Bytes of a piece states document: 32 for each piece of the largest blob.
pub const STATES_BYTES_MAX: u64 = (BLOB_BYTES_MAX >> 20) * 32;

/// Bytes of a manifest, as OCI registries allow (distribution-spec, "at least 4 megabytes").
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Files of a model. The largest sharded models have some hundreds. A manifest of 4 MiB cannot hold as many as this.
pub const FILES_MAX: usize = 20_000;
/// Annotations of a descriptor or manifest: ModelPack defines fewer than ten.
pub const ANNOTATIONS_MAX: usize = 64;
/// Bytes of a ModelPack config, which names the digest of every file: 74 bytes for each of [`FILES_MAX`].
pub const CONFIG_BYTES_MAX: usize = 2 << 20;
const _: () =
    assert!(FILES_MAX * 75 < CONFIG_BYTES_MAX, "a model of as many files as are allowed has a config");

/// Nesting of any JSON document: OCI, in-toto and this project's records stay below ten.
pub const JSON_DEPTH_MAX: usize = 32;

/// Bytes of a path inside a model. Linux's PATH_MAX leaves room for a destination before it.
pub const PATH_BYTES_MAX: usize = 1024;
/// Bytes of one segment of a path: NAME_MAX of every common file system.
pub const PATH_SEGMENT_BYTES_MAX: usize = 255;
/// Segments of a path: models have no deeper trees, and each segment costs a directory.
pub const PATH_SEGMENTS_MAX: usize = 32;

/// Characters of a model name: as many as Hugging Face's clients take, beside an owner of any length.
pub const MODEL_NAME_CHARS_MAX: usize = 96;
/// Characters of a tag, as in the OCI distribution specification.
pub const TAG_CHARS_MAX: usize = 128;
/// Characters of a petname: shorter than a publisher id, so that none can look like one.
pub const PETNAME_CHARS_MAX: usize = 32;

/// Bytes of a text that is read as a domain: four times the 253 characters of the longest one, for other spellings.
pub const DOMAIN_TEXT_BYTES_MAX: usize = 1024;
/// Peers that a domain names: enough to find one that is there. They are dialled at once.
pub const DOMAIN_PEERS_MAX: usize = 16;
/// Bytes of the file of a domain: as many addresses of full length, twice.
pub const DOMAIN_FILE_BYTES_MAX: usize = 2 * DOMAIN_PEERS_MAX * ADDRESS_BYTES_MAX;
/// Bytes of the TXT record of a domain: it fits into a DNS message of 1,232 bytes, which crosses every path in one packet.
pub const DOMAIN_TXT_BYTES_MAX: usize = 1000;

/// Keys of one key document: enough for the signers of an organisation.
pub const KEYS_MAX: usize = 16;
/// Key documents of one publisher: one rotation a month for more than ten years.
pub const KEY_DOCUMENTS_MAX: usize = 128;
/// Statements by older keys that a key document takes over: tags, provenances and attestations of some 5,000 models.
pub const INHERITED_MAX: usize = 16_384;
/// Bytes of an inheritance list as text: 32 bytes for each entry, in base64, behind a prefix.
pub const INHERITANCE_TEXT_BYTES_MAX: usize = INHERITED_MAX * 43 + 16;
/// Bytes of an inheritance list as text in a gossiped announcement: 370 entries beside the records.
pub const INHERITANCE_GOSSIPED_BYTES_MAX: usize = 16 << 10;
/// Texts of a publisher's keys in a message: its key documents and the inheritance list.
pub const KEY_TEXTS_MAX: usize = KEY_DOCUMENTS_MAX + 1;
/// Bytes of the key documents of one publisher as a JSON array: quotes in the envelopes are escaped there.
pub const KEY_HISTORY_BYTES_MAX: usize =
    KEY_DOCUMENTS_MAX * 2 * KEY_ENVELOPE_BYTES_MAX + INHERITANCE_TEXT_BYTES_MAX;
/// Signatures on one envelope: the old and the new signers of a rotation.
pub const SIGNATURES_MAX: usize = 2 * KEYS_MAX;
/// Bytes of a key document in its envelope: 16 keys and 32 signatures take 8 KiB.
pub const KEY_ENVELOPE_BYTES_MAX: usize = 16 << 10;
/// Bytes of a tag record in its envelope.
pub const TAG_ENVELOPE_BYTES_MAX: usize = 16 << 10;
/// The highest number of a tag record: the largest integer that every JSON reader represents exactly.
pub const SEQ_MAX: u64 = (1 << 53) - 1;
/// How far a record's number may be above the last seen one: one record a minute for two years. So a stolen key cannot
/// use up the numbers of a tag.
pub const SEQ_JUMP_MAX: u64 = 1 << 20;
/// Records that one tag record settles: enough for a few accidents. Each takes 74 bytes.
pub const SETTLES_MAX: usize = 16;
/// Older records of a tag that a node remembers beside the head: a release each week for four months.
pub const TAG_ANCESTORS_MAX: usize = 16;
/// Proofs of equivocation that a node remembers of a tag. The first one freezes it.
pub const TAG_PROOFS_MAX: usize = 16;
/// Given-up numbers that a node remembers of a tag. The newest ones decide the next number.
pub const TAG_ABANDONED_MAX: usize = 16;
/// Bytes of a revocation in its envelope: 16 signatures and a reason take 3 KiB.
pub const REVOCATION_BYTES_MAX: usize = 4 << 10;
/// Characters of a revocation's reason: one line.
pub const REASON_CHARS_MAX: usize = 200;
/// Revocations of one publisher: all its keys, and some models.
pub const REVOCATIONS_MAX: usize = 128;
/// Newest revocations in a gossiped announcement. A peer that connects gets all of them.
pub const REVOCATIONS_GOSSIPED_MAX: usize = 4;
/// Bytes of a delegation in its envelope.
pub const DELEGATION_BYTES_MAX: usize = 4 << 10;
/// Delegations of one publisher: enough for teams, not for users.
pub const DELEGATIONS_MAX: usize = 32;
/// Bytes of a profile in its envelope: 16 signatures take 3 KiB, and its texts less than 1 KiB.
pub const PROFILE_BYTES_MAX: usize = 8 << 10;
/// Bytes of the address of a publisher's page.
pub const HOMEPAGE_BYTES_MAX: usize = 200;
/// Delegations that a resolver follows from one name: a foundation, its lab, the lab's contractor.
pub const DELEGATION_DEPTH_MAX: usize = 3;
/// Proofs of equivocation in one response: two records of 2 KiB each.
pub const PROOFS_PER_RESPONSE_MAX: usize = 16;
/// Bytes of a provenance statement in its envelope: 20,000 files' states digests of 160 bytes, in base64.
pub const PROVENANCE_BYTES_MAX: usize = 5 << 20;
/// Bytes of an OpenSSF bundle: as for provenance, with two certificates.
pub const BUNDLE_BYTES_MAX: usize = 8 << 20;

/// Valid signatures that a process remembers, so that what it has verified costs nothing when it comes again: eight
/// publishers with the longest key histories, or 60,000 tag records. Each takes about 50 bytes.
pub const SIGNATURES_REMEMBERED_MAX: usize = 1 << 16;
/// Verifications that one key history may cost: each document is signed by the keys of two documents.
pub const VERIFICATIONS_PER_HISTORY_MAX: usize = KEY_DOCUMENTS_MAX * SIGNATURES_MAX;
/// Verifications that one answer about a publisher may cost: its longest key history, and twice as much for its tag
/// records, revocations, delegations and proofs. So a node that passes on what it was sent stays within the budget.
pub const VERIFICATIONS_PER_ANSWER_MAX: usize = 3 * VERIFICATIONS_PER_HISTORY_MAX;
/// Verifications that one announcement may cost: more than [`ANNOUNCEMENT_BYTES_MAX`] has room for, which is 136 bytes
/// for each signature that counts for two documents.
pub const VERIFICATIONS_PER_ANNOUNCEMENT_MAX: usize = 512;
const _: () = assert!(VERIFICATIONS_PER_ANNOUNCEMENT_MAX * 136 > ANNOUNCEMENT_BYTES_MAX);
/// Verifications that one page of heads or declarations may cost: as much as its announcements.
pub const VERIFICATIONS_PER_PAGE_MAX: usize = HEADS_PER_PAGE_MAX * VERIFICATIONS_PER_ANNOUNCEMENT_MAX;

/// Attestations of one manifest that a node stores and shows: four kinds by each of eight attestors.
pub const ATTESTATIONS_MAX: usize = 32;
/// Attestations of one attestor about one manifest: one of each kind.
pub const ATTESTATIONS_BY_ONE_MAX: usize = 4;
/// Entries of a denylist: far more than any list of bad models has today.
pub const DENYLIST_ENTRIES_MAX: usize = 10_000;
/// Bytes of a denylist: 10,000 entries with a reason of 256 bytes each.
pub const DENYLIST_BYTES_MAX: usize = 4 << 20;

/// Bytes of a card's payload. A node keeps some 100,000 cards, so each is as small as a paragraph.
pub const CARD_BYTES_MAX: usize = 1024;
/// Bytes of a card in its envelope: 16 signatures take 3 KiB, and the payload in base64 less than 2 KiB.
pub const CARD_ENVELOPE_BYTES_MAX: usize = 8 << 10;
/// Languages in a card. Models for more say so in their summary.
pub const CARD_LANGUAGES_MAX: usize = 8;
/// Formats in a card: most models have files of one to four.
pub const CARD_FORMATS_MAX: usize = 8;
/// Quantisations in a card: as many as the usual series of GGUF files of one model.
pub const CARD_QUANTISATIONS_MAX: usize = 16;
/// Characters of a short name in a card: the longest name of a format has 16, and those of quantisations and languages fewer.
pub const SHORT_NAME_CHARS_MAX: usize = 24;

/// Bytes of a tombstone in its envelope: 16 signatures take 3 KiB, and its names less than 1 KiB.
pub const TOMBSTONE_BYTES_MAX: usize = 6 << 10;

/// Publishers in one page of roots: 32 KiB.
pub const ROOTS_PER_PAGE_MAX: usize = 1024;
/// Bytes of a page of roots: 16 each of id and root.
pub const ROOTS_PAGE_BYTES_MAX: usize = ROOTS_PER_PAGE_MAX * 32;
/// Publishers in one question for listings: with ten tags each, the question has 12 KiB.
pub const PUBLISHERS_PER_QUESTION_MAX: usize = 64;
/// Parts of one publisher's trie in one question: as many as a byte counts.
pub const PARTS_PER_PUBLISHER_MAX: usize = 255;
/// Items that the asker names in one part: 512 bytes, which is less than one listing. A larger part is asked about by hashes.
pub const PAIRS_PER_PART_MAX: usize = 32;
/// Bytes of a question for listings.
pub const QUESTIONS_BYTES_MAX: usize = 64 << 10;
/// Bytes of a page of listings: some 500 listings with cards.
pub const LISTINGS_BYTES_MAX: usize = 1 << 20;
/// Blocks in a page of listings. A question has room for 500 parts by hashes, a page for 3,500 of the shortest listings.
pub const BLOCKS_PER_PAGE_MAX: usize = 8192;
/// Bytes of a publisher's keys and revocations in a page of listings: more than a hundred key documents of one key.
pub const LISTED_KEYS_BYTES_MAX: usize = 256 << 10;
/// Listings in a sample: each of another publisher, with keys, takes some 3 KiB.
pub const SAMPLE_MAX: usize = 64;
/// Requests of one sync: the roots of a million publishers, and listings of as many bytes as are allowed, in small pages.
pub const SYNC_MESSAGES_MAX: usize = 4096;
/// Bytes of one sync in both directions: some 30,000 listings with cards. A new node needs a few syncs.
pub const SYNC_BYTES_MAX: usize = 64 << 20;
/// Listings of one publisher in one sync, so that others have their share of the sync.
pub const LISTINGS_PER_SYNC_MAX: usize = 8192;
/// Entries of a collection: as many as a person can choose.
pub const COLLECTION_ENTRIES_MAX: usize = 4096;
/// Bytes of a collection: as many entries with the longest names and words.
pub const COLLECTION_BYTES_MAX: usize = 4 << 20;
/// Bytes of the words about an entry of a collection: one line.
pub const COLLECTION_WORDS_MAX: usize = 200;

/// Bytes of a multiaddr as text: room for two IPv6 hops, certificate hashes and two peer ids.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Addresses of one peer in a message: TCP and QUIC on four networks, for both IP versions.
pub const ADDRESSES_MAX: usize = 16;
/// Holders of one model in a message: enough to start, as a puller learns more from them.
pub const HOLDERS_MAX: usize = 16;
/// Peers in one response to `GetPeers`: half of a node's maximum of connections.
pub const PEERS_TOLD_MAX: usize = 256;
/// Bytes of a gossiped announcement: a tag record, some key documents and one holder's addresses.
pub const ANNOUNCEMENT_BYTES_MAX: usize = 48 << 10;

/// Peers that a ticket names: the sender's node, and some that hold the model too.
pub const TICKET_PEERS_MAX: usize = 4;
/// Addresses of each of them: TCP and QUIC, for two IP versions.
pub const TICKET_ADDRESSES_MAX: usize = 4;
/// Characters of a DNS name in a ticket: with all parts, the address stays below [`ADDRESS_BYTES_MAX`].
pub const TICKET_HOST_CHARS_MAX: usize = 100;
/// Characters of a ticket: the longest names, and all addresses by long DNS names behind relays, take 4,172. A QR code holds it.
pub const TICKET_CHARS_MAX: usize = 4200;

/// Bytes of a request between peers.
pub const REQUEST_BYTES_MAX: usize = 4 << 10;
/// Bytes of a response's header between peers: tag records and key documents of one publisher, or a page of heads.
pub const RESPONSE_HEADER_BYTES_MAX: usize = 2 << 20;
/// Bytes of the document after a response's header: the largest of manifest, provenance and bundle.
pub const RESPONSE_DOCUMENT_BYTES_MAX: usize = BUNDLE_BYTES_MAX;
/// Bytes of the documents of one model that are sent with its records: manifest, provenance and bundle of most models, and the
/// piece states of 6 GiB. What has no room is asked for by its digest.
pub const DOCUMENTS_BYTES_MAX: usize = 256 << 10;
/// Documents that are sent with the records: two for each referrer, and the piece states of as many blobs.
pub const DOCUMENTS_PER_RESPONSE_MAX: usize = 4 * REFERRERS_MAX;
/// Tag records in one response. For a publisher with more, a node asks for one model at a time.
pub const TAGS_PER_RESPONSE_MAX: usize = 64;
/// Ancestors of a tag's head in one response: versions that a peer may fall back to. Each costs the asker one verification.
pub const ANCESTORS_PER_RESPONSE_MAX: usize = 8;
/// Referrers in one response: some each of provenance, bundles, scans and reviews.
pub const REFERRERS_MAX: usize = 64;
/// Announcements in one page of heads.
pub const HEADS_PER_PAGE_MAX: usize = 32;
/// Publishers in one page of declarations (`vows` on the wire).
pub const VOWS_PER_PAGE_MAX: usize = 32;

/// Models in the list that a member of a private swarm tells: more than such a swarm has today. Each takes some 300 bytes.
pub const SWARM_MODELS_MAX: usize = 20_000;
/// Models in one page of that list: 300 KB.
pub const SWARM_MODELS_PER_PAGE_MAX: usize = 1024;
/// Bytes of the name of a zone that a member tells.
pub const ZONE_TEXT_BYTES_MAX: usize = 64;

/// Bytes of the index of an OCI layout, as of a manifest: some 10,000 entries.
pub const LAYOUT_INDEX_BYTES_MAX: usize = MANIFEST_BYTES_MAX;
/// Entries of the index of an OCI layout: some hundred models with their referrers.
pub const LAYOUT_ENTRIES_MAX: usize = 8192;

/// Bytes of a frame's header on a blob stream: room for a bitmap of the largest blob (2^20 bits in base64).
pub const FRAME_HEADER_BYTES_MAX: usize = 192 << 10;
/// Runs of new pieces in one `Has` frame: as many as arrive between two frames. A bitmap carries more.
pub const NEWS_RUNS_MAX: usize = 128;
/// Pieces of one request: 16 MiB, the scheduler's largest unit.
pub const REQUEST_PIECES_MAX: u32 = 16;
/// Requests of one stream that may wait at the server before it answers `Busy`.
pub const REQUESTS_WAITING_MAX: usize = 256;
/// Blobs that one stream may follow at once: the files of a sharded model, fetched in parallel.
pub const BLOBS_FOLLOWED_MAX: usize = 512;
