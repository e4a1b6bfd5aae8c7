//! Reads the digests of requests. This registry uses sha256 alone, which the specification allows.

use reg_proto::digest::Digest;

use super::error::{Code, OciError};

/// The digest of something that a client asks for.
///
/// # Errors
/// Fails where it is malformed. A digest of another algorithm is that of nothing here, and `missing` says so.
pub(super) fn wanted(text: &str, missing: Code) -> Result<Digest, OciError> {
    match text.parse() {
        Ok(digest) => Ok(digest),
        Err(_) if other_algorithm(text).is_some() => {
            Err(OciError::new(missing, format!("{text} is unknown: this registry uses sha256")))
        }
        Err(error) => Err(OciError::new(Code::DigestInvalid, format!("{text:?}: {error}"))),
    }
}

/// The digest of something that a client sends.
///
/// # Errors
/// Fails where it is malformed, or of an algorithm that is not supported.
pub(super) fn pushed(text: &str) -> Result<Digest, OciError> {
    match (text.parse(), other_algorithm(text)) {
        (Ok(digest), _) => Ok(digest),
        (Err(_), Some(algorithm)) => Err(unsupported(algorithm)),
        (Err(error), None) => Err(OciError::new(Code::DigestInvalid, format!("{text:?}: {error}"))),
    }
}

/// Refuses an algorithm that a client names for what it is about to send.
///
/// # Errors
/// Fails where it is not sha256.
pub(super) fn algorithm(name: &str) -> Result<(), OciError> {
    if name == "sha256" { Ok(()) } else { Err(unsupported(name)) }
}

fn unsupported(algorithm: &str) -> OciError {
    OciError::new(
        Code::AlgorithmUnsupported,
        format!("digest algorithm {algorithm} is unsupported: push with sha256"),
    )
}

/// Returns the algorithm of a well-formed digest that is not of sha256 (image-spec, "Digests").
fn other_algorithm(text: &str) -> Option<&str> {
    let (algorithm, encoded) = text.split_once(':')?;
    let is_component = |it: &str| {
        !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let is_named = algorithm.split(['+', '.', '_', '-']).all(is_component);
    let is_encoded = |byte: u8| byte.is_ascii_alphanumeric() || b"=_-".contains(&byte);
    let is_right = match algorithm {
        "sha256" => false,
        "sha384" => is_hex(encoded, 96),
        "sha512" => is_hex(encoded, 128),
        _ => !encoded.is_empty() && encoded.bytes().all(is_encoded),
    };
    (is_named && is_right).then_some(algorithm)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_other_algorithms_are_known_from_malformed_ones() {
        let [sha256, sha384, sha512] = [64, 96, 128].map(|length| "0".repeat(length));
        for (text, expected) in [
            (format!("sha512:{sha512}"), Some("sha512")),
            (format!("sha384:{sha384}"), Some("sha384")),
            (
                "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8".to_owned(),
                Some("multihash+base58"),
            ),
            (format!("sha256:{sha256}"), None),
            ("sha256:bad".to_owned(), None),
            (format!("sha512:{sha256}"), None),
            (format!("sha512:{}", "G".repeat(128)), None),
            ("sha256".to_owned(), None),
            (":abc".to_owned(), None),
            ("SHA512:abc".to_owned(), None),
            ("md5:".to_owned(), None),
            ("a..b:c".to_owned(), None),
        ] {
            assert_eq!(other_algorithm(&text), expected, "{text}");
        }
    }
}
