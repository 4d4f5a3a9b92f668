//! `shard`: the part of one of several workers, every n-th element or a contiguous part.
//!
//! # Rationale
//! Every n-th element keeps workers together in the order of the input, and works without random
//! access. But if neighbours come from the same blocks of an object store, each worker would
//! receive all blocks: there, parts are contiguous.

use crate::checkpoint::change::{Change, Resharded};
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::spec::Cardinality;
use crate::stage::{
    CheckpointInfo, Context, Dataset, ElementIter, Elements, Locate, Stage, Step, step, value_of,
};
use crate::transforms::select::parts::Parts;
use crate::transforms::select::unseen::{Unseen, part_of};
use tensorferry_io::cancel::CancelToken;

struct Shard {
    input: Dataset,
    num_shards: u64,
    index: u64,
    parts: Parts,
    /// The first element and the length of the part, if it is contiguous.
    part: (u64, u64),
    /// Positions of earlier runs with other numbers of shards, oldest first.
    origins: Vec<Unseen>,
}

impl Dataset {
    /// The part of one of `num_shards` workers: every `num_shards`-th element, starting at `index`.
    /// Shuffle before it to give each worker a random part, and batch after it.
    ///
    /// Rows that are read over a network, and that [`Dataset::shuffle`] shuffles in blocks, are
    /// divided into [`Parts::Contiguous`] parts of their order instead, so that each worker reads
    /// its part of the blocks.
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
        let in_groups = self.hints.remote_groups && self.cardinality().finite().is_some();
        let parts = if in_groups { Parts::Contiguous } else { Parts::Strided };
        self.shard_with(num_shards, index, parts)
    }

    /// As [`Dataset::shard`], with a choice of the parts.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, Parts};
    ///
    /// let all = Dataset::range(0, 10, 1, DType::Int64)?;
    /// let mine = all.shard_with(3, 1, Parts::Contiguous)?; // 4, 5, 6
    /// let first = mine.iter().next().unwrap()?[0].tensor()?.view::<i64>()?.get(&[]);
    /// assert_eq!(first, Some(4));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::shard`]; [`Error::Argument`] if the dataset is infinite or has no random
    /// access, and parts are to be contiguous.
    pub fn shard_with(&self, num_shards: u64, index: u64, parts: Parts) -> Result<Self> {
        self.sharded(num_shards, index, parts, Vec::new())
    }

    /// Distributes the elements that a run with another number of shards has not returned yet, in
    /// the order of the input, over `num_shards` workers. This is the part of worker `index`.
    ///
    /// # Errors
    /// As [`Dataset::shard`]; [`Error::State`] if `origin` is empty or an old shard's position is
    /// beyond its end.
    pub fn resharded(&self, num_shards: u64, index: u64, origin: Resharded) -> Result<Self> {
        self.sharded(num_shards, index, Parts::Strided, vec![origin])
    }

    pub(crate) fn sharded(
        &self,
        num_shards: u64,
        index: u64,
        parts: Parts,
        origins: Vec<Resharded>,
    ) -> Result<Self> {
        let wrong = |what: String| Err(Error::Argument { stage: "shard", what });
        if index >= num_shards {
            return wrong(format!(
                "index has to be at least 0 and less than num_shards; it is {index} of \
                {num_shards} shards"
            ));
        }
        if parts == Parts::Contiguous && !(self.indexed && self.cardinality().finite().is_some()) {
            return wrong(
                "contiguous parts need a dataset of known length with random access: not filter, \
                from_generator and the like, nor an endless repeat. Shard before that stage, or \
                take every n-th element (contiguous=False)."
                    .into(),
            );
        }
        let mut left = self.cardinality();
        let mut unseen = Vec::with_capacity(origins.len());
        for origin in origins {
            let origin = Unseen::new(origin, left)?;
            left = left.map(|n| n.saturating_sub(origin.seen));
            unseen.push(origin);
        }
        let part = part_of(left.finite().unwrap_or(0), num_shards, index);
        let input = self.clone();
        Ok(Self::of(Shard { input, num_shards, index, parts, part, origins: unseen }))
    }
}

impl Locate for Shard {
    fn locate(&self, index: u64) -> u64 {
        let dealt = match self.parts {
            Parts::Strided => index.saturating_mul(self.num_shards).saturating_add(self.index),
            Parts::Contiguous => self.part.0.saturating_add(index),
        };
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
        let contiguous = match self.parts {
            Parts::Strided => "",
            Parts::Contiguous => ", contiguous=True",
        };
        let after: String = self.origins.iter().map(|origin| format!(", after {origin}")).collect();
        format!("shard({}, {}{contiguous}{after})", self.num_shards, self.index)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        let before = self.origins.iter().map(|unseen| unseen.origin.clone());
        inputs[0].sharded(
            self.num_shards,
            self.index,
            self.parts,
            before.chain(change.resharded.take()).collect(),
        )
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        let shard = Some((self.num_shards, self.index, self.parts));
        CheckpointInfo { shard, ..CheckpointInfo::default() }
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
        let origin = Resharded { positions: vec![3; 4], parts: Parts::Strided };
        let mine = range(20)?.resharded(2, 0, origin)?;
        assert_eq!(numbers(&mine)?, [12, 14, 16, 18]);
        assert!(mine.to_string().ends_with("shard(2, 0, after [3, 3, 3, 3])"), "{mine}");
        Ok(())
    }

    /// The part of each shard.
    fn divided(list: &[i64], shards: usize, parts: Parts) -> Vec<Vec<i64>> {
        let mut rest = list;
        let part = |index: usize| match parts {
            Parts::Strided => list.iter().skip(index).step_by(shards).copied().collect(),
            Parts::Contiguous => {
                let (part, after) = rest.split_at(rest.len().div_ceil(shards - index));
                rest = after;
                part.to_vec()
            }
        };
        (0..shards).map(part).collect()
    }

    /// The elements of a list that remain after each shard returned `positions` of its elements.
    fn left(list: &[i64], Resharded { positions, parts }: &Resharded) -> Vec<i64> {
        let seen: Vec<i64> = divided(list, positions.len(), *parts)
            .iter()
            .zip(positions)
            .flat_map(|(part, seen)| &part[..usize::try_from(*seen).unwrap()])
            .copied()
            .collect();
        list.iter().filter(|value| !seen.contains(value)).copied().collect()
    }

    #[test]
    fn contiguous_parts_are_the_input_in_order() -> Result<()> {
        for (n, shards) in [(0, 3), (2, 3), (10, 3), (12, 4), (7, 1)] {
            let list: Vec<i64> = (0..n).collect();
            for (index, expected) in (0..).zip(divided(&list, shards, Parts::Contiguous)) {
                let mine = range(n)?.shard_with(shards as u64, index, Parts::Contiguous)?;
                assert_eq!(mine.cardinality(), Cardinality::Finite(expected.len() as u64));
                assert_eq!(numbers(&mine)?, expected, "{mine}");
            }
        }
        let mine = range(10)?.shard_with(3, 1, Parts::Contiguous)?;
        assert!(mine.to_string().ends_with("shard(3, 1, contiguous=True)"), "{mine}");
        for endless in [range(3)?.repeat(None), streamed(&range(3)?)] {
            let error = endless.shard_with(2, 1, Parts::Contiguous).map(drop).unwrap_err();
            assert!(error.to_string().contains("known length"), "{error}");
        }
        Ok(())
    }

    #[test]
    fn resharding_any_number_of_times_hands_out_exactly_what_is_left() -> Result<()> {
        for seed in 0..600_u64 {
            let draw = |salt: u64, below: u64| mix(mix(seed) ^ salt) % below;
            let kind = |salt| if draw(salt, 2) == 0 { Parts::Strided } else { Parts::Contiguous };
            let n = draw(1, 60);
            let mut list: Vec<i64> = (0..n.cast_signed()).collect();
            let mut origins = Vec::new();
            for run in 0..draw(2, 4) {
                let shards = 1 + draw(10 + run, 6);
                let len = list.len() as u64;
                let position =
                    |s: u64| draw(100 * (run + 1) + s, 1 + len.saturating_sub(s).div_ceil(shards));
                let positions: Vec<u64> = (0..shards).map(position).collect();
                let origin = Resharded { positions, parts: kind(20 + run) };
                list = left(&list, &origin);
                origins.push(origin);
            }
            let (shards, parts) = (1 + draw(3, 5), kind(30));
            let expected = divided(&list, usize::try_from(shards).unwrap(), parts);
            for (index, expected) in (0..).zip(expected) {
                let mine =
                    range(n.cast_signed())?.sharded(shards, index, parts, origins.clone())?;
                assert_eq!(numbers(&mine)?, expected, "seed {seed}: {mine}");
                let strided = origins.iter().all(|origin| origin.parts == Parts::Strided);
                if strided && parts == Parts::Strided {
                    let input = streamed(&range(n.cast_signed())?);
                    let mine = input.sharded(shards, index, parts, origins.clone())?;
                    assert_eq!(numbers(&mine)?, expected, "seed {seed}: {mine}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_rebuild_for_another_number_of_shards_continues_an_already_continued_run() -> Result<()> {
        let first = range(20)?.resharded(
            2,
            0,
            Resharded { positions: vec![3; 4], parts: Parts::Strided },
        )?;
        let mut change = Change {
            resharded: Some(Resharded { positions: vec![1, 2], parts: Parts::Strided }),
            ..Change::default()
        };
        let again = first.rebuild(&mut change)?;
        assert!(change.resharded.is_none());
        let list: Vec<i64> = (0..20).collect();
        let strided = |positions| Resharded { positions, parts: Parts::Strided };
        let left = left(&left(&list, &strided(vec![3; 4])), &strided(vec![1, 2]));
        assert_eq!(numbers(&again)?, left.into_iter().step_by(2).collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn a_shard_cannot_have_handed_out_more_than_it_had() -> Result<()> {
        let error = range(10)?
            .resharded(2, 0, Resharded { positions: vec![4, 3, 4], parts: Parts::Strided })
            .unwrap_err();
        assert!(matches!(error, Error::State { .. }), "{error}");
        Ok(())
    }
}
