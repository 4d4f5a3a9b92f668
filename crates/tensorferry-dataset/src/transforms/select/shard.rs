//! `shard`: every n-th element, the part of one of several workers.

use crate::checkpoint::change::{Change, Resharded};
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::spec::Cardinality;
use crate::stage::{
    CheckpointInfo, Context, Dataset, ElementIter, Elements, Locate, Stage, Step, step, value_of,
};
use tensorferry_io::cancel::CancelToken;

struct Shard {
    input: Dataset,
    num_shards: u64,
    index: u64,
    /// Positions of earlier runs with other numbers of shards, oldest first.
    origins: Vec<Unseen>,
}

impl Dataset {
    /// Every `num_shards`-th element, starting at `index`: the part of one of `num_shards` workers.
    /// Shuffle before it to give each worker a random part, and batch after it.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset};
    ///
    /// let mine = Dataset::range(0, 10, 1, DType::Int64)?.shard(3, 1)?; // 1, 4, 7
    /// assert_eq!(mine.cardinality(), Cardinality::Finite(3));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `index` is not less than `num_shards`.
    pub fn shard(&self, num_shards: u64, index: u64) -> Result<Self> {
        self.sharded(num_shards, index, Vec::new())
    }

    /// Distributes the elements that a run with another number of shards has not returned yet, in
    /// the order of the input, over `num_shards` workers. This is the part of worker `index`.
    ///
    /// # Errors
    /// As [`Dataset::shard`]; [`Error::State`] if `origin` is empty or an old shard's position is
    /// beyond its end.
    pub fn resharded(&self, num_shards: u64, index: u64, origin: Resharded) -> Result<Self> {
        self.sharded(num_shards, index, vec![origin])
    }

    pub(crate) fn sharded(
        &self,
        num_shards: u64,
        index: u64,
        origins: Vec<Resharded>,
    ) -> Result<Self> {
        if index >= num_shards {
            let what = format!(
                "index has to be at least 0 and less than num_shards; it is {index} of \
                {num_shards} shards"
            );
            return Err(Error::Argument { stage: "shard", what });
        }
        let mut left = self.cardinality();
        let mut unseen = Vec::with_capacity(origins.len());
        for origin in origins {
            let origin = Unseen::new(origin, left)?;
            left = left.map(|n| n.saturating_sub(origin.seen));
            unseen.push(origin);
        }
        Ok(Self::of(Shard { input: self.clone(), num_shards, index, origins: unseen }))
    }
}

/// The elements that a run with `positions.len()` shards has not returned.
///
/// Think of the input as rows with one column per shard. Before the row of the foremost shard, each
/// shard has left the rest of its column. After it, all elements are unseen.
#[derive(Clone)]
struct Unseen {
    positions: Vec<u64>,
    /// The positions in ascending order. Between two of them, as many shards have elements left as
    /// there are positions before.
    sorted: Vec<u64>,
    /// Number of elements that were returned.
    seen: u64,
}

impl Unseen {
    fn new(origin: Resharded, cardinality: Cardinality) -> Result<Self> {
        let Resharded { positions } = origin;
        let shards = positions.len() as u64;
        if shards == 0 {
            return Err(Error::State { what: "the state has no shards; it is damaged".into() });
        }
        if let Cardinality::Finite(n) = cardinality {
            for (shard, &position) in (0_u64..).zip(&positions) {
                let had = n.saturating_sub(shard).div_ceil(shards);
                if position > had {
                    let what = format!(
                        "shard {shard} of {shards} handed out {position} of its {had} elements; \
                            the state is damaged"
                    );
                    return Err(Error::State { what });
                }
            }
        }
        let mut sorted = positions.clone();
        sorted.sort_unstable();
        let seen = positions.iter().fold(0_u64, |all, position| all.saturating_add(*position));
        Ok(Self { positions, sorted, seen })
    }

    /// The input's index of the `nth` unseen element.
    fn locate(&self, mut nth: u64) -> u64 {
        let shards = self.positions.len() as u64;
        for (behind, pair) in (1_u64..).zip(self.sorted.windows(2)) {
            let left = (pair[1] - pair[0]).saturating_mul(behind);
            if nth < left {
                let row = pair[0] + nth / behind;
                let mut columns =
                    (0_u64..).zip(&self.positions).filter(|(_, position)| **position <= row);
                let column = columns
                    .nth(usize::try_from(nth % behind).unwrap_or(usize::MAX))
                    .map_or(0, |(column, _)| column);
                return row.saturating_mul(shards).saturating_add(column);
            }
            nth -= left;
        }
        let foremost = self.sorted.last().copied().unwrap_or(0);
        foremost.saturating_mul(shards).saturating_add(nth)
    }

    /// Whether the element at this index of the input is unseen.
    fn contains(&self, index: u64) -> bool {
        let shards = self.positions.len() as u64;
        let column = usize::try_from(index % shards).unwrap_or(usize::MAX);
        self.positions.get(column).is_some_and(|position| index / shards >= *position)
    }
}

impl Locate for Shard {
    fn locate(&self, index: u64) -> u64 {
        let dealt = index.saturating_mul(self.num_shards).saturating_add(self.index);
        self.origins.iter().rev().fold(dealt, |nth, origin| origin.locate(nth))
    }
}

impl Stage for Shard {
    fn elements(&self) -> Elements<'_> {
        Elements::Moved(&self.input, self)
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality().map(|n| {
            let left = self.origins.iter().fold(n, |n, origin| n.saturating_sub(origin.seen));
            left.saturating_sub(self.index).div_ceil(self.num_shards)
        })
    }

    fn describe(&self) -> String {
        let after: String =
            self.origins.iter().map(|origin| format!(", after {:?}", origin.positions)).collect();
        format!("shard({}, {}{after})", self.num_shards, self.index)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        let before =
            self.origins.iter().map(|origin| Resharded { positions: origin.positions.clone() });
        inputs[0].sharded(
            self.num_shards,
            self.index,
            before.chain(change.resharded.take()).collect(),
        )
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { shard: Some((self.num_shards, self.index)), ..CheckpointInfo::default() }
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(ShardIter {
            input: self.input.element_iter(cx)?,
            num_shards: self.num_shards,
            index: self.index,
            counts: vec![0; self.origins.len() + 1],
            failed: None,
            origins: self.origins.clone(),
            cancel: cx.cancel.clone(),
        }))
    }
}

struct ShardIter {
    input: Box<dyn ElementIter>,
    num_shards: u64,
    index: u64,
    origins: Vec<Unseen>,
    /// Number of elements read so far: from the input, then from the remainder of each origin.
    counts: Vec<u64>,
    /// The error of the last element read, if it belongs to another shard.
    failed: Option<Error>,
    cancel: CancelToken,
}

impl ShardIter {
    /// Counts the next element of the input. Returns whether it belongs to this shard.
    fn is_mine(&mut self) -> bool {
        for (origin, count) in self.origins.iter().zip(&mut self.counts) {
            let at = *count;
            *count = at.saturating_add(1);
            if !origin.contains(at) {
                return false;
            }
        }
        self.counts.last_mut().is_some_and(|count| {
            let at = *count;
            *count = at.saturating_add(1);
            at % self.num_shards == self.index
        })
    }
}

impl ElementIter for ShardIter {
    fn next(&mut self) -> Step {
        loop {
            value_of!(step(self.cancel.check()));
            let Some(element) = self.input.next()? else {
                return Ok(self.failed.take().map(Err));
            };
            if self.is_mine() {
                self.failed = None;
                return Ok(Some(element));
            }
            // The other shard reports its error, unless the input ends here, perhaps because of it.
            self.failed = element.err();
        }
    }

    fn save(&self) -> Result<State> {
        let counts = self.counts.iter().map(|count| State::Int(*count)).collect();
        let failed = self.failed.as_ref().map_or(State::Nothing, State::of_error);
        Ok(State::List(vec![State::List(counts), failed, self.input.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(3)?;
        self.counts =
            parts[0].list(self.counts.len())?.iter().map(State::int).collect::<Result<_>>()?;
        self.failed = parts[1].optional(State::error)?;
        self.input.restore(&parts[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order_tests::{numbers, streamed};
    use crate::shuffle::prng::mix;
    use crate::testing::{dying, element_spec, fails_at, stream};
    use tensorferry_core::DType;

    fn range(n: i64) -> Result<Dataset> {
        Dataset::range(0, n, 1, DType::Int64)
    }

    #[test]
    fn an_error_is_its_shards_unless_it_ends_the_stream() -> Result<()> {
        let failing = streamed(&range(9)?.map(fails_at(2, Ok), element_spec()));
        assert_eq!(numbers(&failing.shard(3, 1)?)?, [1, 4, 7]);
        for index in 0..3 {
            let mut stream = stream(&dying(2).shard(3, index)?);
            let last = std::iter::from_fn(|| stream.next()).last();
            assert!(matches!(last, Some(Err(_))), "shard {index}");
        }
        Ok(())
    }

    #[test]
    fn shard_takes_every_nth_and_refuses_an_index_that_is_none() -> Result<()> {
        for input in [range(10)?, streamed(&range(10)?)] {
            assert_eq!(numbers(&input.shard(3, 1)?)?, [1, 4, 7]);
            assert_eq!(numbers(&input.shard(20, 19)?)?, [0_i64; 0]);
        }
        assert!(range(3)?.shard(3, 3).is_err());
        assert!(range(3)?.shard(0, 0).is_err());
        assert_eq!(range(3)?.repeat(None).shard(2, 1)?.cardinality(), Cardinality::Infinite);
        Ok(())
    }

    #[test]
    fn equal_positions_go_on_behind_the_last_row() -> Result<()> {
        let origin = Resharded { positions: vec![3; 4] };
        let mine = range(20)?.resharded(2, 0, origin)?;
        assert_eq!(numbers(&mine)?, [12, 14, 16, 18]);
        assert!(mine.to_string().ends_with("shard(2, 0, after [3, 3, 3, 3])"), "{mine}");
        Ok(())
    }

    /// The elements of a list that remain after each shard returned `positions` of its elements.
    fn left(list: &[i64], positions: &[u64]) -> Vec<i64> {
        let seen = |at: usize| ((at / positions.len()) as u64) < positions[at % positions.len()];
        list.iter().enumerate().filter(|(at, _)| !seen(*at)).map(|(_, value)| *value).collect()
    }

    #[test]
    fn resharding_any_number_of_times_hands_out_exactly_what_is_left() -> Result<()> {
        for seed in 0..300_u64 {
            let draw = |salt: u64, below: u64| mix(mix(seed) ^ salt) % below;
            let n = draw(1, 60);
            let mut list: Vec<i64> = (0..n.cast_signed()).collect();
            let mut origins = Vec::new();
            for run in 0..draw(2, 4) {
                let shards = 1 + draw(10 + run, 6);
                let len = list.len() as u64;
                let position =
                    |s: u64| draw(100 * (run + 1) + s, 1 + len.saturating_sub(s).div_ceil(shards));
                let positions: Vec<u64> = (0..shards).map(position).collect();
                list = left(&list, &positions);
                origins.push(Resharded { positions });
            }
            let shards = 1 + draw(3, 5);
            for index in 0..shards {
                let mine = (0_u64..).zip(&list).filter(|(at, _)| at % shards == index);
                let expected: Vec<i64> = mine.map(|(_, value)| *value).collect();
                for input in [range(n.cast_signed())?, streamed(&range(n.cast_signed())?)] {
                    let mine = input.sharded(shards, index, origins.clone())?;
                    assert_eq!(numbers(&mine)?, expected, "seed {seed}: {mine}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_rebuild_for_another_number_of_shards_continues_an_already_continued_run() -> Result<()> {
        let first = range(20)?.resharded(2, 0, Resharded { positions: vec![3; 4] })?;
        let mut change =
            Change { resharded: Some(Resharded { positions: vec![1, 2] }), ..Change::default() };
        let again = first.rebuild(&mut change)?;
        assert!(change.resharded.is_none());
        assert_eq!(
            numbers(&again)?,
            left(&left(&(0..20).collect::<Vec<_>>(), &[3; 4]), &[1, 2])
                .into_iter()
                .step_by(2)
                .collect::<Vec<_>>()
        );
        Ok(())
    }

    #[test]
    fn a_shard_cannot_have_handed_out_more_than_it_had() -> Result<()> {
        let error = range(10)?.resharded(2, 0, Resharded { positions: vec![4, 3, 4] }).unwrap_err();
        assert!(matches!(error, Error::State { .. }), "{error}");
        Ok(())
    }
}
