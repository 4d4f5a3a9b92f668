//! `bucket_by_sequence_length`: batches of elements of similar length, formed without reading them.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{
    Context, Dataset, Element, ElementIter, Elements, Stage, Step, step, uninterrupted, value_of,
};
use crate::transforms::batch::measured::{Measured, consecutive, requests};
use crate::transforms::batch::padded_batch::{PaddedBatch, PaddedBatchOptions};
use crate::transforms::batch::strings::StringPadding;
use crate::transforms::combine::concatenate::relaxed;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tensorferry_core::{Shape, Tensor, TensorSpec};
use tensorferry_io::gather::request::RowRequest;

const STAGE: &str = "bucket_by_sequence_length";

/// How [`Dataset::bucket_by_sequence_length`] forms and pads batches.
#[derive(Clone, Debug, Default)]
pub struct BucketOptions {
    /// The component whose length counts.
    pub component: usize,
    /// The lengths at which buckets begin, besides the first, in ascending order.
    pub bucket_boundaries: Vec<usize>,
    /// The batch size of each bucket, one more than there are boundaries.
    pub bucket_batch_sizes: Vec<usize>,
    /// As [`PaddedBatchOptions::padded_shapes`].
    pub padded_shapes: Option<Vec<Shape>>,
    /// As [`PaddedBatchOptions::padding_values`].
    pub padding_values: Option<Vec<Option<Tensor>>>,
    /// Whether unknown dimensions are padded to the bucket's last length instead of the longest in
    /// the batch. Then an element as long as the last boundary, or longer, is an error.
    pub pad_to_bucket_boundary: bool,
    /// Whether elements are stacked without padding: those of a batch have to be of one shape.
    pub no_padding: bool,
    /// Whether to drop batches that are not full.
    pub drop_remainder: bool,
    /// As [`PaddedBatchOptions::strings`].
    pub strings: Vec<StringPadding>,
}

struct Buckets {
    input: Dataset,
    options: BucketOptions,
    /// The batches of each bucket.
    batches: Vec<PaddedBatch>,
    measured: Measured,
    spec: Vec<Component>,
}

/// The stage. Its iterators share it.
struct BucketBySequenceLength {
    buckets: Arc<Buckets>,
}

fn wrong(what: String) -> Error {
    Error::Argument { stage: STAGE, what }
}

impl Dataset {
    /// Batches of elements of similar length. An element belongs to the bucket of its length, the
    /// first dimension of `options.component`, which is known before the element is read. A bucket
    /// that has as many elements as its batch size is handed out, padded as by
    /// [`Dataset::padded_batch`]. At the end follow the batches that are not full, shortest bucket
    /// first.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{BucketOptions, Dataset, Ragged};
    ///
    /// let lengths = Tensor::from_vec(vec![1_i64, 5, 2, 4], &[4])?;
    /// let values = Tensor::from_vec((0_i32..12).collect(), &[12])?;
    /// let rows = Dataset::from_ragged([Ragged::from_row_lengths(values, &lengths)?])?;
    /// let batches = rows.bucket_by_sequence_length(BucketOptions {
    ///     bucket_boundaries: vec![3],
    ///     bucket_batch_sizes: vec![2, 2],
    ///     ..BucketOptions::default()
    /// })?;
    /// let mut shapes = Vec::new();
    /// for batch in &batches {
    ///     shapes.push(batch?[0].tensor()?.shape().to_vec());
    /// }
    /// assert_eq!(shapes, [[2, 2], [2, 5]]);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if the component's lengths are not known before elements are read
    /// (see [`Dataset::from_ragged`]), if boundaries do not ascend, if there is not one batch size
    /// of at least 1 per bucket; those of [`Dataset::padded_batch`].
    pub fn bucket_by_sequence_length(&self, options: BucketOptions) -> Result<Self> {
        let sizes = &options.bucket_batch_sizes;
        let boundaries = &options.bucket_boundaries;
        if sizes.len() != boundaries.len() + 1 || sizes.contains(&0) {
            let (sizes, buckets) = (sizes.len(), boundaries.len() + 1);
            return Err(wrong(format!(
                "{buckets} buckets need as many batch sizes of at least 1, not {sizes}"
            )));
        }
        if !boundaries.is_sorted_by(|a, b| a < b) {
            return Err(wrong(format!("bucket_boundaries={boundaries:?} do not ascend")));
        }
        let is_measured = |measured: &Measured| {
            measured.parts().get(options.component).is_some_and(|part| part.is_measured)
        };
        let Some(measured) = Measured::new(self).filter(is_measured) else {
            return Err(wrong(
                "the length of an element is not known before it is read. Use from_ragged, or \
                give a function of the length."
                    .into(),
            ));
        };
        let batches: Vec<PaddedBatch> = (0..sizes.len())
            .map(|bucket| {
                PaddedBatch::new(self.clone(), sizes[bucket], options.padding(self, bucket))
            })
            .collect::<Result<_>>()?;
        let spec = common(&batches);
        let buckets = Buckets { input: self.clone(), options, batches, measured, spec };
        Ok(Self::of(BucketBySequenceLength { buckets: Arc::new(buckets) }))
    }

    /// Whether the length of component `at` in an element is known before the element is read, as
    /// in [`Dataset::from_ragged`].
    #[must_use]
    pub fn is_measured(&self, at: usize) -> bool {
        self.indexed && at < self.spec().len() && self.stage.is_measured(at)
    }
}

impl BucketOptions {
    /// The padding of a bucket.
    fn padding(&self, input: &Dataset, bucket: usize) -> PaddedBatchOptions {
        let filler = self
            .bucket_boundaries
            .get(bucket)
            .filter(|_| self.pad_to_bucket_boundary)
            .map(|boundary| boundary.saturating_sub(1));
        let filled = |shape: &Shape| match shape.dims() {
            Some(dims) => Shape::new(dims.iter().map(|dim| dim.or(filler))),
            None => Shape::unknown(),
        };
        let shapes: Option<Vec<Shape>> = match &self.padded_shapes {
            Some(shapes) => Some(shapes.iter().map(filled).collect()),
            None => input
                .spec()
                .iter()
                .map(|part| part.tensor().map(|spec| filled(&spec.shape)))
                .collect(),
        };
        PaddedBatchOptions {
            padded_shapes: shapes,
            padding_values: self.padding_values.clone(),
            drop_remainder: self.drop_remainder,
            strings: self.strings.clone(),
        }
    }
}

/// The specification of the batches of all buckets. As in tf.data, the batch length is unknown.
fn common(batches: &[PaddedBatch]) -> Vec<Component> {
    let mut specs = batches.iter().map(|batch| batch.spec().to_vec());
    let first = specs.next().unwrap_or_default();
    let all = specs.fold(first, |all, spec| relaxed(&all, &spec).unwrap_or(all));
    let unknown = |part: Component| match part {
        Component::Tensor(TensorSpec { dtype, shape }) => {
            let inner = shape.dims().map(|dims| Shape::new(dims.iter().skip(1).copied()));
            let shape = inner.map_or_else(Shape::unknown, |inner| inner.batched(None));
            Component::Tensor(TensorSpec::new(dtype, shape))
        }
        nested @ Component::Dataset(_) => nested,
    };
    all.into_iter().map(unknown).collect()
}

impl Buckets {
    /// The bucket of a length.
    fn bucket(&self, len: usize) -> Result<usize> {
        let bucket = self.options.bucket_boundaries.partition_point(|boundary| *boundary <= len);
        if self.options.pad_to_bucket_boundary && bucket == self.options.bucket_boundaries.len() {
            return Err(wrong(format!(
                "an element of length {len}; with pad_to_bucket_boundary every length has to be \
                less than the last of bucket_boundaries={:?}",
                self.options.bucket_boundaries
            )));
        }
        Ok(bucket)
    }

    /// The batch of these elements of a bucket.
    fn batch(&self, bucket: usize, indices: &[u64], cx: &Context) -> Result<Element> {
        let requests = requests(indices)?;
        if self.options.no_padding {
            for (at, part) in self.measured.parts().iter().enumerate() {
                if part.is_measured && !self.options.strings.iter().any(|one| one.component == at) {
                    self.check_equal(at, &requests, cx)?;
                }
            }
        }
        self.batches[bucket].of(&requests, cx).map_err(|error| self.input.explain(error))
    }

    /// Refuses elements of different lengths.
    fn check_equal(&self, at: usize, requests: &[RowRequest], cx: &Context) -> Result<()> {
        let lengths = self.measured.lengths(at, requests, cx)?;
        let inner = &self.measured.parts()[at].inner;
        let shape = |len: usize| std::iter::once(len).chain(inner.iter().copied()).collect();
        let first = lengths.first().copied().unwrap_or(0);
        match lengths.iter().find(|len| **len != first) {
            None => Ok(()),
            Some(other) => {
                let shapes = Box::new((shape(first), shape(*other)));
                Err(Error::UnequalShapes { stage: STAGE, shapes }.in_component(at))
            }
        }
    }
}

impl Stage for BucketBySequenceLength {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(std::slice::from_ref(&self.buckets.input), &self.buckets.spec)
    }

    fn cardinality(&self) -> Cardinality {
        match self.buckets.input.cardinality() {
            Cardinality::Infinite => Cardinality::Infinite,
            Cardinality::Finite(0) => Cardinality::Finite(0),
            _ => Cardinality::Unknown,
        }
    }

    fn describe(&self) -> String {
        let options = &self.buckets.options;
        let mut arguments = vec![
            format!("component {}", options.component),
            format!("{:?}, {:?}", options.bucket_boundaries, options.bucket_batch_sizes),
        ];
        if options.no_padding {
            arguments.push("no_padding".into());
        } else {
            arguments.extend(self.buckets.batches.first().map(PaddedBatch::padding));
        }
        if options.no_padding && !options.strings.is_empty() {
            arguments.push(format!("strings {:?}", options.strings));
        }
        if options.pad_to_bucket_boundary {
            arguments.push("pad_to_bucket_boundary".into());
        }
        if options.drop_remainder {
            arguments.push("drop_remainder".into());
        }
        format!("{STAGE}({})", arguments.join(", "))
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].bucket_by_sequence_length(self.buckets.options.clone())
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(BucketIter {
            buckets: Arc::clone(&self.buckets),
            cx: cx.clone(),
            position: 0,
            lengths: VecDeque::new(),
            waiting: BTreeMap::new(),
            full: None,
            batches: 0,
        }))
    }
}

/// Elements whose lengths are looked up at once.
const LOOKAHEAD: usize = 256;

struct BucketIter {
    buckets: Arc<Buckets>,
    cx: Context,
    /// Index of the next element.
    position: u64,
    /// Lengths of the elements from `position` on.
    lengths: VecDeque<usize>,
    /// Elements of each bucket that is not full.
    waiting: BTreeMap<usize, Vec<u64>>,
    /// A bucket whose batch was interrupted.
    full: Option<(usize, Vec<u64>)>,
    /// Number of batches so far.
    batches: u64,
}

impl BucketIter {
    /// The length of the element at `position`; `None` at the end.
    fn length(&mut self) -> Step<usize> {
        value_of!(step(self.cx.cancel.check()));
        if let Some(len) = self.lengths.front() {
            return Ok(Some(Ok(*len)));
        }
        let left = self.buckets.input.cardinality().finite().unwrap_or(u64::MAX) - self.position;
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(LOOKAHEAD);
        if count == 0 {
            return Ok(None);
        }
        let requests = value_of!(step(consecutive(self.position, count)));
        let component = self.buckets.options.component;
        let lengths = self.buckets.measured.lengths(component, &requests, &self.cx);
        self.lengths = value_of!(step(lengths)).into();
        Ok(self.lengths.front().copied().map(Ok))
    }

    /// The next full bucket, or a waiting one at the end.
    fn bucket(&mut self) -> Step<(usize, Vec<u64>)> {
        while let Some(len) = self.length()? {
            let index = self.position;
            self.position += 1;
            self.lengths.pop_front();
            let bucket = match len.and_then(|len| self.buckets.bucket(len)) {
                Ok(bucket) => bucket,
                Err(error) => return Ok(Some(Err(error.at_element(STAGE, index)))),
            };
            let waiting = self.waiting.entry(bucket).or_default();
            waiting.push(index);
            if waiting.len() >= self.buckets.options.bucket_batch_sizes[bucket] {
                return Ok(self.waiting.remove_entry(&bucket).map(Ok));
            }
        }
        if self.buckets.options.drop_remainder {
            return Ok(None);
        }
        Ok(self.waiting.pop_first().map(Ok))
    }
}

/// The state of a bucket and its elements.
fn saved((bucket, indices): (&usize, &Vec<u64>)) -> Result<State> {
    let len = indices.len();
    let numbers = Tensor::from_vec(indices.clone(), &[len])?;
    Ok(State::List(vec![State::Int(*bucket as u64), State::Tensors(vec![numbers])]))
}

impl BucketIter {
    fn restored(&self, state: &State, position: u64) -> Result<(usize, Vec<u64>)> {
        let damaged = || Error::State {
            what: "a bucket of the state does not belong to this plan; it is damaged".into(),
        };
        let parts = state.list(2)?;
        let bucket = usize::try_from(parts[0].int()?).map_err(|_| damaged())?;
        let size = self.buckets.options.bucket_batch_sizes.get(bucket).ok_or_else(damaged)?;
        let [numbers] = parts[1].tensors()? else { return Err(damaged()) };
        let indices: Vec<u64> = numbers.view::<u64>().map_err(|_| damaged())?.iter().collect();
        let fits = (1..=*size).contains(&indices.len())
            && indices.is_sorted_by(|a, b| a < b)
            && indices.iter().all(|index| *index < position);
        if fits { Ok((bucket, indices)) } else { Err(damaged()) }
    }
}

impl ElementIter for BucketIter {
    fn next(&mut self) -> Step {
        let (bucket, indices) = match self.full.take() {
            Some(full) => full,
            None => value_of!(self.bucket()),
        };
        match uninterrupted(self.buckets.batch(bucket, &indices, &self.cx)) {
            Ok(batch) => {
                let number = self.batches;
                self.batches = number.saturating_add(1);
                Ok(Some(batch.map_err(|error| error.at_element(STAGE, number))))
            }
            Err(interrupted) => {
                self.full = Some((bucket, indices));
                Err(interrupted)
            }
        }
    }

    fn save(&self) -> Result<State> {
        let full = match &self.full {
            Some((bucket, indices)) => saved((bucket, indices))?,
            None => State::Nothing,
        };
        let waiting: Vec<State> = self.waiting.iter().map(saved).collect::<Result<_>>()?;
        let numbers = [self.position, self.batches].map(State::Int);
        Ok(State::List(numbers.into_iter().chain([full, State::List(waiting)]).collect()))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(4)?;
        let position = parts[0].int()?;
        if self.buckets.input.cardinality().finite().is_some_and(|len| position > len) {
            let what = format!("element {position} is after the end of the dataset");
            return Err(Error::State { what });
        }
        let batches = parts[1].int()?;
        let full = parts[2].optional(|state| self.restored(state, position))?;
        let waiting: Vec<(usize, Vec<u64>)> = parts[3]
            .parts()?
            .iter()
            .map(|state| self.restored(state, position))
            .collect::<Result<_>>()?;
        (self.position, self.batches, self.full) = (position, batches, full);
        (self.waiting, self.lengths) = (waiting.into_iter().collect(), VecDeque::new());
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{assert_rebuilds, assert_rejects_damage, assert_resumes};
    use crate::{Ragged, ShuffleOptions};

    fn rows(lengths: &[i64]) -> Dataset {
        let count = usize::try_from(lengths.iter().sum::<i64>()).unwrap();
        let values = Tensor::from_vec((0_i64..).take(count).collect(), &[count]).unwrap();
        let lengths = Tensor::from_vec(lengths.to_vec(), &[lengths.len()]).unwrap();
        Dataset::from_ragged([Ragged::from_row_lengths(values, &lengths).unwrap()]).unwrap()
    }

    fn options(boundaries: &[usize], sizes: &[usize]) -> BucketOptions {
        BucketOptions {
            bucket_boundaries: boundaries.to_vec(),
            bucket_batch_sizes: sizes.to_vec(),
            ..BucketOptions::default()
        }
    }

    fn shapes(dataset: &Dataset) -> Vec<Vec<usize>> {
        dataset.iter().map(|batch| batch.unwrap()[0].tensor().unwrap().shape().to_vec()).collect()
    }

    #[test]
    fn full_buckets_come_first_and_the_rest_by_length() {
        let lengths = [1, 5, 2, 9, 4, 3, 7, 0];
        let batches = rows(&lengths).bucket_by_sequence_length(options(&[3, 6], &[2, 2, 3]));
        let batches = batches.unwrap();
        assert_eq!(shapes(&batches), [[2, 2], [2, 5], [1, 0], [1, 3], [2, 9]]);
        let full = BucketOptions { drop_remainder: true, ..options(&[3, 6], &[2, 2, 3]) };
        let full = rows(&lengths).bucket_by_sequence_length(full).unwrap();
        assert_eq!(shapes(&full), [[2, 2], [2, 5]]);
    }

    #[test]
    fn every_state_resumes_and_damage_is_refused() {
        let lengths: Vec<i64> = (0..40).map(|at| at * 7 % 11).collect();
        for input in [
            rows(&lengths),
            rows(&lengths).shuffle(ShuffleOptions::seeded(3)).unwrap(),
            rows(&lengths).repeat(Some(2)).skip(Some(3)),
        ] {
            let batches = input.bucket_by_sequence_length(options(&[3, 6], &[2, 4, 3])).unwrap();
            assert_resumes(&batches);
            assert_rejects_damage(&batches);
            assert_rebuilds(&batches);
        }
    }

    #[test]
    fn an_element_too_long_for_its_bucket_costs_that_element() {
        let padded = BucketOptions { pad_to_bucket_boundary: true, ..options(&[3, 6], &[2, 2, 1]) };
        let batches = rows(&[1, 8, 2, 4]).bucket_by_sequence_length(padded).unwrap();
        let all: Vec<_> = batches.iter().map(|batch| batch.map(|_| ())).collect();
        assert!(all[0].as_ref().is_err_and(|error| error.to_string().contains("length 8")));
        assert_eq!(all.len(), 3);
        let equal = BucketOptions { no_padding: true, ..options(&[3], &[2, 2]) };
        let batches = rows(&[4, 4, 4, 5]).bucket_by_sequence_length(equal).unwrap();
        let all: Vec<bool> = batches.iter().map(|batch| batch.is_ok()).collect();
        assert_eq!(all, [true, false]);
    }

    #[test]
    fn refused_when_it_is_built() {
        let said =
            |options| rows(&[1, 2]).bucket_by_sequence_length(options).unwrap_err().to_string();
        assert!(said(options(&[3], &[1])).contains("2 buckets need"));
        assert!(said(options(&[3], &[1, 0])).contains("at least 1"));
        assert!(said(options(&[3, 3], &[1, 1, 1])).contains("ascend"));
        let fixed = crate::testing::range(3).bucket_by_sequence_length(options(&[], &[1]));
        assert!(fixed.unwrap_err().to_string().contains("before it is read"));
    }
}
