//! Runs that stop and resume with other batch sizes and other numbers of shards.

use crate::checkpoint::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::execute::iter::Iter;
use crate::execute::options::Options;
use crate::order_tests::streamed;
use crate::shuffle::prng::mix;
use crate::stage::Element;
use crate::{BatchOptions, Dataset, Epoch, PaddedBatchOptions, ShuffleOptions};
use tensorferry_core::DType;

/// Draws from a seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = mix(self.0);
        self.0 % end
    }
}

fn rows_of(batch: Result<Element>) -> Vec<i64> {
    batch.unwrap()[0].tensor().unwrap().view::<i64>().unwrap().iter().collect()
}

fn reread(saved: &Checkpoint) -> Checkpoint {
    Checkpoint::from_bytes(&saved.to_bytes()).unwrap()
}

/// A plan of `n` shuffled rows, with batches of `size`.
struct Made {
    n: i64,
    kind: u64,
    stream: bool,
}

impl Made {
    fn rows(&self) -> Dataset {
        let rows = Dataset::range(0, self.n, 1, DType::Int64).unwrap();
        let rows = rows.shuffle(ShuffleOptions::seeded(7)).unwrap();
        if self.stream { streamed(&rows) } else { rows }
    }

    fn batched(&self, rows: &Dataset, size: usize) -> Dataset {
        match self.kind % 3 {
            0 => rows.batch(size),
            1 => rows.padded_batch(size, PaddedBatchOptions::default()),
            _ => rows.prefetch(Some(1)).batch(size).map(|batches| batches.prefetch(Some(2))),
        }
        .unwrap()
    }

    fn plan(&self, size: usize) -> Dataset {
        self.batched(&self.rows(), size)
    }

    fn part(&self, shards: u64, index: u64, size: usize) -> Dataset {
        self.batched(&self.rows().shard(shards, index).unwrap(), size)
    }
}

fn begin(dataset: &Dataset, saved: &[Checkpoint]) -> Iter {
    let options = Options::default();
    match saved {
        [] => dataset.iter_with(Epoch(3), &options),
        [one] => dataset.resume(one, &options).unwrap(),
        all => dataset.resume_all(all, &options).unwrap(),
    }
}

#[test]
fn with_other_batch_sizes_the_rows_and_their_order_are_the_same() {
    for seed in 0..200 {
        let mut draw = Draws(mix(seed));
        let n = draw.below(80).cast_signed();
        let made = Made { n, kind: draw.below(3), stream: seed % 4 == 0 };
        let expected: Vec<i64> = begin(&made.plan(1), &[]).flat_map(rows_of).collect();
        let (mut found, mut saved) = (Vec::new(), None);
        for _ in 0..draw.below(5) {
            let size = usize::try_from(1 + draw.below(9)).unwrap();
            let mut iter = begin(&made.plan(size), saved.as_slice());
            let batches = usize::try_from(draw.below(6)).unwrap();
            found.extend(iter.by_ref().take(batches).flat_map(rows_of));
            let state = reread(&iter.checkpoint().unwrap());
            let rows = (!made.stream).then_some(found.len() as u64);
            assert_eq!(state.rows_handed_out(), rows, "seed {seed}");
            assert_eq!(state.epoch(), Epoch(3));
            saved = Some(state);
        }
        found.extend(begin(&made.plan(4), saved.as_slice()).flat_map(rows_of));
        assert_eq!(found, expected, "seed {seed}");
    }
}

#[test]
fn with_other_sizes_and_shards_each_row_comes_once() {
    for seed in 0..300 {
        let mut draw = Draws(mix(seed ^ 0x5eed));
        let n = draw.below(80).cast_signed();
        let made = Made { n, kind: draw.below(3), stream: false };
        let (mut found, mut saved) = (Vec::new(), Vec::new());
        for run in 0..1 + draw.below(4) {
            // One shard of one, or a plan without shard.
            let shards = draw.below(5);
            let (mut states, last) = (Vec::new(), run == 3);
            for index in 0..shards.max(1) {
                let size = usize::try_from(1 + draw.below(9)).unwrap();
                let plan = match shards {
                    0 => made.plan(size),
                    _ => made.part(shards, index, size),
                };
                let mut iter = begin(&plan, &saved);
                let batches = if last { 99 } else { usize::try_from(draw.below(6)).unwrap() };
                found.extend(iter.by_ref().take(batches).flat_map(rows_of));
                states.push(reread(&iter.checkpoint().unwrap()));
            }
            saved = match draw.below(2) {
                0 => states,
                _ => vec![reread(&Checkpoint::merge(&states).unwrap())],
            };
        }
        found.extend(begin(&made.plan(4), &saved).flat_map(rows_of));
        found.sort_unstable();
        assert_eq!(found, (0..n).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn shards_in_step_need_one_state_whatever_the_batch_sizes() -> Result<()> {
    let made = Made { n: 57, kind: 0, stream: false };
    for shards in 1..5 {
        let (mut found, mut state) = (Vec::new(), None);
        for index in 0..shards {
            let mut iter = made.part(shards, index, 4).iter();
            found.extend(iter.by_ref().take(2).flat_map(rows_of));
            state = Some(iter.checkpoint()?);
        }
        for index in 0..3 {
            let plan = made.part(3, index, 5);
            let resumed = plan.resume(&state.clone().unwrap(), &Options::default())?;
            found.extend(resumed.flat_map(rows_of));
        }
        found.sort_unstable();
        assert_eq!(found, (0..57).collect::<Vec<_>>(), "{shards} shards");
    }
    Ok(())
}

#[test]
fn a_dropped_remainder_is_handed_out_by_smaller_batches() -> Result<()> {
    let rows = Dataset::range(0, 10, 1, DType::Int64)?;
    let full = |size| rows.batch_with(size, BatchOptions::DROP_REMAINDER);
    let mut iter = full(4)?.iter();
    assert_eq!(iter.by_ref().count(), 2);
    let rest = full(2)?.resume(&iter.checkpoint()?, &Options::default())?;
    assert_eq!(rest.flat_map(rows_of).collect::<Vec<_>>(), [8, 9]);
    let stream = streamed(&rows).batch_with(4, BatchOptions::DROP_REMAINDER)?;
    let mut iter = stream.iter();
    iter.next();
    let saved = iter.checkpoint()?;
    match streamed(&rows).batch(2)?.resume(&saved, &Options::default()) {
        Err(Error::State { what }) => assert!(what.contains("drop_remainder"), "{what}"),
        _ => panic!("it was resumed"),
    }
    Ok(())
}

#[test]
fn a_merged_state_of_a_thousand_shards_in_step_is_small() -> Result<()> {
    let made = Made { n: 1 << 20, kind: 0, stream: false };
    let states: Result<Vec<Checkpoint>> =
        (0..1000).map(|index| Ok(made.part(1000, index, 8).iter().checkpoint()?.at(5))).collect();
    let merged = Checkpoint::merge(&states?)?;
    assert!(merged.to_bytes().len() < 400, "{}", merged.to_bytes().len());
    assert_eq!(merged.rows_handed_out(), Some(40_000));
    let other = made.part(7, 3, 100).resume(&reread(&merged), &Options::default())?;
    assert_eq!(other.dataset().cardinality().finite(), Some(1441));
    Ok(())
}

#[test]
fn what_cannot_be_merged_is_refused() -> Result<()> {
    let made = Made { n: 20, kind: 0, stream: false };
    let refused = |states: &[Checkpoint]| match Checkpoint::merge(states) {
        Err(Error::State { what }) => what,
        _ => panic!("they were merged"),
    };
    let state = |shards, index| made.part(shards, index, 2).iter().checkpoint().unwrap();
    assert!(refused(&[]).contains("no states"));
    assert!(refused(&[state(2, 0)]).contains("1 of 2 shards"));
    assert!(refused(&[state(2, 0), state(2, 0)]).contains("two states of shard 0"));
    let hidden = made.rows().shard(2, 0)?.skip(Some(1)).batch(2)?.iter().checkpoint()?;
    assert!(refused(&[hidden]).contains("shard(2, 0)"));
    let stream = Made { stream: true, ..made }.plan(2).iter().checkpoint()?;
    assert!(refused(&[stream]).contains("stream"));
    // A merged state is refused by another plan, which is named.
    let merged = Checkpoint::merge(&[state(2, 0), state(2, 1)])?;
    let other = Made { n: 21, kind: 0, stream: false }.part(3, 0, 5);
    match other.resume(&merged, &Options::default()) {
        Err(Error::State { what }) => assert!(what.contains("stage 1 was range(0, 20"), "{what}"),
        _ => panic!("it was resumed"),
    }
    Ok(())
}

#[test]
fn a_state_moved_to_another_epoch_has_all_of_its_rows() -> Result<()> {
    let made = Made { n: 40, kind: 0, stream: false };
    let mut first = made.plan(6).iter();
    first.by_ref().take(5).for_each(drop);
    let resumed = made.part(2, 0, 3).resume(&first.checkpoint()?, &Options::default())?;
    // 20 rows of this part of the next epoch, and as many of the other.
    let next = resumed.checkpoint()?.moved(Epoch(1), 7)?;
    assert_eq!(next.rows_handed_out(), Some(20));
    Ok(())
}
