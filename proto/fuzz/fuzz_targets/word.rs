//! Fuzzes the parsing of short texts: petnames, labels, reasons, kinds, and the subjects of denylist entries.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reg_proto::attestation::{AttestationKind, AttestationResult};
use reg_proto::content::label::Label;
use reg_proto::denylist::Denied;
use reg_proto::name::{Petname, PublisherId};
use reg_proto::revocation::Reason;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (text.parse::<Petname>(), text.parse::<PublisherId>(), text.parse::<Label>(), text.parse::<Reason>());
        let _ = Label::cut(text);
        let _ = (text.parse::<AttestationKind>(), text.parse::<AttestationResult>(), text.parse::<Denied>());
    }
});
