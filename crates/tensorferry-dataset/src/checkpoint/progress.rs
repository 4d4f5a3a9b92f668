//! [`Progress`]: how many rows a run has handed out, whatever the sizes of its batches.

use crate::checkpoint::change::Resharded;
use crate::checkpoint::cut::Cut;
use crate::checkpoint::part::{Part, sharded};
use crate::stage::Dataset;

/// What gives the number of rows from the position of an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// A hash of the plan's description without the sizes of its batches.
    pub(crate) plan: u64,
    /// Rows of one element.
    pub(crate) each: u64,
    /// Whether rows of an incomplete last element are dropped.
    pub(crate) drops: bool,
    /// Rows of this part that were handed out before position 0, in batches of another size.
    pub(crate) skipped: u64,
    /// Rows of all parts at the beginning of this run, if they are finite.
    pub(crate) rows: Option<u64>,
}

impl Progress {
    /// Of a plan that runs, with the parts of earlier runs.
    pub(crate) fn of(running: &Dataset, part: &Part, plan: u64, skipped: u64) -> Self {
        let cut = Cut::of(running);
        let shard = part.counts.then(|| sharded(running)).flatten();
        let shard = shard.and_then(|(shard, _)| Some(shard.stage.inputs().first()?.cardinality()));
        let rows = match shard {
            Some(rows) => rows.finite(),
            None => cut.rows.cardinality().finite().map(|rows| rows.saturating_add(skipped)),
        };
        Self { plan, each: cut.each, drops: cut.drops, skipped, rows }
    }

    /// The same, where earlier runs have handed out rows of a sharded input.
    pub(crate) fn after(self, origins: &[Resharded]) -> Self {
        let seen = seen(origins);
        Self { rows: self.rows.map(|rows| rows.saturating_sub(seen)), ..self }
    }

    /// The same in an epoch of which these earlier runs have handed out nothing.
    pub(crate) fn of_whole_epoch(self, origins: &[Resharded]) -> Self {
        let seen = seen(origins);
        Self { rows: self.rows.map(|rows| rows.saturating_add(seen)), skipped: 0, ..self }
    }

    /// Rows of a part.
    fn of_part(&self, index: u64, shards: u64) -> Option<u64> {
        self.rows.map(|rows| rows.saturating_sub(index).div_ceil(shards.max(1)))
    }

    /// Rows that a part had handed out at `position`.
    pub(crate) fn handed_out(&self, position: u64, index: u64, shards: u64) -> u64 {
        let rows = self.skipped.saturating_add(position.saturating_mul(self.each));
        self.of_part(index, shards).map_or(rows, |all| rows.min(all))
    }

    /// Elements of a part, if they are finite.
    pub(crate) fn elements(&self, index: u64, shards: u64) -> Option<u64> {
        let rows = self.of_part(index, shards)?.saturating_sub(self.skipped);
        let each = self.each.max(1);
        Some(if self.drops { rows / each } else { rows.div_ceil(each) })
    }
}

/// Rows that runs have handed out.
fn seen(origins: &[Resharded]) -> u64 {
    let positions = origins.iter().flat_map(|origin| &origin.positions);
    positions.fold(0, |all, position| all.saturating_add(*position))
}
