//! One checkpoint of all shards of a run.

use crate::checkpoint::checkpoint::Checkpoint;
use crate::checkpoint::part::Part;
use crate::checkpoint::reshard::positions;
use crate::error::{Error, Result};
use crate::transforms::select::parts::Parts;

impl Checkpoint {
    /// The checkpoint of a whole run, made of those of all its shards, in any order. Any number of
    /// shards resume from it, with batches of any size. Its length grows with the number of
    /// different positions only.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Checkpoint, Dataset, Options};
    ///
    /// let part = |shards, index| Dataset::range(0, 10, 1, DType::Int64)?.shard(shards, index);
    /// let (mut even, mut odd) = (part(2, 0)?.iter(), part(2, 1)?.iter());
    /// even.nth(2);
    /// odd.next();
    /// let merged = Checkpoint::merge(&[even.checkpoint()?, odd.checkpoint()?])?;
    /// assert_eq!(merged.rows_handed_out(), Some(4));
    /// // 3, 5, 6, 7, 8, 9
    /// assert_eq!(part(3, 0)?.resume(&merged, &Options::default())?.count(), 2);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::State`] if they are not the checkpoints of all shards of one run, or have more than
    /// positions: streams have.
    pub fn merge(saved: &[Self]) -> Result<Self> {
        let Some(first) = saved.first() else {
            return Err(Error::State { what: "there are no states".into() });
        };
        if let Some(part) = saved.iter().find(|saved| !saved.plan.part.counts) {
            let what = format!(
                "the position of a shard does not follow from what the stages after \
                shard({}, {}) have handed out",
                part.plan.part.shards, part.plan.part.index
            );
            return Err(Error::State { what });
        }
        if saved.iter().any(|saved| saved.state.is_some()) {
            let what = "only states of indexed plans can be merged: a stream's holds what its \
                stages have read. Resume on the same number of shards.";
            return Err(Error::State { what: what.into() });
        }
        let mut merged = first.continued(positions(saved)?);
        if let Some(rows) = &mut merged.progress.rows {
            *rows = saved.iter().fold(*rows, |left, saved| left.saturating_sub(saved.rows()));
        }
        merged.plan.part = Part { shards: 1, index: 0, parts: Parts::Strided, ..merged.plan.part };
        // No plan has them: all resume as parts of the whole.
        (merged.plan.hash, merged.progress.plan) = (0, 0);
        (merged.position, merged.progress.each, merged.progress.drops) = (0, 1, false);
        Ok(merged)
    }

    /// How many rows were handed out in the epoch, by all shards of the runs that this one
    /// continues, and by this shard. Rows are what `batch` stacks. `None` for a stream.
    #[must_use]
    pub fn rows_handed_out(&self) -> Option<u64> {
        let before = self.origins.iter().flat_map(|origin| &origin.positions);
        let rows = before.fold(self.rows(), |all, position| all.saturating_add(*position));
        self.state.is_none().then_some(rows)
    }
}
