//! [`Ids`]: shortens digests and ids. A short one differs from every other one that the command knows.
//!
//! A short digest names a version of a model in the store wherever a whole one does: see `short_names.rs`.

use std::fmt::Display;

use crate::args::Global;

/// Fewest digits of an id that are shown. A short name that a user types needs as many.
pub const DIGITS_MIN: usize = 8;

/// Digits of a whole digest.
pub const DIGEST_DIGITS: usize = 64;

/// Beginnings that many ids share: of digests, and of peers with an Ed25519 key. They count as no digits.
const BEGINNINGS: [&str; 2] = ["sha256:", "12D3KooW"];

/// The ids among which each short id must name one.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    sorted: Vec<String>,
    is_full: bool,
}

impl Ids {
    /// Returns ids that are shown short, or whole where the user asks for that.
    pub fn of(global: &Global, ids: impl IntoIterator<Item = impl Display>) -> Self {
        let mut sorted: Vec<String> = ids.into_iter().map(|it| it.to_string()).collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted, is_full: global.view.full }
    }

    /// Returns ids that are shown short without regard to others.
    pub fn alone(global: &Global) -> Self {
        Self { sorted: Vec::new(), is_full: global.view.full }
    }

    /// Returns the beginning of `id` that no other one has, of at least [`DIGITS_MIN`] digits.
    pub fn short(&self, id: &impl Display) -> String {
        let mut text = id.to_string();
        if self.is_full {
            return text;
        }
        let lead = BEGINNINGS.iter().find(|it| text.starts_with(**it)).map_or(0, |it| it.len());
        let place = self.sorted.partition_point(|it| *it < text);
        let before = place.checked_sub(1).and_then(|it| self.sorted.get(it));
        let after = self.sorted[place..].iter().find(|it| **it != text);
        let common = before.into_iter().chain(after).map(|it| in_common(it, &text)).max().unwrap_or(0);
        text.truncate((lead + DIGITS_MIN).max(common + 1));
        text
    }

    /// Returns a text with every whole digest in it shortened.
    pub fn short_in(&self, text: &str) -> String {
        let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(at) = rest.find(BEGINNINGS[0]) {
            let end = at + BEGINNINGS[0].len();
            let is_digit = |it: &u8| matches!(it, b'0'..=b'9' | b'a'..=b'f');
            let digits = rest.as_bytes()[end..].iter().take_while(|it| is_digit(it)).count();
            let (digest, after) = rest.split_at(end + digits);
            shown.push_str(&digest[..at]);
            let digest = &digest[at..];
            shown.push_str(&if digits == DIGEST_DIGITS { self.short(&digest) } else { digest.to_owned() });
            rest = after;
        }
        shown + rest
    }

    /// Returns a short id with an ellipsis, which marks it as short in a name such as `olaj5gtf…/tiny`.
    pub fn brief(&self, id: &impl Display) -> String {
        let short = self.short(id);
        if self.is_full { short } else { short + "…" }
    }
}

/// Returns how many bytes two ids have in common at their beginning. Ids are ASCII.
fn in_common(one: &str, two: &str) -> usize {
    one.bytes().zip(two.bytes()).take_while(|(one, two)| one == two).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Ids {
        let mut sorted: Vec<String> = ids.iter().map(ToString::to_string).collect();
        sorted.sort_unstable();
        Ids { sorted, is_full: false }
    }

    #[test]
    fn an_id_is_as_long_as_it_must_be_and_no_shorter_than_eight_digits() {
        let known = ids(&["sha256:aaaaaaaaaa11", "sha256:aaaaaaaaaa22", "sha256:bbbbbbbbbb"]);
        for (id, short) in [
            ("sha256:aaaaaaaaaa11", "sha256:aaaaaaaaaa1"),
            ("sha256:aaaaaaaaaa22", "sha256:aaaaaaaaaa2"),
            ("sha256:bbbbbbbbbb", "sha256:bbbbbbbb"),
            // One that was not known before, too.
            ("sha256:bbbbbbbbcc", "sha256:bbbbbbbbc"),
            ("12D3KooWabcdefghijk", "12D3KooWabcdefgh"),
            ("olaj5gtfzpohiq4t", "olaj5gtf"),
            ("short", "short"),
        ] {
            assert_eq!(known.short(&id), short);
        }
        assert_eq!(Ids { is_full: true, ..known.clone() }.brief(&"olaj5gtfzpohiq4t"), "olaj5gtfzpohiq4t");
        assert_eq!(known.brief(&"olaj5gtfzpohiq4t"), "olaj5gtf…");
        let digest = format!("sha256:{}", "c".repeat(DIGEST_DIGITS));
        let text = |digest: &str| format!("of {digest}, sha256:ab and {digest}x");
        assert_eq!(known.short_in(&text(&digest)), text("sha256:cccccccc"));
    }
}
