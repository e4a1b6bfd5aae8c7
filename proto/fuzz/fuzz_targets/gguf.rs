//! Fuzzes the parsing of GGUF headers, for several file sizes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::content::gguf;

fuzz_target!(|bytes: &[u8]| {
    for more in [0, 1 << 20, u64::MAX - bytes.len() as u64] {
        let size = bytes.len() as u64 + more;
        let template = gguf::read_chat_template(&mut { bytes }, size);
        if let Ok(parsed) = gguf::read(&mut { bytes }, size) {
            let _ = parsed.parameters();
            assert!(template.is_ok_and(|it| it.is_some() == parsed.chat_template.is_some()));
            for place in parsed.places() {
                assert!(place.begin <= place.end && place.end <= size);
            }
        }
    }
});
