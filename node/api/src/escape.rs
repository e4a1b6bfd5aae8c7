//! [`escape`]: percent-encodes a text for a URL.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Encodes every byte but letters, digits, and `- . _ ~ /`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Percent-encodes `text` for a path or a query. Slashes stay.
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_unreserved_characters_and_slashes_are_encoded() {
        assert_eq!(escape("a b/ü?#"), "a%20b/%C3%BC%3F%23");
        assert_eq!(escape("aZ09-._~/"), "aZ09-._~/");
        assert_eq!(escape("%&=+:@{}\n"), "%25%26%3D%2B%3A%40%7B%7D%0A");
    }
}
