//! Fuzzes the parsing of OCI layouts: marker, index, and documents about carried models.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::layout::{self, CarriedModel, LayoutIndex};

fuzz_target!(|bytes: &[u8]| {
    let _ = (layout::check_marker(bytes), LayoutIndex::from_bytes(bytes), CarriedModel::from_bytes(bytes));
});
