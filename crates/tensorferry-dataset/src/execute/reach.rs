//! [`Reach`]: the elements of each source, and of each shuffle, that an iteration reads.
//!
//! # Rationale
//! Reading ahead over a network goes tens of megabytes beyond what was asked for, and a shuffle in
//! blocks reads the next group. A plan that takes a part says where that ends, so that nothing else
//! is received.

use crate::spec::Cardinality;
use crate::stage::{Dataset, Elements, Stage};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The elements of each source, and of each shuffle, that one pass over a plan reads, or more.
#[derive(Debug, Default)]
pub(crate) struct Reach(HashMap<usize, Range<u64>>);

impl Reach {
    /// For a pass over an indexed plan from an element on, or over another plan. `None` if the plan
    /// reads nothing ahead by itself.
    pub(crate) fn of(dataset: &Dataset, from: u64) -> Option<Self> {
        let mut reach = Self::default();
        let hints = &dataset.hints;
        (hints.remote_arrays > 0 || hints.group_bytes > 0)
            .then(|| reach.add(dataset, from..u64::MAX))?;
        Some(reach)
    }

    /// The elements of a source or a shuffle that are read. `None` if it is not of the plan.
    pub(crate) fn elements<S>(&self, stage: &S) -> Option<Range<u64>> {
        self.0.get(&std::ptr::from_ref(stage).addr()).cloned()
    }

    fn record(&mut self, stage: &Arc<dyn Stage>, wanted: &Range<u64>) {
        let known = self.0.entry(Arc::as_ptr(stage).addr()).or_insert(wanted.clone());
        *known = known.start.min(wanted.start)..known.end.max(wanted.end);
    }

    fn add(&mut self, dataset: &Dataset, wanted: Range<u64>) {
        let all = match dataset.cardinality() {
            Cardinality::Finite(n) => n,
            _ => u64::MAX,
        };
        let end = wanted.end.min(all);
        // Other datasets are passed from the beginning.
        let wanted = if dataset.is_indexed() { wanted.start.min(end)..end } else { 0..end };
        dataset.deep(|| self.add_inputs(dataset, wanted));
    }

    fn add_inputs(&mut self, dataset: &Dataset, wanted: Range<u64>) {
        let stage = &dataset.stage;
        match stage.elements() {
            Elements::Kept(input) => self.add(input, wanted),
            Elements::Moved(input, by) => {
                let Some(last) = wanted.end.checked_sub(1).filter(|last| *last >= wanted.start)
                else {
                    return self.add(input, 0..0);
                };
                let (one, other) = (by.locate(wanted.start), by.locate(last));
                self.add(input, one.min(other)..one.max(other).saturating_add(1));
            }
            Elements::Indexed([], _) | Elements::InOrder([], _) => self.record(stage, &wanted),
            Elements::Indexed([input], _) | Elements::InOrder([input], _) => {
                if stage.permutes() {
                    self.record(stage, &wanted);
                }
                let of =
                    |each: u64| wanted.start.saturating_mul(each)..wanted.end.saturating_mul(each);
                let all = 0..u64::MAX;
                self.add(input, stage.checkpoint().consumes.map_or(all, of));
            }
            Elements::Indexed(inputs, _) | Elements::InOrder(inputs, _) => {
                inputs.iter().for_each(|input| self.add(input, 0..u64::MAX));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::order_tests::streamed;
    use crate::testing::{even, range};
    use crate::{BatchOptions, Parts, ShuffleOptions};

    /// The elements of the only source that a pass reads.
    fn reach(dataset: &Dataset, from: u64) -> Range<u64> {
        let mut reach = Reach::default();
        reach.add(dataset, from..u64::MAX);
        let mut source = &dataset.stage;
        while let Some(input) = source.inputs().first() {
            source = &input.stage;
        }
        reach.0[&Arc::as_ptr(source).addr()].clone()
    }

    #[test]
    fn a_pass_reads_the_part_of_the_source_that_the_plan_takes() -> Result<()> {
        let part = range(100).skip(Some(10)).take(Some(25));
        assert_eq!(
            (reach(&range(100), 0), reach(&part, 0), reach(&part, 4)),
            (0..100, 10..35, 14..35)
        );
        let batches = part.batch(4)?;
        assert_eq!((reach(&batches, 0), reach(&batches, 2)), (10..35, 18..35));
        assert_eq!(reach(&part.batch_with(4, BatchOptions::DROP_REMAINDER)?, 0), 10..34);
        assert_eq!(reach(&range(100).batch(10)?.take(Some(3)), 1), 10..30);
        assert_eq!(reach(&range(100).stride(90, -10, 4)?, 0), 60..91);
        assert_eq!(reach(&part.take(Some(0)), 0), 0..0);
        Ok(())
    }

    #[test]
    fn the_part_of_a_shuffle_is_known_and_its_source_is_read_whole() -> Result<()> {
        let shuffled = range(100).shuffle_blocks(4, ShuffleOptions::seeded(7))?;
        let part = shuffled.shard_with(3, 1, Parts::Contiguous)?;
        let mut found = Reach::default();
        found.add(&part.batch(8)?, 1..u64::MAX);
        assert_eq!(found.0[&Arc::as_ptr(&shuffled.stage).addr()], 42..67);
        assert_eq!(reach(&part.batch(8)?, 1), 0..100);
        Ok(())
    }

    #[test]
    fn other_stages_may_read_all_of_their_input() -> Result<()> {
        let part = range(100).skip(Some(10)).take(Some(25));
        assert_eq!(reach(&part.filter(even()).take(Some(2)), 0), 10..35);
        assert_eq!(reach(&part.repeat(Some(2)).take(Some(30)), 27), 10..35);
        assert_eq!(reach(&streamed(&part).skip(Some(3)), 0), 10..35);
        let both = Dataset::zip(vec![part.clone(), range(100).take(Some(3))])?;
        let mut all = Reach::default();
        all.add(&both, 0..u64::MAX);
        assert_eq!(all.0.len(), 2);
        assert_eq!(reach(&part.concatenate(&part.take(Some(2)))?, 0), 10..35);
        Ok(())
    }
}
