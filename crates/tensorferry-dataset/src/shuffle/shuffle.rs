//! Shuffle by a full permutation, which differs in each epoch.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::request::{Columns, RowPart};
use crate::shuffle::buffer::{BufferShuffle, described};
use crate::shuffle::orders::Orders;
use crate::shuffle::permutation::{LONGEST, Permutation};
use crate::shuffle::prng::Seed;
use crate::spec::Cardinality;
use crate::stage::{
    CheckpointInfo, Context, Dataset, Element, Elements, Hints, Stage, not_indexed,
};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;

/// How [`Dataset::shuffle`] and [`Dataset::shuffle_blocks`] order elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShuffleOptions {
    /// Elements of the buffer through which an input without random access is shuffled. For
    /// [`Dataset::shuffle_blocks`], elements of a group of blocks.
    pub buffer_size: Option<u64>,
    /// The seed of the order. If `None`, a seed is drawn, and checkpoints record it.
    pub seed: Option<u64>,
    /// Whether each epoch has an order of its own; true by default.
    pub reshuffle_each_iteration: bool,
}

impl ShuffleOptions {
    /// The defaults with a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { seed: Some(seed), ..Self::default() }
    }
}

impl Default for ShuffleOptions {
    fn default() -> Self {
        Self { buffer_size: None, seed: None, reshuffle_each_iteration: true }
    }
}

struct Shuffle {
    input: Dataset,
    n: u64,
    seed: Seed,
    reshuffle_each_iteration: bool,
    orders: Orders<u64, Permutation>,
}

impl Dataset {
    /// Shuffles the elements. The order follows from `seed` and, with `reshuffle_each_iteration`,
    /// from the epoch: each pass over the dataset, and each round of a later `repeat`, then has an
    /// order of its own. If no seed is given, one is drawn, and checkpoints record it.
    ///
    /// An indexed input of known length is shuffled by a full permutation, which is computed
    /// element by element in constant memory and does not depend on `buffer_size`. Any other input
    /// (a filter, a generator, an infinite dataset) is shuffled in a buffer of `buffer_size`
    /// elements: a random one of them is handed out, and the next element takes its place. A
    /// `buffer_size` of 1 keeps the order of any input, as in tf.data.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, ShuffleOptions};
    ///
    /// let shuffled = Dataset::range(0, 5, 1, DType::Int64)?.shuffle(ShuffleOptions::seeded(7))?;
    /// let mut numbers = Vec::new();
    /// for element in &shuffled.repeat(Some(2)) {
    ///     numbers.extend(element?[0].tensor()?.view::<i64>()?.get(&[]));
    /// }
    /// assert_eq!(numbers, [0, 2, 4, 3, 1, 2, 1, 4, 3, 0]);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// Rows that are read over a network are shuffled in blocks of about 1 MiB, as by
    /// [`Dataset::shuffle_blocks`]: one by one, each would cost a request.
    /// `shuffle_blocks(1, ...)` shuffles them one by one.
    ///
    /// # Errors
    /// [`Error::Argument`] if `buffer_size` is 0, if it is needed and `None`, or if there are more
    /// than 2^63 elements.
    pub fn shuffle(&self, options: ShuffleOptions) -> Result<Self> {
        let ShuffleOptions { buffer_size, seed, reshuffle_each_iteration } = options;
        if buffer_size == Some(1) {
            return Ok(self.clone());
        }
        let wrong = |what: &str| Error::Argument { stage: "shuffle", what: what.into() };
        let seed = Seed::new(seed);
        match (self.cardinality(), buffer_size) {
            (_, Some(0)) => Err(wrong("buffer_size has to be at least 1")),
            (Cardinality::Finite(n), _) if self.indexed && n <= LONGEST => {
                if let Some(shuffled) = self.shuffle_remote(&options)? {
                    return Ok(shuffled);
                }
                Ok(Shuffle::over(self, n, seed, reshuffle_each_iteration))
            }
            (Cardinality::Finite(_), _) if self.indexed => {
                Err(wrong("there are more than 2^63 elements. Take fewer."))
            }
            (_, Some(size)) => Ok(BufferShuffle::over(self, size, seed, reshuffle_each_iteration)),
            (Cardinality::Infinite, None) => Err(wrong(
                "the dataset is infinite, so its elements have no order. Shuffle before repeat, \
                    or give a buffer_size.",
            )),
            (_, None) => Err(wrong(
                "the dataset has no random access (filter, from_generator and the like), so it is \
                    shuffled in a buffer. Give a buffer_size, or shuffle before that stage.",
            )),
        }
    }
}

impl Shuffle {
    fn over(input: &Dataset, n: u64, seed: Seed, reshuffle_each_iteration: bool) -> Dataset {
        let (input, orders) = (input.clone(), Orders::default());
        Dataset::of(Self { input, n, seed, reshuffle_each_iteration, orders })
    }

    /// The order of an epoch.
    fn order(&self, cx: &Context) -> Permutation {
        let round = if self.reshuffle_each_iteration { cx.epoch.0 } else { 0 };
        self.orders.of(round, || Permutation::new(self.n, self.seed.value, round))
    }
}

impl Stage for Shuffle {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(std::slice::from_ref(&self.input), self.input.spec())
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.n)
    }

    fn describe(&self) -> String {
        described(Vec::new(), &self.seed, self.reshuffle_each_iteration)
    }

    fn permutes(&self) -> bool {
        true
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        let seed = self.seed.rebuilt(change);
        match inputs[0].cardinality().finite().filter(|n| inputs[0].indexed && *n <= LONGEST) {
            Some(n) => Ok(Self::over(&inputs[0], n, seed, self.reshuffle_each_iteration)),
            None => Err(not_indexed("shuffle")),
        }
    }

    fn hints(&self, inputs: Hints) -> Hints {
        let depends_on_epoch = self.reshuffle_each_iteration || inputs.depends_on_epoch;
        let apart = u64::from(inputs.remote_arrays > 0);
        Hints { depends_on_epoch, apart, remote_groups: false, ..inputs }
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo::of_seed(&self.seed)
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        self.input.stage.get(self.order(cx).get(index), cx)
    }

    fn get_each(&self, indices: &[u64], cx: &Context) -> Vec<Result<Element>> {
        let order = self.order(cx);
        let moved: Vec<u64> = indices.iter().map(|index| order.get(*index)).collect();
        self.input.stage.get_each(&moved, cx)
    }

    fn is_measured(&self, at: usize) -> bool {
        self.input.stage.is_measured(at)
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        self.order(cx).map(requests);
        self.input.stage.lengths(at, requests, out, cx)
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        let order = self.order(cx);
        parts.iter_mut().for_each(|part| part.index = order.get(part.index));
        self.input.stage.gather_parts(at, parts, out, cx)
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        self.order(cx).map(requests);
        self.input.stage.gather(columns, requests, out, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShuffleOptions;
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{
        assert_rebuilds, assert_resumes, counting, even, first, range, rows, values,
    };

    fn shuffled(n: i64) -> Dataset {
        range(n).shuffle(ShuffleOptions::seeded(7)).unwrap()
    }

    fn epoch(dataset: &Dataset, epoch: u64) -> Vec<i64> {
        dataset
            .iter_with(Epoch(epoch), &Options::default())
            .map(|element| first(&element.unwrap()))
            .collect()
    }

    fn sorted(mut values: Vec<i64>) -> Vec<i64> {
        values.sort_unstable();
        values
    }

    /// Orders that never change, one per line: number of elements, epoch, and the first ten
    /// elements of `shuffle(seed=7)`.
    #[test]
    fn orders_are_those_of_every_version() {
        let mut lines = String::new();
        for n in [10, 100, 4096, 4097, 1_000_000] {
            for round in 0..2 {
                let all = epoch(&shuffled(n).take(Some(10)), round);
                lines += &format!(
                    "{n} {round}: {}\n",
                    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
                );
            }
        }
        for n in [1 << 40, LONGEST] {
            let order = Permutation::new(n, 7, 0);
            lines += &format!(
                "{n} 0: {}\n",
                (0..10).map(|at| order.get(at).to_string()).collect::<Vec<_>>().join(" ")
            );
        }
        assert_eq!(lines, include_str!("golden/shuffle.txt"));
    }

    #[test]
    fn each_element_is_met_once_in_each_epoch_and_epochs_differ() {
        for n in [0, 1, 2, 10, 5000] {
            let all: Vec<i64> = (0..n).collect();
            let [one, other] = [epoch(&shuffled(n), 0), epoch(&shuffled(n), 1)];
            assert_eq!([sorted(one.clone()), sorted(other.clone())], [all.clone(), all]);
            assert!(n < 10 || one != other);
            let kept = range(n)
                .shuffle(ShuffleOptions {
                    seed: Some(7),
                    reshuffle_each_iteration: false,
                    ..ShuffleOptions::default()
                })
                .unwrap();
            assert_eq!([epoch(&kept, 0), epoch(&kept, 1)], [one.clone(), one]);
        }
    }

    #[test]
    fn rounds_of_a_repeat_are_the_epochs() {
        let repeated = values(&shuffled(10).repeat(Some(3)));
        assert_eq!(repeated, [0, 1, 2].map(|round| epoch(&shuffled(10), round)).concat());
        let kept = range(10)
            .shuffle(ShuffleOptions {
                seed: Some(7),
                reshuffle_each_iteration: false,
                ..ShuffleOptions::default()
            })
            .unwrap();
        assert_eq!(values(&kept.repeat(Some(2))), [values(&kept), values(&kept)].concat());
    }

    #[test]
    fn batches_and_single_elements_agree() {
        for n in [100, 5000] {
            let dataset = shuffled(n).repeat(Some(2));
            assert_eq!(rows(&dataset.batch(32).unwrap()).concat(), values(&dataset));
            assert_eq!(values(&dataset.skip(Some(17)).take(Some(3))), values(&dataset)[17..20]);
        }
    }

    #[test]
    fn the_buffer_size_of_an_indexed_input_changes_nothing() {
        let hinted = range(100)
            .shuffle(ShuffleOptions {
                buffer_size: Some(3),
                seed: Some(7),
                ..ShuffleOptions::default()
            })
            .unwrap();
        assert_eq!(values(&hinted), values(&shuffled(100)));
        assert_eq!(hinted.to_string(), shuffled(100).to_string());
    }

    #[test]
    fn a_description_says_what_changes_the_order() {
        let describe = |dataset: &Dataset| dataset.stage.describe();
        assert_eq!(describe(&shuffled(10)), "shuffle(seed=7)");
        assert_eq!(
            describe(
                &range(10)
                    .shuffle(ShuffleOptions {
                        reshuffle_each_iteration: false,
                        ..ShuffleOptions::default()
                    })
                    .unwrap()
            ),
            "shuffle(reshuffle_each_iteration=False)"
        );
        assert_eq!(
            describe(
                &counting(9)
                    .shuffle(ShuffleOptions {
                        buffer_size: Some(4),
                        seed: Some(1),
                        ..ShuffleOptions::default()
                    })
                    .unwrap()
            ),
            "shuffle(buffer_size=4, seed=1)"
        );
    }

    #[test]
    fn a_drawn_seed_is_another_every_time_and_can_be_put_back() {
        let [one, other] = [0, 1].map(|_| range(100).shuffle(ShuffleOptions::default()).unwrap());
        assert_ne!(values(&one), values(&other));
        assert_eq!(values(&one), values(&one));
        let mut change = Change { seeds: one.drawn_seeds().into(), ..Change::default() };
        let rebuilt = other.rebuild(&mut change).unwrap();
        assert_eq!(values(&rebuilt), values(&one));
        assert_eq!(rebuilt.drawn_seeds(), one.drawn_seeds());
        assert_eq!(shuffled(3).drawn_seeds(), [0_u64; 0]);
    }

    #[test]
    fn what_cannot_be_shuffled_whole_needs_a_buffer() {
        let message = |dataset: Dataset, size| {
            dataset
                .shuffle(ShuffleOptions {
                    buffer_size: size,
                    seed: Some(1),
                    ..ShuffleOptions::default()
                })
                .map(drop)
                .unwrap_err()
                .to_string()
        };
        assert!(message(range(3).repeat(None), None).contains("Shuffle before repeat"));
        assert!(message(range(3).filter(even()), None).contains("Give a buffer_size"));
        assert!(message(counting(3), None).contains("Give a buffer_size"));
        assert!(message(range(3), Some(0)).contains("at least 1"));
    }

    #[test]
    fn an_iteration_resumes_anywhere() {
        assert_resumes(&shuffled(20).repeat(Some(2)).batch(3).unwrap());
        assert_rebuilds(&shuffled(20));
        assert_rebuilds(
            &counting(20)
                .shuffle(ShuffleOptions { buffer_size: Some(4), ..ShuffleOptions::default() })
                .unwrap(),
        );
    }
}
