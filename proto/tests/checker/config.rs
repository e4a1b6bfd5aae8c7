//! [`Config`]: what the actors of one exploration may do, and how often.

/// What a thief signs with the key that it has stolen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Forgery {
    /// A record with the number of the newest one: a contradiction.
    Same,
    /// A record that follows the newest one.
    After,
    /// A record that leaves one number out, so that it contradicts nothing.
    Gap,
    /// A record that settles every other record of its keys.
    Settling,
    /// A record that leaves one number out and settles the newest record alone.
    HalfSettling,
    /// A record that forbids every older one.
    Forbidding,
    /// The first record of the tag, again.
    First,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Author {
    Owner,
    Thief,
}

/// A statement beside records and key documents. `by` is the key document that it names; that document's key signs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Statement {
    /// The key of this document no longer counts.
    RevokeKey { of: u64, by: u64 },
    /// The manifest of the record with this id is withdrawn.
    Withdraw { record: u8, by: u64 },
    /// Another publisher may publish in this one's name.
    Delegate { by: u64 },
}

impl Statement {
    pub(crate) const fn by(self) -> u64 {
        match self {
            Self::RevokeKey { by, .. } | Self::Withdraw { by, .. } | Self::Delegate { by } => by,
        }
    }
}

/// The bounds of one exploration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) machines: usize,
    pub(crate) followers: usize,
    /// Whether the last follower begins without keys.
    pub(crate) has_newcomer: bool,
    /// Records that the machines begin, all together.
    pub(crate) records: u8,
    pub(crate) crashes: u8,
    pub(crate) abandons: u8,
    /// Key documents of the publisher. Rotations take place on the first machine.
    pub(crate) documents: u64,
    /// Whether each document commits to the next keys.
    pub(crate) is_committed: bool,
    /// Whether a rotation may leave the oldest record out of its inheritance list.
    pub(crate) may_drop: bool,
    /// Whether peers also send key documents without their inheritance list.
    pub(crate) strips_lists: bool,
    /// Whether the machines settle contradictions.
    pub(crate) settles: bool,
    /// The record that states its own number as the lowest usable one.
    pub(crate) forbidding: Option<u8>,
    /// The floor of every later key document.
    pub(crate) floor: Option<u64>,
    /// The key document with the key that is stolen.
    pub(crate) stolen: Option<u64>,
    pub(crate) forgeries: &'static [Forgery],
    /// Records that the thief signs.
    pub(crate) acts: u8,
    /// Whether the thief tries to sign key documents.
    pub(crate) forks: bool,
    pub(crate) statements: &'static [(Author, Statement)],
    /// The depth to which an exploration goes that is not complete.
    pub(crate) depth: Option<usize>,
}

impl Config {
    /// One machine, one follower, and one committed key document.
    pub(crate) const SMALL: Self = Self {
        name: "small",
        machines: 1,
        followers: 1,
        has_newcomer: false,
        records: 2,
        crashes: 0,
        abandons: 0,
        documents: 1,
        is_committed: true,
        may_drop: false,
        strips_lists: false,
        settles: false,
        forbidding: None,
        floor: None,
        stolen: None,
        forgeries: &[],
        acts: 0,
        forks: false,
        statements: &[],
        depth: None,
    };

    /// Returns whether the publisher's keys are its own alone, on one machine.
    pub(crate) const fn is_one_honest_machine(&self) -> bool {
        self.machines == 1 && self.stolen.is_none()
    }
}
