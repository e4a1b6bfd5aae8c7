//! Hostile bytes for: peer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::peer::{Address, PeerId};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (text.parse::<PeerId>(), text.parse::<Address>(), text.parse::<Digest>(), text.parse::<PublicKey>());
    }
});
