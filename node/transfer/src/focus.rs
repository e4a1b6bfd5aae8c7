//! [`Focus`]: the runs of pieces that readers wait for. Each run is taken in order, and readers take turns.

use std::ops::Range;

/// The runs of pieces that readers wait for.
#[derive(Debug)]
pub(super) struct Focus {
    runs: Vec<Run>,
    turn: usize,
}

#[derive(Debug)]
struct Run {
    first: u32,
    end: u32,
    /// The run has no open piece before this one.
    first_open: u32,
}

impl Focus {
    /// Returns a focus on `runs` of a blob with `pieces` pieces. The turns continue those of `before`.
    pub(super) fn new(runs: Vec<Range<u32>>, pieces: u32, before: Option<&Self>) -> Self {
        let runs = runs.into_iter().map(|run| Run {
            first: run.start,
            end: run.end.min(pieces),
            first_open: run.start,
        });
        Self { runs: runs.collect(), turn: before.map_or(0, |it| it.turn) }
    }

    /// Tells whether any piece of the runs is open.
    pub(super) fn any(&self, is_open: impl Fn(u32) -> bool) -> bool {
        self.runs.iter().any(|run| (run.first_open..run.end).any(&is_open))
    }

    /// Returns the next run of at most `max` open and usable pieces, for the next reader in turn.
    pub(super) fn next(
        &mut self,
        is_open: impl Fn(u32) -> bool,
        usable: impl Fn(u32) -> bool,
        max: u32,
    ) -> Option<Range<u32>> {
        for step in 0..self.runs.len() {
            let place = (self.turn + step) % self.runs.len();
            let run = &mut self.runs[place];
            while run.first_open < run.end && !is_open(run.first_open) {
                run.first_open += 1;
            }
            let fits = |piece: &u32| is_open(*piece) && usable(*piece);
            if let Some(first) = (run.first_open..run.end).find(fits) {
                let end =
                    (first..run.end.min(first + max)).take_while(fits).last().map_or(first, |last| last + 1);
                self.turn = place + 1;
                return Some(first..end);
            }
        }
        None
    }

    /// Takes note that a piece is open again.
    pub(super) fn reopen(&mut self, piece: u32) {
        for run in &mut self.runs {
            if (run.first..run.end).contains(&piece) {
                run.first_open = run.first_open.min(piece);
            }
        }
    }
}
