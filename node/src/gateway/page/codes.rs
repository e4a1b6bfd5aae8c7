//! [`PageTokens`]: one-time codes, and the tokens that tabs got for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use reg_api::page::PageCode;

/// How long a code can be exchanged: a browser starts within seconds.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// Codes that are kept: unused and used ones within their life. A new one replaces the oldest.
const CODES_MAX: usize = 16;
/// Valid tokens: one for each time that the page was opened. A new one replaces the oldest.
const TOKENS_MAX: usize = 16;
/// Random bytes in a code and in a token.
const SECRET_BYTES: usize = 32;

/// The codes and tokens of a node. They end with its process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PageTokens(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    codes: VecDeque<Code>,
    tokens: VecDeque<String>,
}

struct Code {
    code: String,
    made: Instant,
    /// The token that was given for it.
    token: Option<String>,
}

/// Shows no secret.
impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held {{ codes: {}, tokens: {} }}", self.codes.len(), self.tokens.len())
    }
}

impl PageTokens {
    /// Makes a code.
    pub(super) fn new_code(&self, now: Instant) -> PageCode {
        let mut held = self.held();
        held.forget_old(now);
        while held.codes.len() >= CODES_MAX {
            held.codes.pop_front();
        }
        let code = secret();
        held.codes.push_back(Code { code: code.clone(), made: now, token: None });
        PageCode { code, seconds: CODE_LIFE.as_secs() }
    }

    /// Returns a token for an unused code within its life. A code that is shown again ends the token that was
    /// given for it, because one of the two callers has stolen the code.
    pub(super) fn exchange(&self, code: &str, now: Instant) -> Option<String> {
        let mut held = self.held();
        held.forget_old(now);
        let found = held.codes.iter_mut().find(|it| equal(it.code.as_bytes(), code.as_bytes()))?;
        match found.token.clone() {
            Some(stolen) => {
                tracing::warn!("a one-time code of the page was shown twice: its token ends");
                held.tokens.retain(|it| *it != stolen);
                None
            }
            None => {
                let token = secret();
                found.token = Some(token.clone());
                while held.tokens.len() >= TOKENS_MAX {
                    held.tokens.pop_front();
                }
                held.tokens.push_back(token.clone());
                Some(token)
            }
        }
    }

    /// Ends a token. Returns whether it was valid.
    pub(super) fn forget(&self, token: &str) -> bool {
        let mut held = self.held();
        let before = held.tokens.len();
        held.tokens.retain(|it| !equal(it.as_bytes(), token.as_bytes()));
        held.tokens.len() < before
    }

    /// Tells whether these bytes are a token that a tab got.
    pub(in crate::gateway) fn knows(&self, shown: &[u8]) -> bool {
        self.held().tokens.iter().fold(false, |known, it| known | equal(it.as_bytes(), shown))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn forget_old(&mut self, now: Instant) {
        self.codes.retain(|it| now.saturating_duration_since(it.made) < CODE_LIFE);
    }
}

fn secret() -> String {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).expect("the system has chance");
    HEXLOWER.encode(&bytes)
}

/// Compares in a time that does not depend on where the two differ.
fn equal(one: &[u8], two: &[u8]) -> bool {
    one.len() == two.len() && one.iter().zip(two).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_gives_a_token_once_and_within_its_life() {
        let (tokens, now) = (PageTokens::default(), Instant::now());
        let code = tokens.new_code(now);
        assert_eq!((code.code.len(), code.seconds), (2 * SECRET_BYTES, 60));
        for wrong in ["", "x", &code.code[1..], &code.code.to_uppercase().replace('A', "B")] {
            assert_eq!(tokens.exchange(wrong, now), None, "{wrong}");
        }
        let token = tokens.exchange(&code.code, now).unwrap();
        assert!(tokens.knows(token.as_bytes()) && !tokens.knows(code.code.as_bytes()) && !tokens.knows(b""));
        assert_eq!(tokens.exchange(&code.code, now), None);
        assert!(!tokens.knows(token.as_bytes()), "one of the two has stolen the code");
        let late = tokens.new_code(now);
        assert_eq!(tokens.exchange(&late.code, now + CODE_LIFE), None);
        let token =
            tokens.exchange(&tokens.new_code(now).code, now + CODE_LIFE - Duration::from_secs(1)).unwrap();
        assert!(tokens.forget(&token) && !tokens.forget(&token) && !tokens.knows(token.as_bytes()));
    }

    #[test]
    fn few_codes_and_tokens_are_kept() {
        let (tokens, now) = (PageTokens::default(), Instant::now());
        let codes: Vec<String> = (0..=CODES_MAX).map(|_| tokens.new_code(now).code).collect();
        assert_eq!(tokens.exchange(&codes[0], now), None, "it made room");
        let first = tokens.exchange(&codes[1], now).unwrap();
        for _ in 0..TOKENS_MAX {
            assert!(tokens.exchange(&tokens.new_code(now).code, now).is_some());
        }
        assert!(!tokens.knows(first.as_bytes()), "the oldest tab made room");
        assert!(tokens.held().tokens.len() == TOKENS_MAX && tokens.held().codes.len() == CODES_MAX);
    }
}
