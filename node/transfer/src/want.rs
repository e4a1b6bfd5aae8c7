//! [`Want`]: one blob, the state of each of its pieces, and their holders.

use std::ops::Range;

use reg_proto::piece::{PieceIndex, PieceSet};

use super::bits::Bits;
use super::chance::Chance;
use super::focus::Focus;
use super::holders::{Gained, Holders, Holding};
use super::rarity::Rarity;
use super::unit::Units;

/// A blob that is wanted, or that peers have said they hold. Each piece is stored, asked for, or open.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) is_wanted: bool,
    stored: PieceSet,
    asked: Bits,
    units: Units,
    /// Units with an open piece.
    open: Bits,
    rarity: Rarity,
    holders: Holders,
    /// Peers that hold the whole blob and are not counted unit by unit.
    seeds: u32,
    /// Units that a near peer holds whole.
    near: Bits,
    /// The runs that readers wait for.
    focus: Option<Focus>,
    /// Whether all its pieces are wanted, not only those that readers wait for.
    others: bool,
    /// Pieces that were asked of two peers at once, so far.
    pub(super) duplicates: u32,
}

/// In which order pieces are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As readers wait for them.
    Reading,
    /// The rarest unit first.
    Rarest,
}

/// Which units may be taken from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// All that it holds.
    All,
    /// Only those that no near peer holds.
    NotNear,
}

impl Want {
    /// Returns a blob with these stored pieces, and without known holders.
    pub(super) fn new(stored: PieceSet, is_wanted: bool, chance: &mut Chance) -> Self {
        let units = Units::new(stored.len());
        let mut want = Self {
            is_wanted,
            asked: Bits::new(stored.len()),
            units,
            open: Bits::new(units.count()),
            rarity: Rarity::new(units.count(), chance),
            holders: Holders::new(units, stored.len()),
            seeds: 0,
            near: Bits::new(units.count()),
            focus: None,
            others: true,
            duplicates: 0,
            stored,
        };
        for unit in 0..units.count() {
            want.open.insert(unit);
            want.look_at(unit, chance);
        }
        want
    }

    /// Makes the blob wanted from now on, with these stored pieces.
    pub(super) fn want(&mut self, stored: PieceSet, chance: &mut Chance) {
        self.is_wanted = true;
        if stored.len() == self.stored.len() {
            self.stored = stored;
            (0..self.units.count()).for_each(|unit| self.look_at(unit, chance));
        }
    }

    pub(super) const fn units(&self) -> Units {
        self.units
    }

    pub(super) const fn pieces(&self) -> u32 {
        self.stored.len()
    }

    /// Returns piece number `index`; `None` where the blob has none.
    pub(super) fn piece(&self, index: u32) -> Option<PieceIndex> {
        self.stored.piece(index)
    }

    /// Sets the runs of pieces that readers wait for, and whether the others are wanted too.
    pub(super) fn focus(&mut self, runs: Vec<Range<u32>>, others: bool) {
        self.focus = (!runs.is_empty()).then(|| Focus::new(runs, self.stored.len(), self.focus.as_ref()));
        self.others = others;
    }

    /// Tells whether readers wait for some of its pieces.
    pub(super) const fn is_focused(&self) -> bool {
        self.focus.is_some()
    }

    /// Tells whether all its pieces are wanted, not only those that readers wait for.
    pub(super) const fn wants_others(&self) -> bool {
        self.others
    }

    /// Tells whether every piece is stored.
    pub(super) fn is_complete(&self) -> bool {
        self.stored.is_full()
    }

    /// Tells whether every piece that is wanted now is stored or asked for.
    pub(super) fn is_all_asked(&self) -> bool {
        match &self.focus {
            _ if self.others => self.rarity.open_len() == 0,
            Some(focus) => !focus.any(|piece| self.is_open(piece)),
            None => true,
        }
    }

    /// Tells whether some peer holds an open piece.
    pub(super) fn has_holder(&self) -> bool {
        self.holders.iter().any(|(_, it)| it.pieces.iter().any(|piece| self.is_open(piece)))
    }

    /// Sets what a peer holds, replacing what it has said before.
    pub(super) fn holds(&mut self, slot: u32, pieces: &PieceSet, is_near: bool, chance: &mut Chance) {
        if pieces.len() != self.stored.len() {
            return;
        }
        self.forget(slot, chance);
        self.holders.insert(slot, pieces, is_near);
        let Some(holding) = self.holders.get(slot) else { return };
        if holding.is_seed {
            self.seeds += 1;
        } else {
            holding.units.iter().for_each(|unit| self.rarity.held_by_one_more(unit, chance));
        }
        if is_near {
            holding.units.iter().for_each(|unit| self.near.insert(unit));
        }
    }

    /// Adds pieces that a peer holds, and tells whether any of them is open.
    pub(super) fn also_holds(&mut self, slot: u32, pieces: Range<u32>, chance: &mut Chance) -> bool {
        if self.holders.get(slot).is_none() {
            return false;
        }
        let mut of_use = false;
        for piece in pieces.start..pieces.end.min(self.stored.len()) {
            let unit = self.units.of(piece);
            let gained = self.holders.gain(slot, piece);
            of_use |= gained != Gained::Nothing && self.open.contains(unit);
            if let Gained::Unit { is_near } = gained {
                self.rarity.held_by_one_more(unit, chance);
                if is_near {
                    self.near.insert(unit);
                }
            }
        }
        of_use
    }

    /// Removes a piece that a peer does not deliver, as if the peer did not hold it, until it says so again.
    pub(super) fn holds_no_more(&mut self, slot: u32, piece: u32, chance: &mut Chance) {
        let Some(holding) = self.holders.get(slot).filter(|it| it.pieces.contains(piece)) else { return };
        let (Holding { is_seed, is_near, .. }, unit) = (holding, self.units.of(piece));
        let was_whole = holding.units.contains(unit);
        if is_seed {
            self.seeds -= 1;
            (0..self.units.count()).for_each(|unit| self.rarity.held_by_one_more(unit, chance));
        }
        self.holders.lose(slot, piece);
        if was_whole {
            self.rarity.held_by_one_less(unit, chance);
        }
        if is_near {
            self.gather_near();
        }
    }

    /// Removes a peer.
    pub(super) fn forget(&mut self, slot: u32, chance: &mut Chance) {
        let Some(holding) = self.holders.get(slot) else { return };
        if holding.is_seed {
            self.seeds -= 1;
        } else {
            holding.units.iter().for_each(|unit| self.rarity.held_by_one_less(unit, chance));
        }
        let is_near = holding.is_near;
        self.holders.forget(slot);
        if is_near {
            self.gather_near();
        }
    }

    /// Sets whether a peer is near.
    pub(super) fn set_near(&mut self, slot: u32, is_near: bool) {
        if self.holders.set_near(slot, is_near) {
            self.gather_near();
        }
    }

    fn gather_near(&mut self) {
        self.near = Bits::new(self.units.count());
        for (_, holding) in self.holders.iter().filter(|(_, it)| it.is_near) {
            holding.units.iter().for_each(|unit| self.near.insert(unit));
        }
    }

    /// Returns the next run of open pieces that a peer holds, and marks them as asked for: in order for a reader, else
    /// the rarest unit, whole. A run has at most `max` pieces.
    pub(super) fn take(
        &mut self,
        slot: u32,
        order: Order,
        reach: Reach,
        max: u32,
        chance: &mut Chance,
    ) -> Option<Range<u32>> {
        let run = match order {
            Order::Reading => self.next_in_order(slot, max)?,
            Order::Rarest if self.others => self.next_rarest(slot, reach, max)?,
            Order::Rarest => return None,
        };
        for piece in run.clone() {
            self.asked.insert(piece);
        }
        for unit in self.units.of(run.start)..=self.units.of(run.end - 1) {
            self.look_at(unit, chance);
        }
        Some(run)
    }

    fn next_in_order(&mut self, slot: u32, max: u32) -> Option<Range<u32>> {
        let mut focus = self.focus.take()?;
        let holding = self.holders.get(slot);
        let run = holding
            .and_then(|it| focus.next(|piece| self.is_open(piece), |piece| it.pieces.contains(piece), max));
        self.focus = Some(focus);
        run
    }

    fn next_rarest(&self, slot: u32, reach: Reach, max: u32) -> Option<Range<u32>> {
        let holding = self.holders.get(slot)?;
        let in_part = || (self.units.pieces() > 1).then(|| self.only_in_part(holding)).flatten();
        let unit = self.rarest(holding.units, reach).or_else(in_part)?;
        let fits = |piece: &u32| self.is_open(*piece) && holding.pieces.contains(*piece);
        let first = self.units.range(unit).find(fits)?;
        // Only a web server is asked for more than a unit.
        let end = if max > self.units.pieces() { first + max } else { self.units.range(unit).end };
        let end = end.min(first + max).min(self.stored.len());
        let last = (first..end).take_while(fits).last()?;
        Some(first..last + 1)
    }

    /// Returns the rarest of these open units: compares their places where they are few, else goes through the order.
    fn rarest(&self, held: Bits<&[u64]>, reach: Reach) -> Option<u32> {
        let usable = |unit: &u32| reach == Reach::All || !self.near.contains(*unit);
        let candidates = self.open.count_in_both(&held);
        if candidates.saturating_mul(candidates) <= self.rarity.open_len() {
            let of_both = self.open.in_both(&held).filter(usable);
            return of_both.min_by_key(|unit| self.rarity.place(*unit));
        }
        self.rarity.open().iter().copied().find(|unit| held.contains(*unit) && usable(unit))
    }

    /// Returns an open unit that no peer holds whole, and of which this peer holds an open piece.
    fn only_in_part(&self, holding: Holding<'_>) -> Option<u32> {
        if self.seeds > 0 {
            return None;
        }
        let parts = self.rarity.open().iter().copied().take_while(|unit| self.rarity.count(*unit) == 0);
        let has = |piece: u32| self.is_open(piece) && holding.pieces.contains(piece);
        parts.into_iter().find(|unit| self.units.range(*unit).any(has))
    }

    /// Tells whether a peer holds all of these pieces.
    pub(super) fn is_held_by(&self, slot: u32, mut pieces: impl Iterator<Item = u32>) -> bool {
        self.holders.get(slot).is_some_and(|it| pieces.all(|piece| it.pieces.contains(piece)))
    }

    /// Tells whether a peer other than this one holds a piece.
    pub(super) fn is_held_beside(&self, slot: u32, piece: u32) -> bool {
        self.holders.iter().any(|(other, it)| other != slot && it.pieces.contains(piece))
    }

    /// Gives a piece back: it is open again unless it has been stored meanwhile.
    pub(super) fn give_back(&mut self, piece: u32, chance: &mut Chance) {
        self.asked.remove(piece);
        if let Some(focus) = &mut self.focus {
            focus.reopen(piece);
        }
        self.look_at(self.units.of(piece), chance);
    }

    /// Marks a piece as stored.
    pub(super) fn store(&mut self, piece: u32, chance: &mut Chance) {
        self.asked.remove(piece);
        if let Some(piece) = self.stored.piece(piece) {
            self.stored.insert(piece);
        }
        self.look_at(self.units.of(piece), chance);
    }

    /// Opens a unit that has an open piece, and closes one that has none.
    fn look_at(&mut self, unit: u32, chance: &mut Chance) {
        let is_open = self.units.range(unit).any(|piece| self.is_open(piece));
        if is_open == self.open.contains(unit) {
            return;
        }
        if is_open {
            self.open.insert(unit);
            self.rarity.reopen(unit, chance);
        } else {
            self.open.remove(unit);
            self.rarity.close(unit);
        }
    }

    fn is_open(&self, piece: u32) -> bool {
        !self.asked.contains(piece) && self.stored.piece(piece).is_some_and(|it| !self.stored.contains(it))
    }
}
