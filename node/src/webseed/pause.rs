//! Reads how long a server asks the client to pause: `Retry-After` and `RateLimit`.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, HeaderName, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

/// The rest of a quota (draft-ietf-httpapi-ratelimit-headers): Hugging Face sends it.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A date (RFC 9110, section 5.6.7).
pub(super) const HTTP_DATE: StaticFormatDescription =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// Returns how long the server asks the client to pause from `now` on; `None` where it does not ask.
pub(super) fn asked_for(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let retry = text(RETRY_AFTER).and_then(|text| retry_after(text, now));
    retry.max(text(RATE_LIMIT).and_then(rate_limit))
}

/// Reads `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = time::PrimitiveDateTime::parse(text.trim(), HTTP_DATE).ok()?.assume_utc();
    let wait = date - OffsetDateTime::from(now);
    Some(wait.try_into().unwrap_or_default())
}

/// Reads `RateLimit`, as in `"api";r=0;t=55`: nothing is left for 55 s. Commas separate quotas.
fn rate_limit(text: &str) -> Option<Duration> {
    let spent = |quota: &str| {
        let number = |name: &str| {
            let mut parts = quota.split(';').filter_map(|part| part.trim().split_once('='));
            parts.find(|(key, _)| *key == name)?.1.parse::<u64>().ok()
        };
        (number("r")? == 0).then(|| number("t")).flatten()
    };
    text.split(',').filter_map(spent).max().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_read_as_servers_write_them() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (name, value, seconds) in [
            ("retry-after", "7", Some(7)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("retry-after", "soon", None),
            ("retry-after", "-1", None),
            ("ratelimit", r#""api";r=0;t=55"#, Some(55)),
            ("ratelimit", r#""api";r=12;t=55"#, None),
            ("ratelimit", r#""api";r=12;t=55, "resolvers";r=0;t=3"#, Some(3)),
            ("ratelimit", "r=0", None),
            ("x-other", "7", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
            assert_eq!(asked_for(&headers, now), seconds.map(Duration::from_secs), "{name}: {value}");
        }
    }
}
