//! Fuzzes the parsing of peers, addresses, digests and public keys.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::peer::{Address, PeerId};

fuzz_target!(|bytes: &[u8]| {
    let _ = PeerId::from_multihash_bytes(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (text.parse::<PeerId>(), text.parse::<Address>(), text.parse::<Digest>(), text.parse::<PublicKey>(), Digest::from_hex(text));
    }
});
