//! Fuzzes domains, what they say of publishers, and the profiles that name them back.

#![no_main]

use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use reg_proto::domain::Domain;
use reg_proto::domain_record::DomainRecord;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, KeyHistory, publisher_id};
use reg_proto::profile::{Homepage, PROFILE_TYPE, Profile, SignedProfile};

/// The keys that may have signed the input.
static SIGNER: LazyLock<(SigningKey, KeyHistory)> = LazyLock::new(|| {
    let key = SigningKey::from_bytes(&[7; 32]);
    let document = KeyDocument::first(PublicKey::of(&key));
    let keys = KeyHistory::verify(publisher_id(&document.to_payload()), &[document.sign(&key).to_json()]);
    (key, keys.expect("keys"))
});

fuzz_target!(|bytes: &[u8]| {
    let (key, keys) = &*SIGNER;
    let text = String::from_utf8_lossy(bytes);
    if let Ok(domain) = text.parse::<Domain>() {
        assert_eq!(domain.as_str().parse().as_ref(), Ok(&domain));
        let _ = (domain.shown(), domain.mixes_scripts());
    }
    let file = DomainRecord::from_file(bytes).ok();
    let txt = DomainRecord::from_txt([text.as_ref()]).ok().flatten();
    for record in file.into_iter().chain(txt) {
        assert_eq!(DomainRecord::from_file(record.to_file().as_bytes()).ok(), Some(record));
    }
    let _ = text.parse::<Homepage>();
    let _ = SignedProfile::verify(&text, keys);
    // Signing takes a hundred times as long, so only parsed input is signed.
    if Profile::from_payload(bytes).is_ok() {
        let signed = Envelope::sign(PROFILE_TYPE, bytes.to_vec(), &[key]).to_json();
        let _ = SignedProfile::verify(&signed, keys);
    }
});
