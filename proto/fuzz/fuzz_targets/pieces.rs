//! Fuzzes the parsing of bitmaps and states of pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::piece::{BlobLayout, PieceSet};
use reg_proto::states::PieceStates;

fuzz_target!(|bytes: &[u8]| {
    let len = bytes.len() as u32 * 8;
    if let Ok(set) = PieceSet::from_bytes(len, bytes) {
        assert_eq!(set.to_bytes(), bytes);
    }
    if let Ok(layout) = BlobLayout::new(1 + ((bytes.len() as u64) << 15)) {
        let _ = PieceStates::parse(layout, bytes);
    }
});
