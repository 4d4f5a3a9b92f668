//! Resuming on another number of shards.
//!
//! # Rationale
//! The rows that all shards handed out determine which elements of their input were not handed
//! out. The new shards divide these elements. A checkpoint determines the rows of its shard if all
//! stages after `shard` consume their input one by one, or a fixed number of elements at a time.

use crate::checkpoint::change::Resharded;
use crate::checkpoint::checkpoint::Checkpoint;
use crate::checkpoint::part::{Part, sharded};
use crate::error::{Error, Result};
use crate::execute::iter::{Iter, Start};
use crate::execute::options::Options;
use crate::stage::Dataset;

/// Maximum number of shards whose positions are computed.
pub(crate) const MOST_SHARDS: u64 = 1 << 20;

impl Checkpoint {
    /// # Errors
    /// [`Error::State`] if this shard had ended and another one is longer: one checkpoint does not
    /// give the position of that shard.
    fn check_lockstep(&self) -> Result<()> {
        let Part { shards, index, .. } = self.plan.part;
        let len_of = |index| self.progress.elements(index, shards);
        if len_of(index).is_none_or(|len| self.position < len) {
            return Ok(());
        }
        for other in 0..shards {
            if len_of(other).is_none_or(|len| len > self.position) {
                let what = format!(
                    "shard {index} of {shards} had ended after {} elements, and shard {other} has \
                    more: one state does not give the position of that shard. Load the list of \
                    the states of all shards.",
                    self.position
                );
                return Err(Error::State { what });
            }
        }
        Ok(())
    }

    /// The positions of all shards, if all have handed out as many elements as this one.
    fn positions_in_lockstep(&self) -> Result<Vec<u64>> {
        let Part { shards, .. } = self.plan.part;
        if shards > MOST_SHARDS {
            return Err(Error::State {
                what: format!("a state of {shards} shards; it is damaged"),
            });
        }
        self.check_lockstep()?;
        let position = |index| self.progress.handed_out(self.position, index, shards);
        Ok((0..shards).map(position).collect())
    }

    /// Resumes with `dataset`'s part of the elements left after the old shards' `positions`.
    fn resume_part(
        &self,
        dataset: &Dataset,
        positions: Vec<u64>,
        options: &Options,
    ) -> Result<Iter> {
        let start = self.continued(positions);
        let mut iter = Iter::of(dataset.clone(), start.rebuilt(dataset)?, self.epoch, options);
        iter.begin(Start { origins: start.origins, ..Start::default() })?;
        Ok(iter)
    }

    /// The start of a run that continues shards from these positions.
    pub(crate) fn continued(&self, positions: Vec<u64>) -> Self {
        let mut start = self.clone();
        start.progress.skipped = 0;
        start.state = None;
        // Without it, the start is that of the same run.
        if positions.iter().any(|position| *position > 0) {
            start.origins.push(Resharded { positions, parts: self.plan.part.parts });
        }
        start
    }

    /// # Errors
    /// [`Error::State`] if a stage of `dataset` hides the positions of this plan's shards.
    fn check_counts(&self, dataset: &Dataset) -> Result<()> {
        if self.plan.part.counts {
            return Ok(());
        }
        let hides = |stage: &Dataset| stage.stage.checkpoint().consumes.is_none();
        let stage = sharded(dataset).and_then(|(_, after)| after.into_iter().rev().find(hides));
        let stage = stage.map_or_else(|| "a stage".into(), |stage| stage.stage.describe());
        let what = format!(
            "the position of a shard does not follow from what {stage} has handed out. Resume on \
            {} shards, or move shard behind it.",
            self.plan.part.shards
        );
        Err(Error::State { what })
    }
}

impl Dataset {
    /// As [`Dataset::resume`], from the checkpoint of another part. Assumes that all old shards
    /// were at the same position, and refuses a shard that had ended if others are longer.
    pub(crate) fn resume_part(&self, saved: &Checkpoint, options: &Options) -> Result<Iter> {
        saved.check_counts(self)?;
        self.check_reshards()?;
        saved.resume_part(self, saved.positions_in_lockstep()?, options)
    }

    /// Resumes with this shard's part of the elements that a run had not handed out, given the
    /// checkpoints of all its shards, in any order. The batches may have another size.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, Options};
    ///
    /// let part = |shards, index| Dataset::range(0, 10, 1, DType::Int64)?.shard(shards, index);
    /// // 0, 2, 4, 6, 8 and 1, 3, 5, 7, 9
    /// let (mut even, mut odd) = (part(2, 0)?.iter(), part(2, 1)?.iter());
    /// even.nth(2);
    /// odd.next();
    /// let saved = [even.checkpoint()?, odd.checkpoint()?];
    /// let all = part(1, 0)?.resume_all(&saved, &Options::default())?;
    /// assert_eq!(all.count(), 6); // 3, 5, 6, 7, 8, 9
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::State`] if they are not the checkpoints of all shards of one run, or if a stage
    /// after `shard` does not determine the position of the shard: only maps, `enumerate`,
    /// `components`, `batch`, `padded_batch` and `prefetch` do.
    pub fn resume_all(&self, saved: &[Checkpoint], options: &Options) -> Result<Iter> {
        if let Some(own) = saved.iter().find(|state| state.is_of(self)) {
            return self.resume(own, options);
        }
        let Some(first) = saved.first() else {
            return Err(Error::State { what: "there are no states".into() });
        };
        if !first.is_of_whole(self) {
            first.plan.check(self)?;
        }
        first.check_counts(self)?;
        self.check_reshards()?;
        first.resume_part(self, positions(saved)?, options)
    }

    /// # Errors
    /// [`Error::State`] if a position does not suffice to resume on other shards.
    fn check_reshards(&self) -> Result<()> {
        let inputs = match sharded(self) {
            Some((shard, _)) => shard.stage.inputs().iter().map(shards_in).sum::<usize>(),
            None => shards_in(self),
        };
        let what = match () {
            () if !self.is_indexed() => {
                "only an indexed plan can resume on another number of shards"
            }
            () if inputs > 0 => "a plan with nested shards cannot resume on another number of them",
            () => return Ok(()),
        };
        Err(Error::State { what: format!("{what}. Resume on the same number of shards.") })
    }
}

/// Number of shards in a plan.
fn shards_in(dataset: &Dataset) -> usize {
    let inputs = dataset.stage.inputs();
    dataset.deep(|| inputs.iter().map(shards_in).sum::<usize>())
        + usize::from(dataset.stage.checkpoint().shard.is_some())
}

/// How many rows each shard of one run has handed out, given the checkpoints of all.
///
/// # Errors
/// [`Error::State`] if they are not.
pub(crate) fn positions(saved: &[Checkpoint]) -> Result<Vec<u64>> {
    let mut positions = vec![None; saved.len()];
    for state in saved {
        let part = state.of_run(&saved[0], saved.len())?;
        let at = usize::try_from(part.index).unwrap_or(usize::MAX);
        let Some(place @ None) = positions.get_mut(at) else {
            return Err(Error::State {
                what: format!("there are two states of shard {}", part.index),
            });
        };
        *place = Some(state.rows());
    }
    Ok(positions.into_iter().flatten().collect())
}

impl Checkpoint {
    /// Checks that this checkpoint is of the same run as `first`, and returns its part.
    fn of_run(&self, first: &Self, states: usize) -> Result<Part> {
        let differ = |what: &str| {
            Err(Error::State { what: format!("the states are not of one run: {what}") })
        };
        let (part, other) = (self.plan.part, first.plan.part);
        match () {
            () if (part.whole, part.shards) != (other.whole, other.shards) => {
                differ("their plans differ")
            }
            () if part.parts != other.parts => {
                differ("the parts of some are contiguous, and those of others are not")
            }
            () if self.epoch != first.epoch => differ("they are of different epochs"),
            () if self.seeds != first.seeds => {
                differ("their seeds were drawn separately. Give every shuffle a seed")
            }
            () if self.origins != first.origins => differ("they continue different shards"),
            () if part.shards != states as u64 => {
                differ(&format!("there are {states} of {} shards", part.shards))
            }
            () => Ok(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchOptions;
    use std::collections::BTreeSet;
    use tensorferry_core::DType;

    fn root(n: i64) -> Dataset {
        Dataset::range(0, n, 1, DType::Int64).unwrap()
    }

    fn part(n: i64, shards: u64, index: u64, batch: usize) -> Dataset {
        root(n).shard(shards, index).unwrap().batch(batch).unwrap().prefetch(Some(2))
    }

    fn values(iter: impl Iterator<Item = Result<crate::stage::Element>>) -> Vec<i64> {
        iter.flat_map(|batch| {
            batch.unwrap()[0].tensor().unwrap().view::<i64>().unwrap().iter().collect::<Vec<_>>()
        })
        .collect()
    }

    fn reread(iter: &Iter) -> Checkpoint {
        Checkpoint::from_bytes(&iter.checkpoint().unwrap().to_bytes()).unwrap()
    }

    #[test]
    fn on_another_number_of_shards_no_row_is_lost_or_repeated() {
        let n = 53;
        for (old, new, batches) in
            [(2, 3, 0), (2, 3, 4), (3, 2, 3), (4, 1, 2), (1, 4, 5), (3, 3, 100)]
        {
            let mut seen = Vec::new();
            let mut saved = None;
            for index in 0..old {
                let mut iter = part(n, old, index, 4).iter();
                seen.extend(values(iter.by_ref().take(batches)));
                saved = Some(reread(&iter));
            }
            for index in 0..new {
                let now = part(n, new, index, 4);
                let mut iter = now.resume(&saved.clone().unwrap(), &Options::default()).unwrap();
                seen.extend(values(iter.by_ref().take(1)));
                // A checkpoint of the resumed run can be resumed too.
                let again = now.resume(&reread(&iter), &Options::default()).unwrap();
                let rest = values(iter);
                assert_eq!(values(again), rest);
                seen.extend(rest);
            }
            let distinct: BTreeSet<i64> = seen.iter().copied().collect();
            assert_eq!(
                (seen.len(), distinct.len()),
                (53, 53),
                "{old} shards to {new} after {batches}"
            );
        }
    }

    #[test]
    fn shards_that_were_not_at_the_same_place_go_on_from_all_their_states_and_twice() {
        let mut seen = Vec::new();
        let advance = |seen: &mut Vec<i64>, mut iter: Iter, batches: usize| {
            seen.extend(values(iter.by_ref().take(batches)));
            reread(&iter)
        };
        let first: Vec<Checkpoint> = (0..3)
            .rev()
            .map(|i| {
                advance(
                    &mut seen,
                    part(100, 3, i, 5).iter(),
                    [1, 4, 0][usize::try_from(i).unwrap()],
                )
            })
            .collect();
        let options = Options::default();
        let second: Vec<Checkpoint> = (0..2_u64)
            .map(|i| {
                advance(
                    &mut seen,
                    part(100, 2, i, 5).resume_all(&first, &options).unwrap(),
                    usize::try_from(i).unwrap() + 1,
                )
            })
            .collect();
        for i in 0..4 {
            seen.extend(values(part(100, 4, i, 5).resume_all(&second, &options).unwrap()));
        }
        assert_eq!(seen.len(), 100);
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<i64>>());
    }

    #[test]
    fn states_that_do_not_go_together_are_refused() {
        let options = Options::default();
        let state = |shards, index| part(20, shards, index, 2).iter().checkpoint().unwrap();
        let refused = |states: &[Checkpoint]| match part(20, 3, 0, 2).resume_all(states, &options) {
            Err(Error::State { what }) => what,
            _ => panic!("they were taken"),
        };
        assert!(refused(&[]).contains("no states"));
        assert!(refused(&[state(2, 0)]).contains("1 of 2 shards"));
        assert!(refused(&[state(2, 0), state(2, 0)]).contains("two states of shard 0"));
        assert!(refused(&[state(2, 0), state(4, 1)]).contains("plans differ"));
        let other = part(21, 2, 1, 2).iter().checkpoint().unwrap();
        assert!(refused(&[state(2, 0), other]).contains("plans differ"));
    }

    #[test]
    fn a_shard_that_has_ended_does_not_speak_for_longer_ones() {
        for batch in [1, 2, 3] {
            let ended: Vec<Checkpoint> = (0..3)
                .map(|index| {
                    let mut iter = part(7, 3, index, batch).iter();
                    iter.by_ref().for_each(drop);
                    reread(&iter)
                })
                .collect();
            let whole = part(7, 1, 0, batch);
            // Shard 0 has 3 rows, the others 2. In batches of 3, all shards are equally long.
            for (index, state) in ended.iter().enumerate() {
                match whole.resume(state, &Options::default()) {
                    Ok(rest) => assert!((index == 0 || batch == 3) && values(rest).is_empty()),
                    Err(Error::State { what }) => {
                        assert!(index > 0 && batch < 3 && what.contains("list"), "{what}")
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            assert!(values(whole.resume_all(&ended, &Options::default()).unwrap()).is_empty());
        }
        // A dropped remainder belongs to no shard: 3, 3 and 2 rows in full batches of 3.
        let dropping = |shards, index| {
            root(8)
                .shard(shards, index)
                .unwrap()
                .batch_with(3, BatchOptions::DROP_REMAINDER)
                .unwrap()
        };
        let states: Vec<Checkpoint> =
            (0..3).map(|index| dropping(3, index).iter().checkpoint().unwrap()).collect();
        assert!(dropping(1, 0).resume(&states[2], &Options::default()).is_err());
        assert_eq!(
            values(dropping(1, 0).resume(&states[0], &Options::default()).unwrap()).len(),
            6
        );
    }

    #[test]
    fn a_stage_after_shard_whose_position_does_not_tell_the_shards_is_named() {
        let plan = |shards| root(20).shard(shards, 0).unwrap().skip(Some(1)).batch(2).unwrap();
        let saved = plan(2).iter().checkpoint().unwrap();
        match plan(3).resume(&saved, &Options::default()) {
            Err(Error::State { what }) => assert!(what.contains("skip"), "{what}"),
            _ => panic!("it was resumed"),
        }
    }
}
