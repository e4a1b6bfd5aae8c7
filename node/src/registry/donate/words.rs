//! Says a decision in words.

use reg_api::clock::age;
use reg_api::donate::{DonateAction, DonateVerdict};
use reg_api::size::Size;
use reg_commons::{Action, Moment, Reason, Refusal};

/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 300;

/// Returns a decision that was made by this room and not by the rules for donors.
pub(super) fn verdict(
    action: DonateAction,
    code: &str,
    reason: impl AsRef<str>,
    at: Option<u64>,
) -> DonateVerdict {
    let reason = reason.as_ref().chars().take(REASON_CHARS_MAX).collect();
    DonateVerdict { action, code: code.to_owned(), reason, at }
}

/// Returns a decision in words. `refused` says in words what refuses the model, and `now` is the time of audits, of which `pace` seconds
/// pass in one.
pub(super) fn in_words(
    action: Action,
    reason: Reason,
    refused: Option<&str>,
    now: Moment,
    pace: u32,
    at: u64,
) -> DonateVerdict {
    let action = match action {
        Action::Take => DonateAction::Take,
        Action::Keep => DonateAction::Keep,
        Action::GiveBack => DonateAction::GiveBack,
        Action::Leave => DonateAction::Leave,
    };
    let (code, text) = said(reason, refused, now, pace);
    verdict(action, code, text, Some(at))
}

fn said(reason: Reason, refused: Option<&str>, now: Moment, pace: u32) -> (&'static str, String) {
    let replicas = |count: u32| match count {
        0 => "no replica is proven elsewhere".to_owned(),
        1 => "1 replica is proven elsewhere".to_owned(),
        count => format!("{count} replicas are proven elsewhere"),
    };
    match reason {
        Reason::Refused(by) => {
            let (code, what) = match by {
                Refusal::Rule => ("refused-by-rule", "a rule of yours refuses it"),
                Refusal::Denylist => ("denied", "a denylist names it"),
                Refusal::Consent => ("no-consent", "it has files to which you have not consented"),
            };
            (code, refused.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}")))
        }
        Reason::OutOfScope => {
            ("out-of-scope", "its publisher is none that you have named or follow".to_owned())
        }
        Reason::NotCountedYet => {
            ("not-counted-yet", "its replicas are counted for less than a day".to_owned())
        }
        Reason::NotOffered => ("not-offered", "no peer that is reached offers it".to_owned()),
        Reason::Enough { elsewhere, target } => {
            ("enough", format!("{}, of {target} that it is to have", replicas(elsewhere)))
        }
        Reason::LargerThanCommitted => {
            ("larger-than-donated", "it is larger than all that is donated".to_owned())
        }
        Reason::NoRoom { free } => {
            let free = Size(free);
            ("no-room", format!("{free} of what is donated are free, and nothing may go for it"))
        }
        Reason::LeftToOthers => {
            ("left-to-others", "it is scarce, and chance left it to other donors this time".to_owned())
        }
        Reason::NextRound => ("next-round", "it is scarce, and its turn comes".to_owned()),
        Reason::Scarce { elsewhere, missing } => {
            ("scarce", format!("{}, and {missing} more are wanted", replicas(elsewhere)))
        }
        Reason::LastKnown => {
            ("last-known", "this is the last replica that is known: it is kept to the end".to_owned())
        }
        Reason::RoseLately { until } => {
            let left = age(until.since(now).as_secs() / u64::from(pace.max(1)));
            ("rose-lately", format!("its replicas have risen lately: it is kept for {left} at least"))
        }
        Reason::NothingScarcer => {
            ("nothing-scarcer", "nothing is so much scarcer that it must make room".to_owned())
        }
        Reason::ForScarcer { other } => {
            ("for-scarcer", format!("it made room for {other}, which is scarcer"))
        }
        Reason::OwnerNeedsDisk => ("owner-needs-disk", OWNER_NEEDS_DISK.to_owned()),
    }
}

/// What is said of a model that made room for the owner.
pub(super) const OWNER_NEEDS_DISK: &str = "you needed its room";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reg_proto::digest::Digest;

    use super::*;

    #[test]
    fn every_reason_has_words_and_a_code_of_its_own() {
        let now = Moment::from_seconds(1000);
        let other = Digest::of(b"other");
        let reasons = [
            Reason::Refused(Refusal::Rule),
            Reason::Refused(Refusal::Denylist),
            Reason::Refused(Refusal::Consent),
            Reason::OutOfScope,
            Reason::NotCountedYet,
            Reason::NotOffered,
            Reason::Enough { elsewhere: 5, target: 4 },
            Reason::LargerThanCommitted,
            Reason::NoRoom { free: 7 },
            Reason::LeftToOthers,
            Reason::NextRound,
            Reason::Scarce { elsewhere: 0, missing: 4 },
            Reason::LastKnown,
            Reason::RoseLately { until: now + Duration::from_secs(7200) },
            Reason::NothingScarcer,
            Reason::ForScarcer { other },
            Reason::OwnerNeedsDisk,
        ];
        let said: Vec<_> = reasons.iter().map(|it| said(*it, None, now, 2)).collect();
        let codes: std::collections::BTreeSet<&str> = said.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes.len(), reasons.len());
        assert!(said.iter().all(|(_, text)| !text.is_empty() && !text.ends_with('.')), "{said:?}");
        assert!(said[13].1.contains("60 min"), "{:?}", said[13]);
        let refused = in_words(Action::Leave, reasons[1], Some("stolen"), now, 1, 9);
        assert!(refused.reason.ends_with("names it: stolen") && refused.at == Some(9), "{refused:?}");
    }
}
