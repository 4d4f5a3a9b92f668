//! `sample_from_datasets`: mixes the elements of several datasets at random.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::shuffle::prng::{Purpose, Random, Seed};
use crate::spec::{Cardinality, Component};
use crate::stage::{
    CheckpointInfo, Context, Dataset, ElementIter, Elements, Hints, Stage, Step, step, value_of,
};
use crate::transforms::combine::several::{Iters, common_spec};
use tensorferry_io::cancel::CancelToken;

/// How [`Dataset::sample_from_datasets`] draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleOptions {
    /// One weight for each dataset; equal weights by default.
    pub weights: Option<Vec<f64>>,
    /// The seed of the draws. By default, a seed is drawn and recorded in checkpoints.
    pub seed: Option<u64>,
    /// Whether to end when a dataset without more elements is drawn.
    pub stop_on_empty_dataset: bool,
    /// Whether the draws differ between epochs.
    pub rerandomize_each_iteration: bool,
}

struct Sample {
    datasets: Vec<Dataset>,
    weights: Vec<f64>,
    seed: Seed,
    stop_on_empty_dataset: bool,
    rerandomize_each_iteration: bool,
    spec: Vec<Component>,
}

const STAGE: &str = "sample_from_datasets";

impl Dataset {
    /// Repeatedly draws a dataset at random and takes its next element. The probability of a
    /// dataset is proportional to its weight; all are equal without weights. Each dataset keeps its
    /// order. The draws follow from `seed`, the position and, with `rerandomize_each_iteration`,
    /// the epoch. Without a seed, one is drawn and recorded in checkpoints.
    ///
    /// A dataset without more elements is not drawn again. With `stop_on_empty_dataset`, drawing
    /// one ends the iteration, which keeps the proportions until the end.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, SampleOptions};
    ///
    /// let range = |start, stop| Dataset::range(start, stop, 1, DType::Int64);
    /// let options = SampleOptions {
    ///     weights: Some(vec![0.7, 0.3]),
    ///     seed: Some(7),
    ///     ..SampleOptions::default()
    /// };
    /// let datasets = vec![range(0, 3)?, range(10, 13)?];
    /// let mixed = Dataset::sample_from_datasets(datasets, options)?;
    /// let mut numbers = Vec::new();
    /// for element in &mixed {
    ///     numbers.extend(element?[0].tensor()?.view::<i64>()?.get(&[]));
    /// }
    /// assert_eq!(numbers, [10, 11, 12, 0, 1, 2]);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no dataset, if the number of weights differs from that of
    /// the datasets, if a weight is negative or not finite, or if their sum is not finite;
    /// [`Error::ElementMismatch`] if the datasets' numbers of components or dtypes differ.
    pub fn sample_from_datasets(datasets: Vec<Self>, options: SampleOptions) -> Result<Self> {
        let SampleOptions { weights, seed, stop_on_empty_dataset, rerandomize_each_iteration } =
            options;
        let wrong = |what: String| Error::Argument { stage: STAGE, what };
        let weights = weights.unwrap_or_else(|| vec![1.0; datasets.len()]);
        if weights.len() != datasets.len() {
            return Err(wrong(format!(
                "there are {} weights for {} datasets",
                weights.len(),
                datasets.len()
            )));
        }
        if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0)
            || !weights.iter().sum::<f64>().is_finite()
        {
            return Err(wrong(format!("weights have to be finite and not negative: {weights:?}")));
        }
        // As in tf.data, datasets of weight 0 do not count for the specification either. If all
        // weights are 0, the result is empty.
        let (left, weights): (Vec<Self>, Vec<f64>) =
            datasets.iter().cloned().zip(weights).filter(|(_, weight)| *weight > 0.0).unzip();
        match (left.as_slice(), datasets.first()) {
            ([], Some(first)) => return Ok(first.take(Some(0))),
            ([only], _) => return Ok(only.clone()),
            _ => {}
        }
        let spec = common_spec(&left, STAGE)?;
        let seed = Seed::new(seed);
        let sample = Sample {
            datasets: left,
            weights,
            seed,
            stop_on_empty_dataset,
            rerandomize_each_iteration,
            spec,
        };
        Ok(Self::of(sample))
    }
}

impl Stage for Sample {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(&self.datasets, &self.spec)
    }

    // Unlike tf.data, which reports infinite if any dataset is, even with `stop_on_empty_dataset`.
    fn cardinality(&self) -> Cardinality {
        let mut endless =
            self.datasets.iter().map(|dataset| dataset.cardinality() == Cardinality::Infinite);
        let infinite =
            if self.stop_on_empty_dataset { endless.all(|is| is) } else { endless.any(|is| is) };
        if infinite { Cardinality::Infinite } else { Cardinality::Unknown }
    }

    fn describe(&self) -> String {
        let mut arguments = vec![format!("weights={:?}", self.weights)];
        arguments.extend(self.seed.describe());
        if self.stop_on_empty_dataset {
            arguments.push("stop_on_empty_dataset=True".into());
        }
        if self.rerandomize_each_iteration {
            arguments.push("rerandomize_each_iteration=True".into());
        }
        format!("{STAGE}({})", arguments.join(", "))
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::of(Self {
            spec: common_spec(&inputs, STAGE)?,
            datasets: inputs,
            weights: self.weights.clone(),
            seed: self.seed.rebuilt(change),
            ..*self
        }))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        Hints {
            depends_on_epoch: self.rerandomize_each_iteration || inputs.depends_on_epoch,
            ..inputs
        }
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo::of_seed(&self.seed)
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let epoch = if self.rerandomize_each_iteration { cx.epoch.0 } else { 0 };
        Ok(Box::new(SampleIter {
            iters: Iters::new(&self.datasets, cx)?,
            weights: self.weights.clone(),
            random: Random::new(Purpose::Sample, self.seed.value, epoch),
            step: 0,
            stop_on_empty_dataset: self.stop_on_empty_dataset,
            cancel: cx.cancel.clone(),
        }))
    }
}

struct SampleIter {
    iters: Iters,
    weights: Vec<f64>,
    random: Random,
    /// Number of draws so far.
    step: u64,
    stop_on_empty_dataset: bool,
    cancel: CancelToken,
}

impl SampleIter {
    /// The dataset that a step draws among those that have not ended. Equivalent to drawing again
    /// until one has not ended, but faster.
    fn drawn(&self, step: u64) -> usize {
        let left =
            || self.weights.iter().enumerate().filter(|(which, _)| !self.iters.is_over(*which));
        let total: f64 = left().map(|(_, weight)| weight).sum();
        let mut rest = self.random.unit(step) * total;
        let mut drawn = 0;
        for (which, weight) in left() {
            drawn = which;
            rest -= weight;
            if rest < 0.0 {
                break;
            }
        }
        drawn
    }
}

impl ElementIter for SampleIter {
    fn next(&mut self) -> Step {
        while !self.iters.all_over() {
            value_of!(step(self.cancel.check()));
            let element = self.iters.next(self.drawn(self.step))?;
            self.step = self.step.wrapping_add(1);
            if element.is_some() {
                return Ok(element);
            }
            if self.stop_on_empty_dataset {
                self.iters.end();
            }
        }
        Ok(None)
    }

    fn save(&self) -> Result<State> {
        Ok(State::List(vec![State::Int(self.step), self.iters.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.step = parts[0].int()?;
        self.iters.restore(&parts[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SampleOptions;
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, counting, first, ints, range,
        values,
    };

    fn mixed(datasets: Vec<Dataset>, weights: Option<Vec<f64>>, stop: bool) -> Dataset {
        Dataset::sample_from_datasets(
            datasets,
            SampleOptions {
                weights,
                seed: Some(7),
                stop_on_empty_dataset: stop,
                ..SampleOptions::default()
            },
        )
        .unwrap()
    }

    fn two(stop: bool) -> Dataset {
        mixed(vec![range(5), counting(9).skip(Some(5))], Some(vec![3.0, 1.0]), stop)
    }

    #[test]
    fn every_element_is_met_in_its_dataset_s_order() {
        let all = values(&two(false));
        let of = |range: std::ops::Range<i64>| {
            all.iter().copied().filter(|value| range.contains(value)).collect::<Vec<_>>()
        };
        assert_eq!([of(0..5), of(5..9)], [(0..5).collect::<Vec<_>>(), (5..9).collect()]);
        assert_eq!(all.len(), 9);
    }

    #[test]
    fn choices_are_those_of_every_version() {
        let endless = |value| ints(&[value]).repeat(None);
        let mixed = mixed(vec![endless(0), endless(1), endless(2)], None, false);
        assert_eq!(values(&mixed.take(Some(12))), [2, 2, 2, 1, 2, 2, 1, 2, 0, 1, 0, 2]);
    }

    #[test]
    fn proportions_are_those_of_the_weights() {
        let endless = |value| ints(&[value]).repeat(None);
        let datasets = vec![endless(0), endless(1), endless(2), endless(3)];
        let mixed = mixed(datasets, Some(vec![5.0, 0.0, 3.0, 2.0]), false);
        let mut counts = [0_u32; 4];
        values(&mixed.take(Some(10_000)))
            .iter()
            .for_each(|&value| counts[usize::try_from(value).unwrap()] += 1);
        assert_eq!(counts[1], 0);
        // The standard deviation is at most 50.
        for (count, expected) in counts.into_iter().zip([5000_u32, 0, 3000, 2000]) {
            assert!(count.abs_diff(expected) <= 200, "{counts:?}");
        }
    }

    #[test]
    fn an_ended_dataset_makes_room_at_once_however_light_the_others_are() {
        let mixed = mixed(vec![range(3), range(3)], Some(vec![1.0, 1e-300]), false);
        assert_eq!(values(&mixed), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn it_stops_when_an_ended_dataset_is_drawn_if_asked_to() {
        let all = values(&two(false));
        let stopped = values(&two(true));
        assert!(stopped.len() < all.len());
        assert_eq!(stopped, all[..stopped.len()]);
        assert!(stopped.contains(&4) || stopped.contains(&8));
    }

    #[test]
    fn a_dataset_without_weight_has_no_part() {
        let other = Dataset::range(0, 3, 1, tensorferry_core::DType::Int32).unwrap();
        let only = mixed(vec![range(3), other], Some(vec![1.0, 0.0]), false);
        assert_eq!(only.to_string(), range(3).to_string());
        let none = mixed(vec![range(3), range(4)], Some(vec![0.0, 0.0]), false);
        assert_eq!(none.cardinality(), Cardinality::Finite(0));
    }

    #[test]
    fn what_does_not_fit_is_refused_when_it_is_built() {
        let built = |datasets, weights| {
            Dataset::sample_from_datasets(
                datasets,
                SampleOptions { weights, ..SampleOptions::default() },
            )
            .map(drop)
        };
        assert!(matches!(built(Vec::new(), None), Err(Error::Argument { .. })));
        let weights = [
            vec![1.0],
            vec![1.0, 2.0, 3.0],
            vec![-1.0, 2.0],
            vec![f64::NAN, 1.0],
            vec![f64::MAX, f64::MAX],
        ];
        for weights in weights {
            assert!(matches!(
                built(vec![range(3), range(3)], Some(weights)),
                Err(Error::Argument { .. })
            ));
        }
        let other = Dataset::range(0, 3, 1, tensorferry_core::DType::Int32).unwrap();
        assert!(matches!(built(vec![range(3), other], None), Err(Error::ElementMismatch { .. })));
    }

    #[test]
    fn the_end_is_promised_only_where_there_is_one() {
        let endless = || range(3).repeat(None);
        let of = |datasets, stop| mixed(datasets, None, stop).cardinality();
        assert_eq!(of(vec![range(3), range(4)], false), Cardinality::Unknown);
        assert_eq!(of(vec![range(3), endless()], false), Cardinality::Infinite);
        assert_eq!(of(vec![range(3), endless()], true), Cardinality::Unknown);
        assert_eq!(of(vec![endless(), endless()], true), Cardinality::Infinite);
        assert_eq!(of(vec![range(3)], false), Cardinality::Finite(3));
    }

    #[test]
    fn epochs_differ_only_if_asked_to_and_drawn_seeds_can_be_put_back() {
        let datasets = || vec![range(50), range(50)];
        let epoch = |dataset: &Dataset, epoch| -> Vec<i64> {
            dataset
                .iter_with(Epoch(epoch), &Options::default())
                .map(|element| first(&element.unwrap()))
                .collect()
        };
        let [kept, fresh] = [false, true].map(|each| {
            Dataset::sample_from_datasets(
                datasets(),
                SampleOptions { rerandomize_each_iteration: each, ..SampleOptions::default() },
            )
            .unwrap()
        });
        assert_eq!(epoch(&kept, 0), epoch(&kept, 1));
        assert_ne!(epoch(&fresh, 0), epoch(&fresh, 1));
        assert_eq!([kept.depends_on_epoch(), fresh.depends_on_epoch()], [false, true]);
        let mut change = Change { seeds: kept.drawn_seeds().into(), ..Change::default() };
        assert_eq!(epoch(&fresh.rebuild(&mut change).unwrap(), 0), epoch(&kept, 0));
        assert_eq!(kept.stage.describe(), "sample_from_datasets(weights=[1.0, 1.0])");
    }

    #[test]
    fn an_iteration_resumes_anywhere() {
        for stop in [true, false] {
            assert_resumes(&two(stop));
            assert_rejects_damage(&two(stop));
            assert_rebuilds(&two(stop));
        }
    }
}
