//! [`Patience`]: how long a download goes on without a byte, and what it says that it waits for.

use std::time::Duration;

use reg_proto::peer::PeerId;

use crate::registry::limits::{NOBODY_TIMEOUT, RETURN_TIMEOUT, STARVED_TIMEOUT, WAIT_TOLD};

/// What a download waits for while no byte comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Its peers are not reached: one of them, and how many more there are.
    Return { peer: PeerId, more: usize },
    /// Its sources are connected and send nothing.
    Bytes,
    /// Its sources have asked it to come back later; some of them because their users have paused them.
    Turn { is_paused: bool },
    /// There is no source.
    Sources,
}

/// What is known while no byte comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// How long no byte has come.
    pub quiet: Duration,
    /// How long the user waits; `None` where the user has not said.
    pub asked: Option<Duration>,
    pub has_source: bool,
    /// A peer to go back to.
    pub known: Option<(PeerId, usize)>,
    /// Whether this download has fetched anything.
    pub has_fetched: bool,
    /// Whether a source has asked for a pause lately, and whether because it is paused.
    pub refused: Option<bool>,
}

impl Facts {
    /// Returns how long the download goes on without a byte.
    pub(super) fn patience(&self) -> Duration {
        let usual = if self.has_source { STARVED_TIMEOUT } else { NOBODY_TIMEOUT };
        let may_come = self.known.is_some() || self.has_source;
        self.asked.unwrap_or(if self.has_fetched && may_come { RETURN_TIMEOUT } else { usual })
    }

    fn waiting(&self) -> Waiting {
        match (self.has_source, self.refused, self.known) {
            (true, Some(is_paused), _) => Waiting::Turn { is_paused },
            (true, None, _) => Waiting::Bytes,
            (false, _, Some((peer, more))) => Waiting::Return { peer, more },
            (false, _, None) => Waiting::Sources,
        }
    }
}

/// What a download has told the user that it waits for.
#[derive(Debug, Default)]
pub(super) struct Told(Option<Waiting>);

impl Told {
    /// Returns what to tell the user now: what the download has begun to wait for, or that it goes on.
    pub(super) fn news(&mut self, facts: &Facts) -> Option<String> {
        if facts.quiet < WAIT_TOLD {
            return self.0.take().map(|_| "the pull goes on".to_owned());
        }
        let waiting = facts.waiting();
        let left = facts.patience().saturating_sub(facts.quiet);
        // At the end of its patience the pull says itself why it ends.
        if left.is_zero() || self.0.replace(waiting) == Some(waiting) {
            return None;
        }
        let most = format!("for {} s at most (--timeout)", left.as_secs_f64().ceil());
        Some(match waiting {
            Waiting::Return { peer, more: 0 } => format!("waits for {peer} to come back, {most}"),
            Waiting::Return { peer, more } => {
                format!("waits for {peer} or one of {more} other peers to come back, {most}")
            }
            Waiting::Bytes => format!("waits for connected peers, which send nothing, {most}"),
            Waiting::Turn { is_paused: true } => {
                format!("waits for a peer that is paused: its owner ends that with `reg resume`; {most}")
            }
            Waiting::Turn { is_paused: false } => format!("waits for its turn at busy peers, {most}"),
            Waiting::Sources => format!("waits for a peer that has the rest, {most}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Facts = Facts {
        quiet: Duration::from_secs(10),
        asked: None,
        has_source: false,
        known: None,
        has_fetched: false,
        refused: None,
    };

    fn known() -> Option<(PeerId, usize)> {
        Some((PeerId::from_public_key([1; 32]), 0))
    }

    #[test]
    fn patience_is_the_user_s_and_else_grows_with_what_has_come() {
        for (facts, patience) in [
            (QUIET, NOBODY_TIMEOUT),
            (Facts { has_source: true, ..QUIET }, STARVED_TIMEOUT),
            (Facts { has_fetched: true, ..QUIET }, NOBODY_TIMEOUT),
            (Facts { known: known(), ..QUIET }, NOBODY_TIMEOUT),
            (Facts { has_fetched: true, known: known(), ..QUIET }, RETURN_TIMEOUT),
            (Facts { has_fetched: true, has_source: true, ..QUIET }, RETURN_TIMEOUT),
            (
                Facts { asked: Some(Duration::from_secs(7)), has_fetched: true, known: known(), ..QUIET },
                Duration::from_secs(7),
            ),
        ] {
            assert_eq!(facts.patience(), patience, "{facts:?}");
        }
    }

    #[test]
    fn what_is_waited_for_is_told_once_and_then_that_it_is_over() {
        let mut told = Told::default();
        let here = Facts { has_fetched: true, has_source: true, ..QUIET };
        assert_eq!(told.news(&Facts { quiet: Duration::from_secs(1), ..here }), None);
        let gone = Facts { has_source: false, known: known(), ..here };
        assert!(told.news(&gone).is_some_and(|it| it.contains("to come back, for 290 s")));
        assert_eq!(told.news(&gone), None);
        assert!(told.news(&here).is_some_and(|it| it.contains("send nothing")));
        let paused = Facts { refused: Some(true), ..here };
        assert!(told.news(&paused).is_some_and(|it| it.contains("paused")));
        assert_eq!(told.news(&Facts { quiet: Duration::ZERO, ..here }).as_deref(), Some("the pull goes on"));
        assert_eq!(told.news(&Facts { quiet: Duration::ZERO, ..here }), None);
    }

    #[test]
    fn no_wait_of_no_time_is_told() {
        let facts = |asked: u64, quiet: u64| Facts {
            asked: Some(Duration::from_millis(asked)),
            quiet: Duration::from_millis(quiet),
            has_source: true,
            ..QUIET
        };
        assert_eq!(Told::default().news(&facts(10_000, 10_000)), None);
        assert_eq!(Told::default().news(&facts(10_000, 12_000)), None);
        assert!(
            Told::default().news(&facts(10_500, 10_100)).is_some_and(|it| it.contains("for 1 s at most"))
        );
        assert!(
            Told::default().news(&facts(60_000, 10_000)).is_some_and(|it| it.contains("for 50 s at most"))
        );
    }
}
