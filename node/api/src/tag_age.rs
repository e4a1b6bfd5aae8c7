//! [`TagAge`]: the age of a tag record, and until when its publisher calls it fresh. Every pull by a tag reports it.
//!
//! An attacker that separates this node from the network can still show it an old record. Such a record is valid in
//! every other way: only its age shows the attack.

use std::fmt;

use reg_proto::name::Tag;
use reg_proto::tag::TagRecord;
use serde::{Deserialize, Serialize};

use crate::clock::{CLOCKS_DIFFER_MAX, age, date};

/// The age of a tag record. Times are seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagAge {
    pub tag: Tag,
    pub seq: u64,
    pub issued: u64,
    pub age_seconds: u64,
    /// The time until which the publisher calls the record fresh; `None` where it states none.
    pub fresh_until: Option<u64>,
    /// The seconds for which the record is still fresh; 0 where that time has passed, or the publisher states none.
    pub fresh_seconds: u64,
    /// The time from which the record is refused; `None`: never.
    pub expires: Option<u64>,
}

/// The record of a tag expired this many seconds ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    pub tag: Tag,
    pub seconds: u64,
    /// What the clock of this machine says, in seconds since 1970.
    pub now: u64,
}

impl TagAge {
    /// Returns the age of `record` at `now`, in seconds since 1970.
    pub fn of(record: &TagRecord, now: u64) -> Self {
        Self {
            tag: record.tag.clone(),
            seq: record.seq,
            issued: record.issued,
            age_seconds: now.saturating_sub(record.issued),
            fresh_until: record.fresh_until,
            fresh_seconds: record.fresh_until.map_or(0, |until| until.saturating_sub(now)),
            expires: record.expires,
        }
    }

    /// Refuses a record that has expired at `now`, unless the user allows that. Appends what the user should know of its dates
    /// to `notes`.
    ///
    /// # Errors
    /// The record has expired, and `allow_expired` is false.
    pub fn judge(&self, now: u64, allow_expired: bool, notes: &mut Vec<String>) -> Result<(), Expired> {
        let Self { tag, issued, age_seconds, fresh_until, expires, .. } = self;
        if *issued > now.saturating_add(CLOCKS_DIFFER_MAX) {
            let (here, there) = (date(now), date(*issued));
            notes.push(format!(
                "the clock of this machine says {here}, and the record of tag {tag} says that it was signed at {there}: if your \
                 clock is wrong, set it (`timedatectl` shows it)"
            ));
        }
        let late = |until: &Option<u64>| until.and_then(|it| now.checked_sub(it)).filter(|it| *it > 0);
        if let Some(seconds) = late(expires) {
            if !allow_expired {
                return Err(Expired { tag: tag.clone(), seconds, now });
            }
            notes.push(format!("tag {tag} expired {seconds} s ago, taken because it was asked for"));
        }
        if let Some(late) = late(fresh_until) {
            let days = age_seconds / 86_400;
            notes.push(format!(
                "tag {tag} is {days} days old and {late} s past its freshness: there may be a newer one, or the clock of this \
                 machine is wrong, which says {} (`timedatectl` shows it)",
                date(now)
            ));
        }
        Ok(())
    }
}

impl fmt::Display for TagAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tag, seq, issued, age_seconds, fresh_until, fresh_seconds, expires } = self;
        write!(f, "tag {tag}: record {seq}, signed {} ago", age(*age_seconds))?;
        let now = issued.saturating_add(*age_seconds);
        match fresh_until {
            // Most publishers set none, so it is no news.
            None => {}
            Some(until) if *fresh_seconds == 0 => {
                write!(f, ", not fresh since {}", age(now.saturating_sub(*until)))?
            }
            Some(_) => write!(f, ", fresh for {} more", age(*fresh_seconds))?,
        }
        match expires.map(|it| (it.saturating_sub(now), now.saturating_sub(it))) {
            None => Ok(()),
            Some((0, past)) => write!(f, ", expired {} ago", age(past)),
            Some((left, _)) => write!(f, ", expires in {}", age(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::bounded::Bounded;
    use reg_proto::digest::Digest;
    use reg_proto::name::PublisherId;
    use reg_proto::tag::ManifestPointer;

    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn every_age_is_told_and_what_is_past_is_noted_or_refused() {
        let base = TagRecord {
            publisher: PublisherId::from_bytes([1; 32]),
            model: "tiny".parse().unwrap(),
            tag: Tag::latest(),
            seq: 3,
            prev: None,
            manifest: ManifestPointer { digest: Digest::of(b"x"), size: 1 },
            key_document: 1,
            issued: 100 * DAY,
            fresh_until: None,
            expires: None,
            settles: Bounded::empty(),
            min_usable: None,
        };
        let with = |fresh: Option<u64>, expires: Option<u64>| TagRecord {
            fresh_until: fresh.map(|it| it * DAY),
            expires: expires.map(|it| it * DAY),
            ..base.clone()
        };
        let begin = "tag latest: record 3, signed 5 days ago";
        for (record, said, noted, refused) in [
            (with(None, None), "", 0, false),
            (with(Some(115), None), ", fresh for 10 days more", 0, false),
            (with(Some(102), None), ", not fresh since 3 days", 1, false),
            (with(Some(115), Some(130)), ", fresh for 10 days more, expires in 25 days", 0, false),
            (with(Some(102), Some(103)), ", not fresh since 3 days, expired 2 days ago", 2, true),
        ] {
            let now = 105 * DAY;
            let age = TagAge::of(&record, now);
            assert_eq!(age.to_string(), format!("{begin}{said}"));
            let mut notes = Vec::new();
            assert_eq!(age.judge(now, false, &mut notes).is_err(), refused);
            notes.clear();
            age.judge(now, true, &mut notes).unwrap();
            assert_eq!(notes.len(), noted, "{notes:?}");
        }
        // The clock of this node is a day behind the publisher's, then a little.
        let record = with(Some(101), None);
        for (now, notes_wanted) in [(99 * DAY, 1), (100 * DAY - CLOCKS_DIFFER_MAX, 0)] {
            let (age, mut notes) = (TagAge::of(&record, now), Vec::new());
            assert_eq!(age.age_seconds, 0);
            age.judge(now, false, &mut notes).unwrap();
            assert_eq!(notes.len(), notes_wanted, "{notes:?}");
            for what in ["1970-04-10 00:00 UTC", "1970-04-11 00:00 UTC", "timedatectl"] {
                assert!(notes.iter().all(|it| it.contains(what)), "{what}: {notes:?}");
            }
        }
    }
}
