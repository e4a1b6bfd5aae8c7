//! [`Sealer`] and [`Opener`]: encrypt and decrypt TLS 1.3 records after the handshake (RFC 8446, section 5), in buffers
//! of the caller.
//!
//! rustls copies every record twice and allocates for each. It hands its keys over for kernel TLS, and this module uses
//! them the same way, for application data only. Any other record (an alert, a change of keys) ends the lane, and a
//! lane ends before its key has sealed [`LANE_RECORDS_MAX`] records.

use aws_lc_rs::aead::{
    AES_128_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::ConnectionTrafficSecrets;

use super::error::LaneError;
use crate::net::limits::LANE_RECORDS_MAX;

/// Bytes before every record: type, version, length.
pub(super) const HEADER: usize = 5;
/// Most bytes of content in a record.
pub(super) const CONTENT_MAX: usize = 16 << 10;
/// Bytes after the content: its type, and the tag.
const TRAILER: usize = 1 + TAG;
const TAG: usize = 16;
/// Most bytes of a record.
pub(super) const RECORD_MAX: usize = HEADER + CONTENT_MAX + TRAILER;
const APPLICATION_DATA: u8 = 0x17;

/// A key, its nonces, and the number of records that it has sealed or opened.
struct Key {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    records: u64,
}

/// Encrypts the records that this node sends.
pub(super) struct Sealer(Key);

/// Decrypts the records that this node receives.
pub(super) struct Opener(Key);

impl Key {
    /// Takes a key over after its handshake, when it has handled `records` records.
    fn new((records, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, LaneError> {
        let (algorithm, key, iv): (&'static Algorithm, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(LaneError::OtherProtocol),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| LaneError::OtherProtocol)?;
        let iv = iv.as_ref().try_into().map_err(|_| LaneError::OtherProtocol)?;
        Ok(Self { key: LessSafeKey::new(key), iv, records })
    }

    /// Returns the nonce of the next record, which no other record of this key has.
    ///
    /// # Errors
    /// Fails where the key has handled [`LANE_RECORDS_MAX`] records.
    fn nonce(&mut self) -> Result<Nonce, LaneError> {
        if self.records >= LANE_RECORDS_MAX {
            return Err(LaneError::Spent);
        }
        let mut nonce = self.iv;
        for (byte, count) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.records.to_be_bytes()) {
            *byte ^= count;
        }
        self.records += 1;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

fn header(content: usize) -> [u8; HEADER] {
    let [high, low] = u16::try_from(content + TRAILER).unwrap_or(u16::MAX).to_be_bytes();
    [APPLICATION_DATA, 3, 3, high, low]
}

impl Sealer {
    pub(super) fn new(secrets: (u64, ConnectionTrafficSecrets)) -> Result<Self, LaneError> {
        Key::new(secrets).map(Self)
    }

    /// Writes `content`, of at most [`CONTENT_MAX`] bytes, to the start of `out` as one record. Returns its length in
    /// bytes, at most [`RECORD_MAX`].
    pub(super) fn seal(&mut self, content: &[u8], out: &mut [u8]) -> Result<usize, LaneError> {
        debug_assert!(content.len() <= CONTENT_MAX);
        let (header, length) = (header(content.len()), HEADER + content.len() + TRAILER);
        let (start, body) = out[..length].split_at_mut(HEADER);
        start.copy_from_slice(&header);
        let (sealed, trailer) = body.split_at_mut(content.len());
        let (nonce, key) = (self.0.nonce()?, &self.0.key);
        key.seal_out_of_place_scatter(
            nonce,
            Aad::from(header),
            content,
            sealed,
            &[APPLICATION_DATA],
            trailer,
        )
        .map_err(|_| LaneError::Forged)?;
        Ok(length)
    }
}

impl Opener {
    pub(super) fn new(secrets: (u64, ConnectionTrafficSecrets)) -> Result<Self, LaneError> {
        Key::new(secrets).map(Self)
    }

    /// Reads the header of a record, and returns how many bytes of content the record has.
    ///
    /// # Errors
    /// Fails where it is no record of application data, or has a length that this protocol does not use.
    pub(super) fn content_len(header: [u8; HEADER]) -> Result<usize, LaneError> {
        let [kind, major, minor, high, low] = header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        match length.checked_sub(TRAILER) {
            Some(content) if [kind, major, minor] == [APPLICATION_DATA, 3, 3] && content <= CONTENT_MAX => {
                Ok(content)
            }
            _ => Err(LaneError::Record { length }),
        }
    }

    /// Returns how many bytes follow the header of a record with `content` bytes of content.
    pub(super) const fn body_len(content: usize) -> usize {
        content + TRAILER
    }

    /// Decrypts the body of a record into `out`, which has room for the content and for the type, one byte more.
    ///
    /// # Errors
    /// Fails where the body is not what the peer sealed next, or is not application data.
    pub(super) fn open(&mut self, body: &[u8], out: &mut [u8]) -> Result<(), LaneError> {
        let content = body.len() - TRAILER;
        let (sealed, tag) = body.split_at(body.len() - TAG);
        let (nonce, out) = (self.0.nonce()?, &mut out[..=content]);
        self.0
            .key
            .open_separate_gather(nonce, Aad::from(header(content)), sealed, tag, out)
            .map_err(|_| LaneError::Forged)?;
        // Padding, or a type other than application data: this protocol has neither.
        if out[content] == APPLICATION_DATA { Ok(()) } else { Err(LaneError::Unexpected) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::{ClientConnection, ConnectionCommon, ServerConnection};

    use super::*;
    use crate::net::lane::tls::tests::configs;

    fn pump<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        receive(to, &bytes);
    }

    fn receive<T>(to: &mut ConnectionCommon<T>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            to.read_tls(&mut bytes).unwrap();
            to.process_new_packets().unwrap();
        }
    }

    /// Returns a client and a server of rustls after their handshake.
    fn ends() -> (ClientConnection, ServerConnection) {
        let (client, server) = configs();
        let mut client = ClientConnection::new(client, "lane.invalid".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            pump(&mut client, &mut server);
            pump(&mut server, &mut client);
        }
        (client, server)
    }

    fn contents() -> Vec<Vec<u8>> {
        [0, 1, 63, 4096, CONTENT_MAX - 1, CONTENT_MAX].map(|length| vec![length as u8; length]).to_vec()
    }

    #[test]
    fn rustls_opens_what_is_sealed_here() {
        let (mut client, server) = ends();
        let mut sealer = Sealer::new(server.dangerous_extract_secrets().unwrap().tx).unwrap();
        for content in contents() {
            let mut sealed = vec![0; RECORD_MAX];
            let length = sealer.seal(&content, &mut sealed).unwrap();
            receive(&mut client, &sealed[..length]);
            let mut opened = vec![0; content.len()];
            client.reader().read_exact(&mut opened).unwrap();
            assert_eq!(opened, content);
        }
    }

    #[test]
    fn what_rustls_seals_is_opened_here_and_a_changed_bit_is_not() {
        let (client, mut server) = ends();
        let mut opener = Opener::new(client.dangerous_extract_secrets().unwrap().rx).unwrap();
        let mut last = Vec::new();
        for content in contents().into_iter().filter(|it| !it.is_empty()) {
            server.writer().write_all(&content).unwrap();
            let mut sealed = Vec::new();
            server.write_tls(&mut sealed).unwrap();
            let (header, body) = sealed.split_first_chunk().unwrap();
            let length = Opener::content_len(*header).unwrap();
            assert_eq!((length, body.len()), (content.len(), Opener::body_len(length)));
            let mut opened = vec![0; length + 1];
            opener.open(body, &mut opened).unwrap();
            assert_eq!(opened[..length], content);
            last = body.to_vec();
        }
        let mut out = vec![0; CONTENT_MAX + 1];
        assert!(matches!(opener.open(&last, &mut out), Err(LaneError::Forged)), "a record replayed");
        server.writer().write_all(b"next").unwrap();
        let mut sealed = Vec::new();
        server.write_tls(&mut sealed).unwrap();
        sealed[HEADER] ^= 1;
        assert!(matches!(opener.open(&sealed[HEADER..], &mut out), Err(LaneError::Forged)));
    }

    #[test]
    fn other_records_are_refused_by_their_header() {
        assert_eq!(Opener::content_len(header(7)).unwrap(), 7);
        for wrong in [[0x15, 3, 3, 0, 19], [0x17, 3, 3, 0, 16], [0x17, 3, 1, 0, 19], [0x17, 3, 3, 0x40, 0x12]]
        {
            assert!(matches!(Opener::content_len(wrong), Err(LaneError::Record { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_not_used_for_ever() {
        let (_client, server) = ends();
        let (_, secrets) = server.dangerous_extract_secrets().unwrap().tx;
        let mut sealer = Sealer::new((LANE_RECORDS_MAX - 1, secrets)).unwrap();
        assert!(sealer.seal(b"last", &mut [0; 64]).is_ok());
        assert!(matches!(sealer.seal(b"one more", &mut [0; 64]), Err(LaneError::Spent)));
    }
}
