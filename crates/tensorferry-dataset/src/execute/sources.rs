//! The elements of each source, and of each shuffle, that a pass over a plan reads.
//!
//! # Rationale
//! Reading ahead over a network goes tens of megabytes beyond what was asked for, and a shuffle in
//! blocks reads the next group. A plan that takes a part says where that ends, so that nothing else
//! is received. A plan that reads its source in order says so: then reading ahead begins at once.

use crate::execute::reach::{Part, Reach};
use crate::spec::Cardinality;
use crate::stage::{Dataset, Elements};
use std::ops::Range;
use std::sync::Arc;

/// The reach of a pass over an indexed plan from an element on, or over another plan. `None` if the
/// plan reads nothing ahead by itself.
pub(crate) fn reach(dataset: &Dataset, from: u64) -> Option<Reach> {
    let hints = &dataset.hints;
    (hints.remote_arrays > 0 || hints.group_bytes > 0).then(|| of(dataset, from))
}

fn of(dataset: &Dataset, from: u64) -> Reach {
    let mut reach = Reach::default();
    add(&mut reach, dataset, from..u64::MAX, true);
    reach
}

fn add(reach: &mut Reach, dataset: &Dataset, wanted: Range<u64>, in_order: bool) {
    let all = match dataset.cardinality() {
        Cardinality::Finite(n) => n,
        _ => u64::MAX,
    };
    let end = wanted.end.min(all);
    // Other datasets are passed from the beginning.
    let wanted = if dataset.is_indexed() { wanted.start.min(end)..end } else { 0..end };
    let in_order = in_order && dataset.is_indexed();
    dataset.deep(|| add_inputs(reach, dataset, wanted, in_order));
}

fn add_inputs(reach: &mut Reach, dataset: &Dataset, wanted: Range<u64>, in_order: bool) {
    let stage = &dataset.stage;
    match stage.elements() {
        Elements::Kept(input) => add(reach, input, wanted, in_order),
        Elements::Moved(input, by) => {
            let Some(last) = wanted.end.checked_sub(1).filter(|last| *last >= wanted.start) else {
                return add(reach, input, 0..0, false);
            };
            let (one, other) = (by.locate(wanted.start), by.locate(last));
            let moved = one.min(other)..one.max(other).saturating_add(1);
            let is_run = other.checked_sub(one) == Some(last - wanted.start);
            add(reach, input, moved, in_order && is_run);
        }
        Elements::Indexed([], _) | Elements::InOrder([], _) => {
            reach.add(Arc::as_ptr(stage).addr(), Part { elements: wanted, in_order });
        }
        Elements::Indexed([input], _) | Elements::InOrder([input], _) => {
            if stage.permutes() {
                let part = Part { elements: wanted.clone(), in_order: false };
                reach.add(Arc::as_ptr(stage).addr(), part);
            }
            let of = |each: u64| wanted.start.saturating_mul(each)..wanted.end.saturating_mul(each);
            match stage.checkpoint().consumes {
                Some(each) => add(reach, input, of(each), in_order),
                None => add(reach, input, 0..u64::MAX, false),
            }
        }
        Elements::Indexed(inputs, _) | Elements::InOrder(inputs, _) => {
            inputs.iter().for_each(|input| add(reach, input, 0..u64::MAX, false));
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

    /// The part of the only source that a pass reads.
    fn part(dataset: &Dataset, from: u64) -> Part {
        let mut source = &dataset.stage;
        while let Some(input) = source.inputs().first() {
            source = &input.stage;
        }
        of(dataset, from).0[&Arc::as_ptr(source).addr()].clone()
    }

    fn reach(dataset: &Dataset, from: u64) -> Range<u64> {
        part(dataset, from).elements
    }

    #[test]
    fn a_plan_says_whether_it_reads_in_order() -> Result<()> {
        let shuffled = range(100).shuffle(ShuffleOptions::seeded(1))?;
        let batches = range(100).batch(7)?;
        let in_order = [&range(100), &range(100).skip(Some(3)).take(Some(9)), &batches];
        assert!(in_order.iter().all(|dataset| part(dataset, 0).in_order));
        let others = [
            &shuffled,
            &shuffled.batch(7)?,
            &range(100).stride(99, -1, 100)?,
            &range(100).stride(0, 2, 50)?,
            &range(100).filter(even()),
        ];
        for dataset in others {
            assert!(!part(dataset, 0).in_order, "{dataset}");
        }
        Ok(())
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
        let found = of(&part.batch(8)?, 1);
        assert_eq!(found.0[&Arc::as_ptr(&shuffled.stage).addr()].elements, 42..67);
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
        assert_eq!(of(&both, 0).0.len(), 2);
        assert_eq!(reach(&part.concatenate(&part.take(Some(2)))?, 0), 10..35);
        Ok(())
    }
}
