//! What a publisher does while a fault strikes.

use std::process::Child;
use std::time::{Duration, Instant};

use reg_testnet::chance::Chance;
use reg_testnet::process::Ran;

use crate::tally::Found;
use crate::world::World;

/// What an act takes on a machine that is not busy, until it was measured.
const MOMENT: Duration = Duration::from_millis(250);

/// Something that a publisher does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// Moves the tag, through the daemon.
    Publish,
    /// Moves the tag without a daemon.
    PublishAlone,
    /// Starts the daemon.
    Start,
    /// Replaces the key that signs, through the daemon.
    Rotate,
    /// Revokes the key that a rotation has just replaced, and that has signed all that there is.
    Revoke,
}

impl Act {
    pub(super) const ALL: [Self; 5] =
        [Self::Publish, Self::PublishAlone, Self::Start, Self::Rotate, Self::Revoke];

    /// Returns one act: half of them move the tag.
    pub(super) fn any(chance: &mut Chance) -> Self {
        let [publish, alone, start, rotate, revoke] = Self::ALL;
        *chance.one(&[publish, publish, publish, alone, alone, start, rotate, rotate, rotate, revoke])
    }

    pub(super) fn name(self) -> String {
        format!("{self:?}")
    }

    /// Prepares it, before the fault: nothing of this may fail.
    pub(super) fn prepare(self, world: &mut World) -> Result<Prepared, Found> {
        let mut old_key = String::new();
        match self {
            Self::Publish | Self::Rotate => world.node.start()?,
            Self::Revoke => {
                world.node.start()?;
                old_key = world.signing_key();
                succeeds("key rotate", &world.key(&["rotate", "me"]))?;
            }
            Self::PublishAlone | Self::Start => world.node.kill(),
        }
        let version = world.next_version();
        Ok(Prepared { act: self, version, old_key })
    }
}

/// An act that can begin, and can be repeated.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    act: Act,
    /// The version that is published, in the act or after it.
    version: u64,
    old_key: String,
}

impl Prepared {
    /// Begins it.
    fn begin(&self, world: &World) -> Child {
        match self.act {
            Act::Publish | Act::PublishAlone => world.start_publish(self.version),
            Act::Rotate => world.start_key(&["rotate", "me"]),
            Act::Revoke => world.start_key(&["revoke", "me", "--key", &self.old_key]),
            Act::Start => world.node.begin_start(),
        }
    }

    fn is_publication(&self) -> bool {
        matches!(self.act, Act::Publish | Act::PublishAlone)
    }

    fn note(&self, world: &mut World, ran: &Ran) {
        if self.is_publication() {
            world.note(self.version, ran);
        }
    }

    /// Returns the same act, or in half of all cases with another model: a node that forgot that it has signed a number
    /// contradicts itself only by another model.
    pub(super) fn same_or_other(mut self, world: &mut World, chance: &mut Chance) -> Self {
        if chance.percent(50) {
            self.version = world.next_version();
        }
        self
    }

    /// Does it to its end; returns whether it went well. Nothing is judged.
    pub(super) fn attempt(&self, world: &mut World) -> bool {
        let start = Instant::now();
        let is_done =
            if self.act == Act::Start { world.node.try_start() } else { self.ran(world).code() == 0 };
        world.paces.insert(self.act, start.elapsed());
        is_done
    }

    fn ran(&self, world: &mut World) -> Ran {
        let ran = world.node.end(self.begin(world));
        self.note(world, &ran);
        ran
    }

    /// Does it, and strikes at some time of it, or soon after its end. `strike` gets the command, and may kill it. Returns
    /// the time.
    pub(super) fn attempt_until(
        &self,
        world: &mut World,
        chance: &mut Chance,
        strike: impl FnOnce(&mut World, &mut Child),
    ) -> Duration {
        let usual = world.paces.get(&self.act).copied().unwrap_or(MOMENT);
        let time = chance.time(usual.mul_f64(1.2));
        let deadline = Instant::now() + time;
        let mut child = self.begin(world);
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        strike(world, &mut child);
        if self.act == Act::Start {
            // It would run for ever.
            drop(child.kill());
        }
        let ran = world.node.end(child);
        self.note(world, &ran);
        time
    }

    /// The fault is gone: the same command succeeds, and the daemon goes on. Then the publisher publishes, and the follower
    /// gets it.
    pub(super) fn goes_on(&self, world: &mut World, is_done: bool) -> Result<(), Found> {
        if self.act == Act::PublishAlone {
            world.node.kill();
        } else {
            world.node.start()?;
        }
        if !is_done && self.act != Act::Start {
            succeeds(&format!("{:?} repeated", self.act), &self.ran(world))?;
        }
        world.publisher_has_acknowledged()?;
        world.node.start()?;
        world.follower_has(world.acknowledged)?;
        let version = world.next_version();
        succeeds("the next publication", &world.publish(version, true))?;
        world.follower_has(version)
    }
}

/// Judges a command that must succeed.
pub(super) fn succeeds(what: &str, ran: &Ran) -> Result<(), Found> {
    if ran.code() == 0 { Ok(()) } else { Err(Found::in_failure(what, ran)) }
}
