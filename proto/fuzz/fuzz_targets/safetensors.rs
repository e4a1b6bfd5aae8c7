//! Fuzzes the parsing of safetensors headers, for several file sizes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::content::safetensors;

fuzz_target!(|bytes: &[u8]| {
    let header = bytes.len() as u64;
    for data in [0, 4, 8, 1 << 20, u64::MAX - 8 - header] {
        if let Ok(parsed) = safetensors::parse(bytes, 8 + header + data) {
            for place in parsed.places(header) {
                assert!(place.begin <= place.end && place.end <= 8 + header + data);
                let _ = place.short_name();
            }
            let all: Vec<_> = parsed.tensors.iter().collect();
            let rest = parsed.subset(&all);
            let length = rest.len() as u64;
            let _ = safetensors::parse(&rest[8..], length.saturating_add(data));
        }
    }
});
