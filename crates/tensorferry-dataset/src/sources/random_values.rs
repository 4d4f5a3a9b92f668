//! `random`: random numbers.

use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::gather::MADE_ROWS;
use crate::request::Columns;
use crate::shuffle::prng::{Purpose, Random, Seed};
use crate::spec::{Cardinality, Component};
use crate::stage::{CheckpointInfo, Context, Dataset, Element, Elements, Hints, Stage};
use tensorferry_core::{DType, Shape, Tensor, TensorSpec};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, filled};

struct RandomValues {
    seed: Seed,
    rerandomize_each_iteration: bool,
    spec: Vec<Component>,
}

impl Dataset {
    /// An infinite dataset of random `int64` scalars in `[0, 2^32)`. They follow from `seed`, their
    /// index and, with `rerandomize_each_iteration`, the epoch. Without a seed, one is drawn and
    /// recorded in checkpoints.
    ///
    /// ```
    /// use tensorferry_dataset::{Cardinality, Dataset};
    ///
    /// let random = Dataset::random(Some(7), false);
    /// assert_eq!(random.cardinality(), Cardinality::Infinite);
    /// assert_eq!(random.get(0)?[0].tensor()?.view::<i64>()?.get(&[]), Some(91_078_609));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn random(seed: Option<u64>, rerandomize_each_iteration: bool) -> Self {
        RandomValues::keyed(Seed::new(seed), rerandomize_each_iteration)
    }
}

impl RandomValues {
    fn keyed(seed: Seed, rerandomize_each_iteration: bool) -> Dataset {
        let spec = vec![Component::Tensor(TensorSpec::new(DType::Int64, Shape::fixed(&[])))];
        Dataset::of(Self { seed, rerandomize_each_iteration, spec })
    }

    fn write(
        &self,
        requests: impl Iterator<Item = RowRequest>,
        rows: &mut RowsOut<'_>,
        cx: &Context,
    ) {
        let epoch = if self.rerandomize_each_iteration { cx.epoch.0 } else { 0 };
        let random = Random::new(Purpose::Values, self.seed.value, epoch);
        for request in requests {
            let value = random.at(request.index) >> 32;
            rows.slot(request.slot).copy_from_slice(&value.to_ne_bytes());
        }
    }

    fn values(&self, start: u64, shape: &[usize], cx: &Context) -> Result<Tensor> {
        filled(DType::Int64, shape, |bytes| {
            let requests = (0..bytes.len() / 8)
                .map(|slot| RowRequest { index: start.saturating_add(slot as u64), slot });
            self.write(requests, &mut RowsOut { bytes, row: 8 }, cx);
            Ok(())
        })
    }
}

impl Stage for RandomValues {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Infinite
    }

    fn describe(&self) -> String {
        let mut arguments: Vec<String> = self.seed.describe().into_iter().collect();
        if self.rerandomize_each_iteration {
            arguments.push("rerandomize_each_iteration=True".into());
        }
        format!("random({})", arguments.join(", "))
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        Ok(Self::keyed(self.seed.rebuilt(change), self.rerandomize_each_iteration))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        Hints { depends_on_epoch: self.rerandomize_each_iteration, ..inputs }
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo::of_seed(&self.seed)
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        Ok(vec![self.values(index, &[], cx)?.into()])
    }

    // Computes the rows instead of sharing them, in one pass.
    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        if len > MADE_ROWS {
            return None;
        }
        self.values(start, &[len], cx).ok().map(|values| vec![values])
    }

    fn gather(
        &self,
        _columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        for rows in out {
            self.write(requests.iter().copied(), rows, cx);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{first, rows, values};

    fn epoch(dataset: &Dataset, epoch: u64) -> Vec<i64> {
        let elements = dataset.iter_with(Epoch(epoch), &Options::default());
        elements.take(3).map(|element| first(&element.unwrap())).collect()
    }

    #[test]
    fn values_are_those_of_every_version() {
        assert_eq!(
            values(&Dataset::random(Some(7), false).take(Some(4))),
            [91_078_609, 1_366_299_982, 3_368_394_770, 4_143_347_051]
        );
    }

    #[test]
    fn values_fill_their_range_evenly() {
        let mut counts = [0_u32; 16];
        for value in values(&Dataset::random(Some(1), false).take(Some(16_000))) {
            counts[usize::try_from(value >> 28).unwrap()] += 1;
        }
        // 1,000 are expected, with a standard deviation of 31.
        assert!(counts.iter().all(|count| (860..1140).contains(count)), "{counts:?}");
    }

    #[test]
    fn epochs_differ_only_if_asked_to() {
        let [kept, fresh] = [false, true].map(|each| Dataset::random(Some(7), each));
        assert_eq!(epoch(&kept, 0), epoch(&kept, 1));
        assert_ne!(epoch(&fresh, 0), epoch(&fresh, 1));
        assert_eq!([kept.depends_on_epoch(), fresh.depends_on_epoch()], [false, true]);
        assert_eq!(epoch(&fresh, 0), epoch(&kept, 0));
    }

    #[test]
    fn a_drawn_seed_is_another_every_time_and_can_be_put_back() {
        let [one, other] = [0, 1].map(|_| Dataset::random(None, false));
        assert_ne!(epoch(&one, 0), epoch(&other, 0));
        let mut change = Change { seeds: one.drawn_seeds().into(), ..Change::default() };
        assert_eq!(epoch(&other.rebuild(&mut change).unwrap(), 0), epoch(&one, 0));
        assert_eq!(one.to_string(), "random()");
    }

    #[test]
    fn batches_and_single_values_agree() {
        let random = Dataset::random(Some(7), false).take(Some(10));
        assert_eq!(rows(&random.batch(4).unwrap()).concat(), values(&random));
        let skipped = random.shard(3, 1).unwrap();
        assert_eq!(rows(&skipped.batch(2).unwrap()).concat(), values(&skipped));
    }
}
