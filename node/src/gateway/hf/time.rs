//! Times as this dialect writes them.

use time::OffsetDateTime;

/// Returns a time in RFC 3339 with milliseconds, from seconds since 1970; a time that has no such form is 1970 itself.
pub(super) fn iso_time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|it| OffsetDateTime::from_unix_timestamp(it).ok());
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.000Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}
